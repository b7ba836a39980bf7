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

from pytest_dogfood.check.report import FORMAT_VERSION, report_on, to_json
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, Scope, Step, Token
from pytest_dogfood.scheduling.forecast import predict_provisioning, provider_of
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.storage.run_directory import results_of_run
from tests.support.command_line import dogfood
from tests.support.random_files import Event, Project
from tests.support.strategies import ANYWHERE, new_journey, random_scene

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


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for one in value.values() for key in keys_of(one))}
    return {key for one in value for key in keys_of(one)} if isinstance(value, list | tuple) else set()


def test_the_reference_names_the_version_and_every_key_of_the_json() -> None:
    graph = graph_of_three(Capability(token=B, location=ANYWHERE))
    from_project = to_json(report_on(graph, make_plan(graph, [JourneyId("third")]), ()))
    finding = {"code", "severity", "path", "line", "column", "message", "hint"}
    text = REFERENCE.read_text(encoding="utf-8")
    assert sorted((keys_of(from_project) | finding) - set(re.findall(r"`(\w+)`", text))) == []
    assert f"version is {FORMAT_VERSION}" in text


def starts(log: tuple[Event, ...]) -> list[str]:
    return [event.who for event in log if event.what == "start"]


ARGUMENTS = [("-n0",), ("-n3",), ("-n2", "--shard=1/2"), ("-n1",)]


@pytest.mark.parametrize("number", range(len(ARGUMENTS)))
def test_a_real_run_does_what_the_printed_plan_says(number: int, short_root: Path) -> None:
    scene = random_scene(Random(100 + number), least=4, most=9)  # noqa: S311 - a die
    # What fails, or is destroyed, is what a plan cannot foresee.
    scene = replace(
        scene,
        journeys=tuple(replace(one, invalidates={}) for one in scene.journeys),
        failing=frozenset(),
    )
    project = Project(scene, short_root)
    workers, *shard = ARGUMENTS[number]
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
        assert provisioned == sorted({one["token"] for one in plan["provision"]}), run.text
    assert {one["id"]: one["chain"] for one in plan["journeys"]} == {
        one.id: one.chain for one in results.values()
    }
    foreseen, real, order = defaultdict(set), defaultdict(set), defaultdict(list)
    chain_of = {one["id"]: one["chain"] for one in plan["journeys"]}
    for slot in plan["forecast"]["slots"]:
        foreseen[chain_of[slot["journey"]]].add(slot["worker"])
    for one in results.values():
        real[one.chain].add(one.worker)
    for planned in plan["journeys"]:
        order[planned["chain"]].append(planned["id"])
    assert {len(workers) for workers in (*foreseen.values(), *real.values())} == {1}
    ran = list(dict.fromkeys(name for name in starts(run.log) if name in chain_of))
    for members in order.values():
        here = [name for name in ran if name in members]
        assert here == [name for name in members if name in here]
