"""Text -> journeys with positions. Pure: bytes in, values and findings out, nothing raised for a user's mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.fileformat.builder import NO_DEFAULTS, Defaults, read_capability, read_defaults
from pytest_dogfood.fileformat.matrix import FileContext, read_journeys
from pytest_dogfood.fileformat.nodes import Findings, MapNode, Node, ScalarNode, is_null
from pytest_dogfood.fileformat.scripts import read_script
from pytest_dogfood.fileformat.shapes import Fields, refuse
from pytest_dogfood.fileformat.syntax import MAX_BYTES, read_document
from pytest_dogfood.fileformat.tables import JOURNEY, JOURNEY_FILE, SETTINGS, SINGLE_JOURNEY, STEP_RECORD
from pytest_dogfood.fileformat.vocabulary import JOURNEY_ID, is_foreign, kind_of_file
from pytest_dogfood.journey import Capability, Journey, JourneyId
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

_AT_THE_TOP = frozenset((*SINGLE_JOURNEY.keys, *JOURNEY_FILE.keys))
_OF_STEPS = frozenset(STEP_RECORD.keys) - SINGLE_JOURNEY.keys.keys()

_ID_OF_FILE = replace(
    JOURNEY_ID, hint=f"say `id:`, or rename the file, whose name gives the id: {JOURNEY_ID.hint}"
)


class ParsedFile(Struct, frozen=True, kw_only=True):
    """What one file says. With an error among the diagnostics the rest is incomplete, and not to be run.

    `defaults` are those that hold in the file, those handed in included.
    """

    path: str
    journeys: tuple[Journey, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    defaults: Defaults = NO_DEFAULTS
    diagnostics: tuple[Diagnostic, ...] = ()


def parse_journey_file(
    content: bytes, *, path: str, stem: str, defaults: Defaults = NO_DEFAULTS
) -> ParsedFile:
    """Read a journey file. `stem` is the id of a file that holds one journey; `defaults` come from dogfood.yaml."""
    findings = Findings(path)
    fields = read_script(content, findings, defaults) if is_script(path) else _read_data(content, findings)
    if fields is None:
        return ParsedFile(path=path, defaults=defaults, diagnostics=findings.in_order())
    several = _holds_several(fields.node)
    inner = defaults.overlaid_with(read_defaults(fields.get("defaults")))
    around = FileContext(feature=fields.get("feature", ""), defaults=inner, stem="" if several else stem)
    if not several and not _has_id(fields):
        _ID_OF_FILE.read(ScalarNode(stem, fields.node.line, fields.node.column, plain=False), findings)
    written: Iterable[Fields] = fields.get("journeys", ()) if several else (fields,)
    return ParsedFile(
        path=path,
        journeys=_all_journeys(written, findings, around),
        capabilities=_capabilities(fields, findings, inner),
        defaults=inner,
        diagnostics=findings.in_order(),
    )


def parse_settings_file(content: bytes, *, path: str, defaults: Defaults = NO_DEFAULTS) -> ParsedFile:
    """Read a dogfood.yaml; an empty one is fine, it marks the root of a project. `defaults` come from above."""
    findings = Findings(path)
    root = _settings_root(content, findings)
    fields = SETTINGS.read(root, findings) if root else None
    if fields is None:
        return ParsedFile(path=path, defaults=defaults, diagnostics=findings.in_order())
    inner = defaults.overlaid_with(read_defaults(fields.get("defaults")))
    return ParsedFile(
        path=path,
        capabilities=_capabilities(fields, findings, inner),
        defaults=inner,
        diagnostics=findings.in_order(),
    )


def parse_settings_section(
    content: bytes, *, path: str, section: str
) -> tuple[Mapping[str, Any] | None, tuple[Diagnostic, ...]]:
    """Read one section of a dogfood.yaml, None if it is not there; the other sections may hold what they like.

    What is wrong with the file as a whole is found too: its syntax, and keys at its top that are unknown.
    """
    findings = Findings(path)
    root = _settings_root(content, findings)
    if root is None:
        # A file of comments says nothing to journeys, which is a mistake, and nothing about this section.
        return None, tuple(found for found in findings.in_order() if found.code != "empty-file")
    entries = {
        name: entry for name, entry in root.entries.items() if name == section or name not in SETTINGS.keys
    }
    fields = SETTINGS.read(MapNode(entries, root.line, root.column), findings)
    written: Fields | None = fields.get(section) if fields else None
    return written.values if written else None, findings.in_order()


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
    written = read_document(content, findings)
    if _is_none_of_ours(written or _first_document(content, findings), findings):
        return None
    root = _mapping(written, findings, "start with `journeys:`, or with the keys of one journey")
    if root is None:
        return None
    if not _holds_several(root):
        return SINGLE_JOURNEY.read(root, findings)
    if "journeys" in root.entries:
        root = _without_journey_keys(root, findings)
    else:
        _report_no_journeys(root, findings)
    return JOURNEY_FILE.read(root, findings)


def _first_document(content: bytes, findings: Findings) -> Node | None:
    """Read what stands before a second document, if there is one."""
    found = next((one for one in findings.in_order() if one.code == "multiple-documents"), None)
    if found is None:
        return None
    lines = content.split(b"\n")[: found.location.line - 1]
    return read_document(b"\n".join(lines), Findings(findings.path))


def _is_none_of_ours(root: Node | None, findings: Findings) -> bool:
    """Report in one sentence a file that belongs to another tool; its keys are not worth a word each."""
    kind = "" if root is None else kind_of_file(root)
    foreign = isinstance(root, MapNode) and is_foreign(root, _AT_THE_TOP, _OF_STEPS)
    if root is None or not (kind or foreign):
        return False
    findings.forget()
    looks = f"it looks like {kind}" if kind else "it has neither `journeys:` nor `steps:`"
    hint = (
        "leave it out of the command line and of ini `dogfood_files`; a journey file begins with `journeys:`"
    )
    findings.add(root, "not-a-journey-file", f"this is no journey file: {looks}", hint=hint)
    return True


def _holds_several(root: MapNode) -> bool:
    """Return whether the journeys of a file stand in a list, even if that is missing; else the file is a journey."""
    return "journeys" in root.entries or not any(name in JOURNEY.keys for name in root.entries)


def _without_journey_keys(root: MapNode, findings: Findings) -> MapNode:
    """Drop `steps` next to `journeys`, once it is reported."""
    if "steps" not in root.entries:
        return root
    message = f"`steps` here and `journeys` at {findings.location(root.entries['journeys'][0])}: one journey, or many?"
    hint = "move the steps into a journey of the list"
    findings.add(root.entries["steps"][0], "conflicting-keys", message, hint=hint)
    kept = {name: entry for name, entry in root.entries.items() if name != "steps"}
    return MapNode(kept, root.line, root.column)


def _report_no_journeys(root: MapNode, findings: Findings) -> None:
    shared = "capabilities" in root.entries or "defaults" in root.entries
    hint = "what several files share belongs in a dogfood.yaml" if shared else "add `journeys:`, a list"
    findings.add(root, "no-journeys", "a journey file without journeys", hint=hint)


def _has_id(fields: Fields) -> bool:
    return fields.wrote("id") or fields.wrote("journey_id")


def _all_journeys(written: Iterable[Fields], findings: Findings, around: FileContext) -> tuple[Journey, ...]:
    journeys: dict[JourneyId, Journey] = {}
    for fields in written:
        for journey in read_journeys(fields, findings, around):
            # Without a proper id, which is reported already, there is nothing to compare.
            first = journeys.setdefault(journey.id, journey) if fields.get("id") or around.stem else journey
            if first is not journey:
                message = f"the id {journey.id!r} stands here and at {first.location}"
                at = fields.value("id") if fields.wrote("id") else fields.value("journey_id")
                findings.add(at, "duplicate-id", message, hint="give one of them another id")
        if len(journeys) > MAX_JOURNEYS:
            message = f"more than {MAX_JOURNEYS:,} journeys in one file"
            findings.add(fields.node, "too-large", message, hint="split it into several files")
            break
    return tuple(journeys.values())


def _capabilities(fields: Fields, findings: Findings, defaults: Defaults) -> tuple[Capability, ...]:
    written: Mapping[str, Fields] = fields.get("capabilities", {})
    node = fields.value("capabilities")
    if not isinstance(node, MapNode):
        return ()
    return tuple(
        [
            read_capability(token, node.entries[token][0], definition, findings, defaults)
            for token, definition in written.items()
        ]
    )
