"""Whether a token is really present: the probe asked, the registry kept truthful, values handed on."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextlib import ExitStack
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.execution import perform
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability
from pytest_dogfood.journey import Journey
from pytest_dogfood.journey import Scope
from pytest_dogfood.journey import Token
from pytest_dogfood.journey import variable_for
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.performance import Performance
from pytest_dogfood.registry import MACHINE
from pytest_dogfood.registry import SEVERAL
from pytest_dogfood.registry import Holding
from pytest_dogfood.registry import MachineRegistry
from pytest_dogfood.registry import Registry
from pytest_dogfood.services import is_alive
from pytest_dogfood.stepping import RealBench
from pytest_dogfood.world import State
from pytest_dogfood.world import World

PROBE_TIMEOUT = 60.0
"""Seconds a probe may take where its capability sets no `timeout`."""

WAS_THERE = "it was there already"


class Probed(Struct, frozen=True, kw_only=True):
    """What a probe has said: how it came out, and the bench it was run at."""

    done: Performance
    bench: RealBench

    @property
    def present(self) -> bool:
        return self.done.failure is None


class Presence:
    """Asks, records and forgets. Every method about a token wants the caller to hold `locked(token, state)`."""

    def __init__(
        self, graph: CapabilityGraph, registry: Registry, machine: MachineRegistry, world: World
    ) -> None:
        self.graph = graph
        self.registry = registry
        self.machine = machine
        self.world = world

    def place_of(self, token: Token, state: State) -> str:
        return MACHINE if self.graph.scope_of(token) is Scope.MACHINE else state.name

    def outlives_runs(self, token: Token) -> bool:
        """Whether other runs on this machine deal with the token too: ask for it, bring it about or release it.

        A service belongs to its run, and so does a token that only journeys can establish.
        """
        capability = self.graph.capability(token)
        if capability is None or capability.scope is not Scope.MACHINE or capability.service:
            return False
        return bool(capability.probe or capability.provision or capability.release)

    def is_given_back(self, token: Token) -> bool:
        """Whether there is anything to do for a token once nobody needs it any more."""
        capability = self.graph.capability(token)
        return capability is not None and bool(
            capability.service or capability.release or self.outlives_runs(token)
        )

    def locked(self, token: Token, state: State) -> AbstractContextManager[None]:
        """Keep other processes of this run, and other runs where they see the token too, from dealing with it."""
        within_the_run = self.registry.locked(token, self.place_of(token, state))
        if not self.outlives_runs(token):
            return within_the_run
        return _both(within_the_run, self.machine.locked(token))

    @contextmanager
    def holding_locks(self, journey: Journey, state: State) -> Iterator[None]:
        """Hold what one holder at a time may have, while a journey runs, be it in a replay.

        Whoever replays the journey on another worker, or in another run, has the locks of the machine-wide tokens that
        it establishes by then: in another order the two would wait for each other.
        """
        with ExitStack() as held:
            shared = [one for one in journey.establishes if self.graph.scope_of(one) is Scope.MACHINE]
            if journey.locks and shared:
                held.enter_context(self.machine.locked(SEVERAL))
                for token in shared:
                    held.enter_context(self.locked(token, state))
            held.enter_context(self.world.holding_locks(journey.locks))
            yield

    def ask(self, token: Token, state: State) -> Holding | None:
        """Give the record of a token that is present now; what the probe denies is forgotten."""
        place = self.place_of(token, state)
        holding = self.registry.holding(token, place)
        capability = self.graph.capability(token)
        if capability is None or capability.probe is None:
            return holding
        if holding is not None and holding.service is not None and not is_alive(holding.service):
            self.hide_secrets_in(Path(holding.service.log))
            self.registry.forget(token, place)
            return None
        values = holding.values if holding else self._values_from_other_runs(token)
        if values is None and self.outlives_runs(token) and self._is_seen(token, state, {}):
            # There already, with values that nobody here knows: whoever finds them out must not release it.
            self.machine.take(token, ours=False, values={})
        if values is None or not self._is_seen(token, state, values):
            self.registry.forget(token, place)
            return None
        if holding is not None:
            return holding
        return self.record(
            Holding(token=token, place=place, by=WAS_THERE, proof=Proof.PROBE, ours=False, values=values)
        )

    def _values_from_other_runs(self, token: Token) -> Mapping[str, str] | None:
        capability = self.graph.capability(token)
        if capability is not None and capability.service is not None:
            return None  # only this run could have started it
        record = self.machine.record_of(token) if self.outlives_runs(token) else None
        values = record.values if record else {}
        return values if self.graph.values_wanted(token) <= set(values) else None

    def _is_seen(self, token: Token, state: State, values: Mapping[str, str]) -> bool:
        probed = self.probe(token, state, values)
        return probed is not None and probed.present

    def probe(self, token: Token, state: State, values: Mapping[str, str]) -> Probed | None:
        """Ask the token's probe right now; None if it has none."""
        capability = self.graph.capability(token)
        if capability is None or capability.probe is None:
            return None
        probe = capability.probe
        limited = replace(probe, timeout=capability.timeout or probe.timeout or PROBE_TIMEOUT)
        bench = self.bench_for(token, capability, state, values)
        with self.world.interruption.doing(f"probe of {token}"):
            return Probed(done=perform([limited], bench), bench=bench)

    def record(self, holding: Holding) -> Holding:
        """Write down that a token holds, with this run's lease where other runs see the token too."""
        self.registry.record(holding)
        if self.outlives_runs(holding.token):
            open_values = {
                name: value for name, value in holding.values.items() if name not in holding.secret
            }
            self.machine.take(holding.token, ours=holding.ours, values=open_values)
        return holding

    def forget(self, token: Token, state: State) -> None:
        self.registry.forget(token, self.place_of(token, state))

    def bench_for(
        self, token: Token, capability: Capability, state: State, values: Mapping[str, str]
    ) -> RealBench:
        """Give a bench for a capability's own commands: they work in the state, or in the shared directory."""
        shared = self.graph.scope_of(token) is Scope.MACHINE
        place = self.world.run.shared if shared else state.path
        needs = self.variables(self.graph.needs_of_provider(token), state)
        own = {variable_for(token, name): value for name, value in values.items()}
        environment = self.world.environment(
            workdir=place,
            state=place,
            directory=self.world.directory_of(capability.location.path),
            chain="" if shared else state.chain,
            values={**needs, **own},
        )
        environment["DOGFOOD_TOKEN"] = token
        environment["DOGFOOD_INSTANCE"] = token.partition(":")[2]
        return self.world.bench(place, environment)

    def variables(self, tokens: Iterable[Token], state: State) -> dict[str, str]:
        """Give the environment variables that carry the values of tokens."""
        result: dict[str, str] = {}
        for token in tokens:
            for name, value in self.values_of(token, state).items():
                result[variable_for(token, name)] = value
        return result

    def learn_secrets(self) -> None:
        """Take note of every secret value that is recorded anywhere in the run."""
        for place in self.registry.places():
            for holding in self.registry.holdings(place):
                self.world.keeper.learn(holding.values[name] for name in holding.secret)

    def hide_secrets_in(self, *logs: Path) -> None:
        """Mask secret values in the logs of services that have ended."""
        self.learn_secrets()
        for log in logs:
            if log.exists():
                self.world.keeper.secrets.mask_file(log)

    def values_of(self, token: Token, state: State) -> Mapping[str, str]:
        holding = self.registry.holding(token, self.place_of(token, state))
        if holding is None:
            return {}
        self.world.keeper.learn(holding.values[name] for name in holding.secret)
        return holding.values


@contextmanager
def _both(outer: AbstractContextManager[None], inner: AbstractContextManager[None]) -> Iterator[None]:
    with outer, inner:
        yield
