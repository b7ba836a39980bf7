from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings, strategies as st
from msgspec.structs import replace

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report import html
from pytest_dogfood.report.formats import FORMATS, format_of
from pytest_dogfood.report.html import to_html
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.page_parts import CARDS, MOST_ROWS, Fragments, Timeline, took
from pytest_dogfood.report.run_view import BarView, LaneView, RunView
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun, StepRecord, reference_of
from tests.support.told_runs import Told, a_bit_of_everything, with_a_lost_machine

VOID = {"meta", "input", "br", "circle", "path", "rect"}
ELEMENTS = {
    *VOID, "html", "head", "title", "style", "body", "header", "nav", "main", "footer", "section", "article", "div",
    "h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "dl", "dt", "dd", "a", "b", "i", "small", "span", "code", "pre",
    "samp", "bdi", "mark", "details", "summary", "fieldset", "legend", "label", "table", "thead", "tbody", "tr", "th",
    "td", "svg", "g", "text", "desc",
}  # fmt: skip
ATTRIBUTES = {
    "id", "class", "href", "rel", "lang", "dir", "charset", "content", "http-equiv", "name", "for", "type", "value",
    "checked", "open", "style", "role", "scope", "tabindex", "aria-label", "aria-hidden", "aria-labelledby", "xmlns",
    "viewbox", "width", "height", "x", "y", "rx", "cx", "cy", "r", "d", "transform", "font-size", "text-anchor",
    "fill-opacity",
}  # fmt: skip
HOSTILE = [
    "</script><script>alert(1)</script>", "]]>", "<svg onload=alert(1)>", "\x00", "\u202egnp.exe", "<!--", "-->",
    "</pre></samp></details></main>", "<b zz=1>", "'\" onclick=alert(1) x='", "&lt;img&gt;", "{{ 7 * 7 }}",
    "{% raw %}", "\ud800", "</title><base href=//evil>", "javascript:alert(1)", "\x1b[31m", "<a href=//evil>",
    "</style><style>*{display:none}", "\r\n", "\u2028", "<input id=f-all>", "]]&gt;", "<",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), min_size=1, max_size=6).map("".join)


