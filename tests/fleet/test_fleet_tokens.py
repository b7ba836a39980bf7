"""Tokens that are true for every machine, in runs on several machines: each situation of `scope: fleet`."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pytest_dogfood.cli.main import main
from tests.support.fleet_machines import LEASE, Fleet, wait_until


def staging(provision: str, *, journeys: int = 4, more: str = "") -> str:
    """Return a project whose journeys all need one token of the fleet: a file beside the notes, with a value."""
    users = "".join(
        f"  - {{id: user-{n}, requires: [staging], steps: [run: 'sleep 0.5; test -f $NOTES.site; "
        'echo "use $DOGFOOD_STAGING_PORT" >> $NOTES\'}}\n'.replace("}}", "]}")
        for n in range(journeys)
    )
    return f"""
capabilities:
  staging:
    scope: fleet
    probe: test -f $NOTES.site
    provision:
      - run: |
{provision}
          echo provision >> $NOTES; touch $NOTES.site; echo 8080
        save: {{port: {{stdout: '(8080)'}}}}
    release: [run: 'echo "release $DOGFOOD_RELEASE_OF $DOGFOOD_STAGING_PORT" >> $NOTES; rm -f $NOTES.site']
journeys:
{users}{more}"""


NOTHING_MORE = "          true"


def test_it_is_provisioned_once_its_values_travel_and_the_last_machine_releases_it(
    new_fleet: Callable[..., Fleet],
) -> None:
    made = new_fleet({"a.journey.yaml": staging(NOTHING_MORE, journeys=6)})

    ends = [machine.end() for machine in [made.start("once", workers=1) for _ in range(2)]]

    assert [end.status for end in ends] == [0, 0], ends[0].text + ends[1].text
    assert Counter(made.noted()) == {"provision": 1, "use 8080": 6, "release complete 8080": 1}
    assert made.noted()[-1] == "release complete 8080"


def test_what_was_there_before_is_never_released(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet(
        {"a.journey.yaml": staging(NOTHING_MORE).replace("        save: {port: {stdout: '(8080)'}}\n", "")}
    )
    made.notes.with_name("notes.site").touch()

    end = made.start("before", workers=1).end()

    assert end.status == 0, end.text
    assert set(made.noted()) == {"use "}
    assert made.notes.with_name("notes.site").exists()


def test_a_machine_that_cannot_provide_it_leaves_the_rest_to_others(new_fleet: Callable[..., Fleet]) -> None:
    waits = (
        "  - {id: a-waits, steps: [run: 'touch $NOTES.begun; until [ -e $NOTES.go ]; do sleep 0.1; done']}\n"
    )
    made = new_fleet({"a.journey.yaml": staging('          [ -z "$BROKEN" ]', more=waits)})
    good = made.start("broken", "-k", "user or waits", workers=1)
    wait_until(lambda: made.notes.with_name("notes.begun").exists() or bool(made.noted()))
    broken = made.start("broken", "-k", "user or waits", workers=1, environment={"BROKEN": "1"})
    wait_until(lambda: "1 worker [" in broken.text)
    made.let_go()

    ends = [good.end(), broken.end()]

    assert [end.status for end in ends] in ([0, 0], [1, 1]), ends[0].text + ends[1].text
    kinds = Counter(case.kind for end in ends for case in end.cases.values())
    assert kinds.total() == 5
    assert kinds["error"] <= 1  # what the broken machine had taken before it knew
    assert Counter(made.noted())["provision"] == 1
    assert made.noted()[-1] == "release complete 8080"


def test_what_no_machine_can_provide_is_an_error_that_names_them(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet({"a.journey.yaml": staging("          echo try >> $NOTES; echo 'no quota'; exit 3")})

    machines = [made.start("none", workers=1) for _ in range(2)]
    ends = [machine.end() for machine in machines]

    assert [end.status for end in ends] == [1, 1]
    assert {case.kind for end in ends for case in end.cases.values()} == {"error"}
    assert 1 <= Counter(made.noted())["try"] <= 2
    assert "no quota" in ends[0].text + ends[1].text
    assert Counter(made.noted())["release incomplete "] == 1


@pytest.mark.parametrize("what", ["machine", "worker"])
def test_what_was_being_provided_when_it_was_lost_is_provided_elsewhere(
    new_fleet: Callable[..., Fleet], what: str
) -> None:
    waiting = "          if mkdir $NOTES.first; then echo $PPID > $NOTES.pid; sleep 1000; fi"
    made = new_fleet({"a.journey.yaml": staging(waiting)})
    first = made.start("provides", workers=1)
    wait_until(lambda: made.notes.with_name("notes.pid").exists())
    other = made.start("provides", workers=1)

    if what == "machine":
        first.kill()
    else:
        (worker,) = first.workers()
        os.kill(worker, signal.SIGKILL)
    ends = [other.end()] if what == "machine" else [first.end(), other.end()]

    counts = Counter(made.noted())
    assert counts["provision"] == 1, [end.text for end in ends]
    assert [line for line in made.noted() if line.startswith("release")] == ["release complete 8080"]
    if what == "machine":
        assert ends[0].status == 0, ends[0].text
        assert counts["use 8080"] == 4


def test_a_token_that_is_true_of_one_machine_only_is_an_error_on_the_other(
    new_fleet: Callable[..., Fleet],
) -> None:
    text = staging(NOTHING_MORE, journeys=0).replace("$NOTES.site", "$HOME/site")
    users = "".join(
        f"  - {{id: user-{n}, requires: [staging], steps: [run: 'echo begun >> $NOTES; {wait}']}}\n"
        for n, wait in enumerate(["until [ -e $NOTES.go ]; do sleep 0.1; done"] * 2)
    )
    made = new_fleet({"a.journey.yaml": text + users})
    first = made.start("local", workers=1)
    wait_until(lambda: "begun" in made.noted())

    other = made.start("local", "-v", workers=1)
    wait_until(lambda: "ERROR" in other.text)
    made.let_go()
    ends = [first.end(), other.end()]

    assert [end.status for end in ends] == [1, 1]
    assert [case.kind for case in ends[1].cases.values()] == ["error"]
    assert "if it is true of one machine only, its scope is machine" in ends[1].text, ends[1].text


def test_a_journey_that_invalidates_it_lets_it_be_provisioned_again(new_fleet: Callable[..., Fleet]) -> None:
    more = """\
  - id: destroys
    requires: [staging]
    invalidates: [staging]
    establishes: [destroyed]
    steps: [run: 'echo destroy >> $NOTES; rm $NOTES.site']
  - {id: after, requires: [destroyed, staging], steps: [run: 'test -f $NOTES.site']}
