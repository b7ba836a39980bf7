"""The commands on states: `enter` opens a shell in one, `pack` takes it elsewhere, `cache` lists those to restore."""

from __future__ import annotations

import os
import re
import shlex
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dogfood.cli.console import Argument, complain, print_table, say, signals_as_interrupts
from pytest_dogfood.cli.journeys import OK, USAGE, positive
from pytest_dogfood.cli.reports import COMMANDS
from pytest_dogfood.diagnostics import HarnessError, counted, printable, seconds_in_words

if TYPE_CHECKING:
    from pytest_dogfood.check.report import Report
    from pytest_dogfood.execution.terminal import StepPlace
    from pytest_dogfood.journey import Journey
    from pytest_dogfood.kept_runs.kept_state import Project
    from pytest_dogfood.kept_runs.pack import PackContent, PackIndex
    from pytest_dogfood.session.check_plugin import Inspection

__all__ = ["COMMANDS"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size(text: str) -> int:
    """Return the bytes of a size that was typed, such as 500MB; raises ArgumentTypeError for any other text."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMGT]?)B?", text.upper(), re.ASCII)
    if found is None or not float(found[1]):
        raise ArgumentTypeError(f"expected a size such as 500MB or 2GB, not {text!r}")
    return max(1, int(float(found[1]) * _UNITS[found[2]]))


@COMMANDS.command(
    "enter",
    "open a shell in the place of a journey's step",
    Argument("journey", metavar="JOURNEY", help="a journey's id, or its node id"),
    Argument(
        "--step",
        type=positive,
        metavar="N",
        help="the step (default: the one that failed last, else the first)",
    ),
    Argument("--after", action="store_true", help="after the step, instead of before it"),
    Argument(
        "--run",
        metavar="RUN|FILE",
        help="in a copy of what this run has kept, by its id or directory, or of a pack, instead of in a new run",
    ),
    Argument(
        "--start-services",
        action="store_true",
        help="with --run, start the services that the journey needs anew",
    ),
    Argument(
        "--limit", type=size, metavar="SIZE", help="with a pack, the most that it may hold (default: 500MB)"
    ),
    Argument("words", nargs="*", default=(), metavar="-- COMMAND", help="run this there instead of a shell"),
    description="Set up what a journey requires, run it up to a step, and open your shell there, in the directory "
    "and with the environment of the step. In it, dogfood-step runs the step's command. When you leave the shell, the "
    "journey is cleaned up, and what was set up is released. With --run nothing is run: the shell opens in a copy "
    "of the directories that a failed run has kept, or that dogfood pack has written to FILE. "
    "Exit status: that of the shell or command; 1 if the step was not reached, or clean-up failed; 4 for a refusal.",
)
def enter(options: Namespace) -> int:
    if not (options.words or options.rest or os.isatty(0)):
        complain("dogfood enter: there is no terminal for a shell: name a command, as in -- ls -l")
        return USAGE
    if options.start_services and not options.run:
        complain(
            "dogfood enter: a new run starts services by itself: leave --start-services out, or add --run"
        )
        return USAGE
    try:
        return _enter_kept(options) if options.run else _enter_anew(options)
    except HarnessError as error:
        complain(f"dogfood enter: {error}")
        return USAGE


@COMMANDS.command(
    "pack",
    "write what a run has kept to one file, to enter it elsewhere",
    Argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="directory or id of a run (default: the last one of this project)",
    ),
    Argument("-o", "--output", metavar="FILE", help="write there (default: dogfood-RUN.tar.gz)"),
    Argument("--all", action="store_true", help="also what has not failed, as far as the run has kept it"),
    Argument(
        "--limit",
        type=size,
        default="500MB",
        metavar="SIZE",
        help="refuse to pack more (default: 500MB)",
    ),
    Argument(
        "--leave-out",
        action="store_true",
        help="leave files out that may hold a secret or cannot be read, instead of refusing to pack",
    ),
    description="Write the record of a run, the outputs of its steps, and the states and working directories of what "
    "has failed to a compressed tar file. dogfood enter JOURNEY --run FILE opens a shell in it, on any machine with a "
    "checkout of the project. Secrets are masked, as in all that is kept. Exit status: 4 for a refusal.",
)
def pack(options: Namespace) -> int:
    from pytest_dogfood.kept_runs.pack import content_of, write_pack
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import held_run

    try:
        run = _find_run(options.run)
        target = Path(options.output or f"dogfood-{run.resolve().name}.tar.gz")
        with signals_as_interrupts(), held_run(run):
            content = content_of(read_run(run), everything=options.all)
            _refuse(content, options)
            index = write_pack(content, target, leave_out=options.leave_out)
    except HarnessError as error:
        complain(f"dogfood pack: {error}")
        return USAGE
    _describe(content, index, target)
    return OK


@COMMANDS.command(
    "cache",
    "show the states that are restored instead of provisioned",
    Argument("--clear", action="store_true", help="remove them all"),
    description="List the states in the cache of this project, those used last first: when each was used last, its "
    "size, when it was provisioned, how long that took, and its tokens. Only tokens with inputs are cached. "
    "Exit status: 4 for a cache that cannot be used.",
)
def cache(options: Namespace) -> int:
    from pytest_dogfood.kept_runs.pack import in_megabytes
    from pytest_dogfood.provisioning.state_cache import StateCache, cache_directory, used_ago

    found = _inspect()
    if not found.rootdir.is_absolute():  # pytest has refused the settings, and said why
        return USAGE
    try:
        directory = cache_directory(found.settings, found.rootdir, os.environ)
        states = StateCache(directory, limit=found.settings.cache_limit)
        if options.clear:
            say(f"removed {counted(states.clear(), 'state')} from {directory}")
            return OK
        entries, now = states.entries(), time.time()
    except HarnessError as error:
        complain(f"dogfood cache: {error}")
        return USAGE
    total = sum(entry.bytes for entry, _ in entries)
    limit = in_megabytes(found.settings.cache_limit)
    say(f"{directory}: {counted(len(entries), 'state')}, {in_megabytes(total)} of at most {limit}")
    rows = [
        (
            used_ago(now - used),
            in_megabytes(entry.bytes),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.made)),
            seconds_in_words(entry.seconds),
            ", ".join(one.token for one in entry.tokens),
        )
        for entry, used in entries
    ]
    if rows:
        print_table([("USED", "SIZE", "PROVISIONED", "TOOK", "TOKENS"), *rows], nothing="")
    return OK


def _find_run(name: str | None) -> Path:
    """Return the directory of a run, also where the project sets another place for runs; raises HarnessError."""
    from pytest_dogfood.storage.retention import find_run

    try:
        return find_run(name, Path.cwd())
    except HarnessError:
        found = _inspect()  # it takes longer, and most projects set none
        if found.state_root is None:
            raise
        return find_run(name, found.rootdir, found.state_root)


def _refuse(content: PackContent, options: Namespace) -> None:
    """Raise HarnessError if a run must not be packed with these options."""
    from pytest_dogfood.kept_runs.pack import in_megabytes

    if content.refused and not options.leave_out:
        files = sorted(f"  {printable(one.shown)}: {printable(one.why)}" for one in content.refused.values())
        what = f"{counted(len(files), 'path')} cannot be packed; --leave-out packs everything else"
        raise HarnessError("\n".join([f"{what}:", *_first(files)]))
    if content.size > options.limit:
        sizes = [
            f"  {printable(one.name)}: {in_megabytes(one.size)}" for one in content.largest(5) if one.size
        ]
        enough = f"{-(-content.size // 10**6)}MB"
        what = f"there are {in_megabytes(content.size)} to pack, more than {in_megabytes(options.limit)}"
        raise HarnessError(
            "\n".join(
                [f"{what}; remove what is not needed, or say --limit {enough}. The largest files:", *sizes]
            )
        )


def _describe(content: PackContent, index: PackIndex, target: Path) -> None:
    """Tell what was packed, and how to enter it."""
    from pytest_dogfood.kept_runs.pack import in_megabytes

    what = ", ".join(["the record", *content.parts])
    say(f"wrote {target} ({in_megabytes(target.stat().st_size)}): {what}")
    for line in _first([f"left out: {name}, because {why}" for name, why in index.left_out.items()]):
        say(line)
    for journey in content.journeys[:1]:
        say(f"shell:    dogfood enter {shlex.quote(journey)} --run {shlex.quote(str(target))}")
    if not content.journeys:
        say("no shell: a run keeps the directories of what fails; pytest --dogfood --dogfood-keep keeps all")


def _first(lines: list[str]) -> list[str]:
    """Return the first lines of many, and how many are left."""
    more = len(lines) - _MOST_SHOWN
    return [*lines[:_MOST_SHOWN], *([f"and {more} more"] if more > 0 else [])]


_MOST_SHOWN = 20
"""Lines about files in one message."""


def _enter_kept(options: Namespace) -> int:
    from pytest_dogfood.execution.terminal import Entrance
    from pytest_dogfood.kept_runs.copies import entered_copy, entered_pack
    from pytest_dogfood.kept_runs.kept_state import KeptState
    from pytest_dogfood.kept_runs.pack import DEFAULT_LIMIT
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import find_run

    if options.step is not None or options.after:
        raise HarnessError("a kept run is as it was at the end of the journey: leave --step and --after out")
    _refuse_python(options.journey)
    place_of: AbstractContextManager[tuple[KeptState, StepPlace]]
    if Path(options.run).is_file():
        place_of = entered_pack(
            Path(options.run),
            options.journey,
            _project_here(),
            limit=DEFAULT_LIMIT if options.limit is None else options.limit,
            services=options.start_services,
        )
    else:
        if options.limit is not None:
            raise HarnessError(f"--limit is for packs, and {options.run} is no file: leave it out")
        kept = KeptState(read_run(find_run(options.run, Path.cwd())), options.journey, here=Path.cwd())
        place_of = entered_copy(kept, services_of=_project_here() if options.start_services else None)

    with signals_as_interrupts(), place_of as (kept, place):
        entrance = Entrance(
            journey=kept.journey.id, step=kept.step, after=True, command=(*options.words, *options.rest)
        )
        entrance.open(place, kept.banner(place))
    return entrance.status or 0


def _project_here() -> Project:
    """Return the project here; raises HarnessError if its files are not valid, which it shows."""
    from pytest_dogfood.kept_runs.kept_state import Project

    found = _inspect()
    if found.report is not None and not found.report.is_valid:
        _show(found.report)
    if found.selection is None or found.report is None or not found.report.is_valid:
        raise HarnessError("the project here is not valid, as shown above: correct it first")
    return Project(rootdir=found.rootdir, graph=found.selection.graph, settings=found.settings)


def _inspect() -> Inspection:
    """Collect the whole project here: a journey is found by its id from any directory of it."""
    from pytest_dogfood.session.check_plugin import inspect

    found = inspect()
    if found.rootdir.is_absolute() and found.rootdir != Path.cwd():
        return inspect([str(found.rootdir)])
    return found


def _show(report: Report) -> None:
    from pytest_dogfood.check.report import to_lines

    complain(*to_lines(report))


def _enter_anew(options: Namespace) -> int:
    from pytest_dogfood.cli.entrance import run_up_to
    from pytest_dogfood.execution.terminal import Entrance

    found = _inspect()
    if found.report is None or found.selection is None:
        return found.status
    if not found.report.is_valid:
        _show(found.report)
        return USAGE
    journeys = [one for one in found.selection.graph.journeys.values() if not one.python]
    journey = _look_up(options.journey, journeys, found.rootdir)
    step = options.step or _failed_last(journey, found)
    if step > len(journey.steps):
        raise HarnessError(
            f"{journey.id} has no step {step}, because it has {counted(len(journey.steps), 'step')}"
        )
    entrance = Entrance(
        journey=journey.id, step=step, after=options.after, command=(*options.words, *options.rest)
    )
    ids = {one.id for one in journeys}
    return run_up_to(entrance, found.rootdir / journey.path, journey.nodeid[len(journey.path) :], ids)


def _refuse_python(name: str) -> None:
    if name.partition("::")[0].endswith(".py"):
        raise HarnessError(
            f"{name} is a Python test, which has no steps: pytest --pdb opens a debugger in it"
        )


def _look_up(name: str, journeys: Sequence[Journey], rootdir: Path) -> Journey:
    """Return the journey of this id, or node id, from the rootdir or from here; raises HarnessError for any other."""
    from pytest_dogfood.kept_runs.kept_state import near_journeys

    _refuse_python(name)
    path, separator, rest = name.partition("::")
    from_root = f"{os.path.relpath(path, rootdir)}{separator}{rest}"
    for journey in journeys:
        if journey.id == name or journey.nodeid in (name, from_root):
            return journey
    raise HarnessError(
        f"no journey {name!r}; {near_journeys(name, journeys) or 'dogfood check lists the journeys'}"
    )


def _failed_last(journey: Journey, found: Inspection) -> int:
    """Return the number of the step that failed in the last run of the project; 1 if none did, or it is gone."""
    from pytest_dogfood.kept_runs.kept_state import last_try
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import find_run

    try:
        tried = last_try(read_run(find_run(None, found.rootdir, found.state_root)), journey.id)
    except HarnessError:  # no run is left here, or a newer version has written it
        return 1
    ended = tried.steps[-1:] if tried is not None and tried.outcome.is_bad else ()
    number = ended[0].number if ended else 1
    return number if number <= len(journey.steps) else 1
