"""Trouble that comes while a run is under way: it is told, costs nobody a lock, and is no failure of the product."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.disks import mounted

if TYPE_CHECKING:
    from tests.support.live_projects import Live
    from tests.support.scenes import Inner, Scene

Make = Callable[[Mapping[str, str]], "Inner"]

TORN = """
    import pytest

    @pytest.fixture
    def fragile():
        yield
        pytest.{ends}("torn")
"""
LOCKED = """
    journeys:
      - id: holder
        lock: [printer]
        use: [fragile]
        estimate: 60
        steps: [{run: 'true'}]
        cleanup: [{run: 'echo spilt; false'}]
      - {id: waits-1, lock: [printer], steps: [{run: 'true'}]}
      - {id: waits-2, lock: [printer], steps: [{run: 'true'}]}
"""


@pytest.mark.parametrize("ends", ["fail", "skip"])
def test_a_fixture_that_ends_an_item_in_its_teardown_costs_nobody_a_lock_and_hides_no_other_problem(
    scene: Scene, ends: str
) -> None:
    scene.write("conftest.py", TORN.format(ends=ends))
    scene.write("a.journey.yaml", LOCKED)
    run = scene.run("-n2")
    assert [run.cases[name].kind for name in ("waits-1", "waits-2")] == ["passed", "passed"], run.text
    if ends == "fail":
        assert "cleanup step 1 of 1" in run.text
        assert "torn" in run.text
        assert "running.py" not in run.text


ASKS = """
    import os, time
    import pytest
    from pathlib import Path

    HERE = Path(__file__).parent

    @pytest.mark.requires("web-up")
    def test_that_says_so_before():
        for _ in range(1000):
            if (HERE / "asked").exists():
                return
            time.sleep(0.02)

    def test_that_asks_at_run_time(capabilities, pytestconfig):
        capabilities.require("web-up")
        (HERE / "asked").touch()
        pid = int((HERE / "web").read_text())
        for _ in range(75):
            os.kill(pid, 0)
            time.sleep(0.02)
"""
WEB = """
    capabilities:
      web-up:
        scope: machine
        service: {run: 'echo $$ >"$DOGFOOD_ROOT/web"; exec sleep 300'}
        probe: test -s "$DOGFOOD_ROOT/web"
"""


def test_a_service_that_somebody_asked_for_at_run_time_is_not_stopped_under_his_feet(live: Live) -> None:
    live.write("dogfood.yaml", WEB).write("test_it.py", ASKS)
    run = live.run("-n2")
    assert (run.status, {case.kind for case in run.cases.values()}) == (0, {"passed"}), run.text
    assert live.running() == []


MANY = json.dumps({"journeys": [{"id": f"j{number}", "steps": [{"run": ["true"]}]} for number in range(70)]})


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_where_nothing_more_can_be_written_items_are_errors_and_none_has_failed(
    inner: Make, workers: str
) -> None:
    scene = inner({"a.journey.json": MANY})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, before[1]))
    try:
        result = scene.dogfood(workers, "-p", "no:cacheprovider")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    text = "\n".join([*result.outlines, *result.errlines])
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "cannot write" in text
    assert "failed" not in result.outlines[-1]
    assert "error" in result.outlines[-1]


@pytest.mark.parametrize(
    "disk, workers",
    [
        *((disk, "-n0") for disk in ("size=4k", "size=8k", "nr_inodes=8", "nr_inodes=12", "nr_inodes=20")),
        *((disk, "-n2") for disk in ("size=4k", "nr_inodes=8", "nr_inodes=20")),
    ],
)
def test_a_disk_for_states_that_is_full_is_never_an_internal_error(
    inner: Make, short_root: Path, disk: str, workers: str
) -> None:
    scene = inner({"a.journey.json": MANY, "test_plain.py": "def test_plain():\n    pass\n"})
    with mounted(short_root, disk):
        result = scene.dogfood(workers, "-o", f"dogfood_state_root={short_root}")
    text = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert result.ret in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR}


def test_workers_that_can_write_nothing_are_told_of_in_one_sentence(inner: Make, short_root: Path) -> None:
    scene = inner({"a.journey.json": MANY})
    with mounted(short_root, "size=4k"):
        result = scene.dogfood("-n2", "-o", f"dogfood_state_root={short_root}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (sentence,) = [line for line in result.errlines if line]
    assert sentence.startswith("ERROR: dogfood: no worker could write what it needs to ")
    assert sentence.endswith(": the disk is full; free some space, or set dogfood_state_root")


def test_a_command_that_removes_what_the_run_rests_on_is_no_failure_of_the_product(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml", """journeys: [{id: a, steps: [{run: 'rm -rf "$(dirname "$DOGFOOD_STATE")"'}]}]"""
    )
    run = scene.run()
    assert (run.status, run.cases["a"].kind) == (1, "error"), run.text
    assert "harness: cannot keep the output" in run.text


CONDITION = """
    journeys:
      - id: made
        establishes: [made]
        marks: [{{skipif: {{condition: "{condition}", reason: not here}}}}]
        steps: [{{run: 'true'}}]
      - {{id: needs, requires: [made], steps: [{{run: 'true'}}]}}
