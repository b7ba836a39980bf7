"""Puts together what a process needs to run items of the graph; imported once there are some."""

from __future__ import annotations

import pytest

from pytest_dogfood.custody import ChainCustody
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journal import Journal
from pytest_dogfood.presence import Presence
from pytest_dogfood.process import Lifeline
from pytest_dogfood.provisioning import Provisioner
from pytest_dogfood.registry import Lease
from pytest_dogfood.registry import MachineRegistry
from pytest_dogfood.registry import Registry
from pytest_dogfood.rundir import RunDirectory
from pytest_dogfood.rundir import project_name
from pytest_dogfood.running import Running
from pytest_dogfood.selection import Settled
from pytest_dogfood.stash import SETTINGS
from pytest_dogfood.stepping import SecretKeeper
from pytest_dogfood.world import World


def presence_for(
    config: pytest.Config, graph: CapabilityGraph, run: RunDirectory, *, worker: str, lease: Lease
) -> Presence:
    """Put together what a process of the run needs to ask and to provision tokens."""
    settings = config.stash[SETTINGS]
    root = run.path.parent
    project = project_name(config.rootpath)
    world = World(
        run=run,
        rootdir=config.rootpath,
        invoked_from=config.invocation_params.dir,
        worker=worker,
        settings=settings,
        keeper=SecretKeeper.from_environment(settings.secrets),
        locks=root / "locks",
        lifeline=Lifeline() if hasattr(config, "workerinput") else None,
    )
    machine = MachineRegistry(root / f"machine-{project}", lease)
    return Presence(graph, Registry(run.path / "tokens"), machine, world)


def engage(
    config: pytest.Config, settled: Settled, run: RunDirectory, *, worker: str, lease: Lease
) -> Running:
    """Make the plugin that runs the plan's items, and let what ensures presence come before their fixtures."""
    presence = presence_for(config, settled.graph, run, worker=worker, lease=lease)
    journal = Journal(run.records)
    custody = ChainCustody(settled.plan, presence, journal)
    running = Running(settled.plan, Provisioner(presence, journal), custody)
    running.announce(list(settled.items))
    return running
