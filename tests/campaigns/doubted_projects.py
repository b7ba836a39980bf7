"""Simulated projects with wrong declarations, or with none: how many of these are found, by kind, and at what cost.

    python -m tests.campaigns.doubted_projects [FIRST [COUNT [LEAST MOST]]]

Draws COUNT projects (default 200) of each kind by the seeds from FIRST on, with LEAST to MOST journeys (default 6 to
14), examines each in the basic and in the thorough way, and ends with 1 if a share is not what it must be. What the
thorough way finds half-way is in chains whose tokens are copyable.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

from tests.support.seeded_faults import (
    KINDS,
    THOROUGH_KINDS,
    draw,
    draw_clean,
    draw_noisy,
    examine,
    is_green,
)

FOUND, RIGHT, ENDED, ECHOES, COST = 0.95, 0.98, 0.98, 0.10, 4.0
FOUND_IN_LARGE, COST_OF_LARGE = 0.90, 4.5
FOUND_THOROUGHLY, THOROUGH_COST, THOROUGH_COST_OF_LARGE = 0.99, 5.5, 7.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def faults(seeds: range, least: int, most: int) -> Iterator[str]:
    """Yield what is not as it must be with one fault in each project."""
    must = FOUND if most <= 14 else FOUND_IN_LARGE
    right = found = lines = ended = experiments = halved = 0
    for kind in KINDS:
        hits, missed = 0, []
        for seed in seeds:
            project, (fault,) = draw(seed, (kind,), least=least, most=most)
            seen = examine(project)
            experiments += seen.experiments
            halved += examine(project, files=False).experiments
            hit = next((one for one in seen.findings if not one.hint and fault.is_found_by(one)), None)
            if hit is None:
                missed.append(seed)
                continue
            hits += 1
            right += fault.is_right_about_guilty(hit)
            if hit.lines:
                lines += 1
                left = examine(project.with_lines(hit.lines)).findings
                ended += not any(fault.is_found_by(one) for one in left)
        found += hits
        say(f"{kind}: {hits} of {len(seeds)} found; not by the seeds {missed}")
        if hits < must * len(seeds):
            yield f"{kind}: {hits} of {len(seeds)} found"
    say(f"the right culprit: {right} of {found}; the line ends the finding: {ended} of {lines}")
    say(f"{experiments} experiments; {halved} without guesses by the last writer of a file")
    if right < RIGHT * found or ended < ENDED * lines:
        yield f"the right culprit: {right} of {found}; the line ends the finding: {ended} of {lines}"


def thorough(seeds: range, least: int, most: int) -> Iterator[str]:
    """Yield which faults are not found as they must be by thorough examinations."""
    for kind in THOROUGH_KINDS:
        missed, others = [], []
        for seed in seeds:
            project, (fault,) = draw(seed, (kind,), least=least, most=most)
            findings = [one for one in examine(project, thorough=True).findings if not one.hint]
            if not any(map(fault.is_found_by, findings)):
                missed.append(seed)
            if not all(map(fault.is_found_by, findings)):
                others.append(seed)
        hits = len(seeds) - len(missed)
        say(f"thorough, {kind}: {hits} of {len(seeds)} found; not by {missed}; a consequence too in {others}")
        if hits < FOUND_THOROUGHLY * len(seeds):
            yield f"thorough, {kind}: {hits} of {len(seeds)} found"


def clean(
    seeds: range, least: int, most: int, *, thorough: bool = False, copyable: bool = False
) -> Iterator[str]:
    """Yield what is found where nothing is wrong, and what that costs if it is too much."""
    must = (
        (THOROUGH_COST if thorough else COST)
        if most <= 14
        else (THOROUGH_COST_OF_LARGE if thorough else COST_OF_LARGE)
    )
    costs, wrong = [], []
    for seed in seeds:
        draft = draw_clean(seed, least=least, most=most, copyable=copyable)
        seen = examine(draft.project, thorough=thorough)
        costs.append(seen.cost)
        if seen.findings or seen.unclear or seen.untested:
            wrong.append(seed)
    cost = sum(costs) / len(costs)
    what = f"clean{', thorough' if thorough else ''}{', copyable' if copyable else ''}"
    say(f"{what}: {len(wrong)} of {len(costs)} with a finding, {cost:.2f} times an ordinary run")
    if wrong or cost > must:
        yield f"{what}: findings in {wrong}, {cost:.2f} times an ordinary run"


def noise(
    seeds: range, least: int, most: int, *, thorough: bool = False, copyable: bool = False
) -> Iterator[str]:
    """Yield what is found where nothing is wrong but for noise."""
    for kind in ("flaky", "expiring", "outside", "logs"):
        green, wrong = 0, []
        for seed in seeds:
            project = draw_noisy(seed, kind, least=least, most=most, copyable=copyable)
            if is_green(project, seed=seed):
                green += 1
                seen = examine(project, seed=seed, thorough=thorough)
                if any(not one.hint for one in seen.findings):
                    wrong.append(seed)
        say(f"{kind}{', thorough' if thorough else ''}: {len(wrong)} of {green} with a finding")
        if wrong:
            yield f"{kind}: findings in {wrong}"


def three_faults(seeds: range, least: int, most: int) -> Iterator[str]:
    """Yield what is not as it must be with three faults in each project."""
    echoes, found = [], 0
    for seed in seeds:
        kinds = tuple(random.Random(seed).choices(list(KINDS), k=3))  # noqa: S311 - dice
        project, three = draw(seed, kinds, least=least, most=most)
        findings = [one for one in examine(project).findings if not one.hint]
        found += sum(any(fault.is_found_by(one) for one in findings) for fault in three)
        if not all(any(fault.is_found_by(one) for fault in three) for one in findings):
            echoes.append(seed)
    say(
        f"three faults: {found} of {3 * len(seeds)} found at once; in {len(echoes)} projects a consequence too"
    )
    if len(echoes) > ECHOES * len(seeds):
        yield f"three faults: consequences in {echoes}"


def main(first: int = 0, count: int = 200, least: int = 6, most: int = 14) -> int:
    """Simulate all kinds of projects; return the number of shares that are not as they must be."""
    seeds = range(first, first + count)
    wrong = [
        *faults(seeds, least, most),
        *thorough(seeds, least, most),
        *clean(seeds, least, most),
        *clean(seeds, least, most, thorough=True),
        *clean(seeds, least, most, thorough=True, copyable=True),
        *noise(seeds, least, most),
        *noise(seeds, least, most, thorough=True, copyable=True),
        *three_faults(seeds, least, most),
    ]
    say("\n".join(["", *wrong]) if wrong else "all as it must be")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
