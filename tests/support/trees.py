"""Directory trees: described, so that two of them can be compared, and copied."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.execution.usage import UserFinder
from pytest_dogfood.storage.state_copy import NotCopyableError, copy_state


def describe(root: Path, *, path: Path | None = None) -> dict[bytes, tuple[Any, ...]]:
    """Return everything that a copy of a tree must keep, by name; what is the path of the tree reads as `path`."""
    own, shown = os.fsencode(root), os.fsencode(path or root)
    found: dict[bytes, tuple[Any, ...]] = {}
    names: dict[int, bytes] = {}
    for folder, folders, files in sorted(os.walk(own)):
        for full in (folder, *(folder + b"/" + name for name in (*folders, *files))):
            name = os.path.relpath(full, own)
            seen = os.lstat(full)
            content = b""
            if stat.S_ISLNK(seen.st_mode):
                content = os.readlink(full)  # noqa: PTH115 - as bytes
            elif stat.S_ISREG(seen.st_mode):
                content = Path(os.fsdecode(full)).read_bytes()
            first = names.setdefault(seen.st_ino, name)
            attributes = {
                one: os.getxattr(full, one, follow_symlinks=False)
                for one in os.listxattr(full, follow_symlinks=False)
            }
            found[name] = (
                seen.st_mode,
                seen.st_uid,
                seen.st_gid,
                seen.st_mtime_ns,
                content.replace(own, shown),
                first,
                attributes,
            )
    return found


def copied(state: Path, *, limit: int = 2**31, marker: str = "", copies: int = 1) -> Path:
    """Copy a state to `c1-gw0` beside it."""
    target = state.with_name("c1-gw0")
    copy_state(state, target, limit=limit, users=UserFinder(marker) if marker else None, copies=copies)
    return target


def refused(state: Path, *, limit: int = 2**31, marker: str = "", copies: int = 1) -> str:
    """Return why a state cannot be copied; nothing of the copy is left."""
    before = {path.name for path in state.parent.iterdir()}
    with pytest.raises(NotCopyableError) as caught:
        copied(state, limit=limit, marker=marker, copies=copies)
    assert {path.name for path in state.parent.iterdir()} == before
    return str(caught.value)
