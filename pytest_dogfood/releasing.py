"""Releases tokens: stops their services, runs their release steps, forgets that they hold."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_dogfood.execution.failure_text import failure_text
from pytest_dogfood.execution.runner import perform
from pytest_dogfood.journey import Token
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.service import stop_service
from pytest_dogfood.provisioning.workspace import State

RELEASE_OF = "DOGFOOD_RELEASE_OF"
"""Variable that tells release steps whether the token was there when it was last asked for, or is half-made."""


def release(presence: Presence, token: Token, place: str, state: State) -> str:
    """Release one token, once nothing needs it any more; return what went wrong, or nothing.

    What was present before the run is left alone, and so is what another live run counts on. Runs under the named locks
    of the capability, so the caller holds none.
    """
    capability = presence.graph.capability(token)
    if capability is None or not presence.is_given_back(token):
        return ""
    locks = presence.world.named_locks()
    try:
        locks.take(capability.locks)
        with presence.locked(token, state):
            holding, made = presence.registry.holding(token, place), presence.registry.made(token, place)
            if holding is None and made is None:
                return ""  # another process was faster
            presence.registry.released(token, place)
            stop_service(presence, None if made is None else made.service)
            shared = presence.outlives_runs(token)
            if not (presence.machine.give_back(token) if shared else made is not None):
                return ""
            if not capability.release:
                return ""
            values = holding.values if holding is not None else made.values if made is not None else {}
            bench = presence.bench_for(token, capability, state, values)
            environment = {
                **bench.environment,
                RELEASE_OF: "incomplete" if holding is None else "complete",
                **({} if made is None else made.values),
            }
            with presence.world.interruption.doing(f"release of {token}"):
                done = perform(capability.release, replace(bench, environment=environment), keep_going=True)
            if shared and done.failure is None:
                presence.machine.forget(token)  # not before: what is still there is still ours to release
            return failure_text(done, bench, what=f"release of {token}, step")
    finally:
        locks.give_back()
