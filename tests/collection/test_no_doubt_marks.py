"""The mark `no_doubt`: what it may say, in journey files and on tests, and that the record of a run keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.journey import Mark
from pytest_dogfood.no_doubt import DOUBT_CODES, NO_DOUBT, NoDoubt, read_no_doubt
from pytest_dogfood.storage.plan_record import read_plan_record
from pytest_dogfood.storage.record import read_run
from tests.support.live_projects import Live


@pytest.mark.parametrize(
    "args,kwargs,meaning",
    [
        (("why",), {}, NoDoubt(reason="why")),
        ((" why ", ["order-matters"]), {}, NoDoubt(reason="why", codes=("order-matters",))),
        ((), {"reason": "why", "codes": "probe-true"}, NoDoubt(reason="why", codes=("probe-true",))),
        (("why",), {"codes": {*DOUBT_CODES}}, NoDoubt(reason="why", codes=tuple(sorted(DOUBT_CODES)))),
    ],
)
def test_a_mark_says_why_and_for_which_codes(args: tuple[Any, ...], kwargs: Any, meaning: NoDoubt) -> None:
    assert read_no_doubt(Mark(name=NO_DOUBT, args=args, kwargs=kwargs)) == meaning


@pytest.mark.parametrize(
    "args,kwargs,problem",
    [
        ((), {}, "gives no reason"),
        (("  ",), {}, "gives no reason"),
        ((["order-matters"],), {}, "gives no reason"),
        (("why",), {"codes": ["order-maters"]}, "names 'order-maters', which is no code"),
        (("why",), {"codes": [["order-matters"]]}, "which is no code"),
        (("why",), {"codes": []}, "takes a list of codes"),
        (("why",), {"codes": 3}, "takes a list of codes"),
        (("why",), {"code": "order-matters"}, "and not code"),
        (("why", "order-matters", "probe-true"), {}, "and not 'probe-true'"),
    ],
)
def test_what_a_mark_may_not_say(args: tuple[Any, ...], kwargs: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_no_doubt(Mark(name=NO_DOUBT, args=args, kwargs=kwargs))


FILE = """
    journeys:
      - id: count
        establishes: [counted]
        marks: [slow, {no_doubt: {reason: it counts its calls, codes: [order-matters]}}]
        steps: [{run: 'true'}]
"""
TEST = """
    import pytest

    @pytest.mark.no_doubt("all of it")
    class TestIt:
        @pytest.mark.requires("counted")
        def test_this(self): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_record_of_a_run_has_the_marks(live: Live, workers: str) -> None:
    live.write("a.journey.yaml", FILE).write("test_it.py", TEST).write("plan.json", '{"result": "out.json"}')
    live.write("pytest.ini", "[pytest]\naddopts = --strict-markers\nmarkers = slow: slow\n")
    done = live.run("--dogfood-plan", "plan.json", "-n", workers)
    assert done.status == 0, done.text
    graph = read_run(Path(read_plan_record(live.path / "out.json").run)).graph
    assert graph is not None
    meant = {one.id: [read_no_doubt(mark) for mark in one.marks] for one in graph.journeys}
    assert meant == {
        "count": [NoDoubt(reason="it counts its calls", codes=("order-matters",))],
        "test_it.py::TestIt::test_this": [NoDoubt(reason="all of it")],
    }


def test_a_misused_mark_is_an_error_of_the_project(live: Live) -> None:
    live.write("a.journey.yaml", FILE.replace("order-matters", "order-maters"))
    live.write("test_it.py", TEST.replace('"all of it"', ""))
    for workers in ("0", "2"):
        done = live.run("-n", workers)
        assert done.status == 4
        assert "a.journey.yaml::count: the mark 'no_doubt' names 'order-maters'" in done.text
        assert "test_it.py::TestIt: the mark 'no_doubt' gives no reason [bad-no-doubt]" in done.text
        assert "or some of not-repeatable, order-matters" in done.text
