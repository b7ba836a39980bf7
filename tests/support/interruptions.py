"""A project in which everything that a signal may meet can be met, and runs of it that signals end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from pytest_dogfood.session.signals import SECONDS_TO_COALESCE
from tests.support.live_projects import Live
from tests.support.run_results import inherited, leaving_out
from tests.support.waiting import until

JOURNEYS = r"""
    capabilities:
      machine-wide:
        scope: machine
        probe: test -f "$DOGFOOD_SHARED/m"
        provision: [{run: 'touch "$DOGFOOD_SHARED/m"'}]
        release: [{run: 'echo released machine-wide >>"$DOGFOOD_ROOT/log"'}]
      chain-wide:
        probe: test -f "$DOGFOOD_STATE/c"
        provision: [{run: 'touch "$DOGFOOD_STATE/c"'}]
        release: [{run: 'echo released chain-wide >>"$DOGFOOD_ROOT/log"'}]
      built:
        provision:
          - {run: echo id=7, save: {id: {stdout: 'id=(\d+)'}}}
          - {intent: build slowly, run: 'echo building; touch "$DOGFOOD_ROOT/running"; sleep 60'}
        release: [{run: 'echo released $DOGFOOD_RELEASE_OF built $DOGFOOD_BUILT_ID >>"$DOGFOOD_ROOT/log"'}]
      let-go:
        provision: [{run: 'true'}]
        release:
          - {intent: let go slowly, run: 'touch "$DOGFOOD_ROOT/running"; sleep 60'}
          - {run: 'echo released let-go >>"$DOGFOOD_ROOT/log"'}
    journeys:
      - id: in-step
        requires: [machine-wide, chain-wide]
        steps:
          - {run: echo id=9, save: {id: {stdout: 'id=(\d+)'}}}
          - {intent: walk, run: 'echo walking; touch "$DOGFOOD_ROOT/running"; sleep 60'}
        cleanup: [{run: 'echo cleaned in-step $id >>"$DOGFOOD_ROOT/log"'}]
      - id: in-stubborn-step
        requires: [machine-wide]
        steps: [{run: 'trap "" TERM INT HUP; touch "$DOGFOOD_ROOT/running"; while :; do sleep 1; done'}]
        cleanup: [{run: 'echo cleaned in-stubborn-step >>"$DOGFOOD_ROOT/log"'}]
      - id: in-expected-failure
        requires: [machine-wide]
        marks: [{xfail: {reason: known}}]
        steps: [{run: 'touch "$DOGFOOD_ROOT/running"; sleep 60'}]
      - id: in-slow-clean-up
        requires: [machine-wide]
        steps: [{run: 'touch "$DOGFOOD_ROOT/running"; sleep 60'}]
        cleanup: [{run: 'touch "$DOGFOOD_ROOT/cleaning"; sleep 60'}]
      - id: in-provision
        requires: [machine-wide, built]
        steps: [{run: 'true'}]
      - id: makes
        establishes: [made]
        steps: [{run: 'echo making; touch "$DOGFOOD_ROOT/running"; sleep 60'}]
        cleanup: [{run: 'echo cleaned makes >>"$DOGFOOD_ROOT/log"'}]
      - id: in-replay
        requires: [machine-wide, made]
        steps: [{run: 'true'}]
      - id: in-release
        requires: [machine-wide, let-go]
        steps: [{run: 'true'}]
        cleanup: [{run: 'echo cleaned in-release >>"$DOGFOOD_ROOT/log"'}]
      - id: in-fixture
        requires: [machine-wide]
        use: [slow]
        steps: [{run: 'true'}]
        cleanup: [{run: 'echo cleaned in-fixture >>"$DOGFOOD_ROOT/log"'}]
      - id: beside
        requires: [machine-wide]
        steps: [{run: 'touch "$DOGFOOD_ROOT/beside"; sleep 60'}]
        cleanup: [{run: 'sleep 0.5; echo cleaned beside >>"$DOGFOOD_ROOT/log"'}]
