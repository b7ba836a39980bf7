"""Runs that follow a plan file: their order, what is set up and asked, what is shared, and what is void."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.scheduling.pinned_plan import Idle
from pytest_dogfood.storage.plan_record import LineRecord, PlanRecord, read_plan_record
from pytest_dogfood.storage.record import Kind, read_run
from pytest_dogfood.storage.retention import KEPT_RUNS, RunLease
from pytest_dogfood.storage.run_directory import project_name
from tests.support.live_projects import Eventually, Live
from tests.support.run_results import Run
from tests.support.scenes import Inner

NewInner = Callable[[Mapping[str, str]], Inner]

SHOP = """
    capabilities:
      in:
        probe: test -e "$DOGFOOD_STATE/in"
        provision:
          - run: echo provider >>"$DOGFOOD_STATE/in"
      paid:
        probe: test -e "$DOGFOOD_STATE/paid"
      up:
        scope: machine
        probe: test -e "$DOGFOOD_ROOT/up"
        provision:
          - run: touch "$DOGFOOD_ROOT/up"; echo up >>"$DOGFOOD_ROOT/machine"
        release:
          - run: rm "$DOGFOOD_ROOT/up"; echo down >>"$DOGFOOD_ROOT/machine"
    journeys:
      - {id: gate, tier: smoke, gating: true, steps: [{run: echo gate >>"$DOGFOOD_ROOT/log"}]}
      - id: login
        establishes: [in]
        estimate: 0.1
        steps: [{run: 'echo login | tee -a "$DOGFOOD_ROOT/log" >>"$DOGFOOD_STATE/in"'}]
      - {id: look, requires: [in], steps: [{run: echo look >>"$DOGFOOD_ROOT/log"}]}
      - id: buy
        requires: [in]
        estimate: 900
        steps: [{run: 'echo buy | tee -a "$DOGFOOD_ROOT/log" >>"$DOGFOOD_STATE/cart"'}]
      - id: pay
        requires: [in]
        establishes: [paid]
        estimate: 9000
        steps: [{run: 'echo pay >>"$DOGFOOD_ROOT/log"; echo >>"$DOGFOOD_STATE/paid"'}]
      - {id: ping, requires: [up], steps: [{run: 'true'}]}
      - {id: pong, requires: [up], steps: [{run: 'true'}]}
