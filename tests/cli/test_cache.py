"""`dogfood cache` lists the states that are restored instead of provisioned, and removes them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood
from tests.support.scenes import Inner

FILES = {
    "shop.journey.yaml": """
        capabilities:
          built:
            copyable: true
            inputs: {run: 'true'}
            provision: ['echo x >built']
        journeys:
          - {id: look, requires: [built], steps: ['true']}
        """
}


def lines(project: Inner, *arguments: str) -> list[str]:
    done = dogfood(project.path, "cache", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_states_are_listed_and_removed(inner: Make) -> None:
    project = inner(FILES)
    (nothing,) = lines(project)
    assert re.fullmatch(r"/.*/pytest-dogfood/[0-9a-f]{8}: 0 states, 0 bytes of at most 5.4 GB", nothing)
    assert project.dogfood("-v").ret == 0
    first, head, state = lines(project)
    assert first.endswith(": 1 state, 2 bytes of at most 5.4 GB")
    assert head.split() == ["USED", "SIZE", "PROVISIONED", "TOOK", "TOKENS"]
    assert re.fullmatch(r"\d+ s ago +2 bytes +20\d\d-\d\d-\d\d \d\d:\d\d +(under )?\d\.\d s +built", state)
    directory = first.partition(": ")[0]
    assert lines(project, "--clear") == [f"removed 1 state from {directory}"]
    assert [path.name for path in Path(directory).iterdir()] == ["locks"]


def test_the_settings_of_the_project_count(inner: Make) -> None:
    project = inner(FILES)
    project.write({"pytest.ini": "[pytest]\ndogfood_cache_dir = kept\ndogfood_cache_limit = 1MB\n"})
    (project.path / "deep").mkdir()
    done = dogfood(project.path / "deep", "cache")
    assert re.fullmatch(rf"{project.path}/kept/\w{{8}}: 0 states, 0 bytes of at most 1 MB\n", done.stdout)


def test_a_cache_that_others_can_write_to_is_refused(inner: Make) -> None:
    project = inner(FILES)
    project.write({"pytest.ini": "[pytest]\ndogfood_cache_dir = kept\n"})
    (project.path / "kept").mkdir()
    (project.path / "kept").chmod(0o777)
    done = dogfood(project.path, "cache", "--clear")
    assert done.returncode == 4
    assert f"dogfood cache: {project.path}/kept can be written to by others" in done.stderr


def test_settings_that_are_refused_name_no_cache(inner: Make) -> None:
    project = inner(FILES)
    project.write({"pytest.ini": "[pytest]\ndogfood_cache_limit = many\n"})
    done = dogfood(project.path, "cache")
    assert (done.returncode, done.stdout) == (4, "")
    assert "dogfood_cache_limit is a size, such as 500MB or 2GiB, not 'many'" in done.stderr
