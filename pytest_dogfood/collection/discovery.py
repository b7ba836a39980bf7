"""Finds journey files; all searches use these functions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from pytest_dogfood.settings import DATA_FILES, SETTINGS_FILE

NAMED_FILES = (*DATA_FILES, ".sh")
"""Endings of files that can be journey files only because the user names them."""

OUR_TOP_KEYS = frozenset({"journeys", "steps"})
_TOP_KEY = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?(?:journeys|steps)[\"']?[ \t]*:(?:\s|$)", re.MULTILINE)
_SCRIPT_HEADER = re.compile(rb"^#+[ \t]*dogfood:", re.MULTILINE)
_MOST_READ = 4 * 1024 * 1024
"""Bytes. No journey file is longer, and other files need not be read further."""

Ignored = Callable[[Path], bool]
"""Tells whether pytest would leave a file or a directory out of its collection."""


def is_journey_file(path: Path, patterns: Iterable[str]) -> bool:
    """Return whether the file's name says that it holds journeys."""
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def can_be_named(path: Path) -> bool:
    """Return whether the user may name a file as a journey file although its name matches no pattern."""
    return path.suffix in NAMED_FILES and path.name != SETTINGS_FILE


def declares_journeys(path: Path, ending: str = "") -> bool:
    """Return whether a file's text is that of a journey file: `journeys` or `steps` at its top, or `# dogfood:` lines.

    It is not if the file cannot be read. `ending` replaces that of the file's name.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_READ)
    except OSError:
        return False
    if (ending or path.suffix) not in DATA_FILES:
        return _SCRIPT_HEADER.search(content) is not None
    if not content.lstrip().startswith(b"{"):
        return _TOP_KEY.search(content) is not None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        import yaml

        try:
            found = yaml.safe_load(content)
        except (ValueError, RecursionError, yaml.YAMLError):
            return False
    # What `dogfood merge --json` writes has `journeys`, too.
    return isinstance(found, dict) and not OUR_TOP_KEYS.isdisjoint(found) and "exit_status" not in found


def id_of_only_journey(path: Path, patterns: Iterable[str]) -> str:
    """Return the id of a file's only journey: the file's name without the suffix that a pattern has."""
    for pattern in patterns:
        suffix = pattern.lstrip("*")
        if suffix != pattern and path.name.endswith(suffix) and path.name != suffix:
            return path.name.removesuffix(suffix)
    return path.stem


def files_below(start: Path, patterns: Iterable[str], ignored: Ignored) -> Iterator[Path]:
    """Yield the matching files below a directory in the order of names, or `start` itself if it is a file.

    Follow symbolic links to directories as pytest does, but enter no directory twice.
    """
    wanted = tuple(patterns)
    if start.is_file():
        yield start
        return
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        directory = waiting.pop()
        real = directory.resolve()
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue  # pytest's own collection reports directories that it cannot enter
        below: list[Path] = []
        for entry in entries:
            path = Path(entry.path)
            if _is_directory(entry):
                if entry.name != "__pycache__" and not ignored(path):
                    below.append(path)
            elif is_journey_file(path, wanted) and not ignored(path):
                yield path
        waiting.extend(reversed(below))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link that leads to itself; as a journey file it is reported when it is read
        return False


def named_on_command_line(arguments: Iterable[str], directory: Path) -> Iterator[Path]:
    """Yield the existing paths among pytest's arguments, without the rest of node ids."""
    for argument in arguments:
        path = directory / argument.split("::", maxsplit=1)[0]
        if path.exists():
            yield Path(os.path.normpath(path))


def is_below(path: Path, places: Collection[Path]) -> bool:
    """Return whether a path is one of the places, or lies below one."""
    return any(place == path or place in path.parents for place in places)


def settings_files_above(path: Path, rootdir: Path, name: str) -> Iterator[Path]:
    """Yield the settings files that apply to `path`, the outermost first."""
    parents = [parent for parent in path.parents if parent == rootdir or rootdir in parent.parents]
    for parent in reversed(parents):
        if (parent / name).is_file():
            yield parent / name


def tokens_mentioned(files: Iterable[Path], tokens: Iterable[str]) -> set[str]:
    """Return those tokens whose names appear in quotes in a Python file, which may establish or provide them."""
    missing = set(tokens)
    found: set[str] = set()
    for file in files:
        if not missing:
            break
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        here = {token for token in missing if f'"{token}' in text or f"'{token}" in text}
        found |= here
        missing -= here
    return found
