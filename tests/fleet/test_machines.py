"""Runs on several machines: real processes, each with a checkout, a home and a state root of its own."""

from __future__ import annotations

import re
import signal
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.fleet.board import RunGoneError
from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.postgres import PostgresBoard
from pytest_dogfood.fleet.database.tables import make_tables
from tests.support.fleet_machines import Fleet, Machine, fleet, wait_until
from tests.support.postgres import server
from tests.support.run_results import read_junit
from tests.support.tcp_proxy import proxy


def chains(number: int, uses: int, *, seconds: float = 0.1) -> str:
    """Return chains of a journey that builds and others that use what it has built; each notes where it runs."""
    lines = ["journeys:"]
    for chain in range(number):
        lines += [
            f"  - id: build-{chain}",
            f"    establishes: [image-{chain}]",
            "    steps:",
            f"      - run: sleep {seconds}; echo build-{chain} >> $NOTES; touch $DOGFOOD_STATE/image",
        ]
        for use in range(uses):
            lines += [
                f"  - id: use-{chain}-{use}",
                f"    requires: [image-{chain}]",
                "    steps:",
                f"      - run: test -f $DOGFOOD_STATE/image; sleep {seconds}; echo use-{chain}-{use} >> $NOTES",
            ]
    return "\n".join(lines) + "\n"


TWO = """
journeys:
  - {id: a, steps: [run: exit 1]}
  - {id: b, steps: [run: 'true']}
"""

PLAIN = "import pytest\n\n@pytest.mark.parametrize('number', range(6))\ndef test_plain(number): pass\n"


