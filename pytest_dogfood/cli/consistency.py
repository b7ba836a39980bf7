"""The `dogfood consistency` commands, each with its options above it. Each imports what it needs when it runs."""

from __future__ import annotations

import shlex
import sys
import uuid
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_dogfood.cli.console import (
    ACTOR,
    FORMAT,
    REASON,
    TASK,
    Argument,
    Palette,
    hub_commands,
    json_document,
    say,
    write_lines,
)
from pytest_dogfood.consistency.hub.location import current_actor, open_hub, this_machine
from pytest_dogfood.consistency.hub.model import REFUSED, HubUsageError, Status

if TYPE_CHECKING:
    from pytest_dogfood.consistency.check import CheckOptions
    from pytest_dogfood.consistency.fix import FixOptions
    from pytest_dogfood.consistency.hub.model import Event, LoggedWriteback, Machine

COMMANDS = hub_commands(
    "dogfood consistency",
    description="Compare the task blocks of workplans with the hub, and synchronise the two. Only reopen moves\n"
    "a task back.",
)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


OFFLINE = Argument(
    "--offline", action="store_true", help="do not fetch or pull; what was fetched last counts"
)
LOCK_TIMEOUT = Argument(
    "--lock-timeout",
    type=_seconds,
    default=30.0,
    metavar="S",
    help="seconds to wait for another fix of the same checkout (default: 30)",
)
TO_CHECK = (
    Argument(
        "--repo",
        action="append",
        default=[],
        metavar="S",
        help="this repository (repeatable; default: the one around the working directory)",
    ),
    Argument("--all", action="store_true", help="every repository of the hub"),
    OFFLINE,
    Argument("--strict", action="store_true", help="count WARN as FAIL"),
    FORMAT,
)
TO_FIX = (
    *TO_CHECK,
    Argument("--no-writeback", action="store_true", help="never write and commit a workplan"),
    Argument("--dry-run", action="store_true", help="only report what would be done"),
    Argument("--accept-reopen", action="store_true", help="accept reopens that are recorded in a file"),
    LOCK_TIMEOUT,
    ACTOR,
)


@COMMANDS.command(
    "check",
    "report differences, and change nothing",
    *TO_CHECK,
    description="Report differences between workplans and the hub. Nothing is written, except the "
    "remote-tracking branches that are fetched.",
    fixing=False,
)
@COMMANDS.command(
    "fix",
    "synchronise workplans and the hub",
    *TO_FIX,
    description="Move the hub forward to the statuses in workplans, and write the hub's newer statuses into them, one "
    "commit per file. Nothing is pulled or pushed, or written for a repository that is behind its remote.",
    fixing=True,
    pull=False,
)
@COMMANDS.command(
    "sync",
    "git pull --ff-only, then fix",
    *TO_FIX,
    description="Run git pull --ff-only, then fix.",
    fixing=True,
    pull=True,
)
def report(options: Namespace) -> int:
    """Check or fix the checkouts that the options choose, and print each report at once."""
    from pytest_dogfood.cli.consistency_report import ReportPrinter
    from pytest_dogfood.consistency.check import CheckOptions, check as check_each
    from pytest_dogfood.consistency.checkouts import choose
    from pytest_dogfood.consistency.decision import DEFAULT_POLICY, Policy

    readonly = not options.fixing or options.dry_run
    printer = ReportPrinter(as_json=options.format == "json", strict=options.strict)
    with printer, open_hub(options.hub, readonly=readonly) as hub:
        machine = this_machine(create=not readonly)
        if options.all and options.repo:
            raise HubUsageError("--all and --repo contradict each other; leave one of them out")
        choice = choose(hub, machine.id, slugs=options.repo, every=options.all)
        policy = DEFAULT_POLICY
        if options.fixing:
            policy = Policy(accept_reopen=options.accept_reopen, writeback=not options.no_writeback)
        check_options = CheckOptions(
            offline=options.offline, fixing=options.fixing, policy=policy, named=choice.named
        )
        printer.print_reports(choice.reports_of_absent(fixing=options.fixing))
        checkouts = printer.progress.counted(choice.checkouts)
        if readonly:
            printer.print_reports(check_each(hub, checkouts, check_options))
        else:
            from pytest_dogfood.consistency.fix import fix as fix_each

            fix_options = _fix_options(options, machine, check_options)
            fix_options = replace(
                fix_options, pull=options.pull, notice=printer.notice, advance=printer.progress.advance
            )
            printer.print_reports(fix_each(hub, checkouts, fix_options), to_the_end=True)
    return printer.status


