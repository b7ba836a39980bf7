"""Starts a capability's service and waits until its probe says that it is ready."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution import background
from pytest_dogfood.execution.output import read_tail
from pytest_dogfood.execution.shell import shell_argv
from pytest_dogfood.execution.step import expand
from pytest_dogfood.journey import Capability, Service, Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.presence import PROBE_TIMEOUT, Presence
from pytest_dogfood.provisioning.workspace import WORKER_MARKER, ChainState
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.token_registry import TokenRecord

_FIRST_WAIT = 0.02
_LONGEST_WAIT = 0.5

OF_THE_RUN = "run"
"""The worker's name for a machine-wide service: it belongs to the run, and outlives the worker that started it."""


def start_service(
    presence: Presence, token: Token, capability: Capability, service: Service, state: ChainState
) -> TokenRecord:
    """Start the service on free ports and wait for its probe; raises HarnessError if it ends or takes too long.

    One that was started before is stopped first, because two would get in each other's way. It may still run: the step
    that should have destroyed it may have failed, and a service can run on although its probe fails.
    """
    place = presence.place_of(token, state)
    earlier = presence.registry.claim_of(token, place)
    presence.stop_service(None if earlier is None else earlier.service)
    ports = background.free_ports(service.ports)
    values = {name: str(port) for name, port in ports.items()}
    runner = presence.runner_for(token, capability, state, values, what="service")
    environment = dict(runner.environment)
    if capability.scope.is_shared:
        environment["DOGFOOD_WORKER"] = environment[WORKER_MARKER] = OF_THE_RUN
    for name, text in service.env.items():
        environment[name] = expand(text, environment)
    with presence.workspace.recorder.activity(Kind.PROVISION, token, runner, place=place) as note:
        note.how = "by starting its service"
        running = background.start(
            shell_argv(service.run, service.shell),
            cwd=runner.workdir / expand(service.cwd or ".", environment),
            env=environment,
            log=presence.workspace.home_of(of_machine=capability.scope.is_shared).service_log(token, place),
            ports=ports,
        )
        record = TokenRecord(
            token=token,
            place=place,
            by="service",
            proof=Proof.PROBE,
            values=values,
            service=running,
            home=state.name,
        )
        presence.workspace.changes.note(f"{token!r} was started")
        try:
            with presence.workspace.interruption.operation(f"start of the service of {token}"):
                _wait_until_ready(presence, capability, state, record, running)
        except BaseException:
            presence.stop_service(running)
            raise
        return presence.record(record)


def _wait_until_ready(
    presence: Presence,
    capability: Capability,
    state: ChainState,
    record: TokenRecord,
    running: background.BackgroundProcess,
) -> None:
    limit = capability.timeout or PROBE_TIMEOUT
    deadline = time.monotonic() + limit
    wait = _FIRST_WAIT
    while True:
        probed = presence.probe(record.token, state, record.values)
        if not background.is_alive(running):  # checked last: the probe may have reached another program
            why, said = "ended before its probe succeeded", ""
            break
        if probed is None or probed.present:
            return
        if time.monotonic() + wait > deadline:
            no = f"cannot be run: {probed.why_not_run}" if probed.why_not_run else probed.denial
            why, said = f"was not ready after {limit:g} s: its probe {no}", f"\n{probed.text}"
            break
        time.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)
    log = read_tail(Path(running.log), 4096).rstrip()
    text = f"the service of {record.token!r} {why}\n  --- {running.log} ---\n{log or '  (empty)'}"
    raise HarnessError(f"{presence.workspace.keeper.mask(text)}{said}")
