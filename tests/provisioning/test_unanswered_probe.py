"""What is said of a journey that has passed, and of what rests on it, where a probe of its token cannot be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

JOURNEYS = """
    capabilities:
      web-up: {probe: no-such-command}
      there: {probe: "true"}
    journeys:
      - {id: start, tier: smoke, establishes: [there, web-up], steps: [{run: "true"}]}
      - {id: use, requires: [web-up], steps: [{run: "true"}]}
"""
CAUSE = "start passed, but the probe of 'web-up' cannot be run"


@pytest.mark.parametrize("arguments", [(), ("-k", "use"), ("-n2",)], ids=["item", "replay", "workers"])
def test_what_rests_on_it_is_deferred_for_its_probe(scene: Scene, arguments: tuple[str, ...]) -> None:
    scene.write("a.journey.yaml", JOURNEYS)
    run = scene.run(*arguments)
    assert run.cases["use"].message == f"deferred: 'web-up' was not established, because {CAUSE}"
    assert f"deferred: 1 journey, because {CAUSE}" in run.text


@pytest.mark.parametrize("arguments", [(), ("--dogfood-shard=1/2",), ("--dogfood-shard=2/2",)])
def test_a_gate_that_passed_is_not_said_to_have_been_impossible_to_run(
    scene: Scene, arguments: tuple[str, ...]
) -> None:
    later = '      - {id: later, steps: [{run: "true"}]}\n'
    scene.write("a.journey.yaml", JOURNEYS.replace("smoke,", "smoke, gating: true,") + later)
    run = scene.run(*arguments)
    messages = {name: case.message for name, case in run.cases.items() if name in {"use", "later"}}
    assert set(messages.values()) <= {f"deferred: {CAUSE}, and it gates what comes after tier 'smoke'"}
    assert len(messages) == (1 if arguments else 2)


UNKNOWN = "it is not known whether 'web-up' is present"


@pytest.mark.parametrize(
    "definition, arguments, message",
    [
        (
            "probe: no-such-command",
            (),
            f"{UNKNOWN}, because its probe cannot be run, and no journey, test or fixture here establishes it: give",
        ),
        (
            "probe: no-such-command",
            ("--dogfood-provision=never",),
            f"{UNKNOWN}, because its probe cannot be run, and `--dogfood-provision never` forbids provisioning",
        ),
        (
            "probe: no-such-command, provision: ['true']",
            (),
            f"{UNKNOWN} after provision, because its probe cannot be run: its exit status is 127",
        ),
        (
            "probe: no-such-command, timeout: 0.2, scope: machine, service: {run: sleep 30}",
            (),
            "was not ready after 0.2 s: its probe cannot be run: its exit status is 127",
        ),
    ],
)
def test_what_such_a_probe_is_asked_for_is_not_said_to_be_missing(
    scene: Scene, definition: str, arguments: tuple[str, ...], message: str
) -> None:
    scene.write("dogfood.yaml", f"capabilities:\n  web-up: {{{definition}}}\n")
    scene.write("use.journey.yaml", "requires: [web-up]\nsteps: ['true']\n")
    said = scene.run(*arguments).cases["use"].message
    assert message in said
    assert "not present" not in said