"""


def test_a_condition_sees_in_a_replay_what_it_sees_in_an_item(scene: Scene) -> None:
    scene.write("conftest.py", "def pytest_markeval_namespace(config): return {'colour': 'red'}")
    condition = "colour == 'blue' or config.getoption('verbose') > 5"
    scene.write("a.journey.yaml", CONDITION.format(condition=condition))
    run = scene.run("-k", "needs")
    assert (run.status, run.cases["needs"].kind) == (0, "passed"), run.text


@pytest.mark.parametrize("mark, named", [("skipif", "skip or skipif"), ("xfail", "xfail")])
def test_a_condition_that_cannot_be_evaluated_is_named(scene: Scene, mark: str, named: str) -> None:
    text = CONDITION.format(condition="no_such_name").replace("skipif", mark)
    scene.write("a.journey.yaml", text)
    run = scene.run("-k", "needs")
    assert run.status == 1
    assert f"a condition of {named} cannot be evaluated: NameError" in run.text
    assert "Traceback" not in run.text


LONG = json.dumps(
    {
        "journeys": [
            {
                "id": f"j{number}",
                "requires": [f"t{number - 1}"] if number else [],
                "establishes": [f"t{number}"],
                "steps": [{"run": ["true"]}],
            }
            for number in range(400)
        ]
    }
)
RESTS_ON_IT = """
    import pytest

    @pytest.mark.requires("t399")
    def test_python():
        pass
"""


@pytest.fixture(scope="module")
def long_chain(inner: Make) -> Inner:
    return inner({"a.journey.json": LONG, "test_it.py": RESTS_ON_IT})


@pytest.mark.parametrize("selection", ["a.journey.json::j399", "test_it.py"])
def test_a_chain_may_be_longer_than_python_lets_calls_nest(long_chain: Inner, selection: str) -> None:
    result = long_chain.dogfood(selection)
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(["provisioned t398 once by replaying j398, *"])


def test_what_a_long_chain_would_have_to_bring_about_is_foreseen(long_chain: Inner) -> None:
    result = long_chain.dogfood("--dogfood-check", "a.journey.json::j399")
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(["provision: t398, by replaying j398, *"])


def test_what_cannot_be_removed_is_named(scene: Scene, tmp_path: Path) -> None:
    with mounted(tmp_path, "size=100k"):
        pass  # or skipped
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - id: a
            steps: [{run: 'mkdir busy && mount -t tmpfs tmpfs busy && pwd >"$DOGFOOD_ROOT/where"'}]
        """,
    )
    run = scene.run()
    busy = Path(scene.lines("where")[0]) / "busy"
    subprocess.run(["umount", "--lazy", str(busy)], check=True)
    assert run.status == 0, run.text
    assert f"dogfood: could not remove {busy}" in run.text


DENIED = """
    capabilities:
      warm: {probe: 'echo 2 of 3; false'}
      ready: {probe: 'echo not yet >&2; false', provision: [{run: 'true'}]}
    journeys:
      - {id: warms, establishes: [warm], steps: [{run: 'true'}]}
      - {id: needs-warm, requires: [warm], steps: [{run: 'true'}]}
      - {id: needs-ready, requires: [ready], steps: [{run: 'true'}]}
"""


def test_a_probe_that_says_no_is_shown_with_its_place_its_command_and_what_it_said(scene: Scene) -> None:
    scene.write("a.journey.yaml", DENIED)
    run = scene.run()
    for shown in (
        "a.journey.yaml:3:17: probe of warm, step 1 of 1: exit 1, expected 0",
        "  command:  echo 2 of 3; false\n",
        "  --- stdout ---\n  2 of 3\n",
        "reproduce: pytest --dogfood 'a.journey.yaml::warms'\n",
        "a.journey.yaml:4:18: probe of ready, step 1 of 1",
        "  --- stderr ---\n  not yet\n",
    ):
        assert shown in run.text
    assert "All traceback entries are hidden" not in run.text


def test_what_failed_in_a_replay_is_told_under_q_and_its_directories_stay(scene: Scene) -> None:
    scene.write("a.journey.yaml", DENIED)
    run = scene.run("-q", "-k", "needs-warm")
    assert run.status == 1
    assert "deferred: 1 journey, because warms failed\n" in run.text
    assert "  2 of 3\n" in run.text
    kept = run.text.partition("kept:      ")[2].partition("\n")[0]
    workdir, state = (Path(word) for word in kept.split() if word.startswith("/"))
    assert workdir.is_dir()
    assert state.is_dir()
