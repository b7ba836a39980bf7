"""Brings the plugins of a run into play, each process its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.absence import AbsentFixtures
from pytest_dogfood.barrier import BarrierPlugin
from pytest_dogfood.collection import JourneyCollector
from pytest_dogfood.distribution import Distribution
from pytest_dogfood.leading import Leading
from pytest_dogfood.manifesting import ManifestWriter
from pytest_dogfood.process import start_time
from pytest_dogfood.project import Project
from pytest_dogfood.registry import Lease
from pytest_dogfood.rundir import ALONE
from pytest_dogfood.settings import Settings
from pytest_dogfood.stash import PROJECT
from pytest_dogfood.stash import SETTINGS
from pytest_dogfood.terminal import Terminal
from pytest_dogfood.timekeeping import Timekeeper
from pytest_dogfood.working import Working
from pytest_dogfood.working import run_of_worker

REFUSED = {
    "loadgroup": "a chain is the only group there is, and it is kept together already",
    "each": "every worker would run every journey",
}


def bring_into_play(config: pytest.Config, settings: Settings) -> None:
    """Register what this process needs; raises pytest.UsageError for what cannot be combined."""
    config.stash[SETTINGS] = settings
    config.stash[PROJECT] = Project(
        config.rootpath, settings.files, _roots(config), lambda path: _is_ignored(config, path)
    )
    config.pluginmanager.register(JourneyCollector(), "dogfood-collector")
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        _as_worker(config, workerinput)
    else:
        _as_leader(config, settings)


def _as_worker(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    run = run_of_worker(workerinput)
    pid = workerinput["dogfood_pid"]
    working = Working(config, worker=workerinput["workerid"])
    working.begin(run, Lease(run=run.id, pid=pid, born=start_time(pid)))
    config.pluginmanager.register(working, "dogfood-working")
    config.pluginmanager.register(BarrierPlugin(), "dogfood-barrier")


def _as_leader(config: pytest.Config, settings: Settings) -> None:
    workers = config.getoption("dogfood_workers") or _number_of_workers(config)
    if settings.check or config.getoption("setupplan"):
        config.option.dist, config.option.tx = "no", []
    distributed = _is_distributed(config)
    working = None if distributed else Working(config, worker=ALONE)
    leading = Leading(config, working)
    config.pluginmanager.register(leading, "dogfood-leading")
    config.pluginmanager.register(Terminal(config, leading), "dogfood-terminal")
    if working is not None:
        config.pluginmanager.register(working, "dogfood-working")
    else:
        config.pluginmanager.register(Distribution(config, leading), "dogfood-distribution")
    if config.getoption("setupplan"):
        config.pluginmanager.register(AbsentFixtures(), "dogfood-absent-fixtures")
    if not settings.check:
        config.pluginmanager.register(Timekeeper(config), "dogfood-timekeeper")
        if settings.shard is not None:
            writer = ManifestWriter(config, leading, settings.shard, settings.manifest)
            config.pluginmanager.register(writer, "dogfood-manifest")
    elif working is not None:
        from pytest_dogfood.checking import Checking  # reports and advice: a run needs nothing of them

        config.pluginmanager.register(Checking(config, working, workers=max(workers, 1)), "dogfood-checking")


def _is_distributed(config: pytest.Config) -> bool:
    """Whether this is the controller of an xdist run; raises UsageError for ways of distributing that we refuse."""
    dist = config.getoption("dist", "no")
    if dist == "no" or not config.getoption("tx", None) or config.getoption("collectonly"):
        return False
    if dist in REFUSED:
        raise pytest.UsageError(f"--dogfood cannot run with --dist {dist}: {REFUSED[dist]}; leave --dist out")
    remote = [spec for spec in config.getoption("tx") if not str(spec).split("*")[-1].startswith("popen")]
    if remote:
        raise pytest.UsageError(
            f"--dogfood runs on this machine's workers only, not on --tx {remote[0]}: "
            "start one run per machine, with --dogfood-shard I/N"
        )
    return True


def _number_of_workers(config: pytest.Config) -> int:
    """Count the workers that a run with these options would have."""
    if config.getoption("dist", "no") == "no":
        return 1
    specs = [str(spec).partition("*") for spec in config.getoption("tx", None) or ()]
    return sum(int(number) if star and number.isdigit() else 1 for number, star, _ in specs)


def _roots(config: pytest.Config) -> tuple[Path, ...]:
    paths = [config.rootpath / path for path in config.getini("testpaths")]
    existing = tuple(path for path in paths if path.exists())
    return existing or (config.rootpath,)


def _is_ignored(config: pytest.Config, path: Path) -> bool:
    return bool(config.hook.pytest_ignore_collect(collection_path=path, config=config))
