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
