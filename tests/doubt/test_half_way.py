"""Journeys that end half-way in simulated projects: probes that say yes too early, and what that costs."""

from __future__ import annotations

import os

import pytest

from pytest_dogfood.doubt.experiments.examination import Examination
from pytest_dogfood.doubt.experiments.values import Experiment
from pytest_dogfood.journey import JourneyId, Token
from tests.support.doubted_projects import Project, Simulation
from tests.support.seeded_faults import draw, draw_clean, draw_noisy, examine, is_green
from tests.support.small_graphs import journey

PROJECTS = 5 * int(os.environ.get("DOGFOOD_TEST_GRAPHS", "6"))
"""How many projects are simulated here."""


@pytest.mark.parametrize("seed", range(7, 7 + PROJECTS))
def test_a_probe_that_says_yes_half_way_is_found_and_nothing_else(seed: int) -> None:
    project, (fault,) = draw(seed, ("probe early",))
    seen = examine(project, thorough=True)
    (finding,) = seen.findings
    assert fault.is_found_by(finding)
    assert fault.is_right_about_guilty(finding)
    assert finding.proof is not None
    assert [*finding.proof.failing.stops] == [fault.guilty]
    assert (seen.unclear, seen.untested) == ([], [])


def test_it_is_sought_only_by_a_thorough_examination() -> None:
    project, _ = draw(7, ("probe early",))
    assert examine(project).findings == []


def test_it_is_sought_only_where_the_state_is_copyable() -> None:
    project, _ = draw(7, ("probe early",))
    project.copyable.clear()
    assert [one.code for one in examine(project, thorough=True).findings] == []


@pytest.mark.parametrize("copyable", [False, True])
@pytest.mark.parametrize("seed", range(PROJECTS))
def test_a_thorough_examination_finds_nothing_where_all_declarations_hold(
    seed: int, *, copyable: bool
) -> None:
    seen = examine(draw_clean(seed, copyable=copyable).project, thorough=True)
    assert (seen.findings, seen.unclear, seen.untested) == ([], [], [])


@pytest.mark.parametrize("noise", ["flaky", "expiring", "outside", "logs"])
@pytest.mark.parametrize("seed", range(PROJECTS))
def test_noise_is_no_finding_of_a_thorough_examination(noise: str, seed: int) -> None:
    project = draw_noisy(seed, noise, copyable=True)
    if is_green(project, seed=seed):  # else the chain is not tested
        seen = examine(project, seed=seed, thorough=True)
        assert [one for one in seen.findings if not one.hint] == []


@pytest.mark.parametrize("copyable", [False, True])
def test_a_thorough_examination_costs_at_most_five_and_a_half_ordinary_runs(*, copyable: bool) -> None:
    costs = [
        examine(draw_clean(seed, copyable=copyable).project, thorough=True).cost for seed in range(100, 140)
    ]
    assert sum(costs) / len(costs) <= 5.5


def _stopped(project: Project) -> list[Experiment]:
    """Return the experiments of a thorough examination in which journeys end half-way."""
    graph, simulation = project.graph(), Simulation(project)
    (chain,) = dict.fromkeys(graph.chains.values())
    examination = Examination(graph, chain, thorough=True)
    trial = examination.run()
    experiment = next(trial)
    while not examination.is_done:
        try:
            experiment = trial.send(simulation.run(experiment))
        except StopIteration:
            break
    return [one for one, _ in examination.history if one.stops]


def test_several_journeys_end_half_way_in_one_run_if_their_states_are_apart() -> None:
    for seed in range(PROJECTS):
        project = draw_clean(seed, copyable=True).project
        for one in project.journeys:  # each goes on for a step behind what its probe asks for
            project.does[one.id] += [("log", "app.log")]
        stopped = _stopped(project)
        made = [journey for one in stopped for journey in one.stops]
        assert len(made) == len({*made})
        if len(made) > len(stopped):
            return
    pytest.fail("no run had two of them")


def _made_in_two_steps(*, requires: str) -> Project:
    """Return a project in which `make` establishes `early` in its first step, and `late` in its last one."""
    make, use = JourneyId("make"), JourneyId("use")
    return Project(
        journeys=[journey(make, establishes="early late"), journey(use, requires=requires)],
        does={make: [("write", "a"), ("write", "b")], use: [("need", "b")]},
        probes={Token("early"): ["a"], Token("late"): ["b"]},
        copyable={Token("early"), Token("late")},
    )


def test_who_requires_what_is_there_only_at_the_end_is_not_tried_before() -> None:
    (finding,) = examine(_made_in_two_steps(requires="early"), thorough=True).findings
    assert (finding.token, finding.journey, finding.guilty) == ("early", "use", ("make",))
    assert examine(_made_in_two_steps(requires="early late"), thorough=True).findings == []
