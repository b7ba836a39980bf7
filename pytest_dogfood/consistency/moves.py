"""Deliberate changes against the order of statuses: reopens and resolved ties. Both are logged with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.consistency.check import CheckoutView, inspect_checkout, open_checkout
from pytest_dogfood.consistency.checkouts import only_checkout
from pytest_dogfood.consistency.edit import with_reopening
from pytest_dogfood.consistency.fix import FixOptions, locked, write_statuses
from pytest_dogfood.consistency.hub.model import (
    RANK,
    Block,
    HubTask,
    RefusedError,
    Source,
    Status,
    parse_status,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import file_finding, repo_finding, writeback_finding
from pytest_dogfood.consistency.task_findings import NAMES, Case, Finding
from pytest_dogfood.consistency.workplan import Document
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.commit import EditRefusedError


class MoveResult(Struct, frozen=True, kw_only=True):
    """A description of what was done. If the file could not be updated, `finding` says why."""

    message: str
    finding: Finding | None = None
    commit: str = ""


class _TaskInFile(Struct, frozen=True, kw_only=True):
    """One task in one checkout that allows the move."""

    view: CheckoutView
    case: Case
    block: Block
    document: Document
    status: Status


class DeliberateMoves:
    """The moves in one hub. Each raises RefusedError before it writes anything, if it is not allowed."""

    def __init__(self, hub: Hub, options: FixOptions, *, reason: str = "", here: Path | None = None) -> None:
        self._hub = hub
        self._options = options
        self._reason = reason
        self._here = here

    def reopen(self, task: HubTask, status: Status, *, hub_only: bool = False) -> MoveResult:
        """Reopen a task in the hub and, unless `hub_only`, in the workplan of this checkout."""
        known = _usable(task)
        if status is known:
            raise RefusedError(f"'{task.task_id}' is {known.value} in the hub already")
        if RANK[status] >= RANK[known]:
            raise RefusedError(
                f"'{task.task_id}' is {known.value} in the hub; moving it to {status.value} is not a reopen: "
                f"dogfood hub set {task.task_id} {status.value}"
            )
        count = task.reopen_count + 1
        words = f"{task.task_id}: {known.value} → {status.value}, reopened for the {_ordinal(count)} time"
        if hub_only:
            self._reopen_in_hub(task, status)
            return MoveResult(
                message=f"{words}; no workplan was changed: "
                f"each checkout shows C-28 {NAMES['C-28']} until its file follows"
            )
        with self._task_in_file(task) as found:
            if found.block.reopened > task.reopen_count:
                raise RefusedError(
                    f"{found.block.path} has a reopen of '{task.task_id}' that the hub does not have; "
                    "accept it first: dogfood consistency fix --accept-reopen"
                )
            try:  # before the hub is changed
                with_reopening(found.document, found.block.task_id, status, count)
            except EditRefusedError as error:
                raise RefusedError(f"'{found.block.task_id}' stays as it is: {error}") from error
            self._reopen_in_hub(task, status, repo_commit=found.view.survey.head, path=found.block.path)
            return self._write(found, status, words, reopened=count)

    def accept(self, task: HubTask) -> MoveResult:
        """Record in the workplan of this checkout that the task was reopened in the hub."""
        status = _usable(task)
        with self._task_in_file(task) as found:
            if found.block.reopened == task.reopen_count:
                return MoveResult(message=f"{found.block.path} has this reopen of '{task.task_id}' already")
            if found.block.reopened > task.reopen_count:
                raise RefusedError(
                    f"{found.block.path} counts more reopens of '{task.task_id}' than the hub; "
                    "accept them: dogfood consistency fix --accept-reopen"
                )
            words = f"{task.task_id}: {found.status.value} → {status.value}, as reopened in the hub"
            return self._write(found, status, words, reopened=task.reopen_count)

    def resolve(self, task: HubTask, *, take_file: bool) -> MoveResult:
        """Resolve a tie: write the file's status into the hub, or the hub's into the file."""
        known = _usable(task)
        with self._task_in_file(task, writes_file=not take_file) as found:
            in_file = found.status
            same_rank = RANK[known] == RANK[in_file] and found.block.reopened == task.reopen_count
            if not same_rank or known is in_file:
                raise RefusedError(
                    f"'{task.task_id}' is not a tie (db={known.value}, file={in_file.value}); "
                    "use dogfood consistency fix or reopen"
                )
            if not take_file:
                words = f"{task.task_id}: {in_file.value} → {known.value} in the file, as in the hub"
                return self._write(found, known, words)
            stamp = self._options.stamp(
                Source.RESOLVE, repo_commit=found.view.survey.head, path=found.block.path, reason=self._reason
            )
            if not self._hub.resolve(task, in_file, stamp=stamp):
                raise _changed(task)
            return MoveResult(
                message=f"{task.task_id}: {known.value} → {in_file.value} in the hub, as in the file"
            )

    def _reopen_in_hub(self, task: HubTask, status: Status, **place: str) -> None:
        stamp = self._options.stamp(Source.REOPEN, reason=self._reason, **place)
        if not self._hub.reopen(task, status, stamp=stamp):
            raise _changed(task)

    def _write(
        self, found: _TaskInFile, status: Status, words: str, *, reopened: int | None = None
    ) -> MoveResult:
        """Write a status into the file, and the count of reopens if it is `reopened`."""
        edit, message, name = None, "", found.block.task_id
        if reopened is not None:
            edit = partial(with_reopening, found.document, name, status, reopened)
            message = f"chore(consistency): reopen {name}\n"
        view = found.view
        result, done = write_statuses(
            self._hub,
            view,
            self._options,
            [found.case],
            {name: status},
            head=view.survey.head,
            edit=edit,
            message=message,
        )
        self._hub.record_writebacks(done)
        finding = writeback_finding(result, view.checkout.repo, found.block.path)
        return MoveResult(message=words, finding=finding, commit=result.commit)

    @contextmanager
    def _task_in_file(self, task: HubTask, *, writes_file: bool = True) -> Iterator[_TaskInFile]:
        """Hold the lock of this checkout, and check that the repository and the file allow the move."""
        checkout = only_checkout(self._hub, self._options.machine.id, task.repo, here=self._here)
        try:
            view = open_checkout(self._hub, checkout, self._options.check_options)
            with locked(view.repository, timeout=self._options.lock_timeout):
                view = inspect_checkout(self._hub, view)
                condition = view.survey.condition
                if not (condition.writes_file if writes_file else condition.writes_hub):
                    found = repo_finding(condition, task.repo, fixing=True, writeback_due=True, named=True)
                    raise _refused_by(found or next(iter(view.findings), None))
                case, block = _only_block(view, task)
                document = view.documents[block.path]
                if writes_file:
                    state = view.repository.file(block.path).status(document.content).state
                    if (finding := file_finding(state, task.repo, block.path, fixing=True)) is not None:
                        raise _refused_by(finding)
                status = parse_status(block.status)
                if status is None:
                    place = f"{block.path}:{block.line}"
                    raise RefusedError(f"{place}: '{block.status}' is not a status; correct it first")
                yield _TaskInFile(view=view, case=case, block=block, document=document, status=status)
        except (HarnessError, OSError) as error:
            raise RefusedError(f"'{task.task_id}' stays as it is: {error}") from error


def _usable(task: HubTask) -> Status:
    status = parse_status(task.status)
    if task.deleted or status is None:
        why = "it was deleted in the hub" if task.deleted else f"its status '{task.status}' is not known here"
        raise RefusedError(f"'{task.task_id}' stays as it is: {why}")
    return status


def _only_block(view: CheckoutView, task: HubTask) -> tuple[Case, Block]:
    for case in (each.case for each in view.decisions):
        if case.hub is not None and case.hub.id == task.id and case.block is not None:
            if not case.block.problem:
                return case, case.block
            break
    for finding in view.report().findings:
        if task.id == finding.hub_id or task.task_id == finding.task_id:
            raise _refused_by(finding)
    raise RefusedError(
        f"'{task.task_id}' has no block in {view.checkout.path}; to reopen it in the hub only: --hub-only"
    )


def _refused_by(finding: Finding | None) -> RefusedError:
    if finding is None:
        return RefusedError("the state of the repository does not allow it")
    hint = f" ({finding.hint})" if finding.hint else ""
    place = f"{finding.path}: " if finding.path else ""
    return RefusedError(f"{finding.label}: {place}{finding.text}{hint}")


def _changed(task: HubTask) -> RefusedError:
    return RefusedError(f"'{task.task_id}' was changed by others meanwhile; check again, then decide")


def _ordinal(count: int) -> str:
    suffix = "th" if 10 <= count % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{suffix}"
