"""Files and scopes that stay together: on one worker, as they are written, without waiting for each other for ever."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.scheduling.plan import Plan, make_plan
from pytest_dogfood.scheduling.queue import Queue, group_of, in_group_order, jobs_for
from pytest_dogfood.walks import in_preferred_order
from tests.support.played_workers import Simulation
from tests.support.strategies import dice, scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.run_results import Run
    from tests.support.scenes import Inner, Scene as Typed
    from tests.support.strategies import Scene

LAW = settings(deadline=None, max_examples=150)


@pytest.mark.parametrize(
    "nodeid, dist, group",
    [
        ("a/test_it.py::test_x", "loadfile", "a/test_it.py"),
        ("a/test_it.py::TestIt::test_x", "loadfile", "a/test_it.py"),
        ("a/test_it.py::test_x", "loadscope", "a/test_it.py"),
        ("a/test_it.py::TestIt::test_x[1]", "loadscope", "a/test_it.py::TestIt"),
        ("a/test_it.py::test_x[m::n]", "loadscope", "a/test_it.py"),
        ("a/shop.journey.yaml::pay", "loadscope", "a/shop.journey.yaml"),
        ("a/test_it.py::test_x", "load", ""),
        ("a/test_it.py::test_x", "worksteal", ""),
    ],
)
def test_what_stays_together(nodeid: str, dist: str, group: str) -> None:
    assert group_of(nodeid, dist) == group


class World:
    """Items of a random project in the order of the files, with plain tests between them, played by file."""

    def __init__(self, scene: Scene, die: Random) -> None:
        self.plan: Plan = make_plan(scene.graph(), scene.ids)
        files: dict[str, list[str]] = defaultdict(list)
        for one in scene.journeys:
            files[one.path].append(one.nodeid)
        for number in range(die.randint(0, 6)):
            name = die.choice([*sorted(files), "plain.py"])
            files[name].insert(die.randint(0, len(files[name])), f"{name}::test_{number}")
        self.given = [nodeid for name in files for nodeid in files[name]]
        self.ids = [self.given[place] for place in in_group_order(self.given, self.plan, "loadfile")]

    def after(self, nodeid: str) -> set[str]:
        """Return the items that must come before an item, with those that must come before these."""
        planned = self.plan.by_nodeid()
        nodeid_of = {one.id: one.nodeid for one in self.plan.journeys}
        chains: dict[str, list[str]] = defaultdict(list)
        for one in self.plan.journeys:
            chains[one.chain].append(one.nodeid)
        found: set[str] = set()
        waiting = [nodeid]
        while waiting:
            found_there = planned.get(waiting.pop())
            if found_there is not None:
                members = chains[found_there.chain]
                earlier = members[: members.index(found_there.nodeid)]
                before = {*(nodeid_of[other] for other in found_there.after), *earlier}
                waiting += before - found
                found |= before
        return found


worlds = st.builds(World, scenes(least=1, most=14), dice)


@LAW
@given(worlds, dice, st.integers(1, 4), st.integers(0, 2))
def test_a_file_runs_on_one_worker_in_one_order_whoever_ends_when_and_nothing_waits_for_ever(
    world: World, die: Random, workers: int, deaths: int
) -> None:
    queue = Queue(jobs_for(world.ids, world.plan, "loadfile"))
    held: dict[str, list[int]] = {f"w{number}": [] for number in range(workers)}
    for worker in held:
        queue.add_worker(worker)
    began: dict[str, list[str]] = defaultdict(list)
    homes: dict[str, str] = {}
    while not queue.is_done:
        for worker in die.sample(list(held), len(held)):
            held[worker] = held[worker] or list(queue.next_for(worker))
        worker = die.choice([one for one, indices in held.items() if indices])
        index = held[worker].pop(0)
        file = group_of(world.ids[index], "loadfile")
        began[file].append(world.ids[index])
        assert homes.setdefault(file, worker) == worker
        queue.finish(index)
        if deaths and die.random() < 0.1:
            deaths -= 1
            queue.lose(worker)
            del held[worker]
            homes = {one: home for one, home in homes.items() if home != worker}
            held[f"w{len(world.ids)}-{deaths}"] = []
            queue.add_worker(f"w{len(world.ids)}-{deaths}")
    for file, nodeids in began.items():
        assert nodeids == [one for one in world.ids if group_of(one, "loadfile") == file]


@LAW
@given(worlds)
def test_the_order_of_all_items_respects_the_graph_and_each_chain(world: World) -> None:
    place = {nodeid: number for number, nodeid in enumerate(world.ids)}
    assert sorted(world.ids) == sorted(world.given)
    assert all(place[other] < place[one] for one in world.ids for other in world.after(one))


@LAW
@given(worlds)
def test_a_file_whose_order_no_cycle_forbids_runs_as_it_is_written(world: World) -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for nodeid in world.given:
        files[group_of(nodeid, "loadfile")].append(nodeid)
    wishes = {
        nodeid: {*world.after(nodeid), *members[: members.index(nodeid)]}
        for members in files.values()
        for nodeid in members
    }
    for members in files.values():
        if all(one not in reachable(wishes, one) for one in members):
            assert [one for one in world.ids if one in members] == members


def reachable(before: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = before[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_only_those_that_wait_for_each_other_in_a_cycle_leave_the_order_they_prefer() -> None:
    before = {"a0": [], "a1": ["b2"], "a2": [], "a3": [], "b1": ["a2"], "b2": []}
    rather = {"a1": "a0", "a2": "a1", "a3": "a2", "b2": "b1"}
    assert in_preferred_order(before, rather) == ("a0", "a2", "b1", "b2", "a1", "a3")


@LAW
@given(scenes(), dice, st.integers(1, 4), st.sampled_from(["loadfile", "loadscope"]))
def test_outcomes_are_the_same_as_without_groups(scene: Scene, die: Random, workers: int, dist: str) -> None:
    played = Simulation(scene, make_plan(scene.graph(), scene.ids), die, workers, dist=dist)
    assert played.run() == scene.expected(scene.ids)


STORE = """
    import os
    import pytest

    STORE = {}

    def note(name):
        with open("log", "a") as file:
            print(name, os.environ["PYTEST_XDIST_WORKER"], file=file)

    @pytest.mark.dependency()
    def test_create():
        note("create")
        STORE["x"] = 1

    @pytest.mark.dependency(depends=["test_create"])
    def test_read():
        note("read")
        assert STORE["x"] == 1

    def test_delete():
        note("delete")
        del STORE["x"]
