from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator

from pytest_dogfood.cli.journeys import capability_template, journey_template, project_files
from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.fileformat.json_schema import (
    JOURNEY_SCHEMA,
    SETTINGS_SCHEMA,
    journey_schema,
    render,
    settings_schema,
)
from pytest_dogfood.fileformat.nodes import Findings
from pytest_dogfood.fileformat.parser import parse_journey_file, parse_settings_file
from pytest_dogfood.fileformat.scalars import resolve_value
from pytest_dogfood.fileformat.syntax import read_document
from tests.fileformat.test_parser_bad_input import (
    MISTAKES_IN_A_FILE,
    MISTAKES_IN_A_JOURNEY,
    MISTAKES_IN_A_STEP,
    MISTAKES_IN_THE_SETTINGS,
)
from tests.fileformat.test_parser_hints import KEYS, VALUES

ROOT = Path(__file__).parents[2]
SCHEMAS = {JOURNEY_SCHEMA: journey_schema(), SETTINGS_SCHEMA: settings_schema()}
EXAMPLES = sorted(
    path for pattern in ("*.journey.yaml", "dogfood.yaml") for path in (ROOT / "examples").rglob(pattern)
)

UNIQUE = "a schema does not compare names in different places"
CROSS = "a schema does not compare values under different keys"
ARITHMETIC = "a schema does not calculate"
COMPILES = "a schema does not compile expressions"
EXPANDS = "a schema does not tell what a shell expands from what we expand"
READER = (
    "an editor's YAML reader tells, or nobody: the value that a schema is shown does not have it any more"
)
ONLY_THE_PARSER_KNOWS = {
    "steps: [ls]\ngating: True\n": READER,
    "steps: [ls]\nrequires: ['a:${os}']\n": CROSS,
    "steps: [ls]\nlock: 'gpu-${os}'\n": CROSS,
    "steps: [ls]\nmatrix: {os: [a]}\nlocks: ['${os}', 'gpu-${so}']\n": CROSS,
    "steps: [ls]\nseed_files: {'${os}.txt': x}\n": CROSS,
    "steps: [ls]\nmatrix: {os: [../a]}\nseed_files: {'${os}.txt': x}\n": CROSS,
    "steps: [ls]\nmatrix: {os: [a]}\nseed_files: {'${os}': x, a: y}\n": CROSS,
    "steps: [ls]\ncapabilities: {a: {lock: 'gpu-${os}'}}\n": CROSS,
    "steps:\n - run: x\n   seed_files: {'${os}.txt': x}\n": CROSS,
    "steps: [ls]\nleaves: daemon\n": CROSS,
    "steps: [ls]\nrequires: [a]\nestablishes: [a]\n": CROSS,
    "steps: [ls]\ninvalidates: [a]\nestablishes: [a]\n": CROSS,
    "steps: [ls]\nseed_files: [{path: a, content: b}, {path: a, content: c}]\n": UNIQUE,
    "steps: [ls]\ntimeout: 999999h\n": ARITHMETIC,
    "steps: [ls]\nmatrix: {os: [a, a]}\nid: x\n": "3.1 and 3.10 are equal to a schema, and two values to us",
    "steps: [ls]\nmatrix: {os: [a]}\nenv: {os: b}\n": CROSS,
    "steps: [ls]\nmatrix: {os: [A]}\nrequires: 'x-${os}'\n": CROSS,
    "steps: [ls]\nmatrix: {os: [a/b]}\nworkdir: 'x-${os}'\n": CROSS,
    f"steps: [ls]\nmatrix: {{{', '.join(f'v{n}: [1, 2]' for n in range(40))}}}\n": ARITHMETIC,
    "steps: [ls]\ncapabilities: {a: {requires: a}}\n": CROSS,
    "steps: [ls]\ncapabilities: {a: {invalidates: a}}\n": CROSS,
    "steps: [ls]\ncapabilities: {a: {invalidates: 'a:b'}}\n": CROSS,
    "steps: [ls]\ncapabilities: {a: {requires: [b, c], invalidates: c}}\n": CROSS,
    "steps: [ls]\ncapabilities: {a: {requires: [b, c], outlives: b, invalidates: c}}\n": CROSS,
    "steps: [ls]\ncapabilities: {a: {}, a: {}}\n": READER,
    "steps:\n - run: ! grep x\n": READER,
    "steps:\n - run: x\n   run: y\n": READER,
    "steps:\n - run: x\n   expect: {stdout: {matches: '('}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {matches: [a, '[']}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {json: {'a[': 1}}}\n": COMPILES,
    "steps:\n - run: x\n   save: {v: {stdout: (a)(b)}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {matches: 'x{4294967294}'}}\n": COMPILES,
    "steps:\n - run: x\n   save: {v: {stdout: '(?:(?:x{1000}){1000}){1000}'}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {matches: '.*'}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {matches: ['^[^$]*']}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {matches: '(?i)(ok)?x*'}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: {matches: 'ok|'}}\n": COMPILES,
    "steps:\n - run: x\n   expect: {stdout: '${a:-b}'}\n": EXPANDS,
    "steps:\n - run: x\n   expect: {stdout: {not_contains: [a, '${a%b}']}}\n": EXPANDS,
    "steps:\n - run: x\n   expect: {stderr: {equals: '$${a:-b} ${a:?}'}}\n": EXPANDS,
    "steps:\n - run: x\n   expect: {files: {'${a:-b}/c': false}}\n": EXPANDS,
    "steps:\n - run: x\n   expect: {files: {c: {contains: '${a'':''b}'}}}\n": EXPANDS,
    "steps:\n - run: x\n   save: {v: {json: '['}}\n": COMPILES,
    "steps:\n - intent: x\n   expect_cmd_re: '('\n": COMPILES,
    "steps:\n - run: x\n   core: false\n": CROSS,
    "journeys:\n- {id: a, steps: [ls]}\n- {id: a, steps: [ls]}\n": UNIQUE,
    # Not among the mistakes that other tests know.
    "steps: [ls]\ntimeout: 1e3\n": READER,
    "steps: [ls]\ntimeout: 0x10\n": READER,
    "steps: [{run: ls, expect_exit: 0x10}]\n": READER,
    "steps: [ls]\nenv: {~: a}\n": READER,
    "steps: [ls]\nrequires: 1.5\n": READER,
    "steps: [{run: [ls, *b]}]\n": READER,
}
BROKEN_JOURNEYS = [
    *(f"steps: [ls]\n{keys}\n" for keys, _ in MISTAKES_IN_A_JOURNEY),
    *(f"steps:\n - {step}\n" for step, _ in MISTAKES_IN_A_STEP),
    *(text for text, _ in MISTAKES_IN_A_FILE),
    "steps: [[ls, -l]]\n",
    "steps: [{run: [-1, x]}]\n",
    "steps: [{run: [true, ~]}]\n",
    "steps: [ls]\ntimeout: 0s\n",
    "steps: [ls]\nworkdir: -\nsandbox: x\n",
    "steps: [ls]\nid: -1\n",
    "steps: [ls]\nrequires: -1\n",
    "steps: [ls]\nuse: 1\n",
    "steps: [ls]\nseed_files: {a/.: x}\n",
    "steps: [ls]\nseed_files: {..: x}\n",
    "steps: [ls]\nmatrix: {}\nmarks: {}\n",
    "steps: [{run: x, save: {v: {stdout: a, stderr: b}}}]\n",
    "steps: [{run: x, expect: {files: {a: {exists: false, contains: b}}}}]\n",
    *(text for text in ONLY_THE_PARSER_KNOWS),
]
RIGHT_JOURNEYS = [
    "steps: [ls, true, 1.20, {run: no}, {run: [1, -1, '', 2.0]}]\n",
    "id: 1.20\nsteps: [ls]\nrequires: [5, true, 1e-5, 'a:*', 'a:${x}']\nmatrix: {x: [1, no, 1.5]}\n",
    "id: null-and-void\nsteps: [ls]\nworkdir: 12\nrationale: 12:30\nuse: true\nmarks: true\n",
    "steps: [ls]\ntimeout: .5\nestimate: 0\n",
    "steps: [ls]\ntimeout: 09\nestimate: 0s\n",
    "steps: [ls]\ntimeout: '1h'\n",
    "steps: [ls]\nseed_files: {1: 2, ..a/b..: '', .a: x, a/./b: y}\n",
    "steps: [{run: ls, expect_exit: +1, until: 500ms, core: true, env: {A: 1, B: ''}}]\n",
    "steps: [{intent: look}, {expect: a light}, {expect_state: lit}]\nsource: 12\n",
    "steps: [{expect: {text: a light}}, {run: ls, core: false}]\n",
    'steps: ["# first\\n\\n  ls # then", {run: "#!/bin/sh\\nls"}]\n',
    "steps: [{run: ls, expect: {exit: nonzero, stdout: 1, files: {a: false, b: {exists: true, equals: ''}}}}]\n",
    "steps: [{run: ls, save: {a: {json: b, stream: stderr, secret: true}, c: {stderr: 'x'}}}]\n",
    "steps: [ls]\nmarks: [slow, {skip: {reason: 1}}, {flaky: }, {x: [~]}]\nlock: [gpu]\n",
    "journeys: [{journey_id: a, sandbox: b, steps: [ls]}]\ndefaults: {}\ncapabilities: {5: {}}\nfeature: 1\n",
    "steps: [ls]\nlock: {gpu: 2, 1: 1}\ncapabilities: {a: {lock: {gpu: 1}}}\n",
    "steps: [ls]\ncapabilities: {a: {probe: [ls, -l], provision: [], scope: machine, requires: b}}\n",
    "steps:\n - &x {run: ls}\n - {<<: *x, intent: again}\n - *x\n",
]


