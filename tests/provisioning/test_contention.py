"""Locks that are wanted in two orders, words that are taken back, and releases that were interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.disks import mounted, read_only

if TYPE_CHECKING:
    from tests.support.live_projects import Eventually, Live
    from tests.support.scenes import Scene

CONTESTED = """
    capabilities:
      db-up: {scope: machine, probe: test -f "$DOGFOOD_ROOT/db"}
    journeys:
      - id: make-db
        lock: [gpu]
        establishes: [db-up]
        estimate: 60s
        steps: [{run: 'touch "$DOGFOOD_ROOT/making"; sleep 1; touch "$DOGFOOD_ROOT/db"'}]
      - {id: use-a, requires: [db-up], estimate: 60s, steps: [{run: 'true'}]}
      - {id: use-b, requires: [db-up], estimate: 60s, steps: [{run: 'true'}]}
      - {id: use-c, requires: [db-up], estimate: 60s, steps: [{run: 'true'}]}
"""
ASKS = """
    import time
    from pathlib import Path

    def test_that_asks(capabilities):
        while not Path(__file__).with_name("making").exists():
            time.sleep(0.02)
        capabilities.require("db-up")
"""


def test_two_runs_that_need_a_lock_and_a_token_in_different_orders_both_come_to_an_end(
    live: Live, eventually: Eventually
) -> None:
    live.write("a.journey.yaml", CONTESTED)
    first = live.start("-k", "make-db")
    assert eventually((live.path / "making").exists)
    other = live.run("-k", "use-a")
    assert (first.end().status, other.status) == (0, 0), other.text


def test_a_test_that_asks_while_the_token_is_being_established_waits_for_that(live: Live) -> None:
    live.write("a.journey.yaml", CONTESTED).write("test_it.py", ASKS)
    run = live.run("-n2")
    assert (run.status, {case.kind for case in run.cases.values()}) == (0, {"passed"}), run.text


def test_two_replays_of_what_takes_a_lock_wait_for_each_other_once(live: Live) -> None:
    live.write(
        "a.journey.yaml",
        """
        capabilities: {db-up: {scope: machine}}
        journeys:
          - {id: make, lock: [gpu], establishes: [filled, db-up], steps: [{run: sleep 1}]}
          - {id: read, requires: [filled], steps: [{run: 'true'}]}
          - {id: use, requires: [db-up], steps: [{run: 'true'}]}
        """,
    )
    run = live.run("-n2", "-k", "read or use")
    assert (run.status, {case.kind for case in run.cases.values()}) == (0, {"passed"}), run.text


def test_a_lock_of_any_name_leaves_its_file_where_locks_are(scene: Scene) -> None:
    long = "x" * 300
    scene.write(
        "a.journey.yaml",
        f"""journeys: [{{id: a, lock: ["../../a-lock-astray", {long}], steps: [run: 'true']}}]""",
    )
    assert scene.run().status == 0
    assert list(scene.path.parent.rglob("*a-lock-astray*")) == []


THREADS = """
    import threading
    from concurrent.futures import ThreadPoolExecutor

    def test_threads(capabilities):
        with ThreadPoolExecutor(4) as pool:
            values = list(pool.map(lambda _: capabilities.require("box")["name"], range(4)))
        assert values == ["one"] * 4
"""
BOX = """
    capabilities:
      box:
        scope: machine
        provision:
          - run: 'sleep 0.3; echo once >>"$DOGFOOD_ROOT/made"; echo one'
            save: {name: {stdout: "(.+)"}}
