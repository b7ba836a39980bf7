"""The example works as a template: real make, real clones on two machines, a real hub between them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_dogfood.consistency import workplan
from pytest_dogfood.consistency.checkouts import PLACE, TEMPLATE
from tests.support.checkouts import isolated

EXAMPLE = Path(__file__).parents[2] / "examples" / "workplans"
DOGFOOD = f"{sys.executable} -m pytest_dogfood"
SLUG = "REPO=greeting"
TASK = "GREET-WP-0001-T01"
PLAN = "workplans/GREET-WP-0001-first-words.md"

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workstation:
    """A machine with one clone: its id is its own, the hub is everybody's."""

    path: Path
    environment: Mapping[str, str]

    def make(self, *words: str, at: Path | None = None) -> Done:
        return self._run("make", f"DOGFOOD={DOGFOOD}", f"PYTHON={sys.executable}", *words, at=at)

    def dogfood(self, *words: str) -> str:
        return self._asserted(self._run(sys.executable, "-m", "pytest_dogfood", *words))

    def git(self, *words: str) -> str:
        return self._asserted(self._run("git", *words))

    @property
    def plan(self) -> str:
        return (self.path / PLAN).read_text(encoding="utf-8")

    def _asserted(self, done: Done) -> str:
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self, *command: str, at: Path | None = None) -> Done:
        return subprocess.run(
            command,
            cwd=at or self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Two machines, `east` where the repository began and `west`, with clones of one bare repository."""

    east: Workstation
    west: Workstation


def workstation(root: Path, name: str, hub: Path) -> Workstation:
    inherited = isolated(root / f"home of {name}")
    environment = {
        text: value
        for text, value in inherited.items()
        if not text.startswith(("DOGFOOD_", "_DOGFOOD_", "PYTEST_", "COV_", "MAKE", "MFLAGS"))
    }
    environment |= {
        "DOGFOOD_HUB": str(hub),
        "DOGFOOD_DATA_DIR": str(root / f"data of {name}"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Workstation(path=root / name, environment=environment)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Two machines that know each other's repository; the hub has learned the tasks of the plans."""
    root = tmp_path_factory.mktemp("team")
    hub = root / "hub.sqlite"
    east, west = (workstation(root, name, hub) for name in ("east", "west"))
    shutil.copytree(EXAMPLE, east.path, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    for command in ("init --quiet", "add --all", "commit --quiet --message=template"):
        east.git(*command.split())
    east.git("clone", "--quiet", "--bare", ".", str(root / "origin.git"))
    east.git("remote", "add", "origin", f"file://{root}/origin.git")
    east.git("fetch", "--quiet", "origin")
    east.git("branch", "--quiet", "--set-upstream-to=origin/main")
    east.git("clone", "--quiet", f"file://{root}/origin.git", str(west.path))
    east.dogfood("hub", "init")
    for machine in (east, west):
        machine.dogfood("hub", "register", ".", "--slug", "greeting")
    done = east.make("fix-consistency", SLUG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert east.dogfood("hub", "tasks", "--repo", "greeting").count("GREET-WP-") >= 5
    return Team(east=east, west=west)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was seen when work went on in the east while the west slept."""

    team: Team
    before: str
    fixed: Done
    pushed: str
    stale: Done
    untouched: str
    synced: Done


@pytest.fixture(scope="module")
def story(team: Team) -> Story:
    east, west = team.east, team.west
    before = east.plan
    east.dogfood("hub", "set", TASK, "done")
    fixed = east.make("fix-consistency", SLUG)
    pushed = east.plan
    east.git("push", "--quiet")
    stale = west.make("fix-consistency", SLUG)
    untouched = west.plan
    synced = west.make("fix-consistency-remote", SLUG, at=west.path.parent / "east")
    return Story(
        team=team,
        before=before,
        fixed=fixed,
        pushed=pushed,
        stale=stale,
        untouched=untouched,
        synced=synced,
    )


def status_of(machine: Workstation) -> str:
    listed = machine.dogfood("hub", "tasks", "--repo", "greeting")
    found = re.search(rf"{TASK} +(\w+)", listed)
    assert found is not None, listed
    return found[1]


def test_what_was_done_elsewhere_is_written_into_the_plan_and_nothing_else(story: Story) -> None:
    assert story.fixed.returncode == 0
    assert "C-13" in story.fixed.stdout
    assert "is ahead of file (db=done, file=todo) — skipped to prevent regression" in story.fixed.stdout
    assert story.pushed == story.before.replace("status: todo", "status: done", 1)


def test_the_commit_is_the_one_that_the_protocol_speaks_of(story: Story) -> None:
    today = datetime.now(tz=UTC).date()
    said = story.team.east.git("log", "-1", "--format=%B").rstrip("\n")
    assert re.sub(r"\d{4}-\d\d-\d\d", str(today), said) == (
        "chore(consistency): sync task status from DB [auto]\n\n"
        f"Updated by fix-consistency on {today}:\n- {TASK}: todo → done"
    )
    assert story.team.east.git("show", "--format=", "--name-only").split() == [PLAN]


def test_a_stale_machine_is_told_to_pull_and_takes_nothing_back(story: Story) -> None:
    assert story.stale.returncode == 0
    message = "Repo 'greeting' is behind remote — pull before fixing to avoid clobbering remote progress"
    assert "C-14" in story.stale.stdout
    assert message in story.stale.stdout
    assert story.untouched == story.before
    assert status_of(story.team.west) == "done"


def test_the_remote_target_finds_the_path_and_pulls_first(story: Story) -> None:
    assert story.synced.returncode == 0, story.synced.stdout + story.synced.stderr
    assert "C-14" not in story.synced.stdout
    assert story.team.west.plan == story.pushed


def test_a_pull_that_fails_is_told_and_the_fix_runs_all_the_same(story: Story, tmp_path: Path) -> None:
    west = story.team.west
    url = west.git("remote", "get-url", "origin").strip()
    west.git("remote", "set-url", "origin", f"file://{tmp_path}/nowhere.git")
    try:
        done = west.make("fix-consistency-remote", SLUG)
    finally:
        west.git("remote", "set-url", "origin", url)
    assert done.returncode == 0
    said = "WARN: pull failed (conflicts or no remote) — running fix-consistency anyway"
    assert said in (done.stdout + done.stderr).splitlines()
    assert status_of(west) == "done"


@pytest.mark.parametrize("target", ["fix-consistency", "fix-consistency-remote"])
def test_a_repository_must_be_named(team: Team, target: str) -> None:
    assert_refused(team.east.make(target), "ERROR: REPO is required.")


@pytest.mark.parametrize("target", ["fix-consistency", "fix-consistency-remote"])
@pytest.mark.parametrize("slug", ["greetings", "it's; echo x"])
def test_an_unknown_repository_is_an_error(team: Team, target: str, slug: str) -> None:
    assert_refused(team.east.make(target, f"REPO={slug}"), f"ERROR: repo '{slug}' not found in state-hub")


def assert_refused(done: Done, said: str) -> None:
    """Look for status 1 of the recipe: make itself ends with 2 after any error."""
    assert said in done.stderr.splitlines()
    assert re.search(r"\] Error 1$", done.stderr, re.MULTILINE)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_hub_that_cannot_be_had_is_not_a_repository_that_is_unknown(team: Team, tmp_path: Path) -> None:
    elsewhere = {**team.east.environment, "DOGFOOD_HUB": str(tmp_path / "none.sqlite")}
    done = Workstation(path=team.east.path, environment=elsewhere).make("fix-consistency", SLUG)
    assert done.returncode == 2
    assert "not found in state-hub" not in done.stderr
    assert "none.sqlite" in done.stderr


def test_a_path_that_the_hub_does_not_know_yet_can_be_named(story: Story, tmp_path: Path) -> None:
    east = story.team.east
    new = tmp_path / "a third clone"
    east.git("clone", "--quiet", east.git("remote", "get-url", "origin").strip(), str(new))
    done = east.make("fix-consistency", SLUG, f"REPO_PATH={new}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"greeting  {new}" in east.dogfood("hub", "repos").splitlines()


def test_the_tests_of_the_template_pass(team: Team) -> None:
    done = team.east.make("test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_plans_are_workplans_without_anything_to_report() -> None:
    files = sorted(EXAMPLE.glob("workplans/*.md"))
    documents = [workplan.parse(path.read_bytes(), path=path.name) for path in files]
    assert [len(document.blocks) for document in documents] == [3, 2]
    assert all(document.is_workplan and not document.findings("greeting") for document in documents)


def test_the_protocol_is_the_template_filled_in() -> None:
    template = EXAMPLE / "docs" / "session-close.template.md"
    assert template.read_text(encoding="utf-8") == TEMPLATE.read_text(encoding="utf-8")
    assert (EXAMPLE / PLACE).read_text(encoding="utf-8") == TEMPLATE.read_text(encoding="utf-8").format(
        slug="greeting"
    )


@pytest.mark.parametrize(
    "words", ["git -C <path of this repository> pull --ff-only", "C-13", "C-14", "Normal where work went on"]
)
def test_the_protocol_says_what_to_do_and_what_is_normal(words: str) -> None:
    assert words in TEMPLATE.read_text(encoding="utf-8")
