"""Whoever can act in this process of the run, and the performance of whole journeys by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.actions import Action, Answer, Command, Done, JourneyBrief, StepBrief, Verdict, request
from pytest_dogfood.actors.actions import Stage
from pytest_dogfood.actors.cast import Decide, JourneyCast
from pytest_dogfood.actors.loop import Limits, NoActor, nobody_acts
from pytest_dogfood.actors.program import ActorProcess
from pytest_dogfood.actors.recording import (
    AGAIN,
    Recording,
    Recordings,
    recording_name,
    recording_of,
    with_placeholders,
)
from pytest_dogfood.actors.trajectory import Trajectory
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import perform
from pytest_dogfood.journey import Journey
from pytest_dogfood.performance import Performance
from pytest_dogfood.rundir import RunDirectory
from pytest_dogfood.stepping import RealBench

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


class Troupe(Struct, frozen=True, kw_only=True):
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

        Raises NoActor if there is nobody, HarnessError if its recording is missing or does not fit.
        """
        if self.replayed is not None and not journey.is_gui:
            self.replayed.read(journey)
        elif not self.prompter_for(journey).acts and (journey.is_gui or self.process is None):
            raise NoActor(nobody_acts(journey))

    def perform(
        self, cast: JourneyCast, bench: RealBench, *, why: str, asked_by: str = "", done: Performance
    ) -> None:
        """Perform the steps of a journey into `done`; `why` and `asked_by` are kept in the trajectory."""
        journey = cast.journey
        cast.trajectory.begin(journey, why=why, run=self.run.id, worker=self.worker, asked_by=asked_by)
        try:
            perform(journey.steps, bench, timeout=journey.timeout, cast=cast, done=done)
        except HarnessError as error:
            cast.trajectory.end("error", str(error))
            raise HarnessError(bench.mask(f"{error}\n  trajectory: {cast.trajectory.path}")) from error
        except NoActor as error:
            cast.trajectory.end("skipped", str(error))
            raise
        else:
            cast.trajectory.end("passed" if done.failure is None else "failed")
            if self.recorded is not None and not journey.is_gui:
                self._record(self.recorded, cast, done.values)
        finally:
            cast.trajectory.close()

    def close(self) -> None:
        """End the actor's process."""
        if self.process is not None:
            self.process.close()

    def cast(self, journey: Journey, bench: RealBench) -> JourneyCast:
        """Gather who plays in a journey; raises HarnessError if its recording is missing or does not fit."""
        prompter = self.prompter_for(journey)
        recording = self.replayed.read(journey) if self.replayed is not None and not journey.is_gui else None
        name = recording_name(journey.id).removesuffix(".json")
        own = {name: text for name, text in bench.environment.items() if name in journey.env}
        ours = {name: text for name, text in bench.environment.items() if name.startswith("DOGFOOD_")}
        return JourneyCast(
            journey=journey,
            limits=self.limits if recording is None else UNLIMITED,
            stage=Stage(bench=replace(bench, timeout=self.seconds)),
            decide=_from(recording) if recording is not None else self._asking(journey, prompter),
            judged_by=prompter.judge,
            keeper=bench.keeper,
            trajectory=Trajectory(self.run.trajectories / f"{name}-{bench.name}.jsonl", bench.keeper),
            variables={**ours, **own},
            recorded=recording is not None,
        )

    def _asking(self, journey: Journey, prompter: Prompter) -> Decide:
        """Give what asks the hooks first and then the process, if the journey is anything for that."""
        process = None if journey.is_gui else self.process
        answered = False

        def decide(about: JourneyBrief, step: StepBrief, observations: Sequence[Action]) -> Answer:
            nonlocal answered
            answer = prompter.next_action(about, step, observations)
            if answer is None and process is not None:
                where = f"{step.location}: step {step.number} of {step.total}"
                answer = process.ask(request(about, step, observations), about=where)
            if answer is None and not answered:
                raise NoActor(f"{nobody_acts(journey)}, for every implementation of the hook gave None")
            if answer is None:
                raise HarnessError(
                    f"{step.location}: no actor answers any more: every implementation gave None"
                )
            answered = True
            return answer

        return decide

    def _record(self, recordings: Recordings, cast: JourneyCast, values: Mapping[str, str]) -> None:
        varying = {
            name: text
            for name, text in cast.variables.items()
            if name in values or (name.startswith("DOGFOOD_") and name not in NAMES)
        }
        plain = {
            number: [with_placeholders(command, varying) for command in commands]
            for number, commands in cast.commands.items()
        }
        masked = {
            number: [cast.keeper.mask(command) for command in commands] for number, commands in plain.items()
        }
        recording = recording_of(cast.journey, masked, masked=masked != plain)
        recordings.write(recording, claims=self.run.recorded)


def _from(recording: Recording) -> Decide:
    """Give what repeats a recording, step by step."""
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
