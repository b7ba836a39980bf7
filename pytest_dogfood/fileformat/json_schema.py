"""JSON Schemas of the journey file and of dogfood.yaml, for editors, made from the shapes that the parser reads.

Rules that a schema cannot express (an id is unique, an expression compiles, a token is known) are left to the parser;
the schemas accept all that the parser accepts.

An editor decides the type of a plain scalar before it reads the schema: `1.20` is a number to it and `true` a
boolean, but the parser keeps the text if it wants text. So text may be a number or a boolean here, if that could be
valid text; but not null, because to the parser that is a missing value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any, TypeAlias

from pytest_dogfood.fileformat import scalars, shapes, tables
from pytest_dogfood.fileformat.builder import FOR_A_JUDGE, SAYS_WHAT_TO_DO
from pytest_dogfood.fileformat.nodes import Findings
from pytest_dogfood.fileformat.settings_table import SETTINGS
from pytest_dogfood.fileformat.syntax import read_yaml
from pytest_dogfood.journey import MARK_PATTERN

JsonSchema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JOURNEY_SCHEMA = "journey.schema.json"
SETTINGS_SCHEMA = "dogfood.schema.json"

_ANY_TYPE_OF_TEXT = ["string", "number", "boolean"]
# `.` and `$` mean different things to different engines next to a line's end; these do not.
_NO_NUL = r"^[^\x00]*$"
_SHELL_TEXT: JsonSchema = {
    "type": _ANY_TYPE_OF_TEXT,
    "pattern": r"^(?![\s\S]*\x00)(?:[^\S\n]*(?:#[^\n]*)?\n)*[^\S\n]*[^\s#]",
    "patternErrorMessage": "an empty command: write what the user types",
}
_JOURNEY_EXAMPLE = """
feature: notes
journeys:
  - id: write-a-note
    establishes: [note-written]
    steps:
      - intent: write a note
        run: echo hello > "$DOGFOOD_STATE/note"
  - id: read-the-note
    requires: [note-written]
    steps:
      - run: cat "$DOGFOOD_STATE/note"
        expect: {stdout: {contains: hello}}
"""
_SETTINGS_EXAMPLE = """
defaults: {timeout: 60}
capabilities:
  note-written:
    description: a note is there to be read
    probe: test -s "$DOGFOOD_STATE/note"
    provision:
      - run: echo hello > "$DOGFOOD_STATE/note"
"""


def journey_schema() -> JsonSchema:
    """Return the schema of a journey file, with a list of journeys or with one journey."""
    drawn: dict[str, JsonSchema] = {}
    several = _refer(tables.JOURNEY_FILE, drawn)
    # A choice by a key, not `oneOf`: then an editor shows the mistake, not that neither of two forms matches.
    schema = {
        "type": "object",
        "properties": {"journeys": {"description": tables.JOURNEY_FILE.keys["journeys"].description}},
        "if": {"required": ["journeys"]},
        "then": several,
        "else": _refer(tables.SINGLE_JOURNEY, drawn),
    }
    about = "What users do and what must be seen: a list under `journeys`, or one journey with its keys at the top."
    title = "pytest-dogfood: journey file"
    return _whole(schema, JOURNEY_SCHEMA, title, about, _JOURNEY_EXAMPLE, drawn)


def settings_schema() -> JsonSchema:
    """Return the schema of dogfood.yaml."""
    drawn: dict[str, JsonSchema] = {}
    schema = draw(SETTINGS, drawn)
    title = f"pytest-dogfood: {SETTINGS.name}"
    return _whole(schema, SETTINGS_SCHEMA, title, SETTINGS.description, _SETTINGS_EXAMPLE, drawn)


def render(schema: Mapping[str, Any]) -> str:
    """Return the text of a schema: the same for the same tables, with keys in the order of the tables."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _whole(
    schema: JsonSchema, file: str, title: str, description: str, example: str, drawn: dict[str, JsonSchema]
) -> JsonSchema:
    head = {"$schema": DIALECT, "$id": file, "title": title, "description": description}
    return {**_with_examples({**head, **schema, **head}, [example]), "$defs": dict(sorted(drawn.items()))}


