"""Python tests stand in the same graph as journeys: marks, fixtures of ours, and fixtures that provide."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Inner

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
        steps: [run: 'test "$DOGFOOD_BY_FUNCTION_PORT-$DOGFOOD_BY_FUNCTION_NAME" = 8080-shop && test -f "$DOGFOOD_STATE/by-function"']
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
    """Give the last part of each node id in the short summary with the word said of it; skips are not listed there."""
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
    ran.stdout.fnmatch_lines(["SKIPPED*test_a_dependents.py*deferred: *TestHalf::test_two failed*"])


def test_asking_at_run_time_is_deferred_by_the_root_cause(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["SKIPPED*test_a_dependents.py*deferred: fails failed*"])


def test_asking_for_an_unknown_token_is_an_error_that_says_so(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["*harness: 'by-nobody' is unknown*"])


def test_tests_outside_the_graph_are_not_counted_as_journeys(ran: pytest.RunResult) -> None:
    ran.stdout.fnmatch_lines(["dogfood: 22 journeys = *; 0 unaccounted*"])


@pytest.fixture(scope="module")
def graph(inner: Make) -> Inner:
    return inner(FILES | {"dogfood.yaml": DEFINITIONS.replace("      by-fixture: {}\n", "")})


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_deselected_python_test_comes_back_as_a_prerequisite(graph: Inner, workers: str) -> None:
    result = graph.dogfood(workers, "-rA", "-k", "test_values or after-python")
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


def test_a_python_test_that_is_not_collected_cannot_come_back(graph: Inner) -> None:
    result = graph.dogfood("-rA", "test_a_dependents.py::test_values")
    assert told(result) == {"test_values": "ERROR"}
    result.stdout.fnmatch_lines(["*'by-function'*not present*"])


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


PROVIDERS = """
    import pytest

    import pytest_dogfood

    def note(text):
        with open("notes", "a") as notes:
            print(text, file=notes)

    @pytest_dogfood.provides("for-the-function")
    @pytest.fixture
    def function_provider():
        note("function up")
        yield {"port": 8080, "name": "shop", "object": object()}
        note("function down")

    @pytest.fixture(scope="module")
    @pytest_dogfood.provides("for-the-module")
    def module_provider():
        note("module up")
        yield
        note("module down")

    @pytest_dogfood.provides("for-the-session")
    @pytest.fixture(scope="session")
    def session_provider():
        note("session up")
        return {"url": "http://localhost"}

    @pytest_dogfood.provides("skipping")
    @pytest.fixture
    def skipping_provider():
        pytest.skip("no such machine")

    @pytest_dogfood.provides("raising")
    @pytest.fixture
    def raising_provider():
        raise RuntimeError("no power")

    @pytest_dogfood.provides("two-a", "two-b")
    @pytest.fixture
    def two_provider():
        note("two up")

    @pytest_dogfood.provides("denied")
    @pytest.fixture
    def denied_provider():
        pass
