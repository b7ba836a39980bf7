"""A run as Markdown: what a person reads, what is cut, what is code."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, JourneyId, Token
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.markdown import BARS, LONGEST, to_markdown
from pytest_dogfood.report.overview import view_of
from pytest_dogfood.report.run_view import RunView
from pytest_dogfood.storage.record import Kind, Reference, ReferenceJourney, WrongRecord
from tests.support.commonmark import outside_of_code
from tests.support.run_records import BEGAN, deferred, done, failed_step, recorded, result, step, viewed
from tests.support.small_graphs import HERE, STEP, journey

FAILED, ERROR = Outcome.FAILED, Outcome.ERROR


def a_red_run() -> RunView:
    """Return a run in which a step, a provider and a clean-up fail, and something waits for each of them."""
    put = step(1, 2, intent="put a book into the cart", out="1.out", seconds=1)
    compare = step(2, 2, command="curl -s cart\njq .", exit=0, out="2.out", err="2.err", seconds=3)
    wrong = (WrongRecord("stdout", "1 book", "no book"), WrongRecord("stderr", "", "", ("-a", "+b")))
    return viewed(
        [
            journey("fill-cart", establishes="cart-filled"),
            journey("check-out", requires="cart-filled"),
            journey("announce", requires="mail-up"),
            journey("look"),
        ],
        [
            done("cart", FAILED, kind=Kind.CLEANUP, by="fill-cart", steps=[failed_step()]),
            done(
                "fill-cart",
                FAILED,
                steps=[put, replace(compare, wrong=wrong, ended_at="jq .")],
                seconds=4,
                again="pytest --dogfood 'shop.journey.yaml::fill-cart'",
            ),
            done("check-out", Outcome.DEFERRED, at=4, seconds=0.01),
            done("mail-up", FAILED, kind=Kind.PROVISION, by="announce", steps=[failed_step()]),
            done("announce", ERROR, at=4, seconds=1, again="pytest announce"),
            done("look", at=5, seconds=1),
        ],
        [
            result("fill-cart", FAILED),
            deferred("check-out", "fill-cart"),
            result("announce", ERROR),
            result("look", Outcome.PASSED),
        ],
        capabilities=[Capability(token=Token("mail-up"), location=HERE, provision=(STEP,))],
        texts={"1.out": "one\n", "2.out": "no book\n", "2.err": "a warning\n"},
        exit_status=1,
        seconds=6.0,
        workers=2,
        argv=("--dogfood", "-n", "2"),
        closing_line="dogfood: 4 journeys = 1 passed + …",
        commit="2b56f71c0ffee123",
        dirty=True,
        ci="https://github.example/shop/actions/runs/7",
        others={"passed": 3},
    )


EXPECTED = """\
# ❌ 1 failed, 1 could not be judged

