"""The `dogfood` commands on runs that are over: report and merge."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dogfood.cli.console import Argument, Palette, complain, say, write_lines
from pytest_dogfood.cli.journeys import COLOURS, COMMANDS, OK, USAGE
from pytest_dogfood.diagnostics import HarnessError

if TYPE_CHECKING:
    from pytest_dogfood.report.merge import Merged
    from pytest_dogfood.storage.record import RecordedRun

__all__ = ["COMMANDS"]


@COMMANDS.command(
    "report",
    "show what a run came to, for people and for programs",
    Argument(
        "run",
        nargs="?",
        metavar="RUN|FILE",
        help="directory or id of a run, or a pack (default: the last run of this project)",
    ),
    Argument("-o", "--output", metavar="FILE", help="write there instead of to the terminal"),
    Argument("--against", metavar="RUN|FILE", help="compare with this run, or with a report of it as JSON"),
    Argument(
        "--format",
        choices=("html", "markdown", "json", "trace", "github"),
        help="default: what the ending of FILE says, else markdown",
    ),
    description="Write a report of a run: what went wrong at its roots, what that kept from running, what has changed "
    "since the last green run, the timeline, and each journey with its steps. Of a run that passed only the record is "
    "kept, so the outputs of its steps are not in it; pytest --dogfood --dogfood-report FILE has them.",
)
def report(options: Namespace) -> int:
    from pytest_dogfood.report.formats import FORMATS, format_of, read_reference
    from pytest_dogfood.report.overview import view_of
    from pytest_dogfood.storage.files import write_for_others

    chosen = options.format or (format_of(Path(options.output)) if options.output else "markdown")
    try:
        reference = read_reference(options.against, Path.cwd()) if options.against else None
        with _opened(options.run) as recorded:
            text = FORMATS[chosen](view_of(recorded, reference), recorded.graph)
        if options.output is None:
            say(text.rstrip("\n"))
        else:
            write_for_others(Path(options.output), text.encode(errors="replace"))
            say(f"wrote {options.output}")
    except HarnessError as error:
        complain(f"dogfood report: {error}")
        return USAGE
    return OK


def _opened(name: str | None) -> AbstractContextManager[RecordedRun]:
    """Return the record of a run, or of the pack in a file; raises HarnessError if it cannot be read."""
    if name is not None and Path(name).is_file():
        from pytest_dogfood.kept_runs.copies import opened_pack

        return opened_pack(Path(name))
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import find_run

    return nullcontext(read_run(find_run(name, Path.cwd())))


WRITTEN = (
    Argument("--junit", metavar="FILE", help="write one JUnit file for the whole run"),
    Argument("--json", metavar="FILE", help="write the merged run as JSON"),
    Argument(
        "--report", metavar="FILE", help="write a report of the merged run, as pytest --dogfood-report does"
    ),
    Argument("--durations", metavar="FILE", help="write durations to commit, as dogfood-durations.json"),
)
"""The files that can be written of a merged run."""


@COMMANDS.command(
    "merge",
    "put the manifests of all shards together",
    Argument("manifests", nargs="+", metavar="MANIFEST", help="dogfood-shard-I-of-N.json of each shard"),
    *WRITTEN,
    description="Put together what the shards of one run have written, and say what is missing, what ran "
    "twice and where a gate was decided differently. Exit status 1 if anything failed or is missing.",
)
def merge_shards(options: Namespace) -> int:
    from pytest_dogfood.report.manifest import read_manifest
    from pytest_dogfood.report.merge import ShardsDisagreeError, merge

    manifests = []
    for name in options.manifests:
        try:
            manifests.append(read_manifest(Path(name)))
        except (OSError, ValueError) as error:
            complain(f"dogfood merge: {name}: {error.strerror if isinstance(error, OSError) else error}")
    if len(manifests) < len(options.manifests):
        return USAGE
    try:
        return write_merged(merge(manifests), options)
    except (ShardsDisagreeError, HarnessError) as error:
        complain(f"dogfood merge: {error}")
        return USAGE


def write_merged(merged: Merged, options: Namespace) -> int:
    """Write the files that were asked for, say what went wrong, and return the exit status of the whole run.

    Raises HarnessError if a file cannot be written.
    """
    from pytest_dogfood.report.merge import merged_run, to_json, to_junit, to_lines
    from pytest_dogfood.session.durations import write_durations
    from pytest_dogfood.storage.files import write_for_others

    if options.junit:
        write_for_others(Path(options.junit), to_junit(merged))
    if options.json:
        content = json.dumps(to_json(merged), indent=2)
        write_for_others(Path(options.json), content.encode() + b"\n")
    if options.report:
        from pytest_dogfood.report.formats import FORMATS, format_of
        from pytest_dogfood.report.overview import view_of

        recorded = merged_run(merged)
        text = FORMATS[format_of(Path(options.report))](view_of(recorded), recorded.graph)
        write_for_others(Path(options.report), text.encode(errors="replace"))
    if options.durations:
        known = merged.manifests[0].expected.shards
        write_durations(Path(options.durations), merged.durations(), known=tuple(known))
    palette, colour = Palette(sys.stdout), COLOURS["error" if merged.exit_status else "passed"]
    *lines, closing_line, counts = to_lines(merged)
    write_lines([*lines, palette.paint(closing_line, colour), palette.paint(counts, colour)])
    return merged.exit_status
