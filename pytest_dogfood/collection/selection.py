"""Selects what runs in this process: turns the collected items into a plan that all processes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.collection.collector import fixture_providers, journeys_of, reordered
from pytest_dogfood.collection.stash import DEPENDENCY_MARKS, JOURNEY, PINNED, PROJECT, SETTINGS
from pytest_dogfood.diagnostics import (
    Diagnostic,
    HarnessError,
    PinnedPlanError,
    errors_among,
    in_order_of_place,
)
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
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.settings import Settings, Shard
from pytest_dogfood.storage.files import read_as, write_whole
from pytest_dogfood.walks import reachable

if TYPE_CHECKING:
    from pytest_dogfood.scheduling.pinned_plan import PinnedPlan


class Durations(Struct, frozen=True, kw_only=True):
    """How long items took, in seconds by node id: in earlier runs here, and as committed with the project."""

    seen: Mapping[str, float]
    committed: Mapping[str, float]


class WorkerSelection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker's message to the leading process: its plan, or the errors that forbid a run.

    `refused` is why pytest could not collect, such as an argument that it does not find. `empty_shard` means
    that all items belong to other shards. `expected` lists what all shards together will run. In a fleet, `graph` is a
    fingerprint of the graph, and `together` has the node ids of items that must run on one machine.
    """

    plan: Plan
    diagnostics: tuple[Diagnostic, ...] = ()
    refused: tuple[str, ...] = ()
    empty_shard: bool = False
    expected: Expected | None = None
    graph: str = ""
    together: tuple[tuple[str, ...], ...] = ()


