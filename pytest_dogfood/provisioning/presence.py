"""Finds out whether a token is present: runs its probe, keeps the registry up to date, and passes values on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from msgspec.structs import replace

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.background import BackgroundProcess, is_alive, stop
from pytest_dogfood.execution.runner import StepsResult, run_steps
from pytest_dogfood.execution.step import ShellRunner
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Scope, Token, variable_for
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.evidence import WAS_THERE, Placed, Probed, ProbedBases
from pytest_dogfood.provisioning.workspace import ChainState, Workspace
from pytest_dogfood.settings import Provision
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.token_registry import (
    MACHINE,
    FleetLeases,
    Leases,
    MachineRegistry,
    Registry,
    TokenRecord,
)
from pytest_dogfood.walks import reachable

PROBE_TIMEOUT = 60.0
"""Seconds that a probe may take if its capability sets no `timeout`."""


class Presence:
    """Probes, records and forgets tokens. To call a method for a token, hold `locked(token, state)`."""

    def __init__(
        self,
        graph: CapabilityGraph,
        registry: Registry,
        machine: MachineRegistry,
        workspace: Workspace,
        *,
        fleet: FleetLeases | None = None,
    ) -> None:
        # Runs share no tokens of a fleet. On one machine the leases on them are in the directory of the run.
        self._leases: dict[Scope, Leases] = {
            Scope.MACHINE: machine,
            Scope.FLEET: fleet or machine.for_one_run(registry.shared / Scope.FLEET),
        }
        self.fleet = fleet
        self.graph = graph
        self.registry = registry
        self.machine = machine
        self.workspace = workspace
        self.denials: dict[Placed, Probed] = {}
        """The last failure of each probe, by token and place."""
        self._seen_at: dict[Placed, int] = {}
        self._bases = ProbedBases(graph, registry)

    def place_of(self, token: Token, state: ChainState) -> str:
        return MACHINE if self.graph.scope_of(token).is_shared else state.name

    def record_of(self, token: Token, state: ChainState) -> TokenRecord | None:
        """Return the record of a token, without running its probe."""
        return self.registry.record_of(token, self.place_of(token, state))

    def leases_on(self, token: Token) -> Leases | None:
        """Return the leases on a token that others use too: other runs on this machine, or all workers of this run.

        They say whether the token was there before, and who ends last. A token of a chain has none. A service belongs
        to its run, and so does a token that only journeys can establish.
        """
        capability = self.graph.capability(token)
        if capability is None or capability.service:
            return None
        if capability.scope is Scope.FLEET and self.fleet is not None:
            return self.fleet
        is_used = capability.probe or capability.provision or capability.release
        return self._leases.get(capability.scope) if is_used else None

    def fleet_for(self, token: Token) -> FleetLeases | None:
        """Return the leases on a token that several machines share; None for all others."""
        return self.fleet if self.graph.scope_of(token) is Scope.FLEET else None

    @contextmanager
    def locked(self, token: Token, state: ChainState) -> Iterator[None]:
        """Keep other processes, and other runs that use the token, from probing, provisioning or releasing it."""
        leases = self.leases_on(token)
        against_other_runs = leases.locked(token) if leases is not None else nullcontext()
        # A machine waits for another one without keeping anything from its own workers.
        with against_other_runs, self.registry.locked(token, self.place_of(token, state)):
            yield

    def ask(self, token: Token, state: ChainState) -> TokenRecord | None:
        """Return the record of a token that is present now; a token whose probe fails is forgotten.

        A token without a probe is present while what it rests on is.
        """
        place = self.place_of(token, state)
        fleet = self.fleet_for(token)
        record = self.registry.record_of(token, place) if fleet is None else self._known_to(fleet, token)
        if record is not None:
            if self._still_holds(record, state):
                return record
            if record.service is not None and not is_alive(record.service):
                self.hide_secrets_in(Path(record.service.log))
            self.registry.forget(token, place)
            if fleet is not None:
                fleet.refuse_loss(token, self.absence(token, state, " here"))
                fleet.forget(token)
            return None
        # If the probe hung, each further run would take the whole time limit again.
        if not self.graph.has_probe(token) or self.registry.known_of(token, place).hung:
            return None
        values, leases = self._values_from_leases(token), self.leases_on(token)
        if values is None and leases is not None and self._is_seen(token, state, {}):
            # Present already, with values that this run does not know: a run that finds them must not release it.
            leases.take_lease(token, ours=False, values={})
        if values is None or not self._is_seen(token, state, values):
            said = self.denials.get((token, place))
            if said is not None and said.timed_out:
                self.registry.note_hung(token, place)
            return None
        # A lost token that is present again, but not by this run, keeps its age: tokens that rest on it stay valid.
        since = self.registry.known_of(token, place).last_since or time.time()
        found = TokenRecord(
            token=token, place=place, by=WAS_THERE, proof=Proof.PROBE, ours=False, values=values, since=since
        )
        return self.record(found)

    def look(self, token: Token, state: ChainState, fleet: FleetLeases) -> TokenRecord | None:
        """Return the record of a token of the fleet that is present; this needs no lock, so machines do it at once."""
        record = self._known_to(fleet, token)
        return record if record is not None and self._still_holds(record, state) else None

    def services_missing_below(self, token: Token, state: ChainState) -> tuple[Token, ...]:
        """Return the services that are not running on which a token rests that was there before this run asked.

        A service belongs to its run: another run, or one that was killed, has made the token with a service of its own.
        """
        record, graph = self.record_of(token, state), self.graph
        may_start = self.workspace.settings.provision is Provision.AUTO
        if record is None or record.by != WAS_THERE or self.fleet_for(token) is not None or not may_start:
            return ()
        below = reachable(graph.bases_of(token, None), lambda one: graph.bases_of(one, None))
        found = ((one, graph.capability(one)) for one in below)
        return tuple(
            one
            for one, capability in found
            if capability is not None and capability.service and self.record_of(one, state) is None
        )

    def _known_to(self, fleet: FleetLeases, token: Token) -> TokenRecord | None:
        """Return this machine's record of a token after bringing it up to what all machines know."""
        record, known = self.registry.record_of(token, MACHINE), fleet.record_of(token)
        if known is None:
            if record is not None:
                self.registry.forget(token, MACHINE)
            return None
        if record is None or record.values != known.values:
            proof = Proof.PROBE if self.graph.has_probe(token) else Proof.PROVIDER
            record = TokenRecord(
                token=token, place=MACHINE, by=WAS_THERE, proof=proof, ours=False, values=known.values
            )
            self.registry.record(record)
        return record

    def _still_holds(self, record: TokenRecord, state: ChainState, *, fresh: bool = False) -> bool:
        """Run the token's probe unless it is `fresh`, or those of tokens on which it rests; this writes nothing."""
        if not self.graph.has_probe(record.token):
            bases = self._bases.of(record.token, record.place)
            return bases is not None and all(self._is_there(base, place, state) for base, place in bases)
        if record.service is not None and not is_alive(record.service):
            return False
        return fresh or self._is_seen(record.token, state, record.values)

    def is_still_present(self, token: Token, state: ChainState) -> bool:
        """Return whether a token that was present still is. This probes only after an event, and writes nothing."""
        record = self.record_of(token, state)
        return record is not None and self._still_holds(record, state, fresh=self.is_fresh(token, state))

    def is_fresh(self, token: Token, state: ChainState) -> bool:
        """Return whether no event has happened since the probe of a token last succeeded."""
        return self._seen_at.get((token, self.place_of(token, state))) == self.workspace.changes.count

    def _is_there(self, base: Token, place: str, asking: ChainState) -> bool:
        """Probe a token in its place, and write nothing: the caller does not hold its lock."""
        # The tokens on which a token of the machine or the fleet rests may be in another chain.
        state = asking if place in {MACHINE, asking.name} else self.workspace.state_at(place)
        if self.registry.record_of(base, place) is not None:
            return self.is_still_present(base, state)
        values = self._values_from_leases(base)
        return values is not None and self._is_seen(base, state, values)

    def _values_from_leases(self, token: Token) -> Mapping[str, str] | None:
        capability = self.graph.capability(token)
        if capability is not None and capability.service is not None:
            return None  # only this run could have started it
        leases = self.leases_on(token)
        record = leases.record_of(token) if leases is not None else None
        values = record.values if record else {}
        return values if self.graph.values_wanted(token) <= set(values) else None

    def _is_seen(self, token: Token, state: ChainState, values: Mapping[str, str]) -> bool:
        probed = self.probe(token, state, values)
        return probed is not None and probed.present

    def probe(self, token: Token, state: ChainState, values: Mapping[str, str]) -> Probed | None:
        """Run the token's probe right now; None if it has none. The last failure is kept in `denials`."""
        capability = self.graph.capability(token)
        if capability is None or capability.probe is None:
            return None
        timeout = capability.timeout or capability.probe.timeout or PROBE_TIMEOUT
        probe = replace(capability.probe, timeout=timeout)
        runner = self.runner_for(token, capability, state, values, what="probe")
        asked_at = self.workspace.changes.count
        key, done = (token, self.place_of(token, state)), StepsResult()
        try:
            with self.workspace.activity(Kind.PROBE, token, runner, done, place=key[1]):
                probed = Probed(token=token, done=run_steps([probe], runner, done=done), runner=runner)
        except HarnessError as error:
            probed = Probed(token=token, done=StepsResult(), runner=runner, trouble=str(error))
        if probed.present:
            self._seen_at[key] = asked_at
            self.denials.pop(key, None)
        else:
            self.denials[key] = probed
        return probed

    def absence(self, token: Token, state: ChainState, more: str) -> str:
        """Return that a token is missing, or not known to be present, then `more`, and how its probe failed."""
        failed = self.denials.get((token, self.place_of(token, state)))
        how = f"{token!r} is not present"
        if failed is not None and failed.why_not_run:
            how = f"it is not known whether {token!r} is present, because its probe cannot be run"
        return f"{how}{more}" if failed is None else f"{how}{more}\n{failed.text}"

    def record(self, record: TokenRecord) -> TokenRecord:
        """Record that a token is present, with this run's lease if others use the token too."""
        self.registry.record(record)
        leases = self.leases_on(record.token)
        if leases is not None:
            open_values = {name: value for name, value in record.values.items() if name not in record.secret}
            if leases is self.fleet:
                self._refuse_secrets(record.token, open_values)
            lease = leases.take_lease(record.token, ours=record.ours, values=open_values, by=record.by)
            if lease.ours and not record.ours and leases is not self.fleet:
                # Another run has made it. If this one ends last it releases it, even if the token is lost by then.
                self.registry.claim(record.token, record.place, record.values, record.secret)
        return record

    def _refuse_secrets(self, token: Token, values: Mapping[str, str]) -> None:
        """Raise HarnessError if a value that other machines would get contains a known secret, whoever has saved it."""
        for name, value in values.items():
            if self.workspace.keeper.mask(value) != value:
                raise HarnessError(
                    f"{token!r} has scope 'fleet', but its value {name!r} contains a secret, and secrets are never "
                    "sent to other machines; do not save it, and give each machine the secret in an environment "
                    "variable [fleet-secret]"
                )

    def forget(self, token: Token, state: ChainState) -> None:
        self.registry.forget(token, self.place_of(token, state))
        fleet = self.fleet_for(token)
        if fleet is not None:
            fleet.forget(token)

    def claim(self, token: Token, state: ChainState) -> None:
        """Claim a token for release, before the first step that makes it.

        A token of the machine that was present before any run used it is never released, nor is one of the fleet that
        was present before this run.
        """
        capability = self.graph.capability(token)
        if capability is None or not capability.release:
            return
        with self.locked(token, state):
            leases = self.leases_on(token)
            if leases is not None:
                self.ask(token, state)
                leases.take_lease(token, ours=True, values={})
            self.registry.claim(token, self.place_of(token, state))

    def saving_for(self, tokens: Iterable[Token], state: ChainState) -> StepsResult:
        """Return empty results of steps, which record saved values at once, for the release of `tokens`."""
        placed = [(token, self.place_of(token, state)) for token in tokens]
        claimed = [one for one in placed if self.registry.claim_of(*one) is not None]

        def note(done: StepsResult) -> None:
            for token, place in claimed:
                self.registry.claim(token, place, done.values, tuple(done.secret))

        return StepsResult(saved=note if claimed else None)

    def restore_directories(self, state: ChainState) -> None:
        """Make the state directory again if a step has removed it, and forget its tokens."""
        if not state.path.is_dir():
            private_directory(state.path)
            self.registry.forget_place(state.name)
            self.workspace.changes.note("the state directory was removed")
        private_directory(self.workspace.run.shared)

    def runner_for(
        self,
        token: Token,
        capability: Capability,
        state: ChainState,
        values: Mapping[str, str],
        *,
        what: str,
    ) -> ShellRunner:
        """Return a runner for a capability's own commands: they work in the state, or in the shared directory.

        All but the probe run under the locks of the capability. Outputs are called after `what` they do.
        """
        shared = self.graph.scope_of(token).is_shared
        place = self.workspace.run.shared if shared else state.path
        needs = self.variables(self.graph.needs_of_provider(token), state)
        own = {variable_for(token, name): value for name, value in values.items()}
        names = {"DOGFOOD_TOKEN": token, "DOGFOOD_INSTANCE": token.partition(":")[2]}
        environment = self.workspace.environment(
            workdir=place,
            state=place,
            directory=(self.workspace.rootdir / capability.location.path).parent,
            chain="" if shared else state.chain,
            locks=None if what == "probe" else capability.locks,
            values={**needs, **own, **names},
        )
        if shared:
            environment = self.workspace.for_machine(environment)
        return self.workspace.runner(place, environment, self.workspace.attempt_at(f"{what}-{token}"))

    def variables(self, tokens: Iterable[Token], state: ChainState) -> dict[str, str]:
        """Return the environment variables that carry the values of tokens, and of what their capabilities require.

        If two have the same variable, the nearer token's value counts.
        """
        result: dict[str, str] = {}
        for token in reversed(self.graph.with_bases(tokens)):
            for name, value in self.values_of(token, state).items():
                result[variable_for(token, name)] = value
        return result

    def learn_secrets(self) -> None:
        """Add every secret value that is recorded anywhere in the run, to mask it."""
        for place in self.registry.places():
            for token in self.registry.unreleased(place):
                for known in (self.registry.record_of(token, place), self.registry.claim_of(token, place)):
                    if known is not None:
                        secrets = (known.values[name] for name in known.secret if name in known.values)
                        self.workspace.keeper.learn(secrets)

    def stop_service(self, service: BackgroundProcess | None) -> None:
        """Stop a service, if there is one and it still runs; its log stays, with secrets masked."""
        if service is not None:
            stop(service)
            self.hide_secrets_in(Path(service.log))

    def hide_secrets_in(self, *logs: Path) -> None:
        """Mask secret values in the logs of services that have ended."""
        self.learn_secrets()
        for log in logs:
            if log.exists():
                self.workspace.keeper.mask_file(log)

    def values_of(self, token: Token, state: ChainState) -> Mapping[str, str]:
        record = self.record_of(token, state)
        if record is None:
            return {}
        self.workspace.keeper.learn(record.values[name] for name in record.secret)
        return record.values


def do_not_hold_together(tokens: Iterable[Token], lost: Mapping[Token, str]) -> HarnessError:
    """Return the error of tokens that were never all present; `lost` says which was lost, and after what."""
    names = ", ".join(map(repr, tokens))
    told = "; ".join(f"{token!r} was lost after {events or 'its set-up'}" for token, events in lost.items())
    return HarnessError(
        f"{names} are never present together: {told}. Write `invalidates:` where one destroys another, `lock:` where "
        "two need the same thing, and require them in different journeys"
    )


def lost_in_set_up(tokens: Iterable[Token], lost: Mapping[Token, str], why: str) -> HarnessError:
    """Return the error for tokens that fixtures have destroyed, where `why` they cannot be had again."""
    names = ", ".join(map(repr, tokens))
    after = "; ".join(dict.fromkeys(lost.values()))
    return HarnessError(f"{names} was lost while fixtures were set up (after {after}), and {why}")
