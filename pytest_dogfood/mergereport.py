"""What `dogfood merge` says of a run over all shards, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pytest_dogfood.outcomes import listed
from pytest_dogfood.report.merge import Merged

FORMAT_VERSION = 1
"""Version of the JSON. 1: the first."""

MOST = 20
"""Names in a line; the JSON has them all."""


def in_words(merged: Merged) -> Iterator[str]:
    """Say what went wrong and what does not add up, then give the closing line over all shards."""
    yield from _missing(merged)
    for number, items in merged.items.items():
        yield from (f"{one.outcome}: {one.nodeid} on shard {number}" for one in items if one.outcome.is_bad)
    for cause, results in merged.tally.causes().items():
        yield f"deferred: {_listed(result.id for result in results)}, because {cause}"
    if failed := merged.failed_in_replay():
        yield f"failed when replayed: {_listed(failed)}"
    for gate, outcomes in merged.disputed_gates.items():
        words = ", ".join(f"{outcome} on shard {number}" for number, outcome in outcomes.items())
        yield f"gate {gate} was decided differently: {words}"
    for result in merged.tally.gates_left_open():
        yield f"gate left open: {result.id} ({result.outcome})"
    yield from _more_than_once(merged)
    yield merged.tally.closing_line()
    count = sum(1 for _ in merged.records())
    yield (
        f"dogfood: {len(merged.manifests)} of {merged.total} {'shard' if merged.total == 1 else 'shards'}, "
        f"{count} {'item' if count == 1 else 'items'}; plan {merged.digest}"
    )


def _missing(merged: Merged) -> Iterator[str]:
    for number in merged.missing_shards:
        yield f"missing: shard {number}/{merged.total}; its items are unaccounted for"
    yield from merged.troubles
    if merged.unaccounted:
        yield f"unaccounted: {_listed(merged.unaccounted)}"
    if merged.uncollected:
        yield f"could not be collected: {_listed(merged.uncollected)}"


def _more_than_once(merged: Merged) -> Iterator[str]:
    for heading, where in (
        ("ran on more than one shard", merged.ran_twice),
        ("ran as prerequisites", merged.prerequisites),
        ("replayed in the set-up of others", merged.replayed),
    ):
        if where:
            yield f"{heading}: {_listed(f'{name} ({_on(shards)})' for name, shards in where.items())}"


def _on(shards: Sequence[int]) -> str:
    return f"shard{'s' if len(shards) > 1 else ''} {', '.join(map(str, shards))}"


def _listed(names: Iterable[str]) -> str:
    return listed(names, most=MOST)


def to_json(merged: Merged) -> dict[str, Any]:
    """Give the merged run as JSON-safe values; see the reference for its fields."""
    return {
        "version": FORMAT_VERSION,
        "digest": merged.digest,
        "exit_status": merged.exit_status,
        "closing_line": merged.tally.closing_line(),
        "shards": merged.total,
        "missing_shards": list(merged.missing_shards),
        "troubles": list(merged.troubles),
        "unaccounted": dict(merged.unaccounted),
        "uncollected": dict(merged.uncollected),
        "ran_twice": _lists(merged.ran_twice),
        "prerequisites": _lists(merged.prerequisites),
        "replayed": _lists(merged.replayed),
        "failed_in_replay": list(merged.failed_in_replay()),
        "disputed_gates": msgspec.to_builtins(merged.disputed_gates, str_keys=True),
        "items": [
            {"shard": number, **msgspec.to_builtins(item)}
            for number, items in merged.items.items()
            for item in items
        ],
        "journeys": [result.to_json() for result in merged.tally.results.values()],
    }


def _lists(where: Mapping[Any, tuple[int, ...]]) -> dict[str, list[int]]:
    return {name: list(shards) for name, shards in where.items()}
