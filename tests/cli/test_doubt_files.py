"""What `dogfood doubt` leaves alone: the user's reports, caches, logs and kept runs; and options of other plugins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.doubted_shops import CLEAN, SHOP, Doubted
from tests.support.run_results import inherited

TEST = """
    import random
    from pathlib import Path

    import pytest

    @pytest.mark.requires("logged-in")
    @pytest.mark.flaky(reruns=2)
    def test_look(dogfood_state, tmp_path, request):
        number = random.random()
        with (request.config.rootpath.parent / "numbers").open("a") as file:
            file.write(f"{tmp_path}\\n")
        assert (dogfood_state / "cart").exists()
    """


OTHER = """
    capabilities:
      ready: {probe: 'test -e "$DOGFOOD_STATE/ready"'}
    journeys:
      - {id: one, establishes: [ready], steps: [{run: 'touch "$DOGFOOD_STATE/ready"'}]}
      - {id: two, requires: [ready], steps: ['true']}
    """


@pytest.fixture
def project(tmp_path: Path, short_root: Path) -> Doubted:
    (tmp_path / "project").mkdir()
    return Doubted(tmp_path / "project", short_root)


def content(directory: Path) -> Mapping[str, bytes]:
    """Return the files below a directory but for compiled code, by relative path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


WRITING = "--junitxml=mine/junit.xml --log-file=mine/log --cov=. --cov-report=xml:mine/coverage.xml"
WRITING += " --dogfood-report=mine/report.md --dogfood-keep --dogfood-record=mine/recorded"
CHOOSING = "--cache-clear --lf --nf --sw -x --randomly-seed=5 --reruns=2 --timeout=300 --color=no"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_files_of_the_users_own_runs_stay_as_they_are(project: Doubted, tmp_path: Path, workers: str) -> None:
    project.write({"shop.journey.yaml": CLEAN, "test_look.py": TEST.replace('"cart"', '"session"')})
    (project.path / "mine").mkdir()
    for name in ("junit.xml", "log", "coverage.xml", "report.md"):
        (project.path / "mine" / name).write_text("mine", encoding="utf-8")
    ini = "log_file = mine/log\nlog_file_level = DEBUG\nreruns = 1\ntimeout = 300\n"
    project.write({"pytest.ini": project.ini + ini + f"addopts = {WRITING} {CHOOSING}\n"})
    (project.path / ".pytest_cache" / "v" / "cache").mkdir(parents=True)
    (project.path / ".pytest_cache" / "v" / "cache" / "lastfailed").write_text("{}", encoding="utf-8")
    (project.path / ".coverage").write_text("mine", encoding="utf-8")
    before = content(project.path)
    status, out, err = project.doubt("-n", workers, TMPDIR=str(tmp_path))
    assert status == 0, out + err
    record = ".pytest_cache/d/dogfood-doubt.json"
    after = content(project.path)
    assert {name for name in after if before.get(name) != after[name]} == {record}
    assert before.keys() <= after.keys()
    assert not any(path.name.startswith("pytest-of-") for path in tmp_path.iterdir())
    left = [path.name for path in project.states.iterdir() if path.is_dir()]
    assert [name for name in left if not name.startswith("machine-")] == []


def test_a_cache_that_it_makes_is_ignored_by_git_and_stands_where_the_project_says(project: Doubted) -> None:
    project.write({"shop.journey.yaml": CLEAN, "pytest.ini": project.ini + "cache_dir = a/cache\n"})
    assert project.doubt()[0] == 0
    assert {*content(project.path)} == {
        "a/cache/.gitignore",
        "a/cache/d/dogfood-doubt.json",
        "pytest.ini",
        "shop.journey.yaml",
    }
    assert project.lines("a/cache/.gitignore")[-1] == "*"


def test_a_record_outlives_a_project_that_clears_its_cache(project: Doubted) -> None:
    project.write({"shop.journey.yaml": SHOP, "pytest.ini": project.ini + "addopts = --cache-clear\n"})
    project.doubt("--budget", "0")
    status, out, err = project.doubt()
    assert status == 1, out + err
    (chain,) = project.record.chains.values()
    project.write({"other.journey.yaml": OTHER, "pytest.ini": project.ini + "addopts = --cache-clear\n"})
    assert f"not repeated: {len(chain.done)} experiments of the record" in project.doubt()[1]