"""


def test_threads_that_ask_for_the_same_token_wait_for_each_other(scene: Scene) -> None:
    scene.write("dogfood.yaml", BOX)
    scene.write("test_it.py", THREADS)
    run = scene.run()
    assert (run.status, scene.lines("made")) == (0, ["once"]), run.text


FORKS = """
    import multiprocessing

    def ask(capabilities):
        capabilities.require("box")

    def test_fork(capabilities):
        child = multiprocessing.get_context("fork").Process(target=ask, args=(capabilities,))
        child.start()
        child.join()
        assert child.exitcode == 0
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_child_that_was_forked_may_ask_as_well(scene: Scene, workers: str) -> None:
    scene.write("dogfood.yaml", BOX)
    scene.write("test_it.py", FORKS)
    run = scene.run(workers)
    assert run.status == 0, run.text


RERUN = """
    journeys:
      - id: make
        establishes: [made]
        steps: [{run: 'test ! -f "$DOGFOOD_ROOT/once"'}]
        cleanup: [{run: 'test -f "$DOGFOOD_ROOT/once" || { touch "$DOGFOOD_ROOT/once"; exit 1; }'}]
      - {id: use, requires: [made], steps: [{run: 'touch "$DOGFOOD_ROOT/used"'}]}
"""
DIES = """
    capabilities: {made: {scope: machine, description: there}}
    journeys:
      - {id: make, establishes: [made], steps: [{run: 'true'}], cleanup: [{run: 'kill -9 $PPID; sleep 9'}]}
      - {id: use, requires: [made], steps: [{run: 'touch "$DOGFOOD_ROOT/used"'}]}
"""


@pytest.mark.parametrize("journeys, options", [(RERUN, ("-n0", "--reruns=1")), (DIES, ("-n2",))])
def test_the_word_of_a_journey_that_ended_badly_after_all_counts_for_nothing(
    scene: Scene, journeys: str, options: tuple[str, ...]
) -> None:
    scene.write("a.journey.yaml", journeys)
    run = scene.run(*options)
    assert run.cases["use"].kind == "skipped", run.text
    assert run.cases["use"].message.startswith("deferred: 'made' was not established, because make ")
    assert not (scene.path / "used").exists()


FAKED = """
    import subprocess
    import pytest

    @pytest.mark.establishes("acc")
    def test_of_what_starts_programs(monkeypatch, dogfood_state):
        (dogfood_state / "acc").touch()

        def start(*_, **__):
            raise AssertionError("this test starts nothing for real")

        monkeypatch.setattr(subprocess, "Popen", start)
"""


def test_what_a_test_puts_in_the_place_of_popen_is_not_asked_for_tokens(scene: Scene) -> None:
    scene.write("dogfood.yaml", """capabilities: {acc: {probe: 'test -f "$DOGFOOD_STATE/acc"'}}""")
    scene.write("test_it.py", FAKED)
    run = scene.run()
    assert run.status == 0, run.text


RELEASED = """
    capabilities:
      mac:
        scope: machine
        probe: test -f "$DOGFOOD_ROOT/m"
        provision: [{run: 'touch "$DOGFOOD_ROOT/m"; test -f "$DOGFOOD_ROOT/quick" || sleep 300'}]
        release: [{run: 'test ! -f "$DOGFOOD_ROOT/stuck" && rm "$DOGFOOD_ROOT/m"'}]
    journeys: [{id: use, requires: [mac], steps: [{run: 'true'}]}]
"""


def test_what_a_provider_of_a_killed_run_has_left_the_next_run_releases(
    live: Live, eventually: Eventually
) -> None:
    live.write("a.journey.yaml", RELEASED)
    interrupted = live.start()
    assert eventually((live.path / "m").exists)
    interrupted.process.kill()
    interrupted.end()
    assert (live.path / "m").exists()
    assert live.run().status == 0
    assert not (live.path / "m").exists()


def test_what_could_not_be_released_the_next_run_releases(live: Live) -> None:
    live.write("a.journey.yaml", RELEASED).write("quick", "").write("stuck", "")
    assert live.run().status == 1
    (live.path / "stuck").unlink()
    assert (live.path / "m").exists()
    assert live.run().status == 0
    assert not (live.path / "m").exists()


