"""The formats that a report can have, by name and by the ending of its file; each is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pytest_dogfood.report.overview import view_of
from pytest_dogfood.storage.record import RecordedRun, Reference


def _html(recorded: RecordedRun, reference: Reference | None) -> str:
    from pytest_dogfood.report.html import to_html

    return to_html(view_of(recorded, reference), recorded.graph)


def _markdown(recorded: RecordedRun, reference: Reference | None) -> str:
    from pytest_dogfood.report.markdown import to_markdown

    return to_markdown(view_of(recorded, reference))


def _json(recorded: RecordedRun, reference: Reference | None) -> str:
    encoded = msgspec.json.encode(view_of(recorded, reference))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def _trace(recorded: RecordedRun, reference: Reference | None) -> str:
    from pytest_dogfood.report.trace import to_trace

    return to_trace(view_of(recorded, reference))


def _github(recorded: RecordedRun, reference: Reference | None) -> str:
    from pytest_dogfood.report.github import workflow_commands

    return "".join(f"{line}\n" for line in workflow_commands(view_of(recorded, reference)))


FORMATS: Mapping[str, Callable[[RecordedRun, Reference | None], str]] = {
    "html": _html,
    "markdown": _markdown,
    "json": _json,
    "trace": _trace,
    "github": _github,
}

_ENDINGS = {".trace.json": "trace", ".json": "json", ".md": "markdown", ".markdown": "markdown"}


def format_of(path: Path) -> str:
    """Return the format that the ending of a file's name stands for; a page where it stands for no other."""
    return next((name for ending, name in _ENDINGS.items() if path.name.endswith(ending)), "html")
