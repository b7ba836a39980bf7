"""The terminal output: the header, what was deferred and provisioned and why, and the closing line."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from copy import copy
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_dogfood.collection.stash import PROJECT, SETTINGS
from pytest_dogfood.diagnostics import Severity, counted, seconds_in_words
from pytest_dogfood.journey import Scope, is_of_a_test
from pytest_dogfood.outcomes import CacheUse, JourneyResult, Outcome, Tally, counted_items, listed, reason_of
from pytest_dogfood.session.leader import Leader
from pytest_dogfood.session.test_reports import IN_CALL, REASON, worker_of

MOST_JOURNEYS_ADVISED = 1000
"""A run of more journeys than this does not count warnings as it starts: that would take too long."""


class FailureText:
    """A failure as the terminal shows it, in colour; it replaces a report's own `longrepr`.

    pytest calls `toterminal` for the body, and takes the message of `reprcrash` for its short summary.
    """

    def __init__(self, report: pytest.TestReport, reason: str) -> None:
        self._text = str(report.longrepr)
        self.reprcrash = copy(getattr(report.longrepr, "reprcrash", None)) or SimpleNamespace()
        self.reprcrash.message = reason
        # The text begins with the place of the step, which --tb=line shows.
        path, line, *_ = [*self._text.partition("\n")[0].split(":"), ""]
        if line.isdecimal():
            self.reprcrash.path, self.reprcrash.lineno = path, int(line)

    def __str__(self) -> str:
        return self._text

    def toterminal(self, terminal: Any) -> None:  # noqa: ANN401 - pytest exports no such type
        first, *others = self._text.splitlines()
        terminal.line(first, red=True, bold=True)
        for line in others:
            terminal.line(line, **self._markup(line))

    @staticmethod
    def _markup(line: str) -> dict[str, bool]:
        if line.startswith(("    expected:", "    -")):
            return {"green": True}
        if line.startswith(("    actual:", "    +")):
            return {"red": True}
        return {"bold": True} if line.startswith(("reproduce:", "  failed:")) else {}


class Terminal:
    """The plugin that writes header and summary. `workers` is the number of processes that run items."""

    def __init__(self, config: pytest.Config, leader: Leader, *, workers: int) -> None:
        self._config = config
        self._leader = leader
        self._workers = workers

    def pytest_report_header(self) -> str:
        from pytest_dogfood.execution.shell import default_shell

        settings = self._config.stash[SETTINGS]
        graph = self._config.stash[PROJECT]().graph()
        # Of the files read so far; the others are read when something needs them.
        tokens = counted(len(graph.tokens), "token")
        found = "no journey files" + (f", {tokens}" if graph.tokens else "")
        if graph.journeys:
            chains = counted(len(set(graph.chains.values())), "chain")
            found = f"{counted(len(graph.journeys), 'journey')}, {tokens}, {chains} in files"
        actor = "" if settings.actor is None else f"; actor: {settings.actor}"
        if settings.replay is not None:
            actor = f"; replaying {settings.replay}"
        shard = f"; shard {settings.shard}" if settings.shard is not None else ""
        number = 0 if settings.check else self._number_of_warnings()
        them = "it" if number == 1 else "them"
        warnings = f"; {counted(number, 'warning')} (dogfood check shows {them})" if number else ""
        return f"dogfood: {found}; shell: {default_shell()}{actor}{shard}{warnings}"

    def _number_of_warnings(self) -> int:
        """Count the warnings on the files that were read, and the settings files with a wrong name, which were not.

        In a project that is too large to check at each run, count only the latter.
        """
        from pytest_dogfood.collection.uncollected import misnamed_settings

        project = self._config.stash[PROJECT]()
        graph = project.graph()
        misnamed = len(list(misnamed_settings(project)))
        if not graph.journeys or len(graph.journeys) > MOST_JOURNEYS_ADVISED:
            return misnamed
        from pytest_dogfood.check.advice import advise
        from pytest_dogfood.check.shell import shell_findings

        advice = advise(graph, environment=os.environ.keys(), mentioned=lambda tokens: tokens)
        of_files = (found for file in project.files for found in file.diagnostics)
        findings = dict.fromkeys([*of_files, *advice, *shell_findings(graph, lambda _: "")])
        return misnamed + sum(found.severity is Severity.WARNING for found in findings)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Colour the failures of journeys, and restore the phase of errors in calls.

        Other reports of the run, such as JUnit's, are written by now.
        """
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            for report in [*reporter.stats.get("failed", ()), *reporter.stats.get("error", ())]:
                reason = getattr(report, REASON, "")
                if reason:
                    report.longrepr = FailureText(report, reason)
                if hasattr(report, IN_CALL):
                    report.when = "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        leader, settings = self._leader, self._config.stash[SETTINGS]
        quiet = self._config.get_verbosity() < 0
        lines = list(self._causes() if quiet else self._details())
        lines += () if quiet else self._costly_chain(terminalreporter)
        if lines and not quiet:
            terminalreporter.write_sep("=", "dogfood")
        for line in lines:
            terminalreporter.write_line(line, **_markup_of(line))
        if leader.keeping is not None and leader.keeping.directory is not None:
            what = " (what actors did)" if leader.keeping.for_actors_only else ""
            terminalreporter.write_line(f"dogfood: kept {leader.keeping.directory}{what}")
        if leader.empty_shard:
            terminalreporter.write_line(f"dogfood: shard {settings.shard} has nothing to run")
        if leader.plan is not None:
            too_little = "" if leader.tally.not_run else leader.tally.too_little(settings.min_measured)
            is_red = bool(leader.tally.unaccounted or leader.tally.unseen_causes() or too_little)
            is_red = is_red or any(one.outcome.is_bad for one in leader.tally.results.values())
            terminalreporter.write_line(leader.tally.closing_line(), red=is_red, green=not is_red)
            if too_little:
                terminalreporter.write_line(too_little, red=True)

    def _costly_chain(self, reporter: pytest.TerminalReporter) -> Iterator[str]:
        """Yield a line on the chain that kept one worker busy while others were idle, if that cost much time."""
        everything = (one for some in reporter.stats.values() for one in some)
        # Reports of ours, of a crash for instance, have no beginning.
        reports = [one for one in everything if type(one) is pytest.TestReport and one.start]
        if self._leader.plan is None or self._workers < 2 or not reports:
            return
        # These would keep other runs waiting.
        from pytest_dogfood.check.speed import could_be_copyable
        from pytest_dogfood.scheduling.forecast import costly_chain

        seconds: dict[str, float] = defaultdict(float)
        busy: dict[str, float] = defaultdict(float)
        for report in reports:
            seconds[report.nodeid] += report.duration
            busy[worker_of(report)] += report.duration
        plan = self._leader.plan
        chain = costly_chain(
            plan,
            {planned.id: seconds[planned.nodeid] for planned in plan.journeys},
            busy=[*busy.values(), *[0.0] * (self._workers - len(busy))],
            elapsed=max(one.stop for one in reports) - min(one.start for one in reports),
        )
        if chain is None:
            return
        graph = self._config.stash[PROJECT]().graph()
        ties = [one for one in chain.tokens if graph.scope_of(one) is Scope.CHAIN and not is_of_a_test(one)]
        ties = [one for one in ties if not graph.is_copyable(one)]
        whole = next(one.chain for one in plan.journeys if one.state == chain.id)
        is_split = any(one.chain == whole and one.state != chain.id for one in plan.journeys)
        name = f"part of chain {whole} that begins with {chain.id}" if is_split else f"chain of {chain.id}"
        others = "the other was" if len(chain.idle) == 1 else f"{len(chain.idle)} others were"
        total = "" if len(chain.idle) == 1 else " in all"
        cure = "its tests depend on each other"
        if ties:
            ways = "'copyable: true' or " if could_be_copyable(graph, ties[0]) else ""
            cure = f"{ways}'scope: machine' for {str(ties[0])!r}, if that is true, "
            cure += "lets its journeys run side by side"
        yield (
            f"the {name} took {chain.seconds:.0f} s on one worker while {others} idle "
            f"for {sum(chain.idle):.0f} s{total}; {cure}"
        )

    def _causes(self) -> Iterator[str]:
        """Yield why items did not run, and failures of replays, which show up nowhere else: also under -q."""
        tally = self._leader.tally
        yield from self._leader.interruption()
        for cause, results in tally.causes().items():
            yield f"deferred: {counted_items(result.id for result in results)}, because {cause}"
            yield f"    {listed(result.id for result in results)}"
        for unseen in tally.unseen_causes():
            yield f"failed while being replayed: {unseen.who}"
            yield from (f"    {line}" for line in unseen.details.splitlines())

    def _details(self) -> Iterator[str]:
        tally = self._leader.tally
        results = tally.results.values()
        yield from self._causes()
        idle = [result.id for result in results if result.outcome is Outcome.NO_ACTOR]
        if idle:
            number = counted(len(idle), "journey")
            yield f"skipped: {number}, because a step has no command and no actor decides one; -rs shows what to do"
            yield f"    {listed(idle)}"
        for gate in tally.gates_left_open():
            because = f" ({gate.cause})" if gate.cause is not None else ""
            yield f"gate left open: {gate.id} {reason_of(gate.outcome)}{because}"
        prerequisites = self._leader.prerequisites()
        if prerequisites:
            yield f"not selected, but run as a prerequisite: {listed(prerequisites)}"
        for result in results:
            yield from _provisioned(result)
        yield from _not_copied(tally)
        yield from dict.fromkeys(_cached(tally, verbose=self._config.get_verbosity() > 0))
        if self._config.get_verbosity() > 0:
            yield from _copied(tally)
            yield from _chains(tally)
            yield from (f"trajectory of {one.id}: {one.trajectory}" for one in results if one.trajectory)
        unjudged = sum(result.unjudged for result in results)
        if unjudged:
            yield f"unjudged: {counted(unjudged, 'expectation')} in free text, because there was no judge"
        for result in results:
            yield from (f"clean-up of {result.id}: {line}" for line in result.not_cleaned.splitlines())
        yield from _left_running(tally)
        harness = [one.id for one in results if one.outcome is Outcome.ERROR and not one.interrupted]
        if harness:
            yield f"harness errors (not product failures): {listed(harness)}"
        yield from self._without_result()

    def _without_result(self) -> Iterator[str]:
        tally = self._leader.tally
        if tally.not_run:
            yield f"did not run: {listed(tally.not_run, most=20)}"
        elif tally.unaccounted and not self._config.pluginmanager.has_plugin("dogfood-distribution"):
            yield f"unaccounted: {listed(tally.unaccounted, most=20)}"  # what a controller has lost, it lists itself


