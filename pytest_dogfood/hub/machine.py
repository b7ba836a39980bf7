"""Which machine this is, and who is at work: for the event log, and to find the checkouts that are here."""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from pytest_dogfood.hub.errors import HubUsageError

DATA_DIR_VARIABLE = "DOGFOOD_DATA_DIR"


class Machine(Struct, frozen=True, kw_only=True):
    """A machine: an id that stays when it is renamed, and the name it has now."""

    id: str
    host: str


def data_directory() -> Path:
    """Give the user's data directory for this program; nothing is created."""
    if named := os.environ.get(DATA_DIR_VARIABLE):
        return Path(named).absolute()
    from platformdirs import user_data_path

    return user_data_path("dogfood", appauthor=False)


def this_machine(*, create: bool = True) -> Machine:
    """Give this machine; without `create` its id is empty until something was registered here."""
    path = data_directory() / "machine-id"
    try:
        found = _read(path) or (_created(path) if create else "")
    except OSError as error:
        raise HubUsageError(
            f"cannot keep this machine's id in {path}: {error.strerror}; "
            f"make the directory writable, or set {DATA_DIR_VARIABLE}"
        ) from error
    return Machine(id=found, host=socket.gethostname())


def current_actor() -> str:
    """Give the name of the user at work."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        text = "?"
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise HubUsageError(f"{path} holds no machine id; put back what it held, or remove it") from error


def _created(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{uuid.uuid4()}~")
    try:
        fresh.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")
        with suppress(FileExistsError):  # somebody was faster: theirs counts
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return _read(path)
