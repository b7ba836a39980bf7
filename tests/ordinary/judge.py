"""What a log says against a run: everything in it that the guarantee forbids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.ordinary.model import HANGS, LEAVES, Model, placed_before


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: what happened, to which item or token, and the other words."""

    what: str
    who: str
    rest: tuple[str, ...]

    @property
    def where(self) -> str:
        """Return the state directory of an item, or the file of a token."""
        return self.rest[0]


def read(text: str) -> tuple[Event, ...]:
    return tuple(Event(what, who, tuple(rest)) for what, who, *rest in map(str.split, text.splitlines()))


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows the model and the log of one run."""

    model: Model
    log: Sequence[Event]

    def complaints(self, expected: Mapping[str, str], *, attempts: int = 1) -> list[str]:
        """Return what is wrong with a run that went through its selection, of which each item had some attempts."""
        return [
            *self.always(),
            *self._too_early(expected),
            *self._without_cause(expected, attempts),
        ]

    def always(self) -> list[str]:
        """Return what is wrong with a run, even if it was interrupted."""
        return [
            *(f"{one.who} {' '.join(one.rest)}" for one in self.log if one.what == "violation"),
            *self._not_cleaned_up(),
            *self._not_released_once(),
            *self._released_too_early(),
        ]

    def _file(self, token: str, state: str) -> str:
        machine = self.model.token(token).machine
        return f"{state.rpartition('/')[0]}/shared/{token}" if machine else f"{state}/{token}"

    def _not_cleaned_up(self) -> Iterator[str]:
        starts = Counter(self._of("start"))
        cleaned = Counter(self._of("cleaned"))
        for (who, where), times in starts.items():
            if not self.model.item(who).python and cleaned[who, where] < times:
                yield f"{who} started {times} times in {where}, and cleaned up {cleaned[who, where]} times"
        said: dict[tuple[str, str], str] = {}
        for event in self.log:
            if event.what in {"start", "end", "fail"}:
                said[event.who, event.where] = event.what
            elif event.what == "cleaned" and "none" in event.rest:
                last = said.get((event.who, event.where))
                if last == "end" or (last == "fail" and self.model.item(event.who).fault in {LEAVES, HANGS}):
                    yield f"the clean-up of {event.who} is not given what was saved"

    def _of(self, what: str) -> list[tuple[str, str]]:
        return [(event.who, event.where) for event in self.log if event.what == what]

    def _not_released_once(self) -> Iterator[str]:
        """Look for what was not released after it was begun; what is made again later is released again."""
        waiting: dict[str, str] = {}
        for event in self.log:
            if event.what in {"provision", "made"}:
                waiting[event.where] = event.who
            elif event.what == "start":
                establishes = self.model.item(event.who).establishes
                waiting.update({self._file(token, event.where): token for token in establishes})
            elif event.what == "release" and not waiting.pop(event.where, ""):
                yield f"{event.who} at {event.where} was released, and nothing had begun to make it since"
        yield from (f"{token} at {file} was never released" for file, token in waiting.items())

    def _released_too_early(self) -> Iterator[str]:
        """Look for tokens that rested on what was released: those must be lost or released before."""
        rests: dict[str, tuple[str, ...]] = {}
        names: dict[str, str] = {}
        told: set[tuple[str, str]] = set()
        for event in self.log:
            if event.what == "made":
                rests[event.where] = event.rest[1:]
                names[event.where] = event.who
            elif event.what == "start":
                # What it says that it destroys counts as lost, also where it fails before it comes to that.
                for token in self.model.item(event.who).invalidates:
                    _forget(rests, self._file(token, event.where))
            elif event.what == "lost":
                _forget(rests, event.where)
            elif event.what in {"release", "down"}:
                for file, bases in rests.items():
                    if event.where in bases and (event.where, file) not in told:
                        told.add((event.where, file))
                        yield f"{event.who} at {event.where} ended before {names[file]} at {file}"
                rests.pop(event.where, None)

    def _too_early(self, selected: Collection[str]) -> Iterator[str]:
        run = {who for who, _ in self._of("start")}
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, event in enumerate(self.log):
            if event.what == "start":
                first.setdefault(event.who, number)
            elif event.what in {"end", "fail"}:
                last.setdefault(event.who, number)
        for before, after in placed_before(self.model):
            if {before, after} <= {*selected} & run and last.get(before, len(self.log)) > first[after]:
                yield f"{after} starts before {before} has ended"

    def _without_cause(self, expected: Mapping[str, str], attempts: int) -> Iterator[str]:
        started = {who for who, _ in self._of("start")}
        for name, outcome in expected.items():
            ran = self.model.item(name).mark == "xfail" or outcome in {"passed", "failed"}
            unclean = self.model.item(name).fault == "unclean"
            if not unclean and self.model.item(name).mark != "xfail" and (name in started) != ran:
                yield f"{name} ({outcome}) {'never ran' if ran else 'ran'}"
        begun = [self.model.item(who) for who, _ in self._of("start")]
        # What destroys a token may fail before it comes to that; what fails to establish one makes it doubtful.
        losses = Counter(token for item in begun for token in item.invalidates)
        losses.update(token for item in begun if item.fault for token in item.establishes)

        def lost(token: str) -> int:
            bases = self.model.bases(token)
            # What is replayed for another token makes a base anew as well, and what rests on that may be void.
            besides = {
                other
                for item in self.model.items
                for other in item.establishes
                if bases & {*item.establishes}
            }
            return losses[token] + sum(losses[base] for base in {*bases, *besides} - {token})

        for (who, where), times in Counter(self._of("start")).items():
            most = attempts + sum(map(lost, self.model.item(who).establishes))
            if times > most:
                yield f"{who} ran {times} times in {where}, for which there are {most} causes"
        for (token, file), times in Counter(self._of("provision")).items():
            if times > 1 + lost(token):
                yield f"{token} was provisioned {times} times at {file}, for which there are {1 + lost(token)} causes"


def _forget(rests: dict[str, tuple[str, ...]], file: str) -> None:
    """Forget an artefact, and what was built on it."""
    rests.pop(file, None)
    for other in [name for name, bases in rests.items() if file in bases]:
        _forget(rests, other)
