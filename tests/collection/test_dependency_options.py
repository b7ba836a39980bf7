"""What goes with dependency marks: options of the original, mistakes in marks, crashes, selections, and being off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from tests.collection.test_dependency_marks import told

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

INI = "[pytest]\ndogfood_dependency_markers = true\n"
STORY = """
    import os
    import pytest
    from pytest_dogfood import depends

    STEPS = []

    @pytest.mark.dependency(name="the beginning")
    def test_begin():
        STEPS.append("begin")

    @pytest.mark.dependency(depends=["the beginning"])
    def test_middle():
        assert STEPS == ["begin"]
        assert "FAIL" not in os.environ
        if "DIE" in os.environ:
            os._exit(1)
        STEPS.append("middle")

    @pytest.mark.dependency(depends=["the beginning"])
    def test_end():
        assert "FAIL" in os.environ or STEPS[-1] == "middle"

    def test_coda(request):
        depends(request, ["test_end"])
"""
STORY_TOLD = {
    "test_story.py::test_begin": "PASSED",
    "test_story.py::test_middle": "PASSED",
    "test_story.py::test_end": "PASSED",
    "test_story.py::test_coda": "PASSED",
}


@pytest.fixture(scope="module")
def story(inner: Make) -> Inner:
    return inner({"pytest.ini": INI, "test_story.py": STORY})


def test_what_depends_is_skipped_where_nobody_goes_by_the_marks(story: Inner) -> None:
    result = story.typed("-v", "-p", "no:dependency", "-p", "no:randomly", "--strict-markers")
    assert told(result) == STORY_TOLD | {
        "test_story.py::test_middle": "SKIPPED",
        "test_story.py::test_end": "SKIPPED",
        "test_story.py::test_coda": "SKIPPED",
    }
    result.stdout.fnmatch_lines(
        ["dogfood: off, because there is no --dogfood; nothing reads the dependency marks"]
    )


def test_without_dogfood_our_function_asks_the_original(story: Inner) -> None:
    assert told(story.typed("-v", "-p", "no:randomly")) == STORY_TOLD


def test_a_project_that_has_not_opted_in_keeps_the_original(story: Inner) -> None:
    result = story.dogfood("-v", "-o", "dogfood_dependency_markers=false")
    assert told(result) == STORY_TOLD
    assert "dependency marks" not in result.stdout.str()


def test_last_failed_tests_bring_what_they_need_and_stay_in_order(
    story: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "1")
    story.dogfood()
    expected = [
        ("test_story.py::test_begin", "PASSED"),
        ("test_story.py::test_middle", "FAILED"),
        ("test_story.py::test_end", "PASSED"),
        ("test_story.py::test_coda", "PASSED"),
    ]
    assert list(told(story.dogfood("-v", "--lf")).items()) == expected[:2]
    assert list(told(story.dogfood("-v", "--ff")).items()) == expected


def test_what_a_dead_worker_knew_is_not_taken_for_known(
    story: Inner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE", "1")
    result = story.dogfood("-n1", "-rA")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED test_story.py::test_begin",
            "FAILED test_story.py::test_middle*",
            "harness: test_story.py::test_begin has not passed in this process, and what *",
            "dogfood: 4 tests = 1 passed + 1 failed + 1 error + 1 deferred (1 cause); *",
        ]
    )


def test_names_are_shown_as_they_were_given(story: Inner) -> None:
    story.dogfood("--junitxml=junit.xml", "-k", "middle")
    assert '"dogfood.requires" value="test_story.py::the beginning"' in (story.path / "junit.xml").read_text()


FAR = {
    "pytest.ini": INI + "automark_dependency = true\n",
    "test_a.py": "def test_first(): pass\n",
    "test_b.py": """
        import pytest

        def test_unmarked():
            raise AssertionError

        @pytest.mark.dependency(depends=["test_a.py::test_first"], scope="session")
        def test_far():
            pass

        @pytest.mark.dependency(depends=["test_unmarked", "test_nobody"])
        def test_near():
            pass

        @pytest.mark.dependency(depends=["test_nobody"])
        def test_lost():
            pass
    """,
}


@pytest.fixture(scope="module")
def far(inner: Make) -> Inner:
    return inner(FAR)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("test_b.py",),
        ("--ignore-unknown-dependency",),
        ("--ignore-unknown-dependency", "-k", "test_far or test_near"),
        ("--ignore-unknown-dependency", "test_b.py"),
    ],
)
def test_the_options_of_the_original_mean_the_same(far: Inner, arguments: tuple[str, ...]) -> None:
    original = far.typed("-v", "-p", "no:randomly", *arguments)
    with_it = far.dogfood("-v", *arguments)
    assert told(original)
    assert told(with_it) == told(original)


def test_the_options_of_the_original_are_known_without_it(far: Inner) -> None:
    result = far.dogfood("-v", "--strict-config", "--ignore-unknown-dependency", without=["dependency"])
    assert told(result) == {
        "test_a.py::test_first": "PASSED",
        "test_b.py::test_unmarked": "FAILED",
        "test_b.py::test_far": "PASSED",
        "test_b.py::test_near": "SKIPPED",
        "test_b.py::test_lost": "PASSED",
    }


def test_a_file_that_was_not_collected_is_named(far: Inner) -> None:
    far.dogfood("test_b.py").stdout.fnmatch_lines(
        ["deferred: 1 test, because 'test_a.py::test_first' *; nothing of test_a.py was collected: *"]
    )


MISTAKEN = """
    import pytest

    @pytest.mark.dependency(depends=["test_typo"], scope="modul")
    def test_scope(): pass

    @pytest.mark.dependency(depends=["test_scope"], scope="class")
    def test_no_class(): pass

    @pytest.mark.dependency(depends=["test_scope"], scope="package")
    def test_no_package(): pass

    @pytest.mark.dependency(depends=True)
    def test_no_list(): pass

    @pytest.mark.dependency("test_scope", depend=["test_scope"])
    def test_warnings(): pass

    @pytest.mark.dependency(depends=["test_scop"])
    def test_nearly(): pass

    @pytest.mark.dependency(depends=["test_scope"], scope=["module"])
    def test_list_of_scopes(): pass
