"""The actor's process, a real one: whatever it does, its answer is understood or the harness says what became of it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.actor_protocol import Command, Done
from pytest_dogfood.actors.program import BREAKDOWNS, ActorProcess
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.watcher import alive

if TYPE_CHECKING:
    from tests.support.live_projects import Eventually

Start = Callable[..., ActorProcess]
SECRET = "s3cr3t-value"  # noqa: S105 - an invented one


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "actor-main.log"


@pytest.fixture
def start(tmp_path: Path, log: Path) -> Iterator[Start]:
    started: list[ActorProcess] = []

    def make(command: str, *, seconds: float = 20.0) -> ActorProcess:
        keeper = SecretKeeper([SECRET])
        started.append(
            ActorProcess(command, cwd=tmp_path, env=os.environ, log=log, seconds=seconds, keeper=keeper)
        )
        return started[-1]

    yield make
    for one in started:
        one.close()


def ask(actor: ActorProcess, what: str = "") -> object:
    return actor.ask({"what": what}, about="a.yaml:3: step 1 of 2")


def test_it_is_asked_and_answers_line_by_line_and_lives_on(start: Start, tmp_path: Path) -> None:
    actor = start("""while read -r line; do echo "$$ $line" >>asked; echo '{"command": "ls"}'; done""")
    assert [ask(actor, "a"), ask(actor, "b")] == [Command("ls"), Command("ls")]
    first, second = ((tmp_path / "asked").read_text()).splitlines()
    assert first.split()[0] == second.split()[0]
    assert json.loads(first.partition(" ")[2]) == {"what": "a"}


def test_it_is_not_started_before_it_is_asked_and_ends_when_nobody_asks_any_more(
    start: Start, tmp_path: Path
) -> None:
    actor = start("""read -r line; echo '{"done": true}'; cat; echo over >ended""")
    actor.close()
    assert list(tmp_path.iterdir()) == []
    assert ask(actor) == Done()
    actor.close()
    assert (tmp_path / "ended").read_text() == "over\n"


@pytest.mark.parametrize(
    "command, what",
    [
        ("read -r line; echo going >&2; exit 3", "the actor died with exit status 3"),
        ("read -r line; kill -9 $$", "the actor died with exit status -9"),
        ("exit 0", "the actor died with exit status 0"),
        ("exec 1>&-; exec sleep 300", "the actor closed its standard output"),
        ("read -r line; echo ls; cat", "the actor answered with nonsense, 'ls': it is not JSON"),
        (
            "read -r line; echo '{}'; cat",
            "the actor answered with nonsense, '{}': it must have one of the keys",
        ),
        ("read -r line; yes | tr -d '\\n'", "the actor said more than 1048576 bytes in one answer"),
        (
            "read -r line; printf '{}\\n{}\\n' >both; cat both; cat",
            "the actor said more than one line in answer to one",
        ),
    ],
)
def test_one_that_does_not_answer_as_it_should_is_the_harness_s_error(
    start: Start, log: Path, command: str, what: str
) -> None:
    with pytest.raises(HarnessError) as caught:
        ask(start(command))
    text = str(caught.value)
    assert text.startswith(f"a.yaml:3: step 1 of 2: {what}")
    assert f"log:       {log}" in text


def test_its_death_is_noticed_though_something_it_started_keeps_its_output_open(start: Start) -> None:
    with pytest.raises(HarnessError, match="the actor died with exit status 3"):
        ask(start("read -r line; sleep 300 & exit 3", seconds=300))


def test_each_start_has_a_log_and_a_question_of_its_own(start: Start, log: Path) -> None:
    actor = start("read -r line; echo $line >&2; exit 3")
    told = []
    for what in ("first", "second"):
        with pytest.raises(HarnessError) as caught:
            ask(actor, what)
        told.append(str(caught.value))
    second = log.with_stem(f"{log.stem}-2")
    assert "first" not in told[1]
    assert f"< {second.with_suffix('.request')}\n" in told[1]
    assert json.loads(log.with_suffix(".request").read_text()) == {"what": "first"}
    assert second.read_text() == '{"what": "second"}\n'


def test_one_that_hangs_is_not_waited_for_beyond_its_limit(start: Start) -> None:
    with pytest.raises(HarnessError, match=r"the actor did not answer within 0\.3 s"):
        ask(start("exec sleep 300", seconds=0.3))


def test_what_it_was_asked_is_kept_to_be_tried_by_hand(start: Start, log: Path) -> None:
    with pytest.raises(HarnessError, match=r"try it:    cd .* && exit 3 < ") as caught:
        ask(start("exit 3"), f"with {SECRET}")
    assert SECRET not in str(caught.value)
    request = log.with_suffix(".request")
    assert json.loads(request.read_text()) == {"what": "with ***"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (log, request)} == {0o600}


def test_its_last_words_are_shown_without_secrets_and_so_is_its_log(start: Start, log: Path) -> None:
    with pytest.raises(HarnessError, match=r"\n    no key in \*\*\*$"):
        ask(start(f"echo 'no key in {SECRET}' >&2; exit 1"))
    assert log.read_text() == "no key in ***\n"


def test_an_answer_that_nobody_asked_for_is_never_taken_for_one_to_the_next_question(
    start: Start, tmp_path: Path, eventually: Eventually
) -> None:
    actor = start(
        """
        read -r line; echo '{"done": true}'
        until [ -e go ]; do sleep 0.01; done
        echo '{"command": "rm"}'; touch went; cat
        """
    )
    assert ask(actor) == Done()
    (tmp_path / "go").touch()
    assert eventually((tmp_path / "went").exists)
    with pytest.raises(HarnessError, match="the actor spoke without being asked"):
        ask(actor)


def test_one_that_broke_down_is_started_anew_for_the_next_question(start: Start) -> None:
    actor = start(
        """if [ -e once ]; then read -r line; echo '{"done": true}'; cat; else touch once; exit 3; fi"""
    )
    with pytest.raises(HarnessError):
        ask(actor)
    assert ask(actor) == Done()


def test_one_that_breaks_down_again_and_again_is_not_asked_any_more(start: Start, tmp_path: Path) -> None:
    actor = start("echo once >>starts; exit 3")
    for _ in range(BREAKDOWNS):
        with pytest.raises(HarnessError, match="died with exit status 3"):
            ask(actor)
    with pytest.raises(
        HarnessError, match="broke down 3 times in a row on this worker and is not asked again"
    ):
        ask(actor)
    assert len((tmp_path / "starts").read_text().splitlines()) == BREAKDOWNS


def test_a_long_question_does_not_wait_for_one_that_answers_before_it_listens(start: Start) -> None:
    actor = start("""echo '{"command": "ls"}'; cat >/dev/null""")
    with suppress(HarnessError):  # it may have spoken before it was asked
        assert ask(actor, "y" * 1_000_000) == Command("ls")


def test_nothing_that_it_started_outlives_it(start: Start, tmp_path: Path) -> None:
    actor = start("""sleep 300 & echo $! >child; read -r line; echo '{"done": true}'; cat >/dev/null""")
    ask(actor)
    child = int((tmp_path / "child").read_text())
    actor.close()
    assert not alive(child, None)
