from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.watcher import start_time
from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.storage.token_registry import (
    MACHINE,
    Attempt,
    MachineRegistry,
    Registry,
    RunIdentity,
    TokenRecord,
)

T = Token("db-ready")
HERE = TokenRecord(
    token=T, place="c0-gw0", by="a", proof=Proof.PROBE, values={"port": "80"}, secret=("port",)
)
BEGUN = Attempt(token=T, place="c0-gw0", asked_by="b")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "tokens")


@pytest.fixture
def dead() -> RunIdentity:
    """The lease of a run whose process has ended."""
    process = subprocess.Popen(["true"])
    born = start_time(process.pid)
    process.wait()
    return RunIdentity(run="dead", pid=process.pid, born=born or "long ago")


def own_identity(run: str) -> RunIdentity:
    return RunIdentity(run=run, pid=os.getpid(), born=start_time(os.getpid()))


def machine(tmp_path: Path, run: str) -> MachineRegistry:
    """Return the view of a run that is alive as long as this test."""
    return MachineRegistry(tmp_path / "machine", own_identity(run))


def test_what_is_recorded_is_found_by_every_process_of_the_run(registry: Registry, tmp_path: Path) -> None:
    registry.record(HERE)
    assert Registry(tmp_path / "tokens").record_of(T, "c0-gw0") == HERE


def test_a_token_in_another_state_is_another_token(registry: Registry) -> None:
    registry.record(HERE)
    assert registry.record_of(T, "c1-gw0") is None
    assert registry.record_of(T, MACHINE) is None


def test_what_is_forgotten_is_gone_and_forgetting_twice_does_no_harm(registry: Registry) -> None:
    registry.record(HERE)
    registry.forget(T, "c0-gw0")
    registry.forget(T, "c0-gw0")
    assert registry.record_of(T, "c0-gw0") is None


def test_the_machine_comes_last_among_the_places(registry: Registry) -> None:
    for place in (MACHINE, "z-state", "c0-gw0"):
        registry.record(replace(HERE, place=place))
    assert registry.places() == ("c0-gw0", "z-state", MACHINE)


def test_an_attempt_is_known_from_its_beginning_in_every_place(registry: Registry) -> None:
    registry.begin(BEGUN)
    registry.begin(replace(BEGUN, place="c1-gw0"))
    assert registry.attempts(T) == (BEGUN, replace(BEGUN, place="c1-gw0"))
    assert registry.attempts(Token("db")) == ()


def test_what_is_recorded_of_a_token_leaves_the_rest_of_what_is_known_as_it_was(registry: Registry) -> None:
    registry.keep_values(T, "c0-gw0", {"port": "80"})
    registry.begin(BEGUN)
    registry.record(HERE)
    registry.forget(T, "c0-gw0")
    assert (registry.kept_values(T, "c0-gw0"), registry.attempts(T)) == ({"port": "80"}, (BEGUN,))


def test_a_failed_attempt_is_remembered_and_one_that_succeeded_is_not(registry: Registry) -> None:
    registry.begin(BEGUN)
    registry.fail(BEGUN, "no luck")
    assert [one.message for one in registry.attempts(T)] == ["no luck"]
    registry.succeed(BEGUN)
    assert registry.attempts(T) == ()


def test_an_attempt_has_died_if_its_process_ended_before_it(dead: RunIdentity) -> None:
    lost = replace(BEGUN, pid=dead.pid, born=dead.born)
    assert lost.died()
    assert not replace(lost, message="no luck").died()
    assert not BEGUN.died()


def test_a_record_that_was_damaged_is_an_error_and_not_an_absence(registry: Registry, tmp_path: Path) -> None:
    registry.record(HERE)
    (tmp_path / "tokens" / "records").write_text("{\n")
    with pytest.raises(HarnessError, match="cannot be read"):
        Registry(tmp_path / "tokens").record_of(T, "c0-gw0")


def test_a_lock_can_be_taken_again_by_who_holds_it(registry: Registry) -> None:
    with registry.locked(T, MACHINE), registry.locked(T, MACHINE):
        registry.record(replace(HERE, place=MACHINE))
    assert registry.record_of(T, MACHINE) is not None


def test_the_last_run_releases_what_some_run_brought_about(tmp_path: Path) -> None:
    first, second = machine(tmp_path, "one"), machine(tmp_path, "two")
    first.take_lease(T, ours=True, values={})
    second.take_lease(T, ours=False, values={})
    assert not first.drop_lease(T)
    assert second.drop_lease(T)


def test_what_was_there_before_anybody_is_never_released(tmp_path: Path) -> None:
    first, second = machine(tmp_path, "one"), machine(tmp_path, "two")
    first.take_lease(T, ours=False, values={})
    second.take_lease(T, ours=False, values={})
    assert not first.drop_lease(T)
    assert not second.drop_lease(T)


def test_what_was_said_first_stays_while_somebody_counts_on_it(tmp_path: Path) -> None:
    first, second = machine(tmp_path, "one"), machine(tmp_path, "two")
    first.take_lease(T, ours=False, values={})
    assert not second.take_lease(T, ours=True, values={}).ours


def test_a_run_that_takes_twice_has_one_lease(tmp_path: Path) -> None:
    run = machine(tmp_path, "one")
    run.take_lease(T, ours=True, values={})
    assert len(run.take_lease(T, ours=True, values={}).leases) == 1


def test_a_dead_run_is_not_waited_for(tmp_path: Path, dead: RunIdentity) -> None:
    MachineRegistry(tmp_path / "machine", dead).take_lease(T, ours=True, values={})
    run = machine(tmp_path, "one")
    run.take_lease(T, ours=False, values={})
    assert run.drop_lease(T)


def test_what_a_dead_run_brought_about_is_still_ours_to_release(tmp_path: Path, dead: RunIdentity) -> None:
    MachineRegistry(tmp_path / "machine", dead).take_lease(T, ours=True, values={})
    assert machine(tmp_path, "one").take_lease(T, ours=False, values={}).ours


def test_values_stay_for_later_runs_until_there_are_new_ones(tmp_path: Path) -> None:
    first, second = machine(tmp_path, "one"), machine(tmp_path, "two")
    first.take_lease(T, ours=True, values={"port": "80"})
    assert second.take_lease(T, ours=False, values={}).values == {"port": "80"}
    assert second.take_lease(T, ours=False, values={"port": "81"}).values == {"port": "81"}


def test_nothing_is_given_back_that_nobody_has_taken(tmp_path: Path) -> None:
    run = machine(tmp_path, "one")
    assert not run.drop_lease(T)
    run.take_lease(T, ours=True, values={})
    run.forget(T)
    assert run.record_of(T) is None


def test_a_lease_lives_as_long_as_its_process(dead: RunIdentity) -> None:
    assert own_identity("one").is_live()
    assert own_identity("one").pid == os.getpid()
    assert not dead.is_live()


def test_a_later_process_with_the_same_id_is_somebody_else() -> None:
    assert not replace(own_identity("one"), born="another time").is_live()