def test_machines_share_out_a_run_and_each_knows_all_of_it(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet(
        {"shop.journey.yaml": chains(6, 2), "test_a.py": PLAIN, "test_b.py": PLAIN.replace("plain", "other")}
    )

    machines = [made.start("whole") for _ in range(2)]
    runs = [machine.end() for machine in machines]

    assert [run.status for run in runs] == [0, 0], runs[0].text + runs[1].text
    counts = Counter(nodeid for run in runs for nodeid in run.cases)
    assert len(counts) == 6 * 3 + 12
    assert set(counts.values()) == {1}
    assert Counter(made.noted()).most_common(1)[0][1] == 1
    for run in runs:
        assert run.closing_line.startswith("dogfood: 18 journeys = 18 passed")
        assert "fleet: 2 machines: " in run.text


def test_a_failure_on_one_machine_fails_the_run_on_all_and_defers_dependents(
    new_fleet: Callable[..., Fleet],
) -> None:
    made = new_fleet(
        {
            "shop.journey.yaml": """
            capabilities:
              image: {scope: machine}
            journeys:
              - id: builds
                establishes: [image]
                steps: [run: 'sleep 2; exit 7']
              - {id: first, requires: [image], steps: [run: 'true']}
              - {id: second, requires: [image], steps: [run: 'true']}
              - {id: apart, steps: [run: sleep 1]}
            """
        }
    )

    runs = [machine.end() for machine in [made.start("red"), made.start("red", workers=1)]]

    assert [run.status for run in runs] == [1, 1]
    kinds = {nodeid.rpartition("::")[2]: case.kind for run in runs for nodeid, case in run.cases.items()}
    assert kinds == {"builds": "failure", "first": "skipped", "second": "skipped", "apart": "passed"}
    for run in runs:
        assert "1 passed + 1 failed + 2 deferred (1 cause)" in run.closing_line
    assert any("failed elsewhere: builds on " in run.text for run in runs)


WAITING = """
journeys:
  - id: builds
    establishes: [image]
    steps: [run: "echo builds >> $NOTES; touch $DOGFOOD_STATE/image"]
  - id: waits
    requires: [image]
    steps: [run: "test -f $DOGFOOD_STATE/image; until [ -e $NOTES.go ]; do sleep 0.1; done; echo waits >> $NOTES"]
  - {id: follows, requires: [image], steps: [run: "test -f $DOGFOOD_STATE/image"]}
  - {id: apart, steps: [run: "echo apart >> $NOTES"]}
"""
"""A chain whose second journey waits until a test lets it go on, and a journey for another machine meanwhile."""


def machine_in_the_middle(made: Fleet, run: str) -> tuple[Machine, Machine]:
    """Start a machine that is in the middle of a chain, and another one that has done all else."""
    first = made.start(run, workers=1)
    wait_until(lambda: "builds" in made.noted())
    other = made.start(run, workers=1)
    wait_until(lambda: "apart" in made.noted())
    return first, other


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_what_a_lost_machine_held_is_run_by_the_others(new_fleet: Callable[..., Fleet], how: str) -> None:
    made = new_fleet({"shop.journey.yaml": WAITING})
    lost, other = machine_in_the_middle(made, how)

    if how == "killed":
        lost.kill()
    else:
        lost.signal(signal.SIGSTOP)
    made.let_go()
    end = other.end()
    lost.signal(signal.SIGCONT)

    assert end.status == 0, end.text
    assert end.closing_line.startswith("dogfood: 4 journeys = 4 passed")
    name = end.cases["waits"].properties["dogfood_lost_on"]
    assert re.search(
        rf"{name} 1 item \(lost after \d+ s; 2 items taken over by (?!{name})\S+-\S{{4}}\)", end.text
    )
    if how == "frozen":
        woken = lost.end()
        assert woken.status == 3
        assert "what ended here since is not counted" in woken.text
    wait_until(lambda: not lost.processes() and not other.processes())


def test_an_interrupted_machine_gives_back_what_it_held(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet({"shop.journey.yaml": WAITING})
    interrupted, other = machine_in_the_middle(made, "back")

    interrupted.process.send_signal(signal.SIGINT)
    first = interrupted.end()
    made.let_go()
    end = other.end()

    assert [first.status, end.status] == [2, 0], first.text + end.text
    assert end.closing_line.startswith("dogfood: 4 journeys = 4 passed")


def test_maxfail_counts_the_failures_of_all_machines_and_stops_all(new_fleet: Callable[..., Fleet]) -> None:
    journeys = "".join(f"  - {{id: j{n}, steps: [run: sleep 0.3; exit {n % 2}]}}\n" for n in range(30))
    made = new_fleet({"a.journey.yaml": f"journeys:\n{journeys}"})

    machines = [made.start("stop", "--maxfail=3") for _ in range(2)]
    ends = [machine.end() for machine in machines]

    assert all(end.status in {1, 2} for end in ends), ends
    ran = sum(len(end.cases) for end in ends)
    assert 3 <= ran < 30
    assert all("stopped by " in end.text and "--maxfail 3" in end.text for end in ends)


def test_a_machine_with_another_byte_in_a_file_is_refused(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet({"a.journey.yaml": "journeys:\n  - {id: a, steps: [run: sleep 4]}\n"})
    first = made.start("differs")
    made.write({"a.journey.yaml": "journeys:\n  - {id: a, steps: [run: sleep  4]}\n"})

    ends = [first.end(), made.start("differs").end()]

    assert [end.status for end in ends] == [0, 4]
    assert "1 file differs: a.journey.yaml" in ends[1].text


def test_a_job_that_is_run_again_shows_what_the_run_came_to(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet({"a.journey.yaml": TWO})
    pipeline = {"CI_PIPELINE_ID": f"{id(made)}"}
    first = made.start("ci", environment=pipeline).end()

    again = made.start("ci", environment=pipeline).end()

    assert [first.status, again.status] == [1, 1]
    assert not again.cases
    assert "failed elsewhere: a on " in again.text


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--dogfood-shard=1/2"], "cannot be used with --dogfood-shard"),
        (["-p", "cacheprovider", "--lf"], "cannot be used with --lf"),
        (["-p", "cacheprovider", "--ff"], "cannot be used with --ff"),
        (["-o", "dogfood_fleet_lease=5"], "dogfood_fleet_lease is a number of seconds from 10 to 600"),
        (["-n0"], "-n 1 is enough"),
    ],
)
def test_what_a_fleet_cannot_do_is_refused_before_anything_runs(
    new_fleet: Callable[..., Fleet], arguments: list[str], words: str
) -> None:
    made = new_fleet({"a.journey.yaml": "journeys:\n  - {id: a, steps: [run: 'true']}\n"})

    end = made.start("refused", *arguments).end()

    assert end.status == 4
    assert words in end.text


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"DOGFOOD_FLEET": ""}, "DOGFOOD_FLEET=postgresql://"),
        ({"DOGFOOD_FLEET": "mysql://h/d"}, "it begins with postgresql://"),
        ({"DOGFOOD_FLEET": "postgresql://u:secretword@127.0.0.1:1/d"}, "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    new_fleet: Callable[..., Fleet], environment: dict[str, str], words: str
) -> None:
    made = new_fleet({"a.journey.yaml": "journeys:\n  - {id: a, steps: [run: 'true']}\n"})

    end = made.start("away", environment=environment).end()

    assert end.status == 4
    assert words in end.text
    assert "secretword" not in end.text


def test_a_database_that_is_away_for_a_moment_costs_nothing_and_one_that_is_gone_ends_all(
    tmp_path: Path,
) -> None:
    with server() as database:
        connection = Connection(database.url)
        make_tables(connection)
        connection.close()
        with fleet(tmp_path, database.url, {"shop.journey.yaml": WAITING}) as made:
            machines = machine_in_the_middle(made, "moment")
            database.stop()
            database.start()
            made.let_go()
            ends = [machine.end() for machine in machines]

            assert [end.status for end in ends] == [0, 0], ends[0].text + ends[1].text
            assert Counter(made.noted()) == {"builds": 1, "apart": 1, "waits": 1}

            made.notes.unlink()
            made.notes.with_name("notes.go").unlink()
            machines = machine_in_the_middle(made, "gone")
            database.stop()
            ends = [machine.end() for machine in machines]
            database.start()

            assert [end.status for end in ends] == [3, 3]
            assert all("lost touch with the fleet for 7 s" in end.text for end in ends)
            assert not any(machine.processes() for machine in machines)


