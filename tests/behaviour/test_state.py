"""Where journeys work, what they share, and what of it stays on disk."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.storage.retention import RECORDED
from pytest_dogfood.storage.run_directory import RECORDS, RESULTS, RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.live_projects import Live
    from tests.support.run_results import Run

LOG = (
    'echo "$DOGFOOD_JOURNEY state $DOGFOOD_STATE" >>"$DOGFOOD_ROOT/log";'
    'echo "$DOGFOOD_JOURNEY workdir $DOGFOOD_WORKDIR" >>"$DOGFOOD_ROOT/log";'
    'echo "$DOGFOOD_JOURNEY pwd $PWD" >>"$DOGFOOD_ROOT/log";'
    'echo "$DOGFOOD_JOURNEY shared $DOGFOOD_SHARED" >>"$DOGFOOD_ROOT/log"'
)
SCENE = f"""
    journeys:
      - id: writes
        establishes: [written]
        workdir: house
        steps:
          - run: '{LOG}; echo here >note; echo shared >"$DOGFOOD_STATE/note"; ls -A "$DOGFOOD_STATE"'
            expect: {{stdout: {{equals: "house\\nnote\\n"}}}}
          - run: |
              python3 -c '
              import os, socket
              socket.socket(socket.AF_UNIX).bind(os.environ["DOGFOOD_STATE"] + "/" + "s" * 46)'
      - id: lives-in
        requires: [written]
        workdir: house
        steps: [{{run: '{LOG}; cat note', expect: {{stdout: {{equals: "here\\n"}}}}}}]
      - id: stays-outside
        requires: [written]
        steps: [{{run: '{LOG}; cat "$DOGFOOD_STATE/note"; ls -A', expect: {{stdout: {{equals: "shared\\n"}}}}}}]
      - id: other-chain
        steps: [{{run: '{LOG}; ls -A "$DOGFOOD_STATE" .', expect: {{stdout: {{not_contains: note}}}}}}]
      - id: locked-up
        steps: [{{run: 'mkdir -p "$DOGFOOD_STATE/a/b" c/d && touch c/d/e && chmod 500 "$DOGFOOD_STATE/a" c/d c'}}]
"""
FAILING = """
    journeys:
      - id: fails
        establishes: [left]
        steps: [{run: 'echo "$DOGFOOD_STATE" >>"$DOGFOOD_ROOT/states"; touch here "$DOGFOOD_STATE/there"; exit 1'}]
      - {id: passes, steps: [{run: 'echo "$DOGFOOD_STATE" >>"$DOGFOOD_ROOT/states"'}]}
