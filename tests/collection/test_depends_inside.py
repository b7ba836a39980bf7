"""A test may import `depends` of pytest-dependency wherever it likes; it still comes after what it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Inner

Make = Callable[[Mapping[str, str]], "Inner"]

MARKED = """
    import time

    import pytest


    @pytest.mark.dependency()
    def test_a():
        time.sleep(0.3)

"""
IN_A_TEST = """
    def test_asks(request):
        from pytest_dependency import depends

        depends(request, ["test_a"])
"""
UNDER_ANOTHER_NAME = """
    def test_asks(request):
        from pytest_dependency import depends as need

        need(request, ["test_a"])
"""
OF_THE_MODULE = """
    def test_asks(request):
        import pytest_dependency

        pytest_dependency.depends(request, ["test_a"])
"""
OF_OURS = """
    def test_asks(request):
        from pytest_dogfood import depends

        depends(request, ["test_a"])
"""
BY_NAME = """
    def test_asks(request):
        import importlib

        importlib.import_module("pytest_dependency").depends(request, ["test_a"])
"""
IN_A_FIXTURE = """
    @pytest.fixture
    def asking(request):
        from pytest_dependency import depends

        depends(request, ["test_a"])

    def test_asks(asking):
        pass
"""
IN_A_METHOD = """
    class TestAsking:
        def test_asks(self, request):
            from pytest_dependency import depends

            depends(request, ["test_a"])
"""
IN_A_FUNCTION_WITHIN = """
    def test_asks(request):
        def need(name):
            from pytest_dependency import depends

            depends(request, [name])

        need("test_a")
"""
IN_A_CONFTEST_FILE = """
    def test_asks(needs_a):
        pass
"""
CONFTEST = """
    import pytest

    @pytest.fixture
    def needs_a(request):
        from pytest_dependency import depends

        depends(request, ["test_a"])
"""
WAYS = {
    "test_in_a_test.py": MARKED + IN_A_TEST,
    "test_under_another_name.py": MARKED + UNDER_ANOTHER_NAME,
    "test_of_the_module.py": MARKED + OF_THE_MODULE,
    "test_of_ours.py": MARKED + OF_OURS,
    "test_by_name.py": MARKED + BY_NAME,
    "test_in_a_fixture.py": MARKED + IN_A_FIXTURE,
    "test_in_a_method.py": MARKED + IN_A_METHOD,
    "test_in_a_function_within.py": MARKED + IN_A_FUNCTION_WITHIN,
    "test_in_a_conftest_file.py": MARKED + IN_A_CONFTEST_FILE,
}


@pytest.fixture(scope="module")
def suite(inner: Make) -> Inner:
    return inner(
        {"pytest.ini": "[pytest]\ndogfood_dependency_markers = true\n", "conftest.py": CONFTEST, **WAYS}
    )


@pytest.mark.parametrize("arguments", [("-n0",), ("-n2",), ("--randomly-seed=1",)])
def test_what_asks_runs_after_what_it_asks_for(suite: Inner, arguments: tuple[str, ...]) -> None:
    suite.dogfood(*arguments).assert_outcomes(passed=2 * len(WAYS))


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_it_asks_for_comes_back_into_a_selection(suite: Inner, workers: str) -> None:
    suite.dogfood(workers, "-k", "asks").assert_outcomes(passed=2 * len(WAYS))
