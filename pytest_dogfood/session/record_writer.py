"""Writes what a run leaves behind for others, in the process that leads it: its record, and a shard's manifest."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace

from pytest_dogfood.collection.stash import ENTRANCE, PINNED, SETTINGS
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Outcome, Tally, badness
from pytest_dogfood.provisioning.workspace import RUN_MARKER
from pytest_dogfood.report.manifest import ItemRecord, Manifest, ShardRecord, manifest_name, shard_record
from pytest_dogfood.session.test_reports import PHASES, keeper_of, message_of, outcome_after, worker_of
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage.files import SharedLog, write_for_others, write_whole
from pytest_dogfood.storage.journal import Journal, Why
from pytest_dogfood.storage.record import Activity, Kind, RunRecord, Versions, read_run, reference_of
from pytest_dogfood.storage.recorder import secrets_of_all
from pytest_dogfood.storage.retention import mask_kept
from pytest_dogfood.storage.run_directory import ALONE, RUN, RunDirectory

if TYPE_CHECKING:
    from pytest_dogfood.session.leader import Leader


LAST_GREEN = "dogfood/last-green"
"""Where pytest's cache holds what the last green run of the whole project came to."""


class RecordWriter:
    """The plugin that writes the frame of the run's record, and what tests outside of the graph came to.

    `problem` says why the record is not whole; it is empty if it is.
    """

    def __init__(
        self, config: pytest.Config, run: RunDirectory, *, planned: frozenset[str], workers: int
    ) -> None:
        self._config = config
        self._run = run
        self._planned = planned
        self._began = time.monotonic()
        self._log = SharedLog(run.activities, Activity)
        self._outcomes: dict[str, Outcome] = {}
        self._spent: dict[str, float] = {}
        self.problem = ""
        self._cache: pytest.Cache | None = getattr(config, "cache", None)  # -p no:cacheprovider leaves it out
        settings, now, system = config.stash[SETTINGS], time.time(), os.uname()
        self._record = RunRecord(
            id=run.id,
            project=config.rootpath.name,
            root=str(config.rootpath),
            started=round(now, 3),
            offset=time.localtime(now).tm_gmtoff,
            argv=tuple(keeper_of(config).mask(str(word)) for word in config.invocation_params.args),
            workers=workers,
            shard=f"shard {settings.shard.index} of {settings.shard.total}" if settings.shard else "",
            whole=_is_whole(config),
            versions=Versions(
                dogfood=version("pytest-dogfood"),
                pytest=pytest.__version__,
                python=sys.version.partition(" ")[0],
                platform=f"{system.sysname}-{system.release}-{system.machine}",
            ),
            ci=_link_to_job(os.environ),
        )
        self._write()

    def _write(self) -> None:
        if ENTRANCE in self._config.stash:
            return  # what was run only to look around is no run to report on
        try:
            write_whole(self._run.path / RUN, msgspec.json.encode(self._record) + b"\n")
        except HarnessError as error:
            self.problem = self.problem or str(error)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down a test outside of the graph that did not pass, once its last phase is over."""
        nodeid = report.nodeid
        if nodeid in self._planned:
            return
        if report.when == "setup":
            self._outcomes[nodeid], self._spent[nodeid] = Outcome.PASSED, 0.0
        before, spent = self._outcomes.get(nodeid, Outcome.PASSED), self._spent.get(nodeid, 0.0)
        crashed = report.when not in PHASES
        self._outcomes[nodeid] = Outcome.CRASHED if crashed else outcome_after(report, before)
        self._spent[nodeid] = spent + max(report.duration, 0.0)
        if report.failed:
            self._append(
                Activity(
                    id=nodeid,
                    kind=Kind.TEST,
                    lane=worker_of(report) or ALONE,
                    started=round(time.time() - report.duration, 3),
                    seconds=round(self._spent[nodeid], 4),
                    outcome=self._outcomes[nodeid],
                    place=f"{report.location[0]}:{(report.location[1] or 0) + 1}",
                    text=report.longreprtext,
                    again=f"pytest --dogfood {shlex.quote(nodeid)}",
                )
            )

    def finish(self, exit_status: int, tally: Tally) -> None:
        """Complete the frame, once nothing of the run is under way any more."""
        from pytest_dogfood.git.command import checked_out

        counts, mask = Counter(map(str, self._outcomes.values())), keeper_of(self._config).mask
        self._write_uncollected()
        commit, dirty = checked_out(self._config.rootpath)
        self._record = replace(
            self._record,
            argv=tuple(
                map(mask, self._record.argv)
            ),  # all else that is kept was masked before this is written
            exit_status=exit_status,
            seconds=round(time.monotonic() - self._began, 3),
            closing_line=mask(tally.closing_line()),
            commit=commit,
            dirty=dirty,
            others=dict(counts),
        )
        self._write()
        if self._planned and not self._run.graph.exists():
            self.problem = self.problem or f"cannot write {self._run.graph}"
        if self._cache is None or self.problem:
            return
        last_green = self._cache.get(LAST_GREEN, None)
        try:
            if last_green is not None:
                write_whole(self._run.last_green, msgspec.json.encode(last_green))
            if exit_status == pytest.ExitCode.OK and self._record.whole:
                self._cache.set(LAST_GREEN, msgspec.to_builtins(reference_of(read_run(self._run.path))))
        except HarnessError as error:
            self.problem = str(error)

    def _write_uncollected(self) -> None:
        """Write down which files pytest could not collect, as it has shown it: that is over before a run begins."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        for report in () if terminal is None else terminal.stats.get("error", ()):
            if isinstance(report, pytest.CollectReport):
                self._append(
                    Activity(
                        id=report.nodeid,
                        kind=Kind.COLLECTION,
                        lane=ALONE,
                        started=self._record.started,
                        seconds=0.0,
                        outcome=Outcome.ERROR,
                        place=report.nodeid.partition("::")[0],
                        text=_clean(report.longreprtext),
                        again=f"pytest --dogfood {shlex.quote(report.nodeid)}",
                    )
                )

    def _append(self, activity: Activity) -> None:
        try:
            self._log.append(activity)
        except HarnessError as error:
            self.problem = self.problem or str(error)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.problem:
            said = f"dogfood: the record of this run is not whole: {self.problem}"
            terminalreporter.write_line(said, yellow=True)

    def mask(self, paths: Iterable[Path]) -> None:
        """Mask what is kept with all secrets that any process of the run has come to know; raises HarnessError."""
        keeper = keeper_of(self._config)
        keeper.learn(secrets_of_all(self._run))
        if keeper:
            mask_kept(self._run, paths, keeper)


