"""What a person, and JUnit, see of a finished run."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

NEIGHBOURS = {
    "randomly": "--randomly",
    "hypothesispytest": "--hypothesis",
    "pytest_cov": "--cov",
    "timeout": "--timeout",
    "rerunfailures": "--reruns",
}
"""Plugins that are installed beside ours, and how their options begin. Loading them takes longer than we do."""


def leaving_out(arguments: Collection[str], *others: str) -> list[str]:
    """Return the options that leave out the neighbours which `arguments` do not speak of, and `others`."""
    words = " ".join(arguments)
    names = [name for name, option in NEIGHBOURS.items() if option not in words]
    return [word for name in (*names, *others) for word in ("-p", f"no:{name}")]


def inherited() -> dict[str, str]:
    """Return the environment for a run: without what pytest has put there, and without its search for garbage.

    That would take a run a twelfth longer. As an option it would stand in the lines that reproduce a failure.
    """
    ours = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    return {**ours, "PYTEST_ADDOPTS": "-p no:unraisableexception"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What JUnit says of one item; `kind` is the tag within its test case, or "passed"."""

    kind: str
    message: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a person sees of a finished run: the exit status, the text, and per item what JUnit says."""

    status: int
    text: str
    cases: Mapping[str, Case]

    @property
    def closing_line(self) -> str:
        return next(
            line for line in self.text.splitlines() if re.match(r"dogfood: \d+ (journey|test).* = ", line)
        )


def read_junit(path: Path) -> dict[str, Case]:
    if not path.exists():
        return {}
    cases: dict[str, Case] = {}
    for element in ET.parse(path).iter("testcase"):  # noqa: S314 - pytest has just written it
        told = [child for child in element if child.tag in {"failure", "error", "skipped"}]
        case = Case(
            kind="+".join(child.tag for child in told) or "passed",
            message="\n".join(child.get("message", "") for child in told),
            properties={one.get("name", ""): one.get("value", "") for one in element.iter("property")},
        )
        cases[element.get("name", "")] = case
    return cases
