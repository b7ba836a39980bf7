"""The event log as people and programs read it."""

from __future__ import annotations

from pytest_dogfood.hub.entries import Event
from pytest_dogfood.hub.printing import printable
from pytest_dogfood.hub.tasks import HubTask


def event_line(event: Event, task: HubTask) -> str:
    who = f"{event.actor}@{event.host or event.machine}"
    moved = f"{event.from_status} → {event.to_status}" if event.from_status else event.to_status
    count = f" (reopened {event.reopen_count})" if event.reopen_count else ""
    place = f" {event.path}" if event.path else ""
    commit = f" at {event.repo_commit[:12]}" if event.repo_commit else ""
    why = f": {event.reason}" if event.reason else ""
    when = event.at.strftime("%Y-%m-%d %H:%M:%SZ")
    return printable(
        f"{when}  {task.repo}/{task.task_id}  {moved}{count}  {event.source} by {who}{place}{commit}{why}"
    )


def event_in_json(event: Event, task: HubTask) -> dict[str, object]:
    return {
        "repo": task.repo,
        "task_id": task.task_id,
        "hub_id": event.task,
        "version": event.version,
        "at": event.at.isoformat(),
        "machine": event.machine,
        "host": event.host,
        "actor": event.actor,
        "source": event.source,
        "from_status": event.from_status,
        "to_status": event.to_status,
        "reopen_count": event.reopen_count,
        "repo_commit": event.repo_commit,
        "path": event.path,
        "run_id": event.run_id,
        "reason": event.reason,
    }
