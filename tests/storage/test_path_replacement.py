from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.storage.path_replacement import (
    CHUNK,
    FileSearch,
    PathReplacement,
    is_end_of_another,
    replace_path,
    replace_paths_in_tree,
)

OLD, NEW = Path("/run/c1-gw0"), Path("/run/c2-gw0")


@pytest.mark.parametrize(
    "after",
    [
        *(
            "",
            "/",
            "/bin",
            ":",
            " ",
            "\n",
            '"',
            "'",
            ")",
            ",",
            ";",
            "=1",
            "@main",
            "#part",
            "\\n",
            "?x",
            "$x",
        ),
        *(".", ". Then", "...", ".\n", "-", "--", "…", "“", "»", "\N{NO-BREAK SPACE}", "。", "、", "\udcff"),
    ],
)
def test_what_ends_a_path(after: str) -> None:
    assert replace_path(f"in {OLD}{after}", OLD, NEW) == f"in {NEW}{after}"


@pytest.mark.parametrize("after", ["1", "x", "01", "_", "-main", "--x", ".log", "..x", "é", "ß", "名", ".é"])
def test_what_belongs_to_a_longer_name(after: str) -> None:
    assert replace_path(f"in {OLD}{after}", OLD, NEW) == f"in {OLD}{after}"


@pytest.mark.parametrize(
    "before", ["", "-I", "file://", "sqlite:///", "--prefix=", "/usr/bin:", "n", "\n", "("]
)
def test_what_may_stand_before_a_path(before: str) -> None:
    assert not is_end_of_another(before.encode())
    assert replace_path(f"{before}{OLD}/x", OLD, NEW) == f"{before}{NEW}/x"


@pytest.mark.parametrize("before", ["/mnt", "a/b", "../..", "file://localhost", "see /é"])
def test_what_makes_it_the_end_of_another_path(before: str) -> None:
    assert is_end_of_another(before.encode())


def test_all_of_several_are_replaced_and_any_text_stays_as_it_is() -> None:
    text = f"\ud800\udc80{OLD}:{OLD}/bin:{OLD}1:\0{OLD}"
    assert replace_path(text, OLD, NEW) == f"\ud800\udc80{NEW}:{NEW}/bin:{OLD}1:\0{NEW}"
    assert replace_path("nothing", OLD, NEW) == "nothing"


def test_a_new_path_may_have_another_length() -> None:
    assert replace_path(f"{OLD}/x {OLD}", OLD, Path("/elsewhere/c3")) == "/elsewhere/c3/x /elsewhere/c3"


def test_a_path_in_a_url_or_in_json_is_replaced(tmp_path: Path) -> None:
    old, new = tmp_path / "my é" / "c1", tmp_path / "my é" / "c2"
    text = f'file://{tmp_path}/my%20%C3%A9/c1/x "{tmp_path}/my \\u00e9/c1" {old}'
    assert replace_path(text, old, new) == text.replace("/c1", "/c2")


def test_a_path_whose_slashes_are_escaped_is_replaced_in_text() -> None:
    text = f'{{"path": "\\/run\\/c1-gw0\\/bin"}} ?next=%2Frun%2Fc1-gw0%2Fbin {OLD}'
    assert replace_path(text, OLD, NEW) == text.replace("c1-gw0", "c2-gw0")


def test_the_real_path_is_replaced_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    old, new = tmp_path / "link" / "c1", tmp_path / "link" / "c2"
    text = f"{tmp_path}/real/c1/x {old}"
    assert replace_path(text, old, new) == f"{tmp_path}/real/c2/x {new}"


def test_of_two_paths_one_of_which_ends_the_other_the_longer_one_counts() -> None:
    paths = PathReplacement([(b"/tmp/c1", b"/tmp/c2"), (b"/private/tmp/c1", b"/private/tmp/c3")])
    assert paths.replaced_in(b"/private/tmp/c1 /tmp/c1") == b"/private/tmp/c3 /tmp/c2"


