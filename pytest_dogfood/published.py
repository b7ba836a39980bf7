"""What workers tell the controller, which has collected nothing itself: their plan, by way of files."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import Diagnostic, HarnessError
from pytest_dogfood.execution.output import is_full
from pytest_dogfood.report.manifest import Expected
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.storage.files import read_as, write_whole


class Published(Struct, frozen=True, kw_only=True):
    plan: Plan
    diagnostics: tuple[Diagnostic, ...] = ()
    empty_shard: bool = False
    expected: Expected | None = None


def publish(file: Path, published: Published) -> None:
    write_whole(file, msgspec.json.encode(published))


def read_published(directory: Path) -> Published:
    """Read what the workers have published; raises HarnessError if they do not agree or said nothing."""
    found = [read_as(path, Published) for path in sorted(directory.glob("*.json"))]
    everything = [one for one in found if one is not None]
    if not everything:
        why = ": the disk is full" if is_full(directory) else ""
        raise HarnessError(
            f"no worker could write what it needs to {directory.parent}{why}; "
            "free some space, or set dogfood_state_root"
        )
    if any(one.plan.digest != everything[0].plan.digest for one in everything):
        raise HarnessError(
            "the workers have made different plans, from different files or in different orders"
        )
    return everything[0]