4 journeys, 3 tests outside of the graph, on 2 workers · 6.0 s (best possible: 4.0 s) · run `f5a184`: \
`pytest --dogfood -n 2` · commit `2b56f71c0ffe` with changes · [job](https://github.example/shop/actions/runs/7)

`dogfood: 4 journeys = 1 passed + …`

## What went wrong

### `fill-cart` failed in step 2 of 2

`made.journey.yaml:12:9`

- `stdout`: expected `1 book`, got `no book`
- `stderr`: expected (-), got (+)

```diff
-a
+b
```

- in: `jq .`

```sh
curl -s cart
jq .
```

```text
--- stdout ---
no book
--- stderr ---
a warning
```

Its clean-up failed, too, at `made.journey.yaml:11:9`:

- `exit status`: expected `0`, got `3`

```sh
do it
```

Kept from running: `check-out`

Run it again: `pytest --dogfood 'shop.journey.yaml::fill-cart'`

### `mail-up` could not be provisioned (not a failure of the product)

`made.journey.yaml:11:9`

- `exit status`: expected `0`, got `3`

```sh
do it
```

Could not be judged: `announce`

Run it again: `pytest announce`

If this is a known outage: `pytest --dogfood --dogfood-blocked mail-up`

## Deferred: 1

- `check-out`: because `fill-cart failed`

## Missing tokens: 2

- `cart-filled`, needed by 1: `fill-cart: failed`
- `mail-up`, needed by 1: `could not be provisioned`

## Slowest

- 4.00 s `fill-cart`, mostly step 2
- 1.00 s `announce`
- 1.00 s `look`

## Timeline

```mermaid
gantt
  dateFormat x
  axisFormat %M:%S
  section main
  ✗ fill-cart (failed) :crit, 0, 4000
  ✗ announce (not judged) :crit, 4000, 5000
  ✓ look :5000, 6000
```
"""


def test_a_red_run_reads_from_what_went_wrong_to_the_timeline() -> None:
    assert to_markdown(a_red_run()) == EXPECTED


def test_a_green_run_is_short() -> None:
    view = viewed([journey("look")], [done("look")], closing_line="dogfood: 1 journey = 1 passed")
    assert to_markdown(view).split("\n\n")[:4] == [
        "# ✅ 1 passed",
        "1 journey, on 1 worker · 10.0 s (best possible: 1.0 s) · run `f5a184`: `pytest`",
        "`dogfood: 1 journey = 1 passed`",
        "## Slowest",
    ]


def test_a_run_without_journeys_counts_its_tests() -> None:
    view = viewed(
        [],
        [done("test_a.py::test_b", FAILED, kind=Kind.TEST, text="E  assert 0")],
        others={"failed": 1},
        exit_status=1,
    )
    text = to_markdown(view)
    assert text.split("\n")[2].startswith("1 test outside of the graph, on 1 worker")
    assert "### `test_a.py::test_b` failed\n\n```text\nE  assert 0\n```\n" in text


def test_a_killed_run_has_no_closing_line() -> None:
    text = to_markdown(viewed([journey("a")], [], (), exit_status=None))
    assert text.startswith("# ❌ This run did not come to its end, 1 not run\n")
    assert "## Not run: 1\n\n`a`\n" in text
    assert "` `" not in text


def test_changes_name_the_run_that_is_compared_with() -> None:
    before = Reference(
        run="before",
        started=BEGAN,
        commit="c0ffee0000000000",
        journeys={JourneyId("a"): ReferenceJourney(Outcome.PASSED, 1.0, "one")},
    )
    now = recorded([journey("a")], [done("a", FAILED)], digests={"a": "two"}, exit_status=1)
    text = to_markdown(view_of(now, before))
    assert "## Since run `before` `c0ffee000000`\n\n- failing: `a` (journey changed)\n" in text
    assert "\nIts text has changed since the run that this is compared with.\n" in text


@pytest.mark.parametrize("size", [3_000, 10_000])
def test_a_long_report_is_cut_by_whole_causes_with_a_count(size: int) -> None:
    names = [f"j{number}" for number in range(size)]
    text = to_markdown(
        viewed(
            [journey(name) for name in names],
            [done(name, FAILED, steps=[step(out="long", wrong=failed_step().wrong)]) for name in names],
            texts={"long": "x" * 1000},
            exit_status=1,
        )
    )
    assert LONGEST * 0.99 < len(text.encode()) <= LONGEST
    shown = len(re.findall(r"^### ", text, re.MULTILINE))
    assert f"\n{size - shown} root causes left out: this report would be too long.\n" in text
    assert text.count("```") % 2 == 0


def test_what_there_is_room_for_can_be_less() -> None:
    view = a_red_run()
    whole = to_markdown(view)
    lengths = range(0, len(whole.encode()) + 200, 50)
    texts = [to_markdown(view, longest=longest) for longest in lengths]
    assert all(len(text.encode()) <= longest for text, longest in zip(texts, lengths, strict=True))
    assert (texts[0], texts[-1]) == ("", whole)
    assert any("2 root causes left out" in text for text in texts)
    assert any("1 root cause left out" in text for text in texts)
    assert all(list(outside_of_code(text)) for text in texts)


def test_of_a_long_output_the_end_is_shown_by_whole_lines() -> None:
    def block(output: str) -> str:
        view = viewed(
            [journey("a")],
            [done("a", FAILED, steps=[step(out="long", wrong=failed_step().wrong)])],
            texts={"long": output},
            exit_status=1,
        )
        return to_markdown(view).partition("--- stdout ---\n")[2].partition("\n```")[0]

    lines = block("".join(f"{number}\n" for number in range(1000))).split("\n")
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("… 3650 characters left out", "940", "999", 61)
    wide = block("".join("x" * 200 + "\n" for _ in range(50))).split("\n")
    assert {len(line) for line in wide[1:]} == {200}
    one = block("x" * 10_000)
    assert one.startswith("… 5904 characters left out\nxxx")
    assert block("one\ntwo\n") == "one\ntwo"


def test_code_is_fenced_by_more_backticks_than_any_within() -> None:
    hostile = step(
        intent="``` and ```` of it",
        command="echo '`````'\n```\n# a heading\n```",
        wrong=(WrongRecord("stdout", "`a`", "``b``"), WrongRecord("stderr", "", "", ("-```", "+# b"))),
        out="out",
    )
    view = viewed(
        [journey("a")],
        [done("a", FAILED, steps=[hostile])],
        texts={"out": "```\n</details><script>\n`````text"},
        exit_status=1,
    )
    text = to_markdown(view)
    assert "\n````` ``` and ```` of it `````\n" in text
    assert "\n``````sh\necho '`````'\n```\n# a heading\n```\n``````\n" in text
    rest = "\n".join(outside_of_code(text))
    assert not re.search(r"script|details|a heading|of it|`", rest)


@pytest.mark.parametrize(
    "headline, shown",
    [
        (
            "failed, and it gates what comes after tier 'smoke'",
            "failed, and it gates what comes after tier 'smoke'",
        ),
        ("is declared blocked (--dogfood-blocked)", "is declared blocked (--dogfood-blocked)"),
        ("is <b>bold</b>", "`is <b>bold</b>`"),
        ("see https://example.org", "`see https://example.org`"),
        ("by @ada in #1", "`by @ada in #1`"),
        ("[a](b)", "`[a](b)`"),
        ("`a`", "`` `a` ``"),
    ],
)
def test_a_headline_is_code_if_it_is_more_than_plain_words(headline: str, shown: str) -> None:
    view = a_red_run()
    causes = (replace(view.causes[0], headline=headline),)
    text = to_markdown(replace(view, causes=causes))
    assert f"\n### `fill-cart` {shown}\n" in text


def test_what_a_person_should_know_of_a_journey_is_noted_whatever_its_outcome() -> None:
    shaky = [done("shaky", FAILED, attempt=1), done("shaky", attempt=2, at=1)]
    came = replace(
        result("leaky", Outcome.PASSED),
        leaked=("sleep `30` (step 1)",),
        not_cleaned="step 2, because of a signal",
        unjudged=2,
    )
    view = viewed(
        [journey("shaky"), journey("leaky"), journey("bad")],
        [*shaky, done("leaky"), done("bad", FAILED, attempt=1), done("bad", FAILED, attempt=2)],
        [result("shaky", Outcome.PASSED), came, result("bad", FAILED)],
        exit_status=1,
    )
    _, _, notes = to_markdown(view).partition("## Notes: 4\n\n")
    assert notes.split("\n")[:5] == [
        "- `shaky`: passed, but only in try 2",
        "- `leaky`: left running: ``sleep `30` (step 1)``",
        "- `leaky`: not cleaned up: `step 2, because of a signal`",
        "- `leaky`: 2 expectations not judged",
        "",
    ]


def test_a_link_to_the_job_is_one_only_if_it_is_an_address() -> None:
    view = a_red_run()
    for ci in ("javascript:alert(1)", "https://x)[y](z", "https://x y"):
        assert "[job]" not in to_markdown(replace(view, run=replace(view.run, ci=ci)))


@pytest.mark.parametrize(
    "name",
    [
        "title",
        "section",
        "gantt-chart",
        "accTitle",
        "click",
        "2026-12-01",
        "topAxis",
        "%%x",
        "a:b;c#d",
        "excludes x",
    ],
)
def test_no_name_of_a_journey_means_something_to_mermaid(name: str) -> None:
    view = viewed([journey(name)], [done(name, lane="gw0")])
    gantt = to_markdown(view).partition("```mermaid\n")[2].partition("\n```")[0].split("\n")
    assert gantt[:4] == ["gantt", "  dateFormat x", "  axisFormat %M:%S", "  section gw0"]
    assert re.fullmatch(r"  ✓ [\w ,\[\]()./-]+ :0, 1000", gantt[4])
    assert len(gantt) == 5


def test_a_timeline_has_so_many_bars_at_most_and_first_those_that_are_bad() -> None:
    names = [f"j{number}" for number in range(100)]
    activities = [
        done(
            name, FAILED if number < 10 else Outcome.PASSED, at=number, seconds=0.1 if number < 10 else number
        )
        for number, name in enumerate(names)
    ]
    text = to_markdown(viewed(map(journey, names), activities, exit_status=1))
    bars = [line for line in text.split("\n") if " :" in line and line.startswith("  ")]
    assert len(bars) == BARS
    assert [line for line in bars if ":crit, " in line] == bars[:10]
    assert "j50 :" in text
    assert "j49 :" not in text
    assert text.endswith("\n40 other journeys left out\n")
