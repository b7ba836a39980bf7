"""What an item requires holds when its first step starts: locks, tokens, fixtures, one last look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])

RESTARTED = """
    capabilities:
      system-up:
        scope: machine
        probe: test -e "$DOGFOOD_SHARED/up"
        provision: [{run: 'touch "$DOGFOOD_SHARED/up"'}]
    journeys:
      - id: restart-the-system
        estimate: 20s
        lock: [system]
        steps: [{run: 'sleep 0.8; rm -f "$DOGFOOD_SHARED/up"'}]
      - id: use-the-system
        requires: [system-up]
        lock: [system]
        steps: [{run: 'test -e "$DOGFOOD_SHARED/up"'}]
"""

EXPIRING = """
    capabilities:
      session-valid:
        scope: machine
        probe: test -e "$DOGFOOD_SHARED/session"
        provision: [{run: 'echo login >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_SHARED/session"'}]
      image-built:
        probe: test -e "$DOGFOOD_STATE/image"
        provision:
          - run: |
              [ -e "$DOGFOOD_ROOT/expired" ] || rm -f "$DOGFOOD_SHARED/session"
              touch "$DOGFOOD_STATE/image" "$DOGFOOD_ROOT/expired"
    journeys:
      - id: deploy
        requires: [session-valid, image-built]
        steps: [{run: 'test -e "$DOGFOOD_SHARED/session"'}]
"""

CONFIGURATIONS = """
    capabilities:
      config-a:
        {scope: machine, lock: config, probe: 'grep -qx a "$DOGFOOD_ROOT/c"', provision: ['echo a > "$DOGFOOD_ROOT/c"']}
      config-b:
        scope: machine
        lock: config
        invalidates: [config-a]
        probe: grep -qx b "$DOGFOOD_ROOT/c"
        provision: ['echo b > "$DOGFOOD_ROOT/c"']
    journeys:
      - {id: a-test, requires: [config-a], lock: config, steps: ['sleep 0.2; grep -qx a "$DOGFOOD_ROOT/c"']}
      - {id: b-test, requires: [config-b], lock: config, steps: ['sleep 0.2; grep -qx b "$DOGFOOD_ROOT/c"']}
"""


def test_a_token_that_was_lost_while_the_item_waited_for_its_lock_is_provisioned_again(scene: Scene) -> None:
    scene.write("a.journey.yaml", RESTARTED)
    run = scene.run("-n2")
    assert run.status == 0, run.text


def test_a_token_that_was_lost_while_a_later_one_was_provisioned_is_provisioned_again(scene: Scene) -> None:
    scene.write("a.journey.yaml", EXPIRING)
    run = scene.run("-n0")
    assert (run.status, scene.lines("log")) == (0, ["login", "login"]), run.text


def test_two_runs_that_need_two_configurations_under_one_lock_do_not_disturb_each_other(scene: Scene) -> None:
    scene.write("a.journey.yaml", CONFIGURATIONS)
    runs = [scene.start("-n0", "-k", name) for name in ("a-test", "b-test", "a-test or b-test")]
    ended = [end() for end in runs]
    assert [run.status for run in ended] == [0, 0, 0], "\n".join(run.text for run in ended)


def test_tokens_that_destroy_each_other_end_in_an_error_that_names_them_and_the_cause(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml", CONFIGURATIONS.replace("requires: [config-b]", "requires: [config-a, config-b]")
    )
    run = scene.run("-n0", "-k", "b-test")
    assert run.cases["b-test"].kind == "error"
    assert (
        "'config-a', 'config-b' are never present together: 'config-a' was lost after 'config-b' was provisioned"
        in run.text
    )


def test_missing_tokens_are_provisioned_in_three_rounds_and_no_more(scene: Scene) -> None:
    text = CONFIGURATIONS.replace("requires: [config-b]", "requires: [config-a, config-b]")
    scene.write("a.journey.yaml", text.replace("['echo b >", '[\'echo b >> "$DOGFOOD_ROOT/log"; echo b >'))
    scene.run("-n0", "-k", "b-test")
    assert scene.lines("log") == ["b", "b", "b"]


FIXTURE = """
    import os
    import subprocess
    from pathlib import Path

    import pytest

    ROOT = Path(__file__).parent

    @pytest.fixture
    def upgrade():
        (ROOT / "up").unlink(missing_ok=True)

    @pytest.mark.requires("system-up")
    def test_use(upgrade):
        assert (ROOT / "up").exists()
