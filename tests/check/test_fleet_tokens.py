"""What is refused, and what is doubted, of tokens that are true on every machine."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pytest_dogfood.check.advice import advise
from pytest_dogfood.check.errors import diagnose
from pytest_dogfood.check.fleet import refused_in_shards
from pytest_dogfood.diagnostics import Diagnostic, Severity
from pytest_dogfood.fileformat.parser import parse_journey_file, parse_settings_file
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, Token

SETTINGS = """
    defaults:
      env: {HOME_OF_APP: "$DOGFOOD_STATE/app"}
    capabilities:
      staging:
        scope: fleet
        probe: curl -fs https://staging.example.org
        provision: [{run: ./deploy, save: {version: {stdout: v.*}}}]
        release: [./undeploy]
"""
USER = "requires: [staging]\nsteps: [ls]"


def graph_of(
    settings: str = SETTINGS, *journeys: str, fixtures: dict[Token, str] | None = None
) -> CapabilityGraph:
    """Return the graph of a dogfood.yaml and of journeys, each in a file `a`, `b` and so on."""
    known = parse_settings_file(dedent(settings).encode(), path="dogfood.yaml")
    files = [
        parse_journey_file(dedent(text).encode(), path=f"{name}.yaml", stem=name, defaults=known.defaults)
        for name, text in zip("abcdefg", journeys, strict=False)
    ]
    assert [known.diagnostics, *(file.diagnostics for file in files)] == [(), *(() for _ in files)]
    return CapabilityGraph([one for file in files for one in file.journeys], known.capabilities, fixtures)


def found_in(graph: CapabilityGraph) -> list[Diagnostic]:
    return [one for one in (*diagnose(graph), *advise(graph)) if one.severity is not Severity.INFO]


def only(graph: CapabilityGraph) -> Diagnostic:
    (found,) = found_in(graph)
    return found


def test_a_token_with_a_probe_and_steps_that_use_nothing_local_is_fine() -> None:
    assert found_in(graph_of(SETTINGS, USER)) == []


def test_a_service_lives_on_one_machine() -> None:
    graph = graph_of(
        """
        capabilities:
          staging:
            scope: fleet
            probe: 'curl -fs http://127.0.0.1:$DOGFOOD_STAGING_PORT'
            service: {run: ./serve, ports: port}
        """,
        USER,
    )
    found = only(graph)
    assert (found.code, found.severity, found.location.line) == ("fleet-service", Severity.ERROR, 6)
    assert found.message == "'staging' has scope 'fleet', but its service is a process on one machine"


def test_a_fixture_lives_in_one_process() -> None:
    found = only(graph_of(SETTINGS, USER, fixtures={Token("staging"): "server"}))
    assert (found.code, found.severity, found.location.line) == ("fleet-fixture", Severity.ERROR, 5)
    assert found.message == "'staging' has scope 'fleet', but fixture 'server' provides it within one process"


SAVING_ONE = "{run: ./deploy, save: {key: {stdout: '.*', secret: true}}}"


def test_the_provider_saves_no_secret() -> None:
    found = only(
        graph_of(SETTINGS.replace("{run: ./deploy, save: {version: {stdout: v.*}}}", SAVING_ONE), USER),
    )
    assert (found.code, found.severity, found.location.line) == ("fleet-secret", Severity.ERROR, 8)
    assert found.message == (
        "'staging' has scope 'fleet', but its provision saves the secret value 'key': "
        "secrets are never sent to other machines"
    )


@pytest.mark.parametrize("token", ["staging", "staging:eu"])
def test_a_journey_that_establishes_it_saves_no_secret(token: str) -> None:
    found = only(
        graph_of(
            SETTINGS,
            USER,
            f"establishes: ['{token}', other]\nsteps: [{SAVING_ONE}]",
            "requires: other\nsteps: [ls]",
        )
    )
    assert (found.code, str(found.location)) == ("fleet-secret", "b.yaml:2:9")
    assert f"'{token}' has scope 'fleet', but 'b', which establishes it, saves" in found.message


def test_other_journeys_save_secrets() -> None:
    both = [
        f"requires: [staging]\nestablishes: [other]\nsteps: [{SAVING_ONE}]",
        "requires: other\nsteps: [ls]",
    ]
    assert found_in(graph_of(SETTINGS, *both)) == []


@pytest.mark.parametrize(
    "before, after, kind, variable",
    [
        ("curl -fs", "curl -o $DOGFOOD_STATE/x", "probe", "DOGFOOD_STATE"),
        ("curl -fs", "curl -o ${DOGFOOD_SHARED%/}/x", "probe", "DOGFOOD_SHARED"),
        ("curl -fs", "curl -o $HOME_OF_APP/x", "probe", "DOGFOOD_STATE"),
        ("{run: ./deploy,", "{run: [./deploy, $DOGFOOD_WORKDIR],", "provision", "DOGFOOD_WORKDIR"),
        ("{run: ./deploy,", "{run: ./deploy, cwd: $DOGFOOD_STATE,", "provision", "DOGFOOD_STATE"),
        ("{run: ./deploy,", "{run: ./deploy, env: {X: $DOGFOOD_STATE},", "provision", "DOGFOOD_STATE"),
        (
            "{run: ./deploy,",
            "{run: ./deploy, expect: {files: {$DOGFOOD_STATE/x: true}},",
            "provision",
            "DOGFOOD_STATE",
        ),
        (
            "./undeploy",
            "'python -c \"import os; os.environ[''DOGFOOD_SHARED'']\"'",
            "release",
            "DOGFOOD_SHARED",
        ),
    ],
)
def test_its_commands_use_no_directory_of_one_machine(
    before: str, after: str, kind: str, variable: str
) -> None:
    found = only(graph_of(SETTINGS.replace(before, after), USER))
    assert (found.code, found.severity) == ("fleet-token-is-local", Severity.ERROR)
    assert found.message == (
        f"'staging' has scope 'fleet', but its {kind} uses ${variable}, which every machine has for itself"
    )


@pytest.mark.parametrize("use", ["$DOGFOOD_ROOT/x", "$DOGFOOD_STATES", "$MY_DOGFOOD_STATE"])
def test_its_commands_use_what_every_machine_has_alike(use: str) -> None:
    graph = graph_of(SETTINGS.replace("curl -fs", f"curl -o {use}"), USER)
    assert "fleet-token-is-local" not in {one.code for one in found_in(graph)}


def test_journeys_that_establish_it_use_their_state() -> None:
    journey = "establishes: [staging]\nsteps: ['./deploy --log $DOGFOOD_STATE/log']"
    assert found_in(graph_of(SETTINGS, USER, journey)) == []


def test_a_token_without_a_probe_is_doubted_once() -> None:
    text = "capabilities: {staging: {scope: fleet, provision: [./deploy]}}"
    graph = graph_of(text, USER)
    found = only(graph)
    assert (found.code, found.severity, found.location.line) == ("fleet-no-probe", Severity.WARNING, 1)
    assert "no-probe" not in {one.code for one in advise(graph)}


@pytest.mark.parametrize("scope, times", [("chain", 1), ("machine", 1), ("fleet", 0)])
def test_what_its_provider_needs_of_one_machine_is_doubted(scope: str, times: int) -> None:
    graph = graph_of(
        f"""
        capabilities:
          cli: {{scope: {scope}, probe: which cli, provision: [./install]}}
          staging:
            scope: fleet
            requires: [cli]
            probe: cli status
            provision: [cli deploy]
        """,
        USER,
    )
    found = [(one.code, one.severity, one.location.line) for one in found_in(graph)]
    assert found == [("fleet-needs-local", Severity.WARNING, 6)] * times


def test_a_token_of_the_machine_may_need_one_of_the_fleet() -> None:
    more = "  ready: {scope: machine, requires: [staging], probe: ls, provision: [./fill]}\n"
    assert found_in(graph_of(SETTINGS + "    " + more, "requires: [ready]\nsteps: [ls]")) == []


def test_shards_are_refused_once_for_each_token_that_something_selected_needs() -> None:
    graph = graph_of(
        SETTINGS,
        USER,
        "requires: [built]\nsteps: [ls]",
        "requires: [staging]\nestablishes: [built]\nsteps: [ls]",
        "establishes: [staging]\nsteps: [ls]",
    )
    messages = {
        one: [found.message.partition(",")[0] for found in refused_in_shards(graph, map(JourneyId, one))]
        for one in ("ab", "b", "d", "")
    }
    assert messages == {
        "ab": ["'a' needs 'staging' of scope 'fleet'"],
        "b": ["'b' needs 'staging' of scope 'fleet'"],  # if `c` has to be replayed
        "d": [],
        "": [],
    }
    (found,) = refused_in_shards(graph, map(JourneyId, "abcd"))
    assert (found.code, found.severity, str(found.location)) == (
        "fleet-in-shards",
        Severity.ERROR,
        "dogfood.yaml:5:3",
    )
