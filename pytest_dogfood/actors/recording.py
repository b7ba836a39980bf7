"""Keeps an actor's actions: as a trajectory to read, and as a recording to repeat the run without the actor."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pytest_dogfood.actor_protocol import Action, Command, Done, JourneyBrief, StepBrief, masked
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.runner import Grade
from pytest_dogfood.journey import Journey, JourneyId
from pytest_dogfood.storage.files import append_line, private_directory, read_as, write_for_others

TRAJECTORY_VERSION = 1
"""Version of the lines of a trajectory. 1: the first."""

VERSION = 1
"""Version of a recording. 1: the first."""

_HOW = "with an actor and --dogfood-record"

_RECORD_ANEW = f"record it anew, {_HOW}"
"""What to do about a recording that cannot be replayed."""

_SHORTEST = 4
"""The fewest characters of a value that gets a placeholder; shorter ones occur by chance."""

_BEFORE_PATH = r"(?<![\w.-])"
_BEFORE_WORD = r"(?<![\w/.-])"
_PLACE_HOLDER = r"\{\{(=*)(\w+)\}\}"


class Trajectory(Struct):
    """A file of JSON lines, private to its owner, complete even if its writer dies."""

    path: Path
    keeper: SecretKeeper

    def begin(self, journey: Journey, *, why: str, run: str, worker: str, asked_by: str = "") -> None:
        self._write(
            "journey",
            version=TRAJECTORY_VERSION,
            id=journey.id,
            nodeid=journey.nodeid,
            location=str(journey.location),
            why=why,
            run=run,
            worker=worker,
            asked_by=asked_by,
        )

    def action(self, action: Action, *, note: str = "") -> None:
        content = asdict(action)
        content["milliseconds"] = round(content.pop("seconds") * 1000)
        self._write("action", **content, note=note)

    def grade(self, step: int, grade: Grade, *, note: str = "") -> None:
        self._write(
            "grade",
            step=step,
            ended=grade.ended.name.lower(),
            decisive=grade.decisive,
            actions=grade.actions,
            command=None if grade.graded is None else grade.graded.command,
            credited_from=grade.graded.step if grade.graded is not None and grade.credited else None,
            wrong=[str(one) for one in grade.wrong],
            judge=None if grade.verdict is None else asdict(grade.verdict),
            unjudged=grade.unjudged,
            note=note,
        )

    def end(self, outcome: str, why: str = "") -> None:
        self._write("end", outcome=outcome, why=why)

    def close(self) -> None:
        """Mask secrets that became known only after they were written."""
        if self.path.exists():
            self.keeper.mask_file(self.path)

    def _write(self, kind: str, **content: Any) -> None:  # noqa: ANN401 - JSON is any of its types
        for optional in ("asked_by", "note", "why"):
            if content.get(optional) == "":
                del content[optional]
        line = {"kind": kind, **masked(content, self.keeper.mask)}
        append_line(self.path, json.dumps(line, ensure_ascii=False).encode(errors="replace"))


class RecordedStep(Struct, frozen=True, kw_only=True):
    """The commands given for one step; `intent` is there for people."""

    step: int
    commands: tuple[str, ...]
    intent: str = ""


class Recording(Struct, frozen=True, kw_only=True):
    """An actor's commands in a journey, up to the step that failed, if one did.

    `masked` means that a secret was replaced: such commands cannot be run.
    """

    journey: JourneyId
    digest: str
    steps: tuple[RecordedStep, ...] = ()
    masked: bool = False
    version: int = VERSION


def digest_of(journey: Journey) -> str:
    """Return twelve hexadecimal digits that change with the content of a journey, but not with its place."""
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
    """Return the name of a journey's file; special characters are replaced, and a digest keeps it unique."""
    plain = re.sub(r"[^a-z0-9_.-]", "_", journey)[:80]
    apart = "" if plain == journey else f"-{hashlib.sha256(journey.encode()).hexdigest()[:8]}"
    return f"{plain}{apart}.json"


def with_placeholders(command: str, variables: Mapping[str, str]) -> str:
    """Replace values of variables that differ in every run, such as directories and ports, by `{{NAME}}`.

    Text that looks like a placeholder in the command itself gets an equals sign: `{{=NAME}}`.
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
        """Return the recording of a journey.

        Raises HarnessError if there is none, or if it does not fit any more.
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
                f"was recorded, and is not replayed; {_RECORD_ANEW}"
            )
        if recording.masked:
            raise HarnessError(
                f"{journey.location}: {path} cannot be replayed: the actor wrote a secret into a command, which was "
                f"masked; let it use a variable, and {_RECORD_ANEW}"
            )
        return recording

    def write(self, recording: Recording, *, claims: Path) -> None:
        """Write a recording, unless another process of the same run has written one of this journey.

        The first process that claims the journey may write, also again if it runs the journey again.
        """
        name = recording_name(recording.journey)
        claim, me = private_directory(claims) / name, str(os.getpid())
        try:
            with claim.open("x", encoding="utf-8") as file:
                file.write(me)
        except FileExistsError:
            if claim.read_text(encoding="utf-8") != me:
                return
        content = msgspec.json.format(msgspec.json.encode(recording), indent=2) + b"\n"
        write_for_others(self._directory / name, content)


def recording_of(journey: Journey, commands: Mapping[int, Sequence[str]], *, masked: bool) -> Recording:
    steps = tuple(
        RecordedStep(step=number, intent=journey.steps[number - 1].intent, commands=tuple(given))
        for number, given in sorted(commands.items())
    )
    return Recording(journey=journey.id, digest=digest_of(journey), steps=steps, masked=masked)


class RecordedActor:
    """Repeats a recording, step by step; `variables` are those of the journey, to which steps add saved values."""

    def __init__(self, recording: Recording, variables: Mapping[str, str]) -> None:
        self._left = {one.step: iter(one.commands) for one in recording.steps}
        self._variables = variables

    def next_action(
        self, journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]
    ) -> Command | Done:
        del journey, observations
        left = self._left.get(step.number)
        if left is None:
            raise HarnessError(
                f"{step.location}: step {step.number} of {step.total} was not recorded, because the journey had failed "
                f"before; {_RECORD_ANEW}"
            )
        command = next(left, None)
        try:
            return Done() if command is None else Command(filled_in(command, self._variables))
        except ValueError as error:
            raise HarnessError(
                f"{step.location}: a recorded command cannot be run: {error}; {_RECORD_ANEW}"
            ) from error
