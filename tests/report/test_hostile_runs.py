"""Whatever a run has printed, and whatever its journeys are called: every format holds it, and nothing escapes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, Token
from pytest_dogfood.outcomes import Cause, Outcome
from pytest_dogfood.report.formats import FORMATS
from pytest_dogfood.report.markdown import LONGEST, to_markdown
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import RunView, text_of
from pytest_dogfood.storage.record import Kind, RecordedRun, WrongRecord
from tests.support.commonmark import outside_of_code
from tests.support.run_records import done, recorded, result, step
from tests.support.small_graphs import HERE, STEP, journey

PIECES = (
    "</script>",
    "<script>alert(1)</script>",
    "<svg onload=x>",
    "]]>",
    "<!--",
    "`",
    "```",
    "~~~~",
    "\n# heading\n",
    "\n- item",
    "[a](javascript:x)",
    "![a](http://x)",
    "https://evil.example",
    "@everyone",
    "|",
    "\\",
    "$$x$$",
    "\x00",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\r",
    "\r\n",
    "\x85",
    "\u2028",
    "\u202e",
    "\u2066",
    "\ud800",
    "\udcff",
    "::error::",
    "%0A",
    "::add-mask::x",
    ":",
    ";",
    "#",
    "%%{init: {}}%%",
    "section x",
    "\U0001f600",
    "é",
)
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=8).map("".join)
utf8 = texts.map(lambda text: text.encode(errors="replace").decode())
"""Texts that JSON can hold, as all of a record are."""

lines = utf8.map(lambda text: " ".join(text.split()) or "x")
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@st.composite
def runs(draw: st.DrawFn) -> RecordedRun:
    """Draw a red run in which everything that comes from outside is hostile; outputs are bytes of any kind."""
    name, other, token, alone = draw(lines), f"{draw(lines)}2", f"{draw(lines)}3", f"{draw(lines)}5"
    foreign = [draw(utf8) for _ in range(12)]
    wrong = (
        WrongRecord(foreign[0], foreign[1], foreign[2]),
        WrongRecord(foreign[3], "", "", (foreign[4], foreign[5])),
    )
    bad = step(
        place=f"{foreign[6]}:3:4",
        intent=foreign[7],
        command=foreign[8],
        ended_at=foreign[9],
        saved={"name": foreign[10]},
        wrong=wrong,
        out="out",
        err="err",
    )
    failed = done(name, Outcome.FAILED, steps=[bad], again=foreign[11], how=foreign[0], lane="gw0")
    test = done(foreign[5] or "t", Outcome.FAILED, kind=Kind.TEST, text=foreign[4], place=foreign[3])
    provision = done(token, Outcome.ERROR, kind=Kind.PROVISION, by=other, text=foreign[2], lane=foreign[1])
    return recorded(
        [
            journey(name, establishes=f"{token}4"),
            replace(journey(other), requires={Token(token): HERE}),
            journey(alone),
        ],
        [failed, test, provision, done(other, Outcome.ERROR, text=foreign[1])],
        [
            replace(result(name, Outcome.FAILED), leaked=(foreign[0],), not_cleaned=foreign[1] or "it"),
            result(other, Outcome.ERROR),
            result(alone, Outcome.ERROR, Cause(who=alone, why=foreign[6])),
        ],
        capabilities=[Capability(token=Token(token), location=HERE, provision=(STEP,))],
        texts={"out": draw(utf8), "err": draw(utf8)},
        exit_status=1,
        argv=(foreign[7], foreign[8]),
        ci=foreign[9],
        commit=foreign[10],
        closing_line=foreign[11],
        shard=draw(st.sampled_from(["", "shard 1 of 2"])),
    )


@settings(deadline=None)
@given(runs())
def test_in_markdown_nothing_foreign_stands_outside_of_code(run: RecordedRun) -> None:
    view = view_of(run)
    text = to_markdown(view)
    assert not HIDDEN.search(text)
    for line in outside_of_code(text):
        plain = re.sub(r"\\.", "", line)
        assert not re.search(r"[<>&@$|~]|javascript|\]\((?!https?:)|!\[", plain), line
        if line.startswith(("#", "-")):
            assert re.match(r"#{1,3} (\x00|[❌]|[A-Z])|- (in: )?(\x00|[0-9]|[a-z ]+: )", line), line
    gantt = text.partition("```mermaid\n")[2].partition("\n```")[0].split("\n")
    for line in gantt[3:]:
        assert re.fullmatch(r"  section [^:;#%\n]*|  [✓✗] [^:;#%\n]* :(crit, )?\d+, \d+", line), line


@settings(deadline=None)
@given(runs())
def test_the_json_is_valid_and_reads_back_as_the_same_view(run: RecordedRun) -> None:
    text = FORMATS["json"](view_of(run), None)
    text.encode()
    assert msgspec.json.decode(text, type=RunView) == view_of(run)


@settings(deadline=None)
@given(runs())
def test_the_trace_is_valid_and_has_every_activity(run: RecordedRun) -> None:
    text = FORMATS["trace"](view_of(run), None)
    events: list[dict[str, Any]] = json.loads(text)["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) >= len(run.activities)
    assert {event["ph"] for event in events} <= {"M", "X", "s", "f"}
    assert text.count("\n") == 1


@settings(deadline=None)
@given(runs())
def test_workflow_commands_stay_commands_of_ours(run: RecordedRun) -> None:
    commands = re.split(r"[\r\n]+", FORMATS["github"](view_of(run), None).strip("\n"))
    assert len(commands) == 5
    for command in commands:
        properties = re.match(r"::(error|warning) ((?:file|line|col|title)=[^:,]*,?)+::", command)
        assert properties is not None, command
        assert not HIDDEN.search(command[command.index("title=") :])


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=20), texts.map(lambda text: text.encode(errors="surrogatepass"))))
)
def test_an_output_of_any_bytes_is_shown_without_what_hides(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    (directory / "1.out").write_bytes(b"".join(parts))
    output = text_of(directory, "1.out")
    assert not HIDDEN.search(output.text)
    assert output.size == len(b"".join(parts))
    output.text.encode()


def test_an_output_of_a_gigabyte_is_read_from_both_ends_only(tmp_path: Path) -> None:
    size = 1024**3
    with (tmp_path / "1.out").open("wb") as file:
        file.write(b"the beginning\n")
        file.truncate(size)
        file.seek(size - 8)
        file.write(b"\nthe end")
    run = recorded(
        [journey("a")],
        [done("a", Outcome.FAILED, steps=[step(out="1.out", wrong=(WrongRecord("exit status", "0", "1"),))])],
        directory=tmp_path,
        exit_status=1,
    )
    view = view_of(run)
    cause = view.causes[0].step
    assert cause is not None
    assert cause.out.size == size
    assert cause.out.text.startswith("the beginning\n")
    assert f"… {size - 64 * 1024} bytes are left out here …" in cause.out.text
    assert len(to_markdown(view).encode()) < 32 * 1024
    assert "the end" in to_markdown(view)
    assert all(len(render(view, run.graph)) < 4 * 1024**2 for render in FORMATS.values())


def test_a_huge_value_of_every_kind_still_leaves_a_report_of_the_size_that_is_promised() -> None:
    huge = "x`\n" * 64 * 1024
    bad = step(
        intent=huge,
        command=huge,
        ended_at=huge,
        wrong=(WrongRecord(huge, huge, huge), WrongRecord("d", "", "", (huge,))),
    )
    names = [f"{'n' * 2_000}{number}" for number in range(100)]
    run = recorded(
        [journey("a"), *(journey(name) for name in names)],
        [done("a", Outcome.FAILED, steps=[bad]), *(done(name, Outcome.FAILED, text=huge) for name in names)],
        [result("a", Outcome.FAILED), *(result(name, Outcome.FAILED) for name in names)],
        exit_status=1,
    )
    text = to_markdown(view_of(run))
    assert 50_000 < len(text.encode()) <= LONGEST
    assert "left out: this report" not in text
