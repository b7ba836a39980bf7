from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import watcher
from pytest_dogfood.execution.terminal import (
    STEP_COMMAND,
    Entrance,
    StepPlace,
    run_in_foreground,
    shell_of_user,
)
from tests.support.waiting import pid_in, until


@pytest.fixture
def streams(tmp_path: Path) -> tuple[int, int, int]:
    """Descriptors that are no terminal, also where these tests run on one."""
    null = os.open(os.devnull, os.O_RDWR)
    out = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY, 0o600)
    return null, out, out


def place(directory: Path, *argv: str, stdin: str = "", why_not: str = "") -> StepPlace:
    files = directory / 'a file\'s "place" $HOME'
    files.mkdir()
    return StepPlace(
        name="a $(touch pwned)`x` b",
        cwd=directory,
        environment={"PATH": os.environ["PATH"], "HOME": str(directory)},
        files=files,
        argv=argv,
        stdin=stdin,
        why_not=why_not,
    )


@pytest.mark.parametrize("script, status", [("exit 3", 3), ("kill -9 $$", 137), ("true", 0)])
def test_the_status_is_that_a_shell_would_show(
    script: str, status: int, tmp_path: Path, streams: tuple[int, int, int]
) -> None:
    assert run_in_foreground(("sh", "-c", script), cwd=tmp_path, env=os.environ, streams=streams) == status


def test_what_cannot_be_started_is_an_error_with_a_hint(
    tmp_path: Path, streams: tuple[int, int, int]
) -> None:
    with pytest.raises(HarnessError, match=r"cannot start 'no-such-program'.*install it"):
        run_in_foreground(("no-such-program",), cwd=tmp_path, env=os.environ, streams=streams)


def test_an_exception_ends_it_and_all_that_it_has_started(
    tmp_path: Path, streams: tuple[int, int, int]
) -> None:
    script = f"trap '' HUP TERM; setsid sleep 100 & echo $! > {tmp_path}/pid; wait"
    pids: list[int] = []

    def interrupt() -> None:
        pids.append(pid_in(tmp_path / "pid"))
        os.kill(os.getpid(), signal.SIGUSR1)

    def answer(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, answer)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        env = {**os.environ, "MARK_OF_TEST": str(tmp_path)}
        with pytest.raises(KeyboardInterrupt):
            run_in_foreground(
                ("sh", "-c", script), cwd=tmp_path, env=env, streams=streams, marker="MARK_OF_TEST"
            )
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert until(lambda: not watcher.alive(pids[0], None))


def test_the_command_of_the_step_has_its_arguments_directory_and_input(
    tmp_path: Path, streams: tuple[int, int, int]
) -> None:
    argv = ("sh", "-c", 'pwd; printf "%s|" "$@"; cat; exit 5', "sh", "a b", "$HOME", "it's", "two\nlines", "")
    entrance = Entrance(journey="j", step=1, command=(STEP_COMMAND,), streams=streams)
    entrance.open(place(tmp_path, *argv, stdin="in\n"), "")
    assert entrance.status == 5
    assert (tmp_path / "out").read_text() == f"{tmp_path}\na b|$HOME|it's|two\nlines||in\n"


def test_a_command_that_is_not_known_says_why(tmp_path: Path, streams: tuple[int, int, int]) -> None:
    entrance = Entrance(journey="j", step=1, command=(STEP_COMMAND,), streams=streams)
    entrance.open(place(tmp_path, why_not="it's a secret"), "")
    assert entrance.status == 4
    assert (tmp_path / "out").read_text() == "dogfood-step: it's a secret\n"


@pytest.mark.parametrize("shell", [one for one in ("bash", "sh", "dash", "zsh", "fish") if shutil.which(one)])
def test_a_shell_knows_the_step_wherever_its_files_are_and_runs_nothing_that_a_name_says(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", shutil.which(shell) or "")
    here = place(tmp_path, "sh", "-c", "echo the-step")
    entrance = Entrance(journey="j", step=1, command=("true",), streams=(0, 1, 2))
    entrance.open(here, "")  # which writes the program
    argv, environment = shell_of_user(here, here.files / STEP_COMMAND)
    done = subprocess.run(
        argv,
        env={**environment, "TERM": "dumb"},
        cwd=tmp_path,
        input="dogfood-step\nexport | cat\nexit 0\n",
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        timeout=30,
    )
    assert "the-step" in done.stdout
    assert str(here.files) not in done.stdout
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name, shell", [("ENV", "sh"), ("ENV", "dash"), ("ZDOTDIR", "zsh")])
def test_the_file_that_a_user_has_for_the_shell_is_read_as_well(
    name: str, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    monkeypatch.setenv("SHELL", shutil.which(shell) or "")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".zshrc").write_text("echo read-theirs\n")
    value = str(theirs) if name == "ZDOTDIR" else "$HOME/theirs/.zshrc"
    here = place(tmp_path, "true")
    here = StepPlace(name="x", cwd=here.cwd, environment={**here.environment, name: value}, files=here.files)
    argv, environment = shell_of_user(here, here.files / STEP_COMMAND)
    done = subprocess.run(
        argv,
        env={**environment, "TERM": "dumb"},
        cwd=tmp_path,
        input=f'echo "is:${name}"\nexit 0\n',
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        timeout=30,
    )
    assert "read-theirs" in done.stdout
    assert f"is:{value}\n" in done.stdout
