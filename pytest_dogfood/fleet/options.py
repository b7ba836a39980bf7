"""The options of a run on several machines: its name, its database, its lease; and what they cannot be used with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from pytest_dogfood.database import FLEET_VARIABLE

SHORTEST_LEASE, LONGEST_LEASE = 10.0, 600.0

_NAME = re.compile(r"[A-Za-z0-9._/-]{1,100}", re.ASCII)

_CI_RUNS: Mapping[str, tuple[str, ...]] = {
    "GitHub": ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT"),
    "GitLab": ("CI_PIPELINE_ID",),
    "Buildkite": ("BUILDKITE_BUILD_ID",),
}
"""The variables that name one pipeline on each CI system, the same for all of its jobs."""


class RunName(Struct, frozen=True):
    """The name of a run. `by_ci` says that the CI system chose it, so that a job that is run again has the same."""

    text: str
    by_ci: bool = False

    def __str__(self) -> str:
        return self.text


def run_name(given: str, environment: Mapping[str, str]) -> RunName:
    """Read the value of --dogfood-fleet: a name, `ci`, or `ci/NAME`; raises ValueError with words for the user."""
    first, slash, rest = given.partition("/")
    text, by_ci = given, first == "ci"
    if by_ci:
        if slash and not rest:
            raise ValueError(f"--dogfood-fleet {given}: write ci, or ci/NAME")
        text = f"{_name_of_pipeline(environment)}{slash}{rest}"
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"--dogfood-fleet {given!r}: a run's name has 1 to 100 letters, digits and characters of ._/-"
        )
    return RunName(text, by_ci)


def _name_of_pipeline(environment: Mapping[str, str]) -> str:
    for names in _CI_RUNS.values():
        values = [environment.get(name, "") for name in names]
        if all(values):
            return ".".join(values)
    looked_for = "; ".join(f"{' and '.join(names)} ({system})" for system, names in _CI_RUNS.items())
    raise ValueError(
        f"--dogfood-fleet ci needs a CI system that names its pipelines, and found none: looked for {looked_for}; "
        "write a name of your own, the same on all machines"
    )


def lease_seconds(given: str | None) -> float:
    """Read the ini key dogfood_fleet_lease, in seconds; raises ValueError with words for the user."""
    try:
        seconds = float(given) if given else 30.0
    except ValueError:
        seconds = 0.0
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise ValueError(
            f"dogfood_fleet_lease is a number of seconds from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g}, not {given!r}"
        )
    return seconds


def url_of(environment: Mapping[str, str], configured: str | None) -> str:
    """Return the URL of the database, from the environment or else the ini file; raises ValueError if there is none."""
    url = environment.get(FLEET_VARIABLE) or configured or ""
    if not url:
        raise ValueError(
            "a run on several machines needs a database that all of them reach: "
            f"name it, as in {FLEET_VARIABLE}=postgresql://user@host/database, or as dogfood_fleet in the ini file"
        )
    return url
