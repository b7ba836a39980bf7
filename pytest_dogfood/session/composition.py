"""Builds the objects that a process needs to run items: workspace, presence, provisioner, actors."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.collection.selection import Selection
from pytest_dogfood.collection.stash import ADDED, DEPENDENCY_MARKS, FLEET, INTERRUPTION, PINNED, SETTINGS
from pytest_dogfood.execution.interruption import Interruption
from pytest_dogfood.execution.process import ParentProcess
from pytest_dogfood.execution.watcher import start_time
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.release import ChainRelease
from pytest_dogfood.provisioning.workspace import Workspace
from pytest_dogfood.session.items import ItemHooks
from pytest_dogfood.session.signals import InterruptedItems, WorkerSignals
from pytest_dogfood.session.test_reports import keeper_of
from pytest_dogfood.storage.journal import Journal
from pytest_dogfood.storage.locks import LockTable
from pytest_dogfood.storage.record import graph_record, write_graph
from pytest_dogfood.storage.run_directory import ALONE, RunDirectory, project_name
from pytest_dogfood.storage.token_registry import MachineRegistry, Registry, RunIdentity

if TYPE_CHECKING:
    from pytest_dogfood.actors.actor import Actors
    from pytest_dogfood.actors.recording import Recordings

ORDER_AND_REPORT = {
    "cacheprovider",
    "hypothesispytest",
    "pytest_cov",
    "randomly",
    "random_order",
    "rerunfailures",
    "timeout",
}
"""Plugins that order, repeat, limit or report tests; without them the steps of a journey do the same."""

PLACE_AND_LOOK = {
    "cache_dir",
    "console_output_style",
    "dogfood_cache",
    "dogfood_cache_dir",
    "dogfood_cache_limit",
    "dogfood_copy_limit",
    "dogfood_fleet",
    "dogfood_fleet_lease",
    "dogfood_keep",
    "dogfood_shard",
    "dogfood_state_root",
}
"""Ini keys that say where things are kept and copied, how a run looks, and which part of a project it is of."""

PLAIN_OPTIONS = ("--rootdir", "--confcutdir", "--import-mode", "--dogfood-provision")


def options_that_matter(typed: Sequence[str], configured: Sequence[str] = ()) -> tuple[str, ...]:
    """Return those of the `typed` options that can change the outcome of a journey, as words of a command.

    `configured` are the options that the project adds to every run. A selection among them is undone, because it may
    not contain the journey.
    """
    known = _parse(typed)
    words = ["-c", known.c] if known.c is not None else []
    for option in PLAIN_OPTIONS:
        value = getattr(known, option.removeprefix("--").replace("-", "_"))
        words += [option, value] if value is not None else []
    words += ["--noconftest"] if known.noconftest else []
    for name in known.p:
        words += ["-p", name] if name.removeprefix("no:") not in ORDER_AND_REPORT or name[:3] != "no:" else []
    for setting in known.o:
        words += ["-o", setting] if setting.partition("=")[0] not in PLACE_AND_LOOK else []
    selecting = _parse(configured)
    words += ["-m", ""] if selecting.m else []
    words += ["-k", ""] if selecting.k else []
    return tuple(words)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the options that are known here, as pytest does, and ignore all others.

    Return the defaults if a plugin parses them differently from pytest.
    """
    parser = _parser()
    try:
        return parser.parse_known_args(list(words))[0]
    except argparse.ArgumentError:
        return parser.parse_args([])


@cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config-file", dest="c")
    for option in PLAIN_OPTIONS:
        parser.add_argument(option)
    parser.add_argument("--noconftest", action="store_true")
    parser.add_argument("-p", action="append", default=[])
    parser.add_argument("-o", "--override-ini", dest="o", action="append", default=[])
    for option in ("-m", "-k", "-n", "-r", "-W"):  # their values may look like options
        parser.add_argument(option)
    for option in ("-x", "-v", "-q", "-s", "-l"):  # they may precede others in one word: -xvp name
        parser.add_argument(option, action="count")
    return parser


