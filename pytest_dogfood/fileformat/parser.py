"""Text -> journeys with positions. Pure: bytes in, values and findings out, nothing raised for a user's mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import Diagnostic, nearest
from pytest_dogfood.fileformat.builder import (
    NO_DEFAULTS,
    Defaults,
    read_capability,
    read_journey,
    read_pools,
)
from pytest_dogfood.fileformat.nodes import Findings, ListNode, MapNode, Node, ScalarNode, is_null
from pytest_dogfood.fileformat.scalars import JOURNEY_ID
from pytest_dogfood.fileformat.settings_table import SETTINGS
from pytest_dogfood.fileformat.shapes import Fields, refuse
from pytest_dogfood.fileformat.syntax import MAX_BYTES, read_document
from pytest_dogfood.fileformat.tables import JOURNEY, JOURNEY_FILE, SINGLE_JOURNEY, STEP_RECORD
from pytest_dogfood.journey import Capability, Journey, JourneyId, Pool
from pytest_dogfood.settings import is_script

__all__ = [
    "MAX_BYTES",
    "Defaults",
    "ParsedFile",
    "parse_journey_file",
    "parse_settings_file",
    "parse_settings_section",
]

MAX_JOURNEYS = 100_000


class ParsedFile(Struct, frozen=True, kw_only=True):
    """The contents of one file. With an error in the diagnostics, the rest is incomplete, and must not be run.

    `defaults` are those of the file, merged with the given ones.
    """

    path: str
    journeys: tuple[Journey, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    pools: tuple[Pool, ...] = ()
    defaults: Defaults = NO_DEFAULTS
    diagnostics: tuple[Diagnostic, ...] = ()


def parse_journey_file(
    content: bytes, *, path: str, stem: str, defaults: Defaults = NO_DEFAULTS
) -> ParsedFile:
    """Read a journey file. `stem` is the id of a file that holds one journey; `defaults` come from dogfood.yaml."""
    findings = Findings(path)
    fields: Fields | None
    if is_script(path):
        from pytest_dogfood.fileformat.scripts import read_script

        fields = read_script(content, findings, defaults)
    else:
        fields = _read_data(content, findings)
    journeys: Iterable[Fields] = ()
    if fields is not None and _holds_several(fields.node):
        journeys = fields.get("journeys", ())
    elif fields is not None:
        if not fields.wrote("id") and not fields.wrote("journey_id"):
            hint = f"add `id:`, or rename the file, whose name gives the id: {JOURNEY_ID.hint}"
            name = ScalarNode(stem, fields.node.line, fields.node.column, plain=False)
            replace(JOURNEY_ID, hint=hint).read(name, findings)
        fields.values.setdefault("id", stem)
        journeys = (fields,)
    return _parsed(fields, journeys, content, findings, defaults)


def parse_settings_file(content: bytes, *, path: str, defaults: Defaults = NO_DEFAULTS) -> ParsedFile:
    """Read a dogfood.yaml; an empty one marks the root of a project. `defaults` come from directories above."""
    findings = Findings(path)
    root = _settings_root(content, findings)
    return _parsed(SETTINGS.read(root, findings) if root else None, (), content, findings, defaults)


def _parsed(
    fields: Fields | None, journeys: Iterable[Fields], content: bytes, findings: Findings, defaults: Defaults
) -> ParsedFile:
    if fields is None:
        return ParsedFile(path=findings.path, defaults=defaults, diagnostics=findings.sorted())
    written: Fields | None = fields.get("defaults")
    inner = defaults.overlaid_with(Defaults(**written.values)) if written else defaults
    read = _journeys(journeys, content, findings, fields.get("feature", ""), inner)
    definitions = fields.value("capabilities")
    capabilities = [
        read_capability(token, definitions.entries[token][0], definition, findings, inner)
        for token, definition in fields.get("capabilities", {}).items()
        if isinstance(definitions, MapNode)
    ]
    return ParsedFile(
        path=findings.path,
        journeys=read,
        capabilities=tuple(capabilities),
        pools=tuple(read_pools(fields, findings)),
        defaults=inner,
        diagnostics=findings.sorted(),
    )


def parse_settings_section(
    content: bytes, *, path: str, section: str
) -> tuple[Mapping[str, Any] | None, tuple[Diagnostic, ...]]:
    """Read one section of a dogfood.yaml, None if it is missing; the other sections are not checked.

    Errors of the whole file are reported too: its syntax, and unknown keys at its top.
    """
    findings = Findings(path)
    root = _settings_root(content, findings)
    if root is None:
        # A file of comments is a mistake for journeys, but it just lacks this section.
        return None, tuple(found for found in findings.sorted() if found.code != "empty-file")
    entries = {
        name: entry for name, entry in root.entries.items() if name == section or name not in SETTINGS.keys
    }
    fields = SETTINGS.read(MapNode(entries, root.line, root.column), findings)
    written: Fields | None = fields.get(section) if fields else None
    return written.values if written else None, findings.sorted()


def _settings_root(content: bytes, findings: Findings) -> MapNode | None:
    if len(content) <= MAX_BYTES and not content.strip():
        return None
    return _mapping(
        read_document(content, findings), findings, "it holds keys and values, such as `defaults:`"
    )


def _mapping(node: Node | None, findings: Findings, hint: str) -> MapNode | None:
    if node is None or isinstance(node, MapNode):
        return node
    refuse(node, "a mapping", findings, "" if is_null(node) else hint)
    return None


def _read_data(content: bytes, findings: Findings) -> Fields | None:
    """Read YAML or JSON, which holds one journey or many."""
    written = first = read_document(content, findings)
    for found in findings.sorted():
        if found.code == "multiple-documents":
            before = content.split(b"\n")[: found.location.line - 1]
            first = read_document(b"\n".join(before), Findings(findings.path))
    if _is_none_of_ours(first, findings):
        return None
    root = _mapping(written, findings, "start with `journeys:`, or with the keys of one journey")
    if root is None:
        return None
    entries = root.entries
    if not _holds_several(root):
        return SINGLE_JOURNEY.read(root, findings)
    if "journeys" not in entries:
        shared = "capabilities" in entries or "defaults" in entries
        hint = "put shared definitions into a dogfood.yaml" if shared else "add `journeys:`, a list"
        findings.add(root, "no-journeys", "a journey file without journeys", hint=hint)
    elif "steps" in entries:
        many = findings.location(entries["journeys"][0])
        message = f"`steps` here and `journeys` at {many}: one journey, or many?"
        hint = "move the steps into a journey of the list"
        findings.add(entries["steps"][0], "conflicting-keys", message, hint=hint)
        kept = {name: entry for name, entry in entries.items() if name != "steps"}
        root = MapNode(kept, root.line, root.column)
    return JOURNEY_FILE.read(root, findings)


def _holds_several(root: MapNode) -> bool:
    """Return whether a file has a list of journeys, or should have one; else the file itself is a journey."""
    return "journeys" in root.entries or not any(name in JOURNEY.keys for name in root.entries)


_OTHER_TOOLS = (
    ("a Tavern test", {"test_name", "stages"}),
    ("a Venom test suite", {"testcases"}),
    ("a runn runbook", {"runners", "steps"}, {"desc", "steps"}),
    ("a GitHub Actions workflow", {"on", "jobs"}),
    ("a GitHub action", {"runs", "name"}),
    ("a CircleCI configuration", {"jobs", "workflows"}),
    ("an Azure pipeline", {"pool", "steps"}, {"trigger", "steps"}),
    ("a Bitbucket pipeline", {"pipelines"}),
    ("a Drone pipeline", {"kind", "steps"}),
    ("a Kubernetes manifest", {"apiVersion", "kind"}),
    ("a Helm chart", {"apiVersion", "version"}),
    ("a Compose file", {"services"}),
    ("a Taskfile", {"tasks"}),
    ("a GitLab pipeline", {"stages"}),
    ("an OpenAPI description", {"openapi"}, {"swagger"}),
    ("an Artillery script", {"config", "scenarios"}),
    ("a Postman collection", {"info", "item"}),
    ("a configuration of pre-commit", {"repos"}),
    ("a configuration of MkDocs", {"site_name"}),
    ("a package.json", {"name", "scripts"}, {"name", "dependencies"}),
    ("a configuration of TypeScript", {"compilerOptions"}),
)
"""Keys at the top of a file that identify its tool, the most specific ones first."""

_COMMON = {"id", "source", "env", "timeout", "cwd", "shell", "marks", "use", "matrix", "lock", "locks"}
_COMMON |= {"defaults", "workdir"}
"""Keys of journey files that other tools have as well."""


def _is_none_of_ours(root: Node | None, findings: Findings) -> bool:
    """Report a file of another tool with one finding, instead of one for each of its keys; return whether it is one."""
    kind = _kind_of_file(root)
    if root is None or not (kind or (isinstance(root, MapNode) and _is_foreign(root))):
        return False
    findings.forget()
    looks = f"it looks like {kind}" if kind else "it has neither `journeys:` nor `steps:`"
    hint = (
        "leave it out of the command line and of ini `dogfood_files`; a journey file begins with `journeys:`"
    )
    findings.add(root, "not-a-journey-file", f"this is not a journey file: {looks}", hint=hint)
    return True


def _kind_of_file(root: Node | None) -> str:
    """Return the kind of another tool's file, by the keys at its top; empty if it is not known."""
    if isinstance(root, ListNode):
        first = root.items[0] if root.items else None
        return "an Ansible playbook" if isinstance(first, MapNode) and "hosts" in first.entries else ""
    if not isinstance(root, MapNode) or "journeys" in root.entries:
        return ""
    _, steps = root.entries.get("steps", (None, None))
    for step in steps.items if isinstance(steps, ListNode) else ():
        # A command, or a step with a key of journey files.
        if not isinstance(step, MapNode) or not step.entries.keys().isdisjoint(("run", "intent", "expect")):
            return ""
    return next(
        (kind for kind, *marks in _OTHER_TOOLS if any(keys <= root.entries.keys() for keys in marks)), ""
    )


