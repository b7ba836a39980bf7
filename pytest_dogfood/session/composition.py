"""Puts together what a process needs to run items of the graph; imported once there are some."""

from __future__ import annotations

import os
import shlex
from threading import RLock
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.api import ANSWER, Answer
from pytest_dogfood.collection.added_files import ADDED
from pytest_dogfood.collection.dependency_marks import DEPENDENCY_MARKS
from pytest_dogfood.collection.selection import Settled
from pytest_dogfood.execution.interruption import Interruption
from pytest_dogfood.execution.process import Lifeline
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.release import ChainCustody
from pytest_dogfood.provisioning.workspace import World
from pytest_dogfood.reportmask import keeper_of
from pytest_dogfood.session.items import Running
from pytest_dogfood.stash import INTERRUPTION, SETTINGS
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.run_directory import RunDirectory, project_name
from pytest_dogfood.storage.token_registry import Lease, MachineRegistry, Registry
from pytest_dogfood.typedoptions import options_that_matter
from pytest_dogfood.verdicts import Verdicts

if TYPE_CHECKING:
    from pytest_dogfood.actors.actor import Troupe


def presence_for(
    config: pytest.Config, graph: CapabilityGraph, run: RunDirectory, *, worker: str, lease: Lease
) -> Presence:
    """Put together what a process of the run needs to ask and to provision tokens."""
    settings = config.stash[SETTINGS]
    added = config.stash.get(ADDED, None)
    root = run.path.parent
    project = project_name(config.rootpath)
    world = World(
        run=run,
        rootdir=config.rootpath,
        invoked_from=config.invocation_params.dir,
        worker=worker,
        settings=settings,
        keeper=keeper_of(config),
        locks=root / "locks",
        lifeline=Lifeline() if hasattr(config, "workerinput") else None,
        mark_names=_mark_names(config),
        again=_options_again(config),
        uncollected={} if added is None else added.problems(),
        interruption=config.stash.setdefault(INTERRUPTION, Interruption()),
    )
    threads = RLock()
    waited = world.changes.waited
    machine = MachineRegistry(root / f"machine-{project}", lease, threads=threads, waited=waited)
    return Presence(graph, Registry(run.tokens, threads=threads, waited=waited), machine, world)


def _options_again(config: pytest.Config) -> str:
    configured = [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    words = [*options_that_matter([str(word) for word in config.invocation_params.args], configured)]
    if config.getini("dogfood_shard"):
        words += ["-o", "dogfood_shard="]  # what was replayed here may belong to another shard
    return "".join(f"{shlex.quote(word)} " for word in words)


def _mark_names(config: pytest.Config) -> dict[str, object]:
    """Give what conditions of skipif and xfail may speak of besides modules, as pytest's own evaluation has it."""
    names: dict[str, object] = {"config": config}
    for more in reversed(config.hook.pytest_markeval_namespace(config=config)):
        names.update(more)
    return names


def troupe_for(config: pytest.Config, settled: Settled, world: World) -> Troupe | None:
    """Gather who acts in this process; None if there is nobody, or nothing to act in."""
    graph = settled.graph
    if not any(one.needs_actor and not graph.lacks_actor(one.id) for one in graph.journeys.values()):
        return None
    from pytest_dogfood.gathering import gather

    return gather(config, {item.nodeid: item.ihook for item in settled.items}, world)


def engage(
    config: pytest.Config, settled: Settled, run: RunDirectory, *, worker: str, lease: Lease
) -> Running:
    """Make the plugin that runs the plan's items, and let what ensures presence come before their fixtures."""
    presence = presence_for(config, settled.graph, run, worker=worker, lease=lease)
    presence.world.troupe = troupe_for(config, settled, presence.world)
    journal = Journal(run.records)
    custody = ChainCustody(settled.plan, presence, journal)
    running = Running(settled.plan, Provisioner(presence, journal, settled.gates_elsewhere), custody)
    running.announce(list(settled.items))
    marks = config.stash.get(DEPENDENCY_MARKS, None)
    if marks is not None:
        answer: Answer = Verdicts(marks.names, journal, ignore_unknown=marks.ignore_unknown)
        config.stash[ANSWER] = answer
    return running
