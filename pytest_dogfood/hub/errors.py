"""What can stand between a command and the hub; each error knows the exit status it ends a command with."""

from __future__ import annotations

from typing import ClassVar

REFUSED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130


class HubError(Exception):
    """Something about the hub that the user has to know; its text says what, and what to do."""

    exit_status: ClassVar[int] = USAGE


class HubUsageError(HubError):
    """A command, a setting or a file asks for what cannot be."""


class NoHubError(HubUsageError):
    """Nothing names a hub, or there is none where it should be."""


class WrongHubError(HubUsageError):
    """A repository belongs to another hub than this one."""


class RightsError(HubError):
    """The role that a hub's URL names may not do in the database what the command has to do."""


class RefusedError(HubError):
    """The order of statuses forbids a change, or the task changed meanwhile."""

    exit_status = REFUSED


class HubUnreachable(HubError):  # noqa: N818 - a state of the hub, and the name that callers were promised
    """The hub does not answer, stopped answering, or stayed locked."""

    exit_status = UNREACHABLE


class SchemaTooNew(HubError):  # noqa: N818 - likewise
    """A newer program has upgraded the hub."""

    exit_status = UNREACHABLE
