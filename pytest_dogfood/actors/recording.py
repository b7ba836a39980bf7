"""Keeps the commands that an actor gave, so that a run can be repeated without it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import Journey, JourneyId
from pytest_dogfood.storage.files import private_directory, read_as, write_for_others

VERSION = 1
"""Version of a recording. 1: the first."""

_HOW = "with an actor and --dogfood-record"

AGAIN = f"record it anew, {_HOW}"
"""What to do about a recording that cannot be replayed."""

_SHORTEST = 4
"""Characters of a value that is worth a place holder; shorter ones occur by chance."""

_BEFORE_PATH = r"(?<![\w.-])"
_BEFORE_WORD = r"(?<![\w/.-])"
_PLACE_HOLDER = r"\{\{(=*)(\w+)\}\}"


class RecordedStep(Struct, frozen=True, kw_only=True):
    """The commands given for one step; `intent` is there for people."""

    step: int
    commands: tuple[str, ...]
    intent: str = ""


class Recording(Struct, frozen=True, kw_only=True):
    """What an actor did in a journey. `masked` tells that a secret was cut out: such commands cannot be run."""

    journey: JourneyId
    digest: str
    steps: tuple[RecordedStep, ...] = ()
    masked: bool = False
    version: int = VERSION

    def commands(self, step: int) -> tuple[str, ...] | None:
        """Return what was done for a step, None if the journey had failed before it came to that."""
        return next((one.commands for one in self.steps if one.step == step), None)


def digest_of(journey: Journey) -> str:
    """Return twelve hexadecimal digits for what a journey says of what is to be done, wherever it stands."""
    steps = [
        {name: part for name, part in msgspec.to_builtins(step).items() if name != "location"}
        for step in journey.steps
    ]
    said = {
        "id": journey.id,
        "feature": journey.feature,
        "rationale": journey.rationale,
        "modality": journey.modality,
        "requires": sorted(journey.requires),
        "establishes": sorted(journey.establishes),
        "env": dict(journey.env),
        "timeout": journey.timeout,
        "workdir": journey.workdir,
        "seed_files": dict(journey.seed_files),
        "matrix": dict(journey.matrix),
        "steps": steps,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:12]


def recording_name(journey: JourneyId) -> str:
    """Name a journey's file; what a file's name should not hold is replaced, and a digest keeps it apart."""
    plain = re.sub(r"[^a-z0-9_.-]", "_", journey)[:80]
    apart = "" if plain == journey else f"-{hashlib.sha256(journey.encode()).hexdigest()[:8]}"
    return f"{plain}{apart}.json"


def with_placeholders(command: str, variables: Mapping[str, str]) -> str:
    """Put `{{NAME}}` for what is different in every run: directories, ports, and other values of variables.

    What looks like a place holder in the command itself gets an equals sign: `{{=NAME}}`.
    """
    names: dict[str, str] = {}
    for name, value in sorted(variables.items(), key=lambda one: (-len(one[1]), one[0])):
        if len(value) >= _SHORTEST:
            names.setdefault(value, name)
    values = (
        rf"{_BEFORE_PATH if value.startswith('/') else _BEFORE_WORD}{re.escape(value)}(?![\w-])"
        for value in names
    )

    def replaced(found: re.Match[str]) -> str:
        name = names.get(found[0])
        return f"{{{{={found[0][2:]}" if name is None else f"{{{{{name}}}}}"

    return re.sub("|".join((_PLACE_HOLDER, *values)), replaced, command)


def filled_in(command: str, variables: Mapping[str, str]) -> str:
    def replaced(found: re.Match[str]) -> str:
        literal, name = found.groups()
        return f"{{{{{literal[1:]}{name}}}}}" if literal else variables.get(name, found[0])

    return re.sub(_PLACE_HOLDER, replaced, command)


class Recordings:
    """A directory with one file per journey."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, journey: Journey) -> Recording:
        """Return what was recorded of a journey.

        Raises HarnessError if there is nothing, or nothing that still fits.
        """
        path = self._directory / recording_name(journey.id)
        recording = read_as(path, Recording)
        if recording is None:
            raise HarnessError(
                f"{journey.location}: {journey.id!r} was not recorded: there is no {path}; record it, {_HOW}"
            )
        if recording.version > VERSION:
            raise HarnessError(f"{path} was written by a newer version of pytest-dogfood: update here")
        if recording.digest != digest_of(journey):
            raise HarnessError(
                f"{journey.location}: {journey.id!r} has drifted: it says something else than when {path} "
                f"was recorded, and is not replayed; {AGAIN}"
            )
        if recording.masked:
            raise HarnessError(
                f"{journey.location}: {path} cannot be replayed: the actor wrote a secret into a command, which was "
                f"masked; let it use a variable, and {AGAIN}"
            )
        return recording

    def write(self, recording: Recording, *, claims: Path) -> None:
        """Keep a recording, unless another process of the same run has kept one of this journey before."""
        name = recording_name(recording.journey)
        if _claimed(private_directory(claims) / name):
            content = msgspec.json.format(msgspec.json.encode(recording), indent=2) + b"\n"
            write_for_others(self._directory / name, content)


def _claimed(claim: Path) -> bool:
    """Return whether this process may write; the first that asks may, and may again if it runs the journey again."""
    me = str(os.getpid())
    try:
        with claim.open("x", encoding="utf-8") as file:
            file.write(me)
    except FileExistsError:
        return claim.read_text(encoding="utf-8") == me
    return True


def recording_of(journey: Journey, commands: Mapping[int, Sequence[str]], *, masked: bool) -> Recording:
    steps = tuple(
        RecordedStep(step=number, intent=journey.steps[number - 1].intent, commands=tuple(given))
        for number, given in sorted(commands.items())
    )
    return Recording(journey=journey.id, digest=digest_of(journey), steps=steps, masked=masked)
