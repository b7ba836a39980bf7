"""Simulated projects with wrong declarations: what an examination finds, what it says, and what it costs.

tests/campaigns/doubted_projects.py tries many more of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import pytest
from msgspec import structs

from pytest_dogfood.doubt.experiments.examination import Examination
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Observation
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.no_doubt import DOUBT_CODES
from tests.support.doubted_projects import Project, Simulation
from tests.support.seeded_faults import KINDS, draw, draw_clean, draw_noisy, examine, is_green

PROJECTS = int(os.environ.get("DOGFOOD_TEST_GRAPHS", "6"))
"""How many projects of each kind are simulated here."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(7, 7 + PROJECTS))
def test_a_fault_is_found_with_the_right_culprit_and_nothing_else(kind: str, seed: int) -> None:
    project, (fault,) = draw(seed, (kind,))
    seen = examine(project)
    (finding,) = [one for one in seen.findings if not one.hint]
    assert fault.is_found_by(finding)
    assert fault.is_right_about_guilty(finding)
    assert finding.proof is not None
    assert finding.proof.times >= 3


@pytest.mark.parametrize("kind", ["need of token", "need of file", "need of leaf", "undeclared invalidates"])
@pytest.mark.parametrize("seed", range(7, 7 + PROJECTS))
def test_the_lines_of_a_finding_end_it(kind: str, seed: int) -> None:
    project, _ = draw(seed, (kind,))
    (finding,) = examine(project).findings
    assert finding.lines
    assert examine(project.with_lines(finding.lines)).findings == []


@pytest.mark.parametrize("seed", [6, 13, 94, 109, 110])
def test_what_destroys_a_token_is_tried_before_another_one_destroys_it(seed: int) -> None:
    project, (fault,) = draw(seed, ("undeclared invalidates",))
    assert any(one.invalidates for one in project.journeys)
    (finding,) = examine(project).findings
    assert fault.is_found_by(finding)


def test_what_a_leaf_leaves_gets_a_token_of_its_own() -> None:
    project, (fault,) = draw(7, ("need of leaf",))
    (finding,) = examine(project).findings
    made, needed = finding.lines
    assert (made.journey, made.key, made.token) == (fault.guilty, "establishes", f"{fault.guilty}-done")
    assert (needed.journey, needed.key, needed.token) == (fault.journey, "requires", f"{fault.guilty}-done")


@pytest.mark.parametrize("seed", range(10 * PROJECTS))
def test_nothing_is_found_where_all_declarations_hold(seed: int) -> None:
    project = draw_clean(seed).project
    seen = examine(project)
    assert (seen.findings, seen.unclear, seen.untested) == ([], [], [])
    assert seen.cost < 5


def test_a_clean_project_costs_at_most_four_ordinary_runs_on_the_average() -> None:
    costs = [examine(draw_clean(seed).project).cost for seed in range(100, 140)]
    assert sum(costs) / len(costs) <= 4


@pytest.mark.parametrize("noise", ["flaky", "expiring", "outside", "logs"])
@pytest.mark.parametrize("seed", range(5 * PROJECTS))
def test_noise_is_no_finding(noise: str, seed: int) -> None:
    project = draw_noisy(seed, noise)
    if is_green(project, seed=seed):  # else the chain is not tested
        assert [one for one in examine(project, seed=seed).findings if not one.hint] == []


def test_a_red_ordinary_run_is_not_tested_further() -> None:
    project = draw_clean(3).project
    last = project.journeys[-1].id
    project.does[last] = [("need", "what nothing leaves")]
    seen = examine(project)
    assert (seen.findings, seen.untested) == ([], [f"{last} failed in the ordinary run"])
    assert seen.experiments == 1


def test_a_journey_that_passes_only_once_is_not_repeatable() -> None:
    draft = draw_clean(5)
    leaf = next(
        one.id for one in reversed(draft.project.journeys) if not one.establishes and not one.invalidates
    )
    draft.project.does[leaf] += [("once", "an account outside")]
    (finding,) = examine(draft.project).findings
    assert (finding.code, finding.journey, finding.hint) == (Code.NOT_REPEATABLE, leaf, True)


