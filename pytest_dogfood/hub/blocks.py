"""The lines of a task fence -> a block; one that cannot be used says why, and is named as well as possible."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.consistency.task_block import Fields, Line, UnusableError, read_fields
from pytest_dogfood.hub.tasks import Block

_OPENING_FENCE = re.compile(r" {0,3}(?:`{3,}|~{3,})[ \t]*task(?:[ \t]|\Z)")
_GUESS = re.compile(r"\s*[\"']?(id|state_hub_task_id)[\"']?\s*:\s*[\"']?([^\s\"'#]+)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PLAIN = re.compile(r"[^\\`*_\[\]<>&!\r\n]*")
_COUNT = re.compile(r"[0-9]{1,9}")


class Entry(Struct, frozen=True, kw_only=True):
    """A block and what an editor needs: its fields with their places in the text. A problem leaves it none."""

    block: Block
    fields: Fields = Fields()


class BlockReader(Struct, frozen=True, kw_only=True):
    path: str
    heading: str
    loader: type[Any]

    def read(self, token: Token, lines: Sequence[Line], number: int) -> Entry:
        """Read the block of these lines, fences included; `number` is that of the first."""
        content = [_unindented(line, _indentation(lines[0])) for line in lines[1:]]
        try:
            _check_closed(token, lines)
            fields = read_fields(content[:-1], first_line=number + 1, loader=self.loader)
            return Entry(block=self._block(fields, number), fields=fields)
        except UnusableError as error:
            problem = _with_cause(str(error), content, number + 1)
            return Entry(
                block=_guessed(content, Block(path=self.path, line=number, task_id="", problem=problem))
            )

    def _block(self, fields: Fields, number: int) -> Block:
        task_id = _text(fields, "id")
        if not task_id:
            raise UnusableError("it has no id")
        return Block(
            path=self.path,
            line=number,
            task_id=task_id,
            hub_id=_uuid(_text(fields, "state_hub_task_id")),
            status=_value(fields, "status"),
            reopened=_count(_value(fields, "reopened")),
            title=_title(self.heading, task_id),
        )


def _indentation(line: Line) -> int:
    return len(line.text) - len(line.text.lstrip(" "))


def _unindented(line: Line, indentation: int) -> Line:
    """Take off as many spaces as the opening fence has, but no more than there are (CommonMark 4.5)."""
    off = min(indentation, _indentation(line))
    return Line(line.start + off, line.text[off:])


def _check_closed(token: Token, lines: Sequence[Line]) -> None:
    """See that the last line is a closing fence: markdown-it ends an open one where the file ends."""
    last = lines[-1].text.rstrip(" \t")
    fence = last.lstrip(" ")
    same = bool(fence) and set(fence) == {token.markup[0]} and len(fence) >= len(token.markup)
    if len(lines) == 1 or not same or len(last) - len(fence) > 3:
        raise UnusableError(f"its fence is never closed by a line '{token.markup}'")


def _with_cause(problem: str, content: Sequence[Line], first_line: int) -> str:
    """Add that another block begins inside, which is what an opening fence without its closing one looks like."""
    inside = (first_line + at for at, line in enumerate(content) if _OPENING_FENCE.match(line.text))
    at = next(inside, None)
    return problem if at is None else f"{problem}; it is not closed before the next block, in line {at}"


def _guessed(content: Sequence[Line], block: Block) -> Block:
    """Name the block as well as possible, so that what it stands for is held and not reported as missing."""
    found: dict[str, str] = {}
    for match in filter(None, (_GUESS.match(line.text) for line in content)):
        found.setdefault(match[1], match[2])
    hub_id = found.get("state_hub_task_id", "").lower()
    return replace(block, task_id=found.get("id", ""), hub_id=hub_id if _UUID.fullmatch(hub_id) else None)


def _value(fields: Fields, key: str) -> str | None:
    """Give the text of a field; None if it is absent or empty. Raises UnusableError if it is no scalar."""
    if key in fields.nested:
        raise UnusableError(f"'{key}' is not a single value")
    found = fields.scalars.get(key)
    return found.value if found is not None and found.value else None


def _text(fields: Fields, key: str) -> str:
    """Give the text of a field, in which YAML's null is none."""
    value = _value(fields, key)
    return "" if value is None or fields.scalars[key].is_null else value


def _uuid(text: str) -> str | None:
    if text and not _UUID.fullmatch(text.lower()):
        raise UnusableError(f"state_hub_task_id '{text}' is not a UUID")
    return text.lower() or None


def _count(text: str | None) -> int:
    if text is not None and not _COUNT.fullmatch(text):
        raise UnusableError(f"reopened '{text}' is not a number from 0")
    return int(text or 0)


@cache
def _inline_markdown() -> MarkdownIt:
    return MarkdownIt("commonmark")


def _title(heading: str, task_id: str) -> str:
    plain = " ".join("".join(_inline_texts(heading)).split())
    label, dash, rest = plain.partition("—")
    return (rest.strip() if dash and label.strip() == task_id.rpartition("-")[2] else plain) or task_id


def _inline_texts(heading: str) -> Iterator[str]:
    if _PLAIN.fullmatch(heading):  # as most are; looking for markup takes as long as all else about a block
        yield heading
        return
    for token in _inline_markdown().parseInline(heading)[0].children or ():
        yield token.content if token.type in {"text", "code_inline", "text_special"} else " "
