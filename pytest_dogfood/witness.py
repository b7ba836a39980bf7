"""A second opinion on the order in which items really ran, from what the workers report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dogfood.workload import Job


class OrderViolationError(Exception):
    """An item ran where or when it must not: our mistake, never the user's."""


class Witness:
    """Checks what workers report against the jobs; knows nothing of what the queue has decided.

    Of jobs that it is not given it knows nothing either, and they may run anywhere and at any time.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.index: job for job in jobs}
        self._finished: set[int] = set()
        self._homes: dict[str, str] = {}

    @property
    def has_jobs(self) -> bool:
        return bool(self._jobs)

    def start(self, index: int, worker: str) -> None:
        """Take note that `worker` runs a job; raises OrderViolationError if it may not."""
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
        """Let the chains of a worker that is gone run elsewhere."""
        self._homes = {chain: home for chain, home in self._homes.items() if home != worker}
