"""Reads one file from disk for the parser; what cannot be read is a diagnostic like any other."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from stat import S_ISREG

from msgspec.structs import replace

from pytest_dogfood.diagnostics import Diagnostic, Location, in_order_of_place
from pytest_dogfood.fileformat.parser import (
    MAX_BYTES,
    Defaults,
    ParsedFile,
    parse_journey_file,
    parse_settings_file,
)
from pytest_dogfood.settings import is_script


def read_journeys(path: Path, *, name: str, stem: str, defaults: Defaults | None) -> ParsedFile:
    """Read a journey file; `name` is what it is called in diagnostics, `stem` the id of its only journey."""
    content = _content(path, name)
    if isinstance(content, Diagnostic):
        return ParsedFile(path=name, diagnostics=(content,))
    parsed = parse_journey_file(content, path=name, stem=stem, defaults=defaults or Defaults())
    if is_script(name) and not os.access(path, os.X_OK):
        found = Diagnostic(
            location=Location(name),
            code="not-executable",
            message="a script that is not executable is no journey",
            hint=f"chmod +x {shlex.quote(name)}",
        )
        parsed = replace(parsed, diagnostics=in_order_of_place((found, *parsed.diagnostics)))
    return parsed


def read_settings(path: Path, *, name: str, defaults: Defaults | None) -> ParsedFile:
    """Read a dogfood.yaml; `defaults` come from those above it."""
    content = _content(path, name)
    if isinstance(content, Diagnostic):
        return ParsedFile(path=name, diagnostics=(content,))
    return parse_settings_file(content, path=name, defaults=defaults or Defaults())


def _content(path: Path, name: str) -> bytes | Diagnostic:
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            return Diagnostic(
                location=Location(name),
                code="unreadable",
                message="cannot be read: it is no regular file",
                hint="give it another name, or remove it",
            )
        if status.st_size > MAX_BYTES:
            script = "call what is so large from a small script"
            return Diagnostic(
                location=Location(name),
                code="too-large",
                message=f"the file has {status.st_size} bytes; at most {MAX_BYTES} are read",
                hint=script if is_script(name) else "split it into several journey files",
            )
        return path.read_bytes()
    except OSError as error:
        return Diagnostic(
            location=Location(name),
            code="unreadable",
            message=f"cannot be read: {error.strerror}",
            hint="check that it exists and that you may read it",
        )
