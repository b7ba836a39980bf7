"""One file's state in git, and its durable replacement."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from enum import StrEnum
from pathlib import Path, PurePosixPath

from msgspec import Struct

from pytest_dogfood.git.command import Git, GitError
from pytest_dogfood.git.work_tree import WorkTree


class FileState(StrEnum):
    """The states of a workplan file in its checkout."""

    CLEAN = "clean"
    MODIFIED = "modified"
    STAGED = "staged"
    UNTRACKED = "untracked"
    IGNORED = "ignored"
    CONFLICTED = "conflicted"
    HIDDEN = "hidden"  # assume-unchanged or skip-worktree is set
    SYMLINK = "symlink"
    NOT_A_FILE = "not_a_file"
    FOREIGN = "foreign"  # of a nested repository or a submodule


_PREFIX, _RANDOM, _SUFFIX = ".dogfood-writeback-", "[a-z0-9_]" * 8, "~"


class ChangedError(Exception):
    """The file has unexpected content; it is left as it is."""


def replace(path: Path, *, old: bytes, new: bytes) -> None:
    """Replace the content of a file by `new` if it is exactly `old`.

    Raises ChangedError if it is different, OSError if it cannot be written; then it is unchanged. Call it with the
    checkout locked: existing temporary files are those of processes that were killed.
    """
    with suppress(OSError):  # such files do no harm
        for left in path.parent.glob(f"{_PREFIX}{_RANDOM}{_SUFFIX}"):
            left.unlink()
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
    beside = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - the descriptor is ours already
            file.write(new)
            file.flush()
            like, mine = path.lstat(), os.fstat(descriptor)
            if (like.st_uid, like.st_gid) != (mine.st_uid, mine.st_gid):
                with suppress(OSError):  # only root may change the owner
                    os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            os.fsync(descriptor)
        # As late as possible: an editor may have saved the file since it was read.
        if read_regular(path) != old:
            raise ChangedError
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()
    with suppress(OSError):  # some file systems cannot, and the file is replaced already
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_EXECUTABLE = "100755"
_LINK = "160000"
_PLAIN = "H"  # the letter of `git ls-files -v` for a file that is not hidden
_CONFLICT = "M"
_LITERAL = "--literal-pathspecs"


class Version(Struct, frozen=True, kw_only=True):
    """One version of a file in git: its mode, and the id of its content."""

    mode: str
    oid: str


class FileStatus(Struct, frozen=True, kw_only=True):
    """A file's state in git.

    `unconverted` means that git stores this file's bytes unchanged although its attributes ask for a conversion of
    line ends: it does so for a file that was always stored that way.
    """

    state: FileState
    version: Version | None = None
    unconverted: bool = False


class GitFile:
    """A file of a checkout; `path` is relative to the registered directory, with forward slashes."""

    def __init__(self, git: Git, work_tree: WorkTree, path: str) -> None:
        self._git = git
        self._work_tree = work_tree
        self.path = path
        self.name = work_tree.prefix + path
        self.absolute_path = work_tree.top / self.name

    def obstacle(self) -> FileState | None:
        """Return why the file can never follow the hub, whatever its state in git; None if it can."""
        relative = PurePosixPath(self.path)
        if relative.is_absolute() or ".." in relative.parts:
            return FileState.FOREIGN
        base = self._work_tree.top / self._work_tree.prefix
        for above in [*reversed(relative.parents)][1:]:
            if (base / above).is_symlink():
                return FileState.SYMLINK
            if os.path.lexists(base / above / ".git"):
                return FileState.FOREIGN
        try:
            mode = self.absolute_path.lstat().st_mode
        except OSError:
            return None  # it is missing or inaccessible: to git it is modified
        if stat.S_ISLNK(mode):
            return FileState.SYMLINK
        return None if stat.S_ISREG(mode) else FileState.NOT_A_FILE

    def status(self, content: bytes | None = None) -> FileStatus:
        """Compare work tree, index and HEAD by content. `content` is that of the file, if it is known.

        Raises GitError if git cannot tell, for instance because a filter fails.
        """
        if (obstacle := self.obstacle()) is not None:
            return FileStatus(state=obstacle)
        if content is None:
            with suppress(OSError):
                content = read_regular(self.absolute_path)
        flag, index = self._in_index()
        if index is None:
            return FileStatus(state=self._without_index())
        if flag != _PLAIN:
            return FileStatus(state=FileState.CONFLICTED if flag == _CONFLICT else FileState.HIDDEN)
        if self.version_in("HEAD") != index:
            return FileStatus(state=FileState.STAGED)
        same = unconverted = False
        if content is not None:
            unconverted = self._kept_unconverted(content, index)
            same = (unconverted or self.oid(content) == index.oid) and self._mode_fits(index)
        state = FileState.CLEAN if same else FileState.MODIFIED
        return FileStatus(state=state, version=index, unconverted=unconverted)

    def version_in(self, commit: str) -> Version | None:
        """Return the file's version in a commit; None if it has none there."""
        return self._tree(commit, self.name).get(self.name)

    def oid(self, content: bytes, *, unconverted: bool = False) -> str:
        """Return the object id that git would give this content."""
        how = "--no-filters" if unconverted else f"--path={self.name}"
        answer = self._git.read("hash-object", how, "--stdin", stdin=content)
        if not answer.ok:
            raise GitError(f"git hash-object failed for {self.path}: {answer.error_text()}")
        return answer.text

    def update_index(self, before: Version, after: Version) -> None:
        """Set the file's version in the index to `after` if it still is `before`, and change nothing else."""
        if self._in_index()[1] == before:
            line = os.fsencode(f"{after.mode} {after.oid}\t{self.name}\0")
            self._git.write("update-index", "-z", "--index-info", stdin=line)

    def _in_index(self) -> tuple[str, Version | None]:
        """Return the file's flag in the index, and its version."""
        answer = self._git.read(_LITERAL, "ls-files", "-z", "-s", "-v", "--", self.name)
        if not answer.ok:
            raise GitError(f"git ls-files failed for {self.path}: {answer.error_text()}")
        for record in answer.records:
            entry, _, name = record.partition("\t")
            flag, mode, oid, stage = entry.split(" ")
            if name == self.name:
                return flag if stage == "0" else _CONFLICT, Version(mode=mode, oid=oid)
        return "", None

    def _without_index(self) -> FileState:
        above = [os.fspath(each) for each in PurePosixPath(self.name).parents][:-1]
        if above and any(each.mode == _LINK for each in self._tree("HEAD", *above).values()):
            return FileState.FOREIGN
        answer = self._git.read("check-ignore", "-z", "--stdin", stdin=os.fsencode(f"{self.name}\0"))
        return FileState.IGNORED if answer.ok else FileState.UNTRACKED

    def _tree(self, commit: str, *names: str) -> dict[str, Version]:
        answer = self._git.read(_LITERAL, "ls-tree", "--full-tree", "-z", commit, "--", *names)
        found = {}
        for record in answer.records if answer.ok else ():
            entry, _, name = record.partition("\t")
            mode, _, oid = entry.split(" ")
            found[name] = Version(mode=mode, oid=oid)
        return found

    def _mode_fits(self, index: Version) -> bool:
        if self._git.read("config", "--type=bool", "--get", "core.fileMode").text == "false":
            return True
        executable = bool(self.absolute_path.lstat().st_mode & stat.S_IXUSR)
        return executable == (index.mode == _EXECUTABLE)

    def _kept_unconverted(self, content: bytes, index: Version) -> bool:
        """Return whether git keeps CRLF in the file because conversion is automatic and the stored file has CRLF."""
        if b"\r\n" not in content or self.oid(content, unconverted=True) != index.oid:
            return False
        asked = ("text", "crlf", "eol", "ident", "filter", "working-tree-encoding")
        answer = self._git.read("check-attr", "-z", *asked, "--", self.name)
        values = dict(zip(answer.records[1::3], answer.records[2::3], strict=True)) if answer.ok else {}
        others = {values.get(name, "unspecified") for name in ("crlf", "ident", "filter", asked[-1])}
        if others - {"unspecified", "unset"}:
            return False
        text = values.get("text", "unspecified")
        return text in {"auto", "unset"} or (text == values.get("eol", text) == "unspecified")


def read_regular(path: Path) -> bytes:
    """Read a regular file, without following a link or waiting for a pipe; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - the descriptor carries the flags
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read()
