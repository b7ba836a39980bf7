"""Events that may have changed the world since a token was last asked for: nothing is asked without one."""

from __future__ import annotations


class Changes:
    """Counts events in this process after which a token that was present may be gone.

    Such events are: the next item begins, a wait for a lock is over, a provider or a replay has run, a fixture of the
    project was set up. Time alone is none: it would make every token stale at once.
    """

    def __init__(self) -> None:
        self._events: list[str] = []
        self.fixtures = 0
        """How many fixtures of the project have been set up so far."""

    @property
    def count(self) -> int:
        return len(self._events)

    def note(self, event: str) -> None:
        """Count an event; `event` completes the sentence "it was lost after …"."""
        self._events.append(event)

    def waited(self, lock: str) -> None:
        self.note(f"a wait for the lock {lock!r}")

    def note_fixture(self, name: str) -> None:
        self.fixtures += 1
        self.note(f"the fixture {name!r} was set up")

    def since(self, count: int) -> tuple[str, ...]:
        """Return the events since `count`, each once, oldest first."""
        return tuple(dict.fromkeys(self._events[count:]))
