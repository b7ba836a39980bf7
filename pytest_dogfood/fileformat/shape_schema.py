"""Shapes -> JSON Schema: what an editor should know of a value, drawn from the shape that reads it.

An editor decides the type of a plain scalar before it looks at the schema: `1.20` is a number to it and `true` a
boolean, while the parser keeps the text wherever it asks for text. So text may be a number or a boolean here, as far
as what it looks like could be right; a null never is, for the parser takes it for a value that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import singledispatch
from typing import Any, TypeAlias

from pytest_dogfood.fileformat.nodes import Findings
from pytest_dogfood.fileformat.scalars import (
    DURATION_AMOUNT,
    DURATION_UNITS,
    MAX_SECONDS,
    Command,
    Duration,
    ExitStatus,
    ExpectedText,
    FreeMap,
    InnerPath,
    JmesPath,
    MarkShape,
    Regex,
    free_value,
)
from pytest_dogfood.fileformat.shapes import (
    ByKind,
    Choice,
    Flag,
    Key,
    ListOf,
    MapOf,
    Number,
    OneOrMany,
    Positioned,
    Record,
    Shape,
    Text,
    Word,
    Words,
)
from pytest_dogfood.fileformat.syntax import read_yaml
from pytest_dogfood.journey import MARK_PATTERN

JsonSchema: TypeAlias = dict[str, Any]

_ANY_TYPE_OF_TEXT = ["string", "number", "boolean"]
# `.` and `$` mean different things to different engines next to a line's end; these do not.
_NO_NUL = r"^[^\x00]*$"
_SOME_COMMAND = r"^(?![\s\S]*\x00)(?:[^\S\n]*(?:#[^\n]*)?\n)*[^\S\n]*[^\s#]"
_NO_OPTION = r"^(?!-)[^\x00]*$"
_SHELL_TEXT: JsonSchema = {
    "type": _ANY_TYPE_OF_TEXT,
    "pattern": _SOME_COMMAND,
    "patternErrorMessage": "an empty command: write what the user types",
}
_INNER_PATH = re.compile(r"(?!/)(?!(?:[\s\S]*/)?\.\.(?:/|$))(?!(?:[\s\S]*/)?\.?$)[^\x00]+")


class Definitions:
    """Schemas of the shapes that have a name: each is drawn once, and referred to from wherever it stands.

    `rules` holds, by a record's name, what is true of its keys together and no table says; `reserved` are words that
    a choice knows only to refuse them.
    """

    def __init__(
        self,
        named: Mapping[str, Shape[Any]],
        rules: Mapping[str, list[JsonSchema]],
        reserved: Collection[str] = (),
    ) -> None:
        self.rules = rules
        self.reserved = reserved
        self.drawn: dict[str, JsonSchema] = {}
        self._named = named

    def of(self, shape: Shape[Any]) -> JsonSchema:
        """Return a schema of the shape, or a reference to it."""
        name = self._name_of(shape)
        if name is None:
            return draw(shape, self)
        if name not in self.drawn:
            self.drawn[name] = {}
            self.drawn[name] = draw(shape, self)
        return {"$ref": f"#/$defs/{name}"}

    def _name_of(self, shape: Shape[Any]) -> str | None:
        if isinstance(shape, Record):
            return re.sub(r"^an? ", "", shape.name).replace(" ", "-")
        return next((name for name, known in self._named.items() if known == shape), None)


def with_examples(schema: JsonSchema, written: Iterable[str]) -> JsonSchema:
    """Add examples, which are written as YAML."""
    values = [free_value(node) for text in written if (node := read_yaml(text, Findings("example")))]
    return {**schema, "examples": values} if values else schema


@singledispatch
def draw(shape: Shape[Any], definitions: Definitions) -> JsonSchema:
    """Return the schema of a shape in place; what it is made of may be referred to."""
    raise TypeError(f"no schema for {type(shape).__name__}: register one in {__name__} ({definitions!r})")


@draw.register
def _text(shape: Text, _: Definitions) -> JsonSchema:
    least = {} if shape.empty else {"minLength": 1}
    return {"type": _ANY_TYPE_OF_TEXT, **least, "pattern": _NO_NUL}


@draw.register
def _expected_text(shape: ExpectedText, definitions: Definitions) -> JsonSchema:
    return definitions.of(Text(empty=shape.empty))


@draw.register
def _words(_shape: Words, _: Definitions) -> JsonSchema:
    return {"type": ["string", "boolean"], "minLength": 1, "pattern": _NO_NUL}


@draw.register
def _word(shape: Word, _: Definitions) -> JsonSchema:
    words = f"expected {shape.expected}" + (f": {shape.hint}" if shape.hint else "")
    return {**_matching(shape.pattern), "patternErrorMessage": words}


@draw.register(Regex)
@draw.register(JmesPath)
def _expression(_shape: Regex | JmesPath, definitions: Definitions) -> JsonSchema:
    # Not `format: regex`: that would mean ECMAScript's expressions, and these are Python's.
    return definitions.of(Text())


@draw.register
def _inner_path(shape: InnerPath, _: Definitions) -> JsonSchema:
    words = f"expected {shape.expected} that names a file inside of the working directory"
    return {**_matching(_INNER_PATH), "patternErrorMessage": words}


@draw.register
def _number(shape: Number, _: Definitions) -> JsonSchema:
    return {"type": "integer", "minimum": shape.minimum, "maximum": shape.maximum}


@draw.register
def _exit_status(shape: ExitStatus, definitions: Definitions) -> JsonSchema:
    return {"anyOf": [definitions.of(shape.number), {"const": "nonzero"}]}


@draw.register
def _flag(_shape: Flag, _: Definitions) -> JsonSchema:
    return {"type": "boolean"}


@draw.register
def _duration(shape: Duration, _: Definitions) -> JsonSchema:
    least = "minimum" if shape.zero else "exclusiveMinimum"
    some = "" if shape.zero else r"(?=[\d.]*[1-9])"
    return {
        "description": "Seconds as a number, or a number with a unit: 90, 1.5, 500ms, 90s, 2m, 1h.",
        "anyOf": [
            {"type": "number", least: 0, "maximum": int(MAX_SECONDS)},
            {
                "type": "string",
                "pattern": f"^{some}(?:{DURATION_AMOUNT})(?:{'|'.join(DURATION_UNITS)})$",
                "patternErrorMessage": f"expected {shape.expected}: 90, 1.5, 500ms, 90s, 2m, 1h",
            },
        ],
    }


@draw.register(Choice)
def _choice(shape: Choice[Any], definitions: Definitions) -> JsonSchema:
    return {"enum": [word for word in shape.options if word not in definitions.reserved]}


@draw.register
def _command(_shape: Command, _: Definitions) -> JsonSchema:
    # Editors that know `prefixItems` not yet still see that these are words.
    first = {"type": _ANY_TYPE_OF_TEXT, "minLength": 1, "pattern": _NO_OPTION, "minimum": 0}
    word = {"type": _ANY_TYPE_OF_TEXT, "pattern": _NO_NUL}
    return {
        "description": "Shell text, or a list of words that no shell touches.",
        "anyOf": [
            _SHELL_TEXT,
            {"type": "array", "minItems": 1, "prefixItems": [first], "items": word},
        ],
    }


@draw.register(ListOf)
def _list(shape: ListOf[Any], definitions: Definitions) -> JsonSchema:
    least = {"minItems": 1} if shape.empty_code else {}
    return {"type": "array", **least, "items": definitions.of(shape.item)}


@draw.register(OneOrMany)
def _one_or_many(shape: OneOrMany[Any], definitions: Definitions) -> JsonSchema:
    item = definitions.of(shape.item)
    least = {"minItems": 1} if shape.empty_code else {}
    return {"anyOf": [item, {"type": "array", **least, "items": item}]}


@draw.register(MapOf)
def _map(shape: MapOf[Any], definitions: Definitions) -> JsonSchema:
    least = {"minProperties": 1} if shape.empty_code else {}
    return {
        "type": "object",
        **least,
        "propertyNames": _as_name(definitions, shape.key),
        "additionalProperties": definitions.of(shape.value),
    }


@draw.register
def _free_map(shape: FreeMap, definitions: Definitions) -> JsonSchema:
    return {"type": "object", "minProperties": 1, "propertyNames": _as_name(definitions, shape.key)}


@draw.register
def _mark(_shape: MarkShape, _: Definitions) -> JsonSchema:
    name = {**_matching(MARK_PATTERN), "patternErrorMessage": "expected the name of a mark"}
    one = {"minProperties": 1, "maxProperties": 1, "propertyNames": {**name, "type": "string"}}
    return {
        "description": "The name of a pytest mark, or a mapping from its name to its arguments.",
        "anyOf": [name, {"type": "object", **one}],
    }


@draw.register(ByKind)
def _by_kind(shape: ByKind[Any], definitions: Definitions) -> JsonSchema:
    if isinstance(shape.scalar, Command) and shape.sequence is None:
        scalar = [_SHELL_TEXT]
    else:
        scalar = [definitions.of(shape.scalar)] if shape.scalar else []
    # A command speaks for its list of words too: it may stand here under two kinds.
    others = [each for each in (shape.sequence, shape.mapping) if each is not None and each != shape.scalar]
    return {"anyOf": [*scalar, *(definitions.of(each) for each in others)]}


@draw.register
def _positioned(shape: Positioned, definitions: Definitions) -> JsonSchema:
    return definitions.of(shape.inner)


@draw.register
def _record(shape: Record, definitions: Definitions) -> JsonSchema:
    aliases = {alias: key.alias_of for alias, key in shape.keys.items() if key.alias_of}
    needed = [name for name, key in shape.keys.items() if key.required]
    beyond = definitions.rules.get(shape.name, [])
    required = [name for name in needed if name not in aliases.values()]
    required += [name for rule in beyond for name in rule.get("required", ())]
    rules = [
        *(at_least_one(name, *_aliases_of(name, aliases)) for name in needed if name in aliases.values()),
        *(excludes(alias, name) for alias, name in aliases.items()),
        *(rule for rule in beyond if "required" not in rule),
    ]
    return {
        "description": shape.description,
        "type": "object",
        **({"minProperties": 1} if shape.empty_code else {}),
        "properties": {name: _property(key, definitions) for name, key in shape.keys.items()},
        "additionalProperties": False,
        **({"required": required} if required else {}),
        **({"allOf": rules} if rules else {}),
    }


def at_least_one(*keys: str) -> JsonSchema:
    """Say that one of the keys must be there."""
    return {"anyOf": [{"required": [key]} for key in keys]}


def excludes(key: str, *others: str) -> JsonSchema:
    """Say that next to `key` the others must not be; an editor marks them, not the whole."""
    return {"if": {"required": [key]}, "then": {"properties": dict.fromkeys(others, False)}}


def _aliases_of(name: str, aliases: Mapping[str, str]) -> list[str]:
    return [alias for alias, meant in aliases.items() if meant == name]


def _property(key: Key, definitions: Definitions) -> JsonSchema:
    return with_examples({**definitions.of(key.shape), "description": key.description}, key.examples)


def _as_name(definitions: Definitions, shape: Shape[str]) -> JsonSchema:
    """Return the schema of a key: the same as of the text, but a key is a string to every editor."""
    drawn = draw(Text() if isinstance(shape, JmesPath | ExpectedText) else shape, definitions)
    return {name: value for name, value in drawn.items() if name not in {"type", "minimum"}}


def _matching(pattern: re.Pattern[str]) -> JsonSchema:
    """Return the schema of text that matches as a whole; as a number or boolean too, if one may look like that."""
    # `1e-5` could be a token; an editor sees a fraction.
    number = "number" if any(map(pattern.fullmatch, ("1.5", "1", "1e-5"))) else ""
    boolean = "boolean" if pattern.fullmatch("true") else ""
    least = {"minimum": 0} if number and not pattern.fullmatch("-1") else {}
    types = [each for each in ("string", number, boolean) if each]
    return {"type": types if len(types) > 1 else "string", "pattern": f"^(?:{pattern.pattern})$", **least}
