"""What a repository's dogfood.yaml may say about its workplans."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.consistency.check import Preferences, read_preferences
from pytest_dogfood.consistency.decision import SameRank
from pytest_dogfood.consistency.hub.location import read_settings_section
from pytest_dogfood.consistency.hub.model import HubUsageError
from pytest_dogfood.fileformat.parser import parse_settings_file
from pytest_dogfood.git.command import Limits
from pytest_dogfood.git.commit import CommitOptions, Signing

EVERYTHING = """
consistency:
  workplans: [plans/, "**/*.plan.md"]
  same_rank: hold
  commit_no_verify: true
  commit_sign: never
  fetch_timeout: 500ms
  commit_timeout: 2m
  git_timeout: 7
"""


def test_everything_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "dogfood.yaml").write_text(EVERYTHING)
    assert read_preferences(tmp_path) == Preferences(
        workplans=("plans/", "**/*.plan.md"),
        same_rank=SameRank.HOLD,
        commit=CommitOptions(no_verify=True, sign=Signing.NEVER),
        limits=Limits(fetch=0.5, commit=120, other=7),
    )


def test_journeys_take_the_same_file() -> None:
    assert not parse_settings_file(EVERYTHING.encode(), path="dogfood.yaml").diagnostics


def test_nothing_need_be_said(tmp_path: Path) -> None:
    assert read_preferences(tmp_path) == Preferences()


@pytest.mark.parametrize(
    "said, why",
    [
        ("[]", r"consistency \(a mapping\), not a list"),
        ("{same-rank: hub}", "did you mean 'same_rank'"),
        ("{same_rank: newest}", "history, hub, hold"),
        ("{commit_sign: always}", "inherit, never"),
        ("{commit_no_verify: 1}", "true or false"),
        ("{fetch_timeout: soon}", "a duration"),
        ("{git_timeout: true}", "a duration"),
        ("{workplans: [../elsewhere]}", "inside the repository"),
        ("{workplans: {plans: here}}", "a directory or pattern inside the repository, not a mapping"),
        ("{workplans: []}", "it is empty: expected"),
        ("{", r"dogfood.yaml:2:1: .*\[not-yaml\]"),
        ("\0", "a NUL byte"),
        ("2001-99-99", "expected consistency"),
        ("!!int ''", "YAML takes '!!int' for a tag"),
        ("!!bool x", "YAML takes '!!bool' for a tag"),
        ("!!timestamp x", "YAML takes '!!timestamp' for a tag"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, said: str, why: str) -> None:
    (tmp_path / "dogfood.yaml").write_text(f"consistency: {said}\n")
    with pytest.raises(HubUsageError, match=why):
        read_preferences(tmp_path)


@pytest.mark.parametrize(
    "content, said",
    [
        (
            "# ours\nconsistancy: {same_rank: hold}\n",
            ":2:1: unknown key 'consistancy' in dogfood.yaml [unknown-key]\n    hint: did you mean 'consist",
        ),
        (
            "hubb: {id: abc}\n",
            ":1:1: unknown key 'hubb' in dogfood.yaml [unknown-key]\n    hint: did you mean 'hub'?",
        ),
        (
            "workplans: [x/]\n",
            ":1:1: unknown key 'workplans' in dogfood.yaml [unknown-key]\n    hint: known keys: defaults, capab",
        ),
        ("1: x\n", ":1:1: unknown key '1' in dogfood.yaml"),
        ("hub: {id: a}\nconsistency: {}\nhub: {id: b}\n", ":3:1: the key 'hub' occurs here and at "),
        ("- consistency: {}\n", ":1:1: expected a mapping, not a list"),
    ],
)
def test_what_nobody_would_read_is_said_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "dogfood.yaml").write_text(content)
    with pytest.raises(HubUsageError) as refused:
        read_preferences(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path}/dogfood.yaml{said}")


def test_all_keys_that_nobody_would_read_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "dogfood.yaml").write_text("consistancy: {}\nhup: {}\n")
    with pytest.raises(HubUsageError, match=r"(?s)yaml:1:1: .*\n.*yaml:2:1: "):
        read_settings_section(tmp_path, "hub")


@pytest.mark.parametrize("name", ["dogfood.yml", ".dogfood.yaml", ".dogfood.yml"])
@pytest.mark.parametrize("content", ["consistency: {same_rank: hold}\n", "hub: {id: abc}\nmore: x\n"])
def test_a_file_by_another_name_is_not_overlooked(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(
        HubUsageError, match=f"/{name}:1: a file of this name is not read; call it dogfood.yaml"
    ):
        read_settings_section(tmp_path, "hub")


@pytest.mark.parametrize("content", ["on: push\njobs: {}\n", "- hub\n", "{", ""])
def test_a_file_of_another_tool_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "dogfood.yml").write_text(content)
    (tmp_path / "dogfood.yaml").write_text("")
    assert read_settings_section(tmp_path, "hub") is None


def test_a_mistake_in_what_journeys_read_stops_nothing_here(tmp_path: Path) -> None:
    (tmp_path / "dogfood.yaml").write_text(
        "capabilities: {up: {prove: 'true'}}\nconsistency: {same_rank: hold}\n"
    )
    assert read_preferences(tmp_path).same_rank is SameRank.HOLD
