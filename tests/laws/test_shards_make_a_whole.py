"""The shards of a run, each on a machine of its own, come to what one unsharded run comes to."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import pytest

from pytest_dogfood.cli.main import main
from tests.support.random_files import Project
from tests.support.random_items import further_files, varied_scene, write

GRAPHS = int(os.environ.get("DOGFOOD_TEST_GRAPHS", "4"))
SHARDS = (1, 2, 3)
AMISS = {"missing_shards", "troubles", "unaccounted", "uncollected", "ran_twice", "disputed_gates"}
"""Fields of the merged run that are empty if it adds up."""

Machine = Callable[[str], Project]


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Random:
    return Random(request.param)  # noqa: S311 - a die


@pytest.fixture
def machine(dice: Random, short_root: Path) -> Machine:
    """Return machines that have the files of one random project, and nothing else in common."""
    scene = varied_scene(dice)
    files = further_files(dice)

    def new(name: str) -> Project:
        directory = short_root / name
        directory.mkdir()
        write(files, directory)
        return Project(scene, directory)

    return new


def remember_nonsense(project: Project, dice: Random) -> None:
    """Let a machine's cache tell other durations than the cache of any other machine."""
    cache = project.directory / ".pytest_cache/v/dogfood"
    cache.mkdir(parents=True)
    durations = {journey.nodeid: dice.random() * 100 for journey in project.scene.journeys}
    (cache / "durations").write_text(json.dumps(durations))


def cases(path: Path) -> Counter[tuple[str | None, ...]]:
    """Return what JUnit says of each case, but for times and places."""
    return Counter(
        (case.get("classname"), case.get("name"), *(word for one in case for word in _said(one)))
        for case in ET.parse(path).iter("testcase")  # noqa: S314 - a run of ours has written it
    )


def _said(element: ET.Element) -> tuple[str | None, ...]:
    """Return the tag of what was said against an item, and why it was skipped. For whom something failed is chance."""
    if element.tag == "skipped":
        return element.tag, element.get("type"), element.get("message")
    return (element.tag,) if element.tag in {"failure", "error"} else ()


def closing_line(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("dogfood: ") and " = " in line)


@pytest.mark.parametrize("dice", range(GRAPHS), indirect=True, ids="graph{}".format)
def test_three_shards_and_their_merge_come_to_what_one_run_comes_to(
    dice: Random, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = machine("one")
    whole = one.run("-n0", "-pno:randomly")
    manifests: list[str] = []
    for number in SHARDS:
        project = machine(f"m{number}")
        remember_nonsense(project, dice)
        order = dice.choice(["-pno:randomly", f"--randomly-seed={dice.randrange(1000)}"])
        workers = dice.choice(["-n0", "-n0", "-n2"])
        seen = project.run(workers, "-pcacheprovider", order, f"--dogfood-shard={number}/3")
        assert project.missed(seen) == [], seen.text
        manifests.append(str(project.directory / f"dogfood-shard-{number}-of-3.json"))
    all_xml, all_json = tmp_path / "all.xml", tmp_path / "all.json"
    status = main(["merge", *manifests, "--junit", str(all_xml), "--json", str(all_json)])
    said = capsys.readouterr().out
    assert closing_line(said) == closing_line(whole.text), (said, whole.text)
    assert cases(all_xml) == cases(one.directory / "report1.xml")
    assert {
        field: found for field, found in json.loads(all_json.read_text()).items() if field in AMISS and found
    } == {}
    assert status == whole.status


def test_among_the_random_projects_are_python_tests_that_destroy_tokens() -> None:
    scenes = [varied_scene(Random(seed)) for seed in range(50)]  # noqa: S311 - a die
    assert any(one.python and one.invalidates for scene in scenes for one in scene.journeys)