def _is_foreign(root: MapNode) -> bool:
    """Return whether no key at the top of a file is one of journey files, not even a misspelt one."""
    ours = {*SINGLE_JOURNEY.keys, *JOURNEY_FILE.keys}
    unknown = root.entries.keys() - ours
    misplaced = any(
        key in STEP_RECORD.keys or nearest(key, ("journeys", "steps"), likeness=0.75) for key in unknown
    )
    return bool(unknown) and not misplaced and not (root.entries.keys() & ours) - _COMMON


def _journeys(
    written: Iterable[Fields], content: bytes, findings: Findings, feature: str, defaults: Defaults
) -> tuple[Journey, ...]:
    # A backslash may be an escape for any character.
    may_hold_placeholders = b"${" in content or b"\\" in content
    journeys: dict[JourneyId, Journey] = {}
    for fields in written:
        if not fields.wrote("steps"):
            hint = "add `steps:`, a list of what the user does"
            findings.add(fields.node, "no-steps", "a journey without steps", hint=hint)
        expanded: list[tuple[Fields, dict[str, str]]] = [(fields, {})]
        if may_hold_placeholders or fields.wrote("matrix"):
            from pytest_dogfood.fileformat.matrix import expand_matrix

            expanded = expand_matrix(fields, defaults.shell, findings)
        for one, matrix in expanded:
            journey = read_journey(one, matrix, findings, feature, defaults)
            # Without a valid id, which is reported already, there is nothing to compare.
            first = journeys.setdefault(journey.id, journey) if fields.get("id") else journey
            if first is not journey:
                message = f"the id {journey.id!r} occurs here and at {first.location}"
                at = fields.value("id", "journey_id")
                findings.add(at, "duplicate-id", message, hint="give one of them another id")
        if len(journeys) > MAX_JOURNEYS:
            message = f"more than {MAX_JOURNEYS:,} journeys in one file"
            findings.add(fields.node, "too-large", message, hint="split it into several files")
            break
    return tuple(journeys.values())
