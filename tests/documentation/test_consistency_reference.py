"""The reference of the hub is complete: its codes, options, settings, fields and tables are those of the program."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest
from msgspec.structs import fields

import pytest_dogfood
from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.check import read_preferences
from pytest_dogfood.consistency.hub.schema import metadata
from pytest_dogfood.consistency.repository_findings import behind_message
from pytest_dogfood.consistency.task_findings import NAMES, Finding

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "consistency.md"
TEXT = PAGE.read_text(encoding="utf-8")
HALF = Path(pytest_dogfood.__file__).parent / "consistency"


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> set[str]:
    """Return the names in the first column of the tables."""
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w-]+)", cell)}


def codes_of_the_program() -> Iterator[str]:
    for file in HALF.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"C-\d+", str(node.value)):
                yield str(node.value)


def test_every_code_is_in_the_reference_with_its_name_and_no_other() -> None:
    listed = re.findall(r"^\| (C-\d+) `([a-z-]+)` \|", section("Codes"), re.MULTILINE)
    assert set(listed) == set(NAMES.items())
    assert [code for code, _ in listed] == re.findall(r"^\| (C-\d+)", section("Codes"), re.MULTILINE)
    assert set(codes_of_the_program()) == set(NAMES)


@pytest.mark.parametrize("page", ["howto/consistency.md", "troubleshooting.md"])
def test_other_pages_name_codes_as_the_program_does(page: str) -> None:
    text = PAGE.parents[1].joinpath(page).read_text(encoding="utf-8")
    listed = re.findall(r"^\| (C-\d+) `([a-z-]+)`", text, re.MULTILINE)
    assert listed == [(code, NAMES[code]) for code in re.findall(r"^\| (C-\d+)", text, re.MULTILINE)]


@pytest.mark.parametrize(
    "text",
    [
        "DB task '{title}' is ahead of file (db={db_status}, file={file_status}) — skipped to prevent regression",
        behind_message("{slug}"),
        "workplan has uncommitted changes — skipping writeback",
    ],
)
def test_the_texts_that_others_rely_on_are_in_the_reference(text: str) -> None:
    assert f"| `{text}` |" in section("Codes")


def help_of(*words: str) -> str:
    shown = io.StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        main([*words, "--help"])
    return shown.getvalue()


VERBS = [
    (group, verb)
    for group in ("hub", "consistency")
    for verb in re.findall(r"^    (\w+) ", help_of(group), re.MULTILINE)
]


def test_the_commands_have_been_found() -> None:
    assert len(VERBS) == 15


@pytest.mark.parametrize("group,verb", VERBS)
def test_every_command_and_option_is_in_the_reference(group: str, verb: str) -> None:
    commands = section("Commands")
    assert f"| `dogfood {group} {verb}" in commands
    _, _, options = help_of(group, verb).partition("options:")
    assert [name for name in re.findall(r"--[a-z-]+", options) if f"`{name}" not in commands] == ["--help"]


def test_every_field_of_an_item_is_in_the_reference() -> None:
    assert {field.name for field in fields(Finding)} | {"name"} <= first_cells(section("JSON"))


def test_every_table_of_the_hub_is_in_the_reference() -> None:
    assert first_cells(section("Tables of the hub")) == set(metadata.tables)


def test_the_settings_of_the_reference_are_the_defaults(tmp_path: Path) -> None:
    written = section("Settings").split("```yml\n")[1].split("```")[0]
    (tmp_path / "dogfood.yaml").write_text(written, encoding="utf-8")
    (tmp_path / "none").mkdir()
    assert read_preferences(tmp_path) == read_preferences(tmp_path / "none")
    assert set(re.findall(r"^  (\w+):", written, re.MULTILINE)) == first_cells(section("Settings"))
