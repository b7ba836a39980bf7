"""A recorded run as a report shows it: verdict, root causes, changes, lanes, journeys, tokens. Every format reads this.

Times are seconds from the start of the run. Texts are harmless to show: no control characters, secrets masked.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.outcomes import Outcome, Proof
from pytest_dogfood.report.run_texts import OutputText
from pytest_dogfood.storage.record import Kind, Reference, RunRecord, WrongRecord

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
    out: OutputText = OutputText()
    err: OutputText = OutputText()


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
    is none. `digest` changes with what it says is to be done.
    """

    id: JourneyId
    nodeid: str
    place: str
    chain: str
    tier: str
    outcome: Outcome | None
    title: str = ""
    python: bool = False
    lane: str = ""
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
    """What a lane did: a journey, or a release. `provisioning` are parts of it, as start and seconds."""

    id: str
    kind: Kind
    outcome: Outcome
    start: float
    seconds: float
    provisioning: tuple[tuple[float, float], ...] = ()


class LaneView(Struct, frozen=True, kw_only=True):
    """A worker; `busy` is the share of the run in which it did something, from 0 to 1."""

    name: str
    busy: float
    bars: tuple[BarView, ...]


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
    cut: tuple[str, ...] = ()
    version: int = VERSION
