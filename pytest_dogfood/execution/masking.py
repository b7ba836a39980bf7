"""Keeps secret values out of everything that is shown or stored, in all notations that programs commonly use.

Most notations change single characters: JSON, Python, C and shells put backslashes before them, HTML and XML write
entities, URLs write `%2F`, SQL and CSV write quotes twice. One pattern allows for all of these, also nested, at every
character except letters, digits and underscores. Base64 and hexadecimal digits change the whole value.
"""

from __future__ import annotations

import os
import re
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import IO

from msgspec import Struct

from pytest_dogfood.diagnostics import to_harness_error

UNMASKED_SUFFIX = ".raw"
"""Suffix of an output that may still hold secrets; if a process dies, those it leaves are removed."""

_SHORTEST_VALUE = 3
"""The fewest characters of a value that is masked at all."""

_SHORTEST_PART = 8
"""The fewest characters of a value that is found as hexadecimal digits, or inside a longer base64 text."""

_STARS = "***"
_CHUNK = 256 * 1024

_SAFE = re.compile(r"[A-Za-z0-9_]+")
"""Characters that no notation changes, except those that change the whole value."""

_MOST_BACKSLASHES = 8
"""JSON within JSON within JSON puts seven of them before a quote, and turns one into eight."""

# A literal at the beginning lets `re` skip quickly to the next possible match.
_ESCAPE = r"\\" + rf"\\{{0,{_MOST_BACKSLASHES - 1}}}"
_AMPERSAND = rf"(?:&|{_ESCAPE}u0026)(?:amp;){{0,3}}"
_LONGEST_CHARACTER = 52  # four bytes of UTF-8, each as eight backslashes and three digits, or an entity

_LETTERS = dict(zip("\0\a\b\t\n\v\f\r\x1b", "0abtnvfre", strict=True))
_DOUBLED = "'\"`%${}"
"""Characters that SQL, CSV, and template engines write twice."""


