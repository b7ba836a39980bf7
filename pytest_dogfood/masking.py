"""Keeps secret values out of everything that is shown or stored."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from base64 import b64encode
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import IO
from typing import AnyStr
from typing import Self
from urllib.parse import quote
from urllib.parse import quote_plus

from pytest_dogfood.diagnostics import to_harness_error

_STARS = "***"
_SHORTEST = 3
_SHORTEST_PART = 8
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Values that must not be seen, each replaced by `***` wherever it occurs.

    Values shorter than 3 characters are not masked: that would make holes in everything and hide nothing. Of a
    value of several lines each line of 8 characters or more is masked as well. A value is also found as JSON, a
    shell, a URL or base64 write it, in base64 also inside a longer text (`user:password`), if it has at least 8
    bytes; not where base64 is broken into lines. Where values overlap, everything they cover is masked.
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
        return _masked(text, _forms(self.values), _STARS)

    def mask_bytes(self, data: bytes) -> bytes:
        return _masked(data, _encoded_forms(self.values), _STARS.encode())

    def masked_ending(self, path: Path, limit: int) -> bytes:
        """Give the last bytes of a file, at most `limit`, masked, and no part of a value left over at the cut.

        Raises HarnessError if it cannot be read.
        """
        forms = _encoded_forms(self.values)
        overlap = len(forms[0]) - 1 if forms else 0
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
        forms = _encoded_forms(self.values)
        if not forms:
            return
        with to_harness_error(f"hide secrets in {path}"):
            _mask_in_place(path, forms)


def _mask_in_place(path: Path, forms: tuple[bytes, ...]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".masking-")
    try:
        with os.fdopen(descriptor, "wb") as target, path.open("rb") as source:
            found = _copy_masked(source, target, forms)
        if found:
            Path(name).replace(path)
    finally:
        with suppress(FileNotFoundError):  # it has taken the place of the original
            Path(name).unlink()


def _copy_masked(source: IO[bytes], target: IO[bytes], forms: tuple[bytes, ...]) -> bool:
    """Copy in chunks that overlap by the longest form; tell whether anything was masked."""
    overlap = len(forms[0]) - 1
    pending = b""
    covered = 0  # bytes at the beginning of `pending` whose stars have been written
    found = False
    while True:
        chunk = source.read(_CHUNK)
        pending += chunk
        # What starts before the boundary ends within `pending`; the rest is looked at again with the next chunk.
        boundary = max(len(pending) - overlap, 0) if chunk else len(pending)
        position = covered
        for start, end in _spans(pending, forms, boundary):
            found = True
            if start >= position:
                target.write(pending[position:start] + _STARS.encode())
            position = max(position, end)
        target.write(pending[position:boundary])
        covered = max(position - boundary, 0)
        pending = pending[boundary:]
        if not chunk:
            return found


def _masked(text: AnyStr, forms: tuple[AnyStr, ...], stars: AnyStr) -> AnyStr:
    position = 0
    parts: list[AnyStr] = []
    for start, end in _spans(text, forms, len(text)):
        parts.append(text[position:start])
        parts.append(stars)
        position = end
    parts.append(text[position:])
    return text[:0].join(parts)


def _spans(text: AnyStr, forms: tuple[AnyStr, ...], boundary: int) -> list[tuple[int, int]]:
    """Give in order what the forms cover, of all occurrences that start before `boundary`, overlaps united."""
    every = sorted(span for form in forms for span in _occurrences(text, form, boundary))
    return list(_united(every))


def _occurrences(text: AnyStr, form: AnyStr, boundary: int) -> Iterator[tuple[int, int]]:
    length = len(form)

    def each() -> Iterator[tuple[int, int]]:
        start = text.find(form)
        while 0 <= start < boundary:
            yield start, start + length
            start = text.find(form, start + 1)  # it may overlap with itself

    # United while they are found, or a text of one letter would take a tuple for each byte.
    return _united(each())


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
def _forms(values: frozenset[str]) -> tuple[str, ...]:
    forms = dict.fromkeys(form for value in sorted(values) for form in _forms_of(value))
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


@lru_cache(maxsize=16)
def _encoded_forms(values: frozenset[str]) -> tuple[bytes, ...]:
    encoded = dict.fromkeys(_bytes(form) for form in _forms(values))
    return tuple(sorted(encoded, key=lambda form: (-len(form), form)))


def _forms_of(value: str) -> Iterator[str]:
    stripped = value.strip()
    if len(stripped) < _SHORTEST:
        return
    # What a file or a command gave often ends in a newline that is not written where the value is used.
    for whole in dict.fromkeys((value, stripped)):
        yield whole
        yield from (form for form in _written(whole) if len(form) >= _SHORTEST)
    lines = stripped.splitlines()
    if len(lines) > 1:
        parts = (form for line in lines for form in (line, line.strip()))
        yield from (part for part in parts if len(part.strip()) >= _SHORTEST_PART)


def _written(value: str) -> Iterator[str]:
    """Give the value as JSON, shells, URLs and base64 write it."""
    for ascii_only in (True, False):
        yield json.dumps(value, ensure_ascii=ascii_only)[1:-1]
    quoted = shlex.quote(value)
    yield quoted[1:-1] if quoted != value else quoted
    yield value.replace("'", r"'\''")  # as `set -x` shows it
    data = _bytes(value)
    for url in (quote(data, safe=""), quote(data), quote(data, safe="!'()*"), quote_plus(data)):
        yield url
        yield _lower_escapes(url)
    for encode in (b64encode, urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        if len(data) >= _SHORTEST_PART:
            yield from (_inner(encode(bytes(shift) + data).decode(), shift, len(data)) for shift in range(3))


def _inner(encoded: str, shift: int, length: int) -> str:
    """Cut off the characters of a base64 text that depend on what stands before or after the value as well."""
    first = (0, 2, 3)[shift]
    last = (shift + length) * 8 // 6
    return encoded[first:last]


def _lower_escapes(url: str) -> str:
    first, *rest = url.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _bytes(text: str) -> bytes:
    """Encode what came from the environment as it was there; a surrogate that did not has no bytes to be found."""
    return text.encode("utf-8", errors="surrogateescape" if _from_environment(text) else "replace")


def _from_environment(text: str) -> bool:
    return all(not "\ud800" <= letter <= "\udfff" or "\udc80" <= letter <= "\udcff" for letter in text)
