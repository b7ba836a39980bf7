"""JSON Schemas of the journey file and of dogfood.yaml, for editors: generated from the tables that the parser reads.

What a schema cannot express (that an id is unique, that an expression compiles, that a token is known) is left to
the parser; what the parser takes, the schemas take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_dogfood.fileformat.builder import SAYS_WHAT_TO_DO
from pytest_dogfood.fileformat.scalars import ExitStatus, MarkShape
from pytest_dogfood.fileformat.shape_schema import (
    Definitions,
    JsonSchema,
    at_least_one,
    draw,
    excludes,
    with_examples,
)
from pytest_dogfood.fileformat.shapes import Shape
from pytest_dogfood.fileformat.tables import (
    CAPABILITIES,
    CAPABILITY,
    FLEET,
    JOURNEY,
    JOURNEY_FILE,
    PROBE,
    SAVE,
    SETTINGS,
    SINGLE_JOURNEY,
    STEP,
    STEP_RECORD,
    STEPS,
)
from pytest_dogfood.fileformat.vocabulary import (
    ANY_TEXT,
    COMMAND,
    DURATION,
    ENV,
    FILE,
    FILE_RECORD,
    JOURNEY_ID,
    REQUIRED_TOKENS,
    SEED_FILES,
    STREAM,
    TEXT,
    TOKENS,
    VARIABLE,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JOURNEY_SCHEMA = "journey.schema.json"
SETTINGS_SCHEMA = "dogfood.schema.json"

_NAMED: Mapping[str, Shape[Any]] = {
    "text": TEXT,
    "text-or-nothing": ANY_TEXT,
    "duration": DURATION,
    "command": COMMAND,
    "exit-status": ExitStatus(),
    "environment": ENV,
    "seed-files": SEED_FILES,
    "token": TOKENS.item,
    "tokens": TOKENS,
    "required-token": REQUIRED_TOKENS.item,
    "required-tokens": REQUIRED_TOKENS,
    "journey-id": JOURNEY_ID,
    "variable": VARIABLE,
    "mark": MarkShape(),
    "stream": STREAM,
    "file": FILE,
    "step-or-command": STEP,
    "steps": STEPS,
    "probe": PROBE,
    "capabilities": CAPABILITIES,
}
_NO_EXIT = {"expect": {"properties": {"exit": False}}}
_FOR_A_JUDGE = ("expect_text", "expect_state", "expect_cmd_re")
_JUDGED = {"expect": {"type": "object", "properties": {"text": False}}, **dict.fromkeys(_FOR_A_JUDGE, False)}
_IS_ABSENT = {"properties": {"exists": {"const": False}}, "required": ["exists"]}
# What the parser checks once a record is read: the rules between keys, which no table holds.
_RULES: Mapping[str, list[JsonSchema]] = {
    JOURNEY.name: [{"required": ["steps"]}],
    SINGLE_JOURNEY.name: [{"required": ["steps"]}],
    JOURNEY_FILE.name: [{"required": ["journeys"]}],
    STEP_RECORD.name: [
        at_least_one(*(name for name in STEP_RECORD.keys if name in SAYS_WHAT_TO_DO)),
        {"if": {"required": ["expect_exit"]}, "then": {"properties": _NO_EXIT}},
        {"if": {"required": ["run"]}, "then": {"properties": _JUDGED}},
    ],
    SAVE.name: [
        at_least_one("stdout", "stderr", "json"),
        excludes("stdout", "stderr", "json", "stream"),
        excludes("stderr", "json", "stream"),
    ],
    FILE_RECORD.name: [
        {"if": _IS_ABSENT, "then": {"properties": {"contains": False, "equals": False}}},
    ],
    CAPABILITY.name: [
        {"if": {"required": ["service"]}, "then": {"required": ["probe"]}},
        excludes("service", "provision"),
    ],
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
    """Return the schema of a journey file: one with a list of journeys, or one that is a journey."""
    definitions = Definitions(_NAMED, _RULES, reserved=[FLEET])
    several = definitions.of(JOURNEY_FILE)
    # A choice by a key, not `oneOf`: an editor then speaks of the mistake, not of two forms that both do not fit.
    schema = {
        "type": "object",
        "properties": {"journeys": {"description": JOURNEY_FILE.keys["journeys"].description}},
        "if": {"required": ["journeys"]},
        "then": several,
        "else": definitions.of(SINGLE_JOURNEY),
    }
    about = "What users do and what must be seen: a list under `journeys`, or one journey with its keys at the top."
    head = _head(JOURNEY_SCHEMA, "pytest-dogfood: journey file", about)
    return _whole(head, schema, _JOURNEY_EXAMPLE, definitions)


def settings_schema() -> JsonSchema:
    """Return the schema of dogfood.yaml."""
    definitions = Definitions(_NAMED, _RULES, reserved=[FLEET])
    schema = draw(SETTINGS, definitions)
    head = _head(SETTINGS_SCHEMA, f"pytest-dogfood: {SETTINGS.name}", SETTINGS.description)
    return _whole(head, {**schema, **head}, _SETTINGS_EXAMPLE, definitions)


def render(schema: Mapping[str, Any]) -> str:
    """Write a schema as it is committed: the same text for the same tables, keys in the order of the tables."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _head(file: str, title: str, description: str) -> JsonSchema:
    return {"$schema": DIALECT, "$id": file, "title": title, "description": description}


def _whole(head: JsonSchema, schema: JsonSchema, example: str, definitions: Definitions) -> JsonSchema:
    drawn = dict(sorted(definitions.drawn.items()))
    return {**with_examples({**head, **schema}, [example]), "$defs": drawn}
