"""Restores a state from the cache instead of provisioning it, and stores one that was provisioned.

That only saves time: whatever is in the way, tokens are provisioned as without a cache. The probes have the last word.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.outcomes import CachedState, CacheUse, Outcome
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.replay import DeferredError, Request
from pytest_dogfood.provisioning.state_cache import (
    CachedToken,
    DamagedEntryError,
    Entry,
    StateCache,
    cache_directory,
    placeholder,
    used_ago,
)
from pytest_dogfood.provisioning.state_inputs import facts_of
from pytest_dogfood.provisioning.workspace import ChainState
from pytest_dogfood.scheduling.recipe import NotCacheableError, Recipe, key_of, recipe_for
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.run_directory import remove_tree
from pytest_dogfood.storage.state_copy import NotCopyableError, replace_path
from pytest_dogfood.storage.token_registry import TokenRecord


class _Awaited(Struct, frozen=True, kw_only=True):
    """A state that the cache does not have, which is stored under `key` if it is provisioned as `recipe` says."""

    recipe: Recipe
    key: str
    since: float


class StateRestorer:
    """Asks the cache for the states of one process, of a run with these `selected` items."""

    def __init__(self, provisioner: Provisioner, selected: Collection[JourneyId]) -> None:
        self._provisioner = provisioner
        self._presence = provisioner.presence
        self._workspace = provisioner.presence.workspace
        self._selected = selected
        self._awaited: dict[str, _Awaited] = {}
        self.stored: set[str] = set()
        """The states, by the names of their directories, that this process has stored."""
        self._unusable = False

    @cached_property
    def _cache(self) -> StateCache:
        settings, root = self._workspace.settings, self._workspace.rootdir
        return StateCache(cache_directory(settings, root, os.environ), limit=settings.cache_limit)

    def restore(self, tokens: Sequence[Token], state: ChainState, request: Request) -> float | None:
        """Restore what provisions a journey's tokens in an empty state; return the time at which it was provisioned.

        None if it was not restored: then the state is empty, as it was, and `store` may add it to the cache. Tokens of
        the machine that it needs are provisioned first. Raises nothing that provisioning would not raise.
        """
        graph = self._presence.graph
        wanted = tuple(token for token in tokens if graph.scope_of(token) is Scope.CHAIN)
        if self._unusable or not wanted or self._is_deferred(tokens, state):
            return None
        try:
            recipe = recipe_for(
                graph,
                wanted,
                selected=self._selected,
                gated=self._provisioner.gated,
                blocked=self._workspace.settings.blocked,
            )
            if not self._is_open(recipe) or not self._has_shared_tokens(recipe, state, request):
                return None
            self._require_empty(state)
            key = self._key(recipe, state)
        except NotCacheableError as error:
            named = (graph.capability(token) for token in wanted)
            if any(capability is not None and capability.inputs is not None for capability in named):
                request.cached.append(CachedState(use=CacheUse.NOT_STORED, tokens=wanted, problem=str(error)))
            return None
        since = time.time()
        with self._problems_noted(request, wanted):
            entry = self._cache.entry(key)
            if entry is not None and self._restore(entry, state, request):
                return entry.made
            self._awaited[state.name] = _Awaited(recipe=recipe, key=key, since=since)
        return None

    def _is_deferred(self, tokens: Sequence[Token], state: ChainState) -> bool:
        """Return whether a token is known to defer the journey: then nothing is done for it, as without a cache."""
        try:
            self._provisioner.refuse(tokens, state)
        except DeferredError:
            return True
        return False

    def note_on(self, made: float) -> str:
        """Return what a failure in a restored state says of it; `made` is when it was provisioned."""
        when = f"provisioned {used_ago(time.time() - made)}"
        return f"note: its state was restored from the cache ({when}); dogfood cache --clear begins anew"

    def _is_open(self, recipe: Recipe) -> bool:
        """Return whether nothing is known in this run that keeps the tokens from being provisioned."""
        ends = (self._provisioner.journal.end_of(journey.id) for journey in recipe.journeys)
        failed = any(end is not None and not end.outcome.establishes for end in ends)
        registry = self._presence.registry
        return not failed and not any(
            one.message for token in recipe.makers for one in registry.attempts(token)
        )

    def _has_shared_tokens(self, recipe: Recipe, state: ChainState, request: Request) -> bool:
        """Provision the shared tokens that a state needs; False if one cannot be had, which is found again."""
        if not recipe.shared:
            return True
        asked = Request(journey=request.journey, state=state, fixture=request.fixture)
        locks = self._workspace.named_locks()
        try:
            self._provisioner.acquire(recipe.shared, asked, locks)
        except (HarnessError, DeferredError):
            return False
        finally:
            locks.release()
            request.provisioned += asked.provisioned
            request.leaked += asked.leaked
            request.kept += asked.kept
        return True

    def _require_empty(self, state: ChainState) -> None:
        registry = self._presence.registry
        has_tokens = any(registry.record_of(token, state.name) for token in registry.known_in(state.name))
        if has_tokens or (state.path.exists() and any(state.path.iterdir())):
            raise NotCacheableError("something else has run in the state before")

    def _key(self, recipe: Recipe, state: ChainState) -> str:
        real = os.path.realpath(state.path)
        shape = [placeholder(os.fspath(state.path)), placeholder(real)]
        return key_of(recipe, facts_of(recipe, self._presence, state, shape))

    def _restore(self, entry: Entry, state: ChainState, request: Request) -> bool:
        """Copy an entry to a state, and run its probes; empty the state and drop the entry if one fails."""
        workspace, began = self._workspace, time.monotonic()
        problem, is_bad = "", False
        try:
            with workspace.activity(Kind.COPY, state.id, place=state.name) as note:
                note.how = "from the cache"
                try:
                    self._cache.restore(entry, state.path)
                except NotCopyableError as error:
                    problem, is_bad = str(error), isinstance(error, DamagedEntryError)
                    note.outcome, note.text = Outcome.SKIPPED, problem
            if not problem:
                problem = self._refused_by_probe(entry, state)
                is_bad = bool(problem)
        except BaseException:
            self._empty(state)
            raise
        if is_bad:
            self._empty(state)
            self._cache.drop(entry.key)
        request.cached.append(
            CachedState(
                use=CacheUse.DROPPED if problem else CacheUse.RESTORED,
                tokens=tuple(one.token for one in entry.tokens),
                made=entry.made,
                took=entry.seconds,
                seconds=time.monotonic() - began,
                problem=problem,
            )
        )
        return not problem

    def _empty(self, state: ChainState) -> None:
        remove_tree(state.path)
        self._presence.restore_directories(state)  # this forgets its tokens

    def _refused_by_probe(self, entry: Entry, state: ChainState) -> str:
        """Record the tokens of a restored state; return what the first probe that fails says, nothing if none does."""
        presence = self._presence
        for one in entry.tokens:
            values = _moved(one.values, _stand_in(state), state.path)
            record = TokenRecord(
                token=one.token,
                place=state.name,
                by=one.by,
                proof=one.proof,
                values=values,
                home=state.name,
            )
            with presence.locked(one.token, state):
                presence.registry.record(record)
                probed = presence.probe(one.token, state, values)
            if probed is not None and not probed.present:
                return f"the probe of {one.token!r} {probed.why_not_run or probed.denial}"
        return ""

    def forget(self, state: ChainState) -> None:
        """Do not add a state to the cache: since `restore` was called, more has come there than is provisioned."""
        self._awaited.pop(state.name, None)

    def store(self, state: ChainState, request: Request) -> None:
        """Add a state to the cache if it was empty when `restore` was called, and is now what was asked for there.

        It may have begun as a copy of a template that the cache has, too.
        """
        awaited = self._awaited.pop(state.name, None)
        if awaited is None:
            return
        tokens, began = tuple(awaited.recipe.makers), time.monotonic()
        with self._problems_noted(request, tokens):
            if reason := next(self._reasons_against(awaited, state, request), ""):
                raise NotCacheableError(reason)
            records = (self._presence.record_of(token, state) for token in tokens)
            cached = tuple(
                CachedToken(
                    token=one.token,
                    by=one.by,
                    proof=one.proof,
                    values=_moved(one.values, state.path, _stand_in(state)),
                )
                for one in records
                if one is not None
            )
            took = sum(one.seconds for one in request.provisioned if one.where == state.name)
            entry = Entry(key=awaited.key, tokens=cached, made=time.time(), seconds=took, files=0, bytes=0)
            with self._workspace.activity(Kind.COPY, state.id, place=state.name) as note:
                note.how = "to the cache"
                try:
                    self._cache.store(
                        state.path,
                        entry,
                        limit=self._workspace.settings.copy_limit,
                        users=self._workspace.user_finder,
                    )
                except NotCopyableError as error:
                    note.outcome, note.text = Outcome.SKIPPED, str(error)
                    raise NotCacheableError(str(error)) from error
            seconds = time.monotonic() - began
            request.cached.append(
                CachedState(use=CacheUse.STORED, tokens=tokens, made=entry.made, took=took, seconds=seconds)
            )
            self.stored.add(state.name)

    def _reasons_against(self, awaited: _Awaited, state: ChainState, request: Request) -> Iterator[str]:
        """Yield why a state must not be stored."""
        recipe = awaited.recipe
        yield from self._wrong_tokens(recipe, state)
        known = {journey.id for journey in recipe.journeys}
        for journey in self._provisioner.journal.run_since(awaited.since, state=state.name):
            if journey not in known:
                yield f"{journey} has run in the state, too"
        if request.leaked:
            yield f"left running: {request.leaked[0]}"
        yield from self._secrets_in(state)
        if self._key(recipe, state) != awaited.key:
            yield "its inputs have changed meanwhile"

    def _wrong_tokens(self, recipe: Recipe, state: ChainState) -> Iterator[str]:
        registry, mask = self._presence.registry, self._workspace.keeper.mask
        self._presence.learn_secrets()
        for token in registry.known_in(state.name):
            record = registry.record_of(token, state.name)
            if record is None:
                continue
            if token not in recipe.makers:
                yield f"{token!r} is in the state, too"
            elif record.by != recipe.makers[token]:
                yield f"{token!r} is there by {record.by}"
            elif record.secret or any(mask(value) != value for value in record.values.values()):
                yield f"a value of {token!r} is secret"
        for token in recipe.makers:
            if registry.record_of(token, state.name) is None:
                yield f"{token!r} is not there any more"

    def _secrets_in(self, state: ChainState) -> Iterator[str]:
        keeper = self._workspace.keeper
        if not keeper:
            return
        try:
            for path in state.path.rglob("*"):
                name = path.relative_to(state.path)
                if keeper.mask(path.name) != path.name:
                    yield "the name of a file contains a secret"
                elif path.is_symlink():
                    if keeper.mask(target := os.fspath(path.readlink())) != target:
                        yield f"{name} links to a path that contains a secret"
                elif path.is_file() and keeper.is_in_file(path):
                    yield f"{name} contains a secret"
        except (OSError, HarnessError) as error:
            yield f"it cannot be searched for secrets: {error}"

    @contextmanager
    def _problems_noted(self, request: Request, tokens: tuple[Token, ...]) -> Iterator[None]:
        """Note problems of the cache for the summary; one that cannot be used is not asked again."""
        try:
            yield
        except NotCacheableError as error:
            use, problem = CacheUse.NOT_STORED, str(error)
        except HarnessError as error:
            use, problem = CacheUse.UNUSABLE, str(error)
            self._unusable = True
        else:
            return
        request.cached.append(CachedState(use=use, tokens=tokens, problem=problem))


def _stand_in(state: ChainState) -> Path:
    return Path(placeholder(os.fspath(state.path)))


def _moved(values: Mapping[str, str], source: Path, target: Path) -> dict[str, str]:
    """Return the values of a token in another state."""
    return {name: replace_path(value, source, target) for name, value in values.items()}
