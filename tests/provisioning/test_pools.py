"""Pools: as many holders as there are units, in one run and over all runs of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.live_projects import Eventually, Live
    from tests.support.scenes import Scene

SETTINGS = "pools: {account: [shop-1, shop-2], gpu: 2}\n"
TAKES_ITS_ACCOUNT = """
    journeys:
      - id: buy
        matrix: {n: [1, 2, 3, 4, 5, 6]}
        lock: [account]
        steps:
          - run: mkdir "$DOGFOOD_ROOT/$DOGFOOD_LOCK_ACCOUNT"
          - run: sleep 0.3; echo "$DOGFOOD_LOCK_ACCOUNT" >> "$DOGFOOD_ROOT/used"
          - run: rmdir "$DOGFOOD_ROOT/$DOGFOOD_LOCK_ACCOUNT"
"""


def test_no_two_journeys_of_a_run_have_one_account_and_both_accounts_are_used(scene: Scene) -> None:
    scene.write("dogfood.yaml", SETTINGS)
    scene.write("a.journey.yaml", TAKES_ITS_ACCOUNT)
    run = scene.run("-n3")
    assert run.status == 0, run.text
    assert (len(scene.lines("used")), set(scene.lines("used"))) == (6, {"shop-1", "shop-2"})


def test_no_two_journeys_of_two_runs_have_one_account(scene: Scene) -> None:
    scene.write("dogfood.yaml", SETTINGS)
    scene.write("a.journey.yaml", TAKES_ITS_ACCOUNT)
    ended = [end() for end in [scene.start("-n2"), scene.start("-n2")]]
    assert [run.status for run in ended] == [0, 0], "\n".join(run.text for run in ended)
    assert len(scene.lines("used")) == 12


def test_a_worker_runs_something_else_while_all_units_are_taken(scene: Scene) -> None:
    scene.write("dogfood.yaml", "pools: {gpu: 1}\n")
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - id: train
            lock: [gpu]
            estimate: 90s
            steps: ['until test -e "$DOGFOOD_ROOT/looked"; do sleep 0.05; done']
          - {id: train-again, lock: [gpu], estimate: 90s, steps: ["true"]}
          - {id: look, estimate: 1s, steps: ['touch "$DOGFOOD_ROOT/looked"']}
        """,
    )
    run = scene.run("-n2")
    assert run.status == 0, run.text


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_the_units_are_in_the_environment_of_steps_expectations_and_scripts(
    scene: Scene, workers: str
) -> None:
    scene.write("dogfood.yaml", SETTINGS)
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - id: train
            lock: {gpu: 2, account: 1, printer: 1}
            env: {WHERE: "gpu-$DOGFOOD_LOCK_ACCOUNT"}
            steps:
              - run: echo "$DOGFOOD_LOCK_GPU, $DOGFOOD_LOCK_ACCOUNT, ${DOGFOOD_LOCK_PRINTER-no pool}, $WHERE"
                expect: {stdout: "1 2, $DOGFOOD_LOCK_ACCOUNT, no pool, gpu-shop-"}
            cleanup: ['test "$DOGFOOD_LOCK_GPU" = "1 2"']
        """,
    )
    scene.write("b.journey.sh", '#!/bin/sh\n# dogfood: lock: {gpu: 2}\ntest "$DOGFOOD_LOCK_GPU" = "1 2"\n')
    (scene.path / "b.journey.sh").chmod(0o755)
    run = scene.run(workers)
    assert run.status == 0, run.text


CAPABILITIES = """
    pools: {account: [shop-1, shop-2]}
    capabilities:
      logged-in:
        lock: account
        probe: 'test -z "${DOGFOOD_LOCK_ACCOUNT-}" && test -e "$DOGFOOD_STATE/in"'
        provision: ['echo "provision $DOGFOOD_LOCK_ACCOUNT" >> "$DOGFOOD_ROOT/log"; touch "$DOGFOOD_STATE/in"']
        release: ['echo "release $DOGFOOD_LOCK_ACCOUNT" >> "$DOGFOOD_ROOT/log"']
      served:
        lock: {account: 2}
        probe: test -e "$DOGFOOD_STATE/up"
        service: {run: 'echo "service $DOGFOOD_LOCK_ACCOUNT" >> "$DOGFOOD_ROOT/log"; touch up; exec sleep 99'}
