"""Gathers who acts in a process of the run: the project's hooks, the actor's process, recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_dogfood.actors.actor import HookPrompter, Troupe
from pytest_dogfood.actors.loop import Limits
from pytest_dogfood.actors.program import ActorProcess
from pytest_dogfood.actors.recording import Recordings
from pytest_dogfood.journey import Journey
from pytest_dogfood.provisioning.workspace import World


def gather(config: pytest.Config, relays: Mapping[str, Any], world: World) -> Troupe:
    """Put the troupe together; `relays` are the hooks as they count for an item, by its node id."""
    settings = world.settings

    def prompter_for(journey: Journey) -> HookPrompter:
        return HookPrompter(relays.get(journey.nodeid, config.hook), gui=journey.is_gui)

    return Troupe(
        prompter_for=prompter_for,
        process=None if settings.actor is None else _process(settings.actor, world),
        limits=Limits(actions=settings.actor_actions, turns=settings.actor_turns),
        seconds=settings.actor_action_timeout,
        run=world.run,
        worker=world.worker,
        replayed=_recordings(settings.replay, world),
        recorded=_recordings(settings.record, world),
    )


def _recordings(directory: str | None, world: World) -> Recordings | None:
    return None if directory is None else Recordings(world.invoked_from / directory)


def _process(command: str, world: World) -> ActorProcess:
    place = world.rootdir
    return ActorProcess(
        command,
        cwd=place,
        env=world.environment(workdir=place, state=world.run.shared, directory=place),
        log=world.run.actor_log(world.worker),
        seconds=world.settings.actor_answer_timeout,
        keeper=world.keeper,
    )
