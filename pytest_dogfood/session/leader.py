"""The process that leads a run: results, crashed workers, release at the end, exit status."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_dogfood.collection.collector import fixture_providers
from pytest_dogfood.collection.exceptions import was_stopped
from pytest_dogfood.collection.selection import WorkerSelection, read_worker_selection
from pytest_dogfood.collection.stash import PINNED, PROJECT, SETTINGS
from pytest_dogfood.diagnostics import HarnessError, did_you_mean, errors_among
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Tally, listed
from pytest_dogfood.scheduling.plan import Expected, Plan
from pytest_dogfood.session.durations import CACHE_KEY, DurationsRecorder, known_durations
from pytest_dogfood.session.progress import ProgressDisplay, activity_log, shows_progress
from pytest_dogfood.session.test_reports import (
    ErrorsInCalls,
    ResultRecorder,
    late_error,
)
from pytest_dogfood.storage.retention import Retention, RunLease, checked_root, default_root
from pytest_dogfood.storage.run_directory import RunDirectory, project_name, write_results

if TYPE_CHECKING:
    from pytest_dogfood.execution.background import Watcher
    from pytest_dogfood.provisioning.release import MachineRelease
    from pytest_dogfood.scheduling.queue import Job
    from pytest_dogfood.session.record_writer import RecordWriter
    from pytest_dogfood.session.signals import LeaderSignals
    from pytest_dogfood.session.worker import ItemSelector
    from pytest_dogfood.xdist.controller import ControllerPlugin
    from pytest_dogfood.xdist.scheduler import Worker


class Leader:
    """Refuses an invalid project, owns the run's directory and watcher, and releases everything at the end.

    `item_selector` selects the items that run in this same process, and is None on an xdist controller. `plan` is the
    plan that all workers share, and None if nothing is going to run.
    """

    def __init__(
        self, config: pytest.Config, item_selector: ItemSelector | None, *, workers: int = 1
    ) -> None:
        self._config = config
        self._workers = workers
        self._record: RecordWriter | None = None
        self._item_selector = item_selector
        self._lease: RunLease | None = None
        self._watcher: Watcher | None = None
        self.release: MachineRelease | None = None
        self._added: tuple[Path, ...] = ()
        self._durations: Mapping[str, float] = {}
        self._results: ResultRecorder | None = None
        self._signals: LeaderSignals | None = None
        self._display: ProgressDisplay | None = None
        self._late_error = False
        self._pinned = config.stash.get(PINNED, None)
        self.plan: Plan | None = None
        self.tally = Tally(())
        self.keeping: Retention | None = None
        self.empty_shard = False
        self.expected: Expected | None = None
        self.graph = ""
        self.together: tuple[tuple[str, ...], ...] = ()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse a project whose files are invalid, before any worker is started."""
        settings = self._config.stash[SETTINGS]
        if not settings.check:
            # A worker that read an invalid file could only crash.
            self._durations = known_durations(self._config).seen
        project = self._config.stash[PROJECT]()
        project.read_below(project.named)
        for path in project.named:
            project.read_settings_above(path / "-")
        provided = fixture_providers(self._config, ())[0]
        wrong = errors_among(project.diagnose(project.graph(), provided=provided))
        if wrong and not settings.check:
            from pytest_dogfood.collection.uncollected import refusal  # most projects have no errors

            raise refusal(project, wrong)
        if missing := [*project.journeys_not_found(self._config.args, self._config.invocation_params.dir)]:
            raise pytest.UsageError(*missing)
        for token in settings.blocked:
            known = project.known_tokens(token)
            if token not in known:
                near = did_you_mean(token, known)
                raise pytest.UsageError(
                    f"--dogfood-blocked {token!r}: nothing establishes, provides or defines it"
                    + (f"; {near}" if near else "")
                )
        if project.is_named_in_part:
            # Files that were not named, and establish a needed token, are collected as well.
            from pytest_dogfood.collection.added_files import AddedFiles, needed_files

            self._added = needed_files(project, self._config.getini("python_files"))
            if self._added and self._item_selector is not None:
                plugin = AddedFiles(self._config, self._added)
                self._config.pluginmanager.register(plugin, "dogfood-added-files")
                plugin.pytest_sessionstart()
        if self.executes:
            self._begin(Path(settings.state_root).absolute() if settings.state_root else default_root())

    @property
    def executes(self) -> bool:
        """Whether items are to run, as they are not under --dogfood-check, --collect-only and --setup-plan."""
        not_to = (self._config.getoption(name, False) for name in ("collectonly", "setupplan"))
        return not self._config.stash[SETTINGS].check and not any(not_to)

    def _begin(self, root: Path) -> None:
        try:
            # A run that only tests declarations does not push out one that you may want to look at.
            kind = "-plan" if self._pinned is not None else ""
            self._lease = RunLease(checked_root(root), project_name(self._config.rootpath) + kind)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error
        except OSError as error:
            raise pytest.UsageError(
                f"cannot start a run in {root}: {error.strerror or error}; free some space, or set dogfood_state_root"
            ) from error
        if self._item_selector is not None:
            self._item_selector.run = self._lease.directory.path

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist exports no type for it
        if self._lease is not None:
            node.workerinput["dogfood_run"] = str(self._lease.directory.path)
            node.workerinput["dogfood_plans"] = str(self._lease.directory.plans)
            node.workerinput["dogfood_pid"] = os.getpid()
            node.workerinput["dogfood_activity"] = shows_progress(self._config, has_workers=True)
            node.workerinput["dogfood_added"] = [str(path) for path in self._added]
            # The same for all workers: another run may write to the cache before the last of them starts.
            node.workerinput[CACHE_KEY] = msgspec.json.encode(self._durations)
            # xdist tells its workers that --dist is "no".
            node.workerinput["dogfood_dist"] = self._config.getoption("dist")

    def jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Return the jobs for the scheduler, from the plan that the workers made."""
        from pytest_dogfood.scheduling.queue import jobs_for

        if self._lease is None:
            raise pytest.UsageError("nothing is run under --collect-only")
        try:
            published = read_worker_selection(self._lease.directory.plans)
        except HarnessError as error:
            raise pytest.UsageError(f"dogfood: {error}") from error
        if published.refused:
            raise pytest.UsageError(*published.refused)
        if published.diagnostics:
            from pytest_dogfood.collection.uncollected import refusal

            raise refusal(self._config.stash[PROJECT](), published.diagnostics)
        self._take(published)
        dist = "load" if self._pinned else str(self._config.getoption("dist", "load"))
        return jobs_for(ids, published.plan, dist)

    def finished(self, node_id: str) -> None:
        """Note that a worker has finished an item, its reruns included."""
        if self._results is not None:
            self._results.finished(node_id)

    def _take(self, published: WorkerSelection) -> None:
        """Adopt the selection, and get ready to run it; raises pytest.UsageError if no run is possible."""
        self.empty_shard, self.expected = published.empty_shard, published.expected
        self.graph, self.together = published.graph, published.together
        if self._lease is None:
            return
        plan = self.plan = published.plan
        self.tally.planned = tuple(planned.id for planned in plan.journeys)
        self.tally.gates = tuple(dict.fromkeys(gate for one in plan.journeys for gate in one.gates))
        distribution = self._config.pluginmanager.get_plugin("dogfood-distribution")
        if distribution is not None:
            distribution.end_collection()
        try:
            if plan.journeys or (self._pinned is not None and self._pinned.release):
                self._get_ready(plan, self._lease.directory, distribution)
            elif self._config.pluginmanager.has_plugin("dogfood-report"):
                self._begin_record(plan, self._lease.directory)  # failing tests outside of the graph
        except HarnessError as error:
            raise pytest.UsageError(f"dogfood: {error}") from error

    def _get_ready(self, plan: Plan, run: RunDirectory, distribution: ControllerPlugin | None) -> None:
        """Start the watcher, and register the plugins for results, records and signals: then steps may run."""
        from pytest_dogfood.execution.background import Watcher
        from pytest_dogfood.provisioning.release import MachineRelease
        from pytest_dogfood.provisioning.workspace import run_marker
        from pytest_dogfood.session.composition import presence_for
        from pytest_dogfood.session.signals import LeaderSignals

        config, manager = self._config, self._config.pluginmanager
        selection = self._item_selector.selection if self._item_selector is not None else None
        graph = selection.graph if selection is not None else config.stash[PROJECT]().graph()
        presence = presence_for(config, graph, run)
        self._watcher = Watcher(run_marker(presence.workspace.ending))
        self.release = MachineRelease(plan, presence)
        self._results = ResultRecorder(config, plan, run, tally=self.tally, release=self.release)
        manager.register(self._results, "dogfood-listener")
        manager.register(ErrorsInCalls(), "dogfood-statuses")
        self._begin_record(plan, run)
        manager.register(DurationsRecorder(config), "dogfood-stopwatch")
        interruption = presence.workspace.interruption
        if distribution is not None:
            interruption.callbacks.append(distribution.scheduler.abort)
        self._signals = LeaderSignals(config, plan, run, interruption, distributed=distribution is not None)
        manager.register(self._signals, "dogfood-cancellation")
        if shows_progress(config, has_workers=distribution is not None):
            log = None if distribution is None else activity_log(run.records)
            self._display = ProgressDisplay(config, interruption, log)
            manager.register(self._display, "dogfood-progress")

    def _begin_record(self, plan: Plan, run: RunDirectory) -> None:
        from pytest_dogfood.session.record_writer import RecordWriter

        nodeids = frozenset(planned.nodeid for planned in plan.journeys)
        self._record = RecordWriter(self._config, run, planned=nodeids, workers=self._workers)
        self._config.pluginmanager.register(self._record, "dogfood-record")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        if self._item_selector is not None:
            selection = self._item_selector.selection
            self._take(WorkerSelection(plan=Plan()) if selection is None else selection.published())
        try:
            return (yield)
        finally:
            if self._display is not None:
                self._display.close()
            if self._signals is None:
                self._release_everything()
            else:
                self._signals.end(self._release_everything)

    def _release_everything(self) -> None:
        try:
            if self.release is not None:
                self.report_late_errors(self.release.release_everything_left())
            if self._watcher is not None:
                self._watcher.close()
        except HarnessError as error:
            self._report_late_error("", f"harness: {error}")

    def report_late_errors(self, problems: Iterable[tuple[str, str]]) -> None:
        for nodeid, problem in problems:
            self._report_late_error(nodeid, problem)

    def _report_late_error(self, nodeid: str, problem: str) -> None:
        """Report a failed release as an error in the teardown of the last user."""
        last = self._results.last_report.get(nodeid) if self._results is not None else None
        self._config.hook.pytest_runtest_logreport(report=late_error(nodeid, problem, last))
        self._late_error = True

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_testnodedown(self, node: Worker, error: object | None) -> None:
        """End the processes that a dead worker's steps left running, and remove their unmasked outputs."""
        if error is not None and self._lease is not None:
            from pytest_dogfood.execution.watcher import end_processes
            from pytest_dogfood.provisioning.workspace import worker_marker

            run = self._lease.directory
            end_processes(worker_marker(run.id, node.gateway.id))
            for path in run.unmasked_outputs(node.gateway.id):
                path.unlink(missing_ok=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        try:
            if self._lease is not None:
                self._note_items_not_run(session, self._lease.directory)
                self.keeping = self._decide_retention(self._lease.directory)
                self._set_exit_status(session)
                if self._record is not None:
                    self._record.finish(int(session.exitstatus), self.tally)
            return (yield)
        finally:
            if self._watcher is not None:
                self._watcher.close()
            if self._lease is not None:
                keeping = self.keeping
                left = self._lease.close(
                    keep=() if keeping is None or self._is_orphan else keeping.paths(),
                    only_record=keeping is not None and keeping.directory is None,
                )
                terminal = self._config.pluginmanager.get_plugin("terminalreporter")
                if left and terminal is not None:  # what stays may be a secret
                    said = f"dogfood: could not remove {listed(left)}; remove it yourself"
                    terminal.write_line(said, red=True)

    @property
    def _is_orphan(self) -> bool:
        """Whether this is one of several runs that share what the machine has, and who started them is gone."""
        from pytest_dogfood.execution.watcher import alive  # ordinary runs do not ask

        joined = None if self._pinned is None else self._pinned.joined
        return joined is not None and not alive(joined.pid, None)

    def _note_items_not_run(self, session: pytest.Session, run: RunDirectory) -> None:
        """Distinguish items that were not begun because the run was stopped from items that were lost."""
        if was_stopped(session):
            from pytest_dogfood.storage.journal import Journal

            journal = Journal(run.records)
            missing = self.tally.unaccounted
            self.tally.not_run = tuple(one for one in missing if not journal.is_under_way(one))

    def _decide_retention(self, run: RunDirectory) -> Retention:
        """Decide what stays on disk, and write the results there; report an error if they cannot be written."""
        failed = self._results.paths_to_keep if self._results is not None else set()
        keep = self._config.stash[SETTINGS].keep
        keeping = Retention(run, failed=failed, everything=keep, outputs=self._pinned is not None)
        if self._record is not None:
            try:
                write_results(run.path, tuple(self.tally.results.values()))
                self._record.mask(keeping.paths())
            except HarnessError as error:
                self._report_late_error("", f"harness: {error}")
        return keeping

    def _set_exit_status(self, session: pytest.Session) -> None:
        """Fail a run that would pass although it measured too little, or although journeys are unaccounted."""
        status = int(session.exitstatus)
        is_meant = self.empty_shard or (self._pinned is not None and self._pinned.release)
        if status == pytest.ExitCode.NO_TESTS_COLLECTED and is_meant:
            status = session.exitstatus = pytest.ExitCode.OK
        if status == pytest.ExitCode.OK and (
            self._late_error
            or self.tally.unaccounted
            or self.tally.unseen_causes()
            or self.tally.too_little(self._config.stash[SETTINGS].min_measured)
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @property
    def run(self) -> RunDirectory | None:
        """The directory of this run, if it runs anything."""
        return self._lease.directory if self._lease is not None else None

    def interruption(self) -> tuple[str, ...]:
        """Return lines that describe how signals ended the run; none if no signal has come."""
        return () if self._signals is None else tuple(self._signals.summary())

    def prerequisites(self) -> tuple[JourneyId, ...]:
        """Name the Python tests that were not selected, but run because selected items need them."""
        return tuple(one.id for one in self.plan.journeys if one.prerequisite) if self.plan else ()
