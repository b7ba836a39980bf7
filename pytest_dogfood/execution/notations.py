"""The ways in which programs write a value down: what to look for where a secret must not be seen.

Most notations change single characters: JSON, Python, C and shells put backslashes before them, HTML and XML write
entities, URLs write `%2F`, SQL and CSV write quotes twice. One pattern allows for all of these at every character that
is no letter, digit or underscore, also one within the other. Base64 and hexadecimal digits change the whole value.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import AnyStr, Generic

SHORTEST = 3
"""Characters that a value must have to be looked for at all."""

SHORTEST_PART = 8
"""Characters that a value must have to be looked for as hexadecimal digits, or inside of a longer base64 text."""

_SAFE = re.compile(r"[A-Za-z0-9_]+")
"""What every notation writes as it is, unless it changes everything."""

_MOST_BACKSLASHES = 8
"""JSON within JSON within JSON puts seven of them before a quote, and makes eight of one."""

# A literal at the beginning lets `re` skip quickly what cannot match.
_ESCAPE = r"\\" + rf"\\{{0,{_MOST_BACKSLASHES - 1}}}"
_AMPERSAND = rf"(?:&|{_ESCAPE}u0026)(?:amp;){{0,3}}"
_LONGEST_CHARACTER = 52  # four bytes of UTF-8, each as eight backslashes and three digits, or an entity

_LETTERS = {
    "\0": "0",
    "\a": "a",
    "\b": "b",
    "\t": "t",
    "\n": "n",
    "\v": "v",
    "\f": "f",
    "\r": "r",
    "\x1b": "e",
}
_DOUBLED = "'\"`%${}"
"""What SQL, CSV, and programs that fill in templates write twice."""

_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos", "\u00a0": "nbsp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling(Generic[AnyStr]):
    """One way of writing a value; `anchor` is in the text wherever that occurs, `longest` the most it can take.

    Without a `pattern` it is the anchor that is looked for.
    """

    anchor: AnyStr
    longest: int
    pattern: Callable[[], re.Pattern[AnyStr]] | None = None

    def occurrences(self, text: AnyStr, boundary: int) -> Iterator[tuple[int, int]]:
        """Yield where it is, of all that start before `boundary`; they may overlap."""
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


@lru_cache(maxsize=256)
def spellings(value: str, *, whole: bool) -> tuple[Spelling[str], ...]:
    """Return the ways in which a text may hold a value; what is not the `whole` of one is not looked for in digits."""
    return tuple(_spelt(value, str, re.escape, re.compile, whole=whole))


@lru_cache(maxsize=256)
def spellings_in_bytes(value: str, *, whole: bool) -> tuple[Spelling[bytes], ...]:
    """Return the same for a text that is not decoded."""

    # Latin-1 has a character for each byte, so a pattern can be put together as text.
    def literal(text: str) -> str:
        return re.escape(to_bytes(text).decode("latin-1"))

    def compiled(pattern: str) -> re.Pattern[bytes]:
        return re.compile(pattern.encode("latin-1"))

    return tuple(_spelt(value, to_bytes, literal, compiled, whole=whole))


def to_bytes(text: str) -> bytes:
    """Encode what came from the environment as it was there; a surrogate that did not has no bytes to be found."""
    return text.encode("utf-8", errors="surrogateescape" if _from_environment(text) else "replace")


def _from_environment(text: str) -> bool:
    return all(not "\ud800" <= letter <= "\udfff" or "\udc80" <= letter <= "\udcff" for letter in text)


def _spelt(
    value: str,
    encode: Callable[[str], AnyStr],
    literal: Callable[[str], str],
    compiled: Callable[[str], re.Pattern[AnyStr]],
    *,
    whole: bool,
) -> Iterator[Spelling[AnyStr]]:
    def lazily(pattern: Callable[[], str]) -> Callable[[], re.Pattern[AnyStr]]:
        return lru_cache(maxsize=1)(lambda: compiled(pattern()))

    if _SAFE.fullmatch(value):
        yield Spelling(anchor=encode(value), longest=len(value))
    else:
        safe = sum(map(len, _SAFE.findall(value)))
        yield Spelling(
            anchor=encode(max(_SAFE.findall(value), key=len, default="")),
            longest=safe + (len(value) - safe) * 2 * _LONGEST_CHARACTER,
            pattern=lazily(lambda: _by_character(value, literal)),
        )
    if not whole:
        return
    data = to_bytes(value)
    for encoded in dict.fromkeys(_as_base64(data)):
        yield Spelling(
            anchor=encode(max(re.split(r"[+/]", encoded), key=len)),
            longest=len(encoded),
            pattern=lazily(partial(_in_either_alphabet, encoded)),
        )
    if len(value) >= SHORTEST_PART:
        # Long texts to look for: one of two or three characters would take `find` eight times as long.
        for mark in ("", "%", r"\x"):
            for digits in dict.fromkeys((data.hex(" "), data.hex(" ").upper())):
                written = mark + digits.replace(" ", mark)
                yield Spelling(anchor=encode(written), longest=len(written))


def _by_character(value: str, literal: Callable[[str], str]) -> str:
    """Return a pattern for a value whose characters are each written in any of their ways.

    There is one way only to read almost every text: if there were two for each character, a text that almost holds
    the value would take time without end. So runs of a character, which may be doubled, are taken together, and
    what follows a backslash leaves all backslashes to that.
    """
    parts: list[str] = []
    before = ""
    for character, run in groupby(value):
        count = len(list(run))
        if _SAFE.match(character):
            parts.append(character * count)
        elif character == "\\":
            others = "|".join(_other_ways(character, literal))
            most = (count + 1) * _MOST_BACKSLASHES
            parts.append(rf"(?:\\{{{count},{most}}}|(?:{_ESCAPE}{_escapes(character)}|{others}){{{count}}})")
        else:
            others = "|".join([*_other_ways(character, literal), literal(character)])
            escaped = f"{others}|{_ESCAPE}(?:{_escapes(character)}|{others})"
            first = f"{others}|{_ESCAPE}{_escapes(character)}" if before == "\\" else escaped
            most = 2 * count if character in _DOUBLED else count
            parts.append(f"(?:{first})(?:{escaped}){{{count - 1},{most - 1}}}")
        before = character
    return "".join(parts)


def _escapes(character: str) -> str:
    """Return a pattern for what stands behind a backslash in place of a character."""
    code, data = ord(character), to_bytes(character)
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


def _other_ways(character: str, literal: Callable[[str], str]) -> Iterator[str]:
    """Yield patterns for what stands in place of a character in URLs, in HTML, and in some notations for it alone."""
    code = ord(character)
    yield "".join(f"%(?:25){{0,2}}{_either_case(f'{byte:02x}')}" for byte in to_bytes(character))
    name = _ENTITIES.get(character) or _names_of_entities().get(code)
    named = "" if name is None else f"|{name}"
    yield f"{_AMPERSAND}(?:#0{{0,6}}{code}|#[xX]0{{0,6}}{_either_case(f'{code:x}')}{named});"
    if character == "\n":
        yield literal("\r\n")
    if character == " ":
        yield r"\+"  # in a query string
    if character == "'":
        yield rf"'{_ESCAPE}''"  # as `set -x` shows it
        yield rf"""'(?:"|{_ESCAPE}")'(?:"|{_ESCAPE}")'"""  # as shlex quotes it


@lru_cache(maxsize=1)
def _names_of_entities() -> dict[int, str]:
    from html.entities import codepoint2name  # few secrets hold what has such a name

    return codepoint2name


def _either_case(digits: str) -> str:
    upper = digits.upper()
    return digits if upper == digits else f"(?:{digits}|{upper})"


def _as_base64(data: bytes) -> Iterator[str]:
    encoded = b64encode(data).decode().rstrip("=")
    if len(data) < SHORTEST_PART:
        yield encoded
        return
    # What stands before or after the value changes the characters at its ends, except that nothing stands before it.
    yield f"{encoded[: len(data) * 8 // 6]}"
    for shift, first in ((1, 2), (2, 3)):
        yield b64encode(bytes(shift) + data).decode()[first : (shift + len(data)) * 8 // 6]


def _in_either_alphabet(encoded: str) -> str:
    return encoded.replace("+", "[+-]").replace("/", "[/_]")
