"""The `dogfood` commands for journeys, each with its options above it."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from argparse import ArgumentTypeError, Namespace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_dogfood.cli.console import FORMAT, Argument, CommandGroup, Palette, complain, say, write_lines
from pytest_dogfood.diagnostics import HarnessError, did_you_mean
from pytest_dogfood.journey import TOKEN_PATTERN, base_of
from pytest_dogfood.settings import is_script

OK = 0
USAGE = 4
"""Exit status for errors that the user must correct, as in pytest."""

COLOURS = {"error": "31", "warning": "33", "passed": "32"}
_NOTATIONS = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".json": "json"}
"""The format of a drawing in a file with this ending."""

COMMANDS = CommandGroup(
    "dogfood",
    usage_status=USAGE,
    description="See the graph of your journeys before you run it.",
    epilog="""\
exit status: 0 ok, 1 failures in the merged run, 4 invalid project or usage, 5 nothing to check (as in pytest),
130 interrupted, 141 the reader of the output is gone. hub, consistency and fleet have their own: dogfood hub --help.
Journeys are run by pytest itself: pytest --dogfood -n auto
""",
)
COMMANDS.parser.add_argument(
    "--version", action="version", version=f"pytest-dogfood {version('pytest-dogfood')}"
)
COMMANDS.subparsers.required = True

PATHS = Argument("paths", nargs="*", metavar="PATH", help="files or directories (default: the project)")


def positive(text: str) -> int:
    """Return a number that was typed as the value of an option; raises ArgumentTypeError for any other text."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)


@COMMANDS.command(
    "check",
    "validate the journey files and print the plan",
    PATHS,
    Argument("-n", "--workers", type=positive, default=1, metavar="N", help="plan for N workers"),
    Argument("--shard", default="", metavar="I/N", help="plan part I of N, as --dogfood-shard does"),
    Argument("--strict", action="store_true", help="count warnings as errors"),
    FORMAT,
    description="Validate the journey files and print the plan. No step, probe or provider is run, and "
    "Python tests are not collected; pytest --dogfood --dogfood-check looks at those too.",
)
def check(options: Namespace) -> int:
    from pytest_dogfood.session.check_plugin import format_report, inspect

    palette = Palette(sys.stdout)

    def paint(severity: str, text: str) -> str:
        return palette.paint(text, COLOURS.get(severity, ""))

    found = inspect(options.paths, workers=options.workers, shard=options.shard, strict=options.strict)
    if found.report is None:
        return found.status
    as_json = options.format == "json"
    write_lines(format_report(found.report, as_json=as_json, paint=paint))
    if as_json and found.report.nothing:
        complain(f"dogfood check: nothing to check: {found.report.nothing}")
    elif found.uncollected_tests and not found.report.nothing:
        complain("dogfood check: Python tests were not checked; pytest --dogfood-check does that")
    return found.status


@COMMANDS.command(
    "graph",
    "draw what establishes and requires which token",
    PATHS,
    Argument(
        "--format",
        choices=("text", "mermaid", "dot", "json", "svg"),
        help="default: by the ending of FILE, else text",
    ),
    Argument(
        "--focus",
        metavar="ID",
        help="only what this journey needs and enables, or what concerns this token",
    ),
    Argument("--tests", action="store_true", help="collect Python tests too"),
    Argument("-o", "--output", metavar="FILE", help="write there instead of to the terminal"),
    description="Draw the graph: tiers, chains, tokens, providers and the critical path.",
)
def graph(options: Namespace) -> int:
    from pytest_dogfood.check.report import to_lines
    from pytest_dogfood.drawing.formats import render
    from pytest_dogfood.drawing.picture import focus, picture_of
    from pytest_dogfood.session.check_plugin import inspect

    found = inspect(options.paths, with_tests=options.tests)
    if found.report is None or found.selection is None:
        return found.status
    if not found.report.is_valid:
        complain(*to_lines(found.report))
        return USAGE
    if found.uncollected_tests:
        complain("dogfood graph: without Python tests; --tests draws them too")
    try:
        picture = picture_of(found.selection.graph, found.report)
        if options.focus:
            picture = focus(picture, options.focus)
        text = render(picture, options.format or _NOTATIONS.get(Path(options.output or "").suffix, "text"))
    except (LookupError, ValueError) as error:
        complain(f"dogfood graph: {error}")
        return USAGE
    if options.output is None:
        say(text.rstrip("\n"))
        return OK
    try:
        Path(options.output).write_text(text, encoding="utf-8")
    except OSError as error:
        complain(f"dogfood graph: cannot write {options.output}: {error.strerror}")
        return USAGE
    return OK


