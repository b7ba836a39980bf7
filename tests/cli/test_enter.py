"""`dogfood enter` on real terminals: what a shell gets in the place of a step, and what is left when it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.entered_projects import Kept, Project
from tests.support.terminals import terminal_session
from tests.support.waiting import until

SHELLS = [name for name in ("bash", "sh", "zsh") if shutil.which(name)]


@pytest.fixture
def project(tmp_path: Path, short_root: Path) -> Iterator[Project]:
    made = Project(tmp_path, short_root)
    yield made
    assert until(lambda: not made.is_left())


def variables(path: Path, *without: str) -> list[str]:
    found = path.read_bytes().decode().split("\0")
    return sorted(one for one in found if one.partition("=")[0] not in without)


def test_a_command_has_the_environment_of_the_step_to_the_byte(project: Project) -> None:
    done = project.enter("use", "--step", "2", "--after", "--", "cmp", "/proc/self/environ", "step.env")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert project.log == ["first", "cleaned", "released"]
    assert project.run_directories == []


def test_before_a_step_it_has_not_run(project: Project) -> None:
    done = project.enter("use", "--step", "2", "--", "sh", "-c", 'echo "$OWN $FOUND $STEP"; pwd; ls')
    assert done.returncode == 0
    words, directory = done.stdout.splitlines()
    assert words == "mine 7 a1 only here"
    assert directory.endswith("/use-w0-main/sub")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_has_the_environment_of_the_step_to_the_byte(project: Project, shell: str) -> None:
    with project.shell("use", "--step", "2", "--after", shell=shell) as session:
        session.type(f"cp step.env {project.path}/step.env; cp /proc/self/environ {project.path}/shell.env\n")
        session.type("echo done-$((1 + 1))\n")
        session.shows("done-2")
        session.type("exit 6\n")
        assert session.ends() == 6
    of_the_shell = ("_", "SHLVL", "PWD", "OLDPWD", "LOGNAME")  # which zsh sets
    step, entered = (variables(project.path / f"{name}.env", *of_the_shell) for name in ("step", "shell"))
    assert entered == step
    assert project.log == ["first", "cleaned", "released"]
    assert project.run_directories == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_banner_names_the_step_and_its_command_can_be_run(project: Project, shell: str) -> None:
    with project.shell("use", "--step", "3", shell=shell) as session:
        session.look_back()
        for line in (
            r"dogfood: use, before step 3 of 3",
            r"  at:       all\.journey\.yaml:\d+:9",
            r"  command:  echo \"third \$FOUND\" \| tee",
            r"  type:     dogfood-step to run the command, exit to clean up\n",
        ):
            session.shows(line)
        session.type("dogfood-step; echo status-$?\n")
        session.shows("third a1\ntyped\nstatus-3")
        session.type("exit\n")
        session.ends()
    assert project.log == ["first", "third", "a1", "cleaned", "released"]


@pytest.mark.parametrize("shell", SHELLS)
def test_ctrl_c_ends_what_runs_in_the_shell_and_not_the_run(project: Project, shell: str) -> None:
    with project.shell("use", "--step", "2", shell=shell) as session:
        session.type("sh -c 'echo sleep$((1 + 1)); exec sleep 60'\n")
        session.shows("sleep2")
        session.type("\x03")
        session.shows(r"\(use\) ")
        session.type("echo still-$((1 + 1))\n")
        session.shows("still-2")
        assert project.log == ["first"]
        session.type("exit 0\n")
        assert session.ends() == 0
    assert project.log == ["first", "cleaned", "released"]


def test_the_shell_has_job_control_and_the_size_of_the_window(project: Project) -> None:
    with project.shell("use", "--step", "2") as session:
        session.resize(33, 77)
        session.type("stty size\n")
        session.shows("33 77")
        session.type("sh -c 'echo sleep$((1 + 1)); exec sleep 60'\n")
        session.shows("sleep2")
        session.type("\x1a")
        session.shows(r"Stopped +sh -c")
        session.type("bg; jobs\n")
        session.shows(r"Running +sh -c")
        session.type("exit\n")
        session.ends()
    assert project.log == ["first", "cleaned", "released"]


def test_a_terminal_that_is_killed_leaves_no_process_and_all_is_cleaned_up(project: Project) -> None:
    with project.shell("use", "--step", "2") as session:
        session.type("sleep 61 & (trap '' HUP TERM; sleep 62) &\n")
        session.shows("62")
        session.hang_up()
        assert until(lambda: not project.is_left())
    assert project.log == ["first", "cleaned", "released"]
    assert project.run_directories == []


def test_a_signal_to_the_run_ends_the_shell_and_cleans_up(project: Project) -> None:
    with project.shell("use", "--step", "2") as session:
        session.process.send_signal(signal.SIGTERM)
        assert session.ends() == 130
    assert project.log == ["first", "cleaned", "released"]
    assert project.run_directories == []


def test_a_signal_ends_a_command_that_has_no_terminal_and_cleans_up(project: Project) -> None:
    program = [sys.executable, "-m", "pytest_dogfood", "enter", "use", "--step", "2", "--"]
    process = subprocess.Popen(
        [*program, "sh", "-c", "trap '' HUP; sleep 60 & echo in; wait"],
        cwd=project.path,
        env=project.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    assert project.log == ["first", "cleaned", "released"]
    assert project.run_directories == []


def test_a_reader_that_is_gone_ends_the_command_as_everywhere(project: Project) -> None:
    enter = f"{sys.executable} -m pytest_dogfood enter use --step 2 -- yes"
    script = f"set -o pipefail; {enter} | head -n 1; echo $?"
    done = subprocess.run(
        ["bash", "-c", script], cwd=project.path, env=project.env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "y\n141\n"
    assert project.log == ["first", "cleaned", "released"]


def test_the_terminal_is_as_it_was_when_the_shell_has_ended(project: Project) -> None:
    enter = f"{sys.executable} -m pytest_dogfood enter use --step 2 -- stty -echo -icanon"
    script = f"stty -g > before; {enter}; stty -g > after; read line; echo read-$line"
    with terminal_session("sh", "-c", script, cwd=project.path, env=project.env) as session:
        assert until(lambda: (project.path / "after").exists() and (project.path / "after").read_text() != "")
        session.type("typed\n")
        session.shows("read-typed")
        assert session.ends() == 0
        assert termios.tcgetattr(session.slave)[3] & termios.ECHO
    assert (project.path / "after").read_text() == (project.path / "before").read_text()


def test_ctrl_z_stops_the_command_with_its_run_and_both_go_on_together(project: Project) -> None:
    enter = f"{sys.executable} -m pytest_dogfood enter use --step 2 -- sh -c 'echo on; exec cat'"
    with terminal_session("bash", "--norc", "-i", cwd=project.path, env=project.env) as session:
        session.type(f"{enter}\n")
        session.shows("\ron\n")
        session.type("\x1a")
        session.shows("Stopped")
        session.type("echo outer-$((1 + 1))\n")
        session.shows("outer-2")
        session.type("fg\n")
        session.shows("enter use")
        session.type("to cat\n")
        session.shows("to cat\nto cat\n")
        session.type("\x03")
        session.shows("bash-[0-9.]+[#$] ")
        session.type("echo status-$?\n")
        session.shows("status-130")
        session.type("exit\n")
        session.ends()
    assert project.log == ["first", "cleaned", "released"]


def test_ctrl_c_before_the_shell_interrupts_the_run(project: Project) -> None:
    (project.path / "more.journey.yaml").write_text(
        "journeys: [{id: slow, steps: [{run: echo here; sleep 60}, {run: 'true'}], "
        "cleanup: [{run: touch $DOGFOOD_ROOT/clean}]}]"
    )
    program = [sys.executable, "-m", "pytest_dogfood", "enter", "slow", "--step", "2"]
    with terminal_session(*program, cwd=project.path, env=project.env) as session:
        session.shows("here")
        session.type("\x03")
        assert session.ends() == 130
        session.shows("the place before step 2 of slow was not reached")
    assert (project.path / "clean").exists()


def test_only_the_command_writes_to_standard_output(project: Project) -> None:
    done = project.enter("use", "--step", "3", "--", "dogfood-step")
    assert (done.returncode, done.stdout) == (3, "third a1\ntyped\n")
    assert done.stderr == ""


def test_what_was_entered_is_no_run_to_report_on_and_teaches_nothing(project: Project) -> None:
    project.pytest("all.journey.yaml::use", "-p", "no:randomly")
    cache = project.path / ".pytest_cache" / "v"
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    runs = project.run_directories
    # The step that failed last is the third.
    assert project.enter("use", "--", "sh", "-c", "echo $FOUND").stdout == "a1\n"
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == before
    assert project.run_directories == runs


@pytest.mark.parametrize("workers", ["-n 2", "--pdb"])
def test_options_that_a_project_gives_to_each_run_do_not_get_in_the_way(
    project: Project, workers: str
) -> None:
    (project.path / "pytest.ini").write_text(
        f"[pytest]\naddopts = {workers} -m nothing -k nothing -v --timeout=1\ndogfood_shard = 2/2\n"
    )
    done = project.enter("use", "--step", "2", "--", "sh", "-c", "sleep 1.5; echo in")
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr


def test_what_failed_last_and_files_of_other_runs_are_left_alone(project: Project) -> None:
    project.pytest("all.journey.yaml::breaks", "--sw")
    options = "--lf --sw --junitxml=made.xml --dogfood-report=made.md --deselect=all.journey.yaml::use"
    (project.path / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\n")
    done = project.enter("use", "--step", "2", "--", "echo", "in")
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    assert list(project.path.glob("made.*")) == []


def test_a_shell_that_is_not_there_is_told(project: Project) -> None:
    program = [sys.executable, "-m", "pytest_dogfood", "enter", "use", "--step", "2"]
    with terminal_session(*program, cwd=project.path, env={**project.env, "SHELL": "/no/shell"}) as session:
        session.shows("cannot start '/no/shell'")
        assert session.ends() == 1
    assert project.log == ["first", "cleaned", "released"]


def test_a_journey_is_found_from_any_directory_of_the_project_and_by_its_node_id(project: Project) -> None:
    project.path = project.path / "below"
    project.path.mkdir()
    for name in ("build", "all.journey.yaml::build", "../all.journey.yaml::build"):
        done = project.enter(name, "--", "echo", "in")
        assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr


def test_instances_of_a_matrix_are_named_and_quoted(project: Project) -> None:
    (project.path / "more.journey.yaml").write_text(
        "journeys: [{id: many, matrix: {os: [mac, linux]}, steps: [{run: exit 3}]}]"
    )
    assert "it has instances: 'many[mac]', 'many[linux]'" in project.enter("many", "--", "ls").stderr
    shown = project.pytest("more.journey.yaml").stdout
    assert "\nshell:     dogfood enter 'many[linux]' --run " in shown
    assert project.enter("many[mac]", "--", "sh", "-c", "echo $os").stdout == "mac\n"


def test_a_python_test_and_a_service_that_it_requires_are_set_up(project: Project) -> None:
    (project.path / "test_made.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.establishes('made')\n"
        "def test_make(dogfood_state):\n    (dogfood_state / 'made').touch()\n"
    )
    (project.path / "more.journey.yaml").write_text(
        "capabilities: {up: {scope: machine, service: {run: exec sleep 100, ports: [port]}, probe: 'true'}}\n"
        "journeys: [{id: rests, requires: [made, up], steps: [{run: exit 3}]}]"
    )
    done = project.enter("rests", "--", "sh", "-c", 'ls "$DOGFOOD_STATE"; echo ${DOGFOOD_UP_PORT:+port}')
    assert (done.returncode, done.stdout) == (0, "made\nport\n")


@pytest.mark.parametrize(
    "words, said",
    [
        (["us", "--", "ls"], "no journey 'us'; did you mean 'use'?"),
        (["use", "--step", "4", "--", "ls"], "use has no step 4, because it has 3 steps"),
        ([], "the following arguments are required: JOURNEY\n"),
        (["use", "--step", "0", "--", "ls"], "expected a whole number from 1 on, not '0'"),
        (["use"], "there is no terminal for a shell: name a command, as in -- ls -l"),
        (["test_a.py::test_a", "--", "ls"], "test_a.py::test_a is a Python test, which has no steps"),
        (["stuck", "--", "ls"], "stuck is deferred, because breaks failed: dogfood enter breaks"),
        (["use", "--run", "abcdef", "--", "ls"], "there is no run abcdef"),
        (["use", "--step", "2", "--", "no-such-program"], "cannot start 'no-such-program'"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(project: Project, words: list[str], said: str) -> None:
    done = project.enter(*words)
    assert said in done.stderr
    assert done.returncode == (1 if "no-such-program" in words else 4)
    assert done.stdout == ""


def test_a_step_before_it_that_fails_is_shown_instead(project: Project) -> None:
    (project.path / "more.journey.yaml").write_text(
        "journeys: [{id: falls, steps: [{run: exit 9}, {run: 'true'}]}]"
    )
    done = project.enter("falls", "--step", "2", "--", "echo", "in")
    assert (done.returncode, done.stdout) == (1, "")
    assert "step 1 of 2: exit 9, expected 0" in done.stderr
    assert "the place before step 2 of falls was not reached" in done.stderr


def test_a_clean_up_that_fails_is_told(project: Project) -> None:
    (project.path / "more.journey.yaml").write_text(
        "journeys: [{id: falls, steps: [{run: 'true'}], cleanup: [{run: exit 9}]}]"
    )
    done = project.enter("falls", "--", "echo", "in")
    assert (done.returncode, done.stdout) == (1, "in\n")
    assert "cleanup step 1 of 1: exit 9, expected 0" in done.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Share one run among the tests that change nothing of it."""
    root = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    made = Kept(tmp_path_factory.mktemp("kept"), root)
    yield made
    assert until(lambda: not made.is_left())
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def own_kept(tmp_path: Path, short_root: Path) -> Kept:
    return Kept(tmp_path, short_root)


