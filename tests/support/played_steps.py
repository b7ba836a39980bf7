"""Steps that are played: each does to the files of its state what a command would do, without starting a shell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.journey import Journey, JourneyId, Step
from pytest_dogfood.provisioning.workspace import Workspace
from tests.support.strategies import ANYWHERE, Scene

FILES = 3
"""How many files each journey leaves, by which a copy of a part of them is noticed."""


class Faults(Struct, frozen=True, kw_only=True):
    """What goes wrong in a project, whatever the workers.

    Journeys that are `stuck` leave what cannot be copied; what one `reads` without having declared it is another's; the
    `flaky` ones fail when they are first tried as items. `deaths` is how many workers die at most, and `full` the
    probability that a file cannot be copied because the disk is full.
    """

    stuck: frozenset[JourneyId] = frozenset()
    reads: Mapping[JourneyId, JourneyId] = {}
    flaky: frozenset[JourneyId] = frozenset()
    deaths: int = 0
    full: float = 0.0

    @property
    def are_chance(self) -> bool:
        """Whether something goes wrong at a place that is not the same in every run."""
        return bool(self.deaths or self.full)


class Event(Struct, frozen=True):
    """A line of the log of a run: a journey ran as an `item` or was replayed, in a state in which others had begun.

    Or it `misses` a token, or finds only `half` of what another had left there.
    """

    what: str
    who: JourneyId
    where: str
    found: tuple[str, ...] = ()


def with_played_steps(scene: Scene) -> Scene:
    """Let the steps of a project say what is to be played."""

    def step(text: str) -> Step:
        return Step(location=ANYWHERE, run=text)

    return replace(
        scene,
        journeys=tuple(
            one if one.python else replace(one, steps=(step(f"journey {one.id}"),)) for one in scene.journeys
        ),
        capabilities=tuple(
            replace(
                one,
                probe=step(f"probe {one.token}") if one.probe else None,
                provision=(step(f"provision {one.token}"),) if one.provision else (),
            )
            for one in scene.capabilities
        ),
    )


class Player:
    """Plays the steps of a project in one worker; `item` is the journey that this runs as an item now."""

    def __init__(self, scene: Scene, faults: Faults, log: Path) -> None:
        self._scene = scene
        self._journeys = {one.id: one for one in scene.journeys}
        self._faults = faults
        self._log = log
        self.item = ""

    def play(self, command: str, environment: Mapping[str, str]) -> int:
        """Do what a command would do, and return its status."""
        what, _, name = command.partition(" ")
        state = Path(environment["DOGFOOD_STATE"])
        if what == "journey":
            return self._play_journey(self._journeys[JourneyId(name)], state, environment)
        file = state / name
        if what == "provision":
            file.write_text("")
        return int(not file.exists())

    def _play_journey(self, journey: Journey, state: Path, environment: Mapping[str, str]) -> int:
        who, is_item = journey.id, journey.id == self.item
        places = {True: Path(environment["DOGFOOD_SHARED"]), False: state}
        self._look_around(journey, state, places)
        _write_on(state / "began", who)
        if who in self._faults.stuck:
            with suppress(FileExistsError):
                os.mkfifo(state / f"pipe-{who}")
        if (
            who in self._scene.failing
            or (is_item and self._is_first_try(who))
            or self._misses_other(who, state)
        ):
            return 1
        for token in journey.invalidates:
            (places[self._scene.is_shared(token)] / token).unlink(missing_ok=True)
        for token in journey.establishes:
            (places[self._scene.is_shared(token)] / token).write_text("")
        (state / "work").mkdir(exist_ok=True)
        for number in range(FILES):
            (state / "work" / f"{who}-{number}").write_text(f"{state}\n")
        _write_on(state / "ended", who)
        return 0

    def _look_around(self, journey: Journey, state: Path, places: Mapping[bool, Path]) -> None:
        """Write down which journeys have begun in a state, and what should be there and is not."""
        who = journey.id
        self._say("item" if who == self.item else "replay", who, state.name, _words_in(state / "began"))
        for other in _words_in(state / "ended"):
            left = [state / "work" / f"{other}-{number}" for number in range(FILES)]
            if not all(one.exists() and one.read_text() == f"{state}\n" for one in left):
                self._say("half", who, state.name, [other])
        for token in journey.requires:
            if not (places[self._scene.is_shared(token)] / token).exists():
                self._say("misses", who, state.name, [token])

    def _is_first_try(self, who: JourneyId) -> bool:
        if who not in self._faults.flaky:
            return False
        try:
            (self._log.parent / f"tried-{who}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _misses_other(self, who: JourneyId, state: Path) -> bool:
        other = self._faults.reads.get(who)
        return other is not None and not (state / "work" / f"{other}-0").exists()

    def _say(self, what: str, who: str, where: str, found: list[str]) -> None:
        with self._log.open("a") as log:
            log.write(" ".join([what, who, where, *found]) + "\n")


def _words_in(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _write_on(path: Path, word: str) -> None:
    with path.open("a") as file:
        file.write(f"{word} ")


class _Seen(Struct, kw_only=True):
    """The observation of a played step."""

    status: int
    environment: Mapping[str, str]
    cwd: Path
    timed_out: bool = False
    seconds: float = 0.0
    limit: float = 60.0
    left: float = 60.0
    ended_at: None = None
    outputs: dict[str, Any] = {}

    def text(self, _: object) -> str:
        return ""

    tail = masked_tail = text

    def mask(self, text: str) -> str:
        return text

    def file(self, _: object) -> None:
        return None

    def learn(self, _: object) -> None:
        pass

    def finish(self, **_: object) -> None:
        pass


class PlayedRunner(ShellRunner, frozen=True, kw_only=True):
    """A runner of steps that plays them."""

    player: Any

    def run(self, step: Step, *, number: int, variables: Mapping[str, str], limit: float | None) -> Any:  # noqa: ARG002 - as the runner of shells
        environment = {**self.environment, **variables}
        status = self.player.play(str(step.run), environment)
        return _Seen(status=status, environment=environment, cwd=self.workdir)


class PlayedWorkspace(Workspace, kw_only=True):
    """A workspace whose runners play steps."""

    player: Any

    def runner(self, workdir: Path, environment: Mapping[str, str], attempt: str) -> ShellRunner:
        return PlayedRunner(
            rootdir=self.rootdir,
            workdir=workdir,
            environment=environment,
            outputs=self.run.outputs,
            name=attempt,
            timeout=60,
            keeper=self.keeper,
            empty_files={},
            player=self.player,
        )