def _with_examples(schema: JsonSchema, written: Iterable[str]) -> JsonSchema:
    """Return a schema with examples, which are written as YAML."""
    values = [
        scalars.resolve_value(node) for text in written if (node := read_yaml(text, Findings("example")))
    ]
    return {**schema, "examples": values} if values else schema


def _refer(shape: shapes.Shape[Any], drawn: dict[str, JsonSchema]) -> JsonSchema:
    """Return a schema of the shape, or a reference if it has a name: then it is defined once."""
    if isinstance(shape, shapes.Record):
        name = re.sub(r"^an? ", "", shape.name).replace(" ", "-")
    elif not (name := next((name for name, known in _NAMED.items() if known == shape), "")):
        return draw(shape, drawn)
    if name not in drawn:
        drawn[name] = {}
        drawn[name] = draw(shape, drawn)
    return {"$ref": f"#/$defs/{name}"}


_NAMED: Mapping[str, shapes.Shape[Any]] = {
    "text": tables.TEXT,
    "text-or-nothing": tables.TEXT_OR_NOTHING,
    "duration": tables.DURATION,
    "command": tables.COMMAND,
    "exit-status": scalars.ExitStatus(),
    "environment": tables.ENV,
    "seed-files": tables.SEED_FILES,
    "token": scalars.TOKENS.item,
    "tokens": scalars.TOKENS,
    "required-token": scalars.REQUIRED_TOKENS.item,
    "required-tokens": scalars.REQUIRED_TOKENS,
    "journey-id": scalars.JOURNEY_ID,
    "variable": scalars.VARIABLE,
    "mark": scalars.MarkShape(),
    "stream": tables.STREAM,
    "file": tables.FILE,
    "step-or-command": tables.STEP,
    "steps": tables.STEPS,
    "probe": tables.PROBE,
    "capabilities": tables.CAPABILITIES,
}


def _matching(pattern: re.Pattern[str], expected: str) -> JsonSchema:
    """Return the schema of text that matches a pattern; also as a number or boolean, if such a text matches."""
    # `1e-5` could be a token; an editor sees a fraction.
    number = "number" if any(map(pattern.fullmatch, ("1.5", "1", "1e-5"))) else ""
    boolean = "boolean" if pattern.fullmatch("true") else ""
    least = {"minimum": 0} if number and not pattern.fullmatch("-1") else {}
    types = [each for each in ("string", number, boolean) if each]
    return {
        "type": types if len(types) > 1 else "string",
        "pattern": f"^(?:{pattern.pattern})$",
        **least,
        "patternErrorMessage": f"expected {expected}",
    }


_MARK = _matching(MARK_PATTERN, "the name of a mark")
_INNER_PATH = re.compile(r"(?!/)(?!(?:[\s\S]*/)?\.\.(?:/|$))(?!(?:[\s\S]*/)?\.?$)[^\x00]+")
_ARGV: JsonSchema = {
    "type": "array",
    "minItems": 1,
    "prefixItems": [{"type": _ANY_TYPE_OF_TEXT, "minLength": 1, "pattern": r"^(?!-)[^\x00]*$", "minimum": 0}],
    # Editors that do not know `prefixItems` yet still see that these are words.
    "items": {"type": _ANY_TYPE_OF_TEXT, "pattern": _NO_NUL},
}
_ALWAYS_ALIKE: Mapping[type, JsonSchema] = {
    shapes.Flag: {"type": "boolean"},
    shapes.WholeNumber: {"type": "integer", "minimum": 1, "maximum": shapes.MAX_COUNT},
    scalars.ExitStatus: {
        "anyOf": [
            {"type": "integer", "minimum": scalars.LOWEST_STATUS, "maximum": scalars.HIGHEST_STATUS},
            {"const": "nonzero"},
        ]
    },
    scalars.FreeMap: {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"minLength": 1, "pattern": _NO_NUL},
    },
    scalars.InnerPath: _matching(
        _INNER_PATH, "a relative path that names a file inside of the working directory"
    ),
    scalars.Command: {
        "description": "Shell text, or a list of words that no shell touches.",
        "anyOf": [_SHELL_TEXT, _ARGV],
    },
    scalars.MarkShape: {
        "description": "The name of a pytest mark, or a mapping from its name to its arguments.",
        "anyOf": [
            _MARK,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "propertyNames": {**_MARK, "type": "string"},
            },
        ],
    },
}


