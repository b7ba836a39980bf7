from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.agreement import Agreement, differences, digests_of, python_in_words

HERE = Agreement(
    items=("a.journey.yaml::a", "test_b.py::test_b"),
    graph="0123",
    files={"a.journey.yaml": "aaaa", "conftest.py": "bbbb"},
    python="3.12",
    platform="Linux x86_64",
    version="1.0",
    commit="3f2a9c1d00000000",
    options={"--dist": "load"},
)


def test_the_same_agreement_has_the_same_bytes_and_is_read_back() -> None:
    again = replace(HERE, files=dict(reversed(list(HERE.files.items()))))

    assert again.packed() == HERE.packed()
    assert Agreement.unpacked(HERE.packed()) == HERE
    assert differences(HERE, again, run="r") == []


@pytest.mark.parametrize("content", [b"", b"\x00", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_strange_bytes_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(HarnessError, match="cannot be read"):
        Agreement.unpacked(content)


@pytest.mark.parametrize(
    "other, words",
    [
        ({"python": "3.11"}, "Python 3.11 there, 3.12 here: use ci/NAME as the name"),
        ({"platform": "Darwin arm64"}, "the platform is Darwin arm64 there, Linux x86_64 here"),
        ({"version": "0.9"}, "pytest-dogfood 0.9 there, 1.0 here: install the same version"),
        ({"commit": ""}, "commit unknown there, 3f2a9c1d0000 here: check out the same commit"),
        ({"lease": 60.0}, "dogfood_fleet_lease 60 there, 30 here"),
        ({"options": {"--dist": "loadfile"}}, "--dist is loadfile there, load here"),
        ({"options": {}}, "--dist is not given there, load here"),
        ({"files": {**HERE.files, "a.journey.yaml": "cccc"}}, "1 file differs: a.journey.yaml"),
        ({"files": {"a.journey.yaml": "aaaa"}}, "1 file only here: conftest.py"),
        ({"files": {**HERE.files, "x/conftest.py": "dd"}}, "1 file only there: x/conftest.py"),
        ({"items": HERE.items[:1]}, "1 item only here: test_b.py::test_b"),
        ({"items": (*HERE.items, "c", "d", "e", "f", "g", "h")}, "6 items only there: c, d, e, f, g, …"),
        ({"graph": "4567"}, "what requires and establishes which token differs"),
        ({"order": "4567"}, "the items of a chain come in another order here"),
    ],
)
def test_each_difference_is_said_in_words(other: dict[str, object], words: str) -> None:
    (line,) = differences(replace(HERE, **other), HERE, run="ci")

    assert line.startswith(words)


def test_all_differences_are_said_at_once() -> None:
    there = replace(HERE, python="3.11", files={}, items=())

    assert len(differences(there, HERE, run="ci")) == 3


def test_files_count_by_their_bytes_and_with_the_conftests_above_them(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "a" / "conftest.py").write_text("x = 1\n")
    test = tmp_path / "a" / "b" / "test_c.py"
    test.write_text("def test_c(): pass\n")

    found = digests_of(tmp_path, [test, tmp_path / "gone.journey.yaml"])
    test.write_text("def test_c(): pass \n")
    changed = digests_of(tmp_path, [test])

    assert set(found) == {"a/b/test_c.py", "a/conftest.py", "conftest.py", "gone.journey.yaml"}
    assert found["a/conftest.py"] == changed["a/conftest.py"]
    assert found["a/b/test_c.py"] != changed["a/b/test_c.py"]


def test_python_is_named_by_two_numbers() -> None:
    assert python_in_words().count(".") == 1
