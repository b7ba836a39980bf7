"""The requests to actors and judges, and their answers: public values, and the lines of JSON that carry them."""

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
"""Bytes of a command; the system's own limit for one argument is twice that."""


Whose = Literal["actor", "journey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A command that ran in a journey and its result; `stdout` and `stderr` are cut to their ends, secrets masked.

    `step` counts from 1. `by` says whether the actor or the journey file gave the command.
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
    """A step as an actor and a judge see it: its intent and expectations in words, without the assertions."""

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
    """A journey as an actor and a judge see it.

    `intents` are those of all steps. `variables` are those that its commands have in addition to pytest's environment:
    this plugin's, the values of required tokens, and those saved so far; secrets masked.
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
    """An actor's answer: this step is done."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class ActorError:
    """An actor's answer: it cannot go on, through no fault of the product."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """The answer of a plugin that operates a graphical interface: what it did there, and what it saw."""

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
    """A judge's answer: whether the expectation in free text is met, and why."""

    passed: bool
    why: str = ""

    def __post_init__(self) -> None:
        _require_types(self, passed=bool, why=str)


Answer = Command | Done | ActorError | Performed


def _require_types(answer: object, **types: type | tuple[type, ...]) -> None:
    """Refuse values of a wrong type from a hook without type checks, before they fail during grading."""
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
    """Return a step's expectations in words, which only a judge can check."""
    return "\n".join(filter(None, (step.expect.text, step.expect_text, step.expect_state)))


def request(journey: JourneyBrief, step: StepBrief, observations: Sequence[Action]) -> dict[str, Any]:
    """Return the request to an actor process, as JSON values."""
    return {
        "version": VERSION,
        "journey": asdict(journey),
        "step": asdict(step),
        "observations": [asdict(one) for one in observations],
    }


def masked(value: Any, mask: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON is any of its types
    """Mask every text in JSON values, except for keys; the result is still JSON, whatever the secrets are."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: masked(one, mask) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one, mask) for one in value]
    return value


def read_answer(line: bytes) -> Answer:
    """Parse a line from an actor process; raises ValueError that explains what is wrong with it."""
    try:
        answer = json.loads(line, object_pairs_hook=_each_key_once)
    except _TwiceError as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(answer, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the answer is wrong, not our call
    return answer_in(answer)


class _TwiceError(ValueError):
    """A JSON object has a key twice, so it is unknown which of the values is meant."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise _TwiceError(f"it has the key {twice!r} twice")
    return found


def answer_in(answer: Mapping[str, Any]) -> Answer:
    """Convert an answer from JSON; raises ValueError that explains what is wrong with it."""
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
