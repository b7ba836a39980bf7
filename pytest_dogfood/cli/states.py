"""The command `dogfood enter`: a shell, or a command, in the place of a step, in a new run or a copy of a kept one."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dogfood.cli.console import Argument, complain
from pytest_dogfood.cli.journeys import USAGE, positive
from pytest_dogfood.cli.reports import COMMANDS
from pytest_dogfood.diagnostics import HarnessError, counted

if TYPE_CHECKING:
    from pytest_dogfood.journey import Journey
    from pytest_dogfood.session.check_plugin import Inspection

__all__ = ["COMMANDS"]


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
        metavar="RUN",
        help="in a copy of what this run has kept, by its id or directory, instead of in a new run",
    ),
    Argument("words", nargs="*", default=(), metavar="-- COMMAND", help="run this there instead of a shell"),
    description="Set up what a journey requires, run it up to a step, and open your shell there, in the directory "
    "and with the environment of the step. In it, dogfood-step runs the step's command. When you leave the shell, the "
    "journey is cleaned up, and what was set up is released. With --run nothing is run: the shell opens in a copy "
    "of the directories that a failed run has kept. Exit status: that of the shell or command; "
    "1 if the step was not reached, or clean-up failed; 4 for a refusal.",
)
def enter(options: Namespace) -> int:
    if not (options.words or options.rest or os.isatty(0)):
        complain("dogfood enter: there is no terminal for a shell: name a command, as in -- ls -l")
        return USAGE
    try:
        return _enter_kept(options) if options.run else _enter_anew(options)
    except HarnessError as error:
        complain(f"dogfood enter: {error}")
        return USAGE


def _enter_kept(options: Namespace) -> int:
    from pytest_dogfood.execution.interruption import SignalHandlers
    from pytest_dogfood.execution.terminal import Entrance
    from pytest_dogfood.storage.kept_state import KeptState, entered_copy
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import find_run

    if options.step is not None or options.after:
        raise HarnessError("a kept run is as it was at the end of the journey: leave --step and --after out")
    recorded = read_run(find_run(options.run, Path.cwd()))
    _refuse_python(options.journey)
    kept = KeptState(recorded, options.journey, here=Path.cwd())
    entrance = Entrance(
        journey=kept.journey.id, step=kept.step, after=True, command=(*options.words, *options.rest)
    )

    def answer(*_: object) -> None:
        raise KeyboardInterrupt

    handlers = SignalHandlers(answer)
    handlers.install()
    try:
        with entered_copy(kept) as place:
            entrance.open(place, kept.banner(place))
    finally:
        handlers.restore()
    return entrance.status or 0


def _enter_anew(options: Namespace) -> int:
    from pytest_dogfood.cli.entrance import run_up_to
    from pytest_dogfood.execution.terminal import Entrance
    from pytest_dogfood.session.check_plugin import inspect

    found = inspect()
    if (
        found.rootdir.is_absolute() and found.rootdir != Path.cwd()
    ):  # a journey is found by its id from any directory of the project
        found = inspect([str(found.rootdir)])
    if found.report is None or found.selection is None:
        return found.status
    if not found.report.is_valid:
        from pytest_dogfood.check.report import to_lines

        complain(*to_lines(found.report))
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
    from pytest_dogfood.storage.kept_state import near_journeys

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
    from pytest_dogfood.storage.kept_state import last_try
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import find_run

    try:
        tried = last_try(read_run(find_run(None, found.rootdir, found.state_root)), journey.id)
    except HarnessError:  # no run is left here, or a newer version has written it
        return 1
    ended = tried.steps[-1:] if tried is not None and tried.outcome.is_bad else ()
    number = ended[0].number if ended else 1
    return number if number <= len(journey.steps) else 1
