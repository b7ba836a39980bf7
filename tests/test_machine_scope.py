"""Tokens that every worker of the machine sees: leases of several runs, release after the last, services."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.scenes import Scene

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


@WORKERS
def test_what_was_there_before_is_never_released(scene: Scene, workers: str) -> None:
    scene.write("daemon.journey.yaml", DAEMON.replace("$DOGFOOD_DAEMON_PORT", ""))
    scene.write("daemon", "")
    assert scene.run(workers, "-k", "user").status == 0
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


@WORKERS
def test_a_release_that_fails_is_an_error_in_the_teardown_of_the_last_user(
    scene: Scene, workers: str
) -> None:
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
    run = scene.run(workers)
    assert run.status == 1
    assert "ERROR at teardown of uses" in run.text
    assert "it will not stop" in run.text
    assert run.cases["uses"].kind == "error"
    assert run.closing_line.startswith("dogfood: 2 journeys = 1 passed + 1 error; 0 unaccounted")


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


@WORKERS
def test_a_service_is_gone_before_what_comes_after_its_last_user_begins(
    scene: Scene, workers: str, unused_port: int
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
    run = scene.run(workers)
    assert run.status == 0, run.text