def test_one_that_is_replayed_for_others_must_be_repeatable() -> None:
    draft = draw_clean(5)
    project = draft.project
    maker = next(one for one in project.journeys[1:] if one.establishes)
    (token,) = maker.establishes
    project.providers.pop(token, None)
    project.does[maker.id] += [("once", "an account outside")]
    (finding,) = examine(project).findings
    assert (finding.code, finding.journey, finding.hint) == (Code.NOT_REPEATABLE, maker.id, False)


def test_findings_are_the_same_whoever_asks_again() -> None:
    project, _ = draw(7, ("need of file", "polluter"))
    assert examine(project).findings == examine(project).findings


def _unsettled(project: Project, *, most: int) -> list[Experiment]:
    """Return the suspicious experiments of an examination that is broken off."""
    graph, simulation = project.graph(), Simulation(project)
    (chain,) = dict.fromkeys(graph.chains.values())
    examination = Examination(graph, chain)
    trial = examination.run()
    experiment = next(trial)
    for _ in range(most):
        if examination.suspicious:
            return [*examination.suspicious]
        experiment = trial.send(simulation.run(experiment))
    raise AssertionError("nothing was suspected")


def test_what_was_suspected_the_last_time_comes_first() -> None:
    project, (fault,) = draw(7, ("polluter",))
    suspects = _unsettled(project, most=50)
    assert examine(project, earlier=suspects).findings == examine(project).findings
    graph, simulation = project.graph(), Simulation(project)
    (chain,) = dict.fromkeys(graph.chains.values())
    examination = Examination(graph, chain, earlier=suspects)
    trial = examination.run()
    first = trial.send(simulation.run(next(trial)))
    assert first == suspects[0]
    trial.send(simulation.run(first))
    assert examination.suspected == fault.journey


def test_what_was_suspected_and_is_no_longer_possible_is_dropped() -> None:
    project, _ = draw(7, ("polluter",))
    (first, *_) = suspects = _unsettled(project, most=50)
    gone = structs.replace(first, order=(*first.order, JourneyId("gone")))
    turned = structs.replace(first, order=first.order[::-1])
    assert examine(project, earlier=[gone, turned]).experiments == examine(project).experiments
    assert len(suspects) == 1


def _with_void_runs(project: Project, *, void: Collection[int]) -> Examination:
    """Examine a project whose runs number `void` leave their plan."""
    graph, simulation = project.graph(), Simulation(project)
    (chain,) = dict.fromkeys(graph.chains.values())
    examination = Examination(graph, chain)
    trial = examination.run()
    experiment = next(trial)
    for number in range(1, 1000):
        seen = Observation(void="it left its plan") if number in void else simulation.run(experiment)
        try:
            experiment = trial.send(seen)
        except StopIteration:
            return examination
    raise AssertionError("the examination does not end")


def test_a_run_that_left_its_plan_is_repeated() -> None:
    project, (fault,) = draw(7, ("polluter",))
    whole = _with_void_runs(project, void=())
    every_third = _with_void_runs(project, void=range(1, 1000, 3))
    assert every_third.findings == whole.findings
    assert every_third.untested == ""
    assert fault.is_found_by(whole.findings[0])


def test_one_that_leaves_its_plan_twice_is_not_repeated_again() -> None:
    project, _ = draw(7, ("polluter",))
    examination = _with_void_runs(project, void=(1, 2))
    assert (examination.untested, len(examination.history)) == ("it left its plan", 2)


def test_the_codes_are_those_that_a_mark_may_name() -> None:
    assert frozenset(Code) == DOUBT_CODES


def test_only_the_declarations_of_chosen_journeys_are_tested() -> None:
    project, (fault,) = draw(7, ("polluter",))
    others = [one.id for one in project.journeys if one.id not in {fault.journey, fault.guilty}]
    assert examine(project, tested=others[:1]).findings == []
    assert fault.journey is not None
    (finding,) = examine(project, tested=[fault.journey]).findings
    assert structs.asdict(finding)["guilty"] == (fault.guilty,)
