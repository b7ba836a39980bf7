"""What decides the steps without a command, by hooks, a program or a recording, and judges what was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any, Protocol

import pytest
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.actor_protocol import (
    Action,
    ActorError,
    Answer,
    Command,
    Done,
    JourneyBrief,
    Performed,
    StepBrief,
    Verdict,
    Whose,
    answer_in,
    brief_of_journey,
    brief_of_step,
    masked,
    request,
)
from pytest_dogfood.actors.actions import ActionRunner, Trajectory
from pytest_dogfood.actors.loop import ActorLoop, Limits, NoActor, no_actor_reason
from pytest_dogfood.actors.program import ActorProcess
from pytest_dogfood.actors.recording import (
    AGAIN,
    Recording,
    Recordings,
    filled_in,
    recording_name,
    recording_of,
    with_placeholders,
)
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.expectations import Observation
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.runner import Grade, StepsResult, run_steps
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.journey import Journey, Step
from pytest_dogfood.storage.run_directory import RunDirectory

NEXT = "pytest_dogfood_next_action"
GUI = "pytest_dogfood_gui_action"
JUDGE = "pytest_dogfood_judge"


def is_implemented(relay: Any, hook: str) -> bool:  # noqa: ANN401 - pytest exports no type for its hooks
    """Return whether some plugin or conftest file has the hook."""
    return bool(getattr(relay, hook).get_hookimpls())


class HookPrompter:
    """The hooks as they count for one journey: those of plugins, and of conftest files above its own."""

    def __init__(self, relay: Any, *, gui: bool) -> None:  # noqa: ANN401 - pytest exports no type for its hooks
        self._relay = relay
        self._hook = GUI if gui else NEXT
        self._answers = (Performed if gui else Command, Done, ActorError)

    @property
    def acts(self) -> bool:
        return is_implemented(self._relay, self._hook)

    def next_action(
        self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]
    ) -> Answer | None:
        answer = self._call(self._hook, step, journey=journey, step=step, observations=observations)
        understood = self._understood(answer, step)
        if understood is None or isinstance(understood, self._answers):
            return understood
        names = ", ".join(f"pytest_dogfood.{kind.__name__}" for kind in self._answers)
        raise HarnessError(f"{step.location}: {self._hook} gave {answer!r}, and not None or one of {names}")

    def _understood(self, answer: Any, about: StepBrief) -> Any:  # noqa: ANN401 - whatever the hook has given
        """Take an answer that is written as a process writes it for what it means."""
        if not isinstance(answer, Mapping):
            return answer
        try:
            return answer_in(answer)
        except ValueError as error:
            raise HarnessError(f"{about.location}: {self._hook} gave {answer!r}: {error}") from error

    def judge(self, journey: JourneyBrief, step: StepBrief, actions: Sequence[Action]) -> Verdict | None:
        verdict = self._call(JUDGE, step, journey=journey, step=step, actions=actions)
        if isinstance(verdict, bool):
            return Verdict(passed=verdict)
        if verdict is None or isinstance(verdict, Verdict):
            return verdict
        raise HarnessError(
            f"{step.location}: {JUDGE} gave {verdict!r}, and not None, true, false or a pytest_dogfood.Verdict"
        )

    def _call(self, hook: str, about: StepBrief, /, **arguments: object) -> Any:  # noqa: ANN401 - whatever it gives
        try:
            return getattr(self._relay, hook)(**arguments)
        except pytest.exit.Exception:
            raise  # as in a test, it ends the run
        except (Exception, pytest.fail.Exception, SystemExit) as error:
            raise HarnessError(
                f"{about.location}: {hook} raised {type(error).__name__}: {error} ({_place(error)})"
            ) from error


def _place(error: BaseException) -> str:
    """Name the line that raised, or the one that called something of ours or of pytest which did."""
    places = [
        f"{Path(frame.f_code.co_filename)}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0]
        not in {"pytest_dogfood", "_pytest", "pluggy"}
    ]
    return places[-1] if places else "an unknown place"


Decide = Callable[[JourneyBrief, StepBrief, Sequence[Action]], Answer]
"""Gives what is to be done next; raises HarnessError if that cannot be told."""

Judge = Callable[[JourneyBrief, StepBrief, Sequence[Action]], Verdict | None]


class ActorSession(Struct, kw_only=True):
    """What decides and does the steps of one journey.

    `variables` grow by what its steps save, and `commands` are those run for each step.

    With `recorded`, what `decide` gives are commands with place holders.
    """

    journey: Journey
    limits: Limits
    action_runner: ActionRunner
    decide: Decide
    judged_by: Judge
    keeper: SecretKeeper
    trajectory: Trajectory
    variables: dict[str, str]
    recorded: bool = False
    commands: dict[int, list[str]] = field(default_factory=dict)
    grades: list[Grade] = field(default_factory=list)
    _briefs: tuple[JourneyBrief, StepBrief] | None = None
    _number: int = 0
    _note: str = ""

    @property
    def unjudged(self) -> int:
        """How many expectations in free text were not judged."""
        return sum(grade.unjudged for grade in self.grades)

    def begin(self, step: Step, number: int, *, variables: Mapping[str, str]) -> None:
        self.variables.update(variables)
        told = masked(self.variables, self.keeper.mask)
        total = len(self.journey.steps)
        self._briefs = brief_of_journey(self.journey, told), brief_of_step(step, number, total)
        self._number = number
        self.commands[number] = []
        self.action_runner.begin(step, variables)

    def _told(self) -> tuple[JourneyBrief, StepBrief]:
        if self._briefs is None:
            raise AssertionError("a step begins before anybody is asked about it")
        return self._briefs

    def next(self, actions: Sequence[Action]) -> Answer:
        journey, step = self._told()
        try:
            answer = self.decide(journey, step, tuple(actions))
            if self.recorded and isinstance(answer, Command):
                answer = dataclasses.replace(answer, run=filled_in(answer.run, self.variables))
        except ValueError as error:
            raise HarnessError(
                f"{step.location}: a recorded command cannot be run: {error}; {AGAIN}"
            ) from error
        self._note = getattr(answer, "note", "")
        return answer

    def do(self, command: str, *, limit: float | None) -> Observation:
        self.commands[self._number].append(command)
        return self.action_runner.run(command, limit=limit)

    def see(self, performed: Performed) -> Observation:
        return self.action_runner.told(performed)

    def looking_from_home(self, seen: Observation) -> Observation:
        return self.action_runner.looking_from_home(seen)

    def learn(self, secrets: Iterable[str]) -> None:
        self.keeper.learn(secrets)

    def tell(self, step: int, command: str, seen: Observation, *, by: Whose = "actor") -> Action:
        action = Action(
            step=step,
            command=self.keeper.mask(command),
            exit=seen.status,
            stdout=seen.ending("stdout"),
            stderr=seen.ending("stderr"),
            seconds=round(seen.seconds, 3),
            timed_out=seen.timed_out,
            by=by,
        )
        self.trajectory.action(action, note=self._noted())
        return action

    def judge(self, actions: Sequence[Action]) -> Verdict | None:
        return self.judged_by(*self._told(), tuple(actions))

    def note_grade(self, number: int, result: Grade) -> None:
        self.grades.append(result)
        self.trajectory.grade(number, result, note=self._noted())

    def _noted(self) -> str:
        """Return what the actor said beside its answer, once."""
        note, self._note = self._note, ""
        return note


UNLIMITED = Limits(actions=10**9, turns=10**9)
"""For a recording: its actor kept to limits, and what it did then is all that is done now."""

NAMES = frozenset({"DOGFOOD_JOURNEY", "DOGFOOD_CHAIN", "DOGFOOD_WORKER"})
"""Variables whose values are plain words: where a command holds one, that is chance."""


class Prompter(Protocol):
    """The project's hooks, as far as they count for a journey; they raise HarnessError for what makes no sense."""

    @property
    def acts(self) -> bool:
        """Whether somebody has a hook that decides what to do in the journey."""

    def next_action(
        self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]
    ) -> Answer | None: ...

    def judge(self, journey: JourneyBrief, step: StepBrief, actions: Sequence[Action]) -> Verdict | None: ...


