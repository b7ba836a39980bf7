"""Keeps among the last failed what was deferred, so that --lf reaches it; pytest forgets whatever is skipped."""

from __future__ import annotations

import pytest

from pytest_dogfood.session.leader import Leading

KEY = "cache/lastfailed"
"""Where pytest's cache holds the node ids of what has failed."""


class LastFailed:
    """The plugin of the leading process that completes what pytest writes there at the end of a run."""

    def __init__(self, config: pytest.Config, leading: Leading) -> None:
        self._config = config
        self._leading = leading
        self._before: dict[str, bool] = {}

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        self._before = self._read()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Add what was deferred. A declared blocker adds nothing: its dependents stay if they were there before."""
        kept = [
            nodeid
            for nodeid, cause in self._leading.deferred().items()
            if not cause.blocked or nodeid in self._before
        ]
        kept += [nodeid for nodeid in self._leading.uncollected() if nodeid in self._before]
        failed = self._read()
        more = {nodeid: True for nodeid in kept if nodeid not in failed}
        if more and self._cache is not None:
            self._cache.set(KEY, {**failed, **more})

    def _read(self) -> dict[str, bool]:
        found = self._cache.get(KEY, {}) if self._cache is not None else {}
        return found if isinstance(found, dict) else {}

    @property
    def _cache(self) -> pytest.Cache | None:
        return getattr(self._config, "cache", None)  # -p no:cacheprovider leaves it out
