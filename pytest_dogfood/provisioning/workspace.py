"""The workspace of a process: states, directories, variables of steps, and a count of events that may lose tokens."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.database import FLEET_VARIABLE
from pytest_dogfood.execution.background import LeakFinder
from pytest_dogfood.execution.interruption import Interruption
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.process import ParentProcess
from pytest_dogfood.execution.runner import StepsResult
from pytest_dogfood.execution.step import ShellRunner, expand
from pytest_dogfood.execution.usage import UserFinder
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, Journey, StateId, Token, variable_for_lock
from pytest_dogfood.scheduling.split import StateTree, split
from pytest_dogfood.settings import Settings
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.locks import LockTable, NamedLocks, lock_of_unit
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.recorder import Note, Recorder
from pytest_dogfood.storage.run_directory import RunDirectory, attempt_name
from pytest_dogfood.storage.token_registry import BY_PROVISION, TokenRecord

if TYPE_CHECKING:
    from pytest_dogfood.actors.actor import Actors
    from pytest_dogfood.scheduling.plan import PlannedJourney


class InvalidationCounter:
    """Counts events in this process after which a token that was present may be gone.

    Such events are: the next item begins, a wait for a lock is over, a provider or a replay has run, a fixture of the
    project was set up. Time alone is none: it would make every token stale at once.
    """

    def __init__(self) -> None:
        self._events: list[str] = []
        self.fixtures = 0
        """The number of fixtures of the project that have been set up so far."""

    @property
    def count(self) -> int:
        return len(self._events)

    def note(self, event: str) -> None:
        """Count an event; `event` completes the sentence "it was lost after …"."""
        self._events.append(event)

    def note_fixture(self, name: str) -> None:
        self.fixtures += 1
        self.note(f"the fixture {name!r} was set up")

    def since(self, count: int) -> tuple[str, ...]:
        """Return the events since `count`, each once, oldest first."""
        return tuple(dict.fromkeys(self._events[count:]))


RUN_MARKER = "_DOGFOOD_RUN_"
"""Beginning of the name of the variable that marks all processes of a run."""


def run_marker(run: str) -> str:
    """Return the variable that all processes of a run have; a run inside a run has both."""
    return f"{RUN_MARKER}{run}"


WORKER_MARKER = "_DOGFOOD_WORKER"


def worker_marker(run: str, worker: str) -> str:
    """Return the variable and value that all processes of a worker have, except those that outlive it."""
    return f"{WORKER_MARKER}={run}:{worker}"


class ChainState(Struct, frozen=True, kw_only=True):
    """A state that journeys of one chain share on one worker, by its `id` in the tree of states."""

    chain: ChainId
    path: Path
    id: StateId = StateId("")
    number: int = 1
    """The number of this directory for the state in this process, from 1: a rerun of an item may begin a new one."""

    @property
    def name(self) -> str:
        return self.path.name


class Observer(Protocol):
    """Looks at the states of items, and changes nothing there."""

    def begin(self, planned: PlannedJourney, state: ChainState) -> None:
        """Look at a state of an item before anything is set up in it, if this is the first one there."""

    def watch(self, planned: PlannedJourney, state: ChainState, done: StepsResult) -> int | None:
        """Look at the state behind each step that is added to `done`; return where the item stops, None for its end."""


class Workspace(Struct, kw_only=True):
    """One process's view of the run's directories; `locks` is shared by all runs of this user, `pools` have its units.

    `actors` is None without actors. `mark_names` are the names that conditions of marks may use. `changes` are the
    events after which a present token may be lost. `again` are the options, as shell text that ends in a space, for a
    command that reproduces a journey of this run. `uncollected` says for tokens why the files that would establish them
    could not be collected.
    """

    run: RunDirectory
    rootdir: Path
    invoked_from: Path
    worker: str
    settings: Settings
    keeper: SecretKeeper
    locks: Path
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parent: ParentProcess | None = None
    actors: Actors | None = None
    mark_names: Mapping[str, object] = field(default_factory=dict)
    uncollected: Mapping[Token, str] = field(default_factory=dict)
    again: str = ""
    interruption: Interruption = field(default_factory=Interruption)
    changes: InvalidationCounter = field(default_factory=InvalidationCounter)
    leak_finder: LeakFinder = field(default_factory=LeakFinder)
    _user_finder: UserFinder | None = None
    _counter: Iterator[int] = field(default_factory=itertools.count)
    _empty_files: Mapping[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    lane: str = ""
    """The worker that this one has replaced, if it has."""
    observer: Observer | None = None
    """Looks at states before their first item, if a plan file asks for that."""
    twice: frozenset[Token] = frozenset()
    """The tokens whose provision steps run a second time."""
    joined: RunDirectory | None = None
    """The directory of several runs that share their machine-wide tokens, if this run is one of them."""
    machine_stays: bool = False
    """Whether machine-wide tokens stay when this run ends, because others follow that share them."""
    _named: LockTable | None = None
    _recorder: Recorder | None = None
    _states: dict[StateId, ChainState] = field(default_factory=dict)

    @property
    def recorder(self) -> Recorder:
        """The recorder of the activities of this process."""
        if self._recorder is None:
            self._recorder = Recorder(self.run, self.lane or self.worker, self.keeper, self.parent)
        return self._recorder

    @property
    def user_finder(self) -> UserFinder:
        """What finds processes of this run that use a directory."""
        if self._user_finder is None:
            self._user_finder = UserFinder(run_marker(self.run.id))
        return self._user_finder

    def state_of(self, graph: CapabilityGraph, journey: Journey) -> ChainState:
        """Return the state of a journey on this worker, which may not have been made yet."""
        tree = split(graph)
        return self.state_called(tree.state_of[journey.id], tree)

    def state_called(self, state: StateId, tree: StateTree) -> ChainState:
        """Return a state on this worker by its id, which may not have been made yet."""
        if state not in self._states:
            path = self.run.state_path(tree.numbers[state], self.worker, width=self._width(state, tree))
            self._states[state] = ChainState(id=state, chain=tree.chain_of[state], path=path)
        return self._states[state]

    def renewed(self, state: ChainState, tree: StateTree) -> ChainState:
        """Begin a new directory for a state, which has not been made yet, and return it."""
        number, width = state.number + 1, self._width(state.id, tree)
        path = self.run.state_path(tree.numbers[state.id], self.worker, again=number, width=width)
        self._states[state.id] = replace(state, path=path, number=number)
        return self._states[state.id]

    def state_apart(self, graph: CapabilityGraph, state: ChainState) -> ChainState:
        """Return where something is done for the whole machine, or as a gate of another shard, that belongs to a state.

        Which worker does that, and when, is chance. So in a chain whose items must find the same on any number of
        workers it has a directory of its own.
        """
        tree = split(graph)
        if not state.id or not tree.is_split(state.id):
            return state
        width = self.width_of_names(tree)
        path = self.run.state_path(tree.numbers[state.id], self.worker, again=0, width=width)
        return replace(state, path=path)

    def names_of(self, state: StateId, tree: StateTree) -> Iterator[str]:
        """Yield the names of all directories that a state has had on this worker."""
        known, width = self.state_called(state, tree), self._width(state, tree)
        for again in range(1, known.number + 1):
            yield self.run.state_path(tree.numbers[state], self.worker, again=again, width=width).name

    def width_of_names(self, tree: StateTree) -> int:
        """Return the number of characters in the names of states that may be copied: the same for all of them."""
        return len(f"c{len(tree.numbers)}-gw99-9")

    def _width(self, state: StateId, tree: StateTree) -> int:
        return self.width_of_names(tree) if tree.is_split(state) else 0

    def state_at(self, place: str) -> ChainState:
        """Return a state by its place in the registry, of whatever chain it is."""
        return ChainState(chain=ChainId(""), path=self.run.path / place)

    def attempt_at(self, what: str) -> str:
        """Return a unique name for an attempt at a journey, or at `what` is done for a token."""
        return attempt_name(what, self.worker, next(self._counter))

    def workdir_for(self, journey: Journey, state: ChainState, attempt: str) -> Path:
        """Return the working directory of a journey: the one it names in its state, else a new one for the attempt."""
        if journey.workdir is not None:
            return private_directory(state.path / journey.workdir)
        return self.run.fresh_workdir(attempt)

    def environment(
        self,
        *,
        workdir: Path,
        state: Path,
        directory: Path,
        journey: str = "",
        chain: str = "",
        locks: Mapping[str, int] | None = None,
        values: Mapping[str, str] | None = None,
        own: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Return the environment of a step: pytest's own, this plugin's variables, `values` of tokens, the `own` keys.

        Only the database of a fleet is nothing for steps, which could say to it what they like.
        For the pools among its `locks` it has the units that this process holds.
        """
        environment = dict(os.environ)
        environment.pop(FLEET_VARIABLE, None)
        environment |= {
            "DOGFOOD_STATE": str(state),
            "DOGFOOD_SHARED": str(self.run.shared),
            "DOGFOOD_WORKDIR": str(workdir),
            "DOGFOOD_ROOT": str(self.rootdir),
            "DOGFOOD_DIR": str(directory),
            "DOGFOOD_JOURNEY": journey,
            "DOGFOOD_CHAIN": chain,
            "DOGFOOD_WORKER": self.worker,
            "DOGFOOD_RUN": self.run.id,
            run_marker(self.run.id): "1",
            WORKER_MARKER: f"{self.run.id}:{self.worker}",
            **(values or {}),
        }
        for lock, count in (locks or {}).items():
            if lock in self.pools:
                held = self._table_of_named_locks().held()
                units = [unit for unit in self.pools[lock] if lock_of_unit(lock, unit) in held]
                environment[variable_for_lock(lock)] = " ".join(units[:count])
        for name, text in (own or {}).items():
            environment[name] = expand(text, environment)
        return environment

    def runner(self, workdir: Path, environment: Mapping[str, str], attempt: str) -> ShellRunner:
        """Return a step runner for a directory, with outputs named after the attempt."""
        return ShellRunner(
            rootdir=self.rootdir,
            workdir=workdir,
            environment=environment,
            outputs=self.run.outputs,
            name=attempt,
            timeout=self.settings.timeout,
            keeper=self.keeper,
            empty_files=self._empty_files,
            parent=self.parent,
            interruption=self.interruption,
        )

    @contextmanager
    def activity(
        self,
        kind: Kind,
        name: str,
        runner: ShellRunner | None = None,
        done: StepsResult | None = None,
        *,
        place: str = "",
    ) -> Iterator[Note]:
        """Show the block as an operation, for display and signals, and record it as an activity."""
        recorded = self.recorder.activity(kind, name, runner, done, place=place)
        with self.interruption.operation(f"{kind} of {name}"), recorded as note:
            yield note

    @contextmanager
    def waiting(self, lock: str) -> Iterator[None]:
        """Show that this process waits for a lock; what was present before may be gone afterwards."""
        with self.interruption.operation(f"wait for the lock {lock!r}"):
            yield
        self.changes.note(f"a wait for the lock {lock!r}")

    def home_of(self, *, of_machine: bool) -> RunDirectory:
        """Return the directory of the run, or of the runs that share what is `of_machine`."""
        return self.joined if of_machine and self.joined is not None else self.run

    @property
    def ending(self) -> str:
        """The id of what ends with this run: itself, or all runs that it has shared the machine's tokens with."""
        return self.home_of(of_machine=not self.machine_stays).id

    def for_machine(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which what is started ends with all runs that share the machine's tokens."""
        own, theirs = run_marker(self.run.id), run_marker(self.home_of(of_machine=True).id)
        return {theirs if name == own else name: value for name, value in environment.items()}

    def provisions_again(self, record: TokenRecord) -> bool:
        """Return whether a token's provision steps must run once more although they have, before this run began."""
        by_steps = record.token in self.twice and record.by == BY_PROVISION
        return by_steps and record.since < self.run.began

    def named_locks(self) -> NamedLocks:
        """Return a holder of locks that all runs of this user on the machine share; it holds none yet."""
        return NamedLocks(self._table_of_named_locks, self.pools)

    def _table_of_named_locks(self) -> LockTable:
        if self._named is None:
            self._named = LockTable(private_directory(self.locks) / "named", waiting=self.waiting)
        return self._named
