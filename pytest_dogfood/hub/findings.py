"""What a consistency run has to say: findings with stable codes, in the form that reports and pytest items show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields
from enum import StrEnum
from typing import Any


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
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

    def to_json(self) -> dict[str, Any]:
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value.value if isinstance(value, StrEnum) else value for name, value in values}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        """Give the finding that `to_json` wrote. Raises ValueError or TypeError for anything else."""
        kinds = {"severity": Severity(value["severity"]), "action": Action(value["action"])}
        return cls(**{**value, **kinds})