@pytest.mark.parametrize("shift", range(-14, 3))
def test_a_path_is_found_across_two_chunks(tmp_path: Path, shift: int) -> None:
    paths = PathReplacement([(b"/run/c1", b""), (b"/run/c1-longer", b"")])
    for name in (b"/run/c1", b"/run/c1-longer"):
        place = 2 * CHUNK + shift
        (tmp_path / "file").write_bytes(b"/run/c1".join((b"x" * 3, b"y" * (place - 10), name + b"z" * CHUNK)))
        content = (tmp_path / "file").read_bytes()
        (tmp_path / "file").write_bytes(content.replace(b"y/run/c1", b"yyyyyyyy"))
        file = os.open(tmp_path / "file", os.O_RDONLY)
        found = FileSearch(paths).occurrences(file, [(0, len(content))])
        os.close(file)
        assert found == {3: b"/run/c1", place + 7: name}


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"/a", b"/ab", b"/", b"a", b"b", b"\0"]), max_size=30), st.integers(1, 9))
def test_chunks_of_any_size_make_no_difference(pieces: list[bytes], chunk: int) -> None:
    data = b"".join(pieces)
    paths = PathReplacement([(b"/a/a", b""), (b"/a/ab/a", b""), (b"/ab", b"")])
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        search = FileSearch(paths, chunk=chunk)
        assert search.occurrences(file.fileno(), [(0, len(data))]) == paths.find(data)
        assert b"".join(map(bytes, search.chunks(file.fileno(), 0, len(data), {}))) == data
        assert search.is_text(file.fileno(), len(data)) == (b"\0" not in data)


@pytest.mark.parametrize("first, found", [(b"text", {CHUNK: rb"\/run\/c1-gw0"}), (b"\0", {})])
def test_escaped_slashes_are_not_looked_for_in_binary_files(
    tmp_path: Path, first: bytes, found: dict[int, bytes]
) -> None:
    (tmp_path / "file").write_bytes(first.ljust(CHUNK, b" ") + rb"\/run\/c1-gw0")
    with (tmp_path / "file").open("rb") as file:
        search = FileSearch(PathReplacement.between(OLD, NEW))
        assert search.occurrences(file.fileno(), [(0, CHUNK + 20)]) == found


class TestTree:
    def test_texts_and_links_are_replaced_and_binary_files_named(self, tmp_path: Path) -> None:
        old, new = b"/old/c1", b"/somewhere/else/c1"
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "text").write_bytes(old + b"/x " + old + b"0\n" + old)
        (tmp_path / "a" / "text").chmod(0o755)
        os.utime(tmp_path / "a" / "text", ns=(1, 2))
        os.link(tmp_path / "a" / "text", tmp_path / "same")
        (tmp_path / "a" / "link").symlink_to(os.fsdecode(old + b"/x"))
        (tmp_path / "a" / "other").symlink_to(os.fsdecode(old + b"0/x"))
        (tmp_path / "a" / "b" / "db").write_bytes(b"\0" + old)
        (tmp_path / "a" / "b" / "x.pyc").write_bytes(b"\0" + old)
        (tmp_path / "plain").write_bytes(b"\0")
        assert replace_paths_in_tree(tmp_path, old, new) == ("a/b/db",)
        assert (tmp_path / "same").read_bytes() == new + b"/x " + old + b"0\n" + new
        seen = (tmp_path / "a" / "text").stat()
        assert (seen.st_mode & 0o777, seen.st_mtime_ns, seen.st_nlink) == (0o755, 2, 2)
        assert str((tmp_path / "a" / "link").readlink()) == "/somewhere/else/c1/x"
        assert str((tmp_path / "a" / "other").readlink()) == "/old/c10/x"
        assert (tmp_path / "a" / "b" / "db").read_bytes() == b"\0" + old

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_text("/old")
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "directory").symlink_to(tmp_path / "outside")
        (tmp_path / "tree" / "file").symlink_to(tmp_path / "outside" / "file")
        assert replace_paths_in_tree(tmp_path / "tree", b"/old", b"/new") == ()
        assert (tmp_path / "outside" / "file").read_text() == "/old"
