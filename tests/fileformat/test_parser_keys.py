from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.fileformat.parser import ParsedFile, parse_journey_file, parse_settings_file
from pytest_dogfood.journey import (
    Capability,
    Expectation,
    FileExpectation,
    Inputs,
    Journey,
    Mark,
    Save,
    Scope,
    Step,
    StreamExpectation,
    Tier,
    Until,
)

PATH = "sub/shop.journey.yaml"


def parse(text: str, **others: Any) -> ParsedFile:
    return parse_journey_file(dedent(text).encode(), path=PATH, stem="shop", **others)


def journeys_of(text: str, **others: Any) -> tuple[Journey, ...]:
    parsed = parse(text, **others)
    assert parsed.diagnostics == ()
    return parsed.journeys


def journey_with(keys: str) -> Journey:
    (journey,) = journeys_of(f"id: a\nsteps: [ls]\n{dedent(keys)}")
    return journey


def step_with(keys: str) -> Step:
    lines = dedent(keys).strip().replace("\n", "\n    ")
    (journey,) = journeys_of(f"id: a\nsteps:\n  - run: ls\n    {lines}\n")
    return journey.steps[0]


def capability_with(keys: str) -> Capability:
    lines = dedent(keys).strip().replace("\n", "\n    ")
    parsed = parse_settings_file(f"capabilities:\n  db-ready:\n    {lines}\n".encode(), path="dogfood.yaml")
    assert parsed.diagnostics == ()
    return parsed.capabilities[0]


def in_settings(line: int, column: int) -> Location:
    return Location("dogfood.yaml", line, column)


@pytest.mark.parametrize(
    "keys,name,value",
    [
        ("rationale: why", "rationale", "why"),
        ("source: README", "source", {"ref": "README"}),
        ("source: {kind: issue, ref: 12}", "source", {"kind": "issue", "ref": "12"}),
        ("modality: gui", "modality", "gui"),
        ("tier: deep", "tier", Tier.DEEP),
        ("gating: true", "gating", True),
        ("seed_files: {a/b.txt: hello, c: ''}", "seed_files", {"a/b.txt": "hello", "c": ""}),
        ("seed_files: [{path: a, content: 1.20}]", "seed_files", {"a": "1.20"}),
        ("env: {A: no, B: ''}", "env", {"A": "no", "B": ""}),
        ("timeout: 90", "timeout", 90.0),
        ("timeout: 2m", "timeout", 120.0),
        ("timeout: '1h'", "timeout", 3600.0),
        ("timeout: 500ms", "timeout", 0.5),
        ("estimate: 1.5", "estimate", 1.5),
        ("estimate: 0", "estimate", 0.0),
        ("workdir: repo", "workdir", "repo"),
        ("sandbox: repo", "workdir", "repo"),
        ("use: [tmp_path, server]", "use", ("tmp_path", "server")),
        ("use: server", "use", ("server",)),
        ("lock: gpu", "locks", {"gpu": 1}),
        ("locks: [gpu, port 80]", "locks", {"gpu": 1, "port 80": 1}),
        ("lock: {gpu: 2, disk: 1}", "locks", {"gpu": 2, "disk": 1}),
        ("cleanup: [ls]", "cleanup", (Step(location=Location(PATH, 3, 11), run="ls"),)),
        ("requires: db-ready", "requires", {"db-ready": Location(PATH, 3, 11)}),
        ("requires: ['db-ready:*']", "requires", {"db-ready:*": Location(PATH, 3, 12)}),
        ("requires: ['db-ready:a_B.1']", "requires", {"db-ready:a_B.1": Location(PATH, 3, 12)}),
        ("requires: []", "requires", {}),
        ("establishes: [a, b]", "establishes", {"a": Location(PATH, 3, 15), "b": Location(PATH, 3, 18)}),
        ("leaves: daemon\nestablishes: a", "leaves", "daemon"),
        ("invalidates: [a]", "invalidates", {"a": Location(PATH, 3, 15)}),
        ("marks: slow", "marks", (Mark(name="slow"),)),
        ("marks: [slow, smoke]", "marks", (Mark(name="slow"), Mark(name="smoke"))),
        ("marks: [{timeout: 5}]", "marks", (Mark(name="timeout", args=(5,)),)),
        ("marks: [{flaky: }]", "marks", (Mark(name="flaky"),)),
        ("marks: [{skip: {reason: no}}]", "marks", (Mark(name="skip", kwargs={"reason": "no"}),)),
        ("marks: [{usefixtures: [a, b]}]", "marks", (Mark(name="usefixtures", args=("a", "b")),)),
        (
            "marks: [{xfail: {args: [true], reason: x, strict: false}}]",
            "marks",
            (Mark(name="xfail", args=(True,), kwargs={"reason": "x", "strict": False}),),
        ),
    ],
)
def test_each_key_of_a_journey_is_read(keys: str, name: str, value: object) -> None:
    assert getattr(journey_with(keys), name) == value


