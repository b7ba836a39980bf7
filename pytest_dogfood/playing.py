"""The performance of a whole journey, with an actor where it has a step without a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dogfood.actors.loop import NoActor, nobody_acts
from pytest_dogfood.execution.runner import Performance, perform
from pytest_dogfood.execution.step import RealBench
from pytest_dogfood.journey import Journey
from pytest_dogfood.provisioning.workspace import World
from pytest_dogfood.storage.journal import Why

if TYPE_CHECKING:
    from pytest_dogfood.actors.actor import JourneyCast


def require_actor(world: World, journey: Journey) -> None:
    """Make sure that somebody acts where a journey has a step without a command.

    Raises NoActor if there is nobody, HarnessError if a recording is to be replayed that is missing or does not fit.
    """
    if journey.needs_actor:
        if world.troupe is None:
            raise NoActor(nobody_acts(journey))
        world.troupe.require(journey)


def cast_for(world: World, journey: Journey, bench: RealBench) -> JourneyCast | None:
    """Gather who plays in a journey, if somebody has to; raises HarnessError as `require_actor` does."""
    return None if world.troupe is None or not journey.needs_actor else world.troupe.cast(journey, bench)


def play(
    world: World,
    journey: Journey,
    bench: RealBench,
    cast: JourneyCast | None,
    *,
    why: Why,
    asked_by: str = "",
    done: Performance,
) -> None:
    """Perform the steps of a journey, and account for them in `done`, step by step.

    Raises HarnessError where the harness, an actor among it, could not do its part, and NoActor where no hook answers.
    """
    if cast is None or world.troupe is None:
        perform(journey.steps, bench, timeout=journey.timeout, done=done)
    else:
        world.troupe.perform(cast, bench, why=why, asked_by=asked_by, done=done)
