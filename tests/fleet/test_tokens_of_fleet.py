"""What a worker does with tokens that were given up: they are not provided again, and all else may still happen."""

from __future__ import annotations

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import Board, Machine, TokenState
from pytest_dogfood.fleet.tokens import TokensOfFleet
from pytest_dogfood.journey import Token
from tests.fleet.conftest import BoardOf

STAGING = Token("staging")


def joined(board_of: BoardOf, machine: str) -> Board:
    board = board_of(machine)
    board.join(Machine(name=machine), b"", ["a"])
    return board


def tokens_of(board: Board, machine: str, worker: str = "gw0") -> TokensOfFleet:
    return TokensOfFleet(board, machine=machine, worker=worker, lease=10.0)


@pytest.fixture(params=["failed", "took machines down"])
def board(request: pytest.FixtureRequest, board_of: BoardOf) -> Board:
    """Return the board of a machine `red`, with a token that two machines could not provide."""
    red = joined(board_of, "red")
    for name in ("green", "blue"):
        other = joined(board_of, name)
        tokens = tokens_of(other, name)
        tokens.use(STAGING)
        assert tokens.try_to_hold(STAGING)
        if request.param == "failed":
            with tokens.locked(STAGING):
                tokens.begin(STAGING)
                tokens.fail(STAGING, "no quota")
        else:
            tokens.begin(STAGING)
            other.end_holds("gw0")
        other.leave()
    return red


def test_it_is_not_provided_again(board: Board) -> None:
    tokens = tokens_of(board, "red")

    with pytest.raises(HarnessError, match="green, blue"):
        tokens.try_to_hold(STAGING)


def test_a_journey_may_establish_it(board: Board) -> None:
    tokens = tokens_of(board, "red")

    with tokens.locked(STAGING):
        tokens.take_lease(STAGING, ours=True, values={}, by="deploy")

    assert board.token(STAGING).state is TokenState.HELD


def test_a_journey_that_invalidates_it_may_run(board: Board) -> None:
    tokens = tokens_of(board, "red")

    with tokens.locked(STAGING):
        tokens.forget(STAGING)

    assert board.token(STAGING).state is TokenState.ABSENT


def test_the_last_machine_releases_what_is_half_made_of_it(board: Board) -> None:
    left = board.leave()
    tokens = tokens_of(board, "red", "main")
    tokens.is_last = True

    with tokens.locked(STAGING):
        is_due = tokens.drop_lease(STAGING)
        tokens.forget(STAGING)

    assert [row.token for row in left or ()] == [STAGING]
    assert is_due
    assert board.leave() is None
