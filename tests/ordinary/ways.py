"""The ways to run a project. Each gives what was wrong: every one has to come to the outcomes of the one model."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from random import Random

from pytest_dogfood.cli.main import main
from pytest_dogfood.execution import watcher
from tests.ordinary.judge import Judge
from tests.ordinary.model import BAD, UNFINISHED, Model
from tests.ordinary.project import Project, Run, Seen, outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One project, and the die that chooses workers, order and selection."""

    model: Model
    project: Project
    dice: Random

    def options(self) -> list[str]:
        workers = self.dice.choice([0, 0, 0, 1, 2, 2, 3])
        order = self.dice.choice(
            ["-pno:randomly", "-pno:randomly", f"--randomly-seed={self.dice.randrange(1000)}"]
        )
        return [f"-n{workers}", order]

    def wrong(
        self, seen: Seen, selected: Collection[str], *, mended: bool = False, attempts: int = 1
    ) -> list[str]:
        """Return what is wrong with a run that went through its selection."""
        expected = self.model.expected(selected, self.model.ids if mended else ())
        found = [
            *self.differences(expected, seen.outcomes),
            *Judge(self.model, seen.log).complaints(expected, attempts=attempts),
            *self.left_running(),
        ]
        if seen.status not in ({1} if BAD & {*expected.values()} else {0, 1}):
            found.append(f"exit status {seen.status}")
        return [f"[{seen.command}] {complaint}" for complaint in found]

    def differences(self, expected: Mapping[str, str], seen: Mapping[str, str]) -> Iterator[str]:
        """Compare outcomes; a Python test that nobody has selected may have come back as a prerequisite."""
        names = {item.name: item for item in self.model.items}
        for name, outcome in expected.items():
            got = seen.get(self.model.item(name).name, "no outcome")
            if got != outcome:
                yield f"{name}: {got} instead of {outcome}"
        for name in seen:
            if name not in names or (names[name].id not in expected and not names[name].establishes):
                yield f"{name}: ran without being asked for"

    def left_running(self) -> Iterator[str]:
        for pid in watcher.pids():
            if watcher.carries(pid, f"DF_PROJECT={self.project.directory}") and watcher.alive(pid, None):
                yield f"process {pid} is left running"


def whole(trial: Trial) -> list[str]:
    return trial.wrong(trial.project.run(*trial.options()), trial.model.ids)


def by_name(trial: Trial) -> list[str]:
    """Select some items with `-k`."""
    ids = trial.model.ids
    selected = trial.dice.sample(ids, trial.dice.randint(1, len(ids)))
    return trial.wrong(trial.project.run(*trial.options(), "-k", " or ".join(selected)), selected)


def alone(trial: Trial) -> list[str]:
    """Name one item."""
    item = trial.dice.choice(trial.model.items)
    return trial.wrong(trial.project.run(*trial.options(), item.nodeid), [item.id])


def by_file(trial: Trial) -> list[str]:
    """Name some of the files."""
    files = sorted({item.file for item in trial.model.items})
    named = trial.dice.sample(files, trial.dice.randint(1, len(files)))
    selected = [item.id for item in trial.model.items if item.file in named]
    return trial.wrong(trial.project.run(*trial.options(), *named), selected)


def shards(trial: Trial) -> list[str]:
    """Run two or three shards, and merge what they leave."""
    total = trial.dice.choice([2, 3])
    found: list[str] = []
    manifests: list[str] = []
    for number in range(1, total + 1):
        seen = trial.project.run(*trial.options(), f"--dogfood-shard={number}/{total}")
        found += [f"[{seen.command}] {one}" for one in Judge(trial.model, seen.log).always()]
        manifests.append(str(trial.project.directory / f"dogfood-shard-{number}-of-{total}.json"))
    report = trial.project.directory / "merged.xml"
    with redirect_stdout(StringIO()) as said:
        status = main(["merge", *manifests, "--junit", str(report)])
    expected = trial.model.expected(trial.model.ids)
    found += [f"[merge of {total}] {one}" for one in trial.differences(expected, outcomes(report))]
    if status != bool(BAD & {*expected.values()}):
        found.append(f"[merge of {total}] exit status {status}: {said.getvalue()}")
    return found


