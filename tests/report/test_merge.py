"""Merging loses nothing, whatever the order of the manifests, and says what does not add up."""

from __future__ import annotations

from random import Random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Cause, Outcome, Provisioned, badness
from pytest_dogfood.report.manifest import ItemRecord, Manifest
from pytest_dogfood.report.merge import Merged, ShardsDisagreeError, merge, to_json, to_junit, to_lines
from tests.support.manifests import expected, nodeid, ran, runs
from tests.support.strategies import dice

PASSED, FAILED, ERROR, DEFERRED = Outcome.PASSED, Outcome.FAILED, Outcome.ERROR, Outcome.DEFERRED
PLAN = expected(a=1, b=2)
GREEN = (ran(1, PLAN, {"a": PASSED}), ran(2, PLAN, {"b": PASSED}))

thrifty = settings(max_examples=100, deadline=None)


def said(merged: Merged) -> str:
    return "\n".join(to_lines(merged))


@thrifty
@given(runs(), dice)
def test_the_order_of_the_manifests_does_not_matter(manifests: list[Manifest], die: Random) -> None:
    one, other = merge(manifests), merge(die.sample(manifests, len(manifests)))
    assert (to_json(one), to_junit(one), said(one)) == (to_json(other), to_junit(other), said(other))


@thrifty
@given(runs())
def test_every_expected_item_is_there_or_unaccounted_for(manifests: list[Manifest]) -> None:
    merged = merge(manifests)
    here = {item.nodeid for item in merged.records()}
    assert here | merged.unaccounted.keys() == merged.manifests[0].expected.shards.keys()
    assert not here & merged.unaccounted.keys()


@thrifty
@given(runs())
def test_the_worst_of_several_outcomes_is_kept(manifests: list[Manifest]) -> None:
    kept = {item.nodeid: item.outcome for item in merge(manifests).records()}
    for item in (item for manifest in manifests for item in manifest.items):
        assert badness(kept[item.nodeid]) >= badness(item.outcome)


@thrifty
@given(runs())
def test_no_shard_is_redder_than_the_merged_run(manifests: list[Manifest]) -> None:
    bad = any(item.outcome.is_bad for manifest in manifests for item in manifest.items)
    assert merge(manifests).exit_status >= bad


@thrifty
@given(runs(), st.data())
def test_a_missing_shard_is_named_and_the_run_is_red(manifests: list[Manifest], data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(manifests))
    rest = [one for one in manifests if one is not lost]
    if rest:
        merged = merge(rest)
        assert merged.missing_shards == (lost.shard.index,)
        assert merged.exit_status == 1
        assert f"missing: shard {lost.shard};" in said(merged)


@thrifty
@given(runs())
def test_junit_is_xml_whatever_the_texts_and_counts_every_item(manifests: list[Manifest]) -> None:
    merged = merge(manifests)
    suite = ET.fromstring(to_junit(merged)).find("testsuite")  # noqa: S314 - we have just written it
    assert suite is not None
    cases = suite.findall("testcase")
    assert len(cases) == int(suite.get("tests", "")) == len(list(merged.records())) + len(merged.unaccounted)
    for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(count, "")) == sum(case.find(kind) is not None for case in cases)


def test_a_green_run_ends_with_the_closing_line_over_all_shards() -> None:
    merged = merge(GREEN)
    assert merged.exit_status == 0
    assert said(merged).splitlines() == [
        "dogfood: 2 journeys = 2 passed; 0 tokens",
        f"dogfood: 2 of 2 shards, 2 items; plan {GREEN[0].digest}",
    ]


def test_different_plans_are_refused_with_their_digests() -> None:
    other = ran(2, expected(a=1, b=2, c=2), {"b": PASSED})
    with pytest.raises(ShardsDisagreeError, match=f"shard 1/2 has {GREEN[0].digest}, shard 2/2 has"):
        merge([GREEN[0], other])


@pytest.mark.parametrize(
    "manifests, words",
    [([], "nothing to merge"), ([GREEN[0], GREEN[0]], "shard 1 is there twice")],
)
def test_what_is_no_run_is_refused(manifests: list[Manifest], words: str) -> None:
    with pytest.raises(ShardsDisagreeError, match=words):
        merge(manifests)


def test_what_a_shard_did_not_run_is_unaccounted_for_and_an_error_in_junit() -> None:
    merged = merge([GREEN[0], ran(2, PLAN, {})])
    assert merged.exit_status == 1
    assert f"unaccounted: {nodeid('b')}" in said(merged)
    assert b'<error message="unaccounted: shard 2/2 did not run it">' in to_junit(merged)


def test_a_failed_item_is_named_with_its_shard() -> None:
    merged = merge([GREEN[0], ran(2, PLAN, {"b": FAILED})])
    assert f"failed: {nodeid('b')} on shard 2" in said(merged)


