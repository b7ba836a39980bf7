"""Finds the hub to use, and identifies this machine. SQLAlchemy is imported only when a hub is opened."""

from __future__ import annotations

import configparser
import getpass
import os
import re
import socket
import stat
import tomllib
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pytest_dogfood.consistency.hub.model import HubUsageError, Machine, NoHubError, WrongHubError, parse_uuid

if TYPE_CHECKING:
    from sqlalchemy import URL

    from pytest_dogfood.consistency.hub.store import Hub

DATA_DIR_VARIABLE = "DOGFOOD_DATA_DIR"


def data_directory() -> Path:
    """Return the user's data directory for this program; nothing is created."""
    if named := os.environ.get(DATA_DIR_VARIABLE):
        return Path(named).absolute()
    from platformdirs import user_data_path

    return user_data_path("dogfood", appauthor=False)


def this_machine(*, create: bool = True) -> Machine:
    """Return this machine; without `create`, its id is empty until a checkout is registered."""
    path = data_directory() / "machine-id"
    try:
        found = _read_id(path)
        if not found and create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{uuid.uuid4()}~")
            try:
                fresh.write_text(f"{uuid.uuid4()}\n", encoding="utf-8")
                with suppress(FileExistsError):  # another process was faster: use its id
                    os.link(fresh, path)
            finally:
                fresh.unlink(missing_ok=True)
            found = _read_id(path)
    except OSError as error:
        raise HubUsageError(
            f"cannot store this machine's id in {path}: {error.strerror}; "
            f"make the directory writable, or set {DATA_DIR_VARIABLE}"
        ) from error
    return Machine(id=found, host=socket.gethostname())


