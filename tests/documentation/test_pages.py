"""The documentation is true: its files parse, its output is what runs print, its lists are complete."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_dogfood import plugin
from pytest_dogfood.check.advice import advise
from pytest_dogfood.check.errors import diagnose, diagnose_ids
from pytest_dogfood.check.shell import shell_findings
from pytest_dogfood.fileformat import scalars, scripts, settings_table, tables
from pytest_dogfood.fileformat.parser import ParsedFile, parse_journey_file, parse_settings_file
from pytest_dogfood.fileformat.shapes import ByKind, Record
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.no_doubt import DOUBT_CODES
from pytest_dogfood.settings import Settings
from tests.support.run_results import leaving_out

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DIAGNOSTICS = DOCS / "reference" / "diagnostics.md"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
WRONG = {"yaml": "wrong.journey.yaml", "sh": "wrong.journey.sh"}
"""Names of files that are shown because they are wrong, by the language of their blocks."""

REPORTING = {"add", "refuse", "_refuse", "Word", "_repeated", "error", "warning", "remark"}
"""Functions whose second argument is a code."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?:#!.*\n)?# ([\w./-]+\.(?:yaml|py|ini|sh))\n")
_LINK = re.compile(r"\]\(([^)#]+)(#[^)]*)?\)")
_CODE = re.compile(r"[a-z]+(-[a-z0-9]+)*")
_VARIES = re.compile(
    r"\d+\.\d+ ?s\b|(?<=--run )\S+|/tmp/[\w./-]+|={4,}|_{4,}|\[gw\d+\]|on gw\d+|-gw\d+|\s+(?=\[ *\d+%)"
)


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
        *shell_findings(graph, lambda _: ""),
    ]
    return {found.code for found in whole}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_journey_file_of_a_page_parses(page: Path) -> None:
    for block in blocks_of(page):
        if block.name.endswith((".yaml", ".journey.sh")) and block.name not in WRONG.values():
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
    if page.stem == "browser-login" and not shutil.which("chromium"):
        pytest.skip("Chromium is not installed")
    for block in blocks_of(page):
        if block.name and block.name not in WRONG.values():
            file = tmp_path / block.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
            if block.text.startswith("#!"):
                file.chmod(0o755)
        elif block.language == "console" and block.text.startswith(("$ pytest", "$ dogfood")):
            command, _, shown = block.text.removeprefix("$ ").partition("\n")
            assert_shown_in_order(shown, printed_by(command, tmp_path, short_root))


def printed_by(command: str, directory: Path, states: Path) -> str:
    """Return what a command prints that begins with `pytest` or `dogfood`, in an environment of its own."""
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
    described, used = set(sections(DIAGNOSTICS)), codes_of_the_package() | DOUBT_CODES
    assert (sorted(used - described), sorted(described - used)) == ([], [])


def test_every_example_of_a_diagnostic_gives_that_diagnostic() -> None:
    without = [
        code
        for code, text in sections(DIAGNOSTICS).items()
        for language, body in _FENCE.findall(text)
        if code not in codes_in(parsed(Block(language, body, WRONG[language])))
    ]
    assert without == []


def test_every_section_of_a_diagnostic_says_what_helps() -> None:
    assert [code for code, text in sections(DIAGNOSTICS).items() if "*Cure:* " not in text] == []


def test_every_option_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
    source = Path(plugin.__file__).read_text(encoding="utf-8")
    options = set(re.findall(r'"(--dogfood[a-z-]*)"', source))
    assert len(options) >= 6
    assert [name for name in sorted({*options, *plugin.INI_KEYS}) if f"| `{name}" not in page] == []


def test_help_texts_tell_the_defaults_that_count() -> None:
    usual = Settings()
    told = {name: re.search(r"\(default (\d+)\)", text) for name, (_, text) in plugin.INI_KEYS.items()}
    numbers = {name: float(found[1]) for name, found in told.items() if found}
    assert len(numbers) == 6
    assert numbers == {name: getattr(usual, name.removeprefix("dogfood_")) for name in numbers}


