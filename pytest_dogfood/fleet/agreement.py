"""What all machines of a run must agree on, and in which words they differ if they do not."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError, counted

MOST_NAMED = 5
"""Files and items that are named where two machines differ."""

SHOWN = 12
"""Hexadecimal digits of a digest or commit: enough to tell two of them apart."""


class Agreement(Struct, frozen=True, kw_only=True):
    """The selection and all that decides what it does; neither weights nor durations nor the order of plain tests.

    `files` maps the paths of the files that define items, and of conftest files, to digests. `python` has a version of
    two numbers: a run on several versions would test each item on one of them only. `options` are those that change
    outcomes, as they were given. `journeys` has the ids of the items that are of the graph, `gates` those of gates, and
    `order` is a digest of the order of the items of each chain. `lease` is in seconds.
    """

    items: tuple[str, ...]
    graph: str
    journeys: Mapping[str, str] = {}
    gates: tuple[str, ...] = ()
    order: str = ""
    files: Mapping[str, str] = {}
    python: str = ""
    platform: str = ""
    version: str = ""
    commit: str = ""
    options: Mapping[str, str] = {}
    lease: float = 30.0

    def packed(self) -> bytes:
        """Return it as bytes, the same on every machine that agrees."""
        return zlib.compress(msgspec.json.encode(msgspec.to_builtins(self, order="sorted")))

    @classmethod
    def unpacked(cls, content: bytes) -> Agreement:
        """Read what `packed` has returned; raises HarnessError for anything else."""
        try:
            return msgspec.json.decode(zlib.decompress(content), type=cls)
        except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise HarnessError(f"what the machines of this run agreed on cannot be read: {error}") from error


def differences(there: Agreement, here: Agreement, *, run: str) -> list[str]:
    """Return in words what differs between two machines of a run; empty if they agree."""
    found: list[str] = []
    for what, other, own, cure in (
        ("pytest-dogfood", there.version, here.version, "install the same version on all machines"),
        ("Python", there.python, here.python, f"use {run}/NAME as the name, another one for each version"),
        (
            "the platform is",
            there.platform,
            here.platform,
            f"use {run}/NAME as the name, one for each platform",
        ),
        ("commit", there.commit[:SHOWN], here.commit[:SHOWN], "check out the same commit on all machines"),
        ("dogfood_fleet_lease", f"{there.lease:g}", f"{here.lease:g}", "set the same on all machines"),
    ):
        if other != own:
            found.append(f"{what} {other or 'unknown'} there, {own or 'unknown'} here: {cure}")
    for option in sorted(there.options.keys() | here.options.keys()):
        other, own = there.options.get(option, ""), here.options.get(option, "")
        if other != own:
            found.append(f"{option} is {other or 'not given'} there, {own or 'not given'} here")
    changed = [
        name
        for name in sorted(there.files.keys() & here.files.keys())
        if there.files[name] != here.files[name]
    ]
    found += _named("file", "differs", changed)
    found += _named("file", "only there", sorted(there.files.keys() - here.files.keys()))
    found += _named("file", "only here", sorted(here.files.keys() - there.files.keys()))
    other_items, own_items = set(there.items), set(here.items)
    found += _named("item", "only there", sorted(other_items - own_items))
    found += _named("item", "only here", sorted(own_items - other_items))
    if not found and there.graph != here.graph:
        found.append("what requires and establishes which token differs, though the files are the same")
    if not found and there.order != here.order:
        found.append(
            "the items of a chain come in another order here; does a plugin shuffle them? give all machines the same "
            "seed, such as --randomly-seed=1, or leave the plugin out: -p no:randomly"
        )
    return found


def _named(what: str, how: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    how = "differ" if how == "differs" and len(names) > 1 else how
    rest = ", …" if len(names) > MOST_NAMED else ""
    return [f"{counted(len(names), what)} {how}: {', '.join(names[:MOST_NAMED])}{rest}"]


def digests_of(rootdir: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return digests of the bytes of files, and of the conftest files above them, by their paths below `rootdir`.

    A file that cannot be read counts as empty: whoever collects it reports that.
    """
    found: dict[str, str] = {}
    for path in _with_conftests(rootdir, paths):
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        name = path.relative_to(rootdir) if path.is_relative_to(rootdir) else path
        found[name.as_posix()] = hashlib.sha256(content).hexdigest()[:SHOWN]
    return found


def _with_conftests(rootdir: Path, paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in sorted(set(paths)):
        yield path
        for folder in path.parents:
            if folder in seen:
                break
            seen.add(folder)
            if (conftest := folder / "conftest.py").is_file():
                yield conftest
            if folder == rootdir:
                break


def python_in_words() -> str:
    """Return the version of this Python as two numbers, such as `3.12`, and its name if it is not CPython."""
    name = "" if sys.implementation.name == "cpython" else f"{sys.implementation.name} "
    return f"{name}{sys.version_info.major}.{sys.version_info.minor}"
