"""A project as values, and the one right outcome of each of its items."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache

TIERS = ("smoke", "core", "deep")

FAILS = "fails"
"""The journey fails before it has left anything behind."""

LEAVES = "leaves"
"""The journey leaves everything behind that it establishes, and fails after that."""

HANGS = "hangs"
"""The journey leaves the same behind, and then goes on for longer than it may."""

UNCLEAN = "unclean"
"""The journey passes, and its clean-up fails."""

BAD = {"failed", "error"}
"""Outcomes that turn a run red."""

UNFINISHED = {"failed", "error", "deferred"}
"""Outcomes that `--lf` comes back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A capability; `needs` are the tokens that its provision or service requires."""

    name: str
    machine: bool = False
    probe: bool = False
    provision: bool = False
    service: bool = False
    fixture: bool = False
    needs: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()

    @property
    def provided(self) -> bool:
        return self.provision or self.service or self.fixture


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A journey, or a Python test that does what a journey does."""

    id: str
    file: str
    requires: tuple[str, ...] = ()
    establishes: tuple[str, ...] = ()
    invalidates: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    tier: str = "core"
    gating: bool = False
    mark: str = ""
    fault: str = ""

    @property
    def python(self) -> bool:
        return self.file.endswith(".py")

    @property
    def name(self) -> str:
        """Return the name that `-k` and JUnit know it by."""
        return f"test_{self.id}" if self.python else self.id

    @property
    def nodeid(self) -> str:
        return f"{self.file}::{self.name}"

    @property
    def bases(self) -> tuple[str, ...]:
        """Return what the tokens that it establishes rest on."""
        return tuple(token for token in self.requires if token not in self.invalidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """All items and tokens of a project."""

    items: tuple[Item, ...]
    tokens: tuple[Token, ...]

    @property
    def ids(self) -> list[str]:
        return [item.id for item in self.items]

    def item(self, name: str) -> Item:
        return next(item for item in self.items if item.id == name)

    def token(self, name: str) -> Token:
        return next(token for token in self.tokens if token.name == name)

    def establishers(self, token: str) -> list[Item]:
        return [item for item in self.items if token in item.establishes]

    def destroyers(self, token: str) -> list[Item]:
        return [item for item in self.items if token in item.invalidates]

    def bases(self, token: str) -> set[str]:
        """Return everything that a token may rest on, directly or not, whatever brings it about."""
        found: set[str] = set()
        waiting = [token]
        while waiting:
            name = waiting.pop()
            direct = {*self.token(name).needs}
            direct.update(base for item in self.establishers(name) for base in item.requires)
            waiting.extend(direct - found)
            found |= direct
        return found

    def saved_with(self, token: str) -> list[str]:
        """Return the tokens whose values are saved wherever this one's is: all that establish it save the same."""
        found = {token}
        for _ in self.tokens:
            found.update(
                other for item in self.items if found & {*item.establishes} for other in item.establishes
            )
        return sorted(found)

    def before(self, name: str) -> set[str]:
        """Return the items that establish something that an item rests on."""
        needs = {*self.item(name).requires}
        for token in list(needs):
            needs |= self.bases(token)
        return {item.id for token in needs for item in self.establishers(token)}

    def _first_amiss(self, tokens: Collection[str], missing: Callable[[str], str]) -> str:
        """Return what becomes of what needs tokens. What was not established counts before anything is set up."""
        not_established = (
            "deferred" for one in tokens if not self.token(one).provided and missing(one) == "deferred"
        )
        return next(not_established, "") or next(filter(None, map(missing, tokens)), "")

    def expected(self, selected: Collection[str], mended: Collection[str] = ()) -> dict[str, str]:
        """Return the outcome of each selected item: passed, failed, error, deferred or skipped.

        Only the gates of the selection count. Items that are `mended` have no fault any more.
        """
        by_id = {item.id: item for item in self.items}

        @cache
        def outcome(name: str) -> str:
            item = by_id[name]
            if item.mark == "skip":
                return "skipped"
            if name in selected and any(closed(gate) for gate in selected if gates(by_id[gate], item)):
                return "deferred"
            problem = self._first_amiss(item.requires, missing)
            fault = "" if name in mended else item.fault
            if problem or not fault:
                return problem or "passed"
            if fault == UNCLEAN:
                return "error"
            return "skipped" if item.mark == "xfail" else "failed"

        def closed(gate: str) -> bool:
            return outcome(gate) not in {"passed", "skipped"}

        @cache
        def missing(name: str) -> str:
            establishers = self.establishers(name)
            if any(outcome(item.id) == "passed" for item in establishers):
                return ""
            token = self.token(name)
            if token.provided:
                return self._first_amiss(token.needs, missing)
            return "deferred" if establishers else "error"

        return {name: outcome(name) for name in selected}


def gates(gate: Item, item: Item) -> bool:
    return gate.gating and TIERS.index(gate.tier) < TIERS.index(item.tier)


def placed_before(model: Model) -> Iterator[tuple[str, str]]:
    """Yield the pairs of which the first item must be finished before the second starts."""
    for item in model.items:
        for token in item.requires:
            for other in model.establishers(token):
                yield other.id, item.id
