"""Who is told how far a run has come."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told what a run is busy with."""

    def begin(self, repo: str) -> None:
        """Another checkout, of this repository, is being looked at."""

    def advance(self, done: int, total: int) -> None:
        """So many of the changes that the hub is to be told of in this checkout are made."""


class Silent:
    """Tells nobody."""

    def begin(self, repo: str) -> None:
        """Say nothing."""

    def advance(self, done: int, total: int) -> None:
        """Say nothing."""


SILENT: Progress = Silent()
