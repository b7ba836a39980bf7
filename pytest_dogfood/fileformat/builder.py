"""Steps and capabilities out of what the tables read: defaults merged, contradictions reported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from pytest_dogfood.diagnostics import Location, Severity
from pytest_dogfood.fileformat.nodes import Findings, ListNode, Node, ScalarNode, shown
from pytest_dogfood.fileformat.shapes import Fields
from pytest_dogfood.fileformat.tables import FLEET
from pytest_dogfood.journey import (
    Capability,
    Expectation,
    FileExpectation,
    Save,
    Scope,
    Service,
    Step,
    StreamExpectation,
    Token,
    Until,
    base_of,
)

# What a step says without a word about it; shared, because most steps say nothing.
SUCCESS = Expectation()

SAYS_WHAT_TO_DO = frozenset({"run", "intent", "expect", "expect_text", "expect_state", "expect_cmd_re"})
"""A step needs one of these keys."""

_FOR_A_JUDGE = ("expect_text", "expect_state", "expect_cmd_re")


class Defaults(Struct, frozen=True, kw_only=True):
    """What steps are given unless something nearer says otherwise. `timeout` is each step's, in seconds."""

    shell: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None

    def overlaid_with(self, nearer: Defaults) -> Defaults:
        """Merge: the nearer value wins, variables one by one."""
        return Defaults(
            shell=self.shell if nearer.shell is None else nearer.shell,
            cwd=self.cwd if nearer.cwd is None else nearer.cwd,
            env={**self.env, **nearer.env},
            timeout=self.timeout if nearer.timeout is None else nearer.timeout,
        )


NO_DEFAULTS = Defaults()


def read_defaults(fields: Fields | None) -> Defaults:
    return Defaults(**fields.values) if fields else NO_DEFAULTS


def read_steps(
    items: Sequence[str | tuple[str, ...] | Fields], node: Node, findings: Findings, defaults: Defaults
) -> tuple[Step, ...]:
    """Return the steps of a list that was read; `node` is that list. None of them can be left to an actor."""
    for item in items:
        _refuse_without_command(item, findings)
    return read_acted_steps(items, node, findings, defaults)


def read_acted_steps(
    items: Sequence[str | tuple[str, ...] | Fields], node: Node, findings: Findings, defaults: Defaults
) -> tuple[Step, ...]:
    """Return the steps of a list that was read, some of which may be left to an actor; `node` is that list."""
    if not items:
        return ()
    _report_core_without_actor(items, findings)
    nodes = node.items if isinstance(node, ListNode) else []
    # A refused item is missing from `items` but not from `nodes`: such a file never runs, places may shift.
    return tuple([read_step(item, at, findings, defaults) for item, at in zip(items, nodes, strict=False)])


def read_step(item: str | tuple[str, ...] | Fields, at: Node, findings: Findings, defaults: Defaults) -> Step:
    """Return a step written as a command alone, or as a mapping."""
    if not isinstance(item, Fields):
        return Step(
            location=findings.location(at),
            run=item,
            expect=SUCCESS,
            shell=defaults.shell,
            cwd=defaults.cwd,
            env=defaults.env,
            timeout=defaults.timeout,
        )
    get = item.values.get
    if SAYS_WHAT_TO_DO.isdisjoint(item.node.entries):
        hint = "give it a command with `run:`, or an `intent:` for an actor"
        findings.add(item.node, "empty-step", "a step that does nothing", hint=hint)
    if item.wrote("run"):
        _report_unjudged(item, findings)
    else:
        for key in (one for one in ("until", "stdin") if item.wrote(one)):
            hint = "give it one with `run:`; an actor decides for itself what to repeat and to type"
            findings.add(
                item.key(key), "no-command", f"{key!r} goes with a command, and there is none", hint=hint
            )
    env = get("env")
    return Step(
        location=findings.location(item.node),
        intent=get("intent", ""),
        run=get("run"),
        shell=get("shell", defaults.shell),
        expect=_expectation(item, findings),
        save=_saves(item, findings),
        until=_until(get("until")),
        timeout=get("timeout", defaults.timeout),
        env={**defaults.env, **env} if env else defaults.env,
        own_env=tuple(env) if env else (),
        cwd=get("cwd", defaults.cwd),
        stdin=get("stdin"),
        seed_files=read_seed_files(item, findings),
        core=get("core", False),
        expect_cmd_re=get("expect_cmd_re", ""),
        expect_text=get("expect_text", ""),
        expect_state=get("expect_state", ""),
    )


