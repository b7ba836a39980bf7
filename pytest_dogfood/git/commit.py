"""Writes one file, commits it alone, and checks the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date
from enum import StrEnum

from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.command import QUIET
from pytest_dogfood.git.repository import Repository
from pytest_dogfood.git.tracked_file import ChangedError, FileState, Version, read_regular, replace


class EditRefusedError(ValueError):
    """The file cannot be edited safely, and is not written."""

    def __init__(self, path: str, reason: str, *, task_id: str = "") -> None:
        super().__init__(f"{path}: {task_id}: {reason}" if task_id else f"{path}: {reason}")
        self.task_id = task_id


_COMMIT = (
    *("--literal-pathspecs", "-c", "i18n.commitEncoding=UTF-8", *QUIET),
    *("commit", "--only", "--quiet", "--cleanup=whitespace", "-F", "-"),
)


class Signing(StrEnum):
    INHERIT = "inherit"
    NEVER = "never"


class CommitOptions(Struct, frozen=True, kw_only=True):
    """The project's settings for commits that are made for it."""

    no_verify: bool = False
    sign: Signing = Signing.INHERIT

    @property
    def arguments(self) -> tuple[str, ...]:
        verify = ("--no-verify",) if self.no_verify else ()
        return (*verify, "--no-gpg-sign") if self.sign is Signing.NEVER else verify


DEFAULT_OPTIONS = CommitOptions()


class StatusChange(Struct, frozen=True, kw_only=True):
    """One task whose status a commit updates."""

    task_id: str
    old: str
    new: str


def sync_message(changes: Iterable[StatusChange], today: date) -> str:
    """Return the message of a commit that makes a file follow the hub; `today` is the date in UTC."""
    lines = [f"- {change.task_id}: {change.old} → {change.new}" for change in changes]
    first = "chore(consistency): sync task status from DB [auto]"
    return "\n".join([first, "", f"Updated by fix-consistency on {today.isoformat()}:", *lines, ""])


class Reason(StrEnum):
    """Why a writeback failed."""

    CHANGED = "changed"
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    STATE = "state"
    HEAD_MOVED = "head_moved"
    NOT_WRITTEN = "not_written"
    COMMIT_FAILED = "commit_failed"
    TIMED_OUT = "timed_out"
    NOT_AS_INTENDED = "not_as_intended"


class WritebackRequest(Struct, frozen=True, kw_only=True):
    """One file, the bytes that were parsed, the edit that returns the new ones, and the commit that was checked out.

    `edit` may raise EditRefusedError. `path` is relative to the registered directory.
    """

    path: str
    parsed: bytes
    edit: Callable[[], bytes]
    message: str
    head: str


class WritebackResult(Struct, frozen=True, kw_only=True):
    """The outcome of a request. `commit` is the new commit that is checked out now, if there is one, else empty.

    `reason` is None if the writeback succeeded; then, without a `commit`, there was nothing to do.
    """

    commit: str = ""
    reason: Reason | None = None
    state: FileState = FileState.CLEAN
    detail: str = ""
    restored: bool = False

    @property
    def ok(self) -> bool:
        return self.reason is None


def write_back(
    repository: Repository, request: WritebackRequest, *, options: CommitOptions = DEFAULT_OPTIONS
) -> WritebackResult:
    """Change one file and commit it, or leave everything as it was; never raises for errors of files or git.

    Only exceptions from outside, such as KeyboardInterrupt, are raised, after the file has been restored.
    """
    try:
        return _Writeback(repository, request, options).result()
    except _NotWrittenError as stopped:
        return stopped.result
    except HarnessError as error:
        return WritebackResult(reason=Reason.UNREADABLE, detail=str(error))


class _NotWrittenError(Exception):
    def __init__(self, reason: Reason, detail: str = "", *, state: FileState = FileState.CLEAN) -> None:
        super().__init__(reason)
        self.result = WritebackResult(reason=reason, detail=detail, state=state)


