"""The project's files, each read once, with the settings files that apply to it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_dogfood.check.errors import diagnose, diagnose_ids, unknown_tokens
from pytest_dogfood.collection.discovery import (
    Ignored,
    can_be_named,
    declares_journeys,
    files_below,
    id_of_only_journey,
    is_below,
    is_journey_file,
    settings_files_above,
    tokens_mentioned,
)
from pytest_dogfood.collection.source_marks import has_marks, is_test_file, offered_in
from pytest_dogfood.diagnostics import Diagnostic, Location, error, errors_among, in_order_of_place, nearest
from pytest_dogfood.graph import CapabilityGraph, HasActor
from pytest_dogfood.journey import Capability, Journey, Pool, Token, base_of, means_every_instance
from pytest_dogfood.outcomes import listed
from pytest_dogfood.settings import SETTINGS_FILE, is_script
from pytest_dogfood.walks import collector_paused

if TYPE_CHECKING:
    from pytest_dogfood.fileformat.parser import Defaults, ParsedFile
    from pytest_dogfood.scheduling.pinned_plan import Added


def read_file(path: Path, *, name: str, stem: str = "", defaults: Defaults | None) -> ParsedFile:
    """Read a journey file, or a settings file if no `stem` is given, which is the id of a file's only journey.

    `name` is the file's name in diagnostics.
    """
    # A suite without journey files does not need the parser.
    from pytest_dogfood.fileformat import parser

    content = _content(path, name)
    if isinstance(content, Diagnostic):
        return parser.ParsedFile(path=name, diagnostics=(content,))
    defaults = defaults or parser.Defaults()
    if not stem:
        return parser.parse_settings_file(content, path=name, defaults=defaults)
    parsed = parser.parse_journey_file(content, path=name, stem=stem, defaults=defaults)
    if is_script(name) and not os.access(path, os.X_OK):
        message = "the script is not executable, so it is not a journey"
        found = error(Location(name), "not-executable", message, f"chmod +x {shlex.quote(name)}")
        parsed = replace(parsed, diagnostics=in_order_of_place((found, *parsed.diagnostics)))
    return parsed


def _content(path: Path, name: str) -> bytes | Diagnostic:
    from pytest_dogfood.fileformat.parser import MAX_BYTES

    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            code, message = "unreadable", "cannot be read: it is not a regular file"
            hint = "give it another name, or remove it"
        elif status.st_size > MAX_BYTES:
            code, message = "too-large", f"the file has {status.st_size} bytes; at most {MAX_BYTES} are read"
            script = "move most of it into a file that a small script calls"
            hint = script if is_script(name) else "split it into several journey files"
        else:
            return path.read_bytes()
    except OSError as problem:
        code, message = "unreadable", f"cannot be read: {problem.strerror}"
        hint = "check that it exists and that you may read it"
    return error(Location(name), code, message, hint)


class Project:
    """Reads files on demand and remembers them. `roots` are the directories of the whole project.

    `has_actor` tells whether a journey has an actor for its steps without a command. `named` are the paths that the
    user has given to pytest; the rest of the project still belongs to the graph. `added` are declarations that no file
    has yet.
    """

    def __init__(
        self,
        rootdir: Path,
        patterns: tuple[str, ...],
        roots: tuple[Path, ...],
        ignored: Ignored,
        has_actor: HasActor | None = None,
        *,
        named: tuple[Path, ...] = (),
        added: tuple[Added, ...] = (),
    ) -> None:
        self._added = added
        self._has_actor = has_actor
        self.named = named
        self.rootdir = rootdir
        self._patterns = patterns
        self.roots = roots
        self.is_ignored = ignored
        self._files: dict[Path, ParsedFile] = {}
        self._settings: dict[Path, ParsedFile] = {}
        self._findings: list[Diagnostic] = []
        self._whole = self._all_settings = False
        self._graph: CapabilityGraph | None = None
        self._parts: tuple[object, ...] = ()
        self._diagnosed: tuple[CapabilityGraph, bool, set[Token]] | None = None
        self._answered: dict[object, set[Token]] = {}
        self._found_in_graph: tuple[Diagnostic, ...] = ()
        self._above: dict[Path, Defaults | None] = {}

    @property
    def is_named_in_part(self) -> bool:
        """Whether the user has named paths that leave out part of the project."""
        return bool(self.named) and not all(is_below(root, self.named) for root in self.roots)

    def read(self, path: Path) -> ParsedFile:
        """Read a journey file, and the settings files above it; mistakes are in its diagnostics."""
        if path not in self._files:
            if not path.is_relative_to(self.rootdir):
                # pytest gives it no unique node id.
                message = f"lies outside of pytest's rootdir {self.rootdir}"
                hint = "run pytest from the project that it belongs to, or name a --rootdir above both"
                self.add_finding(error(Location(path.as_posix()), "outside-rootdir", message, hint))
            defaults = self.read_settings_above(path)
            stem = id_of_only_journey(path, self._patterns)
            found = read_file(path, name=self.name_of(path), stem=stem, defaults=defaults)
            self._files[path] = (
                replace(found, journeys=tuple(map(self.completed, found.journeys))) if self._added else found
            )
        return self._files[path]

    def completed(self, journey: Journey) -> Journey:
        """Return a journey with the declarations that were added to it."""
        if not self._added:
            return journey
        from pytest_dogfood.scheduling.pinned_plan import with_added  # few runs need it

        return with_added(journey, self._added)

    def read_settings_above(self, path: Path) -> Defaults | None:
        """Read the settings files that apply to a path; return the nearest one's defaults, merged."""
        if path.parent in self._above:
            return self._above[path.parent]
        defaults: Defaults | None = None
        for settings in settings_files_above(path, self.rootdir, SETTINGS_FILE):
            if settings not in self._settings:
                name = self.name_of(settings)
                self._settings[settings] = read_file(settings, name=name, defaults=defaults)
            defaults = self._settings[settings].defaults
        self._above[path.parent] = defaults
        return defaults

    def read_below(self, paths: Iterable[Path]) -> None:
        """Read every journey file at or below the paths.

        A path may be a file whose name matches no pattern. It is read if its text is that of a journey file; else
        another plugin may collect it.
        """
        with collector_paused():
            for start in paths:
                for path in files_below(start, self._patterns, self.is_ignored):
                    ours = is_journey_file(path, self._patterns)
                    if ours or (can_be_named(path) and declares_journeys(path)):
                        self.read(path)

    def read_whole(self) -> None:
        """Read every journey file of the project."""
        if not self._whole:
            self._whole = True
            self.read_below(self.roots)
            self._read_all_settings()

    def _read_all_settings(self) -> None:
        self._all_settings = True
        with collector_paused():
            for root in self.roots:
                for path in files_below(root, (SETTINGS_FILE,), self.is_ignored):
                    self.read_settings_above(path)

    def named_journeys(self) -> tuple[Journey, ...]:
        """Return the journeys of the files that the user has named, once they have been read."""
        named = (file for path, file in self._files.items() if is_below(path, self.named))
        return tuple(journey for file in named for journey in file.journeys)

    def journeys_not_found(self, arguments: Iterable[str], directory: Path) -> Iterator[str]:
        """Yield an error for each node id that names no journey of a file that was read, with the nearest name.

        pytest gives no hint, and the error of an xdist worker is lost.
        """
        for argument in arguments:
            typed, colons, name = argument.partition("::")
            path = Path(os.path.normpath(directory / typed))
            journeys = self._files[path].journeys if path in self._files else ()
            names = [journey.nodeid.partition("::")[2] for journey in journeys]
            known = {
                *names,
                *(name.partition("[")[0] for name in names),
            }  # a matrix has instances, and a base
            if colons and known and name not in known:
                near = nearest(name, known)
                hint = f"did you mean {f'{typed}::{near}'!r}?" if near else f"the file has {listed(names)}"
                yield f"not found: {path}::{name}\n    hint: {hint}"

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories of the files read so far, each once."""
        return tuple(self._above)

    @property
    def files(self) -> tuple[ParsedFile, ...]:
        """All files read so far, in the order of paths, settings files included."""
        read = {**self._settings, **self._files}
        return tuple(read[path] for path in sorted(read))

    @property
    def journeys(self) -> tuple[Journey, ...]:
        return tuple(journey for file in self.files for journey in file.journeys)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        return tuple(capability for file in self.files for capability in file.capabilities)

    @property
    def pools(self) -> tuple[Pool, ...]:
        return tuple(pool for file in self.files for pool in file.pools)

    def graph(
        self,
        tests: Sequence[Journey] = (),
        fixtures: Mapping[Token, str] | None = None,
        scopes: Mapping[Token, str] | None = None,
    ) -> CapabilityGraph:
        """Return the graph of the files read so far and of Python tests; read more files if a token is missing.

        `fixtures` and `scopes` name the fixture that provides a token, and its scope.
        """
        pools = {pool.name for pool in self.pools}
        locks = [one.locks for one in self.journeys] + [one.locks for one in self.capabilities]
        if not self._all_settings and not all(map(pools.issuperset, locks)):
            self._read_all_settings()  # the pool of a lock may be defined anywhere in the project
        parts = ((*self.journeys, *tests), self.capabilities, fixtures or {}, scopes or {}, self.pools)
        if self._graph is None or parts != self._parts:
            graph = CapabilityGraph(
                *parts[:3], fixture_scopes=parts[3], pools=parts[4], has_actor=self._has_actor
            )
            # Files that were not read may define more about the tokens of a journey.
            more = self.is_named_in_part and any(_named_by(graph, one) for one in graph.journeys.values())
            if not self._whole and (more or _is_incomplete(graph)):
                self.read_whole()
                return self.graph(tests, fixtures, scopes)
            self._graph, self._parts = graph, parts
        return self._graph

    def add_finding(self, finding: Diagnostic) -> None:
        """Add a finding on a journey of the project from another module."""
        self._findings.append(finding)

    def known_tokens(self, wanted: Token) -> set[Token]:
        """Return the tokens that files of the project provide or define, Python files as far as their text shows.

        `wanted` is among them if any file provides or defines it; more files are read until it is found.
        """
        if not self.graph().is_known(wanted):
            self.read_whole()
        graph = self.graph()
        further = [wanted] if graph.is_known(wanted) else offered_in(self._python_files(), [wanted])
        return {*graph.tokens, *further}

    def diagnose(
        self,
        graph: CapabilityGraph,
        *,
        collected: Collection[Path] = (),
        patterns: Sequence[str] = ("*.py",),
        provided: Collection[Token] = (),
    ) -> tuple[Diagnostic, ...]:
        """Return every mistake in the files that were read and in their graph.

        The tests and fixtures of `collected` files are in the graph. Other Python files whose names match `patterns`
        may still provide a token. `provided` has the tokens of fixtures that are known before the collection.
        """
        found = [diagnostic for file in self.files for diagnostic in file.diagnostics]
        found += self._findings
        found += diagnose_ids(self.journeys, self.capabilities, self.pools)
        complete = not errors_among(found)  # the contents of an invalid file are missing from the graph
        elsewhere = set(provided)
        if complete:
            elsewhere |= self._given_elsewhere(graph, collected, patterns)
        # Once per graph: without Python tests it is the same before and after the collection.
        if self._diagnosed != (graph, complete, elsewhere):
            self._found_in_graph = diagnose(graph, elsewhere=elsewhere, complete=complete)
            self._diagnosed = (graph, complete, elsewhere)
        return in_order_of_place([*found, *self._found_in_graph])

    def _given_elsewhere(
        self, graph: CapabilityGraph, collected: Collection[Path], patterns: Sequence[str]
    ) -> set[Token]:
        """Return the tokens without a source in the graph that uncollected Python files may provide."""
        given = {base_of(token) for token in (*graph.establishers, *graph.fixtures)}
        doubtful = {
            one.token: one.location
            for one in graph.capabilities.values()
            if one.is_empty and one.token not in given
        }
        doubtful |= {token: location for _, token, location in unknown_tokens(graph)}
        read = frozenset(path for path in collected if path.suffix == ".py")
        question = (frozenset(doubtful), read, tuple(patterns))
        if doubtful and question not in self._answered:
            # A file named on the command line may lie outside testpaths, with Python files next to it.
            nearby = [(self.rootdir / location.path).parent for location in doubtful.values()]
            others = (path for path in self._python_files(nearby) if path not in read)
            files = (path for path in others if is_test_file(path, patterns))
            self._answered[question] = offered_in(files, doubtful)
        return self._answered.get(question, set())

    def _python_files(self, nearby: Iterable[Path] = ()) -> Iterator[Path]:
        """Yield the Python files in the project's roots or `nearby`, each once."""
        seen: set[Path] = set()
        for root in dict.fromkeys((*self.roots, *nearby)):
            for path in files_below(root, ("*.py",), self.is_ignored_directory):
                if path not in seen:
                    seen.add(path)
                    yield path

    def mentioned_in_python(self, tokens: Iterable[Token]) -> set[Token]:
        """Return those tokens that a Python file in the project's roots names."""
        return {Token(token) for token in tokens_mentioned(self._python_files(), tokens)}

    def files_with_marked_tests(self) -> tuple[Path, ...]:
        """Return the Python files with this plugin's marks, in the project or in the directories that were named."""
        roots = self.named or self.roots
        files = (path for path in self._python_files() if is_below(path, roots) and path not in roots)
        return tuple(path for path in files if has_marks(path))

    def is_ignored_directory(self, path: Path) -> bool:
        """Return whether a path is an ignored directory; a file that only this run leaves out (--ignore) is not."""
        return path.is_dir() and self.is_ignored(path)

    def name_of(self, path: Path) -> str:
        """Return a file's name in diagnostics: its path from the rootdir, if it lies below."""
        return (
            path.relative_to(self.rootdir).as_posix()
            if path.is_relative_to(self.rootdir)
            else path.as_posix()
        )


def _is_incomplete(graph: CapabilityGraph) -> bool:
    """Return whether a needed or defined token has no source in the files read so far."""
    needed = (
        *(token for journey in graph.journeys.values() for token in _named_by(graph, journey)),
        *(token for one in graph.capabilities.values() for token in (*one.requires, *one.invalidates)),
        *(token for token, one in graph.capabilities.items() if one.is_empty),
    )
    return any(
        (means_every_instance(token) and not graph.instances_of(token))
        or (token not in graph.establishers and not graph.has_independent_provider(token))
        for token in dict.fromkeys(needed)
        if not (graph.capability(token) is not None and base_of(token) in graph.fixtures)
    )


def _named_by(graph: CapabilityGraph, journey: Journey) -> tuple[Token, ...]:
    return (*graph.needed_by(journey), *journey.requires, *journey.invalidates)
