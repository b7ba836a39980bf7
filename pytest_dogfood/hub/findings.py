"""What a consistency run has to say: findings with stable codes, in the form that reports and pytest items show."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

_IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "same_rank": "a tie, neither side is ahead",
        "diverged": "it has commits of its own besides",
        "dirty": "it is not as it was committed",
    }
)
"""Reasons of findings whose message, which never changes, does not tell them from other findings of their code."""


class Severity(StrEnum):
    """Whether a finding decides the exit status: FAIL does, WARN does under `--strict`."""

    FAIL = "FAIL"
    WARN = "WARN"
    INFO = "INFO"


class Action(StrEnum):
    """What `fix` does about a finding. `held` means that neither side is written, and the finding says why."""

    NONE = "none"
    HUB_UPDATE = "hub_update"
    CREATE = "create"
    WRITEBACK = "writeback"
    HELD = "held"


class Finding(Struct, frozen=True, kw_only=True):
    """One item of a report. The fields, in this order, are what JSON shows; `line` counts from 1, 0 is none."""

    code: str
    severity: Severity
    repo: str
    path: str = ""
    line: int = 0
    task_id: str = ""
    hub_id: str = ""
    title: str = ""
    db_status: str = ""
    file_status: str = ""
    reason: str = ""
    message: str
    hint: str = ""
    action: Action = Action.NONE
    fixed: bool = False
    commit: str = ""

    @property
    def is_left(self) -> bool:
        """Say whether a failure remains for somebody to deal with."""
        return self.severity is Severity.FAIL and not self.fixed

    @property
    def said(self) -> str:
        """Give the message for people, with the reason where that says more."""
        more = _IN_WORDS.get(self.reason)
        return f"{self.message}; {self.reason}: {more}" if more else self.message

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        """Give the finding that `to_json` wrote. Raises ValueError or TypeError for anything else."""
        kinds = {"severity": Severity(value["severity"]), "action": Action(value["action"])}
        return cls(**{**value, **kinds})