def last_failed(trial: Trial) -> list[str]:
    """Run the whole, then `--lf`, then `--lf` with everything mended."""
    model, project = trial.model, trial.project
    mended = project.directory / "mended"
    shutil.rmtree(project.directory / ".pytest_cache", ignore_errors=True)
    project.remembers = True
    selected = model.ids
    found: list[str] = []
    for arguments, is_mended in (([], False), (["--lf"], False), (["--lf"], True)):
        if is_mended:
            mended.touch()
        seen = project.run(*trial.options(), *arguments)
        found += trial.wrong(seen, selected, mended=is_mended)
        expected = model.expected(selected, model.ids if is_mended else ())
        selected = [name for name, outcome in expected.items() if outcome in UNFINISHED]
        remembered = {model.item(name).nodeid for name in selected}
        if project.last_failed() != remembered:
            found.append(
                f"[{seen.command}] remembers {sorted(project.last_failed())}, not {sorted(remembered)}"
            )
        if not selected:
            break
    mended.unlink(missing_ok=True)
    project.remembers = False
    return found


def reruns(trial: Trial) -> list[str]:
    """Let some items fail once, and pass when they are run again."""
    expected = trial.model.expected(trial.model.ids)
    sound = [item.id for item in trial.model.items if expected[item.id] == "passed" and not item.mark]
    flaky = trial.dice.sample(sound, min(len(sound), 2))
    seen = trial.project.run(*trial.options(), "--reruns=1", DF_FLAKY=" ".join(flaky))
    return trial.wrong(seen, trial.model.ids, attempts=2)


def first_failure(trial: Trial) -> list[str]:
    """Stop at the first failure: what was running and what was made is not forgotten."""
    seen = trial.project.run(*trial.options(), "-x")
    found = [*Judge(trial.model, seen.log).always(), *trial.left_running(), *_wrong_in_report(trial, seen)]
    if seen.status not in {1, 2} and BAD & {*trial.model.expected(trial.model.ids).values()}:
        found.append(f"exit status {seen.status}")
    return [f"[{seen.command}] {one}" for one in found]


def signals(trial: Trial) -> list[str]:
    """Interrupt a run when something or other has begun; once in four times, twice."""
    dice = trial.dice
    number = dice.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    run = trial.project.start(*trial.options(), DF_SLOW="0.3")
    _wait_for_events(run, dice.randint(1, 3 * len(trial.model.items)))
    time.sleep(dice.random() * 0.3)
    send = dice.choice([os.kill, os.killpg])
    with suppress(ProcessLookupError):
        send(run.process.pid, number)
    again = dice.random() < 0.25
    if again:
        time.sleep(dice.random())
        with suppress(ProcessLookupError):
            send(run.process.pid, number)
    seen = run.end()
    how = f"{number.name} {'twice ' if again else ''}by {send.__name__}"
    found = list(trial.left_running())
    # It may come when all is reported, and only Python has to end.
    ended_by_it = seen.status == -number and (again or seen.is_reported)
    if seen.status not in {0, 1, 2} and not ended_by_it:
        found.append(f"exit status {seen.status}")
    if seen.status == 2 and not again:
        found += Judge(trial.model, seen.log).always()
    found += _wrong_in_report(trial, seen)
    return [f"[{seen.command}, {how}, after {len(seen.log)} events] {one}" for one in found]


def _wait_for_events(run: Run, number: int) -> None:
    while len(run.events()) < number and run.process.poll() is None:
        time.sleep(0.05)


def _wrong_in_report(trial: Trial, seen: Seen) -> Iterator[str]:
    """Look into the report of an interrupted run: what it names has its outcome, or was interrupted."""
    if not seen.outcomes and any(event.what == "end" for event in seen.log):
        yield "the report names nothing"
    expected = trial.model.expected(trial.model.ids)
    for item in trial.model.items:
        if seen.outcomes.get(item.name, "error") not in {expected[item.id], "error"}:
            yield f"{item.id}: {seen.outcomes[item.name]} instead of {expected[item.id]}, or interrupted"


WAYS: dict[str, Callable[[Trial], list[str]]] = {
    "whole": whole,
    "by-name": by_name,
    "alone": alone,
    "by-file": by_file,
    "shards": shards,
    "last-failed": last_failed,
    "reruns": reruns,
    "first-failure": first_failure,
    "signals": signals,
}
