"""Decides which shard runs what, from files and durations that are the same on every machine.

The unit is the state, or the file of plain tests: a chain with copyable tokens is several states, and its parts may run
on different shards.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from math import fsum

from msgspec import Struct

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, StateId, Token
from pytest_dogfood.scheduling.plan import UNKNOWN_DURATION, usual_duration
from pytest_dogfood.scheduling.split import split
from pytest_dogfood.walks import reachable


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
    """The shard of every state with journeys, and of every file of tests that are no part of the graph."""

    states: Mapping[StateId, int]
    files: Mapping[str, int]


def divide(
    graph: CapabilityGraph,
    plain: Sequence[str],
    total: int,
    *,
    seconds: Mapping[str, float],
    committed: Mapping[str, float],
) -> Division:
    """Spread states, and the files of the `plain` node ids, over the shards.

    `seconds` has a weight for every journey, `committed` what the committed file says; both by node id.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    needs: dict[str, dict[str, float]] = {}
    brings: dict[str, set[str]] = {}
    names: dict[StateId, str] = {}
    costs = _Costs(graph, seconds)
    for state, members in split(graph).members.items():
        if members:
            # After the first of its members by name: a state's own name goes by the order of journeys.
            names[state] = name = f"chain {min(members)}"
            journeys = [graph.journeys[member] for member in members]
            parts[name] = [seconds[journey.nodeid] for journey in journeys]
            brings[name] = costs.brought_by(journeys)
            needs[name] = costs.needs_of(journeys)
    usual = usual_duration(committed.values())
    for nodeid in plain:
        parts[f"file {file_of(nodeid)}"].append(committed.get(nodeid, usual))
    # fsum rounds once, so the order of the parts does not show in the last digit, and so in a tie.
    shards = partition({name: fsum(parts[name]) for name in parts}, total, needs=needs, brings=brings)
    return Division(
        states={state: shards[name] for state, name in names.items()},
        files={file_of(nodeid): shards[f"file {file_of(nodeid)}"] for nodeid in plain},
    )


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class _Costs:
    """The costs, in seconds, of what journeys need that the machine or another state has, on each further shard."""

    def __init__(self, graph: CapabilityGraph, seconds: Mapping[str, float]) -> None:
        self._graph = graph
        self._seconds = seconds
        self._act_for = cache(self._act)
        self._cost_of_shared = cache(self._cost)
        self._needed_for = cache(self._needed)

    def needs_of(self, journeys: Collection[Journey]) -> dict[str, float]:
        """Return what the journeys of a state need, each with its cost on a shard where nothing brings it.

        A machine-wide token is a need. So is each act that provisions a copyable token in the state of which this one
        begins as a copy: several states on a shard need it only once.
        """
        named = dict.fromkeys(token for journey in journeys for token in self._graph.needed_by(journey))
        copyable = self._below(filter(self._graph.is_copyable, named))
        acts = dict(map(self._act_for, copyable))
        for token in copyable:
            named.update(dict.fromkeys(self._needed_for(token, shared=True)))
        for token in named:
            if self._graph.scope_of(token).is_shared:
                acts[token] = self._cost_of_shared(token)
        return acts

    def brought_by(self, journeys: Iterable[Journey]) -> set[str]:
        """Return the needs of others that the journeys of a state meet on their shard."""
        made = {token for journey in journeys for token in journey.establishes}
        return made | {self._act_for(token)[0] for token in made}

    def _cost(self, token: Token) -> float:
        """Return what a machine-wide token costs on each further shard that needs it.

        That is its provider, or else the replay of an establishing journey with all that it rests on in its chain.
        """
        return fsum(dict(map(self._act_for, self._below([token]))).values())

    def _below(self, tokens: Iterable[Token]) -> dict[Token, None]:
        """Return tokens, and those of chains that replays for them need.

        Machine-wide tokens that the replays need are needs of the same unit, and counted there.
        """
        return reachable(tokens, lambda token: self._needed_for(token, shared=False))

    def _needed(self, token: Token, *, shared: bool) -> tuple[Token, ...]:
        """Return the tokens that the replay for a token needs: those outside of all states, or those of chains."""
        needs = (need for journey in self._replayed_for(token) for need in self._graph.needed_by(journey))
        return tuple(need for need in needs if self._graph.scope_of(need).is_shared is shared)

    def _replayed_for(self, token: Token) -> list[Journey]:
        """Return the journey that is replayed for a token; none if it has another provider."""
        establishing = self._graph.establishing(token)
        if not establishing or self._graph.has_independent_provider(token):
            return []
        return [self._graph.journeys[min(establishing)]]

    def _act(self, token: Token) -> tuple[str, float]:
        """Return the name of what provisions a token, and how long it takes."""
        for journey in self._replayed_for(token):
            return f"replay of {journey.id}", self._seconds[journey.nodeid]
        provided = self._graph.has_independent_provider(token)
        return f"provision of {token}", UNKNOWN_DURATION if provided else 0.0


def fingerprint(graph: CapabilityGraph) -> str:
    """Return twelve hexadecimal digits for what requires and establishes which token, in which tier, scope and state.

    States count where a chain is split: who shares one also goes by the order of the files.
    """
    journeys = [
        (
            one.id,
            str(one.tier),
            one.gating,
            *(sorted(tokens) for tokens in (one.requires, one.establishes, one.invalidates)),
        )
        for one in graph.journeys.values()
    ]
    tokens = [
        (token, str(graph.scope_of(token)), *(["copyable"] if graph.is_copyable(token) else []))
        for token in graph.tokens
    ]
    tree = split(graph)
    states = [(one, tree.state_of[one]) for one in tree.positions]
    content = json.dumps([sorted(journeys), sorted(tokens), *([sorted(states)] if states else [])])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
