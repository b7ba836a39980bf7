"""The formats that a report can have, by name and by the ending of its file; each is loaded when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.report.run_view import VERSION, RunView
from pytest_dogfood.storage.files import read_as
from pytest_dogfood.storage.record import GraphRecord, Reference, ReferenceJourney, read_run, reference_of
from pytest_dogfood.storage.retention import find_run


def _html(view: RunView, graph: GraphRecord | None) -> str:
    from pytest_dogfood.report.html import to_html

    return to_html(view, graph)


def _markdown(view: RunView, _: GraphRecord | None) -> str:
    from pytest_dogfood.report.markdown import to_markdown

    return to_markdown(view)


def _json(view: RunView, _: GraphRecord | None) -> str:
    return msgspec.json.format(msgspec.json.encode(view), indent=2).decode() + "\n"


def _trace(view: RunView, _: GraphRecord | None) -> str:
    from pytest_dogfood.report.trace import to_trace

    return to_trace(view)


def _github(view: RunView, _: GraphRecord | None) -> str:
    from pytest_dogfood.report.github import workflow_commands

    prefix = _within_repository(view.run.root, os.environ.get("GITHUB_WORKSPACE", ""))
    return "".join(f"{line}\n" for line in workflow_commands(view, prefix))


def _within_repository(project: str, repository: str) -> str:
    """Return where a project lies in the repository that a GitHub job has checked out; empty if it is its root."""
    place = Path(project).resolve()
    root = Path(repository).resolve() if repository else place
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else ""


FORMATS: Mapping[str, Callable[[RunView, GraphRecord | None], str]] = {
    "html": _html,
    "markdown": _markdown,
    "json": _json,
    "trace": _trace,
    "github": _github,
}
"""Each takes the view of a run, and its graph for those that draw it."""


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
