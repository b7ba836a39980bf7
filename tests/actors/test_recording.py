"""What an actor did can be repeated where nothing else has changed, in other directories and with other values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from pytest_dogfood.actors.recording import (
    Recordings,
    digest_of,
    filled_in,
    recording_name,
    recording_of,
    with_placeholders,
)
from pytest_dogfood.diagnostics import HarnessError, Location
from pytest_dogfood.journey import Expectation, Journey, JourneyId, Mark, Save, Step, Token
from tests.support.strategies import ANYWHERE

STEP = Step(location=ANYWHERE, intent="tag it")
JOURNEY = Journey(id=JourneyId("tag"), location=ANYWHERE, path="a.yaml", nodeid="a.yaml::tag", steps=(STEP,))


@pytest.mark.parametrize(
    "change",
    [
        {"steps": (replace(STEP, intent="tag it again"),)},
        {"steps": (replace(STEP, expect=Expectation(exit=1)),)},
        {"steps": (replace(STEP, save=(Save(name="a", pattern="b"),)),)},
        {"steps": (STEP, STEP)},
        {"env": {"A": "b"}},
        {"seed_files": {"a": "b"}},
        {"requires": {Token("made"): ANYWHERE}},
        {"rationale": "because"},
    ],
)
def test_a_journey_that_says_something_else_has_another_digest(change: dict[str, Any]) -> None:
    assert digest_of(replace(JOURNEY, **change)) != digest_of(JOURNEY)


@pytest.mark.parametrize(
    "change",
    [
        {"location": Location("b.yaml", 7), "path": "b.yaml", "nodeid": "b.yaml::tag"},
        {"steps": (replace(STEP, location=Location("b.yaml", 9)),)},
        {"marks": (Mark(name="slow"),)},
        {"estimate": 3.0},
    ],
)
def test_where_it_stands_and_how_it_is_scheduled_makes_no_difference(change: dict[str, Any]) -> None:
    assert digest_of(replace(JOURNEY, **change)) == digest_of(JOURNEY)


@pytest.mark.parametrize(
    "command, kept",
    [
        ("cat /run/s/c0/x", "cat {{STATE}}/x"),
        ("cat '/run/s/c0'", "cat '{{STATE}}'"),
        ("curl file:///run/s/c0/x", "curl file://{{STATE}}/x"),
        ("cat /run/s/c01", "cat /run/s/c01"),
        ("cat /run/s/c0/w/y", "cat {{WORK}}/y"),
        ("curl http://127.0.0.1:43211/x", "curl http://127.0.0.1:{{PORT}}/x"),
        ("echo 432110 1.43211 a43211", "echo 432110 1.43211 a43211"),
        ("echo ab", "echo ab"),
        ("echo '{{STATE}}' '{{.Id}}'", "echo '{{=STATE}}' '{{.Id}}'"),
    ],
)
def test_what_is_different_every_time_is_kept_as_a_place_holder(command: str, kept: str) -> None:
    variables = {"STATE": "/run/s/c0", "WORK": "/run/s/c0/w", "PORT": "43211", "SHORT": "ab"}
    assert with_placeholders(command, variables) == kept
    assert filled_in(kept, variables) == command


@given(
    st.lists(st.sampled_from([*"ab/ {}.$-=A", "{{A}}", "{{=", "abab", "/a/b"]), max_size=30).map("".join),
    st.dictionaries(st.sampled_from(["A", "B", "abab"]), st.text("ab/{}A", max_size=8)),
)
def test_filling_in_the_same_values_gives_the_same_command(command: str, variables: dict[str, str]) -> None:
    assert filled_in(with_placeholders(command, variables), variables) == command


def test_a_place_holder_that_nothing_stands_for_stays() -> None:
    assert (
        filled_in("docker inspect -f '{{Id}}' {{STATE}}", {"STATE": "/s"}) == "docker inspect -f '{{Id}}' /s"
    )


@pytest.mark.parametrize("name", ["a", "a.b-c_d", "x" * 80])
def test_a_recording_is_named_like_its_journey(name: str) -> None:
    assert recording_name(JourneyId(name)) == f"{name}.json"


def test_no_two_journeys_share_a_file_not_even_where_case_does_not_count() -> None:
    ids = ["a", "A", "a[x/y]", "a[x_y]", "a_x_y_", "b" * 81, "b" * 82]
    names = [recording_name(JourneyId(one)) for one in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert not any("/" in name for name in names)


def test_what_was_written_is_read_and_gives_its_commands(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "kept")
    recordings.write(recording_of(JOURNEY, {1: ["ls", "git tag"]}, masked=False), claims=tmp_path / "claims")
    assert [(one.step, one.commands) for one in recordings.read(JOURNEY).steps] == [(1, ("ls", "git tag"))]


def test_two_processes_of_a_run_never_write_the_same_recording(tmp_path: Path) -> None:
    recordings, claims = Recordings(tmp_path / "kept"), tmp_path / "claims"
    claims.mkdir(mode=0o700)
    (claims / "tag.json").write_text("1")  # somebody else was there before
    recordings.write(recording_of(JOURNEY, {1: ["ls"]}, masked=False), claims=claims)
    assert not (tmp_path / "kept").exists()


def test_the_same_process_may_write_again_for_a_rerun(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "kept")
    for command in ("ls", "git tag"):
        recordings.write(recording_of(JOURNEY, {1: [command]}, masked=False), claims=tmp_path / "claims")
    assert [(one.step, one.commands) for one in recordings.read(JOURNEY).steps] == [(1, ("git tag",))]


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "'tag' was not recorded: there is no "),
        (b"{", "cannot be read"),
        (b'{"journey": "tag", "digest": "0", "version": 9}', "written by a newer version of pytest-dogfood"),
        (b'{"journey": "tag", "digest": "0"}', "'tag' has drifted: it says something else"),
        (
            f'{{"journey": "tag", "digest": "{digest_of(JOURNEY)}", "masked": true}}'.encode(),
            "the actor wrote a secret into a command",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "tag.json").write_bytes(content)
    with pytest.raises(HarnessError, match=words):
        Recordings(tmp_path).read(JOURNEY)
