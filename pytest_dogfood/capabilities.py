"""What a Python test sees of the tokens it requires."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import VARIABLE_PATTERN, Token
from pytest_dogfood.session.item_run import Turn
from pytest_dogfood.walks import room_for

Guard = Callable[[Callable[[], None]], None]


class Capabilities:
    """Values of tokens by name: `capabilities["web-up"]["port"]`. Every value is text."""

    def __init__(self, turn: Turn, guarded: Guard) -> None:
        self._turn = turn
        self._guarded = guarded

    def __getitem__(self, token: str) -> Mapping[str, str]:
        """Give the values of a token that this test requires; raises KeyError for any other."""
        if token not in self._turn.ask.proofs and token not in self._turn.established:
            raise KeyError(
                f"{token!r} is not required by this test: mark it with @pytest.mark.requires({token!r}), "
                f"or call capabilities.require({token!r})"
            )
        return dict(self._turn.provisioner.presence.values_of(Token(token), self._turn.state))

    def require(self, token: str) -> Mapping[str, str]:
        """Ensure a token that is known only now, and give its values.

        Skips the test as deferred if what establishes the token did not pass, and reports an error of the harness
        if there is no way to have it.
        """
        self._guarded(lambda: self._ensure(Token(token)))
        return self[token]

    def _ensure(self, token: Token) -> None:
        graph = self._turn.provisioner.presence.graph
        if not graph.is_known(token):
            raise HarnessError(f"{token!r} is unknown: no journey establishes it and no file defines it")
        with room_for(len(graph.journeys)):
            self._turn.provisioner.acquire_at_run_time(token, self._turn.ask)

    def save(self, **values: object) -> None:
        """Keep values, as text, that travel with the tokens this test establishes; raises ValueError for bad names."""
        for name, value in values.items():
            if not VARIABLE_PATTERN.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a variable")
            self._turn.values[name] = _as_text(name, value)
        self._turn.note_saved()


def _as_text(name: str, value: object) -> str:
    text = str(value)
    try:
        text.encode()
    except UnicodeError:
        raise ValueError(f"{name}={text!r} holds what UTF-8 cannot: decode it in another way") from None
    if "\0" in text:
        raise ValueError(f"{name}={text!r} holds a NUL, which no variable can")
    return text
