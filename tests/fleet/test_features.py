"""Whatever a project uses, several machines come to what one comes to, and so does the report of all of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pytest

from pytest_dogfood.cli.main import main
from tests.support.fleet_machines import Fleet, wait_until
from tests.support.run_results import Case, Run, read_junit

Comparing = Callable[..., list[Run]]


def told(cases: Mapping[str, Case]) -> dict[str, tuple[str, list[str]]]:
    """Return what JUnit says of each item: its kind, and the first line of its message."""
    # A worker that crashed leaves a case without a name behind, if its item was run again.
    return {name: (case.kind, case.message.splitlines()[:1]) for name, case in cases.items() if name}


@pytest.fixture
def comparing(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Comparing:
    """Return a function that runs a project on one machine, and on two, and compares what they come to.

    It returns the ends of the two machines. Their notes are those of the fleet, those of the other are apart.
    """

    def compare(files: Mapping[str, str], *arguments: str) -> list[Run]:
        made = new_fleet(files)
        compare.fleet = made  # type: ignore[attr-defined]
        alone = made.start("", *arguments, environment={"NOTES": str(made.root / "alone")}).end()
        ends = [machine.end() for machine in [made.start("both", *arguments) for _ in range(2)]]
        monkeypatch.setenv("DOGFOOD_FLEET", made.url)
        monkeypatch.chdir(made.root)
        closed = main(["fleet", "close", made.name("both"), "--junit", "all.xml"])
        said = capsys.readouterr().out
        texts = "\n".join([alone.text, *(end.text for end in ends), said])
        assert [end.status for end in ends] == [alone.status] * 2, texts
        assert closed == alone.status, texts
        assert all(end.closing_line == alone.closing_line for end in ends), texts
        assert alone.closing_line in said, texts
        counts = Counter(name for end in ends for name in told(end.cases))
        assert set(counts.values()) == {1}, texts
        together = {name: case for end in ends for name, case in told(end.cases).items()}
        assert together == told(alone.cases), texts
        assert told(read_junit(made.root / "all.xml")) == together, texts
        return ends

    return compare


def noted(compare: Comparing) -> Counter[str]:
    return Counter(compare.fleet.noted())  # type: ignore[attr-defined]


def users(token: str, number: int, step: str) -> str:
    return "".join(
        f"  - {{id: {token}-{n}, requires: [{token}], steps: [run: '{step}']}}\n" for n in range(number)
    )


def maker(token: str, fails: str) -> str:
    """Return a journey that establishes a token of the fleet, and fails the first time in this way."""
    once = f"if [ ! -e $NOTES.{token} ]; then touch $NOTES.{token}; {fails}; fi"
    return (
        f"  - id: make-{token}\n    establishes: [{token}]\n"
        f"    steps: [run: 'echo make-{token} >> $NOTES; touch $NOTES.made-{token}; {once}']\n"
    )


RERUN = (
    "capabilities:\n"
    "  web-up: {scope: fleet, probe: test -e $NOTES.made-web-up}\n"
    "  db-up: {scope: fleet, probe: test -e $NOTES.made-db-up}\n"
    "journeys:\n"
    + maker("web-up", "exit 3")
    + maker("db-up", "kill -9 $PPID; sleep 100")
    + users("web-up", 4, "sleep 0.5")
    + users("db-up", 4, "sleep 0.5")
    + "  - {id: never, establishes: [bad-up], steps: [run: echo never >> $NOTES; exit 4]}\n"
    + users("bad-up", 3, "true")
)


def test_items_are_run_again_where_they_ran_and_dependents_wait_for_the_last_try(
    comparing: Comparing,
) -> None:
    ends = comparing(
        {
            "a.journey.yaml": RERUN,
            "test_a.py": """
            import os, pathlib
            def test_flaky():
                tried = pathlib.Path(os.environ["NOTES"] + ".tried")
                if not tried.exists():
                    tried.touch()
                    assert 0
            def test_never(): assert 0
            """,
        },
        "--reruns=1",
    )
    assert {name: number for name, number in noted(comparing).items() if number > 1} == {
        "make-web-up": 2,
        "make-db-up": 2,
        "never": 2,
    }
    assert all("8 deferred" not in end.text for end in ends)


GATES = """
journeys:
  - {id: slow, tier: smoke, gating: true, steps: [run: sleep 1; exit 5]}
  - {id: expected, tier: smoke, gating: true, marks: [xfail], steps: [run: exit 1]}
  - {id: left-out, tier: smoke, gating: true, marks: [skip], steps: [run: exit 1]}
  - {id: smoke, tier: smoke, steps: [run: 'true']}
  - {id: makes, establishes: [made], steps: [run: 'echo core >> $NOTES']}
  - {id: needs, requires: [made], steps: [run: 'echo core >> $NOTES']}
  - {id: deep, tier: deep, steps: [run: 'echo core >> $NOTES']}
