"""`dogfood hub`, as typed and seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.hub import connection
from pytest_dogfood.consistency.hub.model import HubTask, Machine, Status
from pytest_dogfood.consistency.hub.store import Hub

Type = Callable[..., int]

pytestmark = pytest.mark.usefixtures("data_directory")


@pytest.fixture
def hub_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Type `dogfood hub ...` in an empty directory; gives the exit status."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)

    def run(*words: str) -> int:
        try:
            return main(["hub", *words])
        except SystemExit as left:
            return int(left.code or 0)

    return run


@pytest.fixture
def local(hub_command: Type, data_directory: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Make the local hub; gives its file."""
    assert hub_command("init", "--local") == 0
    capsys.readouterr()
    return data_directory / "hub.sqlite"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    path = tmp_path / "shop"
    for words in (
        ["init", "-q", str(path)],
        [
            "-C",
            str(path),
            "-c",
            "user.name=n",
            "-c",
            "user.email=e@x",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "one",
        ],
    ):
        subprocess.run(["git", *words], check=True)
    return path


def add(path: Path, add_task: Callable[..., HubTask], *arguments: str) -> HubTask:
    with Hub.open(str(path)) as hub:
        return add_task(hub, *arguments)


def test_init_makes_a_hub_and_then_leaves_it_alone(
    hub_command: Type, data_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [hub_command("init", "--local") for _ in range(2)] == [0, 0]
    made, ready = capsys.readouterr().out.splitlines()
    assert made.replace("has been created", "is ready") == ready
    assert ready.endswith(str(data_directory / "hub.sqlite"))


def test_without_a_hub_every_command_ends_with_2_and_the_way_out(
    hub_command: Type, data_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["init"], ["tasks"], ["repos"], ["set", "T1", "done"], ["register", "."]):
        assert hub_command(*words) == 2
        assert "dogfood hub init --local" in capsys.readouterr().err
    assert not (data_directory / "hub.sqlite").exists()


@pytest.mark.parametrize(
    "words", [[], ["bogus"], ["tasks", "--bogus"], ["init", "--local", "--hub", "x"], ["set"]]
)
def test_a_wrong_command_line_ends_with_2(hub_command: Type, words: list[str]) -> None:
    assert hub_command(*words) == 2


def test_a_hub_that_cannot_be_reached_ends_with_3_and_no_password(
    hub_command: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hub_command("tasks", "--hub", "postgresql://me:hunter2@127.0.0.1:1/x") == 3
    assert "hunter2" not in capsys.readouterr().err


def test_register_records_the_root_of_the_checkout_and_repos_finds_it(
    hub_command: Type, local: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = checkout / "below"
    below.mkdir()
    assert hub_command("register", str(below)) == 0
    assert hub_command("repos", "--slug", "shop", "--path") == 0
    assert capsys.readouterr().out == f"shop is at {checkout}\n{checkout}\n"
    with Hub.open(str(local)) as hub:
        assert len(hub.repos()[0].root_commit) == 40


def test_a_directory_that_git_does_not_know_is_registered_and_that_is_said(
    hub_command: Type, local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del local
    assert hub_command("register", str(tmp_path), "--slug", "plain") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"plain is at {tmp_path}",
        f"its workplans are read, but never written: {tmp_path} is not a git work tree",
    ]


def test_a_history_that_was_merged_in_makes_no_other_repository(
    hub_command: Type, local: Path, checkout: Path
) -> None:
    assert hub_command("register", str(checkout)) == 0
    git = ["git", "-C", str(checkout), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (
        ["branch", "-M", "one"],
        ["checkout", "-q", "--orphan", "older"],
        ["commit", "-q", "--allow-empty", "-m", "older", "--date", "2001-01-01T00:00:00Z"],
        ["checkout", "-q", "one"],
        ["merge", "-q", "--allow-unrelated-histories", "-m", "both", "older"],
    ):
        subprocess.run(
            [*git, *words], check=True, env={**os.environ, "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z"}
        )
    assert hub_command("register", str(checkout)) == 0
    with Hub.open(str(local)) as hub:
        assert len(hub.checkouts()) == 1


def test_a_checkout_that_is_no_more_is_forgotten_and_its_path_is_free(
    hub_command: Type, local: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_command("register", str(checkout))
    moved = checkout.rename(checkout.with_name("moved"))
    hub_command("register", str(moved), "--slug", "shop")
    capsys.readouterr()
    assert hub_command("forget", str(checkout)) == 0
    assert capsys.readouterr().out == f"shop is no longer at {checkout}; its tasks and their log stay\n"
    hub_command("repos", "--path")
    assert capsys.readouterr().out == f"{moved}\n"
    assert hub_command("forget", str(checkout)) == 2
    assert "did you mean" in capsys.readouterr().err
    moved.rename(checkout)
    assert hub_command("register", str(checkout), "--slug", "other") == 0
    assert hub_command("register", str(checkout), "--slug", "shop") == 2
    with Hub.open(str(local)) as hub:
        assert [(each.repo, each.path) for each in hub.checkouts()] == [
            ("other", str(checkout)),
            ("shop", str(moved)),
        ]


def test_a_task_is_deleted_and_restored_with_a_reason(
    hub_command: Type, local: Path, add_task: Callable[..., HubTask], capsys: pytest.CaptureFixture[str]
) -> None:
    add(local, add_task, "T1", "blocked")
    capsys.readouterr()
    for verb, said in [
        ("delete", "T1 is deleted"),
        ("delete", "T1 is deleted already"),
        ("restore", "T1 is blocked, and no longer deleted"),
        ("restore", "T1 is blocked, and was not deleted"),
    ]:
        assert hub_command(verb, "T1", "--reason", "by mistake") == 0
        assert capsys.readouterr().out == f"{said}\n"
    with Hub.open(str(local)) as hub:
        events = [(each.version, each.to_status, each.reason) for each in hub.events()]
    assert events == [
        (1, "blocked", ""),
        (2, "blocked", "deleted: by mistake"),
        (3, "blocked", "restored: by mistake"),
    ]


def test_repos_lists_what_is_here_and_what_is_not(
    hub_command: Type, local: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_command("register", str(checkout))
    with Hub.open(str(local)) as hub:
        hub.register(Path("/far"), slug="far", root_commit="", machine=Machine(id="another", host="another"))
    capsys.readouterr()
    assert hub_command("repos") == 0
    assert capsys.readouterr().out == f"far   (not on this machine)\nshop  {checkout}\n"
    assert hub_command("repos", "--format", "json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(repo["slug"], repo["paths"]) for repo in listed["repos"]] == [
        ("far", []),
        ("shop", [str(checkout)]),
    ]
    assert hub_command("repos", "--slug", "far", "--path") == 1
    assert hub_command("repos", "--slug", "shp", "--path") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "did you mean 'shop'?" in said.err


@pytest.mark.usefixtures("local")
def test_the_path_of_several_checkouts_is_the_one_around_the_working_directory(
    hub_command: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        hub_command("register", str(tmp_path / name), "--slug", "shop")
    capsys.readouterr()
    hub_command("repos", "--slug", "shop", "--path")
    monkeypatch.chdir(tmp_path / "b")
    hub_command("repos", "--slug", "shop", "--path")
    assert capsys.readouterr().out == f"{tmp_path}/a\n{tmp_path}/b\n{tmp_path}/b\n"


@pytest.mark.usefixtures("local")
def test_the_protocol_is_written_once_and_never_over_a_file(
    hub_command: Type, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = checkout / "docs" / "session-close.md"
    assert hub_command("register", str(checkout), "--protocol") == 0
    assert "dogfood consistency fix --repo shop" in protocol.read_text()
    protocol.write_text("our own")
    assert hub_command("register", str(checkout), "--protocol") == 0
    assert protocol.read_text() == "our own"
    assert "exists already, and was not changed" in capsys.readouterr().out


@pytest.mark.usefixtures("local")
def test_the_protocol_does_not_follow_a_link_out_of_the_repository(
    hub_command: Type, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (checkout / "docs").symlink_to(tmp_path / "outside")
    assert hub_command("register", str(checkout), "--protocol") == 2
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.usefixtures("local")
def test_a_repository_that_pins_another_hub_is_not_registered(
    hub_command: Type, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "dogfood.yaml").write_text("hub: {id: 00000000-0000-4000-8000-000000000000}\n")
    assert hub_command("register", str(checkout)) == 2
    assert "belongs to the hub 00000000" in capsys.readouterr().err


def test_tasks_are_listed_for_people_and_for_programs(
    hub_command: Type, local: Path, add_task: Callable[..., HubTask], capsys: pytest.CaptureFixture[str]
) -> None:
    add(local, add_task, "T1", "done")
    second = add(local, add_task, "T2", "in_progress")
    assert hub_command("tasks", "--repo", "shop", "--status", "done", "--status", "todo") == 0
    assert capsys.readouterr().out == "shop  T1  done\n"
    assert hub_command("tasks", "--format", "json", "--status", "in_progress") == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "tasks": [
            {
                "repo": "shop",
                "task_id": "T2",
                "status": "in_progress",
                "title": "",
                "reopen_count": 0,
                "version": 1,
                "path": "",
                "hub_id": second.id,
            }
        ],
    }
    assert hub_command("tasks", "--status", "finished") == 2
    assert hub_command("tasks", "--repo", "shp") == 2


def test_set_goes_forward_and_aside_but_not_back(
    hub_command: Type, local: Path, add_task: Callable[..., HubTask], capsys: pytest.CaptureFixture[str]
) -> None:
    task = add(local, add_task, "T1")
    steps = ["in_progress", "blocked", "in_progress", "done", "done", "todo"]
    assert [hub_command("set", "T1", step, "--actor", "agent") for step in steps] == [0, 0, 0, 0, 0, 1]
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "T1: todo → in_progress"
    assert said.out.splitlines()[-1] == "T1 is done already"
    assert "dogfood consistency reopen T1 --to todo --reason TEXT" in said.err
    with Hub.open(str(local)) as hub:
        events = hub.events(task.id)
    assert [event.to_status for event in events] == ["todo", *steps[:4]]
    assert {(event.actor, event.source) for event in events[1:]} == {("agent", "api")}


def test_a_task_that_is_not_there_or_in_several_repositories_is_not_set(
    hub_command: Type, local: Path, add_task: Callable[..., HubTask], capsys: pytest.CaptureFixture[str]
) -> None:
    task = add(local, add_task, "T1")
    (Path.cwd() / "t.csv").write_text("repo,task_id,status\nother,T1,todo\n")
    assert hub_command("import", "t.csv") == 0
    assert hub_command("set", "T9", "done") == 2
    assert hub_command("set", "T1", "done") == 2
    assert "several repositories have a task 'T1' (other, shop)" in capsys.readouterr().err
    assert hub_command("set", "T1", "done", "--repo", "other") == 0
    assert hub_command("set", task.id, "blocked") == 0
    assert hub_command("set", task.id, "finished") == 2


def test_import_says_what_it_kept_and_refuses_a_file_with_mistakes_whole(
    hub_command: Type, local: Path, add_task: Callable[..., HubTask], capsys: pytest.CaptureFixture[str]
) -> None:
    add(local, add_task, "T1", "done")
    file = Path.cwd() / "t.csv"
    file.write_text("repo,task_id,status\nshop,T1,todo\nshop,T2,blocked\n")
    assert hub_command("import", "t.csv") == 0
    assert capsys.readouterr().out == "t.csv:2: kept shop/T1: it is done in the hub\n1 created, 1 kept\n"
    file.write_text("repo,task_id,status\nshop,T2,done\nshop,T3,nearly\nshop,,done\n")
    assert hub_command("import", "t.csv") == 2
    assert "t.csv:3: unknown status 'nearly'" in capsys.readouterr().err
    assert hub_command("import", "missing.csv") == 2
    with Hub.open(str(local)) as hub:
        assert [task.status for task in hub.tasks()] == [Status.DONE, Status.BLOCKED]


def test_an_sqlite_hub_on_a_network_file_system_needs_force(
    hub_command: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "network_file_system", lambda _path: "nfs4")
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    assert hub_command("init", "--hub", url) == 2
    assert f"{url}?network=force" in capsys.readouterr().err
    assert hub_command("init", "--hub", f"{url}?network=force") == 0


def test_without_the_packages_of_the_hub_it_is_said_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from pytest_dogfood.cli.main import main\n"
        "sys.exit(main(['hub', 'tasks']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "pip install 'pytest-dogfood[hub]'" in ended.stderr


@pytest.mark.parametrize("words, status", [("set --help", 0), ("set --bogus", 2), ("", 2)])
def test_help_and_usage_errors_need_nothing_of_a_hub_that_is_open(words: str, status: int) -> None:
    program = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from pytest_dogfood.cli.main import main\n"
        f"sys.exit(main(['hub', *{words.split()}]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, "usage: dogfood hub" in ended.stdout + ended.stderr) == (status, True)


@pytest.mark.parametrize("name", ["a%41b.sqlite", "q?x#y.sqlite", "100%25 sure.sqlite", "~home.sqlite"])
def test_a_hub_is_the_file_that_was_named_whatever_is_in_its_name(
    hub_command: Type, tmp_path: Path, name: str
) -> None:
    assert hub_command("init", "--hub", str(tmp_path / name)) == 0
    assert (tmp_path / name).is_file()
    assert hub_command("tasks", "--hub", str(tmp_path / name)) == 0


def test_a_hub_in_the_home_of_nobody_is_a_mistake_that_is_told(
    hub_command: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hub_command("tasks", "--hub", "~nosuchuser/hub.sqlite") == 2
    assert "cannot be found" in capsys.readouterr().err


@pytest.mark.usefixtures("local")
def test_a_title_commands_no_terminal(
    hub_command: Type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"repo": "r", "task_id": "T1", "status": "todo", "title": "\x1b[31mred"}
    (tmp_path / "t.json").write_text(json.dumps([task]))
    assert hub_command("import", str(tmp_path / "t.json")) == 0
    assert hub_command("tasks") == 0
    assert r"\x1b[31mred" in capsys.readouterr().out
