"""Which hub is meant, and which machine this is; the hub opened."""

from __future__ import annotations

import configparser
import getpass
import os
import socket
import stat
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct
from sqlalchemy import URL

from pytest_dogfood.consistency.hub.connection import parse_url
from pytest_dogfood.consistency.hub.model import HubUsageError, Machine, NoHubError
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.diagnostics import did_you_mean

DATA_DIR_VARIABLE = "DOGFOOD_DATA_DIR"


def data_directory() -> Path:
    """Return the user's data directory for this program; nothing is created."""
    if named := os.environ.get(DATA_DIR_VARIABLE):
        return Path(named).absolute()
    from platformdirs import user_data_path

    return user_data_path("dogfood", appauthor=False)


def this_machine(*, create: bool = True) -> Machine:
    """Return this machine; without `create` its id is empty until something was registered here."""
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
    """Return the name of the user at work."""
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


PROJECT_FILE = "dogfood.yaml"
KEYS = ("defaults", "capabilities", "hub", "consistency")
"""What it may hold; the first two are for journeys."""

_OURS = frozenset({"hub", "consistency"})
_OF_WRONG_TAGS = (ValueError, LookupError, AttributeError)  # PyYAML's, for values such as `!!int ''`
_MISNOMERS = ("dogfood.yml", ".dogfood.yaml", ".dogfood.yml")


def read_project_file(directory: Path) -> Mapping[str, Any]:
    """Return what the dogfood.yaml of a directory holds; nothing where there is none.

    Raises HubUsageError where it cannot be read, has keys that nobody reads, or goes by another name.
    """
    for name in _MISNOMERS:
        if _holds_ours(directory / name):
            raise HubUsageError(
                f"{directory / name}:1: a file of this name is not read; call it {PROJECT_FILE}"
            )
    path = directory / PROJECT_FILE
    content, problems = _parsed(path)
    if problems:
        raise HubUsageError("\n".join(problems))
    return content


def settings_text(path: Path) -> str:
    """Return a settings file's text; nothing where there is none. Raises HubUsageError where it cannot be read."""
    try:
        # Of a pipe nobody knows whether its text will ever come.
        return path.read_text(encoding="utf-8-sig") if stat.S_ISREG(path.stat().st_mode) else ""
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise HubUsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _holds_ours(path: Path) -> bool:
    """Return whether a file is meant for us: one of such a name may be another tool's, a workflow for instance."""
    try:
        return bool(_OURS & _parsed(path)[0].keys())
    except HubUsageError:
        return False


def _parsed(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Return the content, and what is wrong with its keys."""
    text = settings_text(path)
    if not text:
        return {}, []
    try:
        node, content = _loaded(text)
    except yaml.MarkedYAMLError as error:
        raise HubUsageError(f"{_place(path, error.problem_mark)}: is no YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, *_OF_WRONG_TAGS) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise HubUsageError(f"{path} is no YAML: {said[0]}") from error
    if not isinstance(node, yaml.MappingNode):
        said = [] if content is None else [f"{path}:1: it holds keys and values, such as `consistency:`"]
        return {}, said
    known: Mapping[str, Any] = content or {}
    return known, list(_problems(path, node))


def _loaded(text: str) -> tuple[yaml.Node | None, Any]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def _problems(path: Path, node: yaml.MappingNode) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        place, name = _place(path, key.start_mark), str(key.value)
        if name not in KEYS:
            hint = did_you_mean(name, KEYS) or "known are " + ", ".join(KEYS)
            yield f"{place}: the key '{name}' is unknown, {hint}"
        elif name in seen:
            yield f"{place}: the key '{name}' stands here twice; put both together"
        seen.add(name)


def _place(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)


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


class HubLocation(Struct, frozen=True, kw_only=True):
    """A hub's URL as it was written, and where relative paths in it start."""

    url: str
    base: Path


def locate(option: str | None = None, *, start: Path | None = None) -> HubLocation:
    """Find the hub that is meant, asking settings files from `start` (here) upwards.

    Raises NoHubError with the ways out, and HubUsageError for a settings file that cannot be read.
    """
    here = start or Path.cwd()
    for named in (option, os.environ.get(VARIABLE)):
        if named and named.strip():
            return HubLocation(url=named.strip(), base=here)
    for directory in _upwards(here):
        if found := _setting_in(directory):
            return HubLocation(url=found, base=directory)
    local = local_hub()
    if local.is_file():
        return HubLocation(url=str(local), base=local.parent)
    raise NoHubError(WAY_OUT)


def local_hub() -> Path:
    """Return the file that `hub init --local` makes, be it there or not."""
    return data_directory() / "hub.sqlite"


def pinned_id(start: Path) -> tuple[str, Path]:
    """Return the id that the nearest dogfood.yaml with a `hub:` pins, and that file; two empty values for none."""
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


def open_hub(option: str | None, *, readonly: bool = False, repository: Path | None = None) -> Hub:
    """Open the hub that is meant, unless `repository`, or here, pins another one; raises HubError."""
    hub = Hub.open(hub_url(option), readonly=readonly)
    try:
        pinned, where = pinned_id(repository or Path.cwd())
        hub.require_id(pinned, where=str(where))
    except BaseException:
        hub.close()
        raise
    return hub


def hub_url(option: str | None) -> URL:
    """Return the URL of the hub that is meant; raises HubError."""
    location = locate(option)
    return parse_url(location.url, base=location.base)
