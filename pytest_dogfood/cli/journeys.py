"""What each `dogfood` command does; it prints its result and gives an exit status."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pytest_dogfood.cli.streams import Palette
from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.journey import JOURNEY_ID_PATTERN, TOKEN_PATTERN, base_of

if TYPE_CHECKING:
    from pytest_dogfood.check.report import Paint
    from pytest_dogfood.report.merge import Merged

OK = 0
FAILED = 1
INTERRUPTED = 130
USAGE = 4
"""Exit status for what the user has to put right, as pytest has it."""
_COLOURS = {"error": "31", "warning": "33"}


def check(options: Namespace) -> int:
    """Validate the graph and print the plan."""
    from pytest_dogfood.session.check_plugin import inspect, shown
    from pytest_dogfood.settings import CheckFormat

    found = inspect(options.paths, workers=options.workers, shard=options.shard, strict=options.strict)
    if found.report is None:
        return found.status
    for line in shown(found.report, CheckFormat(options.format), _paint_for(sys.stdout)):
        print(line)
    if not (found.report.findings or found.report.plan.journeys or options.shard):
        _complain(
            "dogfood check: no journeys in files here: name one like shop.journey.yaml, or have a first one written: "
            "dogfood new project DIR; pytest --dogfood-check looks at Python tests"
        )
    return found.status


def _paint_for(stream: TextIO) -> Paint:
    palette = Palette(stream)

    def paint(severity: str, text: str) -> str:
        return palette.paint(text, _COLOURS[severity]) if severity in _COLOURS else text

    return paint


def graph(options: Namespace) -> int:
    """Draw the graph."""
    from pytest_dogfood.check.report import in_words
    from pytest_dogfood.drawing.formats import render
    from pytest_dogfood.drawing.picture import focus, picture_of
    from pytest_dogfood.session.check_plugin import inspect

    found = inspect(options.paths, with_tests=options.tests)
    if found.report is None or found.selection is None:
        return found.status
    if not found.report.is_valid:
        _complain(*in_words(found.report))
        return USAGE
    try:
        picture = picture_of(found.selection.graph, found.report)
        if options.focus:
            picture = focus(picture, options.focus)
        text = render(picture, options.format or _notation_of(options.output))
    except (LookupError, ValueError) as error:
        _complain(f"dogfood graph: {error}")
        return USAGE
    if options.output is None:
        print(text.rstrip("\n"))
        return OK
    try:
        Path(options.output).write_text(text, encoding="utf-8")
    except OSError as error:
        _complain(f"dogfood graph: cannot write {options.output}: {error.strerror}")
        return USAGE
    return OK


def _notation_of(output: str | None) -> str:
    """Tell by a file's ending how a drawing in it is written."""
    endings = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".json": "json"}
    return endings.get(Path(output or "").suffix, "text")


def schema(options: Namespace) -> int:
    """Print the JSON Schema of a kind of file."""
    from pytest_dogfood.fileformat.json_schema import journey_schema, render, settings_schema

    print(render(journey_schema() if options.file == "journey" else settings_schema()).rstrip("\n"))
    return OK


def new(options: Namespace) -> int:
    """Write a commented template; never over an existing file."""
    from pytest_dogfood.cli.templates import capability_template, journey_template, project_files

    directory = Path(options.directory)
    if options.kind == "journey":
        if not JOURNEY_ID_PATTERN.fullmatch(options.name or ""):
            named = f"{options.name!r} is no id" if options.name else "name the journey's id"
            _complain(f"dogfood new journey: {named}: letters, digits, '-', '_' and '.'")
            return USAGE
        files = {f"{options.name}.journey.yaml": journey_template(options.name)}
    elif options.kind == "capability":
        if not TOKEN_PATTERN.fullmatch(options.name or ""):
            named = f"{options.name!r} is no token" if options.name else "name the token"
            _complain(f"dogfood new capability: {named}: tokens are kebab-case, such as 'logged-in'")
            return USAGE
        if base_of(options.name) != options.name:
            _complain(
                f"dogfood new capability: {options.name!r} is one instance; all instances are defined together, "
                f"as {str(base_of(options.name))!r}"
            )
            return USAGE
        files = {"dogfood.yaml": capability_template(options.name)}
        if (directory / "dogfood.yaml").exists():
            status = _write_new(directory, files)
            _complain("put this under its 'capabilities:'")
            print(files["dogfood.yaml"].partition("capabilities:\n")[2].rstrip("\n"))
            return status
    else:
        directory /= options.name or "."
        files = project_files()
    return _write_new(directory, files)


