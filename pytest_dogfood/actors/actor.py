"""The actors of this process for steps without a command: hooks, a program or a recording; and the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytest
from msgspec import Struct
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
    answer_in,
)
from pytest_dogfood.actors.loop import ActorLoop, Limits
from pytest_dogfood.actors.program import ActorProcess
from pytest_dogfood.actors.recording import (
    RecordedActor,
    Recordings,
    Trajectory,
    recording_of,
    with_placeholders,
)
from pytest_dogfood.actors.session import ActorSession
from pytest_dogfood.diagnostics import HarnessError, NoActor
from pytest_dogfood.execution.runner import StepsResult, run_steps
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.journey import Journey
from pytest_dogfood.storage.recorder import Recorder
from pytest_dogfood.storage.run_directory import RunDirectory

NEXT_ACTION = "pytest_dogfood_next_action"
GUI_ACTION = "pytest_dogfood_gui_action"
JUDGE = "pytest_dogfood_judge"

UNLIMITED = Limits(actions=10**9, turns=10**9)
"""For a recording: its actor kept to limits, and a replay does no more than that."""


PLAIN_WORDS = frozenset({"DOGFOOD_JOURNEY", "DOGFOOD_CHAIN", "DOGFOOD_WORKER"})
"""Variables whose values are plain words: a command may contain one by chance."""


def is_implemented(relay: Any, hook: str) -> bool:  # noqa: ANN401 - pytest exports no type for its hooks
    """Return whether a plugin or conftest file implements the hook."""
    return bool(getattr(relay, hook).get_hookimpls())


class HookActor:
    """The hooks that apply to one journey: those of plugins, and of conftest files above its own file."""

    def __init__(self, relay: Any, *, gui: bool) -> None:  # noqa: ANN401 - pytest exports no type for its hooks
        self._relay = relay
        self._hook = GUI_ACTION if gui else NEXT_ACTION
        self._answers = (Performed if gui else Command, Done, ActorError)

    @property
    def can_act(self) -> bool:
        return is_implemented(self._relay, self._hook)

    def next_action(
        self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]
    ) -> Answer | None:
        given = self._call(self._hook, step, journey=journey, step=step, observations=observations)
        try:
            answer: Answer | None = answer_in(given) if isinstance(given, Mapping) else given
        except ValueError as error:
            raise HarnessError(f"{step.location}: {self._hook} gave {given!r}: {error}") from error
        if answer is None or isinstance(answer, self._answers):
            return answer
        names = ", ".join(f"pytest_dogfood.{kind.__name__}" for kind in self._answers)
        raise HarnessError(f"{step.location}: {self._hook} gave {given!r}, and not None or one of {names}")

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
            # The innermost line outside this package and pytest.
            places = [
                f"{Path(frame.f_code.co_filename)}:{line}"
                for frame, line in walk_tb(error.__traceback__)
                if str(frame.f_globals.get("__name__")).partition(".")[0]
                not in {"pytest_dogfood", "_pytest", "pluggy"}
            ]
            place = places[-1] if places else "an unknown place"
            raise HarnessError(
                f"{about.location}: {hook} raised {type(error).__name__}: {error} ({place})"
            ) from error


class Actors(Struct, frozen=True, kw_only=True):
    """The actors of this process, their limits, and where their actions are kept.

    `relays` are the hooks that apply to an item, by its node id, and `relay` those for all others. An action whose step
    sets no limit may take `seconds`.
    """

    relays: Mapping[str, Any]
    relay: Any
    process: ActorProcess | None
    limits: Limits
    seconds: float
    run: RunDirectory
    worker: str
    recorder: Recorder
    replayed: Recordings | None = None
    recorded: Recordings | None = None

    def _hooks(self, journey: Journey) -> HookActor:
        return HookActor(self.relays.get(journey.nodeid, self.relay), gui=journey.is_gui)

    def require(self, journey: Journey) -> None:
        """Check that a journey with a step without a command has an actor.

        Raises NoActor if there is no actor, HarnessError if its recording is missing or does not fit.
        """
        if self.replayed is not None and not journey.is_gui:
            self.replayed.read(journey)
        elif not self._hooks(journey).can_act and (journey.is_gui or self.process is None):
            raise NoActor(journey.no_actor_reason)

    def _session(self, journey: Journey, runner: ShellRunner) -> ActorSession:
        """Return the session of one journey; raises HarnessError if its recording is missing or does not fit."""
        hooks = self._hooks(journey)
        variables = {
            name: text
            for name, text in runner.environment.items()
            if name in journey.env or name.startswith("DOGFOOD_")
        }
        session = ActorSession(
            journey=journey,
            limits=self.limits,
            runner=replace(runner, timeout=self.seconds),
            actors=(hooks,) if journey.is_gui or self.process is None else (hooks, self.process),
            judge_hook=hooks.judge,
            trajectory=Trajectory(self.run.trajectories / f"{runner.name}.jsonl", runner.keeper),
            variables=variables,
            recorder=self.recorder,
        )
        if self.replayed is not None and not journey.is_gui:
            session.actors = (RecordedActor(self.replayed.read(journey), session.variables),)
            session.limits = UNLIMITED
        return session

    def run_steps(
        self,
        journey: Journey,
        runner: ShellRunner,
        *,
        why: str,
        asked_by: str,
        done: StepsResult,
        last: int | None = None,
    ) -> None:
        """Run the steps of a journey up to number `last`, and add their results to `done`.

        `why` and `asked_by` go into the trajectory.

        Raises HarnessError if its recording does not fit or an actor could not do its part, and NoActor if no hook
        answers.
        """
        session = self._session(journey, runner)
        trajectory = session.trajectory
        done.trajectory = str(trajectory.path)
        trajectory.begin(journey, why=why, run=self.run.id, worker=self.worker, asked_by=asked_by)
        try:
            actor = ActorLoop(journey.steps, session)
            run_steps(journey.steps, runner, timeout=journey.timeout, actor=actor, done=done, last=last)
        except HarnessError as error:
            trajectory.end("error", str(error))
            raise HarnessError(runner.mask(f"{error}\n  trajectory: {trajectory.path}")) from error
        except NoActor as error:
            trajectory.end("skipped", str(error))
            raise
        else:
            trajectory.end("passed" if done.failure is None else "failed")
            if self.recorded is not None and not journey.is_gui:
                self._record(self.recorded, session, done.values)
        finally:
            trajectory.close()

    def _record(self, recordings: Recordings, session: ActorSession, saved: Mapping[str, str]) -> None:
        varying = {
            name: text
            for name, text in session.variables.items()
            if name in saved or (name.startswith("DOGFOOD_") and name not in PLAIN_WORDS)
        }
        plain = {
            number: [with_placeholders(command, varying) for command in commands]
            for number, commands in session.commands.items()
        }
        mask = session.runner.keeper.mask
        masked = {number: [mask(command) for command in commands] for number, commands in plain.items()}
        recording = recording_of(session.journey, masked, masked=masked != plain)
        recordings.write(recording, claims=self.run.recorded)