"""
    made = new_fleet({"a.journey.yaml": staging(NOTHING_MORE, journeys=3, more=more)})

    ends = [machine.end() for machine in [made.start("again", workers=1) for _ in range(2)]]

    assert [end.status for end in ends] == [0, 0], ends[0].text + ends[1].text
    kinds = [line.split()[0] for line in made.noted()]
    assert Counter(kinds) == {"provision": 2, "use": 3, "destroy": 1, "release": 1}
    assert kinds[-1] == "release"


def test_dependents_on_any_machine_wait_for_the_journey_that_establishes_it(
    new_fleet: Callable[..., Fleet],
) -> None:
    users = "".join(
        f"  - {{id: user-{n}, requires: [pushed], steps: [run: 'test \"$DOGFOOD_PUSHED_TAG\" = v7; sleep 0.5']}}\n"
        for n in range(4)
    )
    made = new_fleet(
        {
            "a.journey.yaml": f"""
capabilities:
  pushed: {{scope: fleet}}
journeys:
  - id: pushes
    establishes: [pushed]
    steps:
      - run: sleep 2; echo push >> $NOTES; echo v7
        save: {{tag: {{stdout: v7}}}}
{users}"""
        }
    )

    ends = [machine.end() for machine in [made.start("pushed", workers=1) for _ in range(2)]]

    assert [end.status for end in ends] == [0, 0], ends[0].text + ends[1].text
    assert made.noted() == ["push"]


def test_a_value_that_is_too_large_to_travel_is_refused(new_fleet: Callable[..., Fleet]) -> None:
    text = staging(NOTHING_MORE, journeys=1).replace("echo 8080", "head -c 70000 /dev/zero | tr '\\0' x")
    made = new_fleet({"a.journey.yaml": text.replace("'(8080)'", "'(x+)'")})

    end = made.start("large", workers=1).end()

    assert end.status == 1
    assert "has more than 64 KiB" in end.text


def test_a_token_is_retracted_if_the_test_that_has_established_it_fails_when_it_is_torn_down(
    new_fleet: Callable[..., Fleet],
) -> None:
    made = new_fleet(
        {
            "a.journey.yaml": """
            capabilities:
              staging: {scope: fleet, probe: test -e $NOTES.site}
            journeys:
              - {id: uses, requires: [staging], steps: [run: 'true']}
            """,
            "test_a.py": """
            import os, pathlib, pytest

            @pytest.fixture
            def site():
                yield
                pathlib.Path(os.environ["NOTES"] + ".site").unlink()
                assert False, "it is gone"

            @pytest.mark.establishes("staging")
            def test_deploys(site):
                pathlib.Path(os.environ["NOTES"] + ".site").touch()
            """,
        }
    )

    end = made.start("retracted", workers=1).end()

    assert end.status == 1, end.text
    assert "it is gone" in end.cases["test_deploys"].message
    assert end.cases["uses"].kind == "skipped"


def test_a_secret_that_a_python_test_saves_does_not_travel(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet(
        {
            "a.journey.yaml": """
            capabilities:
              staging: {scope: fleet, probe: test -e $NOTES.site}
            journeys:
              - {id: uses, requires: [staging], steps: [run: 'true']}
            """,
            "test_a.py": """
            import os, pathlib, pytest

            @pytest.mark.establishes("staging")
            def test_deploys(capabilities):
                pathlib.Path(os.environ["NOTES"] + ".site").touch()
                capabilities.save(url="https://site/?key=" + os.environ["SITE_KEY"])
            """,
        }
    )
    arguments = ("-o", "dogfood_secrets=SITE_KEY")

    end = made.start("secret", *arguments, workers=1, environment={"SITE_KEY": "hunter2secret"}).end()

    assert end.status == 1
    assert "'staging' has scope 'fleet', but its value 'url' contains a secret" in end.text
    assert "hunter2secret" not in end.text
    assert {name: case.kind for name, case in end.cases.items()}["test_deploys"] == "error"
    with psycopg.connect(made.url) as connection:
        (row,) = connection.execute(
            "SELECT values FROM fleet_tokens WHERE run = %s", [made.name("secret")]
        ).fetchall()
    assert b"hunter2secret" not in row[0]


def test_a_frozen_machine_does_not_keep_a_token_for_ever(new_fleet: Callable[..., Fleet]) -> None:
    waiting = "          if mkdir $NOTES.first; then touch $NOTES.started; sleep 1000; fi"
    made = new_fleet({"a.journey.yaml": staging(waiting, journeys=2)})
    first = made.start("frozen", workers=1)
    wait_until(lambda: made.notes.with_name("notes.started").exists())
    other = made.start("frozen", workers=1)

    first.signal(signal.SIGSTOP)
    end = other.end()
    first.signal(signal.SIGCONT)

    assert end.status == 0, end.text
    assert first.end().status == 3
    assert Counter(made.noted())["provision"] == 1


def test_close_releases_what_the_last_machine_left_when_it_was_lost(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = "  - {id: waits, requires: [staging], steps: [run: 'touch $NOTES.begun; sleep 1000']}\n"
    made = new_fleet({"a.journey.yaml": staging(NOTHING_MORE, journeys=0, more=waits)})
    machine = made.start("left", workers=1)
    wait_until(lambda: made.notes.with_name("notes.begun").exists())
    machine.kill()
    monkeypatch.setenv("DOGFOOD_FLEET", made.url)
    monkeypatch.setenv("NOTES", str(made.notes))
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    monkeypatch.chdir(machine.place / "checkout")

    assert main(["fleet", "close", made.name("left"), "--junit", "report.xml"]) == 1
    said = capsys.readouterr()

    assert "released what lost machines have left: staging" in said.out, said.err
    assert [line for line in made.noted() if line.startswith("release")] == ["release complete 8080"]
    assert "unaccounted: no machine ran it to its end" in Path("report.xml").read_text()
    assert main(["fleet", "close", made.name("left")]) == 1
    assert len([line for line in made.noted() if line.startswith("release")]) == 1


def test_a_release_that_takes_longer_than_a_lease_happens_once(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = staging(NOTHING_MORE, journeys=1).replace(
        "rm -f $NOTES.site", f"sleep {LEASE * 1.5}; rm -f $NOTES.site"
    )
    made = new_fleet({"a.journey.yaml": text})
    machine = made.start("long", workers=1)
    wait_until(lambda: any(line.startswith("release") for line in made.noted()))
    monkeypatch.setenv("DOGFOOD_FLEET", made.url)
    monkeypatch.setenv("NOTES", str(made.notes))
    monkeypatch.chdir(machine.place / "checkout")

    assert main(["fleet", "close", made.name("long")]) == 0

    assert machine.end().status == 0
    assert [line for line in made.noted() if line.startswith("release")] == ["release complete 8080"]