def test_close_waits_for_machines_and_writes_one_report_of_all_of_them(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = new_fleet({"shop.journey.yaml": WAITING, "test_a.py": PLAIN})
    machines = machine_in_the_middle(made, "report")
    monkeypatch.setenv("DOGFOOD_FLEET", made.url)
    monkeypatch.chdir(made.root)

    assert main(["fleet", "close", made.name("report"), "--wait", "0", "--junit", "all.xml"]) == 1
    assert f"still part of {made.name('report')}" in capsys.readouterr().err
    made.let_go()
    ends = [machine.end() for machine in machines]
    assert main(["fleet", "close", made.name("report"), "--junit", "all.xml", "--report", "all.html"]) == 0

    cases = read_junit(made.root / "all.xml")
    assert cases == {name: case for end in ends for name, case in end.cases.items()}
    assert all(end.text.count("fleet: 2 machines") == 1 for end in ends)
    late = made.start("report").end()
    assert late.status == 4
    assert "choose another name" in late.text


def without_places(message: str) -> str:
    """Return a message without directories and durations, which differ from run to run."""
    return re.sub(r"took: .*", "", message.partition("\n\nreproduce: ")[0])


def test_what_failed_on_a_machine_that_is_lost_is_reported_in_full(
    new_fleet: Callable[..., Fleet],
    fleet_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {
        "shop.journey.yaml": """
        journeys:
          - id: fails
            establishes: [image]
            steps: [run: "echo 'the image is broken'; echo 'and so is the shop' >&2; exit 7"]
          - {id: rests-on-it, requires: [image], steps: [run: 'true']}
          - id: waits
            steps: [run: "echo waits >> $NOTES; until [ -e $NOTES.go ]; do sleep 0.1; done"]
        """,
        "test_a.py": "def test_sum():\n    one = 1\n    assert one + 1 == 3, 'it does not add up'\n",
    }
    made = new_fleet(files)
    outside = PostgresBoard(made.url, made.name("full"), "")
    with proxy(fleet_url, delay=0.15) as (_, slow), closing(outside):
        lost = made.start("full", environment={"DOGFOOD_FLEET": slow})

        def failures() -> int:
            with suppress(RunGoneError):  # it has not begun yet
                return sum(end.outcome in {"failed", "deferred"} for end in outside.contents().ends)
            return 0

        wait_until(lambda: failures() == 3)  # on the board; the machine has not even heard of it
        lost.kill()
    made.let_go()
    end, alone = made.start("full").end(), made.start("").end()
    monkeypatch.setenv("DOGFOOD_FLEET", made.url)
    monkeypatch.chdir(made.root)
    closed = main(["fleet", "close", made.name("full"), "--junit", "all.xml", "--report", "all.html"])

    assert (end.status, closed, alone.status) == (1, 1, 1), end.text
    cases = read_junit(made.root / "all.xml")
    assert {name: case.kind for name, case in cases.items()} == {
        "fails": "failure",
        "rests-on-it": "skipped",
        "waits": "passed",
        "test_sum": "failure",
    }
    assert {name: (case.kind, without_places(case.message)) for name, case in cases.items()} == {
        name: (case.kind, without_places(case.message)) for name, case in alone.cases.items()
    }
    assert "and so is the shop" in cases["fails"].message
    page = (made.root / "all.html").read_text()
    assert re.search(r"was lost after \d+ s; 1 item taken over by ", page)
    assert "and so is the shop" in page
    assert "waits, passed," in page


def test_the_password_of_the_database_is_nowhere_to_be_seen(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = new_fleet(
        {
            "a.journey.yaml": """
            capabilities:
              site:
                probe: "test -e $DOGFOOD_STATE/site"
                provision: [{run: 'test -z "$DOGFOOD_FLEET"; touch $DOGFOOD_STATE/site'}]
            journeys:
              - {id: uses, requires: [site], steps: [run: 'test -z "$DOGFOOD_FLEET"']}
              - id: names-its-own
                env: {DOGFOOD_FLEET: "postgresql://own"}
                steps: [run: "test $DOGFOOD_FLEET = postgresql://own"]
              - {id: tells, steps: [run: "echo the word is hunter%2F2secret, or $PGPASSWORD; exit 7"]}
            """,
            "test_a.py": """
            import os

            def test_tells():
                url = os.environ["DOGFOOD_FLEET"]
                print(url)
                assert url == ""
            """,
        }
    )
    parts = urlsplit(made.url)
    user, _, place = parts.netloc.rpartition("@")
    for number, (word, environment) in enumerate(
        [
            ("hunter", {"DOGFOOD_FLEET": parts._replace(netloc=f"{user}:hunter%2F2secret@{place}").geturl()}),
            ("word-of-libpq", {"PGPASSWORD": "word-of-libpq"}),
        ]
    ):
        run = f"secret-{number}"
        end = made.start(run, workers=1, environment=environment).end()
        monkeypatch.setenv("DOGFOOD_FLEET", made.url)
        monkeypatch.chdir(made.root)
        files = ["--junit", "all.xml", "--report", "all.html", "--json", "all.json"]
        closed = main(["fleet", "close", made.name(run), *files])

        assert (end.status, closed) == (1, 1)
        assert {name: case.kind for name, case in end.cases.items()} == {
            "uses": "passed",
            "names-its-own": "passed",
            "tells": "failure",
            "test_tells": "failure",
        }, end.text
        with psycopg.connect(made.url) as connection:
            # Other tests have runs of their own in the same database.
            own = [made.name(run)]
            rows = connection.execute("SELECT result, record FROM fleet_ends WHERE run = %s", own).fetchall()
            records = connection.execute("SELECT record FROM fleet_machines WHERE run = %s", own).fetchall()
        stored = [content for row in rows for content in row]
        stored += [zlib.decompress(content) for (content,) in records if content]
        state = made.machines[-1].place / "state"
        kept = [path.read_bytes() for path in state.resolve().rglob("*") if path.is_file()]
        written = [(made.root / name).read_bytes() for name in files[1::2]]
        written.append((made.machines[-1].place / "junit.xml").read_bytes())
        texts = [end.text.encode(), capsys.readouterr().out.encode(), *stored, *kept, *written]
        assert any(b"the word is" in text for text in stored)
        assert any(b"the word is" in text for text in kept)
        assert not [text for text in texts if word.encode() in text]


def test_what_could_not_be_released_at_the_end_makes_the_closed_run_red(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = new_fleet(
        {
            "a.journey.yaml": """
            capabilities:
              site:
                scope: machine
                probe: test -e $DOGFOOD_SHARED/site
                provision: [touch $DOGFOOD_SHARED/site]
                release: [exit 3]
            journeys:
              - {id: uses, requires: [site], steps: [run: 'true']}
            """
        }
    )
    end = made.start("release", workers=1).end()
    monkeypatch.setenv("DOGFOOD_FLEET", made.url)
    monkeypatch.chdir(made.root)

    assert end.status == 1, end.text
    assert main(["fleet", "close", made.name("release")]) == 1
    said = capsys.readouterr().out
    assert re.search(
        r"^site could not be released on \S+-\S{4}: a\.journey\.yaml:7:\d+, exit 3$", said, re.MULTILINE
    )


def test_an_item_that_was_running_when_two_machines_were_lost_is_not_tried_again(
    new_fleet: Callable[..., Fleet],
) -> None:
    made = new_fleet(
        {
            "a.journey.yaml": """
            journeys:
              - id: takes-down
                establishes: [never]
                steps: [run: 'echo begun >> $NOTES; sleep 1000']
              - {id: follows, requires: [never], steps: [run: 'true']}
            """
        }
    )
    first = made.start("down", workers=1)
    wait_until(lambda: made.noted() == ["begun"])
    first.kill()
    second = made.start("down", workers=1)
    wait_until(lambda: made.noted() == ["begun", "begun"])
    last = made.start("down", workers=1)
    wait_until(lambda: "1 worker [2 items]" in last.text)
    second.kill()

    end = last.end()

    assert end.status == 1
    assert made.noted() == ["begun", "begun"]
    assert {name: case.kind for name, case in end.cases.items()} == {
        "takes-down": "error",
        "follows": "skipped",
    }
    assert "1 failed + 1 deferred (1 cause)" in end.closing_line


def test_a_job_that_is_run_again_after_close_ends_even_if_an_item_never_ran(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_fleet(
        {"a.journey.yaml": "journeys:\n  - {id: a, steps: [run: 'echo begun >> $NOTES; sleep 1000']}\n"}
    )
    pipeline = {"CI_PIPELINE_ID": f"closed-{id(made)}"}
    machine = made.start("ci", workers=1, environment=pipeline)
    wait_until(lambda: made.noted() == ["begun"])
    machine.kill()
    for name, value in {**pipeline, "DOGFOOD_FLEET": made.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.root)
    assert main(["fleet", "close", "ci"]) == 1

    again = made.start("ci", workers=1, environment=pipeline).end()

    assert again.status == 1
    assert made.noted() == ["begun"]
    assert "1 item did not run to the end" in again.text
