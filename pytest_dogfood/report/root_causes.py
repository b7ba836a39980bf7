"""What went wrong in a run, at its roots: a failure with all that it kept from running is one cause."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_dogfood.journey import Journey, JourneyId, Token
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome
from pytest_dogfood.report.run_index import RunIndex
from pytest_dogfood.report.run_view import WORDS, CauseView, shown
from pytest_dogfood.storage.record import Activity, Kind
from pytest_dogfood.storage.run_directory import RUN

_NOT_PROVISIONED = re.compile(r"'([^'\s]+)' could not be provisioned")


class RootCauses:
    """Finds the causes of one run."""

    def __init__(self, index: RunIndex) -> None:
        self._index = index

    def causes(self) -> Iterator[CauseView]:
        """Yield what went wrong at its roots, in the order of the project; tests outside of the graph come last."""
        results = [self._index.results[one] for one in self._index.planned if one in self._index.results]
        deferred: dict[str, list[JourneyResult]] = defaultdict(list)
        providers: dict[str, list[JourneyId]] = defaultdict(list)
        for result in results:
            if result.outcome is Outcome.DEFERRED and result.cause is not None:
                deferred[result.cause.who].append(result)
            elif result.outcome is Outcome.ERROR and (token := self._failed_provider(result.id)):
                providers[token].append(result.id)
        tokens = {one: token for token, several in providers.items() for one in several}
        told = {*providers, *(one.id for one in results if one.outcome.is_bad)}
        for result in results:
            token = tokens.get(result.id, "")
            if token and providers[token][0] == result.id:
                yield self._provider_cause(token, providers[token], deferred)
            elif result.outcome.is_bad and not token:
                yield self._item_cause(result, tuple(one.id for one in deferred.get(result.id, ())))
        for who, several in deferred.items():
            cause = several[0].cause
            if who not in told and cause is not None:
                yield self._other_cause(cause, tuple(one.id for one in several))
        yield from self._tests()

    def _tests(self) -> Iterator[CauseView]:
        by_id: dict[str, list[Activity]] = defaultdict(list)
        for one in self._index.tests:
            if one.outcome.is_bad:
                by_id[one.id].append(one)  # of a test that fails, the teardown can fail, too
        for name, several in by_id.items():
            last = several[-1]
            headline = "could not be judged" if last.outcome is Outcome.ERROR else WORDS[last.outcome]
            yield CauseView(
                id=name,
                outcome=last.outcome,
                headline="could not be collected" if last.kind is Kind.COLLECTION else headline,
                place=last.place,
                text=shown("\n\n".join(dict.fromkeys(one.text for one in several))),
                again=last.again,
            )

    def _failed_provider(self, journey: JourneyId) -> str:
        """Return the token whose provider failed in a journey's last try, or in another one's before it."""
        tries = self._index.tries.get(journey, ())
        attempt = tries[-1].attempt if tries else 1
        for one in self._index.done_for.get(journey, ()):
            if one.kind is Kind.PROVISION and one.attempt == attempt and not one.outcome.establishes:
                return one.id
        found = _NOT_PROVISIONED.search(tries[-1].text) if tries else None
        return found[1] if found is not None else ""

    def _provider_cause(
        self, token: str, not_judged: list[JourneyId], deferred: Mapping[str, list[JourneyResult]]
    ) -> CauseView:
        tried = self._index.provisions.get(token, [])
        step = self._index.failed_step(tried[-1]) if tried else None
        capability = self._index.graph.capability(Token(token))
        behind = (result.id for one in (*not_judged, token) for result in deferred.get(one, ()))
        users = [self._index.tries[one][-1] for one in not_judged if self._index.tries.get(one)]
        texts = [one.text for one in tried if one.text] or [one.text for one in users]
        return CauseView(
            id=token,
            outcome=Outcome.ERROR,
            headline="could not be provisioned",
            place=step.place if step else str(capability.location) if capability else "",
            step=step,
            text="" if step or not texts else shown(texts[-1]),
            not_judged=tuple(not_judged),
            deferred=tuple(behind),
            again=users[0].again if users else "",
            outage=f"pytest --dogfood --dogfood-blocked {token}",
        )

    def _item_cause(self, result: JourneyResult, behind: tuple[JourneyId, ...]) -> CauseView:
        tries = self._index.tries.get(result.id, [])
        last = tries[-1] if tries else None
        step = self._index.failed_step(last) if last else None
        journey = self._index.graph.journeys.get(result.id)
        if result.outcome is Outcome.CRASHED and last and last.steps:
            step = self._index.step(last.steps[-1])  # the one that never ended
        cleaning = [one for one in self._index.done_for.get(result.id, ()) if one.kind is Kind.CLEANUP]
        cleanup = self._index.failed_step(cleaning[-1]) if cleaning else None
        finished = self._index.run.exit_status is not None
        headline = {
            Outcome.CRASHED: "crashed its worker" if finished else "had not ended when the run was killed",
            Outcome.ERROR: "could not be judged",
            Outcome.FAILED: "failed",
        }[result.outcome]
        if result.cause is not None and result.outcome is Outcome.ERROR and result.cause.who == result.id:
            headline = result.cause.why
        elif step is not None and result.outcome is Outcome.FAILED:
            headline = f"failed in step {step.number} of {step.of}"
        elif step is None and cleanup is not None and result.outcome is Outcome.ERROR:
            headline = f"failed in step {cleanup.number} of {cleanup.of} of its clean-up"
            step, cleanup = cleanup, None
        return CauseView(
            id=result.id,
            outcome=result.outcome,
            headline=headline,
            place=(step.place if step else "") or (str(journey.location) if journey else ""),
            step=step,
            cleanup=cleanup,
            text=shown(last.text) if last and step is None else "",
            deferred=behind,
            changed=self._index.changed(result.id),
            again=(last.again if last else "") or self._again(journey),
            enter=self._how_to_enter(result, last),
        )

    @staticmethod
    def _again(journey: Journey | None) -> str:
        """Return what runs a journey again that could not say so itself, because its process died."""
        if journey is None:
            return ""
        nodeid = journey.nodeid.replace("'", "'\\''")
        return f"pytest --dogfood '{nodeid}'"

    def _how_to_enter(self, result: JourneyResult, last: Activity | None) -> str:
        """Return the command that opens a shell where a journey failed; nothing if its directories are not here."""
        directory, journey = self._index.directory, self._index.graph.journeys.get(result.id)
        if journey is None or journey.python or last is None or not (last.variables and result.kept):
            return ""
        workdir = Path(last.workdir)
        here = (
            (directory / RUN).is_file()
            and workdir.is_relative_to(self._index.home)
            and (directory / workdir.relative_to(self._index.home)).is_dir()
        )
        return f"dogfood enter {shlex.quote(result.id)} --run {self._index.word}" if here else ""

    def _other_cause(self, cause: Cause, deferred: tuple[JourneyId, ...]) -> CauseView:
        """Return a cause that is no item of this run: a replay that failed, a closed gate, a declared outage."""
        replays = [one for one in self._index.replays.get(cause.who, ()) if not one.outcome.establishes]
        step = self._index.failed_step(replays[-1]) if replays else None
        return CauseView(
            id=cause.who,
            outcome=Outcome.SKIPPED
            if cause.blocked
            else replays[-1].outcome
            if replays
            else Outcome.DEFERRED,
            headline="failed when it was replayed"
            if replays and cause.why == WORDS[Outcome.FAILED]
            else cause.why,
            place=step.place if step else "",
            step=step,
            text="" if step else shown(cause.details),
            deferred=deferred,
            again=replays[-1].again if replays else "",
        )
