"""Secrets do not survive in any form in which programs write them."""

from __future__ import annotations

import base64
import json
import re
import shlex
import stat
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.execution.masking import SecretKeeper

if TYPE_CHECKING:
    from pathlib import Path

VALUE = 'it\'s a "s3cret"/päss+word\\'


def test_a_value_is_replaced_wherever_it_occurs() -> None:
    assert SecretKeeper(["hunter2"]).mask("a hunter2 b hunter2") == "a *** b ***"


def test_no_secrets_change_nothing_and_are_false() -> None:
    assert not SecretKeeper()
    assert SecretKeeper().mask("text") == "text"


def test_what_is_learnt_is_masked_from_then_on() -> None:
    keeper = SecretKeeper(["alpha"])
    assert keeper.mask("alpha omega") == "*** omega"
    keeper.learn(["omega"])
    assert keeper.mask("alpha omega") == "*** ***"


def test_a_value_of_two_characters_is_not_masked() -> None:
    assert SecretKeeper(["ab", ""]).mask("ab") == "ab"


def test_the_longest_value_wins() -> None:
    assert SecretKeeper(["pass", "password"]).mask("password pass") == "*** ***"


def test_values_that_overlap_in_the_text_leave_no_rest() -> None:
    assert SecretKeeper(["abcdef", "defghi"]).mask("-abcdefghi-") == "-***-"


def test_a_value_that_overlaps_with_itself_leaves_no_rest() -> None:
    assert SecretKeeper(["aaa"]).mask("aaaaa") == "***"


def test_repr_shows_no_value() -> None:
    assert "hunter2" not in repr(SecretKeeper(["hunter2"]))


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        shlex.quote(VALUE)[1:-1],
        VALUE.replace("'", "'\\''"),
        quote(VALUE),
        quote(VALUE, safe=""),
        re.sub("%..", lambda escape: escape[0].lower(), quote(VALUE, safe="")),
        quote_plus(VALUE),
        base64.b64encode(VALUE.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("="),
    ],
)
def test_the_forms_in_which_programs_write_a_value_are_masked(written: str) -> None:
    masked = SecretKeeper([VALUE]).mask(f"<{written}>")
    assert "s3cret" not in masked
    assert "***" in masked


def test_what_the_shell_traces_is_masked(tmp_path: Path) -> None:
    script = f"set -x; : {shlex.quote(VALUE)}"
    shown = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True).stderr
    masked = SecretKeeper([VALUE]).mask_bytes(shown)
    assert b"***" in masked
    assert b"s3cret" not in masked


@pytest.mark.parametrize("user", ["u", "us", "use", "user"])
def test_a_value_inside_a_longer_base64_text_is_masked(user: str) -> None:
    encoded = base64.b64encode(f"{user}:correct-horse-battery@host".encode()).decode()
    masked = SecretKeeper(["correct-horse-battery"]).mask(encoded)
    rest = max(masked.split("***"), key=len)
    assert "***" in masked
    assert len(rest) < 12


def test_each_long_line_of_a_value_is_masked_whatever_its_indentation() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkq\n-----END KEY-----\n"
    masked = SecretKeeper([key]).mask("  MIIEvQIBADANBg\n  kq\n")
    assert masked == "  ***\n  kq\n"


def test_a_newline_at_the_end_of_a_value_hides_nothing() -> None:
    assert SecretKeeper(["s3cret\n"]).mask("is s3cret!") == "is ***!"


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert SecretKeeper(["s3cret"]).mask_bytes(b"\xff\0s3cret\xfe") == b"\xff\0***\xfe"


def test_a_value_that_is_no_utf_8_is_masked_in_bytes() -> None:
    value = b"s3cr\xe9t".decode("utf-8", errors="surrogateescape")
    assert SecretKeeper([value]).mask_bytes(b"a s3cr\xe9t b") == b"a *** b"


@given(
    st.lists(st.text("ab", min_size=3, max_size=6), max_size=3),
    st.text("abc", max_size=60),
)
def test_nothing_that_was_masked_can_be_found_again(values: list[str], text: str) -> None:
    masked = SecretKeeper(values).mask(text)
    assert not [value for value in values if value in masked]


@given(st.integers(min_value=0, max_value=40))
def test_a_value_across_the_boundary_of_two_chunks_is_masked(
    tmp_path_factory: pytest.TempPathFactory, before: int
) -> None:
    path = tmp_path_factory.mktemp("mask") / "log"
    data = b"." * (256 * 1024 - before) + b"hunter2-overlap-more" + b"." * 100
    path.write_bytes(data)
    secrets = SecretKeeper(["hunter2-overlap", "overlap-more"])
    secrets.mask_file(path)
    assert path.read_bytes() == secrets.mask_bytes(data)
    assert b"hunter" not in path.read_bytes()


def test_a_masked_file_is_like_masked_bytes_however_dense_the_values_are(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = b"aaabaaaabbaab" * 60_000
    path.write_bytes(data)
    secrets = SecretKeeper(["aaaa", "bba", "abaaa"])
    secrets.mask_file(path)
    assert path.read_bytes() == secrets.mask_bytes(data)


def test_a_masked_file_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("hunter2")
    path.chmod(0o644)
    SecretKeeper(["hunter2"]).mask_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_a_file_without_secrets_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("nothing here")
    before = path.stat()
    SecretKeeper(["hunter2"]).mask_file(path)
    assert path.stat().st_ino == before.st_ino
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


def test_masking_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
        file.seek(100 * 1024 * 1024)
        file.write(b"hunter2")
    script = (
        "import resource, sys; from pathlib import Path; from pytest_dogfood.execution.masking import SecretKeeper\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "SecretKeeper(['hunter2']).mask_file(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=True).stdout
    assert int(grown) < 50 * 1024
    with path.open("rb") as file:
        file.seek(100 * 1024 * 1024)
        assert file.read(5) == b"***\0\0"


@pytest.mark.parametrize("limit", range(1, 40))
def test_the_ending_of_a_file_is_masked_without_leaving_part_of_a_value_at_the_cut(
    tmp_path: Path, limit: int
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before hunter2secret between hunter2secret after")
    whole = b"before *** between *** after"
    ending = SecretKeeper(["hunter2secret"]).read_masked_end(path, limit)
    assert whole.endswith(ending)
    assert len(ending) <= limit


def test_the_ending_of_a_file_without_secrets_is_the_ending_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"0123456789")
    assert [SecretKeeper([]).read_masked_end(path, limit) for limit in (3, 10, 99)] == [
        b"789",
        b"0123456789",
        b"0123456789",
    ]
