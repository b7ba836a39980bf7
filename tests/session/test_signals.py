"""However a run ends, nothing of it goes on running, and the next run does not notice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC, alive

if TYPE_CHECKING:
    from tests.support.live_projects import Eventually, Live

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a process was started with")

SCENE = """
    capabilities:
      web-up:
        scope: machine
        probe: test -f "$DOGFOOD_SHARED/up"
        service: {run: "echo $$ >>$DOGFOOD_ROOT/service; touch $DOGFOOD_SHARED/up; exec sleep 300"}
      own-server:
        probe: test -f "$DOGFOOD_STATE/own"
        service: {run: "touch $DOGFOOD_STATE/own; exec sleep 300"}
    journeys:
      - id: slow
        requires: [web-up, own-server]
        steps:
          - run: |
              if [ -e "$DOGFOOD_ROOT/quick" ]; then exit 0; fi
              if [ -e "$DOGFOOD_ROOT/broken" ]; then setsid sleep 300 & exit 3; fi
              setsid sh -c 'trap "" TERM; echo $$ >"$DOGFOOD_ROOT/grandchild"; while :; do sleep 1; done' &
              env -i setsid sh -c 'echo $$ >"$0"; exec sleep 300' "$DOGFOOD_ROOT/hidden" &
              sleep 300
      - {id: bystander, requires: [web-up], steps: [{run: "true"}]}
"""


@pytest.mark.parametrize(
    "number, workers",
    [(signal.SIGKILL, "-n0"), (signal.SIGKILL, "-n2"), (signal.SIGTERM, "-n2"), (signal.SIGINT, "-n0")],
)
def test_nothing_outlives_a_run_that_is_killed_and_the_next_run_is_unharmed(
    live: Live, eventually: Eventually, number: signal.Signals, workers: str
) -> None:
    live.write("slow.journey.yaml", SCENE)
    started = live.start(workers)
    assert eventually(lambda: bool(live.lines("grandchild") and live.lines("hidden")))
    assert len(live.lines("service")) == 1
    started.process.send_signal(number)
    assert started.end().status != 0
    assert eventually(lambda: live.running() == [] and not alive(int(live.lines("hidden")[0]), None))
    live.write("quick", "")
    run = live.run("-n0")
    assert (run.status, run.closing_line[:26]) == (0, "dogfood: 2 journeys = 2 pa")
    assert live.run_directories() == []
    assert live.running() == []


def test_what_a_killed_run_left_on_disk_is_cleared_by_the_next_and_a_live_run_is_not(
    live: Live, eventually: Eventually
) -> None:
    live.write("slow.journey.yaml", SCENE)
    killed = live.start("-n0")
    assert eventually(lambda: bool(live.lines("grandchild")))
    (left,) = live.run_directories()
    killed.process.kill()
    killed.end()
    assert eventually(lambda: live.running() == [])
    assert left.exists()
    (live.path / "grandchild").unlink()
    under_way = live.start("-n2")
    assert eventually(lambda: bool(live.lines("grandchild")))
    assert not left.exists()
    (mine,) = live.run_directories()
    live.write("quick", "")
    assert live.run("-n0").status == 0
    assert mine.exists()
    assert live.run_directories() == [mine]
    under_way.process.send_signal(signal.SIGINT)
    under_way.end()


def test_runs_that_start_together_leave_each_other_alone(live: Live) -> None:
    live.write("slow.journey.yaml", SCENE).write("quick", "")
    runs = [started.end() for started in [live.start("-n0") for _ in range(4)]]
    assert [run.status for run in runs] == [0] * 4
    assert len(live.lines("service")) == 4
    assert live.run_directories() == []


def test_a_first_failure_that_stops_the_run_leaves_nothing_running(live: Live) -> None:
    live.write("slow.journey.yaml", SCENE).write("broken", "")
    run = live.run("-n2", "-x")
    assert run.status != 0
    assert run.cases["slow"].kind == "failure"
    assert live.running() == []
