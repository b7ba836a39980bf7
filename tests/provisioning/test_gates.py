"""Gates order and defer the later tiers; what is blocked, and what destroys a token, keeps its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.run_results import Run
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


def kinds(run: Run) -> dict[str, str]:
    return {name: case.kind for name, case in run.cases.items()}


GATED = """
    capabilities:
      unprovided: {probe: test -f "$DOGFOOD_STATE/unprovided"}
    journeys:
      - {id: later, steps: [{run: echo later >> "$DOGFOOD_ROOT/order"}]}
      - {id: deepest, tier: deep, steps: [{run: echo deepest >> "$DOGFOOD_ROOT/order"}]}
      - {id: beside, tier: smoke, steps: [{run: echo beside >> "$DOGFOOD_ROOT/beside"}]}
      - {id: bad-gate, tier: smoke, gating: true, steps: [{run: "false"}]}
"""


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def closed(request: pytest.FixtureRequest, new_scene: Callable[[], Scene]) -> tuple[Scene, Run]:
    scene = new_scene()
    scene.write("gated.journey.yaml", GATED)
    return scene, scene.run(request.param)


def test_a_gate_that_failed_defers_the_later_tiers_naming_it(closed: tuple[Scene, Run]) -> None:
    scene, run = closed
    assert run.status == 1
    assert not scene.lines("order")
    for journey in ("later", "deepest"):
        assert run.cases[journey].kind == "skipped"
        assert run.cases[journey].message.startswith("deferred: bad-gate failed, and it gates")
        assert run.cases[journey].properties["dogfood.root_cause"].startswith("bad-gate failed")


def test_a_gate_leaves_its_own_tier_alone(closed: tuple[Scene, Run]) -> None:
    scene, run = closed
    assert run.cases["beside"].kind == "passed"
    assert scene.lines("beside") == ["beside"]


def test_deferrals_by_one_gate_have_one_cause(closed: tuple[Scene, Run]) -> None:
    assert "2 deferred (1 cause)" in closed[1].closing_line


def test_a_gate_ties_nothing_to_its_chain(closed: tuple[Scene, Run]) -> None:
    chains = {case.properties["dogfood.chain"] for case in closed[1].cases.values()}
    assert chains == {"later", "deepest", "beside", "bad-gate"}


@pytest.mark.parametrize(
    "workers, gate, kind",
    [
        ("-n0", "requires: [unprovided], steps: [{run: 'true'}]", "error"),
        ("-n2", "requires: [never], steps: [{run: 'true'}]", "skipped"),
        ("-n0", "steps: [{run: 'true'}], cleanup: [{run: 'false'}]", "error"),
        ("-n2", "steps: [{run: 'true'}], cleanup: [{run: 'false'}]", "error"),
    ],
)
def test_a_gate_closes_on_error_and_deferral_too(scene: Scene, workers: str, gate: str, kind: str) -> None:
    scene.write(
        "gated.journey.yaml",
        f"""
        capabilities:
          unprovided: {{probe: test -f "$DOGFOOD_STATE/unprovided"}}
        journeys:
          - {{id: breaks, tier: smoke, establishes: [never], steps: [{{run: "false"}}]}}
          - {{id: gate, tier: smoke, gating: true, {gate}}}
          - {{id: later, steps: [{{run: "true"}}]}}
        """,
    )
    run = scene.run(workers)
    assert run.cases["gate"].kind == kind
    assert run.cases["later"].kind == "skipped"
    assert run.cases["later"].message.startswith("deferred: ")
    assert "gate" in run.cases["later"].message


def test_a_gate_closes_on_a_crash(scene: Scene) -> None:
    scene.write(
        "gated.journey.yaml",
        """
        journeys:
          - {id: gate, tier: smoke, gating: true, steps: [{run: kill -9 $PPID}]}
          - {id: later, steps: [{run: "true"}]}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 1
    assert run.cases["later"].message.startswith("deferred: gate crashed its worker")


OPEN_GATES = """
    journeys:
      - {id: skipped-gate, tier: smoke, gating: true, marks: [{skip: {reason: not now}}], steps: [{run: "true"}]}
      - {id: xfailed-gate, tier: smoke, gating: true, marks: [{xfail: {reason: known}}], steps: [{run: "false"}]}
      - {id: actorless-gate, tier: smoke, gating: true, steps: [{intent: look}]}
      - {id: passed-gate, tier: smoke, gating: true, steps: [{run: "true"}]}
      - {id: later, steps: [{run: "true"}]}
"""