def test_what_ran_twice_is_told_from_prerequisites_and_replays() -> None:
    second = ran(2, PLAN, {"b": PASSED, "a": PASSED})
    helping = replace(second, items=(second.items[0], replace(second.items[1], prerequisite=True)))
    replaying = ran(2, PLAN, {"b": PASSED}, replayed={"a": PASSED})
    told = [said(merge([GREEN[0], one])).splitlines()[0] for one in (second, helping, replaying)]
    assert told == [
        f"ran on more than one shard: {nodeid('a')} (shards 1, 2)",
        f"ran as prerequisites: {nodeid('a')} (shard 2)",
        "replayed in the set-up of others: a (shard 2)",
    ]


def test_a_gate_that_was_decided_differently_makes_the_run_red() -> None:
    plan = expected(gate=1, b=2)
    manifests = [
        ran(1, plan, {"gate": PASSED}, gates="gate"),
        ran(2, plan, {"b": DEFERRED}, replayed={"gate": FAILED}, gates="gate"),
    ]
    merged = merge(manifests)
    assert merged.exit_status == 1
    assert "gate gate was decided differently: passed on shard 1, failed on shard 2" in said(merged)


def test_a_gate_that_was_decided_alike_is_no_dispute() -> None:
    plan = expected(gate=1, b=2)
    manifests = [
        ran(1, plan, {"gate": PASSED}, gates="gate"),
        ran(2, plan, {"b": PASSED}, replayed={"gate": PASSED}, gates="gate"),
    ]
    assert merge(manifests).exit_status == 0


def test_a_gate_that_was_skipped_is_said_to_be_open() -> None:
    plan = expected(gate=1, b=2)
    manifests = [ran(1, plan, {"gate": Outcome.SKIPPED}, gates="gate"), ran(2, plan, {"b": PASSED})]
    assert "gate left open: gate (skipped)" in said(merge(manifests))


def test_a_failure_that_only_a_replay_has_seen_makes_the_run_red() -> None:
    plan = expected(b=2)
    merged = merge([ran(1, plan, {}), ran(2, plan, {"b": DEFERRED}, replayed={"a": FAILED})])
    assert merged.exit_status == 1
    assert "failed when replayed: a" in said(merged)


@pytest.mark.parametrize(
    "status, words",
    [
        (1, "was not green, though none of its items failed"),
        (2, "was interrupted"),
        (3, "met an internal error"),
        (5, "found nothing to run"),
    ],
)
def test_a_shard_that_was_red_for_another_reason_makes_the_run_red(status: int, words: str) -> None:
    merged = merge([GREEN[0], ran(2, PLAN, {"b": PASSED}, status=status)])
    assert merged.exit_status == 1
    assert f"shard 2/2 {words} (exit status {status})" in said(merged)


def test_a_file_that_could_not_be_collected_makes_the_run_red_and_is_in_junit() -> None:
    broken = replace(GREEN[1], uncollected={"test_x.py": "SyntaxError: no"}, exit_status=1)
    merged = merge([GREEN[0], broken])
    assert merged.exit_status == 1
    assert "could not be collected: test_x.py" in said(merged)
    assert b"SyntaxError: no" in to_junit(merged)


def test_the_deferred_are_grouped_by_their_root_cause_over_all_shards() -> None:
    because = Cause(who="setup", why="failed")
    deferred = [
        replace(one, results=tuple(replace(result, cause=because) for result in one.results))
        for one in (ran(1, PLAN, {"a": DEFERRED}), ran(2, PLAN, {"b": DEFERRED}))
    ]
    assert "deferred: a, b, because setup failed" in said(merge(deferred))


def test_durations_are_those_of_what_was_measured_without_what_provisioning_took() -> None:
    first = ran(1, PLAN, {"a": PASSED})
    act = Provisioned(token=Token("t"), how="by fixture", seconds=0.75, where="chain")
    first = replace(first, results=(replace(first.results[0], provisioned=(act,)),))
    assert merge([first, ran(2, PLAN, {"b": DEFERRED})]).durations() == {nodeid("a"): 0.25}


@pytest.mark.parametrize(
    "name, classname, case",
    [
        ("a/b/x.journey.yaml::log-in", "a.b.x.journey.yaml", "log-in"),
        ("a/test_b.py::TestC::test_d", "a.test_b.TestC", "test_d"),
        ("test_b.py::test_d[x::y/z]", "test_b", "test_d[x::y/z]"),
    ],
)
def test_junit_names_items_as_pytest_does(name: str, classname: str, case: str) -> None:
    manifest = replace(GREEN[0], items=(ItemRecord(nodeid=name, outcome=PASSED),))
    found = ET.fromstring(to_junit(merge([manifest]))).find(".//testcase")  # noqa: S314 - we have just written it
    assert found is not None
    assert (found.get("classname"), found.get("name")) == (classname, case)


def test_the_json_says_where_each_item_ran() -> None:
    content = to_json(merge([*GREEN]))
    assert [(item["nodeid"], item["shard"]) for item in content["items"]] == [
        (nodeid("a"), 1),
        (nodeid("b"), 2),
    ]
    assert [journey["id"] for journey in content["journeys"]] == [JourneyId("a"), JourneyId("b")]
