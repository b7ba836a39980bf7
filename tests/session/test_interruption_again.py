"""A second signal gives up clean-up and still reports; a third ends the run at once; some signals are left alone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

import pytest

from pytest_dogfood.execution.watcher import HAS_PROC
from tests.support.interruptions import Interruptions, send, send_later
from tests.support.live_projects import Eventually, Live
from tests.support.run_results import read_junit
from tests.support.scenes import Inner, Scene

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="only /proc tells what a process was started with")


@pytest.fixture
def runs(live: Live) -> Interruptions:
    return Interruptions(live)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_second_signal_gives_up_clean_up_and_release_and_reports_are_still_written(
    runs: Interruptions, workers: str
) -> None:
    started = runs.start(workers, "-k", "in-slow-clean-up")
    runs.wait_for("running")
    send(started, signal.SIGINT, group=False)
    runs.wait_for("cleaning")
    send_later(started, signal.SIGTERM, group=True)
    ended = runs.end(started)
    assert (ended.status, ended.log) == (pytest.ExitCode.INTERRUPTED, []), ended.text
    assert "interrupted by SIGINT after " in ended.told["in-slow-clean-up"]
    assert "s: in-slow-clean-up: step 1" in ended.told["in-slow-clean-up"]
    assert "a second signal came" in ended.text
    assert ended.last_failed == ["a.journey.yaml::in-slow-clean-up"]
    assert runs.live.running() == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_third_signal_ends_the_run_at_once(runs: Interruptions, workers: str) -> None:
    runs.live.write("conftest.py", SLOW_END)
    started = runs.start(workers, "-k", "in-slow-clean-up")
    runs.wait_for("running")
    send(started, signal.SIGINT, group=False)
    runs.wait_for("cleaning")
    send_later(started, signal.SIGINT, group=False)
    runs.wait_for("ending")
    send_later(started, signal.SIGTERM, group=False)
    assert started.wait(timeout=50) == -signal.SIGTERM  # far less than the end would take
    assert runs.live.lines("log") == []


SLOW_END = """
    import time
    from pathlib import Path

    def pytest_sessionfinish(session):
        if not hasattr(session.config, "workerinput"):
            (Path(__file__).parent / "ending").touch()
            time.sleep(60)
"""


def test_signals_that_come_together_count_as_one(runs: Interruptions) -> None:
    started = runs.start("-n0", "-k", "in-step")
    runs.wait_for("running")
    send(started, signal.SIGTERM, group=False)
    send(started, signal.SIGINT, group=True)
    assert runs.end(started).log == ["cleaned in-step 9", "released chain-wide", "released machine-wide"]


def test_clean_up_steps_get_five_seconds_after_a_signal_and_those_that_were_cut_are_named(
    runs: Interruptions,
) -> None:
    ended = runs.interrupt("in-slow-clean-up", "-n2")
    assert ended.log == ["cleaned beside", "released machine-wide"], ended.text
    assert "cut after 5 s: a.journey.yaml:" in ended.text
    assert "clean-up" not in ended.told["beside"]


def test_release_steps_get_five_seconds_after_a_signal_and_those_that_follow_are_run(
    runs: Interruptions,
) -> None:
    ended = runs.interrupt("in-release", "-n0")
    assert ended.log == ["cleaned in-release", "released let-go", "released machine-wide"], ended.text
    assert "cut after 5 s: a.journey.yaml:" in ended.text
    assert "let go slowly" in ended.text


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_release_that_a_second_signal_kills_is_an_error_of_the_item_it_ran_for(
    runs: Interruptions, workers: str
) -> None:
    ended = runs.interrupt("in-release", workers, number=signal.SIGTERM, times=2)
    assert "interrupted by SIGTERM after " in ended.told["in-release"]
    assert "release of let-go: step 1 (let go slowly)" in ended.told["in-release"]
    assert "released machine-wide" not in ended.log


def test_a_step_that_ignores_signals_is_killed_and_its_clean_up_runs(runs: Interruptions) -> None:
    ended = runs.interrupt("in-stubborn-step", "-n0", group=True)
    assert ended.log == ["cleaned in-stubborn-step", "released machine-wide"], ended.text


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_signal_that_a_test_lets_vanish_is_repeated(runs: Interruptions, workers: str) -> None:
    ended = runs.interrupt("test_swallows_once", workers)
    assert "interrupted by SIGINT after " in ended.told["test_swallows_once"]
    assert ended.log[-1] == "released machine-wide"


def test_a_worker_that_ignores_the_first_signal_is_killed_by_the_second(runs: Interruptions) -> None:
    ended = runs.interrupt("test_swallows", "-n2", times=2)
    assert ended.status == pytest.ExitCode.INTERRUPTED, ended.text
    assert "s: test_swallows: running" in ended.told["test_swallows"]
    assert runs.live.running() == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_signal_that_was_ignored_from_the_start_is_left_alone(runs: Interruptions, workers: str) -> None:
    started = runs.start(workers, "-k", "in-step", ignoring="HUP")
    runs.wait_for("running")
    send(started, signal.SIGHUP, group=False)
    send(started, signal.SIGTERM, group=False)
    assert "interrupted by SIGTERM after " in runs.end(started).told["in-step"]


def test_an_interrupted_item_is_an_error_whatever_its_marks_expect_and_is_not_run_again(
    runs: Interruptions,
) -> None:
    ended = runs.interrupt("in-expected-failure", "-n0", "--reruns=1")
    assert ended.told["in-expected-failure"].count("interrupted by SIGINT after ") == 2  # message and text
    assert (ended.log, "xfailed" in ended.text) == (["released machine-wide"], False), ended.text
    assert runs.live.running() == []


QUITS = """
    capabilities:
      machine-wide:
        scope: machine
        provision: [{run: 'true'}]
        release: [{run: 'echo released machine-wide >>"$DOGFOOD_ROOT/log"'}]
      chain-wide:
        provision: [{run: 'true'}]
        release: [{run: 'echo released chain-wide >>"$DOGFOOD_ROOT/log"'}]
    journeys:
      - id: quits
        requires: [machine-wide, chain-wide]
        use: [wide]
        steps: [{run: 'false'}]
        cleanup: [{run: 'echo cleaned quits >>"$DOGFOOD_ROOT/log"'}]
      - {id: never-begun, requires: [machine-wide, chain-wide], steps: [{run: 'true'}]}