"""
GATED_TESTS = """
import pytest
@pytest.mark.requires("made")
def test_needs(): pass
@pytest.mark.parametrize("number", range(4))
def test_plain(number): pass
"""


def test_a_gate_that_fails_on_one_machine_defers_what_stands_behind_it_on_all(comparing: Comparing) -> None:
    comparing({"a.journey.yaml": GATES, "test_a.py": GATED_TESTS})
    assert not noted(comparing)


def test_what_a_blocked_token_stands_before_is_deferred_on_all_machines(comparing: Comparing) -> None:
    files = {"a.journey.yaml": GATES.replace("exit 5", "true"), "test_a.py": GATED_TESTS}
    comparing(files, "--dogfood-blocked=made")
    assert noted(comparing) == {"core": 2}


def test_each_machine_has_services_of_its_own_and_a_broken_one_is_an_error(comparing: Comparing) -> None:
    serve = (
        f"exec {sys.executable} -c 'import http.server as h, os; "
        'h.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), h.SimpleHTTPRequestHandler).serve_forever()\''
    )
    journeys = "".join(
        f"""
  - {{id: web-{n}, requires: [web-up], steps: [run: 'echo > /dev/tcp/127.0.0.1/$DOGFOOD_WEB_UP_PORT; sleep 0.5']}}
  - {{id: own-{n}, requires: [own-up], steps: [run: 'echo > /dev/tcp/127.0.0.1/$DOGFOOD_OWN_UP_PORT']}}
  - {{id: broken-{n}, requires: [broken-up], steps: [run: 'true']}}"""
        for n in range(4)
    )
    text = f"""
capabilities:
  web-up:
    scope: machine
    service:
      run: |
        export PORT=$DOGFOOD_WEB_UP_PORT; echo web-up >> $NOTES
        {serve}
      ports: [port]
    probe: echo > /dev/tcp/127.0.0.1/$DOGFOOD_WEB_UP_PORT
  own-up:
    service:
      run: |
        export PORT=$DOGFOOD_OWN_UP_PORT; echo own-up >> $NOTES
        {serve}
      ports: [port]
    probe: echo > /dev/tcp/127.0.0.1/$DOGFOOD_OWN_UP_PORT
  broken-up: {{service: {{run: exit 3, ports: [port]}}, probe: 'echo > /dev/tcp/127.0.0.1/$DOGFOOD_BROKEN_UP_PORT'}}
journeys:{journeys}
"""
    ends = comparing({"a.journey.yaml": text})
    counts = noted(comparing)
    assert counts["own-up"] == 1
    assert 1 <= counts["web-up"] <= 2
    assert all("12 journeys = 8 passed + 4 errors" in end.closing_line for end in ends)


MARKED = """
journeys:
  - {id: expected, marks: [xfail], establishes: [never], steps: [run: exit 1]}
  - {id: behind, requires: [never], steps: [run: 'true']}
  - {id: better, marks: [xfail], steps: [run: 'true']}
  - {id: left-out, marks: [skip], establishes: [nothing], steps: [run: exit 1]}
  - {id: behind-it, requires: [nothing], steps: [run: 'true']}
  - {id: nobody, steps: [intent: look at it]}
  - {id: kinds, matrix: {os: [deb, fed]}, establishes: ['built:${os}'], steps: [run: echo $os]}
  - {id: compares, requires: ['built:*'], steps: [run: 'true']}
"""
MARKED_TESTS = """
import pytest
@pytest.mark.xfail
def test_expected(): assert 0
@pytest.mark.skip(reason="because")
def test_left_out(): pass
def test_leaves(): pytest.skip("inside")
"""
CLASSES = """
@pytest.mark.requires("built:fed")
class TestNeeds:
    def test_1(self): pass
    def test_2(self): pass
@pytest.mark.establishes("by-class")
class TestMakes:
    def test_1(self): pass
    def test_2(self): pass
@pytest.mark.requires("by-class")
@pytest.mark.parametrize("number", range(3))
def test_behind(number): pass
"""
FAILING_TESTS = """
import pytest
def test_fails(): assert 0, "it is wrong"
@pytest.mark.xfail(strict=True)
def test_better(): pass
@pytest.fixture
def broken(): raise OSError("no such thing")
def test_error(broken): pass
@pytest.fixture
def ends_badly():
    yield
    raise OSError("it stays")
