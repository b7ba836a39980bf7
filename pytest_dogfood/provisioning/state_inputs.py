"""Reads what the files of a state are made from: the part of its key that the journey files do not say."""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.expectations import Stream, TooLarge
from pytest_dogfood.execution.runner import StepsResult, failure_reason, run_steps
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.journey import Capability, Token
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.scheduling.recipe import NotCacheableError, Recipe

FORMAT = 1
"""The format of the cache: a change makes all that was stored before unknown."""

_NEVER_MEANT = frozenset({".git", "__pycache__", ".pytest_cache"})
"""Directories that `**` leaves out: what is in them changes with each run."""

_SYSTEM = Path("/etc/os-release")


def facts_of(
    recipe: Recipe, presence: Presence, state: ChainState, shape: Sequence[str]
) -> dict[str, object]:
    """Return all that decides how a state turns out, apart from definitions, as values that JSON has.

    The machine-wide tokens that it needs are present. `shape` is the form of the path of the state. Values are digests:
    some may be secret. Raises NotCacheableError.
    """
    root = presence.workspace.rootdir
    shells = {step.shell for step in recipe.steps() if isinstance(step.run, str)}
    return {
        "format": [FORMAT, version("pytest-dogfood"), *shape],
        "machine": [os.fsencode(root).hex(), os.getuid(), sys.platform, platform.machine(), _system()],
        "shells": sorted(" ".join(shell_argv("", shell)) for shell in shells),
        "scripts": {path: _file(root / path) for path in recipe.scripts},
        "values": {token: _values(presence, token, state) for token in recipe.shared},
        "inputs": {
            capability.token: _inputs(capability, presence, root) for capability in recipe.capabilities
        },
    }


def _system() -> str:
    try:
        return _digest(_SYSTEM.read_bytes())
    except OSError:
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _values(presence: Presence, token: Token, state: ChainState) -> str:
    values = presence.values_of(token, state)
    if any(str(presence.workspace.run.path) in value for value in values.values()):
        raise NotCacheableError(f"a value of {token!r} is a path of this run")
    pairs = (f"{name}={value}\0" for name, value in sorted(values.items()))
    return _digest("".join(pairs).encode("utf-8", "surrogatepass"))


def _inputs(capability: Capability, presence: Presence, root: Path) -> dict[str, object]:
    if capability.inputs is None:
        raise NotCacheableError(f"{capability.token!r} has no `inputs:`")
    directory = (root / capability.inputs.location.path).parent
    files: dict[str, object] = {}
    for pattern in capability.inputs.files:
        # Not every name is UTF-8.
        found = {os.fsencode(name).hex(): _file(directory / name) for name in matching(directory, pattern)}
        if not found:
            raise NotCacheableError(f"{pattern!r} under `inputs:` of {capability.token!r} matches no file")
        files |= found
    named = {name: os.environb.get(os.fsencode(name)) for name in capability.inputs.env}
    return {
        "files": files,
        "env": {name: None if value is None else _digest(value) for name, value in named.items()},
        "run": _output(capability, presence, directory),
    }


def matching(directory: Path, pattern: str) -> tuple[str, ...]:
    """Return the files below a directory that a pattern matches, as paths below it; raises NotCacheableError.

    `*`, `?` and `[...]` stand for characters of a name, `**` for any number of directories. Where a directory matches,
    all files below it do.
    """
    try:
        return tuple(dict.fromkeys(_matching(os.fspath(directory), "", PurePosixPath(pattern).parts)))
    except OSError as error:
        raise NotCacheableError(f"cannot list {error.filename}: {error.strerror}") from error


def _matching(root: str, folder: str, parts: Sequence[str]) -> Iterator[str]:
    first, rest = parts[0], parts[1:]
    if first == "**" and rest:
        yield from _matching(root, folder, rest)
    with os.scandir(os.path.join(root, folder)) as listed:  # noqa: PTH118 - a Path for each file takes longer
        entries = sorted(listed, key=lambda one: one.name)
    for entry in entries:
        name = f"{folder}/{entry.name}" if folder else entry.name
        if first == "**":
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _NEVER_MEANT:
                    yield from _matching(root, name, parts)
            elif not rest:
                yield name
        elif fnmatchcase(entry.name, first):
            if entry.is_dir():
                yield from _matching(root, name, rest or ("**",))
            elif not rest:
                yield name


def _file(path: Path) -> list[object]:
    """Return what counts of a file: its mode, where it leads if it is a link, and a digest of its content."""
    try:
        seen = path.lstat()
        leads_to = os.fsencode(path.readlink()).hex() if stat.S_ISLNK(seen.st_mode) else ""
        if leads_to:
            if path.is_dir() or not path.exists():
                return [leads_to]
            seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            raise NotCacheableError(f"{path} under `inputs:` is no file")
        with path.open("rb") as file:
            return [leads_to, stat.S_IMODE(seen.st_mode), hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError as error:
        raise NotCacheableError(f"cannot read {path}: {error.strerror}") from error


def _output(capability: Capability, presence: Presence, directory: Path) -> list[str]:
    """Return digests of what the command of the inputs writes; an empty list if there is none."""
    step, workspace = capability.inputs.run if capability.inputs else None, presence.workspace
    if step is None:
        return []
    environment = workspace.environment(workdir=directory, state=workspace.run.shared, directory=directory)
    runner = workspace.runner(directory, environment, workspace.attempt_at(f"inputs-{capability.token}"))
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    what = f"`run` under `inputs:` of {capability.token!r}"
    try:
        with workspace.interruption.operation(f"inputs of {capability.token}"):
            done = run_steps([step], runner, done=StepsResult())
        seen = done.results[0].seen
        if done.failure is not None or seen is None:
            raise NotCacheableError(f"{what} failed: {failure_reason(done, runner)}")
        return [_digest(seen.text(stream).encode("utf-8", "surrogatepass")) for stream in streams]
    except (HarnessError, TooLarge) as error:
        raise NotCacheableError(f"{what} failed: {error}") from error