class _Writeback:
    def __init__(self, repository: Repository, request: WritebackRequest, options: CommitOptions) -> None:
        self._repository = repository
        self._request = request
        self._options = options
        self._file = repository.file(request.path)

    def result(self) -> WritebackResult:
        file, request = self._file, self._request
        if (obstacle := file.obstacle()) is not None:
            raise _NotWrittenError(Reason.STATE, state=obstacle)
        try:
            if read_regular(file.absolute_path) != request.parsed:
                raise _NotWrittenError(Reason.CHANGED, "run fix again")
            new = request.edit()
        except OSError as error:
            raise _NotWrittenError(Reason.UNREADABLE, str(error)) from error
        except EditRefusedError as error:
            raise _NotWrittenError(Reason.REFUSED, str(error)) from error
        if new == request.parsed:
            return WritebackResult()
        before, after = self._versions(new)
        try:
            replace(file.absolute_path, old=request.parsed, new=new)
        except ChangedError:
            raise _NotWrittenError(Reason.CHANGED, "run fix again") from None
        except OSError as error:
            raise _NotWrittenError(Reason.NOT_WRITTEN, str(error)) from error
        try:
            return self._committed(new, before, after)
        except HarnessError as error:
            said = self._restore_unless_committed(new, after)
            detail = f"{error}\n{said}".rstrip()
            return WritebackResult(reason=Reason.COMMIT_FAILED, detail=detail, restored=not said)
        except BaseException:
            # The commit may have been made nevertheless; then the file is correct.
            self._restore_unless_committed(new, after)
            raise

    def _versions(self, new: bytes) -> tuple[Version, Version]:
        """Return the file's present version in git and the new one, if the file may be written."""
        found = self._file.status(self._request.parsed)
        if found.state is not FileState.CLEAN:
            raise _NotWrittenError(Reason.STATE, state=found.state)
        if self._repository.head() != self._request.head:
            raise _NotWrittenError(Reason.HEAD_MOVED, "run fix again")
        before = found.version
        oid = self._file.oid(new, unconverted=found.unconverted)
        if before is None or oid == before.oid:
            raise _NotWrittenError(
                Reason.REFUSED, "a git filter removes the change, so there is nothing to commit"
            )
        return before, Version(mode=before.mode, oid=oid)

    def _committed(self, new: bytes, before: Version, after: Version) -> WritebackResult:
        """Commit the file from the work tree, and nothing else that is staged or changed."""
        git = self._repository.git
        answer = git.write(
            *(*_COMMIT, *self._options.arguments, "--", self._file.name),
            stdin=self._request.message.encode(),
            limit=git.limits.commit,
        )
        head = self._repository.head()
        if head == self._request.head:
            said = self._restore_unless_committed(new, after)
            locks = ", ".join(map(str, self._repository.locks()))
            every = (answer.error_text(), said, f"git's lock files: {locks}" if locks else "")
            return WritebackResult(
                reason=Reason.TIMED_OUT if answer.timed_out else Reason.COMMIT_FAILED,
                detail="\n".join(filter(None, every)),
                restored=not said,
            )
        wrong = self._deviation(head, before, after)
        if not wrong:
            # If git was ended right after its commit, the index is old, and the change would look reverted.
            self._file.update_index(before, after)
            return WritebackResult(commit=head)
        if not answer.ok:
            wrong = f"{wrong}\n{self._restore_unless_committed(new, after)}".rstrip()
        return WritebackResult(reason=Reason.NOT_AS_INTENDED, detail=wrong, commit=head)

    def _deviation(self, commit: str, before: Version, after: Version) -> str:
        """Return how a commit differs from the change of the file from `before` to `after`; empty if it does not."""
        git, name, parent = self._repository.git, self._file.name, self._request.head
        parents = git.value("rev-list", "--no-walk", "--parents", commit).split()[1:]
        if parents != [parent]:
            return f"{commit} does not follow {parent}"
        changed = git.read("diff-tree", "-r", "-z", "--raw", "--no-renames", parent, commit)
        if not changed.ok:
            return f"git cannot show what {commit} changes: {changed.error_text()}"
        if changed.records == (f":{before.mode} {after.mode} {before.oid} {after.oid} M", name):
            return ""
        others = [other for other in changed.records[1::2] if other != name]
        return (
            f"{commit} also changes {', '.join(others)}"
            if others
            else f"{commit} does not contain what was written"
        )

    def _restore_unless_committed(self, new: bytes, after: Version) -> str:
        """Restore the old bytes unless the new ones are committed; return an error if that fails."""
        with suppress(HarnessError):  # if git cannot be run, it has not committed either
            if self._file.version_in("HEAD") == after:
                return ""
        try:
            replace(self._file.absolute_path, old=new, new=self._request.parsed)
        except ChangedError:
            return "another program changed the file meanwhile, so it was not restored"
        except OSError as error:
            return f"the file could not be restored ({error}); run git restore -- {self._file.absolute_path}"
        return ""