def _fix_options(options: Namespace, machine: Machine, check_options: CheckOptions) -> FixOptions:
    from pytest_dogfood.consistency.fix import FixOptions

    return FixOptions(
        machine=machine,
        actor=options.actor or current_actor(),
        run_id=str(uuid.uuid4()),
        check_options=check_options,
        lock_timeout=options.lock_timeout,
    )


@COMMANDS.command(
    "reopen",
    "move a task back, on purpose",
    *TASK,
    REASON,
    OFFLINE,
    LOCK_TIMEOUT,
    Argument("--to", choices=("todo", "in_progress", "blocked"), default="todo", help="default: todo"),
    (
        Argument("--hub-only", action="store_true", help="do not change the workplan"),
        Argument("--accept", action="store_true", help="record the hub's reopen in this checkout"),
    ),
    description="Set an earlier status and count one more reopen, in the hub and in the workplan of this "
    "checkout; with --accept, record in the workplan what was reopened elsewhere.",
)
@COMMANDS.command(
    "resolve",
    "resolve a tie of two statuses of the same rank",
    *TASK,
    REASON,
    OFFLINE,
    LOCK_TIMEOUT,
    Argument("--take", choices=("file", "hub"), required=True, help="the side that wins"),
    description="Resolve a tie: the hub and the workplan have different statuses of the same rank, such as "
    "done and cancelled, and the side you name wins.",
    to=None,
    accept=False,
)
def move(options: Namespace) -> int:
    """Reopen a task, accept a reopen, or resolve a tie, and report the result."""
    from pytest_dogfood.cli.consistency_report import report_lines
    from pytest_dogfood.consistency.check import CheckOptions, RepoReport
    from pytest_dogfood.consistency.moves import DeliberateMoves

    if not options.accept and not options.reason.strip():
        raise HubUsageError("a reason is missing: say why, for the log: --reason TEXT")
    check_options = CheckOptions(offline=options.offline, fixing=True)
    with open_hub(options.hub) as hub:
        task = hub.only_task(options.task, repo=options.repo)
        moves = DeliberateMoves(
            hub, _fix_options(options, this_machine(), check_options), reason=options.reason
        )
        if options.accept:
            moved = moves.accept(task)
        elif options.to:
            moved = moves.reopen(task, Status(options.to), hub_only=options.hub_only)
        else:
            moved = moves.resolve(task, take_file=options.take == "file")
    if moved.finding is None:
        say(f"{moved.message} [commit {moved.commit[:12]}]" if moved.commit else moved.message)
        return 0
    write_lines(report_lines(RepoReport(repo=task.repo, findings=(moved.finding,)), Palette(sys.stdout)))
    if options.to and not options.accept:
        accept = f"dogfood consistency reopen {shlex.quote(options.task)} --accept"
        say(
            f"the task is reopened in the hub, but not yet in the workplan; once that can be written: {accept}"
        )
    return REFUSED


@COMMANDS.command(
    "log",
    "print every change of a status, and its reason",
    Argument("--task", metavar="ID", help="only this task's"),
    Argument("--repo", metavar="S", help="only this repository's"),
    Argument("--regressions", action="store_true", help="only events that lower the rank"),
    FORMAT,
    description="Print the event log of the hub, and the statuses that commits wrote from the hub into workplans. "
    "With --regressions, only events that lowered a rank: each is a reopen or was resolved, and has a reason.",
)
def log(options: Namespace) -> int:
    from pytest_dogfood.cli.consistency_report import log_entry_in_json, log_line

    with open_hub(options.hub, readonly=True) as hub:
        hub.require_repo(options.repo)
        task = hub.only_task(options.task, repo=options.repo).id if options.task else None
        events = hub.events(task, repo=options.repo, regressions=options.regressions)
        writebacks = () if options.regressions else hub.writebacks(task, repo=options.repo)
        tasks = {each.id: each for each in hub.tasks(options.repo)}
    if options.format == "json":
        say(
            json_document(
                events=[log_entry_in_json(event, tasks[event.task]) for event in events],
                writebacks=[log_entry_in_json(each, tasks[each.task]) for each in writebacks],
            )
        )
    else:
        # In the same second the event comes first: files follow the hub.
        entries: Iterator[Event | LoggedWriteback] = merge(events, writebacks, key=attrgetter("at"))
        write_lines(log_line(entry, tasks[entry.task]) for entry in entries)
    return 0
