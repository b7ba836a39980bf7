"""`--dogfood-check`, and the same for `dogfood check`: reports findings and the plan of a run, and runs nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.check.advice import advise
from pytest_dogfood.check.report import Paint, Report, report_on, seconds_of_all, to_json, to_lines
from pytest_dogfood.check.shell import shell_findings
from pytest_dogfood.check.speed import collapsed_chains, findings_on_copies, forecast_with_copies
from pytest_dogfood.collection.discovery import declares_journeys
from pytest_dogfood.collection.selection import Selection
from pytest_dogfood.collection.stash import JOURNEY, PROJECT, SETTINGS
from pytest_dogfood.collection.uncollected import uncollected_files
from pytest_dogfood.diagnostics import Diagnostic, Location, errors_among, in_order_of_place
from pytest_dogfood.journey import JourneyId, Script
from pytest_dogfood.neighbours import ORDER, REPORTS, leave_out
from pytest_dogfood.scheduling.plan import known_seconds
from pytest_dogfood.session.durations import known_durations, seen_copies
from pytest_dogfood.session.worker import ItemSelector
from pytest_dogfood.settings import Settings
from pytest_dogfood.storage.retention import default_root, too_long_for_sockets
from pytest_dogfood.walks import collector_paused


class Inspection(Struct, frozen=True, kw_only=True):
    """The result of collection. `status` is pytest's exit status: 0, 4 for errors, 5 if there is nothing to check."""

    status: int
    selection: Selection | None
    report: Report | None
    uncollected_tests: tuple[Path, ...] = ()
    """Python files with marked tests that were not collected although they are in the paths to check."""
    rootdir: Path = Path()
    settings: Settings = field(default_factory=Settings)
    state_root: Path | None = None
    """The place for runs, if the project sets one."""
    named: tuple[str, ...] = ()
    """The paths and node ids among the arguments."""
    seconds: Mapping[JourneyId, float] = field(default_factory=dict)
    """The known durations of the journeys."""
    cache: Path = Path()
    """The directory of pytest's cache, which need not be there."""


class _QuietPlugin:
    """Suppresses pytest's own output, and keeps the plugin that checks."""

    def __init__(self) -> None:
        self.check: CheckPlugin | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        # The same files always give the same output, and what a project's `addopts` name is of its last run.
        leave_out(config.option, REPORTS, ORDER)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        self.check = config.pluginmanager.get_plugin("dogfood-checking")
        # Without the whole plugin pytest would not know -q and other options that a project's `addopts` may hold.
        config.pluginmanager.unregister(name="terminalreporter")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(report.longreprtext, file=sys.stderr)  # noqa: T201 - in place of pytest's own output


def inspect(
    paths: Sequence[str] = (),
    *,
    given: Sequence[str] = (),
    workers: int = 1,
    shard: str = "",
    strict: bool = False,
    with_tests: bool = False,
) -> Inspection:
    """Collect and plan as `pytest --dogfood` would with these paths and `given` arguments, and execute nothing."""
    quiet = _QuietPlugin()
    # This package is imported already; pytest would warn of that, and a project may turn warnings into errors.
    arguments = ["--dogfood", "--dogfood-check", "--assert=plain", f"--dogfood-workers={workers}"]
    arguments += [f"--dogfood-shard={shard}"] if shard else []
    arguments += ["--dogfood-strict"] if strict else []
    # It would search everything collected, twice, for errors of tests that never ran.
    arguments += ["-p", "no:unraisableexception"]
    # Python files that are not collected may still establish a token that has no other source.
    # A shard needs them collected: without its tests a project would be divided differently than in a run.
    arguments += [] if with_tests or shard else ["-o", "python_files="]
    # Another harness keeps a folder of JSON files under any name, one journey in each.
    inside = [
        str(file) for path in paths for file in sorted(Path(path).rglob("*.json")) if declares_journeys(file)
    ]
    with collector_paused():
        status = pytest.main([*arguments, *given, *paths, *inside], plugins=[quiet])
    if quiet.check is None:
        return Inspection(status=int(status), selection=None, report=None)
    project, settings = quiet.check.config.stash[PROJECT](), quiet.check.config.stash[SETTINGS]
    return Inspection(
        status=int(status),
        selection=quiet.check.selection,
        report=quiet.check.report,
        uncollected_tests=() if with_tests or shard else project.files_with_marked_tests(),
        rootdir=quiet.check.config.rootpath,
        settings=settings,
        state_root=Path(settings.state_root).absolute() if settings.state_root else None,
        named=_named(quiet.check.config),
        seconds=quiet.check.seconds,
        cache=_cache(quiet.check.config),
    )


def _cache(config: pytest.Config) -> Path:
    try:
        name = str(config.getini("cache_dir"))
    except ValueError:  # -p no:cacheprovider leaves it out
        name = ".pytest_cache"
    return config.rootpath / Path(os.path.expandvars(name)).expanduser()


