"""The README's promises: two commands of one line each, and words that mean the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*)\n```$", README, re.MULTILINE)


def test_two_commands_of_one_line_come_before_anything_is_explained() -> None:
    assert len(COMMANDS) == 2
    assert README.index(COMMANDS[-1]) < README.index("\n## ")


def test_each_command_creates_an_environment_of_its_own_with_python_alone() -> None:
    made = [
        re.match(r"python3 -m venv (\S+) && \1/bin/pip install -q -e .* && \1/bin/pytest ", command)
        for command in COMMANDS
    ]
    names = [match[1] for match in made if match]
    assert len(set(names)) == len(COMMANDS)  # the first stays as its user has it


def test_the_first_command_runs_the_examples_and_the_second_the_tests() -> None:
    assert [command.rpartition("/")[2] for command in COMMANDS] == [
        "pytest --dogfood -n auto examples",
        "pytest -n auto --dist loadfile",
    ]


def test_the_extra_of_the_second_command_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"\.\[(\w+)\]", COMMANDS[1])) <= set(project["optional-dependencies"])


def test_continuous_integration_runs_the_second_command_as_it_stands_here() -> None:
    pattern = re.search(
        r'grep -m1 -E "([^"]+)" README\.md', (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    )
    assert pattern is not None
    found = [line for line in README.splitlines() if re.search(pattern[1], line)]
    assert found[:1] == [COMMANDS[1]]


def test_the_five_words_are_the_first_of_the_glossary() -> None:
    glossary = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
    assert words_of(README)[:5] == words_of(glossary)[:5]


def words_of(text: str) -> list[str]:
    rows = re.findall(r"^\| \*?([\w ]+?)\*? \|", text[text.index("| word |") :], re.MULTILINE)
    return rows[1:]


def test_the_minimal_python_of_the_readme_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Python {project['requires-python'].removeprefix('>=')} or later" in README
