"""The formats that a report can have, by name and by the ending of its file; each is loaded when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import VERSION, RunView
from pytest_dogfood.storage.files import read_as
from pytest_dogfood.storage.record import RecordedRun, Reference, ReferenceJourney, read_run, reference_of
from pytest_dogfood.storage.retention import find_run


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

    prefix = _within_repository(recorded.run.root, os.environ.get("GITHUB_WORKSPACE", ""))
    return "".join(f"{line}\n" for line in workflow_commands(view_of(recorded, reference), prefix))


def _within_repository(project: str, repository: str) -> str:
    """Return where a project lies in the repository that a GitHub job has checked out; empty if it is its root."""
    place = Path(project).resolve()
    root = Path(repository).resolve() if repository else place
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else ""


def _html(recorded: RecordedRun, reference: Reference | None) -> str:
    from pytest_dogfood.report.html import to_html

    return to_html(view_of(recorded, reference), recorded.graph)


FORMATS: Mapping[str, Callable[[RecordedRun, Reference | None], str]] = {
    "html": _html,
    "markdown": _markdown,
    "json": _json,
    "trace": _trace,
    "github": _github,
}


def read_reference(name: str, directory: Path) -> Reference:
    """Return a run to compare with: a run's directory or id, or a file with its report as JSON.

    Raises HarnessError with words for the user.
    """
    path = directory / name
    if not path.is_file():
        return reference_of(read_run(find_run(name, directory)))

    class Versioned(Struct):
        version: int

    head = read_as(path, Versioned)
    if head is not None and head.version > VERSION:
        raise HarnessError(f"{path} was written by a newer version of pytest-dogfood: update here")
    view = read_as(path, RunView)
    if view is None:
        raise HarnessError(f"there is no file {path} any more")
    return Reference(
        run=view.run.id,
        started=view.run.started,
        commit=view.run.commit,
        journeys={
            one.id: ReferenceJourney(one.outcome, one.seconds, one.digest)
            for one in view.journeys
            if one.outcome is not None
        },
    )


_ENDINGS = {
    ".html": "html",
    ".htm": "html",
    ".trace.json": "trace",
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
}


def format_of(path: Path) -> str:
    """Return the format that the ending of a file's name stands for; Markdown where it stands for no other."""
    return next((name for ending, name in _ENDINGS.items() if path.name.endswith(ending)), "markdown")
