"""Python tests stand in the same graph as journeys: marks, fixtures of ours, and fixtures that provide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]
Told = dict[str, str]

DEFINITIONS = """
    capabilities:
      by-function: {probe: test -f "$DOGFOOD_STATE/by-function"}
      by-parametrised: {}
      by-class: {}
      by-half-a-class: {}
      by-module: {}
      by-alias: {}
      by-fixture: {}
      by-journey-for-python: {}
"""
ESTABLISHERS = """
    import pytest

    @pytest.mark.establishes("by-function")
    def test_function(dogfood_state, capabilities):
        (dogfood_state / "by-function").touch()
        capabilities.save(port=8080, name="shop")

    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.establishes("by-parametrised")
    def test_parametrised(number):
        pass

    @pytest.mark.establishes("by-class")
    class TestWhole:
        def test_one(self):
            pass

        def test_two(self):
            pass

    @pytest.mark.establishes("by-half-a-class")
    class TestHalf:
        def test_one(self):
            pass

        def test_two(self):
            assert not "today"

    @pytest.mark.dogfood_establishes("by-alias")
    def test_alias():
        pass
"""
DEPENDENTS = """
    import pytest

    @pytest.mark.requires("by-function")
    def test_values(capabilities):
        assert capabilities["by-function"] == {"port": "8080", "name": "shop"}

    @pytest.mark.requires("by-parametrised", "by-class", "by-module")
    def test_all_of_many():
        pass

    @pytest.mark.requires("by-half-a-class")
    def test_half():
        raise AssertionError("must not run")

    @pytest.mark.dogfood_requires("by-alias")
    class TestAlias:
        def test_method(self):
            pass

    @pytest.mark.requires("by-journey-for-python")
    def test_after_a_journey(capabilities, dogfood_state):
        assert capabilities["by-journey-for-python"]["tag"] == "v1"
        assert (dogfood_state / "tag").read_text() == "v1\\n"

    def test_asks_when_it_runs(capabilities):
        assert capabilities.require("by-journey-for-python")["tag"] == "v1"

    def test_asks_in_vain(capabilities):
        capabilities.require("by-nobody")
        raise AssertionError("must not run")

    def test_asks_for_what_failed(capabilities):
        capabilities.require("fails-always")
        raise AssertionError("must not run")

    def test_reads_without_asking(capabilities):
        with pytest.raises(KeyError, match="not required by this test"):
            capabilities["by-function"]

    def test_plain(tmp_path):
        pass
"""
JOURNEYS = """
    journeys:
      - id: journey-for-python
        establishes: [by-journey-for-python]
        steps:
          - run: echo v1 | tee "$DOGFOOD_STATE/tag"
            save: {tag: {stdout: "(.+)"}}
      - id: after-python
        requires: [by-function]
        steps:
          - run: test "$DOGFOOD_BY_FUNCTION_PORT-$DOGFOOD_BY_FUNCTION_NAME" = 8080-shop
          - run: test -f "$DOGFOOD_STATE/by-function"
      - id: fails
        establishes: [fails-always]
        steps: [run: "false"]
"""
MODULE = """
    import pytest

    pytestmark = pytest.mark.establishes("by-module")

    def test_one():
        pass

    def test_two():
        pass
