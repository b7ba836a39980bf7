from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.fileformat.nodes import MAX_FINDINGS
from pytest_dogfood.fileformat.parser import parse_journey_file
from pytest_dogfood.fileformat.parser import parse_settings_file
from pytest_dogfood.fileformat.tables import JOURNEY
from pytest_dogfood.fileformat.tables import STEP_RECORD

Found = tuple[str, int, int]


def diagnostics(text: str | bytes, path: str = "a.yaml", stem: str = "a") -> tuple[Diagnostic, ...]:
    content = text.encode() if isinstance(text, str) else text
    return parse_journey_file(content, path=path, stem=stem).diagnostics


def found_in(text: str, stem: str = "a") -> list[Found]:
    return [(each.code, each.location.line, each.location.column) for each in diagnostics(text, stem=stem)]


def test_every_mistake_of_a_file_is_reported_at_once() -> None:
    text = "tier: x\ngating: y\nsteps:\n- rnu: ls\n- run: [ -f x ]\ntier: z\n"
    assert [code for code, _, _ in found_in(text)] == [
        "unknown-word",
        "wrong-type",
        "empty-step",
        "unknown-key",
        "shell-test-as-list",
        "duplicate-key",
    ]


@pytest.mark.parametrize(
    "text,words",
    [
        ("require: [a]\nsteps: [ls]", "did you mean 'requires'?"),
        ("zzzzzzz: [a]\nsteps: [ls]", "known keys: id, "),
        ("run: ls\nsteps: [ls]", "belongs into a step"),
        ("tier: deap\nsteps: [ls]", "did you mean 'deep'?"),
        ("capabilities: {a: {probe: x}}", "dogfood.yaml"),
        ("steps:\n- run: [ -f x ]", "`run: |`"),
        ("steps:\n- run: {a: b}", "`run: |`"),
        (
            "steps:\n- {run: ls, expect: bye}",
            '`expect: {stdout: {contains: "bye"}}` to check, `intent:` to comment',
        ),
        ("steps:\n- {run: ls, expect: {text: bye}}", "`intent:` to comment"),
        ("steps:\n- {run: ls, expect: {}}", "say what must be seen, or leave the key out"),
        ("steps:\n- {run: ls, expect_text: bye}", "write assertions under `expect:`"),
        ("steps:\n- {run: '# ls'}", "a comment for people goes under `intent:`"),
        ("steps:\n- {run: ls, core: false}", "`|| true`"),
        ('steps:\n- run: "$x" && y', "`run: |`"),
        ("timeout: '60'\nsteps: [ls]", "without quotes"),
        ("needs: [a]\nsteps: [ls]", "called `requires:` here"),
        ("provides: [a]\nsteps: [ls]", "called `establishes:` here"),
        ("name: a\nsteps: [ls]", "called `id:` here"),
        ("steps: [{run: ls, name: look}]", "say it in `intent:`"),
        ("steps:\n- {intent: look, cmd: ls}", "called `run:` here"),
        ("steps: [{run: ls, expect: 0}]", "`expect: {exit: 2}`"),
    ],
)
def test_a_mistake_comes_with_what_to_do(text: str, words: str) -> None:
    assert words in diagnostics(text)[0].hint


@pytest.mark.parametrize(
    "text,other",
    [
        ("steps: [ls]\ntier: core\ntier: deep", "a.yaml:2:1"),
        ("journeys:\n- {id: x, steps: [ls]}\n- {id: x, steps: [ls]}", "a.yaml:2:8"),
        ("journeys:\n- {id: x, steps: [ls]}\nsteps: [ls]", "a.yaml:1:1"),
    ],
)
def test_a_repetition_names_both_places(text: str, other: str) -> None:
    assert other in diagnostics(text)[0].message


def test_a_file_full_of_mistakes_is_not_read_for_ever() -> None:
    found = diagnostics("steps: [ls]\n" + "".join(f"k{n}: v\n" for n in range(5000)))
    assert len(found) == MAX_FINDINGS + 1
    assert found[-1].code == "too-many-errors"


def test_jmespath_is_imported_only_when_a_journey_uses_it() -> None:
    program = """
import sys
from pytest_dogfood.fileformat.parser import parse_journey_file
parse_journey_file(b"steps: [ls]", path="a.yaml", stem="a")
assert "jmespath" not in sys.modules
parse_journey_file(b"steps: [{run: ls, save: {a: {json: b}}}]", path="a.yaml", stem="a")
assert "jmespath" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


WORDS = st.sampled_from(
    [
        "",
        "~",
        "a",
        "a b",
        "-1",
        "5",
        "1.5",
        "90s",
        "true",
        "'x'",
        "${os}",
        "a:*",
        "(",
        "[",
        "*",
        "!x",
        "&a b",
        "<<",
    ]
)
KEYS = st.sampled_from(
    [
        *JOURNEY.keys,
        *STEP_RECORD.keys,
        "journeys",
        "capabilities",
        "feature",
        "defaults",
        "<<",
        "json",
        "stdout",
    ]
)
VALUES = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(KEYS | WORDS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=6))
def test_nothing_that_looks_like_a_journey_makes_the_parser_raise(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in pairs)
    parse_journey_file(text.encode(), path="a.yaml", stem="a")
    parse_settings_file(text.encode(), path="dogfood.yaml")


@given(st.binary() | st.text().map(str.encode), st.sampled_from(["a.yaml", "a.json"]))
def test_no_bytes_make_the_parser_raise(content: bytes, path: str) -> None:
    parsed = parse_journey_file(content, path=path, stem="a")
    assert parsed.journeys or parsed.diagnostics


@given(
    st.text(),
    st.sampled_from(["expect: {stdout: {matches: %s}}", "save: {a: {json: %s}}", "expect_cmd_re: %s"]),
)
def test_no_expression_makes_the_parser_raise(expression: str, key: str) -> None:
    quoted = "'" + expression.replace("'", "''") + "'"
    parse_journey_file(f"steps:\n- run: ls\n  {key % quoted}\n".encode(), path="a.yaml", stem="a")
