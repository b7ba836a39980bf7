"""The scheduler that xdist calls; it follows the queue's order, and checks the order in which items really ran.

xdist calls the scheduler once per event and reads `tests_finished` after each. By then every plugin has seen the
event's reports, so a crash becomes final there: until then `mark_test_pending` can still revoke it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import unified_diff
from typing import Protocol

import pytest

from pytest_dogfood.scheduling.queue import Job, Queue, in_chain_order


class OrderViolationError(Exception):
    """An item ran on a wrong worker or too early: our mistake, never the user's."""


class OrderCheck:
    """Checks the workers' reports against the jobs, independently of the queue.

    Jobs that it is not given may run anywhere and at any time.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.index: job for job in jobs if job.after or job.chain is not None}
        self._finished: set[int] = set()
        self._homes: dict[str, str] = {}

    def start(self, index: int, worker: str) -> None:
        """Note that `worker` runs a job; raises OrderViolationError if it may not."""
        job = self._jobs.get(index)
        if job is None:
            return
        if early := sorted(set(job.after) - self._finished):
            raise OrderViolationError(f"job {index} runs on {worker} before {early} have finished")
        if job.chain is not None and (home := self._homes.setdefault(job.chain, worker)) != worker:
            raise OrderViolationError(
                f"job {index} of chain {job.chain!r} runs on {worker}, its chain on {home}"
            )

    def finish(self, index: int) -> None:
        self._finished.add(index)

    def lose(self, worker: str) -> None:
        """Let the chains of a dead worker run elsewhere."""
        self._homes = {chain: home for chain, home in self._homes.items() if home != worker}


REFILL_AT = 2
"""A worker with no more plain tests than this is sent the next batch before it runs dry."""


class Gateway(Protocol):
    @property
    def id(self) -> str: ...


class Worker(Protocol):
    """The part of xdist's `WorkerController` that we use."""

    @property
    def gateway(self) -> Gateway: ...

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...

    def notify_inproc(self, eventname: str, **kwargs: object) -> None: ...

    def shutdown(self) -> None: ...


class JobSource(Protocol):
    """Provides the jobs and their dependencies."""

    def jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Return one job per node id, `index` being its place; raises pytest.UsageError if the graph is invalid."""

    def finished(self, node_id: str) -> None:
        """Note that a worker has finished an item, its reruns included, before its dependents begin."""


class OtherMachines(Protocol):
    """The part of a run on several machines that the scheduler uses."""

    def join(self, ids: Sequence[str], jobs: Sequence[Job]) -> Queue:
        """Take part in the run, and return the queue of this machine; raises pytest.UsageError if it may not."""

    def may_hand_out(self) -> bool:
        """Return whether the other machines still count on this one."""

    def ended(self, index: int) -> None:
        """Note that an item has ended here, before others may begin."""

    def need(self, idle: int) -> None:
        """Note that this many workers have nothing to do."""

    def ended_elsewhere(self) -> Iterable[int]:
        """Return the items that have ended on other machines since the last call."""


class DeadlockError(Exception):
    """Items are left that may not run, and every worker is idle: our mistake, never the user's."""


