"""Plugins that people have installed beside ours, and ways of distributing that we honour or refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

CHAIN = {
    "chain.journey.yaml": """
        journeys:
          - id: build
            establishes: [built]
            steps:
              - run: echo v1 > "$DOGFOOD_STATE/built"; echo v1
                save: {tag: {stdout: "(.+)"}}
          - id: flaky
            requires: [built]
            establishes: [released]
            steps:
              - run: |
                  test "$DOGFOOD_BUILT_TAG" = v1
                  echo try >> "$DOGFOOD_STATE/tries"
                  test "$(wc -l < "$DOGFOOD_STATE/tries")" = 2
          - {id: use, requires: [released, built], steps: [run: test "$DOGFOOD_BUILT_TAG" = v1]}
    """,
    "test_plain.py": "import pytest\n\n@pytest.mark.parametrize('n', range(6))\ndef test_plain(n): pass\n",
}


def passed(result: pytest.RunResult) -> list[str]:
    return sorted({line.split("::")[1] for line in result.outlines if line.startswith("PASSED ")})


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_rerun_finds_its_tokens_again(inner: Make, workers: str) -> None:
    result = inner(CHAIN).dogfood(workers, "--reruns=2", "-rAR", "chain.journey.yaml")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert passed(result) == ["build", "flaky", "use"]
    result.stdout.fnmatch_lines_random(
        ["RERUN chain.journey.yaml::flaky*", "dogfood: 3 journeys = 3 passed*"]
    )
    result.stdout.fnmatch_lines(["*3 passed, 1 rerun in*"])


def test_a_mark_asks_for_reruns(inner: Make) -> None:
    files = {
        "a.journey.yaml": CHAIN["chain.journey.yaml"].replace(
            "id: flaky\n", "id: flaky\n            marks: [{flaky: {reruns: 1}}]\n"
        )
    }
    result = inner(files).dogfood("-rA", beside=["rerunfailures"])
    assert passed(result) == ["build", "flaky", "use"]


def test_only_some_failures_are_rerun(inner: Make) -> None:
    scene = inner(CHAIN)
    result = scene.dogfood("--reruns=2", "--only-rerun=no such text", "-rAR", "chain.journey.yaml")
    assert passed(result) == ["build"]
    result.stdout.no_fnmatch_line("RERUN*")
    again = scene.dogfood("--reruns=2", "--only-rerun=exit status", "-rA", "chain.journey.yaml")
    assert passed(again) == ["build", "flaky", "use"]


def test_a_deferred_journey_is_not_rerun(inner: Make) -> None:
    files = {
        "a.journey.yaml": """
        journeys:
          - {id: a, establishes: [here], steps: [run: echo run >> "$DOGFOOD_ROOT/runs"; false]}
          - {id: b, requires: [here], steps: [run: "true"]}
    """
    }
    scene = inner(files)
    result = scene.dogfood("--reruns=1")
    result.stdout.fnmatch_lines(["*1 failed, 1 skipped, 1 rerun*"])
    assert (scene.path / "runs").read_text(encoding="utf-8").split() == ["run", "run"]


RETRYING = """
    import pytest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        # as pytest-retry does it: once more within the report, whatever the set-up comes to
        report = yield
        if call.when != "call" or not report.failed:
            return report
        pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_teardown(item=item, nextitem=None), "teardown")
        item._initrequest()
        pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_setup(item=item), "setup")
        again = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), "call")
        second = pytest.TestReport.from_item_and_call(item, again)
        report.outcome, report.longrepr = second.outcome, second.longrepr
        return report
