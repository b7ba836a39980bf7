"""pytest's own options keep their meaning on journeys, in one process and on workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

SHOP = {
    "pytest.ini": "[pytest]\nmarkers =\n    slow: takes long\n",
    "conftest.py": """
        import pytest

        @pytest.fixture
        def shop():
            yield
    """,
    "shop.journey.yaml": """
        journeys:
          - {id: build, establishes: [built], steps: [run: touch "$DOGFOOD_STATE/built"]}
          - id: sell
            requires: [built]
            steps:
              - {intent: look around, run: echo looked around}
              - {intent: buy something, run: echo no money; exit 3}
          - id: close
            use: shop
            marks: [slow]
            requires: [built]
            steps: [run: test -f "$DOGFOOD_STATE/built"]
          - {id: audit, marks: [slow], steps: [run: test ! -f "$DOGFOOD_ROOT/wrong"]}
    """,
}
ALL = ["audit", "build", "close"]


@pytest.fixture(scope="module")
def shop(inner: Make) -> Inner:
    return inner(SHOP)


@pytest.fixture
def own_shop(inner: Make) -> Inner:
    return inner(SHOP)


def told(result: pytest.RunResult, word: str) -> list[str]:
    """Return the names of the journeys of which the short summary says `word`."""
    found = (line for line in result.outlines if line.startswith(f"{word} shop.journey.yaml::"))
    return sorted(line.split("::")[1].split(" ")[0] for line in found)


def test_k_selects_by_name_and_provisions_the_rest(shop: Inner) -> None:
    result = shop.dogfood("-n0", "-rA", "-k", "close")
    assert told(result, "PASSED") == ["close"]
    result.stdout.fnmatch_lines(["provisioned built once by replaying build*for close*"])


def test_m_selects_by_mark(shop: Inner) -> None:
    assert told(shop.dogfood("-n2", "-rA", "-m", "slow"), "PASSED") == ["audit", "close"]


def test_m_deselects_by_mark(shop: Inner) -> None:
    assert told(shop.dogfood("-rA", "-m", "not slow"), "PASSED") == ["build"]


@pytest.mark.parametrize("stop", ["-x", "--maxfail=1"])
def test_a_run_stops_at_the_first_failure(shop: Inner, stop: str) -> None:
    result = shop.dogfood(stop, "-rA")
    assert told(result, "FAILED") == ["sell"]
    assert told(result, "PASSED") == ["build"]
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_a_run_on_workers_stops_at_the_first_failure_too(inner: Make) -> None:
    later = "".join(f"  - {{id: later-{n}, requires: [never], steps: [run: 'true']}}\n" for n in range(3))
    result = inner(
        {
            "a.journey.yaml": "journeys:\n"
            "  - {id: bad, tier: smoke, gating: true, establishes: [never], steps: [run: 'false']}\n" + later
        }
    ).dogfood("-n2", "-x", "-rA")
    assert result.ret != 0
    assert "later-0" not in "\n".join(line for line in result.outlines if line.startswith("PASSED"))


def test_last_failed_runs_only_that_in_its_state(own_shop: Inner) -> None:
    own_shop.dogfood("-n0")
    result = own_shop.dogfood("--lf", "-n0", "-rA")
    assert told(result, "FAILED") == ["sell"]
    assert told(result, "PASSED") == []
    result.stdout.fnmatch_lines(["provisioned built once by replaying build*"])


def test_failed_first_comes_as_early_as_the_graph_allows(own_shop: Inner) -> None:
    own_shop.write({"wrong": ""})
    own_shop.dogfood("--deselect", "shop.journey.yaml::sell")
    result = own_shop.dogfood("--ff", "-v")
    started = [
        line.split("::")[1].split(" ")[0]
        for line in result.outlines
        if line.startswith("shop.journey.yaml::")
    ]
    assert started[0] == "audit"
    assert started.index("build") < started.index("sell")


def test_stepwise_stops_and_goes_on_from_there(own_shop: Inner) -> None:
    first = own_shop.dogfood("--sw", "-rA")
    assert told(first, "FAILED") == ["sell"]
    second = own_shop.dogfood("--sw", "-rA")
    assert told(second, "PASSED") == []
    assert told(second, "FAILED") == ["sell"]


def test_collect_only_lists_node_ids_and_writes_nothing(shop: Inner) -> None:
    result = shop.dogfood("--co", "-q", "-n2")
    assert result.ret == 0
    assert [line for line in result.outlines if "::" in line] == [
        f"shop.journey.yaml::{name}" for name in ("build", "sell", "close", "audit")
    ]
    assert "dogfood: this run measured" not in result.stdout.str()


def test_setup_plan_runs_nothing(own_shop: Inner) -> None:
    own_shop.write({"wrong": ""})
    result = own_shop.dogfood("--setup-plan", "-n2", "-v")
    assert result.ret == 0, result.stdout.str()
    assert "measured" not in result.stdout.str()


def test_setup_plan_shows_the_fixtures_of_journeys(shop: Inner) -> None:
    result = shop.dogfood("--setup-plan")
    result.stdout.fnmatch_lines(["*SETUP    F shop", "*shop.journey.yaml::close*shop*"])


def test_setup_show_shows_the_fixtures_of_journeys(shop: Inner) -> None:
    result = shop.dogfood("--setup-show", "-k", "close")
    result.stdout.fnmatch_lines(["*SETUP    F shop", "*shop.journey.yaml::close*shop*", "*TEARDOWN F shop"])


def test_pdb_opens_at_a_failed_journey_and_goes_on(shop: Inner) -> None:
    result = shop.dogfood("--pdb", stdin="c\nc\n")
    result.stdout.fnmatch_lines(["*(Pdb)*", "dogfood: 4 journeys = 3 passed + 1 failed*"])


STOPS = {
    "dogfood.yaml": """
        capabilities:
          made: {provision: [echo making, exit 4]}
          shown: {probe: "false"}
    """,
    "a.journey.yaml": """
        journeys:
          - id: fails
            steps:
              - run: touch seen
              - run: exit 3
          - {id: claims, establishes: [shown], steps: ["true"]}
          - {id: lacks, requires: [made], steps: ["true"]}
          - id: is-stopped
            steps:
              - run: "true"
              - intent: wait
                run: echo so far; kill -INT $PPID; sleep 20
    """,
    "test_it.py": """
        import os, signal, pytest

        @pytest.mark.requires("made")
        def test_lacks():
            pass

        @pytest.mark.establishes("a")
        def test_asks(capabilities):
            capabilities["b"]

        @pytest.mark.establishes("c")
        def test_is_stopped():
            os.kill(os.getpid(), signal.SIGINT)
    """,
}


def test_pdb_opens_in_the_files_of_the_project_and_never_in_ours(inner: Make) -> None:
    scene = inner(STOPS)
    result = scene.dogfood("--pdb", "-pno:randomly", stdin="p workdir\nc\n" * 7)
    opened = [line.split("(Pdb)")[0] for line in result.outlines if line.startswith("> /")]
    assert [line.removeprefix(f"> {scene.path}/") for line in opened] == [
        "a.journey.yaml(6)fails()",
        "a.journey.yaml(7)claims()",
        "a.journey.yaml(8)lacks()",
        "a.journey.yaml(12)is-stopped()",
        "test_it.py(4)test_lacks()",
        "test_it.py(10)test_asks()",
        "test_it.py(14)test_is_stopped()",
    ]
    result.stdout.fnmatch_lines(["(Pdb) PosixPath('*/fails-w0-main')"])


def test_ctrl_c_under_pdb_names_the_step_that_was_running_and_the_run_goes_on(inner: Make) -> None:
    result = inner(STOPS).dogfood("--pdb", "-k", "is-stopped or claims", stdin="c\nc\n")
    result.stdout.fnmatch_lines(
        [
            "interrupted by SIGINT after * s: is-stopped: step 2 (wait)",
            "  step 2 (wait): running for * s",
            "  at:       a.journey.yaml:12:*",
            "  so far",
            "*(Pdb)*",
        ]
    )
    result.stdout.fnmatch_lines(["dogfood: 2 journeys = 1 failed + 1 error; *"])


@pytest.mark.parametrize("style", ["line", "native"])
def test_no_style_of_traceback_shows_the_framework(shop: Inner, style: str) -> None:
    text = shop.dogfood(f"--tb={style}").stdout.str()
    assert "shop.journey.yaml:8:" in text
    assert "pytest_dogfood/" not in text


def test_no_traceback_at_all_leaves_the_summary(shop: Inner) -> None:
    result = shop.dogfood("--tb=no")
    assert "buy something" not in result.stdout.str()
    result.stdout.fnmatch_lines(
        ["FAILED shop.journey.yaml::sell - exit 3, expected 0: echo no money; exit 3"]
    )


def test_quiet_still_says_what_adds_up(shop: Inner) -> None:
    result = shop.dogfood("-qq")
    result.stdout.fnmatch_lines(["dogfood: 4 journeys = 3 passed + 1 failed; 1 token*"])


def test_durations_name_journeys(shop: Inner) -> None:
    result = shop.dogfood("--durations=0", "-vv", "-k", "audit")
    result.stdout.fnmatch_lines(["*s call * shop.journey.yaml::audit"])


def test_junit_names_the_file_of_a_journey(shop: Inner) -> None:
    shop.dogfood("--junitxml=out.xml", "-k", "audit")
    text = (shop.path / "out.xml").read_text(encoding="utf-8")
    assert 'classname="shop.journey' in text
    assert 'name="audit"' in text


def test_without_the_plugin_the_option_is_unknown(shop: Inner) -> None:
    result = shop.typed("-p", "no:dogfood", "--dogfood")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_without_the_plugin_nothing_is_collected(shop: Inner) -> None:
    assert shop.typed("-p", "no:dogfood").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("plugin", ["cacheprovider", "terminal", "capture"])
def test_plugins_can_be_left_out(shop: Inner, plugin: str) -> None:
    result = shop.dogfood("-k", "close or audit", without=[plugin])
    assert result.ret == 0, result.stdout.str() + result.stderr.str()


def test_ini_can_switch_it_on(inner: Make) -> None:
    scene = inner({**SHOP, "pytest.ini": "[pytest]\ndogfood = true\nmarkers =\n    slow: takes long\n"})
    result = scene.typed("-k", "audit", "-o", f"dogfood_state_root={scene.state_root}")
    result.stdout.fnmatch_lines(["dogfood: 1 journey = 1 passed; 0 tokens"])


def test_deselected_journeys_are_counted_by_pytest(shop: Inner) -> None:
    result = shop.dogfood("--deselect", "shop.journey.yaml::sell")
    result.stdout.fnmatch_lines(["*3 passed, 1 deselected*"])


def test_ignored_files_are_not_read(inner: Make) -> None:
    result = inner({**SHOP, "broken.journey.yaml": "{"}).dogfood(
        "--ignore=broken.journey.yaml", "-k", "audit"
    )
    assert result.ret == 0, result.stderr.str()
