"""What each `dogfood consistency` command does; it prints a report and gives an exit status, or raises HubError."""

from __future__ import annotations

import json
import shlex
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from itertools import chain

from pytest_dogfood.hub.choosing import Choice
from pytest_dogfood.hub.choosing import choose
from pytest_dogfood.hub.consistency import judge
from pytest_dogfood.hub.database import Hub
from pytest_dogfood.hub.decision import Policy
from pytest_dogfood.hub.entries import Event
from pytest_dogfood.hub.errors import REFUSED
from pytest_dogfood.hub.errors import HubError
from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.fixing import Errand
from pytest_dogfood.hub.fixing import fix as fix_each
from pytest_dogfood.hub.hubverbs import open_hub
from pytest_dogfood.hub.machine import current_actor
from pytest_dogfood.hub.machine import this_machine
from pytest_dogfood.hub.moves import Moved
from pytest_dogfood.hub.moves import Mover
from pytest_dogfood.hub.reporting import JSON_VERSION
from pytest_dogfood.hub.reporting import Counting
from pytest_dogfood.hub.reporting import Palette
from pytest_dogfood.hub.reporting import closing_line
from pytest_dogfood.hub.reporting import findings_of
from pytest_dogfood.hub.reporting import in_json
from pytest_dogfood.hub.reporting import is_left
from pytest_dogfood.hub.reporting import printable
from pytest_dogfood.hub.reporting import report_lines
from pytest_dogfood.hub.reporting import write_lines
from pytest_dogfood.hub.statuses import Status
from pytest_dogfood.hub.taking import only_task
from pytest_dogfood.hub.tasks import HubTask
from pytest_dogfood.hub.views import Question
from pytest_dogfood.hub.views import RepoReport


def check(options: Namespace) -> int:
    """Say what differs, and change nothing."""
    with open_hub(options.hub, readonly=True) as hub:
        choice = _chosen(hub, options, this_machine(create=False).id)
        question = Question(offline=options.offline, named=choice.named)
        counting = Counting(len(choice.checkouts))
        absent = choice.reports_of_absent(fixing=False)
        return _told(options, absent, judge(hub, choice.checkouts, question, progress=counting), counting)


def fix(options: Namespace) -> int:
    """Bring workplans and the hub into step."""
    return _fixed(options, pull=False)


def sync(options: Namespace) -> int:
    """Pull, then fix."""
    return _fixed(options, pull=True)


def reopen(options: Namespace) -> int:
    """Let a task go back on purpose."""
    if options.accept:
        return _moved(options, lambda mover, task: mover.accept(task))
    _require_reason(options)
    status = Status(options.to)
    return _moved(options, lambda mover, task: mover.reopen(task, status, hub_only=options.hub_only))


def resolve(options: Namespace) -> int:
    """Settle a tie."""
    _require_reason(options)
    return _moved(options, lambda mover, task: mover.resolve(task, take_file=options.take == "file"))


def log(options: Namespace) -> int:
    """Print the event log."""
    with open_hub(options.hub, readonly=True) as hub:
        task = only_task(hub, options.task, options.repo).id if options.task else None
        events = hub.events(task, repo=options.repo, regressions=options.regressions)
        tasks = {each.id: each for each in hub.tasks(options.repo)}
    if options.format == "json":
        listed = [_event_in_json(event, tasks[event.task]) for event in events]
        write_lines([json.dumps({"version": JSON_VERSION, "events": listed}, indent=2)])
    else:
        write_lines(_event_line(event, tasks[event.task]) for event in events)
    return 0


def _chosen(hub: Hub, options: Namespace, machine_id: str) -> Choice:
    if options.all and options.repo:
        raise HubUsageError("--all and --repo contradict each other; leave one of them out")
    return choose(hub, machine_id, slugs=options.repo, every=options.all)


def _fixed(options: Namespace, *, pull: bool) -> int:
    with open_hub(options.hub, readonly=options.dry_run) as hub:
        machine = this_machine(create=not options.dry_run)
        choice = _chosen(hub, options, machine.id)
        policy = Policy(accept_reopen=options.accept_reopen, writeback=not options.no_writeback)
        question = Question(offline=options.offline, fixing=True, policy=policy, named=choice.named)
        counting = Counting(len(choice.checkouts))
        errand = Errand(
            machine=machine,
            actor=options.actor or current_actor(),
            run_id=str(uuid.uuid4()),
            question=question,
            lock_timeout=options.lock_timeout,
            pull=pull,
            notice=_notice(options, counting),
        )
        reports = (
            judge(hub, choice.checkouts, question, progress=counting)
            if options.dry_run
            else fix_each(hub, choice.checkouts, errand, progress=counting)
        )
        return _told(options, choice.reports_of_absent(fixing=True), reports, counting)


def _notice(options: Namespace, counting: Counting) -> Callable[[str], None]:
    """Make what tells people something at once; the output of a program that reads JSON stays clean."""

    def tell(text: str) -> None:
        counting.clear()
        write_lines([text], sys.stderr if options.format == "json" else sys.stdout)

    return tell


def _told(
    options: Namespace, absent: Iterable[RepoReport], reports: Iterator[RepoReport], counting: Counting
) -> int:
    """Print reports as they come, and the counts; gives the exit status."""
    palette, in_text = Palette(sys.stdout), options.format == "text"
    seen: list[RepoReport] = []
    error: HubError | None = None
    try:
        for report in chain(absent, reports):
            seen.append(report)
            counting.clear()
            if in_text:
                write_lines(report_lines(report, palette))
    except HubError as lost:
        error = lost
    finally:
        counting.clear()
    left = any(is_left(finding, strict=options.strict) for finding in findings_of(seen))
    status = error.exit_status if error is not None else REFUSED if left else 0
    if in_text:
        write_lines([closing_line(seen, palette)])
    else:
        write_lines([in_json(seen, exit_status=status, error=str(error or ""))])
    if error is not None:
        raise error
    return status


def _moved(options: Namespace, move: Callable[[Mover, HubTask], Moved]) -> int:
    with open_hub(options.hub) as hub:
        task = only_task(hub, options.task, options.repo)
        errand = Errand(
            machine=this_machine(),
            actor=options.actor or current_actor(),
            run_id=str(uuid.uuid4()),
            question=Question(offline=options.offline, fixing=True),
            lock_timeout=options.lock_timeout,
        )
        done = move(Mover(hub, errand, reason=options.reason), task)
    if done.finding is not None:
        write_lines(report_lines(RepoReport(repo=task.repo, findings=(done.finding,)), Palette(sys.stdout)))
        if _reopened_in_hub(options):
            accept = f"dogfood consistency reopen {shlex.quote(options.task)} --accept"
            write_lines([f"the hub has it, the workplan does not yet; once that can be written: {accept}"])
        return REFUSED
    write_lines([f"{done.done} [commit {done.commit[:12]}]" if done.commit else done.done])
    return 0


def _reopened_in_hub(options: Namespace) -> bool:
    return "to" in options and not options.accept


def _require_reason(options: Namespace) -> None:
    if not options.reason.strip():
        raise HubUsageError("say why, for everybody who will wonder: --reason TEXT")


def _event_line(event: Event, task: HubTask) -> str:
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


def _event_in_json(event: Event, task: HubTask) -> dict[str, object]:
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
