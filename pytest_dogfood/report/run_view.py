"""A recorded run as a report shows it: verdict, root causes, changes, lanes, journeys, tokens. Every format reads this.

Times are seconds from the start of the run. Texts are harmless to show: no control characters, secrets masked.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from pytest_dogfood.execution.output import terminal_text
from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.outcomes import Outcome, Proof
from pytest_dogfood.storage.record import Kind, Reference, RunRecord, WrongRecord

LONGEST = 64 * 1024
"""Bytes of a text that are shown whole."""

FIRST, LAST = 16 * 1024, 48 * 1024
"""How many bytes of a longer one are shown from its beginning and its end."""

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that change the direction of text (Unicode, UAX 9), and what is no character at all."""


class OutputText(Struct, frozen=True, omit_defaults=True):
    """What a step printed; of `size` bytes the middle may be left out. `gone` tells that it was not kept."""

    text: str = ""
    size: int = 0
    gone: bool = False


NOTHING = OutputText()
"""What a step printed that printed nothing."""


def shown(text: str) -> str:
    """Return a text with pictures or numbers in the place of characters that cannot be seen, or hide others."""
    if text.isprintable():  # most are, and a report has very many
        return text

    def picture(found: re.Match[str]) -> str:
        number = ord(found[0])
        if number < 0x20:
            return chr(0x2400 + number)
        return "\u2421" if number == 0x7F else f"<U+{number:04X}>"

    return HIDDEN.sub(picture, text)


def text_of(directory: Path, name: str) -> OutputText:
    """Read an output of a step, a regular file named relative to the run's directory, and nothing outside of that."""
    if not name:
        return NOTHING
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if name.startswith("/") or ".." in name.split("/"):
            return OutputText(gone=True)
        with open(os.open(f"{directory}/{name}", flags), "rb") as file:  # noqa: PTH123 - the descriptor carries flags
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return OutputText(gone=True)
            size = found.st_size
            data = file.read(LONGEST if size <= LONGEST else FIRST)
            if size <= LONGEST:
                return OutputText(shown(terminal_text(data)), size)
            file.seek(size - LAST)
            end = file.read(LAST)
    except OSError:
        return OutputText(gone=True)
    first, last = terminal_text(data), terminal_text(end)
    middle = f"\n… {size - FIRST - LAST} bytes are left out here …\n"
    return OutputText(shown(first) + middle + shown(last), size)


VERSION = 1
"""Version of the JSON. 1: the first."""

WORDS = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.ERROR: "not judged",
    Outcome.CRASHED: "crashed",
    Outcome.DEFERRED: "deferred",
    Outcome.SKIPPED: "skipped",
    Outcome.NO_ACTOR: "skipped",
    Outcome.XFAILED: "xfailed",
    Outcome.XPASSED: "xpassed",
}
"""What a report calls each outcome; an error is one of the harness, so nothing is known of the product."""


class StepView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step that has ended; `place` is `file:line:column`, `exit` None where no command ran."""

    place: str
    number: int
    of: int
    start: float
    seconds: float
    intent: str = ""
    command: str = ""
    ended_at: str = ""
    exit: int | None = None
    timed_out: bool = False
    tries: int = 1
    wrong: tuple[WrongRecord, ...] = ()
    saved: Mapping[str, str | None] = field(default_factory=dict)
    out: OutputText = NOTHING
    err: OutputText = NOTHING


class ActivityView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that was done, with its steps; CRASHED is what never ended."""

    kind: Kind
    id: str
    outcome: Outcome
    lane: str
    start: float
    seconds: float
    attempt: int = 1
    how: str = ""
    text: str = ""
    steps: tuple[StepView, ...] = ()


