"""Starts the services that a journey of a kept run needs again, in the copy of what the run has kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.watcher import start_time
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, Token, variable_for
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.service import start_service
from pytest_dogfood.provisioning.workspace import ChainState, Workspace
from pytest_dogfood.settings import Settings
from pytest_dogfood.storage.run_directory import ALONE, RunDirectory, project_name
from pytest_dogfood.storage.token_registry import MachineRegistry, Registry, RunIdentity, TokenRecord


@contextmanager
def started_services(
    graph: CapabilityGraph,
    journey: Journey,
    *,
    state: Path,
    rootdir: Path,
    variables: Mapping[str, str],
    settings: Settings,
) -> Iterator[dict[str, str]]:
    """Start the services that a journey needs, as the project's files define them, and stop them in the end.

    `state` is the copied state in the directory of the copy. All other tokens count as present, with the values that
    the recorded `variables` have. Return the new values by variable. Raises HarnessError if a service does not get
    ready.
    """
    run = RunDirectory(state.parent)
    root = run.path.parent
    workspace = Workspace(
        run=run,
        rootdir=rootdir,
        invoked_from=Path.cwd(),
        worker=ALONE,
        settings=settings,
        keeper=SecretKeeper(),
        locks=root / "locks",
        pools={name: pool.units for name, pool in graph.pools.items()},
    )
    machine = MachineRegistry(
        root / f"machine-{project_name(rootdir)}",
        RunIdentity(run=run.id, pid=os.getpid(), born=start_time(os.getpid())),
    )
    presence = Presence(graph, Registry(run.tokens), machine, workspace)
    chain = ChainState(chain=ChainId(variables.get("DOGFOOD_CHAIN", "")), path=state)
    started: dict[Token, None] = {}
    with ExitStack() as stack:
        for token in reversed(graph.needed_by(journey)):
            capability = graph.capability(token)
            if capability is None or capability.service is None:
                presence.registry.record(_as_recorded(presence, token, chain, variables))
                continue
            locks = workspace.named_locks()
            locks.acquire(capability.locks)
            try:
                with presence.locked(token, chain):
                    record = start_service(presence, token, capability, capability.service, chain)
            finally:
                locks.release()
            stack.callback(presence.stop_service, record.service)
            started[token] = None
        yield {
            variable_for(token, name): value
            for token in started
            for name, value in presence.values_of(token, chain).items()
        }


def _as_recorded(
    presence: Presence, token: Token, state: ChainState, variables: Mapping[str, str]
) -> TokenRecord:
    """Return the record of a token that counts as present, with the values that the variables have."""
    names = {name: variable_for(token, name) for name in presence.graph.value_names(token)}
    return TokenRecord(
        token=token,
        place=presence.place_of(token, state),
        by="the recorded run",
        proof=Proof.PROVIDER,
        ours=False,
        values={name: variables[variable] for name, variable in names.items() if variable in variables},
        home=state.name,
    )