def test_skip_xfail_and_no_actor_leave_a_gate_open_and_the_summary_says_so(scene: Scene) -> None:
    scene.write("gated.journey.yaml", OPEN_GATES)
    run = scene.run("-n0")
    assert run.status == 0
    assert run.cases["later"].kind == "passed"
    assert "gate left open: skipped-gate was skipped" in run.text
    assert "gate left open: xfailed-gate failed, as its xfail mark expects" in run.text
    assert "gate left open: actorless-gate has a step without a command" in run.text
    assert "gate left open: passed-gate" not in run.text


def test_a_gate_that_leaves_nothing_behind_it_is_not_spoken_of(scene: Scene) -> None:
    scene.write("gated.journey.yaml", OPEN_GATES)
    assert "gate left open" not in scene.run("-k", "not later").text


@pytest.mark.parametrize(
    "workers, selection",
    [("-n2", ["-k", "later"]), ("-n0", ["-m", "wanted"]), ("-n0", ["gated.journey.yaml::later"])],
)
def test_a_gate_that_was_not_selected_is_ignored(scene: Scene, workers: str, selection: list[str]) -> None:
    scene.write("pytest.ini", "[pytest]\nmarkers = wanted\n")
    scene.write(
        "gated.journey.yaml",
        """
        journeys:
          - {id: gate, tier: smoke, gating: true, steps: [{run: touch "$DOGFOOD_ROOT/gated"}]}
          - {id: later, marks: [wanted], steps: [{run: "true"}]}
        """,
    )
    run = scene.run(workers, *selection)
    assert run.status == 0
    assert kinds(run) == {"later": "passed"}
    assert not (scene.path / "gated").exists()


def test_a_gate_of_another_shard_is_replayed_once_on_this_one(scene: Scene) -> None:
    scene.write(
        "gated.journey.yaml",
        """
        journeys:
          - {id: gate, estimate: 9, tier: smoke, gating: true, steps: [{run: "echo x >> $DOGFOOD_ROOT/gated; exit 1"}]}
          - {id: one, estimate: 1, steps: [{run: "true"}]}
          - {id: two, estimate: 1, steps: [{run: "true"}]}
          - {id: three, estimate: 1, tier: smoke, steps: [{run: "true"}]}
        """,
    )
    shards = [scene.run("-n2", f"--dogfood-shard={number}/2") for number in (1, 2)]
    here, there = sorted(shards, key=lambda run: "gate" in run.cases)
    assert kinds(there) == {"gate": "failure"}
    assert kinds(here) == {"one": "skipped", "two": "skipped", "three": "passed"}
    assert scene.lines("gated") == ["x", "x"]
    assert here.status == 1
    assert "failed while being replayed: gate" in here.text
    assert "exit 1, expected 0" in here.text


BLOCKED = """
    journeys:
      - {id: logs-in, establishes: [logged-in], tier: smoke, steps: [{run: "true"}]}
      - {id: gate, requires: [logged-in], tier: smoke, gating: true, steps: [{run: "true"}]}
      - {id: buys, requires: [logged-in], steps: [{run: "true"}]}
      - {id: browses, steps: [{run: "true"}]}
"""


def test_a_declared_blocker_defers_its_dependents_and_opens_their_gates(scene: Scene) -> None:
    scene.write("shop.journey.yaml", BLOCKED)
    run = scene.run("-n0", "--dogfood-blocked", "logged-in")
    assert kinds(run) == {"logs-in": "passed", "gate": "skipped", "buys": "skipped", "browses": "passed"}
    reason = "logged-in is declared blocked (--dogfood-blocked)"
    assert run.cases["gate"].message == f"deferred: {reason}"
    assert run.cases["buys"].properties["dogfood.root_cause"] == reason
    assert "2 deferred (1 cause)" in run.closing_line
    assert "gate left open: gate was deferred" in run.text
    assert run.status == 0


def test_a_blocker_that_no_file_knows_is_a_usage_error(scene: Scene) -> None:
    scene.write("shop.journey.yaml", BLOCKED)
    run = scene.run("--dogfood-blocked", "loged-in")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "--dogfood-blocked" in run.text
    assert "did you mean 'logged-in'?" in run.text


@WORKERS
def test_what_destroys_a_token_runs_after_everybody_who_needs_it(scene: Scene, workers: str) -> None:
    scene.write(
        "shop.journey.yaml",
        """
        journeys:
          - {id: logs-out, invalidates: [session], steps: [{run: echo logs-out >> "$DOGFOOD_ROOT/order"}]}
          - {id: buys, requires: [session], steps: [{run: echo buys >> "$DOGFOOD_ROOT/order"}]}
          - {id: logs-in, establishes: [session], steps: [{run: echo logs-in >> "$DOGFOOD_ROOT/order"}]}
          - {id: pays, requires: [session], steps: [{run: echo pays >> "$DOGFOOD_ROOT/order"}]}
        """,
    )
    assert scene.run(workers).status == 0
    assert scene.lines("order") == ["logs-in", "buys", "pays", "logs-out"]