def _read_id(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""
    found = parse_uuid(text)
    if found is None:
        raise HubUsageError(f"{path} does not contain a machine id; restore its content, or remove it")
    return found


def current_actor() -> str:
    """Return the name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return str(os.getuid())


PROJECT_FILE = "dogfood.yaml"
_OURS = re.compile(rb"""^["']?(hub|consistency)["']?\s*:""", re.MULTILINE)
_WRONG_NAMES = ("dogfood.yml", ".dogfood.yaml", ".dogfood.yml")


def read_settings_section(directory: Path, section: str) -> Mapping[str, Any] | None:
    """Return the section `hub:` or `consistency:` of a directory's dogfood.yaml; None if there is none.

    Raises HubUsageError if it is invalid, or if the file cannot be read, has unknown keys, or has a wrong name.
    """
    for path in (directory / name for name in _WRONG_NAMES):
        ours = None
        with suppress(HubUsageError):  # a file of such a name may belong to another tool
            ours = _OURS.search(_content(path))
        if ours:
            raise HubUsageError(f"{path}:1: a file of this name is not read; call it {PROJECT_FILE}")
    path = directory / PROJECT_FILE
    content = _content(path)
    if not content:
        return None
    # It imports many modules, and few repositories have such a file.
    from pytest_dogfood.fileformat.parser import parse_settings_section

    values, problems = parse_settings_section(content, path=str(path), section=section)
    if problems:
        raise HubUsageError("\n".join(map(str, problems)))
    return values


def _content(path: Path) -> bytes:
    try:
        # Reading a pipe might never return.
        return path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else b""
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise HubUsageError(f"{path} cannot be read: {error.strerror or error}") from error


VARIABLE = "DOGFOOD_HUB"

_TABLES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "pyproject.toml": (("tool", "pytest", "ini_options"), ("tool", "pytest")),
    "pytest.toml": (("pytest",),),
    "pytest.ini": (("pytest",),),
}
"""The files that may name the hub, in this order, and the tables in which they do."""

HOW_TO_NAME_A_HUB = """\
no hub is named. Name one in one of these ways:
    --hub URL, such as --hub postgresql://user@host/hub
    DOGFOOD_HUB=URL in the environment
    dogfood_hub = "URL" under [tool.pytest.ini_options] in pyproject.toml, or in pytest.toml or pytest.ini
    dogfood hub init --local, for a hub that only this machine uses"""


class HubLocation(Struct, frozen=True, kw_only=True):
    """A hub's URL as it was written, and the directory from which relative paths in it start."""

    url: str
    base: Path


def locate(option: str | None = None, *, start: Path | None = None) -> HubLocation:
    """Find the hub to use: from the option, the environment, and settings files from `start` (here) upwards.

    Raises NoHubError that says how to name a hub, and HubUsageError for a settings file that cannot be read.
    """
    here = start or Path.cwd()
    for named in (option, os.environ.get(VARIABLE)):
        if named and named.strip():
            return HubLocation(url=named.strip(), base=here)
    url, directory = url_in_settings("dogfood_hub", here)
    if url:
        return HubLocation(url=url, base=directory)
    local = local_hub()
    if local.is_file():
        return HubLocation(url=str(local), base=local.parent)
    raise NoHubError(HOW_TO_NAME_A_HUB)


def url_in_settings(name: str, start: Path) -> tuple[str, Path]:
    """Return the URL of this name in the settings files of pytest from `start` upwards, and its file's directory.

    The URL is empty if there is none. Raises HubUsageError for a settings file that cannot be read.
    """
    for directory in _upwards(start):
        for file, tables in _TABLES.items():
            path = directory / file
            settings = _read_settings(path)
            for table in tables:
                found = settings
                for key in table:
                    found = found[key] if isinstance(found.get(key), dict) else {}
                url = found.get(name, "")
                if not isinstance(url, str):
                    raise HubUsageError(f"{path}: {name} is a URL in quotes, not {url!r}")
                if url.strip():
                    return url.strip(), directory
    return "", start


def local_hub() -> Path:
    """Return the file that `hub init --local` makes, whether or not it exists."""
    return data_directory() / "hub.sqlite"


def require_pinned(hub: Hub, start: Path) -> None:
    """Raise WrongHubError if the nearest dogfood.yaml with a `hub:`, from `start` upwards, names another hub.

    Raises HubUsageError for a file that cannot be used.
    """
    for directory in _upwards(start):
        if section := read_settings_section(directory, "hub"):
            pinned = section["id"].strip()
            if pinned.casefold() != hub.id.casefold():
                raise WrongHubError(
                    f"{directory / PROJECT_FILE} belongs to the hub {pinned}, but {hub.label} is the hub {hub.id}; "
                    "name the right one with --hub or DOGFOOD_HUB"
                )
            return


def _upwards(start: Path) -> tuple[Path, ...]:
    return (start.absolute(), *start.absolute().parents)


def _read_settings(path: Path) -> Mapping[str, Any]:
    """Return the tables of a settings file, none if there is no such file."""
    try:
        text = _content(path).decode("utf-8-sig")
        if path.suffix == ".toml":
            return tomllib.loads(text)
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(text)
    except tomllib.TOMLDecodeError as error:
        raise HubUsageError(f"{path} is not TOML: {error}") from error
    except (UnicodeDecodeError, configparser.Error) as error:
        raise HubUsageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return {name: dict(parser[name]) for name in parser.sections()}


def open_hub(
    option: str | None, *, start: Path | None = None, readonly: bool = False, repository: Path | None = None
) -> Hub:
    """Open the hub to use; raises HubError, also if `repository` (or the working directory) pins another hub."""
    from pytest_dogfood.consistency.hub.store import Hub

    hub = Hub.open(hub_url(option, start=start), readonly=readonly)
    try:
        require_pinned(hub, repository or Path.cwd())
    except BaseException:
        hub.close()
        raise
    return hub


def hub_url(option: str | None, *, start: Path | None = None) -> URL:
    """Return the URL of the hub to use; raises HubError."""
    from pytest_dogfood.consistency.hub.connection import parse_url

    location = locate(option, start=start)
    return parse_url(location.url, base=location.base)
