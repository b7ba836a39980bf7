from __future__ import annotations

import msgspec
import pytest

from pytest_dogfood.fleet.agreement import Agreement
from pytest_dogfood.fleet.board import End, Losses, Machine, MachineState, RunContents, Unit
from pytest_dogfood.fleet.close import LARGEST_RECORD, merge_machines, packed_item_record
from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Cause, JourneyResult, Outcome
from pytest_dogfood.report.manifest import ItemRecord
from pytest_dogfood.report.merge import merged_run, to_lines
from pytest_dogfood.report.overview import view_of


def test_a_record_travels_as_it_is() -> None:
    record = ItemRecord(
        nodeid="a", outcome=Outcome.FAILED, seconds=2, text="long", message="m", properties=(("n", "v"),)
    )
    assert msgspec.json.decode(packed_item_record(record), type=ItemRecord) == record


@pytest.mark.parametrize("letter", ["x", "\0", "é", "😀"])
def test_of_a_large_record_the_end_of_the_text_and_the_beginning_of_the_rest_travel(letter: str) -> None:
    much = letter * LARGEST_RECORD
    record = ItemRecord(
        nodeid="a",
        outcome=Outcome.FAILED,
        text=f"{much}the failure",
        message=f"exit 7{much}",
        properties=(("first", "1"), *((f"p{number}", much) for number in range(100))),
    )
    packed = packed_item_record(record)
    assert len(packed) <= LARGEST_RECORD
    travelled = msgspec.json.decode(packed, type=ItemRecord)
    assert travelled.outcome is Outcome.FAILED
    assert travelled.text.startswith("...\n")
    assert travelled.text.endswith(f"{letter}the failure")
    assert travelled.message.startswith(f"exit 7{letter}")
    assert travelled.message.endswith(f"{letter}...")


def test_a_record_that_cannot_be_read_keeps_its_outcome() -> None:
    contents = RunContents(
        run="r",
        agreement=Agreement(items=("a",), graph="").packed(),
        machines=(Machine(name="red"),),
        ends=(End(nodeid="a", unit="a", attempt=1, outcome="failed", record=b"no JSON", machine="red"),),
    )
    ((_, item),) = merge_machines(contents).items
    assert (item.outcome, item.message) == (Outcome.FAILED, "what red wrote about this cannot be read")


def test_a_machine_that_was_lost_has_lanes_by_what_had_ended_on_it() -> None:
    def end(nodeid: str, machine: str, worker: str, outcome: Outcome, text: str = "") -> End:
        item = ItemRecord(nodeid=nodeid, outcome=outcome, seconds=2, text=text, message=text)
        result = JourneyResult(id=JourneyId(nodeid.upper()), outcome=outcome, worker=worker)
        return End(
            nodeid=nodeid,
            unit="a",
            attempt=1,
            outcome=str(outcome),
            result=msgspec.json.encode(result.to_json()),
            record=packed_item_record(item),
            machine=machine,
        )

    contents = RunContents(
        run="nightly",
        agreement=Agreement(
            items=("a", "b", "c", "t::1", "t::2"), graph="", journeys={"a": "A", "b": "B", "c": "C"}
        ).packed(),
        began=1000.0,
        machines=(
            Machine(name="blue", workers=2, state=MachineState.LOST),
            Machine(name="red"),
            Machine(name="close-1", workers=0),
        ),
        ends=(
            end("a", "blue", "gw0", Outcome.PASSED),
            end("b", "blue", "gw1", Outcome.FAILED, "exit 7"),
            end("t::1", "blue", "gw0", Outcome.PASSED),
            end("t::2", "blue", "gw0", Outcome.FAILED, "assert 1 == 2"),
            end("c", "red", "gw0", Outcome.PASSED),
        ),
        joined={"blue": 5.0, "red": 35.0, "close-1": 99.0},
        ended={"a": 8.0, "b": 9.0, "t::1": 10.0, "t::2": 12.0, "c": 80.0},
        losses=Losses(after={"blue": 41.0}, units=(Unit(name="a", machine="red", lost_on=("blue",)),)),
    )
    recorded = merged_run(merge_machines(contents))
    view = view_of(recorded)
    assert view.losses == ("blue was lost after 41 s; 1 item taken over by red",)
    assert [(one.name, one.lost, [(bar.id, bar.start) for bar in one.bars]) for one in view.lanes] == [
        ("blue", 41.0, [("t::2", 5.0)]),
        ("blue, gw0", 41.0, [("A", 1.0)]),
        ("blue, gw1", 41.0, [("B", 2.0)]),
        ("red, gw0", None, [("C", 73.0)]),
    ]
    assert view.lanes[-1].bars[0].taken_from == "blue"
    assert {cause.id: cause.text for cause in view.causes} == {"B": "exit 7", "t::2": "assert 1 == 2"}
    assert recorded.run.others == {"passed": 1, "failed": 1}
    assert "blue was lost after 41 s; 1 item taken over by red" in to_lines(merge_machines(contents))


def test_a_run_is_red_if_what_something_waited_for_failed_in_a_replay() -> None:
    cause = Cause(who="login", why="login failed", details="replayed for pay")
    result = JourneyResult(id=JourneyId("pay"), outcome=Outcome.DEFERRED, cause=cause)
    contents = RunContents(
        run="r",
        agreement=Agreement(items=("a::pay",), graph="", journeys={"a::pay": "pay"}).packed(),
        machines=(Machine(name="red"),),
        ends=(
            End(
                nodeid="a::pay",
                unit="a",
                attempt=1,
                outcome="deferred",
                result=msgspec.json.encode(result.to_json()),
                record=packed_item_record(ItemRecord(nodeid="a::pay", outcome=Outcome.DEFERRED)),
                machine="red",
            ),
        ),
    )
    merged = merge_machines(contents)
    assert (merged.exit_status, merged.failed_in_replay()) == (1, ("login",))