def seen_by_an_editor(text: str) -> list[Any]:
    """Return the document, its plain scalars typed as YAML 1.2's core schema says.

    None if there is none to be shown.
    """
    node = read_document(text.encode(), Findings("a.yaml"))
    return [] if node is None else [resolve_value(node)]


def is_valid(schema: str, text: str) -> bool:
    validator = Draft202012Validator(SCHEMAS[schema])
    return all(validator.is_valid(value) for value in seen_by_an_editor(text))


def mistakes(schema: str, text: str) -> tuple[Diagnostic, ...]:
    content = text.encode()
    if schema == SETTINGS_SCHEMA:
        return parse_settings_file(content, path="dogfood.yaml").diagnostics
    return parse_journey_file(content, path="a.yaml", stem="a").diagnostics


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects_in(inner)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    committed = (ROOT / "docs" / "schema" / name).read_text(encoding="utf-8")
    assert committed == render(SCHEMAS[name]), (
        f"run: dogfood schema {name.partition('.')[0]} > docs/schema/{name}"
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_names_no_host_of_ours(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert (schema["$schema"], schema["$id"]) == ("https://json-schema.org/draft/2020-12/schema", name)
    assert render(schema).count("://") == 1


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_definition_is_referred_to_and_every_reference_is_defined(name: str) -> None:
    referred = {each["$ref"].removeprefix("#/$defs/") for each in objects_in(SCHEMAS[name]) if "$ref" in each}
    assert referred == set(SCHEMAS[name]["$defs"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_record_is_closed_and_every_key_of_it_described(name: str) -> None:
    records = [each for each in SCHEMAS[name]["$defs"].values() if "properties" in each]
    assert len(records) > 8
    assert [each for each in records if each["additionalProperties"] is not False] == []
    assert [key for each in records for key in each["properties"].values() if not key["description"]] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_example_in_a_schema_is_valid_where_it_stands(name: str) -> None:
    whole = SCHEMAS[name]
    shown = [(each, value) for each in objects_in(whole) for value in listed(each.get("examples"))]
    wrong = [
        value
        for each, value in shown
        if not Draft202012Validator({**each, "$defs": whole["$defs"]}).is_valid(value)
    ]
    assert len(shown) > 20
    assert wrong == []


def test_a_schema_is_json_and_written_the_same_way_each_time() -> None:
    text = render(journey_schema())
    assert text == render(journey_schema())
    assert text.endswith("}\n")
    assert json.loads(text) == journey_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_of_the_project_is_valid(path: Path) -> None:
    name = SETTINGS_SCHEMA if path.name == "dogfood.yaml" else JOURNEY_SCHEMA
    errors = [
        error.message
        for value in seen_by_an_editor(path.read_text(encoding="utf-8"))
        for error in Draft202012Validator(SCHEMAS[name]).iter_errors(value)
    ]
    assert errors == []


@pytest.mark.parametrize(
    "name,text",
    [
        (JOURNEY_SCHEMA, journey_template("log-in")),
        (JOURNEY_SCHEMA, project_files()["journeys/first.journey.yaml"]),
        (SETTINGS_SCHEMA, project_files()["dogfood.yaml"]),
        (SETTINGS_SCHEMA, capability_template("db-ready")),
        (SETTINGS_SCHEMA, "hub: {id: 12}\ndefaults: {timeout: 5, shell: sh}"),
        *((JOURNEY_SCHEMA, text) for text in RIGHT_JOURNEYS),
    ],
)
def test_what_the_parser_takes_the_schema_takes(name: str, text: str) -> None:
    assert (mistakes(name, text), is_valid(name, text)) == ((), True)


@pytest.mark.parametrize("text", BROKEN_JOURNEYS)
def test_a_broken_journey_file_is_refused_by_both_or_listed_with_the_reason(text: str) -> None:
    assert mistakes(JOURNEY_SCHEMA, text)
    visible = bool(seen_by_an_editor(text))
    assert is_valid(JOURNEY_SCHEMA, text) == (text in ONLY_THE_PARSER_KNOWS or not visible)


@pytest.mark.parametrize("text", [text for text, _ in MISTAKES_IN_THE_SETTINGS])
def test_broken_settings_are_refused_by_both(text: str) -> None:
    assert mistakes(SETTINGS_SCHEMA, text)
    assert is_valid(SETTINGS_SCHEMA, text) == (not seen_by_an_editor(text))


@given(st.lists(st.tuples(KEYS, VALUES), max_size=2))
def test_whatever_the_parser_takes_the_schema_takes(pairs: list[tuple[str, str]]) -> None:
    text = "steps: [ls]\n" + "".join(f"{key}: {value}\n" for key, value in pairs)
    found = mistakes(JOURNEY_SCHEMA, text)
    assert found or is_valid(JOURNEY_SCHEMA, text)


@given(st.tuples(KEYS, VALUES))
def test_whatever_a_step_takes_the_schema_takes(pair: tuple[str, str]) -> None:
    text = "steps:\n- intent: i\n  {}: {}\n".format(*pair)
    found = mistakes(JOURNEY_SCHEMA, text)
    assert found or is_valid(JOURNEY_SCHEMA, text)
