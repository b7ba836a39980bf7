"""Finds files that look like journeys and that nothing collects because of their names or directories."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pytest_dogfood.collection.discovery import (
    declares_journeys,
    files_below,
    id_of_only_journey,
    is_below,
    is_journey_file,
)
from pytest_dogfood.collection.project import Project, read_file
from pytest_dogfood.diagnostics import Diagnostic, InvalidProjectError, Location, errors_among, warning
from pytest_dogfood.settings import DATA_FILES, SETTINGS_FILE

_FOREIGN = (
    *(".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__"),
    *("*.egg", ".*cache*", ".bzr", "CVS", "_darcs", "{arch}"),
)
"""Directories whose files come only from other programs."""

_OUTPUT = ("build", "dist")
"""Directories into which programs also write files, often copies."""

_NO_PATTERN = "its name matches no pattern of dogfood_files"
_JOURNEY_IN_NAME = re.compile(r"[-_. ]?journeys?$", re.IGNORECASE)
_HEADER = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*?[ \t]*#[ \t]+dogfood:")
_HEADER_BYTES = 16 * 1024
_MEANT_AS_SETTINGS = tuple(
    f"{dot}dogfood{ending}"
    for dot in ("", ".")
    for ending in DATA_FILES
    if f"{dot}dogfood{ending}" != SETTINGS_FILE
)
"""Wrong names of a settings file."""
_SHELL_FILES = (".sh", ".bash", ".zsh", ".ksh", ".dash")


def uncollected_files(
    project: Project,
    patterns: tuple[str, ...],
    *,
    collected: Collection[Path],
    not_entered: Collection[str],
    by_testpaths: bool,
) -> Iterator[Diagnostic]:
    """Warn of each file that looks like a journey and is not among the `collected` files.

    The search covers the paths that the user has named; if pytest uses testpaths (`by_testpaths`), the whole rootdir.
    `not_entered` is pytest's norecursedirs.
    """
    left_out: list[Path] = []
    warnings = _FileWarnings(project, patterns)

    def is_ignored(path: Path) -> bool:
        ignored = project.is_ignored(path)
        if ignored and any(fnmatch(path.name, name) for name in not_entered) and path.is_dir():
            left_out.append(path)
        return ignored

    for start in (project.rootdir,) if by_testpaths else project.named:
        for path in files_below(start, ("*",), is_ignored):
            # With the right name, in a path that was named, it was read: its errors are reported elsewhere.
            was_read = path in collected or (not by_testpaths and is_journey_file(path, patterns))
            if not was_read and path.name != SETTINGS_FILE:
                yield from warnings.where_pytest_searches(path)
    names = {path.name for path in collected}
    for directory in left_out:
        for path in _files_in(directory):
            is_copy = path.name in names or not is_journey_file(path, patterns)
            if directory.name not in _OUTPUT or not is_copy:
                yield from warnings.in_directory_not_entered(path, directory)


def refusal(project: Project, errors: Iterable[Diagnostic]) -> pytest.UsageError:
    """Return the error that refuses an invalid project, with the misnamed settings files that may be the cause."""
    return pytest.UsageError(f"\n{InvalidProjectError([*errors, *misnamed_settings(project)])}")


def misnamed_settings(project: Project) -> Iterator[Diagnostic]:
    """Warn of settings files with a wrong name, which nothing reads, above the files read of the project."""
    warnings = _FileWarnings(project, ())
    places = (place for here in project.directories for place in (here, *here.parents))
    above = (place for place in places if is_below(place, [project.rootdir]))
    for directory in dict.fromkeys([project.rootdir, *above]):
        found = (directory / name for name in _MEANT_AS_SETTINGS)
        yield from (warnings.as_settings(path) for path in found if path.is_file())


class _FileWarnings:
    """Warns of files that look like journey files. Each new name is suggested once: two files cannot share one."""

    def __init__(self, project: Project, patterns: tuple[str, ...]) -> None:
        self._project = project
        self._patterns = patterns
        self._proposed: dict[Path, Path] = {}

    def where_pytest_searches(self, path: Path) -> Iterator[Diagnostic]:
        if path.name in _MEANT_AS_SETTINGS:
            yield self.as_settings(path)
        elif is_journey_file(path, self._patterns):
            if not is_below(path, self._project.roots):
                places = ", ".join(map(self._project.name_of, self._project.roots))
                where = self._project.name_of(path.parent)
                why = f"nothing collects this journey file: it lies outside of testpaths ({places})"
                cure = f"add {where!r} to testpaths in pytest's ini file, or name it: dogfood check {where}"
                yield self._warning(path, why, cure)
        elif _is_ours(path, self._patterns):
            why = f"nothing collects this file, which looks like a journey: {_NO_PATTERN}"
            yield self._warning(path, why, self._cure_of_name(path))

    def in_directory_not_entered(self, path: Path, directory: Path) -> Iterator[Diagnostic]:
        move = "move it, or set norecursedirs in pytest's ini file without the pattern that matches"
        why = f"pytest does not enter {directory.name!r} (norecursedirs)"
        if is_journey_file(path, self._patterns):
            yield self._warning(path, f"nothing collects this journey file: {why}", move)
        elif path.name not in _MEANT_AS_SETTINGS and _is_ours(path, self._patterns):
            why = f"nothing collects this file, which looks like a journey: {why}, and {_NO_PATTERN}"
            yield self._warning(path, why, f"{self._cure_of_name(path)}; and {move}")

    def as_settings(self, path: Path) -> Diagnostic:
        cure = f"rename it to {SETTINGS_FILE!r}"
        if taken := self._why_taken(path, SETTINGS_FILE):
            cure = f"{taken}: move what this file sets into that one, and delete this file"
        return self._warning(path, f"nothing reads this file: settings are read from {SETTINGS_FILE}", cure)

    def _warning(self, path: Path, why: str, cure: str) -> Diagnostic:
        return warning(Location(self._project.name_of(path)), "not-collected", why, cure)

    def _cure_of_name(self, path: Path) -> str:
        meant = _meant_name(path)
        wanted = self._nearest(meant, meant.suffix if meant.suffix in DATA_FILES else ".sh")
        patterns = ", ".join(self._patterns)
        if not wanted:
            return f"rename it so that it matches one of {patterns}, or add a pattern"
        if taken := self._why_taken(path, wanted):
            return f"{taken}: give this file another name that matches one of {patterns}"
        return f"rename it to {wanted!r}"

    def _why_taken(self, path: Path, name: str) -> str:
        """Reserve a name for a file that should be renamed; return why it is not free, or nothing."""
        target = path.with_name(name)
        if os.path.lexists(target):
            return f"{name!r} exists already"
        other = self._proposed.setdefault(target, path)
        return "" if other == path else f"{name!r} is the new name for {other.name!r}"

    def _nearest(self, path: Path, ending: str) -> str:
        """Return the name nearest to a file's own that a pattern matches; empty if no pattern has its ending."""
        known = [pattern for pattern in self._patterns if pattern.endswith(ending)]
        stem = _JOURNEY_IN_NAME.sub("", path.name.removesuffix(path.suffix) if path.suffix else path.name)
        if not stem:
            return next((pattern for pattern in known if not set("*?[") & set(pattern)), "")
        endings = (pattern[1:] for pattern in known if pattern.startswith("*"))
        return next((f"{stem}{rest}" for rest in endings if not set("*?[") & set(rest)), "")


