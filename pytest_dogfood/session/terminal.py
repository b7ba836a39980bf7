"""What a person reads: the header, what was deferred and provisioned and why, and the line that adds up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_dogfood.collection.stash import PROJECT, SETTINGS
from pytest_dogfood.diagnostics import counted
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.outcomes import JourneyResult, Outcome, Tally, listed, reason_of
from pytest_dogfood.session.leader import Leader
from pytest_dogfood.settings import Settings


def _found(graph: CapabilityGraph) -> str:
    """Return what is in the files that have been read so far; the others are read when something needs them."""
    if not graph.journeys and not graph.tokens:
        return "no journey file was named or found"
    journeys = counted(len(graph.journeys), "journey")
    tokens = counted(len(graph.tokens), "token")
    return f"{journeys}, {tokens}, {counted(len(set(graph.chains.values())), 'chain')} in files"


class Terminal:
    """The plugin that speaks."""

    def __init__(self, config: pytest.Config, leader: Leader) -> None:
        self._config = config
        self._leader = leader

    def pytest_report_header(self) -> str:
        from pytest_dogfood.execution.step import default_shell

        project = self._config.stash[PROJECT]()
        settings = self._config.stash[SETTINGS]
        shard = f"; shard {settings.shard}" if settings.shard is not None else ""
        return f"dogfood: {_found(project.graph())}; shell: {default_shell()}{_acting(settings)}{shard}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        tally = self._leader.tally
        quiet = self._config.get_verbosity() < 0
        lines = list(self._causes() if quiet else self._details())
        if lines and not quiet:
            terminalreporter.write_sep("=", "dogfood")
        for line in lines:
            terminalreporter.write_line(line)
        keeping = self._leader.keeping
        if keeping is not None and keeping.directory is not None:
            what = " (what actors did)" if keeping.for_actors_only else ""
            terminalreporter.write_line(f"dogfood: kept {keeping.directory}{what}")
        if self._leader.empty_shard:
            terminalreporter.write_line(
                f"dogfood: shard {self._config.stash[SETTINGS].shard} has nothing to run"
            )
        if self._leader.has_planned:
            terminalreporter.write_line(tally.closing_line())
            too_little = tally.too_little(self._config.stash[SETTINGS].min_measured)
            if too_little:
                terminalreporter.write_line(too_little, red=True)

    def _causes(self) -> Iterator[str]:
        """Yield why something did not run, and what may have reddened the run without being seen: also under -q."""
        tally = self._leader.tally
        yield from self._leader.interruption()
        for cause, results in tally.causes().items():
            yield f"deferred: {counted(len(results), 'journey')}, because {cause}"
            yield f"    {listed(result.id for result in results)}"
        for unseen in tally.unseen_causes():
            yield f"not run as an item of its own, but seen to fail: {unseen.who}"
            yield from (f"    {line}" for line in unseen.details.splitlines())

    def _details(self) -> Iterator[str]:
        tally = self._leader.tally
        yield from self._causes()
        yield from _without_an_actor(tally)
        for gate in tally.gates_left_open():
            because = f" ({gate.cause})" if gate.cause is not None else ""
            yield f"gate left open: {gate.id} {reason_of(gate.outcome)}{because}"
        prerequisites = self._leader.prerequisites()
        if prerequisites:
            yield f"not selected, but run as a prerequisite: {listed(prerequisites)}"
        for result in tally.results.values():
            yield from _provisioned(result)
        if self._config.get_verbosity() > 0:
            yield from _chains(tally)
            acted = [result for result in tally.results.values() if result.trajectory]
            yield from (f"trajectory of {result.id}: {result.trajectory}" for result in acted)
        unjudged = sum(result.unjudged for result in tally.results.values())
        if unjudged:
            yield f"unjudged: {counted(unjudged, 'expectation')} in free text, because there was no judge"
        for result in tally.results.values():
            yield from (f"clean-up of {result.id}: {line}" for line in result.not_cleaned.splitlines())
        errors = (result for result in tally.results.values() if result.outcome is Outcome.ERROR)
        harness = [result.id for result in errors if not result.interrupted]
        if harness:
            yield f"errors of the harness, not of the product: {listed(harness)}"
        if tally.unaccounted:
            yield f"did not run: {listed(tally.unaccounted, most=20)}"


def _acting(settings: Settings) -> str:
    """Return who decides what steps without a command need, if it is said anywhere; hooks are not seen from here."""
    if settings.replay is not None:
        return f"; replaying {settings.replay}"
    return "" if settings.actor is None else f"; actor: {settings.actor}"


def _without_an_actor(tally: Tally) -> Iterator[str]:
    idle = [result.id for result in tally.results.values() if result.outcome is Outcome.NO_ACTOR]
    if idle:
        number = counted(len(idle), "journey")
        yield f"skipped: {number}, because a step has no command and no actor decides one; -rs says what to do"
        yield f"    {listed(idle)}"


def _chains(tally: Tally) -> Iterator[str]:
    """Yield which journeys shared a state, and on which worker."""
    journeys: dict[tuple[str, str], list[str]] = {}
    for result in tally.results.values():
        journeys.setdefault((result.chain, result.worker), []).append(result.id)
    for (chain, worker), names in sorted(journeys.items()):
        yield f"chain {chain} on {worker}: {', '.join(names)}"


def _provisioned(result: JourneyResult) -> Iterator[str]:
    alike: dict[tuple[str, str, str], list[float]] = {}
    for one in result.provisioned:
        alike.setdefault((one.token, one.how, one.where), []).append(one.seconds)
    for (token, how, where), seconds in alike.items():
        times = {1: "once", 2: "twice"}.get(len(seconds), f"{len(seconds)} times")
        yield f"provisioned {token} {times} {how}, {sum(seconds):.1f} s, for {result.id} [{where}]"
