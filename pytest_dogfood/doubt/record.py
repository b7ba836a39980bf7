"""What was tried before, so that an examination can be continued: the experiments of each chain, and what was seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct, field

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.doubt.experiments.values import Experiment, Observation
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Script
from pytest_dogfood.storage.files import write_whole

VERSION = 1


class Done(Struct, frozen=True):
    """An experiment, and what was seen of it."""

    experiment: Experiment
    seen: Observation


class ChainRecord(Struct, kw_only=True):
    """The experiments of a chain, in their order. `digest` is that of the texts they rest on.

    `is_complete` means that nothing was left to try. `suspects` are the experiments in which something failed that is
    not settled, and `earlier` those of the record before this one: they come first.
    """

    digest: str
    done: list[Done] = field(default_factory=list)
    is_complete: bool = False
    suspects: list[Experiment] = field(default_factory=list)
    earlier: list[Experiment] = field(default_factory=list)


class DoubtRecord(Struct, kw_only=True):
    """The record of a project, as it is kept between two commands."""

    version: int = VERSION
    chains: dict[ChainId, ChainRecord] = field(default_factory=dict)


def read_record(path: Path) -> tuple[DoubtRecord, str]:
    """Return a record, and a warning if there is one that cannot be used; an empty one if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return DoubtRecord(), ""
    except OSError as error:
        return DoubtRecord(), f"{path} cannot be read, so everything begins anew: {error.strerror}"
    try:
        found = msgspec.json.decode(content, type=DoubtRecord)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return DoubtRecord(), f"{path} is no whole record, so everything begins anew"
    if found.version != VERSION:
        return DoubtRecord(), f"{path} is of another version ({found.version}), so everything begins anew"
    return found, ""


def write_record(path: Path, record: DoubtRecord) -> None:
    """Write a record whole or not at all; raises HarnessError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(record) + b"\n")
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror}") from error


def digest_of_chain(
    graph: CapabilityGraph, chain: ChainId, rootdir: Path, *, more: Iterable[str] = ()
) -> str:
    """Return twelve hexadecimal digits that change with what the files say about a chain.

    Those are its journeys, the definitions of their tokens, its scripts and modules of tests, and what is `more`.
    """
    journeys = [one for one in graph.journeys.values() if graph.chains[one.id] == chain]
    tokens = dict.fromkeys(
        token for one in journeys for token in (*graph.needed_by(one), *one.establishes, *one.invalidates)
    )
    definitions = [graph.capability(token) for token in tokens]
    hashed = hashlib.sha256(msgspec.json.encode([*more]))
    for journey in journeys:
        hashed.update(msgspec.json.encode(_without_places(msgspec.to_builtins(journey))))
    for definition in definitions:
        hashed.update(msgspec.json.encode(_without_places(msgspec.to_builtins(definition))))
    paths = {one.path for one in journeys if one.python} | {
        step.run.path for one in journeys for step in one.steps if isinstance(step.run, Script)
    }
    paths |= {
        str(conftest.relative_to(rootdir))
        for path in paths
        for parent in (rootdir / path).parents
        if parent.is_relative_to(rootdir) and (conftest := parent / "conftest.py").is_file()
    }
    for path in sorted(paths):
        try:
            hashed.update((rootdir / path).read_bytes())
        except OSError:
            hashed.update(b"?")
    return hashed.hexdigest()[:12]


def _without_places(value: object) -> object:
    """Return a value without the places in files, which change when lines move."""
    if isinstance(value, dict):
        if value.keys() >= {"path", "line", "column"}:
            return None
        return {key: _without_places(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_places(one) for one in value]
    return value
