from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import Any

import pytest

from tests.support.run_results import leaving_out

DISTRIBUTED = '''
    """Brings the scheduler into a run, with a graph of jobs that a file describes: test name to after and chain."""
    import json
    import pathlib

    import pytest

    from pytest_dogfood.xdist.barrier import BarrierPlugin
    from pytest_dogfood.scheduling.queue import Job
    from pytest_dogfood.xdist.controller import ControllerPlugin

    class Source:
        def __init__(self, graph):
            self.graph = graph

        def jobs(self, ids):
            if "invalid" in self.graph:
                raise pytest.UsageError(self.graph["invalid"])
            names = [node_id.partition("::")[2] for node_id in ids]
            return [self.job(index, name, names) for index, name in enumerate(names)]

        def finished(self, node_id):
            pass

        def job(self, index, name, names):
            if name not in self.graph:
                return Job(index=index, plain=True)
            about = self.graph[name]
            after = tuple(names.index(other) for other in about.get("after", ()))
            return Job(index=index, after=after, chain=about.get("chain"))

    def pytest_configure(config):
        if hasattr(config, "workerinput"):
            config.pluginmanager.register(BarrierPlugin())
        elif config.getoption("dist", "no") != "no":
            path = pathlib.Path(config.rootpath, "graph.json")
            graph = json.loads(path.read_text()) if path.exists() else {}
            config.pluginmanager.register(ControllerPlugin(config, Source(graph)))
'''

NOTING = """
    import os
    import pathlib
    import signal

    def note(name, what):
        with open("notes", "a") as notes:
            print(name, what, os.environ["PYTEST_XDIST_WORKER"], file=notes)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Scene:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.makeconftest(DISTRIBUTED)

    def write(self, graph: dict[str, Any], bodies: dict[str, str] | None = None) -> None:
        """One test per key of `graph`; `bodies` says what it does besides noting its start and end."""
        tests = [
            f"def {name}():\n    note({name!r}, 'starts')\n    {body}\n    note({name!r}, 'ends')"
            for name, body in {**dict.fromkeys(graph, "pass"), **(bodies or {})}.items()
        ]
        header = "\n".join(line[4:] for line in NOTING.splitlines())
        self.pytester.path.joinpath("test_it.py").write_text("\n".join([header, *tests]), encoding="utf-8")
        described = {name: about for name, about in graph.items() if about is not None}
        self.pytester.path.joinpath("graph.json").write_text(json.dumps(described), encoding="utf-8")

    def run(self, *options: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess(*leaving_out(options), *options)

    @property
    def notes(self) -> list[tuple[str, ...]]:
        lines = self.pytester.path.joinpath("notes").read_text(encoding="utf-8").splitlines()
        return [tuple(line.split()) for line in lines]

    @property
    def started(self) -> list[str]:
        return [name for name, what, _ in self.notes if what == "starts"]


@pytest.fixture
def scene(pytester: pytest.Pytester) -> Scene:
    return Scene(pytester)


def random_graph(seed: int) -> dict[str, Any]:
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    names = [f"test_{number}" for number in range(30)]
    shuffled = dice.sample(names, len(names))
    graph = {
        name: {
            "after": dice.sample(shuffled[:place], min(place, dice.randint(0, 3))),
            "chain": dice.choice([None, "a", "b", "c"]),
        }
        for place, name in enumerate(shuffled)
    }
    plain = {f"test_plain_{number}": None for number in range(10)}
    return {**{name: graph[name] for name in names}, **plain}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_items_run_in_dependency_order_and_chains_stay_on_their_worker(scene: Scene, workers: int) -> None:
    graph = random_graph(workers)
    scene.write(graph)
    scene.run(f"-n{workers}").assert_outcomes(passed=40)
    when = {(name, what): place for place, (name, what, _) in enumerate(scene.notes)}
    homes = defaultdict(set)
    for name, _, worker in scene.notes:
        homes[(graph[name] or {}).get("chain")].add(worker)
    early = [
        (name, before)
        for name, about in graph.items()
        for before in (about or {}).get("after", ())
        if when[name, "starts"] < when[before, "ends"]
    ]
    assert early == []
    assert {chain: len(homes[chain]) for chain in "abc"} == dict.fromkeys("abc", 1)


CHAIN = {
    "test_first": {"chain": "c"},
    "test_second": {"chain": "c", "after": ["test_first"]},
    "test_third": {"chain": "c", "after": ["test_second"]},
    "test_else": None,
}


@pytest.mark.parametrize("victim", ["test_first", "test_second", "test_third", "test_else"])
def test_an_item_that_kills_its_worker_fails_once_and_the_rest_runs(scene: Scene, victim: str) -> None:
    scene.write(CHAIN, {victim: "die()"})
    result = scene.run("-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([f"*worker 'gw0' crashed while running 'test_it.py::{victim}'"])
    assert sorted(scene.started) == sorted(CHAIN)


def test_a_plugin_may_run_a_crashed_item_again_before_its_dependents(scene: Scene) -> None:
    scene.write(
        CHAIN, {"test_first": "pathlib.Path('been').exists() or (pathlib.Path('been').touch(), die())"}
    )
    scene.pytester.makepyfile(
        again="""
        def pytest_handlecrashitem(crashitem, report, sched):
            sched.mark_test_pending(crashitem)
            report.outcome = "rerun"
        """
    )
    result = scene.run("-n2", "-p", "again")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=4)
    chain = [name for name in scene.started if name != "test_else"]
    assert chain == ["test_first", "test_first", "test_second", "test_third"]


def test_a_crash_counts_towards_maxfail(scene: Scene) -> None:
    scene.write(CHAIN, {"test_first": "die()"})
    result = scene.run("-n1", "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stopping after 1*"])
    result.stdout.no_fnmatch_line("*did not run to the end*")  # as was asked for
    assert scene.started == ["test_first"]


def test_what_nobody_runs_for_want_of_workers_is_listed_and_fails_the_run(scene: Scene) -> None:
    scene.write(CHAIN, {"test_second": "die()"})
    result = scene.run("-n1", "--max-worker-restart=0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["2 items did not run to the end:", "*test_it.py::test_third", "*test_it.py::test_else"]
    )


def test_a_worker_that_dies_between_two_items_is_blamed_on_no_item_but_fails_the_run(scene: Scene) -> None:
    scene.pytester.makepyfile(
        test_it="""
        import os
        import pathlib
        import pytest

        @pytest.fixture(scope="module")
        def deadly():
            yield
            if not pathlib.Path("been").exists():
                pathlib.Path("been").touch()
                os._exit(9)

        def test_first(deadly): pass
        """,
        test_other="def test_second(): pass",
    )
    scene.pytester.path.joinpath("graph.json").write_text(
        '{"test_first": {}, "test_second": {"after": ["test_first"]}}'
    )
    result = scene.run("-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["worker gw0 died between two items: *"])


def test_a_worker_that_stops_its_session_ends_the_run_and_is_no_deadlock(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.establishes("begun")
        def test_begin(): pass

        @pytest.mark.requires("begun")
        def test_go_on(): pass
        """,
        conftest="""
        import os
        import time

        WORKER = "PYTEST_XDIST_WORKER" in os.environ

        def pytest_runtest_call(item):
            item.session.shouldstop = "enough"

        def pytest_runtest_logreport(report):
            until = time.monotonic() + 20
            while not WORKER and report.when == "teardown" and not report.node.shutting_down:
                assert time.monotonic() < until  # xdist knows at once that the worker is leaving
                time.sleep(0.01)
        """,
    )
    pytester.makefile(".yaml", dogfood="capabilities: {begun: {description: it has begun}}")
    result = pytester.runpytest_subprocess("--dogfood", "-n2", "-p", "no:cacheprovider")
    text = "\n".join([*result.outlines, *result.errlines])
    assert "DeadlockError" not in text
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["did not run: test_it.py::test_go_on", "* = 1 passed + 1 not run; *"])
    assert text.count("test_go_on") == 1


