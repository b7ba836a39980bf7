from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.fileformat.nodes import MAX_FINDINGS
from pytest_dogfood.fileformat.parser import parse_journey_file, parse_settings_file
from pytest_dogfood.fileformat.tables import JOURNEY, STEP_RECORD

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


FOREIGN = {
    "a Tavern test": "test_name: x\nstages:\n- name: y\n  request: {url: z}\n",
    "a Venom test suite": "name: x\nversion: '2'\nvars: {a: b}\ntestcases:\n- name: y\n  steps:\n  - script: ls\n",
    "a runn runbook": "desc: x\nrunners: {req: 'http://x'}\nsteps:\n- req: {/: {get: {}}}\n",
    "an Azure pipeline": "trigger: [main]\nsteps:\n- script: ls\n",
    "a GitHub Actions workflow": "name: x\non: push\nenv: {A: b}\njobs: {a: {runs-on: x, steps: [{run: ls}]}}\n",
    "a Compose file": "services: {web: {image: nginx}}\nvolumes: {}\n",
    "a Taskfile": "version: '3'\ntasks: {a: {cmds: [ls]}}\n",
    "a Kubernetes manifest": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Pod\n",
    "a GitLab pipeline": "stages: [test]\ntest: {script: [ls]}\n",
    "an OpenAPI description": "openapi: 3.0.0\ninfo: {title: x}\npaths: {}\n",
    "an Ansible playbook": "- hosts: all\n  tasks: [{shell: ls}]\n",
    "a package.json": '{"name": "x", "version": "1", "scripts": {"test": "ls"}, "dependencies": {}}',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_tool_is_told_in_one_sentence(kind: str) -> None:
    (found,) = diagnostics(FOREIGN[kind])
    assert (found.code, found.message) == (
        "not-a-journey-file",
        f"this is not a journey file: it looks like {kind}",
    )
    assert found.hint.startswith("leave it out of the command line and of ini `dogfood_files`")


@pytest.mark.parametrize(
    "text", ["a: 1\nb: 2\nenv: {}\n", '{"rules": [], "timeout": 5}', "title: x\nscript: ls\n"]
)
def test_a_file_without_anything_of_ours_is_told_in_one_sentence(text: str) -> None:
    (found,) = diagnostics(text)
    assert found.message == "this is not a journey file: it has neither `journeys:` nor `steps:`"


@pytest.mark.parametrize(
    "text,codes",
    [
        ("jorneys:\n- {id: a, steps: [ls]}\nx: 1\n", ["no-journeys", "unknown-key", "unknown-key"]),
        ("id: a\nstep: [ls]\n", ["no-steps", "unknown-key"]),
        ("desc: x\nsteps: [ls]\n", ["unknown-key"]),
        ("desc: x\nsteps: [{run: ls}]\n", ["unknown-key"]),
        ("id: a\nrun: ls\n", ["no-steps", "unknown-key"]),
        ("requires: [a]\nfoo: 1\n", ["no-steps", "unknown-key"]),
        ("journeys: [{id: a, steps: [ls]}]\nservices: {}\n", ["unknown-key"]),
        ("capabilities: {a: {probe: x}}\nfoo: 1\n", ["no-journeys", "unknown-key"]),
    ],
)
def test_a_file_that_is_meant_for_us_is_told_each_mistake(text: str, codes: list[str]) -> None:
    assert sorted(code for code, _, _ in found_in(text)) == codes


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
        ("steps:\n- {run: ls, expect: {}}", "write what is expected, or remove the key"),
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


def test_a_message_about_a_value_names_the_nearest_key() -> None:
    text = b"""\
timeout: soon
requires: [A B]
steps:
  - {run: echo, expect: {stdout: {matches: "("}}}
  - [1]
  - run: ! test -e x
  - {run: echo, tiemout: 3}
"""
    assert [one.message for one in parse_journey_file(text, path="a.journey.yaml", stem="a").diagnostics] == [
        "timeout: expected a duration, not 'soon'",
        "requires: expected a token, not 'A B'",
        "matches: not a regular expression: '(': missing ), unterminated subpattern at position 0",
        "steps: expected a step (a command, or a mapping), not a list",
        "run: YAML takes '!' for a tag and drops it",
        "unknown key 'tiemout' in a step",
    ]
