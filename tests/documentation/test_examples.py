"""The examples are complete projects: they run from the root, each alone, whole or in part, and leave nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_dogfood.storage.retention import RECORDED
from pytest_dogfood.storage.run_directory import RECORDS, RESULTS, RUN
from tests.support.run_results import leaving_out

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = ("actor", "git-release", "library", "mixed", "packaging", "scripts", "web-service")
TWICE = [(name, name) for name in NAMES]
CLOSING = {
    "actor": "4 journeys = 4 passed; 1 token: 1 probed",
    "git-release": "6 journeys = 6 passed; 3 tokens: 3 probed",
    "library": "21 journeys = 21 passed; 5 tokens: 5 probed",
    "mixed": "3 journeys and 3 tests = 6 passed; 4 tokens: 3 probed, 1 unverified (no probe)",
    "packaging": "5 journeys = 5 passed; 3 tokens: 3 probed",
    "scripts": "4 journeys = 4 passed; 2 tokens: 2 probed",
    "web-service": "6 journeys = 6 passed; 1 token: 1 probed",
}
DEPENDENTS = {
    "actor": ("undo-a-slip", ("keep-a-diary",)),
    "git-release": ("run-built-local-tag", ("start-repository", "build-local-tag")),
    "library": ("borrow and cleo", ("open-the-library", "log-in[cleo]")),
    "mixed": ("place-an-order", ("open-the-shop", "fixture price_list")),
    "packaging": ("greet-somebody", ("its provision steps", "build-wheel", "install-wheel")),
    "scripts": ("hand-it-out", ("write-it-down", "bake-longer")),
    "web-service": ("refuse-an-empty-note", ("starting its service",)),
}


def run(directory: Path, states: Path, *arguments: str) -> str:
    """Run pytest as a user would, without what this run itself has put into the environment."""
    inherited = ("GIT_", "PYTEST_", "DOGFOOD_", "_DOGFOOD_", "COV_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(inherited)}
    environment |= {
        "PYTHONDONTWRITEBYTECODE": "1",
        "LIBRARY_PACE": "0",
    }  # what takes time there needs none here
    options = (*leaving_out(arguments, "cacheprovider"), "-o", f"dogfood_state_root={states}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--dogfood", *options, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_nothing_is_left(states: Path) -> None:
    """Look for states on disk, and for processes that were told of one.

    Locks and the machine's records may stay, what an actor did, and the record of the run.
    """
    directories = [
        path for path in states.iterdir() if path.is_dir() and not path.name.startswith("machine-")
    ]
    left = {entry.name for directory in directories for entry in directory.iterdir()}
    assert left - {"kept", "project", "trajectories", RECORDED, RECORDS, RESULTS, RUN} == set()
    needle = f"DOGFOOD_STATE={states}".encode()
    assert [
        path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if needle in content(path)
    ] == []


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile, or is not ours
        return b""


@pytest.fixture
def copied(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An example on its own, far from the other files of this repository."""
    return Path(shutil.copytree(EXAMPLES / request.param, tmp_path / request.param))


def test_all_examples_run_together_from_the_root(short_root: Path) -> None:
    output = run(ROOT, short_root, "-n", "2", "examples")
    assert (
        "dogfood: 49 journeys and 3 tests = 52 passed; 19 tokens: 18 probed, 1 unverified (no probe)"
        in output
    )
    assert "54 passed" in output
    assert output.count("provisioned notes-served once by starting its service") == 1
    assert output.count("provisioned environment-made once by its provision steps") == 1
    assert_nothing_is_left(short_root)


@pytest.mark.parametrize("copied,name", TWICE, indirect=["copied"])
def test_each_example_is_a_project_of_its_own(copied: Path, name: str, short_root: Path) -> None:
    assert f"dogfood: {CLOSING[name]}" in run(copied, short_root, "-n", "0")
    assert_nothing_is_left(short_root)


@pytest.mark.parametrize("copied,name", TWICE, indirect=["copied"])
def test_a_dependent_alone_passes_once_what_it_requires_is_provisioned(
    copied: Path, name: str, short_root: Path
) -> None:
    dependent, providers = DEPENDENTS[name]
    output = run(copied, short_root, "-n", "0", "-k", dependent)
    assert all(f"{provider}, " in output for provider in providers)
    assert "unaccounted" not in output
    assert_nothing_is_left(short_root)


@pytest.mark.parametrize("name", NAMES)
def test_no_example_is_forgotten_and_each_says_what_it_is(name: str) -> None:
    others = ["workplans"]  # has no journeys; tests/consistency looks after it
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == [*NAMES, *others]
    assert "pytest --dogfood" in (EXAMPLES / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("copied", ["library"], indirect=True)
def test_the_library_fans_out_in_copies_only_because_its_tokens_are_copyable(
    copied: Path, short_root: Path
) -> None:
    assert "copied: 20 states, 20 files, " in run(copied, short_root, "-n", "2", "-v")
    definitions = copied / "dogfood.yaml"
    text = definitions.read_text(encoding="utf-8")
    definitions.write_text(text.replace("copyable: true", "copyable: false"), encoding="utf-8")
    output = run(copied, short_root, "-n", "2", "-v")
    assert f"dogfood: {CLOSING['library']}" in output
    assert "copied: " not in output
    assert_nothing_is_left(short_root)


def test_the_actor_s_own_example_runs_its_process_on_two_workers_and_its_recording_without_one(
    tmp_path: Path, short_root: Path
) -> None:
    project = Path(shutil.copytree(EXAMPLES / "actor", tmp_path / "actor"))
    recorded = run(project, short_root, "-n", "2", "--dogfood-record", "recorded")
    assert "; actor: python3 actor.py\n" in recorded
    assert f"dogfood: {CLOSING['actor']}" in recorded
    assert len((EXAMPLES / "actor" / "actor.py").read_text(encoding="utf-8").splitlines()) <= 40
    (project / "actor.py").write_text("raise AssertionError('nobody asks')", encoding="utf-8")
    (project / "conftest.py").unlink()
    replayed = run(project, short_root, "-n", "2", "--dogfood-replay", "recorded")
    assert f"dogfood: {CLOSING['actor']}" in replayed
