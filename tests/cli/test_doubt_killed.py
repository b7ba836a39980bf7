"""`dogfood doubt` that is killed or interrupted at each experiment in turn finds what it finds without that."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest

from pytest_dogfood.execution.watcher import alive
from tests.support.doubted_shops import SHOP, Doubted
from tests.support.waiting import until

MACHINE = """
      served:
        scope: machine
        service:
          run: |
            trap 'rm "$DOGFOOD_ROOT/alive"; exit' TERM
            echo $$ >"$DOGFOOD_ROOT/alive"
            while :; do sleep 0.1; done
        probe: test -s "$DOGFOOD_ROOT/alive"
      up:
        scope: machine
        requires: [served]
        probe: test -e "$DOGFOOD_ROOT/up"
        provision: ['touch "$DOGFOOD_ROOT/up"; echo up >>"$DOGFOOD_ROOT/machine"']
        release: ['rm "$DOGFOOD_ROOT/up"; echo down >>"$DOGFOOD_ROOT/machine"']
    journeys:"""

# Of all that log in, one stops there: the first if it is number $STOP.
STOPPING = """'echo >>"$DOGFOOD_ROOT/tries"; test $(wc -l <"$DOGFOOD_ROOT/tries") -ne $STOP || """
STOPPING += """{ touch "$DOGFOOD_ROOT/stopped"; exec sleep 1000; }; touch"""

TEXT = SHOP.replace("'touch", STOPPING).replace("requires: [logged-in]", "requires: [logged-in, up]")
SHOPS = TEXT.replace("\n    journeys:", MACHINE)


def left_running(root: Path) -> Iterator[int]:
    """Yield the processes that have to do with a directory."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid() and alive(int(path.name), None):
            try:
                told = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(root) in told:
                yield int(path.name)


def start_and_stop(project: Doubted, stop: int) -> subprocess.Popen[str]:
    """Start the command; return once it has ended, or has come to the experiment at which it stops."""
    (project.path / "stopped").unlink(missing_ok=True)
    process = project.start(STOP=str(stop))
    while process.poll() is None and not (project.path / "stopped").exists():
        time.sleep(0.02)
    return process


def experiments_done(project: Doubted) -> int:
    return sum(len(one.done) for one in project.record.chains.values())


def findings(out: str) -> list[str]:
    """Return what is said of findings, without the directories and times of single runs."""
    lines = out[out.index("shop.journey.yaml") : out.index("doubt: ")].splitlines()
    return [line for line in lines if "/c0-" not in line and "took:" not in line]


@pytest.fixture
def project(tmp_path: Path, short_root: Path) -> Doubted:
    return Doubted(tmp_path, short_root)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_killed_or_interrupted_at_each_experiment_it_finds_the_same(project: Doubted, tmp_path: Path) -> None:
    project.write({"shop.journey.yaml": SHOPS})
    status, out, err = project.doubt("--record", "record.json", "--patch", "whole.patch", STOP="0")
    assert (status, "1 finding, 0 unclear, 0 not tested; " in out) == (1, True), out + err
    begun = len(project.lines("tries"))  # each experiment has one log-in
    for done, number in enumerate(islice(cycle([signal.SIGINT, signal.SIGKILL, signal.SIGTERM]), begun)):
        assert experiments_done(project) == max(done - 1, 0)
        process = start_and_stop(project, begun + 2 * done + 1)
        process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode == (-number if number == signal.SIGKILL else 130), err
        assert until(lambda: not [*left_running(tmp_path)])
        if number != signal.SIGKILL:
            assert project.lines("machine")[-1:] in ([], ["down"])
            assert not (project.path / "up").exists()
    assert experiments_done(project) == begun - 1
    process = start_and_stop(project, 0)
    ended, err = process.communicate()
    assert process.returncode == 1, ended + err
    assert findings(ended) == findings(out.replace("whole.patch", "doubt.patch"))
    assert (project.path / "doubt.patch").read_bytes() == (project.path / "whole.patch").read_bytes()
    machine = project.lines("machine")
    assert machine == ["up", "down"] * (len(machine) // 2)
    left = [path.name for path in project.states.iterdir() if path.is_dir()]
    assert [name for name in left if not name.startswith("machine-")] == []
