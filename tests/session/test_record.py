"""What the record of a run holds: of one with everything in it, of a crash, of kill -9, of secrets, of a green run."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun, read_run
from pytest_dogfood.storage.run_directory import RUN
from tests.support.live_projects import Eventually, Live

CAPABILITIES = """
    capabilities:
      mark-set:
        provision:
          - intent: set the mark
            run: echo made; echo 'value=7'
            save: {VALUE: {stdout: 'value=(\\d+)'}}
        release:
          - run: echo bye
      up:
        scope: machine
        probe: {run: 'test -e "$DOGFOOD_SHARED/up"'}
        provision:
          - run: touch "$DOGFOOD_SHARED/up"
      mail-up:
        provision:
          - run: echo no mail here >&2; exit 127
"""

JOURNEYS = """
    journeys:
      - id: build
        establishes: [built]
        steps:
          - intent: build it
            run: echo building
      - id: use
        requires: [built, up, mark-set]
        env: {OWN: mine}
        steps:
          - run: echo "$DOGFOOD_MARK_SET_VALUE"
          - run: |
              echo out
              echo err >&2
              exit 3
        cleanup:
          - run: echo clean
      - id: never
        requires: [used]
        steps: [{run: 'true'}]
      - id: uses-again
        requires: [built]
        establishes: [used]
        steps: [{run: exit 4}]
      - id: announce
        requires: [mail-up]
        steps: [{run: 'true'}]
"""

TESTS = """
    import pytest

    def test_plain_that_passes():
        pass

    def test_plain_that_fails():
        assert 1 == 2

    @pytest.mark.requires("built")
    def test_in_the_graph():
        raise RuntimeError("with words")
"""


def record_of(live: Live) -> RecordedRun:
    """Read the only record, or the newest."""
    found = [path.parent for path in live.state_root.glob(f"*/{RUN}")]
    return read_run(max(found, key=lambda path: path.stat().st_mtime))


def one(recorded: RecordedRun, kind: Kind, name: str) -> Activity:
    (found,) = (activity for activity in recorded.activities if (activity.kind, activity.id) == (kind, name))
    return found


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def whole(request: pytest.FixtureRequest, new_live: Callable[[], Live]) -> tuple[Live, RecordedRun]:
    live = new_live()
    live.write("dogfood.yaml", CAPABILITIES).write("a.journey.yaml", JOURNEYS).write("test_a.py", TESTS)
    assert live.run(request.param).status == 1
    return live, record_of(live)


def test_the_frame_says_what_was_run_and_how_it_ended(whole: tuple[Live, RecordedRun]) -> None:
    live, recorded = whole
    run = recorded.run
    assert (run.project, run.root, run.exit_status) == (live.path.name, str(live.path), 1)
    assert run.closing_line.startswith("dogfood: 5 journeys and 1 test = ")
    assert run.others == {"passed": 1, "failed": 1}
    assert run.whole
    assert run.seconds > 0
    assert run.versions.pytest == pytest.__version__


def test_a_failed_journey_has_its_steps_with_outputs_in_files(whole: tuple[Live, RecordedRun]) -> None:
    _, recorded = whole
    activity = one(recorded, Kind.JOURNEY, "use")
    first, second = activity.steps
    assert (activity.outcome, activity.attempt, activity.for_) == (Outcome.FAILED, 1, "")
    assert (first.exit, first.number, first.of, first.wrong) == (0, 1, 2, ())
    assert (second.exit, second.place[:18]) == (3, "a.journey.yaml:13:")
    assert [(wrong.what, wrong.expected, wrong.actual) for wrong in second.wrong] == [
        ("exit status", "0", "3")
    ]
    assert (recorded.directory / first.out).read_text() == "7\n"
    assert (recorded.directory / second.out).read_text() == "out\n"
    assert (recorded.directory / second.err).read_text() == "err\n"
    assert activity.started <= first.started <= second.started
    assert activity.again.endswith("'a.journey.yaml::use'")


def test_of_the_environment_there_is_only_what_was_set_for_the_steps(
    whole: tuple[Live, RecordedRun],
) -> None:
    live, recorded = whole
    variables = one(recorded, Kind.JOURNEY, "use").variables
    assert variables["OWN"] == "mine"
    assert variables["DOGFOOD_MARK_SET_VALUE"] == "7"
    assert not {live.marker, "PATH", "COLUMNS"} & set(variables)
    assert all(name == "OWN" or name.startswith("DOGFOOD_") for name in variables)


def test_what_was_done_for_a_journey_names_it(whole: tuple[Live, RecordedRun]) -> None:
    _, recorded = whole
    provision = one(recorded, Kind.PROVISION, "mark-set")
    assert (provision.for_, provision.outcome, provision.how) == (
        "use",
        Outcome.PASSED,
        "by its provision steps",
    )
    assert (provision.steps[0].intent, provision.steps[0].saved) == ("set the mark", {"VALUE": "7"})
    cleanup = one(recorded, Kind.CLEANUP, "use")
    assert (recorded.directory / cleanup.steps[0].out).read_text() == "clean\n"
    assert one(recorded, Kind.RELEASE, "mark-set").outcome is Outcome.PASSED
    before, *after = [one.outcome for one in recorded.activities if (one.kind, one.id) == (Kind.PROBE, "up")]
    assert (before, set(after)) == (Outcome.FAILED, {Outcome.PASSED})
    failed = one(recorded, Kind.PROVISION, "mail-up")
    assert (failed.for_, failed.outcome, failed.steps[0].exit) == ("announce", Outcome.FAILED, 127)


def test_outcomes_without_steps_are_there_too(whole: tuple[Live, RecordedRun]) -> None:
    _, recorded = whole
    assert one(recorded, Kind.JOURNEY, "never").outcome is Outcome.DEFERRED
    assert one(recorded, Kind.JOURNEY, "announce").outcome is Outcome.ERROR
    test = one(recorded, Kind.JOURNEY, "test_a.py::test_in_the_graph")
    assert (test.outcome, "with words" in test.text) == (Outcome.FAILED, True)
    plain = one(recorded, Kind.TEST, "test_a.py::test_plain_that_fails")
    assert ("assert 1 == 2" in plain.text, plain.place) == (True, "test_a.py:7")
    assert not [one for one in recorded.activities if one.id == "test_a.py::test_plain_that_passes"]


def test_the_graph_can_be_drawn_from_it(whole: tuple[Live, RecordedRun]) -> None:
    _, recorded = whole
    assert recorded.graph is not None
    graph = recorded.graph.graph
    assert graph.required_by(graph.journeys[JourneyId("use")]) == ("built", "up", "mark-set")
    assert set(recorded.graph.after) == set(recorded.results)
    assert recorded.graph.states.keys() == recorded.graph.after.keys()
    assert len(recorded.graph.digests[JourneyId("use")]) == 12


def test_reruns_count_their_attempts(live: Live) -> None:
    live.write("a.journey.yaml", "journeys: [{id: bad, steps: [{run: exit 1}]}]")
    live.run("--reruns", "2")
    tries = [activity.attempt for activity in record_of(live).activities]
    assert tries == [1, 2, 3]


KILLS = """
    journeys:
      - id: good
        steps: [{run: echo fine}]
      - id: kills
        steps:
          - run: 'true'
          - run: echo second
          - run: 'true'
          - run: echo fourth; kill -9 $PPID; sleep 30
