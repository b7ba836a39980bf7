from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from pytest_dogfood.cli import journeys
from pytest_dogfood.cli.main import INTERRUPTED, main
from pytest_dogfood.fileformat.parser import parse_settings_file
from pytest_dogfood.session.durations import write_durations
from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood, tree

COMMANDS = ("check", "graph", "schema", "new", "explain", "enter", "merge")


def ended(*arguments: str) -> int:
    """Return the exit status with which argparse ends the command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"pytest-dogfood {version('pytest-dogfood')}\n"


def test_help_lists_every_command_and_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"    {name} " not in shown] == []
    assert "exit status: 0 ok, 1 failures in the merged run" in shown
    assert "pytest --dogfood" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_and_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(name, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: dogfood {name} ")
    assert len(shown.split("\n\n")[1]) > 40


def test_without_a_command_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended() == journeys.USAGE
    assert "arguments are required: COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, near",
    [
        (["chekc"], "check"),
        (["graph", "--format", "mermiad"], "mermaid"),
        (["new", "capabilty", "x"], "capability"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_what_was_meant(
    arguments: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == journeys.USAGE
    assert capsys.readouterr().err.endswith(f"; did you mean '{near}'?\n")


def test_an_option_that_is_not_known_is_answered_with_the_usage_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("check", "--bogus") == journeys.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith("usage: dogfood check [-h]")
    assert shown.endswith("dogfood check: error: unrecognized arguments: --bogus\n")


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_of_workers_is_at_least_one(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("check", f"--workers={number}") == journeys.USAGE
    assert f"expected a whole number from 1 on, not '{number}'" in capsys.readouterr().err


def test_a_drawing_is_written_as_the_ending_of_its_file_says(inner: Make) -> None:
    path = inner({"a.journey.yaml": "steps: [ls]"}).path
    for name, begins in (("g.svg", "<svg"), ("g.dot", "digraph"), ("g.mmd", "flowchart"), ("g.json", "{")):
        assert dogfood(path, "graph", "-o", name).returncode == 0
        assert (path / name).read_text().startswith(begins)


HALF_ESTIMATED = """
journeys:
  - {id: tools, tier: smoke, gating: true, steps: ["true"]}
  - {id: log-in, establishes: [logged-in], steps: ["true"]}
  - {id: order, requires: [logged-in], establishes: [ordered], steps: ["true"]}
  - {id: look, requires: [logged-in], ESTIMATE, steps: ["true"]}
  - {id: pay, requires: [ordered], steps: ["true"]}
