"""Groups that grow together: whatever is joined, directly or by way of others, has the same head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Unions(Generic[T]):
    """Each of the members is a group of its own at first."""

    def __init__(self, members: Iterable[T]) -> None:
        self._leader = {member: member for member in members}

    def head(self, member: T) -> T:
        """Give the member that stands for the whole group."""
        while self._leader[member] != member:
            self._leader[member] = self._leader[self._leader[member]]
            member = self._leader[member]
        return member

    def join(self, one: T, other: T) -> None:
        self._leader[self.head(one)] = self.head(other)
