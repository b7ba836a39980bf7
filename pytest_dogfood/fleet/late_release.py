"""Releases the tokens of a fleet whose last machine was lost, by the files of this checkout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pytest_dogfood.execution.process import Command, run
from pytest_dogfood.execution.watcher import start_time
from pytest_dogfood.fleet.board import FleetToken
from pytest_dogfood.journey import Scope
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.scheduling.pinned_plan import Joined, PinnedPlan
from pytest_dogfood.storage.retention import RunLease, checked_root, default_root
from pytest_dogfood.storage.run_directory import project_name
from pytest_dogfood.storage.token_registry import (
    MACHINE,
    MachineRegistry,
    Registry,
    RunIdentity,
    TokenRecord,
)

NOTHING_RAN = 5
"""Exit status of pytest when it has run no item."""


def release_left(tokens: Sequence[FleetToken], directory: Path) -> str:
    """Release tokens, the youngest of which comes first; return what pytest says if that has failed, else nothing.

    It is done by a run of the project in `directory` that runs no items, and finds the tokens as if it had made them.
    Raises HarnessError if its directory cannot be made.
    """
    lease = RunLease(checked_root(default_root()), f"{project_name(directory)}-close")
    try:
        here = lease.directory
        registry = Registry(here.tokens)
        me = RunIdentity(run=here.id, pid=os.getpid(), born=start_time(os.getpid()))
        leases = MachineRegistry(registry.shared / Scope.FLEET, me)
        for age, one in enumerate(tokens):
            registry.claim(one.token, MACHINE, one.values)
            if one.by:
                record = TokenRecord(
                    token=one.token,
                    place=MACHINE,
                    by=one.by,
                    proof=Proof.PROVIDER,
                    values=one.values,
                    since=-float(age),
                )
                registry.record(record)
            leases.take_lease(one.token, ours=True, values=one.values)
        joined = Joined(directory=str(here.path), pid=os.getpid())
        plan, output = here.path / "plan.json", here.path / "output"
        content = PinnedPlan(release=True, joined=joined, result=str(here.path / "result.json"))
        plan.write_bytes(msgspec.json.encode(content))
        words = (
            sys.executable,
            "-m",
            "pytest",
            "--dogfood",
            f"--dogfood-plan={plan}",
            "-q",
            "-p",
            "no:randomly",
        )
        end = run(Command(argv=words, cwd=directory, env=os.environ, stdout=output, stderr=output))
        said = output.read_text(encoding="utf-8", errors="replace")
        return "" if end.status in {0, NOTHING_RAN} else said
    finally:
        lease.close(keep=())
