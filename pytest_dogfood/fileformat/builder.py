"""Builds steps, journeys and capabilities from parsed fields: merges defaults, reports contradictions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from pytest_dogfood.diagnostics import Location, Severity
from pytest_dogfood.fileformat.nodes import Findings, Node, ScalarNode, shown
from pytest_dogfood.fileformat.shapes import Fields
from pytest_dogfood.journey import (
    Capability,
    Expectation,
    FileExpectation,
    Inputs,
    Journey,
    JourneyId,
    Pool,
    Save,
    Scope,
    Service,
    Step,
    StreamExpectation,
    Token,
    Until,
    base_of,
)

# The expectation of a step without `expect`; shared, because most steps have none.
SUCCESS = Expectation()

SAYS_WHAT_TO_DO = frozenset({"run", "intent", "expect", "expect_text", "expect_state", "expect_cmd_re"})
"""A step needs one of these keys."""

FOR_A_JUDGE = ("expect_text", "expect_state", "expect_cmd_re")

_AS_READ = frozenset(
    ("tier", "gating", "use", "timeout", "estimate", "rationale", "modality", "marks", "workdir", "leaves")
)
"""Keys whose values go into the journey unchanged."""

_AS_READ_OF_STEP = frozenset(("intent", "run", "stdin", "core", *FOR_A_JUDGE))


class Defaults(Struct, frozen=True, kw_only=True):
    """Values for steps, unless a journey or a step sets its own. `timeout` is that of each step, in seconds."""

    shell: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None

    def overlaid_with(self, nearer: Defaults) -> Defaults:
        """Return the defaults merged with `nearer` ones, which win; variables are merged one by one."""
        return Defaults(
            shell=self.shell if nearer.shell is None else nearer.shell,
            cwd=self.cwd if nearer.cwd is None else nearer.cwd,
            env={**self.env, **nearer.env},
            timeout=self.timeout if nearer.timeout is None else nearer.timeout,
        )


NO_DEFAULTS = Defaults()


def read_steps(
    items: Collection[Fields], findings: Findings, defaults: Defaults, *, acted: bool = False
) -> tuple[Step, ...]:
    """Return the steps of a list of parsed fields. Steps may lack a command, for an actor, only if `acted`."""
    idle = [step for step in items if not step.wrote("run")]
    for step in () if acted else idle:
        if SAYS_WHAT_TO_DO & step.node.entries.keys():
            message = "a step without a command: only those of a journey may be left to an actor"
            findings.add(step.node, "no-command", message, hint="give it a command with `run:`")
    for step in () if idle else items:
        if step.get("core") is False:
            message = "`core: false`, but a step with `run:` always decides the outcome"
            hint = "remove it; let a command that may fail end with `|| true`"
            findings.add(step.key("core"), "core-without-actor", message, hint=hint)
    return tuple([_read_step(step, findings, defaults) for step in items])


def _read_step(step: Fields, findings: Findings, defaults: Defaults) -> Step:
    get = step.values.get
    if SAYS_WHAT_TO_DO.isdisjoint(step.node.entries):
        hint = "give it a command with `run:`, or an `intent:` for an actor"
        findings.add(step.node, "empty-step", "a step that does nothing", hint=hint)
    if step.wrote("run"):
        _report_unjudged(step, findings)
    for key in ("until", "stdin"):
        if step.wrote(key) and not step.wrote("run"):
            message = f"{key!r} goes with a command, and there is none"
            hint = "give it one with `run:`; an actor decides for itself what to repeat and to type"
            findings.add(step.key(key), "no-command", message, hint=hint)
    env = get("env", {})
    until = get("until")
    as_read: dict[str, Any] = {key: value for key, value in step.values.items() if key in _AS_READ_OF_STEP}
    return Step(
        location=findings.location(step.node),
        shell=get("shell", defaults.shell),
        expect=_expectation(step, findings),
        save=tuple([_save(name, fields, findings) for name, fields in get("save", {}).items()]),
        until=Until(**until.values) if until and until.get("timeout") else None,
        timeout=get("timeout", defaults.timeout),
        env={**defaults.env, **env} if env else defaults.env,
        own_env=_env_places(step, findings) if env else {},
        cwd=get("cwd", defaults.cwd),
        seed_files=read_seed_files(step, findings),
        **as_read,
    )


def _env_places(fields: Fields, findings: Findings) -> Mapping[str, Location]:
    """Return the place of each variable under `env:`."""
    node: Any = fields.value("env")
    return {name: findings.location(node.entries[name][0]) for name in fields.get("env", {})}


def _report_unjudged(step: Fields, findings: Findings) -> None:
    """Report keys that only a judge of an actor reads, in a step that has a command."""
    expect: Fields | None = step.get("expect")
    if expect and (text := expect.get("text")):
        message = f"free text beside `run:` checks nothing: {shown(text)}"
        what = json.dumps(text, ensure_ascii=False) if len(text) <= 40 else "…"
        hint = f"write `expect: {{stdout: {{contains: {what}}}}}` to check, `intent:` to comment"
        findings.add(expect.value("text"), "checks-nothing", message, hint=hint)
    for key in FOR_A_JUDGE:
        if key in step.values:
            message = f"{key!r} is for what an actor does: beside `run:` it checks nothing"
            hint = "write assertions under `expect:`, such as `{stdout: {contains: ready}}`"
            findings.add(step.key(key), "checks-nothing", message, hint=hint)


def read_seed_files(fields: Fields, findings: Findings) -> Mapping[str, str]:
    """Return path -> text, from a mapping or from a list of path and content."""
    written = fields.get("seed_files")
    if not isinstance(written, tuple):
        return written or {}
    files: dict[str, str] = {}
    for item in written:
        place, content = item.get("path"), item.get("content")
        if place is None or content is None:
            continue
        if place.value in files:
            findings.add(place, "duplicate-key", f"the file {place.value!r} is seeded twice")
        files[place.value] = content
    return files


def read_tokens(written: Iterable[ScalarNode], findings: Findings) -> dict[Token, Location]:
    """Return each token with its place, and warn of repetitions."""
    tokens: dict[Token, Location] = {}
    for node in written:
        token = Token(node.value)
        if token in tokens:
            message = f"{token!r} is in this list twice"
            findings.add(node, "duplicate-token", message, severity=Severity.WARNING)
        else:
            tokens[token] = findings.location(node)
    return tokens


def read_locks(written: Iterable[str]) -> Mapping[str, int]:
    """Return the number of units of each lock; a name without a number means one."""
    return written if isinstance(written, Mapping) else dict.fromkeys(written, 1)


def read_pools(written: Fields, findings: Findings) -> Iterator[Pool]:
    """Return the pools of a dogfood.yaml; the units of a pool that is a number are called 1, 2 and so on."""
    pools: Mapping[str, tuple[str, ...] | int] = written.get("pools", {})
    place: Any = written.value("pools")
    for name, given in pools.items():
        at, node = place.entries[name]
        units = tuple(map(str, range(1, given + 1))) if isinstance(given, int) else given
        if len(set(units)) < len(units):
            twice = next(unit for unit in units if units.count(unit) > 1)
            findings.add(node, "duplicate-key", f"the pool {name!r} has {twice!r} twice", hint="remove one")
        yield Pool(name=name, location=findings.location(at), units=units)


def read_capability(
    token: str, at: Node, fields: Fields, findings: Findings, defaults: Defaults
) -> Capability:
    """Return the definition of `token`, whose name is at `at`."""
    get = fields.values.get
    probe: Fields | None = get("probe")
    _report_contradictory_capability(token, fields, findings)
    _report_uncopyable(token, fields, findings)
    written: Fields | None = get("service")
    service: Service | None = None
    if written is not None and written.get("run") is not None:
        service = Service(
            location=findings.location(written.node),
            run=written.get("run"),
            shell=written.get("shell", defaults.shell),
            ports=written.get("ports", ()),
            env={**defaults.env, **written.get("env", {})},
            own_env=_env_places(written, findings),
            cwd=written.get("cwd", defaults.cwd),
        )
    return Capability(
        token=Token(token),
        location=findings.location(at),
        description=get("description", ""),
        scope=get("scope", Scope.CHAIN),
        requires=read_tokens(get("requires", ()), findings),
        probe=read_steps([probe], findings, defaults)[0] if probe else None,
        provision=read_steps(get("provision", ()), findings, defaults),
        service=service,
        release=read_steps(get("release", ()), findings, defaults),
        timeout=get("timeout"),
        locks=read_locks(get("locks", ())),
        invalidates=read_tokens(get("invalidates", ()), findings),
        outlives=read_tokens(get("outlives", ()), findings),
        copyable=get("copyable", False),
        inputs=_inputs(get("inputs"), findings, defaults),
    )


def _inputs(written: Fields | None, findings: Findings, defaults: Defaults) -> Inputs | None:
    if written is None:
        return None
    location, run = findings.location(written.node), written.get("run")
    # It runs in the directory of the file, so a `cwd:` of the defaults, which is relative to another, does not count.
    command = Step(
        location=findings.location(written.value("run")),
        run=run,
        shell=defaults.shell,
        env=defaults.env,
        timeout=defaults.timeout,
    )
    files, names = written.get("files", ()), written.get("env", ())
    return Inputs(location=location, files=files, env=names, run=command if run else None)


def _report_contradictory_capability(token: str, fields: Fields, findings: Findings) -> None:
    get = fields.values.get
    if fields.wrote("service") and not fields.wrote("probe"):
        message = f"the service {token!r} has no probe, so the run cannot tell when it is ready"
        hint = "add `probe:`, a command that exits 0 if and only if the service is ready"
        findings.add(fields.key("service"), "service-without-probe", message, hint=hint)
    if fields.wrote("service") and fields.wrote("provision"):
        message = "a token is provided by `service` or by `provision`, not by both"
        findings.add(fields.key("service"), "conflicting-keys", message)
    if any("${" in name for name in get("locks", ())):
        message = "a placeholder in a lock of a capability, where it has no value"
        hint = "only journeys have a `matrix:`; write the name out"
        findings.add(fields.value("locks", "lock"), "unknown-placeholder", message, hint=hint)
    required = {node.value for node in get("requires", ())}
    outlived = {node.value for node in get("outlives", ())}
    if token in required:
        message = f"{token!r} requires itself"
        findings.add(fields.key("requires"), "conflicting-tokens", message, hint="remove it from `requires`")
    for node in get("invalidates", ()):
        if base_of(Token(node.value)) == token:
            message = f"{token!r} invalidates itself"
            findings.add(node, "conflicting-tokens", message, hint="remove it from `invalidates`")
        elif node.value in required - outlived:
            message = f"{token!r} requires {node.value!r} and invalidates it too"
            hint = f"if it is needed only while {token!r} is made, add `outlives: [{node.value}]`"
            findings.add(node, "conflicting-tokens", message, hint=hint)


def _report_uncopyable(token: str, fields: Fields, findings: Findings) -> None:
    """Report what a copyable token cannot have, because it is more than files in a chain's state."""
    keep = "remove `copyable: true`"
    if not fields.get("copyable"):
        if fields.wrote("inputs"):
            message = (
                f"{token!r} has `inputs`, which say what its files are made from, but it is not copyable"
            )
            hint = "remove `inputs`, or add `copyable: true` if it is true wholly because of files below $DOGFOOD_STATE"
            findings.add(fields.key("inputs"), "inputs-without-copyable", message, hint=hint)
        return
    place = fields.key("copyable")
    if fields.get("scope", Scope.CHAIN) is not Scope.CHAIN:
        message = f"{token!r} is copyable, but only what has scope 'chain' is in a state that can be copied"
        findings.add(place, "copyable-without-chain-scope", message, hint=f"remove `scope`, or {keep}")
    if fields.wrote("service"):
        message = f"{token!r} is copyable, but its service is a process, and no copy of files has one"
        hint = f"{keep}; a token of its own can stand for the files that the service reads"
        findings.add(place, "copyable-with-service", message, hint=hint)
    if fields.wrote("release"):
        message = f"{token!r} is copyable, but `release` cleans up once what each copy would leave"
        hint = f"remove `release`: the files go with their state; or {keep}"
        findings.add(place, "copyable-with-release", message, hint=hint)