"""


@pytest.fixture(scope="module")
def mistaken(inner: Make) -> Inner:
    return inner({"pytest.ini": INI, "test_it.py": MISTAKEN})


def test_marks_that_cannot_be_meant_are_found_before_anything_runs(mistaken: Inner) -> None:
    result = mistaken.dogfood("-n0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*test_it.py:4: test_it.py::test_scope: 'modul' is not a scope of a dependency [[]bad-dependency-mark]",
            "*hint: did you mean 'module'?",
            "test_it.py:7: *its class, but it is not in a class *",
            "test_it.py:10: *its package, but it is not in a package *",
            "test_it.py:13: *depends=True is not a list of names *",
            "test_it.py:22: *[[]'module'] is not a scope of a dependency *",
        ]
    )


def test_the_check_warns_of_what_will_be_skipped(mistaken: Inner) -> None:
    result = mistaken.dogfood("--dogfood-check")
    result.stdout.fnmatch_lines_random(
        [
            "warning: test_it.py:16: *the dependency mark takes keywords, not 'test_scope' [[]bad-dependency-mark]",
            "warning: test_it.py:16: *the dependency mark has no keyword 'depend' [[]bad-dependency-mark]",
            "warning: test_it.py:19: *: 'test_scop' is not *; did you mean 'test_scope'? [[]unknown-dependency]",
        ]
    )


SORTING = """
    import pytest

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items):
        items.sort(key=lambda item: item.get_closest_marker("order").args)
"""
SORTED = """
    import pytest

    MADE = []

    @pytest.mark.order(3)
    @pytest.mark.dependency(depends=["test_make"])
    def test_delete():
        MADE.remove(1)

    @pytest.mark.order(1)
    @pytest.mark.dependency()
    def test_make():
        MADE.append(1)

    @pytest.mark.order(2)
    @pytest.mark.dependency(depends=["test_make"])
    def test_read():
        assert MADE == [1]
"""


def test_who_sorts_tests_is_obeyed(inner: Make) -> None:
    ini = f"{INI}markers = order(number): a place\n"
    scene = inner({"pytest.ini": ini, "conftest.py": SORTING, "test_it.py": SORTED})
    assert list(told(scene.dogfood("-v", "-n2", "--randomly-seed=7")).items()) == [
        ("test_it.py::test_make", "PASSED"),
        ("test_it.py::test_read", "PASSED"),
        ("test_it.py::test_delete", "PASSED"),
    ]


def test_a_test_may_depend_on_tests_and_on_tokens(inner: Make) -> None:
    files = {
        "pytest.ini": INI,
        "a.journey.yaml": "{journeys: [{id: build, establishes: [built], steps: [run: 'true']}]}",
        "test_it.py": """
            import pytest

            @pytest.mark.requires("built")
            @pytest.mark.dependency()
            def test_first(): pass

            @pytest.mark.dependency(depends=["test_first"])
            def test_then(dogfood_state): pass
        """,
    }
    result = inner(files).dogfood("-v", "-k", "test_then")
    assert told(result) == {"test_it.py::test_first": "PASSED", "test_it.py::test_then": "PASSED"}
    result.stdout.fnmatch_lines(["dogfood: 2 tests = 2 passed; 3 tokens: *"])
