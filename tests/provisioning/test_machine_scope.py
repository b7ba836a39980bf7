"""Tokens that every worker of the machine sees: leases of several runs, release after the last, services."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


DAEMON = """
    capabilities:
      daemon:
        scope: machine
        probe: test -f "$DOGFOOD_ROOT/daemon"
        provision: [{run: 'echo start >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/daemon"; echo 80',
                     save: {port: {stdout: "(80)"}}}]
        release: [{run: 'echo "stop $DOGFOOD_DAEMON_PORT" >> "$DOGFOOD_ROOT/log"; rm "$DOGFOOD_ROOT/daemon"'}]
    journeys:
      - id: early
        requires: [daemon]
        steps:
          - run: echo early >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/early-is-here"
          - {run: test -f "$DOGFOOD_ROOT/late-is-here", until: {timeout: 40, interval: 0.05}}
      - id: late
        requires: [daemon]
        steps:
          - run: touch "$DOGFOOD_ROOT/late-is-here"
          - {run: test -f "$DOGFOOD_ROOT/early-is-gone", until: {timeout: 40, interval: 0.05}}
          - run: test "$DOGFOOD_DAEMON_PORT" = 80 && test -f "$DOGFOOD_ROOT/daemon" && echo late >> "$DOGFOOD_ROOT/log"
      - {id: user-1, requires: [daemon], steps: [{run: echo use >> "$DOGFOOD_ROOT/log"}]}
      - {id: user-2, requires: [daemon], steps: [{run: echo use >> "$DOGFOOD_ROOT/log"}]}
"""


@WORKERS
def test_a_machine_token_is_released_after_its_last_user(scene: Scene, workers: str) -> None:
    scene.write("daemon.journey.yaml", DAEMON)
    assert scene.run(workers, "-k", "user").status == 0
    assert scene.lines("log") == ["start", "use", "use", "stop 80"]


def test_what_was_there_before_is_never_released(scene: Scene) -> None:
    scene.write("daemon.journey.yaml", DAEMON.replace("$DOGFOOD_DAEMON_PORT", ""))
    scene.write("daemon", "")
    assert scene.run("-n0", "-k", "user").status == 0
    assert scene.lines("log") == ["use", "use"]
    assert (scene.path / "daemon").exists()


def test_what_was_there_before_is_not_released_even_if_its_values_had_to_be_found_out(scene: Scene) -> None:
    scene.write("daemon.journey.yaml", DAEMON)
    scene.write("daemon", "")
    assert scene.run("-n0", "-k", "user").status == 0
    assert scene.lines("log") == ["start", "use", "use"]
    assert (scene.path / "daemon").exists()


def test_of_two_runs_at_once_only_the_last_to_end_releases(scene: Scene) -> None:
    scene.write("daemon.journey.yaml", DAEMON)
    first = scene.start("-n0", "-k", "early")
    scene.wait_for("early-is-here")
    second = scene.start("-n2", "-k", "late")
    assert first().status == 0
    assert scene.lines("log") == ["start", "early"]
    scene.write("early-is-gone", "")
    assert second().status == 0
    assert scene.lines("log") == ["start", "early", "late", "stop 80"]


SHARED_BY_TWO_RUNS = """
    capabilities:
      daemon:
        scope: machine
        probe: test -f "$DOGFOOD_ROOT/daemon"
        provision:
          - run: |
              echo start >> "$DOGFOOD_ROOT/log"
              touch "$DOGFOOD_ROOT/half" "$DOGFOOD_ROOT/begun-$(grep -c start "$DOGFOOD_ROOT/log")"
              test -f "$DOGFOOD_ROOT/can-be-made"
              touch "$DOGFOOD_ROOT/daemon"
        release: ['echo "stop $DOGFOOD_RELEASE_OF" >> "$DOGFOOD_ROOT/log"; rm -f "$DOGFOOD_ROOT/half"']
    journeys:
      - {id: a-uses, requires: [daemon], steps: ['touch "$DOGFOOD_ROOT/a-has-used-it"']}
      - {id: b-uses, requires: [daemon], steps: ['true']}
      - id: b-destroys
        requires: [daemon]
        invalidates: [daemon]
        establishes: [destroyed]
        steps: ['rm "$DOGFOOD_ROOT/daemon"; touch "$DOGFOOD_ROOT/destroyed"']
      - {id: b-tries-again, requires: [destroyed, daemon], steps: ['true']}
      - id: a-stays
        steps: [{run: 'test -f "$DOGFOOD_ROOT/a-may-end"', until: {timeout: 60, interval: 0.05}}]
      - id: b-stays
        steps: [{run: 'test -f "$DOGFOOD_ROOT/b-may-end"', until: {timeout: 60, interval: 0.05}}]
