"""Random workplans: true to the format, but for what people and editors do to line ends, quotes and white space."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from pytest_dogfood.consistency.hub.model import Status

LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
ACCIDENTS = [
    b"```",
    b"~~~task\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"&a ",
    b"*a",
    b"|\n ",
    b"\\",
    b"'",
    b"- ",
    b"> ",
]
STATUSES = st.sampled_from(Status)

_WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n") | st.sampled_from("`~#>-*<&é—🎉\t:"), max_size=30
)
_LABELS = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="'\"\\`~"), max_size=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A document, and the status of each task by its id."""

    content: bytes
    statuses: dict[str, Status]


@st.composite
def fences(draw: st.DrawFn) -> tuple[str, str]:
    """Return the indentation of a fence, and its mark."""
    return " " * draw(st.integers(0, 3)), draw(st.sampled_from("`~")) * draw(st.integers(3, 6))


@st.composite
def blocks(draw: st.DrawFn, task_id: str, status: Status) -> list[str]:
    """Return the lines of a task block."""
    indentation, mark = draw(fences())
    quote = draw(st.sampled_from(["", "'", '"']))
    gap = draw(st.sampled_from([" ", "  ", "\t", " \t "]))
    after = draw(st.sampled_from(["", " ", "\t", " # done", "\t# status: todo", "  # é — 🎉"]))
    within = draw(st.sampled_from(["", " ", "\t"]))
    fields = [f"{within}id: {task_id}", f"{within}status:{gap}{quote}{status.value}{quote}{after}"]
    fields += [
        f"{within}{key}: '{draw(_LABELS)}'" for key in draw(st.sets(st.sampled_from(["note", "ä", "who"])))
    ]
    fields += draw(st.lists(st.sampled_from(["", f"{within}# status: todo"]), max_size=2))
    fields += draw(st.sampled_from([[], [f"{within}tags: [status, todo]"], [f"{within}reopened: 3"]]))
    inside = [indentation + line for line in draw(st.permutations(fields))]
    info = draw(st.sampled_from(["task", " task", "task  ", "task {.card}"]))
    return [f"{indentation}{mark}{info}", *inside, f"{indentation}{mark}"]


@st.composite
def distractions(draw: st.DrawFn) -> list[str]:
    """Return lines that look like a task, but are none."""
    inner = ["```task", "id: X-T01", "status: todo", "```"]
    mark = draw(st.sampled_from(["`````", "~~~"]))
    shapes = [
        [f"{mark}markdown", *inner, mark],
        ["<!--", *inner, "-->"],
        ["- a list", "", *("  " + line for line in inner)],
        ["> " + line for line in inner],
        ["```python", "status: todo", "```"],
        ["status: todo", "============"],
        ["text", "", *("    " + line for line in inner)],
    ]
    return draw(st.sampled_from(shapes))


@st.composite
def prose(draw: st.DrawFn) -> list[str]:
    """Return headings, rules and paragraphs that end by themselves before a fence."""
    line = draw(_WORDS).lstrip("`~<>\t ")
    shapes = [[f"## T01 — {line}"], [f"A sentence: {line}"], ["---"], [f"Heading {line}", "---"]]
    return draw(st.sampled_from(shapes))


@st.composite
def joined(draw: st.DrawFn, lines: list[str]) -> str:
    """Return the lines with ends of all kinds; an empty one never turns the end before it into CR LF."""
    text = ""
    for line in lines:
        end = draw(LINE_ENDS)
        text += line + ("\r" if not line and end == "\n" and text.endswith("\r") else end)
    return text


@st.composite
def workplans(draw: st.DrawFn) -> Written:
    """Return a workplan with some tasks, of which none needs a refusal."""
    statuses = {f"X-T{number:02}": draw(STATUSES) for number in range(draw(st.integers(1, 4)))}
    pieces = [["---", "type: workplan", "status: active", "---"]]
    for task_id, status in statuses.items():
        pieces += draw(st.lists(distractions() | prose(), max_size=3))
        # A paragraph of text ends what is before, lists as well: without it, an indented fence belongs to the list.
        pieces += [["Text."], draw(blocks(task_id, status))]
    pieces += draw(st.lists(distractions() | prose(), max_size=2))
    lines = [line for piece in pieces for line in [*piece, ""]]
    text = draw(joined(lines))
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    bom = "\ufeff" if draw(st.booleans()) else ""
    return Written(content=(bom + text).encode(), statuses=statuses)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Return the bytes of a workplan after an accident: some cut out, some put in, perhaps not even text."""
    content = draw(workplans()).content
    at, count = draw(st.integers(0, len(content))), draw(st.integers(0, 12))
    pieces = [
        b"```",
        b"~~~task\n",
        b"\r",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"&a ",
        b"*a",
        b"|\n ",
        b"\\",
        b"'",
        b"- ",
        b"> ",
    ]
    put_in = draw(st.sampled_from(pieces) | st.binary(max_size=4))
    return content[:at] + put_in + content[at + count :]
