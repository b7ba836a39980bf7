"""Runs one journey with pytest, in this process, up to the place where a shell or a command is to run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_dogfood.cli.console import complain
from pytest_dogfood.cli.journeys import USAGE
from pytest_dogfood.collection.stash import ENTRANCE
from pytest_dogfood.execution.terminal import Entrance
from pytest_dogfood.neighbours import COVERAGE, ORDER, REPORTS, leave_out
from pytest_dogfood.outcomes import Cause, Outcome
from pytest_dogfood.session.check_plugin import CacheWriteBlocker
from pytest_dogfood.session.test_reports import result_in

NOT_REACHED = 1
INTERRUPTED = 130


_OPTIONS: Mapping[str, object] = {
    "dist": "no",
    "tx": [],
    "keyword": "",
    "markexpr": "",
    "deselect": None,
    "lf": False,
    "stepwise": False,
    "stepwise_skip": False,
    "usepdb": False,
    "dogfood_report": None,
}
"""Options that a project may give to each run, and that would select another journey, or write over its report."""


class EntrancePlugin:
    """Lets the run know where it is to stop, keeps its effects to itself, and collects what a person must read."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self.problems: list[str] = []
        self.is_silent = bool(entrance.command)
        """Whether pytest itself says nothing, or nothing more."""
        self.cause: Cause | None = None
        """Why the journey was deferred, if it was."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Generator[None, None, None]:
        leave_out(early_config.known_args_namespace, COVERAGE)  # before it is measured
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        leave_out(config.option, REPORTS, ORDER)
        # What failed last, and how long journeys take, is not to be learnt from a look around.
        config.pluginmanager.register(CacheWriteBlocker(), "dogfood-writing-nothing")

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[ENTRANCE] = self._entrance
        vars(config.option).update(_OPTIONS)

    @pytest.hookimpl(tryfirst=True)
    def pytest_enter_pdb(self) -> None:
        self.is_silent = True
        _say_no_more()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.problems.append(report.longreprtext)
        elif report.skipped and isinstance(report.longrepr, tuple) and self._entrance.status is None:
            self.problems.append(report.longrepr[2].removeprefix("Skipped: "))
        result = result_in(report)
        if result is not None and result.id == self._entrance.journey and result.outcome is Outcome.DEFERRED:
            self.cause = result.cause


def run_up_to(entrance: Entrance, path: Path, name: str, journeys: Collection[str]) -> int:
    """Run the journey `name` (`::id`, or nothing) of a file, and open what the entrance says; return the exit status.

    `journeys` are those that can be entered: if it is deferred, its cause may be one of them.

    What pytest says is shown until then, on standard error: standard output belongs to the command.
    """
    plugin = EntrancePlugin(entrance)
    words = ["--dogfood", "-s", "--no-header", "--assert=plain", "-o", "dogfood_shard="]
    with _standard_output_for(entrance):
        if plugin.is_silent:
            _say_no_more()
        status = pytest.main([*words, f"{os.path.relpath(path)}{name}"], plugins=[plugin])
        sys.stdout.flush()
    if entrance.status is not None and not entrance.command:
        complain("")  # what is shown of clean-up and release does not end its last line
    if plugin.is_silent and plugin.problems:
        complain(*plugin.problems)
    if entrance.status is not None:
        failed = bool(plugin.problems) or status == pytest.ExitCode.INTERNAL_ERROR
        return INTERRUPTED if status == pytest.ExitCode.INTERRUPTED else entrance.status or int(failed)
    if plugin.cause is not None:
        who = plugin.cause.who
        how = f": dogfood enter {shlex.quote(who)}" if who in journeys else ""
        complain(f"dogfood enter: {entrance.journey} is deferred, because {who} {plugin.cause.why}{how}")
        return USAGE
    complain(
        f"dogfood enter: the place {entrance.where} of {entrance.journey} was not reached; the reason is above"
    )
    if status == pytest.ExitCode.INTERRUPTED:
        return INTERRUPTED
    return USAGE if status == pytest.ExitCode.USAGE_ERROR else NOT_REACHED


@contextmanager
def _standard_output_for(entrance: Entrance) -> Iterator[None]:
    """Keep standard output for what the entrance opens: what is written there meanwhile goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    entrance.streams = (0, kept, 2)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _say_no_more() -> None:
    """Let what pytest says from now on go nowhere: of a run that only led somewhere it is of no interest."""
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