"""
WIDE = """
    from pathlib import Path
    import pytest

    @pytest.fixture(scope="session")
    def wide():
        yield
        with (Path(__file__).parent / "log").open("a") as log:
            log.write("torn down wide\\n")
"""
ALL = ["cleaned quits", "torn down wide", "released chain-wide", "released machine-wide"]


@pytest.fixture
def quitting(scene: Scene) -> Scene:
    scene.write("a.journey.yaml", QUITS)
    scene.write("conftest.py", WIDE)
    return scene


@pytest.mark.parametrize("stop, workers", [("-x", "-n0"), ("--maxfail=1", "-n2")])
def test_a_run_that_stops_at_a_failure_cleans_up_and_releases(
    quitting: Scene, stop: str, workers: str
) -> None:
    run = quitting.run(workers, stop)
    assert (run.status != 0, quitting.lines("log")) == (True, ALL), run.text


BESIDE = """
    capabilities:
      machine-wide:
        scope: machine
        provision: [{run: 'true'}]
        release: [{run: 'echo released >>"$DOGFOOD_ROOT/log"'}]
    journeys:
      - id: fails
        requires: [machine-wide]
        steps: [{run: 'until [ -e "$DOGFOOD_ROOT/begun" ]; do sleep 0.05; done; false'}]
        cleanup: [{run: 'echo cleaned fails >>"$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/failed"'}]
      - id: goes-on
        requires: [machine-wide]
        steps: [{run: 'touch "$DOGFOOD_ROOT/begun"; until [ -e "$DOGFOOD_ROOT/failed" ]; do sleep 0.05; done; sleep 1'}]
        cleanup: [{run: 'echo cleaned goes-on >>"$DOGFOOD_ROOT/log"'}]
"""


def test_what_others_run_when_a_failure_stops_the_run_finishes(scene: Scene) -> None:
    scene.write("a.journey.yaml", BESIDE)
    run = scene.run("-n2", "-x")
    assert scene.lines("log") == ["cleaned fails", "cleaned goes-on", "released"], run.text
    assert run.cases["goes-on"].kind == "passed"


def test_quitting_the_debugger_cleans_up_tears_down_and_releases(
    inner: Callable[[Mapping[str, str]], Inner],
) -> None:
    quitting = inner({"a.journey.yaml": QUITS, "conftest.py": WIDE})
    result = quitting.dogfood("--pdb", "--junitxml=junit.xml", stdin="q\n")
    log = (quitting.path / "log").read_text().splitlines()
    assert (result.ret, log) == (pytest.ExitCode.INTERRUPTED, ALL), result.outlines
    assert read_junit(quitting.path / "junit.xml")["quits"].kind == "failure"
    result.stdout.fnmatch_lines(["dogfood: 2 journeys = 1 failed + 1 not run; *"])


SLOW_TO_REPORT = """
    import time
    from pathlib import Path

    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(session):
        if not hasattr(session.config, "workerinput"):
            (session.config.rootpath / "reporting").touch()
            time.sleep(1.5)
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_signals_while_the_reports_are_written_leave_them_whole(
    live: Live, eventually: Eventually, workers: str
) -> None:
    live.write("a.journey.yaml", "journeys: [{id: a, steps: ['true']}]").write("conftest.py", SLOW_TO_REPORT)
    run = live.start(workers)
    assert eventually((live.path / "reporting").exists)
    send(run.process, signal.SIGINT, group=False)
    send_later(run.process, signal.SIGTERM, group=False)
    ended = run.end()
    assert (ended.status, ended.cases["a"].kind) == (0, "passed"), ended.text