def test_a_failed_test_is_not_run_again_whatever_asks_for_it(project: Doubted) -> None:
    ini = "addopts = --reruns=2 --randomly-seed=7\nreruns = 2\n"
    project.write({"shop.journey.yaml": SHOP.partition("      - id: pay")[0], "test_look.py": TEST})
    project.write({"pytest.ini": project.ini + ini})
    status, out, err = project.doubt()
    assert status == 1, out + err
    assert "test_look.py::test_look needs what fill leaves" in out
    assert "1 finding, 0 unclear, 0 not tested" in out


@pytest.mark.parametrize(
    "options", ["-p no:rerunfailures -p no:randomly -p no:pytest_cov", "-p no:cacheprovider"]
)
def test_plugins_that_a_project_does_without_are_not_missed(project: Doubted, options: str) -> None:
    project.write({"shop.journey.yaml": CLEAN, "pytest.ini": project.ini + f"addopts = {options}\n"})
    status, out, err = project.doubt("--", "--color=no")
    assert status == 0, out + err


ACTED = """
    capabilities:
      in: {probe: 'test -e "$DOGFOOD_STATE/in"'}
    journeys:
      - {id: log-in, establishes: [in], steps: [{intent: 'touch "$DOGFOOD_STATE/in"'}]}
      - {id: look, requires: [in], steps: ['true']}
      - {id: buy, requires: [in], steps: ['true']}
    """
ACTOR = """
    import json, pathlib, sys

    for line in sys.stdin:
        pathlib.Path("asked").touch()
        asked = json.loads(line)
        print(json.dumps({"done": True} if asked["observations"] else {"command": asked["step"]["intent"]}), flush=True)
    """


def test_an_actor_is_never_asked_and_its_recordings_are_replayed(project: Doubted) -> None:
    project.write({"acted.journey.yaml": ACTED, "actor.py": ACTOR, "other.journey.yaml": OTHER})
    actor = f"dogfood_actor = {sys.executable} actor.py\naddopts = --dogfood-record=other\n"
    project.write({"pytest.ini": project.ini + actor})
    status, out, err = project.doubt("--junit", "doubt.xml")
    assert status == 0, out + err
    assert (
        "not tested: the chain of log-in: log-in needs an actor, which may do something else in each run: "
        in out
    )
    assert "5 journeys, 2 tokens: 0 findings, 0 unclear, 3 not tested" in out
    assert 'name="chain log-in"><skipped' in (project.path / "doubt.xml").read_text(encoding="utf-8")
    assert not any((project.path / name).exists() for name in ("asked", "other"))

    project.write({"pytest.ini": project.ini + actor.partition("addopts")[0]})
    project.pytest("--dogfood-record=recorded")
    (project.path / "asked").unlink()
    status, out, err = project.doubt("--", "--dogfood-replay", "recorded")
    assert status == 0, out + err
    assert "5 journeys, 2 tokens: 0 findings, 0 unclear, 0 not tested" in out
    assert not (project.path / "asked").exists()


@pytest.mark.parametrize("words", [("check",), ("enter", "pay", "--", "true")])
def test_commands_that_only_look_write_over_nothing_either(project: Doubted, words: Sequence[str]) -> None:
    options = "--junitxml=junit.xml --log-file=log --cov=. --cov-report=xml --cache-clear --randomly-seed=5"
    project.write({"shop.journey.yaml": CLEAN, "junit.xml": "mine", "log": "mine", ".coverage": "mine"})
    project.write({"pytest.ini": project.ini + f"addopts = {options}\n"})
    (project.path / ".pytest_cache" / "v").mkdir(parents=True)
    (project.path / ".pytest_cache" / "v" / "mine").write_text("{}", encoding="utf-8")
    before = content(project.path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", *words], cwd=project.path, env=inherited(), check=False
    )
    assert (done.returncode, content(project.path)) == (0, before)
