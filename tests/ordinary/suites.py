"""Whole suites as their users wrote them, each run in many ways against one table of the right outcomes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from pytest_dogfood.cli.main import main
from tests.ordinary.model import BAD, UNFINISHED
from tests.ordinary.project import Project, Seen, outcomes

HERE = Path(__file__).parent
EVERY_WAY = os.environ.get("DOGFOOD_TEST_ORDINARY") == "all"
"""Whether to take the ways, too, that the daily tests leave out because of the time they take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite in the directory `name`, and what is right for it.

    `outcomes` has each item's outcome by node id: when the product is sound, and when it is broken by `broken`,
    variables of the environment, or by `patch`, a file and a text in it and what to write instead.
    `orders` are lines of the log in the order in which those that are there must stand, `released` maps a line to
    the one that must follow once it is there. `slow` makes the item `interrupted` last, which logs `begun`.
    """

    name: str
    outcomes: Mapping[str, tuple[str, str]]
    orders: Collection[tuple[str, ...]]
    released: Mapping[str, str]
    words: str
    one: str
    interrupted: str
    begun: str
    slow: Mapping[str, str]
    broken: Mapping[str, str] = field(default_factory=dict)
    patch: tuple[str, str, str] | None = None

    def right(self, selected: Collection[str], *, broken: bool = False) -> dict[str, str]:
        return {nodeid: self.outcomes[nodeid][broken] for nodeid in selected}

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(nodeid.partition("::")[0] for nodeid in self.outcomes))

    def ways(self) -> list[str]:
        """Name the ways to run it: those of every day, or all."""
        few = ["whole -n2", "words -n0", f"file {self.files[-1]} -n0", f"alone {self.one} -n0"]
        few += ["shards 2", "last-failed -n0", "interrupted -n0"]
        more = [f"file {file} -n{n}" for file in self.files for n in (0, 2)]
        more += [f"alone {nodeid} -n{n}" for nodeid in self.outcomes for n in (0, 2)]
        more += [
            "whole -n0",
            "whole -n1",
            "words -n2",
            "shards 3",
            "last-failed -n2",
            "interrupted -n1",
            "interrupted -n2",
        ]
        return list(dict.fromkeys([*few, *(more if EVERY_WAY else ())]))

    def complaints(self, way: str, directory: Path) -> list[str]:
        """Run a copy of the suite in one way; give what was wrong."""
        project = directory / "suite"
        shutil.copytree(HERE / self.name, project, ignore=shutil.ignore_patterns("__pycache__"))
        kind, *words = way.split()
        return list(KINDS[kind](Trial(suite=self, project=Project(project)), *words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A copy of a suite."""

    suite: Suite
    project: Project

    def run(self, *arguments: str, **environment: str) -> tuple[Seen, list[str]]:
        """Run it; give what is seen, and the lines of its log."""
        log = self.project.directory / "log"
        log.unlink(missing_ok=True)
        seen = self.project.run("-pno:randomly", *arguments, **environment)
        return seen, log.read_text().splitlines() if log.exists() else []

    def check(self, selected: Collection[str], *arguments: str, broken: bool = False) -> Iterator[str]:
        """Run something of it, and compare every outcome."""
        seen, log = self.run(*arguments, **(self.suite.broken if broken else {}))
        right = self.suite.right(selected, broken=broken)
        found = [*differences(right, seen.outcomes), *self.wrong_in(log)]
        if seen.status != bool(BAD & {*right.values()}):
            found.append(f"exit status {seen.status}")
        yield from (f"[{' '.join(arguments)}] {one}\n{seen.text}" for one in found)

    def wrong_in(self, log: list[str]) -> Iterator[str]:
        """Look for what was done twice, in a wrong order, or without its release."""
        yield from (f"'{line}' {times} times" for line, times in Counter(log).items() if times > 1)
        for order in self.suite.orders:
            there = [line for line in log if line in order]
            if there != [line for line in order if line in there]:
                yield f"wrong order: {there}"
        for made, release in self.suite.released.items():
            if made in log and release not in log[log.index(made) :]:
                yield f"'{made}' without '{release}'"


def differences(right: Mapping[str, str], seen: Mapping[str, str]) -> Iterator[str]:
    for nodeid, outcome in right.items():
        got = seen.get(nodeid.rpartition("::")[2], "no outcome")
        if got != outcome:
            yield f"{nodeid}: {got} instead of {outcome}"


