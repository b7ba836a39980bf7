"""Which files of a checkout are workplans, and their reading; what cannot be read says why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pytest_dogfood.consistency.workplan import Document, parse
from pytest_dogfood.git.tracked_file import read_regular

_SUFFIX = ".md"
_NEVER = frozenset({".git", "node_modules"})


def read_workplans(root: Path, places: Sequence[str]) -> tuple[Document, ...]:
    """Read the workplans of a checkout, and what may have been meant as one, in the order of their paths.

    Each of `places` is a directory, of which every Markdown file is looked at, or a pattern such as
    `**/*-WP-*.md`. Patterns do not look into other repositories inside this one. Never raises: what cannot be
    read, a directory too, is a document that is `unreadable`.
    """
    found: dict[str, Document | None] = {}
    for place in places:
        found.update(_below(root, place.strip("/")) if is_directory(place) else _matching(root, place))
    read = (document or _read(root, path) for path, document in sorted(found.items()))
    return tuple(document for document in read if document.is_workplan or document.stray)


def is_directory(place: str) -> bool:
    """Tell a directory from a pattern; one without wildcards is a directory unless it names a Markdown file."""
    return not any(letter in place for letter in "*?[") and not place.endswith(_SUFFIX)


def _below(root: Path, directory: str) -> Iterator[tuple[str, Document | None]]:
    if (root / directory).is_dir():
        yield from _walk(root, directory, into_others=True)


def _matching(root: Path, pattern: str) -> Iterator[tuple[str, Document | None]]:
    wanted = pattern.split("/")
    for path, document in _walk(root, "", into_others=False):
        if document is None and _fits(path.split("/"), wanted):
            yield path, None


def _walk(root: Path, directory: str, *, into_others: bool) -> Iterator[tuple[str, Document | None]]:
    """Give each Markdown file, with forward slashes, and each directory that cannot be read."""
    trouble: list[OSError] = []
    for here, inner, names in os.walk(root / directory, onerror=trouble.append):
        relative = os.path.relpath(here, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        inner[:] = [
            name
            for name in sorted(inner)
            if name not in _NEVER and (into_others or not os.path.lexists(Path(here) / name / ".git"))
        ]
        yield from ((prefix + name, None) for name in names if name.endswith(_SUFFIX))
    for error in trouble:
        name = Path(error.filename or root).relative_to(root).as_posix()
        yield name, _unreadable(name, error)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _read(root: Path, path: str) -> Document:
    try:
        # A link is read like the file it names; only writing through it is out of the question.
        return parse(read_regular((root / path).resolve(strict=True)), path=path)
    except (OSError, RuntimeError) as error:
        return _unreadable(path, error)


def _unreadable(path: str, error: OSError | RuntimeError) -> Document:
    why = getattr(error, "strerror", None) or str(error)
    return Document(path=path, content=b"", is_workplan=True, unreadable=why)