@COMMANDS.command(
    "schema",
    "print the JSON Schema for editors",
    Argument("file", nargs="?", choices=("journey", "dogfood"), default="journey"),
    description="Print the JSON Schema of journey files, or of dogfood.yaml, for your editor.",
)
def schema(options: Namespace) -> int:
    from pytest_dogfood.fileformat.json_schema import journey_schema, render, settings_schema

    say(render(journey_schema() if options.file == "journey" else settings_schema()).rstrip("\n"))
    return OK


@COMMANDS.command(
    "new",
    "write a commented template",
    Argument("kind", choices=("journey", "script", "capability", "project", "skill")),
    Argument(
        "name", nargs="?", help="the journey's id, the token, the project's directory, or the skill's name"
    ),
    Argument("--directory", default=".", metavar="DIR", help="where to write (default: here)"),
    description="Write a commented template to fill in; a skill is a page that tells a coding agent how to work with "
    "journeys. An existing file is never overwritten.",
)
def new(options: Namespace) -> int:
    directory = Path(options.directory)
    if options.kind in {"journey", "script", "skill"}:
        name = options.name or ("dogfood" if options.kind == "skill" else "")
        if not _KEBAB_CASE.fullmatch(name):
            named = f"{name!r} is not in kebab-case" if name else "name the journey's id"
            complain(f"dogfood new {options.kind}: {named}: write {_in_kebab_case(name or 'log-in')!r}")
            return USAGE
        file, make = {
            "journey": (f"{name}.journey.yaml", journey_template),
            "script": (f"{name}.journey.sh", script_template),
            "skill": (f"{name}/SKILL.md", skill_template),
        }[options.kind]
        files = {file: make(name)}
        following = f"pytest --dogfood {shlex.quote(str(directory / file))}"
        if options.kind == "skill":
            following = "move the directory to where your coding agent looks for skills, or name the file in AGENTS.md"
    elif options.kind == "capability":
        if not TOKEN_PATTERN.fullmatch(options.name or ""):
            named = f"{options.name!r} is not in kebab-case" if options.name else "name the token"
            complain(
                f"dogfood new capability: {named}: write {_in_kebab_case(options.name or 'logged-in')!r}"
            )
            return USAGE
        if base_of(options.name) != options.name:
            complain(
                f"dogfood new capability: {options.name!r} is one instance; all instances are defined together, "
                f"as {str(base_of(options.name))!r}"
            )
            return USAGE
        files = {"dogfood.yaml": capability_template(options.name)}
        following = f"write `requires: [{options.name}]` in a journey, then: dogfood check"
        if (directory / "dogfood.yaml").exists():
            status = _write_new(directory, files)
            complain("put this under its 'capabilities:'")
            say(files["dogfood.yaml"].partition("capabilities:\n")[2].rstrip("\n"))
            return status
    else:
        directory /= options.name or "."
        files = project_files()
        there = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
        following = f"{there}pytest --dogfood"
    status = _write_new(directory, files)
    if status == OK:
        say(f"next: {following}")
    return status


