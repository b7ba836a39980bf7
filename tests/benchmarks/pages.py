"""How long the HTML page of a large run takes, and how large it is."""

from __future__ import annotations

from statistics import median

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.html import to_html
from pytest_dogfood.report.overview import view_of
from tests.benchmarks.measuring import Row, own_processor
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
    recorded = told.run()
    view, sizes = view_of(recorded), []
    views = [own_processor(lambda: view_of(recorded)) for _ in range(times)]
    seen = [
        own_processor(lambda: sizes.append(len(to_html(view, recorded.graph).encode()))) for _ in range(times)
    ]
    return [
        Row(
            what=f"page of {count:,} journeys of five steps, s (processor time)",
            ours=median(seen),
            target=2.0,
            peers={"view of the record, s": median(views)},
        ),
        Row(what="the same page, MB", ours=sizes[0] / 1e6, target=8.0),
    ]
