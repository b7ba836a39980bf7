"""What runs in this process: from what pytest collected to a plan that all processes share, or an empty shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.collection.collector import fixture_providers, journeys_of, rearranged
from pytest_dogfood.collection.stash import DEPENDENCY_MARKS, JOURNEY, PROJECT, SETTINGS
from pytest_dogfood.diagnostics import (
    Diagnostic,
    HarnessError,
    errors_among,
    in_order_of_place,
)
from pytest_dogfood.execution.output import is_full
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.scheduling.plan import (
    Expected,
    Plan,
    gates_by_tier,
    make_plan,
    prerequisites_to_run,
    weights,
)
from pytest_dogfood.scheduling.queue import GROUPING, in_group_order
from pytest_dogfood.settings import Shard
from pytest_dogfood.storage.files import read_as, write_whole


class Durations(Struct, frozen=True, kw_only=True):
    """How long items took, in seconds by node id: in earlier runs here, and as committed with the project."""

    seen: Mapping[str, float]
    committed: Mapping[str, float]


class WorkerSelection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker tells the process that leads: its plan, or what forbids a run.

    `refused` is why pytest could not collect, such as an argument that it does not find. `empty_shard` says
    that all items belong to other shards. `expected` is what all shards together are to run.
    """

    plan: Plan
    diagnostics: tuple[Diagnostic, ...] = ()
    refused: tuple[str, ...] = ()
    empty_shard: bool = False
    expected: Expected | None = None


def read_worker_selection(directory: Path) -> WorkerSelection:
    """Read what the workers have published; raises HarnessError if they do not agree or said nothing."""
    found = [read_as(path, WorkerSelection) for path in sorted(directory.glob("*.json"))]
    everything = [one for one in found if one is not None]
    if not everything:
        why = ": the disk is full" if is_full(directory) else ""
        raise HarnessError(
            f"no worker could write what it needs to {directory.parent}{why}; "
            "free some space, or set dogfood_state_root"
        )
    if any(one.plan.digest != everything[0].plan.digest for one in everything):
        raise HarnessError(
            "the workers have made different plans, from different files or in different orders"
        )
    return everything[0]


