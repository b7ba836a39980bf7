"""Packs: what is in them, and that nothing of one is left on disk that was not written by us."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import socket
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.kept_runs.pack import (
    INDEX,
    VERSION,
    PackIndex,
    content_of,
    in_megabytes,
    leads_out,
    write_pack,
)
from pytest_dogfood.kept_runs.pack_reader import unpack
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun, RunRecord
from pytest_dogfood.storage.run_directory import UNMASKED, Unmasked, write_unmasked

HOME = "/run/df-7/abcdef"


def run_in(directory: Path) -> RecordedRun:
    """Make a run in which `use` has failed and `other` has passed, kept elsewhere than it was made."""
    for name in ("c0-main/deep", "use-w0-main", "c1-main", "out", "records", "tokens", "secrets"):
        (directory / name).mkdir(parents=True)
    for name in (
        "run.json",
        "records/activities",
        "c0-main/deep/file",
        "c1-main/other",
        "tokens/x",
        "secrets/x",
    ):
        (directory / name).write_text(name)
    kept = {"use": "c0-main", "other": "c1-main"}
    results = {
        JourneyId(name): JourneyResult(
            id=JourneyId(name),
            outcome=Outcome.FAILED if name == "use" else Outcome.PASSED,
            kept=f"{HOME}/{state}",
        )
        for name, state in kept.items()
    }
    use = Activity(
        id="use",
        kind=Kind.JOURNEY,
        lane="main",
        started=1.0,
        seconds=1.0,
        outcome=Outcome.FAILED,
        place="c0-main",
        workdir=f"{HOME}/use-w0-main",
    )
    return RecordedRun(
        directory=directory,
        run=RunRecord(id="abcdef", project="p", root="/p", started=0.0),
        graph=None,
        activities=(use,),
        results=results,
    )


@pytest.fixture
def run(tmp_path: Path) -> RecordedRun:
    return run_in(tmp_path / "kept")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "here"
    path.mkdir()
    return path


def packed(run: RecordedRun, target: Path, *, everything: bool = False, leave_out: bool = False) -> PackIndex:
    return write_pack(content_of(run, everything=everything), target, leave_out=leave_out)


def names_in(pack: Path) -> list[str]:
    with tarfile.open(pack) as tar:
        return [one for one in tar.getnames() if one != INDEX]


def test_a_pack_holds_the_record_and_what_has_failed_and_never_a_secret_or_a_token(
    run: RecordedRun, tmp_path: Path
) -> None:
    packed(run, tmp_path / "a.tar.gz")
    failed = [
        "c0-main",
        "c0-main/deep",
        "c0-main/deep/file",
        "out",
        "records",
        "records/activities",
        "run.json",
    ]
    assert names_in(tmp_path / "a.tar.gz") == [*failed, "use-w0-main"]
    packed(run, tmp_path / "b.tar.gz", everything=True)
    assert names_in(tmp_path / "b.tar.gz") == sorted([*failed, "c1-main", "c1-main/other", "use-w0-main"])


def test_the_same_run_gives_the_same_bytes_without_owners(run: RecordedRun, tmp_path: Path) -> None:
    packed(run, tmp_path / "a.tar.gz")
    packed(run, tmp_path / "b.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert {(one.uid, one.gid, one.uname, one.gname) for one in tar} == {(0, 0, "", "")}


def test_what_is_unpacked_is_what_was_packed_but_for_rights_of_others(
    run: RecordedRun, tmp_path: Path, here: Path
) -> None:
    state = run.directory / "c0-main"
    odd = state / os.fsdecode(b"\xff \n'")
    odd.write_bytes(b"\0\xff")
    odd.chmod(0o4777)
    os.utime(odd, (1.5, 2.25))
    (state / "again").hardlink_to(odd)
    (state / ("long" * 50)).mkdir()
    (state / ("long" * 50) / ("name" * 50)).touch()
    (state / "relative").symlink_to("deep/../deep/file")
    (state / "absolute").symlink_to(f"{HOME}/c0-main/deep/file")
    (state / "dangling").symlink_to("nothing")
    packed(run, tmp_path / "a.tar.gz")
    index = unpack(tmp_path / "a.tar.gz", here)
    assert (index.run, index.root, index.directory) == ("abcdef", "/p", HOME)
    there = here / "c0-main"
    assert sorted(path.name for path in there.iterdir()) == sorted(path.name for path in state.iterdir())
    found = there / odd.name
    assert (found.read_bytes(), found.stat().st_mode & 0o7777, found.stat().st_mtime) == (
        b"\0\xff",
        0o755,
        2.25,
    )
    assert (there / "again").samefile(found)
    assert (there / "relative").read_text() == "c0-main/deep/file"
    assert (there / "absolute").readlink() == there / "deep" / "file"
    assert (there / "dangling").readlink() == Path("nothing")
    assert not (here / INDEX).exists()


def test_what_another_machine_cannot_have_is_left_out_with_its_reason(
    run: RecordedRun, tmp_path: Path
) -> None:
    state = run.directory / "c0-main"
    os.mkfifo(state / "pipe")
    (state / "outside").symlink_to("/usr/bin/env")
    (state / "by-way-of").symlink_to("outside")
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(state / "socket"))
        index = packed(run, tmp_path / "a.tar.gz")
    leads = "it is a link that leads out of the run, to"
    assert index.left_out == {
        "c0-main/by-way-of": f"{leads} outside",
        "c0-main/outside": f"{leads} /usr/bin/env",
        "c0-main/pipe": "it is a FIFO",
        "c0-main/socket": "it is a socket",
    }
    assert set(index.left_out).isdisjoint(names_in(tmp_path / "a.tar.gz"))


def test_files_that_may_hold_a_secret_are_refused_by_name_unless_they_are_left_out(
    run: RecordedRun, tmp_path: Path
) -> None:
    deep = Unmasked("c0-main/d***p", "its name contains a secret value")
    write_unmasked(run.directory, {"c0-main/deep": deep, "c1-main/other": deep})
    assert content_of(run, everything=False).refused == {"c0-main/deep": deep}
    index = packed(run, tmp_path / "a.tar.gz", leave_out=True)
    assert index.left_out == {"c0-main/d***p": "its name contains a secret value"}
    assert [one for one in names_in(tmp_path / "a.tar.gz") if one.startswith("c0")] == ["c0-main"]
    assert UNMASKED not in names_in(tmp_path / "a.tar.gz")


def test_what_cannot_be_written_leaves_the_old_pack_and_nothing_beside_it(
    run: RecordedRun, tmp_path: Path
) -> None:
    target = tmp_path / "a.tar.gz"
    target.write_text("old")
    content = content_of(run, everything=False)
    (run.directory / "c0-main" / "deep" / "file").unlink()
    with pytest.raises(HarnessError, match=r"cannot write .*a\.tar\.gz: No such file"):
        write_pack(content, target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("a.")] == ["a.tar.gz"]


@pytest.mark.parametrize(
    "target, out",
    [
        ("b", False),
        ("./b/./c", False),
        ("..", False),
        ("../..", True),
        ("x/../../..", True),
        ("/etc/passwd", True),
        (HOME, False),
        (f"{HOME}/c0/b", False),
        (f"{HOME}s/b", True),
        (f"{HOME}/../x", True),
        ("up/../..", True),
        ("down/../x", False),
        ("away/x", True),
        ("loop", True),
    ],
)
def test_a_link_leads_out_also_by_way_of_others(target: str, out: bool) -> None:  # noqa: FBT001
    others = {"c0/up": "..", "c0/down": "d/e", "c0/away": "/usr", "c0/loop": "loop"}
    assert leads_out("c0/a", {**others, "c0/a": target}, HOME) is out


def test_sizes_are_shown_as_people_write_them() -> None:
    assert [in_megabytes(one) for one in (7, 34_000, 500_000_000, 1_250_000_000)] == [
        "7 bytes",
        "34 KB",
        "500 MB",
        "1.2 GB",
    ]


def member(name: str, kind: bytes = tarfile.REGTYPE, **facts: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def made(
    path: Path,
    *members: tarfile.TarInfo,
    index: Mapping[str, Any] | None = None,
    first: tarfile.TarInfo | None = None,
    change: Callable[[bytes], bytes] = bytes,
) -> Path:
    """Write a pack by hand; files are zeros, or `#` as many as they say."""
    facts = {
        "run": "abcdef",
        "project": "p",
        "root": "/p",
        "directory": HOME,
        "members": len(members),
        "version": 1,
    }
    content = msgspec.json.encode({**facts, **(index or {})})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        head = first or member(INDEX)
        head.size = len(content)
        tar.addfile(head, io.BytesIO(content))
        for one in members:
            tar.addfile(one, io.BytesIO(b"#" * one.size))
    path.write_bytes(gzip.compress(change(buffer.getvalue())))
    return path


STATE = member("c0-main", tarfile.DIRTYPE)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    return member(name, kind, linkname=target)


HOSTILE = {
    "absolute": ([member("/etc/passwd")], "an absolute path, /etc/passwd"),
    "up": ([STATE, member("c0-main/../../x")], "leaves its directory, c0-main/../../x"),
    "up-at-once": ([member("../x")], "leaves its directory, ../x"),
    "dot": ([STATE, member("c0-main/./x")], "an unusual path, c0-main/./x"),
    "link-out": ([STATE, link("c0-main/a", "../../x")], "a link that leads out of it, c0-main/a to ../../x"),
    "link-to-root": ([STATE, link("c0-main/a", "/etc")], "a link that leads out of it, c0-main/a to /etc"),
    "links-out-together": (
        [
            STATE,
            member("c0-main/d", tarfile.DIRTYPE),
            link("c0-main/d/a", ".."),
            link("c0-main/b", "d/a/../.."),
        ],
        "a link that leads out of it, c0-main/b to d/a/../..",
    ),
    "link-and-file-by-it": (
        [STATE, link("c0-main/a", "."), member("c0-main/a/x", size=3)],
        "in no directory of it, c0-main/a/x",
    ),
    "link-and-file-in-its-place": ([link("a", "b"), member("a", size=3)], "two members of one path, a"),
    "twice": ([member("a"), member("a")], "two members of one path, a"),
    "file-below-file": ([member("a"), member("a/b")], "in no directory of it, a/b"),
    "file-below-nothing": ([member("a/b")], "in no directory of it, a/b"),
    "hard-link-out": (
        [link("a", "/etc/passwd", tarfile.LNKTYPE)],
        "a hard link to what is no file before it, a",
    ),
    "hard-link-to-link": (
        [link("b", "c"), link("a", "b", tarfile.LNKTYPE)],
        "a hard link to what is no file before it, a",
    ),
    "device": ([member("a", tarfile.CHRTYPE, devmajor=1, devminor=3)], "no file, directory or link, a"),
    "block-device": ([member("a", tarfile.BLKTYPE)], "no file, directory or link, a"),
    "fifo": ([member("a", tarfile.FIFOTYPE)], "no file, directory or link, a"),
    "secrets": ([member("secrets", tarfile.DIRTYPE)], "a member that no pack has, secrets"),
    "project": ([member("project", size=3)], "a member that no pack has, project"),
    "shell-files": ([member("enter", tarfile.DIRTYPE)], "a member that no pack has, enter"),
    "control-characters": ([member("\x1b[2J/../x")], r"leaves its directory, \x1b[2J/../x"),
    "no-time": ([member("a", mtime=1e300)], "impossible values, a"),
    "too-much": ([member("a", size=60_000), member("b", size=60_000)], "holds more than 100 KB"),
    "too-many": ([member(f"a{number}") for number in range(51)], "holds more than 100 KB"),
}


@pytest.mark.parametrize("members, said", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pack_is_refused(
    members: list[tarfile.TarInfo], said: str, tmp_path: Path, here: Path
) -> None:
    pack = made(tmp_path / "p.tar.gz", *members)
    with pytest.raises(HarnessError) as raised:
        unpack(pack, here, limit=100_000)
    assert said in str(raised.value)
    assert str(raised.value).endswith("; nothing of it was unpacked")
    assert sorted(tmp_path.iterdir()) == sorted([here, pack])


@pytest.mark.parametrize(
    "index, said",
    [
        ({"version": 2}, "was written by a newer version of pytest-dogfood, in format 2: update here"),
        ({"version": 0}, "has an index that is not valid"),
        ({"version": "1"}, "has an index that is not valid"),
        ({"members": 2}, "is damaged: it has 1 of 2 members"),
        ({"directory": "relative"}, "has an index that is not valid"),
        ({"directory": "/a/../b"}, "has an index that is not valid"),
        ({"run": 7}, "has an index that is not valid"),
    ],
)
def test_an_index_that_is_not_ours_is_refused(
    index: Mapping[str, Any], said: str, tmp_path: Path, here: Path
) -> None:
    with pytest.raises(HarnessError, match=said):
        unpack(made(tmp_path / "p.tar.gz", STATE, index=index), here)


def claims_a_gigabyte(tar: bytes) -> bytes:
    """Let the second header say that a long name of a gigabyte follows."""
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=2**30)
    return tar[:1024] + info.tobuf(tarfile.GNU_FORMAT) + tar[1024:]


def is_sparse(tar: bytes) -> bytes:
    pax = {"GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,0"}
    info = member("a")
    info.pax_headers = pax
    return tar[:1024] + info.tobuf(tarfile.PAX_FORMAT) + bytes(10240)


@pytest.mark.parametrize(
    "change, said",
    [
        (claims_a_gigabyte, "has headers that are longer than any name"),
        (is_sparse, "no file, directory or link, a"),
        (lambda tar: tar[:-512] + b"more".ljust(512, b"!"), "is damaged: something else comes after"),
        (lambda tar: tar + bytes(200_000), "is damaged: something else comes after"),
        (lambda tar: tar[:1536], "is damaged: it has 1 of 2 members"),
        (lambda tar: tar[:1024] + b"\xff" * 512 + tar[1536:], "is damaged: something else comes after"),
        (lambda _: b"", "is not a pack"),
        (lambda _: b"some text", "is not a pack"),
        (lambda tar: tar[1024:], "is not a pack"),
    ],
    ids=["long-name", "sparse", "behind", "long-end", "cut", "garbage", "empty", "text", "no-index"],
)
def test_bytes_that_no_pack_has_are_refused(
    change: Callable[[bytes], bytes], said: str, tmp_path: Path, here: Path
) -> None:
    pack = made(tmp_path / "p.tar.gz", STATE, member("c0-main/file"), change=change)
    with pytest.raises(HarnessError, match=said):
        unpack(pack, here)
    assert sorted(tmp_path.iterdir()) == sorted([here, pack])


def test_an_index_that_is_a_link_is_refused(tmp_path: Path, here: Path) -> None:
    pack = made(tmp_path / "p.tar.gz", first=link(INDEX, "/etc/passwd"))
    with pytest.raises(HarnessError, match="is not a pack"):
        unpack(pack, here)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"PK\3\4 and so on", "is a ZIP archive, as CI systems make of artefacts: unzip it"),
        (b"\x1f\x8b and so on", "is damaged"),
        (b"", "is not a pack, as dogfood pack writes it"),
    ],
)
def test_what_is_no_pack_is_refused(content: bytes, said: str, tmp_path: Path, here: Path) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(HarnessError, match=said):
        unpack(tmp_path / "p", here)


def test_a_pack_that_is_cut_anywhere_or_has_a_changed_byte_is_refused(
    run: RecordedRun, tmp_path: Path
) -> None:
    packed(run, tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(10, len(whole), 7)]
    for number, content in enumerate(damaged):
        (tmp_path / "cut").write_bytes(content)
        here = tmp_path / f"here{number}"
        here.mkdir()
        try:
            unpack(tmp_path / "cut", here)
        except HarnessError:
            pass
        else:  # some bits of a compressed file change nothing
            assert gzip.decompress(content) == gzip.decompress(whole)
        shutil.rmtree(here)


def test_changed_headers_lead_to_a_refusal_or_to_what_stays_in_its_directory(
    run: RecordedRun, tmp_path: Path
) -> None:
    (run.directory / "c0-main" / "link").symlink_to("deep/file")
    (run.directory / "c0-main" / "hard").hardlink_to(run.directory / "c0-main" / "deep" / "file")
    packed(run, tmp_path / "p")
    whole = gzip.decompress((tmp_path / "p").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        headers = [at for one in tar for at in (one.offset, one.offset_data - tarfile.BLOCKSIZE)]
    random, here = Random(1), tmp_path / "here"  # noqa: S311 - the same each time
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            start = random.choice(headers)
            # Names, sizes, kinds and targets of links; a header with a wrong sum would be no header.
            at = start + random.choice(
                [0, 1, 2, 8, 100, 124, 134, 135, 136, 156, 156, 157, 158, 345, 512, 520]
            )
            changed[at] = random.choice(b"/.0123456789SKLxg\0\x80\xff")
            header = changed[start : start + 512]
            header[148:156] = b" " * 8
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(header)
        (tmp_path / "p").write_bytes(gzip.compress(changed, 1))
        here.mkdir()
        with suppress(HarnessError):
            unpack(tmp_path / "p", here)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "kept", "p"]
        links = [path for path in here.rglob("*") if path.is_symlink()]
        assert all(path.resolve().is_relative_to(here) for path in links)
        shutil.rmtree(here)


def test_the_reference_has_every_field_of_the_index_and_its_version() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "record.md").read_text(encoding="utf-8")
    section = page.partition("\n## A pack\n")[2]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(
        PackIndex.__struct_fields__
    )
    assert f"writes version {VERSION} of a pack" in section
