"""Deliberate moves against the order: a task is reopened, or a tie is settled; both need a reason and are logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.consistency.check import look, site_of
from pytest_dogfood.consistency.checkout_view import CheckoutView
from pytest_dogfood.consistency.checkouts import only_checkout
from pytest_dogfood.consistency.edit import with_reopening, with_statuses
from pytest_dogfood.consistency.fix import FixOptions, locked
from pytest_dogfood.consistency.hub.model import (
    RANK,
    Block,
    HubTask,
    RefusedError,
    Source,
    Status,
    Writeback,
    parse_status,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import file_finding, repo_finding, writeback_finding
from pytest_dogfood.consistency.task_findings import Finding
from pytest_dogfood.consistency.workplan import Document
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.commit import (
    EditRefusedError,
    StatusChange,
    WritebackRequest,
    sync_message,
    write_back,
)
from pytest_dogfood.git.tracked_file import FileState, GitFile


class Moved(Struct, frozen=True, kw_only=True):
    """What was done, in words. Where the file could not follow, `finding` says why."""

    done: str
    finding: Finding | None = None
    commit: str = ""


class _Scene(Struct, frozen=True, kw_only=True):
    """One task in one checkout, in which everything allows the move."""

    view: CheckoutView
    block: Block
    status: Status

    @property
    def document(self) -> Document:
        return self.view.documents[self.block.path]


class Mover:
    """Makes deliberate moves in one hub. Each raises RefusedError, before anything is written, if it may not be."""

    def __init__(
        self, hub: Hub, fix_options: FixOptions, *, reason: str = "", here: Path | None = None
    ) -> None:
        self._hub = hub
        self._fix_options = fix_options
        self._reason = reason
        self._here = here

    def reopen(self, task: HubTask, status: Status, *, hub_only: bool = False) -> Moved:
        """Reopen a task in the hub and, unless `hub_only`, in the workplan of this checkout."""
        known = _usable(task)
        if status is known:
            raise RefusedError(f"'{task.task_id}' is {known.value} in the hub already")
        if RANK[status] >= RANK[known]:
            raise RefusedError(
                f"'{task.task_id}' is {known.value} in the hub; moving it to {status.value} is no reopening: "
                f"dogfood hub set {task.task_id} {status.value}"
            )
        count = task.reopen_count + 1
        words = f"{task.task_id}: {known.value} → {status.value}, reopened for the {_ordinal(count)} time"
        if hub_only:
            self._reopen_in_hub(task, status)
            return Moved(
                done=f"{words}; no workplan was changed, so each checkout shows C-28 until it has it"
            )
        with self._scene(task) as scene:
            if scene.block.reopened > task.reopen_count:
                raise RefusedError(
                    f"{scene.block.path} has a reopen of '{task.task_id}' that the hub does not know; "
                    "take it over first: dogfood consistency fix --accept-reopen"
                )
            _require_edit(scene, lambda: with_reopening(scene.document, scene.block.task_id, status, count))
            self._reopen_in_hub(task, status, scene)
            return self._recorded(scene, task, status, count, words)

    def accept(self, task: HubTask) -> Moved:
        """Record in the workplan of this checkout that the task was reopened in the hub."""
        status = _usable(task)
        with self._scene(task) as scene:
            if scene.block.reopened == task.reopen_count:
                return Moved(done=f"{scene.block.path} has this reopen of '{task.task_id}' already")
            if scene.block.reopened > task.reopen_count:
                raise RefusedError(
                    f"{scene.block.path} counts more reopens of '{task.task_id}' than the hub; "
                    "take them over: dogfood consistency fix --accept-reopen"
                )
            words = f"{task.task_id}: {scene.status.value} → {status.value}, as reopened in the hub"
            return self._recorded(scene, task, status, task.reopen_count, words)

    def resolve(self, task: HubTask, *, take_file: bool) -> Moved:
        """Settle a tie: the file's status goes into the hub, or the hub's into the file."""
        known = _usable(task)
        with self._scene(task, writes_file=not take_file) as scene:
            same_rank = RANK[known] == RANK[scene.status] and scene.block.reopened == task.reopen_count
            if not same_rank or known is scene.status:
                raise RefusedError(
                    f"'{task.task_id}' is no tie (db={known.value}, file={scene.status.value}); "
                    "dogfood consistency fix or reopen is what it needs"
                )
            if not take_file:
                return self._taken_from_hub(scene, task, known)
            stamp = self._fix_options.stamp(
                Source.RESOLVE, commit=scene.view.survey.head, path=scene.block.path, reason=self._reason
            )
            if not self._hub.resolve(task, scene.status, stamp=stamp):
                raise _changed(task)
            return Moved(
                done=f"{task.task_id}: {known.value} → {scene.status.value} in the hub, as in the file"
            )

    def _taken_from_hub(self, scene: _Scene, task: HubTask, known: Status) -> Moved:
        name = scene.block.task_id
        message = sync_message(
            [StatusChange(task_id=name, old=scene.status.value, new=known.value)], datetime.now(UTC).date()
        )
        words = f"{task.task_id}: {scene.status.value} → {known.value} in the file, as in the hub"
        edit = lambda: with_statuses(scene.document, {name: known})  # noqa: E731 - as below
        return self._written(scene, task, known, edit, message, words)

    def _recorded(self, scene: _Scene, task: HubTask, status: Status, count: int, words: str) -> Moved:
        name = scene.block.task_id
        edit = lambda: with_reopening(scene.document, name, status, count)  # noqa: E731 - it has no better name
        return self._written(scene, task, status, edit, f"chore(consistency): reopen {name}\n", words)

    def _written(
        self,
        scene: _Scene,
        task: HubTask,
        status: Status,
        edit: Callable[[], bytes],
        message: str,
        words: str,
    ) -> Moved:
        view = scene.view
        record = Writeback(
            run_id=self._fix_options.run_id,
            checkout=view.checkout.id,
            path=scene.block.path,
            task=task.id,
            from_status=scene.status.value,
            to_status=status.value,
            commit="",
        )
        self._hub.require_writebacks([record])
        result = write_back(
            view.repository,
            WritebackRequest(
                path=scene.block.path,
                parsed=scene.document.content,
                edit=lambda _content: edit(),
                message=message,
                head=view.survey.head,
            ),
            options=view.preferences.commit,
        )
        if result.ok and result.commit:
            self._hub.record_writebacks([replace(record, commit=result.commit)])
        return Moved(done=words, finding=writeback_finding(result, task.repo), commit=result.commit)

    def _reopen_in_hub(self, task: HubTask, status: Status, scene: _Scene | None = None) -> None:
        commit = scene.view.survey.head if scene is not None else ""
        path = scene.block.path if scene is not None else ""
        stamp = self._fix_options.stamp(Source.REOPEN, commit=commit, path=path, reason=self._reason)
        if not self._hub.reopen(task, status, stamp=stamp):
            raise _changed(task)

    @contextmanager
    def _scene(self, task: HubTask, *, writes_file: bool = True) -> Iterator[_Scene]:
        """Hold the lock of this checkout, and see that the repository and the file allow the move."""
        checkout = only_checkout(self._hub, self._fix_options.machine.id, task.repo, here=self._here)
        try:
            context = site_of(self._hub, checkout)
            with locked(context, timeout=self._fix_options.lock_timeout):
                view = look(self._hub, context, self._fix_options.question)
                _require_condition(view, writes_file=writes_file)
                block = _only_block(view, task)
                if writes_file:
                    _require_clean(view, block.path)
                yield _Scene(view=view, block=block, status=_status_in_file(block))
        except (HarnessError, OSError) as error:
            raise RefusedError(f"'{task.task_id}' stays as it is: {error}") from error


def _usable(task: HubTask) -> Status:
    status = parse_status(task.status)
    if task.deleted or status is None:
        why = "it was deleted in the hub" if task.deleted else f"its status '{task.status}' is not known here"
        raise RefusedError(f"'{task.task_id}' stays as it is: {why}")
    return status


def _require_condition(view: CheckoutView, *, writes_file: bool) -> None:
    condition = view.survey.condition
    if condition.writes_file if writes_file else condition.writes_hub:
        return
    found = repo_finding(condition, view.checkout.repo, fixing=True, writeback_due=True, named=True)
    raise _refused_by(found or (view.findings[0] if view.findings else None))


def _require_clean(view: CheckoutView, path: str) -> None:
    file = GitFile(view.repository.git, view.repository.place, path)
    state = file.examined(view.documents[path].content).state
    if state is not FileState.CLEAN:
        raise _refused_by(file_finding(state, view.checkout.repo, path, fixing=True))


def _refused_by(finding: Finding | None) -> RefusedError:
    if finding is None:
        return RefusedError("the state of the repository does not allow it")
    hint = f" ({finding.hint})" if finding.hint else ""
    place = f"{finding.path}: " if finding.path else ""
    return RefusedError(f"{finding.code} {place}{finding.said}{hint}")


def _only_block(view: CheckoutView, task: HubTask) -> Block:
    for each in view.decided:
        if each.pair.hub is not None and each.pair.hub.id == task.id and each.pair.block is not None:
            if not each.pair.block.problem:
                return each.pair.block
            break
    about = [
        finding
        for finding in view.report().findings
        if task.id == finding.hub_id or task.task_id == finding.task_id
    ]
    if about:
        raise _refused_by(about[0])
    raise RefusedError(
        f"'{task.task_id}' has no block in {view.checkout.path}; reopen can do with the hub alone: --hub-only"
    )


def _status_in_file(block: Block) -> Status:
    status = parse_status(block.status)
    if status is None:
        raise RefusedError(f"{block.path}:{block.line}: '{block.status}' is no status; correct it first")
    return status


def _require_edit(scene: _Scene, edit: Callable[[], bytes]) -> None:
    """See that the file can be edited before the hub is changed."""
    try:
        edit()
    except EditRefusedError as error:
        raise RefusedError(f"'{scene.block.task_id}' stays as it is: {error}") from error


def _changed(task: HubTask) -> RefusedError:
    return RefusedError(f"'{task.task_id}' was changed by others meanwhile; look again, then decide")


def _ordinal(count: int) -> str:
    suffix = "th" if 10 <= count % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{suffix}"
