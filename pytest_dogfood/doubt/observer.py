"""Looks at states between the entries of a plan file's lines: asks probes, notes changed files, and waits."""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.runner import StepResult, StepsResult, run_steps
from pytest_dogfood.journey import Capability, ChainId, JourneyId, StateId, Token, variable_for
from pytest_dogfood.provisioning.evidence import Probed
from pytest_dogfood.provisioning.presence import PROBE_TIMEOUT, Presence
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.scheduling.pinned_plan import Idle, PinnedPlan, lines_of
from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.storage.files import SharedLog
from pytest_dogfood.storage.plan_record import IDLE, OBSERVATIONS, Answer, Observation

SLOW = 1.0
"""Seconds above which a probe is asked again only if files of the state have changed."""

MOST_FILES = 1000
"""The most files of one kind that one observation names."""

LONGEST_TEXT = 4000
"""The most characters of the text of an answer."""

Files = Mapping[str, tuple[int, ...]]
"""What is below a directory: for each relative path what changes when it does."""


class StateObserver:
    """The plugin that observes the states of items here, and leaves them alone where a line says so."""

    def __init__(self, pinned: PinnedPlan, plan: Plan, presence: Presence) -> None:
        self._pinned = pinned
        self._presence = presence
        self._lines = lines_of(pinned, plan)
        self._forks = split(presence.graph).forks
        self._log = SharedLog(presence.workspace.run.records / OBSERVATIONS, Observation)
        self._begun: set[str] = set()
        self._current: list[tuple[PlannedJourney, ChainState]] = []
        self._answers: dict[tuple[str, Token], Answer] = {}
        self._files: dict[str, Files] = {}

    def begin(self, planned: PlannedJourney, state: ChainState) -> None:
        """Observe a state that has just begun, before anything is set up in it for its first item."""
        self._current = [(planned, state)]
        if state.name in self._begun:
            return
        self._begun.add(state.name)
        line = self._lines[planned.state]
        first = line.index(planned.id)
        leading = [*line[:first]]
        if all(isinstance(entry, Idle) for entry in leading):
            self._observe(state, 0, "")
            for position, entry in enumerate(leading, 1):
                self._leave_alone(state, position, entry)
        else:  # those before it did not get so far
            self._observe(state, first, "")

    def watch(self, planned: PlannedJourney, state: ChainState, done: StepsResult) -> int | None:
        """Ask for what an item establishes behind each of its steps, as far as the plan says so.

        Return the number of the step behind which the item ends, None for its last one.
        """
        journey = self._presence.graph.journeys[planned.id]
        tokens = [
            token
            for token in journey.establishes
            if self._probe_of(token) is not None
            and not self._presence.graph.scope_of(token).is_shared
            and ((known := self._answers.get((state.name, token))) is None or not known.present)
        ]
        if self._pinned.steps and tokens:
            last, position = len(journey.steps), self._lines[planned.state].index(planned.id)

            def ended(result: StepResult) -> None:
                if result.number < last and not result.wrong and tokens:
                    with suppress(HarnessError):  # a full disk, which is told elsewhere
                        self._look_within(planned, state, position, result.number, tokens, done)

            done.ended = ended
        return self._pinned.stops.get(planned.id)

    def _look_within(
        self,
        planned: PlannedJourney,
        state: ChainState,
        position: int,
        step: int,
        tokens: list[Token],
        done: StepsResult,
    ) -> None:
        """Ask for tokens behind a step; those that are present, or whose probes are slow, are asked for no more."""
        graph = self._presence.graph
        asked = [token for token in tokens if done.values.keys() >= graph.values_wanted(token)]
        answers = tuple(self._ask(token, state, saved=done.values) for token in asked)
        for answer in answers:
            if answer.present or answer.seconds > SLOW:
                tokens.remove(answer.token)
        self._log.append(
            Observation(
                state=state.id,
                place=state.name,
                position=position,
                at=round(time.time(), 3),
                entry=planned.id,
                answers=answers,
                step=step,
            )
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Observe the state of an item after its last rerun, before what only it has kept alive is released."""
        self._current.clear()
        result = yield
        for planned, state in self._current:
            with suppress(HarnessError):  # a full disk, which is told elsewhere
                self._end(planned, state)
        return result

    def _end(self, planned: PlannedJourney, state: ChainState) -> None:
        """Observe a state after an item and its clean-up, and after each time that it is left alone behind it."""
        line = self._lines[planned.state]
        position = line.index(planned.id) + 1
        self._observe(state, position, planned.id)
        while position < len(line) and isinstance(line[position], Idle):
            position += 1
            self._leave_alone(state, position, line[position - 1])

    def _leave_alone(self, state: ChainState, position: int, entry: object) -> None:
        interruption, seconds = (
            self._presence.workspace.interruption,
            entry.idle if isinstance(entry, Idle) else 0,
        )
        deadline = time.monotonic() + seconds
        with interruption.operation(f"wait of {seconds:g} s, as the plan says"):
            while (left := deadline - time.monotonic()) > 0 and not interruption.signalled:
                time.sleep(min(left, 0.2))
        self._presence.workspace.changes.note("its state was left alone")
        self._observe(state, position, IDLE)

    def _observe(self, state: ChainState, position: int, entry: str) -> None:
        if not self._pinned.observes or self._presence.workspace.interruption.signalled:
            return
        if not state.path.is_dir():  # the item got no further than its gates, or its steps have removed it
            return
        slow = any(one.seconds > SLOW for (place, _), one in self._answers.items() if place == state.name)
        before = self._files.get(state.name)
        now = snapshot(state.path) if self._pinned.files or slow else None
        is_same = now is not None and now == before
        tokens = self._tokens_of.get(state.chain, ())
        answers = tuple(self._answer(token, state, is_same=is_same) for token in tokens)
        written: list[str] = []
        removed: list[str] = []
        if before is not None and now is not None and not is_same:
            written = [path for path, what in now.items() if before.get(path) != what]
            removed = [path for path in before if path not in now]
        fork, mask = self._forks.get(state.id), self._presence.workspace.keeper.mask
        self._log.append(
            Observation(
                state=state.id,
                place=state.name,
                position=position,
                at=round(time.time(), 3),
                entry=entry,
                answers=answers,
                written=tuple(map(mask, sorted(written)[:MOST_FILES])) if self._pinned.files else (),
                removed=tuple(map(mask, sorted(removed)[:MOST_FILES])) if self._pinned.files else (),
                part_of=StateId("") if fork is None else fork.state,
                behind=JourneyId("") if fork is None or fork.after is None else fork.after,
            )
        )
        # A probe may write files, too: what it leaves is no work of the next entry.
        if self._pinned.files or any(one.seconds > SLOW for one in answers):
            self._files[state.name] = snapshot(state.path) if answers or now is None else now

    @cached_property
    def _tokens_of(self) -> Mapping[ChainId, tuple[Token, ...]]:
        """The tokens to ask for in the states of each chain: the named ones, else all that have a probe."""
        graph, named = self._presence.graph, self._pinned.asked
        if not (named or self._pinned.probes):
            return {}
        found: dict[ChainId, dict[Token, None]] = defaultdict(dict)
        for journey in graph.journeys.values():
            found[graph.chains[journey.id]] |= dict.fromkeys(graph.chain_tokens_of(journey))
        shared = [token for token in named if graph.scope_of(token).is_shared]
        return {
            chain: tuple(
                token
                for token in (*(one for one in tokens if not named or one in named), *shared)
                if self._probe_of(token) is not None
            )
            for chain, tokens in found.items()
        }

    def _probe_of(self, token: Token) -> Capability | None:
        """Return the definition of a token with nothing but its probe; None if it has none."""
        capability = self._presence.graph.capability(token)
        if capability is None or capability.probe is None:
            return None
        timeout = capability.timeout or capability.probe.timeout or PROBE_TIMEOUT
        probe = replace(capability.probe, timeout=timeout)
        return replace(capability, probe=probe, provision=(), service=None, release=())

    def _answer(self, token: Token, state: ChainState, *, is_same: bool) -> Answer:
        known = self._answers.get((state.name, token))
        if is_same and known is not None and known.seconds > SLOW:
            return replace(known, repeated=True)
        self._answers[state.name, token] = answer = self._ask(token, state)
        return answer

    def _ask(self, token: Token, state: ChainState, *, saved: Mapping[str, str] | None = None) -> Answer:
        """Ask a probe without a trace in what the run knows of its token.

        `saved` are its values where the journey that establishes it has not ended yet.
        """
        presence, capability = self._presence, self._probe_of(token)
        unknown = self._unknown_values(token, state)
        missing = next((one for one in unknown if saved is None or one != token), None)
        if capability is None or capability.probe is None or missing is not None:
            return Answer(token=token, why=f"the values of {missing!r} are not known")
        values = {**presence.values_of(token, state), **(saved or {})}
        runner = presence.runner_for(token, capability, state, values, what="probe")
        done, began, trouble = StepsResult(), time.monotonic(), ""
        try:
            with presence.workspace.interruption.operation(f"probe of {token}"):
                run_steps([capability.probe], runner, done=done)
        except HarnessError as error:
            trouble = str(error)
        seconds = round(time.monotonic() - began, 4)
        probed = Probed(token=token, done=done, runner=runner, trouble=trouble)
        seen = done.results[-1].seen if done.results else None
        return Answer(
            token=token,
            present=None if probed.why_not_run else probed.present,
            seconds=seconds,
            exit=None if seen is None else seen.status,
            why=runner.mask(probed.why_not_run),
            text="" if probed.present else probed.text[:LONGEST_TEXT],
        )

    def _unknown_values(self, token: Token, state: ChainState) -> Iterator[Token]:
        """Yield the tokens without whose values an answer would say nothing: they are not recorded here."""
        presence, graph, capability = self._presence, self._presence.graph, self._probe_of(token)
        if presence.record_of(token, state) is None and graph.values_wanted(token):
            yield token
        for one in graph.with_bases([token]):
            names = graph.value_names(one) if presence.record_of(one, state) is None else ()
            if capability is not None and any(capability.mentions(variable_for(one, name)) for name in names):
                yield one


def snapshot(directory: Path) -> Files:
    """Return what lies below a directory; what vanishes while this looks at it is left out."""
    found: dict[str, tuple[int, ...]] = {}
    waiting = [""]
    for folder in waiting:  # grows while it is read
        with suppress(OSError), os.scandir(directory / folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    name = f"{folder}/{entry.name}".lstrip("/")
                    shown = os.fsencode(name).decode(errors="backslashreplace")
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(name)
                        found[shown] = (status.st_mode, status.st_ino)
                    else:
                        found[shown] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
    return found
