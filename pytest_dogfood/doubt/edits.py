"""Adds lines to journey files and scripts, and changes no other byte of them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from pytest_dogfood.doubt.experiments.values import Line
from pytest_dogfood.fileformat.parser import parse_journey_file
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Journey, JourneyId
from pytest_dogfood.settings import is_script


class Edit:
    """The lines that can be written into files: the new text of each file, and the lines that a person must write."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, str]] = {}
        """The text of each file, by its path from the rootdir, before and after."""
        self.places: dict[Line, int] = {}
        """Where each line goes, counted from 1 in the file as it is."""
        self.by_hand: list[Line] = []

    def patch(self) -> str:
        """Return a patch that `git apply` takes, in the rootdir."""
        return "".join(
            part
            for path, (before, after) in sorted(self.texts.items())
            for part in _difference(path, before, after)
        )


def edit_for(lines: Iterable[Line], graph: CapabilityGraph, rootdir: Path) -> Edit:
    """Return the edit that adds lines to the files of a project."""
    edit = Edit()
    for line in dict.fromkeys(lines):
        journey = graph.journeys[line.journey]
        written = None if journey.python else _written(edit, line, journey, rootdir)
        if written is None:
            edit.by_hand.append(line)
            edit.places[line] = journey.location.line
            continue
        before, after, place = written
        edit.texts[journey.path] = (before, after)
        edit.places[line] = place
    return edit


def _written(edit: Edit, line: Line, journey: Journey, rootdir: Path) -> tuple[str, str, int] | None:
    """Return the text of the file before and after, and the place of the line; None if a person must write it."""
    try:
        original = (rootdir / journey.path).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    text = edit.texts.get(journey.path, (original, original))[1]
    place = _added(original, line, journey)
    if place is None:
        return None
    if line.token in _declared(text, line, journey).get(journey.id, ()):
        return original, text, place[1]  # another instance of the same matrix has written it
    found = _added(text, line, journey)
    if found is None or not _means(text, found[0], line, journey):
        return None
    return original, found[0], place[1]


def _added(text: str, line: Line, journey: Journey) -> tuple[str, int] | None:
    """Return the text of a file with a line, and the number of the line that was changed or inserted."""
    word = token_in_file(line, journey)
    if is_script(journey.path):
        return _in_script(text, line, word)
    return _in_data(text, line, word, _written_id(journey), is_json=journey.path.endswith(".json"))


def token_in_file(line: Line, journey: Journey) -> str:
    """Return the token as it is written: where its instance is a value of the `matrix:`, by the name of that value."""
    base, _, instance = line.token.partition(":")
    names = [name for name, value in journey.matrix.items() if instance and value == instance]
    return f"{base}:${{{names[0]}}}" if names else str(line.token)


def _written_id(journey: Journey) -> str:
    """Return the id as the file has it: instances of a `matrix:` share one."""
    return without_instance(journey.id) if journey.matrix else str(journey.id)


def without_instance(journey: JourneyId) -> JourneyId:
    """Return the id of all instances of a matrix."""
    return JourneyId(re.sub(r"\[.*\]\Z", "", journey))


def _declared(text: str, line: Line, journey: Journey) -> dict[JourneyId, frozenset[str]]:
    """Return the tokens that each journey of a file has in the list of a line."""
    read = parse_journey_file(text.encode(), path=journey.path, stem=_stem(journey))
    return {one.id: frozenset(getattr(one, line.key)) for one in read.journeys}


def _stem(journey: Journey) -> str:
    return re.sub(r"(\.journey)?\.\w+\Z", "", Path(journey.path).name)


def _means(before: str, after: str, line: Line, journey: Journey) -> bool:
    """Return whether the new text declares the token, and is otherwise as valid as the old one."""
    old, new = (
        parse_journey_file(text.encode(), path=journey.path, stem=_stem(journey)) for text in (before, after)
    )
    if {one.code for one in new.diagnostics} - {one.code for one in old.diagnostics}:
        return False
    others = _declared(before, line, journey)
    wanted = _written_id(journey)
    for one, tokens in _declared(after, line, journey).items():
        added = tokens - others.get(one, frozenset())
        is_instance = journey.matrix and without_instance(one) == wanted
        if one == journey.id:
            if added != {line.token}:
                return False
        elif added and not is_instance:
            return False
    return True


_HEADER = re.compile(
    r"(?P<before>[ \t]*#[ \t]+dogfood:[ \t]*)(?P<said>.*?)(?P<end>[ \t]*\r?\n?)\Z", re.DOTALL
)


