"""From what pytest has collected and selected to the plan of this run, the same in every process."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pytest_dogfood.collection import fixture_providers
from pytest_dogfood.collection import journeys_of
from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.diagnostics import errors_among
from pytest_dogfood.diagnostics import in_order_of_place
from pytest_dogfood.durations import weights
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.manifest import Expected
from pytest_dogfood.planning import Plan
from pytest_dogfood.planning import make_plan
from pytest_dogfood.planning import python_prerequisites
from pytest_dogfood.project import Project
from pytest_dogfood.settings import Shard
from pytest_dogfood.sharding import Division
from pytest_dogfood.sharding import divide
from pytest_dogfood.sharding import file_of
from pytest_dogfood.sharding import fingerprint
from pytest_dogfood.stash import JOURNEY
from pytest_dogfood.storage import read_as
from pytest_dogfood.storage import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What this run is about: the graph of the project, the items in order, their plan, and what is wrong."""

    graph: CapabilityGraph
    items: tuple[pytest.Item, ...]
    plan: Plan
    findings: tuple[Diagnostic, ...] = ()
    elsewhere: tuple[pytest.Item, ...] = ()
    """Items that belong to other shards."""
    expected: Expected | None = None
    """What all shards together are to run, if there are shards."""

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What forbids a run."""
        return errors_among(self.findings)


def settle(
    config: pytest.Config,
    project: Project,
    *,
    collected: Sequence[pytest.Item],
    selected: Sequence[pytest.Item],
    shard: Shard | None = None,
    seen: Mapping[str, float] | None = None,
    committed: Mapping[str, float] | None = None,
) -> Settled:
    """Decide which items run and in which order.

    `collected` is everything that was found, `selected` what -k, -m and others have left of it. Other items keep
    their places; those of the graph change places among themselves. `seen` and `committed` are durations in
    seconds by node id; shards go by what is committed alone, which is the same on every machine.
    """
    wrong, tests = journeys_of(collected, project)
    if shard is not None:
        project.read_whole()
    graph = project.graph(tests, fixture_providers(config, collected))
    findings = in_order_of_place([*wrong, *project.diagnose(graph)])
    if errors_among(findings):
        return Settled(graph=graph, items=tuple(selected), plan=Plan(), findings=findings)
    in_selection = _ids(selected)
    here = list(selected)
    elsewhere: list[pytest.Item] = []
    expected: Expected | None = None
    if shard is not None:
        division = divide(
            graph,
            [item.nodeid for item in collected if item.stash.get(JOURNEY, None) is None],
            shard.total,
            seconds=weights(graph.journeys.values(), seen={}, committed=committed or {}),
            committed=committed or {},
        )
        shards = [(item, _shard_of(item, graph, division)) for item in selected]
        here = [item for item, number in shards if number == shard.index]
        elsewhere = [item for item, number in shards if number != shard.index]
        expected = Expected(
            graph=fingerprint(graph),
            shards={item.nodeid: number for item, number in shards},
            journeys={item.nodeid: _journey(item).id for item in selected if JOURNEY in item.stash},
        )
    wanted = set(python_prerequisites(graph, _ids(here)))
    here += [item for item in collected if item.stash.get(JOURNEY, None) and _journey(item).id in wanted]
    plan = make_plan(
        graph,
        tuple(dict.fromkeys(_ids(here))),
        gates=in_selection,
        prerequisites=wanted,
        durations=weights(graph.journeys.values(), seen=seen or {}, committed=committed or {}),
    )
    brought_back = set(map(id, here))
    elsewhere = [item for item in elsewhere if id(item) not in brought_back]
    return Settled(
        graph=graph,
        items=tuple(_in_order(here, plan)),
        plan=plan,
        elsewhere=tuple(elsewhere),
        findings=findings,
        expected=expected,
    )


def _journey(item: pytest.Item) -> Journey:
    return item.stash[JOURNEY]


def _ids(items: Sequence[pytest.Item]) -> list[JourneyId]:
    return [journey.id for item in items if (journey := item.stash.get(JOURNEY, None)) is not None]


def _shard_of(item: pytest.Item, graph: CapabilityGraph, division: Division) -> int:
    journey = item.stash.get(JOURNEY, None)
    return (
        division.files[file_of(item.nodeid)] if journey is None else division.chains[graph.chains[journey.id]]
    )


def _in_order(items: Sequence[pytest.Item], plan: Plan) -> list[pytest.Item]:
    position = {planned.id: number for number, planned in enumerate(plan.journeys)}
    ours = [item for item in items if item.stash.get(JOURNEY, None) is not None]
    ordered = iter(sorted(ours, key=lambda item: position[_journey(item).id]))
    return [next(ordered) if item.stash.get(JOURNEY, None) is not None else item for item in items]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a worker tells the controller, which has collected nothing itself."""

    plan: Plan
    diagnostics: tuple[Diagnostic, ...] = ()
    empty_shard: bool = False
    expected: Expected | None = None


def publish(directory: Path, worker: str, published: Published) -> None:
    write_whole(directory / f"{worker}.json", msgspec.json.encode(published))


def read_published(directory: Path) -> Published:
    """Read what the workers have published; raises HarnessError if they do not agree or said nothing."""
    found = [read_as(path, Published) for path in sorted(directory.glob("*.json"))]
    everything = [one for one in found if one is not None]
    if not everything:
        raise HarnessError("no worker has said what it plans to run")
    if any(one.plan.digest != everything[0].plan.digest for one in everything):
        raise HarnessError(
            "the workers have made different plans, from different files or in different orders"
        )
    return everything[0]
