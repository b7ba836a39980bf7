"""What each `dogfood consistency` command does; it prints a report and gives an exit status, or raises HubError."""

from __future__ import annotations

import shlex
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable

from msgspec.structs import replace

from pytest_dogfood.cli.consistency_report import ReportPrinter, event_in_json, event_line, report_lines
from pytest_dogfood.cli.console import say, write_json, write_lines
from pytest_dogfood.cli.streams import Palette
from pytest_dogfood.consistency.check import report_checkouts
from pytest_dogfood.consistency.checkout_view import CheckOptions, RepoReport
from pytest_dogfood.consistency.checkouts import Choice, choose
from pytest_dogfood.consistency.decision import Policy
from pytest_dogfood.consistency.fix import FixOptions, fix as fix_each
from pytest_dogfood.consistency.hub.location import current_actor, open_hub, this_machine
from pytest_dogfood.consistency.hub.model import REFUSED, HubTask, HubUsageError, Machine, Status
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.moves import Moved, Mover


def check(options: Namespace) -> int:
    """Say what differs, and change nothing."""
    with _telling(options) as printer, open_hub(options.hub, readonly=True) as hub:
        choice = _chosen(hub, options, this_machine(create=False).id, printer)
        question = CheckOptions(offline=options.offline, named=choice.named)
        printer.tell(choice.reports_of_absent(fixing=False))
        printer.tell(report_checkouts(hub, choice.checkouts, question, progress=printer.progress))
    return printer.status


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
        if options.repo is not None:
            hub.require_repo(options.repo)
        task = hub.only_task(options.task, repo=options.repo).id if options.task else None
        events = hub.events(task, repo=options.repo, regressions=options.regressions)
        tasks = {each.id: each for each in hub.tasks(options.repo)}
    if options.format == "json":
        write_json(events=[event_in_json(event, tasks[event.task]) for event in events])
    else:
        write_lines(event_line(event, tasks[event.task]) for event in events)
    return 0


def _telling(options: Namespace) -> ReportPrinter:
    return ReportPrinter(as_json=options.format == "json", strict=options.strict)


def _chosen(hub: Hub, options: Namespace, machine_id: str, printer: ReportPrinter) -> Choice:
    if options.all and options.repo:
        raise HubUsageError("--all and --repo contradict each other; leave one of them out")
    choice = choose(hub, machine_id, slugs=options.repo, every=options.all)
    printer.progress.total = len(choice.checkouts)
    return choice


def _fixed(options: Namespace, *, pull: bool) -> int:
    with _telling(options) as printer, open_hub(options.hub, readonly=options.dry_run) as hub:
        machine = this_machine(create=not options.dry_run)
        choice = _chosen(hub, options, machine.id, printer)
        policy = Policy(accept_reopen=options.accept_reopen, writeback=not options.no_writeback)
        question = CheckOptions(offline=options.offline, fixing=True, policy=policy, named=choice.named)
        printer.tell(choice.reports_of_absent(fixing=True))
        if options.dry_run:
            printer.tell(report_checkouts(hub, choice.checkouts, question, progress=printer.progress))
        else:
            fix_options = replace(_fix_options(options, machine, question), pull=pull, notice=printer.notice)
            printer.tell(
                fix_each(hub, choice.checkouts, fix_options, progress=printer.progress), to_the_end=True
            )
    return printer.status


def _fix_options(options: Namespace, machine: Machine, question: CheckOptions) -> FixOptions:
    return FixOptions(
        machine=machine,
        actor=options.actor or current_actor(),
        run_id=str(uuid.uuid4()),
        question=question,
        lock_timeout=options.lock_timeout,
    )


def _moved(options: Namespace, move: Callable[[Mover, HubTask], Moved]) -> int:
    with open_hub(options.hub) as hub:
        task = hub.only_task(options.task, repo=options.repo)
        fix_options = _fix_options(
            options, this_machine(), CheckOptions(offline=options.offline, fixing=True)
        )
        done = move(Mover(hub, fix_options, reason=options.reason), task)
    if done.finding is not None:
        write_lines(report_lines(RepoReport(repo=task.repo, findings=(done.finding,)), Palette(sys.stdout)))
        if _reopened_in_hub(options):
            accept = f"dogfood consistency reopen {shlex.quote(options.task)} --accept"
            say(f"the hub has it, the workplan does not yet; once that can be written: {accept}")
        return REFUSED
    say(f"{done.done} [commit {done.commit[:12]}]" if done.commit else done.done)
    return 0


def _reopened_in_hub(options: Namespace) -> bool:
    return "to" in options and not options.accept


def _require_reason(options: Namespace) -> None:
    if not options.reason.strip():
        raise HubUsageError("say why, for everybody who will wonder: --reason TEXT")
