"""The view of a run: its verdict, what is different from a reference, the best possible, lanes, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, JourneyId, Scope, Token
from pytest_dogfood.outcomes import JourneyResult, Outcome, Proof, Provisioned
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import RunView
from pytest_dogfood.storage.record import Kind, RecordedRun, Reference, ReferenceJourney
from tests.support.run_records import BEGAN, deferred, done, failed_step, recorded, result, step, viewed
from tests.support.small_graphs import HERE, STEP, journey

PASSED, FAILED, ERROR = Outcome.PASSED, Outcome.FAILED, Outcome.ERROR


@pytest.mark.parametrize(
    "outcomes, frame, verdict",
    [
        ("passed passed", {}, "2 passed"),
        ("passed xfailed", {}, "1 passed"),
        ("passed", {"others": {"passed": 3, "skipped": 1}}, "4 passed"),
        ("failed passed", {"exit_status": 1}, "1 failed"),
        ("crashed failed error", {"exit_status": 1}, "2 failed, 1 could not be judged"),
        (
            "passed",
            {"exit_status": 1, "others": {"failed": 2, "error": 1}},
            "2 failed, 1 could not be judged",
        ),
        ("skipped skipped", {}, "0 passed"),
        ("deferred", {"exit_status": 1}, "This run measured nothing"),
        (
            "passed deferred deferred",
            {"exit_status": 1},
            "1 passed, too little was measured: 1 of 3 journeys",
        ),
        ("passed", {"exit_status": 2}, "This run was interrupted"),
        ("failed", {"exit_status": 2}, "This run was interrupted, 1 failed"),
        ("", {"exit_status": 5}, "This run found nothing to run"),
        ("", {"exit_status": 1, "others": {"failed": 1}}, "1 failed"),
    ],
)
def test_the_verdict_says_first_what_is_worst(
    outcomes: str, frame: Mapping[str, object], verdict: str
) -> None:
    names = [f"j{number}" for number, _ in enumerate(outcomes.split())]
    activities = [done(name, Outcome(one)) for name, one in zip(names, outcomes.split(), strict=True)]
    view = viewed(map(journey, names), activities, **frame)
    assert (view.verdict, view.green) == (verdict, frame.get("exit_status", 0) == 0)


def test_a_journey_without_a_result_is_not_run() -> None:
    view = viewed([journey("bad"), journey("later")], [done("bad", FAILED)], exit_status=1)
    assert (view.verdict, view.unaccounted, view.planned) == ("1 failed, 1 not run", ("later",), 2)
    assert [one.outcome for one in view.journeys] == [FAILED, None]


def test_a_killed_run_shows_what_had_ended_and_what_was_under_way() -> None:
    view = viewed(
        [journey("good"), journey("bad"), journey("slow"), journey("later")],
        [
            done("good", lane="gw0"),
            done("bad", FAILED, steps=[failed_step()], lane="gw1"),
            done("slow", Outcome.CRASHED, at=2, seconds=3),
        ],
        (),
        exit_status=None,
        seconds=0.0,
    )
    assert view.verdict == "This run did not come to its end, 1 failed, 1 under way, 1 not run"
    assert (view.finished, view.green, view.seconds) == (False, False, 5.0)
    assert [one.outcome for one in view.journeys] == [PASSED, FAILED, Outcome.CRASHED, None]
    assert [(one.id, one.headline) for one in view.causes] == [
        ("bad", "failed in step 1 of 1"),
        ("slow", "had not ended when the run was killed"),
    ]


def test_a_killed_run_tells_which_tokens_were_present_by_then() -> None:
    view = viewed(
        [
            journey("make", establishes="made"),
            journey("use", requires="made served asked", establishes="used"),
        ],
        [
            done("make"),
            done("use", FAILED),
            done("served", kind=Kind.PROVISION, by="use", how="by starting its service"),
            done("asked", kind=Kind.PROBE, by="use"),
        ],
        [],
        exit_status=None,
    )
    assert {one.token: (one.proof, one.why) for one in view.tokens} == {
        "made": (Proof.JOURNEY, "by make"),
        "served": (Proof.PROVIDER, "by starting its service"),
        "asked": (Proof.PROBE, "was there already"),
        "used": (None, "use: failed"),
    }


def test_a_run_that_was_killed_before_it_had_a_graph_has_a_view() -> None:
    run = replace(recorded([]).run, exit_status=None, seconds=0.0)
    empty = RecordedRun(directory=Path(), run=run, graph=None, activities=(), results={})
    assert view_of(empty).verdict == "This run did not come to its end"
    begun = view_of(replace(empty, activities=(done("some", FAILED),)))
    assert [(one.id, one.outcome, one.nodeid) for one in begun.journeys] == [("some", FAILED, "some")]
    assert (begun.best, [one.id for one in begun.causes]) == (None, ["some"])


def compared(
    now: Mapping[str, tuple[Outcome, float]],
    before: Mapping[str, tuple[Outcome, float]],
    *,
    whole: bool = False,
) -> list[tuple[str, str, str]]:
    """Return what is different between two runs of journeys with an outcome and seconds each."""
    run = recorded(
        map(journey, now),
        [done(name, outcome, seconds=seconds) for name, (outcome, seconds) in now.items()],
        digests=dict.fromkeys(now, "same"),
        whole=whole,
    )
    reference = Reference(
        run="before",
        started=BEGAN,
        journeys={
            JourneyId(name): ReferenceJourney(outcome, seconds, "same")
            for name, (outcome, seconds) in before.items()
        },
    )
    return [(one.what, one.id, one.note) for one in view_of(run, reference).changes]


def test_changes_are_what_fails_now_and_did_not_or_the_other_way_round() -> None:
    good, bad = (PASSED, 1.0), (FAILED, 1.0)
    now = {"a": bad, "b": good, "c": bad, "d": (ERROR, 0.1), "e": (Outcome.DEFERRED, 0.0), "f": good}
    before = {"a": good, "b": bad, "c": bad, "d": good, "e": good, "f": good}
    assert compared(now, before) == [
        ("failing", "a", ""),
        ("passing again", "b", ""),
        ("not judged", "d", ""),
        ("deferred", "e", ""),
    ]


def test_changes_tell_what_is_new_and_what_is_gone_if_the_whole_project_ran() -> None:
    good, bad = (PASSED, 1.0), (FAILED, 1.0)
    assert compared({"new": good, "bad": bad}, {"old": good}, whole=True) == [
        ("new", "new", ""),
        ("failing", "bad", "new journey"),
        ("gone", "old", ""),
    ]
    assert compared({"new": good}, {"old": good, "new": good}, whole=False) == []


def test_slower_is_half_as_long_again_and_half_a_second() -> None:
    before = {"much": (PASSED, 1.0), "little": (PASSED, 0.1), "less": (PASSED, 10.0)}
    now = {"much": (PASSED, 1.6), "little": (PASSED, 0.5), "less": (PASSED, 14.0)}
    assert compared(now, before) == [("slower", "much", "1.00 s → 1.60 s")]


def test_a_journey_whose_text_has_changed_says_so() -> None:
    now = recorded([journey("a")], [done("a", FAILED)], digests={"a": "two"}, exit_status=1)
    reference = Reference(run="r", started=0, journeys={JourneyId("a"): ReferenceJourney(PASSED, 1.0, "one")})
    assert [(one.what, one.note) for one in view_of(now, reference).changes] == [
        ("failing", "journey changed")
    ]


def test_without_a_reference_there_are_no_changes_and_the_last_green_run_is_one() -> None:
    run = recorded([journey("a")], [done("a", FAILED)], exit_status=1)
    assert view_of(run).changes == ()
    green = Reference(run="green", started=0, journeys={JourneyId("a"): ReferenceJourney(PASSED, 1.0, "")})
    view = view_of(replace(run, last_green=green))
    assert (view.reference, [one.id for one in view.changes]) == (green, ["a"])


def test_the_best_possible_is_the_longest_way_the_heaviest_chain_or_all_work_over_the_workers() -> None:
    way = [
        journey("a", establishes="x"),
        journey("b", requires="x", establishes="y"),
        journey("c", requires="y"),
    ]
    machine = [Capability(token=Token(name), location=HERE, scope=Scope.MACHINE, probe=STEP) for name in "xy"]
    took = [done(name, seconds=seconds) for name, seconds in (("a", 1), ("b", 2), ("c", 3))]
    assert viewed(way, took, workers=4, capabilities=machine).best == 6.0
    chain = [journey("a", establishes="x"), *(journey(name, requires="x") for name in "bc")]
    assert viewed(chain, took, workers=4).best == 6.0
    assert viewed(chain, took, workers=4, capabilities=machine).best == 4.0
    assert viewed([journey(name) for name in "abc"], took, workers=2).best == 3.0
    assert viewed(chain, took, workers=4, states={"a": "a", "b": "b", "c": "c"}).best == 4.0
    assert viewed([], []).best is None


def test_lanes_are_counted_as_people_do_and_say_how_busy_they_were() -> None:
    several = [done(f"j{number}", lane=f"gw{number}", seconds=5) for number in (10, 9, 2)]
    several.append(done("release", kind=Kind.RELEASE, lane="gw2", at=6, seconds=2.5))
    several.append(done("probe", kind=Kind.PROBE, lane="gw2", by="j2"))
    view = viewed([journey(f"j{number}") for number in (10, 9, 2)], several, workers=11)
    assert [(lane.name, lane.busy, [bar.id for bar in lane.bars]) for lane in view.lanes] == [
        ("gw2", 0.75, ["j2", "release"]),
        ("gw9", 0.5, ["j9"]),
        ("gw10", 0.5, ["j10"]),
    ]


def test_a_bar_shows_which_part_of_it_was_provisioning() -> None:
    view = viewed(
        [journey("use", requires="made")],
        [
            done("made", kind=Kind.PROVISION, by="use", at=1, seconds=0.5),
            done("made", kind=Kind.PROBE, by="use", at=1.5, seconds=0.1),
            done("use", at=1, seconds=3),
        ],
        capabilities=[Capability(token=Token("made"), location=HERE, provision=(STEP,))],
    )
    (bar,) = view.lanes[0].bars
    assert (bar.start, bar.seconds, bar.provisioning) == (1.0, 3.0, ((1.0, 0.5),))


def test_what_was_provisioned_for_a_journey_does_not_count_as_its_own_time() -> None:
    token = Token("made")
    came = JourneyResult(
        id=JourneyId("use"),
        outcome=PASSED,
        provisioned=(Provisioned(token=token, how="by its provision steps", seconds=2.0, where="main"),),
    )
    view = viewed([journey("use")], [done("use", seconds=3)], [came])
    assert view.journeys[0].seconds == 1.0


def tokens_of(view: RunView) -> dict[str, tuple[bool, str, str]]:
    return {one.token: (one.present, one.why, one.because) for one in view.tokens}


def test_a_missing_token_says_why_and_what_is_to_blame() -> None:
    journeys = [
        journey("build", establishes="built"),
        journey("pack", requires="built", establishes="packed"),
        journey("announce", requires="mail-up"),
        journey("late", establishes="later"),
        journey("use-late", requires="later"),
        journey("use-replayed", requires="replayed"),
    ]
    view = viewed(
        [*journeys, journey("unseen", establishes="replayed")],
        [
            done("mail-up", FAILED, kind=Kind.PROVISION, by="announce"),
            done("unseen", FAILED, kind=Kind.REPLAY, by="use-replayed"),
        ],
        [result("build", FAILED), deferred("pack", "build"), result("announce", ERROR)],
        capabilities=[Capability(token=Token("mail-up"), location=HERE, provision=(STEP,))],
        exit_status=1,
    )
    assert tokens_of(view) == {
        "built": (False, "build: failed", "build"),
        "packed": (False, "pack: deferred", "build"),
        "mail-up": (False, "could not be provisioned", "mail-up"),
        "later": (False, "late: not run", ""),
        "replayed": (False, "unseen: failed when it was replayed", "unseen"),
    }


def test_present_tokens_come_last_and_say_what_they_are_due_to() -> None:
    proofs = {Token("built"): Proof.JOURNEY}
    used = {Token("built"): Proof.PROBE, Token("here"): Proof.PROBE, Token("made"): Proof.PROVIDER}
    view = viewed(
        [
            journey("build", establishes="built"),
            journey("use", requires="built made here"),
            journey("bad", establishes="missing"),
        ],
        [done("made", kind=Kind.PROVISION, by="use", how="by its provision steps")],
        [
            JourneyResult(id=JourneyId("build"), outcome=PASSED, proofs=proofs),
            JourneyResult(id=JourneyId("use"), outcome=PASSED, proofs=used),
            result("bad", FAILED),
        ],
        capabilities=[Capability(token=Token("made"), location=HERE, provision=(STEP,))],
        exit_status=1,
    )
    assert tokens_of(view) == {
        "missing": (False, "bad: failed", "bad"),
        "built": (True, "by build", ""),
        "made": (True, "by its provision steps", ""),
        "here": (True, "was there already", ""),
    }
    assert next(one.token for one in view.tokens) == "missing"
    assert view.tokens[1].proof is Proof.PROBE
    assert [one.needed_by for one in view.tokens] == [0, 1, 1, 1]


def test_the_slowest_are_those_that_ran_with_the_step_that_took_most_of_the_time() -> None:
    view = viewed(
        [journey(name) for name in ("quick", "slow", "deferred", "nothing")],
        [
            done("quick", seconds=1, steps=[step(1, 2, seconds=0.5), step(2, 2, seconds=0.5)]),
            done("slow", seconds=3, steps=[step(1, 2, seconds=0.5), step(2, 2, seconds=2)]),
            done("deferred", Outcome.DEFERRED, seconds=2),
            done("nothing", seconds=0.004),
        ],
    )
    assert [(one.id, one.seconds, one.step) for one in view.slowest] == [("slow", 3.0, 2), ("quick", 1.0, 0)]


def test_what_was_done_for_no_journey_is_there_too() -> None:
    view = viewed(
        [journey("use")],
        [done("use"), done("web-up", kind=Kind.RELEASE), done("web-up", kind=Kind.PROBE, by="use")],
    )
    assert [(one.kind, one.id) for one in view.for_no_journey] == [(Kind.RELEASE, "web-up")]
    assert [(one.kind, one.id) for one in view.journeys[0].done_for_it] == [(Kind.PROBE, "web-up")]


def test_texts_of_a_run_show_what_would_hide_others() -> None:
    hostile = step(1, intent="\x1b[31mred", command="a\u202eb", saved={"name": "x\x00", "secret": None})
    (seen,) = viewed([journey("a")], [done("a", steps=[hostile])]).journeys[0].tries[0].steps
    assert (seen.intent, seen.command) == ("␛[31mred", "a<U+202E>b")
    assert seen.saved == {"name": "x␀", "secret": None}


def test_steps_of_a_journey_are_those_that_it_ran_in_each_try() -> None:
    view = viewed([journey("a")], [done("a", steps=[step(1, 2, at=1.5), step(2, 2)])])
    assert [(one.number, one.of, one.start) for one in view.journeys[0].tries[0].steps] == [
        (1, 2, 1.5),
        (2, 2, 0.0),
    ]
