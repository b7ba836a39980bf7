"""Findings on tokens of scope fleet: what cannot be true on every machine, and what each machine has to do again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pytest_dogfood.check.variables import texts_that_count
from pytest_dogfood.diagnostics import Diagnostic, error, warning
from pytest_dogfood.fileformat.expected_text import written_in
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, JourneyId, Scope, Step, Token
from pytest_dogfood.outcomes import listed
from pytest_dogfood.walks import reachable

_LOCAL = re.compile(r"\bDOGFOOD_(?:STATE|SHARED|WORKDIR)\b", re.ASCII)
"""Variables that name directories of one machine, however a command uses them."""


def errors_of_the_fleet(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Yield what a token cannot have that is true on every machine."""
    for capability in graph.capabilities.values():
        if capability.scope is Scope.FLEET:
            yield from _services(capability)
            yield from _local_commands(capability)
    for token, fixture in graph.fixtures.items():
        found = graph.capability(token)
        if found is not None and found.scope is Scope.FLEET:
            message = f"{token!r} has scope 'fleet', but fixture {fixture!r} provides it within one process"
            hint = "use 'provision:', or give the capability scope 'chain'"
            yield error(found.location, "fleet-fixture", message, hint)
    yield from _secrets(graph)


def _services(capability: Capability) -> Iterator[Diagnostic]:
    if capability.service is not None:
        message = f"{capability.token!r} has scope 'fleet', but its service is a process on one machine"
        hint = "give it scope 'machine', so that each machine starts its own; "
        hint += "or start it by 'provision:' in a place that every machine reaches"
        yield error(capability.service.location, "fleet-service", message, hint)


def _local_commands(capability: Capability) -> Iterator[Diagnostic]:
    """Yield one error for each step that uses a directory of one machine."""
    kinds = (
        ("probe", (capability.probe,)),
        ("provision", capability.provision),
        ("release", capability.release),
    )
    for kind, steps in kinds:
        for step in filter(None, steps):
            if variable := _local_variable_in(step):
                message = f"{capability.token!r} has scope 'fleet', but its {kind} uses ${variable}, "
                message += "which every machine has for itself"
                hint = "use a place that every machine reaches, or give the token scope 'machine'"
                yield error(step.location, "fleet-token-is-local", message, hint)


def _local_variable_in(step: Step) -> str:
    texts = [text for _, text, _ in texts_that_count(step, {})]
    texts += [written.text for written in written_in(step.expect)]
    return next((found[0] for text in texts if (found := _LOCAL.search(text))), "")


def _secrets(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Yield one error for each step that would save a secret value with a token of the fleet."""
    makers: list[tuple[Token, str, tuple[Step, ...]]] = [
        (one.token, "its provision", one.provision)
        for one in graph.capabilities.values()
        if one.scope is Scope.FLEET
    ]
    for journey in graph.journeys.values():
        of_fleet = [token for token in journey.establishes if graph.scope_of(token) is Scope.FLEET]
        makers += [(token, f"{journey.id!r}, which establishes it,", journey.steps) for token in of_fleet[:1]]
    for token, who, steps in makers:
        for step in steps:
            for saved in step.save:
                if saved.secret:
                    message = (
                        f"{token!r} has scope 'fleet', but {who} saves the secret value {saved.name!r}: "
                    )
                    message += "secrets are never sent to other machines"
                    hint = "do not save it; give each machine the secret in an environment variable"
                    yield error(step.location, "fleet-secret", message, hint)


def doubts_about_the_fleet(graph: CapabilityGraph, capability: Capability) -> Iterator[Diagnostic]:
    """Yield warnings on the definition of a token of the fleet: without a probe, or with needs of one machine."""
    if capability.scope is not Scope.FLEET:
        return
    token = capability.token
    if capability.probe is None:
        message = f"{token!r} has scope 'fleet' and no probe: "
        message += "no machine can tell whether what another one has set up is true here too"
        hint = "add 'probe:', a command that exits 0 on every machine if and only if the token is present"
        yield warning(capability.location, "fleet-no-probe", message, hint)
    local = [need for need in graph.needs_of_provider(token) if graph.scope_of(need) is not Scope.FLEET]
    if local:
        named = (capability.requires[need] for need in local if need in capability.requires)
        message = f"{token!r} has scope 'fleet', but its provider needs {listed(local)}, "
        message += "which each machine that probes or releases it has to set up for itself"
        hint = "give what it needs scope 'fleet' too, or let the provider set it up itself"
        yield warning(next(named, capability.location), "fleet-needs-local", message, hint)


def refused_in_shards(graph: CapabilityGraph, journeys: Iterable[JourneyId]) -> Iterator[Diagnostic]:
    """Yield an error for each token of the fleet that journeys need, themselves or where others are replayed for them.

    Shards share nothing: each would set the token up for itself, and release it under the hands of the others.
    """

    def below(token: Token) -> list[Token]:
        makers = () if graph.has_independent_provider(token) else graph.establishing(token)
        needed = (need for one in makers for need in graph.needed_by(graph.journeys[one]))
        return [one for one in (*graph.needs_of_provider(token), *needed) if one not in seen]

    seen: set[Token] = set()
    for journey in journeys:
        unseen = [one for one in graph.needed_by(graph.journeys[journey]) if one not in seen]
        for token in reachable(unseen, below):
            seen.add(token)
            capability = graph.capability(token)
            if capability is not None and capability.scope is Scope.FLEET:
                message = f"{journey!r} needs {token!r} of scope 'fleet', but the shards of --dogfood-shard "
                message += "share nothing: each would set it up for itself"
                hint = "give it scope 'machine' if every machine may have its own; "
                hint += "or let the machines share a run with --dogfood-fleet"
                yield error(capability.location, "fleet-in-shards", message, hint)
