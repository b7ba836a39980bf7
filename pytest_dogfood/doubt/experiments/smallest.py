"""Two small states that differ in one thing: in the one a journey fails, in the other it passes, three times in turns.

Everything here is a generator: it yields the experiment to do next, receives what was seen, and returns a result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.doubt.experiments.values import Experiment, Observation, Proof
from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Outcome

T = TypeVar("T")
Trial: TypeAlias = Generator[Experiment, Observation, T]

REPETITIONS = 3
REPETITIONS_IN_DOUBT = 5
"""How often A and B are repeated where an earlier run speaks against them."""


class NotShown(Exception):  # noqa: N818 - an answer, no error
    """A suspect that could not be proved; `texts` are the outputs that contradict each other."""

    def __init__(self, why: str, *texts: str) -> None:
        super().__init__(why)
        self.why = why
        self.texts = tuple(text for text in texts if text)


class OtherSuspect(Exception):  # noqa: N818 - an answer, no error
    """Another journey fails already, so that it has to be looked at first."""

    def __init__(self, journey: JourneyId) -> None:
        super().__init__(journey)
        self.journey = journey


class Reading(Struct, frozen=True):
    """What an experiment says about its subject: whether it holds (None: nothing), how it failed, and in full."""

    holds: bool | None
    way: str = ""
    text: str = ""


class Passes(Struct, frozen=True):
    """The question whether a journey passes."""

    journey: JourneyId

    def read(self, seen: Observation) -> Reading:
        end = seen.ends.get(self.journey)
        if end is None or seen.void:
            return Reading(None, text=seen.void)
        if end.outcome in _FAILED:
            return Reading(False, end.way, end.text)
        return Reading(True if end.outcome.establishes else None, text=end.text)


_FAILED = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED})


class StaysPresent(Struct, frozen=True):
    """The question whether a token that was present before a journey is present behind it."""

    token: Token
    journey: JourneyId

    def read(self, seen: Observation) -> Reading:
        answers = [one for one in seen.probes if one.token == self.token]
        states = {one.state for one in answers if one.after == self.journey}
        answers = [one for one in answers if one.state in states]
        behind = next((number for number, one in enumerate(answers) if one.after == self.journey), 0)
        if not behind or seen.void or not answers[behind - 1].present:
            return Reading(None, text=seen.void)
        end = seen.ends.get(self.journey)
        if end is not None and not end.outcome.establishes:
            return Reading(None, text=end.text)
        present = answers[behind].present
        return Reading(present, "" if present else "the probe says no")


class IsAbsentAtFirst(Struct, frozen=True):
    """The question whether a token's probe says no in the empty state."""

    token: Token

    def read(self, seen: Observation) -> Reading:
        answers = [one for one in seen.probes if one.token == self.token and not one.after]
        if not answers or seen.void:
            return Reading(None, text=seen.void)
        return Reading(not answers[0].present, "the probe says yes" if answers[0].present else "")


class ProvidesAgain(Struct, frozen=True):
    """The question whether the second provision of a token succeeds."""

    token: Token

    def read(self, seen: Observation) -> Reading:
        if seen.void:
            return Reading(None, text=seen.void)
        text = seen.failed_again.get(self.token)
        if text is not None:
            return Reading(False, "the second provision fails", text)
        return Reading(True if any(end.outcome.establishes for end in seen.ends.values()) else None)


Question: TypeAlias = Passes | StaysPresent | IsAbsentAtFirst | ProvidesAgain


def ask(question: Question, experiment: Experiment) -> Trial[Reading]:
    """Do an experiment and read it."""
    return question.read((yield experiment))


def prove(
    question: Question,
    failing: Experiment,
    passing: Experiment | None,
    *,
    control: Question | None = None,
    times: int = REPETITIONS,
) -> Trial[Proof]:
    """Repeat two experiments in turns; raises NotShown at the first one that is not as it should be.

    A fails each time in the same way, B passes each time. B is asked the question `control`, by default the same one.
    """
    way, text = "", ""
    for number in range(1, times + 1):
        first = question.read((yield replace(failing, number=number)))
        if first.holds is not False:
            raise NotShown("it passed when it was repeated", text, first.text)
        if number > 1 and first.way != way:
            raise NotShown("it failed in another way when it was repeated", text, first.text)
        way, text = first.way, first.text
        if passing is not None:
            second = (control or question).read((yield replace(passing, number=number)))
            if second.holds is not True:
                raise NotShown("it failed where it had passed before", text, second.text)
    return Proof(failing=failing, passing=passing, way=way, text=text, times=times)


def first_number(most: int, is_enough: Callable[[int], Trial[bool]]) -> Trial[int]:
    """Return the smallest number of 1 to `most` that is enough, by halving; `most` is known to be."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if (yield from is_enough(middle)):
            high = middle
        else:
            low = middle
    return high


def _first_enough(
    chosen: Sequence[JourneyId],
    left: Sequence[JourneyId],
    is_enough: Callable[[Sequence[JourneyId]], Trial[bool]],
) -> Trial[int]:
    return first_number(len(left), lambda number: is_enough((*chosen, *left[:number])))


MOST_HELPERS = 4
"""How many journeys may play a part in one finding."""


def smallest(
    candidates: Sequence[JourneyId], is_enough: Callable[[Sequence[JourneyId]], Trial[bool]]
) -> Trial[tuple[JourneyId, ...]]:
    """Return few of the candidates that are enough, the last of them first; all of them together are known to be.

    Raises NotShown if it takes too many, as happens where chance decides.
    """
    chosen: tuple[JourneyId, ...] = ()
    left = tuple(candidates)
    while not (chosen and (yield from is_enough(chosen))):
        if len(chosen) == MOST_HELPERS or not left:
            raise NotShown(
                "its outcome did not depend on the journeys before it in a way that could be repeated"
            )

        number = yield from _first_enough(chosen, left, is_enough)
        chosen = (*chosen, left[number - 1])
        left = left[: number - 1]
    return chosen
