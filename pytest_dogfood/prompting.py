"""Asks the project's hooks on behalf of actors, and lets nothing of theirs pass for a failure of the product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pytest

from pytest_dogfood.actions import (
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
from pytest_dogfood.diagnostics import HarnessError

NEXT = "pytest_dogfood_next_action"
GUI = "pytest_dogfood_gui_action"
JUDGE = "pytest_dogfood_judge"


def is_implemented(relay: Any, hook: str) -> bool:  # noqa: ANN401 - pytest exports no type for its hooks
    """Whether some plugin or conftest file has the hook."""
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
    return places[-1] if places else "nobody knows where"
