"""The hooks through which a project decides, and judges, what steps without a command want."""

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
    """Decide what a step without a command needs next, from everything that was seen in its journey so far.

    Asked again and again for one step, until the answer is `Done`. None leaves the decision to another
    implementation, and in the end to the process of `dogfood_actor`. A mapping will do, such as `{"done": True}`.
    """


@pytest.hookspec(firstresult=True)
def pytest_dogfood_gui_action(
    journey: dogfood.JourneyBrief, step: dogfood.StepBrief, observations: Sequence[dogfood.Action]
) -> dogfood.Performed | dogfood.Done | dogfood.ActorError | Mapping[str, object] | None:
    """Do the next thing for a step of a journey with `modality: gui`, and tell what was done and seen."""


@pytest.hookspec(firstresult=True)
def pytest_dogfood_judge(
    journey: dogfood.JourneyBrief, step: dogfood.StepBrief, actions: Sequence[dogfood.Action]
) -> dogfood.Verdict | bool | None:
    """Judge whether what a step expects in free text was met: a verdict, true or false; None leaves it unjudged.

    Asked after the step, of steps without a command, where all that can be told without judgement is well.
    """
