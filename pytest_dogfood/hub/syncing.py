"""Lets the files of one checkout follow the hub, one file and one commit after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from pytest_dogfood.consistency.checkout_view import Judged, View
from pytest_dogfood.consistency.edit import EditRefusedError, with_statuses
from pytest_dogfood.consistency.hub.model import Status
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.workplan import Document
from pytest_dogfood.git.commit import Request, Result, write_back
from pytest_dogfood.hub import trouble
from pytest_dogfood.hub.commits import StatusChange, sync_message
from pytest_dogfood.hub.entries import Writeback
from pytest_dogfood.hub.findings import Action


class Following:
    """The writebacks that are due in a view."""

    def __init__(self, hub: Hub, view: View, *, run_id: str) -> None:
        self._hub = hub
        self._view = view
        self._run_id = run_id
        self._head = view.survey.head

    def steps(self) -> Iterator[View]:
        """Do one file after another; gives the view after each, in which the judgements are done."""
        paths = dict.fromkeys(
            each.pair.block.path
            for each in self._view.judged
            if each.pair.block is not None and each.decision.file_status is not None
        )
        for path in paths:
            for _ in self._one_file(path):
                yield self._view

    def _one_file(self, path: str) -> Iterator[None]:
        document = self._view.documents[path]
        due = self._possible(document, [each for each in self._view.judged if _is_due(each, path)])
        yield
        if not due:
            return
        statuses = _statuses(due)
        changes = [
            StatusChange(task_id=_task_id(each), old=_old_status(each), new=statuses[_task_id(each)].value)
            for each in due
        ]
        planned = [self._record(each, change, path) for each, change in zip(due, changes, strict=True)]
        # The hub has taken no row of this run yet, if only files follow: see that it does before anything is committed.
        self._hub.require_writebacks(planned)
        result = write_back(
            self._view.repository,
            Request(
                path=path,
                parsed=document.content,
                edit=lambda _content: with_statuses(document, statuses),
                message=sync_message(changes, datetime.now(UTC).date()),
                head=self._head,
            ),
            options=self._view.preferences.commit,
        )
        self._note(due, result)
        yield
        if result.ok and result.commit:
            self._hub.record_writebacks([replace(each, commit=result.commit) for each in planned])

    def _possible(self, document: Document, due: Sequence[Judged]) -> list[Judged]:
        """Leave out the tasks whose status cannot be edited: they must not keep the others of the file back."""
        try:
            with_statuses(document, _statuses(due))
        except EditRefusedError:
            refusals = {_task_id(each): _refusal(document, each) for each in due}
            for each in due:
                if why := refusals[_task_id(each)]:
                    held = each.with_first(action=Action.HELD, hint="")
                    self._replace(each, held.with_more(trouble.of_refused_edit(held.findings[0], why)))
            return [each for each in due if not refusals[_task_id(each)]]
        return list(due)

    def _note(self, due: Sequence[Judged], result: Result) -> None:
        if result.commit:
            self._head = result.commit
        for each in due:
            done = (
                each.with_first(fixed=True, commit=result.commit)
                if result.ok
                else each.with_first(action=Action.HELD, hint="")
            )
            self._replace(each, done)
        if (finding := result.finding(self._view.checkout.repo)) is not None:
            self._view = replace(self._view, findings=(*self._view.findings, finding))

    def _replace(self, old: Judged, new: Judged) -> None:
        judged = tuple(new if each is old else each for each in self._view.judged)
        self._view = replace(self._view, judged=judged)

    def _record(self, judged: Judged, change: StatusChange, path: str) -> Writeback:
        return Writeback(
            run_id=self._run_id,
            checkout=self._view.checkout.id,
            path=path,
            task=judged.pair.hub.id if judged.pair.hub is not None else "",
            from_status=change.old,
            to_status=change.new,
            commit="",
        )


def _is_due(judged: Judged, path: str) -> bool:
    block = judged.pair.block
    return block is not None and block.path == path and judged.decision.file_status is not None


def _task_id(judged: Judged) -> str:
    return judged.pair.block.task_id if judged.pair.block is not None else ""


def _old_status(judged: Judged) -> str:
    return (judged.pair.block.status if judged.pair.block is not None else None) or ""


def _statuses(due: Sequence[Judged]) -> dict[str, Status]:
    wanted = ((_task_id(each), each.decision.file_status) for each in due)
    return {task_id: status for task_id, status in wanted if status is not None}


def _refusal(document: Document, judged: Judged) -> str:
    try:
        with_statuses(document, _statuses([judged]))
    except EditRefusedError as error:
        return str(error)
    return ""