def read_worker_selection(directory: Path) -> WorkerSelection:
    """Read what the workers have published; raises HarnessError if they do not agree, or published nothing."""
    found = [read_as(path, WorkerSelection) for path in sorted(directory.glob("*.json"))]
    everything = [one for one in found if one is not None]
    if not everything:
        from pytest_dogfood.execution.output import is_full  # other runs do without what reads outputs

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
    """The selection of this run: the graph of the project, the items in order, their plan, and the findings.

    With shards, `elsewhere` are the items of the other shards, `gates_elsewhere` the gates before each of the journeys
    among them, and `expected` lists what all shards together will run. `left_out` are items that a plan file leaves
    out.
    """

    graph: CapabilityGraph
    items: tuple[pytest.Item, ...]
    plan: Plan
    findings: tuple[Diagnostic, ...] = ()
    elsewhere: tuple[pytest.Item, ...] = ()
    gates_elsewhere: Mapping[JourneyId, tuple[JourneyId, ...]] = field(default_factory=dict)
    expected: Expected | None = None
    left_out: tuple[pytest.Item, ...] = ()

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The findings that forbid a run."""
        return errors_among(self.findings)

    def published(self) -> WorkerSelection:
        """Return the part that the leading process needs."""
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
    """Select the items to run into `items`, and write the plan for the controller if a file is given."""
    settings = config.stash[SETTINGS]
    try:
        selection = _select(config, collected, items, settings.shard, durations)
    except PinnedPlanError as error:
        refused = tuple(f"--dogfood-plan {settings.plan}: {one}" for one in error.args)
        if published is None:
            raise pytest.UsageError(*refused) from error
        write_whole(published, msgspec.json.encode(WorkerSelection(plan=Plan(), refused=refused)))
        selection = Selection(graph=CapabilityGraph(()), items=(), plan=Plan())
        published = None
    items[:] = selection.items
    if not_here := [*selection.elsewhere, *selection.left_out]:
        config.hook.pytest_deselected(items=not_here)
    if published is not None:
        write_whole(published, msgspec.json.encode(_published(selection, settings)))
    elif selection.diagnostics and not settings.check:
        from pytest_dogfood.collection.uncollected import refusal  # most projects have no errors

        raise refusal(config.stash[PROJECT](), selection.diagnostics)
    return selection


def _published(selection: Selection, settings: Settings) -> WorkerSelection:
    if settings.fleet_run is None or selection.diagnostics:
        return selection.published()
    from pytest_dogfood.scheduling.shards import fingerprint  # most runs have no other machines
    from pytest_dogfood.scheduling.together import groups_on_one_machine

    graph = selection.graph
    groups = groups_on_one_machine(graph, [planned.id for planned in selection.plan.journeys])
    together = tuple(tuple(graph.journeys[one].nodeid for one in group) for group in groups)
    return replace(selection.published(), graph=fingerprint(graph), together=together)


def put_in_order(
    config: pytest.Config, collected: Sequence[pytest.Item], items: list[pytest.Item], durations: Durations
) -> None:
    """Put items into the order in which they would run if all of them ran; an invalid project keeps its order."""
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

    `collected` are all items, `selected` those that -k, -m and other plugins have left. Items outside the graph keep
    their positions; those of the graph are reordered among themselves. Shards use only committed durations, which are
    the same on every machine.
    """
    project = config.stash[PROJECT]()
    marks = config.stash.get(DEPENDENCY_MARKS, None)
    dependences, misread = marks.resolve(collected, selected) if marks is not None else ({}, [])
    wrong, tests = journeys_of(collected, project, dependences)
    if shard is not None or (project.is_named_in_part and any(map(_may_ask, collected))):
        project.read_whole()  # a token requested while a test runs may be established anywhere
    graph = project.graph(tests, *fixture_providers(config, collected))
    python_files = config.getini("python_files")
    # The named paths leave out tests that may establish a token, with marks and fixtures from any file.
    patterns = ("*.py",) if project.is_named_in_part or not python_files else python_files
    files = {item.path for item in collected}
    found = project.diagnose(graph, collected=files, patterns=patterns)
    findings = in_order_of_place([*misread, *wrong, *found])
    if shard is not None and not errors_among(findings):
        from pytest_dogfood.check.fleet import refused_in_shards  # most runs have no shards

        findings = in_order_of_place([*findings, *refused_in_shards(graph, _ids(selected))])
    if errors_among(findings):
        return Selection(graph=graph, items=tuple(selected), plan=Plan(), findings=findings)
    durations_known = weights(graph.journeys.values(), seen=durations.seen, committed=durations.committed)
    pinned = config.stash.get(PINNED, None)
    if pinned is not None:
        chosen = _pinned(pinned, graph, collected, selected, durations_known)
        if isinstance(chosen, Selection):
            return replace(chosen, findings=findings)
        selected = chosen
    own, others, expected = _divided(selected, shard, collected, graph, durations.committed)
    wanted = set(prerequisites_to_run(graph, _ids(own), elsewhere=_ids(others)))
    here = [*own, *(item for item in collected if JOURNEY in item.stash and item.stash[JOURNEY].id in wanted)]
    here = marks.in_order(here) if marks is not None else here
    plan = make_plan(
        graph,
        tuple(dict.fromkeys(_ids(here))),
        gates=_ids(selected),
        prerequisites=wanted,
        durations=durations_known,
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


def _pinned(
    pinned: PinnedPlan,
    graph: CapabilityGraph,
    collected: Sequence[pytest.Item],
    selected: Sequence[pytest.Item],
    durations: Mapping[str, float],
) -> Selection | Sequence[pytest.Item]:
    """Return what a plan file makes of a selection: a whole one if it says the order, else the items that run.

    Raises PinnedPlanError if no run can follow it.
    """
    from pytest_dogfood.scheduling import pinned_plan  # most runs follow no plan file

    items = {item.stash[JOURNEY].id: item for item in reversed(collected) if JOURNEY in item.stash}
    if wrong := tuple(pinned_plan.unknown_names(pinned, graph, items)):
        raise PinnedPlanError(*wrong)
    if pinned.orders is None and not pinned.release:
        if pinned.only is None:
            return selected
        wanted = set(pinned_plan.with_needs(graph, pinned.only))
        return [item for item in collected if JOURNEY in item.stash and item.stash[JOURNEY].id in wanted]
    plan = pinned_plan.make_pinned_plan(graph, pinned.orders or (), durations=durations)
    if pinned.release:  # the order of release is that of all tokens
        tokens = reachable(graph.tokens, graph.rests_on)
        plan = replace(plan, rests_on={token: graph.rests_on(token) for token in tokens})
    here = [items[one.id] for one in plan.journeys]
    run_here = set(here)
    return Selection(
        graph=graph,
        items=tuple(here),
        plan=replace(plan, asks_at_run_time=any(map(_may_ask, here))),
        left_out=tuple(item for item in selected if item not in run_here),
    )


def _divided(
    selected: Sequence[pytest.Item],
    shard: Shard | None,
    collected: Sequence[pytest.Item],
    graph: CapabilityGraph,
    committed: Mapping[str, float],
) -> tuple[Sequence[pytest.Item], Sequence[pytest.Item], Expected | None]:
    """Return the items of this shard, those of the others, and what all shards together will run.

    The whole project is divided, not the selection, so that every selection is divided in the same way.
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
    states = split(graph).state_of
    numbers = {
        item: division.states[states[item.stash[JOURNEY].id]]
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
    """Return whether an item of the graph may ask for tokens while it runs, also through `request`."""
    if JOURNEY not in item.stash or not item.stash[JOURNEY].python:
        return False
    return not {"capabilities", "request"}.isdisjoint(getattr(item, "fixturenames", ()))


def _ids(items: Iterable[pytest.Item]) -> list[JourneyId]:
    return [item.stash[JOURNEY].id for item in items if JOURNEY in item.stash]


def _in_order(items: Sequence[pytest.Item], plan: Plan, dist: str) -> list[pytest.Item]:
    """Return the items with those of the graph in the plan's order; loadfile and loadscope keep groups together."""
    if dist in GROUPING and plan.journeys:
        return [items[place] for place in in_group_order([item.nodeid for item in items], plan, dist)]
    return reordered(items, (planned.nodeid for planned in plan.journeys))
