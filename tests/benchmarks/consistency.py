"""What `dogfood consistency` costs on many tasks, and how much of that is git's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import scratch
from tests.benchmarks.measuring import Row, processor, wall

TASK = """\

## T{task:02} — Do thing {task} of plan {plan}

Why it is wanted, and `how` to do it.

```task
id: BENCH-WP-{plan:04}-T{task:02}
status: todo
```

- a point
- another one

```python
print({task})
```
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """One run of a command, start of the interpreter included, and what git took of it."""

    whole: float
    processor: float
    git: float
    fetch: float


def consistency(times: int, *, files: int = 50, each: int = 20) -> list[Row]:
    """Time a first fix, a check, and a fix that has nothing to do, in a clone of a remote on this disk."""
    with scratch() as directory:
        environment = _isolated(directory)
        clone = _cloned(directory, environment, files=files, each=each)
        for words in (["hub", "init"], ["hub", "register", str(clone), "--slug", "bench"]):
            _timed(words, clone, environment)
        first = _timed(["consistency", "fix"], clone, environment)
        checks = [_timed(["consistency", "check"], clone, environment) for _ in range(times)]
        fixes = [_timed(["consistency", "fix"], clone, environment) for _ in range(times)]
    count = f"{files * each:,} tasks in {files} files"
    return [
        _row(f"consistency check, {count}, besides git, s", checks, [one.git for one in checks], 1.0),
        _row(
            f"consistency fix, {count}, nothing to do, besides fetch, s",
            fixes,
            [one.fetch for one in fixes],
            0.5,
        ),
        Row(
            what=f"consistency fix, {count}, all new to the hub, ms per task",
            ours=(first.whole - first.git) * 1000 / (files * each),
            note="one synced transaction each",
        ),
    ]


def _row(what: str, runs: list[Seconds], shares: list[float], target: float) -> Row:
    ours = median(one.whole - share for one, share in zip(runs, shares, strict=True))
    peers = {
        "within git, s": median(one.git for one in runs),
        "fetch, s": median(one.fetch for one in runs),
        "all, s": median(one.whole for one in runs),
        "processor, s": median(one.processor for one in runs),
    }
    return Row(what=what, ours=ours, target=target, peers=peers)


def _timed(words: list[str], clone: Path, environment: Mapping[str, str]) -> Seconds:
    trace = clone.parent / "trace.json"
    trace.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest_dogfood", *words]

    def run() -> None:
        subprocess.run(
            command,
            cwd=clone,
            env={**environment, "GIT_TRACE2_EVENT": str(trace)},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    whole: list[float] = []
    used = processor(lambda: whole.append(wall(run)))
    taken = _seconds_of_git(trace)
    return Seconds(whole=whole[0], processor=used, git=sum(taken.values()), fetch=taken.get("fetch", 0.0))


def _seconds_of_git(trace: Path) -> dict[str, float]:
    """Add up, by command, how long each git ran that we have started ourselves."""
    names: dict[str, str] = {}
    taken: dict[str, float] = {}
    for line in trace.read_text().splitlines() if trace.exists() else ():
        event = json.loads(line)
        if "/" in event["sid"]:
            continue  # a git that was started by a git
        if event["event"] == "cmd_name":
            names[event["sid"]] = event["name"]
        elif event["event"] == "atexit":
            name = names.get(event["sid"], "")
            taken[name] = taken.get(name, 0.0) + event["t_abs"]
    return taken


def _isolated(directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DOGFOOD_"))}
    person = {
        f"GIT_{who}_{what}": "bench@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return {
        **kept,
        **person,
        "HOME": str(directory),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DOGFOOD_HUB": str(directory / "hub.sqlite"),
        "DOGFOOD_DATA_DIR": str(directory / "data"),
    }


def _cloned(directory: Path, environment: Mapping[str, str], *, files: int, each: int) -> Path:
    first, plans = directory / "first", directory / "first" / "workplans"
    plans.mkdir(parents=True)
    for plan in range(files):
        tasks = "".join(TASK.format(plan=plan, task=task) for task in range(each))
        (plans / f"BENCH-WP-{plan:04}.md").write_text(f"---\ntype: workplan\n---\n\n# Plan {plan}\n{tasks}")
    for words in (
        ["init", "--quiet", str(first)],
        ["-C", str(first), "add", "."],
        ["-C", str(first), "commit", "--quiet", "--message=plans"],
        ["clone", "--quiet", "--bare", str(first), str(directory / "origin.git")],
        ["clone", "--quiet", str(directory / "origin.git"), str(directory / "clone")],
    ):
        subprocess.run(["git", *words], env=dict(environment), check=True)
    return directory / "clone"
