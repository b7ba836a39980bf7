"""The records of all shards as one run, for a report: lanes named after their shards, each counting from its start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from pytest_dogfood.report.merge import Merged
from pytest_dogfood.storage.record import Activity, GraphRecord, RecordedRun, RunRecord


def merged_run(merged: Merged) -> RecordedRun:
    """Return one run of all shards; a shard without a record adds its results only."""
    shards = [(one.shard.index, one.record) for one in merged.manifests if one.record is not None]
    started = min((record.run.started for _, record in shards), default=0.0)
    return RecordedRun(
        directory=Path(),
        run=_run(merged, [record.run for _, record in shards], started),
        graph=_graph([record.graph for _, record in shards if record.graph is not None]),
        activities=tuple(
            _shifted(activity, shard, started - record.run.started)
            for shard, record in shards
            for activity in record.activities
        ),
        results=merged.tally.results,
        last_green=next((record.last_green for _, record in shards if record.last_green), None),
        texts={f"{shard}/{name}": text for shard, record in shards for name, text in record.texts.items()},
    )


def _run(merged: Merged, runs: list[RunRecord], started: float) -> RunRecord:
    total = merged.total
    others = Counter[str]()
    for run in runs:
        others.update(run.others)
    first = runs[0] if runs else RunRecord(id="", project="", root="", started=started)
    return replace(
        first,
        id=" ".join(run.id for run in runs),
        started=started,
        workers=sum(run.workers for run in runs) or 1,
        shard=f"{len(merged.manifests)} of {total} shards",
        seconds=max((run.seconds for run in runs), default=0.0),
        exit_status=merged.exit_status,
        closing_line=merged.tally.closing_line(),
        others=dict(others),
    )


def _graph(graphs: Iterable[GraphRecord]) -> GraphRecord | None:
    several = list(graphs)
    if not several:
        return None
    return GraphRecord(
        journeys=tuple({one.id: one for graph in several for one in graph.journeys}.values()),
        capabilities=tuple({one.token: one for graph in several for one in graph.capabilities}.values()),
        fixtures={token: name for graph in several for token, name in graph.fixtures.items()},
        digests={name: digest for graph in several for name, digest in graph.digests.items()},
        after={name: before for graph in several for name, before in graph.after.items()},
    )


def _shifted(activity: Activity, shard: int, seconds: float) -> Activity:
    def moved(name: str) -> str:
        return f"{shard}/{name}" if name else ""

    return replace(
        activity,
        lane=f"shard {shard}, {activity.lane}",
        started=activity.started + seconds,
        steps=tuple(
            replace(step, started=step.started + seconds, out=moved(step.out), err=moved(step.err))
            for step in activity.steps
        ),
    )
