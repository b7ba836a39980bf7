"""Simulated projects with wrong declarations: what an examination finds, what it says, and what it costs.

tests/campaigns/doubted_projects.py tries many more of them.
"""

from __future__ import annotations

import os

import pytest
from msgspec import structs

from pytest_dogfood.doubt.experiments.values import Code
from pytest_dogfood.no_doubt import DOUBT_CODES
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


def test_the_codes_are_those_that_a_mark_may_name() -> None:
    assert frozenset(Code) == DOUBT_CODES


def test_only_the_declarations_of_chosen_journeys_are_tested() -> None:
    project, (fault,) = draw(7, ("polluter",))
    others = [one.id for one in project.journeys if one.id not in {fault.journey, fault.guilty}]
    assert examine(project, tested=others[:1]).findings == []
    assert fault.journey is not None
    (finding,) = examine(project, tested=[fault.journey]).findings
    assert structs.asdict(finding)["guilty"] == (fault.guilty,)
