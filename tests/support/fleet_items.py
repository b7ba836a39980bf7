"""Items of a random project on a machine of a fleet, in virtual time: their tokens are provided, and they run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Protocol, TypeVar

from msgspec.structs import replace

from pytest_dogfood.fleet.board import FleetToken, TokenState
from pytest_dogfood.fleet.token_rules import after_failure, is_for_others_to_try, refusal, refusal_of_loss
from pytest_dogfood.journey import Journey, JourneyId, StateId, Token
from pytest_dogfood.scheduling.plan import PlannedJourney
from pytest_dogfood.scheduling.split import Fork, StateTree
from tests.support.fleet_boards import MemoryRun
from tests.support.played_workers import MACHINE, Place
from tests.support.strategies import Scene
from tests.support.virtual_time import Task

POLL = 0.1
REPLAY = 0.3

T = TypeVar("T")


class RefusedError(Exception):
    """A token of the fleet is not to be had because of what has happened to machines."""


class Outside(Protocol):
    """The product outside of all machines, and what watches over the use of it."""

    scene: Scene
    tree: StateTree
    fleet_tokens: Collection[Token]
    there: set[Token]
    probe_seconds: float
    probes_under_the_hold: bool

    def begin_use(self, machine: str, worker: str, tokens: Iterable[Token]) -> None: ...
    def end_use(self, machine: str, worker: str) -> None: ...
    def occasion(self, machine: str, what: str, seconds: float) -> None: ...
    def begin_provision(self, machine: str, token: Token) -> float:
        """Check that a token may be provided now; return how long that takes, in seconds."""


class Host(Protocol):
    """The machine that runs items. `broken` are tokens that it cannot provide, or that its probes deny for ever."""

    name: str
    broken: Collection[Token]
    holds: dict[Place, set[Token]]
    templates: dict[Fork, set[Token]]
    begun: set[Place]
    outcomes: dict[JourneyId, str]

    @property
    def run(self) -> MemoryRun: ...
    @property
    def lease(self) -> float: ...
    def clock(self) -> float: ...
    def reach(self, request: Callable[[], T]) -> Task[T]:
        """Ask the board until it answers."""

    def fail(self, token: Token) -> None:
        """Note that a provider has failed here."""


class ItemRun:
    """One item on a worker; `blamed` says that its outcome comes from a machine, not from the product."""

    def __init__(self, outside: Outside, host: Host, worker: str) -> None:
        self.outside = outside
        self.host = host
        self.worker = worker
        self.blamed = False

    @property
    def me(self) -> str:
        return f"{self.host.name}/{self.worker}"

    def run(self, planned: PlannedJourney, seconds: float) -> Task[str]:
        """Run an item of the graph; return its outcome."""
        if any(self.host.outcomes.get(gate, "passed") != "passed" for gate in planned.gates):
            return "deferred"
        place = (planned.state, self.worker)
        outcome = yield from self._attempt(self._journey(planned.id), place, seconds)
        self._note_templates(planned.id, place)
        return outcome

    def _attempt(self, journey: Journey, place: Place, seconds: float) -> Task[str]:
        if problem := (yield from self._set_up(journey, place)):
            return problem
        fleet = [token for token in journey.requires if token in self.outside.fleet_tokens]
        for token in journey.invalidates:
            if token in self.outside.fleet_tokens:
                yield from self._forget(token)
        self.outside.begin_use(self.host.name, self.worker, fleet)
        yield seconds
        self.outside.end_use(self.host.name, self.worker)
        if journey.id in self.outside.scene.failing:
            return "failed"
        for token in journey.invalidates:
            self._place_of(token, place).discard(token)
        for token in journey.establishes:
            self._place_of(token, place).add(token)
            if token in self.outside.fleet_tokens:
                yield from self._record(token)
        return "passed"

    def _set_up(self, journey: Journey, place: Place) -> Task[str]:
        if place not in self.host.begun:
            self.host.begun.add(place)
            self._holds(place).update(self._template(StateId(place[0])))
        try:
            while lacking := (yield from self._lacking(journey.requires, place)):
                if problem := (yield from self._provide_all(lacking, place)):
                    return problem
        except RefusedError:
            self.blamed = True
            return "error"
        return ""

    def _lacking(self, tokens: Iterable[Token], place: Place) -> Task[list[Token]]:
        found = []
        for token in tokens:
            if token in self.outside.fleet_tokens:
                is_present = yield from self._is_present(token)
            else:
                is_present = token in self._place_of(token, place)
            if not is_present:
                found.append(token)
        return found

    def _provide_all(self, tokens: Iterable[Token], place: Place) -> Task[str]:
        """Provide what is lacking; a token that defers goes before an error of another one."""
        problem = ""
        for token in tokens:
            if not (problem and self.outside.scene.capability(token).provision):
                provide = self._provide_for_all if token in self.outside.fleet_tokens else self._make
                found = yield from provide(token, place)
                if found == "deferred":
                    return found
                problem = problem or found
        return problem

    def _make(self, token: Token, place: Place) -> Task[str]:
        """Provide a token, whatever its scope; return what is in the way."""
        capability = self.outside.scene.capability(token)
        if capability.provision:
            lacking = yield from self._lacking(capability.requires, place)
            if problem := (yield from self._provide_all(lacking, place)):
                return problem
            if token in self.host.broken:
                self.blamed = True
                self.host.fail(token)
                return "error"
            self._place_of(token, place).add(token)
            return ""
        for journey in self._replayable(token):
            shared = self.outside.scene.is_shared(token)
            where = (self.outside.tree.state_of[journey.id], place[1]) if shared else place
            if (yield from self._attempt(journey, where, REPLAY)) == "passed":
                return ""
        return "deferred" if self.outside.scene.establishers(token) else "error"

    def _replayable(self, token: Token) -> list[Journey]:
        outcomes = self.host.outcomes
        found = self.outside.scene.establishers(token)
        return [one for one in found if not one.python and outcomes.get(one.id, "passed") == "passed"]

    # Tokens of the fleet

    def _is_present(self, token: Token) -> Task[bool]:
        """Return whether a token of the fleet can be used here now; wait while another worker deals with it."""
        row = yield from self._ask(lambda: self.host.run.use(self.host.name, token))
        waits_since, says = self.host.clock(), False
        while True:
            if text := refusal(row):
                raise RefusedError(text)
            if row.holder:
                says = says and row.state is not TokenState.COMING
                row = yield from self._look_again(token)
                continue
            says = says or (yield from self._ask_now(row))
            if row.state is TokenState.HELD:
                if not says and (text := refusal_of_loss(row, self.host.name)):
                    raise RefusedError(text)
                return says
            if says:
                # There before the run, or half-made and complete after all: the others must know that it is used.
                row = yield from self._hold(row)
                if row.holder == self.me:
                    row = yield from self._settle(replace(row, state=TokenState.HELD))
                continue
            patient = self.host.clock() - waits_since < self.host.lease
            if not (patient and is_for_others_to_try(row, self.host.name)):
                return False
            row = yield from self._look_again(token)

    def _ask_now(self, row: FleetToken) -> Task[bool]:
        if not self.outside.probes_under_the_hold:
            return (yield from self._probe(row))
        while row.holder != self.me:
            row = yield from self._look_again(row.token)
            row = yield from self._hold(row)
        says = yield from self._probe(row)
        yield from self._settle(replace(row, state=TokenState.HELD) if says else row)
        return says

    def _provide_for_all(self, token: Token, place: Place) -> Task[str]:
        """Provide a token of the fleet while no other worker can."""
        capability = self.outside.scene.capability(token)
        if not capability.provision and not self._replayable(token):
            return "deferred" if self.outside.scene.establishers(token) else "error"
        for _ in range(50):
            needs = capability.requires if capability.provision else self._replayable(token)[0].requires
            lacking = yield from self._lacking(needs, place)
            fleet = [one for one in lacking if one in self.outside.fleet_tokens]
            problem = yield from self._provide_all(fleet, place)
            if problem and capability.provision:  # else another journey may yet be replayed
                return problem
            if (yield from self._is_present(token)):
                return ""
            row = yield from self._ask(lambda: self.host.run.token(token))
            row = yield from self._hold(row)
            if row.holder == self.me:
                problem = yield from self._provide_under_hold(row, place)
                if problem != "again":
                    return problem
        raise AssertionError(f"{self.me} has tried for {token} again and again")

    def _provide_under_hold(self, row: FleetToken, place: Place) -> Task[str]:
        """Return what is in the way, or "again" if it is for this or another machine to try once more."""
        token = row.token
        if (yield from self._probe(row)):
            yield from self._settle(replace(row, state=TokenState.HELD))
            return ""
        if row.state is TokenState.HELD and (text := refusal_of_loss(row, self.host.name)):
            yield from self._settle(row)
            raise RefusedError(text)
        was_ours = row.ours
        row = yield from self._ask(partial(self.host.run.begin, self.host.name, row))
        yield self.outside.begin_provision(self.host.name, token)
        was_blamed = self.blamed
        try:
            problem = yield from self._make(token, place)
        except RefusedError:  # of what it needs; whatever happens, the hold has to end
            yield from self._settle(replace(row, state=TokenState.ABSENT, ours=was_ours))
            raise
        if problem and self.blamed:
            yield from self._settle(after_failure(row, self.host.name, problem))
            self.blamed = was_blamed
            return "again"
        if problem:
            yield from self._settle(replace(row, state=TokenState.ABSENT, ours=was_ours))
            return problem
        yield from self._settle(
            replace(row, state=TokenState.HELD, by=self.me, message="", tried_on=(), lost_on=())
        )
        return ""

    def _record(self, token: Token) -> Task[None]:
        """Let all machines know that a journey has established a token, before its end is told."""
        while True:
            row = yield from self._ask(lambda: self.host.run.token(token))
            row = yield from self._hold(row)
            if row.holder == self.me:
                yield from self._settle(replace(row, state=TokenState.HELD, ours=True, by=self.me))
                return
            yield POLL

    def _forget(self, token: Token) -> Task[None]:
        row = yield from self._ask(lambda: self.host.run.token(token))
        while row.state in {TokenState.HELD, TokenState.FAILED}:
            row = yield from self._ask(partial(self.host.run.forget, self.host.name, row))

    def _probe(self, row: FleetToken) -> Task[bool]:
        """Ask whether a token is there; without a probe, believe what the board says."""
        if self.outside.scene.capability(row.token).probe is None:
            return row.state is TokenState.HELD
        yield self.outside.probe_seconds
        return row.token in self.outside.there and row.token not in self.host.broken

    def _look_again(self, token: Token) -> Task[FleetToken]:
        yield POLL
        return (yield from self._ask(lambda: self.host.run.token(token)))

    def _hold(self, row: FleetToken) -> Task[FleetToken]:
        self.outside.occasion(self.host.name, "when it holds", 0.02)
        return (yield from self._ask(lambda: self.host.run.hold(self.host.name, row, self.worker)))

    def _settle(self, row: FleetToken) -> Task[FleetToken]:
        return (yield from self._ask(lambda: self.host.run.settle(self.host.name, row)))

    def _ask(self, request: Callable[[], FleetToken]) -> Task[FleetToken]:
        return (yield from self.host.reach(request))

    # States

    def _journey(self, journey: JourneyId) -> Journey:
        return next(one for one in self.outside.scene.journeys if one.id == journey)

    def _holds(self, place: Place) -> set[Token]:
        return self.host.holds.setdefault(place, set())

    def _place_of(self, token: Token, place: Place) -> set[Token]:
        if token in self.outside.fleet_tokens:
            return self.outside.there
        return self._holds(MACHINE if self.outside.scene.is_shared(token) else place)

    def _note_templates(self, ended: JourneyId, place: Place) -> None:
        """Keep what parts will begin with that are copied from here, behind what has ended or a later journey."""
        members = self.outside.tree.members[StateId(place[0])]
        for fork in dict.fromkeys(self.outside.tree.forks.values()):
            if fork.state == place[0] and members.index(fork.after or ended) >= members.index(ended):
                scene = self.outside.scene
                self.host.templates[fork] = {
                    one for one in self._holds(place) if scene.capability(one).copyable
                }

    def _template(self, state: StateId) -> set[Token]:
        fork = self.outside.tree.forks.get(state)
        if fork is None:
            return set()
        return self.host.templates[fork] if fork in self.host.templates else self._template(fork.state)
