"""Finds the workplans of a checkout, and reads their task blocks, each with the place of its status."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from markdown_it import MarkdownIt
from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.consistency.hub.model import Block
from pytest_dogfood.consistency.task_block import (
    ParsedBlock,
    SourceLine,
    UnusableError,
    read_block,
    read_fields,
)
from pytest_dogfood.consistency.task_findings import Action, Finding, FindingSeverity
from pytest_dogfood.git.tracked_file import read_regular

BOM = "\ufeff"

# CommonMark has only these line ends; `str.splitlines` has ten.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_TASK = re.compile(r"[ \t]*task(?:[ \t]|\Z)")
_ANY_TASK_FENCE = re.compile(r"(?:```|~~~)[ \t]*task")
_WORKPLAN_LINE = re.compile(r"type[ \t]*:[ \t]*[\"']?workplan[\"']?[ \t]*(?:#.*)?")


class Document(Struct, frozen=True, kw_only=True):
    """A file that was read. `text` is the decoded `content`, with its BOM if it has one.

    A file that is not a workplan has no entries; `stray` is the line of its first task block, 0 without any.
    `unreadable` says why the whole file is held. `nested` are the lines of task fences in lists and block quotes,
    which are not read.
    """

    path: str
    content: bytes
    text: str = ""
    is_workplan: bool = False
    entries: tuple[ParsedBlock, ...] = ()
    nested: tuple[int, ...] = ()
    stray: int = 0
    unreadable: str = ""

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(entry.block for entry in self.entries)

    def findings(self, repo: str) -> tuple[Finding, ...]:
        """Return the findings about the file itself; those about a block are decided with its task."""
        if self.unreadable:
            unreadable = Finding(
                code="C-27",
                severity=FindingSeverity.FAIL,
                repo=repo,
                path=self.path,
                message=f"workplan cannot be read: {self.unreadable}",
                hint="no task of this file is changed until you correct it",
                action=Action.HELD,
            )
            return (unreadable,)
        not_read = Finding(code="C-24", severity=FindingSeverity.INFO, repo=repo, path=self.path, message="")
        nested = replace(
            not_read,
            reason="nested",
            message="a task block inside a list or a block quote is not read",
            hint="move it to the left margin if it is meant to be a task",
        )
        stray = replace(
            not_read,
            line=self.stray,
            reason="no_workplan",
            message="a task block in a file that is not a workplan is not read",
            hint="if it is meant to be one, begin it with the lines ---, type: workplan, ---",
        )
        return (*(replace(nested, line=line) for line in self.nested), *([stray] if self.stray else []))


def parse(content: bytes, *, path: str) -> Document:
    """Read a file. Never raises: `unreadable` is set if the file cannot be read."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _undecodable(content, path, error)
    lines = split_lines(text)
    end = _front_matter_end(lines)
    if not _is_workplan(lines[:end]):
        entries, _ = _read_body(text, lines, 0, path)
        return Document(path=path, content=content, text=text, stray=entries[0].block.line if entries else 0)
    if end is None:
        why = "its front matter is not closed by a line '---'"
        return Document(path=path, content=content, text=text, is_workplan=True, unreadable=why)
    entries, nested = _read_body(text, lines, end + 1, path)
    return Document(path=path, content=content, text=text, is_workplan=True, entries=entries, nested=nested)


def split_lines(text: str) -> list[SourceLine]:
    """Return the lines, as CommonMark sees them, without their ends."""
    return [SourceLine(found.start(), found.group().rstrip("\r\n")) for found in _LINE.finditer(text)]


def _undecodable(content: bytes, path: str, error: UnicodeDecodeError) -> Document:
    """Hold the file if it is, or may be, a workplan: one in UTF-16 does not look like one."""
    lines = split_lines(content.decode(errors="replace"))
    if b"\0" not in content and not _is_workplan(lines[: _front_matter_end(lines)]):
        return Document(path=path, content=content)
    line = content.count(b"\n", 0, error.start) + 1
    why = f"it is not UTF-8 (byte {error.start}, line {line}: {content[error.start]:#04x})"
    return Document(path=path, content=content, is_workplan=True, unreadable=why)


