"""One item from set-up over steps and clean-up to its result."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from pytest_dogfood.collection.exceptions import harness_failure
from pytest_dogfood.diagnostics import HarnessError, Location
from pytest_dogfood.execution.runner import StepsResult, command_lines, failure_reason, failure_text
from pytest_dogfood.execution.step import ShellRunner, place_files
from pytest_dogfood.journey import Journey, Token
from pytest_dogfood.outcomes import INTERRUPTED, Cause, JourneyResult, Outcome, Proof
from pytest_dogfood.provisioning.journey_runner import (
    CLEAN_UP_FAILED,
    clean_up,
    establish,
    forget_invalidated,
    look_for_leaks,
    reproduction,
    require_actor,
    run_journey,
    runner_for_journey,
    values_missed,
)
from pytest_dogfood.provisioning.presence import Presence, do_not_hold_together, lost_in_set_up
from pytest_dogfood.provisioning.provisioner import ROUNDS, Provisioner
from pytest_dogfood.provisioning.replay import DeferredError, FixtureValue, Request
from pytest_dogfood.provisioning.templates import ENOUGH_KEPT, StateTemplates
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.scheduling.plan import PlannedJourney
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.journal import Why
from pytest_dogfood.storage.locks import NamedLocks
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.recorder import Note
from pytest_dogfood.storage.retention import name_of_run
from pytest_dogfood.storage.run_directory import RUN, remove_unless_empty
from pytest_dogfood.storage.token_registry import TokenRecord
from pytest_dogfood.walks import deep_recursion

if TYPE_CHECKING:
    from pytest_dogfood.execution.terminal import Entrance

NOT_SET_UP = "it was called although its set-up failed or was skipped, so what it requires is not set up"


class ProductFailure(Exception):  # noqa: N818 - the product's, not the program's
    """An expectation was not met. The text describes it for people, `reason` in a few words."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class ItemRun(Struct, kw_only=True):
    """The state of one run of an item. A rerun of the item is a new one."""

    journey: Journey
    planned: PlannedJourney
    provisioner: Provisioner
    templates: StateTemplates
    state: ChainState
    request: Request
    locks: NamedLocks
    attempt: str
    """The name from which those of its directory and its outputs are made."""
    outcome: Outcome = Outcome.PASSED
    cause: Cause | None = None
    established: dict[Token, Proof] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    secret: list[str] = field(default_factory=list)
    used_up: dict[Token, Mapping[str, str]] = field(default_factory=dict)
    """The values that destroyed tokens had before the item began: a Python test asks for them while it runs."""
    debugs: bool = False
    """Whether a debugger opens where it fails."""
    workdir: Path | None = None
    runner: ShellRunner | None = None
    refusal: BaseException | None = field(default_factory=lambda: harness_failure(HarnessError(NOT_SET_UP)))
    """Why the item must not be called. Until it is prepared, the reason is NOT_SET_UP."""
    calling: bool = False
    number: int = 0
    """The number of this try of the item, from 1; 0 before the first."""
    texts: list[str] = field(default_factory=list)
    """The texts of its failures and errors, phase by phase."""
    must_keep: bool = False
    """Whether a report names its directories, so that they must stay."""
    worst_subtest: Outcome = Outcome.PASSED
    """The worst outcome of the item's subtests so far."""
    harness_problem: str = ""
    """The harness error of a subtest, if one had one."""
    not_begun: HarnessError | None = None
    """Why the item's start could not be recorded."""
    not_cleaned: str = ""
    """Which clean-up steps were not run, and why."""
    leaked: tuple[str, ...] = ()
    """The processes that its steps left running."""
    _rounds: int = ROUNDS
    _done: StepsResult = field(default_factory=StepsResult)
    _fixtures: int = 0
    _cleaned: bool = False
    _note: Note = field(default_factory=Note)
    _stop: int | None = None
    _established_before: dict[Token, TokenRecord] = field(default_factory=dict)

    @property
    def presence(self) -> Presence:
        return self.provisioner.presence

    @property
    def place_of_failure(self) -> Location:
        """The place of the step that failed or was running, or else of the journey."""
        failed = self._done.failure
        if failed is not None:
            return failed.step.location
        running = () if self.refusal is not None else self.journey.steps[len(self._done.results) :]
        return running[0].location if running else self.journey.location

    def begin(self) -> None:
        """Record that the item starts; if that fails, `prepare` raises the error."""
        self.presence.workspace.recorder.item = self.journey.id
        self.presence.workspace.changes.note("the item before it ran")
        try:
            self.provisioner.journal.started(self.journey.id, Why.ITEM, self.state.name)
        except HarnessError as error:
            self.not_begun = error

    def prepare(self, fixture: FixtureValue | None) -> None:
        """Provision what the journey requires, under its locks; `fixture` is None for an item without any.

        Its other fixtures are set up after this, and then `complete` checks the tokens again. Raises NoActor,
        DeferredError, or HarnessError if the harness could not do its part.
        """
        if self.not_begun is not None:
            raise self.not_begun
        workspace = self.presence.workspace
        require_actor(workspace, self.journey)
        if self.journey.obstacle is not None:
            raise DeferredError(Cause(who=self.journey.obstacle.who, why=self.journey.obstacle.why))
        self.request.fixture = fixture
        with deep_recursion(len(self.presence.graph.journeys)):
            self.templates.begin(self.planned, self.state, self.request)
            self.presence.restore_directories(self.state)
            if workspace.observer is not None:
                workspace.observer.begin(self.planned, self.state)
            self.provisioner.replayer.pass_gates(self.planned.gates, self.request, self.locks)
            self.templates.restore(self.planned.requires, self.state, self.request)
            self._acquire()
        self.templates.settle(self.state, self.request)
        if not self.journey.python:
            self.workdir = workspace.workdir_for(self.journey, self.state, self.attempt)
            place_files(self.journey.seed_files, self.workdir)
        self._fixtures = workspace.changes.fixtures

    def _acquire(self) -> None:
        self._rounds = self.provisioner.acquire(
            self.planned.requires, self.request, self.locks, self.journey.locks, rounds=self._rounds
        )

    def complete(self) -> None:
        """End the set-up: probe again what may be gone, then claim and forget what the journey makes and destroys.

        Lost tokens are provisioned again, in three rounds in all. A fixture that was set up meanwhile may hold old
        values: then a changed value is a harness error. Raises what `prepare` raises.
        """
        required, changes = self.planned.requires, self.presence.workspace.changes
        while lost := self.provisioner.lost(required, self.request):
            if not self._rounds:
                raise do_not_hold_together(required, lost)
            by_fixture = [token for token in lost if self.provisioner.is_by_fixture(token, self.state)]
            if by_fixture:
                raise lost_in_set_up(by_fixture, lost, "the fixture that provides it cannot be set up twice")
            before = self.presence.variables(required, self.state)
            with deep_recursion(len(self.presence.graph.journeys)):
                self._acquire()
            if changes.fixtures > self._fixtures:
                after = self.presence.variables(required, self.state)
                if any(after.get(name) != value for name, value in before.items()):
                    raise lost_in_set_up(lost, lost, "its values have changed since the fixtures were set up")
        if self.workdir is not None:
            self.runner = self._runner_in(self.workdir)
        recorder = self.presence.workspace.recorder
        recorder.attempt = self.number
        recorder.begin(Kind.JOURNEY, self.journey.id, self._note, self.runner, place=self.state.name)
        for token in self.journey.establishes:
            self.presence.claim(token, self.state)
        self.used_up = {
            token: self.presence.values_of(token, self.state) for token in self.journey.invalidates
        }
        forget_invalidated(self.presence, self.journey.invalidates, self.state)

    def _runner_in(self, workdir: Path) -> ShellRunner:
        return runner_for_journey(self.presence, self.journey, self.state, self.attempt, workdir)

    def note_saved(self) -> None:
        """Record the values saved so far, for the release of this item's tokens, however the item ends."""
        registry = self.presence.registry
        for token in self.journey.establishes:
            place = self.presence.place_of(token, self.state)
            if registry.claim_of(token, place) is not None:
                registry.claim(token, place, self.values, tuple(self.secret))

    def run_steps(self, *, verbose: bool, entrance: Entrance | None = None) -> None:
        """Run the steps; raises ProductFailure if an expectation is not met, and what `run_journey` raises.

        With an `entrance` only those up to there are run; how its own step has ended does not matter.
        """
        if self.workdir is None or self.runner is None:
            raise HarnessError(f"{self.journey.id} was not prepared")
        workspace = self.presence.workspace
        self._done = self.presence.saving_for(self.journey.establishes, self.state)
        last = None if entrance is None else entrance.step - (not entrance.after)
        if workspace.observer is not None and entrance is None:
            last = self._stop = workspace.observer.watch(self.planned, self.state, self._done)
        run_journey(workspace, self.journey, self.runner, why=Why.ITEM, done=self._done, last=last)
        failed = self._done.failure
        if failed is not None and (entrance is None or failed.number != entrance.step):
            texts = [failure_text(self._done, self.runner, verbose=verbose)]
            texts += values_missed(self.presence.graph, self.journey, self._done, self.runner)
            text, reason = self.with_what_next("\n\n".join(texts)), failure_reason(self._done, self.runner)
            raise ProductFailure(text, reason)
        self.values.update(self._done.values)
        self.secret.extend(self._done.secret)

    def enter(self, entrance: Entrance) -> None:
        """Open a shell, or run a command, in the place of a step; raises HarnessError if that cannot be done."""
        from pytest_dogfood.execution.terminal import place_of  # no other run opens a shell

        if self.runner is None:
            raise HarnessError(f"{self.journey.id} was not prepared")
        step = self.journey.steps[entrance.step - 1]
        place = place_of(
            self.runner,
            step,
            number=entrance.step,
            variables=self._done.values,
            files=private_directory(self.presence.workspace.run.path / "enter"),
            name=self.journey.id,
        )
        entrance.open(place, self.runner.mask("\n".join(self._banner(entrance))))

    def _banner(self, entrance: Entrance) -> Iterator[str]:
        step = self.journey.steps[entrance.step - 1]
        yield ""  # what pytest has said so far may not end its line
        yield f"dogfood: {self.journey.id}, {entrance.where} of {len(self.journey.steps)}"
        yield f"  at:       {step.location}"
        if step.intent:
            yield f"  intent:   {step.intent}"
        yield from command_lines(step)
        if self._done.failure is not None:
            yield f"  failed:   {self._done.failure.wrong[0]}"

    def with_what_next(self, text: str) -> str:
        """Add to the text of a failure or an error the command that reproduces it, and the paths that are kept."""
        self.must_keep = True
        again = reproduction(self.journey, self.presence.workspace)
        lines = [text] if "\nreproduce: " in text else [text, f"\nreproduce: {again}"]
        if self.runner is not None and self._done.results and not (self.journey.cleanup or self._cleaned):
            self.leaked, _ = look_for_leaks(self.presence.workspace, self.journey, self.runner, passed=False)
            lines += [f"left running: {one}" for one in self.leaked]
        kept = self._kept()
        named = ", ".join(f"{path} ({what})" for what, path in kept.items())
        lines.append(f"kept:      {named or 'nothing'}")
        if "state" not in kept:
            lines[-1] += f"; not its state: {ENOUGH_KEPT} (--dogfood-keep keeps all)"
        if self.runner is not None and not self.journey.python:
            lines += self._how_to_enter()
        lines += self.templates.notes_on(self.state)
        lines += filter(None, (one.note for one in self.request.copies))
        if self._done.trajectory:
            lines.append(f"trajectory: {self._done.trajectory}")
        return "\n".join(lines)

    def _kept(self) -> dict[str, Path]:
        """Return the directories that stay if the item fails, by what they are."""
        state = self.state.path if self.templates.keep(self.state) else None
        own = {"working directory": self.workdir, "state": state}
        return {what: path for what, path in own.items() if path is not None}

    def _how_to_enter(self) -> Iterator[str]:
        """Yield how to open a shell where this has failed. While a debugger is open, the run is not over."""
        run, failed = self.presence.workspace.run.path, self._done.failure
        if (run / RUN).exists():
            how = f" --run {name_of_run(run)}"
            if self.debugs:
                how = "" if failed is None else f" --step {failed.number}"
            yield f"shell:     dogfood enter {shlex.quote(self.journey.id)}{how}"

    def establish(self) -> None:
        """Record the tokens that the journey establishes, after it has passed.

        Raises ProductFailure if a probe fails, HarnessError if one cannot be run.
        """
        presence = self.presence
        presence.workspace.changes.note(f"the steps of {self.journey.id} ran")
        for token in self.journey.establishes:
            earlier = presence.record_of(token, self.state)
            if earlier is not None and earlier.by != self.journey.id:
                self._established_before[token] = earlier
        denial = establish(
            presence,
            self.provisioner.journal,
            self.journey,
            self.state,
            self.values,
            self.secret,
            self.established,
            is_half=self._stop is not None,
        )
        if denial:
            reason = denial.partition("\n")[0].removeprefix(f"{self.journey.location}: ")
            raise ProductFailure(self.with_what_next(denial), reason)

    def clean_up(self) -> str:
        """Run all clean-up steps of the journey, once; return what went wrong, or the empty string."""
        if self.workdir is None or self._cleaned:
            return ""
        self._cleaned = True
        runner = self.runner or self._runner_in(self.workdir)
        workspace = self.presence.workspace
        with workspace.interruption.operation("clean-up"):
            problem, self.not_cleaned = clean_up(workspace, self.journey, runner, self._done)
        if self._done.results and not self.leaked:
            passed = self.outcome.establishes and not problem
            self.leaked, problem_of_leaks = look_for_leaks(workspace, self.journey, runner, passed=passed)
            problem = problem or problem_of_leaks
        return problem

    def leave(self) -> None:
        """Release the locks, and clear the working directory if nothing needs it any more."""
        self.locks.release()
        if self.workdir is not None and self.journey.workdir is None and not self.keeps_directories:
            remove_unless_empty(self.workdir)

    @property
    def keeps_directories(self) -> bool:
        """Return whether its directories stay: because it failed, or because the user asked for it."""
        interrupted = self.cause is not None and self.cause.why == INTERRUPTED
        failed = self.outcome in {Outcome.FAILED, Outcome.ERROR} and not interrupted
        return self.presence.workspace.settings.keep or self.must_keep or failed

    def end(self) -> None:
        """Record the outcome: dependents on any worker read it. Raises HarnessError if that fails."""
        self.retract_result()
        self.provisioner.journal.ended(self.journey.id, Why.ITEM, self.state.name, self.outcome, self.cause)

    def record(self) -> None:
        """Add the outcome of this try to the record of the run."""
        recorder = self.presence.workspace.recorder
        recorder.attempt = self.number
        self._note.outcome, self._note.text = self.outcome, "\n\n".join(self.texts)
        if self.texts:
            self._note.again = reproduction(self.journey, self.presence.workspace)
        place = self.state.name
        recorder.write(Kind.JOURNEY, self.journey.id, self._note, self.runner, self._done, place=place)

    def retract_result(self) -> None:
        """Forget the established tokens if a failed teardown, or a failure that unittest kept, shows up later."""
        if not self.established or self.outcome.establishes:
            return
        for token in self.established:
            with self.presence.locked(token, self.state):
                self.presence.forget(token, self.state)
                earlier = self._established_before.get(token)
                if earlier is not None:  # another journey has established it too
                    self.presence.registry.record(earlier)
        self.established.clear()
        if self.outcome is Outcome.ERROR and self.cause is None:
            self.cause = Cause(who=self.journey.id, why=CLEAN_UP_FAILED)

    def result(self) -> JourneyResult:
        own = self._kept().values() if self.keeps_directories else ()
        kept = dict.fromkeys(map(str, (*own, *self.request.kept)))
        grades = (result.grade for result in self._done.results if result.grade is not None)
        return JourneyResult(
            id=self.journey.id,
            outcome=self.outcome,
            chain=self.state.chain,
            worker=self.presence.workspace.worker,
            cause=self.cause,
            proofs={**self.request.rested_on, **self.request.proofs, **self.established},
            provisioned=tuple(self.request.provisioned),
            copies=tuple(self.request.copies),
            cached=tuple(self.request.cached),
            kept=":".join(kept),
            trajectory=self._done.trajectory,
            unjudged=sum(grade.unjudged for grade in grades),
            not_cleaned=self.not_cleaned,
            leaked=(*self.leaked, *self.request.leaked),
        )