class Actor(Struct, frozen=True, kw_only=True):
    """Who acts, within which limits, and what is kept of it. An action whose step sets no limit has `seconds`."""

    prompter_for: Callable[[Journey], Prompter]
    process: ActorProcess | None
    limits: Limits
    seconds: float
    run: RunDirectory
    worker: str
    replayed: Recordings | None = None
    recorded: Recordings | None = None

    def require(self, journey: Journey) -> None:
        """Make sure that somebody can act in a journey, which has a step without a command.

        Raises NoActor if there is no actor, HarnessError if its recording is missing or does not fit.
        """
        if self.replayed is not None and not journey.is_gui:
            self.replayed.read(journey)
        elif not self.prompter_for(journey).acts and (journey.is_gui or self.process is None):
            raise NoActor(no_actor_reason(journey))

    def run_steps(
        self,
        actor_session: ActorSession,
        runner: ShellRunner,
        *,
        why: str,
        asked_by: str = "",
        done: StepsResult,
    ) -> None:
        """Run the steps of a journey, told in `done`; `why` and `asked_by` are kept in the trajectory."""
        journey = actor_session.journey
        actor_session.trajectory.begin(
            journey, why=why, run=self.run.id, worker=self.worker, asked_by=asked_by
        )
        try:
            actor = ActorLoop(journey.steps, actor_session)
            run_steps(journey.steps, runner, timeout=journey.timeout, actor=actor, done=done)
        except HarnessError as error:
            actor_session.trajectory.end("error", str(error))
            raise HarnessError(
                runner.mask(f"{error}\n  trajectory: {actor_session.trajectory.path}")
            ) from error
        except NoActor as error:
            actor_session.trajectory.end("skipped", str(error))
            raise
        else:
            actor_session.trajectory.end("passed" if done.failure is None else "failed")
            if self.recorded is not None and not journey.is_gui:
                self._record(self.recorded, actor_session, done.values)
        finally:
            actor_session.trajectory.close()

    def close(self) -> None:
        """End the actor's process."""
        if self.process is not None:
            self.process.close()

    def actor_session(self, journey: Journey, runner: ShellRunner) -> ActorSession:
        """Return the session of one journey; raises HarnessError if its recording is missing or does not fit."""
        prompter = self.prompter_for(journey)
        recording = self.replayed.read(journey) if self.replayed is not None and not journey.is_gui else None
        name = recording_name(journey.id).removesuffix(".json")
        own = {name: text for name, text in runner.environment.items() if name in journey.env}
        ours = {name: text for name, text in runner.environment.items() if name.startswith("DOGFOOD_")}
        return ActorSession(
            journey=journey,
            limits=self.limits if recording is None else UNLIMITED,
            action_runner=ActionRunner(runner=replace(runner, timeout=self.seconds)),
            decide=_from(recording) if recording is not None else self._asking(journey, prompter),
            judged_by=prompter.judge,
            keeper=runner.keeper,
            trajectory=Trajectory(self.run.trajectories / f"{name}-{runner.name}.jsonl", runner.keeper),
            variables={**ours, **own},
            recorded=recording is not None,
        )

    def _asking(self, journey: Journey, prompter: Prompter) -> Decide:
        """Return what asks the hooks first and then the process, if the journey is anything for that."""
        process = None if journey.is_gui else self.process
        answered = False

        def decide(about: JourneyBrief, step: StepBrief, observations: Sequence[Action]) -> Answer:
            nonlocal answered
            answer = prompter.next_action(about, step, observations)
            if answer is None and process is not None:
                where = f"{step.location}: step {step.number} of {step.total}"
                answer = process.ask(request(about, step, observations), about=where)
            if answer is None and not answered:
                raise NoActor(f"{no_actor_reason(journey)}, for every implementation of the hook gave None")
            if answer is None:
                raise HarnessError(
                    f"{step.location}: no actor answers any more: every implementation gave None"
                )
            answered = True
            return answer

        return decide

    def _record(self, recordings: Recordings, actor_session: ActorSession, values: Mapping[str, str]) -> None:
        varying = {
            name: text
            for name, text in actor_session.variables.items()
            if name in values or (name.startswith("DOGFOOD_") and name not in NAMES)
        }
        plain = {
            number: [with_placeholders(command, varying) for command in commands]
            for number, commands in actor_session.commands.items()
        }
        masked = {
            number: [actor_session.keeper.mask(command) for command in commands]
            for number, commands in plain.items()
        }
        recording = recording_of(actor_session.journey, masked, masked=masked != plain)
        recordings.write(recording, claims=self.run.recorded)


def _from(recording: Recording) -> Decide:
    """Return what repeats a recording, step by step."""
    given: dict[int, int] = {}

    def decide(about: JourneyBrief, step: StepBrief, observations: Sequence[Action]) -> Answer:
        del about, observations
        commands, position = recording.commands(step.number), given.get(step.number, 0)
        if commands is None:
            raise HarnessError(
                f"{step.location}: step {step.number} of {step.total} was not recorded, for the journey had failed "
                f"before; {AGAIN}"
            )
        given[step.number] = position + 1
        return Command(commands[position]) if position < len(commands) else Done()

    return decide
