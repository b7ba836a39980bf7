"""Decides what a worker that needs a token of the fleet does next, from the token's row on the board."""

from __future__ import annotations

from msgspec.structs import replace

from pytest_dogfood.fleet.board import FleetToken, TokenState
from pytest_dogfood.outcomes import listed

MOST_TRIES = 2
"""How often a provider may fail, or machines may be lost while it runs, before the token is given up."""


def refusal(row: FleetToken) -> str:
    """Return why a token is not provided any more; empty if it is, or may yet be."""
    if row.state is TokenState.FAILED:
        return f"{row.token!r} could not be provisioned on {listed(row.tried_on)}:\n{row.message}"
    if len(row.lost_on) >= MOST_TRIES:
        return f"{row.token!r} took {len(row.lost_on)} machines down while it was provisioned: {listed(row.lost_on)}"
    return ""


def refusal_of_loss(row: FleetToken, machine: str) -> str:
    """Return why a token that is `held`, but that the probe on a machine denies, is not provided again there.

    Another live machine uses it, so that it may be true there only; empty if none does.
    """
    others = [name for name in row.used_by if name != machine]
    if row.state is not TokenState.HELD or not others:
        return ""
    maker = row.by.partition("/")[0] or "another machine"
    return (
        f"{row.token!r} was provisioned on {maker}, and {listed(others)} uses it, but its probe says no on {machine}; "
        "if it is true of one machine only, its scope is machine"
    )


def is_for_others_to_try(row: FleetToken, machine: str) -> bool:
    """Return whether another live machine should try what a provider could not do here: this one may be what is broken.

    Only a machine that needs the token tries. Wait for it, but not for ever: its need may end before it does.
    """
    if machine not in row.tried_on:
        return False
    return any(name not in row.tried_on for name in row.used_by)


def after_failure(row: FleetToken, machine: str, message: str) -> FleetToken:
    """Return what to settle when the provider has failed on a machine that holds the token; it may be half-made."""
    tried_on = (*row.tried_on, machine)
    return replace(
        row,
        state=TokenState.FAILED if len(tried_on) >= MOST_TRIES else TokenState.ABSENT,
        ours=True,
        tried_on=tried_on,
        message="\n".join(filter(None, [row.message, f"{machine}: {message}"])),
    )
