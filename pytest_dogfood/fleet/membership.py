"""Decides which machines of a fleet are lost, this one included, from counters and durations alone.

Every machine increases a counter on the board, its *beats*. A machine is lost if another one has seen its counter
unchanged for a whole lease. A machine that has not reached the board for two thirds of a lease *fences* itself: it runs
nothing more, because the others may soon run what it holds. No clock is compared with another machine's: all times are
in seconds of one clock of this machine, which must also count while the machine is suspended.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from pytest_dogfood.fleet.board import Machine, MachineState

BEATS_IN_A_LEASE = 6

FENCE_IN_A_LEASE = 2 / 3
"""The part of a lease after which a machine that has not reached the board fences itself."""

HUNG_AFTER = 60.0
"""A controller whose loop has not answered for this long, in seconds, gives no sign of life: it must not look alive."""

PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds until a call to the board that failed is tried again; the last one is repeated."""


def pause_before_retry(failures: int) -> float:
    """Return how many seconds to wait after a number of failures in a row, from 1."""
    return PAUSES[min(failures, len(PAUSES)) - 1]


class _Sight(Struct):
    """A counter of another machine, and since when, in seconds, it has been seen unchanged."""

    beats: int
    since: float


class Membership:
    """What one machine knows about its own membership and that of the others.

    `lease` is in seconds. `joined` is when the request to join was sent, on this machine's clock.
    """

    def __init__(self, me: str, lease: float, joined: float) -> None:
        self.me = me
        self.lease = lease
        self.machines: dict[str, Machine] = {}
        """All machines of the run, as they were when this one looked last."""
        self._last_touch = joined
        self._last_look = joined
        self._sights: dict[str, _Sight] = {}
        self._lost = ""

    @property
    def beat_every(self) -> float:
        """How many seconds lie between two beats."""
        return self.lease / BEATS_IN_A_LEASE

    @property
    def fence_after(self) -> float:
        """How many seconds after its last beat was sent a machine fences itself."""
        return self.lease * FENCE_IN_A_LEASE

    @property
    def fence_at(self) -> float:
        """When this machine has to fence itself unless it reaches the board before."""
        return self._last_touch + self.fence_after

    @property
    def live_others(self) -> tuple[str, ...]:
        """The other machines that are part of the run, as far as is known."""
        return tuple(
            name
            for name, machine in self.machines.items()
            if name != self.me and machine.state is MachineState.HERE
        )

    def may_beat(self, now: float, loop_answered: float) -> bool:
        """Return whether to give a sign of life, if the controller's loop answered last at that time."""
        return now - loop_answered < HUNG_AFTER

    def is_fenced(self, now: float) -> bool:
        """Return whether this machine must run nothing more. Ask at every hand-out; once true, it stays true."""
        if not self._lost and now >= self.fence_at:
            self._lost = f"lost touch with the fleet for {self.fence_after:.0f} s; what ended here since is not counted"
        return bool(self._lost)

    @property
    def why_fenced(self) -> str:
        """Why this machine runs nothing more; empty while it may."""
        return self._lost

    def lose(self) -> None:
        """Note that the board does not count this machine as part of the run any more."""
        self._lost = (
            self._lost or "the fleet counts this machine as lost; what ended here since is not counted"
        )

    def beat(self, machines: Iterable[Machine], *, sent: float, now: float) -> tuple[Machine, ...]:
        """Take the answer to a beat that was sent and answered at these times; return the machines to declare lost.

        Declare each with the counter that it has here: a board refuses that if the machine has beaten since.
        """
        self._last_touch = max(self._last_touch, sent)
        if sent - self._last_look > 2 * self.beat_every:
            # Whatever kept this machine from looking may have kept the others from beating.
            self._sights.clear()
        self._last_look = now
        self.machines = {machine.name: machine for machine in machines}
        silent: list[Machine] = []
        for name in self.live_others:
            machine = self.machines[name]
            sight = self._sights.get(name)
            if sight is None or sight.beats != machine.beats:
                self._sights[name] = _Sight(machine.beats, now)
            elif sent - sight.since >= self.lease:
                silent.append(machine)
        return tuple(silent)