def _refuse_without_command(item: str | tuple[str, ...] | Fields, findings: Findings) -> None:
    if (
        isinstance(item, Fields)
        and not item.wrote("run")
        and not SAYS_WHAT_TO_DO.isdisjoint(item.node.entries)
    ):
        message = "a step without a command: only those of a journey may be left to an actor"
        findings.add(item.node, "no-command", message, hint="give it a command with `run:`")


def _report_unjudged(step: Fields, findings: Findings) -> None:
    """Report what only a judge of an actor reads, in a step that has a command."""
    expect = step.get("expect")
    text = expect.get("text") if isinstance(expect, Fields) else expect
    if text is not None:
        at = expect.value("text") if isinstance(expect, Fields) else step.value("expect")
        message = f"free text beside `run:` checks nothing: {shown(text)}"
        what = json.dumps(text, ensure_ascii=False) if len(text) <= 40 else "…"
        hint = f"write `expect: {{stdout: {{contains: {what}}}}}` to check, `intent:` to comment"
        findings.add(at, "checks-nothing", message, hint=hint)
    for key in _FOR_A_JUDGE:
        if key in step.values:
            message = f"{key!r} is for what an actor does: beside `run:` it checks nothing"
            hint = "write assertions under `expect:`, such as `{stdout: {contains: ready}}`"
            findings.add(step.key(key), "checks-nothing", message, hint=hint)


def _report_core_without_actor(items: Sequence[str | tuple[str, ...] | Fields], findings: Findings) -> None:
    """Report steps that claim not to decide, in a list where every step has a command and so decides."""
    minor = [item for item in items if isinstance(item, Fields) and item.values.get("core") is False]
    if minor and all(item.wrote("run") for item in items if isinstance(item, Fields)):
        for step in minor:
            message = "`core: false`, but a step with `run:` always decides the outcome"
            hint = "remove it; let a command that may fail end with `|| true`"
            findings.add(step.key("core"), "core-without-actor", message, hint=hint)


def read_seed_files(fields: Fields, findings: Findings) -> Mapping[str, str]:
    """Return path -> text, whether it was written as a mapping or as a list of path and content."""
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
            message = f"{token!r} stands in this list twice"
            findings.add(node, "duplicate-token", message, severity=Severity.WARNING)
        else:
            tokens[token] = findings.location(node)
    return tokens


def read_capability(
    token: str, at: Node, fields: Fields, findings: Findings, defaults: Defaults
) -> Capability:
    """Return the definition of `token`, whose name stands at `at`."""
    scope = fields.get("scope", Scope.CHAIN)
    if scope == FLEET:
        message = "the scope 'fleet' is not available yet"
        findings.add(fields.value("scope"), "fleet-not-available", message, hint="use chain or machine")
        scope = Scope.CHAIN
    if fields.wrote("service") and not fields.wrote("probe"):
        message = f"without a probe nobody knows when the service {token!r} is ready"
        hint = "add `probe:`, a command that exits 0 exactly if it is"
        findings.add(fields.key("service"), "service-without-probe", message, hint=hint)
    if fields.wrote("service") and fields.wrote("provision"):
        message = "a token is brought about by `service` or by `provision`, not by both"
        findings.add(fields.key("service"), "conflicting-keys", message)
    requires, invalidates, outlives = (
        read_tokens(fields.get(key, ()), findings) for key in ("requires", "invalidates", "outlives")
    )
    if token in requires:
        message = f"{token!r} requires itself"
        hint = "remove it from `requires`"
        findings.add(fields.key("requires"), "conflicting-tokens", message, hint=hint)
    _report_destroyed_bases(token, fields, findings)
    if any("${" in name for name in fields.get("locks", ())):
        message = "a placeholder in a lock of a capability, where nothing stands for it"
        at = fields.value("locks") if fields.wrote("locks") else fields.value("lock")
        findings.add(
            at, "unknown-placeholder", message, hint="only journeys have a `matrix:`; write the name out"
        )
    probe = fields.get("probe")
    if probe is not None:
        _refuse_without_command(probe, findings)
        _report_core_without_actor([probe], findings)
    return Capability(
        token=Token(token),
        location=findings.location(at),
        description=fields.get("description", ""),
        scope=scope,
        requires=requires,
        probe=None if probe is None else read_step(probe, fields.value("probe"), findings, defaults),
        provision=read_steps(fields.get("provision", ()), fields.value("provision"), findings, defaults),
        service=_service(fields.get("service"), findings, defaults),
        release=read_steps(fields.get("release", ()), fields.value("release"), findings, defaults),
        timeout=fields.get("timeout"),
        locks=fields.get("locks", ()),
        invalidates=invalidates,
        outlives=outlives,
    )


