"""A service lives as long as somebody needs it, whoever started it and however that one ended."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC, alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.live_projects import Eventually, Live
    from tests.support.run_results import Run

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a process was started with")

REACH = """
    import os
    import socket
    socket.create_connection(("127.0.0.1", int(os.environ["DOGFOOD_WEB_UP_PORT"]))).close()
"""
PROBE = 'python3 "$DOGFOOD_ROOT/reach.py"'
CHAINED_LIVES = 'kill -0 "$(head -n1 "$DOGFOOD_ROOT/chained")"'

WEB = f"""
    capabilities:
      web-up:
        scope: machine
        service:
          run: |
            echo $$ >>"$DOGFOOD_ROOT/web"
            echo "on $DOGFOOD_WEB_UP_PORT and $DOGFOOD_WEB_UP_ADMIN as $DOGFOOD_WORKER"
            sleep 0.3
            exec python3 -m http.server "$DOGFOOD_WEB_UP_PORT" --bind 127.0.0.1
          ports: [port, admin]
        probe: |
          echo asked >>"$DOGFOOD_ROOT/asked"
          {PROBE} 2>/dev/null
      chained:
        probe: test -f "$DOGFOOD_STATE/chained"
        service: {{run: 'echo $$ >>"$DOGFOOD_ROOT/chained"; touch "$DOGFOOD_STATE/chained"; exec sleep 300'}}
      over: {{scope: machine, outlives: [web-up]}}
      used-up: {{outlives: [chained, used]}}
      mute:
        scope: machine
        timeout: 0.5
        probe: "false"
        service: {{run: echo started >>"$DOGFOOD_ROOT/mute"; exec sleep 300}}
      broken:
        scope: machine
        probe: "false"
        service: {{run: "echo started >>$DOGFOOD_ROOT/broken; echo cannot bind; exit 7"}}
    journeys:
      - {{id: user-1, requires: [web-up], establishes: [over], steps: [{{run: '{PROBE}'}}]}}
      - {{id: user-2, requires: [web-up], establishes: [over], steps: [{{run: '{PROBE}'}}]}}
      - id: user-3
        requires: [web-up]
        establishes: [over]
        steps: [{{run: 'echo "$DOGFOOD_WEB_UP_PORT $DOGFOOD_WEB_UP_ADMIN" >"$DOGFOOD_ROOT/ports"; {PROBE}'}}]
      - id: afterwards
        requires: [over]
        steps:
          - run: DOGFOOD_WEB_UP_PORT=$(cut -d" " -f1 "$DOGFOOD_ROOT/ports") {PROBE}
            until: {{timeout: 20}}
            expect_exit: nonzero
      - {{id: chain-1, requires: [chained], establishes: [used], steps: [{{run: '{CHAINED_LIVES}'}}]}}
      - id: chain-2
        requires: [chained, used]
        establishes: [used-up]
        steps: [{{run: '{CHAINED_LIVES}'}}]
      - id: chain-3
        requires: [used-up]
        steps: [{{run: '{CHAINED_LIVES}', until: {{timeout: 20}}, expect_exit: nonzero}}]
      - {{id: mute-1, requires: [mute], steps: [{{run: "true"}}]}}
      - {{id: mute-2, requires: [mute], steps: [{{run: "true"}}]}}
      - {{id: broken-1, requires: [broken], steps: [{{run: "true"}}]}}
      - {{id: broken-2, requires: [broken], steps: [{{run: "true"}}]}}
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def scene(request: pytest.FixtureRequest, new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("web.journey.yaml", WEB).write("reach.py", REACH)
    return live, live.run(request.param)


@pytest.fixture
def live(scene: tuple[Live, Run]) -> Live:
    return scene[0]


@pytest.fixture
def run(scene: tuple[Live, Run]) -> Run:
    return scene[1]


@pytest.mark.parametrize(
    "journey", ["user-1", "user-2", "user-3", "afterwards", "chain-1", "chain-2", "chain-3"]
)
def test_a_service_is_there_for_its_users_and_gone_after_the_last(run: Run, journey: str) -> None:
    assert run.cases[journey].kind == "passed", run.text


def test_a_service_is_started_once_for_all_workers(live: Live, run: Run) -> None:
    assert run.text.count("provisioned web-up once by starting its service") == 1
    assert len(live.lines("web")) == 1
    assert len(live.lines("chained")) == 1


def test_its_ports_are_free_ones_and_values_of_the_token(live: Live, run: Run) -> None:
    assert run.cases
    port, admin = live.lines("ports")[0].split()
    assert port != admin
    assert int(port) > 1023


def test_its_probe_is_asked_until_it_holds(live: Live, run: Run) -> None:
    assert run.cases
    assert len(live.lines("asked")) > 3


def test_a_service_that_is_never_ready_is_an_error_for_all_who_need_it_and_waited_for_once(
    live: Live, run: Run
) -> None:
    assert [run.cases[name].kind for name in ("mute-1", "mute-2")] == ["error", "error"]
    assert "the service of 'mute' was not ready after 0.5 s: its probe exited 1" in run.text
    assert live.lines("mute") == ["started"]


def test_a_service_that_ends_early_is_an_error_that_shows_its_log(live: Live, run: Run) -> None:
    assert [run.cases[name].kind for name in ("broken-1", "broken-2")] == ["error", "error"]
    assert "the service of 'broken' ended before its probe succeeded" in run.text
    assert "cannot bind" in run.text
    assert live.lines("broken") == ["started"]


def test_nothing_of_any_service_goes_on(live: Live, run: Run) -> None:
    assert run.status == 1
    assert live.running() == []


def test_the_log_of_a_kept_run_holds_what_the_service_said(new_live: Callable[[], Live]) -> None:
    live = new_live().write("web.journey.yaml", WEB).write("reach.py", REACH)
    live.run("--dogfood-keep", "-k", "user-3")
    (kept,) = live.run_directories()
    port, admin = live.lines("ports")[0].split()
    log = (kept / "out" / "service-web-up-machine.log").read_text()
    assert log.startswith(f"on {port} and {admin} as run\n")


SHARED = """
    capabilities:
      up:
        scope: machine
        probe: test -f "$DOGFOOD_SHARED/up"
        service: {run: 'echo $$ >>"$DOGFOOD_ROOT/up"; touch "$DOGFOOD_SHARED/up"; exec sleep 300'}
    journeys:
      - id: dies
        requires: [up]
        steps: [{run: 'touch "$DOGFOOD_ROOT/dying"; kill -9 $PPID; sleep 300'}]
      - id: stays
        requires: [up]
        steps:
          - {run: 'test -f "$DOGFOOD_ROOT/dying"', until: {timeout: 20}}
          - run: kill -0 "$(cat "$DOGFOOD_ROOT/up")"
      - id: comes-later
        requires: [up]
        steps:
          - {run: 'test -f "$DOGFOOD_ROOT/dying"', until: {timeout: 20}}
          - run: kill -0 "$(cat "$DOGFOOD_ROOT/up")"
"""


def test_a_service_goes_on_when_the_worker_that_started_it_is_killed(new_live: Callable[[], Live]) -> None:
    live = new_live().write("shared.journey.yaml", SHARED)
    run = live.run("-n2")
    assert {name: case.kind for name, case in run.cases.items()} == {
        "dies": "error",
        "stays": "passed",
        "comes-later": "passed",
    }
    assert len(live.lines("up")) == 1
    assert live.running() == []


def test_the_service_of_a_chain_ends_with_its_worker_and_is_started_again_elsewhere(
    new_live: Callable[[], Live],
) -> None:
    live = new_live().write(
        "chain.journey.yaml",
        """
        capabilities:
          up:
            probe: test -f "$DOGFOOD_STATE/up"
            service: {run: 'echo $$ >>"$DOGFOOD_ROOT/up"; touch "$DOGFOOD_STATE/up"; exec sleep 300'}
        journeys:
          - {id: dies, requires: [up], steps: [{run: 'kill -9 $PPID; sleep 300'}]}
          - id: goes-on
            requires: [up]
            steps:
              - run: kill -0 "$(tail -n1 "$DOGFOOD_ROOT/up")"
              - {run: 'kill -0 "$(head -n1 "$DOGFOOD_ROOT/up")"', until: {timeout: 20}, expect_exit: nonzero}
        """,
    )
    run = live.run("-n1")
    assert {name: case.kind for name, case in run.cases.items()} == {"dies": "error", "goes-on": "passed"}
    assert len(live.lines("up")) == 2
    assert live.running() == []


def test_a_service_that_dies_in_between_is_started_again_for_the_next(new_live: Callable[[], Live]) -> None:
    live = new_live().write(
        "fragile.journey.yaml",
        """
        capabilities:
          up:
            scope: machine
            probe: test -f "$DOGFOOD_SHARED/up"
            service: {run: 'echo $$ >>"$DOGFOOD_ROOT/up"; touch "$DOGFOOD_SHARED/up"; exec sleep 300'}
        journeys:
          - {id: kills, requires: [up], steps: [{run: 'kill -9 "$(cat "$DOGFOOD_ROOT/up")"'}]}
          - {id: needs, requires: [up], steps: [{run: 'kill -0 "$(tail -n1 "$DOGFOOD_ROOT/up")"'}]}
        """,
    )
    run = live.run()
    assert run.status == 0, run.text
    assert len(live.lines("up")) == 2


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("scope", ["chain", "machine"])
def test_a_service_that_was_to_be_destroyed_and_was_not_is_stopped_before_it_is_started_again(
    new_live: Callable[[], Live], scope: str, workers: str
) -> None:
    live = new_live().write(
        "spared.journey.yaml",
        f"""
        capabilities:
          up:
            scope: {scope}
            probe: test -e "$DOGFOOD_ROOT/up"
            service: {{run: 'echo $$ >>"$DOGFOOD_ROOT/up"; exec sleep 300'}}
          spared: {{scope: {scope}, probe: test -e "$DOGFOOD_ROOT/spared"}}
        journeys:
          - id: spares
            requires: [up]
            invalidates: [up]
            establishes: [spared]
            steps: [{{run: 'touch "$DOGFOOD_ROOT/spared"'}}]
          - id: needs
            requires: [spared, up]
            steps: [{{run: '! kill -0 "$(head -n1 "$DOGFOOD_ROOT/up")"'}}]
        """,
    )
    run = live.run(workers)
    assert run.status == 0, run.text
    assert len(live.lines("up")) == 2


def test_a_first_failure_that_ends_the_run_ends_the_service(new_live: Callable[[], Live]) -> None:
    live = new_live().write("shared.journey.yaml", SHARED.replace("kill -9 $PPID; sleep 300", "exit 1"))
    assert live.run("-x", "-n2").status != 0
    assert not [pid for pid in live.lines("up") if alive(int(pid), None)]


def test_an_interrupt_while_a_service_is_waited_for_ends_it(
    new_live: Callable[[], Live], eventually: Eventually
) -> None:
    live = new_live().write("shared.journey.yaml", SHARED.replace("probe: test -f", "probe: test -d"))
    started = live.start()
    assert eventually(lambda: bool(live.lines("up")))
    started.process.send_signal(signal.SIGINT)
    assert started.end().status == 2
    assert eventually(lambda: live.running() == [])