_KEBAB_CASE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _in_kebab_case(name: str) -> str:
    """Return the nearest name in kebab-case, or an example if nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "log-in"


def _write_new(directory: Path, files: dict[str, str]) -> int:
    there = [str(directory / name) for name in files if (directory / name).exists()]
    if there:
        verb = "exists" if len(there) == 1 else "exist"
        complain(f"dogfood new: {', '.join(there)} {verb} already, and nothing was written")
        return USAGE
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o777 if is_script(name) else 0o666
            with open(path, "x", encoding="utf-8", opener=partial(os.open, mode=mode)) as file:
                file.write(text)
            say(f"wrote {path}")
    except OSError as error:
        complain(f"dogfood new: {error.filename}: {error.strerror}")
        return USAGE
    return OK


def journey_template(name: str) -> str:
    """Return a journey file with one journey of this id.

    Template lines whose `#` is not followed by one space are keys to uncomment; with all of them, the file is valid.
    """
    stem = _in_kebab_case(name)
    return _filled("journey.yaml", id=_quoted(name), token=f"{stem}-done", needed=f"{stem}-prepared")


def script_template(name: str) -> str:
    """Return a script that is one journey; optional keys are indented in its leading comment."""
    return _filled("script.sh", token=f"{name}-done", needed=f"{name}-prepared")


def capability_template(token: str) -> str:
    """Return a dogfood.yaml that defines a token."""
    return _filled("capability.yaml", token=_quoted(token))


def skill_template(name: str) -> str:
    """Return a page that tells a coding agent how to work with journeys, under this name."""
    return _filled("skill.md", name=_quoted(name))


def project_files() -> dict[str, str]:
    """Return the files of a small runnable project, by path; none of them changes pytest's configuration."""
    return {
        "dogfood.yaml": _filled("project.yaml"),
        "journeys/first.journey.yaml": _filled("first-journeys.yaml"),
    }


def _filled(template: str, **values: str) -> str:
    text = (Path(__file__).parent / "templates" / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _quoted(text: str) -> str:
    """Quote text that YAML could read as a number, a date or a keyword."""
    words = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
    plain = text[0].isascii() and text[0].isalpha() and text.lower() not in words
    return text if plain else json.dumps(text)


@COMMANDS.command(
    "explain",
    "show what a journey or token needs, or list all tokens",
    Argument(
        "id",
        nargs="?",
        metavar="ID",
        help="a journey's id, a node id or a token (default: list all tokens)",
    ),
    PATHS,
    Argument("--shard", default="", metavar="I/N", help="look at part I of N"),
    Argument("--run", metavar="RUN", help="id or directory of a run, as pytest --dogfood prints it"),
    description="Show the tokens that a journey needs, how they are set up, and in which state and shard it runs; "
    "with --run, also its result in a run, step by step. Without ID, list every token with its sources, its users, "
    "its probe and its values. Nothing is run; Python tests are collected.",
)
def explain(options: Namespace) -> int:
    from pytest_dogfood.check.explain import explain as explain_name, tokens_to_explain
    from pytest_dogfood.check.report import to_lines
    from pytest_dogfood.report.run_index import steps_in_words
    from pytest_dogfood.session.check_plugin import inspect
    from pytest_dogfood.storage.record import read_run
    from pytest_dogfood.storage.retention import find_run

    found = inspect(options.paths, shard=options.shard, with_tests=True)
    if found.report is None and found.status != USAGE:
        complain("dogfood explain: without Python tests, because they cannot be collected")
        found = inspect(options.paths, shard=options.shard)
    if found.report is None or found.selection is None:
        return found.status
    if not found.report.is_valid:
        complain(*to_lines(found.report))
        return USAGE
    try:
        recorded = read_run(find_run(options.run, Path.cwd())) if options.run else None
    except HarnessError as error:
        complain(f"dogfood explain: {error}")
        return USAGE
    graph, name = found.selection.graph, options.id or ""
    in_run: dict[str, Any] = {}
    if recorded is not None:
        in_run = {"results": recorded.results, "steps": partial(steps_in_words, recorded)}
    lines = list(explain_name(graph, found.report, name, shard=options.shard, **in_run))
    if not lines:
        nodeids = [one.nodeid for one in graph.journeys.values()]
        near = did_you_mean(
            name, [*graph.journeys, *nodeids, *tokens_to_explain(graph), *found.report.others]
        )
        why = near or "dogfood explain lists the tokens, dogfood check the journeys"
        complain(f"dogfood explain: no journey or token {name!r}; {why}")
        return USAGE
    write_lines(lines)
    return OK


for _name, _what in (
    ("hub", "set up the task database and look into it"),
    ("fleet", "set up and show the database of a run on several machines"),
    ("consistency", "keep workplans and the hub in step, never back"),
):
    # Their own modules, which are imported only for them, declare the rest.
    COMMANDS.subparsers.add_parser(_name, help=_what, usage_status=USAGE)
