"""Random projects as files: their journeys write down, outside of any state, what they do and what they miss."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from pytest_dogfood.journey import Capability, Journey, JourneyId, Token
from tests.support.run_results import inherited
from tests.support.strategies import Scene

SETTINGS = "dogfood.yaml"
SHARED = "shared"
"""What the log calls the place of machine-wide tokens."""

NOT_NEEDED = ("cacheprovider", "hypothesispytest", "cov", "timeout", "rerunfailures")
"""Plugins that would cost every process of a run more time than all the rest."""

TEST_MODULE = """
import os
import subprocess

import pytest


def in_shell(state, text):
    shared = state.parent / "shared"
    shared.mkdir(exist_ok=True)
    places = {"DOGFOOD_STATE": str(state), "DOGFOOD_SHARED": str(shared)}
    subprocess.run(["bash", "-ec", text], env={**os.environ, **places}, check=True)
"""
"""What the Python tests of a project share: they do what journeys do."""

LIMIT = 300
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: `start`, `end`, `fail` or `violation` of a journey, `provision` of a token, and where.

    With `found` it has in place of where the journeys that have begun in the state before.
    """

    what: str
    who: str
    where: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What is left of a run: the outcomes as JUnit has them, the log, and what a person reads."""

    outcomes: dict[str, str]
    log: tuple[Event, ...]
    text: str
    status: int
    arguments: tuple[str, ...] = ()


@dataclass(slots=True)
class Project:
    """A scene in a directory, to be run by pytest in a process of its own."""

    scene: Scene
    directory: Path
    reads: Mapping[JourneyId, JourneyId] = field(default_factory=dict)
    """The journeys that fail unless another one has begun in their state before, which they do not declare."""
    runs: int = 0
    _by_id: dict[str, Journey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_id = {journey.id: journey for journey in self.scene.journeys}
        capabilities = {one.token: self._written_capability(one) for one in self.scene.capabilities}
        self._write(SETTINGS, {"capabilities": capabilities})
        files: dict[str, list[object]] = defaultdict(list)
        tests: dict[str, list[str]] = defaultdict(list)
        for journey in self.scene.journeys:
            if journey.python:
                tests[journey.path].append(self._written_as_test(journey))
            else:
                files[journey.path].append(self._written(journey))
        for path, journeys in files.items():
            self._write(path, {"journeys": journeys})
        for path, functions in tests.items():
            (self.directory / path).write_text("\n\n".join([TEST_MODULE, *functions]))
        (self.directory / "pytest.ini").write_text("[pytest]\ndogfood_min_measured = 0\n")

    def before_each(self, shell: str) -> None:
        """Let every journey run some more shell text before it does anything else."""
        for path in self.directory.glob("*.journey.yaml"):
            content = json.loads(path.read_text())
            for journey in content["journeys"]:
                journey["steps"].insert(0, {"run": shell})
            self._write(path.name, content)

    def run(self, *arguments: str, crash: str = "") -> Seen:
        """Run `pytest --dogfood` once; the journey `crash` kills its worker."""
        self.runs += 1
        log = self.directory / f"log{self.runs}"
        report = self.directory / f"report{self.runs}.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--dogfood",
            "-q",
            *(f"-pno:{name}" for name in NOT_NEEDED),
        ]
        command += ["-o", f"dogfood_state_root={self.directory / 's'}", f"--junitxml={report}", *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**inherited(), "DF_LOG": str(log), "DF_CRASH": crash},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        lines = log.read_text().splitlines() if log.exists() else []
        events = tuple(Event(*line.split()) for line in lines)
        return Seen(dict(_outcomes(report)), events, done.stdout, done.returncode, arguments)

    def complaints(self, seen: Seen, selected: list[JourneyId]) -> list[str]:
        """Return everything in the log of a run that the guarantee forbids."""
        return [
            *self.missed(seen),
            *self._starts_before_an_establisher_ended(seen.log, selected),
            *self._runs_without_cause(seen.log, selected),
        ]

    def missed(self, seen: Seen) -> list[str]:
        """Return the tokens that journeys required and that were not there when they ran."""
        missing = [f"{one.who} misses {one.where}" for one in seen.log if one.what == "violation"]
        return [*missing, *self._starts_without_tokens(seen.log)]

    def _starts_without_tokens(self, log: Iterable[Event]) -> Iterator[str]:
        """Yield the journeys that began without a token in their state; those that copies may have are left out."""
        holds: set[tuple[Token, str]] = set()
        for event in log:
            if event.what == "found":
                continue
            if event.what == "provision":
                holds.add((Token(event.who), event.where))
                continue
            journey = self._by_id[event.who]
            if event.what == "start":
                for token in journey.requires:
                    copied = self.scene.capability(token).copyable
                    if not copied and (token, self._place(token, event.where)) not in holds:
                        yield f"{event.who} starts in {event.where}, where nobody brought {token} about"
            elif event.what == "end":
                holds -= {(token, self._place(token, event.where)) for token in journey.invalidates}
                holds |= {(token, self._place(token, event.where)) for token in journey.establishes}

    def _starts_before_an_establisher_ended(
        self, log: Iterable[Event], selected: list[JourneyId]
    ) -> Iterator[str]:
        ended: set[str] = set()
        started: set[str] = set()
        run = {event.who for event in log if event.what == "start"}
        for event in log:
            if event.what in {"end", "fail"}:
                ended.add(event.who)
            elif event.what == "start" and event.who not in started and event.who in selected:
                started.add(event.who)
                for token in self._by_id[event.who].requires:
                    for other in self.scene.establishers(token):
                        if other.id in selected and other.id in run - ended:
                            yield f"{event.who} starts before {other.id} has ended"

    def _runs_without_cause(self, log: Iterable[Event], selected: list[JourneyId]) -> Iterator[str]:
        expected = self.scene.expected(selected)
        starts = Counter((event.who, event.where) for event in log if event.what == "start")
        in_all = Counter(event.who for event in log if event.what == "start")
        ends = Counter(event.who for event in log if event.what == "end")
        provisions = Counter((event.who, event.where) for event in log if event.what == "provision")
        for (who, where), times in starts.items():
            lost = sum(
                ends[one.id] for token in self._by_id[who].establishes for one in self.scene.destroyers(token)
            )
            if times > 1 + lost:
                yield f"{who} ran {times} times in {where}, and {lost} times something was lost"
        for journey_id, outcome in expected.items():
            wanted = 1 if outcome in {"passed", "failed"} else 0
            exactly = not self._by_id[journey_id].establishes or self._is_simple()
            if (in_all[journey_id] != wanted) if exactly else (bool(in_all[journey_id]) != bool(wanted)):
                yield f"{journey_id} ({outcome}) ran {in_all[journey_id]} times"
        for (token, where), times in provisions.items():
            lost = sum(ends[one.id] for one in self.scene.destroyers(Token(token)))
            if times > 1 + lost:
                yield f"{token} was provisioned {times} times in {where}, and {lost} times it was lost"

    def _is_simple(self) -> bool:
        """Return whether nothing is ever lost, and no chain's token is needed in the state of another chain."""
        return not any(journey.invalidates for journey in self.scene.journeys) and not any(
            capability.requires for capability in self.scene.capabilities
        )

    def _place(self, token: Token, state: str) -> str:
        return SHARED if self.scene.is_shared(token) else state

    def _file(self, token: Token) -> str:
        return f'"$DOGFOOD_{"SHARED" if self.scene.is_shared(token) else "STATE"}/{token}"'

    def _shell(self, journey: Journey) -> str:
        lines = [
            'say() { printf "%s\\n" "$*" >> "$DF_LOG"; }',
            f'say start {journey.id} "$DOGFOOD_STATE"',
            f'say found {journey.id} "$(cat "$DOGFOOD_STATE/began" 2>/dev/null)".',
            f'printf {journey.id}- >> "$DOGFOOD_STATE/began"',
            f'[ "$DF_CRASH" = {journey.id} ] && kill -9 $PPID',
        ]
        lines += [
            f"test -e {self._file(one)} || say violation {journey.id} {one}" for one in journey.requires
        ]
        other = self.reads.get(journey.id)
        if other is not None:
            given_up = f'{{ say fail {journey.id} "$DOGFOOD_STATE"; exit 1; }}'
            lines.append(f'[[ "$(cat "$DOGFOOD_STATE/began")" == *{other}-* ]] || {given_up}')
        if journey.id in self.scene.failing:
            lines += [f'say fail {journey.id} "$DOGFOOD_STATE"', "exit 1"]
        lines += [f"rm -f {self._file(token)}" for token in journey.invalidates]
        lines += [f": > {self._file(token)}" for token in journey.establishes]
        lines.append(f'say end {journey.id} "$DOGFOOD_STATE"')
        return "\n".join(lines)

    def _written(self, journey: Journey) -> dict[str, object]:
        return {
            "id": journey.id,
            "requires": list(journey.requires),
            "establishes": list(journey.establishes),
            "invalidates": list(journey.invalidates),
            "tier": str(journey.tier),
            "gating": journey.gating,
            "marks": [mark.name for mark in journey.marks],
            "steps": [{"run": self._shell(journey)}],
        }

    def _written_as_test(self, journey: Journey) -> str:
        marks = [f"@pytest.mark.{mark.name}" for mark in journey.marks]
        marks += [f"@pytest.mark.requires({token!r})" for token in journey.requires]
        marks += [f"@pytest.mark.establishes({token!r})" for token in journey.establishes]
        marks += [f"@pytest.mark.invalidates({token!r})" for token in journey.invalidates]
        name = journey.nodeid.partition("::")[2]
        return "\n".join(
            [
                *marks,
                f"def {name}(dogfood_state):",
                f"    in_shell(dogfood_state, {self._shell(journey)!r})",
                "",
            ]
        )

    def _written_capability(self, capability: Capability) -> dict[str, object]:
        file = self._file(capability.token)
        written: dict[str, object] = {"scope": str(capability.scope), "requires": list(capability.requires)}
        written |= {"copyable": True} if capability.copyable else {}
        if capability.probe:
            written["probe"] = f"test -e {file}"
        if capability.provision:
            place = SHARED if self.scene.is_shared(capability.token) else "$DOGFOOD_STATE"
            say = f'printf "%s\\n" "provision {capability.token} {place}" >> "$DF_LOG"'
            written["provision"] = [{"run": f": > {file}; {say}"}]
        return written

    def _write(self, name: str, content: object) -> None:
        (self.directory / name).write_text(json.dumps(content, indent=1))


def _outcomes(report: Path) -> Iterator[tuple[str, str]]:
    words = {"failure": "failed", "error": "error", "skipped": "deferred"}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        found = [words[child.tag] for child in case if child.tag in words]
        yield str(case.get("name")), found[0] if found else "passed"
