"""What went wrong at its roots: one cause for each failure, with all that it kept from running."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_dogfood.journey import Capability, Step, Token
from pytest_dogfood.outcomes import INTERRUPTED, Cause, Outcome
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import CauseView
from pytest_dogfood.storage.record import Kind, reference_of
from tests.support.run_records import deferred, done, failed_step, recorded, result, step, viewed
from tests.support.small_graphs import HERE, journey

FAILED, ERROR, CRASHED = Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED
MAIL = Capability(token=Token("mail-up"), location=HERE, provision=(Step(location=HERE, run="start"),))


def in_short(cause: CauseView) -> tuple[str, str, Outcome]:
    return cause.id, cause.headline, cause.outcome


def test_a_failed_step_is_a_cause_with_what_it_kept_from_running_in_the_order_of_the_project() -> None:
    view = viewed(
        [journey("build", establishes="built"), *(journey(name, requires="built") for name in ("z", "a"))],
        [done("build", FAILED, steps=[step(1, 2), failed_step(2, 2)], again="pytest it")],
        [result("build", FAILED), deferred("a", "build"), deferred("z", "build")],
        exit_status=1,
    )
    (cause,) = view.causes
    assert in_short(cause) == ("build", "failed in step 2 of 2", FAILED)
    assert (cause.place, cause.again) == ("made.journey.yaml:12:9", "pytest it")
    assert cause.step is not None
    assert (cause.step.number, cause.step.exit) == (2, 3)
    assert cause.deferred == ("z", "a")
    assert [one.because for one in view.journeys] == ["", "build", "build"]


def test_a_crash_shows_what_had_been_printed_and_how_to_run_it_again() -> None:
    view = viewed(
        [journey("it's")],
        [done("it's", CRASHED, steps=[step(1, out="1.out", place="")])],
        texts={"1.out": "first words"},
        exit_status=1,
    )
    (cause,) = view.causes
    assert in_short(cause) == ("it's", "crashed its worker", CRASHED)
    assert cause.step is not None
    assert cause.step.out.text == "first words"
    assert cause.again == f"pytest --dogfood '{HERE.path}::it'\\''s'"


def test_a_provider_that_fails_for_several_is_one_cause_named_after_its_token() -> None:
    provision = done("mail-up", FAILED, kind=Kind.PROVISION, by="announce", steps=[failed_step()])
    view = viewed(
        [journey("announce", requires="mail-up"), journey("remind", requires="mail-up")],
        [
            provision,
            done("announce", ERROR, again="pytest announce"),
            done(
                "remind", ERROR, text="harness: 'mail-up' could not be provisioned, and that was tried before"
            ),
        ],
        capabilities=[MAIL],
        exit_status=1,
    )
    (cause,) = view.causes
    assert in_short(cause) == ("mail-up", "could not be provisioned", ERROR)
    assert cause.not_judged == ("announce", "remind")
    assert cause.step is not None
    assert cause.again == "pytest announce"
    assert cause.outage == "pytest --dogfood --dogfood-blocked mail-up"


def test_a_provider_without_steps_says_why_in_its_text() -> None:
    provision = done("mail-up", ERROR, kind=Kind.PROVISION, by="announce", text="fixture 'mail' raised")
    view = viewed(
        [journey("announce", requires="mail-up")],
        [provision, done("announce", ERROR)],
        capabilities=[MAIL],
        exit_status=1,
    )
    (cause,) = view.causes
    assert (cause.step, cause.text, cause.place) == (None, "fixture 'mail' raised", str(HERE))


def test_a_provider_that_failed_only_in_an_earlier_try_is_no_cause() -> None:
    view = viewed(
        [journey("announce", requires="mail-up")],
        [
            done("mail-up", FAILED, kind=Kind.PROVISION, by="announce", attempt=1),
            done("announce", ERROR, attempt=1),
            done("mail-up", kind=Kind.PROVISION, by="announce", attempt=2),
            done("announce", ERROR, attempt=2, text="fixture 'database' raised"),
        ],
        capabilities=[MAIL],
        exit_status=1,
    )
    (cause,) = view.causes
    assert (cause.id, cause.text) == ("announce", "fixture 'database' raised")


def test_what_rests_on_a_token_that_could_not_be_provisioned_is_deferred_by_that_cause() -> None:
    view = viewed(
        [
            journey("announce", requires="mail-up", establishes="announced"),
            journey("read", requires="announced"),
        ],
        [done("mail-up", FAILED, kind=Kind.PROVISION, by="announce"), done("announce", ERROR)],
        [result("announce", ERROR), deferred("read", "announce")],
        capabilities=[MAIL],
        exit_status=1,
    )
    (cause,) = view.causes
    assert (cause.id, cause.not_judged, cause.deferred) == ("mail-up", ("announce",), ("read",))


def test_a_replay_that_failed_is_a_cause_though_it_is_no_item_of_the_run() -> None:
    replay = done("build", FAILED, kind=Kind.REPLAY, by="use", steps=[failed_step()], again="pytest build")
    view = viewed(
        [journey("use", requires="built")],
        [replay, done("use", Outcome.DEFERRED)],
        [deferred("use", "build")],
        exit_status=1,
    )
    (cause,) = view.causes
    assert in_short(cause) == ("build", "failed when it was replayed", FAILED)
    assert (cause.deferred, cause.again) == (("use",), "pytest build")
    assert cause.step is not None
    assert view.verdict == "1 failed when replayed"


def test_a_closed_gate_is_the_cause_of_all_behind_it() -> None:
    why = "failed, and it gates what comes after tier 'smoke'"
    view = viewed(
        [journey("version", gating=True), journey("open"), journey("pay")],
        [done("version", FAILED, steps=[failed_step()])],
        [result("version", FAILED), deferred("open", "version", why), deferred("pay", "version", why)],
        exit_status=1,
    )
    (cause,) = view.causes
    assert (cause.id, cause.headline, cause.deferred) == (
        "version",
        "failed in step 1 of 1",
        ("open", "pay"),
    )
    assert view.journeys[1].reason == f"version {why}"


def test_a_declared_outage_is_a_cause_that_blames_nothing() -> None:
    why = "is declared blocked (--dogfood-blocked)"
    view = viewed(
        [journey("announce", requires="mail-up"), journey("look")],
        [done("look")],
        [deferred("announce", "mail-up", why, blocked=True), result("look", Outcome.PASSED)],
        capabilities=[MAIL],
    )
    (cause,) = view.causes
    assert in_short(cause) == ("mail-up", why, Outcome.SKIPPED)
    assert (cause.deferred, view.verdict, view.tokens[0].why) == (("announce",), "1 passed", why)


def test_a_clean_up_that_failed_after_all_had_passed_is_shown_as_the_step_that_it_is() -> None:
    cleaning = done("copy", FAILED, kind=Kind.CLEANUP, steps=[step(1, 2), failed_step(2, 2)])
    view = viewed([journey("copy")], [cleaning, done("copy", ERROR, steps=[step()])], exit_status=1)
    (cause,) = view.causes
    assert in_short(cause) == ("copy", "failed in step 2 of 2 of its clean-up", ERROR)
    assert (cause.step is not None, cause.cleanup) == (True, None)


def test_a_clean_up_that_failed_besides_is_shown_beside_the_failure() -> None:
    cleaning = done("copy", FAILED, kind=Kind.CLEANUP, steps=[failed_step(1, 1)])
    view = viewed(
        [journey("copy")], [cleaning, done("copy", FAILED, steps=[failed_step(3, 3)])], exit_status=1
    )
    (cause,) = view.causes
    assert cause.step is not None
    assert cause.cleanup is not None
    assert (cause.headline, cause.step.number, cause.cleanup.number) == ("failed in step 3 of 3", 3, 1)


def test_an_error_of_its_own_says_why_as_the_run_did() -> None:
    interrupted = Cause(who="slow", why=INTERRUPTED)
    view = viewed(
        [journey("slow")],
        [done("slow", ERROR, text="interrupted by SIGINT after 2.5 s")],
        [result("slow", ERROR, interrupted)],
        exit_status=2,
    )
    assert in_short(view.causes[0]) == ("slow", INTERRUPTED, ERROR)
    assert view.verdict == "This run was interrupted"


def test_a_python_test_of_the_graph_has_its_text() -> None:
    test = replace(journey("test_a.py::test_use", python=True), nodeid="test_a.py::test_use")
    view = viewed([test], [done(test.id, FAILED, text="E   assert 1 == 2")], exit_status=1)
    (cause,) = view.causes
    assert in_short(cause) == ("test_a.py::test_use", "failed", FAILED)
    assert (cause.step, cause.text) == (None, "E   assert 1 == 2")


def test_tests_outside_of_the_graph_come_last_and_once_each() -> None:
    test = "test_a.py::test_twice"
    view = viewed(
        [journey("bad")],
        [
            done(test, FAILED, kind=Kind.TEST, text="assert 0", place="test_a.py:3", again="pytest it"),
            done(test, FAILED, kind=Kind.TEST, text="teardown", place="test_a.py:3", again="pytest it"),
            done("bad", FAILED, steps=[failed_step()]),
        ],
        exit_status=1,
        others={"failed": 1},
    )
    assert [cause.id for cause in view.causes] == ["bad", test]
    assert (view.causes[1].text, view.causes[1].place) == ("assert 0\n\nteardown", "test_a.py:3")
    assert view.verdict == "2 failed"


def test_what_was_expected_to_fail_and_did_is_no_cause() -> None:
    view = viewed(
        [journey("known"), journey("mended")],
        [done("known", Outcome.XFAILED, steps=[failed_step()]), done("mended", Outcome.XPASSED)],
    )
    assert (view.causes, view.counts) == ((), {Outcome.XFAILED: 1, Outcome.XPASSED: 1})


def test_of_reruns_the_last_try_counts() -> None:
    tries = [
        done("shaky", FAILED, steps=[failed_step()], attempt=1, lane="gw0"),
        done("shaky", FAILED, steps=[failed_step(2, 2)], attempt=2, at=1, lane="gw0"),
        done("shaky", Outcome.PASSED, steps=[step()], attempt=3, at=2, lane="gw1"),
    ]
    view = viewed([journey("shaky")], tries, [result("shaky", Outcome.PASSED)], workers=2)
    assert view.causes == ()
    (one,) = view.journeys
    assert (one.outcome, one.lane, [each.outcome for each in one.tries]) == (
        Outcome.PASSED,
        "gw1",
        [FAILED, FAILED, Outcome.PASSED],
    )
    assert [bar.outcome for lane in view.lanes for bar in lane.bars] == [FAILED, FAILED, Outcome.PASSED]
    worse = viewed([journey("shaky")], tries[:2], [result("shaky", FAILED)], exit_status=1)
    assert worse.causes[0].headline == "failed in step 2 of 2"


def test_whether_the_text_of_a_cause_has_changed_is_told_where_it_can_be_compared() -> None:
    before = recorded([journey("bad")], [done("bad")], digests={"bad": "one"}, id="before")
    now = recorded([journey("bad")], [done("bad", FAILED)], digests={"bad": "two"}, exit_status=1)
    assert view_of(now).causes[0].changed is None
    assert view_of(replace(now, last_green=reference_of(before))).causes[0].changed is True


def test_a_file_that_several_shards_could_not_collect_is_one_cause() -> None:
    bad = done("test_a.py", ERROR, kind=Kind.COLLECTION, text="RuntimeError", place="test_a.py")
    view = viewed([], [bad, bad], exit_status=1)
    (cause,) = view.causes
    assert (in_short(cause), cause.text) == (("test_a.py", "could not be collected", ERROR), "RuntimeError")
    assert view.verdict == "1 could not be collected"
