"""The documentation is true: its files parse, its output is what runs print, its lists are complete."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_dogfood import plugin
from pytest_dogfood.fileformat import tables
from pytest_dogfood.fileformat import vocabulary
from pytest_dogfood.advice import advise
from pytest_dogfood.diagnosis import diagnose
from pytest_dogfood.diagnosis import diagnose_ids
from pytest_dogfood.fileformat.parser import ParsedFile
from pytest_dogfood.fileformat.parser import parse_journey_file
from pytest_dogfood.fileformat.parser import parse_settings_file
from pytest_dogfood.fileformat.records import Record
from pytest_dogfood.fileformat.shapes import ByKind
from pytest_dogfood.graph import CapabilityGraph
from tests.runs import leaving_out

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DIAGNOSTICS = DOCS / "reference" / "diagnostics.md"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
WRONG = "wrong.journey.yaml"

REPORTING = {"add", "_refuse", "_warning", "_remark"}
"""Functions whose second argument is a code."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w./-]+\.(?:yaml|py|ini|sh))\n")
_LINK = re.compile(r"\]\(([^)#]+)(#[^)]*)?\)")
_CODE = re.compile(r"[a-z]+(-[a-z0-9]+)*")
_VARIES = re.compile(r"\d+\.\d+ ?s\b|/tmp/[\w./-]+|={4,}|_{4,}|\[gw\d+\]|on gw\d+|-gw\d+|\s+(?=\[ *\d+%)")


class Block(NamedTuple):
    """A fenced block; `name` is that of the file it stands for, if its first line names one."""

    language: str
    text: str
    name: str


def blocks_of(page: Path) -> Iterator[Block]:
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        named = _NAME.match(text)
        yield Block(language, text, named[1] if named else "")


def parsed(block: Block) -> ParsedFile:
    content = block.text.encode()
    if Path(block.name).name == "dogfood.yaml":
        return parse_settings_file(content, path=block.name)
    return parse_journey_file(content, path=block.name, stem=Path(block.name).name.partition(".")[0])


def codes_in(file: ParsedFile) -> set[str]:
    graph = CapabilityGraph(file.journeys, file.capabilities)
    whole = [
        *file.diagnostics,
        *diagnose_ids(file.journeys, file.capabilities),
        *diagnose(graph),
        *advise(graph),
    ]
    return {found.code for found in whole}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_journey_file_of_a_page_parses(page: Path) -> None:
    for block in blocks_of(page):
        if block.name.endswith(".yaml") and block.name != WRONG:
            assert [str(found) for found in parsed(block).diagnostics] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_yaml_and_python_block_names_its_file(page: Path) -> None:
    assert [
        block for block in blocks_of(page) if block.language in {"yaml", "python"} and not block.name
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    targets = [path for path, _ in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in path]
    assert [path for path in targets if not (page.parent / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_a_page_shows_of_a_run_is_what_the_run_prints(
    page: Path, tmp_path: Path, short_root: Path
) -> None:
    for block in blocks_of(page):
        if block.name and block.name != WRONG:
            file = tmp_path / block.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "console" and block.text.startswith(("$ pytest", "$ dogfood")):
            command, _, shown = block.text.removeprefix("$ ").partition("\n")
            assert_shown_in_order(shown, printed_by(command, tmp_path, short_root))


def printed_by(command: str, directory: Path, states: Path) -> str:
    """Give what a command prints that begins with `pytest` or `dogfood`, in an environment of its own."""
    inherited = ("GIT_", "PYTEST_", "DOGFOOD_", "_DOGFOOD_", "COV_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(inherited)}
    environment |= {"COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"}
    program, _, arguments = command.partition(" ")
    module = {"pytest": "pytest", "dogfood": "pytest_dogfood"}[program]
    options = [*leaving_out([command], "cacheprovider"), "-o", f"dogfood_state_root={states}"]
    done = subprocess.run(
        [sys.executable, "-m", module, *shlex.split(arguments), *(options if program == "pytest" else [])],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


def assert_shown_in_order(shown: str, printed: str) -> None:
    """Compare without what varies from run to run; a page may leave lines out."""
    lines = iter([_VARIES.sub("~", line).rstrip() for line in printed.splitlines()])
    for line in shown.splitlines():
        expected = _VARIES.sub("~", line).rstrip()
        assert expected in lines, f"{line!r} is not, or not here, in\n{printed}"


def codes_of_the_package() -> set[str]:
    """Find codes where they are used: as an argument called `code`, after a place, or in brackets in a text."""
    found: set[str] = set()
    for file in (ROOT / "pytest_dogfood").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in {"code", "empty_code"}:
                found.update(texts_of(node.value))
            elif (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", getattr(node.func, "id", "")) in REPORTING
            ):
                found.update(text for argument in node.args[1:2] for text in texts_of(argument))
            elif isinstance(node, ast.Assign) and any("code" in names_in(target) for target in node.targets):
                found.update(list(texts_of(node.value))[:1])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r" \[([a-z]+(?:-[a-z]+)+)\]$", node.value))
    return {code for code in found if _CODE.fullmatch(code)}


def texts_of(node: ast.AST) -> Iterator[str]:
    return (
        one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    )


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    described, used = set(sections(DIAGNOSTICS)), codes_of_the_package()
    assert (sorted(used - described), sorted(described - used)) == ([], [])


def test_every_example_of_a_diagnostic_gives_that_diagnostic() -> None:
    without = [
        code
        for code, text in sections(DIAGNOSTICS).items()
        for _, body in _FENCE.findall(text)
        if code not in codes_in(parsed(Block("yaml", body, WRONG)))
    ]
    assert without == []


def test_every_section_of_a_diagnostic_says_what_helps() -> None:
    assert [code for code, text in sections(DIAGNOSTICS).items() if "*Cure:* " not in text] == []


def test_every_option_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
    source = Path(plugin.__file__).read_text(encoding="utf-8")
    options = set(re.findall(r'"(--dogfood[a-z-]*)"', source))
    assert len(options) >= 6
    assert [name for name in sorted({*options, *plugin.OPTIONS}) if f"| `{name}" not in page] == []


RECORDS = {
    "A journey file": tables.JOURNEY_FILE,
    "A journey": tables.JOURNEY,
    "A step": tables.STEP_RECORD,
    "`expect:`": tables.EXPECTATION,
    "`stdout:` and `stderr:` under `expect:`": vocabulary.STREAM_RECORD,
    "`files:` under `expect:`": vocabulary.FILE_RECORD,
    "`save:`": tables.SAVE,
    "A capability": tables.CAPABILITY,
    "`service:`": tables.SERVICE,
    "`defaults:`": tables.DEFAULTS,
    "`dogfood.yaml`": tables.SETTINGS,
}


@pytest.mark.parametrize("section", RECORDS)
def test_every_key_of_the_format_is_in_the_reference(section: str) -> None:
    text = sections(DOCS / "reference" / "journey-file.md")[section]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)[: len(RECORDS[section].keys)] == list(
        RECORDS[section].keys
    )


def test_no_record_of_the_format_is_left_out_of_this_test() -> None:
    records = [
        value
        for module in (tables, vocabulary)
        for value in vars(module).values()
        if isinstance(value, Record)
    ]
    shown = {id(record) for record in RECORDS.values()}
    assert {record.name for record in records if id(record) not in shown} == {
        "until",
        "a file to seed",
        "a file with one journey",
    }
    assert isinstance(tables.STEP, ByKind)
