"""The `dogfood` command line."""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version

from pytest_dogfood.cli import journeys
from pytest_dogfood.cli.streams import NOBODY_READS, OutputLostError, watched
from pytest_dogfood.diagnostics import did_you_mean

_OF_THE_HUB: Mapping[str, str] = {
    "hub": "set up the task database and look into it",
    "consistency": "keep workplans and the hub in step, never back",
}
"""Commands whose modules are imported only for them, and whose exit statuses are their own."""

EPILOG = """\
exit status: 0 ok, 1 failures in the merged run, 4 invalid project or usage (as in pytest), 130 interrupted,
141 the reader of the output is gone. hub and consistency have their own: see dogfood hub --help.
Journeys are run by pytest itself: pytest --dogfood -n auto
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives its exit status."""
    if arguments is not None:
        return _ended(arguments)
    # The process is ours, and short: it makes much and drops little, so the collector need not look so often.
    gc.set_threshold(50_000)
    given = sys.argv[1:]
    try:
        with watched():
            return _ended(given)
    except OutputLostError as error:
        return _without_output(error, given)
    except KeyboardInterrupt:  # while the last output waited for its reader
        return journeys.INTERRUPTED


def _ended(given: Sequence[str]) -> int:
    parser = _hub_parser() if _is_of_the_hub(given) else _parser()
    options = parser.parse_args(given)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return journeys.INTERRUPTED


def _is_of_the_hub(given: Sequence[str]) -> bool:
    return bool(given) and given[0] in _OF_THE_HUB


def _without_output(error: OutputLostError, given: Sequence[str]) -> int:
    if error.nobody_reads:
        return NOBODY_READS
    with suppress(OSError):  # no standard error either: the status has to do
        os.write(2, f"dogfood: cannot write to standard output: {error}; what was done stays done\n".encode())
    if not _is_of_the_hub(given):
        return journeys.USAGE
    from pytest_dogfood.consistency.hub.model import USAGE  # the other commands need nothing of the hub

    return USAGE


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes end with pytest's status for usage errors."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it never returns, as the original
        self.print_usage(sys.stderr)
        self.exit(journeys.USAGE, f"{self.prog}: error: {message}{_suggestion(message)}\n")


def _suggestion(message: str) -> str:
    """Read from argparse's own words what was typed and what could have been; that is all it tells us."""
    wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
    near = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else ""
    return f"; {near}" if near else ""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dogfood",
        description="See the graph of your journeys before you run it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pytest-dogfood {version('pytest-dogfood')}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_check(verbs)
    _add_graph(verbs)
    _add_schema(verbs)
    _add_new(verbs)
    _add_explain(verbs)
    _add_merge(verbs)
    for name, help_text in _OF_THE_HUB.items():
        verbs.add_parser(name, help=help_text)
    return parser


def _hub_parser() -> argparse.ArgumentParser:
    from pytest_dogfood.cli.consistency import add_consistency_commands
    from pytest_dogfood.cli.console import HubParser
    from pytest_dogfood.cli.hub import add_hub_commands

    parser = HubParser(prog="dogfood")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=HubParser)
    add_hub_commands(verbs)
    add_consistency_commands(verbs)
    return parser


SubParsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for what add_subparsers gives


def _add_check(verbs: SubParsers[_Parser]) -> None:
    check = verbs.add_parser(
        "check",
        help="validate the journey files and print the plan",
        description="Validate the journey files and print the plan. No step, probe or provider is run, and "
        "Python tests are not collected; pytest --dogfood --dogfood-check looks at those too.",
    )
    check.set_defaults(command=journeys.check)
    _paths(check)
    check.add_argument("-n", "--workers", type=_positive, default=1, metavar="N", help="plan for N workers")
    check.add_argument("--shard", default="", metavar="I/N", help="plan part I of N, as --dogfood-shard does")
    check.add_argument("--strict", action="store_true", help="count warnings as errors")
    check.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def _add_graph(verbs: SubParsers[_Parser]) -> None:
    graph = verbs.add_parser(
        "graph",
        help="draw who establishes what for whom",
        description="Draw the graph: tiers, chains, tokens, providers and the critical path.",
    )
    graph.set_defaults(command=journeys.graph)
    _paths(graph)
    graph.add_argument(
        "--format",
        choices=("text", "mermaid", "dot", "json", "svg"),
        help="default: what the ending of FILE says, else text",
    )
    graph.add_argument("--focus", metavar="ID", help="only what this journey needs and enables")
    graph.add_argument("--tests", action="store_true", help="collect Python tests too")
    graph.add_argument("-o", "--output", metavar="FILE", help="write there instead of to the terminal")


def _add_schema(verbs: SubParsers[_Parser]) -> None:
    schema = verbs.add_parser(
        "schema",
        help="print the JSON Schema for editors",
        description="Print the JSON Schema of journey files, or of dogfood.yaml, for your editor.",
    )
    schema.set_defaults(command=journeys.schema)
    schema.add_argument("file", nargs="?", choices=("journey", "dogfood"), default="journey")


def _add_new(verbs: SubParsers[_Parser]) -> None:
    new = verbs.add_parser(
        "new",
        help="write a commented template",
        description="Write a commented template to fill in. An existing file is never overwritten.",
    )
    new.set_defaults(command=journeys.new)
    new.add_argument("kind", choices=("journey", "capability", "project"))
    new.add_argument("name", nargs="?", help="the journey's id, the token, or the project's directory")
    new.add_argument("--directory", default=".", metavar="DIR", help="where to write (default: here)")


def _add_explain(verbs: SubParsers[_Parser]) -> None:
    explain = verbs.add_parser(
        "explain",
        help="say why a journey is where it is",
        description="Say what a journey needs, who brings it, in which state and on which shard it runs; "
        "with --run, also what became of it in a run that was kept.",
    )
    explain.set_defaults(command=journeys.explain)
    explain.add_argument("id", metavar="ID", help="a journey's id or node id, or a token")
    _paths(explain)
    explain.add_argument("--shard", default="", metavar="I/N", help="look at part I of N")
    explain.add_argument(
        "--run", metavar="DIR", help="directory of a kept run, as pytest --dogfood prints it"
    )


def _add_merge(verbs: SubParsers[_Parser]) -> None:
    merge = verbs.add_parser(
        "merge",
        help="put the manifests of all shards together",
        description="Put together what the shards of one run have written, and say what is missing, what ran "
        "twice and where a gate was decided differently. Exit status 1 if anything failed or is missing.",
    )
    merge.set_defaults(command=journeys.merge)
    merge.add_argument(
        "manifests", nargs="+", metavar="MANIFEST", help="dogfood-shard-I-of-N.json of each shard"
    )
    merge.add_argument("--junit", metavar="FILE", help="write one JUnit file for all shards")
    merge.add_argument("--json", metavar="FILE", help="write the merged run as JSON")
    merge.add_argument(
        "--durations", metavar="FILE", help="write durations to commit, as dogfood-durations.json"
    )


def _paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files or directories (default: the project)"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)
