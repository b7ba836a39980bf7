"""Begins the states of chains with copyable tokens as copies of others: their templates, each provisioned once.

A template is the state that journeys left where parts begin, or a directory of its own where no journey ran there. A
copy only saves time. Whatever prevents it, the part begins empty, and what its journeys need is provisioned in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId, StateId, Token
from pytest_dogfood.outcomes import Outcome, StateCopy
from pytest_dogfood.provisioning.presence import Presence
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.release import has_release
from pytest_dogfood.provisioning.replay import DeferredError, Request
from pytest_dogfood.provisioning.state_log import CachedTemplate, KeptState, RestoredState, StateLog, Template
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.scheduling.part_needs import NeedsOfParts
from pytest_dogfood.scheduling.plan import Plan, PlannedJourney
from pytest_dogfood.scheduling.split import Fork, split
from pytest_dogfood.settings import Provision
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.run_directory import remove_tree, remove_unless_empty
from pytest_dogfood.storage.state_copy import NotCopyableError, copy_state, replace_path
from pytest_dogfood.storage.token_registry import MACHINE, TokenRecord

if TYPE_CHECKING:
    from pytest_dogfood.provisioning.restoration import StateRestorer

MOST_KEPT_PARTS = 5
"""The number of parts that failed whose states are kept: each may be as large as all that it was copied from."""

ENOUGH_KEPT = f"{MOST_KEPT_PARTS} states of other failed items are kept already"

ITS_TEMPLATE = JourneyId("its template")


class StateTemplates:
    """Gives each item its state in chains with copyable tokens; in all others a state is what it is without them."""

    def __init__(self, plan: Plan, provisioner: Provisioner) -> None:
        self._provisioner = provisioner
        self._presence: Presence = provisioner.presence
        self._workspace = self._presence.workspace
        self._tree = split(self._presence.graph)
        self._plan = plan
        self._begun: set[str] = set()
        self._empty: set[str] = set()
        self._copied: dict[Token, TokenRecord] = {}
        self._unended: dict[StateId, list[JourneyId]] = {}
        self._users = self._workspace.user_finder if self._tree.forks else None
        self._unused: set[str] = set()
        """The templates that no process which still runs can use: no copy of them needs to look for one."""

    @cached_property
    def _log(self) -> StateLog:
        return StateLog(self._workspace.run.tokens)

    @cached_property
    def _needs(self) -> NeedsOfParts:
        return NeedsOfParts(self._presence.graph, self._plan)

    @cached_property
    def _restorer(self) -> StateRestorer | None:
        """What restores states from the cache; None if it is off, or if no token says what its files are made from."""
        settings = self._workspace.settings
        has_inputs = any(one.inputs is not None for one in self._presence.graph.capabilities.values())
        if not (has_inputs and settings.provision is Provision.AUTO and settings.cache.is_on(os.environ)):
            return None
        from pytest_dogfood.provisioning.restoration import StateRestorer  # few runs need it

        return StateRestorer(self._provisioner, frozenset(one.id for one in self._plan.journeys))

    def state_for(self, planned: PlannedJourney, *, again: bool) -> ChainState:
        """Return the state in which an item runs; it may not have been made yet.

        `again` says that the item is tried once more: where tokens are copyable it gets a new state, unless what a test
        or a fixture made in the old one would be lost.
        """
        state = self._workspace.state_called(planned.state, self._tree)
        if not (again and state.name in self._begun) or planned.state in self._needs.never_begun_again:
            return state
        return self._workspace.renewed(state, self._tree) if state.path.exists() else state

    def begin(self, planned: PlannedJourney, state: ChainState, request: Request) -> None:
        """Make the state of an item if it is a new one: as a copy of its template, if there is one."""
        self._copied = {}  # those of an item that got no further than this
        if state.name in self._begun or not self._tree.is_split(planned.state):
            return
        self._begun.add(state.name)
        fork = self._tree.forks.get(planned.state)
        if fork is None:
            self._empty.add(state.name)
            return
        # What several parts need is in their template. One that is alone need not wait for the template above.
        is_alone = not self._needs.has_several_parts(fork) and self._log.template(fork) is None
        if is_alone and state.number == 1 and self._restore(planned.requires, state, request):
            return
        template = self._template(fork, request)
        if template.problem:
            request.copies.append(StateCopy(state=fork.state, problem=template.problem))
        copied = self._copy(fork.state, template.place, state, request) if template.place else None
        if copied is not None:
            self._copied = copied
            self._note_if_unused(template.place)
            return
        if not is_alone:
            self._empty.add(state.name)
        if template.place:  # what prevents one copy would prevent the others
            problem = request.copies[-1].problem
            self._log.append(Template(fork=fork.number, place="", ready=True, problem=problem))

    def restore(self, tokens: Sequence[Token], state: ChainState, request: Request) -> None:
        """Take what provisions tokens in a state from the cache, if the state is empty and the cache has that.

        A rerun in a new directory does without: what was restored may be the reason why it is needed.
        """
        if state.name not in self._empty or state.number > 1 or self._restorer is None:
            return
        self._empty.remove(state.name)
        self._restore(tokens, state, request)

    def _restore(self, tokens: Sequence[Token], state: ChainState, request: Request) -> bool:
        """Take what provisions tokens in an empty state from the cache; if it has that not, `settle` may store it."""
        made = None if self._restorer is None else self._restorer.restore(tokens, state, request)
        if made is not None:
            self._log.append(RestoredState(place=state.name, made=made))
        return made is not None

    def notes_on(self, state: ChainState) -> Iterable[str]:
        """Return what a failure in a state says of it."""
        made = self._log.restored(state.name)
        return () if made is None or self._restorer is None else (self._restorer.note_on(made),)

    def settle(self, state: ChainState, request: Request) -> None:
        """Store a state that was provisioned, once all needs of an item are met.

        Note what it has cost if the state is no copy, or not as good as its template.
        """
        if self._restorer is not None:
            self._restorer.store(state, request)
        seconds = sum(one.seconds for one in request.provisioned if one.where == state.name)
        request.copies[:] = [replace(one, lost=seconds) if one.problem else one for one in request.copies]
        for token, copied in self._copied.items():
            record = self._presence.record_of(token, state)
            if token in request.proofs and record is not None and record.since != copied.since:
                problem = f"{token!r} was present there, but not in the copy [copy-not-as-good]"
                request.copies.append(
                    StateCopy(state=self._tree.forks[state.id].state, problem=problem, lost=seconds)
                )
        self._copied = {}

    def _template(self, fork: Fork, request: Request) -> Template:
        known = self._log.template(fork)
        if known is None or not known.ready:
            with self._presence.registry.locked(Token(f"template-{fork.number}"), MACHINE):
                known = self._log.template(fork)
                if known is None or not known.ready:
                    known = self._make_ready(fork, known, request)
                    self._log.append(known)
        return known

    def _make_ready(self, fork: Fork, known: Template | None, request: Request) -> Template:
        """Provision in a template what several parts need; make it first if no journey has left one."""
        wanted = self._needs.shared_by_parts(fork, with_items=known is None)
        problem = "" if known is None else known.problem
        if known is not None and known.place:
            place = known.place
        else:
            above, own = self._tree.forks.get(fork.state), self._own_directory(fork)
            is_made = bool(wanted) and self._workspace.settings.provision is not Provision.NEVER
            if is_made and self._restore(wanted, own, request):
                self._log.append(CachedTemplate(place=own.name))
                return Template(fork=fork.number, place=own.name, ready=True, problem=problem)
            place = "" if above is None else self._template(above, request).place
            if not is_made:
                return Template(fork=fork.number, place=place, ready=True, problem=problem)
            if not place or self._copy(fork.state, place, own, request) is None:
                private_directory(own.path)
            place = own.name
        state = self._state_at(fork, place)
        self._provision(wanted, state, request)
        if self._restorer is not None:
            self._restorer.store(state, request)
            if place in self._restorer.stored:
                self._log.append(CachedTemplate(place=place))
        return Template(fork=fork.number, place=place, ready=True, problem=problem)

    def _own_directory(self, fork: Fork) -> ChainState:
        width = self._workspace.width_of_names(self._tree)
        path = self._workspace.run.template_path(fork.number, self._workspace.worker, width=width)
        remove_tree(path)
        return self._state_at(fork, path.name)

    def _state_at(self, fork: Fork, place: str) -> ChainState:
        path = self._workspace.run.path / place
        return ChainState(id=fork.state, chain=self._tree.chain_of[fork.state], path=path)

    def _provision(self, tokens: Iterable[Token], state: ChainState, request: Request) -> None:
        """Provision tokens in a template. A part that needs one that failed reports the error itself."""
        asked = Request(journey=request.journey, state=state)
        for token in tokens:
            if self._presence.record_of(token, state) is None:
                locks = self._workspace.named_locks()
                try:
                    with suppress(HarnessError, DeferredError):
                        self._provisioner.acquire((token,), asked, locks)
                finally:
                    locks.release()
        request.provisioned += asked.provisioned
        request.leaked += asked.leaked
        request.kept += asked.kept

    def _copy(
        self, original: StateId, place: str, state: ChainState, request: Request
    ) -> dict[Token, TokenRecord] | None:
        """Copy a state, and note it; return the records of its copyable tokens, or None if it cannot be copied."""
        source, workspace = self._workspace.state_at(place), self._workspace
        began = time.monotonic()
        with workspace.activity(Kind.COPY, state.id, place=state.name) as note:
            note.how = f"as a copy of {place}"
            try:
                copied = copy_state(
                    source.path,
                    state.path,
                    limit=workspace.settings.copy_limit,
                    users=None if place in self._unused else self._users,
                )
            except NotCopyableError as error:
                note.outcome, note.text = Outcome.SKIPPED, f"{error.path}: {error.reason}"
                seconds = time.monotonic() - began
                request.copies.append(StateCopy(state=original, problem=note.text, seconds=seconds))
                return None
        request.copies.append(
            StateCopy(state=original, files=copied.files, bytes=copied.bytes, seconds=copied.seconds)
        )
        if self._restorer is not None and not self._log.is_cached(source.name):
            self._restorer.forget(state)  # what else is in it is not known by its key
        if (made := self._log.restored(source.name)) is not None:
            self._log.append(RestoredState(place=state.name, made=made))
        return self._take_over(source, state, request)

    def _note_if_unused(self, template: str) -> None:
        """Note of a template that is ready whether a process is left that can use it: nothing more starts in it."""
        if self._users is None or template in self._unused:
            return
        if not self._users.may_be_used_later(self._workspace.run.path / template):
            self._unused.add(template)

    def _take_over(self, source: ChainState, state: ChainState, request: Request) -> dict[Token, TokenRecord]:
        """Record in a copy the copyable tokens of its original, and which could not be provisioned there."""
        registry, found = self._presence.registry, {}
        for token in registry.known_in(source.name):
            if not self._presence.graph.is_copyable(token):
                continue
            known = registry.known_of(token, source.name)
            with registry.locked(token, state.name):
                if known.record is not None:
                    found[token] = replace(
                        known.record,
                        place=state.name,
                        home=state.name if known.record.home == source.name else known.record.home,
                        values={
                            name: replace_path(value, source.path, state.path)
                            for name, value in known.record.values.items()
                        },
                    )
                    registry.record(found[token])
                attempt = known.attempt
                if attempt is not None and attempt.message:
                    asked_by = ITS_TEMPLATE if attempt.asked_by == request.journey else attempt.asked_by
                    registry.fail(replace(attempt, place=state.name, asked_by=asked_by), attempt.message)
        return found

    def end(
        self, planned: PlannedJourney, state: ChainState, *, keeps: bool, named: Iterable[Path] = ()
    ) -> None:
        """Leave templates for the parts that begin behind an item, and remove states that nothing needs any more.

        `named` are the directories that its result says are kept, because a replay failed there.
        """
        for path in named:
            self._log.append(KeptState(place=path.name, is_part=False))
        if not self._tree.is_split(planned.state):
            return
        if keeps:
            self.keep(state)
        forks = [fork for fork in self._needs.forks_behind(planned.id) if self._needs.has_items_behind(fork)]
        is_last = self._needs.items_in(planned.state)[-1] == planned.id
        for fork in forks:  # each is provisioned by itself
            self._leave_template(fork, state, goes_on=not is_last or len(forks) > 1)
        if is_last:
            parts = self._needs.forks_in(planned.state)
            templates = {name for fork in parts for name in self._log.places(fork)}
            names = self._workspace.names_of(planned.state, self._tree)
            self._remove(name for name in names if name not in templates)
        self._remove_what_is_over(planned.state)

    def _leave_template(self, fork: Fork, state: ChainState, *, goes_on: bool) -> None:
        if not goes_on:
            self._log.append(Template(fork=fork.number, place=state.name))
            return
        copy, request = self._own_directory(fork), Request(journey=JourneyId(""), state=state)
        if self._copy(fork.state, state.name, copy, request) is not None:
            self._log.append(Template(fork=fork.number, place=copy.name))
        else:
            problem = request.copies[-1].problem
            self._log.append(Template(fork=fork.number, place="", problem=problem))

    def keep(self, state: ChainState) -> bool:
        """Keep a state in which an item failed; return False for a part if enough others are kept already."""
        settings = self._workspace.settings
        if settings.keep or not state.id or not self._tree.is_split(state.id):
            return True
        with self._presence.registry.locked(Token("kept-states"), MACHINE):
            kept, is_part = self._log.kept(), state.id in self._tree.forks
            if state.name in kept:
                return True
            if is_part and sum(one.is_part for one in kept.values()) >= MOST_KEPT_PARTS:
                return False
            self._log.append(KeptState(place=state.name, is_part=is_part))
        return True

    def _remove_what_is_over(self, state: StateId | None) -> None:
        """Remove the directories of a state once all items in it and in copies of it have ended; then those above.

        What workers have left that died is removed at the end of the run.
        """
        while state is not None and self._is_over(state):
            for fork in self._needs.forks_in(state):
                self._remove(self._log.places(fork))
            above = self._tree.forks.get(state)
            state = None if above is None else above.state

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            if not self._must_stay(name):
                remove_unless_empty(self._workspace.run.path / name)

    def _is_over(self, state: StateId) -> bool:
        if state not in self._unended:
            states = self._needs.states_from(state)
            self._unended[state] = [item for one in states for item in self._needs.items_in(one)]
        left = self._unended[state]
        while left and self._provisioner.journal.has_ended(left[-1]):
            left.pop()
        return not left

    def _must_stay(self, name: str) -> bool:
        """Return whether a directory is kept, or something is still to be released there."""
        if self._workspace.settings.keep or name in self._log.kept():
            return True
        registry = self._presence.registry
        of_machine = (registry.record_of(token, MACHINE) for token in registry.unreleased(MACHINE))
        if any(record is not None and record.home == name for record in of_machine):
            return True
        return any(
            registry.claim_of(token, name) is not None and has_release(self._presence, token)
            for token in registry.unreleased(name)
        )
