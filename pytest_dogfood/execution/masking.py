"""Keeps secret values out of everything that is shown or stored."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, AnyStr, Self

from msgspec import Struct

from pytest_dogfood.diagnostics import to_harness_error
from pytest_dogfood.execution.notations import (
    SHORTEST,
    SHORTEST_PART,
    Spelling,
    spellings,
    spellings_in_bytes,
)


class SecretKeeper(Struct):
    """The secret values that this process has come to know; they only become more."""

    secrets: Secrets

    @classmethod
    def from_environment(cls, names: Iterable[str]) -> SecretKeeper:
        """Start with the values of the environment variables that ini `dogfood_secrets` names."""
        return cls(Secrets.of(os.environ[name] for name in names if os.environ.get(name)))

    def learn(self, values: Iterable[str]) -> None:
        for value in values:
            self.secrets = self.secrets.adding(value)

    def mask(self, text: str) -> str:
        return self.secrets.mask(text)


_STARS = "***"
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Values that must not be seen, each replaced by `***` wherever it occurs.

    Values shorter than 3 characters are not masked: that would make holes in everything and hide nothing. Of a
    value of several lines each line of 8 characters or more is masked as well. A value is also found as JSON, HTML,
    a shell, a URL, SQL, Python, C or base64 write it; as hexadecimal digits, and in base64 inside of a longer text
    (`user:password`), if it has at least 8 characters; not where base64 is broken into lines. Where values overlap,
    everything they cover is masked.
    """

    values: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        return cls(values=frozenset(values))

    def adding(self, value: str) -> Self:
        return type(self)(values=self.values | {value})

    def __bool__(self) -> bool:
        return bool(self.values)

    def mask(self, text: str) -> str:
        return _masked(text, _in_text(self.values), _STARS)

    def mask_bytes(self, data: bytes) -> bytes:
        return _masked(data, _in_bytes(self.values), _STARS.encode())

    def masked_ending(self, path: Path, limit: int) -> bytes:
        """Return the last bytes of a file, at most `limit`, masked, and no part of a value left over at the cut.

        Raises HarnessError if it cannot be read.
        """
        overlap = _overlap(_in_bytes(self.values))
        with to_harness_error(f"read {path}"), path.open("rb") as file:
            start = max(os.fstat(file.fileno()).st_size - limit - overlap, 0)
            file.seek(start)
            window = self.mask_bytes(file.read(limit + overlap))
        # What begins before the window may end in its first bytes; masking has made nothing longer.
        return window[overlap if start else 0 :][-limit:]

    def mask_file(self, path: Path) -> None:
        """Mask a file in place, with little memory whatever its size.

        The file is replaced by another, readable by its owner only, unless there is nothing to mask in it: a process
        that still writes to it writes to the old one. Raises HarnessError if it cannot be read or replaced.
        """
        wanted = _in_bytes(self.values)
        if not wanted:
            return
        with to_harness_error(f"hide secrets in {path}"):
            _mask_in_place(path, wanted)


def _mask_in_place(path: Path, wanted: tuple[Spelling[bytes], ...]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".masking-")
    try:
        with os.fdopen(descriptor, "wb") as target, path.open("rb") as source:
            found = _copy_masked(source, target, wanted)
        if found:
            Path(name).replace(path)
    finally:
        with suppress(FileNotFoundError):  # it has taken the place of the original
            Path(name).unlink()


def _copy_masked(source: IO[bytes], target: IO[bytes], wanted: tuple[Spelling[bytes], ...]) -> bool:
    """Copy in chunks that overlap by the longest spelling; tell whether anything was masked."""
    overlap = _overlap(wanted)
    pending = b""
    covered = 0  # bytes at the beginning of `pending` whose stars have been written
    found = False
    while True:
        chunk = source.read(_CHUNK)
        pending += chunk
        # What starts before the boundary ends within `pending`; the rest is looked at again with the next chunk.
        boundary = max(len(pending) - overlap, 0) if chunk else len(pending)
        position = covered
        for start, end in _spans(pending, wanted, boundary):
            found = True
            if start >= position:
                target.write(pending[position:start] + _STARS.encode())
            position = max(position, end)
        target.write(pending[position:boundary])
        covered = max(position - boundary, 0)
        pending = pending[boundary:]
        if not chunk:
            return found


def _overlap(wanted: tuple[Spelling[bytes], ...]) -> int:
    """Return how many bytes of a spelling may stand in the next window at most."""
    return max((one.longest for one in wanted), default=1) - 1


def _masked(text: AnyStr, wanted: tuple[Spelling[AnyStr], ...], stars: AnyStr) -> AnyStr:
    position = 0
    parts: list[AnyStr] = []
    for start, end in _spans(text, wanted, len(text)):
        parts.append(text[position:start])
        parts.append(stars)
        position = end
    parts.append(text[position:])
    return text[:0].join(parts)


def _spans(text: AnyStr, wanted: tuple[Spelling[AnyStr], ...], boundary: int) -> list[tuple[int, int]]:
    """Return in order what the spellings cover, of all occurrences that start before `boundary`, overlaps united."""
    # United while they are found, or a text of one letter would take a tuple for each byte.
    return list(_united(sorted(span for one in wanted for span in _united(one.occurrences(text, boundary)))))


def _united(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    current: tuple[int, int] | None = None
    for start, end in spans:
        if current is None:
            current = (start, end)
        elif start < current[1]:
            current = (current[0], max(current[1], end))
        else:
            yield current
            current = (start, end)
    if current is not None:
        yield current


@lru_cache(maxsize=16)
def _in_text(values: frozenset[str]) -> tuple[Spelling[str], ...]:
    return tuple(one for form, whole in _forms(values) for one in spellings(form, whole=whole))


@lru_cache(maxsize=16)
def _in_bytes(values: frozenset[str]) -> tuple[Spelling[bytes], ...]:
    return tuple(one for form, whole in _forms(values) for one in spellings_in_bytes(form, whole=whole))


def _forms(values: frozenset[str]) -> dict[tuple[str, bool], None]:
    return dict.fromkeys(form for value in sorted(values) for form in _forms_of(value))


def _forms_of(value: str) -> Iterator[tuple[str, bool]]:
    """Yield the value as it may be meant, and whether that is all of it: without its last newline, or line by line."""
    stripped = value.strip()
    if len(stripped) < SHORTEST:
        return
    # What a file or a command gave often ends in a newline that is not written where the value is used.
    yield from ((form, True) for form in dict.fromkeys((value, stripped)))
    lines = stripped.splitlines()
    if len(lines) > 1:
        parts = (form for line in lines for form in (line, line.strip()))
        yield from ((part, False) for part in parts if len(part.strip()) >= SHORTEST_PART)
