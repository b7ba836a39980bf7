"""Settles what runs in this process, once something of the graph may be among it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_dogfood.collection.selection import Settled, settle
from pytest_dogfood.diagnostics import InvalidProjectError
from pytest_dogfood.published import Published, publish
from pytest_dogfood.settings import Shard
from pytest_dogfood.stash import PROJECT, SETTINGS
from pytest_dogfood.timekeeping import committed_durations, seen_durations


def settle_here(
    config: pytest.Config, collected: Sequence[pytest.Item], items: list[pytest.Item], published: Path | None
) -> Settled:
    """Put what runs into `items`, and tell the controller of it if there is a file for that."""
    settings = config.stash[SETTINGS]
    settled = _settled(config, collected, items, settings.shard)
    items[:] = settled.items
    if settled.elsewhere:
        config.hook.pytest_deselected(items=list(settled.elsewhere))
    if published is not None:
        publish(
            published,
            Published(
                plan=settled.plan,
                diagnostics=settled.diagnostics,
                empty_shard=not settled.items and bool(settled.elsewhere),
                expected=settled.expected,
            ),
        )
    elif settled.diagnostics and not settings.check:
        raise pytest.UsageError(f"\n{InvalidProjectError(settled.diagnostics)}")
    return settled


def put_in_order(config: pytest.Config, collected: Sequence[pytest.Item], items: list[pytest.Item]) -> None:
    """Put items into the order in which they would run if all of them did; a project with mistakes is left as it is."""
    given = set(items)
    items[:] = [item for item in _settled(config, collected, items, None).items if item in given]


def _settled(
    config: pytest.Config,
    collected: Sequence[pytest.Item],
    items: Sequence[pytest.Item],
    shard: Shard | None,
) -> Settled:
    return settle(
        config,
        config.stash[PROJECT](),
        collected=collected,
        selected=items,
        shard=shard,
        seen=seen_durations(config),
        committed=committed_durations(config),
        dist=getattr(config, "workerinput", {}).get("dogfood_dist", ""),
    )
