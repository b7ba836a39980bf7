from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dogfood.collection.discovery import (
    files_below,
    id_of_only_journey,
    is_journey_file,
    named_on_command_line,
    settings_files_above,
    tokens_mentioned,
)
from pytest_dogfood.settings import JOURNEY_FILES


def nothing_ignored(path: Path) -> bool:
    del path
    return False


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(root: Path, *, ignored: str = "") -> list[str]:
    paths = files_below(root, JOURNEY_FILES, lambda path: path.name == ignored)
    return [path.relative_to(root).as_posix() for path in paths]


@pytest.mark.parametrize(
    "name, holds",
    [
        ("shop.journey.yaml", True),
        ("shop.journey.yml", True),
        ("shop.journey.json", True),
        ("shop.journey.sh", True),
        ("journeys.yaml", True),
        ("journeys.yml", True),
        ("journeys.json", True),
        ("shop.yaml", False),
        ("my-journeys.yaml", False),
        ("shop.journey.yaml.orig", False),
        ("shop.sh", False),
        ("dogfood.yaml", False),
    ],
)
def test_a_journey_file_is_known_by_its_name(name: str, *, holds: bool) -> None:
    assert is_journey_file(Path("x") / name, JOURNEY_FILES) is holds


@pytest.mark.parametrize(
    "name, journey",
    [
        ("shop.journey.yaml", "shop"),
        ("a.b.journey.json", "a.b"),
        ("buy things.journey.sh", "buy things"),
        ("journeys.yaml", "journeys"),
        ("other.yaml", "other"),
        (".journey.yaml", ".journey"),
    ],
)
def test_the_only_journey_of_a_file_is_named_after_it(name: str, journey: str) -> None:
    assert id_of_only_journey(Path(name), JOURNEY_FILES) == journey


def test_files_come_in_the_order_of_names_those_of_a_directory_before_what_is_below(tmp_path: Path) -> None:
    make(tmp_path, "b/x.journey.yaml", "a/y.journey.yaml", "a/b/z.journey.yaml", "z.journey.yaml", "a.txt")
    assert found(tmp_path) == ["z.journey.yaml", "a/y.journey.yaml", "a/b/z.journey.yaml", "b/x.journey.yaml"]


def test_a_link_that_leads_to_itself_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    for name in ("around", "around.journey.sh"):
        (tmp_path / name).symlink_to(name)
    assert found(tmp_path) == ["around.journey.sh"]


def test_what_pytest_would_ignore_is_ignored(tmp_path: Path) -> None:
    make(tmp_path, "gone/x.journey.yaml", "here/x.journey.yaml")
    assert found(tmp_path, ignored="gone") == ["here/x.journey.yaml"]


def test_a_file_that_is_given_is_the_answer_whatever_its_name(tmp_path: Path) -> None:
    make(tmp_path, "any.yaml")
    assert list(files_below(tmp_path / "any.yaml", JOURNEY_FILES, nothing_ignored)) == [tmp_path / "any.yaml"]


def test_a_directory_that_links_to_itself_is_entered_once(tmp_path: Path) -> None:
    make(tmp_path, "a/x.journey.yaml")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    assert found(tmp_path) == ["a/x.journey.yaml"]


def test_a_place_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert list(files_below(tmp_path / "none", JOURNEY_FILES, nothing_ignored)) == []


def test_paths_on_the_command_line_are_found_without_their_node_ids(tmp_path: Path) -> None:
    make(tmp_path, "a/x.journey.yaml")
    arguments = ["a/x.journey.yaml::buy", "a/../a", "-q", "no-such-file.yaml"]
    assert list(named_on_command_line(arguments, tmp_path)) == [tmp_path / "a/x.journey.yaml", tmp_path / "a"]


def test_settings_count_from_the_rootdir_down_and_none_from_above(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(tmp_path, "dogfood.yaml", "root/dogfood.yaml", "root/a/b/dogfood.yaml", "root/c/dogfood.yaml")
    above = settings_files_above(root / "a" / "b" / "x.journey.yaml", root, "dogfood.yaml")
    assert list(above) == [root / "dogfood.yaml", root / "a" / "b" / "dogfood.yaml"]


def test_tokens_in_quotes_are_found_in_python_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("@establishes('one', \"two\")\n# three")
    (tmp_path / "b.py").write_bytes(b"\xff 'four:linux'")
    files = [tmp_path / "a.py", tmp_path / "missing.py", tmp_path / "b.py"]
    assert tokens_mentioned(files, ["one", "two", "three", "four"]) == {"one", "two", "four"}
