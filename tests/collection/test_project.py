from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_dogfood.collection.project import Project
from pytest_dogfood.fileformat.parser import MAX_BYTES
from pytest_dogfood.settings import JOURNEY_FILES

PRODUCER = "establishes: [ready]\nsteps: [{run: 'true'}]\n"
USER = "requires: [ready]\nsteps: [{run: 'true'}]\n"


def written(root: Path, **files: str) -> Project:
    """Write files, `__` standing for a slash, and give the project of them."""
    for name, text in files.items():
        place, _, last = name.rpartition("__")
        directory = root / place.replace("__", "/")
        directory.mkdir(parents=True, exist_ok=True)
        suffix = ".yaml" if last == "dogfood" else ".journey.yaml"
        (directory / f"{last}{suffix}").write_text(text)
    return Project(root, JOURNEY_FILES, (root,), lambda path: path.name == "ignored")


def read(project: Project, path: Path) -> None:
    project.read_below([path])


def test_a_file_is_read_once(tmp_path: Path) -> None:
    project = written(tmp_path, a=PRODUCER)
    path = tmp_path / "a.journey.yaml"
    first = project.read(path)
    path.unlink()
    assert project.read(path) is first


def test_only_what_is_asked_for_is_read_while_nothing_is_missing(tmp_path: Path) -> None:
    project = written(tmp_path, a=PRODUCER, b=USER)
    read(project, tmp_path / "a.journey.yaml")
    assert list(project.graph().journeys) == ["a"]


def test_the_rest_is_read_where_a_token_is_missing(tmp_path: Path) -> None:
    project = written(tmp_path, far__away__a=PRODUCER, b=USER)
    read(project, tmp_path / "b.journey.yaml")
    assert list(project.graph().journeys) == ["b", "a"]
    assert project.diagnose(project.graph()) == ()


def test_what_pytest_ignores_establishes_nothing(tmp_path: Path) -> None:
    project = written(tmp_path, ignored__a=PRODUCER, b=USER)
    read(project, tmp_path / "b.journey.yaml")
    (found,) = project.diagnose(project.graph())
    assert (str(found.location), found.code) == ("b.journey.yaml:1:12", "unknown-token")


def test_journeys_come_in_the_order_of_paths_whatever_was_read_first(tmp_path: Path) -> None:
    project = written(tmp_path, b=USER, a=PRODUCER, c__d=USER)
    for name in ("c/d", "b", "a"):
        read(project, tmp_path / f"{name}.journey.yaml")
    assert [journey.path for journey in project.journeys] == [
        "a.journey.yaml",
        "b.journey.yaml",
        "c/d.journey.yaml",
    ]


def test_settings_above_a_file_count_the_nearest_most(tmp_path: Path) -> None:
    project = written(
        tmp_path,
        dogfood="defaults: {timeout: 7, env: {A: outer, B: outer}}",
        near__dogfood="defaults: {env: {A: inner}}",
        near__a=PRODUCER,
    )
    (journey,) = project.read(tmp_path / "near" / "a.journey.yaml").journeys
    step = journey.steps[0]
    assert {**journey.env, **step.env} == {"A": "inner", "B": "outer"}


def test_a_definition_in_settings_above_makes_a_token_known(tmp_path: Path) -> None:
    project = written(tmp_path, dogfood="capabilities: {ready: {provision: [{run: 'true'}]}}", b=USER)
    read(project, tmp_path)
    assert project.diagnose(project.graph()) == ()
    assert [one.token for one in project.capabilities] == ["ready"]


def test_the_whole_project_includes_settings_without_journeys(tmp_path: Path) -> None:
    project = written(tmp_path, lone__dogfood="capabilities: {ready: {provision: [{run: 'true'}]}}")
    project.read_whole()
    assert [one.token for one in project.capabilities] == ["ready"]


def test_an_id_that_stands_in_two_files_is_found_at_the_second(tmp_path: Path) -> None:
    project = written(tmp_path, x__a=PRODUCER, y__a=PRODUCER)
    read(project, tmp_path)
    (found,) = project.diagnose(project.graph())
    assert (found.location.path, found.code) == ("y/a.journey.yaml", "duplicate-id")


def test_a_broken_file_hides_what_would_only_follow_from_it(tmp_path: Path) -> None:
    project = written(
        tmp_path, a="establishes: [ready]\nsteps: 7\n", b="requires: [moon]\nsteps: [{run: 'true'}]\n"
    )
    read(project, tmp_path)
    assert {found.location.path for found in project.diagnose(project.graph())} == {"a.journey.yaml"}


def test_a_token_that_a_python_file_speaks_of_may_be_defined_without_provider(tmp_path: Path) -> None:
    files = {"dogfood": "capabilities: {ready: {description: from a test}}", "b": USER}
    project = written(tmp_path, **files)
    read(project, tmp_path)
    assert [one.code for one in project.diagnose(project.graph())] == ["empty-capability"]
    (tmp_path / "test_a.py").write_text('@establishes("ready")')
    project = written(tmp_path, **files)
    read(project, tmp_path)
    assert project.diagnose(project.graph()) == ()


def test_one_graph_is_examined_once(tmp_path: Path) -> None:
    project = written(tmp_path, dogfood="capabilities: {ready: {description: from a test}}", b=USER)
    read(project, tmp_path)
    (before,) = project.diagnose(project.graph())
    (tmp_path / "test_a.py").write_text('@establishes("ready")')
    (after,) = project.diagnose(project.graph())
    assert after is before


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    project = written(tmp_path)
    (tmp_path / "a.journey.yaml").symlink_to(tmp_path / "nowhere")
    (found,) = project.read(tmp_path / "a.journey.yaml").diagnostics
    assert str(found).startswith("a.journey.yaml: cannot be read: No such file or directory [unreadable]")


def test_a_file_that_is_far_too_large_is_not_even_opened(tmp_path: Path) -> None:
    project = written(tmp_path)
    with (tmp_path / "a.journey.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (found,) = project.read(tmp_path / "a.journey.yaml").diagnostics
    assert (found.code, found.hint) == ("too-large", "split it into several journey files")


@pytest.fixture
def gc_switch() -> Iterator[None]:
    """Leave the garbage collector as it was found."""
    was_on = gc.isenabled()
    yield
    (gc.enable if was_on else gc.disable)()


@pytest.mark.usefixtures("gc_switch")
@pytest.mark.parametrize("switch", [gc.enable, gc.disable])
def test_the_garbage_collector_is_left_as_it_was(switch: Callable[[], None], tmp_path: Path) -> None:
    switch()
    expected = gc.isenabled()
    read(written(tmp_path, a=PRODUCER), tmp_path)
    assert gc.isenabled() is expected


@pytest.mark.usefixtures("gc_switch")
def test_what_was_read_counts_as_old_without_a_look_at_it(tmp_path: Path) -> None:
    gc.enable()
    project = written(tmp_path, a=PRODUCER)
    read(project, tmp_path)
    (journey,) = project.journeys
    assert any(one is journey for one in gc.get_objects(generation=2))