def _front_matter_end(lines: Sequence[SourceLine]) -> int | None:
    """Return the position of the line that closes the front matter; None if none does."""
    closing = (at for at, line in enumerate(lines) if at and line.text.rstrip() in {"---", "..."})
    return next(closing, None)


def _is_workplan(head: Sequence[SourceLine]) -> bool:
    if not head or head[0].text.removeprefix(BOM).rstrip() != "---":
        return False
    try:
        fields = read_fields(head[1:], first_line=2)
    except UnusableError:
        # Invalid front matter must not make a workplan's tasks disappear.
        return any(_WORKPLAN_LINE.fullmatch(line.text) for line in head)
    kind = fields.scalars.get("type")
    return kind is not None and kind.value == "workplan"


_BLOCKS_OF_MARKDOWN = MarkdownIt("commonmark").disable("inline")


def _read_body(
    text: str, lines: Sequence[SourceLine], first: int, path: str
) -> tuple[tuple[ParsedBlock, ...], tuple[int, ...]]:
    """Return the task blocks from line `first` on, and the lines of those in lists and block quotes."""
    if first >= len(lines) or not _ANY_TASK_FENCE.search(text, lines[first].start):
        return (), ()
    entries: list[ParsedBlock] = []
    nested: list[int] = []
    heading = ""
    tokens = _BLOCKS_OF_MARKDOWN.parse(text[lines[first].start :])
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            heading = tokens[at + 1].content
        elif token.type == "fence" and token.map and _TASK.match(token.info):
            opening, end = first + token.map[0], first + token.map[1]
            if token.level:
                nested.append(opening + 1)
            else:
                block = lines[opening:end]
                entries.append(read_block(token, block, number=opening + 1, path=path, heading=heading))
    return tuple(entries), tuple(nested)


_SUFFIX = ".md"
_NEVER = frozenset({".git", "node_modules"})


def read_workplans(root: Path, places: Sequence[str]) -> tuple[Document, ...]:
    """Read the workplans of a checkout, and files that may be meant as one, in the order of their paths.

    Each of `places` is a directory, of which every Markdown file is read, or a pattern such as `**/*-WP-*.md`: one
    without wildcards is a directory unless it names a Markdown file. Patterns do not match in other repositories inside
    this one. Never raises: a file or directory that cannot be read becomes a document that is `unreadable`.
    """
    found: dict[str, Document | None] = {}
    for place in places:
        if any(letter in place for letter in "*?[") or place.endswith(_SUFFIX):
            wanted = place.split("/")
            for path, document in _walk(root, "", into_others=False):
                if document is None and _fits(path.split("/"), wanted):
                    found[path] = None
        elif (root / place.strip("/")).is_dir():
            found.update(_walk(root, place.strip("/"), into_others=True))
    read = (document or _read(root, path) for path, document in sorted(found.items()))
    return tuple(document for document in read if document.is_workplan or document.stray)


def _walk(root: Path, directory: str, *, into_others: bool) -> Iterator[tuple[str, Document | None]]:
    """Yield each Markdown file, with forward slashes, and each directory that cannot be read."""
    trouble: list[OSError] = []
    for here, inner, names in os.walk(root / directory, onerror=trouble.append):
        relative = os.path.relpath(here, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        inner[:] = [
            name
            for name in sorted(inner)
            if name not in _NEVER and (into_others or not os.path.lexists(Path(here) / name / ".git"))
        ]
        yield from ((prefix + name, None) for name in names if name.endswith(_SUFFIX))
    for error in trouble:
        name = Path(error.filename or root).relative_to(root).as_posix()
        yield name, _unreadable(name, error)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _read(root: Path, path: str) -> Document:
    try:
        # A link is read like the file it names; only writing through it is not allowed.
        return parse(read_regular((root / path).resolve(strict=True)), path=path)
    except (OSError, RuntimeError) as error:
        return _unreadable(path, error)


def _unreadable(path: str, error: OSError | RuntimeError) -> Document:
    why = getattr(error, "strerror", None) or str(error)
    return Document(path=path, content=b"", is_workplan=True, unreadable=why)
