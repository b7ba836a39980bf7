"""What stays on disk of a run that has ended: what failed, what was asked for, what actors did."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

from pytest_dogfood.storage.run_directory import OUTPUTS, RESULTS, TRAJECTORIES, RunDirectory


class Keeping:
    """Decides it once; `failed` are the directories of items that did not do well, `everything` is --dogfood-keep."""

    def __init__(self, run: RunDirectory, *, failed: AbstractSet[Path], everything: bool) -> None:
        self._run = run
        self._failed = failed
        self._everything = everything
        there = any(path.exists() for path in (*failed, run.path / TRAJECTORIES))
        self.directory = run.path if everything or there else None

    @property
    def for_actors_only(self) -> bool:
        """Whether the directory stays for nothing but what actors did."""
        return self.directory is not None and not self._everything and not self._failed

    def paths(self) -> AbstractSet[Path]:
        """Name what stays of the directory; tokens never do, whose records hold secret values as they are."""
        if self.directory is None:
            return set()
        if self._everything:
            return set(self.directory.iterdir()) - {self._run.tokens}
        outputs = {self.directory / OUTPUTS} if self._failed else set()
        return {*self._failed, *outputs, self.directory / TRAJECTORIES, self.directory / RESULTS}
