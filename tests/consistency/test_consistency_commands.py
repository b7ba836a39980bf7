"""`dogfood consistency`, as it is typed: what it prints, and the status it ends with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.hub.location import current_actor
from tests.consistency.machines import plan
from tests.support.checkouts import PLAN, Checkout, Farm

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dogfood(
    data_directory: Path, plain_git: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command in this process; gives its exit status and what it printed."""
    del data_directory, plain_git
    monkeypatch.setenv("NO_COLOR", "")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(str(ended.code))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def shop(dogfood: Command, plain_git: Farm, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout, registered as `shop` in a local hub, with T1 done and T2 to do in its file; we are inside."""
    first = plain_git.checkout("first")
    first.commit(plan({"X-T1": "done", "X-T2": "todo"}))
    first.git("clone", "--quiet", "--bare", str(first.path), str(plain_git.root / "origin.git"))
    clone = plain_git.clone()
    assert dogfood("hub", "init", "--local")[0] == 0
    assert dogfood("hub", "register", str(clone.path), "--slug", "shop")[0] == 0
    monkeypatch.chdir(clone.path)
    return clone


def items(out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(out)["items"]
    return found


def test_check_fails_and_fix_repairs(dogfood: Command, shop: Checkout) -> None:
    status, out, _ = dogfood("consistency", "check")
    fix = "dogfood consistency fix --repo shop"
    assert (status, out.splitlines()) == (
        1,
        [
            f"shop ({shop.path}): 2 tasks",
            f"  FAIL C-20 not-in-hub  X-T1  {PLAN}:8: task 'X-T1' is not in the hub ({fix})",
            f"  FAIL C-20 not-in-hub  X-T2  {PLAN}:15: task 'X-T2' is not in the hub ({fix})",
            "1 checkout, 2 tasks: 2 FAIL",
        ],
    )
    status, out, _ = dogfood("consistency", "fix")
    assert (status, out.splitlines()[-1]) == (0, "1 checkout, 2 tasks: 2 fixed")
    status, out, _ = dogfood("consistency", "check", "--repo", "shop", "--offline")
    assert (status, out.splitlines()[-1]) == (0, "1 checkout, 2 tasks: all agree")


def test_the_hub_is_kept_the_file_updated_and_the_commit_to_be_pushed(
    dogfood: Command, shop: Checkout
) -> None:
    dogfood("consistency", "fix")
    dogfood("hub", "set", "X-T2", "done")
    status, out, _ = dogfood("consistency", "fix")
    message = "DB task 'X-T2' is ahead of file (db=done, file=todo) — skipped to prevent regression"
    assert (status, out.splitlines()) == (
        0,
        [
            f"shop ({shop.path}): 2 tasks",
            f"  WARN C-13 hub-ahead  X-T2  {PLAN}:15: {message} [hub kept; file updated, commit {shop.head[:12]}]",
            f"  1 commit to push (git -C {shop.path} push)",
            "1 checkout, 2 tasks: 1 fixed",
        ],
    )
    assert "to push" not in dogfood("consistency", "fix")[1]  # it made none


def test_commits_to_push_are_all_that_the_upstream_lacks(dogfood: Command, shop: Checkout) -> None:
    dogfood("consistency", "fix")
    shop.commit("mine\n", "MINE.md")
    dogfood("hub", "set", "X-T2", "done")
    said = json.loads(dogfood("consistency", "fix", "--format", "json")[1])
    assert [each["to_push"] for each in said["summary"]["checkouts"]] == [2]


def test_without_an_upstream_there_is_nothing_to_push_to(dogfood: Command, shop: Checkout) -> None:
    dogfood("consistency", "fix")
    shop.git("remote", "remove", "origin")
    dogfood("hub", "set", "X-T2", "done")
    status, out, _ = dogfood("consistency", "fix")
    assert (status, "file updated" in out, "to push" in out) == (0, True, False)


def test_the_log_has_what_was_written_into_files(dogfood: Command, shop: Checkout) -> None:
    planned = shop.head
    dogfood("consistency", "fix")
    dogfood("hub", "set", "X-T2", "done", "--actor", "robot-7")
    dogfood("consistency", "fix")
    lines = dogfood("consistency", "log", "--task", "X-T2")[1].splitlines()
    assert [re.sub(r"^\S+ \S+  |@\S+", "", line) for line in lines] == [
        f"shop/X-T2  todo  create by {current_actor()} {PLAN} at {planned[:12]}",
        "shop/X-T2  todo → done  api by robot-7",
        f"shop/X-T2  todo → done  written into {PLAN} on {gethostname()}, commit {shop.head[:12]}",
    ]
    assert lines == sorted(lines)
    assert len(dogfood("consistency", "log", "--repo", "shop")[1].splitlines()) == 4
    assert dogfood("consistency", "log", "--task", "X-T2", "--regressions")[1] == ""
    said = json.loads(dogfood("consistency", "log", "--format", "json")[1])
    assert (said["version"], len(said["events"])) == (1, 3)
    (written,) = said["writebacks"]
    assert datetime.fromisoformat(written.pop("at")).tzinfo is not None
    assert {
        name: written[name] for name in ("repo", "task_id", "host", "path", "from_status", "to_status")
    } == {
        "repo": "shop",
        "task_id": "X-T2",
        "host": gethostname(),
        "path": PLAN,
        "from_status": "todo",
        "to_status": "done",
    }
    assert written["commit"] == shop.head


@pytest.mark.usefixtures("shop")
def test_json_has_each_item_once_with_all_fields(dogfood: Command) -> None:
    status, out, _ = dogfood("consistency", "fix", "--format", "json")
    said = json.loads(out)
    assert (status, said["version"], list(said)) == (0, 1, ["version", "items", "summary"])
    assert list(said["items"][0]) == [
        "code",
        "name",
        "severity",
        "repo",
        "path",
        "line",
        "task_id",
        "hub_id",
        "title",
        "db_status",
        "file_status",
        "reason",
        "message",
        "hint",
        "action",
        "fixed",
        "commit",
    ]
    summary = said["summary"]
    assert (summary["fail"], summary["fixed"], summary["exit_status"]) == (0, 2, 0)
    assert summary["checkouts"][0]["git"]["fetch"]["result"] == "done"


@pytest.mark.usefixtures("shop")
def test_strict_counts_warnings_that_are_left(dogfood: Command) -> None:
    dogfood("consistency", "fix")
    dogfood("hub", "set", "X-T2", "done")
    assert dogfood("consistency", "check")[0] == 0
    assert dogfood("consistency", "check", "--strict")[0] == 1
    assert dogfood("consistency", "fix", "--no-writeback", "--strict")[0] == 1
    assert dogfood("consistency", "fix", "--strict")[0] == 0


@pytest.mark.usefixtures("shop")
def test_a_dry_run_says_what_would_be_done(dogfood: Command) -> None:
    status, out, _ = dogfood("consistency", "fix", "--dry-run", "--format", "json")
    assert status == 1
    assert [(each["action"], each["fixed"]) for each in items(out)] == [("create", False)] * 2
    assert dogfood("consistency", "fix")[1].splitlines()[-1] == "1 checkout, 2 tasks: 2 fixed"


def test_sync_pulls_then_fixes(dogfood: Command, shop: Checkout, plain_git: Farm) -> None:
    there = plain_git.clone("there")
    there.commit(plan({"X-T1": "done", "X-T2": "done"}))
    there.git("push", "--quiet")
    assert dogfood("consistency", "fix")[0] == 1
    assert dogfood("consistency", "sync", "--repo", "shop")[0] == 0
    assert shop.head == there.head


def test_sync_goes_on_where_pulling_fails(dogfood: Command, shop: Checkout) -> None:
    shop.git("remote", "remove", "origin")
    status, out, _ = dogfood("consistency", "sync")
    assert (status, out.splitlines()[0]) == (
        0,
        "WARN: pull failed (conflicts or no remote) — running fix-consistency anyway",
    )
    status, out, err = dogfood("consistency", "sync", "--format", "json")
    assert (status, items(out), err.startswith("WARN: pull failed")) == (0, [], True)


def test_reopen_resolve_and_log(dogfood: Command, shop: Checkout) -> None:
    dogfood("consistency", "fix")
    status, _, err = dogfood("consistency", "reopen", "X-T1")
    assert (status, "--reason" in err) == (2, True)
    assert dogfood("consistency", "reopen", "X-T1", "--reason", "it leaks")[0] == 0
    assert "status: todo\nreopened: 1\n" in shop.plan.read_text()
    status, _, err = dogfood("consistency", "resolve", "X-T1", "--take", "hub", "--reason", "x")
    assert (status, "is not a tie" in err) == (1, True)
    status, out, _ = dogfood("consistency", "log", "--task", "X-T1", "--regressions")
    assert (status, len(out.splitlines())) == (0, 1)
    assert "shop/X-T1  done → todo (reopened 1)  reopen by" in out
    assert out.rstrip().endswith("it leaks")
    for wrong in (["--actor-less"], ["--repo", "shopp"], ["--task", "X-T9"]):
        assert dogfood("consistency", "log", *wrong)[0] == 2
    events = json.loads(dogfood("consistency", "log", "--format", "json")[1])["events"]
    logged = sorted((each["task_id"], each["version"]) for each in events)
    assert logged == [("X-T1", 1), ("X-T1", 2), ("X-T2", 1)]


def test_without_a_repository_the_working_directory_decides(
    dogfood: Command, shop: Checkout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shop.path / "workplans")
    assert dogfood("consistency", "check")[1].startswith("shop (")
    monkeypatch.chdir(tmp_path)
    status, _, err = dogfood("consistency", "check")
    assert (status, "name a repository with --repo" in err) == (2, True)
    assert dogfood("consistency", "check", "--all")[1].startswith("shop (")


def test_of_several_checkouts_the_one_around_us_is_meant(
    dogfood: Command, shop: Checkout, plain_git: Farm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = plain_git.clone("there")
    dogfood("hub", "register", str(there.path), "--slug", "shop")
    out = dogfood("consistency", "check", "--repo", "shop", "--format", "json")[1]
    assert [each["path"] for each in json.loads(out)["summary"]["checkouts"]] == [str(shop.path)]
    monkeypatch.chdir(tmp_path)
    out = dogfood("consistency", "check", "--repo", "shop", "--format", "json")[1]
    assert len(json.loads(out)["summary"]["checkouts"]) == 2
    assert len(items(out)) == 2
    dogfood("consistency", "fix", "--repo", "shop")
    status, _, err = dogfood("consistency", "reopen", "X-T1", "--reason", "x")
    assert (status, "checked out several times" in err) == (2, True)


@pytest.mark.usefixtures("shop")
def test_a_repository_that_is_not_here_fails_only_where_it_is_named(dogfood: Command, tmp_path: Path) -> None:
    dogfood("consistency", "fix")
    (tmp_path / "more.csv").write_text("repo,task_id,status,title\nfar,F-1,todo,Far\n")
    assert dogfood("hub", "import", str(tmp_path / "more.csv"))[0] == 0
    status, out, _ = dogfood("consistency", "check", "--all", "--format", "json")
    assert (status, [(each["code"], each["severity"]) for each in items(out)]) == (0, [("C-30", "INFO")])
    status, out, _ = dogfood("consistency", "check", "--repo", "far", "--format", "json")
    assert (status, [(each["code"], each["severity"]) for each in items(out)]) == (1, [("C-30", "FAIL")])
    status, _, err = dogfood("consistency", "check", "--repo", "shopp")
    assert (status, "did you mean 'shop'?" in err) == (2, True)


def test_no_hub_is_made_by_looking(dogfood: Command, data_directory: Path, tmp_path: Path) -> None:
    for verb in ("check", "fix"):
        status, _, err = dogfood("consistency", verb, "--hub", f"sqlite:///{tmp_path}/none.sqlite")
        assert (status, "there is no hub" in err) == (2, True)
        assert dogfood("consistency", verb)[0] == 2
    assert not data_directory.exists()
    assert not (tmp_path / "none.sqlite").exists()


def test_a_hub_that_cannot_be_reached_is_status_3(dogfood: Command) -> None:
    unreachable = ("--hub", "postgresql://127.0.0.1:1/hub")
    status, out, err = dogfood("consistency", "check", *unreachable)
    assert (status, out) == (3, "")
    assert err.startswith("dogfood consistency: the hub postgresql://127.0.0.1:1/hub ")
    status, out, _ = dogfood("consistency", "fix", "--format", "json", *unreachable)
    summary = json.loads(out)["summary"]
    assert (status, summary["exit_status"], "127.0.0.1" in summary["error"]) == (3, 3, True)


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["check", "--bogus"], ["fix", "--lock-timeout", "soon"], []], ids=str
)
def test_what_is_typed_wrong_is_status_2(dogfood: Command, arguments: list[str]) -> None:
    assert dogfood("consistency", *arguments)[0] == 2


def test_help_lists_the_hub_and_nothing_of_it_is_imported(dogfood: Command) -> None:
    status, out, _ = dogfood("--help")
    assert status == 0
    assert "consistency" in out
    script = (
        "import sys; from pytest_dogfood.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if 'consistency' in name or 'sqlalchemy' in name])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("package", ["sqlalchemy", "markdown_it"])
def test_a_missing_extra_says_what_to_install(package: str, tmp_path: Path) -> None:
    script = (
        "import sys; from pytest_dogfood.cli.main import main\n"
        f"sys.modules['{package}'] = None\n"
        "sys.exit(main(['consistency', 'check']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, "pip install 'pytest-dogfood[hub]'" in done.stderr) == (2, True)


def test_an_interrupt_ends_with_130(dogfood: Command, shop: Checkout, plain_git: Farm) -> None:
    del dogfood
    shop.hook("pre-commit", "kill -INT $(cat ../pid); sleep 60")
    script = (
        "import os, sys; from pytest_dogfood.cli.main import main\n"
        "open('../pid', 'w').write(str(os.getpid()))\n"
        "main(['consistency', 'fix']); main(['hub', 'set', 'X-T2', 'done'])\n"
        "print('last:'); sys.exit(main(['consistency', 'fix', '--format', 'json']))"
    )
    before = shop.plan.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=shop.path,
        env=os.environ,
        timeout=50,
    )
    del plain_git
    assert done.returncode == 130, done.stderr
    said = json.loads(done.stdout.partition("last:\n")[2])
    assert (said["summary"]["exit_status"], said["summary"]["error"]) == (130, "interrupted")
    assert [(each["code"], each["task_id"], each["fixed"]) for each in said["items"]] == [
        ("C-13", "X-T2", False)
    ]
    assert shop.plan.read_bytes() == before
