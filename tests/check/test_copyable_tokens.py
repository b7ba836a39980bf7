"""What `dogfood check` says of tokens that, copyable, would shorten the run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.check.speed import findings_on_copies, forecast_with_copies
from pytest_dogfood.diagnostics import Location, Severity
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, Service, Step, Token
from pytest_dogfood.scheduling.forecast import make_forecast
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from tests.support.strategies import ANYWHERE, new_journey

STEP = Step(location=ANYWHERE, run="true")


def journey(name: str, *, needs: str = "", gives: str = "", spoils: str = "", line: int = 1) -> Journey:
    return replace(
        new_journey(name),
        requires={Token(word): ANYWHERE for word in needs.split()},
        establishes={Token(word): Location("shop.yaml", line, 20) for word in gives.split()},
        invalidates={Token(word): ANYWHERE for word in spoils.split()},
    )


def capability(token: str) -> Capability:
    return Capability(token=Token(token), location=Location("dogfood.yaml", 7, 3))


def messages(
    graph: CapabilityGraph,
    *,
    seconds: float = 2.0,
    workers: int = 4,
    most_planned: int = 4_000,
    copying: float = 0.0,
    code: str = "could-be-copyable",
) -> list[str]:
    """Return what is said where each journey takes `seconds`, and each copy for a feature `copying`, if it is known."""
    durations = {one.nodeid: seconds for one in graph.journeys.values()}
    plan = make_plan(graph, list(graph.journeys), durations=durations)
    copies = {one.nodeid: copying for one in plan.journeys if copying and "feature" in one.id}
    forecast = forecast_with_copies(graph, plan, workers, copies)
    found = list(findings_on_copies(graph, plan, forecast, copies, most_planned=most_planned))
    assert {(one.severity, one.code) for one in found} <= {(Severity.INFO, code)}
    return [f"{one.location}: {one.message}" for one in found]


def features(count: int, *, needs: str = "in") -> list[Journey]:
    return [journey(f"feature-{number}", needs=needs) for number in range(count)]


LOGIN = journey("log-in", gives="in", line=3)
FAN_OUT = [LOGIN, *features(20)]


def test_a_token_that_ties_features_is_named_at_its_establisher_with_both_figures() -> None:
    (found,) = messages(CapabilityGraph(FAN_OUT))
    assert found == (
        "shop.yaml:3:20: 'in' could be copyable: the run would take 12.0 s instead of 42.0 s on 4 workers"
    )


def test_a_token_is_named_at_its_definition_and_only_an_undefined_one_is_shown_how_to_define() -> None:
    hints: list[str] = []
    for definitions in ([capability("in")], []):
        graph = CapabilityGraph(FAN_OUT, definitions)
        plan = make_plan(graph, list(graph.journeys))
        forecast = make_forecast(jobs_for([one.nodeid for one in plan.journeys], plan, "load"), 4)
        (found,) = findings_on_copies(graph, plan, forecast)
        assert found.location.path == ("dogfood.yaml" if definitions else "shop.yaml")
        hints.append(found.hint)
    assert hints[0] == (
        "if 'in' is true wholly because of files below $DOGFOOD_STATE, and a copy of them is as good, "
        "add 'copyable: true'"
    )
    assert (
        hints[1] == f"{hints[0]}, in dogfood.yaml:\n        capabilities:\n          in: {{copyable: true}}"
    )


def test_the_run_takes_as_long_as_it_was_said_to_once_the_token_is_copyable() -> None:
    copyable = replace(capability("in"), copyable=True)
    graph = CapabilityGraph([*FAN_OUT, journey("log-out", needs="in", spoils="in")], [copyable])
    assert messages(graph) == []
    plan = make_plan(
        graph, list(graph.journeys), durations={one.nodeid: 2.0 for one in graph.journeys.values()}
    )
    jobs = jobs_for([one.nodeid for one in plan.journeys], plan, "load")
    assert make_forecast(jobs, 4).makespan == 14.0
    (found,) = messages(CapabilityGraph(graph.journeys.values(), [capability("in")]))
    assert "would take 14.0 s instead of 44.0 s" in found


def test_a_logout_that_had_to_wait_for_all_does_not_hide_what_copies_would_save() -> None:
    (found,) = messages(CapabilityGraph([*FAN_OUT, journey("log-out", needs="in", spoils="in")]))
    assert "'in' could be copyable: the run would take 14.0 s instead of 44.0 s" in found


def test_instances_of_a_token_are_one_candidate_because_they_have_one_definition() -> None:
    members = [journey(f"log-in-{who}", needs="open", gives=f"in:{who}") for who in "abcd"]
    users = [journey(f"{what}-{who}", needs=f"in:{who}") for what in ("buy", "pay", "go") for who in "abcd"]
    graph = CapabilityGraph(
        [journey("open", gives="open"), *members, *users], [replace(capability("open"), copyable=True)]
    )
    (found,) = messages(graph, seconds=5.0, workers=16)
    assert "'in' could be copyable: the run would take 15.0 s instead of 25.0 s" in found


def test_with_a_token_that_is_enough_no_other_is_named() -> None:
    middle = [journey(f"start-{part}", needs="in", gives=f"part-{part}") for part in "abcd"]
    leaves = [journey(f"use-{part}-{n}", needs=f"part-{part}") for part in "abcd" for n in range(4)]
    (found,) = messages(CapabilityGraph([LOGIN, *middle, *leaves]))
    assert "'in' could be copyable: the run would take 12.0 s instead of 42.0 s" in found


def test_each_token_that_helps_alone_is_named_if_none_is_enough() -> None:
    makers = [LOGIN, journey("fill", gives="full"), journey("use-both", needs="in full")]
    found = messages(CapabilityGraph([*makers, *features(8), *features_of("full", 8)]), workers=8)
    assert {one.partition(": ")[2].partition(":")[0] for one in found} == {
        "'in' could be copyable",
        "'full' could be copyable",
    }


def features_of(token: str, count: int) -> list[Journey]:
    return [journey(f"{token}-{number}", needs=token) for number in range(count)]


def test_tokens_that_help_only_together_are_named_together_without_those_that_add_nothing() -> None:
    makers = [LOGIN, journey("fill", gives="full"), journey("other", gives="rare")]
    users = [*features(16, needs="in full"), *features_of("in full rare", 2)]
    (found,) = messages(CapabilityGraph([*makers, *users]))
    assert "'in' and 'full' could be copyable: " in found or "'full' and 'in' could be copyable: " in found


def test_what_cannot_be_copied_is_not_named() -> None:
    plain = capability("in")
    service = Service(location=ANYWHERE, run="./server")
    for other in (replace(plain, service=service, probe=STEP), replace(plain, release=(STEP,))):
        assert messages(CapabilityGraph(FAN_OUT, [other])) == []
    assert len(messages(CapabilityGraph(FAN_OUT, [plain]))) == 1


def test_what_a_fixture_provides_is_not_named() -> None:
    users = features(20)
    assert messages(CapabilityGraph(users, [capability("in")], {Token("in"): "login"})) == []
    assert len(messages(CapabilityGraph(users, [replace(capability("in"), provision=(STEP,))]))) == 1


def test_tests_that_marks_connect_are_not_named() -> None:
    test = "test_a.py::test_up"
    assert messages(CapabilityGraph([journey(test, gives=test), *features(20, needs=test)])) == []


@pytest.mark.parametrize("seconds,workers,count", [(0.6, 4, 0), (0.7, 4, 1), (2.0, 1, 1)])
def test_what_saves_a_few_seconds_is_not_named_and_without_workers_eight_count(
    seconds: float, workers: int, count: int
) -> None:
    found = messages(CapabilityGraph(FAN_OUT), seconds=seconds, workers=workers)
    assert len(found) == count
    assert all(f"on {workers if workers > 1 else 8} workers" in one for one in found)


def test_a_chain_beside_which_others_need_as_long_is_left_alone() -> None:
    beside = [journey(f"alone-{number}") for number in range(60)]
    assert messages(CapabilityGraph([*FAN_OUT, *beside])) == []


def test_journeys_that_wait_for_each_other_anyway_gain_nothing_from_copies() -> None:
    row = [journey(f"j{n}", needs=f"t{n}", gives=f"t{n + 1}") for n in range(20)]
    assert messages(CapabilityGraph(row)) == []


def test_a_large_project_is_planned_anew_only_once() -> None:
    assert len(messages(CapabilityGraph(FAN_OUT), most_planned=1)) == 1
    makers = [LOGIN, journey("fill", gives="full")]
    graph = CapabilityGraph([*makers, *features(16, needs="in full")])
    assert messages(graph, most_planned=1) == []
    assert len(messages(graph)) == 1


def test_nothing_to_run_needs_no_copies() -> None:
    assert messages(CapabilityGraph([])) == []


COPYABLE = replace(capability("in"), copyable=True)


def test_a_token_whose_copies_take_longer_than_they_save_is_named_with_both_figures() -> None:
    (found,) = messages(CapabilityGraph(FAN_OUT, [COPYABLE]), copying=10.0, code="copies-cost-more")
    assert found == (
        "dogfood.yaml:7:3: copies for 'in' cost more than they save: without 'copyable: true' the run would take "
        "42.0 s instead of 62.0 s on 4 workers"
    )


def test_copies_that_save_more_than_they_take_are_part_of_the_forecast_only() -> None:
    graph = CapabilityGraph(FAN_OUT, [COPYABLE])
    assert messages(graph, copying=1.0) == []
    plan = make_plan(
        graph, list(graph.journeys), durations={one.nodeid: 2.0 for one in graph.journeys.values()}
    )
    known = {one.nodeid: 1.0 for one in plan.journeys}
    assert forecast_with_copies(graph, plan, 4, {}).makespan == 12.0
    assert forecast_with_copies(graph, plan, 4, known).makespan == 17.0  # the login copies nothing


def test_what_copies_took_is_forgotten_once_the_token_is_not_copyable_any_more() -> None:
    graph = CapabilityGraph(FAN_OUT, [capability("in")])
    plan = make_plan(
        graph, list(graph.journeys), durations={one.nodeid: 2.0 for one in graph.journeys.values()}
    )
    known = {one.nodeid: 1.0 for one in plan.journeys}
    assert forecast_with_copies(graph, plan, 4, known).makespan == 42.0


def test_of_two_copyable_tokens_only_the_one_with_the_costly_copies_is_named() -> None:
    makers = [LOGIN, journey("fill", gives="full"), *features_of("full", 20)]
    other = replace(capability("full"), copyable=True)
    (found,) = messages(
        CapabilityGraph([*FAN_OUT, *makers[1:]], [COPYABLE, other]), copying=20.0, code="copies-cost-more"
    )
    assert "copies for 'in' cost more" in found
