"""Variables of ours that commands speak of, and that nobody gives them: to a shell they are just empty."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.diagnostics import Location
from pytest_dogfood.diagnostics import Severity
from pytest_dogfood.diagnostics import nearest
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import Step
from pytest_dogfood.journey import Token
from pytest_dogfood.journey import variable_for

_PREFIX = "DOGFOOD_"
_SPOKEN_OF = re.compile(r"(?<!\\)\$(?:(DOGFOOD_\w+)|\{(DOGFOOD_\w+)\})", re.ASCII)
_CARED_FOR = re.compile(r"(?:(?<![${\w])|(?<=\{)(?=\w+[^}\w]))(DOGFOOD_\w+)", re.ASCII)
"""The bare name, behind `export`, `read` or `for` or before `=`; and `${NAME:-word}` with its like."""
_ALWAYS = tuple(
    f"{_PREFIX}{name}"
    for name in ("STATE", "SHARED", "WORKDIR", "ROOT", "DIR", "JOURNEY", "CHAIN", "WORKER", "RUN")
)

Givers = Mapping[str, AbstractSet[Token]]
"""Of each variable the tokens that have a value for it."""


class _Speaker(Struct, frozen=True, kw_only=True):
    """Who speaks of variables: in which texts, which it sets itself, and the tokens whose values it has."""

    who: str
    texts: tuple[tuple[Location, str], ...]
    tokens: tuple[Token, ...]
    own: frozenset[str]

    def without(self, givers: Givers) -> Iterator[tuple[Location, str]]:
        """Give each variable that is spoken of and not given, with the first place that does."""
        known = {*self.own, *_ALWAYS, *(name for _, text in self.texts for name in _CARED_FOR.findall(text))}
        for place, text in self.texts:
            for plain, braced in _SPOKEN_OF.findall(text):
                variable = plain or braced
                if variable not in known and givers.get(variable, frozenset()).isdisjoint(self.tokens):
                    known.add(variable)
                    yield place, variable


def unknown_variables(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Warn of each variable that looks like one of ours and is given to nobody who speaks of it.

    A variable that resembles none of ours may be the user's own, and is passed over.
    """
    givers = _givers(graph)
    for speaker in (*_journeys(graph), *_capabilities(graph)):
        for place, variable in speaker.without(givers):
            hint = _cure(variable, speaker, givers, graph)
            if hint:
                yield Diagnostic(
                    location=place,
                    code="unknown-variable",
                    message=f"{speaker.who} speaks of ${variable}, which nobody gives it: it would be empty",
                    hint=hint,
                    severity=Severity.WARNING,
                )


def _givers(graph: CapabilityGraph) -> Givers:
    givers: dict[str, set[Token]] = {}
    # Instances that nobody establishes, a provider brings about.
    required = (token for journey in graph.journeys.values() for token in graph.needed_by(journey))
    for token in dict.fromkeys([*graph.tokens, *required]):
        for name in graph.value_names(token):
            givers.setdefault(variable_for(token, name), set()).add(token)
    return givers


def _is_told(graph: CapabilityGraph, token: Token) -> bool:
    """Whether the files tell all values of a token: what Python saves nobody knows from outside."""
    members = graph.establishing(token)
    python = token in graph.fixtures or any(graph.journeys[member].python for member in members)
    return not python and (bool(members) or graph.has_own_provider(token))


def _journeys(graph: CapabilityGraph) -> Iterator[_Speaker]:
    for journey in graph.journeys.values():
        texts = tuple(_of_journey(journey))
        if texts:
            saved = (saved.name for step in journey.steps for saved in step.save)
            environments = (journey.env, *(step.env for step in (*journey.steps, *journey.cleanup)))
            yield _Speaker(
                who=repr(journey.id),
                texts=texts,
                tokens=(*graph.required_by(journey), *journey.establishes),
                own=frozenset([*saved, *(name for environment in environments for name in environment)]),
            )


def _of_journey(journey: Journey) -> Iterator[tuple[Location, str]]:
    steps = (*journey.steps, *journey.cleanup)
    yield from _in_steps(steps)
    yield from _in_texts(journey.location, journey.env.values())


def _capabilities(graph: CapabilityGraph) -> Iterator[_Speaker]:
    for capability in graph.capabilities.values():
        texts = tuple(_of_capability(capability))
        if texts:
            steps = (*capability.provision, *capability.release)
            environments = [step.env for step in steps]
            if capability.service is not None:
                environments.append(capability.service.env)
            yield _Speaker(
                who=f"the definition of {capability.token!r}",
                texts=texts,
                tokens=(capability.token, *graph.needs_of_provider(capability.token)),
                own=frozenset(
                    [
                        *(saved.name for step in steps for saved in step.save),
                        *(name for environment in environments for name in environment),
                    ]
                ),
            )


def _of_capability(capability: Capability) -> Iterator[tuple[Location, str]]:
    probe = () if capability.probe is None else (capability.probe,)
    yield from _in_steps((*probe, *capability.provision, *capability.release))
    service = capability.service
    if service is not None:
        words = (service.run,) if isinstance(service.run, str) else service.run
        yield from _in_texts(service.location, (*words, *service.env.values()))


def _in_steps(steps: Iterable[Step]) -> Iterator[tuple[Location, str]]:
    for step in steps:
        words = (step.run,) if isinstance(step.run, str) else step.run if isinstance(step.run, tuple) else ()
        yield from _in_texts(step.location, (*words, *step.env.values()))


def _in_texts(place: Location, texts: Iterable[str]) -> Iterator[tuple[Location, str]]:
    return ((place, text) for text in texts if _PREFIX in text)


def _cure(variable: str, speaker: _Speaker, givers: Givers, graph: CapabilityGraph) -> str:
    """Say what to do; nothing where the variable is none of ours, as far as one can tell."""
    if variable in givers:
        token = min(givers[variable])
        return f"it is a value of {token!r}: add that to 'requires:'"
    values = (variable_for(token, name) for token in speaker.tokens for name in graph.value_names(token))
    said = variable.removeprefix(_PREFIX)
    known = [name.removeprefix(_PREFIX) for name in (*_ALWAYS, *values)]
    # A slip changes a letter or two; what is much longer is another name.
    alike = [name for name in known if abs(len(name) - len(said)) <= 1]
    if near := nearest(said, alike, likeness=0.7):
        return f"did you mean ${_PREFIX}{near}?"
    for token in speaker.tokens:
        prefix = variable_for(token, "")
        if variable.startswith(prefix) and _is_told(graph, token):
            name = variable.removeprefix(prefix).lower()
            return f"let what establishes {token!r} save a value {name!r}"
    return ""
