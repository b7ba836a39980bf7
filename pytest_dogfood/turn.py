"""One item's turn: what it needs ensured, its steps performed, what it establishes recorded."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path

from pytest_dogfood.asking import Ask
from pytest_dogfood.asking import DeferredError
from pytest_dogfood.asking import FixtureValue
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.establishing import establish
from pytest_dogfood.execution import perform
from pytest_dogfood.journal import Why
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Cause
from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.outcomes import reason_of
from pytest_dogfood.planning import PlannedJourney
from pytest_dogfood.provisioning import Provisioner
from pytest_dogfood.replaying import bench_for_journey
from pytest_dogfood.replaying import denial
from pytest_dogfood.replaying import forget_invalidated
from pytest_dogfood.replaying import reproduction
from pytest_dogfood.rundir import remove_if_filled
from pytest_dogfood.stepping import RealBench
from pytest_dogfood.stepping import place_files
from pytest_dogfood.wording import failure_text
from pytest_dogfood.world import State


class ProductFailure(Exception):  # noqa: N818 - the product's, not the program's
    """An expectation was not met; the text is what a person reads."""


class NoActor(Exception):  # noqa: N818 - a reason to skip
    """A step has no command, and there is nobody to decide one."""


@dataclass(slots=True, kw_only=True)
class Turn:
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
    bench: RealBench | None = None
    _held: ExitStack = field(default_factory=ExitStack)

    def prepare(self, fixture: FixtureValue) -> None:
        """Ensure what the journey requires, and make its place ready.

        Raises NoActor, DeferredError, or HarnessError where the harness could not do its part.
        """
        for number, step in enumerate(self.journey.steps, start=1):
            if step.run is None:
                raise NoActor(
                    f"no actor: step {number} of {len(self.journey.steps)} has no command ({step.location})"
                )
        self.ask.fixture = fixture
        self._pass_gates()
        self.provisioner.ensure(self.planned.requires, self.ask)
        self._note_what_is_there_already()
        forget_invalidated(self.provisioner.presence, self.journey, self.state)
        world = self.provisioner.presence.world
        self._held.enter_context(world.holding_locks(self.journey.locks))
        if not self.journey.python:
            self.bench = bench_for_journey(self.provisioner.presence, self.journey, self.state)
            place_files(self.journey.seed_files, self.bench.workdir)

    def _pass_gates(self) -> None:
        """Raise DeferredError at the first closed gate; one that another shard runs is replayed here once."""
        for gate in self.planned.gates:
            outcome, cause = self.provisioner.gate(gate, self.ask)
            if outcome.closes_a_gate and not (cause is not None and cause.blocked):
                tier = self.provisioner.presence.graph.journeys[gate].tier
                because = f" ({cause})" if cause is not None and outcome is Outcome.DEFERRED else ""
                why = f"{reason_of(outcome)}{because}, and it gates what comes after tier '{tier}'"
                details = cause.details if cause is not None else ""
                raise DeferredError(Cause(who=gate, why=why, details=details))

    def _note_what_is_there_already(self) -> None:
        presence = self.provisioner.presence
        for token in self.journey.establishes:
            capability = presence.graph.capability(token)
            if capability is not None and capability.release and presence.outlives_runs(token):
                with presence.locked(token, self.state):
                    presence.ask(token, self.state)

    def perform(self, *, verbose: bool) -> None:
        """Do the steps; raises ProductFailure where one is not as expected."""
        if self.bench is None:
            raise HarnessError(f"{self.journey.id} was not prepared")
        # Made anew, for the fixtures that were set up since may have changed the environment.
        workdir = self.bench.workdir
        self.bench = bench_for_journey(self.provisioner.presence, self.journey, self.state, workdir)
        done = perform(self.journey.steps, self.bench, timeout=self.journey.timeout)
        again = reproduction(self.journey, self.provisioner.presence.world)
        text = failure_text(done, self.bench, reproduce=again, verbose=verbose)
        if text:
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
            raise ProductFailure(denial(self.journey, found.denied))

    def clean_up(self) -> str:
        """Run the journey's clean-up steps, all of them; gives what went wrong, or nothing."""
        if self.bench is None or not self.journey.cleanup:
            return ""
        environment = {**self.bench.environment, **self.values}
        bench = replace(self.bench, environment=environment, name=f"{self.bench.name}-cleanup")
        done = perform(self.journey.cleanup, bench, keep_going=True)
        return failure_text(done, bench, what="cleanup step")

    def leave(self) -> None:
        """Give back locks, and what is in the working directory if nobody will want to look at it."""
        self._held.close()
        if self._keeps_nothing() and self.bench is not None and self.journey.workdir is None:
            remove_if_filled(self.bench.workdir)

    def _keeps_nothing(self) -> bool:
        settings = self.provisioner.presence.world.settings
        return not settings.keep and self.outcome not in {Outcome.FAILED, Outcome.ERROR}

    def _whereabouts(self) -> str:
        workdir = self.bench.workdir if self.bench is not None else self.state.path
        return f"kept:      {workdir} (working directory), {self.state.path} (state)"

    def kept_paths(self) -> tuple[Path, ...]:
        """Name what stays on disk because the item did not do well."""
        if self._keeps_nothing():
            return ()
        return (self.state.path, *([self.bench.workdir] if self.bench is not None else []))

    def begin(self) -> None:
        self.provisioner.journal.started(self.journey.id, Why.ITEM, self.state.name)

    def end(self) -> None:
        """Write the outcome down; this is what dependents on any worker go by."""
        self.provisioner.journal.ended(self.journey.id, Why.ITEM, self.state.name, self.outcome, self.cause)

    def result(self) -> JourneyResult:
        return JourneyResult(
            id=self.journey.id,
            outcome=self.outcome,
            chain=self.state.chain,
            worker=self.provisioner.presence.world.worker,
            cause=self.cause,
            proofs={**self.ask.proofs, **self.established},
            provisioned=tuple(self.ask.provisioned),
            kept=":".join(str(path) for path in self.kept_paths()),
        )
