"""The story from end to end, in the words in which it is told, with everything as it is typed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from pytest_dogfood.cli.main import main
from tests.consistency.machines import plan
from tests.support.checkouts import Checkout, Farm

LOGIN, MAIL = "workplans/LOGIN-WP-0001.md", "workplans/MAIL-WP-0002.md"
TASKS = {"LOGIN-T1": "todo", "LOGIN-T2": "in_progress", "MAIL-T1": "todo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine with a clone, as seen by who sits in front of it."""

    clone: Checkout
    capsys: pytest.CaptureFixture[str]

    def dogfood(self, typed: str) -> list[str]:
        """Type a command that ends well; gives the lines it prints."""
        with pytest.MonkeyPatch.context() as here:
            here.setenv("DOGFOOD_DATA_DIR", str(self.clone.path.with_suffix(".data")))
            here.setenv("NO_COLOR", "1")
            here.chdir(self.clone.path)
            assert main(typed.split()) == 0
        return self.capsys.readouterr().out.splitlines()

    def fix(self) -> list[str]:
        """Run fix; gives what it says between the heading and the closing line."""
        return [line.strip() for line in self.dogfood("consistency fix --repo shop")[1:-1]]

    def tasks(self) -> list[dict[str, str]]:
        """Return what the hub has."""
        found: list[dict[str, str]] = json.loads("\n".join(self.dogfood("hub tasks --format json")))["tasks"]
        return found

    def files(self) -> dict[str, str]:
        return {name: (self.clone.path / name).read_text() for name in (LOGIN, MAIL)}

    def commits_since(self, commit: str) -> list[tuple[str, list[str]]]:
        """Return message and files of each commit, the oldest first."""
        ids = self.clone.out("rev-list", "--reverse", f"{commit}..").split()
        return [
            (
                self.clone.git("cat-file", "commit", each).decode().partition("\n\n")[2],
                self.clone.out("show", "--format=", "--name-only", each).splitlines(),
            )
            for each in ids
        ]


@pytest.fixture
def machines(
    plain_git: Farm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Machine, Machine]:
    """A workstation and a remote machine, with clones of one repository and one hub, all of them up to date."""
    monkeypatch.setenv("DOGFOOD_HUB", f"sqlite:///{plain_git.root}/hub.sqlite")
    first = plain_git.checkout("first")
    first.commit(plan({"LOGIN-T1": "todo", "LOGIN-T2": "in_progress"}), LOGIN)
    first.commit(plan({"MAIL-T1": "todo"}), MAIL)
    first.git("clone", "--quiet", "--bare", str(first.path), str(plain_git.root / "origin.git"))
    workstation, remote = (
        Machine(clone=plain_git.clone(name), capsys=capsys) for name in ("workstation", "remote")
    )
    workstation.dogfood("hub init")
    for machine in (workstation, remote):
        machine.dogfood("hub register . --slug shop")
        machine.dogfood("consistency fix --repo shop")
    return workstation, remote


BEHIND = "Repo 'shop' is behind remote — pull before fixing to avoid clobbering remote progress"
KEPT = "DB task '{}' is ahead of file (db=done, file={}) — skipped to prevent regression"
MESSAGE = """\
chore(consistency): sync task status from DB [auto]

Updated by fix-consistency on {today}:
"""


def test_a_stale_workstation_takes_nothing_back_and_catches_up(machines: tuple[Machine, Machine]) -> None:
    workstation, remote = machines
    as_planned = workstation.files()

    # A remote machine finishes three tasks.
    remote.clone.commit("def login(): ...\n", "src/shop.py")
    remote.clone.git("push", "--quiet")
    for task in TASKS:
        remote.dogfood(f"hub set {task} done")

    # A stale workstation runs fix:
    behind, *kept = workstation.fix()
    assert BEHIND in behind
    assert all(KEPT.format(name, was) in line for line, (name, was) in zip(kept, TASKS.items(), strict=True))

    # nothing goes back.
    assert [task["status"] for task in workstation.tasks()] == ["done", "done", "done"]
    assert workstation.files() == as_planned

    # It pulls,
    workstation.clone.git("pull", "--quiet", "--ff-only")
    pulled = workstation.clone.head

    # runs fix again:
    *updated, to_push = workstation.fix()
    assert ["[hub kept; file updated, commit " in line for line in updated] == [True, True, True]
    assert to_push.startswith("2 commits to push")

    # files agree,
    assert workstation.files() == {
        name: text.replace(": todo", ": done").replace(": in_progress", ": done")
        for name, text in as_planned.items()
    }
    assert workstation.dogfood("consistency check --repo shop")[-1] == "1 checkout, 3 tasks: all agree"

    # one commit per file with the exact message.
    message = MESSAGE.format(today=datetime.now(UTC).date().isoformat())
    assert workstation.commits_since(pulled) == [
        (f"{message}- LOGIN-T1: todo → done\n- LOGIN-T2: in_progress → done\n", [LOGIN]),
        (f"{message}- MAIL-T1: todo → done\n", [MAIL]),
    ]