"""
FILES = {
    "dogfood.yaml": DEFINITIONS,
    "test_b_establishers.py": ESTABLISHERS,
    "test_a_dependents.py": DEPENDENTS,
    "test_c_module.py": MODULE,
    "graph.journey.yaml": JOURNEYS,
}


def told(result: pytest.RunResult) -> Told:
    """Return the last part of each node id in the short summary with the word said of it.

    Skips are not listed there.
    """
    words = ("PASSED", "FAILED", "ERROR", "XFAIL", "XPASS")
    found = (line.split(" ", 1) for line in result.outlines if line.startswith(words) and "::" in line)
    return {rest.partition(" - ")[0].partition("::")[2]: word for word, rest in found}


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def ran(request: pytest.FixtureRequest, inner: Make) -> pytest.RunResult:
    return inner(
        {**FILES, "dogfood.yaml": DEFINITIONS.replace("by-fixture: {}", "by-fixture: {probe: 'true'}")}
    ).dogfood(request.param, "-rA")


def test_python_tests_and_journeys_form_one_graph(ran: pytest.RunResult) -> None:
    assert told(ran) == {
        "test_function": "PASSED",
        "test_parametrised[1]": "PASSED",
        "test_parametrised[2]": "PASSED",
        "TestWhole::test_one": "PASSED",
        "TestWhole::test_two": "PASSED",
        "TestHalf::test_one": "PASSED",
        "TestHalf::test_two": "FAILED",
        "test_alias": "PASSED",
        "test_values": "PASSED",
        "test_all_of_many": "PASSED",
        "TestAlias::test_method": "PASSED",
        "test_after_a_journey": "PASSED",
        "test_asks_when_it_runs": "PASSED",
        "test_asks_in_vain": "ERROR",
        "test_reads_without_asking": "PASSED",
        "test_plain": "PASSED",
        "test_one": "PASSED",
        "test_two": "PASSED",
        "journey-for-python": "PASSED",
        "after-python": "PASSED",
        "fails": "FAILED",
    }


def test_a_class_establishes_only_if_all_of_it_has_passed(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(
        [
            "SKIPPED*test_a_dependents.py*deferred: 'by-half-a-class' was not *, because *TestHalf::test_two failed*"
        ]
    )


def test_asking_at_run_time_is_deferred_by_the_root_cause(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(
        ["SKIPPED*test_a_dependents.py*deferred: 'fails-always' was not established, because fails failed*"]
    )


def test_asking_for_an_unknown_token_is_an_error_that_says_so(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["*harness: 'by-nobody' is unknown*"])


def test_tests_outside_the_graph_are_not_counted_as_journeys(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["dogfood: 3 journeys and 19 tests = *"])


@pytest.fixture(scope="module")
def graph(inner: Make) -> Inner:
    return inner(FILES | {"dogfood.yaml": DEFINITIONS.replace("      by-fixture: {}\n", "")})


def test_a_deselected_python_test_comes_back_as_a_prerequisite(graph: Inner) -> None:
    result = graph.dogfood("-n0", "-rA", "-k", "test_values or after-python")
    assert told(result) == {"test_function": "PASSED", "test_values": "PASSED", "after-python": "PASSED"}
    result.stdout.fnmatch_lines(["*prerequisite*test_function*"])


def test_every_member_of_what_establishes_comes_back(graph: Inner) -> None:
    result = graph.dogfood("-rA", "-k", "test_all_of_many")
    assert sorted(told(result)) == [
        "TestWhole::test_one",
        "TestWhole::test_two",
        "test_all_of_many",
        "test_one",
        "test_parametrised[1]",
        "test_parametrised[2]",
        "test_two",
    ]


def test_a_python_test_of_a_file_that_was_not_named_comes_back(graph: Inner) -> None:
    result = graph.dogfood("-rA", "test_a_dependents.py::test_values")
    assert told(result) == {"test_function": "PASSED", "test_values": "PASSED"}


def test_a_python_test_in_the_same_file_comes_back_to_a_node_id(inner: Make) -> None:
    files = {
        "dogfood.yaml": "capabilities: {here: {}}",
        "test_it.py": """
            import pytest

            @pytest.mark.establishes("here")
            def test_first():
                pass

            @pytest.mark.requires("here")
            def test_second():
                pass
        """,
    }
    result = inner(files).dogfood("-rA", "test_it.py::test_second")
    assert told(result) == {"test_first": "PASSED", "test_second": "PASSED"}


def test_our_fixtures_can_be_planned_without_a_run(graph: Inner) -> None:
    result = graph.dogfood("--setup-plan", "-k", "test_values or test_function")
    assert result.ret == 0, result.stdout.str()


SCOPES = {
    "test_it.py": """
        import shutil

        import pytest

        @pytest.fixture(scope="{scope}")
        def too_wide({fixture}):
            pass

        @pytest.fixture(scope="session")
        def built(tmp_path_factory):
            (path := tmp_path_factory.mktemp("built") / "a").touch()
            return path

        @pytest.fixture
        def copied(built, dogfood_state, capabilities):
            return shutil.copy(built, dogfood_state)

        def test_wide(too_wide):
            pass

        def test_copied(copied):
            pass
    """
}


@pytest.mark.parametrize("fixture", ["dogfood_state", "capabilities"])
@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_only_function_scoped_fixtures_can_use_those_of_ours(inner: Make, scope: str, fixture: str) -> None:
    text = SCOPES["test_it.py"].format(scope=scope, fixture=fixture)
    ran = inner({"dogfood.yaml": "", "test_it.py": text}).dogfood("-n0")
    ran.assert_outcomes(errors=1, passed=1)
    wanted = f"ScopeMismatch: You tried to access the function scoped fixture {fixture} *"
    ran.stdout.fnmatch_lines([wanted])
