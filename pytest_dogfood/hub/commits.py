"""The commit of one file: how it is made, what its message says, and whether it became what was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum

from msgspec import Struct

from pytest_dogfood.git.command import Answer, Git
from pytest_dogfood.git.tracked_file import Version

_COMMIT = (
    *(
        "--literal-pathspecs",
        "-c",
        "i18n.commitEncoding=UTF-8",
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
    ),
    *("commit", "--only", "--quiet", "--cleanup=whitespace", "-F", "-"),
)


class Signing(StrEnum):
    INHERIT = "inherit"
    NEVER = "never"


class CommitOptions(Struct, frozen=True, kw_only=True):
    """What the project has set about the commits that are made for it."""

    no_verify: bool = False
    sign: Signing = Signing.INHERIT

    @property
    def arguments(self) -> tuple[str, ...]:
        verify = ("--no-verify",) if self.no_verify else ()
        return (*verify, "--no-gpg-sign") if self.sign is Signing.NEVER else verify


DEFAULT_OPTIONS = CommitOptions()


class StatusChange(Struct, frozen=True, kw_only=True):
    """One task whose status a commit brings up to date."""

    task_id: str
    old: str
    new: str


def sync_message(changes: Iterable[StatusChange], today: date) -> str:
    """Give the message of a commit that makes a file follow the hub; `today` is the date in UTC."""
    lines = [f"- {change.task_id}: {change.old} → {change.new}" for change in changes]
    first = "chore(consistency): sync task status from DB [auto]"
    return "\n".join([first, "", f"Updated by fix-consistency on {today.isoformat()}:", *lines, ""])


def commit_file(git: Git, name: str, message: str, options: CommitOptions) -> Answer:
    """Commit what the work tree holds of one file, and nothing else that is staged or changed."""
    arguments = (*_COMMIT, *options.arguments, "--", name)
    return git.write(*arguments, stdin=message.encode(), limit=git.limits.commit)


def deviation(git: Git, name: str, *, parent: str, commit: str, before: Version, after: Version) -> str:
    """Say in what a commit is not the change of one file from `before` to `after`; empty if it is just that."""
    parents = git.value("rev-list", "--no-walk", "--parents", commit).split()[1:]
    if parents != [parent]:
        return f"{commit} does not follow {parent}"
    changed = git.read("diff-tree", "-r", "-z", "--raw", "--no-renames", parent, commit)
    if not changed.ok:
        return f"what {commit} changes cannot be told: {changed.complaint()}"
    if changed.records == (f":{before.mode} {after.mode} {before.oid} {after.oid} M", name):
        return ""
    others = [other for other in changed.records[1::2] if other != name]
    return f"{commit} also changes {', '.join(others)}" if others else f"{commit} holds not what was written"