"""


def test_a_capability_has_units_while_it_is_provisioned_or_released_and_not_in_its_probe(
    scene: Scene,
) -> None:
    scene.write("dogfood.yaml", CAPABILITIES)
    scene.write("a.journey.yaml", "journeys: [{id: a, requires: [logged-in, served], steps: ['true']}]\n")
    run = scene.run("-n0")
    assert run.status == 0, run.text
    assert scene.lines("log") == ["provision shop-1", "service shop-1 shop-2", "release shop-1"]


def test_a_capability_and_the_journey_that_it_is_provisioned_for_have_the_same_unit(scene: Scene) -> None:
    scene.write("dogfood.yaml", CAPABILITIES)
    steps = """['echo "step $DOGFOOD_LOCK_ACCOUNT" >> "$DOGFOOD_ROOT/log"']"""
    scene.write(
        "a.journey.yaml", f"journeys: [{{id: a, lock: account, requires: [logged-in], steps: {steps}}}]\n"
    )
    run = scene.run("-n0")
    assert run.status == 0, run.text
    assert scene.lines("log")[:2] == ["provision shop-1", "step shop-1"]


def test_a_journey_that_is_replayed_has_as_many_units_as_it_locks(scene: Scene) -> None:
    scene.write("dogfood.yaml", SETTINGS)
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - id: make
            lock: [gpu]
            establishes: [made]
            steps: ['echo "make $DOGFOOD_LOCK_GPU" >> "$DOGFOOD_ROOT/log"']
          - id: use
            lock: {gpu: 2}
            requires: [made]
            steps: ['echo "use $DOGFOOD_LOCK_GPU" >> "$DOGFOOD_ROOT/log"']
        """,
    )
    scene.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.requires("made")
        def test_it(): ...
        """,
    )
    for selected in ("use", "test_it"):
        run = scene.run("-n0", "-k", selected)
        assert run.status == 0, run.text
    assert scene.lines("log") == ["make 1", "use 1 2", "make 1"]


CROSSED = """
    capabilities:
      one:
        scope: machine
        lock: {b: 2}
        probe: test -e "$DOGFOOD_SHARED/1"
        provision: ['touch "$DOGFOOD_SHARED/1"']
      two:
        scope: machine
        lock: {a: 2}
        probe: test -e "$DOGFOOD_SHARED/2"
        provision: ['touch "$DOGFOOD_SHARED/2"']
    journeys:
      - {id: w, lock: {a: 2, b: 1}, requires: [one], steps: ['sleep 0.2']}
      - {id: x, lock: {b: 2, a: 1}, requires: [two], steps: ['sleep 0.2']}
      - {id: y, lock: {b: 1}, requires: [two, one], steps: ['sleep 0.2']}
      - {id: z, lock: [a, c, d], requires: [one, two], steps: ['sleep 0.2']}
"""


def test_units_that_are_wanted_in_different_orders_by_items_and_providers_never_wait_for_each_other(
    scene: Scene,
) -> None:
    scene.write("dogfood.yaml", "pools: {a: 2, b: [x, y], c: 3}\n")
    scene.write("a.journey.yaml", CROSSED)
    ended = [end() for end in [scene.start("-n3"), scene.start("-n2"), scene.start("-n0")]]
    assert [run.status for run in ended] == [0, 0, 0], "\n".join(run.text for run in ended)


def test_a_run_says_that_it_waits_for_units_and_those_of_one_that_is_killed_are_free_at_once(
    live: Live, eventually: Eventually
) -> None:
    live.write("dogfood.yaml", SETTINGS).write(
        "a.journey.yaml",
        """
        journeys:
          - id: train
            lock: {gpu: 2}
            steps: ['test -e "$DOGFOOD_ROOT/training" || { touch "$DOGFOOD_ROOT/training"; sleep 99; }']
        """,
    )
    killed = live.start("-n0")
    assert eventually((live.path / "training").exists)
    other = live.start("-n0", "-v")
    assert eventually(lambda: "wait for the lock 'gpu'" in (live.path / "output2").read_text())
    killed.process.kill()
    assert other.end().status == 0
    killed.process.wait()


def test_more_units_than_there_are_refuse_the_run(scene: Scene) -> None:
    scene.write("dogfood.yaml", SETTINGS)
    scene.write("a.journey.yaml", "journeys: [{id: train, lock: {gpu: 3}, steps: ['true']}]\n")
    run = scene.run()
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert (
        "journey 'train' locks 3 of 'gpu', but the pool has only 2 (dogfood.yaml:1:36) [pool-too-small]"
        in run.text
    )


def test_a_pool_counts_wherever_in_the_project_it_is_defined(scene: Scene) -> None:
    scene.write("pools/dogfood.yaml", "pools: {gpu: 2}\n")
    scene.write(
        "shop/a.journey.yaml", "journeys: [{id: a, lock: gpu, steps: ['test $DOGFOOD_LOCK_GPU = 1']}]\n"
    )
    run = scene.run("shop")
    assert run.status == 0, run.text


def test_the_units_of_a_worker_that_is_killed_are_free_for_the_others(scene: Scene) -> None:
    scene.write("dogfood.yaml", SETTINGS)
    scene.write(
        "a.journey.yaml",
        """
        journeys:
          - {id: dies, lock: {gpu: 2}, estimate: 90s, steps: ['kill -9 $PPID; sleep 9']}
          - {id: trains, lock: {gpu: 2}, steps: ["true"]}
          - {id: trains-too, lock: [gpu], steps: ["true"]}
        """,
    )
    run = scene.run("-n2")
    assert {name: case.kind for name, case in run.cases.items()} == {
        "dies": "error",
        "trains": "passed",
        "trains-too": "passed",
    }, run.text