"""


def test_what_killed_its_worker_is_there_with_what_it_had_written(live: Live) -> None:
    live.write("a.journey.yaml", KILLS)
    live.run("-n2")
    recorded = record_of(live)
    killed = one(recorded, Kind.JOURNEY, "kills")
    assert killed.outcome is Outcome.CRASHED
    written = {step.number: (recorded.directory / step.out).read_text() for step in killed.steps if step.out}
    assert (written[2], list(written.values())) == ("second\n", ["second\n", "fourth\n"])
    assert recorded.results[JourneyId("kills")].outcome is Outcome.CRASHED


def test_a_replacement_goes_on_in_the_lane_of_the_worker_that_died(live: Live) -> None:
    more = "".join(
        f"\n      - id: more-{number}\n        steps: [{{run: sleep 0.05}}]" for number in range(8)
    )
    live.write("a.journey.yaml", KILLS.rstrip() + more + "\n")
    live.run("-n2")
    assert {activity.lane for activity in record_of(live).activities} == {"gw0", "gw1"}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_run_that_was_killed_can_be_read_up_to_its_last_whole_line(
    live: Live, eventually: Eventually, workers: str
) -> None:
    live.write(
        "a.journey.yaml",
        """
        journeys:
          - id: first
            establishes: [made]
            steps: [{run: echo done}]
          - id: second
            requires: [made]
            steps: [{run: 'echo begun; touch "$DOGFOOD_ROOT/begun"; sleep 60'}]
        """,
    )
    started = live.start(workers)
    assert eventually((live.path / "begun").exists)
    started.process.send_signal(signal.SIGKILL)
    started.end()
    assert eventually(lambda: live.running() == [])
    with (record_of(live).directory / "records" / "activities").open("a") as file:
        file.write('{"id": "half a li')
    recorded = record_of(live)
    assert recorded.run.exit_status is None
    assert [(one.id, one.outcome) for one in recorded.activities if one.kind is Kind.JOURNEY] == [
        ("first", Outcome.PASSED),
        ("second", Outcome.CRASHED),
    ]
    assert (recorded.directory / recorded.activities[-1].steps[0].out).read_text() == "begun\n"


KEY_TO_HIDE = "hunter2-which-nobody-guesses"


def test_no_secret_is_in_what_is_kept_even_if_it_came_to_be_one_later(live: Live) -> None:
    live.write(
        "a.journey.yaml",
        f"""
        journeys:
          - id: early
            steps:
              - run: printf '%s-%s\\n' {KEY_TO_HIDE[:7]} {KEY_TO_HIDE[8:]}
          - id: late
            establishes: [known]
            steps:
              - run: printf '%s-%s\\n' {KEY_TO_HIDE[:7]} {KEY_TO_HIDE[8:]}
                save: {{KEY: {{stdout: '(.+)', secret: true}}}}
              - run: echo "$KEY"; exit 1
        """,
    )
    live.run("-n0")
    recorded = record_of(live)
    files = [path for path in recorded.directory.rglob("*") if path.is_file()]
    assert [path for path in files if KEY_TO_HIDE.encode() in path.read_bytes()] == []
    assert "secrets" not in {path.name for path in recorded.directory.iterdir()}
    (early,) = one(recorded, Kind.JOURNEY, "early").steps
    assert (recorded.directory / early.out).read_text() == "***\n"
    assert one(recorded, Kind.JOURNEY, "late").steps[0].saved == {"KEY": None}


@pytest.mark.parametrize("option", ["dogfood_secrets=API_KEY", "addopts="])
def test_no_secret_is_in_the_frame_even_if_it_was_typed(live: Live, option: str) -> None:
    live.write(
        "a.journey.yaml",
        f"""
        journeys:
          - id: a
            steps:
              - run: printf '%s-%s\\n' {KEY_TO_HIDE[:7]} {KEY_TO_HIDE[8:]}
                save: {{KEY: {{stdout: '(.+)', secret: true}}}}
        """,
    )
    live.run("-n0", "-o", option, "--deselect", KEY_TO_HIDE, API_KEY=KEY_TO_HIDE)
    recorded = record_of(live)
    assert "***" in recorded.run.argv
    files = [path for path in recorded.directory.rglob("*") if path.is_file()]
    assert [path for path in files if KEY_TO_HIDE.encode() in path.read_bytes()] == []


def test_of_green_runs_three_records_stay_and_take_no_place_from_runs_that_failed(live: Live) -> None:
    live.write("a.journey.yaml", "journeys: [{id: a, steps: [{run: 'test ! -e \"$DOGFOOD_ROOT/bad\"'}]}]")
    live.write("bad", "")
    live.run("-n0")
    (failed,) = live.run_directories()
    (live.path / "bad").unlink()
    for _ in range(4):
        live.run("-n0")
    assert live.run_directories() == [failed]
    assert len([*live.state_root.glob(f"*/{RUN}")]) == 4


def test_the_last_green_run_of_the_whole_project_is_what_later_ones_are_compared_with(live: Live) -> None:
    live.write("pytest.ini", "[pytest]\n")
    live.write(
        "a.journey.yaml", "journeys: [{id: a, steps: [{run: 'true'}]}, {id: b, steps: [{run: 'true'}]}]"
    )
    quiet = ("-p", "cacheprovider")
    live.run("-n0", *quiet)
    green = record_of(live).run.id
    live.run("-n0", "-k", "a", *quiet)
    live.write(
        "a.journey.yaml", "journeys: [{id: a, steps: [{run: 'true'}]}, {id: b, steps: [{run: exit 1}]}]"
    )
    live.run("-n0", *quiet)
    recorded = record_of(live)
    assert recorded.last_green is not None
    assert recorded.last_green.run == green
    assert recorded.graph is not None
    changed = {
        name
        for name, known in recorded.last_green.journeys.items()
        if known.digest != recorded.graph.digests[name]
    }
    assert changed == {"b"}


def test_a_run_that_cannot_write_its_record_says_so_and_goes_on(live: Live) -> None:
    live.write("conftest.py", BREAKS_RECORD).write(
        "a.journey.yaml", "journeys: [{id: a, steps: [{run: 'true'}]}]"
    )
    run = live.run("-n0")
    assert run.status == 0
    assert "dogfood: the record of this run is not whole: cannot write" in run.text


BREAKS_RECORD = """
    import glob, os, pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item):
        root = item.config.getini("dogfood_state_root")
        for run in glob.glob(f"{root}/*/run.json"):
            os.unlink(run)
            os.mkdir(run)
"""


def test_where_a_run_is_named_by_its_directory(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="contains no run"):
        read_run(tmp_path)


def test_where_a_report_was_written_stands_below_what_the_run_came_to(live: Live) -> None:
    live.write("a.journey.yaml", "journeys: [{id: a, steps: [{run: 'true'}]}]")
    text = live.run("-n0", "--dogfood-report", "report.md").text
    assert re.search(r"\ndogfood: 1 journey = 1 passed; 0 tokens\ndogfood: wrote \S+/report.md\n", text)