"""

ALL = [["login", "pay", "look", "buy"], ["gate"], ["pong"], ["ping"]]


class Shop:
    """A project, and runs of it that follow plan files."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.text = ""

    def start(self, plan: Mapping[str, Any], *arguments: str) -> Run:
        plan = {"result": str(self.live.path / "result.json"), **plan}
        (self.live.path / "result.json").unlink(missing_ok=True)
        (self.live.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        (self.live.path / "log").unlink(missing_ok=True)
        done = self.live.run("--dogfood-plan", "plan.json", *arguments)
        self.text = done.text
        return done

    def run(self, plan: Mapping[str, Any], *arguments: str, status: int = 0) -> PlanRecord:
        done = self.start(plan, *arguments)
        assert done.status == status, done.text
        record = read_plan_record(self.live.path / "result.json")
        assert record.exit_status == status
        return record

    def line(self, plan: Mapping[str, Any], *arguments: str, status: int = 0) -> LineRecord:
        """Return the record of the first line."""
        return self.run(plan, *arguments, status=status).lines[0]

    @property
    def log(self) -> list[str]:
        return self.live.lines("log")


@pytest.fixture
def shop(live: Live) -> Shop:
    return Shop(live.write("shop.journey.yaml", SHOP))


@pytest.fixture
def joined(live: Live) -> Iterator[dict[str, Any]]:
    lease = RunLease(live.state_root, project_name(live.path) + "-plan")
    yield {"directory": str(lease.directory.path), "pid": os.getpid()}
    lease.close(keep=())


def answers(line: LineRecord, token: str) -> list[bool | None]:
    """Return what the probe of a token has said at the beginning and after each entry of a line."""
    return [one.present for seen in line.observations for one in seen.answers if one.token == token]


@pytest.mark.parametrize("workers", ["0", "2", "4"])
def test_each_line_runs_in_its_order_whatever_durations_and_gates_say(shop: Shop, workers: str) -> None:
    record = shop.run({"orders": ALL}, "-n", workers)
    assert [line.ran for line in record.lines] == [tuple(line) for line in ALL]
    assert (record.void, {len(line.places) for line in record.lines}) == ("", {1})
    assert [one for one in shop.log if one != "gate"] == ["login", "pay", "look", "buy"]


@pytest.mark.parametrize("arguments", [["-n0"], ["-n2"], ["-n2", "--dist", "loadfile"]])
def test_no_plugin_that_shuffles_changes_the_order(shop: Shop, arguments: list[str]) -> None:
    for seed in ("1", "2"):
        line = shop.line({"orders": [["login", "buy", "look", "pay"]]}, f"--randomly-seed={seed}", *arguments)
        assert (line.ran, line.void) == (("login", "buy", "look", "pay"), "")
        assert shop.log == ["login", "buy", "look", "pay"]


def test_exactly_the_planned_journeys_run_whatever_is_selected(shop: Shop) -> None:
    record = shop.run({"orders": [["look", "buy"]]}, "-k", "gate or look")
    assert shop.log == ["look", "buy"]
    assert {*read_run(Path(record.run)).results} == {"look", "buy"}


def test_the_provider_sets_up_what_a_journey_left_out_would(shop: Shop) -> None:
    record = shop.run({"orders": [["look"]]})
    (made,) = [one for one in read_run(Path(record.run)).activities if one.kind is Kind.PROVISION]
    assert (made.id, made.how, shop.log) == ("in", "by its provision steps", ["look"])


def test_a_replay_is_told(shop: Shop) -> None:
    shop.live.write(
        "shop.journey.yaml",
        SHOP.replace("provision:\n          - run: echo provider", "release:\n          - run: echo"),
    )
    line = shop.line({"orders": [["look"]]})
    assert (line.replayed, line.ran, line.void) == (("login",), ("look",), "")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_provision_steps_run_a_second_time(shop: Shop, workers: str) -> None:
    record = shop.run({"orders": [["look", "buy"], ["ping"], ["pong"]], "twice": ["in", "up"]}, "-n", workers)
    made = [one for one in read_run(Path(record.run)).activities if one.kind is Kind.PROVISION]
    assert sorted((one.id, one.how.rpartition(", ")[2]) for one in made) == [
        ("in", "a second time"),
        ("in", "by its provision steps"),
        ("up", "a second time"),
        ("up", "by its provision steps"),
    ]
    assert shop.live.lines("machine") == ["up", "up", "down"]


def test_a_second_time_that_fails_is_an_error_of_the_provision(shop: Shop) -> None:
    text = SHOP.replace('echo provider >>"$DOGFOOD_STATE/in"', 'mkdir "$DOGFOOD_STATE/in"')
    shop.live.write("shop.journey.yaml", text)
    record = shop.run({"orders": [["look"]], "twice": ["in"]}, status=1)
    assert read_run(Path(record.run)).results.popitem()[1].outcome is Outcome.ERROR  # type: ignore[attr-defined]
    assert "'in' could not be provisioned, a second time" in shop.text
    assert shop.run({"orders": [["look"]]}).void == ""


def test_probes_are_asked_in_the_empty_state_and_after_each_entry(shop: Shop) -> None:
    line = shop.line({"orders": [["login", {"idle": 0.01}, "pay", "look"]], "probes": True})
    seen = [(one.position, one.entry) for one in line.observations]
    assert seen == [(0, ""), (1, "login"), (2, "idle"), (3, "pay"), (4, "look")]
    assert answers(line, "in") == [False, True, True, True, True]
    assert answers(line, "paid") == [False, False, False, True, True]
    assert answers(line, "up") == []
    first = line.observations[0].answers[0]
    assert (first.exit, "test -e" in first.text) == (1, True)
    assert line.entries == ("login", Idle(0.01), "pay", "look")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_ordinary_run_is_asked_too(shop: Shop, workers: str) -> None:
    record = shop.run({"probes": ["paid", "up"]}, "-n", workers)
    (line,) = [one for one in record.lines if "pay" in one.ran]
    paid = answers(line, "paid")
    at = line.ran.index("pay")
    assert paid == [*[False] * (at + 1), *[True] * (len(line.ran) - at)]
    assert line.ran == line.entries
    assert len(answers(line, "up")) == len(line.ran) + 1


def test_only_named_journeys_and_their_needs_take_part(shop: Shop) -> None:
    record = shop.run({"only": ["look"], "probes": True})
    assert [line.ran for line in record.lines] == [("login", "look")]


def test_a_line_may_begin_with_a_wait(shop: Shop) -> None:
    line = shop.line({"orders": [[{"idle": 0.01}, "login"]], "probes": ["in"]})
    assert [(one.position, one.entry) for one in line.observations] == [(0, ""), (1, "idle"), (2, "login")]
    assert answers(line, "in") == [False, False, True]


def test_a_probe_without_the_values_that_it_needs_is_not_asked(live: Live) -> None:
    shop = Shop(
        live.write(
            "a.journey.yaml",
            """
            capabilities:
              made:
                probe: test -e "$DOGFOOD_MADE_NAME"
            journeys:
              - id: make
                establishes: [made]
                steps: [{run: 'mkdir "$DOGFOOD_STATE/x"; echo "$DOGFOOD_STATE/x"', save: {name: {stdout: .+}}}]
              - {id: use, requires: [made], steps: [{run: 'true'}]}
            """,
        )
    )
    line = shop.line({"orders": [["make", "use"]], "probes": True})
    assert answers(line, "made") == [None, True, True]
    first = line.observations[0].answers[0]
    assert (first.exit, first.why) == (None, "the values of 'made' are not known")


def test_a_slow_probe_is_asked_again_only_where_files_have_changed(shop: Shop) -> None:
    slow = 'sleep 1.1; echo >>"$DOGFOOD_ROOT/asked"; test -e "$DOGFOOD_STATE/paid"'
    text = SHOP.replace('probe: test -e "$DOGFOOD_STATE/paid"', f"probe: '{slow}'")
    shop.live.write("shop.journey.yaml", text)
    line = shop.line({"orders": [["login", "look", "buy"]], "probes": ["paid"]})
    assert [one.answers[0].repeated for one in line.observations] == [False, False, True, False]


def test_the_files_that_each_entry_has_written_are_named(shop: Shop) -> None:
    line = shop.line({"orders": [["login", "look", "buy", "pay"]], "files": True})
    assert [one.written for one in line.observations] == [(), ("in",), (), ("cart",), ("paid",)]
    assert [one.answers for one in line.observations] == [()] * 5


def test_a_secret_is_in_no_name_of_a_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SHOP.replace("echo buy | tee", 'touch "$DOGFOOD_STATE/of-$PASSWORD"; echo buy | tee')
    shop.live.write("shop.journey.yaml", text)
    shop.live.write("pytest.ini", "[pytest]\ndogfood_secrets = PASSWORD\n")
    monkeypatch.setenv("PASSWORD", "hunter2-hunter2")
    line = shop.line({"orders": [["login", "buy"]], "files": True})
    assert line.observations[2].written == ("cart", "of-***")


def test_a_secret_is_in_no_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SHOP.replace(
        'probe: test -e "$DOGFOOD_STATE/paid"', 'probe: echo "$PASSWORD"; test -e "$DOGFOOD_STATE/paid"'
    )
    shop.live.write("shop.journey.yaml", text.replace("probe: echo", "probe: |\n          echo"))
    shop.live.write("pytest.ini", "[pytest]\ndogfood_secrets = PASSWORD\n")
    monkeypatch.setenv("PASSWORD", "hunter2-hunter2")
    line = shop.line({"orders": [["login"]], "probes": ["paid"]})
    assert "***" in line.observations[0].answers[0].text
    assert "hunter2" not in (shop.live.path / "result.json").read_text(encoding="utf-8")


COPIES = """
    capabilities:
      a: {copyable: true, probe: 'test -e "$DOGFOOD_STATE/a"'}
      b: {copyable: true, probe: 'test -e "$DOGFOOD_STATE/b"'}
    journeys:
      - {id: make-a, establishes: [a], steps: [{run: 'touch "$DOGFOOD_STATE/a"'}]}
      - {id: make-b, establishes: [b], steps: [{run: 'touch "$DOGFOOD_STATE/b"'}]}
      - {id: left, requires: [a, b], invalidates: [a], steps: [{run: 'rm "$DOGFOOD_STATE/a"'}]}
      - {id: right, requires: [a, b], steps: [{run: 'test -e "$DOGFOOD_STATE/a"'}]}
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_copies_are_made_of_what_the_plan_has_put_before_them(live: Live, workers: str) -> None:
    shop = Shop(live.write("a.journey.yaml", COPIES))
    above = shop.run({"probes": True}).lines[0].ran
    for order in (above, above[::-1]):
        plan = {"orders": [order, ["right"], ["left"]], "probes": True}
        record = shop.run(plan, "-n", workers)
        first, *parts = record.lines
        assert (first.ran, [part.ran for part in parts]) == (order, [("right",), ("left",)])
        for part in parts:
            assert (part.void, part.replayed) == ("", ())
            begins = part.observations[0]
            assert {one.present for one in begins.answers} == {True}
            assert [str(begins.part_of), begins.behind] == [above[0], above[-1]]
        assert answers(parts[1], "a") == [True, False]


def test_declarations_are_tried_before_a_file_has_them(shop: Shop) -> None:
    added = [{"journey": "look", "requires": ["bought"]}, {"journey": "buy", "establishes": ["bought"]}]
    line = shop.line({"only": ["look"], "added": added})
    assert line.ran == ("login", "buy", "look")
    done = shop.start({"orders": [["login", "look", "buy"]], "added": added})
    assert (done.status, "'look' stands before 'buy'" in done.text) == (4, True)
    circle = [{"journey": "login", "requires": ["bought"]}, *added]
    done = shop.live.run("--dogfood-check", "--dogfood-plan", "plan.json")
    assert (shop.start({"added": circle}).status, done.status) == (4, 4)


def test_declarations_of_tests_are_tried_too(live: Live) -> None:
    shop = Shop(
        live.write(
            "test_it.py",
            """
            import pytest

            @pytest.mark.requires("in")
            def test_look(dogfood_state): assert (dogfood_state / "cart").exists()

            @pytest.mark.requires("in")
            def test_buy(dogfood_state): (dogfood_state / "cart").touch()

            @pytest.mark.establishes("in")
            def test_login(): pass
            """,
        )
    )
    order = [f"test_it.py::test_{name}" for name in ("login", "look", "buy")]
    assert shop.line({"orders": [order]}, status=1).void == ""
    assert shop.line({"orders": [[order[0], order[2], order[1]]]}).ran == (order[0], order[2], order[1])
    added = [{"journey": order[1], "requires": ["bought"]}, {"journey": order[2], "establishes": ["bought"]}]
    for arguments in (["-n0"], ["-n2"]):
        assert shop.line({"added": added}, *arguments).ran[-1] == order[1]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_machine_wide_tokens_are_set_up_once_over_all_runs_and_released_once(
    shop: Shop, joined: dict[str, Any], workers: str
) -> None:
    for order in (["ping", "pong"], ["pong"], ["ping"]):
        shop.run({"orders": [[one] for one in order], "joined": joined}, "-n", workers)
    assert shop.live.lines("machine") == ["up"]
    shop.live.run("-k", "ping")  # another run of the project uses it meanwhile, and does not end it
    assert shop.live.lines("machine") == ["up"]
    record = shop.run({"release": True, "joined": joined})
    assert (record.lines, shop.live.lines("machine")) == ((), ["up", "down"])


SERVED = """
    capabilities:
      served:
        scope: machine
        service:
          run: |
            trap 'rm "$DOGFOOD_ROOT/alive"; exit' TERM
            echo start >>"$DOGFOOD_ROOT/machine"
            touch "$DOGFOOD_ROOT/alive"
            while :; do sleep 0.1; done
          ports: [port]
        probe: test -e "$DOGFOOD_ROOT/alive"
      migrated:
        scope: machine
        requires: [served]
        probe: test -e "$DOGFOOD_SHARED/migrated"
        provision:
          - run: test -e "$DOGFOOD_ROOT/alive"; touch "$DOGFOOD_SHARED/migrated"; echo migrate >>"$DOGFOOD_ROOT/machine"
        release:
          - run: test -e "$DOGFOOD_ROOT/alive"; echo undo >>"$DOGFOOD_ROOT/machine"
      watched: {scope: machine, probe: 'kill -0 "$(cat "$DOGFOOD_SHARED/pid")"'}
    journeys:
      - {id: read, requires: [migrated], steps: [{run: 'echo "$DOGFOOD_SERVED_PORT" >>"$DOGFOOD_ROOT/ports"'}]}
      - {id: write, requires: [migrated, watched], steps: [{run: 'true'}]}
      - id: watch
        establishes: [watched]
        leaves: daemon
        steps:
          - run: sleep 1000 >/dev/null 2>&1 & echo $! >"$DOGFOOD_SHARED/pid"
          - run: echo watch >>"$DOGFOOD_ROOT/machine"
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_services_and_daemons_of_the_machine_stay_up_over_all_runs(
    live: Live, joined: dict[str, Any], workers: str
) -> None:
    shop = Shop(live.write("a.journey.yaml", SERVED))
    shop.run({"joined": joined}, "-n", workers)
    for order in ([["read"], ["write"]], [["write"]]):
        shop.run({"orders": order, "joined": joined}, "-n", workers)
    assert sorted(live.lines("machine")) == ["migrate", "start", "watch"]
    assert len({*live.lines("ports")}) == 1
    assert len(live.running()) >= 2  # the service, now and then with a child, and the daemon
    shop.run({"release": True, "joined": joined})
    assert (live.lines("machine")[-1], live.running()) == ("undo", [])


def test_provision_steps_of_an_earlier_run_run_a_second_time(shop: Shop, joined: dict[str, Any]) -> None:
    shop.run({"orders": [["ping"]], "joined": joined})
    assert shop.live.lines("machine") == ["up"]
    shop.run({"orders": [["ping"], ["pong"]], "twice": ["up"], "joined": joined})
    assert shop.live.lines("machine") == ["up", "up", "up"]


def test_what_failed_in_one_run_is_tried_again_in_the_next(shop: Shop, joined: dict[str, Any]) -> None:
    text = SHOP.replace('touch "$DOGFOOD_ROOT/up"', 'test -e "$DOGFOOD_ROOT/may"; touch "$DOGFOOD_ROOT/up"')
    shop.live.write("shop.journey.yaml", text)
    shop.run({"orders": [["ping"]], "joined": joined}, status=1)
    shop.live.write("may", "")
    shop.run({"orders": [["pong"]], "joined": joined})


def test_a_run_that_was_stopped_is_void(shop: Shop) -> None:
    text = SHOP.replace("echo look >>", "exit 1; echo look >>")
    shop.live.write("shop.journey.yaml", text)
    line = shop.line({"orders": [["login", "look", "buy"]]}, "-x", status=1)
    assert line.void == "'buy' did not run"
    assert "this run has left its plan: 'buy' did not run" in shop.text
    assert shop.line({"orders": [["login", "look", "buy"]]}, status=1).void == ""


def test_a_wait_ends_with_a_signal(shop: Shop, eventually: Eventually) -> None:
    result = shop.live.path / "result.json"
    plan = {"orders": [["login", {"idle": 1000}, "buy"]], "result": str(result)}
    shop.live.write("plan.json", json.dumps(plan))
    run = shop.live.start("--dogfood-plan", "plan.json")
    assert eventually(lambda: shop.log == ["login"])
    run.process.send_signal(signal.SIGINT)
    assert run.end().status == pytest.ExitCode.INTERRUPTED
    assert read_plan_record(result).void == "'buy' did not run"


def test_an_ordinary_run_imports_nothing_of_this(shop: Shop) -> None:
    shop.live.write(
        "conftest.py",
        """
        import pathlib, sys

        def pytest_sessionfinish():
            pathlib.Path("modules").write_text("\\n".join(sys.modules))
        """,
    )
    assert shop.live.run("-k", "look").status == 0
    modules = [name for name in shop.live.lines("modules") if name.startswith("pytest_dogfood.")]
    assert "pytest_dogfood.scheduling.plan" in modules
    parts = ("pytest_dogfood.doubt", "pytest_dogfood.scheduling.pinned", "pytest_dogfood.storage.plan_record")
    assert not [name for name in modules if name.startswith(parts)]


def test_a_run_of_another_order_is_void(shop: Shop) -> None:
    shop.live.write(
        "conftest.py",
        """
        import pytest

        class Last:
            @pytest.hookimpl(wrapper=True, tryfirst=True)
            def pytest_collection_modifyitems(self, items):
                yield
                items.reverse()

        @pytest.hookimpl(trylast=True)
        def pytest_sessionstart(session):
            session.config.pluginmanager.register(Last())
        """,
    )
    line = shop.line({"orders": [["login", "look", "buy"]]}, "-n0", status=1)
    assert line.ran == ("buy", "look", "login")
    assert line.void == "'buy' ran as number 1 of its line, where 'login' stands"
    assert shop.line({"orders": [["login", "look", "buy"]]}, "-n2").void == ""


def test_a_journey_that_was_run_again_makes_its_line_void(shop: Shop) -> None:
    shop.live.write("shop.journey.yaml", SHOP.replace("echo look >>", "exit 1; echo look >>"))
    shop.live.write(
        "conftest.py",
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            if item.name == "look":  # as plugins do that run failed tests again
                runtestprotocol(item, nextitem=nextitem, log=False)
        """,
    )
    line = shop.line({"orders": [["login", "look"]]}, status=1)
    assert line.void == "'look' was run more than once"


def test_a_line_whose_worker_died_is_void_and_the_others_count(shop: Shop) -> None:
    shop.live.write("shop.journey.yaml", SHOP.replace("echo look >>", "kill -9 $PPID; echo look >>"))
    record = shop.run({"orders": [["login", "look", "buy"], ["pong"]]}, "-n2", status=1)
    dead, alive = record.lines
    assert (bool(dead.void), alive.void, alive.ran) == (True, "", ("pong",))
    assert record.void == dead.void


def test_no_option_that_a_project_gives_to_all_runs_gets_in_the_way(inner: NewInner) -> None:
    words = "--sw --lf --junitxml=last.xml --dogfood-report=last.md -k gate -m 'not slow'"
    ini = f"[pytest]\naddopts = {words}\nmarkers = slow\n"
    plan = '{"orders": [["login", "buy", "look"]], "result": "result.json"}'
    files = {"shop.journey.yaml": SHOP, "plan.json": plan}
    project = inner({**files, "pytest.ini": "[pytest]\n"})
    assert project.dogfood("-k", "gate or pay").ret == 0
    project.write({"pytest.ini": ini})
    done = project.dogfood("--dogfood-plan", "plan.json")
    assert done.ret == 0, "\n".join(done.outlines)
    (line,) = read_plan_record(project.path / "result.json").lines
    assert (line.ran, line.void) == (("login", "buy", "look"), "")
    assert not [name for name in ("last.xml", "last.md") if (project.path / name).exists()]


def test_nothing_else_is_left_behind(inner: NewInner, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = SHOP.replace("echo look >>", "exit 1; echo look >>")
    project = inner({"shop.journey.yaml": failing, "plan.json": '{"orders": [["login", "look", "buy"]]}'})
    assert project.dogfood("-k", "look").ret == 1
    cache = project.path / ".pytest_cache"
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    kept = {path.parent for path in project.state_root.glob("*/kept")}
    assert (bool(before), bool(kept)) == (True, True)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary"))
    for _ in range(KEPT_RUNS + 1):
        done = project.dogfood("--dogfood-plan", "plan.json")
        assert (done.ret, "::error" in "\n".join(done.outlines)) == (1, False)
    assert not (project.path / "summary").exists()
    assert before == {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert kept <= {path.parent for path in project.state_root.glob("*/kept")}


@pytest.mark.parametrize(
    "plan,told",
    [
        ('{"orders": [["logn"]]}', "did you mean 'login'?"),
        ('{"twice": ["upp"]}', "did you mean 'up'?"),
        ('{"orders": [["buy", "login"]]}', "'buy' stands before 'login'"),
        ('{"orders": [["login"', "only half of one"),
        ('{"joined": {"directory": "/nowhere-at-all", "pid": 1}}', "there is no directory /nowhere-at-all"),
        ('{"result": "/nowhere-at-all/x"}', "there is no directory for /nowhere-at-all/x"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(shop: Shop, plan: str, told: str) -> None:
    shop.live.write("plan.json", plan)
    for workers in ("0", "2"):
        done = shop.live.run("--dogfood-plan", "plan.json", "-n", workers)
        assert (done.status, told in done.text, shop.log) == (4, True, []), done.text


def test_options_that_contradict_a_plan_are_refused(shop: Shop) -> None:
    shop.live.write("plan.json", "{}")
    both = shop.live.run("--dogfood-plan", "plan.json", "--dogfood-shard", "1/2")
    missing = shop.live.run("--dogfood-plan", "nothing.json")
    assert (both.status, missing.status) == (4, 4)
    assert "nothing.json: No such file" in missing.text