class Parsed(HTMLParser):
    """What a parser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def values(self, name: str) -> list[str]:
        return [text for _, attributes in self.elements if (text := attributes.get(name))]


def page_of(recorded: RecordedRun, before: RecordedRun | None = None) -> str:
    reference = reference_of(before) if before is not None else None
    return to_html(view_of(recorded, reference), recorded.graph)


def everything(tmp_path: Path) -> tuple[RunView, RecordedRun]:
    recorded = a_bit_of_everything(tmp_path)
    return view_of(recorded), recorded


def assert_sound(page: str) -> Parsed:
    """Check all that must be true of any page."""
    parsed = Parsed(page)
    assert {tag for tag, _ in parsed.elements} <= ELEMENTS
    assert {name for _, attributes in parsed.elements for name in attributes} <= ATTRIBUTES
    assert not parsed.open
    assert not parsed.unbalanced
    assert not parsed.comments
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    leading = parsed.values("href")
    assert {link for link in leading if not link.startswith("#")} <= {"https://ci.example/1"}
    assert {link[1:] for link in leading if link.startswith("#")} <= set(ids)
    assert set(parsed.values("for")) <= set(ids)
    levels = [int(tag[1]) for tag, _ in parsed.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert all(after <= level + 1 for level, after in pairwise(levels))
    assert not any(ord(sign) < 0x20 and sign not in "\t\n" for sign in page)
    return parsed


def test_a_page_of_everything_is_sound_and_names_each_result(tmp_path: Path) -> None:
    view, recorded = everything(tmp_path)
    parsed = assert_sound(to_html(view, recorded.graph))
    for name in recorded.results:
        assert name in parsed.text
    for word in (
        "bundle",
        "failed in step 2 of 2",
        "crashed its worker",
        "could not be provisioned",
        "mailsrv",
    ):
        assert word in parsed.text


def test_the_page_forbids_to_load_or_run_anything(tmp_path: Path) -> None:
    parsed = Parsed(page_of(a_bit_of_everything(tmp_path)))
    (policy,) = [one["content"] for tag, one in parsed.elements if tag == "meta" and "http-equiv" in one]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert "url(" not in parsed.text
    assert "@import" not in parsed.text


def test_a_green_run_says_nothing_of_what_went_wrong(tmp_path: Path) -> None:
    page = page_of(Told(tmp_path).journey("a", establishes="t").journey("b", requires="t").run())
    parsed = assert_sound(page)
    assert 'id="wrong"' not in page
    assert "<title>✓ 2 passed: shop, 6 Nov 2026</title>" in page or "✓ 2 passed: shop" in parsed.text


def test_a_run_without_anything_is_a_page(tmp_path: Path) -> None:
    recorded = replace(Told(tmp_path, exit_status=5).run(), graph=None)
    parsed = assert_sound(page_of(recorded))
    assert "pytest ended with exit status 5" in parsed.text


def test_a_run_that_was_killed_is_shown_as_far_as_it_came(tmp_path: Path) -> None:
    recorded = Told(tmp_path).journey("a").journey("never", None).run()
    recorded = replace(recorded, run=replace(recorded.run, exit_status=None, seconds=0.0))
    parsed = assert_sound(page_of(recorded))
    assert "did not come to its end" in parsed.text
    assert "Nothing is known of 1 journey of this run: never" in parsed.text


def test_what_is_different_from_an_earlier_run_is_told(tmp_path: Path) -> None:
    before = Told(tmp_path).journey("a").journey("gone").journey("slow", seconds=0.1).run()
    after = Told(tmp_path).journey("a", Outcome.FAILED).journey("slow").journey("new").run()
    after = replace(after, run=replace(after.run, whole=True))
    parsed = assert_sound(page_of(after, before))
    assert "Since the last green run" in parsed.text
    for word in ("failing", "gone", "new", "0.09 s → 0.90 s"):
        assert word in parsed.text


def test_a_run_that_was_not_green_is_an_earlier_run(tmp_path: Path) -> None:
    before = Told(tmp_path).journey("a", Outcome.FAILED).run()
    assert "Since an earlier run" in page_of(Told(tmp_path).journey("a").run(), before)


def test_the_job_is_a_link_if_it_is_the_address_of_a_page(tmp_path: Path) -> None:
    recorded = Told(tmp_path).journey("a").run()
    linked = replace(recorded, run=replace(recorded.run, ci="https://ci.example/1"))
    assert 'href="https://ci.example/1"' in page_of(linked)
    evil = replace(recorded, run=replace(recorded.run, ci="javascript:alert(1)"))
    assert "javascript" not in page_of(evil)


def test_what_an_actor_did_is_shown_action_by_action(tmp_path: Path) -> None:
    told = Told(tmp_path).journey("a", steps=1)
    for number, command in enumerate(("look around", "click it")):
        step = StepRecord(place="shop.journey.yaml:1:5", number=1, of=1, command=command, exit=number)
        told.also(
            Activity(
                id="a",
                kind=Kind.ACTION,
                lane="gw0",
                started=1.0,
                seconds=0.1,
                outcome=Outcome.PASSED,
                steps=(step,),
            )
        )
    parsed = assert_sound(page_of(told.run()))
    assert "what the actor did, 2 actions" in parsed.text
    assert parsed.text.index("look around exit 0") < parsed.text.index("click it exit 1")


def test_what_was_done_for_no_journey_alone_and_a_clean_up_that_failed_are_told(tmp_path: Path) -> None:
    view = view_of(Told(tmp_path).journey("a", Outcome.FAILED).run())
    (cause,), (one,) = view.causes, view.journeys[0].tries
    cleanup = replace(one.steps[-1], command="rm it")
    release = replace(one, kind=Kind.RELEASE, id="image", outcome=Outcome.PASSED, steps=one.steps[:1])
    view = replace(view, causes=(replace(cause, cleanup=cleanup),), for_no_journey=(release,))
    parsed = assert_sound(to_html(view, None))
    assert "Its clean-up failed, too:" in parsed.text
    assert "$ rm it" in parsed.text
    assert parsed.text.index("Done for no journey alone") < parsed.text.index("released image")


def test_a_file_that_ends_in_html_is_a_page(tmp_path: Path) -> None:
    recorded = Told(tmp_path).journey("a").run()
    assert FORMATS[format_of(Path("report.html"))](view_of(recorded), recorded.graph) == page_of(recorded)


def test_where_a_step_of_several_commands_ended_is_told(tmp_path: Path) -> None:
    recorded = Told(tmp_path).journey("a", Outcome.FAILED, steps=1).run()
    (one,) = recorded.activities
    ended = replace(one, steps=(replace(one.steps[0], ended_at="line 2: false"),))
    assert (
        assert_sound(page_of(replace(recorded, activities=(ended,)))).text.count("failed: line 2: false") == 2
    )


@pytest.mark.parametrize("number", [0, 1, 10, 11, 250, 600])
def test_however_much_goes_wrong_each_failure_is_a_link_to_its_journey(tmp_path: Path, number: int) -> None:
    told = Told(tmp_path, exit_status=1).journey("good")
    for index in range(number):
        told.journey(f"bad-{index}", Outcome.FAILED)
    page = page_of(told.run())
    parsed = assert_sound(page)
    cards = sum(tag == "article" for tag, _ in parsed.elements)
    assert cards == min(number, CARDS)
    to_rows = set(parsed.values("href"))
    assert all(f"#j-bad-{index}" in to_rows for index in range(min(number, MOST_ROWS)))
    assert all(f'id="j-bad-{index}"' in page for index in range(number))


def test_over_eighty_in_trouble_are_a_table_and_fewer_a_drawing(tmp_path: Path) -> None:
    pages = []
    for number in (80, 81):
        told = Told(tmp_path)
        for index in range(number):
            told.journey(f"bad-{index}", Outcome.FAILED)
        pages.append(page_of(told.run()))
    drawn, listed = pages
    assert 'id="around-title"' in drawn
    assert "Journeys that went wrong" not in drawn
    assert "<svg" not in listed
    assert "Journeys that went wrong" in listed
    assert "81 journeys are too many for one drawing" in listed


def test_a_drawing_of_what_went_wrong_leaves_the_rest_out(tmp_path: Path) -> None:
    told = (
        Told(tmp_path)
        .journey("base", establishes="b")
        .journey("bad", Outcome.FAILED, requires="b", establishes="t")
    )
    told.journey("waits", Outcome.DEFERRED, requires="t", because="bad").journey("unrelated")
    page = page_of(told.run())
    around, whole = page.split('id="around-title"')[1].split('id="whole-title"')
    drawn = [
        name
        for name in ("base", "bad", "waits", "unrelated")
        if f'aria-label="{name}, ' in around.split("</svg>")[0]
    ]
    assert drawn == ["base", "bad", "waits"]
    assert 'aria-label="unrelated, passed"' in whole


@settings(
    deadline=None, max_examples=25, phases=[Phase.reuse, Phase.generate]
)  # to shrink a page takes minutes
@given(name=TEXTS, text=TEXTS, command=TEXTS)
def test_no_text_of_a_run_becomes_an_element(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str, command: str
) -> None:
    told = Told(tmp_path_factory.mktemp("run"))
    token = "".join(name.split()) or "t"
    told.journey(name, Outcome.FAILED, out=text, err=command, command=command or "x", establishes=token)
    told.journey(f"{name} 2", Outcome.DEFERRED, requires=token, because=name)
    told.journey(f"{name} 3", Outcome.ERROR, text=text, python=True)
    recorded = told.run()
    run = replace(recorded.run, project=name, argv=(text,), closing_line=command, commit=text, shard=name)
    parsed = assert_sound(page_of(replace(recorded, run=run)))
    assert sum(tag == "svg" for tag, _ in parsed.elements) == 2


@settings(deadline=None)
@given(
    st.lists(
        st.text(max_size=4) | st.sampled_from(["a-2", "a--2", "a", "A", "ä", "", "a" * 300]), unique=True
    )
)
def test_each_journey_has_an_id_of_its_own(names: list[str]) -> None:
    told = Told()
    for name in names:
        told.journey(name, python=True)
    fragments = Fragments(view_of(told.run()))
    found = [fragments.row(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(one.startswith("#j-") and one.isascii() and " " not in one for one in found)


def test_a_huge_output_is_shown_in_part_in_the_row_and_its_end_in_the_card(tmp_path: Path) -> None:
    lines = "\n".join(f"line {number}" for number in range(100_000))
    page = page_of(Told(tmp_path).journey("a", Outcome.FAILED, out=lines).run())
    card = page.split("<article")[1].split("</article>")[0]
    assert "line 99999" in card
    assert "line 99900" not in card
    assert "the whole output" in card
    assert "bytes are left out here" in page
    assert len(page) < 300_000


def large(tmp_path: Path, *, steps: int = 2) -> RecordedRun:
    told = Told(tmp_path)
    for number in range(20):
        bad = Outcome.FAILED if number == 7 else Outcome.PASSED
        told.journey(
            f"j{number}", bad, out=f"printed by {number}\n" * 100, steps=steps, establishes=f"t{number}"
        )
    return told.run()


def test_a_page_that_is_small_enough_leaves_nothing_out(tmp_path: Path) -> None:
    page = page_of(large(tmp_path))
    assert "Left out:" not in page
    assert page.count("printed by 3\n") == 200


@pytest.mark.parametrize(
    "limit, note, outputs, steps, failed",
    [
        (100_000, "What passed steps printed.", False, True, True),
        (60_000, "Steps that passed, and all but 500 of the tokens that are present.", False, False, True),
        (1, "Steps of all journeys but the first 200 that went wrong.", False, False, False),
    ],
)
def test_what_matters_least_is_left_out_first_and_the_page_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    note: str,
    outputs: bool,  # noqa: FBT001 - a row of the table
    steps: bool,  # noqa: FBT001
    failed: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(html, "LONGEST_PAGE", limit)
    page = page_of(large(tmp_path))
    parsed = assert_sound(page)
    assert f"Left out: {note} The page would be too large." in parsed.text
    assert ("printed by 3\n" in page) is outputs
    assert ("do part 1" in page.split('id="j-j3"')[1].split("</details>")[0]) is steps
    assert (page.split('id="j-j7"')[1].split("</details>")[0].count("printed by 7\n") > 50) is failed
    assert len(page.encode()) <= limit or limit == 1
    assert all(f'id="j-j{number}"' in page for number in range(20))


def test_more_tokens_than_anyone_reads_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "LONGEST_PAGE", 1)
    told = Told(tmp_path)
    for number in range(700):
        told.journey(f"j{number}", establishes=f"t{number}", steps=1)
    page = page_of(told.run())
    assert_sound(page)
    assert "0 missing, 700 present" in page
    assert page.count("<tr id=") == 500


def test_eight_megabytes_of_passed_outputs_make_no_page_of_eight_megabytes(tmp_path: Path) -> None:
    told = Told(tmp_path)
    for number in range(140):
        told.journey(f"j{number}", out="x" * 79 + "\n" + "y" * 65_000, steps=1)
    told.journey("bad", Outcome.FAILED, out="z" * 60_000)
    page = page_of(told.run())
    assert len(page.encode()) < html.LONGEST_PAGE
    assert "y" * 1000 not in page
    assert "z" * 60_000 in page


def test_the_same_run_is_the_same_page_in_every_process(tmp_path: Path) -> None:
    code = (
        "import hashlib, pathlib, sys\n"
        "from tests.report.test_html import a_bit_of_everything, page_of\n"
        "run = a_bit_of_everything(pathlib.Path(sys.argv[1]))\n"
        "print(hashlib.sha256(page_of(run).encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "TZ": zone},
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(digests) == 1


def test_templates_are_read_when_a_page_is_written_and_not_before() -> None:
    code = "import sys, pytest_dogfood.report.html; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.004, "0.00 s"),
        (9.99, "9.99 s"),
        (9.996, "10.0 s"),
        (99.4, "99.4 s"),
        (99.6, "1 min 40 s"),
        (7265, "2 h 01 min"),
    ],
)
def test_times_are_written_so_that_they_can_be_read(seconds: float, words: str) -> None:
    assert took(seconds) == words


@pytest.mark.parametrize("seconds", [0.005, 0.3, 1.586, 7, 59, 119, 121, 4000, 100_000])
def test_a_timeline_has_a_few_round_times(seconds: float) -> None:
    view = replace(view_of(Told().run()), seconds=seconds)
    ticks = list(Timeline(view, lambda _: "").ticks())
    assert 1 <= len(ticks) <= 9
    assert ticks[0] == ("0", "0 s" if seconds < 120 else "0 min")
    assert len({text for _, text in ticks}) == len(ticks)


def rows(page: str) -> Iterator[str]:
    return (one.split("</summary>")[0] for one in page.split('<details class="j ')[1:])


def test_a_row_says_its_outcome_in_words_and_what_it_waited_for(tmp_path: Path) -> None:
    shown = {
        row.split("<bdi>")[1].split("</bdi>")[0]: row for row in rows(page_of(a_bit_of_everything(tmp_path)))
    }
    words = {
        "build": "passed",
        "bundle": "failed",
        "clone": "deferred",
        "announce": "not judged",
        "killer": "crashed",
        "later": "skipped",
        "test_shop.py::test_known[&lt;b&gt;]": "xfailed",
    }
    assert all(f'<span class="vh">, {word}</span>' in shown[name] for name, word in words.items())
    assert 'because of <a href="#c-bundle">' in shown["clone"]
    assert 'because of <a href="#c-mail-up">' in shown["announce"]
    assert "2 tries" in shown["build"]


def test_provisioning_is_hatched_within_the_bar_of_the_journey_that_waited(tmp_path: Path) -> None:
    page = page_of(a_bit_of_everything(tmp_path))
    lane = page.split('aria-label="Worker gw0"')[1].split("</ol>")[0]
    (bar,) = [one for one in lane.split("<li>") if 'href="#j-bundle"' in one]
    assert '<i class="p" style="--l:11.11%;--w:33.33%">' in bar
    assert "failed" in bar.split('class="')[1].split('"')[0]


def test_what_was_provisioned_for_a_replay_is_hatched_once() -> None:
    bar = BarView(
        id="a",
        kind=Kind.JOURNEY,
        outcome=Outcome.PASSED,
        start=1.0,
        seconds=10.0,
        provisioning=((5.0, 1.0), (2.0, 2.0), (2.5, 0.5), (10.0, 9.0)),
    )
    timeline = Timeline(replace(view_of(Told().run()), seconds=20.0), lambda _: "")
    (placed,) = timeline.bars(LaneView(name="gw0", busy=1.0, bars=(bar,)))
    assert placed.parts == (("10", "20"), ("40", "10"), ("90", "10"))


def test_a_journey_that_failed_when_it_was_replayed_is_coloured_and_leads_to_its_card(tmp_path: Path) -> None:
    told = Told(tmp_path, exit_status=1).journey("bad", None, establishes="t")
    told.journey("waits", Outcome.DEFERRED, requires="t", because="bad")
    recorded = told.run()
    assert recorded.graph is not None
    graph = replace(recorded.graph, after={recorded.graph.journeys[1].id: ()})
    page = page_of(replace(recorded, graph=graph))
    assert_sound(page)
    assert 'href="#c-bad" aria-label="bad, deferred"' in page
    assert "Show the whole graph, 2 journeys" in page


def test_a_release_is_a_bar_that_leads_to_its_token(tmp_path: Path) -> None:
    page = page_of(a_bit_of_everything(tmp_path))
    assert 'href="#t-built" class="b release' in page


def test_two_causes_of_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    view, recorded = everything(tmp_path)
    assert_sound(to_html(replace(view, causes=(*view.causes, *view.causes)), recorded.graph))


def test_lost_machines_and_what_others_have_run_in_their_place_are_marked() -> None:
    told = Told().journey("build", establishes="image").journey("look").journey("use", requires="image")
    recorded = with_a_lost_machine(told.run())
    view = view_of(recorded)
    said = "blue-92d0 was lost after 41 s; 1 item taken over by red-07fa"
    assert [(lane.name, lane.lost) for lane in view.lanes] == [
        ("blue-92d0, gw0", 1.5),
        ("red-07fa, gw1", None),
        ("white-0001", 1.7),
    ]
    page = to_html(view, recorded.graph)
    assert said in page
    assert "look, passed, 0.90 s, taken over from blue-92d0</span>" in page
    assert "build, passed, 0.90 s</span>" in page
    assert "<small>gw0, lost</small>" in page
    assert page.count('class="gone"') == 2
    assert "taken over from a lost machine" in page
    assert "<span>2 machines</span>" in page
    markdown = FORMATS["markdown"](view, recorded.graph)
    assert f"## Lost machines: 2\n\n- `{said}`\n- `white-0001 was lost after 3 s`" in markdown
    assert "look (taken over)" in markdown


def test_a_run_without_losses_speaks_of_none(tmp_path: Path) -> None:
    recorded = a_bit_of_everything(tmp_path)
    assert "lost" not in Parsed(to_html(view_of(recorded), recorded.graph)).text