@pytest.mark.parametrize(
    "keys,name,value",
    [
        ("intent: log in", "intent", "log in"),
        ("shell: sh", "shell", "sh"),
        ("timeout: 5", "timeout", 5.0),
        ("until: 30s", "until", Until(timeout=30)),
        ("until: {timeout: 30s, interval: 1}", "until", Until(timeout=30, interval=1)),
        ("env: {A: 0x10}", "env", {"A": "0x10"}),
        ("cwd: src", "cwd", "src"),
        ("stdin: 12:30", "stdin", "12:30"),
        ("stdin: ''", "stdin", ""),
        ("seed_files: {a: b}", "seed_files", {"a": "b"}),
        ("core: true", "core", True),
        ("expect_exit: 2", "expect", Expectation(exit=2)),
        (
            "expect: {stdout: {matches: ['^$', 'a*$', '\\Aa*\\Z', '(?!x)', '(?<!x)', '\\b', 'x+', '$v']}}",
            "expect",
            Expectation(
                stdout=StreamExpectation(
                    matches=("^$", "a*$", r"\Aa*\Z", "(?!x)", "(?<!x)", r"\b", "x+", "$v"),
                ),
            ),
        ),
        ("save: {v: {stdout: '.*'}}", "save", (Save(name="v", pattern=".*"),)),
        (
            "expect: {stdout: {contains: ['$a', '${a}', '$${a:-b}', '${', '${}', '${1:-b}', '$5']}}",
            "expect",
            Expectation(
                stdout=StreamExpectation(contains=("$a", "${a}", "$${a:-b}", "${", "${}", "${1:-b}", "$5"))
            ),
        ),
        ("expect_exit: nonzero", "expect", Expectation(exit="nonzero")),
        (
            "expect: {stdout: x}\nexpect_exit: 1",
            "expect",
            Expectation(exit=1, stdout=StreamExpectation(contains=("x",))),
        ),
        ("expect: {exit: -15}", "expect", Expectation(exit=-15)),
        (
            "expect: {stderr: {not_contains: [a, b]}}",
            "expect",
            Expectation(stderr=StreamExpectation(not_contains=("a", "b"))),
        ),
        (
            "expect: {stdout: {matches: 'v\\d+'}}",
            "expect",
            Expectation(stdout=StreamExpectation(matches=("v\\d+",))),
        ),
        ("expect: {stdout: {equals: ''}}", "expect", Expectation(stdout=StreamExpectation(equals=""))),
        (
            "expect: {stdout: {json: {'a[0]': 0x10, b: null, c: no, d: [1.5, true], e: '1'}}}",
            "expect",
            Expectation(
                stdout=StreamExpectation(json={"a[0]": 16, "b": None, "c": "no", "d": [1.5, True], "e": "1"})
            ),
        ),
        (
            "expect: {files: {a: true, b: false}}",
            "expect",
            Expectation(files=(FileExpectation(path="a"), FileExpectation(path="b", exists=False))),
        ),
        (
            "expect: {files: {a: {contains: x, equals: xy}}}",
            "expect",
            Expectation(files=(FileExpectation(path="a", contains=("x",), equals="xy"),)),
        ),
        ("save: {v: {stdout: (x)}}", "save", (Save(name="v", pattern="(x)"),)),
        (
            "save: {v: {stderr: x, secret: true}}",
            "save",
            (Save(name="v", stream="stderr", pattern="x", secret=True),),
        ),
        ("save: {v: {json: a.b}}", "save", (Save(name="v", json="a.b"),)),
        ("save: {v: {json: a.b, stream: stderr}}", "save", (Save(name="v", stream="stderr", json="a.b"),)),
    ],
)
def test_each_key_of_a_step_is_read(keys: str, name: str, value: object) -> None:
    assert getattr(step_with(keys), name) == value


