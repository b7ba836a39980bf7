"""Room for recursion that is as deep as a chain of requirements is long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CALLS = 25
"""How many calls lie between one journey of a chain and the next, with those of other people's hooks."""


@contextmanager
def room_for(journeys: int) -> Iterator[None]:
    """Let calls nest as deeply as so many journeys may rest on each other.

    The limit of the interpreter is there to end a recursion without end, which a graph without cycles cannot be. Calls
    from Python to Python take no stack of the system (since 3.11), only memory.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _CALLS * journeys)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
