"""Decides which shard runs what, from names and durations that are the same on every machine, in any order."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from math import fsum

from msgspec import Struct

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Scope, Token
from pytest_dogfood.scheduling.plan import UNKNOWN_DURATION, usual_duration


def partition(
    weights: Mapping[str, float],
    total: int,
    *,
    needs: Mapping[str, Mapping[str, float]] | None = None,
    brings: Mapping[str, Collection[str]] | None = None,
) -> dict[str, int]:
    """Spread named units over `total` shards, heaviest first to where the load stays least; shards count from 1.

    `needs` gives what a unit needs and what it costs, in seconds, on a shard where nothing `brings` it yet.
    Depends on names and numbers only, never on the order in which they are given. Graham's LPT rule (1969):
    where nothing is needed, the longest shard is at most 4/3 of the best possible.
    """
    loads = dict.fromkeys(range(1, total + 1), 0.0)
    present: dict[int, set[str]] = {shard: set() for shard in loads}
    shards: dict[str, int] = {}
    for name in sorted(weights, key=lambda unit: (-weights[unit], unit)):
        costs = (needs or {}).get(name, {})
        brought = set((brings or {}).get(name, ()))
        missing = sorted(costs.keys() - brought)
        loads_with_it = {
            shard: load + weights[name] + sum(costs[one] for one in missing if one not in present[shard])
            for shard, load in loads.items()
        }
        shard = min(loads, key=loads_with_it.__getitem__)
        loads[shard] = loads_with_it[shard]
        present[shard] |= costs.keys() | brought
        shards[name] = shard
    return shards


class Division(Struct, frozen=True, kw_only=True):
    """The shard of every chain, and of every file of tests that are no part of the graph."""

    chains: Mapping[ChainId, int]
    files: Mapping[str, int]


def divide(
    graph: CapabilityGraph,
    plain: Sequence[str],
    total: int,
    *,
    seconds: Mapping[str, float],
    committed: Mapping[str, float],
) -> Division:
    """Spread chains, and the files of the `plain` node ids, over the shards.

    `seconds` has a weight for every journey, `committed` what the committed file says; both by node id.
    """
    first: dict[ChainId, JourneyId] = {}
    for journey_id, chain in graph.chains.items():
        first[chain] = min(journey_id, first.get(chain, journey_id))
    # After the first of its members by name: a chain's own name goes by the order of journeys.
    names = {chain: f"chain {journey_id}" for chain, journey_id in first.items()}
    parts: dict[str, list[float]] = defaultdict(list)
    needs: dict[str, dict[str, float]] = defaultdict(dict)
    brings: dict[str, set[str]] = defaultdict(set)
    cost_of = cache(partial(_cost_of, graph, seconds))
    for journey in graph.journeys.values():
        name = names[graph.chains[journey.id]]
        parts[name].append(seconds[journey.nodeid])
        brings[name].update(journey.establishes)
        for token in graph.needed_by(journey):
            if graph.scope_of(token) is Scope.MACHINE:
                needs[name][token] = cost_of(token)
    usual = usual_duration(committed.values())
    for nodeid in plain:
        parts[f"file {file_of(nodeid)}"].append(committed.get(nodeid, usual))
    # fsum rounds once, so the order of the parts does not show in the last digit, and so in a tie.
    shards = partition({name: fsum(parts[name]) for name in parts}, total, needs=needs, brings=brings)
    return Division(
        chains={chain: shards[name] for chain, name in names.items()},
        files={file_of(nodeid): shards[f"file {file_of(nodeid)}"] for nodeid in plain},
    )


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _cost_of(graph: CapabilityGraph, seconds: Mapping[str, float], token: Token) -> float:
    """Return what a machine-wide token costs, in seconds, on each further shard that needs it.

    That is its provider, or else the replay of an establishing journey with all that it rests on in its chain.
    """
    parts: dict[str, float] = {}
    found = {token: None}
    for one in (waiting := [token]):  # grows while it is read
        if graph.has_independent_provider(one):
            parts[one] = UNKNOWN_DURATION
        elif establishing := graph.establishing(one):
            journey = graph.journeys[min(establishing)]
            parts[journey.nodeid] = seconds[journey.nodeid]
            # Machine-wide tokens that the replay needs are needs of the same unit, and counted there.
            needed = [need for need in graph.needed_by(journey) if graph.scope_of(need) is Scope.CHAIN]
            waiting += [need for need in needed if need not in found]
            found.update(dict.fromkeys(needed))
    return fsum(parts.values())


def fingerprint(graph: CapabilityGraph) -> str:
    """Return twelve hexadecimal digits for what requires and establishes which token, in which tier and scope."""
    journeys = [
        (
            one.id,
            str(one.tier),
            one.gating,
            *(sorted(tokens) for tokens in (one.requires, one.establishes, one.invalidates)),
        )
        for one in graph.journeys.values()
    ]
    tokens = [(token, str(graph.scope_of(token))) for token in graph.tokens]
    content = json.dumps([sorted(journeys), sorted(tokens)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