@pytest.mark.parametrize(
    "command",
    ["check", "graph", "schema", "new", "explain", "report", "enter", "pack", "cache", "doubt", "merge"],
)
def test_every_option_of_the_command_is_in_the_reference(command: str) -> None:
    page = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    options = set(re.findall(r"^  .*?(--[a-z-]+)", done.stdout, re.MULTILINE)) - {"--help"}
    assert [name for name in sorted(options) if f"`{name}" not in page] == []
    assert f"| `dogfood {command}" in page


def test_every_environment_variable_that_is_read_or_set_is_in_the_reference() -> None:
    written = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "pytest_dogfood").rglob("*.py"))
    variables = set(
        re.findall(r"\"(DOGFOOD_[A-Z]+(?:_[A-Z]+)*|NO_COLOR|(?:CI|GITHUB|BUILD)_[A-Z_]+)\"", source)
    )
    assert len(variables) > 10
    assert [name for name in sorted(variables) if f"`{name}`" not in written] == []


def test_the_settings_of_workplans_stand_beside_those_of_journeys() -> None:
    page = DOCS / "reference" / "consistency.md"
    (shown,) = [block.text for block in blocks_of(page) if block.text.startswith("consistency:\n")]
    assert parsed(Block("yaml", shown, "dogfood.yaml")).diagnostics == ()
    assert re.findall(r"^  (\w+):", shown, re.MULTILINE) == list(settings_table.CONSISTENCY_RECORD.keys)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    first = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", first, re.MULTILINE | re.DOTALL)
    linked = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    pages = [page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(["index", *linked]) == sorted(pages)


def test_the_drawing_of_the_example_is_current() -> None:
    drawn = subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", "graph", "examples/git-release", "--format", "svg"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (DOCS / "images" / "git-release.svg").read_text(encoding="utf-8") == drawn.stdout


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*/*.yaml")), ids=named)
def test_every_file_of_an_example_tells_editors_its_schema(file: Path) -> None:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    kind = "dogfood" if file.name == "dogfood.yaml" else "journey"
    assert (file.parent / schema).resolve() == DOCS / "schema" / f"{kind}.schema.json"


RECORDS = {
    "A journey file": tables.JOURNEY_FILE,
    "A journey": tables.JOURNEY,
    "A step": tables.STEP_RECORD,
    "`expect:`": tables.EXPECTATION,
    "`stdout:` and `stderr:` under `expect:`": tables.STREAM_RECORD,
    "`files:` under `expect:`": tables.FILE_RECORD,
    "`save:`": tables.SAVE,
    "A capability": tables.CAPABILITY,
    "`inputs:`": tables.INPUTS,
    "`service:`": tables.SERVICE,
    "`defaults:`": tables.DEFAULTS,
    "`dogfood.yaml`": settings_table.SETTINGS,
}


@pytest.mark.parametrize("section", RECORDS)
def test_every_key_of_the_format_is_in_the_reference(section: str) -> None:
    text = sections(DOCS / "reference" / "journey-file.md")[section]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)[: len(RECORDS[section].keys)] == list(
        RECORDS[section].keys
    )


def test_every_key_of_a_step_that_a_script_takes_and_every_key_it_refuses_is_in_the_reference() -> None:
    text = sections(DOCS / "reference" / "journey-file.md")["A script"]
    keys = [*scripts.KEYS_OF_THE_STEP, *scripts.NOT_IN_A_SCRIPT]
    assert [name for name in keys if f"`{name}`" not in text.replace("`defaults:`", "`defaults`")] == []


def test_no_record_of_the_format_is_left_out_of_this_test() -> None:
    records = [
        value
        for module in (tables, settings_table, scalars)
        for value in vars(module).values()
        if isinstance(value, Record)
    ]
    shown = {id(record) for record in RECORDS.values()}
    assert {record.name for record in records if id(record) not in shown} == {
        "until",
        "a file to seed",
        "a file with one journey",
        "consistency",  # described beside what it is about, in the page on consistency
    }
    assert isinstance(tables.STEP, ByKind)