"""


@pytest.fixture(scope="module")
def good(new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("scene.journey.yaml", SCENE)
    return live, live.run("-n2")


def told(live: Live, journey: str, what: str) -> str:
    (found,) = [line.split()[2] for line in live.lines("log") if line.split()[:2] == [journey, what]]
    return found


def test_everything_in_the_scene_is_as_its_journeys_expect(good: tuple[Live, Run]) -> None:
    assert good[1].status == 0, good[1].text


def test_journeys_of_a_chain_share_one_state_and_others_have_their_own(good: tuple[Live, Run]) -> None:
    live = good[0]
    states = [told(live, journey, "state") for journey in ("writes", "lives-in", "stays-outside")]
    assert len(set(states)) == 1
    assert told(live, "other-chain", "state") not in states


def test_a_journey_works_in_a_directory_of_its_own_unless_it_names_one(good: tuple[Live, Run]) -> None:
    live = good[0]
    home = f"{told(live, 'writes', 'state')}/house"
    assert [told(live, journey, "workdir") for journey in ("writes", "lives-in")] == [home, home]
    others = {told(live, journey, "workdir") for journey in ("stays-outside", "other-chain")}
    assert len(others | {home}) == 3
    assert told(live, "stays-outside", "pwd") == told(live, "stays-outside", "workdir")


def test_one_directory_is_shared_by_all_of_the_run(good: tuple[Live, Run]) -> None:
    assert len({told(good[0], journey, "shared") for journey in ("writes", "other-chain")}) == 1


def test_state_paths_leave_room_for_a_socket(good: tuple[Live, Run]) -> None:
    assert max(len(told(good[0], journey, "state")) for journey in ("writes", "other-chain")) <= 60


def test_only_the_record_stays_of_a_run_that_passed_even_if_it_took_its_own_permissions_away(
    good: tuple[Live, Run],
) -> None:
    assert good[0].run_directories() == []
    assert "kept" not in good[1].text
    (record,) = (path.parent for path in good[0].state_root.glob(f"*/{RUN}"))
    assert {path.name for path in record.iterdir()} == {"project", RECORDED, RECORDS, RESULTS, RUN}
    assert {path.name for path in (record / RECORDS).iterdir()} == {"activities", "graph.json"}
    others = [path for path in good[0].state_root.glob("*") if path.is_dir() and "-" not in path.name]
    assert {path.name for path in others if path != record} <= {"locks"}


def test_on_request_everything_stays_and_the_place_is_named(live: Live) -> None:
    run = live.write("scene.journey.yaml", SCENE).run("--dogfood-keep")
    (kept,) = live.run_directories()
    assert run.status == 0
    assert f"dogfood: kept {kept}" in run.text
    assert (kept / "c0-main" / "house" / "note").read_text() == "here\n"


@pytest.fixture(scope="module")
def failing(new_live: Callable[[], Live]) -> tuple[Live, Run]:
    live = new_live().write("failing.journey.yaml", FAILING)
    return live, live.run()


def test_after_a_failure_its_state_and_working_directory_stay_and_are_named(
    failing: tuple[Live, Run],
) -> None:
    live, run = failing
    failed, passed = live.lines("states")
    (kept,) = live.run_directories()
    assert f"dogfood: kept {kept}" in run.text
    (shown,) = re.findall(r"kept:      (\S+) \(working directory\), (\S+) \(state\)", run.text)
    assert shown[1] == failed
    assert re.fullmatch(r"fails-w\d+-main", Path(shown[0]).name)
    assert sorted(path.name for path in kept.rglob("*here")) == ["here", "there"]
    assert not os.path.lexists(passed)


def test_kept_directories_are_private(failing: tuple[Live, Run]) -> None:
    live = failing[0]
    (kept,) = live.run_directories()
    found = [path for path in kept.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in [live.state_root, kept, *found]} == {0o700}
    outputs = list((kept / "out").iterdir())
    assert outputs
    assert {stat.S_IMODE(path.stat().st_mode) for path in outputs} == {0o600}


def test_of_the_kept_runs_the_newest_three_stay(live: Live) -> None:
    live.write("failing.journey.yaml", FAILING)
    kept: list[Path] = []
    for _ in range(4):
        live.run()
        kept.extend(path for path in live.run_directories() if path not in kept)
    assert sorted(live.run_directories()) == sorted(kept[-3:])


def test_a_root_that_leaves_no_room_for_a_socket_is_refused(live: Live) -> None:
    live.write("scene.journey.yaml", SCENE)
    root = live.path / ("deep" * 10)
    run = live.run("-n0", "-o", f"dogfood_state_root={root}")
    assert run.status == 4
    assert "[state-path-too-long]" in run.text
    assert "set dogfood_state_root to a shorter place" in run.text
    assert not root.exists()


def test_a_root_that_is_a_symbolic_link_is_refused(live: Live) -> None:
    live.write("scene.journey.yaml", SCENE)
    link, target = live.state_root / "link", live.state_root / "target"
    target.mkdir()
    link.symlink_to(target)
    run = live.run("-o", f"dogfood_state_root={link}")
    assert run.status == 4
    assert f"{link} is not a directory of yours" in run.text
    assert list(target.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory somebody else's")
def test_a_root_of_somebody_else_is_refused(live: Live) -> None:
    live.write("scene.journey.yaml", SCENE)
    foreign = live.state_root / "foreign"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    run = live.run("-o", f"dogfood_state_root={foreign}")
    assert run.status == 4
    assert f"{foreign} is not a directory of yours" in run.text
    assert list(foreign.iterdir()) == []


def test_journeys_that_are_not_ordered_may_not_live_in_one_directory(live: Live) -> None:
    live.write(
        "scene.journey.yaml",
        """
        journeys:
          - {id: root, establishes: [begun], steps: [{run: "true"}]}
          - {id: left, requires: [begun], workdir: house, steps: [{run: "true"}]}
          - {id: right, requires: [begun], workdir: house, steps: [{run: "true"}]}
        """,
    )
    run = live.run("-n2")
    assert run.status == 4
    assert "house" in run.text
    assert run.cases == {}


NAMES = """
    capabilities: {up: {probe: 'echo p >&2; false', provision: [{run: 'echo up; false'}]}}
    journeys:
      - id: tries-twice
        steps: ['echo one', 'echo two; echo wrong >&2; false']
        cleanup: ['echo cleaned']
      - {id: uses-one, workdir: here, steps: ['echo three']}
      - {id: needs, requires: [up], steps: ['true']}
"""


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_kept_outputs_are_called_after_what_was_tried_and_the_step(live: Live, workers: str) -> None:
    live.write("a.journey.yaml", NAMES)
    run = live.run(workers, "--reruns=1", "--only-rerun=wrong|exit 1", "--dogfood-keep")
    kept = Path(run.text.partition("dogfood: kept ")[2].partition("\n")[0])
    contents = {
        re.sub(r"-w\d+-(main|gw0)-", " ", path.name): path.read_text()
        for path in (kept / "out").iterdir()
        if path.stat().st_size
    }
    assert contents == {
        "tries-twice step-1.out": "one\n",
        "tries-twice step-2.out": "two\n",
        "tries-twice step-2.err": "wrong\n",
        "tries-twice cleanup-step-1.out": "cleaned\n",
        "uses-one step-1.out": "three\n",
        "probe-up step-1.err": "p\n",
        "provision-up step-1.out": "up\n",
    }
    attempts = {path.name.partition("-step-")[0] for path in (kept / "out").glob("tries-twice-*-step-2.err")}
    assert len(attempts) == 2, sorted((kept / "out").iterdir())
    assert all((kept / attempt).is_dir() for attempt in attempts)