"""


@pytest.fixture
def store(scene: Typed) -> Typed:
    scene.write("pytest.ini", "[pytest]\ndogfood_dependency_markers = true\n")
    scene.write("test_store.py", STORE)
    return scene


def assert_as_written_on_one_worker(run: Run, lines: list[str]) -> None:
    assert run.status == 0, run.text
    assert [line.split()[0] for line in lines] == ["create", "read", "delete"]
    assert len({line.split()[1] for line in lines}) == 1


@pytest.mark.parametrize("dist", ["loadfile", "loadscope"])
def test_marked_and_unmarked_tests_of_a_file_run_as_they_are_written_on_one_worker(
    store: Typed, dist: str
) -> None:
    run = store.run("-n2", f"--dist={dist}", "-p", "no:randomly")
    assert_as_written_on_one_worker(run, store.lines("log"))


def test_what_must_come_before_is_taken_from_another_file_in_time(store: Typed) -> None:
    store.write(
        "test_zone.py",
        """
        import pytest

        @pytest.mark.dependency()
        def test_open():
            pass
        """,
    )
    text = STORE.replace(
        'depends=["test_create"])',
        'depends=["test_store.py::test_create", "test_zone.py::test_open"], scope="session")',
    )
    store.write("test_store.py", text)
    run = store.run("-n2", "--dist=loadfile", "-p", "no:randomly")
    assert_as_written_on_one_worker(run, store.lines("log"))


CROSSWISE = """
    journeys:
      - {{id: gate-{0}, gating: true, tier: smoke, steps: [run: 'true']}}
      - {{id: needs-{1}, requires: [{1}-up], steps: [run: 'true']}}
      - {{id: gives-{0}, establishes: [{0}-up], steps: [run: 'true']}}
      - {{id: deep-{0}, tier: deep, steps: [run: 'true']}}
"""


@pytest.mark.parametrize("workers", ["-n1", "-n2"])
def test_two_files_that_wait_for_each_others_gates_and_machine_tokens_end(
    inner: Callable[[Mapping[str, str]], Inner], workers: str
) -> None:
    scene = inner(
        {
            "a.journey.yaml": CROSSWISE.format("a", "b"),
            "b.journey.yaml": CROSSWISE.format("b", "a"),
            "dogfood.yaml": "capabilities: {a-up: {scope: machine}, b-up: {scope: machine}}",
        }
    )
    result = scene.dogfood(workers, "--dist=loadfile")
    assert result.ret == 0, result.outlines
    result.assert_outcomes(passed=8)
