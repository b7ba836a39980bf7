"""Findings on variables without a value where they are used: empty in a shell, an error under `expect:`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Set as AbstractSet

from msgspec import Struct

from pytest_dogfood.diagnostics import Diagnostic, Location, nearest, warning
from pytest_dogfood.fileformat.expected_text import written_in
from pytest_dogfood.fileformat.scripts import OUR_SETTING
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Script, Step, Token, variable_for, variable_for_lock

_PREFIX = "DOGFOOD_"
_USED = re.compile(r"(?<!\\)\$(?:(DOGFOOD_\w+)|\{(DOGFOOD_\w+)\})", re.ASCII)
_ALWAYS = tuple(
    f"{_PREFIX}{name}"
    for name in ("STATE", "SHARED", "WORKDIR", "ROOT", "DIR", "JOURNEY", "CHAIN", "WORKER", "RUN")
)
_IN_A_DEFINITION = (f"{_PREFIX}TOKEN", f"{_PREFIX}INSTANCE")


class _User(Struct, frozen=True, kw_only=True):
    """A journey or definition that uses variables: its steps in their order, and the tokens whose values it gets.

    `env` has the places of variables that it sets for all its steps, `given` the others that all steps have. With
    `fixtures` it may have any more.
    """

    name: str
    steps: tuple[Step, ...]
    tokens: tuple[Token, ...]
    given: AbstractSet[str]
    env: Mapping[str, Location] = {}
    fixtures: bool = False


def unknown_variables(graph: CapabilityGraph, environment: Collection[str] = ()) -> Iterator[Diagnostic]:
    """Warn of each variable without a value where it is used: once for each user, and for each place.

    In commands, only variables that look like DOGFOOD_ ones count, and the bare names of values; others may be the
    user's own. Those of `defaults:` count if a step uses them. Under `expect:` every variable counts; `environment`
    names those of the run.
    """
    found: dict[tuple[Location, str], Diagnostic] = {}  # the journeys of a matrix share their places
    for user in _users(graph):
        reported: set[str] = set()
        for place, variable, words in _unknown_in_commands(user):
            if variable in reported or variable in environment:
                continue
            if hint := hint_on(variable, graph, user.tokens, alone=not user.fixtures):
                reported.add(variable)
                message = f"{user.name} {words.replace('$VARIABLE', f'${variable}')}"
                found.setdefault((place, variable), warning(place, "unknown-variable", message, hint))
        for place, variable, full in _short_names(user, graph, environment):
            if variable not in reported:
                reported.add(variable)
                message = (
                    f"{user.name} uses ${variable}, which is not defined here: the shell takes it as empty"
                )
                hint = f"the value {variable!r} is ${full}"
                found.setdefault((place, variable), warning(place, "unknown-variable", message, hint))
        for step, variable in _unknown_in_expectations(user, environment):
            saved_by_python = any(
                variable.startswith(variable_for(token, "")) and not _values_are_known(graph, token)
                for token in user.tokens
            )
            if variable not in reported and not saved_by_python:
                reported.add(variable)
                hint = hint_on(variable, graph, user.tokens) if variable.startswith(_PREFIX) else ""
                otherwise = "set it with `env:` or save it in an earlier step, or write $$ for a dollar sign"
                message = (
                    f"{user.name} expects ${variable}, which is not set here: the step would be an error"
                )
                new = warning(step.location, "unknown-variable", message, hint or otherwise)
                found.setdefault((step.location, variable), new)
    yield from found.values()


def _users(graph: CapabilityGraph) -> Iterator[_User]:
    def given_by(tokens: Collection[Token], locks: Collection[str]) -> set[str]:
        units = (variable_for_lock(lock) for lock in locks if lock in graph.pools)
        values = (name for name, ours in graph.variables.items() if not ours.isdisjoint(tokens))
        return {*_ALWAYS, *units, *values}

    for journey in graph.journeys.values():
        tokens = (*graph.needed_by(journey), *journey.establishes)
        yield _User(
            name=repr(journey.id),
            steps=(*journey.steps, *journey.cleanup),
            tokens=tokens,
            given=given_by(tokens, journey.locks),
            env={name: journey.own_env.get(name, journey.location) for name in journey.env},
            fixtures=bool(journey.use) or any(mark.name == "usefixtures" for mark in journey.marks),
        )
    for capability in graph.capabilities.values():
        tokens = graph.with_bases([capability.token])
        found = capability.service
        service = (
            Step(location=found.location, run=found.run, env=found.env, own_env=found.own_env, cwd=found.cwd)
            if found
            else None
        )
        steps = (capability.probe, service, *capability.provision, *capability.release)
        yield _User(
            name=f"the definition of {capability.token!r}",
            steps=tuple(filter(None, steps)),
            tokens=tokens,
            given={*given_by(tokens, capability.locks), *_IN_A_DEFINITION},
        )


def _unknown_in_commands(user: _User) -> Iterator[tuple[Location, str, str]]:
    """Yield each use of an unknown variable that looks like a DOGFOOD_ one, with its place and message."""
    texts = [
        (place, text, words)
        for step in user.steps
        for place, text, words in texts_that_count(step, user.env)
        if _PREFIX in text
    ]
    known = {*user.given, *(name for _, text, _ in texts for name in OUR_SETTING.findall(text))}
    for step in user.steps if texts else ():
        known.update(step.env)
        known.update(saved.name for saved in step.save)
    for place, text, words in texts:
        for plain, braced in _USED.findall(text):
            if (plain or braced) not in known:
                yield place, plain or braced, words


def _short_names(
    user: _User, graph: CapabilityGraph, environment: Collection[str]
) -> Iterator[tuple[Location, str, str]]:
    """Yield each use of a value's name as if it were its variable, with its place and the variable that has the value.

    What the user sets itself, or may set because its texts contain the bare word, is not reported.
    """
    full = {
        name: variable_for(token, name) for token in user.tokens for name in sorted(graph.value_names(token))
    }
    texts = [(step.location, step.run) for step in user.steps if isinstance(step.run, str)]
    own = {*user.env, *environment}
    for step in user.steps if full else ():
        own.update(step.env)
        own.update(saved.name for saved in step.save)
    for name in full.keys() - own if not user.fixtures else ():
        if any(re.search(rf"(?<![${{\w-]){name}(?!\w)", text) for _, text in texts):
            continue
        used = re.compile(rf"(?<!\\)\$(?:{name}(?!\w)|\{{{name}\}})")
        yield from ((place, name, full[name]) for place, text in texts if used.search(text))


def texts_that_count(step: Step, own: Mapping[str, Location]) -> Iterator[tuple[Location, str, str]]:
    """Yield the command of a step, and the values of variables that the step sets or names, with their places.

    Each has a message, to follow the user's name, for an undefined $VARIABLE: a shell takes it as empty, elsewhere it
    stays as written. Values of `defaults:` that no text of the step names are left out.
    """
    naming: list[str] = []
    if isinstance(step.run, str):
        naming.append(step.run)
        words = "uses $VARIABLE, which is not defined here: the shell takes it as empty"
        yield step.location, step.run, words
    elif isinstance(step.run, Script):
        naming += [f"${name}" for name in step.run.uses or ()]
        words = "uses $VARIABLE, which is not defined here: the shell takes it as empty"
        for name, line in (step.run.uses or {}).items():
            yield Location(step.run.path, line, 1), f"${name}", words
    elif isinstance(step.run, tuple):
        naming += step.run
        words = (
            "uses $VARIABLE, which is not defined here: a shell takes it as empty, other programs as written"
        )
        yield from ((step.location, word, words) for word in step.run)
    if step.cwd is not None:
        naming.append(step.cwd)
        words = "uses $VARIABLE in its 'cwd', where it is not defined: it stays as written"
        yield step.location, step.cwd, words
    naming += [step.stdin or "", *step.seed_files.values()]
    naming += [written.text for written in written_in(step.expect)]
    own = {**own, **step.own_env}
    others = dict(step.env)
    while used := [name for name in others if name in own or _names(naming, name)]:
        naming = [others.pop(name) for name in used]
        for name, text in zip(used, naming, strict=True):
            does = "sets" if name in own else "uses"
            words = f"{does} ${name}, in which $VARIABLE is not defined: it stays as written"
            yield own.get(name, step.location), text, words


def _names(texts: Collection[str], variable: str) -> bool:
    return any(variable in text and re.search(rf"(?<!\w){variable}(?!\w)", text) for text in texts)


def _unknown_in_expectations(user: _User, environment: Collection[str]) -> Iterator[tuple[Step, str]]:
    """Yield each variable under `expect:` that is not set when its step runs, with that step."""
    known = {*user.given, *environment}
    for step in () if user.fixtures else user.steps:
        for written in written_in(step.expect):
            for variable in written.variables:
                if variable not in known and variable not in step.env:
                    yield step, variable
        known.update(one.name for one in step.save)


def _values_are_known(graph: CapabilityGraph, token: Token) -> bool:
    """Return whether the files show all values of a token: those that Python code saves are not known."""
    members = graph.establishing(token)
    python = token in graph.fixtures or any(graph.journeys[member].python for member in members)
    return not python and (bool(members) or graph.has_own_provider(token))


def hint_on(variable: str, graph: CapabilityGraph, tokens: Collection[Token], *, alone: bool = True) -> str:
    """Return what to do about a variable without a value; empty if it does not seem to be a DOGFOOD_ one.

    `tokens` are those whose values its user gets. If the user is not `alone`, because a fixture may set variables for
    it, only a misspelt name counts.
    """
    if variable in graph.variables or variable in _locks(graph):
        return _cure(variable, graph)
    own = [variable_for(token, name) for token in tokens for name in graph.value_names(token)]
    if near := _nearest(variable, [*_ALWAYS, *own]):
        return f"did you mean ${near}?"
    owners = [token for token in tokens if variable.startswith(variable_for(token, ""))]
    for token in owners:
        if _values_are_known(graph, token):
            name = variable.removeprefix(variable_for(token, "")).lower()
            return f"let the journey that establishes {token!r} save a value {name!r}"
    if owners:
        return ""
    if near := _nearest(variable, [*graph.variables, *_locks(graph)]):
        return f"did you mean ${near}? If so, {_cure(near, graph)}"
    return _hint_on_owner(variable, graph) if alone else ""


def _locks(graph: CapabilityGraph) -> Mapping[str, str]:
    return {variable_for_lock(pool): pool for pool in graph.pools}


def _cure(variable: str, graph: CapabilityGraph) -> str:
    """Return how a user gets the value of a variable of a token or a pool."""
    if variable in graph.variables:
        token = min(graph.variables[variable])
        return f"it is a value of {token!r}: add that to 'requires:'"
    pool = _locks(graph)[variable]
    return f"it names units of the pool {pool!r}: add `lock: [{pool}]`"


def _nearest(variable: str, known: Iterable[str]) -> str:
    # A misspelling changes a letter or two; a much longer name is another one.
    bare = variable.removeprefix(_PREFIX)
    names = (name.removeprefix(_PREFIX) for name in known)
    near = nearest(bare, [name for name in names if abs(len(name) - len(bare)) <= 1], likeness=0.7)
    return near and _PREFIX + near


def _hint_on_owner(variable: str, graph: CapabilityGraph) -> str:
    """Return what to do about a variable that is formed like those of tokens and pools, but belongs to none."""
    for token in (*graph.tokens, *graph.fixtures):
        if variable.startswith(variable_for(token, "")):
            return f"if it is a value of {token!r}, add that to 'requires:'"
    names = [name for token in graph.tokens for name in graph.value_names(token)]
    endings = [
        ending for name in names if variable.endswith(ending := variable_for(Token(""), name)[len(_PREFIX) :])
    ]
    is_lock = variable.startswith(variable_for_lock(""))
    if not (endings or is_lock):
        return ""
    start, end = (variable_for_lock(""), "") if is_lock else (_PREFIX, max(endings, key=len))
    known = _locks(graph) if is_lock else graph.variables
    owner, *owners = (
        one.removeprefix(start).removesuffix(end) for one in (variable, *known) if one.endswith(end)
    )
    if near := nearest(owner, owners):
        near = f"{start}{near}{end}"
        return f"did you mean ${near}? If so, {_cure(near, graph)}"
    name = owner.lower().replace("_", "-")
    if is_lock:
        return (
            f"no pool is called {name!r}: define it under 'pools:' in dogfood.yaml, and add `lock: [{name}]`"
        )
    return f"no token is called {name!r}; `dogfood explain` lists the tokens and their values"
