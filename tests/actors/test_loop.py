"""What an actor's part comes to: which action counts, when a step ends, and what decides the journey."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pytest_dogfood.actor_protocol import Action, ActorError, Answer, Command, Done, Performed, Verdict
from pytest_dogfood.actors.loop import ActorLoop, Limits, deciding_steps
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.runner import StepEnd, StepsResult, run_steps
from pytest_dogfood.journey import Expectation, Save, Step, StreamExpectation
from tests.support.fakes import FakeRunner, FakeSeen, FakeSession
from tests.support.strategies import ANYWHERE

STEP = Step(location=ANYWHERE, intent="do it")
RUN = Step(location=ANYWHERE, run="true")
FAILS = {"fails": FakeSeen(status=3)}


def act(steps: list[Step], session: FakeSession, *, runner: FakeRunner | None = None) -> StepsResult:
    return run_steps(steps, runner or FakeRunner([]), actor=ActorLoop(steps, session))


def what_failed(done: StepsResult) -> list[str]:
    return [str(one) for one in done.failure.wrong] if done.failure else []


def test_commands_run_until_the_actor_is_done_and_the_last_one_counts() -> None:
    session = FakeSession(answers=[Command("fails"), Command("b"), Done()], outcomes=FAILS)
    done = act([STEP], session)
    assert (session.done, done.failure) == (["fails", "b"], None)
    assert done.results[0].step.run == "b"


def test_an_actor_is_told_all_that_was_seen_so_far_by_whomever_it_was_done() -> None:
    session = FakeSession(answers=[Command("a"), Done()])
    act([RUN, STEP], session, runner=FakeRunner([FakeSeen(stdout="hello")]))
    told = [(one.step, one.by, one.command, one.stdout) for one in session.asked[-1]]
    assert told == [(1, "journey", "true", "hello"), (2, "actor", "a", "")]


def test_the_last_action_that_matches_counts_if_one_does() -> None:
    step = replace(STEP, expect_cmd_re="^git", expect=Expectation(exit=3))
    answers: list[Answer] = [Command("git one"), Command("git two"), Command("other"), Done()]
    done = act([step], FakeSession(answers=answers, outcomes={"git two": FakeSeen(status=3)}))
    assert done.failure is None
    assert done.results[0].step.run == "git two"


def test_where_none_matches_the_last_action_counts() -> None:
    step = replace(STEP, expect_cmd_re="^svn")
    done = act([step], FakeSession(answers=[Command("a"), Command("fails"), Done()], outcomes=FAILS))
    assert what_failed(done) == ["exit 3, expected 0"]


def test_a_pattern_that_takes_too_long_on_a_command_is_an_error_that_names_it() -> None:
    command = "a" * 60 + "!"
    session = FakeSession(answers=[Command(command), Done()], outcomes={command: FakeSeen(left=0.1)})
    with pytest.raises(HarnessError, match=r"expect_cmd_re '\^\(a\|aa\)\+\$' takes too long on a command"):
        act([replace(STEP, expect_cmd_re="^(a|aa)+$")], session)


@pytest.mark.parametrize(
    "answers, limits, ended, ran",
    [
        ([Command("a"), Done()], Limits(actions=9, turns=9), StepEnd.DONE, 1),
        ([Command("a"), Command("a")], Limits(actions=9, turns=9), StepEnd.REPEATED, 1),
        ([Command("a"), Command("b"), Command("a"), Done()], Limits(actions=9, turns=9), StepEnd.DONE, 3),
        ([Command("a"), Command("b")], Limits(actions=9, turns=2), StepEnd.TURNS, 2),
        ([Command("a"), Command("b")], Limits(actions=2, turns=9), StepEnd.ACTIONS, 2),
    ],
)
def test_a_step_ends_for_one_of_these_reasons(
    answers: list[Answer], limits: Limits, ended: StepEnd, ran: int
) -> None:
    session = FakeSession(answers=answers, limits=limits)
    act([STEP], session)
    assert (session.grades[1].ended, len(session.done)) == (ended, ran)


def test_what_a_journey_s_actions_are_used_up_by_is_missing_to_the_later_steps() -> None:
    session = FakeSession(answers=[Command("a"), Command("b")], limits=Limits(actions=2, turns=9))
    done = act([STEP, STEP], session)
    words = "none: the actor has used up its actions for this journey"
    assert what_failed(done) == [f"never reached: expected an action of the actor, got {words}"]
    assert [number for number, _, _ in session.begun] == [1, 2]


def test_turns_are_counted_for_each_step_anew() -> None:
    limits = Limits(actions=9, turns=1)
    assert act([STEP, STEP], FakeSession(answers=[Command("a"), Command("b")], limits=limits)).failure is None


def test_a_journey_s_time_limit_bounds_its_actions() -> None:
    session = FakeSession(answers=[])
    done = run_steps([STEP], FakeRunner([]), timeout=0, actor=ActorLoop([STEP], session))
    assert session.grades[1].ended is StepEnd.TIME
    assert done.failure is not None
    patient = FakeSession(answers=[Command("a"), Done()])
    assert run_steps([STEP], FakeRunner([]), timeout=60, actor=ActorLoop([STEP], patient)).failure is None
    assert 0 < (patient.limits_given[0] or 0) <= 60


def test_the_time_in_which_an_actor_thinks_does_not_count() -> None:
    class Slow(FakeSession):
        def next(self, actions: Sequence[Action]) -> Answer:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                pass
            return FakeSession.next(self, actions)

    session = Slow(answers=[Command("a"), Command("b"), Done()])
    assert run_steps([STEP], FakeRunner([]), timeout=0.49, actor=ActorLoop([STEP], session)).failure is None
    assert session.done == ["a", "b"]


def test_a_decisive_step_without_any_action_was_never_reached() -> None:
    words = "never reached: expected an action of the actor, got none: the actor said that it is done"
    assert what_failed(act([STEP], FakeSession(answers=[Done()]))) == [words]


def test_an_earlier_action_that_matches_is_credited_to_a_step_without_any() -> None:
    steps = [STEP, replace(STEP, expect_cmd_re="tag", core=True)]
    session = FakeSession(answers=[Command("git tag v1"), Command("other"), Done(), Done()])
    done = act(steps, session)
    assert done.failure is None
    assert session.grades[2].credited
    assert session.grades[2].graded == session.asked[-1][0]


def test_a_credited_action_is_graded_like_any_other() -> None:
    steps = [STEP, replace(STEP, expect_cmd_re="fails", core=True)]
    session = FakeSession(answers=[Command("fails"), Done(), Done()], outcomes=FAILS)
    assert what_failed(act(steps, session)) == ["exit 3, expected 0"]


def test_what_the_journey_itself_ran_is_credited_to_nobody() -> None:
    steps = [RUN, replace(STEP, expect_cmd_re="true")]
    assert act(steps, FakeSession(answers=[Done()]), runner=FakeRunner([FakeSeen()])).failure is not None


def test_steps_that_do_not_decide_fail_nothing() -> None:
    session = FakeSession(answers=[Command("fails"), Done(), Command("b"), Done()], outcomes=FAILS)
    assert act([STEP, STEP], session).failure is None
    assert [str(one) for one in session.grades[1].wrong] == ["exit 3, expected 0"]


def test_nothing_is_asked_after_a_decisive_step_that_failed() -> None:
    core = replace(STEP, core=True)
    session = FakeSession(answers=[Command("fails"), Done()], outcomes=FAILS)
    assert len(act([core, core], session).results) == 1


@pytest.mark.parametrize(
    "steps, expected",
    [
        ([STEP, STEP], (False, True)),
        ([replace(STEP, core=True), STEP], (True, False)),
        ([STEP, RUN], (False, True)),
        ([RUN, STEP], (True, True)),
        ([replace(STEP, save=(Save(name="id", pattern=".*"),)), STEP], (True, True)),
        ([RUN, STEP, replace(RUN, core=True)], (True, False, True)),
    ],
)
def test_marked_steps_decide_or_the_last_one_and_whatever_others_rely_on(
    steps: list[Step], expected: tuple[bool, ...]
) -> None:
    assert deciding_steps(steps) == expected


def test_a_command_of_the_file_that_fails_ends_the_journey_as_ever() -> None:
    session = FakeSession(answers=[])
    assert act([RUN, STEP], session, runner=FakeRunner([FakeSeen(status=1)])).failure is not None
    assert session.asked == []


def test_values_are_saved_from_the_action_that_counts() -> None:
    saving = replace(STEP, save=(Save(name="id", pattern="id=(.*)"),), expect_cmd_re="show")
    outcomes = {"show": FakeSeen(stdout="id=7"), "other": FakeSeen(stdout="id=8")}
    session = FakeSession(answers=[Command("show"), Command("other"), Done()], outcomes=outcomes)
    assert act([saving], session).values == {"id": "7"}


def test_a_secret_is_known_before_the_actor_is_told_of_the_output_that_shows_it() -> None:
    saving = replace(STEP, save=(Save(name="key", pattern="key=(.*)", secret=True),))
    session = FakeSession(answers=[Command("show"), Done()], outcomes={"show": FakeSeen(stdout="key=abc")})
    done = act([saving], session)
    assert (session.learnt, done.secret) == (["abc"], ["key"])


def test_free_text_goes_to_the_judge_with_the_actions_of_the_step() -> None:
    step = replace(STEP, expect=Expectation(text="it is red"))
    session = FakeSession(
        answers=[Command("a"), Command("b"), Done()], verdict=Verdict(passed=False, why="it is blue")
    )
    assert what_failed(act([step], session)) == ["judge: expected it is red, got it is blue"]
    assert [one.command for one in session.judged[0]] == ["a", "b"]


def test_what_nobody_judges_is_noted_and_fails_nothing() -> None:
    session = FakeSession(answers=[Command("a"), Done()])
    assert act([replace(STEP, expect_state="it is red")], session).failure is None
    assert session.grades[1].unjudged


def test_a_judge_is_not_asked_where_the_matter_is_settled_or_nothing_is_expected_in_words() -> None:
    step = replace(STEP, expect=Expectation(text="it is red"))
    settled = FakeSession(answers=[Command("fails"), Done()], outcomes=FAILS)
    act([step], settled)
    wordless = FakeSession(answers=[Command("a"), Done()])
    act([STEP], wordless)
    assert settled.judged == wordless.judged == []


def test_an_error_that_the_actor_reports_is_the_harness_s() -> None:
    session = FakeSession(answers=[Command("a"), ActorError("I am lost")])
    with pytest.raises(HarnessError, match="the actor reports an error: I am lost"):
        act([STEP], session)
    assert [seen.finished for seen in session.seen] == [True]


def test_what_was_done_by_other_means_is_graded_as_well() -> None:
    step = replace(STEP, expect=Expectation(stdout=StreamExpectation(contains=("saved",))))
    good = FakeSession(answers=[Performed(what="click", stdout="saved"), Done()])
    bad = FakeSession(answers=[Performed(what="click", stdout="lost"), Done()])
    assert act([step], good).failure is None
    assert act([step], bad).failure is not None


def test_all_that_actions_left_is_finished_with_once_and_not_before_it_can_be_credited() -> None:
    steps = [STEP, replace(STEP, expect_cmd_re="a")]
    session = FakeSession(answers=[Command("a"), Done(), Done()])
    act(steps, session)
    assert [seen.finished for seen in session.seen] == [True]
