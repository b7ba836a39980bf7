"""What the processes of a run tell each other of its states: which are templates, which stay, which were restored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.scheduling.split import Fork
from pytest_dogfood.storage.files import SharedLog, private_directory


class Template(Struct, frozen=True, kw_only=True, tag=True):
    """The directory, by its name, that the parts at a fork copy; empty if they begin empty.

    `ready` means that it holds all tokens that several of the parts need, as far as they can be had. `problem` says
    what prevents copies.
    """

    fork: int
    place: str
    ready: bool = False
    problem: str = ""


class KeptState(Struct, frozen=True, kw_only=True, tag=True):
    """A state that stays, because an item failed in it."""

    place: str
    is_part: bool


class RestoredState(Struct, frozen=True, kw_only=True, tag=True):
    """A state, or a copy of one, that was restored from the cache: `made` is when it was provisioned."""

    place: str
    made: float


class CachedTemplate(Struct, frozen=True, kw_only=True, tag=True):
    """A template whose content is what the cache has for its tokens, and nothing else."""

    place: str


_Noted = Template | KeptState | RestoredState | CachedTemplate


class StateLog:
    """What the processes of a run have noted on templates, and on kept and restored states."""

    def __init__(self, directory: Path) -> None:
        self._log: SharedLog[_Noted] = SharedLog(private_directory(directory) / "templates", _Noted)
        self._templates: dict[int, Template] = {}
        self._owners: dict[str, int] = {}
        self._kept: dict[str, KeptState] = {}
        self._restored: dict[str, float] = {}
        self._cached: set[str] = set()

    def append(self, entry: _Noted) -> None:
        self._log.append(entry)

    def restored(self, place: str) -> float | None:
        """Return when a state was provisioned that was restored from the cache; None for any other."""
        self._read_on()
        return self._restored.get(place)

    def is_cached(self, place: str) -> bool:
        """Return whether a template has nothing that the cache would not restore for its tokens."""
        self._read_on()
        return place in self._cached

    def template(self, fork: Fork) -> Template | None:
        self._read_on()
        return self._templates.get(fork.number)

    def places(self, fork: Fork) -> Iterable[str]:
        """Return all directories that became templates for the parts at a fork, also what could not be copied.

        The one of a fork above it, which may be used here too, is not among them.
        """
        self._read_on()
        return [place for place, number in self._owners.items() if number == fork.number]

    def kept(self) -> Mapping[str, KeptState]:
        self._read_on()
        return self._kept

    def _read_on(self) -> None:
        for entry in self._log.unread():
            if isinstance(entry, Template):
                self._templates[entry.fork] = entry
                if entry.place:
                    self._owners.setdefault(entry.place, entry.fork)  # a fork above comes first
            elif isinstance(entry, RestoredState):
                self._restored[entry.place] = entry.made
            elif isinstance(entry, CachedTemplate):
                self._cached.add(entry.place)
            else:
                self._kept[entry.place] = entry