"""


@pytest.mark.parametrize(
    "saved,kind",
    [("constant", "passed"), ('$(wc -l < "$DOGFOOD_ROOT/log")', "error")],
    ids=["the same values", "another value"],
)
def test_a_token_that_a_fixture_removed_is_provisioned_again_unless_its_values_change(
    scene: Scene, saved: str, kind: str
) -> None:
    scene.write(
        "a.journey.yaml",
        f"""
        capabilities:
          system-up:
            scope: machine
            probe: test -e "$DOGFOOD_ROOT/up"
            provision:
              - run: |
                  echo up >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/up"
                  echo port={saved}
                save: {{port: {{stdout: "port=(\\\\S+)"}}}}
        journeys: [{{id: other, steps: ['true']}}]
        """,
    )
    scene.write("test_it.py", FIXTURE)
    run = scene.run("-n0")
    assert run.cases["test_use"].kind == kind, run.text
    assert ("its values have changed since the fixtures were set up" in run.text) is (kind == "error")
    assert scene.lines("log") == ["up", "up"]


COUNTING = """
    capabilities:
      one: {scope: machine, probe: 'echo one >> "$DOGFOOD_ROOT/asked"; test -e "$DOGFOOD_SHARED/one"'}
      two:
        probe: echo two >> "$DOGFOOD_ROOT/asked"; test -e "$DOGFOOD_STATE/two"
        provision: ['touch "$DOGFOOD_STATE/two"']
    journeys:
      - {id: make, establishes: [one], steps: ['touch "$DOGFOOD_SHARED/one"']}
      - {id: use-1, requires: [one], steps: ['true']}
      - {id: use-2, requires: [one], steps: ['true']}
      - {id: use-two, requires: [two], steps: ['true']}
"""


@WORKERS
def test_an_ordinary_item_asks_each_probe_once(scene: Scene, workers: str) -> None:
    scene.write("a.journey.yaml", COUNTING)
    assert scene.run(workers).status == 0
    # Once after its establisher has passed, once per dependent; before and after its provision.
    assert sorted(scene.lines("asked")) == ["one", "one", "one", "two", "two"]


def test_a_fixture_of_the_test_costs_one_more_question(scene: Scene) -> None:
    scene.write("a.journey.yaml", COUNTING)
    scene.write(
        "test_it.py",
        """
        import pytest

        @pytest.fixture
        def page():
            return 1

        @pytest.mark.requires("one")
        def test_use(page, tmp_path):
            assert page
        """,
    )
    assert scene.run("-n0", "-k", "make or test_use").status == 0
    assert scene.lines("asked") == ["one", "one", "one"]


LOST_BASE = """
    capabilities:
      db:
        scope: machine
        probe: test -e "$DOGFOOD_ROOT/db"
        provision: ['echo +db >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/db"; rm -f "$DOGFOOD_ROOT/schema"']
    journeys:
      - id: migrate
        requires: [db]
        establishes: [migrated]
        steps: ['echo migrate >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_ROOT/schema"']
      - id: query
        requires: [migrated]
        steps: ['test -e "$DOGFOOD_ROOT/schema"', 'rm -f "$DOGFOOD_ROOT/db"']
      - id: query-again
        requires: [db, migrated]
        steps: ['test -e "$DOGFOOD_ROOT/schema"']