def _report_destroyed_bases(token: str, fields: Fields, findings: Findings) -> None:
    """Report what a capability invalidates although it needs it."""
    required = {node.value for node in fields.get("requires", ())}
    outlived = {node.value for node in fields.get("outlives", ())}
    for node in fields.get("invalidates", ()):
        if base_of(Token(node.value)) == token:
            message = f"{token!r} invalidates itself"
            hint = "remove it from `invalidates`"
            findings.add(node, "conflicting-tokens", message, hint=hint)
        elif node.value in required - outlived:
            message = f"{token!r} requires {node.value!r} and invalidates it too"
            hint = f"if it is needed only while {token!r} is made, say `outlives: [{node.value}]`"
            findings.add(node, "conflicting-tokens", message, hint=hint)


def _service(fields: Fields | None, findings: Findings, defaults: Defaults) -> Service | None:
    if fields is None or fields.get("run") is None:
        return None
    return Service(
        location=findings.location(fields.node),
        run=fields.get("run"),
        shell=fields.get("shell", defaults.shell),
        ports=fields.get("ports", ()),
        env={**defaults.env, **fields.get("env", {})},
        own_env=tuple(fields.get("env", {})),
        cwd=fields.get("cwd", defaults.cwd),
    )


def _expectation(step: Fields, findings: Findings) -> Expectation:
    written = step.get("expect")
    if written is None and not step.wrote("expect_exit"):
        return SUCCESS
    status = step.get("expect_exit", 0)
    if not isinstance(written, Fields):
        return Expectation(exit=status, text=written or "")
    if step.wrote("expect_exit") and written.wrote("exit"):
        message = "`expect_exit` and `exit` under `expect` mean the same: give one of them"
        findings.add(step.key("expect_exit"), "conflicting-keys", message)
    files = written.get("files", {})
    return Expectation(
        exit=written.get("exit", status),
        stdout=_stream(written.get("stdout")),
        stderr=_stream(written.get("stderr")),
        files=tuple([_file(path, file, findings) for path, file in files.items()]),
        text=written.get("text", ""),
    )


def _stream(written: str | Fields | None) -> StreamExpectation | None:
    if isinstance(written, Fields):
        return StreamExpectation(**written.values)
    return None if written is None else StreamExpectation(contains=(written,))


def _file(path: str, written: bool | Fields, findings: Findings) -> FileExpectation:  # noqa: FBT001 - as written
    if not isinstance(written, Fields):
        return FileExpectation(path=path, exists=written)
    if written.get("exists") is False and (written.wrote("contains") or written.wrote("equals")):
        message = f"the file {path!r} can hold nothing if it must not exist"
        findings.add(written.key("exists"), "conflicting-keys", message)
    return FileExpectation(path=path, **written.values)


def _saves(step: Fields, findings: Findings) -> tuple[Save, ...]:
    written: Mapping[str, Fields] = step.get("save", {})
    return tuple([_save(name, fields, findings) for name, fields in written.items()])


def _save(name: str, fields: Fields, findings: Findings) -> Save:
    sources = [source for source in ("stdout", "stderr", "json") if fields.wrote(source)]
    if not sources:
        hint = 'for example `{stdout: "id=(\\\\d+)"}` or `{json: id}`'
        findings.add(fields.node, "missing-key", f"nothing says where {name!r} comes from", hint=hint)
    elif len(sources) > 1:
        message = f"{' and '.join(sources)} each give {name!r}: keep one of them"
        findings.add(fields.key(sources[1]), "conflicting-keys", message)
    elif fields.wrote("stream") and sources != ["json"]:
        findings.add(
            fields.key("stream"), "conflicting-keys", "`stream` says where `json` reads, and goes with it"
        )
    source = sources[0] if sources else "stdout"
    secret = fields.get("secret", False)
    if source == "json":
        stream = fields.get("stream", "stdout")
        return Save(name=name, stream=stream, json=fields.get("json"), secret=secret)
    pattern = fields.get(source)
    return Save(
        name=name, stream="stderr" if source == "stderr" else "stdout", pattern=pattern, secret=secret
    )


def _until(written: float | Fields | None) -> Until | None:
    if isinstance(written, Fields):
        return Until(**written.values) if "timeout" in written.values else None
    return None if written is None else Until(timeout=written)
