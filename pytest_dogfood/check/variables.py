"""Variables that steps use and that have no value there: empty to a shell, an error under `expect:`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Set as AbstractSet

from msgspec import Struct

from pytest_dogfood.diagnostics import Diagnostic, Severity, nearest
from pytest_dogfood.fileformat.expected_text import written_in
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Journey, Step, Token, variable_for

_PREFIX = "DOGFOOD_"
_SPOKEN_OF = re.compile(r"(?<!\\)\$(?:(DOGFOOD_\w+)|\{(DOGFOOD_\w+)\})", re.ASCII)
_CARED_FOR = re.compile(r"(?:(?<![${\w])|(?<=\{)(?=\w+[^}\w]))(DOGFOOD_\w+)", re.ASCII)
"""The bare name, behind `export`, `read` or `for` or before `=`; and `${NAME:-word}` with its like."""
_ALWAYS = tuple(
    f"{_PREFIX}{name}"
    for name in ("STATE", "SHARED", "WORKDIR", "ROOT", "DIR", "JOURNEY", "CHAIN", "WORKER", "RUN")
)
_IN_A_DEFINITION = (f"{_PREFIX}TOKEN", f"{_PREFIX}INSTANCE")

Givers = Mapping[str, AbstractSet[Token]]
"""Of each variable the tokens that have a value for it."""


class _Text(Struct, frozen=True, kw_only=True):
    """A text of a step in which variables count; `said` completes 'build …' where $VARIABLE is not defined in it."""

    text: str
    said: str = "uses $VARIABLE, which is not defined here: it is empty"


class _Speaker(Struct, frozen=True, kw_only=True):
    """Something that names variables: its steps in their order, and the tokens whose values it is given.

    `env` are the names that it sets itself for all steps, `always` those that all steps have besides. With `fixtures`
    it may have any others.
    """

    who: str
    steps: tuple[Step, ...]
    tokens: tuple[Token, ...]
    env: Collection[str] = ()
    always: tuple[str, ...] = _ALWAYS
    fixtures: bool = False


def unknown_variables(graph: CapabilityGraph, environment: Collection[str] = ()) -> Iterator[Diagnostic]:
    """Warn of each variable that has no value where it is named, once for whatever names it.

    In commands those count that look like ours; one that resembles none of ours may be the user's own. What `defaults:`
    sets counts where a step uses it. Under `expect:` every variable counts; `environment` names those of the run.
    """
    givers = _givers(graph)
    for speaker in _speakers(graph):
        given = {name for name, tokens in givers.items() if not tokens.isdisjoint(speaker.tokens)}
        told: set[str] = set()
        for step, variable, said in _unknown_in_commands(speaker, given):
            if variable not in told and (hint := _cure(variable, speaker, givers, graph)):
                told.add(variable)
                yield _warning(step, f"{speaker.who} {said.replace('$VARIABLE', f'${variable}')}", hint)
        for step, variable in _unknown_in_expectations(speaker, {*given, *environment}):
            if variable not in told and not _may_be_saved_by_python(variable, speaker, graph):
                told.add(variable)
                hint = _cure(variable, speaker, givers, graph) if variable.startswith(_PREFIX) else ""
                hint = (
                    hint or "set it with `env:` or save it in an earlier step, or write $$ for a dollar sign"
                )
                yield _warning(
                    step,
                    f"{speaker.who} expects ${variable}, which is not set here: the step would be an error",
                    hint,
                )


def _warning(step: Step, message: str, hint: str) -> Diagnostic:
    return Diagnostic(
        location=step.location, code="unknown-variable", message=message, hint=hint, severity=Severity.WARNING
    )


def _givers(graph: CapabilityGraph) -> Givers:
    givers: dict[str, set[Token]] = {}
    # Instances that nothing establishes, a provider provides.
    required = (token for journey in graph.journeys.values() for token in graph.needed_by(journey))
    for token in dict.fromkeys([*graph.tokens, *required]):
        for name in graph.value_names(token):
            givers.setdefault(variable_for(token, name), set()).add(token)
    return givers


def _speakers(graph: CapabilityGraph) -> Iterator[_Speaker]:
    for journey in graph.journeys.values():
        yield _Speaker(
            who=repr(journey.id),
            steps=(*journey.steps, *journey.cleanup),
            tokens=(*graph.needed_by(journey), *journey.establishes),
            env=journey.env,
            fixtures=_uses_fixtures(journey),
        )
    for capability in graph.capabilities.values():
        yield _Speaker(
            who=f"the definition of {capability.token!r}",
            steps=_steps_of(capability),
            tokens=graph.with_bases([capability.token]),
            always=(*_ALWAYS, *_IN_A_DEFINITION),
        )


def _uses_fixtures(journey: Journey) -> bool:
    return bool(journey.use) or any(mark.name == "usefixtures" for mark in journey.marks)


def _steps_of(capability: Capability) -> tuple[Step, ...]:
    """Return what a definition runs, its service as if it were a step."""
    probe = () if capability.probe is None else (capability.probe,)
    found = capability.service
    service = (
        ()
        if found is None
        else (
            Step(location=found.location, run=found.run, env=found.env, own_env=found.own_env, cwd=found.cwd),
        )
    )
    return (*probe, *service, *capability.provision, *capability.release)


def _unknown_in_commands(speaker: _Speaker, given: AbstractSet[str]) -> Iterator[tuple[Step, str, str]]:
    """Yield each use of a variable that looks like ours and is not known, with its step and what to say of it."""
    texts = [(step, text) for step in speaker.steps for text in _texts_that_count(step, speaker.env)]
    texts = [(step, text) for step, text in texts if _PREFIX in text.text]
    known = {
        *speaker.always,
        *given,
        *(name for _, text in texts for name in _CARED_FOR.findall(text.text)),
    }
    for step in speaker.steps if texts else ():
        known.update(step.env)
        known.update(saved.name for saved in step.save)
    for step, text in texts:
        for plain, braced in _SPOKEN_OF.findall(text.text):
            if (plain or braced) not in known:
                yield step, plain or braced, text.said


def _texts_that_count(step: Step, own: Collection[str]) -> Iterator[_Text]:
    """Yield the command of a step, and the values of the variables that the step sets or names.

    Those of `defaults:` that no text of the step names are left out. A shell takes what is not defined for empty;
    elsewhere it stays as it is written.
    """
    if isinstance(step.run, str):
        yield _Text(text=step.run)
    words = (step.run,) if isinstance(step.run, str) else step.run if isinstance(step.run, tuple) else ()
    for word in words if isinstance(step.run, tuple) else ():
        yield _Text(text=word, said="uses $VARIABLE, which is not defined here")
    if step.cwd is not None:
        yield _Text(
            text=step.cwd, said="uses $VARIABLE in its 'cwd', where it is not defined: it stays as written"
        )
    naming = [*words, step.cwd or "", step.stdin or "", *step.seed_files.values()]
    naming += [written.text for written in written_in(step.expect)]
    others = dict(step.env)
    while used := [name for name in others if name in own or name in step.own_env or _names(naming, name)]:
        naming = [others.pop(name) for name in used]
        for name, text in zip(used, naming, strict=True):
            does = "sets" if name in own or name in step.own_env else "uses"
            yield _Text(
                text=text, said=f"{does} ${name}, in which $VARIABLE is not defined: it stays as written"
            )


def _names(texts: Collection[str], variable: str) -> bool:
    return any(variable in text and re.search(rf"(?<!\w){variable}(?!\w)", text) for text in texts)


def _unknown_in_expectations(speaker: _Speaker, given: AbstractSet[str]) -> Iterator[tuple[Step, str]]:
    """Yield each use of a variable under `expect:` that nothing has set when its step runs, with that step."""
    saved: set[str] = set()
    for step in () if speaker.fixtures else speaker.steps:
        for written in written_in(step.expect):
            for variable in written.variables:
                if not (
                    variable in given
                    or variable in step.env
                    or variable in saved
                    or variable in speaker.always
                ):
                    yield step, variable
        saved.update(one.name for one in step.save)


def _may_be_saved_by_python(variable: str, speaker: _Speaker, graph: CapabilityGraph) -> bool:
    """Return whether a token gives values that the files do not tell, of which the variable may be one."""
    return any(
        variable.startswith(variable_for(token, "")) and not _is_told(graph, token)
        for token in speaker.tokens
    )


def _is_told(graph: CapabilityGraph, token: Token) -> bool:
    """Return whether the files tell all values of a token: what Python saves is not known from outside."""
    members = graph.establishing(token)
    python = token in graph.fixtures or any(graph.journeys[member].python for member in members)
    return not python and (bool(members) or graph.has_own_provider(token))


def _cure(variable: str, speaker: _Speaker, givers: Givers, graph: CapabilityGraph) -> str:
    """Return what to do; nothing where the variable is none of ours, as far as one can tell."""
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
