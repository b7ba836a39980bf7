"""How long the HTML page of a large run takes, and how large it is."""

from __future__ import annotations

import time
from statistics import median

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.html import to_html
from pytest_dogfood.report.overview import view_of
from tests.benchmarks.measuring import Row
from tests.support.told_runs import Told


def pages(times: int, *, count: int = 10_000) -> list[Row]:
    """Write the page of very many journeys of five steps each, one in a hundred of which failed."""
    told = Told(workers=8)
    for number in range(count):
        told.journey(
            f"journey-number-{number}",
            Outcome.FAILED if number % 100 == 50 else Outcome.PASSED,
            requires=f"token-{number - 1}" if number % 5 else "",
            establishes=f"token-{number}",
            command='curl --silent "$URL/things" | jq .name',
            steps=5,
        )
    views: list[float] = []
    pages: list[float] = []
    size = 0
    for _ in range(times):
        recorded = told.run()  # anew, since a record keeps the graph that was made of it
        started = time.process_time()
        view = view_of(recorded)
        viewed = time.process_time()
        size = len(to_html(view, recorded.graph).encode())
        views.append(viewed - started)
        pages.append(time.process_time() - started)
    return [
        Row(
            what=f"view and page of {count:,} journeys of five steps, s (processor time)",
            ours=median(pages),
            target=2.0,
            peers={"the view alone, s": median(views)},
        ),
        Row(what="the same page, MB", ours=size / 1e6, target=8.0),
    ]
