"""--dogfood-check: says what a run would do, and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Scope
from pytest_dogfood.journey import Token
from pytest_dogfood.planning import Plan
from pytest_dogfood.working import Working


class Checking:
    """Takes the place of the loop that runs items. What is wrong has been refused before it comes to that."""

    def __init__(self, working: Working) -> None:
        self._working = working

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        settled = self._working.settled
        if settled is not None:
            terminalreporter.write_sep("=", "dogfood plan")
            for line in plan_in_words(settled.plan, settled.graph):
                terminalreporter.write_line(line)


def plan_in_words(plan: Plan, graph: CapabilityGraph) -> Iterator[str]:
    """Describe chain by chain what would run after what, and what would have to be provisioned."""
    chains: dict[str, list[str]] = {}
    established = {token for planned in plan.journeys for token in planned.establishes}
    provisioned: dict[Token, None] = {}
    for planned in plan.journeys:
        after = [other for other in planned.after if graph.chains[other] != planned.chain]
        waits = f" (after {', '.join(after)})" if after else ""
        chains.setdefault(planned.chain, []).append(f"{planned.id}{waits}")
        provisioned.update(
            dict.fromkeys(
                token for token in graph.needed_by(graph.journeys[planned.id]) if token not in established
            )
        )
    for chain, members in chains.items():
        yield f"chain {chain}: {' -> '.join(members)}"
    for token in provisioned:
        yield f"to be provisioned: {token}, {_how(token, graph)}, {_where(token, graph)}"
    yield f"the graph is valid: {len(plan.journeys)} journeys in {len(chains)} chains; nothing was run"


def _how(token: Token, graph: CapabilityGraph) -> str:
    if token in graph.fixtures:
        return f"by fixture {graph.fixtures[token]}"
    capability = graph.capability(token)
    if capability is not None and graph.has_own_provider(token):
        return "by its service" if capability.service else "by its provision steps"
    replayable = [member for member in graph.establishing(token) if not graph.journeys[member].python]
    return f"by replaying {replayable[0]}" if replayable else "unless its probe finds it"


def _where(token: Token, graph: CapabilityGraph) -> str:
    if graph.scope_of(token) is Scope.MACHINE:
        return "once for the machine"
    return "once for its chain's state"
