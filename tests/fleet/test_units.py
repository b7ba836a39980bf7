from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings

from pytest_dogfood.fleet.board import Losses, Unit
from pytest_dogfood.fleet.units import loss_in_words, order_of_chains, taken_over, units_of, with_units
from pytest_dogfood.scheduling.plan import Plan, make_plan
from pytest_dogfood.scheduling.queue import Job, jobs_for
from pytest_dogfood.scheduling.shared_queue import SharedQueue
from tests.support.strategies import Scene, dice, scenes, with_copyable_tokens

IDS = [
    "b.py::test_2",
    "b.py::test_1",
    "a.py::test_9",
    "shop.yaml::pay",
    "shop.yaml::login",
    "shop.yaml::look",
]
JOBS = [
    Job(index=0, plain=True),
    Job(index=1, plain=True),
    Job(index=2, plain=True),
    Job(index=3, chain="login"),
    Job(index=4, chain="login"),
    Job(index=5),
]


def test_units_are_chains_journeys_and_files_of_plain_tests_named_after_their_smallest_node_id() -> None:
    jobs = with_units(IDS, JOBS)
    assert [job.unit for job in jobs] == [
        "b.py::test_1",
        "b.py::test_1",
        "a.py::test_9",
        "shop.yaml::login",
        "shop.yaml::login",
        "shop.yaml::look",
    ]
    assert [job.batch for job in jobs] == ["b.py::test_1", "b.py::test_1", "a.py::test_9", "", "", ""]
    assert units_of(jobs) == ("a.py::test_9", "b.py::test_1", "shop.yaml::login", "shop.yaml::look")


def test_a_scope_that_stays_together_is_a_unit() -> None:
    ids = ["a.py::TestA::test_1", "a.py::TestB::test_1", "a.py::TestA::test_2"]
    jobs = with_units(ids, jobs_for(ids, Plan(), "loadscope"))
    assert [job.unit for job in jobs] == ["a.py::TestA::test_1", "a.py::TestB::test_1", "a.py::TestA::test_1"]


def test_plain_tests_that_stay_together_with_a_chain_are_one_unit_with_it() -> None:
    jobs = [Job(index=0, chain="login", plain=True), Job(index=1, chain="login")]
    assert {job.unit for job in with_units(["z.py::test_1", "b.yaml::login"], jobs)} == {"b.yaml::login"}


def test_what_must_be_on_one_machine_is_one_unit_with_all_that_is_tied_to_it() -> None:
    together = [["shop.yaml::pay", "shop.yaml::look"]]
    jobs = with_units(IDS, JOBS, together)
    assert [job.unit for job in jobs[3:]] == ["shop.yaml::login"] * 3
    assert [job.unit for job in jobs[:3]] == ["b.py::test_1", "b.py::test_1", "a.py::test_9"]
    (order,) = (one for one in SharedQueue(jobs).units.values() if len(one) == 3)
    assert sorted(order) == [3, 4, 5]
    assert order_of_chains(IDS, jobs) != order_of_chains(IDS, with_units(IDS, JOBS))


def test_two_items_with_one_node_id_are_refused() -> None:
    with pytest.raises(ValueError, match="two items have one node id"):
        with_units(["a", "a"], [Job(index=0), Job(index=1)])


def test_the_order_of_a_chain_counts_and_that_of_plain_tests_does_not() -> None:
    order = order_of_chains(IDS, JOBS)
    swapped = [IDS[1], IDS[0], *IDS[2:]]
    assert order_of_chains(swapped, JOBS) == order
    swapped = [*IDS[:3], IDS[4], IDS[3], IDS[5]]
    assert order_of_chains(swapped, JOBS) != order
    waits = [*JOBS[:3], Job(index=3, chain="login", after=(4,)), *JOBS[4:]]
    assert order_of_chains(IDS, waits) != order


@settings(deadline=None)
@given(scenes(), dice)
def test_units_have_the_same_names_and_members_whatever_the_order_of_the_items(
    scene: Scene, die: Random
) -> None:
    scene = die.choice([scene, with_copyable_tokens(scene, die)])
    plain = [f"plain{die.randrange(3)}.py::test_{number}" for number in range(die.randrange(8))]
    found = []
    plan = make_plan(scene.graph(), scene.ids)
    for _ in range(2):
        ids = [*(one.nodeid for one in plan.journeys), *plain]
        die.shuffle(ids)
        jobs = with_units(ids, jobs_for(ids, plan, "load"))
        assert [job.index for job in jobs] == list(range(len(ids)))
        queue = SharedQueue(jobs)
        found.append({unit: {ids[index] for index in members} for unit, members in queue.units.items()})
        assert all(unit == min(members) for unit, members in found[-1].items())
        assert {job.index: job.chain for job in jobs if job.chain} == {
            job.index: job.chain for job in jobs_for(ids, plan, "load") if job.chain
        }
    assert found[0] == found[1]


def test_what_ends_elsewhere_after_a_loss_was_taken_over_from_the_lost_machine() -> None:
    units = (
        Unit(name="a1", machine="blue", lost_on=("red", "green"), losses=2, done=True),
        Unit(name="b1", machine="green", lost_on=("red",), losses=1),
    )
    items = {"a1": ["a1", "a2", "a3"], "b1": ["b1", "b2"], "c1": ["c1"]}
    ended_by = {"a1": "red", "a2": "green", "a3": "blue", "b1": "green", "c1": "blue"}
    taken = taken_over(Losses(after={"red": 40, "green": 90, "white": 5}, units=units), items, ended_by)
    assert taken == {
        "red": {"a2": "green", "a3": "blue", "b1": "green"},
        "green": {"a3": "blue"},
        "white": {},
    }
    assert loss_in_words(40.4, taken["red"]) == "lost after 40 s; 3 items taken over by blue, green"
    assert loss_in_words(90, taken["green"]) == "lost after 90 s; 1 item taken over by blue"
    assert loss_in_words(5, taken["white"]) == "lost after 5 s"