def test_teardown(ends_badly): pass
"""


def test_marks_matrices_and_classes_count_as_on_one_machine(comparing: Comparing) -> None:
    tests = {"test_a.py": MARKED_TESTS + CLASSES, "test_b.py": FAILING_TESTS}
    comparing({"a.journey.yaml": MARKED, **tests})


def test_only_what_counts_as_a_failure_stops_all_machines(comparing: Comparing) -> None:
    crashes = maker("web-up", "kill -9 $PPID; sleep 100")
    comparing({"a.journey.yaml": MARKED + crashes, "test_a.py": MARKED_TESTS}, "-x", "--reruns=1")


def test_a_selection_and_scopes_that_stay_together_are_the_same_on_all_machines(
    comparing: Comparing,
) -> None:
    files = {"a.journey.yaml": MARKED, "test_a.py": MARKED_TESTS + CLASSES}
    ends = comparing(files, "--dist=loadscope", "-k", "TestNeeds or behind or compares")
    for end in ends:
        for together in ({"test_1", "test_2"}, {f"test_behind[{n}]" for n in range(3)}):
            assert together & end.cases.keys() in (set(), together)


COPIED = """
capabilities:
  login: {copyable: true, probe: test -e $DOGFOOD_STATE/login}
  cart:
    copyable: true
    requires: [login]
    provision: [run: 'echo cart >> $NOTES; touch $DOGFOOD_STATE/cart']
journeys:
  - {id: log-in, establishes: [login], steps: [run: 'echo log-in >> $NOTES; touch $DOGFOOD_STATE/login']}
  - {id: fails, requires: [login], establishes: [never], steps: [run: exit 3]}
  - {id: behind-fails, requires: [never], steps: [run: 'true']}
"""
PARTS = "".join(
    f"""
  - id: part-{n}
    requires: [login]
    establishes: [part-{n}]
    steps: [run: 'test ! -e $DOGFOOD_STATE/left; touch $DOGFOOD_STATE/left; sleep 0.5']
  - {{id: behind-{n}, requires: [part-{n}], steps: [run: test -e $DOGFOOD_STATE/left]}}
  - {{id: cart-{n}, requires: [cart], steps: [run: 'test -e $DOGFOOD_STATE/cart; sleep 0.5']}}"""
    for n in range(5)
)


def test_each_machine_provisions_the_template_of_its_copies_once(comparing: Comparing) -> None:
    comparing({"a.journey.yaml": COPIED + PARTS})
    counts = noted(comparing)
    assert set(counts) == {"log-in", "cart"}
    assert max(counts.values()) <= 2


def test_a_replay_that_fails_on_some_machine_makes_the_report_of_all_red(comparing: Comparing) -> None:
    ends = comparing({"a.journey.yaml": COPIED + PARTS}, "-k", "behind")
    assert [end.status for end in ends] == [1, 1]
    assert any("failed while being replayed: fails" in end.text for end in ends)


@pytest.mark.parametrize("definition", ["scope: machine", "copyable: true"])
def test_what_only_a_test_can_establish_is_used_on_the_machine_where_it_ran(
    comparing: Comparing, definition: str
) -> None:
    ends = comparing(
        {
            "a.journey.yaml": f"capabilities:\n  box-up: {{{definition}}}\njourneys:\n"
            + users("box-up", 4, "sleep 0.3")
            + "".join(f"  - {{id: apart-{n}, steps: [run: sleep 1]}}\n" for n in range(4)),
            "test_box.py": """
            import pytest
            @pytest.mark.establishes("box-up")
            def test_box(): pass
            """,
        }
    )
    assert [end.status for end in ends] == [0, 0]
    tied = {"test_box", *(f"box-up-{n}" for n in range(4))}
    assert all(tied & end.cases.keys() in (set(), tied) for end in ends)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--dist=loadgroup"], "cannot run with --dist loadgroup"),
        (["--dist=each"], "cannot run with --dist each"),
        (["-p", "cacheprovider", "--sw"], "cannot be used with --sw"),
    ],
)
def test_other_ways_to_distribute_are_refused(
    new_fleet: Callable[..., Fleet], arguments: Sequence[str], words: str
) -> None:
    made = new_fleet({"a.journey.yaml": "journeys:\n  - {id: a, steps: [run: 'true']}\n"})

    end = made.start("refused", *arguments).end()

    assert end.status == 4
    assert words in end.text


def test_a_machine_with_another_selection_is_refused(new_fleet: Callable[..., Fleet]) -> None:
    made = new_fleet(
        {
            "a.journey.yaml": """
            journeys:
              - {id: waits, steps: [run: 'echo begun >> $NOTES; until [ -e $NOTES.go ]; do sleep 0.1; done']}
              - {id: other, steps: [run: 'true']}
            """
        }
    )
    first = made.start("selected")
    wait_until(lambda: made.noted() == ["begun"])
    refused = made.start("selected", "-k", "other").end()
    made.let_go()

    assert [first.end().status, refused.status] == [0, 4]
    assert "1 item only there: a.journey.yaml::waits" in refused.text
