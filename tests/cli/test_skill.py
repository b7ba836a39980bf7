"""The page that `dogfood new skill` writes for coding agents: what it says is so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pytest_dogfood.cli.journeys import OK, USAGE, skill_template
from pytest_dogfood.cli.main import main
from pytest_dogfood.cli.reports import COMMANDS
from pytest_dogfood.plugin import OPTIONS
from tests.support.command_line import tree
from tests.support.scenes import Scene

ROOT = Path(__file__).parents[2]
PAGE = skill_template("dogfood")
FENCES = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[str]:
    for language, text in FENCES.findall(PAGE):
        if language == "sh":
            yield from (line.partition("  #")[0].strip() for line in text.splitlines())


@pytest.mark.parametrize("name", ["dogfood", "our-journeys", "2026"])
def test_a_skill_is_a_directory_with_a_page_that_says_its_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "skill", name, f"--directory={tmp_path}"]) == OK
    page = tmp_path / name / "SKILL.md"
    _, head, _ = page.read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    assert (values["name"], set(values)) == (name, {"name", "description"})
    assert len(values["description"]) <= 1024
    assert capsys.readouterr().out == (
        f"wrote {page}\nnext: move the directory to where your coding agent looks for skills, "
        "or name the file in AGENTS.md\n"
    )


def test_a_skill_has_a_name_of_its_own_and_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "skill", f"--directory={tmp_path}"]) == OK
    written = tree(tmp_path)
    assert set(written) == {"dogfood", "dogfood/SKILL.md"}
    assert main(["new", "skill", f"--directory={tmp_path}"]) == USAGE
    assert "exists already, and nothing was written" in capsys.readouterr().err
    assert tree(tmp_path) == written


@pytest.mark.parametrize("name", ["Our Journeys", "../x", "a/b", "a_b"])
def test_a_name_that_no_directory_of_a_skill_can_have_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "skill", name, f"--directory={tmp_path}"]) == USAGE
    assert "is not in kebab-case: write " in capsys.readouterr().err
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("command", [*commands()])
def test_each_command_of_the_page_can_be_typed(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "dogfood":
        assert COMMANDS.parse(words).command is not None
        return
    assert program == "pytest"
    ours = [word for word in words if word.startswith("--dogfood")]
    assert ours[0] == "--dogfood"
    assert set(ours) <= set(OPTIONS)
    assert set(words) - set(ours) <= {
        "-n",
        "auto",
        "-k",
        "read-the-greeting",
        "report.json",
        "greeting-written",
    }


def test_the_page_has_the_commands_with_stable_output() -> None:
    text = "\n".join(commands())
    for command in (
        "dogfood check --format json",
        "dogfood explain",
        "dogfood graph --format json",
        "dogfood report --format json",
        "dogfood report --format markdown",
        "--dogfood-report",
    ):
        assert command in text
    assert "`reproduce:`" in PAGE


@pytest.mark.parametrize("word", ["journey", "token", "requires", "establishes", "chain"])
def test_the_five_words_are_those_of_the_glossary(word: str) -> None:
    glossary = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
    assert f"| {word} |" in glossary
    assert f"\n- **{word}**: " in PAGE


def test_the_exit_statuses_are_those_of_the_reference() -> None:
    outcomes = (ROOT / "docs" / "reference" / "outcomes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d, ]+) \|", outcomes.partition("## Exit status")[2], re.MULTILINE)
    numbers = {number for row in rows for number in row.split(", ")}
    told = PAGE.partition("Exit status: ")[2].partition("\n\n")[0]
    assert set(re.findall(r"\b\d\b", told)) == numbers


def test_the_example_of_the_page_runs_as_the_page_says(scene: Scene) -> None:
    (example,) = (text for language, text in FENCES.findall(PAGE) if language == "yaml")
    scene.write("greeting.journey.yaml", example)
    run = scene.run("-k", "read-the-greeting")
    assert run.status == 0, run.text
    assert "provisioned greeting-written once by replaying write-a-greeting" in run.text


def test_no_line_of_the_page_is_too_long_to_read() -> None:
    assert max(map(len, PAGE.splitlines())) <= 120
