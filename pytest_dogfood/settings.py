"""The validated values of options and ini keys, as one frozen value; plugin.py declares and reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pytest_dogfood.journey import Token

JOURNEY_FILES = (
    "*.journey.yaml",
    "*.journey.yml",
    "*.journey.json",
    "*.journey.sh",
    "journeys.yaml",
    "journeys.yml",
    "journeys.json",
)
DATA_FILES = (".yaml", ".yml", ".json")
"""Endings of data files; every other journey file is a script."""
SETTINGS_FILE = "dogfood.yaml"
MOST_SHARDS = 10_000
"""No CI system has more; a mistyped number must not make a run compute for hours."""
LONGEST_STATE_PATH = 60
"""A socket's path may have 108 bytes on Linux, so this leaves 47 for the product's files below its state."""


def is_script(name: str) -> bool:
    """Return whether a journey file of this name is a script."""
    return not name.endswith(DATA_FILES)


class Provision(StrEnum):
    """Whether a missing token may be provisioned."""

    AUTO = "auto"
    NEVER = "never"


class Cache(StrEnum):
    """Whether states are restored from the cache, and stored there; `auto` means except on a CI system."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"

    def is_on(self, environment: Mapping[str, str]) -> bool:
        # As pytest decides that it runs on a CI system.
        on_ci = environment.get("CI") or environment.get("BUILD_NUMBER")
        return self is Cache.ON or (self is Cache.AUTO and not on_ci)


class Leaks(StrEnum):
    """What to do about processes that the steps of a journey leave running."""

    ALLOW = "allow"
    WARN = "warn"
    FAIL = "fail"


SIZE_UNITS = {
    "": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("", "k", "M", "G", "T"))},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
"""The bytes in each unit of a size; upper and lower case mean the same."""


class Size(int):
    """A number of bytes, also read from text such as `4096`, `500MB` or `1.5 GiB`; raises ValueError for other text."""

    def __new__(cls, given: str | int) -> Self:
        if isinstance(given, int):
            return super().__new__(cls, given)
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]*)", given.strip().lower(), re.ASCII)
        units = {unit.lower(): number for unit, number in SIZE_UNITS.items()}
        if match is None or match[2] not in units:
            raise ValueError(
                f"a size is a number of bytes, or has a unit, such as 500MB or 2GiB, not {given!r}"
            )
        return super().__new__(cls, float(match[1]) * units[match[2]])


# Dataclasses here: a worker that finds only plain tests does not need msgspec otherwise.
@dataclass(frozen=True, slots=True)
class Shard:
    """The part of the project that one machine of a CI matrix runs: number `index` (from 1) of `total`."""

    index: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.total:
            raise ValueError(f"--dogfood-shard {self}: I counts from 1 and is at most N")
        if self.total > MOST_SHARDS:
            raise ValueError(f"--dogfood-shard {self}: N is at most {MOST_SHARDS}")

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Shard:
        """Read `I/N`, or `ci` for the CI system's variables in `environment`.

        Raises ValueError with a message for the user.
        """
        if text == "ci":
            names = ("CI_NODE_INDEX", "CI_NODE_TOTAL")  # as GitLab sets them; the index counts from 1
            missing = [name for name in names if not environment.get(name)]
            if missing:
                raise ValueError(
                    f"--dogfood-shard ci needs the environment variables {' and '.join(names)}, "
                    f"but has no value for {' and '.join(missing)}; set both, or write I/N"
                )
            text = "/".join(environment[name] for name in names)
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if match is None:
            raise ValueError(f"--dogfood-shard is written I/N, as in 2/4, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options and ini values; raises ValueError with a message for the user if one is invalid.

    `timeout` is the limit of a step in seconds if nothing nearer sets one. `min_measured` is in percent; `copy_limit`
    and `cache_limit` are in bytes. `record` and `replay` are directories, `report` and `plan` are files, relative to
    where pytest was started; `cache_dir` is relative to the rootdir. `fleet_run` is the run that machines share, by the
    database at the URL `fleet`; these and `fleet_lease` are as they were given.
    """

    files: tuple[str, ...] = JOURNEY_FILES
    shard: Shard | None = None
    manifest: str | None = None
    provision: Provision = Provision.AUTO
    leaks: Leaks = Leaks.WARN
    blocked: tuple[Token, ...] = ()
    keep: bool = False
    check: bool = False
    format: str = "text"
    strict: bool = False
    secrets: tuple[str, ...] = ()
    min_measured: int = 50
    timeout: float = 300.0
    state_root: str | None = None
    dependency_markers: bool = False
    automark_dependency: bool = False
    ignore_unknown_dependency: bool = False
    actor: str | None = None
    actor_actions: int = 50
    actor_turns: int = 20
    actor_action_timeout: float = 60.0
    actor_answer_timeout: float = 120.0
    record: str | None = None
    replay: str | None = None
    report: str | None = None
    plan: str | None = None
    copy_limit: int = Size(2 * 1024**3)
    cache: Cache = Cache.AUTO
    cache_dir: str | None = None
    cache_limit: int = Size(5 * 1024**3)
    fleet_run: str | None = None
    fleet: str | None = None
    fleet_lease: str | None = None

    def __post_init__(self) -> None:
        for token in self.blocked:
            # Every process has settings, and few run journeys.
            from pytest_dogfood.journey import TOKEN_PATTERN

            if not TOKEN_PATTERN.fullmatch(token):
                raise ValueError(f"--dogfood-blocked {token!r} is not a token: tokens are kebab-case")
        if not 0 <= self.min_measured <= 100:
            raise ValueError(f"dogfood_min_measured is a percentage, 0 to 100, not {self.min_measured}")
        if not self.timeout > 0:
            raise ValueError(f"dogfood_timeout is a number of seconds above 0, not {self.timeout:g}")
        if self.record is not None and self.replay is not None:
            raise ValueError(
                "--dogfood-record needs an actor, and --dogfood-replay runs without one: use only one of them"
            )
        for name in ("actor_actions", "actor_turns", "actor_action_timeout", "actor_answer_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"dogfood_{name} is a number above 0, not {getattr(self, name):g}")
