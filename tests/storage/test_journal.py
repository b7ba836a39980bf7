from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Cause, Outcome
from pytest_dogfood.storage.journal import Journal, Why

A = JourneyId("a")
CAUSE = Cause(who="b", why="failed")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def begun_and_died(directory: Path, why: Why = Why.ITEM) -> None:
    """Let another process write down that it starts the journey, and end."""
    code = "import sys; from pathlib import Path; from pytest_dogfood.storage.journal import *; "
    code += f"Journal(Path(sys.argv[1])).started('a', Why('{why}'), 's')"
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True)


def outcome(journal: Journal) -> Outcome | None:
    verdict = journal.end_of(A)
    return verdict.outcome if verdict else None


def test_a_journey_that_never_began_has_no_verdict(journal: Journal) -> None:
    assert journal.end_of(A) is None
    assert journal.entries(A) == ()


def test_a_journey_under_way_has_no_verdict(journal: Journal) -> None:
    journal.started(A, Why.ITEM, "s")
    assert journal.end_of(A) is None


def test_the_last_ending_is_the_verdict(journal: Journal) -> None:
    for ending in (Outcome.PASSED, Outcome.DEFERRED):
        journal.started(A, Why.ITEM, "s")
        journal.ended(A, Why.ITEM, "s", ending, CAUSE)
    verdict = journal.end_of(A)
    assert verdict is not None
    assert (verdict.outcome, verdict.cause, verdict.state) == (Outcome.DEFERRED, CAUSE, "s")


def test_everybody_reads_what_one_has_written(journal: Journal, tmp_path: Path) -> None:
    journal.started(A, Why.REPLAY, "s")
    assert [entry.why for entry in Journal(tmp_path).entries(A)] == [Why.REPLAY]


def test_journeys_do_not_mix(journal: Journal) -> None:
    journal.ended(JourneyId("b"), Why.ITEM, "s", Outcome.FAILED)
    assert journal.end_of(A) is None


def test_a_death_in_the_middle_counts_as_a_crash(journal: Journal, tmp_path: Path) -> None:
    begun_and_died(tmp_path)
    verdict = journal.end_of(A)
    assert verdict is not None
    assert verdict.outcome is Outcome.CRASHED
    assert str(verdict.cause) == "a crashed its worker"


def test_a_journey_has_ended_as_an_item_also_if_its_process_has_died(
    journal: Journal, tmp_path: Path
) -> None:
    begun_and_died(tmp_path, Why.REPLAY)
    assert not journal.has_ended(A)
    begun_and_died(tmp_path)
    assert journal.has_ended(A)


def test_a_journey_that_is_tried_again_after_a_death_has_not_ended(journal: Journal, tmp_path: Path) -> None:
    begun_and_died(tmp_path)
    journal.started(A, Why.ITEM, "s")
    assert not journal.has_ended(A)


def test_a_death_outweighs_an_earlier_pass(journal: Journal, tmp_path: Path) -> None:
    journal.ended(A, Why.ITEM, "s", Outcome.PASSED)
    begun_and_died(tmp_path)
    assert outcome(journal) is Outcome.CRASHED


def test_the_first_replay_that_dies_does_not_count_and_the_second_does(
    journal: Journal, tmp_path: Path
) -> None:
    begun_and_died(tmp_path, Why.REPLAY)
    first = outcome(journal)
    begun_and_died(tmp_path, Why.REPLAY)
    assert (first, outcome(journal)) == (None, Outcome.CRASHED)


def test_how_it_ended_in_the_state_that_is_asked_for_outweighs_all_others(journal: Journal) -> None:
    journal.ended(A, Why.ITEM, "here", Outcome.PASSED)
    journal.ended(A, Why.REPLAY, "elsewhere", Outcome.FAILED)
    verdicts = [journal.end_of(A, state=state) for state in ("here", "elsewhere", "a third")]
    assert [one.outcome for one in verdicts if one is not None] == [
        Outcome.PASSED,
        Outcome.FAILED,
        Outcome.FAILED,
    ]


def test_a_later_pass_outweighs_a_death(journal: Journal, tmp_path: Path) -> None:
    begun_and_died(tmp_path)
    journal.started(A, Why.ITEM, "s")
    journal.ended(A, Why.ITEM, "s", Outcome.PASSED)
    assert outcome(journal) is Outcome.PASSED


def test_any_id_can_be_written_down(journal: Journal) -> None:
    strange = JourneyId("tests/test_a.py::TestÄ::test_b[x/y\n-../..]")
    journal.ended(strange, Why.ITEM, "s", Outcome.PASSED)
    assert [entry.journey for entry in journal.entries(strange)] == [strange]


def test_a_line_that_is_still_being_written_is_read_once_it_is_whole(
    journal: Journal, tmp_path: Path
) -> None:
    journal.ended(A, Why.ITEM, "s", Outcome.PASSED)
    (file,) = tmp_path.iterdir()
    line = file.read_bytes()
    seen = []
    for content in (line + line[:20], line + line, line + line):
        file.write_bytes(content)
        seen.append(len(journal.entries(A)))
    assert seen == [1, 2, 2]