def _expectation(step: Fields, findings: Findings) -> Expectation:
    written: Fields | None = step.get("expect")
    if written is None:
        return Expectation(exit=step.get("expect_exit", 0)) if step.wrote("expect_exit") else SUCCESS
    if step.wrote("expect_exit") and written.wrote("exit"):
        message = "`expect_exit` and `exit` under `expect` mean the same: give one of them"
        findings.add(step.key("expect_exit"), "conflicting-keys", message)
    files: Mapping[str, Fields] = written.get("files", {})
    for path, file in files.items():
        if file.get("exists") is False and (file.wrote("contains") or file.wrote("equals")):
            message = f"the file {path!r} has no content if it must not exist"
            findings.add(file.key("exists"), "conflicting-keys", message)
    streams = {
        name: StreamExpectation(**written.get(name).values)
        for name in ("stdout", "stderr")
        if written.get(name)
    }
    return Expectation(
        exit=written.get("exit", step.get("expect_exit", 0)),
        files=tuple([FileExpectation(path=path, **file.values) for path, file in files.items()]),
        text=written.get("text", ""),
        **streams,
    )


def _save(name: str, fields: Fields, findings: Findings) -> Save:
    sources = [source for source in ("stdout", "stderr", "json") if fields.wrote(source)]
    if not sources:
        hint = 'for example `{stdout: "id=(\\\\d+)"}` or `{json: id}`'
        findings.add(fields.node, "missing-key", f"the value {name!r} has no source", hint=hint)
    elif len(sources) > 1:
        message = f"{name!r} has several sources, {' and '.join(sources)}: keep one of them"
        findings.add(fields.key(sources[1]), "conflicting-keys", message)
    elif fields.wrote("stream") and sources != ["json"]:
        message = "`stream` is the stream that `json` reads, so it needs `json`"
        findings.add(fields.key("stream"), "conflicting-keys", message)
    source = sources[0] if sources else "stdout"
    found: dict[str, Any] = {"stream": source, "pattern": fields.get(source)}
    if source == "json":
        found = {"stream": fields.get("stream", "stdout"), "json": fields.get("json")}
    return Save(name=name, secret=fields.get("secret", False), **found)