"""


@pytest.mark.parametrize(
    "workers, selected", [("-n0", "query"), ("-n0", "query-again"), ("-n2", "migrate or query-again")]
)
def test_a_token_without_a_probe_falls_with_what_it_rests_on(
    scene: Scene, workers: str, selected: str
) -> None:
    scene.write("a.journey.yaml", LOST_BASE)
    run = scene.run(workers, "-k", selected)
    assert run.status == 0, run.text


def test_a_token_without_a_probe_is_made_again_once_its_base_was(scene: Scene) -> None:
    scene.write("a.journey.yaml", LOST_BASE)
    run = scene.run("-n0")
    assert run.status == 0, run.text
    assert scene.lines("log") == ["+db", "migrate", "+db", "migrate"]


def test_a_base_that_is_found_again_keeps_its_age(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        capabilities: {db: {probe: 'test ! -e "$DOGFOOD_STATE/paused"', provision: ['rm -f "$DOGFOOD_STATE/paused"']}}
        journeys:
          - {id: migrate, requires: [db], establishes: [migrated], steps: ['echo migrate >> "$DOGFOOD_ROOT/log"']}
          - {id: pause, requires: [migrated], invalidates: [db], steps: ['true']}
          - {id: query, requires: [migrated], steps: ['true']}
        """,
    )
    run = scene.run("-n0")
    assert (run.status, scene.lines("log")) == (0, ["migrate"]), run.text


CROSSED = """
    capabilities:
      one:
        scope: machine
        lock: y
        probe: test -e "$DOGFOOD_SHARED/1"
        provision: ['sleep 0.3; touch "$DOGFOOD_SHARED/1"']
      two:
        scope: machine
        lock: x
        probe: test -e "$DOGFOOD_SHARED/2"
        provision: ['sleep 0.3; touch "$DOGFOOD_SHARED/2"']
    journeys:
      - {id: a, lock: x, requires: [one], steps: ['sleep 0.3']}
      - {id: b, lock: y, requires: [two], steps: ['sleep 0.3']}
      - {id: c, lock: [y, x], requires: [two, one], steps: ['sleep 0.3']}
      - {id: d, lock: [x, z], requires: [one, two], steps: ['sleep 0.3']}
"""


def test_locks_that_are_wanted_in_different_orders_by_items_and_providers_never_wait_for_each_other(
    scene: Scene,
) -> None:
    scene.write("a.journey.yaml", CROSSED)
    ended = [end() for end in [scene.start("-n2"), scene.start("-n2")]]
    assert [run.status for run in ended] == [0, 0], "\n".join(run.text for run in ended)


def test_dependents_of_what_is_there_do_not_wait_for_the_lock_of_its_establisher(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - {id: train, lock: gpu, establishes: [model], steps: ['touch "$DOGFOOD_SHARED/model"']}
          - id: idle
            lock: gpu
            requires: [model]
            steps: ['touch "$DOGFOOD_SHARED/idle"; until [ -e "$DOGFOOD_SHARED/used" ]; do sleep 0.05; done']
          - id: use
            requires: [model]
            steps: ['until [ -e "$DOGFOOD_SHARED/idle" ]; do sleep 0.05; done; touch "$DOGFOOD_SHARED/used"']
        capabilities: {model: {scope: machine, probe: 'test -e "$DOGFOOD_SHARED/model"'}}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 0, run.text


def test_a_step_that_removes_the_state_directory_costs_a_new_one_and_a_new_provision(scene: Scene) -> None:
    scene.write(
        "a.journey.yaml",
        """
        capabilities:
          made: {provision: ['echo made >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_STATE/made"']}
        journeys:
          - {id: clear, requires: [made], steps: ['cd /; rm -rf "$DOGFOOD_STATE"']}
          - {id: use, requires: [made], steps: ['test -e "$DOGFOOD_STATE/made"']}
        """,
    )
    run = scene.run("-n0")
    assert (run.status, scene.lines("log")) == (0, ["made", "made"]), run.text