class JourneyView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A journey or a Python test of the graph, in the order of the project.

    `tries` are what was done of it, the last one counts; `done_for_it` is what was provisioned, asked, replayed,
    cleaned up and released. `because` is the id of the root cause of what kept it from being judged, or from running.
    `seconds` is without what was done for it beforehand. `changed` compares its text with the reference; None if there
    is none. `digest` changes with what it says is to be done. `state` is the part of its chain in which it ran.
    `taken_from` is the lost machine in whose place another one has run it.
    """

    id: JourneyId
    nodeid: str
    place: str
    chain: str
    tier: str
    outcome: Outcome | None
    state: str = ""
    title: str = ""
    python: bool = False
    lane: str = ""
    taken_from: str = ""
    start: float = 0.0
    seconds: float = 0.0
    requires: tuple[Token, ...] = ()
    establishes: tuple[Token, ...] = ()
    because: str = ""
    reason: str = ""
    changed: bool | None = None
    digest: str = ""
    again: str = ""
    kept: tuple[str, ...] = ()
    trajectory: str = ""
    unjudged: int = 0
    not_cleaned: str = ""
    leaked: tuple[str, ...] = ()
    tries: tuple[ActivityView, ...] = ()
    done_for_it: tuple[ActivityView, ...] = ()


class CauseView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A root cause: what failed, with the step that did, and what that kept from running or from being judged.

    `id` is a journey, a token or a test outside of the graph; `outcome` is ERROR where the product is not to blame.
    `step` is None where a text says all there is. `cleanup` is the step of a clean-up that failed besides. `enter`
    opens a shell where it failed, if its directories were kept.
    """

    id: str
    outcome: Outcome
    headline: str
    place: str = ""
    step: StepView | None = None
    cleanup: StepView | None = None
    text: str = ""
    deferred: tuple[JourneyId, ...] = ()
    not_judged: tuple[JourneyId, ...] = ()
    changed: bool | None = None
    again: str = ""
    enter: str = ""
    outage: str = ""


class BarView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a lane did: a journey, or a release. `provisioning` are parts of it, as start and seconds.

    `taken_from` is the lost machine in whose place this was done.
    """

    id: str
    kind: Kind
    outcome: Outcome
    start: float
    seconds: float
    provisioning: tuple[tuple[float, float], ...] = ()
    taken_from: str = ""


class LaneView(Struct, frozen=True, kw_only=True):
    """A worker; `busy` is the share of the run in which it did something, from 0 to 1.

    `lost` is when its machine was lost, if it was.
    """

    name: str
    busy: float
    bars: tuple[BarView, ...]
    lost: float | None = None


class TokenView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token that something of the run requires or establishes. `proof` is None where nothing shows it present."""

    token: Token
    scope: Scope
    present: bool
    why: str
    because: str = ""
    proof: Proof | None = None
    needed_by: int = 0


class Change(Struct, frozen=True, kw_only=True):
    """What is different from the reference: `what` is failing, not judged, deferred, passing, new, gone or slower."""

    what: str
    id: JourneyId
    note: str = ""


class Slow(Struct, frozen=True, kw_only=True):
    """A slow journey; `step` is the number of the step that took more than half of its time, 0 if none did."""

    id: JourneyId
    seconds: float
    step: int = 0


class RunView(Struct, frozen=True, kw_only=True):
    """A whole run. `seconds` is how long it took, `best` the least that these workers could have needed.

    `counts` has journeys by outcome, `planned` their number, `unaccounted` those without a word on them. `finished`
    tells whether the run came to its end, `cut` what was left out of the report, for people. `others` are failing
    tests outside of the graph, `for_no_journey` is what was done for none alone, such as the last release of a token.
    `losses` has a sentence for each machine that was lost.
    """

    run: RunRecord
    verdict: str
    green: bool
    finished: bool
    planned: int
    counts: Mapping[Outcome, int]
    unaccounted: tuple[JourneyId, ...]
    seconds: float
    best: float | None
    causes: tuple[CauseView, ...]
    reference: Reference | None
    changes: tuple[Change, ...]
    slowest: tuple[Slow, ...]
    lanes: tuple[LaneView, ...]
    journeys: tuple[JourneyView, ...]
    tokens: tuple[TokenView, ...]
    others: tuple[ActivityView, ...]
    for_no_journey: tuple[ActivityView, ...] = ()
    losses: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    version: int = VERSION
