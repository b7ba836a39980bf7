"""Keeps the garbage collector from looking at what is only being made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking at every node and item again and again, longer than making them takes.

    Nor does it look at everything once they are made, for what has lived so long will live on.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.unfreeze()  # together: counts everything there is as old
            gc.enable()
