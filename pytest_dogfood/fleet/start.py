"""Starts this machine's part of a run on several machines, or says why that is not possible."""

from __future__ import annotations

import os
import secrets
import socket
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import Struct

from pytest_dogfood.collection.stash import FLEET, SETTINGS
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.fleet.board import Machine
from pytest_dogfood.fleet.membership import BEATS_IN_A_LEASE, FENCE_IN_A_LEASE
from pytest_dogfood.fleet.options import lease_seconds, run_name, url_of
from pytest_dogfood.fleet.plugin import FleetPlugin
from pytest_dogfood.storage.run_directory import ALONE

if TYPE_CHECKING:
    from pytest_dogfood.fleet.database.postgres import PostgresBoard
    from pytest_dogfood.session.leader import Leader

_NOT_WITH = {
    "dogfood_shard": ("--dogfood-shard", "shards share nothing, and machines of a fleet balance themselves"),
    "dogfood_check": ("--dogfood-check", "a check runs nothing; leave --dogfood-fleet out"),
    "dogfood_record": ("--dogfood-record", "the recordings would be on several machines"),
    "lf": ("--lf", "each machine remembers other failures; name the tests, or use -k"),
    "failedfirst": ("--ff", "each machine remembers other failures"),
    "stepwise": ("--sw", "each machine remembers other failures"),
}
"""The options that cannot be used with --dogfood-fleet, as they are typed, and why."""


SHORTEST_PATIENCE = 2.0
"""Seconds that a server has to answer at least; libpq waits no shorter for a connection."""


class Part(Struct, frozen=True, kw_only=True):
    """What a process needs to know to deal with the board of a run, for its machine; `lease` is in seconds."""

    url: str
    run: str
    machine: str
    lease: float

    def board(self, *, repeat_for: float = 0.0) -> PostgresBoard:
        """Return the board; a server that is silent for as long as the machine between two beats is unreachable."""
        from pytest_dogfood.fleet.database.postgres import PostgresBoard

        patience = max(SHORTEST_PATIENCE, self.lease / BEATS_IN_A_LEASE)
        return PostgresBoard(self.url, self.run, self.machine, patience=patience, repeat_for=repeat_for)


def machine_name() -> str:
    """Return a name for this machine's part of a run: the host's first name, and four digits that tell parts apart."""
    host = socket.gethostname().partition(".")[0] or "machine"
    return f"{host[:40]}-{secrets.token_hex(2)}"


def register_fleet(config: pytest.Config, leader: Leader, *, workers: int) -> None:
    """Connect to the database and register the plugin; raises pytest.UsageError if that is not possible."""
    distribution = config.pluginmanager.get_plugin("dogfood-distribution")
    _refuse_combinations(config, distributed=distribution is not None)
    if distribution is None:
        return
    settings = config.stash[SETTINGS]
    try:
        lease = lease_seconds(settings.fleet_lease)
        run = run_name(settings.fleet_run or "", os.environ)
        url = url_of(os.environ, settings.fleet)
        machine = Machine(name=machine_name(), host=socket.gethostname(), workers=workers)
        part = Part(url=url, run=str(run), machine=machine.name, lease=lease)
        board = part.board()
        board.check()
    except (HarnessError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    scheduler = distribution.scheduler
    plugin = FleetPlugin(config, leader, scheduler, board=board, machine=machine, run=run, lease=lease)
    scheduler.others = plugin
    config.pluginmanager.register(plugin, "dogfood-fleet")
    config.pluginmanager.register(_PartForWorkers(part), "dogfood-fleet-workers")
    share_tokens(config, part, worker=ALONE)


class _PartForWorkers:
    """Tells the workers of which run and machine they are."""

    def __init__(self, part: Part) -> None:
        self._part = part

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist exports no type for it
        node.workerinput["dogfood_fleet"] = msgspec.to_builtins(self._part)


def share_tokens_in_worker(config: pytest.Config, told: object, *, worker: str) -> None:
    """Let a worker deal with tokens of the fleet; `told` is what the leading process has told it."""
    share_tokens(config, msgspec.convert(told, type=Part), worker=worker)


def share_tokens(config: pytest.Config, part: Part, *, worker: str) -> None:
    """Let this process deal with tokens of the fleet; it connects to the database when it first does."""
    from pytest_dogfood.fleet.tokens import TokensOfFleet, Waiting

    board = cache(partial(part.board, repeat_for=part.lease * FENCE_IN_A_LEASE))  # one connection per process

    def leases(waiting: Waiting) -> TokensOfFleet:
        return TokensOfFleet(board(), machine=part.machine, worker=worker, lease=part.lease, waiting=waiting)

    config.stash[FLEET] = leases


def _refuse_combinations(config: pytest.Config, *, distributed: bool) -> None:
    for name, (typed, why) in _NOT_WITH.items():
        given = config.getoption(name, None) or (name == "dogfood_shard" and config.getini(name))
        if given:
            raise pytest.UsageError(f"--dogfood-fleet cannot be used with {typed}: {why}")
    if not (distributed or config.getoption("collectonly") or config.getoption("setupplan")):
        raise pytest.UsageError(
            "--dogfood-fleet needs workers, so that this machine can hear of the others while tests run: "
            "add -n auto; -n 1 is enough"
        )