"""

CONFTEST = """
    import time
    from pathlib import Path

    import pytest

    HERE = Path(__file__).parent

    @pytest.fixture
    def slow():
        (HERE / "running").touch()
        try:
            time.sleep(60)
            yield
        finally:
            with (HERE / "log").open("a") as log:
                log.write("cleaned slow\\n")
"""

TESTS = """
    import time
    from pathlib import Path

    import pytest

    HERE = Path(__file__).parent

    @pytest.mark.requires("machine-wide")
    def test_sleeps():
        (HERE / "running").touch()
        time.sleep(60)

    @pytest.mark.requires("machine-wide")
    def test_swallows():
        (HERE / "running").touch()
        for _ in range(600):
            try:
                time.sleep(0.1)
            except BaseException:
                pass

    @pytest.mark.requires("machine-wide")
    def test_swallows_once():
        (HERE / "running").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
        time.sleep(60)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is left of a run that signals have ended: `told` are the errors of JUnit, by name."""

    status: int
    text: str
    log: Sequence[str]
    told: dict[str, str]
    last_failed: Sequence[str]


class Interruptions:
    """Runs of the project in `live`, each in a process group of its own, with the signals at their usual."""

    def __init__(self, live: Live) -> None:
        self.live = live
        live.write("a.journey.yaml", JOURNEYS).write("conftest.py", CONFTEST).write("test_it.py", TESTS)
        live.write("pytest.ini", "[pytest]\n")

    def start(self, *arguments: str, ignoring: str = "") -> subprocess.Popen[bytes]:
        """Start a run; its output goes to the file `output`."""
        for name in ("running", "beside", "cleaning", "log", "junit.xml"):
            (self.live.path / name).unlink(missing_ok=True)
        shell = f"trap '' {ignoring}; exec \"$@\"" if ignoring else 'exec "$@"'
        options = [*leaving_out(arguments), "-o", f"dogfood_state_root={self.live.state_root}"]
        command = [sys.executable, "-m", "pytest", "--dogfood", *options, "--junitxml=junit.xml", *arguments]
        with (self.live.path / "output").open("wb") as output:
            return subprocess.Popen(
                ["sh", "-c", shell, "sh", *command],
                cwd=self.live.path,
                env={**inherited(), self.live.marker: "1", "COLUMNS": "200"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, *names: str) -> None:
        """Wait until files are there that steps write; raises AssertionError if they do not come."""
        for name in names:
            appeared = until((self.live.path / name).exists)
            assert appeared, f"{name} does not appear:\n{(self.live.path / 'output').read_text()}"

    def end(self, started: subprocess.Popen[bytes]) -> Ended:
        """Wait for the end of a run."""
        status = started.wait(timeout=50)
        cache = self.live.path / ".pytest_cache/v/cache/lastfailed"
        return Ended(
            status=status,
            text=(self.live.path / "output").read_text(),
            log=self.live.lines("log"),
            told=_errors(self.live.path / "junit.xml"),
            last_failed=list(json.loads(cache.read_text())) if cache.exists() else [],
        )

    def interrupt(
        self,
        place: str,
        *arguments: str,
        number: signal.Signals = signal.SIGINT,
        group: bool = False,
        times: int = 1,
    ) -> Ended:
        """Run one item, under -n2 another beside it, and send a signal while it is where its name says."""
        beside = "-n2" in arguments
        started = self.start("-k", f"{place} or beside" if beside else place, *arguments)
        self.wait_for("running", *(["beside"] if beside else []))
        send(started, number, group=group)
        for _ in range(times - 1):
            send_later(started, number, group=group)
        return self.end(started)


def send(started: subprocess.Popen[bytes], number: signal.Signals, *, group: bool) -> None:
    """Send a signal to a run, or to its whole process group; one that has ended gets none."""
    if started.poll() is None:
        (os.killpg if group else os.kill)(started.pid, number)


def send_later(started: subprocess.Popen[bytes], number: signal.Signals, *, group: bool) -> None:
    """Send another signal once it no longer counts as the one before."""
    time.sleep(SECONDS_TO_COALESCE + 0.2)
    send(started, number, group=group)


def _errors(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - pytest has just written it
        for error in case.iter("error"):
            found[case.get("name", "")] = f"{error.get('message')}\n{error.text}"
    return found
