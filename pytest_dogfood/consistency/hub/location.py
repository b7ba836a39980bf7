"""Which hub is meant: named on the command line, in the environment or in the project's settings, or made here."""

from __future__ import annotations

import configparser
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from pytest_dogfood.hub.errors import HubUsageError, NoHubError
from pytest_dogfood.hub.machine import data_directory
from pytest_dogfood.hub.projectfile import PROJECT_FILE, read_project_file, settings_text

VARIABLE = "DOGFOOD_HUB"
SETTING = "dogfood_hub"

_PLACES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "pyproject.toml": (("tool", "pytest", "ini_options"), ("tool", "pytest")),
    "pytest.toml": (("pytest",),),
    "pytest.ini": (("pytest",),),
}
"""The files that may name the hub, in this order, and the tables in which they do."""

WAY_OUT = """\
no hub is named. Say which one it is, with the first of these that suits:
    --hub URL, such as --hub postgresql://user@host/hub
    DOGFOOD_HUB=URL in the environment
    dogfood_hub = "URL" under [tool.pytest.ini_options] in pyproject.toml, or in pytest.toml or pytest.ini
    dogfood hub init --local, for a hub that only this machine uses"""


class Location(Struct, frozen=True, kw_only=True):
    """A hub's URL as it was written, and where relative paths in it start."""

    url: str
    base: Path


def locate(option: str | None = None, *, start: Path | None = None) -> Location:
    """Find the hub that is meant, asking settings files from `start` (here) upwards.

    Raises NoHubError with the ways out, and HubUsageError for a settings file that cannot be read.
    """
    here = start or Path.cwd()
    for named in (option, os.environ.get(VARIABLE)):
        if named and named.strip():
            return Location(url=named.strip(), base=here)
    for directory in _upwards(here):
        if found := _setting_in(directory):
            return Location(url=found, base=directory)
    local = local_hub()
    if local.is_file():
        return Location(url=str(local), base=local.parent)
    raise NoHubError(WAY_OUT)


def local_hub() -> Path:
    """Give the file that `hub init --local` makes, be it there or not."""
    return data_directory() / "hub.sqlite"


def pinned_id(start: Path) -> tuple[str, Path]:
    """Give the id that the nearest dogfood.yaml with a `hub:` pins, and that file; two empty values for none."""
    for directory in _upwards(start):
        section = read_project_file(directory).get("hub")
        if section is None:
            continue
        path = directory / PROJECT_FILE
        if isinstance(section, dict) and isinstance(section.get("id"), str):
            return section["id"], path
        raise HubUsageError(f"{path}: `hub:` is written hub: {{id: UUID}}")
    return "", Path()


def _upwards(start: Path) -> tuple[Path, ...]:
    here = start.absolute()
    return (here, *here.parents)


def _setting_in(directory: Path) -> str:
    for name, tables in _PLACES.items():
        path = directory / name
        content = _ini(path) if name.endswith(".ini") else _toml(path)
        for table in tables:
            value = _below(content, table).get(SETTING)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                raise HubUsageError(f"{path}: {SETTING} is a URL in quotes, not {value!r}")
            return value.strip()
    return ""


def _below(content: Mapping[str, Any], table: tuple[str, ...]) -> Mapping[str, Any]:
    for key in table:
        inner = content.get(key)
        content = inner if isinstance(inner, dict) else {}
    return content


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(settings_text(path))
    except tomllib.TOMLDecodeError as error:
        raise HubUsageError(f"{path} is no TOML: {error}") from error


def _ini(path: Path) -> Mapping[str, Any]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(settings_text(path))
    except configparser.Error as error:
        raise HubUsageError(f"{path} cannot be read: {error.message.splitlines()[0]}") from error
    return {name: dict(parser[name]) for name in parser.sections()}