def _named(config: pytest.Config) -> tuple[str, ...]:
    return tuple(config.args) if config.args_source is pytest.Config.ArgsSource.ARGS else ()


class CheckPlugin:
    """Replaces the loop that runs items; `workers` is how many workers a run would have."""

    def __init__(self, config: pytest.Config, item_selector: ItemSelector, *, workers: int) -> None:
        self.config = config
        self._item_selector = item_selector
        self._workers = workers
        self.report: Report | None = None
        self.seconds: dict[JourneyId, float] = {}

    @property
    def selection(self) -> Selection | None:
        return self._item_selector.selection

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # From here on other plugins see a run that only collected.
        session.config.option.collectonly = True
        could_collect = session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
        if self.selection is None or not could_collect:
            return  # pytest reports it itself
        self.report = self._report_on(self.selection)
        fine = pytest.ExitCode.NO_TESTS_COLLECTED if self.report.nothing else pytest.ExitCode.OK
        session.exitstatus = fine if self.report.is_valid else pytest.ExitCode.USAGE_ERROR

    def _report_on(self, selection: Selection) -> Report:
        settings, project = self.config.stash[SETTINGS], self.config.stash[PROJECT]()
        findings: tuple[Diagnostic, ...] = selection.findings
        # Files that were not named may require a token that seems unused.
        knows_tests = bool(self.config.getini("python_files")) and not project.is_named_in_part
        durations = known_durations(self.config)
        known = known_seconds(
            selection.graph.journeys.values(), seen=durations.seen, committed=durations.committed
        )
        journeys = selection.graph.journeys.values()
        self.seconds = {one.id: known[one.nodeid] for one in journeys if one.nodeid in known}
        if not errors_among(findings):
            advice = advise(
                selection.graph,
                environment=os.environ.keys(),
                mentioned=None if knows_tests else project.mentioned_in_python,
                is_whole=not project.is_named_in_part,
            )
            findings = (
                *findings,
                *advice,
                *collapsed_chains(selection.graph, seconds_of_all(selection.graph, known)),
                *shell_findings(selection.graph, self._text_of),
                *_long_state_paths(self.config),
            )
        # Also if there are errors: a token may lack a source only because its file has the wrong name.
        uncollected = uncollected_files(
            project,
            settings.files,
            collected={item.path for item in self._item_selector.collected},
            not_entered=self.config.getini("norecursedirs"),
            by_testpaths=self.config.args_source is pytest.Config.ArgsSource.TESTPATHS,
        )
        report = report_on(
            selection.graph,
            selection.plan,
            in_order_of_place([*findings, *uncollected]),
            known=known,
            workers=self._workers,
            shard=str(settings.shard or ""),
            knows_tests=knows_tests,
            others=[item.nodeid for item in selection.items if JOURNEY not in item.stash],
        )
        graph, plan, copying = selection.graph, selection.plan, seen_copies(self.config)
        if report.is_valid and copying:
            report = replace(report, forecast=forecast_with_copies(graph, plan, self._workers, copying))
        if report.is_valid and not settings.shard:  # a shard has only a part of the run
            found = findings_on_copies(graph, plan, report.forecast, copying)
            report = replace(report, findings=in_order_of_place([*report.findings, *found]))
        return report.strict() if settings.strict else report

    def _text_of(self, script: Script) -> str:
        try:
            return (self.config.rootpath / script.path).read_text(encoding="utf-8", errors="replace")
        except OSError:  # it existed during collection; the run will report it
            return ""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.report is not None:
            terminalreporter.write_sep("=", "dogfood check")
            for line in format_report(self.report, as_json=self.config.stash[SETTINGS].format == "json"):
                terminalreporter.write_line(line)


def format_report(report: Report, *, as_json: bool, paint: Paint | None = None) -> Iterator[str]:
    """Yield the lines of a report, as JSON or as text."""
    if as_json:
        yield json.dumps(to_json(report), indent=2)
    else:
        yield from to_lines(report, paint)


def _long_state_paths(config: pytest.Config) -> Iterator[Diagnostic]:
    """Warn if paths of states would be too long for sockets; at the ini key if an ini file sets the state root."""
    state_root, inipath, key = config.stash[SETTINGS].state_root, config.inipath, "dogfood_state_root"
    root = Path(state_root) if state_root else default_root()
    problem = too_long_for_sockets(root)
    if not problem:
        return
    location = Location(str(root))
    if inipath is not None:
        for number, line in enumerate(inipath.read_text(encoding="utf-8").splitlines(), start=1):
            if line.lstrip().startswith(key) and str(state_root) in line:
                location = Location(inipath.name, number, line.index(key) + 1)
                break
    hint = f"set {key} to a shorter place"
    yield Diagnostic(location=location, code="state-path-too-long", message=problem, hint=hint)


class CacheWriteBlocker:
    """Keeps pytest's cache as it is. Register it last: its hook must come right after that of the cache."""

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let plugins read the cache, and ignore what they write to it."""
        cache = getattr(config, "cache", None)
        if cache is not None:
            cache.set = lambda *_, **__: None
