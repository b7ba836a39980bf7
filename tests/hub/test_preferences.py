"""What a repository's dogfood.yaml may say about its workplans."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.fileformat.parser import parse_settings_file
from pytest_dogfood.hub.commits import CommitOptions
from pytest_dogfood.hub.commits import Signing
from pytest_dogfood.hub.decision import SameRank
from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.git import Limits
from pytest_dogfood.hub.preferences import Preferences
from pytest_dogfood.hub.preferences import read_preferences

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
        ("[]", "holds keys and values"),
        ("{same-rank: hub}", "did you mean 'same_rank'"),
        ("{same_rank: newest}", "history, hub, hold"),
        ("{commit_sign: always}", "inherit, never"),
        ("{commit_no_verify: 1}", "true or false"),
        ("{fetch_timeout: soon}", "a duration"),
        ("{git_timeout: true}", "a duration"),
        ("{workplans: [../elsewhere]}", "inside the repository"),
        ("{workplans: 3}", "a list of directories"),
        ("{", "is no YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, said: str, why: str) -> None:
    (tmp_path / "dogfood.yaml").write_text(f"consistency: {said}\n")
    with pytest.raises(HubUsageError, match=why):
        read_preferences(tmp_path)
