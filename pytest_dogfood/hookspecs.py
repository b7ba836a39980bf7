"""The hooks by which a project chooses commands for steps without one, and judges expectations in free text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest_dogfood as dogfood


@pytest.hookspec(firstresult=True)
def pytest_dogfood_next_action(
    journey: dogfood.JourneyBrief, step: dogfood.StepBrief, observations: Sequence[dogfood.Action]
) -> dogfood.Command | dogfood.Done | dogfood.ActorError | Mapping[str, object] | None:
    """Choose the next command of a step without one, from everything that was seen in its journey so far.

    Called repeatedly for one step, until the answer is `Done`. None leaves the choice to another implementation, and in
    the end to the process of `dogfood_actor`. A mapping such as `{"done": True}` is an answer too.
    """


@pytest.hookspec(firstresult=True)
def pytest_dogfood_gui_action(
    journey: dogfood.JourneyBrief, step: dogfood.StepBrief, observations: Sequence[dogfood.Action]
) -> dogfood.Performed | dogfood.Done | dogfood.ActorError | Mapping[str, object] | None:
    """Do the next action for a step of a journey with `modality: gui`, and return what was done and seen."""


@pytest.hookspec(firstresult=True)
def pytest_dogfood_judge(
    journey: dogfood.JourneyBrief, step: dogfood.StepBrief, actions: Sequence[dogfood.Action]
) -> dogfood.Verdict | bool | None:
    """Judge whether a step's expectation in free text was met: a verdict, true or false; None leaves it unjudged.

    Called after a step without a command, if all its other expectations are met.
    """
