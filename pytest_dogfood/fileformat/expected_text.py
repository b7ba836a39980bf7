"""Regular expressions that end: `re` decides what is one, and `regex` searches, because it knows a time limit.

Both read the same patterns, with few exceptions, which are undone here. Where `re` sees a plain `{`, as in
`(?:error){e<=1}`, `regex` would allow mistakes. It would take `[[:alpha:]]` for a class of letters. And what it takes
for white space leaves out the characters 0x1c to 0x1f in a text, and takes more than ASCII in a verbose pattern.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

# Texts, which `re` compiles and keeps when they are first needed: most runs need none of them.
_PART = r"""(?sx)
      (?P<escape> \\ (?: N\{[^}]*\} | . ) )
    | (?P<comment> \(\?\# [^)]* \) )
    | (?P<scope> \( (?: \? (?P<on> [aiLmsux]* ) (?: - (?P<off> [imsx]+ ) )? : )? )
    | (?P<repetition> \{ (?: [0-9]+ (?: , [0-9]* )? | , [0-9]* ) \} )
    | (?P<character_set> \[ \^? \]? (?: \\. | [^]\\] )* \] )
    | (?P<other> . )
    """
_SEPARATORS = r"\x1c-\x1f"
_IN_SET = r"(?s)\\(?:N\{[^}]*\}|.)|."


class TooSlow(Exception):  # noqa: N818 - an answer, not an error of the program
    """A search has not ended in the time, or the memory, that it had."""


def search(pattern: str, text: str, *, seconds: float) -> regex.Match[str] | None:
    """Find the first match of a pattern that `re` compiles; `^` and `$` match at every line.

    Raises TooSlow after `seconds`, which are of processor time: a search may take longer on a busy machine.
    """
    compiled = _compiled(pattern)
    try:
        return compiled.search(text, timeout=min(max(seconds, 0.0), 1e9))
    except (TimeoutError, MemoryError) as error:
        raise TooSlow from error


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return regex.compile(in_the_syntax_of_regex(pattern), regex.MULTILINE | regex.VERSION0)


def unrolled_size(pattern: str) -> int:
    """Count the parts of a pattern that `re` compiles once its repetitions are written out, as `regex` does.

    Writing out a million of them takes two seconds, for which there is no time limit.
    """
    sizes, last = [0], 0
    for found in re.finditer(_PART, in_the_syntax_of_regex(pattern)) if "{" in pattern else ():
        match found.lastgroup:
            case "scope":
                sizes.append(0)
            case "repetition":
                least = int(found[0][1:-1].partition(",")[0] or 1)
                sizes[-1] += last * max(least - 1, 0)
                last *= max(least, 1)
            case "other" if found[0] == ")":
                last = sizes.pop()
                sizes[-1] += last
            case _:
                last = 1
                sizes[-1] += 1
    return sizes[0]


def in_the_syntax_of_regex(pattern: str) -> str:
    """Write a pattern that `re` compiles so that `regex` finds the same with it."""
    if not any(sign in pattern for sign in ("{", "[", "(?", "\\s", "\\S")):
        return pattern
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags = re.compile(pattern).flags
    return "".join(_parts(pattern, verbose=bool(flags & re.VERBOSE), ascii_only=bool(flags & re.ASCII)))


def _parts(pattern: str, *, verbose: bool, ascii_only: bool) -> Iterator[str]:
    """Give the pattern piece by piece, rewritten; comments are left out."""
    modes = [(verbose, ascii_only)]
    part_of, at = re.compile(_PART), 0
    while found := part_of.match(pattern, at):
        part, at = found[0], found.end()
        verbose, ascii_only = modes[-1]
        match found.lastgroup:
            case "comment":
                continue
            case "scope":
                on, off = found["on"] or "", found["off"] or ""
                ascii_only = "a" in on or (ascii_only and "u" not in on)
                modes.append(((verbose or "x" in on) and "x" not in off, ascii_only))
            case "escape":
                part = _escape(part, ascii_only=ascii_only)
            case "character_set":
                part = _character_set(part, ascii_only=ascii_only)
            case "other" if part == "{" or (verbose and part.isspace() and part not in " \t\n\r\v\f"):
                part = f"\\{part}"
            case "other" if part == ")":
                modes.pop()
            case "other" if part == "#" and verbose:
                at = (pattern.find("\n", at) + 1) or len(pattern)
                continue
        yield part


def _escape(part: str, *, ascii_only: bool) -> str:
    if part.startswith("\\N"):
        import unicodedata

        # Earlier versions of `regex` do not find a name with blanks where blanks are comments.
        return f"\\U{ord(unicodedata.lookup(part[3:-1])):08x}"
    if ascii_only or part not in {"\\s", "\\S"}:
        return part
    return f"[{part}{_SEPARATORS}]" if part == "\\s" else f"[^\\s{_SEPARATORS}]"


def _character_set(written: str, *, ascii_only: bool) -> str:
    start = 2 if written.startswith("[^") else 1
    parts = [written[:start]]
    for part in re.findall(_IN_SET, written[start:-1]):
        if part == "[" or (part == "]" and len(parts) == 1):
            parts.append(f"\\{part}")
        elif part.startswith("\\N"):
            parts.append(_escape(part, ascii_only=ascii_only))
        elif part == "\\s" and not ascii_only:
            parts.append(part + _SEPARATORS)
        else:
            parts.append(part)
    found = "".join(parts) + "]"
    if ascii_only or "\\S" not in parts:
        return found
    # `regex` counts the separators among what is no white space: take them out, or out of what is excluded.
    return f"(?:{found}|[{_SEPARATORS}])" if start == 2 else f"(?:(?![{_SEPARATORS}]){found})"
