"""Notices the day on which pytest no longer asks what journeys as items are built on."""

from __future__ import annotations

import types
from typing import Any, Literal

import pytest

from pytest_dogfood.collection.collector import scope_of_fixture
from tests.support.run_results import leaving_out

ASKED = """
    import types

    import pytest

    class FromElsewhere(pytest.Module):
        def _getobj(self):
            module = types.ModuleType("elsewhere")
            module.test_it = lambda: None
            module.test_it.__dict__["__test__"] = True
            return module

    def pytest_collect_file(file_path, parent):
        if file_path.suffix == ".elsewhere":
            return FromElsewhere.from_parent(parent, path=file_path)
"""


def test_pytest_asks_getobj_for_the_module_of_a_file(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(ASKED)
    pytester.makefile(".elsewhere", a="no Python")
    pytester.runpytest_inprocess(*leaving_out([]), "-rA").stdout.fnmatch_lines(
        ["PASSED a.elsewhere::test_it"]
    )


def test_getobj_is_documented_as_a_place_to_override() -> None:
    assert isinstance(pytest.Module._getobj, types.FunctionType)  # noqa: SLF001 - the one that we override
    assert issubclass(pytest.Module, pytest.Collector)


def test_a_fixture_put_first_among_an_items_names_is_set_up_first(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        class Late:
            @pytest.fixture
            def late(self):
                print("late is up")

        def pytest_collection_modifyitems(config, items):
            config.pluginmanager.register(Late(), "late")
            for item in items:
                item.fixturenames.insert(0, "late")

        @pytest.fixture(autouse=True, scope="session")
        def wide():
            print("wide is up")
        """
    )
    pytester.makepyfile("def test_it(tmp_path): print('test runs')")
    pytester.runpytest_inprocess(*leaving_out([]), "-s").stdout.fnmatch_lines(
        ["*late is up", "wide is up", "test runs*"]
    )


def test_the_place_of_a_failure_can_be_put_elsewhere(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport():
            report = yield
            if report.failed:
                report.longrepr.reprcrash.path = "shop.yaml"
                report.longrepr.reprcrash.lineno = 7
            return report
        """
    )
    pytester.makepyfile("import pytest\ndef test_it(): pytest.fail('no money', pytrace=False)")
    pytester.runpytest_inprocess(*leaving_out([]), "--tb=line").stdout.fnmatch_lines(
        ["shop.yaml:7: *no money"]
    )


def test_all_tests_of_a_file_are_found_when_a_node_id_names_one(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_make_collect_report():
            report = yield
            for node in report.result:
                if isinstance(node, pytest.Item):
                    print("found", node.name)
            return report
        """
    )
    pytester.makepyfile(test_it="def test_a(): pass\ndef test_b(): pass")
    result = pytester.runpytest_inprocess(*leaving_out([]), "-s", "test_it.py::test_b")
    result.stdout.fnmatch_lines(["*found test_a", "*found test_b"])
    result.assert_outcomes(passed=1)


def test_pytest_keeps_on_the_item_what_unittest_has_caught(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from pytest_dogfood.collection.exceptions import has_failed_in_unittest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            result = yield
            print(f"{item.name}: {has_failed_in_unittest(item)}")
            return result
        """
    )
    pytester.makepyfile(
        """
        import unittest

        class TestThat(unittest.TestCase):
            def test_bad(self):
                self.fail("it does not")

            def test_good(self):
                pass
        """
    )
    result = pytester.runpytest_inprocess(*leaving_out([]), "-rA")
    result.stdout.fnmatch_lines_random(["*test_bad: True", "*test_good: False"])


def test_what_leaves_files_out_under_last_failed_has_the_name_by_which_we_block_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(
        """
        def pytest_collection_finish(session):
            print("found:", session.config.pluginmanager.has_plugin("lfplugin-collskip"))
        """
    )
    pytester.makepyfile(test_a="def test_a(): assert 0", test_b="def test_b(): pass")
    pytester.runpytest_inprocess(*leaving_out([]))
    pytester.runpytest_inprocess(*leaving_out([]), "--lf", "-s").stdout.fnmatch_lines(["found: True"])


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_the_scope_of_a_fixture_is_where_we_look_for_it(scope: Literal["function", "session"]) -> None:
    @pytest.fixture(scope=scope)
    def fixture() -> None: ...

    assert scope_of_fixture(fixture) == scope


@pytest.mark.skipif(not hasattr(pytest.Item, "id"), reason="before 9.2 pytest compares the texts of node ids")
def test_the_parts_of_an_id_are_read_from_its_text_under_the_name_that_we_set(
    pytester: pytest.Pytester,
) -> None:
    item: Any = pytester.getitem("def test_it(): pass", "test_it")
    assert item._id is item.id  # noqa: SLF001
    parsed = type(item.id).parse("a.journey.yaml::use[x]")
    assert (parsed.names, parsed.params, str(parsed)) == (("use",), "x", "a.journey.yaml::use[x]")
