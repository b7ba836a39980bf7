"""Registers the pytest plugins that this process needs: leader, worker or check. It imports nothing heavy."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.collection.stash import DEPENDENCY_MARKS, PINNED, PROJECT, SETTINGS
from pytest_dogfood.session.worker import ItemSelector, JourneyCollector

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dogfood.collection.project import Project
    from pytest_dogfood.journey import Journey
    from pytest_dogfood.settings import Settings

REFUSED_DIST = {
    "loadgroup": "a chain is the only group there is, and it is kept together already",
    "each": "every worker would run every journey",
}

KEYS_OF_OTHER_PLACES = {"via", "ssh", "socket", "vagrant_ssh", "installvia"}
"""Keys of a --tx specification that start a worker on another machine, or through another worker."""


def register_plugins(config: pytest.Config, settings: Settings) -> None:
    """Register the plugins that this process needs; raises pytest.UsageError for options that cannot be combined."""
    if settings.plan is not None:
        settings = _follow_plan(config, settings, settings.plan)
    config.stash[SETTINGS] = settings
    _refuse_unusable_recordings(config.invocation_params.dir, settings)
    read_once: Callable[[], Project] = cache(partial(_project, config, settings))
    config.stash[PROJECT] = read_once
    collector = JourneyCollector()
    manager = config.pluginmanager
    manager.register(collector, "dogfood-collector")
    # Under --lf it would skip whole files, although failed tests may require tests in any of them.
    manager.set_blocked("lfplugin-collskip")
    if settings.secrets:
        from pytest_dogfood.session.test_reports import keeper_of

        keeper_of(config)  # before collection, whose reports contain the output of imports
    if settings.dependency_markers:
        from pytest_dogfood.collection.dependency_marks import DependencyMarks, unregister_original

        config.stash[DEPENDENCY_MARKS] = marks = DependencyMarks(
            automark=settings.automark_dependency,
            ignore_unknown=settings.ignore_unknown_dependency,
            instead_of_the_original=unregister_original(config),
        )
        manager.register(marks, "dogfood-dependency-marks")
    if not hasattr(config, "workerinput"):
        _register_leader(config, collector, settings)
        return
    from pytest_dogfood.xdist.barrier import BarrierPlugin

    manager.register(ItemSelector(config, collector), "dogfood-working")
    manager.register(BarrierPlugin(), "dogfood-barrier")
    if "dogfood_fleet" in config.workerinput:
        from pytest_dogfood.fleet.start import share_tokens_in_worker

        share_tokens_in_worker(
            config, config.workerinput["dogfood_fleet"], worker=config.workerinput["workerid"]
        )
    added = [Path(path) for path in config.workerinput["dogfood_added"]]
    if added:
        from pytest_dogfood.collection.added_files import AddedFiles  # most runs need no other files

        manager.register(AddedFiles(config, added), "dogfood-added-files")


def _follow_plan(config: pytest.Config, settings: Settings, name: str) -> Settings:
    """Read a plan file, and return the settings of a run that follows it; raises pytest.UsageError."""
    from dataclasses import replace

    from pytest_dogfood.diagnostics import PinnedPlanError
    from pytest_dogfood.scheduling.pinned_plan import read_pinned_plan
    from pytest_dogfood.settings import Cache

    if settings.shard is not None:
        raise pytest.UsageError("--dogfood-plan says what runs, and so does --dogfood-shard: use one of them")
    try:
        content = (config.invocation_params.dir / name).read_bytes()
        config.stash[PINNED] = pinned = read_pinned_plan(content)
    except OSError as error:
        raise pytest.UsageError(f"--dogfood-plan {name}: {error.strerror}") from error
    except PinnedPlanError as error:
        raise pytest.UsageError(*(f"--dogfood-plan {name}: {one}" for one in error.args)) from error
    if pinned.joined is not None and not Path(pinned.joined.directory).is_dir():
        raise pytest.UsageError(f"--dogfood-plan {name}: there is no directory {pinned.joined.directory}")
    if pinned.result and not Path(pinned.result).absolute().parent.is_dir():
        raise pytest.UsageError(f"--dogfood-plan {name}: there is no directory for {pinned.result}")
    if pinned.release:
        config.option.dist, config.option.tx = "no", []
    # What a project says of all its runs beyond that is not about one that only tries.
    return replace(settings, cache=Cache.OFF, keep=False, report=None, record=None, fleet_run=None)


def _refuse_unusable_recordings(directory: Path, settings: Settings) -> None:
    """Refuse directories at once that would cause an error only after an actor has done all its work."""
    if settings.replay is not None and not (directory / settings.replay).is_dir():
        raise pytest.UsageError(
            f"--dogfood-replay {settings.replay}: there is no such directory; --dogfood-record writes one"
        )
    if settings.record is not None:
        wanted = directory / settings.record
        there = next(path for path in (wanted, *wanted.parents) if os.path.lexists(path))
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise pytest.UsageError(
                f"--dogfood-record {settings.record}: recordings cannot be written there, "
                f"because {there} is not a directory that you may write to"
            )


def _project(config: pytest.Config, settings: Settings) -> Project:
    from pytest_dogfood.collection.discovery import named_on_command_line
    from pytest_dogfood.collection.project import Project

    def is_ignored(path: Path) -> bool:
        return bool(config.hook.pytest_ignore_collect(collection_path=path, config=config))

    def has_actor(journey: Journey) -> bool:
        """Return whether a run has an actor for the steps without a command."""
        from pytest_dogfood.actors.actor import GUI_ACTION, NEXT_ACTION, is_implemented

        if journey.is_gui:
            return is_implemented(config.hook, GUI_ACTION)
        return bool(settings.actor or settings.replay) or is_implemented(config.hook, NEXT_ACTION)

    roots = tuple(path for name in config.getini("testpaths") if (path := config.rootpath / name).exists())
    named = tuple(named_on_command_line(config.args, config.invocation_params.dir))
    pinned = config.stash.get(PINNED, None)
    return Project(
        config.rootpath,
        settings.files,
        roots or (config.rootpath,),
        is_ignored,
        has_actor,
        named=named,
        added=() if pinned is None else pinned.added,
    )


def _register_leader(config: pytest.Config, collector: JourneyCollector, settings: Settings) -> None:
    from pytest_dogfood.collection.last_failed import LastFailed
    from pytest_dogfood.session.leader import Leader
    from pytest_dogfood.session.terminal import Terminal

    workers = config.getoption("dogfood_workers") or _number_of_workers(config)
    if settings.check or config.getoption("setupplan"):
        config.option.dist, config.option.tx = "no", []
    distributed = _is_distributed(config)
    selector = None if distributed else ItemSelector(config, collector)
    leader = Leader(config, selector, workers=_number_of_workers(config))
    register = config.pluginmanager.register
    register(leader, "dogfood-leading")
    register(Terminal(config, leader, workers=_number_of_workers(config)), "dogfood-terminal")
    if selector is not None:
        register(selector, "dogfood-working")
    else:
        from pytest_dogfood.xdist.controller import ControllerPlugin

        register(ControllerPlugin(config, leader), "dogfood-distribution")
    if settings.fleet_run is not None:
        from pytest_dogfood.fleet.start import register_fleet

        register_fleet(config, leader, workers=_number_of_workers(config))
    if config.getoption("setupplan"):
        from pytest_dogfood.session.disabled import DisabledFixtures

        register(DisabledFixtures(), "dogfood-absent-fixtures")
    if not settings.check:
        if (pinned := config.stash.get(PINNED, None)) is not None:
            from pytest_dogfood.doubt.plan_recorder import PlanRecorder

            register(PlanRecorder(pinned, leader), "dogfood-plan-recorder")
        if settings.report is not None or os.environ.get("GITHUB_ACTIONS"):
            from pytest_dogfood.session.record_writer import ReportWriter

            register(ReportWriter(config, leader), "dogfood-report")
        register(LastFailed(config, leader), "dogfood-last-failed")
        if settings.shard is not None:
            from pytest_dogfood.session.record_writer import ManifestWriter

            register(ManifestWriter(config, leader, settings.shard, settings.manifest), "dogfood-manifest")
    elif selector is not None:
        # It reports and advises; a run needs nothing of that.
        from pytest_dogfood.session.check_plugin import CheckPlugin

        register(CheckPlugin(config, selector, workers=max(workers, 1)), "dogfood-checking")


def _is_distributed(config: pytest.Config) -> bool:
    """Return whether this is the controller of an xdist run.

    Raises UsageError for unsupported --dist and --tx options.
    """
    dist = config.getoption("dist", "no")
    if dist == "no" or not config.getoption("tx", None) or config.getoption("collectonly"):
        return False
    if dist in REFUSED_DIST:
        raise pytest.UsageError(
            f"--dogfood cannot run with --dist {dist}: {REFUSED_DIST[dist]}; leave --dist out"
        )
    for spec in config.getoption("tx"):
        instead = _instead_of(str(spec))
        if instead:
            raise pytest.UsageError(
                f"--dogfood runs on workers of this machine, interpreter and directory only, not on --tx {spec}: "
                f"{instead}"
            )
    return True


def _instead_of(spec: str) -> str:
    """Return what to run instead of an xdist worker in another environment; empty if it is like this process."""
    number, star, rest = spec.partition("*")
    parts = (rest if star and number.isdigit() else spec).split("//")
    wanted = {key: value for key, _, value in (part.partition("=") for part in parts)}
    if "popen" not in wanted or KEYS_OF_OTHER_PLACES.intersection(wanted):
        return "start one run per machine, with --dogfood-shard I/N"
    if "python" in wanted:
        return f"start the run with that interpreter: {wanted['python']} -m pytest --dogfood -n N"
    if "chdir" in wanted:
        return f"start the run in that directory: cd {wanted['chdir']} && pytest --dogfood -n N"
    return ""


def _number_of_workers(config: pytest.Config) -> int:
    """Count the workers that a run with these options would have."""
    if config.getoption("dist", "no") == "no":
        return 1
    specs = [str(spec).partition("*") for spec in config.getoption("tx", None) or ()]
    return sum(int(number) if star and number.isdigit() else 1 for number, star, _ in specs)
