"""Texts under `expect`: expands variables in them, and runs regular expressions with a time limit.

`re` and `regex` read the same patterns, with few exceptions, which are resolved here. A `{` that is plain text to
`re`, as in `(?:error){e<=1}`, would allow mistakes in `regex`; `[[:alpha:]]` would be a class of letters. And its white
space excludes the characters 0x1c to 0x1f in a text, and includes more than ASCII in a verbose pattern.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pytest_dogfood.journey import Expectation

if TYPE_CHECKING:
    import regex

# Texts, which `re` compiles and keeps when they are first needed: most runs need none of them.
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = rf"\$(?:(?P<dollar>\$)|(?P<plain>{_NAME})|\{{(?P<braced>{_NAME})\}})"
_ALONE = rf"\$(?:{_NAME}|\{{{_NAME}\}})"
# An escaped dollar, and one in a set such as `[$abc]`, is a dollar and not a variable.
_IN_PATTERN = rf"(?s)\\.|\[\^?\]?(?:\\.|[^]\\])*\]|\$\$|\$(?:(?P<plain>{_NAME})|\{{(?P<braced>{_NAME})\}})"


class Written(Struct, frozen=True):
    """A text under `expect:` in which variables are expanded; `where` names its key, for people.

    With an empty variable, a text that `needs_value` would check nothing.
    """

    where: str
    text: str
    needs_value: bool = False
    pattern: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables in the text, in their order."""
        found = re.finditer(_IN_PATTERN if self.pattern else _VARIABLE, self.text) if "$" in self.text else ()
        return tuple(dict.fromkeys(name for one in found if (name := one["plain"] or one["braced"])))


def written_in(expect: Expectation) -> Iterator[Written]:
    """Yield every text of an expectation in which variables are expanded."""
    for name, stream in (("stdout", expect.stdout), ("stderr", expect.stderr)):
        if stream is None:
            continue
        for key in ("contains", "not_contains", "matches"):
            for text in getattr(stream, key):
                yield Written(f"{name} {key}", text, needs_value=True, pattern=key == "matches")
        if stream.equals is not None:
            yield Written(f"{name} equals", stream.equals)
        for expression, value in stream.json.items():
            yield from (Written(f"{name} json {expression}", text) for text in _texts_in(value))
    for file in expect.files:
        yield Written("files", file.path)
        name = f"file {file.path}"
        yield from (Written(f"{name} contains", text, needs_value=True) for text in file.contains)
        if file.equals is not None:
            yield Written(f"{name} equals", file.equals)


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON is any of its types
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(inner)


def problem_with(expect: Expectation, variables: Mapping[str, str]) -> str:
    """Return an error if an expectation uses a variable without a value, or an empty one so that it checks nothing."""
    for written in written_in(expect):
        for name in written.variables:
            value = variables.get(name)
            if value is None:
                return (
                    f"{written.where} {written.text!r} names ${name}, which is not set; "
                    "set it with `env:` or save it in an earlier step, or write $$ for a dollar sign"
                )
            if not value and written.needs_value:
                return f"{written.where} {written.text!r} names ${name}, which is empty, so that it checks nothing"
    return ""


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Replace variables by their values; a name without a value stays as it is."""
    if "$" not in text:
        return text
    return re.sub(
        _VARIABLE,
        lambda found: "$" if found["dollar"] else variables.get(found["plain"] or found["braced"], found[0]),
        text,
    )


def expanded_pattern(pattern: str, variables: Mapping[str, str]) -> str:
    """Replace variables in a regular expression by patterns that match exactly their values."""
    if "$" not in pattern:
        return pattern

    def value(found: re.Match[str]) -> str:
        name = found["plain"] or found["braced"]
        # In a group: a repetition after it must apply to the whole value, and an escape must not include the next text.
        return f"(?:{re.escape(variables[name])})" if name and name in variables else found[0]

    return re.sub(_IN_PATTERN, value, pattern)


def variable_alone(text: str) -> bool:
    """Return whether a text is exactly one variable, so that it may also mean a number."""
    return re.fullmatch(_ALONE, text) is not None


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
    """A search did not end within its limits of time or memory."""


def search(pattern: str, text: str, *, seconds: float) -> regex.Match[str] | None:
    """Find the first match of a pattern that `re` compiles; `^` and `$` match at every line.

    Raises TooSlow after `seconds` of processor time: a search may take longer on a busy machine.
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
    """Count the parts of a pattern with its repetitions unrolled, as `regex` does when it compiles.

    Unrolling a million of them takes two seconds, and has no time limit.
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
    """Return a pattern with which `regex` finds the same as `re` does with the given one."""
    if not any(sign in pattern for sign in ("{", "[", "(?", "\\s", "\\S")):
        return pattern
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags = re.compile(pattern).flags
    return "".join(_parts(pattern, verbose=bool(flags & re.VERBOSE), ascii_only=bool(flags & re.ASCII)))


def _parts(pattern: str, *, verbose: bool, ascii_only: bool) -> Iterator[str]:
    """Yield the pattern piece by piece, rewritten; comments are left out."""
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
    # To `regex` the separators are not white space: take them out of the set, or out of its complement.
    return f"(?:{found}|[{_SEPARATORS}])" if start == 2 else f"(?:(?![{_SEPARATORS}]){found})"
