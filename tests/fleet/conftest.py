from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_dogfood.fleet.board import Board
from tests.support.fleet_boards import MemoryBoard, MemoryRun

BoardOf = Callable[[str], Board]
"""Makes the board of a new run as a machine sees it; every call gives one with a connection of its own."""


def in_memory() -> BoardOf:
    run = MemoryRun()
    return lambda machine: MemoryBoard(run, machine)


@pytest.fixture(params=[in_memory])
def board_of(request: pytest.FixtureRequest) -> BoardOf:
    made: BoardOf = request.param()
    return made