"""
PROVIDED = {
    "dogfood.yaml": """
        capabilities:
          for-the-function: {}
          for-the-module: {}
          for-the-session: {}
          for-the-class: {}
          skipping: {}
          raising: {}
          two-a: {}
          two-b: {}
          denied: {probe: "false"}
    """,
    "conftest.py": PROVIDERS,
    "a.journey.yaml": """
        journeys:
          - id: function-1
            requires: [for-the-function]
            steps: [run: 'test "$DOGFOOD_FOR_THE_FUNCTION_PORT$DOGFOOD_FOR_THE_FUNCTION_NAME" = 8080shop']
          - {id: function-2, requires: [for-the-function], steps: [run: "true"]}
          - {id: module-1, requires: [for-the-module], steps: [run: "true"]}
          - {id: module-2, requires: [for-the-module], steps: [run: "true"]}
          - id: session-1
            requires: [for-the-session]
            steps: [run: 'test "$DOGFOOD_FOR_THE_SESSION_URL" = http://localhost']
          - {id: skipping-1, requires: [skipping], steps: [run: touch "$DOGFOOD_ROOT/ran"]}
          - {id: raising-1, requires: [raising], steps: [run: touch "$DOGFOOD_ROOT/ran"]}
          - {id: two, requires: [two-a, two-b], steps: [run: "true"]}
          - {id: denied-1, requires: [denied], steps: [run: touch "$DOGFOOD_ROOT/ran"]}
    """,
    "test_z.py": """
        import pytest

        import pytest_dogfood

        @pytest.mark.requires("for-the-session")
        def test_session(capabilities):
            assert capabilities["for-the-session"] == {"url": "http://localhost"}

        @pytest.mark.requires("for-the-function")
        def test_function(capabilities):
            assert capabilities["for-the-function"] == {"port": "8080", "name": "shop"}

        class TestIt:
            @pytest_dogfood.provides("for-the-class")
            @pytest.fixture
            def class_provider(self):
                return {"here": "yes"}

            @pytest.mark.requires("for-the-class")
            def test_class(self, capabilities):
                assert capabilities["for-the-class"] == {"here": "yes"}

        @pytest.mark.requires("for-the-class")
        def test_out_of_reach():
            raise AssertionError("must not run")
    """,
}


@pytest.fixture(scope="module")
def provided(inner: Make) -> tuple[pytest.RunResult, list[str]]:
    scene = inner(PROVIDED)
    result = scene.dogfood("-rA", "-v")
    return result, (scene.path / "notes").read_text(encoding="utf-8").splitlines()


def test_fixtures_provide_for_journeys_and_tests(provided: tuple[pytest.RunResult, list[str]]) -> None:
    assert told(provided[0]) == {
        "function-1": "PASSED",
        "function-2": "PASSED",
        "module-1": "PASSED",
        "module-2": "PASSED",
        "session-1": "PASSED",
        "raising-1": "ERROR",
        "two": "PASSED",
        "denied-1": "ERROR",
        "test_session": "PASSED",
        "test_function": "PASSED",
        "TestIt::test_class": "PASSED",
        "test_out_of_reach": "ERROR",
    }


def test_a_token_holds_exactly_while_its_fixture_is_set_up(
    provided: tuple[pytest.RunResult, list[str]],
) -> None:
    notes = provided[1]
    assert notes.count("function up") == notes.count("function down") == 3
    assert notes.count("module up") == notes.count("module down") == 1
    assert notes.count("session up") == 1
    assert notes.count("two up") == 1


def test_a_fixture_that_skips_skips_what_needs_it(provided: tuple[pytest.RunResult, list[str]]) -> None:
    provided[0].stdout.fnmatch_lines(["SKIPPED*no such machine"])


def test_a_fixture_that_raises_says_so(provided: tuple[pytest.RunResult, list[str]]) -> None:
    provided[0].stdout.fnmatch_lines(["*RuntimeError: no power"])


def test_a_fixture_whose_token_is_not_there_is_an_error(
    provided: tuple[pytest.RunResult, list[str]],
) -> None:
    provided[0].stdout.fnmatch_lines(["*'denied' is still not present after fixture denied_provider*"])


def test_a_fixture_out_of_reach_is_named(provided: tuple[pytest.RunResult, list[str]]) -> None:
    provided[0].stdout.fnmatch_lines(["*'for-the-class' is provided by fixture 'class_provider'*cannot see*"])


def test_fixtures_that_provided_are_named_in_the_summary(
    provided: tuple[pytest.RunResult, list[str]],
) -> None:
    provided[0].stdout.fnmatch_lines(["provisioned for-the-function once by fixture function_provider*"])


def test_a_fixture_torn_down_by_x_takes_its_token_along(inner: Make) -> None:
    scene = inner(
        {
            "dogfood.yaml": "capabilities: {for-the-session: {}, for-the-module: {}, for-the-function: {}}",
            "conftest.py": PROVIDERS,
            "a.journey.yaml": """
                journeys:
                  - {id: a, requires: [for-the-module], steps: [run: "false"]}
                  - {id: b, requires: [for-the-module], steps: [run: "true"]}
            """,
        }
    )
    result = scene.dogfood("-x", "-rA")
    assert told(result) == {"a": "FAILED"}
    assert (scene.path / "notes").read_text(encoding="utf-8").split("\n")[:-1] == ["module up", "module down"]


def test_provides_wants_tokens() -> None:
    from pytest_dogfood import provides

    with pytest.raises(TypeError, match="name the tokens"):
        provides()


def test_our_fixtures_can_be_planned_without_a_run(graph: Inner) -> None:
    result = graph.dogfood("--setup-plan", "-k", "test_values or test_function")
    assert result.ret == 0, result.stdout.str()