@singledispatch
def draw(shape: shapes.Shape[Any], drawn: dict[str, JsonSchema]) -> JsonSchema:  # noqa: ARG001 - for those below
    """Return the schema of a shape; its parts may be references to `drawn`."""
    return _ALWAYS_ALIKE[type(shape)]


@draw.register
def _text(shape: shapes.Text, _: dict[str, JsonSchema]) -> JsonSchema:
    least = {} if shape.empty else {"minLength": 1}
    types = ["string", "boolean"] if shape.number_hint else _ANY_TYPE_OF_TEXT
    return {"type": types, **least, "pattern": _NO_NUL}


@draw.register
def _word(shape: shapes.Word, _: dict[str, JsonSchema]) -> JsonSchema:
    return _matching(shape.pattern, f"{shape.expected}: {shape.hint}" if shape.hint else shape.expected)


@draw.register
def _special_text(
    shape: scalars.ExpectedText | scalars.Regex | scalars.JmesPath, drawn: dict[str, JsonSchema]
) -> JsonSchema:
    # Not `format: regex`: that would mean ECMAScript's expressions, and these are Python's.
    return _refer(shapes.Text(empty=isinstance(shape, scalars.ExpectedText) and shape.empty), drawn)


@draw.register
def _duration(shape: scalars.Duration, _: dict[str, JsonSchema]) -> JsonSchema:
    least = "minimum" if shape.zero else "exclusiveMinimum"
    some = "" if shape.zero else r"(?=[\d.]*[1-9])"
    return {
        "description": "Seconds as a number, or a number with a unit: 90, 1.5, 500ms, 90s, 2m, 1h.",
        "anyOf": [
            {"type": "number", least: 0, "maximum": int(scalars.MAX_SECONDS)},
            {
                "type": "string",
                "pattern": f"^{some}(?:{scalars.DURATION_AMOUNT})(?:{'|'.join(scalars.DURATION_UNITS)})$",
                "patternErrorMessage": f"expected {shape.expected}: 90, 1.5, 500ms, 90s, 2m, 1h",
            },
        ],
    }


@draw.register(shapes.Choice)
def _choice(shape: shapes.Choice[Any], _: dict[str, JsonSchema]) -> JsonSchema:
    return {"enum": list(shape.options)}


@draw.register(shapes.ListOf)
def _list(shape: shapes.ListOf[Any], drawn: dict[str, JsonSchema]) -> JsonSchema:
    item = _refer(shape.item, drawn)
    several = {"type": "array", **({"minItems": 1} if shape.empty_code else {}), "items": item}
    return {"anyOf": [item, several]} if shape.alone else several


@draw.register(shapes.MapOf)
def _map(shape: shapes.MapOf[Any], drawn: dict[str, JsonSchema]) -> JsonSchema:
    names = draw(shapes.Text() if isinstance(shape.key, scalars.ExpectedText) else shape.key, drawn)
    return {
        "type": "object",
        **({"minProperties": 1} if shape.empty_code else {}),
        # The same as for the text, but a key is always a string to an editor.
        "propertyNames": {key: value for key, value in names.items() if key not in {"type", "minimum"}},
        "additionalProperties": _refer(shape.value, drawn),
    }