def test_what_somebody_else_brings_about_after_a_provider_has_failed_is_not_ours_to_release(
    live: Live,
) -> None:
    live.write("a.journey.yaml", RELEASED.replace("touch", "false; touch").replace("rm ", "rm -f ")).write(
        "quick", ""
    )
    assert live.run().cases["use"].kind == "error"
    live.write("m", "")
    assert live.run().status == 0
    assert (live.path / "m").exists()


def test_what_was_there_before_is_still_not_ours_to_release(live: Live) -> None:
    live.write("a.journey.yaml", RELEASED).write("quick", "").write("m", "")
    assert [live.run().status, live.run().status] == [0, 0]
    assert (live.path / "m").exists()


FILLS = """
    journeys:
      - {id: fills, steps: [{run: 'head -c 9999999 /dev/zero >"$DOGFOOD_STATE/all"'}]}
      - {id: b, steps: [{run: 'false'}]}
      - id: says-nothing-that-can-be-heard
        steps:
          - run: 'head -c 9999999 /dev/zero >"$DOGFOOD_STATE/all"; echo ERROR || true'
            expect: {stdout: {not_contains: ERROR}}
"""


def test_on_a_full_disk_the_report_is_whole(live: Live, short_root: Path) -> None:
    live.write("a.journey.yaml", FILLS)
    with mounted(short_root, "size=400k,mode=700"):
        run = live.run("-o", f"dogfood_state_root={short_root}")
    assert run.status == 1
    assert "Traceback" not in run.text
    assert run.closing_line.startswith("dogfood: 3 journeys = ")
    assert run.cases["says-nothing-that-can-be-heard"].kind == "error"
    assert "is full" in run.cases["says-nothing-that-can-be-heard"].message


def test_where_nothing_can_be_written_no_run_begins(live: Live, short_root: Path) -> None:
    live.write("a.journey.yaml", FILLS)
    with read_only(short_root):
        run = live.run("-o", f"dogfood_state_root={short_root}")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in run.text
    assert "set dogfood_state_root" in run.text


SAVES = """
    import os
    import pytest

    @pytest.mark.establishes("made")
    def test_it(capabilities):
        with pytest.raises(ValueError, match="is not valid UTF-8"):
            capabilities.save(path=os.fsdecode(b"/tmp/caf\\xe9"))
        with pytest.raises(ValueError, match="contains a NUL"):
            capabilities.save(path="a\\0b")
"""


def test_what_no_variable_can_hold_is_not_saved(scene: Scene) -> None:
    scene.write("dogfood.yaml", "capabilities: {made: {}}")
    scene.write("test_it.py", SAVES)
    assert scene.run().status == 0


def test_a_token_that_was_asked_for_by_way_of_request_is_not_stopped_either(live: Live) -> None:
    live.write("dogfood.yaml", WEB).write("test_it.py", BY_REQUEST)
    run = live.run("-n2")
    assert (run.status, {case.kind for case in run.cases.values()}) == (0, {"passed"}), run.text


WEB = """
    capabilities:
      other: {description: there, provision: ["true"]}
      web-up:
        scope: machine
        service: {run: 'echo $$ >"$DOGFOOD_ROOT/web"; exec sleep 300'}
        probe: test -s "$DOGFOOD_ROOT/web"
"""
BY_REQUEST = """
    import os, time
    import pytest
    from pathlib import Path

    HERE = Path(__file__).parent

    @pytest.mark.requires("web-up")
    def test_that_says_so_before():
        while not (HERE / "asked").exists():
            time.sleep(0.02)

    @pytest.mark.requires("other")
    def test_that_asks_by_way_of_request(request):
        request.getfixturevalue("capabilities").require("web-up")
        (HERE / "asked").touch()
        pid = int((HERE / "web").read_text())
        for _ in range(75):
            os.kill(pid, 0)
            time.sleep(0.02)
"""
