"""What a repository's own dogfood.yaml says about its workplans, under `consistency:`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from msgspec import Struct

from pytest_dogfood.consistency.decision import SameRank
from pytest_dogfood.consistency.hub.location import PROJECT_FILE, read_project_file
from pytest_dogfood.consistency.hub.model import HubUsageError
from pytest_dogfood.diagnostics import did_you_mean
from pytest_dogfood.git.command import DEFAULT_LIMITS, Limits
from pytest_dogfood.git.commit import DEFAULT_OPTIONS, CommitOptions, Signing

Choice = TypeVar("Choice", bound=StrEnum)

_DURATION = re.compile(r"(\d{1,8}(?:\.\d{1,6})?)(ms|s|m|h)?")
_UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

SECTION = "consistency"
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
    path = root / PROJECT_FILE
    section = read_project_file(root).get(SECTION)
    if section is None:
        return Preferences()
    if not isinstance(section, dict):
        raise HubUsageError(f"{path}: `{SECTION}:` holds keys and values, such as workplans: [workplans/]")
    said: dict[str, Any] = {}
    problems = []
    for key, value in section.items():
        try:
            said[key] = _reader(key)(value)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise HubUsageError(f"{path}: in `{SECTION}:`, {'; and '.join(problems)}")
    return _preferences(said)


def _reader(key: object) -> Callable[[object], Any]:
    if key in _KEYS:
        return _KEYS[str(key)]
    hint = did_you_mean(str(key), _KEYS) or "known are " + ", ".join(_KEYS)
    raise ValueError(f"the key '{key}' is unknown, {hint}")


def _preferences(said: Mapping[str, Any]) -> Preferences:
    limits = {name: said[f"{name}_timeout"] for name in ("fetch", "commit") if f"{name}_timeout" in said}
    if "git_timeout" in said:
        limits["other"] = said["git_timeout"]
    return Preferences(
        workplans=said.get("workplans", WORKPLANS),
        same_rank=said.get("same_rank", SameRank.HISTORY),
        commit=CommitOptions(
            no_verify=said.get("commit_no_verify", False), sign=said.get("commit_sign", Signing.INHERIT)
        ),
        limits=Limits(**limits),
    )


def _places(value: object) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"workplans is a list of directories and patterns, not {value!r}")
    for each in listed:
        if not each or PurePosixPath(each).is_absolute() or ".." in PurePosixPath(each).parts:
            raise ValueError(f"workplans are looked for inside the repository, not at {each!r}")
    return tuple(listed)


def _same_rank(value: object) -> SameRank:
    return _one_of(SameRank, "same_rank", value)


def _signing(value: object) -> Signing:
    return _one_of(Signing, "commit_sign", value)


def _one_of(kind: type[Choice], key: str, value: object) -> Choice:
    names = [str(member.value) for member in kind]
    if value not in names:
        raise ValueError(f"{key} is one of {', '.join(names)}, not {value!r}")
    return kind(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"commit_no_verify is true or false, not {value!r}")  # noqa: TRY004 - caught as one kind
    return value


def _seconds(value: object) -> float:
    """Read a duration as journey files write it: seconds, or a number with a unit."""
    match = _DURATION.fullmatch(str(value)) if isinstance(value, int | float | str) else None
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match is not None else 0.0
    if seconds <= 0:
        raise ValueError(f"a timeout is a duration such as 90, 1.5, 500ms or 2m, not {value!r}")
    return seconds


_KEYS: Mapping[str, Callable[[object], Any]] = {
    "workplans": _places,
    "same_rank": _same_rank,
    "commit_no_verify": _flag,
    "commit_sign": _signing,
    "fetch_timeout": _seconds,
    "commit_timeout": _seconds,
    "git_timeout": _seconds,
}