def read_journey(
    fields: Fields, matrix: dict[str, str], findings: Findings, feature: str, defaults: Defaults
) -> Journey:
    """Return a journey; `matrix` holds the values of one combination, which already replace the placeholders."""
    values = fields.values
    get = values.get
    name = JourneyId(get("id", "") + (f"[{'-'.join(matrix.values())}]" if matrix else ""))
    own_env: Mapping[str, str] = {**matrix, **get("env", {})}
    if own_env or "shell" in values or "cwd" in values:
        defaults = defaults.overlaid_with(Defaults(shell=get("shell"), cwd=get("cwd"), env=own_env))
    tokens: dict[str, Any] = {
        key: read_tokens(values[key], findings)
        for key in ("requires", "establishes", "invalidates")
        if key in values
    }
    for other in ("requires", "invalidates"):
        for token in tokens.get("establishes", ()):
            if token in tokens.get(other, ()):
                message = f"the journey {other} {token!r} and establishes it too"
                hint = "it holds only once the journey has passed: keep one of the two"
                findings.add(fields.key(other), "conflicting-tokens", message, hint=hint)
    if "leaves" in values and not get("establishes"):
        message = "`leaves: daemon`, but the journey establishes no token that needs the daemon"
        hint = "name the token under `establishes:`, or stop the daemon in `cleanup:`"
        findings.add(fields.key("leaves"), "conflicting-keys", message, hint=hint)
    source = get("source", {})
    as_read: dict[str, Any] = {key: value for key, value in values.items() if key in _AS_READ}
    return Journey(
        id=name,
        location=findings.location(fields.value("id", "journey_id")),
        path=findings.path,
        nodeid=f"{findings.path}::{name}",
        steps=read_steps(get("steps", ()), findings, defaults, acted=True),
        feature=feature,
        source={"ref": source} if isinstance(source, str) else source,
        env=own_env,
        own_env=_env_places(fields, findings),
        seed_files=read_seed_files(fields, findings),
        locks=read_locks(get("locks", ())),
        cleanup=read_steps(get("cleanup", ()), findings, defaults),
        matrix=matrix,
        **as_read,
        **tokens,
    )