@pytest.mark.parametrize(
    "keys,name,value",
    [
        ("core: false", "core", False),
        ("expect_cmd_re: ^git", "expect_cmd_re", "^git"),
        ("expect_text: done", "expect_text", "done"),
        ("expect_state: clean", "expect_state", "clean"),
        ("expect: it works", "expect", Expectation(text="it works")),
        ("expect: {text: it works}", "expect", Expectation(text="it works")),
        ("expect: it fails\nexpect_exit: 1", "expect", Expectation(exit=1, text="it fails")),
    ],
)
def test_each_key_of_an_actors_step_is_read(keys: str, name: str, value: object) -> None:
    lines = keys.replace("\n", "\n    ")
    (journey,) = journeys_of(f"id: a\nsteps:\n  - intent: look\n    {lines}\n  - {{run: ls, core: false}}\n")
    assert getattr(journey.steps[0], name) == value


@pytest.mark.parametrize(
    "written,run",
    [
        ("ls -l", "ls -l"),
        ("{run: ls}", "ls"),
        ("{run: [ls, '-l', '']}", ("ls", "-l", "")),
        ("{run: true}", "true"),
        ("{run: 1.20}", "1.20"),
        ("{intent: look}", None),
        ("{expect: a light}", None),
    ],
)
def test_a_command_is_text_or_words(written: str, run: object) -> None:
    (journey,) = journeys_of(f"steps: [{written}]")
    assert journey.steps[0].run == run


@pytest.mark.parametrize(
    "keys,name,value",
    [
        ("description: there", "description", "there"),
        ("scope: machine", "scope", Scope.MACHINE),
        ("scope: fleet", "scope", Scope.FLEET),
        ("requires: [a]", "requires", {"a": Location("dogfood.yaml", 3, 16)}),
        ("timeout: 30s", "timeout", 30.0),
        ("probe: ls", "probe", Step(location=Location("dogfood.yaml", 3, 12), run="ls")),
        (
            "probe: {run: ls, cwd: x}",
            "probe",
            Step(location=Location("dogfood.yaml", 3, 12), run="ls", cwd="x"),
        ),
        ("provision: [ls]", "provision", (Step(location=Location("dogfood.yaml", 3, 17), run="ls"),)),
        ("release: [ls]", "release", (Step(location=Location("dogfood.yaml", 3, 15), run="ls"),)),
        ("lock: gpu", "locks", {"gpu": 1}),
        ("locks: [gpu, port 80]", "locks", {"gpu": 1, "port 80": 1}),
        ("lock: {gpu: 2, disk: 1}", "locks", {"gpu": 2, "disk": 1}),
        ("invalidates: [a, 'b:c']", "invalidates", {"a": in_settings(3, 19), "b:c": in_settings(3, 22)}),
        ("requires: [a]\noutlives: a", "outlives", {"a": in_settings(4, 15)}),
        ("requires: ['a:*']\noutlives: ['a:*']", "outlives", {"a:*": in_settings(4, 16)}),
        ("requires: a\noutlives: a\ninvalidates: a", "invalidates", {"a": in_settings(5, 18)}),
        ("timeout: 5", "copyable", False),
        ("copyable: true", "copyable", True),
        ("copyable: true\nscope: chain", "inputs", None),
        ("copyable: false\nscope: machine\nrelease: [ls]", "copyable", False),
        (
            "copyable: true\ninputs: {files: [a.sql, 'seed/**/*.csv'], env: VERSION}",
            "inputs",
            Inputs(location=in_settings(4, 13), files=("a.sql", "seed/**/*.csv"), env=("VERSION",)),
        ),
        (
            "copyable: true\ninputs: {run: [cc, --version]}",
            "inputs",
            Inputs(
                location=in_settings(4, 13),
                run=Step(location=in_settings(4, 19), run=("cc", "--version")),
            ),
        ),
    ],
)
def test_each_key_of_a_capability_is_read(keys: str, name: str, value: object) -> None:
    assert getattr(capability_with(keys), name) == value


