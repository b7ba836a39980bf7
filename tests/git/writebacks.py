"""A workplan with a status that is to follow the hub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial

from pytest_dogfood.git.command import Limits
from pytest_dogfood.git.commit import (
    CommitOptions,
    Signing,
    StatusChange,
    WritebackRequest,
    WritebackResult,
    sync_message,
    write_back,
)
from tests.support.checkouts import PLAN, QUICK, Checkout

OLD = b"# \xef\xbb\xbf Plan\r\nstatus: todo  \n\n\tno newline at the end"
NEW = OLD.replace(b"todo", b"done")
MESSAGE = sync_message([StatusChange(task_id="X-T1", old="todo", new="done")], date(2026, 2, 3))
HURRY = Limits(fetch=1, commit=0.8, other=20, grace=0.3)


def to_done(old: bytes) -> bytes:
    return old.replace(b"todo", b"done")


def request(here: Checkout, name: str = PLAN, edit: Callable[[bytes], bytes] = to_done) -> WritebackRequest:
    parsed = (here.path / name).read_bytes()
    return WritebackRequest(
        path=name,
        parsed=parsed,
        edit=partial(edit, parsed),
        message=MESSAGE,
        head=here.head,
    )


def follow(
    here: Checkout, *, limits: Limits = QUICK, name: str = PLAN, sign: Signing = Signing.INHERIT
) -> WritebackResult:
    return write_back(here.repository(limits), request(here, name), options=CommitOptions(sign=sign))


def changed_names(here: Checkout) -> list[bytes]:
    return here.git("show", "--format=", "--name-only", "-z", "HEAD").split(b"\0")[:-1]