def _write_new(directory: Path, files: dict[str, str]) -> int:
    there = [str(directory / name) for name in files if (directory / name).exists()]
    if there:
        verb = "exists" if len(there) == 1 else "exist"
        _complain(f"dogfood new: {', '.join(there)} {verb} already, and nothing was written")
        return USAGE
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            print(f"wrote {path}")
    except OSError as error:
        _complain(f"dogfood new: {error.filename}: {error.strerror}")
        return USAGE
    return OK


def explain(options: Namespace) -> int:
    """Say why a journey is where it is, and what became of it in a finished run; or where a token comes from."""
    from pytest_dogfood.check.report import (
        explanation,
        explanation_of_token,
        in_words,
        what_became_of,
        what_happened,
    )
    from pytest_dogfood.session.check_plugin import inspect
    from pytest_dogfood.storage.run_directory import results_of_run

    found = inspect(options.paths, shard=options.shard, with_tests="::" in options.id)
    if found.report is None or found.selection is None:
        return found.status
    if not found.report.is_valid:
        _complain(*in_words(found.report))
        return USAGE
    graph, plan = found.selection.graph, found.selection.plan
    journey = next((one for one in graph.journeys.values() if options.id in {one.id, one.nodeid}), None)
    if journey is None and options.id not in graph.tokens:
        near = did_you_mean(options.id, [*graph.journeys, *graph.tokens])
        _complain(f"dogfood explain: no journey or token {options.id!r}; {near}".rstrip("; "))
        return USAGE
    lines = (
        [*explanation_of_token(graph, plan, options.id)]
        if journey is None
        else [*explanation(graph, plan, journey.id, shard=options.shard)]
    )
    if options.run is not None:
        try:
            results = results_of_run(Path(options.run))
        except (OSError, ValueError) as error:
            _complain(f"dogfood explain: {options.run} holds no finished run: {error}")
            return USAGE
        lines += (
            what_became_of(results, options.id) if journey is None else what_happened(results, journey.id)
        )
    for line in lines:
        print(line)
    return OK


def merge(options: Namespace) -> int:
    """Put the manifests of all shards together."""
    from pytest_dogfood.diagnostics import HarnessError
    from pytest_dogfood.report import merge as merging
    from pytest_dogfood.report.manifest import Manifest, read_manifest
    from pytest_dogfood.report.merge import in_words

    manifests: list[Manifest] = []
    broken = False
    for name in options.manifests:
        try:
            manifests.append(read_manifest(Path(name)))
        except (OSError, ValueError) as error:
            broken = True
            _complain(f"dogfood merge: {name}: {error.strerror if isinstance(error, OSError) else error}")
    if broken:
        return USAGE
    try:
        merged = merging.merge(manifests)
        _write_merged(merged, options)
    except (merging.ShardsDisagreeError, HarnessError) as error:
        _complain(f"dogfood merge: {error}")
        return USAGE
    for line in in_words(merged):
        print(line)
    return merged.exit_status


def _write_merged(merged: Merged, options: Namespace) -> None:
    import json

    from pytest_dogfood.report.merge import to_json, to_junit
    from pytest_dogfood.session.durations import write_durations
    from pytest_dogfood.storage.files import write_for_others

    if options.junit:
        write_for_others(Path(options.junit), to_junit(merged))
    if options.json:
        content = json.dumps(to_json(merged), indent=2)
        write_for_others(Path(options.json), content.encode() + b"\n")
    if options.durations:
        known = merged.manifests[0].expected.shards
        write_durations(Path(options.durations), merged.durations(), known=tuple(known))


def _complain(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)