def test_the_command_of_inputs_has_the_shell_variables_and_limit_of_the_defaults() -> None:
    text = """
        defaults: {shell: sh, env: {A: x}, cwd: src, timeout: 5}
        capabilities:
          db-ready: {copyable: true, inputs: {run: cc --version}}
        id: a
        steps: [ls]
    """
    (capability,) = parse(text).capabilities
    assert capability.inputs is not None
    command = capability.inputs.run
    assert command is not None
    assert (command.run, command.location) == ("cc --version", Location(PATH, 4, 44))
    assert (command.shell, command.env, command.timeout) == ("sh", {"A": "x"}, 5.0)
    # It runs in the directory of the file; `cwd` is relative to a working directory, and there is none.
    assert command.cwd is None


@pytest.mark.parametrize(
    "keys,name,value",
    [
        ("lock: ['gpu-${os}', disk]", "locks", {"gpu-a.b": 1, "disk": 1}),
        ("lock: {'gpu-${os}': 3, gpu-a.b: 2}", "locks", {"gpu-a.b": 3}),
        ("seed_files: {'in-${os}.txt': 'n=${os} ${HOME}'}", "seed_files", {"in-a.b.txt": "n=a.b ${HOME}"}),
        ("seed_files: [{path: '${os}', content: '${os}'}]", "seed_files", {"a.b": "a.b"}),
        ("rationale: for ${os}", "rationale", "for a.b"),
        ("modality: ${os}", "modality", "a.b"),
        ("source: {ref: '${os}.md'}", "source", {"ref": "a.b.md"}),
        (
            "marks: [{skipif: {args: ['\"${os}\" == 1'], reason: 'no ${os}'}}]",
            "marks",
            (Mark(name="skipif", args=('"a.b" == 1',), kwargs={"reason": "no a.b"}),),
        ),
        ("marks: [{x: [[{a: '${os}'}, 1]]}]", "marks", (Mark(name="x", args=([{"a": "a.b"}, 1],)),)),
    ],
)
def test_a_placeholder_of_the_matrix_stands_for_its_value_in_a_journey(
    keys: str, name: str, value: object
) -> None:
    assert getattr(journey_with(f"matrix: {{os: [a.b]}}\n{keys}"), name) == value


@pytest.mark.parametrize(
    "keys,name,value",
    [
        ("intent: on ${os}", "intent", "on a.b"),
        ("stdin: ${os} ${HOME}", "stdin", "a.b ${HOME}"),
        ("shell: ${os}", "shell", "a.b"),
        ("seed_files: {'${os}': '${os}'}", "seed_files", {"a.b": "a.b"}),
        ("save: {v: {stdout: 'on ${os}: (.*)'}}", "save", (Save(name="v", pattern=r"on (?:a\.b): (.*)"),)),
        ("save: {v: {json: 'os.\"${os}\"'}}", "save", (Save(name="v", json='os."a.b"'),)),
        (
            "expect: {stdout: {json: {'a.\"${os}\"': '${os}'}}}",
            "expect",
            Expectation(stdout=StreamExpectation(json={'a."a.b"': "${os}"})),
        ),
    ],
)
def test_a_placeholder_of_the_matrix_stands_for_its_value_in_a_step(
    keys: str, name: str, value: object
) -> None:
    text = f"id: a\nmatrix: {{os: [a.b]}}\nsteps:\n  - run: [echo, '${{os}}', '${{HOME}}']\n    {keys}\n"
    (journey,) = journeys_of(text)
    assert getattr(journey.steps[0], name) == value
    assert journey.steps[0].run == ("echo", "a.b", "${HOME}")


def test_shell_text_and_what_is_expanded_when_a_step_runs_keep_their_placeholders() -> None:
    (journey,) = journeys_of(
        "id: a\nmatrix: {os: [b]}\nenv: {A: 'x-${os}'}\n"
        "steps: [{run: 'echo ${os}', cwd: 'd-${os}', expect: {stdout: 'y-${os}'}}]\n"
    )
    (step,) = journey.steps
    assert (step.run, step.cwd, step.env) == ("echo ${os}", "d-${os}", {"os": "b", "A": "x-${os}"})
    assert step.expect.stdout == StreamExpectation(contains=("y-${os}",))
