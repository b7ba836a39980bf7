"""What CommonMark takes for code in a text, so that tests see what is outside of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCE = re.compile(r" {0,3}(`{3,})[^`]*\Z")
_TICKS = re.compile("`+")


def outside_of_code(text: str) -> Iterator[str]:
    """Yield the lines of a document without its blocks of code, and what is in code spans left out of them."""
    fence = ""
    paragraph: list[str] = []
    for line in text.split("\n"):
        if fence:
            if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}}[ \t]*", line):
                fence = ""
            continue
        if found := _FENCE.match(line):
            yield from _without_spans("\n".join(paragraph))
            paragraph, fence = [], found[1]
        else:
            paragraph.append(line)
    assert not fence, "a block of code that never ends"
    yield from _without_spans("\n".join(paragraph))


def _without_spans(text: str) -> Iterator[str]:
    """Leave out code spans: a string of backticks up to the next one of the same length, within a paragraph."""
    for block in re.split(r"\n[ \t]*\n", text):
        kept, rest = "", block
        while found := _TICKS.search(rest):
            kept, after = kept + rest[: found.start()], rest[found.end() :]
            ends = [one for one in _TICKS.finditer(after) if one[0] == found[0]]
            if ends and not kept.endswith("\\"):
                kept, rest = f"{kept}\x00", after[ends[0].end() :]
            else:
                kept, rest = kept + found[0], after
        yield from (kept + rest).split("\n")