def _markup_of(line: str) -> dict[str, bool]:
    if line.startswith(("harness errors", "unaccounted", "interrupted", "failed while")):
        return {"red": True}
    to_know = (
        "deferred",
        "skipped",
        "gate left open",
        "clean-up of",
        "did not run",
        "not copied",
        "not restored",
        "no cache",
    )
    return {"yellow": True} if line.startswith(to_know) else {}


def _chains(tally: Tally) -> Iterator[str]:
    """Yield which journeys shared a state, and on which worker."""
    journeys: dict[tuple[str, str], list[str]] = {}
    for result in tally.results.values():
        journeys.setdefault((result.chain, result.worker), []).append(result.id)
    for (chain, worker), names in sorted(journeys.items()):
        yield f"chain {chain} on {worker}: {', '.join(names)}"


def _copied(tally: Tally) -> Iterator[str]:
    """Yield how many states began as copies of others, and what that took."""
    copies = [one for result in tally.results.values() for one in result.copies if not one.problem]
    if copies:
        files, size = counted(sum(one.files for one in copies), "file"), sum(one.bytes for one in copies)
        seconds = sum(one.seconds for one in copies)
        yield f"copied: {counted(len(copies), 'state')}, {files}, {size / 1e6:.1f} MB, in {seconds:.1f} s"