def whole(trial: Trial, workers: str) -> Iterator[str]:
    yield from trial.check(trial.suite.outcomes, workers)


def words(trial: Trial, workers: str) -> Iterator[str]:
    """Select with `-k`."""
    wanted = trial.suite.words
    selected = [nodeid for nodeid in trial.suite.outcomes if wanted in nodeid.partition("::")[2]]
    yield from trial.check(selected, workers, "-k", wanted)


def file(trial: Trial, name: str, workers: str) -> Iterator[str]:
    selected = [nodeid for nodeid in trial.suite.outcomes if nodeid.startswith(f"{name}::")]
    yield from trial.check(selected, workers, name)


def alone(trial: Trial, nodeid: str, workers: str) -> Iterator[str]:
    yield from trial.check([nodeid], workers, nodeid)


def shards(trial: Trial, total: str) -> Iterator[str]:
    """Run all shards, the product being broken, and merge what they leave."""
    for number in range(1, int(total) + 1):
        _, log = trial.run(f"--dogfood-shard={number}/{total}", **_break(trial))
        yield from (f"[shard {number}] {one}" for one in trial.wrong_in(log))
    directory = trial.project.directory
    manifests = [str(path) for path in sorted(directory.glob("dogfood-shard-*.json"))]
    with redirect_stdout(StringIO()) as said:
        status = main(["merge", *manifests, "--junit", str(directory / "merged.xml")])
    right = trial.suite.right(trial.suite.outcomes, broken=True)
    yield from differences(right, outcomes(directory / "merged.xml"))
    if status != 1:
        yield f"exit status {status}\n{said.getvalue()}"


def _break(trial: Trial) -> Mapping[str, str]:
    if trial.suite.patch:
        name, old, new = trial.suite.patch
        path = trial.project.directory / name
        path.write_text(path.read_text().replace(old, new))
    return trial.suite.broken


def last_failed(trial: Trial, workers: str) -> Iterator[str]:
    """Run all with a broken product, then what failed, then that with the product mended."""
    suite, directory = trial.suite, trial.project.directory
    trial.project.remembers = True
    _break(trial)
    yield from trial.check(suite.outcomes, workers, broken=True)
    selected = [nodeid for nodeid, right in suite.outcomes.items() if right[1] in UNFINISHED]
    yield from trial.check(selected, workers, "--lf", broken=True)
    if trial.project.last_failed() != {*selected}:
        yield f"remembers {sorted(trial.project.last_failed())}"
    if suite.patch:
        shutil.copy2(HERE / suite.name / suite.patch[0], directory / suite.patch[0])
    yield from trial.check(selected, workers, "--lf")
    if trial.project.last_failed():
        yield f"still remembers {sorted(trial.project.last_failed())}"


def interrupted(trial: Trial, workers: str) -> Iterator[str]:
    """Press Ctrl-C while one item runs: what was made is released, and the report names it."""
    suite = trial.suite
    log = trial.project.directory / "log"
    run = trial.project.start("-pno:randomly", workers, **suite.slow)
    while run.process.poll() is None and not (log.exists() and suite.begun in log.read_text().splitlines()):
        time.sleep(0.05)
    time.sleep(0.3)
    run.process.send_signal(signal.SIGINT)
    seen = run.end()
    expected = {suite.interrupted.rpartition("::")[2]: "error"}
    found = [one for one in trial.wrong_in(log.read_text().splitlines()) if "times" not in one]
    if seen.status != signal.SIGINT:
        found.append(f"exit status {seen.status}")
    found += [
        f"{name}: {outcome}"
        for name, outcome in seen.outcomes.items()
        if outcome not in {expected.get(name, "passed"), "error" if workers == "-n2" else "passed"}
    ]
    if seen.outcomes.get(next(iter(expected))) != "error":
        found.append("the report does not name what was interrupted")
    yield from (f"{one}\n{seen.text}" for one in found)


KINDS: dict[str, Callable[..., Iterator[str]]] = {
    "whole": whole,
    "words": words,
    "file": file,
    "alone": alone,
    "shards": shards,
    "last-failed": last_failed,
    "interrupted": interrupted,
}
