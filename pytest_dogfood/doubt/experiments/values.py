"""What doubt tries and sees, as plain values: experiments, observations, the lines to add, and findings."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from pytest_dogfood.journey import ChainId, JourneyId, Token
from pytest_dogfood.outcomes import Outcome


class Code(StrEnum):
    """The codes of findings, which never change; see the diagnostics page."""

    UNDECLARED_REQUIRES = "undeclared-requires"
    UNDECLARED_INVALIDATES = "undeclared-invalidates"
    ORDER_MATTERS = "order-matters"
    PROVIDER_NOT_IDEMPOTENT = "provider-not-idempotent"
    PROVIDER_DIFFERS = "provider-differs"
    PROBE_TRUE = "probe-true"
    PROBE_TOO_EARLY = "probe-too-early"
    NOT_REPEATABLE = "not-repeatable"


class Line(Struct, frozen=True, order=True):
    """A declaration to add: `token` in the list `key` (`requires`, `establishes` or `invalidates`) of a journey."""

    journey: JourneyId
    key: str
    token: Token


class Experiment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one chain does in one run of the project, which begins in a fresh state.

    `order` has the journeys that run, in exactly this order; if it is empty, all run in the order of an ordinary run.
    Journeys in `idle` only wait, each for a number of seconds, and before the last one the state is left alone for
    `pause` seconds. Tokens in `provided` are set up by their own provider, those of them in `twice` two times in a
    row. With `probes`, all probes of the chain are asked in the empty state and behind each journey, and it is noted
    which files each journey has written. With `steps`, the probes of what a journey establishes are asked behind each
    of its steps, too; `stops` maps journeys to the number of the step behind which they end. `lines` are declared in
    addition. `number` tells repetitions of the same experiment apart.
    """

    chain: ChainId
    order: tuple[JourneyId, ...] = ()
    idle: Mapping[JourneyId, float] = field(default_factory=dict)
    pause: float = 0.0
    provided: tuple[Token, ...] = ()
    twice: tuple[Token, ...] = ()
    probes: bool = False
    steps: bool = False
    stops: Mapping[JourneyId, int] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    number: int = 0


class JourneyEnd(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a journey ended in an experiment.

    `way` is short and the same whenever it fails at the same step in the same way, `text` is the failure in full, with
    secrets masked. `seconds` is its whole time, with what was set up for it.
    """

    outcome: Outcome
    way: str = ""
    text: str = ""
    seconds: float = 0.0


class ProbeAnswer(Struct, frozen=True, kw_only=True):
    """The answer of a token's probe in the empty state (`after` is empty) or right behind a journey.

    In a chain with copies, `state` names the one that was asked; a copy begins behind the last journey before it.
    """

    token: Token
    after: JourneyId = JourneyId("")
    present: bool
    state: str = ""


class HalfWay(Struct, frozen=True, kw_only=True):
    """A token that was present behind step number `step` of the `journey` that establishes it, before its last step."""

    token: Token
    journey: JourneyId
    step: int


class Observation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen of one chain in one run.

    `order` is the real order of the journeys that began. `probes` are in the order in which they were asked;
    `released` has, for each journey, the tokens that were released behind it. `provisioned` are the tokens that their
    own providers set up. `failed_again` maps tokens to the failure of their second provision. `half_way` has each
    token at the first step of its journey behind which it was present, and `written` the files that each journey has
    written or removed, as far as that was noted. `void` says why the run shows nothing about the chain, `refused` why
    the lines of the experiment are not valid in this project.
    """

    ends: Mapping[JourneyId, JourneyEnd] = field(default_factory=dict)
    order: tuple[JourneyId, ...] = ()
    probes: tuple[ProbeAnswer, ...] = ()
    released: Mapping[JourneyId, tuple[Token, ...]] = field(default_factory=dict)
    provisioned: tuple[Token, ...] = ()
    failed_again: Mapping[Token, str] = field(default_factory=dict)
    half_way: tuple[HalfWay, ...] = ()
    written: Mapping[JourneyId, tuple[str, ...]] = field(default_factory=dict)
    void: str = ""
    refused: str = ""


class Proof(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Two experiments that were repeated in turns: A failed each time, B passed each time."""

    failing: Experiment
    passing: Experiment | None = None
    way: str = ""
    text: str = ""
    times: int = 3


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A declaration that does not hold: of a `journey`, of a `token`, or of both.

    `guilty` are the other journeys that take part, the one that matters most first. `lines` end the finding: each was
    accepted by the check and tried in a run; without one, `advice` says what was tried in vain.
    """

    code: Code
    chain: ChainId
    journey: JourneyId = JourneyId("")
    token: Token = Token("")
    guilty: tuple[JourneyId, ...] = ()
    lines: tuple[Line, ...] = ()
    proof: Proof | None = None
    advice: str = ""
    also: tuple[JourneyId, ...] = ()
    """Other instances of the same `matrix:` with the same finding."""
    hint: bool = False
    """Whether this is only a hint, which does not count."""


class Unclear(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A suspect that could not be proved: what was seen of a journey or token, and why it is not enough."""

    chain: ChainId
    journey: JourneyId = JourneyId("")
    token: Token = Token("")
    why: str
    texts: tuple[str, ...] = ()


class Untested(Struct, frozen=True, kw_only=True):
    """A chain that was not tested, or not to the end, and why."""

    chain: ChainId
    why: str