"""
ENDS_FIRST = pytest.mark.parametrize("first, last, workers", [("a", "b", "-n0"), ("b", "a", "-n2")])


def let_end(scene: Scene, name: str, end: Callable[[], Run]) -> list[str]:
    """Let one of the runs end; return what was released by then."""
    scene.write(f"{name}-may-end", "")
    end()
    return [line for line in scene.lines("log") if line.startswith("stop")]


@ENDS_FIRST
def test_what_two_runs_made_by_half_is_released_by_the_last_to_end(
    scene: Scene, first: str, last: str, workers: str
) -> None:
    scene.write("daemon.journey.yaml", SHARED_BY_TWO_RUNS)
    runs = {"a": scene.start("-n0", "-k", "a-uses or a-stays")}
    scene.wait_for("begun-1")
    runs["b"] = scene.start(workers, "-k", "b-uses or b-stays")
    scene.wait_for("begun-2")
    assert let_end(scene, first, runs[first]) == []
    assert (scene.path / "half").exists()
    assert let_end(scene, last, runs[last]) == ["stop incomplete"]


def test_what_one_run_has_made_and_another_destroyed_is_released_by_the_other_if_that_ends_last(
    scene: Scene,
) -> None:
    scene.write("daemon.journey.yaml", SHARED_BY_TWO_RUNS)
    scene.write("can-be-made", "")
    first = scene.start("-n0", "-k", "a-uses or a-stays")
    scene.wait_for("a-has-used-it")
    last = scene.start("-n2", "-k", "b-destroys or b-stays")
    scene.wait_for("destroyed")
    assert let_end(scene, "a", first) == []
    assert let_end(scene, "b", last) == ["stop incomplete"]


@ENDS_FIRST
def test_what_was_there_before_any_lease_is_never_released_whatever_two_runs_leave_of_it(
    scene: Scene, first: str, last: str, workers: str
) -> None:
    scene.write("daemon.journey.yaml", SHARED_BY_TWO_RUNS)
    scene.write("daemon", "")
    runs = {"a": scene.start("-n0", "-k", "a-uses or a-stays")}
    scene.wait_for("a-has-used-it")
    runs["b"] = scene.start(workers, "-k", "b-destroys or b-tries-again or b-stays")
    scene.wait_for("begun-1")
    assert let_end(scene, first, runs[first]) == []
    assert let_end(scene, last, runs[last]) == []
    assert (scene.path / "half").exists()


def test_a_release_that_fails_is_an_error_in_the_teardown_of_the_last_user(scene: Scene) -> None:
    scene.write(
        "daemon.journey.yaml",
        """
        capabilities:
          daemon:
            scope: machine
            provision: [{run: "true"}]
            release: [{run: "echo it will not stop; exit 1"}]
        journeys:
          - {id: opens, establishes: [opened], steps: [{run: "true"}]}
          - {id: uses, requires: [daemon, opened], steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n0")
    assert run.status == 1
    assert "ERROR at teardown of uses" in run.text
    assert "it will not stop" in run.text
    assert run.cases["uses"].kind == "error"
    assert run.closing_line.startswith("dogfood: 2 journeys = 1 passed + 1 error")


SERVICE = """
    capabilities:
      web-up:
        scope: machine
        service:
          run: |
            echo start >> "$DOGFOOD_ROOT/log"; trap 'echo stop >> "$DOGFOOD_ROOT/log"; exit' TERM
            touch "$DOGFOOD_SHARED/ready"; while true; do sleep 0.05; done
          ports: [port]
        probe: test -f "$DOGFOOD_SHARED/ready"
    journeys:
      - {id: one, requires: [web-up], steps: [{run: 'echo "use $DOGFOOD_WEB_UP_PORT" >> "$DOGFOOD_ROOT/log"'}]}
      - {id: two, requires: [web-up], steps: [{run: 'echo "use $DOGFOOD_WEB_UP_PORT" >> "$DOGFOOD_ROOT/log"'}]}
"""


@WORKERS
def test_a_service_is_started_once_and_stopped_after_its_last_user(scene: Scene, workers: str) -> None:
    scene.write("web.journey.yaml", SERVICE)
    run = scene.run(workers)
    assert run.status == 0
    start, one, two, stop = scene.lines("log")
    assert (start, stop) == ("start", "stop")
    assert one == two
    assert one.removeprefix("use ").isdigit()
    assert run.text.count("provisioned web-up once by starting its service, ") == 1


SLOW_TO_LEAVE = """
import signal, socket, sys, time
from pathlib import Path

listening = socket.socket()
listening.bind(("127.0.0.1", int(Path(sys.argv[1]).read_text())))
listening.listen()

def leave(*_):
    time.sleep(0.5)
    sys.exit(0)

signal.signal(signal.SIGTERM, leave)
Path(sys.argv[2]).touch()
while True:
    time.sleep(1)
"""


def test_a_service_is_gone_before_what_comes_after_its_last_user_begins(
    scene: Scene, unused_port: int
) -> None:
    scene.write("serve.py", SLOW_TO_LEAVE)
    scene.write("port", str(unused_port))
    scene.write(
        "servers.journey.yaml",
        f"""
        capabilities:
          old-server:
            scope: machine
            service: {{run: [{sys.executable}, "{scene.path}/serve.py", "{scene.path}/port", "{scene.path}/old"]}}
            probe: test -e "$DOGFOOD_ROOT/old"
          new-server:
            scope: machine
            service: {{run: [{sys.executable}, "{scene.path}/serve.py", "{scene.path}/port", "{scene.path}/new"]}}
            probe: test -e "$DOGFOOD_ROOT/new"
          written: {{scope: machine, description: by the old server, outlives: [old-server]}}
        journeys:
          - {{id: write-with-old, requires: [old-server], establishes: [written], steps: [{{run: "true"}}]}}
          - {{id: read-with-new, requires: [written, new-server], steps: [{{run: "true"}}]}}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 0, run.text


ON_A_SERVICE = """
    capabilities:
      server:
        scope: machine
        service: {run: 'echo start >> "$DOGFOOD_ROOT/log"; exec sleep 300', ports: [port]}
        probe: test -n "$DOGFOOD_SERVER_PORT"
      bucket:
        scope: machine
        requires: [server]
        provision: ['echo make >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/bucket"']
        probe: test -f "$DOGFOOD_ROOT/bucket"
        release: ['echo "remove by ${DOGFOOD_SERVER_PORT:+a port}" >> "$DOGFOOD_ROOT/log"; rm "$DOGFOOD_ROOT/bucket"']
    journeys:
      - id: use
        requires: [bucket]
        steps: ['echo "use by ${DOGFOOD_SERVER_PORT:+a port}" >> "$DOGFOOD_ROOT/log"']
"""


@WORKERS
def test_a_token_that_was_there_has_the_service_on_which_it_rests(scene: Scene, workers: str) -> None:
    scene.write("a.journey.yaml", ON_A_SERVICE)
    scene.write("bucket", "")
    assert scene.run(workers).status == 0
    assert scene.lines("log") == ["start", "use by a port"]


@pytest.mark.parametrize(
    "text, arguments",
    [
        (ON_A_SERVICE.replace("requires: [server]", "requires: [server]\n        outlives: [server]"), ()),
        (ON_A_SERVICE, ("--dogfood-provision=never",)),
    ],
)
def test_a_service_that_is_not_needed_or_must_not_be_started_stays_as_it_is(
    scene: Scene, text: str, arguments: tuple[str, ...]
) -> None:
    scene.write("a.journey.yaml", text)
    scene.write("bucket", "")
    assert scene.run("-n0", *arguments).status == 0
    assert scene.lines("log") == ["use by "]


def test_what_a_killed_run_has_left_is_released_with_the_service_on_which_it_rests(scene: Scene) -> None:
    dies = """'test -e "$DOGFOOD_ROOT/died" || { touch "$DOGFOOD_ROOT/died"; kill -9 $PPID; sleep 9; }'"""
    scene.write("a.journey.yaml", ON_A_SERVICE.replace("steps: [", f"steps: [{dies}, "))
    assert scene.run("-n0").status == -9
    assert scene.lines("log") == ["start", "make"]
    assert scene.run("-n0").status == 0
    assert scene.lines("log")[2:] == ["start", "use by a port", "remove by a port"]
