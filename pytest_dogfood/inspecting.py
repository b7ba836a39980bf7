"""Looks at a project from outside a test run: pytest collects the journey files, and nothing is executed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from msgspec import Struct

from pytest_dogfood.check.report import Report
from pytest_dogfood.collection.selection import Settled
from pytest_dogfood.pausing import collector_paused
from pytest_dogfood.session.check_plugin import Checking
from pytest_dogfood.session.worker import Working


class Inspection(Struct, frozen=True, kw_only=True):
    """What collection found. `status` is pytest's exit status, 0 or 4 unless pytest itself could not go on."""

    status: int
    settled: Settled | None
    report: Report | None


class _Onlooker:
    """Keeps pytest's own words out, and remembers what was found."""

    def __init__(self) -> None:
        self.config: pytest.Config | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config
        # Without the whole plugin pytest would not know -q and other options that a project's `addopts` may hold.
        config.pluginmanager.unregister(name="terminalreporter")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(report.longreprtext, file=sys.stderr)  # noqa: T201 - in place of pytest's own words


def inspect(
    paths: Sequence[str] = (),
    *,
    workers: int = 1,
    shard: str = "",
    strict: bool = False,
    with_tests: bool = False,
) -> Inspection:
    """Collect and plan as `pytest --dogfood` would with these paths, and execute nothing."""
    onlooker = _Onlooker()
    # We are imported already, and a project that makes errors of warnings would not start for that.
    arguments = ["--dogfood", "--dogfood-check", "--assert=plain"]
    arguments += [f"--dogfood-workers={workers}"]
    arguments += [f"--dogfood-shard={shard}"] if shard else []
    arguments += ["--dogfood-strict"] if strict else []
    arguments += ["-p", "no:randomly"]  # what is shown of the same files is the same every time
    # It would search all that was collected, twice, for errors of tests that never ran.
    arguments += ["-p", "no:unraisableexception"]
    # Not collected, Python files are still there: what they speak of may establish a token that has no other source.
    # A shard needs them: without its tests a project would be divided in another way than by a run.
    arguments += [] if with_tests or shard else ["-o", "python_files="]
    with collector_paused():
        status = pytest.main([*arguments, *paths], plugins=[onlooker])
    config = onlooker.config
    if config is None:
        return Inspection(status=int(status), settled=None, report=None)
    checking = config.pluginmanager.get_plugin("dogfood-checking")
    working = config.pluginmanager.get_plugin("dogfood-working")
    return Inspection(
        status=int(status),
        settled=working.settled if isinstance(working, Working) else None,
        report=checking.report if isinstance(checking, Checking) else None,
    )
