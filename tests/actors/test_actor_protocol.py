"""What actors are told and may answer, in values and in lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

import pytest_dogfood
from pytest_dogfood.actor_protocol import (
    Action,
    ActorError,
    Answer,
    Command,
    Done,
    Performed,
    Verdict,
    brief_of_journey,
    brief_of_step,
    masked,
    read_answer,
    request,
)
from pytest_dogfood.journey import Expectation, Journey, JourneyId, Step, StreamExpectation
from tests.support.strategies import ANYWHERE

STEP = Step(
    location=ANYWHERE,
    intent="tag it",
    expect=Expectation(exit=3, text="it is tagged", stdout=StreamExpectation(contains=("v1.0",))),
    expect_cmd_re="git tag",
)
JOURNEY = Journey(id=JourneyId("tag"), location=ANYWHERE, path="a.yaml", nodeid="a.yaml::tag", steps=(STEP,))


@pytest.mark.parametrize(
    "line, answer",
    [
        (b'{"command": "ls", "note": "look first"}', Command("ls", "look first")),
        (b'{"command": "a\\nb", "more": [1]}', Command("a\nb")),
        (b'{"done": true}', Done()),
        (b'{"error": "no idea"}', ActorError("no idea")),
    ],
)
def test_an_answer_is_a_command_or_done_or_an_error(line: bytes, answer: Answer) -> None:
    assert read_answer(line) == answer


@pytest.mark.parametrize(
    "line, what",
    [
        (b"ls", "it is not JSON"),
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[1]", "it is not a JSON object"),
        (b"{}", "has none of them"),
        (b'{"command": "ls", "done": true}', "has 'command' and 'done'"),
        (b'{"command": ["ls"]}', "a command is text for a shell"),
        (b'{"command": " "}', "a command is text for a shell"),
        (b'{"command": "a\\u0000b"}', "a command has no NUL"),
        (json.dumps({"command": "x" * 70_000}).encode(), "at most 65536 bytes"),
        (b'{"command": "a \\ud800"}', "no half of a character"),
        (b'{"command": "ls", "command": "rm"}', "it has the key 'command' twice"),
        (b'{"done": false}', "'done' is true or left out, not False"),
    ],
)
def test_anything_else_is_nonsense_and_it_is_said_why(line: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_answer(line)


@pytest.mark.parametrize(
    "kind, fields, what",
    [
        (Performed, {"what": None}, "'what' of a Performed is of type str, not None"),
        (Performed, {"what": "click", "stdout": b"seen"}, "'stdout' of a Performed is of type str"),
        (Performed, {"what": "click", "exit": "0"}, "'exit' of a Performed is of type int, not '0'"),
        (Performed, {"what": "click", "seconds": float("nan")}, "'seconds' is a number"),
        (Performed, {"what": "x" * 70_000}, "'what' has at most 65536 characters"),
        (Verdict, {"passed": "no"}, "'passed' of a Verdict is of type bool, not 'no'"),
    ],
)
def test_a_hook_that_gives_other_types_hears_of_it_at_once(
    kind: type, fields: dict[str, Any], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        kind(**fields)


def test_an_actor_is_told_what_is_wanted_and_not_by_what_it_is_graded() -> None:
    asked = request(brief_of_journey(JOURNEY, {"DOGFOOD_STATE": "/s"}), brief_of_step(STEP, 1, 1), [])
    text = json.dumps(asked)
    assert "it is tagged" in text
    assert not any(word in text for word in ("git tag", "v1.0", "contains", "exit"))


def test_a_question_holds_the_journey_the_step_and_all_that_was_seen() -> None:
    seen = Action(step=1, command="git tag", exit=128, stderr="fatal: no name")
    asked = request(brief_of_journey(JOURNEY, {"DOGFOOD_STATE": "/s"}), brief_of_step(STEP, 1, 1), [seen])
    assert asked["version"] == 1
    assert (asked["journey"]["id"], asked["journey"]["intents"]) == ("tag", ("tag it",))
    assert asked["journey"]["variables"] == {"DOGFOOD_STATE": "/s"}
    assert (asked["step"]["number"], asked["step"]["intent"]) == (1, "tag it")
    assert asked["observations"] == [
        {
            "step": 1,
            "command": "git tag",
            "exit": 128,
            "stdout": "",
            "stderr": "fatal: no name",
            "seconds": 0.0,
            "timed_out": False,
            "by": "actor",
        }
    ]


def test_secrets_are_masked_in_texts_only_so_that_json_stays_json() -> None:
    value = {"exit": 100, "seen": ["ab 100", {"100": "100"}], "ok": True}
    assert masked(value, lambda text: text.replace("100", "***")) == {
        "exit": 100,
        "seen": ["ab ***", {"100": "***"}],
        "ok": True,
    }


def test_the_interface_is_named_by_the_way_of_working_whatever_its_case() -> None:
    assert [replace(JOURNEY, modality=word).is_gui for word in ("gui", "GUI", "cli", "")] == [
        True,
        True,
        False,
        False,
    ]


def test_what_hooks_are_given_and_give_is_public() -> None:
    ours = ("Action", "ActorError", "Command", "Done", "JourneyBrief", "Performed", "StepBrief", "Verdict")
    assert set(ours) <= set(pytest_dogfood.__all__)
    assert {getattr(pytest_dogfood, name).__module__ for name in ours} == {"pytest_dogfood.actor_protocol"}
    with pytest.raises(AttributeError, match="has no attribute 'Actress'"):
        _ = pytest_dogfood.Actress
