"""Steps that do not last, processes that nothing waits for, probes that cannot fail."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pytest_dogfood.check.shell import shell_findings
from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.fileformat.parser import parse_journey_file
from pytest_dogfood.graph import CapabilityGraph


def findings(text: str) -> list[Diagnostic]:
    file = parse_journey_file(dedent(text).encode(), path="a.yaml", stem="a")
    assert file.diagnostics == ()
    graph = CapabilityGraph(file.journeys, file.capabilities)
    return list(shell_findings(graph, lambda _: ""))


def found(text: str) -> list[tuple[str, str, int]]:
    return [(str(one.severity), one.code, one.location.line) for one in findings(text)]


@pytest.mark.parametrize(
    "command",
    [
        "cd app",
        'cd "$DOGFOOD_STATE" && export NAME=ada',
        "export NAME=ada TOKEN=$(cat token)",
        "NAME=ada OTHER=",
        "set -u; export A=1",
        "cd app || exit 1",
    ],
)
def test_a_step_that_only_changes_its_own_shell_does_not_last(command: str) -> None:
    assert found(f"steps:\n- run: |\n    {command}\n- ls") == [("warning", "does-not-last", 2)]


@pytest.mark.parametrize("command", [". ./env.sh", "source env.sh", "cd app && . ./env.sh"])
def test_a_file_that_is_read_may_do_more_so_that_is_a_remark(command: str) -> None:
    assert found(f"steps:\n- run: |\n    {command}\n- ls") == [("info", "does-not-last", 2)]


@pytest.mark.parametrize(
    "step",
    [
        "{run: cd app && ls}",
        "{run: NAME=ada make}",
        "{run: export NAME=ada; make}",
        "{run: exit 0}",
        "{run: cd-app}",
        "{run: ./cd app}",
        "{run: cd app | cat}",
        "{run: 'cd nowhere', expect_exit: 1}",
        "{run: 'cd app', expect: {stdout: app}}",
        "{run: '. ./env.sh', save: {v: {stdout: .}}}",
        "{run: [cd, app]}",
    ],
)
def test_a_step_that_does_something_else_too_is_fine(step: str) -> None:
    assert found(f"steps:\n- {step}") == []


def test_a_provision_does_not_keep_its_shell_either() -> None:
    text = "steps: [ls]\ncapabilities:\n  b:\n    provision:\n    - cd app\n    - make"
    assert found(text) == [("warning", "does-not-last", 5)]


@pytest.mark.parametrize("command", ["./server &", "nohup ./server >log 2>&1 &", "cd app\n    ./server &"])
def test_a_process_in_the_background_that_nothing_waits_for_is_worth_a_warning(command: str) -> None:
    run = f"- run: |\n    {command}\n"
    warning = ("warning", "background-without-probe", 2)
    assert found(f"steps:\n{run}- curl localhost\nestablishes: [up]") == [warning]
    assert found(f"steps:\n{run}- {{run: curl localhost, until: 5s}}") == []
    assert found(f"steps:\n{run}establishes: [up]\ncapabilities: {{up: {{probe: curl localhost}}}}") == []


def test_a_provision_in_the_background_needs_a_probe() -> None:
    text = "steps: [ls]\ncapabilities:\n  up:\n    provision:\n    - ./server &\n"
    assert found(text) == [("warning", "background-without-probe", 5)]
    assert found(f"{text}    probe: curl localhost") == []


@pytest.mark.parametrize(
    "command", ["./server && ls", "./server & wait", "echo 'a &'", "# ./server &\n    ls"]
)
def test_other_commands_leave_nothing_in_the_background(command: str) -> None:
    assert found(f"steps:\n- run: |\n    {command}") == []


def probed_by(probe: str) -> list[tuple[str, str, int]]:
    return found(f"steps: [ls]\ncapabilities:\n  up:\n    probe: {probe}")


@pytest.mark.parametrize(
    "probe",
    [
        '"true"',
        "':'",
        "exit 0",
        "echo it is there",
        "'printf \"$DOGFOOD_STATE\"; true'",
        "curl localhost || true",
        "'curl -s localhost | grep ok || :'",
        "curl localhost && ls || echo no",
        "[echo, ready]",
    ],
)
def test_a_probe_that_cannot_fail_is_worth_a_warning(probe: str) -> None:
    assert probed_by(probe) == [("warning", "probe-cannot-fail", 4)]


@pytest.mark.parametrize(
    "probe",
    [
        "test -f done",
        "test -f done && echo it is there",
        "test -f done; true",
        "echo ready | grep $DOGFOOD_TOKEN",
        "'true | ./probe'",
        "echo > /dev/tcp/localhost/80",
        "'true && ./probe'",
        "': ${PORT:?}'",
        "./true",
        "{run: echo ready, expect: {stdout: $DOGFOOD_TOKEN}}",
        "{run: exit 0, expect_exit: 1}",
        "[bash, -c, exit 1]",
    ],
)
def test_a_probe_that_may_fail_is_fine(probe: str) -> None:
    assert probed_by(probe) == []
