"""Rules of states that are broken on purpose, in the process of a worker: what must hold of a run must notice each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pytest_dogfood.provisioning.templates import StateTemplates
from pytest_dogfood.provisioning.workspace import ChainState, Workspace
from pytest_dogfood.scheduling.plan import PlannedJourney
from pytest_dogfood.storage.file_copy import FileCopier
from pytest_dogfood.storage.files import private_directory


def _replaced(of: type, name: str, make: Callable[[Any], Any]) -> None:
    setattr(of, name, make(getattr(of, name)))


def half_copies() -> None:
    """Use copies in which files are missing."""

    def make(copy: Any) -> Any:
        def copy_or_leave(self: FileCopier, *given: Any) -> None:
            with suppress(OSError):
                copy(self, *given)

        return copy_or_leave

    _replaced(FileCopier, "copy", make)


def tokens_without_files() -> None:
    """Take the tokens of a template over also where its files could not be copied."""

    def make(copy: Any) -> Any:
        def copy_tokens(self: Any, original: Any, place: str, state: ChainState, request: Any) -> Any:
            copied = copy(self, original, place, state, request)
            if copied is None:
                private_directory(state.path)
                self._take_over(self._workspace.state_at(place), state, request)
            return copied

        return copy_tokens

    _replaced(StateTemplates, "_copy", make)


def one_state_for_all_parts() -> None:
    """Let parts run in the state from which they should be copied."""

    def make(state_called: Any) -> Any:
        def call(self: Workspace, state: Any, tree: Any) -> Any:
            while state in tree.forks:
                state = tree.forks[state].state
            return state_called(self, state, tree)

        return call

    _replaced(Workspace, "state_called", make)


def templates_that_go_on() -> None:
    """Take a state as a template although later journeys run there."""

    def make(leave: Any) -> Any:
        def leave_as_it_is(self: StateTemplates, fork: Any, state: ChainState, *, goes_on: bool) -> None:  # noqa: ARG001
            leave(self, fork, state, goes_on=False)

        return leave_as_it_is

    _replaced(StateTemplates, "_leave_template", make)


def second_tries_in_the_same_state() -> None:
    """Try an item once more where it has failed."""

    def make(state_for: Any) -> Any:
        def same_state(self: StateTemplates, planned: PlannedJourney, *, again: bool) -> Any:  # noqa: ARG001
            return state_for(self, planned, again=False)

        return same_state

    _replaced(StateTemplates, "state_for", make)


def replays_where_items_run() -> None:
    """Replay journeys for machine-wide tokens in the states of their items."""
    _replaced(Workspace, "state_apart", lambda _: lambda _self, _graph, state: state)


def nothing_removed() -> None:
    """Leave every state where it is."""
    _replaced(StateTemplates, "_remove_what_is_over", lambda _: lambda *_given: None)


def kept_states_removed() -> None:
    """Remove also the states of which the results say that they are kept."""
    _replaced(StateTemplates, "_must_stay", lambda _: lambda *_given: False)


BROKEN: Mapping[str, Callable[[], None]] = {
    rule.__name__: rule
    for rule in (
        half_copies,
        tokens_without_files,
        one_state_for_all_parts,
        templates_that_go_on,
        second_tries_in_the_same_state,
        replays_where_items_run,
        nothing_removed,
        kept_states_removed,
    )
}
