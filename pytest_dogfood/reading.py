"""Reads one file from disk for the parser; what cannot be read is a diagnostic like any other."""

from __future__ import annotations

from pathlib import Path

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.diagnostics import Location
from pytest_dogfood.fileformat.parser import MAX_BYTES
from pytest_dogfood.fileformat.parser import Defaults
from pytest_dogfood.fileformat.parser import ParsedFile
from pytest_dogfood.fileformat.parser import parse_journey_file
from pytest_dogfood.fileformat.parser import parse_settings_file


def read_journeys(path: Path, *, name: str, stem: str, defaults: Defaults | None) -> ParsedFile:
    """Read a journey file; `name` is what it is called in diagnostics, `stem` the id of its only journey."""
    content = _content(path, name)
    if isinstance(content, Diagnostic):
        return ParsedFile(path=name, diagnostics=(content,))
    return parse_journey_file(content, path=name, stem=stem, defaults=defaults or Defaults())


def read_settings(path: Path, *, name: str, defaults: Defaults | None) -> ParsedFile:
    """Read a dogfood.yaml; `defaults` come from those above it."""
    content = _content(path, name)
    if isinstance(content, Diagnostic):
        return ParsedFile(path=name, diagnostics=(content,))
    return parse_settings_file(content, path=name, defaults=defaults or Defaults())


def _content(path: Path, name: str) -> bytes | Diagnostic:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return Diagnostic(
                location=Location(name),
                code="too-large",
                message=f"the file has {size} bytes; at most {MAX_BYTES} are read",
                hint="split it into several journey files",
            )
        return path.read_bytes()
    except OSError as error:
        return Diagnostic(
            location=Location(name),
            code="unreadable",
            message=f"cannot be read: {error.strerror}",
            hint="check that it exists and that you may read it",
        )