def _in_script(text: str, line: Line, word: str) -> tuple[str, int] | None:
    """Add a token to the `# dogfood:` lines of a script."""
    lines = text.splitlines(keepends=True)
    last: tuple[int, str] | None = None
    for number, one in enumerate(lines):
        if one.strip() and not one.lstrip().startswith("#"):
            break
        found = _HEADER.match(one)
        if found is None:
            continue
        last = (number, found["before"])
        said = found["said"]
        if re.match(rf"{line.key}[ \t]*:", said):
            comment = re.search(r"[ \t]+#.*\Z", said)
            value, rest = (said[: comment.start()], comment[0]) if comment else (said, "")
            if value.endswith("]"):
                inner = value[:-1].rstrip()
                value = f"{inner}{'' if inner.endswith('[') else ', '}{word}]"
            else:
                value = f"{value}, {word}"
            lines[number] = f"{found['before']}{value}{rest}{found['end']}"
            return "".join(lines), number + 1
    if last is None:
        return None
    number, before = last
    ending = "\r\n" if lines[number].endswith("\r\n") else "\n"
    if not lines[number].endswith("\n"):
        return None
    lines.insert(number + 1, f"{before}{line.key}: {word}{ending}")
    return "".join(lines), number + 2


def _in_data(text: str, line: Line, token: str, identity: str, *, is_json: bool) -> tuple[str, int] | None:
    """Add a token to a journey in a YAML or JSON file."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    mapping = _journey_node(root, identity)
    if mapping is None:
        return None
    word = json.dumps(token) if is_json or "$" in token else token
    for key, value in mapping.value:
        if key.value == line.key:
            if not mapping.start_mark.index <= value.start_mark.index <= mapping.end_mark.index:
                return None  # an alias: the list belongs to another journey too
            return _in_list(text, value, word)
    entries = mapping.value
    if mapping.flow_style:
        key = entries[0][0]
        added = f"{json.dumps(line.key) if is_json else line.key}: [{word}], "
        index = key.start_mark.index
        return text[:index] + added + text[index:], key.start_mark.line + 1
    key, value = next((one for one in entries if one[0].value in {"id", "journey_id"}), entries[0])
    return _behind(text, value.end_mark, " " * key.start_mark.column + f"{line.key}: [{word}]")


def _journey_node(root: yaml.Node | None, identity: str) -> yaml.MappingNode | None:
    if not isinstance(root, yaml.MappingNode):
        return None
    several = next((value for key, value in root.value if key.value == "journeys"), None)
    found = several.value if isinstance(several, yaml.SequenceNode) else [root]
    for one in found:
        if isinstance(one, yaml.MappingNode) and one.value:
            ids = [value.value for key, value in one.value if key.value in {"id", "journey_id"}]
            if identity in ids or (one is root and not ids):
                return one
    return None


def _in_list(text: str, node: yaml.Node, word: str) -> tuple[str, int] | None:
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode):
        return f"{text[:start]}[{text[start:end]}, {word}]{text[end:]}", node.start_mark.line + 1
    if not isinstance(node, yaml.SequenceNode):
        return None
    if node.flow_style:
        if not node.value:
            return f"{text[:start]}[{word}]{text[end:]}", node.start_mark.line + 1
        index = node.value[-1].end_mark.index
        return f"{text[:index]}, {word}{text[index:]}", node.value[-1].start_mark.line + 1
    last = node.value[-1]
    return _behind(text, last.end_mark, " " * node.start_mark.column + f"- {word}")


def _behind(text: str, mark: yaml.Mark, added: str) -> tuple[str, int] | None:
    """Insert a line behind that of a mark; None if something else stands there."""
    end = text.find("\n", mark.index)
    rest = text[mark.index : end if end >= 0 else len(text)]
    if rest.strip() and not rest.lstrip().startswith("#"):
        return None
    ending = "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"
    if end < 0:
        return f"{text}{ending}{added}{ending}", mark.line + 2
    return f"{text[: end + 1]}{added}{ending}{text[end + 1 :]}", mark.line + 2


def _difference(path: str, before: str, after: str) -> Iterator[str]:
    """Yield the parts of a unified diff of one file."""
    lines: Sequence[str] = list(
        difflib.unified_diff(_lines(before), _lines(after), fromfile=f"a/{path}", tofile=f"b/{path}")
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: str) -> list[str]:
    """Split at line feeds only, as git does."""
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


def marks_of(lines: Iterable[Line]) -> Mapping[JourneyId, list[str]]:
    """Return the marks that a person adds to Python tests, by test."""
    found: dict[JourneyId, list[str]] = {}
    for line in lines:
        mark = f'@pytest.mark.{line.key}("{line.token}")'
        found.setdefault(line.journey, []).append(mark)
    return found
