"""Manifests for tests that need no run: made by hand, or random and sound by construction."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import JourneyResult, Outcome
from pytest_dogfood.report.manifest import ItemRecord, Manifest
from pytest_dogfood.scheduling.plan import Expected
from pytest_dogfood.settings import Shard

PATH = "made.journey.yaml"


def nodeid(name: str) -> str:
    return f"{PATH}::{name}"


def expected(**shards: int) -> Expected:
    """Expect each journey on a shard."""
    return Expected(
        shards={nodeid(name): number for name, number in shards.items()},
        journeys={nodeid(name): JourneyId(name) for name in shards},
    )


def ran(
    index: int,
    plan: Expected,
    outcomes: Mapping[str, Outcome],
    *,
    total: int = 2,
    replayed: Mapping[str, Outcome] | None = None,
    gates: str = "",
    text: str = "",
    status: int | None = None,
) -> Manifest:
    """Return the manifest of a shard on which journeys came to these outcomes."""
    told = [*outcomes.values(), *(replayed or {}).values()]
    items = [
        ItemRecord(nodeid=nodeid(name), outcome=outcome, seconds=1.0, text=text if outcome.is_bad else "")
        for name, outcome in outcomes.items()
    ]
    return Manifest(
        shard=Shard(index, total),
        expected=plan,
        items=tuple(items),
        results=tuple(
            JourneyResult(id=JourneyId(name), outcome=outcome) for name, outcome in outcomes.items()
        ),
        replayed={JourneyId(name): outcome for name, outcome in (replayed or {}).items()},
        gates=tuple(map(JourneyId, gates.split())),
        exit_status=int(any(one.is_bad for one in told)) if status is None else status,
    )


@st.composite
def runs(draw: st.DrawFn) -> list[Manifest]:
    """Draw the manifests of one run; shards may have been broken off, and texts hold anything."""
    total = draw(st.integers(1, 4))
    shards = draw(st.dictionaries(st.text(min_size=1, max_size=8).map(nodeid), st.integers(1, total)))
    plan = Expected(shards=shards, journeys={one: JourneyId(one.removeprefix(PATH)) for one in shards})
    return [_drawn(draw, Shard(index, total), plan) for index in range(1, total + 1)]


def _drawn(draw: st.DrawFn, shard: Shard, plan: Expected) -> Manifest:
    own = [one for one, number in plan.shards.items() if number == shard.index]
    others = [one for one in plan.shards if one not in own]
    done = own[: draw(st.integers(0, len(own)))]
    again = others[: draw(st.integers(0, min(1, len(others))))]
    outcomes = st.sampled_from(Outcome)
    items = [
        ItemRecord(
            nodeid=one,
            outcome=draw(outcomes),
            seconds=draw(st.floats(0, 1e6)),
            text=draw(st.text(max_size=20)),
            properties=tuple(
                draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=1)).items()
            ),
            prerequisite=one in again,
        )
        for one in [*done, *again]
    ]
    results = [JourneyResult(id=plan.journeys[item.nodeid], outcome=item.outcome) for item in items]
    manifest = Manifest(shard=shard, expected=plan, items=tuple(items), results=tuple(results))
    return replace(manifest, replayed={plan.journeys[one]: draw(outcomes) for one in again})
