"""What the record of a run costs: the time to write down a journey, and the bytes that stay of many."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_dogfood.diagnostics import Location
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.execution.runner import StepResult, StepsResult
from pytest_dogfood.execution.step import CommandObservation
from pytest_dogfood.journey import Step
from pytest_dogfood.storage.record import Kind
from pytest_dogfood.storage.recorder import Note, Recorder
from pytest_dogfood.storage.run_directory import RECORDS, RESULTS, RUN, RunDirectory
from tests.benchmarks.contenders import pytest, scratch
from tests.benchmarks.measuring import Row, own_processor, spread, taking_turns

STEPS = 5
MILLION = 1_000_000


def records(times: int) -> list[Row]:
    """Time what is written down of a journey, and weigh what stays of a run."""
    return [_time_to_write(times), _bytes_that_stay()]


def _time_to_write(times: int, *, count: int = 2000) -> Row:
    """Write down the beginnings and ends of journeys of five steps, with two secrets to mask in each text."""
    keeper = SecretKeeper(["a first secret value", "a second secret value"])
    done = StepsResult(results=[_result(number, keeper) for number in range(1, STEPS + 1)])

    def write() -> None:
        with scratch() as directory:
            recorder = Recorder(RunDirectory(directory), "main", keeper)
            for number in range(count):
                note = Note()
                recorder.begin(Kind.JOURNEY, f"j-{number}", note, None)
                recorder.write(Kind.JOURNEY, f"j-{number}", note, None, done)
            if recorder.problem:
                raise RuntimeError(recorder.problem)

    seen = taking_turns({"ours": lambda: own_processor(write) / count}, times + 1)
    seen = {name: values[1:] for name, values in seen.items()}
    return Row(
        what=f"writing down a journey of {STEPS} steps, µs (processor time)",
        ours=min(seen["ours"]) * MILLION,
        target=150,
        note=f"spread {spread(seen):.0%}; two lines a journey",
    )


def _result(number: int, keeper: SecretKeeper) -> StepResult:
    step = Step(
        location=Location("bench.journey.yaml", number, 9), run=_command(number), intent=f"do part {number}"
    )
    seen = CommandObservation(
        status=0,
        timed_out=False,
        seconds=0.01,
        limit=300.0,
        ended_at=None,
        outputs={},
        cwd=Path("/somewhere"),
        environment={},
        keeper=keeper,
    )
    return StepResult(step=step, number=number, total=STEPS, wrong=(), seen=seen, started=1e9, seconds=0.01)


def _command(number: int) -> str:
    return f'echo "step {number} of something that a product does" | grep --quiet product'


def _bytes_that_stay(*, run: int = 200, count: int = 10_000) -> Row:
    """Run some journeys of five steps, and count what a run keeps of them for each, once it has passed."""
    with scratch() as directory:
        (directory / "pytest.ini").write_text(f"[pytest]\ndogfood_state_root = {directory / 's'}\n")
        steps = [{"intent": f"do part {number}", "run": _command(number)} for number in range(1, STEPS + 1)]
        journeys = [{"id": f"a-journey-of-{number}", "steps": steps} for number in range(run)]
        (directory / "bench.journey.json").write_text(json.dumps({"journeys": journeys}))
        pytest("--dogfood", "-n", "2", cwd=directory)
        (kept,) = (directory / "s").glob(f"*/{RUN}")
        files = [kept, kept.with_name(RESULTS), *kept.with_name(RECORDS).iterdir()]
        sizes = {path.name: path.stat().st_size for path in files}
    scale = count / run / MILLION
    return Row(
        what=f"the record of {count:,} journeys of {STEPS} steps, MB",
        ours=sum(sizes.values()) * scale,
        target=25,
        peers={name: size * scale for name, size in sizes.items()},
    )
