"""Boards of each kind, and databases in which a fleet has its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from pytest_dogfood.fleet.board import Board
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from tests.support.fleet_boards import MemoryBoard, MemoryRun
from tests.support.fleet_machines import Fleet, fleet

BoardOf = Callable[[str], Board]
"""Makes the board of a new run as a machine sees it; every call gives one with a connection of its own."""

PostgresBoardOf = Callable[[str], PostgresBoard]

_NUMBERS = count(1)


@pytest.fixture
def new_run(fleet_url: str) -> Iterator[Callable[..., PostgresBoardOf]]:
    """Return a function that makes a new run in the database, and gives its boards by machine."""
    made: list[PostgresBoard] = []

    def new(url: str = fleet_url) -> PostgresBoardOf:
        run = f"run-{next(_NUMBERS)}"

        def board_of(machine: str) -> PostgresBoard:
            made.append(PostgresBoard(url, run, machine))
            return made[-1]

        return board_of

    yield new
    for board in made:
        board.close()


@pytest.fixture(params=["memory", "postgresql"])
def board_of(request: pytest.FixtureRequest) -> BoardOf:
    if request.param == "memory":
        run = MemoryRun()
        return lambda machine: MemoryBoard(run, machine)
    board_of: BoardOf = request.getfixturevalue("new_run")()
    return board_of


@pytest.fixture
def new_fleet(tmp_path: Path, fleet_url: str) -> Iterator[Callable[[Mapping[str, str]], Fleet]]:
    """Return a function that makes a fleet for a project of these files."""
    with fleet(tmp_path, fleet_url, {}) as made:

        def new(files: Mapping[str, str]) -> Fleet:
            made.write(files)
            return made

        yield new