"""


@pytest.mark.parametrize(
    "estimate, committed, seconds",
    [
        ("timeout: 60", {}, 4.0),
        ("estimate: 5s", {}, 20.0),
        ("estimate: 5s", {"a.journey.yaml::pay": 7.0}, 25.0),
        ("timeout: 60", {"a.journey.yaml::tools": 0.5, "a.journey.yaml::log-in": 3.5}, 9.5),
    ],
    ids=["nothing", "one-estimate", "estimate-and-committed", "committed"],
)
def test_check_and_graph_tell_the_same_critical_path_whatever_is_known(
    inner: Make, estimate: str, committed: dict[str, float], seconds: float
) -> None:
    path = inner({"a.journey.yaml": HALF_ESTIMATED.replace("ESTIMATE", estimate)}).path
    write_durations(path / "dogfood-durations.json", committed)
    told = json.loads(dogfood(path, "check", "--format", "json").stdout)["plan"]["forecast"]["critical_path"]
    drawn = json.loads(dogfood(path, "graph", "--format", "json").stdout)
    assert drawn["critical_path"] == told["journeys"]
    assert drawn["critical_seconds"] == told["seconds"] == seconds
    words = f"{seconds:.1f} s: {' -> '.join(told['journeys'])}"
    assert f"critical path: {words}" in dogfood(path, "check").stdout
    assert f"Critical path, {words.replace('->', '→')}." in dogfood(path, "graph").stdout
    explained = [dogfood(path, "explain", one).stdout for one in told["journeys"]]
    assert all("; on the critical path" in text for text in explained)


def test_a_check_by_pytest_and_other_commands_count_the_same_seconds_and_guesses(inner: Make) -> None:
    project = inner({"a.journey.yaml": HALF_ESTIMATED.replace("ESTIMATE", "estimate: 5s")})
    guesses = "4 journeys without a known duration: counted as 5 s, the median of the known ones"
    printed = dogfood(project.path, "check").stdout.splitlines()
    path = next(line for line in printed if line.startswith("critical path: 20.0 s: "))
    assert guesses in printed
    project.dogfood("--dogfood-check").stdout.fnmatch_lines([path, "*", guesses])
    drawn = json.loads(dogfood(project.path, "graph", "--format", "json").stdout)
    assert {one["key"]: (one["seconds"], one["guessed"]) for one in drawn["journeys"]} == {
        "tools": (5.0, True),
        "log-in": (5.0, True),
        "order": (5.0, True),
        "look": (5.0, False),
        "pay": (5.0, True),
    }
    assert "  takes 5.0 s (a guess" in dogfood(project.path, "explain", "pay").stdout


def test_gates_are_told_once_and_not_with_each_journey(inner: Make) -> None:
    path = inner({"a.journey.yaml": HALF_ESTIMATED.replace("ESTIMATE", "tier: deep")}).path
    printed = dogfood(path, "check").stdout
    assert "\ngates before core and deep: tools\n" in printed
    assert "(after" not in printed


@pytest.mark.parametrize(
    "kind, name, complaint",
    [
        ("journey", "", "name the journey's id"),
        ("journey", "a/b", "'a/b' is not in kebab-case: write 'a-b'"),
        ("capability", "", "name the token"),
        ("journey", "Log_In.2", "'Log_In.2' is not in kebab-case: write 'log-in-2'"),
        ("capability", "Logged In", "'Logged In' is not in kebab-case: write 'logged-in'"),
        (
            "capability",
            "db:linux",
            "'db:linux' is one instance; all instances are defined together, as 'db'",
        ),
    ],
)
def test_a_template_for_what_cannot_be_named_so_is_refused(
    kind: str, name: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", kind, *([name] if name else []), f"--directory={tmp_path}"]) == journeys.USAGE
    assert complaint in capsys.readouterr().err
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "arguments, following",
    [
        (("journey", "log-in"), "next: pytest --dogfood {there}/log-in.journey.yaml"),
        (
            ("capability", "logged-in"),
            "next: write `requires: [logged-in]` in a journey, then: dogfood check",
        ),
        (("project", "shop"), "next: cd {there}/shop && pytest --dogfood"),
    ],
)
def test_a_new_file_comes_with_the_next_command(
    arguments: tuple[str, ...], following: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *arguments, f"--directory={tmp_path}"]) == journeys.OK
    assert capsys.readouterr().out.splitlines()[-1] == following.format(there=tmp_path)


def test_of_several_files_that_are_there_it_is_said_that_they_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "project", "--directory", str(tmp_path)]) == journeys.OK
    assert main(["new", "project", "--directory", str(tmp_path)]) == journeys.USAGE
    assert " exist already, and nothing was written" in capsys.readouterr().err


def test_a_new_capability_is_written_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["new", "capability", "logged-in", "--directory", str(tmp_path)]
    assert main(arguments) == journeys.OK
    written = (tmp_path / "dogfood.yaml").read_bytes()
    assert [one.token for one in parse_settings_file(written, path="dogfood.yaml").capabilities] == [
        "logged-in"
    ]
    assert main(arguments) == journeys.USAGE
    assert "exists already, and nothing was written" in capsys.readouterr().err
    assert (tmp_path / "dogfood.yaml").read_bytes() == written


def test_a_capability_for_a_file_that_exists_is_shown_to_be_put_there_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dogfood.yaml").write_text("capabilities: {}\n", encoding="utf-8")
    assert main(["new", "capability", "logged-in", "--directory", str(tmp_path)]) == journeys.USAGE
    shown = capsys.readouterr()
    assert "put this under its 'capabilities:'" in shown.err
    whole = parse_settings_file(f"capabilities:\n{shown.out}".encode(), path="dogfood.yaml")
    assert [one.token for one in whole.capabilities] == ["logged-in"]


def test_of_many_that_write_the_same_new_file_at_once_one_writes(tmp_path: Path) -> None:
    statuses: list[int] = []
    together = threading.Barrier(8)

    def write() -> None:
        together.wait()
        statuses.append(main(["new", "journey", "first", f"--directory={tmp_path}"]))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [journeys.OK, *[journeys.USAGE] * 7]


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "first.journey.yaml").symlink_to(tmp_path / "elsewhere")
    assert main(["new", "journey", "first", f"--directory={tmp_path}"]) == journeys.USAGE
    assert not (tmp_path / "elsewhere").exists()


ODD = {
    "a.journey.yaml": """
        journeys:
          - {id: a, tier: smoke, requires: [t], steps: [run: 'true']}
          - {id: b, tier: deep, establishes: [t], steps: [run: 'true']}
        """
}


def on_a_terminal(directory: Path, *arguments: str, **environment: str) -> str:
    ours, theirs = pty.openpty()
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "NO_C"))}
    command = [sys.executable, "-m", "pytest_dogfood", *arguments]
    with subprocess.Popen(
        command, cwd=directory, env={**inherited, **environment}, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how a terminal says on Linux that the other side is gone
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return shown.decode()


def test_a_terminal_shows_warnings_in_yellow_and_errors_in_red(inner: Make) -> None:
    directory = inner(ODD).path
    assert "\033[33mwarning: a.journey.yaml:3" in on_a_terminal(directory, "check")
    assert "\033[31ma.journey.yaml:3" in on_a_terminal(directory, "check", "--strict")


def test_no_color_is_respected(inner: Make) -> None:
    shown = on_a_terminal(inner(ODD).path, "check", NO_COLOR="1")
    assert "warning: a.journey.yaml" in shown
    assert "\033" not in shown


def test_colour_can_be_forced_where_there_is_no_terminal(inner: Make) -> None:
    project = inner({**ODD, "test_a.py": "def test_a(): pass\n"})
    assert "\033[33mwarning" in dogfood(project.path, "check", FORCE_COLOR="1").stdout
    assert "\033" not in dogfood(project.path, "check", FORCE_COLOR="1", NO_COLOR="1").stdout


def test_the_last_lines_of_a_merge_are_green_or_red(inner: Make) -> None:
    project = inner(
        {"a.journey.yaml": "journeys:\n  - {id: a, steps: ['true']}\n  - {id: b, steps: ['true']}\n"}
    )
    for shard in ("1/2", "2/2"):
        project.dogfood(f"--dogfood-shard={shard}")
    shards = [f"dogfood-shard-{number}-of-2.json" for number in (1, 2)]
    assert (
        "\033[32mdogfood: 2 journeys = 2 passed"
        in dogfood(project.path, "merge", *shards, FORCE_COLOR="1").stdout
    )
    assert (
        "\033[31mdogfood: 2 journeys = 1 passed"
        in dogfood(project.path, "merge", shards[0], FORCE_COLOR="1").stdout
    )


def test_an_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    fifo = tmp_path / "manifest.json"
    os.mkfifo(fifo)
    started = subprocess.Popen(
        [sys.executable, "-m", "pytest_dogfood", "merge", str(fifo)], stderr=subprocess.PIPE
    )
    with fifo.open("wb"):  # opens as soon as the command reads
        started.send_signal(signal.SIGINT)
        _, complaint = started.communicate(timeout=60)
    assert (started.returncode, complaint) == (INTERRUPTED, b"")


NOT_NEEDED = (
    "cli",
    "commands",
    "inspecting",
    "checking",
    "planreport",
    "foreseeing",
    "advice",
    "speedup",
    "simulation",
    "explaining",
    "drawing",
    "merging",
    "fileformat.schema",
    "fileformat.templates",
)


def test_a_run_imports_nothing_of_the_command_line(inner: Make) -> None:
    scene = inner(
        {
            "a.journey.yaml": "journeys: [{id: a, steps: [run: 'true']}]",
            "conftest.py": f"""
                import sys

                def pytest_unconfigure():
                    ours = {{name for name in sys.modules if name.startswith("pytest_dogfood")}}
                    print("imported:", sorted(ours & {{f"pytest_dogfood.{{name}}" for name in {NOT_NEEDED}}}))
                """,
        }
    )
    scene.dogfood("-s").stdout.fnmatch_lines(["imported: [[]]"])


def test_a_test_that_cannot_be_collected_is_shown(inner: Make) -> None:
    scene = inner({**ODD, "test_x.py": "import nothing_of_that_name"})
    done = dogfood(scene.path, "graph", "--tests")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No module named 'nothing_of_that_name'" in done.stderr
