"""What speaks for the presence of a token, and what against it: probes, and the ends of journeys that establish it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pytest_dogfood.execution.runner import StepsResult, failure_text
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.settings import Provision
from pytest_dogfood.storage.journal import End, Journal
from pytest_dogfood.storage.token_registry import MACHINE, Registry
from pytest_dogfood.walks import in_order, reachable

if TYPE_CHECKING:
    from pytest_dogfood.provisioning.presence import Presence
    from pytest_dogfood.provisioning.workspace import ChainState

WAS_THERE = "it was there already"
"""The maker, in its record, of a token that nothing in this run has made."""

NOT_FOUND = frozenset({126, 127})
"""Exit statuses by which a shell says that it could not run a command (POSIX, Exit Status for Commands)."""

Placed = tuple[Token, str]
"""A token and its place in the registry."""


class Probed(Struct, frozen=True, kw_only=True):
    """The result of a probe: how it ended, and its runner; `trouble` says why it could not be started."""

    token: Token
    done: StepsResult
    runner: ShellRunner
    trouble: str = ""

    @property
    def present(self) -> bool:
        return not self.trouble and self.done.failure is None

    @property
    def timed_out(self) -> bool:
        failure = self.done.failure
        return failure is not None and failure.seen is not None and failure.seen.timed_out

    @property
    def why_not_run(self) -> str:
        """Why the probe shows neither presence nor absence; empty if it shows one of them."""
        failure = self.done.failure
        if self.trouble or failure is None or failure.seen is None:
            return self.trouble
        if failure.seen.timed_out:
            return f"it timed out after {failure.seen.limit:g} s"
        if failure.seen.status < 0:
            return f"signal {-failure.seen.status} ended it"
        return f"its exit status is {failure.seen.status}" if failure.seen.status in NOT_FOUND else ""

    @property
    def denial(self) -> str:
        """The result of a probe that ran but did not succeed, as the end of a sentence."""
        failure = self.done.failure
        if failure is None or failure.seen is None or failure.wrong[0].what != "exit status":
            return "did not meet its expectations"
        return f"exited {failure.seen.status}"

    @property
    def text(self) -> str:
        """The text about a probe that did not succeed: first the reason, if it could not be run at all."""
        step = failure_text(self.done, self.runner, what=f"probe of {self.token}, step")
        if why := self.runner.mask(self.why_not_run):
            cure = "let it exit with 1 where the token is missing"
            return f"the probe of {self.token!r} cannot be run: {why}; {cure}\n{step}".rstrip()
        return step


class ProbedBases:
    """Finds the probes for a token without one: those of the nearest tokens with a probe on which it rests.

    Such a token is present while all tokens on which it rests are present and older than it: a base that was made again
    does not contain what was built on the old one.
    """

    def __init__(self, graph: CapabilityGraph, registry: Registry) -> None:
        self._graph = graph
        self._registry = registry
        # Valid until a token is lost: in a chain of thousands, each item adds one token to it.
        self._known: dict[Placed, tuple[Placed, ...]] = {}
        self._losses = 0

    def of(self, token: Token, place: str) -> tuple[Placed, ...] | None:
        """Return the tokens whose probes count for `token`; None if a token on which it rested is lost."""
        if self._losses != self._registry.losses:
            self._losses = self._registry.losses
            self._known.clear()
        if (token, place) in self._known:
            return self._known[token, place]

        def unknown(one: Placed) -> list[Placed]:
            return [
                base
                for base in self._bases(*one)
                if not (self._graph.has_probe(base[0]) or base in self._known)
            ]

        # Bases first, and not by recursion: a chain may be longer than the stack.
        for one in in_order({one: unknown(one) for one in reachable([(token, place)], unknown)}):
            if (below := self._combined(*one)) is not None:
                self._known[one] = below
        return self._known.get((token, place))

    def _bases(self, token: Token, place: str) -> tuple[Placed, ...]:
        record = self._registry.record_of(token, place)
        if record is None:
            return ()
        maker = JourneyId(record.by)
        bases = self._graph.bases_of(record.token, maker if maker in self._graph.journeys else None)
        home = record.home or record.place
        return tuple((base, MACHINE if self._graph.scope_of(base).is_shared else home) for base in bases)

    def _combined(self, token: Token, place: str) -> tuple[Placed, ...] | None:
        record = self._registry.record_of(token, place)
        if record is None:
            return None
        found: dict[Placed, None] = {}
        for base in self._bases(token, place):
            below = (base,) if self._graph.has_probe(base[0]) else self._known.get(base)
            if below is None or self._registry.known_of(*base).last_since > record.since:
                return None
            found.update(dict.fromkeys(below))
        return tuple(found)


class EstablisherEnds:
    """How the journeys that establish a token have ended in this run, as items or replays."""

    def __init__(self, presence: Presence, journal: Journal) -> None:
        self._presence = presence
        self._graph = presence.graph
        self._journal = journal

    def refute(self, token: Token, state: ChainState) -> bool:
        """Return whether a token does not count as present, even if its probe succeeds: an establishing journey failed.

        That is so if none of them passed, unless another provider has provisioned the token since. It is also so if
        one failed after another had established the token: the failed one may have replaced what the other had made,
        and then the recorded values are wrong. So a token with values is provisioned again, unless that is impossible:
        a token that a Python test established is kept.
        """
        record = self._presence.record_of(token, state)
        by_journey = record is not None and record.by in self._graph.establishing(token)
        ends = self._ends(token, state.name)
        if ends and not any(end.outcome.establishes for end in ends):
            by_provider = record is not None and record.by != WAS_THERE and not by_journey
            if record is None or not by_provider or record.since < max(end.at for end in ends):
                return True
        several = len(self._graph.establishers.get(token, ())) > 1
        never = self._presence.workspace.settings.provision is Provision.NEVER
        if record is None or not (several and record.values and by_journey) or never:
            return False
        # A token of the whole machine may have been changed from any state.
        anywhere = record.place == MACHINE
        ends = self._ends(token, "" if anywhere else state.name)
        failed = [end for end in ends if end.outcome.is_bad and (anywhere or end.state == state.name)]
        if all(end.at < record.since for end in failed):
            return False
        maker = self._graph.journeys[JourneyId(record.by)]
        return self._graph.has_independent_provider(token) or not (maker.python or maker.use)

    def cause_against(self, token: Token, state: ChainState) -> Cause | None:
        """Return the first cause if every establishing journey of a token ended without passing; else None."""
        ends = self._ends(token, state.name)
        causes = [cause for end in ends if (cause := end.blocking_cause()) is not None]
        return causes[0] if causes and len(causes) == len(self._graph.establishers[token]) else None

    def _ends(self, token: Token, state: str) -> list[End]:
        """Return the ends of those establishing journeys that have ended; an end in `state` counts before others.

        For journeys that only together establish the token, one failure decides, but one success does not.
        """
        found: list[End] = []
        for one in self._graph.establishers.get(token, ()):
            ends = [self._journal.end_of(member, state=state) for member in one]
            bad = (end for end in ends if end is not None and not end.outcome.establishes)
            end = next(bad, None if None in ends else ends[-1])
            if end is not None:
                found.append(end)
        return found
