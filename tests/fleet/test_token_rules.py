from __future__ import annotations

from msgspec.structs import replace

from pytest_dogfood.fleet.board import FleetToken, TokenState
from pytest_dogfood.fleet.token_rules import after_failure, is_for_others_to_try, refusal, refusal_of_loss
from pytest_dogfood.journey import Token

ABSENT = FleetToken(token=Token("staging-up"))
HELD = FleetToken(
    token=Token("staging-up"),
    state=TokenState.HELD,
    by="red/gw0 provider",
    ours=True,
    used_by=("red", "green"),
)


def test_a_provider_is_tried_twice_and_then_every_dependent_hears_of_both() -> None:
    once = after_failure(ABSENT, "red", "exit 1")
    assert (once.state, once.ours, once.tried_on) == (TokenState.ABSENT, True, ("red",))
    assert refusal(once) == ""
    twice = after_failure(once, "green", "exit 2")
    assert twice.state is TokenState.FAILED
    assert (
        refusal(twice) == "'staging-up' could not be provisioned on red, green:\nred: exit 1\ngreen: exit 2"
    )


def test_a_provider_that_took_two_machines_down_is_not_tried_again() -> None:
    assert refusal(FleetToken(token=Token("staging-up"), lost_on=("red",))) == ""
    lost = FleetToken(token=Token("staging-up"), lost_on=("red", "green"))
    assert refusal(lost) == "'staging-up' took 2 machines down while it was provisioned: red, green"


def test_a_token_that_another_machine_uses_is_not_provisioned_again() -> None:
    text = refusal_of_loss(HELD, "green")
    assert text == (
        "'staging-up' was provisioned on red, and red uses it, but its probe says no on green; "
        "if it is true of one machine only, its scope is machine"
    )
    assert refusal_of_loss(replace(HELD, used_by=("green",)), "green") == ""
    assert refusal_of_loss(replace(ABSENT, used_by=("red", "green")), "green") == ""


def test_the_second_try_is_for_another_machine_that_needs_the_token() -> None:
    failed = after_failure(replace(ABSENT, used_by=("red", "green")), "red", "exit 1")
    assert is_for_others_to_try(failed, "red")
    assert not is_for_others_to_try(failed, "green")
    assert not is_for_others_to_try(replace(failed, used_by=("red",)), "red")
    assert not is_for_others_to_try(replace(ABSENT, used_by=("red", "green")), "red")