class Selection(Struct, frozen=True, kw_only=True):
    """What this run is about: the graph of the project, the items in order, their plan, and what is wrong.

    If there are shards, `elsewhere` are the items of the others, `gates_elsewhere` what stands before each of the
    journeys among them, and `expected` what all shards together are to run.
    """

    graph: CapabilityGraph
    items: tuple[pytest.Item, ...]
    plan: Plan
    findings: tuple[Diagnostic, ...] = ()
    elsewhere: tuple[pytest.Item, ...] = ()
    gates_elsewhere: Mapping[JourneyId, tuple[JourneyId, ...]] = field(default_factory=dict)
    expected: Expected | None = None

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What forbids a run."""
        return errors_among(self.findings)

    def published(self) -> WorkerSelection:
        """Return what the leading process has to know of this."""
        return WorkerSelection(
            plan=self.plan,
            diagnostics=self.diagnostics,
            empty_shard=not self.items and bool(self.elsewhere),
            expected=self.expected,
        )


def select_here(
    config: pytest.Config,
    collected: Sequence[pytest.Item],
    items: list[pytest.Item],
    published: Path | None,
    durations: Durations,
) -> Selection:
    """Put what runs into `items`, and tell the controller of it if there is a file for that."""
    settings = config.stash[SETTINGS]
    selection = _select(config, collected, items, settings.shard, durations)
    items[:] = selection.items
    if selection.elsewhere:
        config.hook.pytest_deselected(items=list(selection.elsewhere))
    if published is not None:
        write_whole(published, msgspec.json.encode(selection.published()))
    elif selection.diagnostics and not settings.check:
        from pytest_dogfood.collection.uncollected import refusal  # most projects have no errors

        raise refusal(config.stash[PROJECT](), selection.diagnostics)
    return selection


def put_in_order(
    config: pytest.Config, collected: Sequence[pytest.Item], items: list[pytest.Item], durations: Durations
) -> None:
    """Put items into the order in which they would run if all of them did; a project with mistakes is left as it is."""
    given = set(items)
    items[:] = [item for item in _select(config, collected, items, None, durations).items if item in given]


def _select(
    config: pytest.Config,
    collected: Sequence[pytest.Item],
    selected: Sequence[pytest.Item],
    shard: Shard | None,
    durations: Durations,
) -> Selection:
    """Decide which items run and in which order.

    `collected` is everything that was found, `selected` what -k, -m and others have left of it. Other items keep
    their places; those of the graph change places among themselves. Shards go by committed durations alone, which are
    the same on every machine.
    """
    project = config.stash[PROJECT]()
    marks = config.stash.get(DEPENDENCY_MARKS, None)
    dependences, misread = marks.resolve(collected, selected) if marks is not None else ({}, [])
    wrong, tests = journeys_of(collected, project, dependences)
    if shard is not None or (project.is_named_in_part and any(map(_may_ask, collected))):
        project.read_whole()  # what is asked for while a test runs may be established anywhere
    graph = project.graph(tests, *fixture_providers(config, collected))
    python_files = config.getini("python_files")
    # What the user has named leaves tests out that may establish a token, with marks and fixtures from anywhere.
    patterns = ("*.py",) if project.is_named_in_part or not python_files else python_files
    files = {item.path for item in collected}
    found = project.diagnose(graph, collected=files, patterns=patterns)
    findings = in_order_of_place([*misread, *wrong, *found])
    if errors_among(findings):
        return Selection(graph=graph, items=tuple(selected), plan=Plan(), findings=findings)
    own, others, expected = _divided(selected, shard, collected, graph, durations.committed)
    wanted = set(prerequisites_to_run(graph, _ids(own), elsewhere=_ids(others)))
    here = [*own, *(item for item in collected if JOURNEY in item.stash and item.stash[JOURNEY].id in wanted)]
    here = marks.in_order(here) if marks is not None else here
    plan = make_plan(
        graph,
        tuple(dict.fromkeys(_ids(here))),
        gates=_ids(selected),
        prerequisites=wanted,
        durations=weights(graph.journeys.values(), seen=durations.seen, committed=durations.committed),
    )
    plan = replace(plan, asks_at_run_time=any(map(_may_ask, here)))
    run_here = set(here)
    elsewhere = tuple(item for item in others if item not in run_here)
    gates = gates_by_tier(graph, _ids(selected) if elsewhere else ())
    return Selection(
        graph=graph,
        items=tuple(_in_order(here, plan, getattr(config, "workerinput", {}).get("dogfood_dist", ""))),
        plan=plan,
        elsewhere=elsewhere,
        gates_elsewhere={one: gates[graph.journeys[one].tier] for one in _ids(elsewhere)},
        findings=findings,
        expected=expected,
    )


def _divided(
    selected: Sequence[pytest.Item],
    shard: Shard | None,
    collected: Sequence[pytest.Item],
    graph: CapabilityGraph,
    committed: Mapping[str, float],
) -> tuple[Sequence[pytest.Item], Sequence[pytest.Item], Expected | None]:
    """Return the items of this shard, those of the others, and what all shards together are to run.

    The whole project is divided, and only then the selection, so that every selection is divided alike.
    """
    if shard is None:
        return selected, (), None
    from pytest_dogfood.scheduling.shards import divide, file_of, fingerprint  # most runs have no shards

    division = divide(
        graph,
        [item.nodeid for item in collected if JOURNEY not in item.stash],
        shard.total,
        seconds=weights(graph.journeys.values(), seen={}, committed=committed),
        committed=committed,
    )
    numbers = {
        item: division.chains[graph.chains[item.stash[JOURNEY].id]]
        if JOURNEY in item.stash
        else division.files[file_of(item.nodeid)]
        for item in selected
    }
    expected = Expected(
        graph=fingerprint(graph),
        shards={item.nodeid: number for item, number in numbers.items()},
        journeys={item.nodeid: item.stash[JOURNEY].id for item in selected if JOURNEY in item.stash},
    )
    own = [item for item in selected if numbers[item] == shard.index]
    return own, [item for item in selected if numbers[item] != shard.index], expected


def _may_ask(item: pytest.Item) -> bool:
    """Return whether an item of the graph may ask for tokens while it runs, be it by way of `request`."""
    if JOURNEY not in item.stash or not item.stash[JOURNEY].python:
        return False
    return not {"capabilities", "request"}.isdisjoint(getattr(item, "fixturenames", ()))


def _ids(items: Iterable[pytest.Item]) -> list[JourneyId]:
    return [item.stash[JOURNEY].id for item in items if JOURNEY in item.stash]


def _in_order(items: Sequence[pytest.Item], plan: Plan, dist: str) -> list[pytest.Item]:
    """Let the items of the graph change places; with loadfile or loadscope those of a file or scope stay together."""
    if dist in GROUPING and plan.journeys:
        return [items[place] for place in in_group_order([item.nodeid for item in items], plan, dist)]
    return rearranged(items, (planned.nodeid for planned in plan.journeys))