"""
TAKES_ITS_TOKEN_AWAY = {
    "conftest.py": RETRYING,
    "dogfood.yaml": """
        capabilities:
          here: {probe: test -f "$DOGFOOD_STATE/here"}
          used: {}
    """,
    "test_it.py": """
        import os
        from pathlib import Path

        import pytest

        @pytest.mark.establishes("here")
        def test_make(dogfood_state):
            (dogfood_state / "here").touch()
            Path("place").write_text(str(dogfood_state / "here"))

        @pytest.mark.requires("here")
        @pytest.mark.establishes("used")
        def test_use():
            with open("tries", "a") as tries:
                tries.write("x")
            os.unlink(Path("place").read_text()) if Path("tries").read_text() == "x" else None
            assert Path("tries").read_text() == "xx"
    """,
    "a.journey.yaml": "{journeys: [{id: after, requires: [used], steps: ['true']}]}",
}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_who_retries_within_a_report_calls_nothing_whose_token_has_gone(inner: Make, workers: str) -> None:
    scene = inner(TAKES_ITS_TOKEN_AWAY)
    result = scene.dogfood(workers, "-rA")
    assert (scene.path / "tries").read_text() == "x"
    result.stdout.fnmatch_lines_random(
        [
            "ERROR test_it.py::test_use - harness: 'here' is not present*",
            "deferred: 1 journey, because test_it.py::test_use could not be run by the harness",
            "dogfood: 1 journey and 2 tests = 1 passed + 1 error + 1 deferred (1 cause)*",
        ]
    )


def test_who_retries_within_a_report_may_succeed(inner: Make) -> None:
    files = {
        **TAKES_ITS_TOKEN_AWAY,
        "test_it.py": TAKES_ITS_TOKEN_AWAY["test_it.py"].replace("os.unlink", "str"),
    }
    result = inner(files).dogfood("-rA")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["dogfood: 1 journey and 2 tests = 3 passed*"])


SET_UP_IS_LEFT_OUT = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item):
        call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), "call")
        for when in ("setup", "call", "teardown"):
            call.when = when
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            item.ihook.pytest_runtest_logreport(report=report)
        return True
"""


def test_who_leaves_the_set_up_out_calls_nothing(inner: Make) -> None:
    scene = inner({**TAKES_ITS_TOKEN_AWAY, "conftest.py": SET_UP_IS_LEFT_OUT})
    result = scene.dogfood("-rA")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (scene.path / "place").exists()
    result.stdout.fnmatch_lines(["ERROR a.journey.yaml::after - harness: it was called although*"])


