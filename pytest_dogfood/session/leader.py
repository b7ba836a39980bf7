"""The process that leads a run: the xdist controller, or the only process there is."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dogfood.collection.stash import PROJECT, SETTINGS
from pytest_dogfood.diagnostics import HarnessError, InvalidProjectError, did_you_mean, errors_among
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Cause, Outcome, Tally, badness, listed
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.storage.run_directory import (
    ALONE,
    Retention,
    RunLease,
    checked_root,
    default_root,
    project_name,
    write_results,
)

if TYPE_CHECKING:
    from pytest_dogfood.collection.project import Project
    from pytest_dogfood.execution.background import Watcher
    from pytest_dogfood.execution.interruption import Interruption
    from pytest_dogfood.provisioning.release import MachineRelease
    from pytest_dogfood.report.manifest import Expected
    from pytest_dogfood.scheduling.queue import Job
    from pytest_dogfood.session.cancellation import Cancellation
    from pytest_dogfood.session.listener import Listener
    from pytest_dogfood.session.worker import ItemRunner
    from pytest_dogfood.storage.run_directory import RunDirectory
    from pytest_dogfood.storage.token_registry import RunIdentity
    from pytest_dogfood.xdist.scheduler import Worker

NOT_EXECUTING = ("collectonly", "setupplan")
"""Options of pytest under which nothing is run, so nothing is written either."""


class Leader:
    """Refuses an invalid project, keeps the run's directory and watch, and gives back what the run took.

    `working` is the plugin that runs items in this same process, None on an xdist controller.
    """

    def __init__(self, config: pytest.Config, working: ItemRunner | None) -> None:
        self._config = config
        self._working = working
        self._lease: RunLease | None = None
        self._watcher: Watcher | None = None
        self._release: MachineRelease | None = None
        self._plan: Plan | None = None
        self._added: tuple[Path, ...] = ()
        self._listener: Listener | None = None
        self._cancellation: Cancellation | None = None
        self.tally = Tally(())
        self._late_error = False
        self.keeping: Retention | None = None
        self.empty_shard = False
        self.expected: Expected | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse what the files alone show to be wrong, before any worker is started."""
        project = self._config.stash[PROJECT]()
        project.read_below(project.named)
        for path in project.named:
            project.read_settings_above(path / "-")
        settings = self._config.stash[SETTINGS]
        wrong = errors_among(project.diagnose(project.graph()))
        if wrong and not settings.check:
            raise pytest.UsageError(f"\n{InvalidProjectError(wrong)}")
        for token in settings.blocked:
            if not project.knows(token):
                near = did_you_mean(token, project.graph().tokens)
                raise pytest.UsageError(
                    f"--dogfood-blocked {token!r}: no journey establishes it and no file defines it"
                    + (f"; {near}" if near else "")
                )
        self._add_needed_files(project)
        if self.executes:
            self._begin(Path(settings.state_root).absolute() if settings.state_root else default_root())

    def _add_needed_files(self, project: Project) -> None:
        """Let files be collected that were not named and establish what is needed."""
        if not project.is_named_in_part:
            return
        from pytest_dogfood.collection.needed_files import needed_files

        self._added = needed_files(project, self._config.getini("python_files"))
        if self._added and self._working is not None:
            from pytest_dogfood.collection.added_files import AddedFiles

            self._working.added = AddedFiles(self._config, self._added)
            self._config.pluginmanager.register(self._working.added, "dogfood-added-files")
            self._working.added.pytest_sessionstart()

    @property
    def executes(self) -> bool:
        """Whether items are to run, as they are not under --dogfood-check, --collect-only and --setup-plan."""
        told = (self._config.getoption(name, False) for name in NOT_EXECUTING)
        return not self._config.stash[SETTINGS].check and not any(told)

    def _begin(self, root: Path) -> None:
        try:
            self._lease = RunLease(checked_root(root), project_name(self._config.rootpath))
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error
        except OSError as error:
            raise pytest.UsageError(
                f"no run can be begun in {root}: {error.strerror or error}; free some space, or set dogfood_state_root"
            ) from error
        if self._working is not None:
            self._working.begin(partial(_own_part, self._lease.directory))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist exports no type for it
        if self._lease is not None:
            node.workerinput["dogfood_run"] = str(self._lease.directory.path)
            node.workerinput["dogfood_plans"] = str(self._lease.directory.plans)
            node.workerinput["dogfood_pid"] = os.getpid()
            node.workerinput["dogfood_added"] = [str(path) for path in self._added]
            # xdist tells its workers that --dist is "no".
            node.workerinput["dogfood_dist"] = self._config.getoption("dist")

    def jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Tell the scheduler what depends on what, as the workers have found it."""
        from pytest_dogfood.collection.selection import read_worker_selection
        from pytest_dogfood.scheduling.queue import jobs_for

        if self._lease is None:
            raise pytest.UsageError("nothing is run under --collect-only")
        try:
            published = read_worker_selection(self._lease.directory.plans)
        except HarnessError as error:
            raise pytest.UsageError(f"dogfood: {error}") from error
        if published.diagnostics:
            raise pytest.UsageError(f"\n{InvalidProjectError(published.diagnostics)}")
        self.empty_shard, self.expected = published.empty_shard, published.expected
        self._take(published.plan)
        return jobs_for(ids, published.plan, str(self._config.getoption("dist", "load")))

    def finished(self, node_id: str) -> None:
        """Take note that a worker is through with an item, its reruns included."""
        if self._listener is not None:
            self._listener.finished(node_id)

    def _take(self, plan: Plan) -> None:
        """Count on a plan, unless nothing of it is going to run; raises pytest.UsageError where no run is possible."""
        try:
            self._count_on(plan)
        except HarnessError as error:
            raise pytest.UsageError(f"dogfood: {error}") from error

    def _count_on(self, plan: Plan) -> None:
        if self._lease is None:
            return
        distribution = self._config.pluginmanager.get_plugin("dogfood-distribution")
        if distribution is not None:
            distribution.end_collection()
        self._plan = plan
        self.tally.planned = tuple(planned.id for planned in plan.journeys)
        self.tally.gates = tuple(dict.fromkeys(gate for one in plan.journeys for gate in one.gates))
        if plan.journeys:
            from pytest_dogfood.execution.background import Watcher
            from pytest_dogfood.provisioning.release import MachineRelease
            from pytest_dogfood.provisioning.workspace import run_marker
            from pytest_dogfood.session.composition import presence_for
            from pytest_dogfood.session.durations import DurationsRecorder
            from pytest_dogfood.session.listener import Listener

            self._watcher = Watcher(run_marker(self._lease.directory.id))  # from here on steps may run
            selection = self._working.selection if self._working is not None else None
            graph = selection.graph if selection is not None else self._config.stash[PROJECT]().graph()
            run, identity = _own_part(self._lease.directory)
            presence = presence_for(self._config, graph, run, worker=ALONE, identity=identity)
            self._release = MachineRelease(plan, presence)
            self._listener = Listener(
                self._config, plan, self._lease.directory, tally=self.tally, release=self._release
            )
            self._config.pluginmanager.register(self._listener, "dogfood-listener")
            self._config.pluginmanager.register(DurationsRecorder(self._config), "dogfood-stopwatch")
            self._watch_for_signals(plan, presence.workspace.interruption)

    def _watch_for_signals(self, plan: Plan, interruption: Interruption) -> None:
        """Answer signals from here on: steps may run."""
        from pytest_dogfood.session.cancellation import Cancellation

        if self._lease is None:
            return
        manager = self._config.pluginmanager
        distribution = manager.get_plugin("dogfood-distribution")
        if distribution is not None:
            interruption.met.append(distribution.abort)
        self._cancellation = Cancellation(
            self._config,
            plan,
            self._lease.directory,
            interruption,
            distributed=distribution is not None,
        )
        manager.register(self._cancellation, "dogfood-cancellation")
        self._cancellation.begin()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        if self._working is not None:
            selection = self._working.selection
            self._take(selection.plan if selection is not None else Plan())
            self.empty_shard = selection is not None and not selection.items and bool(selection.elsewhere)
            self.expected = selection.expected if selection is not None else None
        try:
            return (yield)
        finally:
            if self._cancellation is None:
                self._give_everything_back()
            else:
                self._cancellation.end(self._give_everything_back)

    def _give_everything_back(self) -> None:
        try:
            if self._release is not None:
                for nodeid, problem in self._release.release_everything_left():
                    self._report_late_error(nodeid, problem)
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
        except HarnessError as error:
            self._report_late_error("", f"harness: {error}")

    def _report_late_error(self, nodeid: str, problem: str) -> None:
        """Report a failed release as an error in the teardown of the last user."""
        from pytest_dogfood.session.test_reports import late_error

        last = self._listener.last_report.get(nodeid) if self._listener is not None else None
        report = late_error(nodeid, problem, last)
        self._config.hook.pytest_runtest_logreport(report=report)
        self._late_error = True

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_testnodedown(self, node: Worker, error: object | None) -> None:
        """End what a dead worker's steps have left running, and remove what they wrote with secrets in it."""
        if error is not None and self._lease is not None:
            from pytest_dogfood.execution.output import UNMASKED_SUFFIX
            from pytest_dogfood.execution.watcher import end_processes
            from pytest_dogfood.provisioning.workspace import worker_marker

            run = self._lease.directory
            end_processes(worker_marker(run.id, node.gateway.id))
            for path in run.outputs.glob(f"{node.gateway.id}-*{UNMASKED_SUFFIX}"):
                path.unlink(missing_ok=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        try:
            if self._lease is not None:
                self.keeping = self._decide_what_stays(self._lease.directory)
            self._settle_exit_status(session)
            return (yield)
        finally:
            if self._watcher is not None:
                self._watcher.close()
            if self._lease is not None:
                kept = self.keeping.paths() if self.keeping is not None else ()
                self._complain_of(self._lease.close(keep=kept))

    def _decide_what_stays(self, run: RunDirectory) -> Retention:
        """Decide it, and leave the results there; where they cannot be written that is told as an error."""
        failed = self._listener.keep if self._listener is not None else set()
        keeping = Retention(run, failed=failed, everything=self._config.stash[SETTINGS].keep)
        if keeping.directory is not None:
            try:
                write_results(keeping.directory, tuple(self.tally.results.values()))
            except HarnessError as error:
                self._report_late_error("", f"harness: {error}")
        return keeping

    def _complain_of(self, left: Sequence[str]) -> None:
        """Name what stays of the run's directory, which may be a secret, because the system refuses to remove it."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if left and terminal is not None:
            terminal.write_line(f"dogfood: could not remove {listed(left)}; remove it yourself", red=True)

    def _settle_exit_status(self, session: pytest.Session) -> None:
        """Make a run red that would be green without having measured, or with journeys nobody accounts for."""
        status = int(session.exitstatus)
        if self._config.stash[SETTINGS].check or self._lease is None:
            return
        if status == pytest.ExitCode.NO_TESTS_COLLECTED and self.empty_shard:
            session.exitstatus = pytest.ExitCode.OK
        if status == pytest.ExitCode.OK and (
            self._late_error
            or self.tally.unaccounted
            or self.tally.unseen_causes()
            or self.tally.too_little(self._config.stash[SETTINGS].min_measured)
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def replayed(self) -> dict[JourneyId, Outcome]:
        """Return the worst of what journeys came to that were run again within the set-up of others.

        What a declared blocker kept from running has come to nothing: as a gate it is open, here as elsewhere.
        """
        from pytest_dogfood.storage.journal import Journal, Why

        if self._lease is None:
            return {}
        worst: dict[JourneyId, Outcome] = {}
        for entry in Journal(self._lease.directory.records).ends(Why.REPLAY):
            is_blocked = entry.cause is not None and entry.cause.blocked
            if entry.outcome is not None and not is_blocked:
                worst[entry.journey] = max(
                    entry.outcome, worst.get(entry.journey, entry.outcome), key=badness
                )
        return worst

    def interruption(self) -> tuple[str, ...]:
        """Return what signals have done to the run; nothing if none has come."""
        return () if self._cancellation is None else tuple(self._cancellation.summary())

    def prerequisites(self) -> tuple[JourneyId, ...]:
        """Name the Python tests that were not selected, and run because something selected needs them."""
        return tuple(one.id for one in self._plan.journeys if one.prerequisite) if self._plan else ()

    def deferred(self) -> dict[str, Cause]:
        """Return the node ids of what was deferred, each with the cause, where that is a journey or a blocked token."""
        if self._plan is None:
            return {}
        nodeids = {one.id: one.nodeid for one in self._plan.journeys}
        known = {*nodeids, *self._config.stash[PROJECT]().graph().journeys}
        return {
            nodeids[result.id]: result.cause
            for result in self.tally.results.values()
            if result.outcome is Outcome.DEFERRED
            and result.cause is not None
            and (result.cause.blocked or result.cause.who in known)
        }

    def uncollected(self) -> tuple[str, ...]:
        """Return the node ids of the files that were added in this process and could not be collected."""
        added = self._working.added if self._working is not None else None
        return added.uncollected() if added is not None else ()

    @property
    def has_planned(self) -> bool:
        """Whether something was going to be run, journeys among it or not."""
        return self._plan is not None


def _own_part(run: RunDirectory) -> tuple[RunDirectory, RunIdentity]:
    """Return what the leading process itself needs to take part in its run."""
    from pytest_dogfood.storage.token_registry import own_identity

    return run, own_identity(run.id)
