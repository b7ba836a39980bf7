"""What a machine says of a run that it shares with others, and the exit status, which is that of the whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from msgspec import Struct, field

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.fleet.board import Losses, Machine, MachineState
from pytest_dogfood.fleet.units import loss_in_words, taken_over
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import listed


class RunSoFar(Struct):
    """What a machine knows of the run: where each item has ended, by node id, and where it was bad, if not here.

    `losses` says of each lost machine what became of its items, `stopped` which machine has stopped the run and why,
    `trouble` why this machine's part does not count.
    """

    ended_by: dict[str, str] = field(default_factory=dict)
    bad_elsewhere: dict[str, str] = field(default_factory=dict)
    machines: Mapping[str, Machine] = field(default_factory=dict)
    losses: Mapping[str, str] = field(default_factory=dict)
    journeys: Mapping[str, JourneyId] = field(default_factory=dict)
    stopped: str = ""
    trouble: str = ""

    @property
    def has_losses(self) -> bool:
        return any(machine.state is MachineState.LOST for machine in self.machines.values())

    def note_losses(self, losses: Losses, units: Mapping[str, Sequence[int]], ids: Sequence[str]) -> None:
        """Note what became of the items of lost machines; `units` are places in `ids`, the node ids."""
        items = {unit: [ids[index] for index in indices] for unit, indices in units.items()}
        taken = taken_over(losses, items, self.ended_by)
        self.losses = {name: loss_in_words(seconds, taken[name]) for name, seconds in losses.after.items()}


class FleetSummary:
    """The plugin that tells of the other machines in header and summary."""

    def __init__(self, run: str, me: str, so_far: RunSoFar) -> None:
        self._run = run
        self._me = me
        self._so_far = so_far

    def pytest_report_header(self) -> str:
        return f"dogfood fleet: run {self._run}, this machine is {self._me}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            if self._so_far.trouble:
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            elif self._so_far.bad_elsewhere or self._so_far.stopped:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        so_far = self._so_far
        if so_far.trouble:
            terminalreporter.write_line(f"fleet: {so_far.trouble}", red=True)
            return
        if so_far.stopped:
            terminalreporter.write_line(f"stopped by {so_far.stopped}", yellow=True)
        for machine in sorted(set(so_far.bad_elsewhere.values())):
            bad = [nodeid for nodeid, where in so_far.bad_elsewhere.items() if where == machine]
            names = [so_far.journeys.get(nodeid, nodeid) for nodeid in bad]
            terminalreporter.write_line(f"failed elsewhere: {listed(names, most=20)} on {machine}", red=True)
        terminalreporter.write_line(f"fleet: {self._machines_in_words()}")

    def _machines_in_words(self) -> str:
        numbers = Counter(self._so_far.ended_by.values())
        names = {self._me, *self._so_far.machines, *numbers}
        parts = []
        for name in sorted(names, key=lambda one: (-numbers[one], one)):
            machine = self._so_far.machines.get(name)
            lost = "lost" if machine is not None and machine.state is MachineState.LOST else ""
            lost = self._so_far.losses.get(name, lost)
            parts.append(f"{name} {counted(numbers[name], 'item')}{lost and f' ({lost})'}")
        return f"{counted(len(parts), 'machine')}: {', '.join(parts)}"