ITEMS_WITHOUT_FIXTURES = """
    import pytest

    class Page(pytest.Item):
        def runtest(self):
            self.path.with_name(f"{self.name}-ran").touch()
            assert self.name != "bad"

    class Pages(pytest.File):
        def collect(self):
            for name, mark, token in (
                ("asks", "requires", "by-steps"), ("never", "requires", "out-of-reach"),
                ("bad", "establishes", "by-bad"), ("after-bad", "requires", "by-bad"),
                ("good", "establishes", "by-good"), ("after-good", "requires", "by-good"),
            ):
                page = Page.from_parent(self, name=name)
                page.add_marker(getattr(pytest.mark, mark)(token))
                yield page

    def pytest_collect_file(file_path, parent):
        return Pages.from_parent(parent, path=file_path) if file_path.suffix == ".pages" else None
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_items_of_other_kinds_find_their_tokens_too(inner: Make, workers: str) -> None:
    scene = inner(
        {
            "conftest.py": ITEMS_WITHOUT_FIXTURES,
            "all.pages": "",
            "dogfood.yaml": """
        capabilities:
          by-steps: {probe: test -f "$DOGFOOD_STATE/x", provision: [touch "$DOGFOOD_STATE/x"]}
          out-of-reach: {probe: "false"}
          by-bad: {}
          by-good: {}
    """,
        }
    )
    result = scene.dogfood(workers, "-rA")
    assert passed(result) == ["after-good", "asks", "good"]
    ran = {path.name for path in scene.path.glob("*-ran")}
    assert ran == {"asks-ran", "good-ran", "after-good-ran", "bad-ran"}
    result.stdout.fnmatch_lines_random(
        [
            "ERROR all.pages::never - *'out-of-reach' is not present*",
            "deferred: 1 test, because all.pages::bad failed",
            "provisioned by-steps once by its provision steps*",
        ]
    )


@pytest.mark.parametrize("limit", ["option", "mark"])
def test_timeouts_of_the_neighbour_end_a_journey_and_its_steps(inner: Make, limit: str) -> None:
    mark = "marks: [{timeout: {timeout: 1}}], " if limit == "mark" else ""
    scene = inner(
        {
            "a.journey.yaml": f"{{journeys: [{{id: slow, {mark}steps: [run: 'sleep 60']}}, "
            "{id: fast, steps: [run: 'true']}]}"
        }
    )
    result = scene.dogfood("-rA", *(["--timeout=1"] if limit == "option" else []), beside=["timeout"])
    assert passed(result) == ["fast"]
    result.stdout.fnmatch_lines(["*Timeout*1.0s*", "dogfood: 2 journeys = 1 passed + 1 failed*"])
    assert result.duration < 50


def test_random_order_changes_nothing_that_matters(inner: Make) -> None:
    scene = inner({**CHAIN, "chain.journey.yaml": CHAIN["chain.journey.yaml"].replace(" = 2", " -ge 1")})
    root = f"dogfood_state_root={scene.state_root}"
    result = scene.typed("--dogfood", "-o", root, "--randomly-seed=7", "-n2", "-rA")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert len(passed(result)) == 9


def test_coverage_is_measured_on_workers_too(inner: Make) -> None:
    scene = inner(
        {
            "lib.py": "def double(x):\n    return 2 * x\n",
            "test_lib.py": """
        import pytest

        import lib

        @pytest.mark.establishes("doubled")
        def test_double():
            assert lib.double(2) == 4
    """,
            "a.journey.yaml": "{journeys: [{id: a, requires: [doubled], steps: [run: 'true']}]}",
            "dogfood.yaml": "capabilities: {doubled: {}}",
        }
    )
    result = scene.dogfood("-n2", "--cov=lib", "--cov-report=term", "-rA")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["lib.py * 0 * 100%"])


@pytest.mark.parametrize("dist", ["worksteal", "loadfile", "loadscope"])
def test_ways_of_distributing_plain_tests_are_honoured(inner: Make, dist: str) -> None:
    plain = (
        "import os\n\ndef test_{0}(n=0):\n    open('by-{0}', 'w').write(os.environ['PYTEST_XDIST_WORKER'])\n"
    )
    files = {
        f"test_{name}.py": plain.format(name) + plain.format(name + "2").partition("\n\n")[2]
        for name in "abc"
    }
    scene = inner({**files, "a.journey.yaml": "{journeys: [{id: j, steps: [run: 'true']}]}"})
    result = scene.dogfood("-n2", f"--dist={dist}", "-rA")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert len(passed(result)) == 7
    if dist in {"loadfile", "loadscope"}:
        for name in "abc":
            assert (scene.path / f"by-{name}").read_text() == (scene.path / f"by-{name}2").read_text()


@pytest.mark.parametrize(
    "options,words",
    [
        (("-n2", "--dist=loadgroup"), "--dist loadgroup"),
        (("--dist=each", "--tx=2*popen"), "--dist each"),
        (("--dist=load", "--tx=ssh=somewhere"), "--tx ssh=somewhere"),
        (("--dist=load", "--tx=popen", "--tx=socket=192.168.1.102:8888"), "--tx socket="),
        (("--dist=load", "--tx=popen//via=gw0"), "--tx popen//via=gw0: start one run per machine"),
        (("--dist=load", "--tx=via=gw0//popen"), "--tx via=gw0//popen: start one run per machine"),
        (
            ("--dist=load", "--tx=popen", "--tx=2*popen//python=python3.12"),
            "--tx 2*popen//python=python3.12: start the run with that interpreter: python3.12 -m pytest",
        ),
        (
            ("--dist=load", "--tx=popen//chdir=/srv/shop"),
            "--tx popen//chdir=/srv/shop: start the run in that directory: cd /srv/shop && pytest",
        ),
    ],
)
def test_ways_of_distributing_that_cannot_work_are_refused(
    inner: Make, options: tuple[str, ...], words: str
) -> None:
    scene = inner({"test_it.py": "def test(): open('ran', 'w')"})
    result = scene.dogfood(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()
    assert not (scene.path / "ran").exists()


def test_workers_that_are_like_this_process_may_be_named_and_given_an_environment(inner: Make) -> None:
    scene = inner(CHAIN)
    result = scene.dogfood(
        "--dist=load", "--tx=popen//id=one", "--tx=1*popen//env:COLOUR=blue", "-k", "build or plain"
    )
    assert result.ret == 0, result.stdout.str() + result.stderr.str()


def test_it_works_without_xdist(inner: Make) -> None:
    assert inner(CHAIN).dogfood("-k", "build or plain", without=["xdist"]).ret == 0


def test_neighbours_work_together(inner: Make) -> None:
    scene = inner(CHAIN)
    root = f"dogfood_state_root={scene.state_root}"
    result = scene.typed("--dogfood", "-o", root, "-n2", "--reruns=1", "--timeout=30", "--cov=.", "-rA")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert len(passed(result)) == 9
