"""Who asks for tokens and what they can be told; below both provisioning and replaying, which need each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field

from pytest_dogfood.journey import Journey, JourneyId, Token
from pytest_dogfood.outcomes import Cause, Proof, Provisioned
from pytest_dogfood.provisioning.workspace import State


class DeferredError(Exception):
    """What a journey needs did not come about, and `cause` is the root of it."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


FixtureValue = Callable[[str], object]
"""Sets a fixture up for the asking item and gives its value; raises LookupError if it cannot be seen from there."""


class Ask(Struct, kw_only=True):
    """Who asks for tokens, in which state, and what came of it: proofs, and acts of provisioning.

    `fixture` is None while the item's fixtures are not set up yet. `seen_at` holds the number of changes in the world
    when each token was last seen to be present. `kept` are the directories of journeys that were
    replayed for it and failed. `rested_on` are the proofs of what replays for it required.
    """

    journey: JourneyId
    state: State
    fixture: FixtureValue | None = None
    proofs: dict[Token, Proof] = field(default_factory=dict)
    rested_on: dict[Token, Proof] = field(default_factory=dict)
    seen_at: dict[Token, int] = field(default_factory=dict)
    provisioned: list[Provisioned] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    @contextmanager
    def noting(self, token: Token) -> Iterator[Callable[[str, str], None]]:
        """Time an act of provisioning; call what this gives with how and where once it has succeeded.

        What is provisioned meanwhile for the act's own needs is noted by itself and not counted twice.
        """
        started, before = time.monotonic(), len(self.provisioned)

        def note(how: str, where: str) -> None:
            nested = sum(one.seconds for one in self.provisioned[before:])
            seconds = max(time.monotonic() - started - nested, 0.0)
            self.provisioned.append(Provisioned(token=token, how=how, seconds=seconds, where=where))

        yield note


Ensure = Callable[[Iterable[Token], Ask], object]
"""Makes sure that tokens are present, or raises DeferredError or HarnessError."""

Admit = Callable[[Journey, Ask], None]
"""Raises DeferredError if a gate is closed before a journey."""