class SecretKeeper:
    """The secret values that this process knows, which are never forgotten. Each is replaced by `***`.

    Values shorter than 3 characters are not masked: that would make holes in everything and hide nothing. Of a
    value of several lines each line of 8 characters or more is masked as well. A value is also found as JSON, HTML,
    a shell, a URL, SQL, Python, C or base64 write it; as hexadecimal digits, and in base64 inside of a longer text
    (`user:password`), if it has at least 8 characters; not if base64 is broken into lines. If values overlap,
    everything they cover is masked.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = frozenset(values)

    def __bool__(self) -> bool:
        return bool(self._values)

    @property
    def values(self) -> frozenset[str]:
        return self._values

    def learn(self, values: Iterable[str]) -> None:
        self._values = self._values.union(values)

    def mask(self, text: str) -> str:
        return _mask(text, _spellings(self._values, str))

    def mask_bytes(self, data: bytes) -> bytes:
        return _mask(data.decode("latin-1"), _spellings(self._values, _bytes_as_text)).encode("latin-1")

    def read_masked_end(self, path: Path, limit: int) -> bytes:
        """Return the last bytes of a file, at most `limit`, masked, and no part of a value left over at the cut.

        Raises HarnessError if it cannot be read.
        """
        overlap = _overlap(_spellings(self._values, _bytes_as_text))
        with to_harness_error(f"read {path}"), path.open("rb") as file:
            start = max(os.fstat(file.fileno()).st_size - limit - overlap, 0)
            file.seek(start)
            window = self.mask_bytes(file.read(limit + overlap))
        # A value that begins before the window may end in its first bytes; masking makes nothing longer.
        return window[overlap if start else 0 :][-limit:]

    def is_in_file(self, path: Path) -> bool:
        """Return whether a file contains a value; raises HarnessError if it cannot be read."""
        wanted = _spellings(self._values, _bytes_as_text)
        with (
            to_harness_error(f"read {path}"),
            path.open("rb") as source,
            Path(os.devnull).open("wb") as nowhere,
        ):
            return _copy_masked(source, nowhere, wanted)

    def mask_file(self, path: Path) -> None:
        """Mask a file in place, with little memory whatever its size.

        The file is replaced by another, readable by its owner only, unless there is nothing to mask in it: a process
        that still writes to it writes to the old one. Raises HarnessError if it cannot be read or replaced.
        """
        wanted = _spellings(self._values, _bytes_as_text)
        if not wanted:
            return
        with to_harness_error(f"hide secrets in {path}"):
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".masking-")
            try:
                with os.fdopen(descriptor, "wb") as target, path.open("rb") as source:
                    found = _copy_masked(source, target, wanted)
                if found:
                    Path(name).replace(path)
            finally:
                with suppress(FileNotFoundError):  # it has taken the place of the original
                    Path(name).unlink()


def _copy_masked(source: IO[bytes], target: IO[bytes], wanted: tuple[_Spelling, ...]) -> bool:
    """Copy in chunks that overlap by the longest spelling; return whether anything was masked."""
    overlap = _overlap(wanted)
    pending = ""
    covered = 0  # bytes at the beginning of `pending` whose stars have been written
    found = False
    while True:
        chunk = source.read(_CHUNK)
        pending += chunk.decode("latin-1")
        # A match that starts before the boundary ends within `pending`; the rest is searched with the next chunk.
        boundary = max(len(pending) - overlap, 0) if chunk else len(pending)
        position = covered
        for start, end in _spans(pending, wanted, boundary):
            found = True
            if start >= position:
                target.write((pending[position:start] + _STARS).encode("latin-1"))
            position = max(position, end)
        target.write(pending[position:boundary].encode("latin-1"))
        covered = max(position - boundary, 0)
        pending = pending[boundary:]
        if not chunk:
            return found


def _overlap(wanted: tuple[_Spelling, ...]) -> int:
    """Return the most bytes of a spelling that may stand in the next window."""
    return max((one.longest for one in wanted), default=1) - 1


def _mask(text: str, wanted: tuple[_Spelling, ...]) -> str:
    position = 0
    parts: list[str] = []
    for start, end in _spans(text, wanted, len(text)):
        parts += (text[position:start], _STARS)
        position = end
    return "".join([*parts, text[position:]])


def _spans(text: str, wanted: tuple[_Spelling, ...], boundary: int) -> list[tuple[int, int]]:
    """Return in order the spans of all spellings that start before `boundary`, with overlaps merged."""
    # Merged while they are found, or a text of one letter would take a tuple for each byte.
    return _united(sorted(span for one in wanted for span in _united(one.occurrences(text, boundary))))


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for start, end in spans:
        if united and start < united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united


def _to_bytes(text: str) -> bytes:
    """Encode text from the environment as it was there; other surrogates have no bytes to search for."""
    try:
        return text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", errors="replace")


def _bytes_as_text(text: str) -> str:
    """Return a text of which each character stands for a byte, so that bytes are searched with patterns for texts."""
    return _to_bytes(text).decode("latin-1")


class _Spelling(Struct, frozen=True, kw_only=True):
    """One way of writing a value: `pattern`, or just `anchor`, which is in each match; `longest` bounds its length."""

    anchor: str
    longest: int
    pattern: Callable[[], re.Pattern[str]] | None = None

    def occurrences(self, text: str, boundary: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of all occurrences that start before `boundary`; they may overlap."""
        if self.pattern is None:
            length = len(self.anchor)
            start = text.find(self.anchor)
            while 0 <= start < boundary:
                yield start, start + length
                start = text.find(self.anchor, start + 1)
        elif self.anchor in text:
            search = self.pattern().search
            found = search(text)
            while found is not None and found.start() < boundary:
                yield found.span()
                found = search(text, found.start() + 1)


@lru_cache(maxsize=16)
def _spellings(values: frozenset[str], encode: Callable[[str], str]) -> tuple[_Spelling, ...]:
    """Return the ways in which values may be written, encoded by `encode` as the searched text is."""
    forms: list[tuple[str, bool]] = []
    for value in sorted(values):
        stripped = value.strip()
        if len(stripped) < _SHORTEST_VALUE:
            continue
        # A value from a file or a command often ends in a newline that is not written when it is used.
        forms += ((value, True), (stripped, True))
        lines = stripped.splitlines()
        if len(lines) > 1:
            parts = (part for line in lines for part in (line, line.strip()))
            forms += ((part, False) for part in parts if len(part.strip()) >= _SHORTEST_PART)
    return tuple(
        one for form, whole in dict.fromkeys(forms) for one in _spellings_of(form, encode, whole=whole)
    )