def test_an_invalid_graph_stops_the_run_as_a_usage_error(scene: Scene) -> None:
    scene.write({"test_one": None, "invalid": "nobody establishes 'session'"})
    result = scene.run("-n1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: nobody establishes 'session'"])


def test_a_run_that_selects_nothing_ends_as_pytest_says(scene: Scene) -> None:
    scene.write(CHAIN)
    assert scene.run("-n1", "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED


DIFFERENT = """
    import os

    def test_same(): {body}

    if os.environ["PYTEST_XDIST_WORKER"] != "gw0":
        def test_another(): pass
"""


def test_workers_that_collect_different_tests_are_refused(scene: Scene) -> None:
    scene.pytester.makepyfile(DIFFERENT.format(body="pass"))
    result = scene.run("-n3")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"errors": 2}
    result.stdout.fnmatch_lines(["Worker gw1 collected other tests*", "+test_*::test_another"])


def test_a_replacement_that_collects_different_tests_is_refused_with_a_report(scene: Scene) -> None:
    scene.pytester.makepyfile(
        DIFFERENT.format(body="os.kill(os.getpid(), 9)") + "\n    def test_rest(): pass"
    )
    result = scene.run("-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["Worker gw1 collected other tests*", "1 item did not run to the end:"])


def test_an_internal_error_of_a_worker_after_its_last_item_is_not_green(scene: Scene) -> None:
    scene.write(CHAIN)
    scene.pytester.makepyfile(
        late="""
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtestloop(session):
            yield
            if hasattr(session.config, "workerinput"):
                raise RuntimeError("too late")
        """
    )
    result = scene.run("-n1", "-p", "late")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["*RuntimeError: too late"])


@pytest.mark.parametrize(
    "error, name", [("RuntimeError", "RuntimeError"), ("pytest.fail.Exception", "Failed")]
)
def test_an_error_when_a_worker_ends_its_session_is_not_green(scene: Scene, error: str, name: str) -> None:
    scene.write(CHAIN)
    scene.pytester.makepyfile(
        late=f"""
        import pytest

        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                raise {error}("too late")
        """
    )
    result = scene.run("-n1", "-p", "late")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"worker gw0 could not end properly: {name}: too late"])


def test_an_item_on_the_wrong_worker_is_an_internal_error(scene: Scene) -> None:
    scene.write(CHAIN)
    scene.pytester.makepyfile(
        lies="""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report):
            if hasattr(report, "node") and "second" in report.nodeid:
                report.node.gateway.id = "gw7"
        """
    )
    result = scene.run("-n1", "-p", "lies")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["*OrderViolationError: job 1 of chain 'c' runs on gw7, its chain on gw0"])