def _is_ours(path: Path, patterns: tuple[str, ...]) -> bool:
    """Return whether a file looks like a journey file, and not like one of another tool.

    A script does by its name, or by the comment that it begins with. Data files are read, because those of other tools
    may have `steps:` too.
    """
    meant = _meant_name(path)
    if path.suffix.lower() == ".txt" and not is_journey_file(meant.with_name(meant.name.lower()), patterns):
        return False
    says_journey = "journey" in path.name.lower()
    if meant.suffix in DATA_FILES:
        if not declares_journeys(path, meant.suffix):
            return False
        stem = id_of_only_journey(meant, patterns)
        read = read_file(path, name=meant.name, stem=stem, defaults=None)
        has_list = any(journey.id != stem for journey in read.journeys)
        return has_list or says_journey or not errors_among(read.diagnostics)
    try:
        with path.open("rb") as file:
            if file.read(2) != b"#!" and meant.suffix not in _SHELL_FILES:
                return False
            file.seek(0)
            begin = file.read(_HEADER_BYTES)
    except OSError:
        return False
    return (
        ".journey." in path.name.lower()
        or _HEADER.match(begin) is not None
        or (meant.suffix == ".sh" and declares_journeys(path))
    )


def _meant_name(path: Path) -> Path:
    """Return the path with the ending that was probably meant: without `.txt`, and in lower case."""
    name = path.name[:-4] if path.suffix.lower() == ".txt" else path.name
    ending = Path(name).suffix
    return path.with_name(name.removesuffix(ending) + ending.lower())


def _files_in(directory: Path) -> Iterator[Path]:
    """Yield the files in a directory that pytest does not enter, three levels down at most: it may be large."""

    def is_left_out(path: Path) -> bool:
        return path.is_dir() and (len(path.relative_to(directory).parts) > 3 or _is_foreign(path))

    if not _is_foreign(directory):
        yield from files_below(directory, ("*",), is_left_out)


def _is_foreign(directory: Path) -> bool:
    return any(fnmatch(directory.name, name) for name in _FOREIGN) or (directory / "pyvenv.cfg").exists()
