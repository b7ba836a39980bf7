"""Fixtures that provide tokens: the token holds exactly while the fixture is set up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dogfood import provides

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

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


def told(result: pytest.RunResult) -> dict[str, str]:
    """Return the last part of each node id in the short summary with the word said of it.

    Skips are not listed there.
    """
    words = ("PASSED", "FAILED", "ERROR", "XFAIL", "XPASS")
    found = (line.split(" ", 1) for line in result.outlines if line.startswith(words) and "::" in line)
    return {rest.partition(" - ")[0].partition("::")[2]: word for word, rest in found}


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


@pytest.mark.parametrize(
    "given, written", [((), "'token'"), ((["a", "b"],), "'a', 'b'"), ((print,), "'token'")]
)
def test_a_slip_in_provides_is_answered_with_what_to_write(given: Any, written: str) -> None:
    with pytest.raises(
        TypeError, match=rf"write @pytest_dogfood.provides\({written}\) above @pytest.fixture"
    ):
        provides(*given)


SEVERAL_BROWSERS = {
    "dogfood.yaml": "capabilities: {logged-in: {description: a session in the browser}}",
    "conftest.py": """
        import pytest

        import pytest_dogfood

        @pytest.fixture(scope="session")
        def browser_name(request):
            return getattr(request, "param", "usual")

        def pytest_generate_tests(metafunc):
            if "page" in metafunc.fixturenames:
                metafunc.parametrize("browser_name", ["here", "there"], indirect=True, scope="session")

        @pytest.fixture(scope="session")
        def browser(browser_name):
            yield {"name": browser_name, "sessions": []}

        @pytest.fixture
        def page(browser):
            return browser

        @pytest_dogfood.provides("logged-in")
        @pytest.fixture(scope="session")
        def login(browser):
            browser["sessions"].append("ada")
            return {"by": browser["name"]}
    """,
    "a.journey.yaml": """
        journeys:
          - {id: shell, requires: [logged-in], steps: [run: test "$DOGFOOD_LOGGED_IN_BY" = usual]}
    """,
    "test_pages.py": """
        import pytest

        @pytest.mark.requires("logged-in")
        @pytest.mark.parametrize("number", [1, 2])
        def test_page(number, capabilities, page):
            assert page["sessions"] == ["ada"]
            assert capabilities["logged-in"]["by"] == page["name"]
    """,
}


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_provider_that_is_set_up_anew_for_other_parameters_provides_first(
    inner: Make, workers: str
) -> None:
    result = inner(SEVERAL_BROWSERS).dogfood(workers, "-rA")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    names = ("here-1", "here-2", "there-1", "there-2")
    assert told(result) == {"shell": "PASSED", **{f"test_page[{name}]": "PASSED" for name in names}}