def presence_for(config: pytest.Config, graph: CapabilityGraph, run: RunDirectory) -> Presence:
    """Build what this process of the run needs to probe and provision tokens."""
    workerinput = getattr(config, "workerinput", {"workerid": ALONE, "dogfood_pid": os.getpid()})
    leader: int = workerinput["dogfood_pid"]
    root = run.path.parent
    added = config.stash.get(ADDED, None)
    mark_names: dict[str, object] = {"config": config}
    for more in reversed(config.hook.pytest_markeval_namespace(config=config)):
        mark_names.update(more)
    pinned = config.stash.get(PINNED, None)
    joined = None
    if pinned is not None and pinned.joined is not None:
        joined, leader = RunDirectory(Path(pinned.joined.directory)), pinned.joined.pid
        run.join(joined)
    configured = [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    again = options_that_matter([str(word) for word in config.invocation_params.args], configured)
    if config.getini("dogfood_shard"):
        again = (*again, "-o", "dogfood_shard=")  # a journey replayed here may belong to another shard
    workspace = Workspace(
        run=run,
        rootdir=config.rootpath,
        invoked_from=config.invocation_params.dir,
        worker=workerinput["workerid"],
        lane=workerinput.get("dogfood_lane", ""),
        settings=config.stash[SETTINGS],
        keeper=keeper_of(config),
        locks=root / "locks",
        pools={name: pool.units for name, pool in graph.pools.items()},
        parent=ParentProcess() if hasattr(config, "workerinput") else None,
        mark_names=mark_names,
        again="".join(f"{shlex.quote(word)} " for word in again),
        uncollected={} if added is None else added.problems(),
        interruption=config.stash.setdefault(INTERRUPTION, Interruption()),
        twice=frozenset() if pinned is None else frozenset(pinned.twice),
        joined=joined,
        machine_stays=joined is not None and pinned is not None and not pinned.release,
    )
    lock_table = partial(LockTable, threads=RLock(), waiting=workspace.waiting)
    machine = MachineRegistry(
        root / f"machine-{project_name(config.rootpath)}",
        RunIdentity(run=(joined or run).id, pid=leader, born=start_time(leader)),
        lock_table=lock_table,
    )
    registry = Registry(run.tokens, machine=None if joined is None else joined.tokens, lock_table=lock_table)
    if joined is not None and not hasattr(config, "workerinput"):
        registry.begin_run()
    share = config.stash.get(FLEET, None)
    fleet = None if share is None else share(workspace.waiting)
    return Presence(graph, registry, machine, workspace, fleet=fleet)


def actors_for(config: pytest.Config, selection: Selection, workspace: Workspace) -> Actors | None:
    """Build the actors of this process; None if no journey needs one."""
    graph, settings = selection.graph, workspace.settings
    if not any(one.needs_actor and not graph.lacks_actor(one.id) for one in graph.journeys.values()):
        return None
    from pytest_dogfood.actors.actor import Actors
    from pytest_dogfood.actors.loop import Limits
    from pytest_dogfood.actors.program import ActorProcess
    from pytest_dogfood.actors.recording import Recordings

    place = workspace.rootdir

    def recordings(directory: str | None) -> Recordings | None:
        return None if directory is None else Recordings(workspace.invoked_from / directory)

    process = None
    if settings.actor is not None:
        process = ActorProcess(
            settings.actor,
            cwd=place,
            env=workspace.environment(workdir=place, state=workspace.run.shared, directory=place),
            log=workspace.run.actor_log(workspace.worker),
            seconds=settings.actor_answer_timeout,
            keeper=workspace.keeper,
        )
    return Actors(
        relays={item.nodeid: item.ihook for item in selection.items},
        relay=config.hook,
        process=process,
        limits=Limits(actions=settings.actor_actions, turns=settings.actor_turns),
        seconds=settings.actor_action_timeout,
        run=workspace.run,
        worker=workspace.worker,
        recorder=workspace.recorder,
        replayed=recordings(settings.replay),
        recorded=recordings(settings.record),
    )


def register_item_plugins(config: pytest.Config, selection: Selection, directory: Path) -> None:
    """Register the plugins that run the plan's items here; raises HarnessError if their files cannot be written."""
    run = RunDirectory(directory)
    presence = presence_for(config, selection.graph, run)
    write_graph(run, graph_record(selection.graph, selection.plan))
    if getattr(config, "workerinput", {}).get("dogfood_activity"):
        from pytest_dogfood.session.progress import share_activity

        share_activity(run.records, presence.workspace.worker, presence.workspace.interruption)
    presence.workspace.actors = actors_for(config, selection, presence.workspace)
    journal = Journal(run.records)
    release = ChainRelease(selection.plan, presence, journal)
    pinned = config.stash.get(PINNED, None)
    if pinned is not None:
        from pytest_dogfood.doubt.observer import StateObserver

        presence.workspace.observer = StateObserver(pinned, selection.plan, presence)
        config.pluginmanager.register(presence.workspace.observer, "dogfood-observer")
    provisioner = Provisioner(presence, journal, selection.gates_elsewhere)
    marks = config.stash.get(DEPENDENCY_MARKS, None)
    if marks is not None:
        marks.answer_from(journal)
    interruption = presence.workspace.interruption
    register = config.pluginmanager.register
    register(ItemHooks(selection, provisioner, release), "dogfood-running")
    register(InterruptedItems(interruption), "dogfood-interrupted-items")
    if hasattr(config, "workerinput"):
        register(WorkerSignals(config, interruption, run), "dogfood-worker-signals")
