"""One item's turn: what it needs ensured, its steps performed, what it establishes recorded."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec import field
from msgspec.structs import replace

from pytest_dogfood.asking import Ask
from pytest_dogfood.asking import DeferredError
from pytest_dogfood.asking import FixtureValue
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.establishing import establish
from pytest_dogfood.execution import perform
from pytest_dogfood.journal import Why
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import INTERRUPTED
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.planning import PlannedJourney
from pytest_dogfood.playing import cast_for
from pytest_dogfood.playing import play
from pytest_dogfood.playing import require_actor
from pytest_dogfood.provisioning import Provisioner
from pytest_dogfood.raising import harness_failure
from pytest_dogfood.recursion import room_for
from pytest_dogfood.replaying import bench_for_journey
from pytest_dogfood.replaying import denial
from pytest_dogfood.replaying import forget_invalidated
from pytest_dogfood.replaying import reproduction
from pytest_dogfood.rundir import remove_if_filled
from pytest_dogfood.stepping import RealBench
from pytest_dogfood.stepping import place_files
from pytest_dogfood.storage import private_directory
from pytest_dogfood.wording import failure_text
from pytest_dogfood.world import State

if TYPE_CHECKING:
    from pytest_dogfood.actors.cast import JourneyCast


NOT_SET_UP = (
    "it was called although its set-up has failed or was left out, so nothing that it requires is ensured"
)


def _not_set_up() -> BaseException:
    return harness_failure(HarnessError(NOT_SET_UP))


class ProductFailure(Exception):  # noqa: N818 - the product's, not the program's
    """An expectation was not met; the text is what a person reads."""


class Turn(Struct, kw_only=True):
    """What has happened to one item so far. A rerun of the item is a new turn."""

    journey: Journey
    planned: PlannedJourney
    provisioner: Provisioner
    state: State
    ask: Ask
    outcome: Outcome = Outcome.PASSED
    cause: Cause | None = None
    established: dict[Token, Proof] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    secret: list[str] = field(default_factory=list)
    workdir: Path | None = None
    bench: RealBench | None = None
    cast: JourneyCast | None = None
    refusal: BaseException | None = field(default_factory=_not_set_up)
    """What keeps the item from being called: until it is prepared, that it is not."""
    calling: bool = False
    parts: Outcome = Outcome.PASSED
    """What the worst of the item's subtests came to so far."""
    harness_problem: str = ""
    """What the harness could not do in one of them."""
    _is_clean: bool = False
    _held: ExitStack = field(default_factory=ExitStack)
    _not_begun: HarnessError | None = None

    def prepare(self, fixture: FixtureValue | None) -> None:
        """Ensure what the journey requires, and make its place ready; `fixture` is None for an item without any.

        Raises NoActor, DeferredError, or HarnessError where the harness could not do its part.
        """
        if self._not_begun is not None:
            raise self._not_begun
        world = self.provisioner.presence.world
        require_actor(world, self.journey)
        if self.journey.obstacle is not None:
            raise DeferredError(Cause(who=self.journey.obstacle.who, why=self.journey.obstacle.why))
        private_directory(self.state.path)
        self.ask.fixture = fixture
        with room_for(len(self.provisioner.presence.graph.journeys)):
            self.provisioner.pass_gates(self.planned.gates, self.ask)
            self.provisioner.ensure(self.planned.requires, self.ask)
        self._note_what_is_there_already()
        forget_invalidated(self.provisioner.presence, self.journey, self.state)
        self._held.enter_context(self.provisioner.presence.holding_locks(self.journey, self.state))
        if not self.journey.python:
            self.workdir = world.workdir_for(self.journey, self.state)
            place_files(self.journey.seed_files, self.workdir)

    def _note_what_is_there_already(self) -> None:
        presence = self.provisioner.presence
        for token in self.journey.establishes:
            capability = presence.graph.capability(token)
            if capability is not None and capability.release and presence.outlives_runs(token):
                with presence.locked(token, self.state):
                    presence.ask(token, self.state)

    def perform(self, *, verbose: bool) -> None:
        """Do the steps; raises ProductFailure where one is not as expected, NoActor and HarnessError as `play` does."""
        if self.workdir is None:
            raise HarnessError(f"{self.journey.id} was not prepared")
        # Not earlier, for the fixtures that were set up since may have changed the environment.
        self.bench = self._bench_in(self.workdir)
        world = self.provisioner.presence.world
        self.cast = cast_for(world, self.journey, self.bench)
        done = play(world, self.journey, self.bench, self.cast, why=Why.ITEM)
        if done.failure is not None:
            again = reproduction(self.journey, world)
            text = failure_text(done, self.bench, reproduce=again, verbose=verbose)
            raise ProductFailure(f"{text}\n{self._whereabouts()}")
        self.values.update(done.values)
        self.secret.extend(done.secret)

    def establish(self) -> None:
        """Record what the journey, which has passed, establishes; raises ProductFailure if a probe says no."""
        found = establish(
            self.provisioner.presence,
            self.provisioner.journal,
            self.journey,
            self.state,
            self.values,
            self.secret,
        )
        self.established.update(found.proofs)
        if found.denied:
            again = reproduction(self.journey, self.provisioner.presence.world)
            text = f"{denial(self.journey, found.denied)}\n\nreproduce: {again}"
            raise ProductFailure(f"{text}\n{self._whereabouts()}")

    def clean_up(self) -> str:
        """Run the journey's clean-up steps, all of them, once; gives what went wrong, or nothing."""
        if self._is_clean or self.workdir is None or not self.journey.cleanup:
            return ""
        self._is_clean = True
        bench = self.bench or self._bench_in(self.workdir)
        bench = replace(bench, environment={**bench.environment, **self.values}, name=f"{bench.name}-cleanup")
        with self.provisioner.presence.world.interruption.doing("clean-up"):
            done = perform(self.journey.cleanup, bench, keep_going=True)
        return failure_text(done, bench, what="cleanup step")

    def _bench_in(self, workdir: Path) -> RealBench:
        return bench_for_journey(self.provisioner.presence, self.journey, self.state, workdir)

    def leave(self) -> None:
        """Give back locks, and what is in the working directory if nobody will want to look at it."""
        self._held.close()
        if self._keeps_nothing() and self.workdir is not None and self.journey.workdir is None:
            remove_if_filled(self.workdir)

    def _keeps_nothing(self) -> bool:
        settings = self.provisioner.presence.world.settings
        told = self.cause is not None and self.cause.why == INTERRUPTED
        return not settings.keep and (told or self.outcome not in {Outcome.FAILED, Outcome.ERROR})

    def _whereabouts(self) -> str:
        where = f"{self.workdir} (working directory), " if self.workdir is not None else ""
        kept = f"kept:      {where}{self.state.path} (state)"
        return kept if self.cast is None else f"{kept}\ntrajectory: {self.cast.trajectory.path}"

    def kept_paths(self) -> tuple[Path, ...]:
        """Name what stays on disk because the item did not do well."""
        kept = tuple(dict.fromkeys(self.ask.kept))
        if self._keeps_nothing():
            return kept
        own = (self.state.path,) if self.workdir is None else (self.state.path, self.workdir)
        return tuple(dict.fromkeys([*own, *kept]))

    def begin(self) -> None:
        """Write down that the item starts; where that fails, `prepare` says so."""
        try:
            self.provisioner.journal.started(self.journey.id, Why.ITEM, self.state.name)
        except HarnessError as error:
            self._not_begun = error

    def end(self) -> None:
        """Write the outcome down; this is what dependents on any worker go by. Raises HarnessError if that fails."""
        if self.established and self._is_disproved:
            self._take_back_its_word()
        self.provisioner.journal.ended(self.journey.id, Why.ITEM, self.state.name, self.outcome, self.cause)

    @property
    def _is_disproved(self) -> bool:
        """Whether a test came to something else in the end than what it had established its tokens by."""
        return self.journey.python and not self.outcome.establishes

    def _take_back_its_word(self) -> None:
        """Forget what had been written down before more was known: a failed teardown, or a failure unittest kept."""
        for token in self.established:
            self.provisioner.presence.forget(token, self.state)
        if self.outcome is Outcome.ERROR:
            self.cause = Cause(who=self.journey.id, why="passed, but its teardown failed")

    def result(self) -> JourneyResult:
        return JourneyResult(
            id=self.journey.id,
            outcome=self.outcome,
            chain=self.state.chain,
            worker=self.provisioner.presence.world.worker,
            cause=self.cause,
            proofs={**self.ask.proofs, **({} if self._is_disproved else self.established)},
            provisioned=tuple(self.ask.provisioned),
            kept=":".join(str(path) for path in self.kept_paths()),
            trajectory="" if self.cast is None else str(self.cast.trajectory.path),
            unjudged=0 if self.cast is None else self.cast.unjudged,
        )
