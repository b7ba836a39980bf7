"""The sum that the closing line draws, from plain values."""

from __future__ import annotations

import json

import pytest

from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome, Proof, Provisioned, Tally, listed

BROKE = Cause(who="login", why="failed")


def result(journey: str, outcome: Outcome, cause: Cause | None = None, **proofs: Proof) -> JourneyResult:
    named = {Token(token.replace("_", "-")): proof for token, proof in proofs.items()}
    return JourneyResult(id=JourneyId(journey), outcome=outcome, cause=cause, proofs=named)


def tally(*results: JourneyResult, unaccounted: int = 0) -> Tally:
    names = [one.id for one in results] + [JourneyId(f"lost-{number}") for number in range(unaccounted)]
    made = Tally(tuple(dict.fromkeys(names)), gates=tuple(dict.fromkeys(names)))
    for one in results:
        made.add(one)
    return made


def test_a_result_survives_the_way_to_another_process() -> None:
    sent = JourneyResult(
        id=JourneyId("login"),
        outcome=Outcome.DEFERRED,
        chain="login",
        worker="gw1",
        cause=Cause(who="register", why="failed", blocked=True, details="in full"),
        proofs={Token("door"): Proof.PROBE},
        provisioned=(Provisioned(token=Token("door"), how="by magic", seconds=1.5, where="c1-gw1"),),
        kept="kept/here",
    )
    assert JourneyResult.from_json(json.loads(json.dumps(sent.to_json()))) == sent


def test_every_outcome_has_its_place_in_the_closing_line() -> None:
    made = tally(*(result(str(number), outcome, BROKE) for number, outcome in enumerate(Outcome)))
    assert made.closing_line() == (
        "dogfood: 9 journeys = 1 passed + 2 failed + 1 error + 1 deferred (1 cause) + 2 skipped + 1 xfailed "
        "+ 1 xpassed; 0 tokens"
    )


@pytest.mark.parametrize(
    "results, words",
    [
        ([], "0 journeys = 0 passed"),
        ([result("a", Outcome.PASSED)], "1 journey = 1 passed"),
        ([result("a", Outcome.ERROR), result("b", Outcome.ERROR)], "2 journeys = 2 errors"),
    ],
)
def test_numbers_and_words_agree(results: list[JourneyResult], words: str) -> None:
    assert tally(*results).closing_line().startswith(f"dogfood: {words}; ")


@pytest.mark.parametrize(
    "names, words",
    [
        (["buy", "test_a.py::test_b"], "1 journey and 1 test = 2 passed; "),
        (["test_a.py::test_b", "test_a.py::test_b[x]", "README.md::README.md"], "3 tests = 3 passed; "),
        (["buy[a::b]", "buy[c]"], "2 journeys = 2 passed; "),
    ],
)
def test_journeys_and_tests_are_counted_apart(names: list[str], words: str) -> None:
    made = tally(*(result(name, Outcome.PASSED) for name in names))
    assert made.closing_line().startswith(f"dogfood: {words}")


def test_what_has_no_result_is_unaccounted() -> None:
    made = tally(result("a", Outcome.PASSED), unaccounted=2)
    assert made.unaccounted == ("lost-0", "lost-1")
    assert "3 journeys = 1 passed; 2 unaccounted" in made.closing_line()


def test_what_a_stopped_run_did_not_begin_is_counted_by_itself_and_not_measured() -> None:
    made = tally(result("a", Outcome.PASSED), unaccounted=3)
    made.not_run = (JourneyId("lost-0"), JourneyId("lost-1"))
    assert "4 journeys = 1 passed + 2 not run; 1 unaccounted; 0 tokens" in made.closing_line()
    assert made.unaccounted == ("lost-0", "lost-1", "lost-2")
    assert made.measured() == (1, 4)


def test_the_last_word_on_a_journey_wins() -> None:
    made = tally(result("a", Outcome.FAILED), result("a", Outcome.PASSED))
    assert "1 journey = 1 passed; 0 tokens" in made.closing_line()


def test_deferrals_are_grouped_by_cause_in_the_order_of_the_plan() -> None:
    other = Cause(who="register", why="failed")
    made = tally(
        result("a", Outcome.DEFERRED, BROKE),
        result("b", Outcome.DEFERRED, other),
        result("c", Outcome.DEFERRED, BROKE),
        result("d", Outcome.CRASHED, other),
    )
    grouped = {cause: [one.id for one in results] for cause, results in made.causes().items()}
    assert grouped == {"login failed": ["a", "c"], "register failed": ["b"]}
    assert "3 deferred (2 causes)" in made.closing_line()


def test_a_token_counts_once_with_its_best_proof() -> None:
    made = tally(
        result("a", Outcome.PASSED, door=Proof.PROBE, till=Proof.JOURNEY, lamp=Proof.PROVIDER),
        result("b", Outcome.PASSED, door=Proof.JOURNEY),
    )
    assert made.closing_line().endswith("3 tokens: 1 probed, 2 unverified (no probe)")


@pytest.mark.parametrize(
    "outcome, counts",
    [
        (Outcome.PASSED, (1, 1)),
        (Outcome.FAILED, (1, 1)),
        (Outcome.XFAILED, (1, 1)),
        (Outcome.XPASSED, (1, 1)),
        (Outcome.ERROR, (0, 1)),
        (Outcome.CRASHED, (0, 1)),
        (Outcome.DEFERRED, (0, 1)),
        (Outcome.NO_ACTOR, (0, 1)),
        (Outcome.SKIPPED, (0, 0)),
    ],
)
def test_only_what_looked_at_the_product_is_measured(outcome: Outcome, counts: tuple[int, int]) -> None:
    assert tally(result("a", outcome, BROKE)).measured() == counts


def test_what_did_not_run_was_to_be_measured() -> None:
    assert tally(result("a", Outcome.PASSED), unaccounted=3).measured() == (1, 4)


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.NO_ACTOR, Outcome.XFAILED])
def test_a_gate_that_was_not_measured_is_left_open(outcome: Outcome) -> None:
    assert [one.id for one in tally(result("gate", outcome)).gates_left_open()] == ["gate"]


@pytest.mark.parametrize(
    "outcome", [Outcome.PASSED, Outcome.XPASSED, Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED]
)
def test_a_gate_that_passed_or_closed_is_not_left_open(outcome: Outcome) -> None:
    assert tally(result("gate", outcome)).gates_left_open() == ()


@pytest.mark.parametrize("blocked", [True, False])
def test_a_deferred_gate_is_left_open_only_for_a_declared_blocker(*, blocked: bool) -> None:
    cause = Cause(who="login", why="is declared blocked", blocked=blocked)
    assert bool(tally(result("gate", Outcome.DEFERRED, cause)).gates_left_open()) is blocked


def test_long_lists_end_in_a_number() -> None:
    assert listed("abc") == "a, b, c"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