@draw.register(shapes.ByKind)
def _by_kind(shape: shapes.ByKind[Any], drawn: dict[str, JsonSchema]) -> JsonSchema:
    alone = shape.scalar.value if isinstance(shape.scalar, shapes.Shorthand) else shape.scalar
    alone = alone.item if isinstance(alone, shapes.ListOf) else alone
    if isinstance(alone, scalars.Command) and shape.sequence is None:
        scalar = [_SHELL_TEXT]
    else:
        scalar = [_refer(alone, drawn)] if alone else []
    # The schema of a command includes its list of words: it may be here under two kinds.
    others = [each for each in (shape.sequence, shape.mapping) if each is not None and each != shape.scalar]
    return {"anyOf": [*scalar, *(_refer(each, drawn) for each in others)]}


@draw.register
def _positioned(shape: shapes.Positioned, drawn: dict[str, JsonSchema]) -> JsonSchema:
    return _refer(shape.inner, drawn)


@draw.register
def _record(shape: shapes.Record, drawn: dict[str, JsonSchema]) -> JsonSchema:
    aliases = {alias: key.alias_of for alias, key in shape.keys.items() if key.alias_of}
    properties = {
        name: _with_examples({**_refer(key.shape, drawn), "description": key.description}, key.examples)
        for name, key in shape.keys.items()
    }
    required, rules = [], []
    for name in (name for name, key in shape.keys.items() if key.required):
        if others := [alias for alias, meant in aliases.items() if meant == name]:
            rules.append(_at_least_one(name, *others))
        else:
            required.append(name)
    rules += [_excludes(alias, name) for alias, name in aliases.items()]
    for rule in _RULES.get(shape.name, ()):
        required += rule.get("required", [])
        rules += [] if "required" in rule else [rule]
    return {
        "description": shape.description,
        "type": "object",
        **({"minProperties": 1} if shape.empty_code else {}),
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
        **({"allOf": rules} if rules else {}),
    }


def _at_least_one(*keys: str) -> JsonSchema:
    return {"anyOf": [{"required": [key]} for key in keys]}


def _excludes(key: str, *others: str) -> JsonSchema:
    """Return the rule that `key` excludes the others; an editor marks them, not the whole mapping."""
    return {"if": {"required": [key]}, "then": {"properties": dict.fromkeys(others, False)}}


_NO_EXIT = {"expect": {"properties": {"exit": False}}}
_JUDGED = {"expect": {"type": "object", "properties": {"text": False}}, **dict.fromkeys(FOR_A_JUDGE, False)}
_IS_ABSENT = {"properties": {"exists": {"const": False}}, "required": ["exists"]}
_IS_COPYABLE: JsonSchema = {"properties": {"copyable": {"const": True}}, "required": ["copyable"]}
# The rules between keys, which the parser checks after it has read a record, and which are in no table.
_RULES: Mapping[str, list[JsonSchema]] = {
    tables.JOURNEY.name: [{"required": ["steps"]}],
    tables.SINGLE_JOURNEY.name: [{"required": ["steps"]}],
    tables.JOURNEY_FILE.name: [{"required": ["journeys"]}],
    tables.STEP_RECORD.name: [
        _at_least_one(*(name for name in tables.STEP_RECORD.keys if name in SAYS_WHAT_TO_DO)),
        {"if": {"required": ["expect_exit"]}, "then": {"properties": _NO_EXIT}},
        {"if": {"required": ["run"]}, "then": {"properties": _JUDGED}},
    ],
    tables.SAVE.name: [
        _at_least_one("stdout", "stderr", "json"),
        _excludes("stdout", "stderr", "json", "stream"),
        _excludes("stderr", "json", "stream"),
    ],
    tables.FILE_RECORD.name: [
        {"if": _IS_ABSENT, "then": {"properties": {"contains": False, "equals": False}}}
    ],
    tables.CAPABILITY.name: [
        {"if": {"required": ["service"]}, "then": {"required": ["probe"]}},
        _excludes("service", "provision"),
        {
            "if": _IS_COPYABLE,
            "then": {"properties": {"scope": {"const": "chain"}, "service": False, "release": False}},
        },
        {"if": {"required": ["inputs"]}, "then": _IS_COPYABLE},
    ],
}
