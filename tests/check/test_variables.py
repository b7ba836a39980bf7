"""Which variables files name that have no value there, and where that is said."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pytest_dogfood.check.advice import advise
from pytest_dogfood.fileformat.parser import parse_journey_file, parse_settings_file
from pytest_dogfood.graph import CapabilityGraph

SETTINGS = """
    pools: {test-account: [ann, bob]}
    defaults:
      env: {ORIGIN: "git://127.0.0.1:$DOGFOOD_SERVED_PORT", APP: "$ORIGIN/app.git", PLAIN: x}
    capabilities:
      served: {scope: machine, service: {run: serve, ports: port}, probe: 'true'}
      created: {scope: machine, requires: served, probe: 'true', provision: ['git init']}
      copied: {scope: machine, requires: created, probe: 'true', provision: ['cp']}
"""


def warnings(text: str, *environment: str) -> list[tuple[str, int]]:
    """Return the message, up to its colon or comma, and the line of each unknown variable in a journey file."""
    return [(message.partition(",")[0], line) for message, line in whole_warnings(text, *environment)]


def whole_warnings(text: str, *environment: str) -> list[tuple[str, int]]:
    settings = parse_settings_file(dedent(SETTINGS).encode(), path="dogfood.yaml")
    file = parse_journey_file(dedent(text).encode(), path="a.yaml", stem="a", defaults=settings.defaults)
    assert (settings.diagnostics, file.diagnostics) == ((), ())
    graph = CapabilityGraph(file.journeys, [*settings.capabilities, *file.capabilities], pools=settings.pools)
    found = advise(graph, environment=environment)
    return [(one.message, one.location.line) for one in found if one.code == "unknown-variable"]


@pytest.mark.parametrize(
    "text",
    [
        "steps: [ls]",
        "requires: [served]\nsteps: ['git clone $ORIGIN']",
        "requires: [created]\nsteps: ['git clone $APP']",
        "requires: [copied]\nsteps: ['echo $DOGFOOD_SERVED_PORT']",
        "lock: test-account\nsteps: ['echo $DOGFOOD_LOCK_TEST_ACCOUNT']",
        "requires: [copied]\nsteps: [{run: echo 1, expect: {stdout: $DOGFOOD_SERVED_PORT}}]",
    ],
)
def test_what_a_step_does_not_use_or_is_given_through_what_it_requires_is_fine(text: str) -> None:
    assert warnings(text) == []


IN_ORIGIN = "'a' uses $ORIGIN, in which $DOGFOOD_SERVED_PORT is not defined: it stays as written"
IN_OWN = "'a' sets $PGPORT, in which $DOGFOOD_SERVED_PORT is not defined: it stays as written"


UNDEFINED = "'a' uses $DOGFOOD_SERVED_PORT, which is not defined here"
IN_ARGUMENTS = f"{UNDEFINED}: a shell takes it as empty, other programs as written"


@pytest.mark.parametrize(
    "text,found",
    [
        ("steps: ['ls', 'git clone $ORIGIN', 'git pull $ORIGIN']", [(IN_ORIGIN, 1)]),
        ("steps:\n- ls\n- git clone $APP", [(IN_ORIGIN, 3)]),
        ("steps:\n- ls\n- {run: ls, cwd: $ORIGIN}", [(IN_ORIGIN, 3)]),
        ("steps:\n- {run: ls, env: {PGPORT: $DOGFOOD_SERVED_PORT}}", [(IN_OWN, 2)]),
        ("steps:\n- run: ls\n  env:\n    PORT: 1\n    PGPORT: $DOGFOOD_SERVED_PORT", [(IN_OWN, 5)]),
        ("env: {PGPORT: $DOGFOOD_SERVED_PORT}\nsteps: [ls, ls]", [(IN_OWN, 1)]),
        ("matrix: {n: [1, 2]}\nsteps: ['git clone $ORIGIN']", [(IN_ORIGIN.replace("'a'", "'a[1]'"), 2)]),
        ("steps: [ls]\ncleanup: ['git pull $ORIGIN']", [(IN_ORIGIN, 2)]),
        (
            "steps: [ls]\ncapabilities:\n  b:\n    service: {run: 'git daemon $ORIGIN'}\n    probe: 'true'\n",
            [(IN_ORIGIN.replace("'a'", "the definition of 'b'"), 4)],
        ),
        (
            "steps: [echo $DOGFOOD_SERVED_PORT]",
            [("'a' uses $DOGFOOD_SERVED_PORT, which is not defined here: the shell takes it as empty", 1)],
        ),
        (
            "steps: [{run: [echo, $DOGFOOD_SERVED_PORT]}]",
            [
                (IN_ARGUMENTS, 1),
            ],
        ),
        (
            "steps: [{run: ls, cwd: $DOGFOOD_SERVED_PORT}]",
            [("'a' uses $DOGFOOD_SERVED_PORT in its 'cwd', where it is not defined: it stays as written", 1)],
        ),
    ],
)
def test_a_use_that_lacks_its_token_is_told_once_where_it_stands_and_with_what_comes_of_it(
    text: str, found: list[tuple[str, int]]
) -> None:
    assert whole_warnings(text) == found


@pytest.mark.parametrize(
    "step",
    [
        "- {run: ls, expect: {stdout: $USER_NAME}}",
        "- {run: ls, expect: {stderr: {not_contains: 'x ${USER_NAME}'}}}",
        "- {run: ls, expect: {stdout: {matches: ^$USER_NAME}}}",
        "- {run: ls, expect: {stdout: {json: {a: [$USER_NAME]}}}}",
        "- {run: ls, expect: {files: {$USER_NAME: true}}}",
        "- {run: ls, expect: {files: {a: {equals: $USER_NAME}}}}",
        "- {run: ls, expect: {stdout: $USER_NAME}, save: {USER_NAME: {stdout: .}}}",
        "- {run: 'export USER_NAME=1', expect: {stdout: $USER_NAME}}",
    ],
)
def test_a_variable_that_nothing_sets_is_told_where_it_is_expected(step: str) -> None:
    assert warnings(f"steps:\n- ls\n{step}") == [("'a' expects $USER_NAME", 3)]
    assert warnings(f"steps:\n- ls\n{step}", "USER_NAME") == []


@pytest.mark.parametrize(
    "text",
    [
        "steps: [{run: ls, save: {v: {stdout: .}}}, {run: ls, expect: {stdout: $v}}]",
        "steps: [{run: ls, save: {v: {stdout: .}}}]\ncleanup: [{run: ls, expect: {stdout: $v}}]",
        "steps: [{run: ls, env: {v: x}, expect: {stdout: $v}}]",
        "env: {v: x}\nsteps: [{run: ls, expect: {stdout: $v}}]",
        "matrix: {v: [x]}\nsteps: [{run: ls, expect: {stdout: '${v}'}}]",
        "steps: [{run: ls, expect: {stdout: $PLAIN $DOGFOOD_STATE}}]",
        "steps: [{run: ls, expect: {stdout: {contains: [$$v, $5, '${'], matches: ['a$', '[$v]', '\\$v']}}}]",
        "use: [server]\nsteps: [{run: ls, expect: {stdout: $v}}]",
        "marks: [{usefixtures: [server]}]\nsteps: [{run: ls, expect: {stdout: $v}}]",
        "steps: [ls]\ncapabilities: {b: {probe: {run: ls, expect: {stdout: $DOGFOOD_TOKEN}}}}",
    ],
)
def test_a_variable_that_is_set_by_then_is_fine(text: str) -> None:
    assert warnings(text) == []


def test_a_variable_that_the_journeys_of_a_matrix_expect_is_told_once() -> None:
    text = "matrix: {n: [1, 2]}\nsteps:\n- {run: ls, expect: {stdout: $USER_NAME}}"
    assert warnings(text) == [("'a[1]' expects $USER_NAME", 3)]


def test_a_slip_in_a_value_of_a_token_is_told_under_expect_too() -> None:
    text = "requires: [served]\nsteps:\n- {run: ls, expect: {stdout: $DOGFOOD_SERVED_PROT}}"
    assert warnings(text) == [("'a' expects $DOGFOOD_SERVED_PROT", 3)]


def test_the_variable_of_a_pool_that_is_not_locked_is_unknown() -> None:
    settings = parse_settings_file(b"pools: {account: 2}", path="dogfood.yaml")
    file = parse_journey_file(b"steps: ['echo $DOGFOOD_LOCK_ACCOUNT']", path="a.yaml", stem="a")
    found = [
        (one.code, one.hint)
        for one in advise(CapabilityGraph(file.journeys, pools=settings.pools))
        if one.code == "unknown-variable"
    ]
    assert found == [("unknown-variable", "it names units of the pool 'account': add `lock: [account]`")]


def hints(file: str, *environment: str, path: str = "a.yaml") -> list[tuple[int, str]]:
    """Return the line and the hint of each unknown variable in a journey file or script beside the settings."""
    settings = parse_settings_file(dedent(SETTINGS).encode(), path="dogfood.yaml")
    parsed = parse_journey_file(file.encode(), path=path, stem="a", defaults=settings.defaults)
    assert (settings.diagnostics, parsed.diagnostics) == ((), ())
    graph = CapabilityGraph(
        parsed.journeys, [*settings.capabilities, *parsed.capabilities], pools=settings.pools
    )
    found = advise(graph, environment=environment)
    return [(one.location.line, one.hint) for one in found if one.code == "unknown-variable"]


ADD_SERVED = "it is a value of 'served': add that to 'requires:'"
ADD_LOCK = "it names units of the pool 'test-account': add `lock: [test-account]`"


@pytest.mark.parametrize(
    "variable, hint",
    [
        ("DOGFOOD_SERVED_PROT", f"did you mean $DOGFOOD_SERVED_PORT? If so, {ADD_SERVED}"),
        ("DOGFOOD_SERVE_PORT", f"did you mean $DOGFOOD_SERVED_PORT? If so, {ADD_SERVED}"),
        ("DOGFOOD_SERVER_UP_PORT", f"did you mean $DOGFOOD_SERVED_PORT? If so, {ADD_SERVED}"),
        (
            "DOGFOOD_SHOP_PORT",
            "no token is called 'shop'; `dogfood explain` lists the tokens and their values",
        ),
        ("DOGFOOD_CREATED_URL", "if it is a value of 'created', add that to 'requires:'"),
        ("DOGFOOD_LOCK_TEST_ACCOUNTS", f"did you mean $DOGFOOD_LOCK_TEST_ACCOUNT? If so, {ADD_LOCK}"),
        ("DOGFOOD_LOCK_ACCOUNT", f"did you mean $DOGFOOD_LOCK_TEST_ACCOUNT? If so, {ADD_LOCK}"),
        (
            "DOGFOOD_LOCK_GPU",
            "no pool is called 'gpu': define it under 'pools:' in dogfood.yaml, and add `lock: [gpu]`",
        ),
    ],
)
@pytest.mark.parametrize(
    "use", ["steps:\n- ls\n- echo ${}", "env: {{A: ''}}\nsteps:\n- {{run: ls, cwd: ${}}}"]
)
def test_a_variable_built_like_those_of_tokens_and_pools_is_told_although_nothing_has_its_name(
    variable: str, hint: str, use: str
) -> None:
    assert hints(use.format(variable)) == [(3, hint)]
    assert hints(use.format(variable), variable) == []  # the run inherits it


@pytest.mark.parametrize(
    "text",
    [
        "env: {DOGFOOD_SHOP_PORT: 1}\nsteps: [echo $DOGFOOD_SHOP_PORT]",
        "steps: [{run: echo $DOGFOOD_SHOP_PORT, env: {DOGFOOD_SHOP_PORT: 1}}]",
        "steps: ['export DOGFOOD_SHOP_PORT=1; echo $DOGFOOD_SHOP_PORT']",
        "steps: ['read DOGFOOD_LOCK_GPU < gpu; echo $DOGFOOD_LOCK_GPU']",
        "steps: ['echo ${DOGFOOD_SHOP_PORT:-80} ${DOGFOOD_LOCK_GPU-}']",
        "use: [shop]\nsteps: [echo $DOGFOOD_SHOP_PORT]",
        "steps: [echo $DOGFOOD_SHOP_ADDRESS]",
    ],
)
def test_a_variable_of_the_projects_own_is_passed_over(text: str) -> None:
    assert hints(text) == []


@pytest.mark.parametrize(
    "text, line",
    [
        ("requires: [served]\nsteps: ['curl --port $port']", 2),
        ("requires: [created]\nsteps:\n- 'true'\n- 'curl localhost:${port}'", 4),
        ("capabilities:\n  a: {service: {run: 'serve $port', ports: port}, probe: 'true'}\nsteps: [ls]", 2),
        (
            "capabilities:\n  a:\n    service: {run: serve, ports: port}\n    probe: curl :$port\nsteps: [ls]",
            4,
        ),
    ],
)
def test_a_value_that_is_used_by_its_bare_name_is_told_with_its_variable(text: str, line: int) -> None:
    token = "SERVED" if "requires" in text else "A"
    assert hints(text, "OTHER") == [(line, f"the value 'port' is $DOGFOOD_{token}_PORT")]


@pytest.mark.parametrize(
    "text",
    [
        "steps: ['curl :$port']",
        "requires: [served]\nsteps: ['port=80; curl :$port']",
        "requires: [served]\nsteps: ['read -r port <file; curl :$port']",
        "requires: [served]\nsteps: ['for port in 1 2; do curl :$port; done']",
        "requires: [served]\nsteps: ['curl :${port:-80} $ports \\$port']",
        "requires: [served]\nenv: {port: 80}\nsteps: ['curl :$port']",
        "requires: [served]\nmatrix: {port: [80]}\nsteps: ['curl :$port']",
        "requires: [served]\nsteps: [{run: echo 80, save: {port: {stdout: '.+'}}}, 'curl :$port']",
        "requires: [served]\nuse: [port]\nsteps: ['curl :$port']",
    ],
)
def test_a_bare_name_that_the_project_sets_itself_is_passed_over(text: str) -> None:
    assert hints(text) == []
    assert hints("requires: [served]\nsteps: ['curl :$port']", "port") == []


def script(*lines: str, shebang: str = "#!/usr/bin/env bash") -> str:
    return "\n".join([shebang, "# dogfood: requires: created", *lines, ""])


@pytest.mark.parametrize(
    "lines, hint",
    [
        (["set -e", "cd $DOGFOOD_STAT"], "did you mean $DOGFOOD_STATE?"),
        (["set -e", 'curl "${DOGFOOD_SHOP_PORT}"', "cd $DOGFOOD_SHOP_PORT"], "no token is called 'shop'"),
        (["# dogfood: env: {A: $DOGFOOD_LOCK_GPU}", "echo $DOGFOOD_LOCK_GPU"], "no pool is called 'gpu'"),
        (
            ['it="it\'s" # an apostrophe', "echo $DOGFOOD_LOCK_TEST_ACCOUNT # who"],
            "it names units of the pool",
        ),
    ],
)
def test_a_use_in_the_text_of_a_script_is_told_at_its_line(lines: list[str], hint: str) -> None:
    assert [(line, text[: len(hint)]) for line, text in hints(script(*lines), path="a.journey.sh")] == [
        (4, hint)
    ]


@pytest.mark.parametrize(
    "text",
    [
        script("# $DOGFOOD_STAT", '  # "$DOGFOOD_STAT"', "ls # $DOGFOOD_STAT"),
        script("DOGFOOD_SHOP_PORT=1", "echo $DOGFOOD_SHOP_PORT $DOGFOOD_STATE $DOGFOOD_SERVED_PORT"),
        script("ls", 'test "${DOGFOOD_SHOP_PORT:-}" && echo $DOGFOOD_SHOP_PORT'),
        script("# dogfood: env: {DOGFOOD_SHOP_PORT: 1}", "echo $DOGFOOD_SHOP_PORT"),
        script("# dogfood: lock: test-account", "echo $DOGFOOD_LOCK_TEST_ACCOUNT"),
        script("print('$DOGFOOD_STAT')", shebang="#!/usr/bin/env python3"),
    ],
)
def test_what_a_script_sets_or_is_given_and_what_no_shell_reads_is_fine(text: str) -> None:
    assert hints(text, path="a.journey.sh") == []


def test_what_defaults_set_counts_where_a_script_uses_it() -> None:
    text = "#!/bin/sh\nset -e\ngit clone $ORIGIN\n"
    assert hints(text, path="a.journey.sh") == [(1, ADD_SERVED)]
    assert hints(text.replace("$ORIGIN", "$OTHER"), path="a.journey.sh") == []
