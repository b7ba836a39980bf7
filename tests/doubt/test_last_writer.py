"""The first guess at a guilty journey: the one that last wrote the file that a failure names."""

from __future__ import annotations

import os

import pytest

from pytest_dogfood.doubt.experiments.last_writer import last_writer
from pytest_dogfood.journey import JourneyId
from tests.support.doubted_projects import Action, Project
from tests.support.seeded_faults import draw, examine
from tests.support.small_graphs import journey

PROJECTS = 2 * int(os.environ.get("DOGFOOD_TEST_GRAPHS", "6"))
"""How many projects of each kind are simulated here."""


@pytest.mark.parametrize(
    "text,guess",
    [
        ("grep: /states/c0/cart: No such file", "second"),
        ("cat $DOGFOOD_STATE/orders/1.json", "first"),
        ("no cart-2 and no mycart", None),
        ("nothing is named", None),
        ("cart of orders/1.json", "first"),
        ("a.b is missing", "third"),
        ("axb is missing", None),
    ],
)
def test_the_last_that_wrote_the_longest_path_named_is_guessed(text: str, guess: str | None) -> None:
    written = {
        JourneyId("first"): ("cart", "orders/1.json"),
        JourneyId("second"): ("cart",),
        JourneyId("third"): ("a.b",),
        JourneyId("no candidate"): ("cart",),
    }
    candidates = [JourneyId(one) for one in ("first", "second", "third", "wrote nothing")]
    assert last_writer(text, candidates, written) == guess


@pytest.mark.parametrize("kind", ["need of file", "need of leaf", "polluter"])
def test_a_right_guess_saves_one_run_in_ten_and_names_the_same(kind: str) -> None:
    guessed = halved = 0
    for seed in range(7, 7 + PROJECTS):
        project, (fault,) = draw(seed, (kind,))
        with_files, without = examine(project), examine(project, files=False)
        for seen in (with_files, without):
            (finding,) = [one for one in seen.findings if not one.hint]
            assert fault.is_right_about_guilty(finding)
        guessed += with_files.experiments
        halved += without.experiments
    assert guessed <= 0.9 * halved


def _guilty(does: dict[str, list[Action]], *, needs: dict[str, str]) -> list[tuple[JourneyId, ...]]:
    """Return who is guilty of what is found in a project; `needs` has the token that each journey requires."""
    made = {"login": "in", "fill": "filled", "change": "changed"}
    project = Project(
        journeys=[
            journey(name, requires=needs.get(name, ""), establishes=made.get(name, "")) for name in does
        ],
        does={JourneyId(name): actions for name, actions in does.items()},
    )
    return [finding.guilty for finding in examine(project).findings]


NEEDS = {"fill": "in", "change": "filled", "look": "in", "pay": "in"}


def test_what_the_last_writer_rests_on_is_to_blame_if_that_is_enough() -> None:
    does: dict[str, list[Action]] = {
        "login": [("write", "session")],
        "fill": [("write", "cart")],
        "change": [("write", "cart")],
        "look": [("need", "session")],
        "pay": [("need", "cart")],
    }
    assert _guilty(does, needs=NEEDS) == [("fill",)]


def test_the_last_writer_is_to_blame_if_what_it_rests_on_is_not_enough() -> None:
    does: dict[str, list[Action]] = {
        "login": [("write", "session")],
        "fill": [("write", "cart")],
        "change": [("write", "voucher")],
        "look": [("need", "session")],
        "pay": [("need", "voucher")],
    }
    assert _guilty(does, needs=NEEDS) == [("change",)]


def test_after_a_wrong_guess_the_candidates_are_halved() -> None:
    does: dict[str, list[Action]] = {
        "login": [("write", "session")],
        "fill": [("write", "row-cart")],
        "look": [("write", "step")],  # every failure in the simulation names a step
        "pay": [("need", "row-cart")],
    }
    assert _guilty(does, needs=NEEDS) == [("fill",)]
