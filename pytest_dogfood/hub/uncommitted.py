"""Finds files that agree with the hub only until somebody drops their changes: a fix died before its commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from pytest_dogfood.consistency.checkout_view import View
from pytest_dogfood.consistency.decision import Move
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import FileState, file_finding
from pytest_dogfood.consistency.workplan import parse
from pytest_dogfood.git.tracked_file import GitFile
from pytest_dogfood.hub.findings import Finding
from pytest_dogfood.hub.tasks import Block, HubTask

_Agreeing = tuple[HubTask, Block]


def uncommitted(hub: Hub, view: View) -> tuple[Finding, ...]:
    """Give the items of the files that hold, uncommitted, a status which the hub did not learn from them.

    What somebody has written into the file and the hub has learnt from it is theirs to commit, and not said.
    Where nothing may be written back there is nothing to say either. Raises HubUnreachable, HarnessError.
    """
    if not (view.survey.condition.writes_file and view.policy.writeback):
        return ()
    agreeing: dict[str, list[_Agreeing]] = {}
    for each in view.judged:
        hub_task, block = each.pair.hub, each.pair.block
        if each.decision.move is Move.AGREE and hub_task is not None and block is not None:
            agreeing.setdefault(block.path, []).append((hub_task, block))
    found = (
        file_finding(FileState.MODIFIED, view.checkout.repo, path, fixing=view.question.fixing)
        for path in _changed(view, agreeing)
        if any(not _was_told(hub, view, pair) for pair in _news_to_git(view, path, agreeing[path]))
    )
    return tuple(finding for finding in found if finding is not None)


def _changed(view: View, paths: Iterable[str]) -> list[str]:
    """Give those files that are not as they were committed; some may be that only look so."""
    names = {GitFile(view.repository.git, view.repository.place, path).name: path for path in paths}
    tops = dict.fromkeys(PurePosixPath(name).parts[0] for name in names)
    if not tops or not view.survey.head:
        return []
    listed = view.repository.git.read(
        "--literal-pathspecs", "diff-index", "--name-only", "-z", view.survey.head, "--", *tops
    )
    return [names[name] for name in listed.records if name in names] if listed.ok else []


def _news_to_git(view: View, path: str, pairs: Iterable[_Agreeing]) -> Iterator[_Agreeing]:
    """Give those of a file's tasks for which another status is committed; a file that is not has none."""
    name = view.repository.place.prefix + path
    stored = view.repository.git.read("cat-file", "blob", f"{view.survey.head}:{name}")
    committed = parse(stored.out, path=path).blocks if stored.ok else ()
    statuses = {each.task_id: each.status for each in committed}
    return (pair for pair in pairs if statuses.get(pair[1].task_id, pair[1].status) != pair[1].status)


def _was_told(hub: Hub, view: View, pair: _Agreeing) -> bool:
    """Tell whether the hub has the status from this very file."""
    task, block = pair
    last = hub.events(task.id)[-1:]
    return any((event.machine, event.path) == (view.checkout.machine_id, block.path) for event in last)
