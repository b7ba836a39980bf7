"""Gives tokens back: runs their release steps, stops their services, forgets that they hold."""

from __future__ import annotations

from pytest_dogfood.execution import perform
from pytest_dogfood.journey import Capability
from pytest_dogfood.presence import Presence
from pytest_dogfood.registry import Holding
from pytest_dogfood.servicing import stop_service
from pytest_dogfood.wording import failure_text
from pytest_dogfood.world import State


def release(presence: Presence, holding: Holding, state: State) -> str:
    """Give one token back, once nobody needs it any more; gives what went wrong, or nothing.

    What was present before anybody asked is left alone, and so is what another live run counts on.
    """
    if not presence.is_given_back(holding.token):
        return ""
    capability = presence.graph.capability(holding.token)
    with presence.locked(holding.token, state):
        if presence.registry.holding(holding.token, holding.place) is None:
            return ""  # somebody else was faster
        presence.registry.forget(holding.token, holding.place)
        if holding.service is not None:
            stop_service(presence, holding)
        if presence.outlives_runs(holding.token):
            if not presence.machine.give_back(holding.token):
                return ""
        elif not holding.ours:
            return ""
        problem = _release(presence, capability, holding, state)
        if (
            not problem
            and presence.outlives_runs(holding.token)
            and capability is not None
            and capability.release
        ):
            presence.machine.forget(holding.token)  # not before: what is still there is still ours to release
        return problem


def _release(presence: Presence, capability: Capability | None, holding: Holding, state: State) -> str:
    if capability is None or not capability.release:
        return ""
    bench = presence.bench_for(holding.token, capability, state, holding.values)
    with presence.world.interruption.doing(f"release of {holding.token}"):
        done = perform(capability.release, bench, keep_going=True)
    return failure_text(done, bench, what=f"release of {holding.token}, step")