def test_a_failure_says_how_to_enter_what_is_kept_of_it(kept: Kept) -> None:
    assert f"\nshell:     dogfood enter use --run {kept.run.name}\n" in kept.said


def test_a_kept_run_is_entered_in_a_copy(kept: Kept) -> None:
    before = kept.tree()
    script = 'ls; echo "$OWN $FOUND $DOGFOOD_RUN"; echo "$DOGFOOD_STATE $DOGFOOD_WORKDIR $PWD"; touch new; rm -r sub'
    done = kept.enter("use", "--run", kept.run.name, "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    files, words, directories = done.stdout.splitlines()
    assert (files, words) == ("sub", f"mine 7 a1 {kept.run.name}")
    state, workdir, here = map(Path, directories.split())
    assert workdir == here
    assert workdir.parent == state.parent != kept.run
    assert not state.parent.exists()
    assert kept.tree() == before
    assert kept.log.count("cleaned") == 1


def test_a_shell_in_a_kept_run_says_what_is_different_there(kept: Kept) -> None:
    with kept.shell("use", "--run", kept.run.name) as session:
        session.look_back()
        session.shows(f"dogfood: use, after step 3 of 3, in a copy of what run {kept.run.name} has kept")
        session.shows("command:  echo")
        session.shows("failed:   exit status: expected 0, got 3")
        session.shows(r"empty:    \$DOGFOOD_SHARED, which was not kept")
        session.shows("changed:  .*image-tag")
        session.type("dogfood-step; echo status-$?\n")
        session.shows("third a1\nstatus-3")
        session.type("sleep 60 &\n")
        session.type("exit 4\n")
        assert session.ends() == 4
    assert [one for one in kept.run_directories if one != kept.run] == []


def test_a_killed_terminal_leaves_nothing_of_a_copy(kept: Kept) -> None:
    with kept.shell("use", "--run", kept.run.name) as session:
        session.type("(trap '' HUP TERM; sleep 62) &\n")
        session.shows("62")
        session.hang_up()
        assert until(lambda: not kept.is_left())
    assert [one for one in kept.run_directories if one != kept.run] == []


@pytest.mark.parametrize(
    "words, said",
    [
        (["us"], "there is no journey 'us' in run {run}; did you mean 'use'?"),
        (
            ["stuck"],
            "stuck was deferred in run {run}, because breaks failed: dogfood enter breaks --run {run}",
        ),
        (["build"], "has not kept the directories of build, which passed: dogfood enter build sets up"),
        (["use", "--step", "2"], "leave --step and --after out"),
        (["use", "--after"], "leave --step and --after out"),
        (["use", "--limit", "2GB"], "--limit is for packs, and {run} is no file: leave it out"),
    ],
)
def test_what_a_run_cannot_give_is_refused(kept: Kept, words: list[str], said: str) -> None:
    done = kept.enter(*words, "--run", kept.run.name, "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert said.format(run=kept.run.name) in done.stderr


def test_a_run_of_another_project_is_refused(kept: Kept, tmp_path: Path) -> None:
    done = kept.enter("use", "--run", kept.run.name, "--", "ls", here=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"run {kept.run.name} is one of another project, {kept.path}" in done.stderr


def test_what_cannot_be_copied_is_left_out_and_named(own_kept: Kept) -> None:
    (state,) = own_kept.run.glob("c0-main")
    os.mkfifo(state / "pipe")
    with own_kept.shell("use", "--run", own_kept.run.name) as session:
        session.look_back()
        session.shows(r"missing:  c0-main/pipe \(a FIFO\), which cannot be copied")
        session.type("exit\n")
        session.ends()


def test_links_stay_links_in_the_copy(own_kept: Kept) -> None:
    (state,) = own_kept.run.glob("c0-main")
    (state / "link").symlink_to("nowhere")
    done = own_kept.enter(
        "use", "--run", own_kept.run.name, "--", "sh", "-c", 'readlink "$DOGFOOD_STATE/link"'
    )
    assert (done.returncode, done.stdout) == (0, "nowhere\n")


@pytest.mark.parametrize("place", ["../other", "/etc"])
def test_a_record_that_names_other_directories_is_refused(own_kept: Kept, place: str) -> None:
    (own_kept.run.parent / "other").mkdir()
    activities = own_kept.run / "records" / "activities"
    activities.write_text(activities.read_text().replace('"place":"c0-main"', f'"place":"{place}"'))
    done = own_kept.enter("use", "--run", own_kept.run.name, "--", "ls")
    assert (done.returncode, done.stdout) == (4, "")
    assert "names directories that are not below it" in done.stderr


OF_STEPS = """
defaults: {env: {HOME_OF_TOOL: "$DOGFOOD_STATE/tool", PATH: "$DOGFOOD_ROOT/bin:$PATH"}}
journeys:
  - id: use
    steps:
      - {run: 'true', env: {EARLIER: "1"}}
      - {run: exit 3, env: {LAST: "$HOME_OF_TOOL/last"}}
"""


def test_the_last_step_has_its_own_variables_in_what_is_entered(project: Project) -> None:
    (project.path / "all.journey.yaml").write_text(OF_STEPS)
    project.pytest()
    (run,) = [one.parent for one in project.root.glob("df-*/*/run.json")]
    script = 'echo "$DOGFOOD_STATE"; echo "$LAST"; echo "$PATH"; echo "$EARLIER"'
    done = project.enter("use", "--run", run.name, "--", "sh", "-c", script)
    state, last, path, earlier = done.stdout.splitlines()
    assert last == f"{state}/tool/last"
    assert path.startswith(f"{project.path}/bin:/")
    assert earlier == ""


WITH_SECRETS = """
journeys:
  - id: use
    env: {URL: "https://me:$KEY@host"}
    steps:
      - {run: echo token=abcdef, save: {TOKEN: {stdout: "token=(.+)", secret: true}}}
      - {run: exit 3, env: {OF_STEP: "$KEY"}}
"""


def test_secrets_are_not_set_in_what_is_entered(project: Project) -> None:
    (project.path / "all.journey.yaml").write_text(WITH_SECRETS)
    (project.path / "pytest.ini").write_text("[pytest]\ndogfood_secrets = KEY\n")
    project.env["KEY"] = "very-secret-key"
    project.pytest()
    (run,) = [one.parent for one in project.root.glob("df-*/*/run.json")]
    del project.env["KEY"]
    project.env["URL"] = "of the user's shell"
    with project.shell("use", "--run", run.name) as session:
        session.look_back()
        session.shows(r"not set:  \$URL, \$TOKEN, \$OF_STEP, because secret values are not in a record")
        session.type('echo "set:$URL$TOKEN:"\n')
        session.shows("\rset::|\nset::")
        session.type("exit\n")
        session.ends()


def test_the_debugger_says_how_to_enter_the_step_at_once(project: Project) -> None:
    done = project.pytest("--pdb", "-p", "no:randomly", "all.journey.yaml::use")
    assert "\nshell:     dogfood enter use --step 3\n" in done.stdout


def test_a_report_says_how_to_open_a_shell_where_a_journey_failed(own_kept: Kept) -> None:
    def report(*words: str) -> str:
        program = [sys.executable, "-m", "pytest_dogfood", "report", *words]
        return subprocess.run(
            program, cwd=own_kept.path, env=own_kept.env, capture_output=True, text=True, check=True
        ).stdout

    command = f"dogfood enter use --run {own_kept.run.name}"
    line = f"Open a shell there: `{command}`"
    assert line in report()
    assert "dogfood enter build" not in report()
    report("-o", "page.html")
    page = (own_kept.path / "page.html").read_text(encoding="utf-8")
    assert f"<dt>Open a shell there</dt><dd><code>{command}</code></dd>" in page
    shutil.rmtree(next(own_kept.run.glob("use-w*")))
    assert line not in report()
