"""What actors and judges are told, and what they may answer: public values, and the lines of JSON they travel in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pytest_dogfood.journey import Journey, Step

VERSION = 1
"""Version of the lines that an actor process reads. 1: the first."""

LONGEST_COMMAND = 64 * 1024
"""Bytes of a command; the system itself takes no more than twice as many in one argument."""


Whose = Literal["actor", "journey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something done in a journey and what came of it, `stdout` and `stderr` cut to their ends, secrets masked.

    `step` counts from 1. `by` says whose command it was: the actor's, or one that the journey file itself gives.
    """

    step: int
    command: str
    exit: int
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    timed_out: bool = False
    by: Whose = "actor"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBrief:
    """A step as an actor and a judge are told of it: what is wanted, and not what it is graded by."""

    number: int
    total: int
    intent: str = ""
    expect: str = ""
    expect_text: str = ""
    expect_state: str = ""
    core: bool = False
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyBrief:
    """A journey as an actor and a judge are told of it.

    `intents` are those of all steps. `variables` are what its commands find in their environment beside what
    pytest's own holds: the harness's, the values of required tokens, and what was saved so far; secrets masked.
    """

    id: str
    feature: str = ""
    rationale: str = ""
    modality: str = ""
    location: str = ""
    intents: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """An actor's answer: shell text to run next. `note` is kept in the trajectory."""

    run: str
    note: str = ""

    def __post_init__(self) -> None:
        given: object = self.run
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f"a command is text for a shell, not {self.run!r}")
        try:
            fits = "\0" not in self.run and len(self.run.encode()) <= LONGEST_COMMAND
        except UnicodeEncodeError:  # JSON may hold one half of a pair of surrogates
            fits = False
        if not fits:
            raise ValueError(
                f"a command has no NUL, no half of a character, and at most {LONGEST_COMMAND} bytes"
            )


@dataclass(frozen=True, slots=True)
class Done:
    """An actor's answer: nothing more is to be done for this step."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class ActorError:
    """An actor's answer: it cannot go on, for a reason that is none of the product's."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """The answer of what works a graphical interface: what was done there already, and what was seen."""

    what: str
    exit: int = 0
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _require_types(self, what=str, exit=int, stdout=str, stderr=str, seconds=(int, float))
        if not math.isfinite(self.seconds) or len(self.what) > LONGEST_COMMAND:
            raise ValueError(f"'what' has at most {LONGEST_COMMAND} characters, and 'seconds' is a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's answer: whether what the step expects in free text is met, and why."""

    passed: bool
    why: str = ""

    def __post_init__(self) -> None:
        _require_types(self, passed=bool, why=str)


Answer = Command | Done | ActorError | Performed


def _require_types(answer: object, **types: type | tuple[type, ...]) -> None:
    """Refuse what a hook may give that no type checker has seen: it would be found out in the midst of grading."""
    for name, wanted in types.items():
        value = getattr(answer, name)
        if not isinstance(value, wanted):
            one = wanted if isinstance(wanted, type) else wanted[-1]
            kind = type(answer).__name__
            raise ValueError(f"{name!r} of a {kind} is of type {one.__name__}, not {value!r:.80}")  # noqa: TRY004 - as for other answers


def brief_of_step(step: Step, number: int, total: int) -> StepBrief:
    return StepBrief(
        number=number,
        total=total,
        intent=step.intent,
        expect=step.expect.text,
        expect_text=step.expect_text,
        expect_state=step.expect_state,
        core=step.core,
        location=str(step.location),
    )


def brief_of_journey(journey: Journey, variables: Mapping[str, str]) -> JourneyBrief:
    return JourneyBrief(
        id=journey.id,
        feature=journey.feature,
        rationale=journey.rationale,
        modality=journey.modality,
        location=str(journey.location),
        intents=tuple(step.intent for step in journey.steps),
        variables=variables,
    )


def free_text(step: Step) -> str:
    """Return what a step expects in words, which only a judge can tell."""
    return "\n".join(filter(None, (step.expect.text, step.expect_text, step.expect_state)))


def request(journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]) -> dict[str, Any]:
    """Return what an actor process is asked, as values of JSON."""
    return {
        "version": VERSION,
        "journey": asdict(journey),
        "step": asdict(step),
        "observations": [asdict(one) for one in observations],
    }


def masked(value: Any, mask: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Mask every text within values of JSON, but for the keys; the result is JSON still, whatever the secrets are."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: masked(one, mask) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one, mask) for one in value]
    return value


def read_answer(line: bytes) -> Answer:
    """Understand a line of an actor process; raises ValueError saying what is wrong with it."""
    try:
        answer = json.loads(line, object_pairs_hook=_each_key_once)
    except _TwiceError as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(answer, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - what was said is wrong, not our call
    return answer_in(answer)


class _TwiceError(ValueError):
    """An object has a key twice, so it is unknown which of its values is meant."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise _TwiceError(f"it has the key {twice!r} twice")
    return found


def answer_in(answer: Mapping[str, Any]) -> Answer:
    """Understand an answer that is written as JSON has it; raises ValueError saying what is wrong with it."""
    given = [key for key in ("command", "done", "error") if key in answer]
    if len(given) != 1:
        has = " and ".join(map(repr, given)) or "none of them"
        raise ValueError(f"it must have one of the keys 'command', 'done' and 'error', and has {has}")
    note = answer.get("note")
    note = note if isinstance(note, str) else ""
    if given == ["command"]:
        return Command(answer["command"], note)
    if given == ["error"]:
        return ActorError(str(answer["error"]))
    if answer["done"] is not True:
        raise ValueError(f"'done' is true or left out, not {answer['done']!r}")
    return Done(note)
