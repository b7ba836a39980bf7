"""What `--lf` and `--ff` run again: pytest's list of the last failed items, plus the deferred ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dogfood.collection.stash import ADDED, PROJECT
from pytest_dogfood.outcomes import Outcome

if TYPE_CHECKING:
    from pytest_dogfood.session.leader import Leader

KEY = "cache/lastfailed"
"""The key under which pytest's cache holds the node ids of failed items."""


class LastFailed:
    """The plugin of the leading process that completes this list at the end of a run."""

    def __init__(self, config: pytest.Config, leader: Leader) -> None:
        self._config = config
        self._leader = leader
        self._cache: pytest.Cache | None = getattr(config, "cache", None)  # -p no:cacheprovider leaves it out
        self._before: dict[str, bool] = {}

    def pytest_sessionstart(self) -> None:
        self._before = self._read()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Add the deferred items. Dependents of a blocked token are not added, but stay if they were listed before."""
        plan, kept = self._leader.plan, []
        if plan is not None:
            nodeids = {one.id: one.nodeid for one in plan.journeys}
            known = {*nodeids, *self._config.stash[PROJECT]().graph().journeys}
            for result in self._leader.tally.results.values():
                cause = result.cause
                if result.outcome is not Outcome.DEFERRED or cause is None:
                    continue
                nodeid = nodeids[result.id]
                if nodeid in self._before if cause.blocked else cause.who in known:
                    kept.append(nodeid)
        added = self._config.stash.get(ADDED, None)
        kept += [nodeid for nodeid in (added.uncollected() if added else ()) if nodeid in self._before]
        failed = self._read()
        more = {nodeid: True for nodeid in kept if nodeid not in failed}
        if more and self._cache is not None:
            self._cache.set(KEY, {**failed, **more})

    def _read(self) -> dict[str, bool]:
        found = self._cache.get(KEY, {}) if self._cache is not None else {}
        return found if isinstance(found, dict) else {}