def _is_whole(config: pytest.Config) -> bool:
    """Return whether a run is of the whole project: nothing was named, selected or left out, and it is no shard."""
    narrowing = ("keyword", "markexpr", "lf", "deselect", "ignore", "ignore_glob", "stepwise")
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return (
        not named
        and not config.stash[SETTINGS].shard
        and not any(config.getoption(name, None) for name in narrowing)
    )


def _link_to_job(environment: Mapping[str, str]) -> str:
    """Return the address of the CI job that this is part of, as GitHub, GitLab and Jenkins tell it; else nothing."""
    github = [environment.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if all(github):
        return f"{github[0]}/{github[1]}/actions/runs/{github[2]}"
    return environment.get("CI_JOB_URL") or environment.get("BUILD_URL") or ""


class ReportWriter:
    """The plugin that writes the report that was asked for, and what a GitHub job shows by itself, when a run ends.

    What cannot be written costs the run nothing: its exit status stays.
    """

    def __init__(self, config: pytest.Config, leader: Leader) -> None:
        self._config = config
        self._leader = leader
        self._lines: list[str] = []
        report = config.stash[SETTINGS].report
        self._path = None if report is None else config.invocation_params.dir / report
        is_job = shows_in_github(config)
        self._summary = os.environ.get("GITHUB_STEP_SUMMARY", "") if is_job else ""
        # That plugin writes annotations itself, and more than ten GitHub does not show.
        self._annotates = is_job and not config.pluginmanager.has_plugin(
            "pytest_github_actions_annotate_failures"
        )
        if self._path is not None:
            _require_writable(self._path, str(report))

    def pytest_sessionfinish(self) -> None:
        """Write them from the record, which is whole by now."""
        from pytest_dogfood.report.formats import FORMATS, format_of
        from pytest_dogfood.report.github import append_summary
        from pytest_dogfood.report.overview import view_of

        if not (self._path or self._summary or self._annotates):
            return
        run = self._leader.run
        if run is None or not (run.path / RUN).exists():
            if self._path is not None and self._leader.executes:
                self._lines.append(f"dogfood: nothing was run, so {self._path} was not written")
            return
        try:
            recorded = read_run(run.path)
            view = view_of(recorded)
            if self._path is not None:
                text = FORMATS[format_of(self._path)](view, recorded.graph)
                write_for_others(self._path, text.encode(errors="replace"))
                self._lines.append(f"dogfood: wrote {self._path}")
            if self._summary:
                append_summary(Path(self._summary), view)
            if self._annotates:
                self._lines += FORMATS["github"](view, recorded.graph).splitlines()
        except (HarnessError, OSError) as error:
            self._lines.append(f"dogfood: a report could not be written: {error}")

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._lines:
            terminalreporter.write_line(line)


def shows_in_github(config: pytest.Config) -> bool:
    """Return whether this run is the one that a GitHub job is about.

    What runs within a journey of another run inherits the job's variables, and must not write into its summary.
    """
    within = any(name.startswith(RUN_MARKER) for name in os.environ)
    return (
        config.getoption("dogfood_github") != "never"
        and PINNED not in config.stash
        and os.environ.get("GITHUB_ACTIONS") == "true"
        and not within
    )


def _require_writable(path: Path, given: str) -> None:
    """Raise pytest.UsageError where a report could not be written, before anything runs."""
    why = ""
    if path.is_dir():
        why = "it is a directory; name a file in it"
    elif not path.parent.is_dir():
        why = f"there is no directory {path.parent}; make it first"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        why = f"you may not write to {path.parent}"
    if why:
        raise pytest.UsageError(f"--dogfood-report {given}: {why}")


class ItemRecords:
    """The plugin that makes a record of every item from its reports, for the process that leads a run."""

    def __init__(self) -> None:
        self.items: dict[str, ItemRecord] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        fresh = ItemRecord(nodeid=report.nodeid, outcome=Outcome.PASSED)
        known = self.items.get(report.nodeid, fresh)
        # An item that is run again counts as its last attempt, as it does for pytest's exit status.
        before = fresh if report.when == "setup" else known
        text = before.text
        if report.failed or report.skipped:
            said = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext
            text = "\n\n".join(filter(None, [before.text, _clean(said)]))
        properties = tuple((_clean(str(name)), _clean(str(value))) for name, value in report.user_properties)
        self.items[report.nodeid] = ItemRecord(
            nodeid=report.nodeid,
            outcome=outcome_after(report, before.outcome),
            seconds=before.seconds + max(report.duration, 0.0),
            text=text,
            message=before.message or _clean(message_of(report)),
            properties=properties or known.properties,
        )


class ManifestWriter(ItemRecords):
    """The plugin that writes the manifest of a shard."""

    def __init__(self, config: pytest.Config, leader: Leader, shard: Shard, path: str | None) -> None:
        super().__init__()
        self._config = config
        self._leader = leader
        self._shard = shard
        self._path = config.rootpath / (path or manifest_name(shard))
        self._uncollected: dict[str, str] = {}
        self._problem = ""
        self._written = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Remove the manifest of an earlier run, so that it is not taken for the one of this run."""
        if self._leader.executes:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                raise pytest.UsageError(f"cannot replace {self._path}: {error.strerror}") from error

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._uncollected[report.nodeid] = _clean(report.longreprtext)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        expected, run = self._leader.expected, self._leader.run
        if expected is None or run is None:
            return
        replayed = replayed_in(run)
        prerequisites = set(self._leader.prerequisites())
        manifest = Manifest(
            shard=self._shard,
            expected=expected,
            items=tuple(
                replace(one, prerequisite=one.nodeid in prerequisites) for one in self.items.values()
            ),
            results=tuple(self._leader.tally.results.values()),
            replayed=replayed,
            gates=self._leader.tally.gates,
            uncollected=self._uncollected,
            exit_status=int(session.exitstatus),
            min_measured=self._config.stash[SETTINGS].min_measured,
            record=_shard_record(run),
        )
        try:
            write_for_others(self._path, manifest.to_json())
            self._written = True
        except HarnessError as error:
            self._problem = str(error)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._problem:
            terminalreporter.write_line(f"dogfood: no manifest for this shard: {self._problem}", red=True)
        elif self._written:
            terminalreporter.write_line(f"dogfood: wrote {self._path}")


def replayed_in(run: RunDirectory) -> dict[JourneyId, Outcome]:
    """Return the worst that journeys came to when they were replayed in a run."""
    found: dict[JourneyId, Outcome] = {}
    for entry in Journal(run.records).ends(Why.REPLAY):
        # What a declared blocker kept from running has come to nothing: as a gate it is open, here as elsewhere.
        if entry.cause is None or not entry.cause.blocked:
            found[entry.journey] = max(entry.outcome, found.get(entry.journey, entry.outcome), key=badness)
    return found


def _shard_record(run: RunDirectory) -> ShardRecord | None:
    try:
        return shard_record(read_run(run.path))
    except HarnessError:  # nothing ran, or the disk is full, which is told elsewhere
        return None


def _clean(text: str) -> str:
    """Write lone surrogates, as in names that are no UTF-8, in a way that JSON can hold."""
    return text.encode(errors="backslashreplace").decode()
