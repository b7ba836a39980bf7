"""The printed plan is what a run does."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_dogfood.check.report import FORMAT_VERSION, Report, report_on, to_json, to_lines
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, Scope, Step, Token
from pytest_dogfood.scheduling.forecast import predict_provisioning, provider_of
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.storage.run_directory import results_of_run
from tests.support.command_line import dogfood
from tests.support.random_files import Event, Project
from tests.support.split_runs import scene_that_forks
from tests.support.strategies import ANYWHERE, Scene, new_journey, random_scene

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "check-json.md"
A, B, M = Token("a"), Token("b"), Token("m")


def graph_of_three(*capabilities: Capability) -> CapabilityGraph:
    """Make `first`, which establishes a, `second`, which needs it and establishes b, and `third`, which needs b."""
    first = replace(new_journey("first"), establishes={A: ANYWHERE})
    second = replace(new_journey("second"), requires={A: ANYWHERE}, establishes={B: ANYWHERE})
    return CapabilityGraph(
        [first, second, replace(new_journey("third"), requires={B: ANYWHERE})], capabilities
    )


def acts(graph: CapabilityGraph, *selected: str) -> list[tuple[str, str, str | None]]:
    plan = make_plan(graph, [JourneyId(name) for name in selected])
    return [(one.token, one.how, one.chain) for one in predict_provisioning(graph, plan)]


def test_nothing_is_provisioned_where_everything_is_established() -> None:
    assert acts(graph_of_three(), "first", "second", "third") == []


def test_what_a_replayed_journey_needs_is_provisioned_before() -> None:
    assert acts(graph_of_three(), "third") == [
        ("a", "by replaying first", "first"),
        ("b", "by replaying second", "first"),
    ]


def test_what_only_the_provider_of_an_established_token_needs_is_not_provisioned() -> None:
    step = Step(location=ANYWHERE, run="true")
    needy = Capability(token=B, location=ANYWHERE, requires={M: ANYWHERE}, provision=(step,))
    machine = Capability(token=M, location=ANYWHERE, scope=Scope.MACHINE, provision=(step,))
    graph = graph_of_three(needy, machine)
    assert acts(graph, "first", "second", "third") == []
    assert acts(graph, "third") == [
        ("m", "by its provision steps", None),
        ("b", "by its provision steps", "first"),
    ]


def test_a_python_test_that_establishes_a_token_is_named_where_nothing_can_provision_it() -> None:
    test = replace(new_journey("test_a"), python=True, establishes={Token("t"): ANYWHERE})
    graph = CapabilityGraph([test], [])
    words = "by nothing: unless it is present, the Python test test_a has to establish it"
    assert provider_of(graph, Token("t")) == words
    assert provider_of(graph, Token("t"), knows_tests=True) == words


def test_a_gate_of_another_shard_is_replayed_with_what_it_needs() -> None:
    gate = replace(new_journey("gate"), requires={A: ANYWHERE}, gating=True)
    maker, other = replace(new_journey("maker"), establishes={A: ANYWHERE}), new_journey("other")
    graph = CapabilityGraph([maker, replace(gate, tier=gate.tier.__class__(0)), other])
    plan = make_plan(graph, [JourneyId("other")], gates=graph.journeys)
    assert [one.token for one in predict_provisioning(graph, plan)] == ["a"]


def graph_that_forks() -> CapabilityGraph:
    """Make `first`, and `second` and `third`, which begin as copies of what it leaves; `fourth` follows `second`."""
    copyable = [Capability(token=token, location=ANYWHERE, copyable=True) for token in (A, B)]
    journeys = {
        "first": ((), (A,)),
        "second": ((A,), (B,)),
        "third": ((A,), ()),
        "fourth": ((A, B), ()),
    }
    return CapabilityGraph(
        [
            replace(
                new_journey(name),
                requires=dict.fromkeys(needs, ANYWHERE),
                establishes=dict.fromkeys(gives, ANYWHERE),
            )
            for name, (needs, gives) in journeys.items()
        ],
        copyable,
    )


def report_of(graph: CapabilityGraph, *selected: str, workers: int = 2) -> Report:
    return report_on(graph, make_plan(graph, [JourneyId(name) for name in selected]), (), workers=workers)


def test_the_states_of_a_split_chain_are_shown_with_where_they_begin() -> None:
    graph = graph_that_forks()
    lines = list(to_lines(report_of(graph, *graph.journeys)))
    assert lines[:7] == [
        "chain first (4, 4.0 s) on gw0, gw1, in 3 states:",
        "    state of first (1, 1.0 s) on gw0",
        "    state of second (2, 2.0 s) on gw1, begins as a copy behind first:",
        "        second",
        "        fourth",
        "    state of third (1, 1.0 s) on gw0, begins as a copy behind first",
        "critical path: 3.0 s: first -> second -> fourth",
    ]
    assert lines[7].startswith(
        "4 journeys in 1 chain and 3 states: 4.0 s of work; with 2 workers about 3.0 s"
    )


def test_what_is_provisioned_for_several_parts_is_told_once() -> None:
    lines = list(to_lines(report_of(graph_that_forks(), "third", "fourth")))
    once = "once for the 2 parts that begin as copies of it; first for third"
    assert [line for line in lines if line.startswith("provision: ")] == [
        f"provision: a, by replaying first, in the state of first, {once}",
        "provision: b, by replaying second, in the state of second; first for fourth",
    ]


def test_the_states_of_split_chains_are_in_the_json() -> None:
    plan = json.loads(json.dumps(to_json(report_of(graph_that_forks(), "third", "fourth"))))["plan"]
    assert [(one["id"], one["state"], one["chain"]) for one in plan["journeys"]] == [
        ("third", "third", "first"),
        ("fourth", "second", "first"),
    ]
    assert plan["states"] == [
        {"id": "first", "chain": "first", "copy_of": None, "behind": None, "journeys": []},
        {"id": "second", "chain": "first", "copy_of": "first", "behind": "first", "journeys": ["fourth"]},
        {"id": "third", "chain": "first", "copy_of": "first", "behind": "first", "journeys": ["third"]},
    ]
    assert to_json(report_of(graph_of_three(), "third"))["plan"]["states"] == ()


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for one in value.values() for key in keys_of(one))}
    return {key for one in value for key in keys_of(one)} if isinstance(value, list | tuple) else set()


def test_the_reference_names_the_version_and_every_key_of_the_json() -> None:
    graph = graph_of_three(Capability(token=B, location=ANYWHERE))
    reports = [
        report_on(one, make_plan(one, [JourneyId("third")]), ()) for one in (graph, graph_that_forks())
    ]
    from_project = [to_json(one) for one in reports]
    finding = {"code", "severity", "path", "line", "column", "message", "hint"}
    text = REFERENCE.read_text(encoding="utf-8")
    assert sorted((keys_of(from_project) | finding) - set(re.findall(r"`(\w+)`", text))) == []
    assert f"version is {FORMAT_VERSION}" in text


def starts(log: tuple[Event, ...]) -> list[str]:
    return [event.who for event in log if event.what == "start"]


ARGUMENTS = [("-n0",), ("-n3",), ("-n2", "--shard=1/2"), ("-n1",)]
SPLIT = [("-n0",), ("-n2",), ("-n2", "--shard=1/2"), ("-n0", "--shard=2/2")]


def scene_to_plan(number: int) -> Scene:
    if number >= len(ARGUMENTS):
        return scene_that_forks(Random(number))  # noqa: S311 - a die
    return random_scene(Random(100 + number), least=4, most=9)  # noqa: S311 - a die


@pytest.mark.parametrize("number", range(len(ARGUMENTS) + len(SPLIT)))
def test_a_real_run_does_what_the_printed_plan_says(number: int, short_root: Path) -> None:
    scene = scene_to_plan(number)
    # What fails, or is destroyed, is what a plan cannot foresee.
    scene = replace(
        scene,
        journeys=tuple(replace(one, invalidates={}) for one in scene.journeys),
        failing=frozenset(),
    )
    project = Project(scene, short_root)
    workers, *shard = [*ARGUMENTS, *SPLIT][number]
    options = [f"-n{max(int(workers[2:]), 1)}", *shard, "--format=json"]
    printed = dogfood(short_root, "check", *options, PYTEST_ADDOPTS="-p no:randomly")
    plan = json.loads(printed.stdout)["plan"]
    run = project.run(
        workers, "-pno:randomly", "--dogfood-keep", *(f"--dogfood-{one.removeprefix('--')}" for one in shard)
    )
    kept = re.search(r"^dogfood: kept (.+)$", run.text, re.MULTILINE)
    assert kept is not None, run.text
    results = results_of_run(Path(kept[1]))
    outcomes = {one.id: one.outcome for one in results.values()}
    if "error" not in outcomes.values() and "deferred" not in outcomes.values():
        provisioned = sorted(one.token for result in results.values() for one in result.provisioned)
        assert provisioned == sorted(one["token"] for one in plan["provision"]), run.text
    assert {one["id"]: one["chain"] for one in plan["journeys"]} == {
        one.id: one.chain for one in results.values()
    }
    foreseen, real, order = defaultdict(set), defaultdict(set), defaultdict(list)
    state_of = {one["id"]: one["state"] for one in plan["journeys"]}
    for slot in plan["forecast"]["slots"]:
        foreseen[state_of[slot["journey"]]].add(slot["worker"])
    for one in results.values():
        real[state_of[one.id]].add(one.worker)
    for planned in plan["journeys"]:
        order[planned["state"]].append(planned["id"])
    assert {len(workers) for workers in (*foreseen.values(), *real.values())} == {1}
    ran = list(dict.fromkeys(name for name in starts(run.log) if name in state_of))
    for members in order.values():
        here = [name for name in ran if name in members]
        assert here == [name for name in members if name in here]