def _not_copied(tally: Tally) -> Iterator[str]:
    """Yield which states could not be copied, why, and what it cost to provision anew."""
    lost: dict[tuple[str, str], list[float]] = {}
    for result in tally.results.values():
        for one in result.copies:
            if one.problem:
                lost.setdefault((one.state, one.problem), []).append(one.lost)
    for (state, problem), seconds in lost.items():
        yield f"not copied: the state of {state}: {problem}"
        yield f"    provisioned anew for {counted(len(seconds), 'item')}, {sum(seconds):.1f} s"


def _cached(tally: Tally, *, verbose: bool) -> Iterator[str]:
    """Yield which states were restored from the cache, and what went wrong with it; if `verbose`, what is in it now."""
    for result in tally.results.values():
        for one in result.cached:
            state = f"the state with {listed(map(repr, one.tokens))}"
            if one.use is CacheUse.RESTORED:
                when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.made))
                made = f"(provisioned {when}, {seconds_in_words(one.took)})"
                yield f"restored: {state} {made} instead of provisioning, for {result.id}"
            elif one.use is CacheUse.DROPPED:
                yield f"not restored: {state}: {one.problem}; it was provisioned for {result.id}"
            elif one.use is CacheUse.UNUSABLE:
                yield f"no cache: {one.problem}"
            elif verbose and one.use is CacheUse.STORED:
                yield f"cached: {state}, {seconds_in_words(one.took)} of provisioning"
            elif verbose:
                yield f"not cached: {state}: {one.problem}"


def _left_running(tally: Tally) -> Iterator[str]:
    leaking = [result for result in tally.results.values() if result.leaked]
    yield from (f"{result.id}: left running: {', '.join(result.leaked)}" for result in leaking)
    if leaking:
        from pytest_dogfood.provisioning.journey_runner import (
            LEAK_HINT,  # a run of plain tests does without it
        )

        yield f"    {LEAK_HINT}"


def _provisioned(result: JourneyResult) -> Iterator[str]:
    alike: dict[tuple[str, str, str], list[float]] = {}
    for one in result.provisioned:
        alike.setdefault((one.token, one.how, one.where), []).append(one.seconds)
    for (token, how, where), seconds in alike.items():
        times = {1: "once", 2: "twice"}.get(len(seconds), f"{len(seconds)} times")
        yield f"provisioned {token} {times} {how}, {sum(seconds):.1f} s, for {result.id} [{where}]"
