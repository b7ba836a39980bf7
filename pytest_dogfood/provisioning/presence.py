"""Whether a token is really present: the probe asked, the registry kept truthful, values handed on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.background import is_alive
from pytest_dogfood.execution.failure_text import failure_text
from pytest_dogfood.execution.runner import StepsResult, run_steps
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, ChainId, Scope, Token, variable_for
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.foundations import Foundations
from pytest_dogfood.provisioning.workspace import ChainState, Workspace
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.token_registry import MACHINE, Holding, MachineRegistry, Registry


def what_the_probe_said(token: Token, probed: Probed) -> str:
    """Describe a probe that does not say yes, as a step that failed; first why, if it could not be run at all."""
    step = failure_text(probed.done, probed.runner, what=f"probe of {token}, step")
    if not probed.why_not_run:
        return step
    why = probed.runner.mask(probed.why_not_run)
    return f"the probe of {token!r} cannot be run: {why}; a probe that means no exits with 1\n{step}".rstrip()


PROBE_TIMEOUT = 60.0
"""Seconds a probe may take where its capability sets no `timeout`."""

WAS_THERE = "it was there already"


NOT_FOUND = frozenset({126, 127})
"""Exit statuses by which a shell says that it could not run a command (POSIX, Exit Status for Commands)."""


class Probed(Struct, frozen=True, kw_only=True):
    """What a probe has said: how it ended, and what ran it; `trouble` says why it could not be started."""

    done: StepsResult
    runner: ShellRunner
    trouble: str = ""

    @property
    def present(self) -> bool:
        return not self.trouble and self.done.failure is None

    @property
    def timed_out(self) -> bool:
        failure = self.done.failure
        return failure is not None and failure.seen is not None and failure.seen.timed_out

    @property
    def why_not_run(self) -> str:
        """Why the probe says neither yes nor no; empty if it says one of them."""
        failure = self.done.failure
        if self.trouble:
            return self.trouble
        if failure is None or failure.seen is None:
            return ""
        if failure.seen.timed_out:
            return f"it timed out after {failure.seen.limit:g} s"
        if failure.seen.status < 0:
            return f"signal {-failure.seen.status} ended it"
        return f"its exit status is {failure.seen.status}" if failure.seen.status in NOT_FOUND else ""


class Presence:
    """Asks, records and forgets. Every method about a token wants the caller to hold `locked(token, state)`."""

    def __init__(
        self, graph: CapabilityGraph, registry: Registry, machine: MachineRegistry, workspace: Workspace
    ) -> None:
        self.graph = graph
        self.registry = registry
        self.machine = machine
        self.workspace = workspace
        self.denials: dict[tuple[Token, str], Probed] = {}
        """What each probe said when it last did not say yes, by token and place."""
        self._seen_at: dict[tuple[Token, str], int] = {}
        self._foundations = Foundations(graph, registry)

    def place_of(self, token: Token, state: ChainState) -> str:
        return MACHINE if self.graph.scope_of(token) is Scope.MACHINE else state.name

    def outlives_runs(self, token: Token) -> bool:
        """Return whether other runs on this machine deal with the token too: ask for it, bring it about or release it.

        A service belongs to its run, and so does a token that only journeys can establish.
        """
        capability = self.graph.capability(token)
        if capability is None or capability.scope is not Scope.MACHINE or capability.service:
            return False
        return bool(capability.probe or capability.provision or capability.release)

    def is_given_back(self, token: Token) -> bool:
        """Return whether there is anything to do for a token once nobody needs it any more."""
        capability = self.graph.capability(token)
        return capability is not None and bool(
            capability.service or capability.release or self.outlives_runs(token)
        )

    def has_release(self, token: Token) -> bool:
        """Return whether something is done when the token is released: its service stops, or its steps run."""
        capability = self.graph.capability(token)
        return capability is not None and bool(capability.service or capability.release)

    def unreleased(self, place: str) -> list[tuple[Token, str, float]]:
        """Return the tokens of a place that hold, or are half-made, each with the place and since when (seconds)."""
        found = []
        for token in self.registry.unreleased(place):
            made, holding = self.registry.made(token, place), self.registry.holding(token, place)
            known = made or holding
            if known is not None:
                found.append((token, place, known.since))
        return found

    def locked(self, token: Token, state: ChainState) -> AbstractContextManager[None]:
        """Keep other processes of this run, and other runs where they see the token too, from dealing with it."""
        within_the_run = self.registry.locked(token, self.place_of(token, state))
        if not self.outlives_runs(token):
            return within_the_run
        return _both(within_the_run, self.machine.locked(token))

    def request(self, token: Token, state: ChainState) -> Holding | None:
        """Return the record of a token that is present now; what the probe denies is forgotten.

        A token without a probe is present while what it rests on is.
        """
        place = self.place_of(token, state)
        holding = self.registry.holding(token, place)
        capability = self.graph.capability(token)
        if capability is None or capability.probe is None:
            if holding is not None and not self._stands(token, state):
                self.registry.forget(token, place)
                return None
            return holding
        if holding is None and self.registry.hung(token, place):
            return None  # each further question would cost the whole time limit again
        if holding is not None and self._has_died(holding):
            self.registry.forget(token, place)
            return None
        values = holding.values if holding else self._values_from_other_runs(token)
        if values is None and self.outlives_runs(token) and self._is_seen(token, state, {}):
            # There already, with values that nothing here knows: the run that finds them out must not release it.
            self.machine.take(token, ours=False, values={})
        if values is None or not self._is_seen(token, state, values):
            self.registry.forget(token, place)
            said = self.denials.get((token, place))
            if holding is None and said is not None and said.timed_out:
                self.registry.note_hung(token, place)
            return None
        return holding or self._found(token, place, values)

    def _has_died(self, holding: Holding) -> bool:
        """Return whether the token is a service that has ended by itself; the secrets in its log are masked then."""
        if holding.service is None or is_alive(holding.service):
            return False
        self.hide_secrets_in(Path(holding.service.log))
        return True

    def _found(self, token: Token, place: str, values: Mapping[str, str]) -> Holding:
        # A token that was lost and is there again without our doing has the age of before: what rests on it stands.
        since = self.registry.age_of(token, place) or time.time()
        return self.record(
            Holding(
                token=token,
                place=place,
                by=WAS_THERE,
                proof=Proof.PROBE,
                ours=False,
                values=values,
                since=since,
            )
        )

    def look(self, token: Token, state: ChainState) -> bool:
        """Return whether a token that was present still is. This asks only after an event, and writes nothing."""
        place = self.place_of(token, state)
        holding = self.registry.holding(token, place)
        if holding is None:
            return False
        capability = self.graph.capability(token)
        if capability is None or capability.probe is None:
            return self._stands(token, state)
        if holding.service is not None and not is_alive(holding.service):
            return False
        return self.is_fresh(token, state) or self._is_seen(token, state, holding.values)

    def is_fresh(self, token: Token, state: ChainState) -> bool:
        """Return whether nothing has happened since the probe of a token last said yes."""
        return self._seen_at.get((token, self.place_of(token, state))) == self.workspace.changes.count

    def _stands(self, token: Token, state: ChainState) -> bool:
        """Return whether a token without a probe, which was recorded, can still hold: all that it rests on does."""
        bases = self._foundations.of(token, self.place_of(token, state))
        return bases is not None and all(self._is_there(base, place, state) for base, place in bases)

    def _is_there(self, base: Token, place: str, asking: ChainState) -> bool:
        """Ask a token with a probe, where it is, and write nothing: the caller has no lock of it."""
        state = asking
        if place not in {
            MACHINE,
            asking.name,
        }:  # what a token of the whole machine rests on, in another chain
            state = ChainState(chain=ChainId(""), number=0, path=self.workspace.run.path / place)
        if self.registry.holding(base, place) is not None:
            return self.look(base, state)
        values = self._values_from_other_runs(base)
        return values is not None and self._is_seen(base, state, values)

    def _values_from_other_runs(self, token: Token) -> Mapping[str, str] | None:
        capability = self.graph.capability(token)
        if capability is not None and capability.service is not None:
            return None  # only this run could have started it
        record = self.machine.record_of(token) if self.outlives_runs(token) else None
        values = record.values if record else {}
        return values if self.graph.values_wanted(token) <= set(values) else None

    def _is_seen(self, token: Token, state: ChainState, values: Mapping[str, str]) -> bool:
        probed = self.probe(token, state, values)
        return probed is not None and probed.present

    def probe(self, token: Token, state: ChainState, values: Mapping[str, str]) -> Probed | None:
        """Ask the token's probe right now; None if it has none. The last no is kept in `denials`."""
        capability = self.graph.capability(token)
        if capability is None or capability.probe is None:
            return None
        probe = capability.probe
        limited = replace(probe, timeout=capability.timeout or probe.timeout or PROBE_TIMEOUT)
        runner = self.runner_for(token, capability, state, values)
        asked_at = self.workspace.changes.count
        try:
            with self.workspace.interruption.doing(f"probe of {token}"):
                probed = Probed(done=run_steps([limited], runner), runner=runner)
        except HarnessError as error:
            probed = Probed(done=StepsResult(), runner=runner, trouble=str(error))
        key = token, self.place_of(token, state)
        if probed.present:
            self._seen_at[key] = asked_at
            self.denials.pop(key, None)
        else:
            self.denials[key] = probed
        return probed

    def how_absent(self, token: Token, state: ChainState) -> str:
        """Return that a token is missing, or that it is not known to be there, as the beginning of a sentence."""
        said = self.denials.get((token, self.place_of(token, state)))
        if said is not None and said.why_not_run:
            return f"it is not known whether {token!r} is present, because its probe cannot be run"
        return f"{token!r} is not present"

    def record(self, holding: Holding) -> Holding:
        """Write down that a token holds, with this run's lease where other runs see the token too."""
        self.registry.record(holding)
        if self.outlives_runs(holding.token):
            open_values = {
                name: value for name, value in holding.values.items() if name not in holding.secret
            }
            lease = self.machine.take(holding.token, ours=holding.ours, values=open_values)
            if lease.ours and not holding.ours:
                # Another run has made it. If this one ends last it releases it, even if the token is lost by then.
                self.registry.claim(holding.token, holding.place, holding.values, holding.secret)
        return holding

    def forget(self, token: Token, state: ChainState) -> None:
        self.registry.forget(token, self.place_of(token, state))

    def claim(self, token: Token, state: ChainState) -> None:
        """Note, before the first step that makes a token, that what there will be of it is to be released.

        On the machine, what was there before any run counted on it is left alone, however much is made of it.
        """
        capability = self.graph.capability(token)
        if capability is None or not capability.release:
            return
        with self.locked(token, state):
            if self.outlives_runs(token):
                self.request(token, state)
                self.machine.take(token, ours=True, values={})
            self.registry.claim(token, self.place_of(token, state))

    def saving_for(self, tokens: Iterable[Token], state: ChainState) -> StepsResult:
        """Return an empty account of steps; what they save is noted as they save it, for the release of `tokens`."""
        noted = [
            token for token in tokens if self.registry.made(token, self.place_of(token, state)) is not None
        ]

        def note(done: StepsResult) -> None:
            for token in noted:
                self.registry.claim(token, self.place_of(token, state), done.values, tuple(done.secret))

        return StepsResult(saved=note if noted else None)

    def restore_directories(self, state: ChainState) -> None:
        """Make the state directory anew where a step has removed it; what was recorded of it holds no longer."""
        if not state.path.is_dir():
            private_directory(state.path)
            self.registry.forget_place(state.name)
            self.workspace.changes.note("the state directory was removed")
        private_directory(self.workspace.run.shared)

    def runner_for(
        self, token: Token, capability: Capability, state: ChainState, values: Mapping[str, str]
    ) -> ShellRunner:
        """Return a runner for a capability's own commands: they work in the state, or in the shared directory."""
        shared = self.graph.scope_of(token) is Scope.MACHINE
        place = self.workspace.run.shared if shared else state.path
        needs = self.variables(self.graph.needs_of_provider(token), state)
        own = {variable_for(token, name): value for name, value in values.items()}
        environment = self.workspace.environment(
            workdir=place,
            state=place,
            directory=self.workspace.directory_of(capability.location.path),
            chain="" if shared else state.chain,
            values={**needs, **own},
        )
        environment["DOGFOOD_TOKEN"] = token
        environment["DOGFOOD_INSTANCE"] = token.partition(":")[2]
        return self.workspace.runner(place, environment)

    def variables(self, tokens: Iterable[Token], state: ChainState) -> dict[str, str]:
        """Return the environment variables that carry the values of tokens, and of what their capabilities require.

        Where two have a variable of one name, the nearer one gives its value.
        """
        result: dict[str, str] = {}
        for token in reversed(self.graph.with_bases(tokens)):
            for name, value in self.values_of(token, state).items():
                result[variable_for(token, name)] = value
        return result

    def learn_secrets(self) -> None:
        """Take note of every secret value that is recorded anywhere in the run."""
        for place in self.registry.places():
            for holding in self.registry.holdings(place):
                self.workspace.keeper.learn(holding.values[name] for name in holding.secret)
            for token in self.registry.unreleased(place):
                made = self.registry.made(token, place)
                if made is not None:
                    self.workspace.keeper.learn(
                        made.values[name] for name in made.secret if name in made.values
                    )

    def hide_secrets_in(self, *logs: Path) -> None:
        """Mask secret values in the logs of services that have ended."""
        self.learn_secrets()
        for log in logs:
            if log.exists():
                self.workspace.keeper.secrets.mask_file(log)

    def values_of(self, token: Token, state: ChainState) -> Mapping[str, str]:
        holding = self.registry.holding(token, self.place_of(token, state))
        if holding is None:
            return {}
        self.workspace.keeper.learn(holding.values[name] for name in holding.secret)
        return holding.values


@contextmanager
def _both(outer: AbstractContextManager[None], inner: AbstractContextManager[None]) -> Iterator[None]:
    with outer, inner:
        yield
