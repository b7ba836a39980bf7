"""What a repository's own dogfood.yaml says about its workplans, under `consistency:`."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pytest_dogfood.consistency.decision import SameRank
from pytest_dogfood.consistency.hub.location import read_settings_section
from pytest_dogfood.git.command import DEFAULT_LIMITS, Limits
from pytest_dogfood.git.commit import DEFAULT_OPTIONS, CommitOptions, Signing

WORKPLANS = ("workplans/", "**/*-WP-*.md")
"""Where workplans are looked for unless a repository says otherwise."""


class Preferences(Struct, frozen=True, kw_only=True):
    """How a repository wants to be treated."""

    workplans: tuple[str, ...] = WORKPLANS
    same_rank: SameRank = SameRank.HISTORY
    commit: CommitOptions = DEFAULT_OPTIONS
    limits: Limits = DEFAULT_LIMITS


def read_preferences(root: Path) -> Preferences:
    """Read what the dogfood.yaml at the root of a repository says; raises HubUsageError where it is wrong."""
    said = read_settings_section(root, "consistency") or {}
    limits = {"fetch": "fetch_timeout", "commit": "commit_timeout", "other": "git_timeout"}
    return Preferences(
        workplans=said.get("workplans", WORKPLANS),
        same_rank=SameRank(said.get("same_rank", SameRank.HISTORY)),
        commit=CommitOptions(
            no_verify=said.get("commit_no_verify", False),
            sign=Signing(said.get("commit_sign", Signing.INHERIT)),
        ),
        limits=Limits(**{name: said[key] for name, key in limits.items() if key in said}),
    )