class DogfoodScheduler:
    """Sends each worker one graph item, or one batch of plain tests, at a time; implements xdist's `Scheduling`.

    `workers` is the number of collections to wait for before the first dispatch.
    """

    def __init__(
        self,
        config: pytest.Config,
        source: JobSource,
        *,
        workers: int,
        others: OtherMachines | None = None,
    ) -> None:
        # Plugins that rerun crashed items (pytest-rerunfailures) use it: every scheduler of xdist has it.
        self.config = config
        self._source = source
        self.workers = workers
        self.others = others
        self._ids: list[str] = []
        self._indices: dict[str, list[int]] = defaultdict(list)
        self._queue = Queue(())
        self._has_begun = False
        self._order_check = OrderCheck(())
        self._collections: dict[Worker, list[str]] = {}
        # Every node that xdist must shut down, with the indices that it was sent and has not completed.
        self._held: dict[Worker, list[int]] = {}
        self._started: set[int] = set()
        self._crashed: set[int] = set()
        self._lost_a_worker = False
        self._unusable: set[Worker] = set()
        self._aborted = False

    @property
    def nodes(self) -> list[Worker]:
        return list(self._held)

    @property
    def collection_is_completed(self) -> bool:
        return len(self._collections) >= self.workers

    @property
    def has_pending(self) -> bool:
        return not self._queue.is_done

    @property
    def tests_finished(self) -> bool:
        """Whether the workers may stop. Reading it ends the event: crashes are decided, idle workers get items."""
        if self._aborted:
            return True
        if not self._has_begun:
            return False
        if self._lost_a_worker:
            self._lost_a_worker = False
            for index in sorted(self._crashed):
                self._finish(index)
            self._crashed.clear()
            self._dispatch()
        elif self._queue.running:  # read after every event of every worker, so the usual case is the shortest
            return False
        if self._queue.is_done:
            return True
        # A node that is shutting down will be removed, which frees its chains. What is left may run elsewhere.
        if self.others is None and self._is_stuck() and not any(node.shutting_down for node in self._held):
            self._dispatch()
            if self._is_stuck():
                names = ", ".join(self._ids[index] for index in self._queue.pending)
                raise DeadlockError(f"every worker is idle and none of these items may run: {names}")
        return False

    def _is_stuck(self) -> bool:
        return not self._queue.running and bool(self._usable_nodes())

    def add_node(self, node: Worker) -> None:
        self._held[node] = []

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """Add a worker's collection. A replacement that collected other items is refused and reported."""
        if not self._has_begun:
            self._collections[node] = list(collection)
        elif self._report_difference(self._ids, node, collection):
            self._unusable.add(node)
            node.shutdown()
            if not self._usable_nodes():
                self.abort()
        else:
            self._collections[node] = self._ids
            self._queue.add_worker(node.gateway.id)

    def schedule(self) -> None:
        """Send jobs to idle workers; the first time, compare the collections and get the jobs from the source."""
        if self._aborted:
            return
        if not self._has_begun:
            # By name: the order of collections is random, and the same mistake should give the same text.
            first, *others = sorted(self._collections.items(), key=lambda item: item[0].gateway.id)
            self._ids = first[1]
            # All of them, so that every worker that differs gets its report.
            if sum([self._report_difference(self._ids, *other) for other in others]):
                self.abort()
                return
            jobs = self._source.jobs(self._ids)
            if [job.index for job in jobs] != list(range(len(self._ids))):
                raise ValueError(f"{len(jobs)} jobs were planned for {len(self._ids)} items")
            for index, node_id in enumerate(self._ids):
                self._indices[node_id].append(index)
            self._order_check = OrderCheck(in_chain_order(jobs))
            self._queue = Queue(jobs) if self.others is None else self.others.join(self._ids, jobs)
            self._has_begun = True
            for node in self._held:
                if node in self._collections:
                    self._queue.add_worker(node.gateway.id)
            self._finish_elsewhere()
        self._dispatch()

    def mark_started(self, node_id: str) -> None:
        """Note that a worker has begun an item, so that a crash is attributed only to a running item."""
        for index in self._indices.get(node_id, ()):
            if index in self._queue.running and index not in self._started:
                self._started.add(index)
                return

    def check_order(self, node_id: str, worker: str) -> None:
        """Check that `worker` runs an item; raises OrderViolationError if the item may not run there or not yet."""
        for index in self._indices.get(node_id, ()):
            if self._queue.running.get(index) == worker or len(self._indices[node_id]) == 1:
                self._order_check.start(index, worker)

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:  # noqa: ARG002 - xdist's protocol
        """Count an item as finished, which may free others. The barrier does not count."""
        if item_index == len(self._ids):
            return
        self._held[node].remove(item_index)
        self._source.finished(self._ids[item_index])
        if self._finish(item_index) or len(self._held[node]) <= REFILL_AT:
            self._dispatch()

    def _finish(self, index: int) -> bool:
        """Count an item that has ended here; return whether others may be ready by it."""
        self._order_check.finish(index)
        if self.others is not None:
            self.others.ended(index)  # before the queue counts it, which belongs to them as well
        return self._queue.finish(index)

    def _finish_elsewhere(self) -> None:
        for index in () if self.others is None else self.others.ended_elsewhere():
            self._order_check.finish(index)
            self._queue.finish(index)

    def mark_test_pending(self, item: str) -> None:
        """Let a crashed item run again: it does not count as finished, and its dependents keep waiting."""
        for index in self._indices.get(item, ()):
            if index in self._crashed:
                self._crashed.discard(index)
                self._started.discard(index)
                return
        raise ValueError(f"{item} has not crashed, so it cannot be run again")

    def remove_pending_tests_from_node(self, node: Worker, indices: Sequence[int]) -> None:  # noqa: ARG002 - xdist's protocol
        """Count what has ended on other machines: xdist calls this for the event by which `wake` ends its waiting.

        It is meant for items that a worker gives back, which this scheduler never asks for.
        """
        if self.others is None or indices:
            raise NotImplementedError("this scheduler never moves items between workers")
        self._finish_elsewhere()
        self._dispatch()

    def wake(self) -> None:
        """Let the process that waits for events of workers look at the news of other machines; for other threads."""
        for node in list(self._held)[:1]:
            node.notify_inproc("unscheduled", node=node, indices=[])

    def remove_node(self, node: Worker) -> str | None:
        """Remove a worker and requeue its unfinished items; return the item in which it died, if there is one."""
        held = self._held.pop(node)
        if not self._has_begun or node not in self._collections:
            return None
        self._lost_a_worker = True
        self._order_check.lose(node.gateway.id)
        if node not in self._unusable:
            self._queue.lose(node.gateway.id)
        if not held or held[0] not in self._started:
            return None
        self._crashed.add(held[0])
        return self._ids[held[0]]

    def abort(self) -> None:
        """Send no more items; workers finish those that they have begun."""
        self._aborted = True

    def unfinished(self) -> tuple[str, ...]:
        """Return the items that have not run to their end, in the order of the collection."""
        if not self._has_begun:
            return tuple(next(iter(self._collections.values()), ()))
        finished = self._queue.finished | self._crashed
        return tuple(node_id for index, node_id in enumerate(self._ids) if index not in finished)

    def is_between_items(self, node: Worker) -> bool:
        """Return whether a worker takes part in the run and runs no item right now."""
        held = self._held.get(node, [])
        return node in self._collections and not (held and held[0] in self._started)

    def _usable_nodes(self) -> list[Worker]:
        return [
            node
            for node in self._held
            if node in self._collections and node not in self._unusable and not node.shutting_down
        ]

    def _dispatch(self) -> None:
        if self._aborted or (self.others is not None and not self.others.may_hand_out()):
            return
        idle = 0
        for node in self._usable_nodes():
            left = len(self._held[node])
            if left > REFILL_AT:
                continue
            hand_out = self._queue.more_for if left else self._queue.next_for
            indices = hand_out(node.gateway.id)
            if not indices:
                idle += not left
                continue
            try:
                node.send_runtest_some([*indices, len(self._ids)])
            except OSError:
                # It is dead already, and xdist will report that; until then it must not count as running anything.
                self._unusable.add(node)
                self._queue.lose(node.gateway.id)
                self._order_check.lose(node.gateway.id)
            else:
                self._held[node].extend(indices)
        if self.others is not None:
            self.others.need(idle)

    def _report_difference(self, expected: Sequence[str], node: Worker, found: Sequence[str]) -> bool:
        if list(expected) == list(found):
            return False
        diff = "\n".join(unified_diff(expected, found, "expected", node.gateway.id, lineterm=""))
        text = f"Worker {node.gateway.id} collected other tests than the first worker, so it runs nothing:\n{diff}"
        if not found:
            text = f"Worker {node.gateway.id} has no tests to run, unlike the first worker: is the disk full?"
        report = pytest.CollectReport(node.gateway.id, "failed", longrepr=text, result=[])
        self.config.hook.pytest_collectreport(report=report)
        return True