@lru_cache(maxsize=512)
def _spellings_of(value: str, encode: Callable[[str], str], *, whole: bool) -> tuple[_Spelling, ...]:
    """Return the ways to write one value; one line of a value, not `whole`, is not searched for in digits."""
    if _SAFE.fullmatch(value):
        spellings = [_Spelling(anchor=encode(value), longest=len(value))]
    else:
        safe = sum(map(len, _SAFE.findall(value)))
        spellings = [
            _Spelling(
                anchor=encode(max(_SAFE.findall(value), key=len, default="")),
                longest=safe + (len(value) - safe) * 2 * _LONGEST_CHARACTER,
                pattern=partial(_by_character, value, encode),
            )
        ]
    if not whole:
        return tuple(spellings)
    data = _to_bytes(value)
    encoded = b64encode(data).decode().rstrip("=")
    in_base64 = [encoded]
    if len(data) >= _SHORTEST_PART:
        # Text before or after the value changes the characters at its ends; there may be no text before it.
        in_base64 = [encoded[: len(data) * 8 // 6]]
        for shift, first in ((1, 2), (2, 3)):
            in_base64.append(b64encode(bytes(shift) + data).decode()[first : (shift + len(data)) * 8 // 6])
    for digits in dict.fromkeys(in_base64):
        in_either_alphabet = digits.replace("+", "[+-]").replace("/", "[/_]")
        spellings.append(
            _Spelling(
                anchor=encode(max(re.split(r"[+/]", digits), key=len)),
                longest=len(digits),
                pattern=partial(re.compile, in_either_alphabet),
            )
        )
    if len(value) >= _SHORTEST_PART:
        # Long texts to search for: with two or three characters, `find` would take eight times as long.
        for mark in ("", "%", r"\x"):
            for digits in dict.fromkeys((data.hex(" "), data.hex(" ").upper())):
                written = mark + digits.replace(" ", mark)
                spellings.append(_Spelling(anchor=encode(written), longest=len(written)))
    return tuple(spellings)


@lru_cache(maxsize=512)
def _by_character(value: str, encode: Callable[[str], str]) -> re.Pattern[str]:
    """Return a pattern for a value of which each character may be written in any notation.

    Almost every text matches in one way only: with two ways for each character, a text that almost contains the value
    would take exponential time. So runs of a character, which may be doubled, are matched together, and the backslash
    itself matches all backslashes before another character.
    """
    parts: list[str] = []
    before = ""
    for character, run in groupby(value):
        count = len(list(run))
        if _SAFE.match(character):
            parts.append(character * count)
        elif character == "\\":
            others = "|".join(_other_ways(character, encode))
            most = (count + 1) * _MOST_BACKSLASHES
            parts.append(rf"(?:\\{{{count},{most}}}|(?:{_ESCAPE}{_escapes(character)}|{others}){{{count}}})")
        else:
            others = "|".join([*_other_ways(character, encode), re.escape(encode(character))])
            escaped = f"{others}|{_ESCAPE}(?:{_escapes(character)}|{others})"
            first = f"{others}|{_ESCAPE}{_escapes(character)}" if before == "\\" else escaped
            most = 2 * count if character in _DOUBLED else count
            parts.append(f"(?:{first})(?:{escaped}){{{count - 1},{most - 1}}}")
        before = character
    return re.compile("".join(parts))


def _escapes(character: str) -> str:
    """Return a pattern for the text after a backslash that stands for a character."""
    code, data = ord(character), _to_bytes(character)
    units = character.encode("utf-16-be", errors="surrogatepass").hex()
    ways = [
        *([_LETTERS[character]] if character in _LETTERS else []),
        _ESCAPE.join(f"u{_either_case(units[at : at + 4])}" for at in range(0, len(units), 4)),
        rf"u\{{0{{0,6}}{_either_case(f'{code:x}')}\}}",
        f"U{_either_case(f'{code:08x}')}",
        *([f"x{_either_case(f'{code:02x}')}"] if code < 256 else []),
        _ESCAPE.join(f"x{_either_case(f'{byte:02x}')}" for byte in data),
        _ESCAPE.join(f"{byte:03o}" for byte in data),
    ]
    return f"(?:{'|'.join(dict.fromkeys(ways))})"


def _other_ways(character: str, encode: Callable[[str], str]) -> Iterator[str]:
    """Yield patterns for a character in URLs, in HTML, and in notations that only this character has."""
    from html.entities import codepoint2name  # few secrets contain a character with such a name

    code = ord(character)
    yield "".join(f"%(?:25){{0,2}}{_either_case(f'{byte:02x}')}" for byte in _to_bytes(character))
    name = "apos" if character == "'" else codepoint2name.get(code)
    named = "" if name is None else f"|{name}"
    yield f"{_AMPERSAND}(?:#0{{0,6}}{code}|#[xX]0{{0,6}}{_either_case(f'{code:x}')}{named});"
    if character == "\n":
        yield re.escape(encode("\r\n"))
    if character == " ":
        yield r"\+"  # in a query string
    if character == "'":
        yield rf"'{_ESCAPE}''"  # as `set -x` shows it
        yield rf"""'(?:"|{_ESCAPE}")'(?:"|{_ESCAPE}")'"""  # as shlex quotes it


def _either_case(digits: str) -> str:
    upper = digits.upper()
    return digits if upper == digits else f"(?:{digits}|{upper})"
