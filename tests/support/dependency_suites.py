"""Suites as people write them for pytest-dependency: what its manual describes, and what is found in the wild."""

from __future__ import annotations

INI = """
    [pytest]
    dogfood_dependency_markers = true
    addopts = --strict-markers
    markers =
        wants(*names): what the fixture wanted asks for
"""
CONFTEST = """
    import pytest
    from pytest_dependency import depends

    @pytest.fixture(scope="session")
    def client():
        return {}

    @pytest.fixture
    def wanted(request):
        depends(request, request.node.get_closest_marker("wants").args)
"""
LOGIN = """
    import pytest

    class TestLogin:
        session = {}

        @pytest.mark.dependency(name="register")
        def test_register(self):
            self.session["user"] = "ada"

        @pytest.mark.dependency(name="log in", depends=["register"])
        def test_login(self):
            self.session["token"] = self.session["user"] * 2

        @pytest.mark.dependency(name="wrong", depends=["register"])
        def test_wrong_password(self):
            assert not self.session

        @pytest.mark.dependency(depends=["log in"])
        def test_profile(self):
            assert self.session["token"] == "adaada"

        @pytest.mark.dependency(depends=["wrong"])
        def test_lock_out(self):
            raise AssertionError("must not run")

        @pytest.mark.dependency(name="log out", depends=["log in"])
        def test_logout(self):
            del self.session["token"]

        @pytest.mark.dependency(depends=["log out"])
        def test_after_logout(self):
            assert self.session == {"user": "ada"}
"""
CRUD = """
    import pytest

    STORE = {}
    KINDS = ("user", "order", "item")

    def each(name, *depends):
        def one(kind):
            names = [f"{other}-{kind}" for other in depends]
            return pytest.param(kind, marks=pytest.mark.dependency(name=f"{name}-{kind}", depends=names))
        return pytest.mark.parametrize("kind", [one(kind) for kind in KINDS])

    @each("create")
    def test_create(kind):
        assert kind != "order"
        STORE[kind] = 1

    @each("read", "create")
    def test_read(kind):
        assert STORE[kind] == 1

    @each("update", "create")
    def test_update(kind):
        STORE[kind] += 1

    @each("delete", "create", "update")
    def test_delete(kind):
        assert STORE.pop(kind) == 2

    @pytest.mark.dependency(depends=[f"delete-{kind}" for kind in KINDS])
    def test_everything_is_gone():
        raise AssertionError("must not run")

    @pytest.mark.dependency(depends=["delete-user", "delete-item"])
    def test_the_rest_is_gone():
        assert STORE == {}
"""
AUTH = """
    import pytest

    @pytest.mark.dependency
    def test_auth(client):
        client["token"] = "abc"

    @pytest.mark.dependency()
    @pytest.mark.skipif(True, reason="no directory here")
    def test_ldap(client):
        pass
"""
ORDERS = """
    import pytest

    @pytest.mark.dependency(depends=["api/test_auth.py::test_auth"], scope="session")
    def test_order(client):
        client["order"] = client["token"]

    @pytest.mark.dependency(depends=["api/test_auth.py::test_ldap"], scope="session")
    def test_order_by_ldap(client):
        raise AssertionError("must not run")

    @pytest.mark.dependency(name="paid", depends=["test_order"])
    def test_pay(client):
        assert client["order"] == "abc"

    @pytest.mark.dependency(depends=["paid", "api/test_orders.py::test_order"], scope="session")
    def test_receipt(client):
        pass
"""
PACKAGE = """
    import pytest

    @pytest.mark.dependency()
    def test_first():
        pass

    @pytest.mark.dependency(name="second")
    def test_second():
        pass
"""
IN_PACKAGE = """
    import pytest

    @pytest.mark.dependency(depends=["package/test_a.py::test_first", "second"], scope="package")
    def test_of_this_package():
        pass

    @pytest.mark.dependency(depends=["api/test_auth.py::test_auth"], scope="package")
    def test_of_no_package():
        raise AssertionError("must not run")
"""
INHERITED = """
    import pytest

    class Database:
        up = True

        @pytest.mark.dependency(name="connect")
        def test_connect(self):
            assert self.up

        @pytest.mark.dependency(name="query", depends=["connect"])
        def test_query(self):
            assert self.up

        @pytest.mark.dependency(depends=["query"])
        def test_rows(self):
            assert self.up

        @pytest.mark.dependency()
        def test_version(self):
            assert self.up

        @pytest.mark.dependency(depends=["test_version"], scope="class")
        def test_features(self):
            assert self.up

    class TestPostgres(Database):
        pass

    class TestMySql(Database):
        up = False

    class TestSqlite(Database):
        pass

    @pytest.mark.dependency(depends=["TestPostgres::test_version", "TestSqlite::test_features"])
    def test_both():
        pass

    @pytest.mark.dependency(depends=["TestMySql::test_version"])
    def test_one():
        raise AssertionError("must not run")
"""
WHOLES = """
    import pytest

    pytestmark = pytest.mark.dependency()

    def test_root():
        pass

    def test_rotten():
        raise RuntimeError

    @pytest.mark.dependency(depends=["test_rotten"])
    class TestOnRotten:
        def test_method(self):
            raise AssertionError("must not run")

        @pytest.mark.dependency()
        def test_that_clears_it(self):
            pass

    @pytest.mark.dependency(depends=["test_root"])
    class TestOuter:
        def test_method(self):
            pass

        class TestInner:
            def test_method(self):
                pass

            @pytest.mark.dependency(depends=["TestInner::test_method"], scope="class")
            def test_in_class_scope(self):
                pass

            @pytest.mark.dependency(depends=["test_method"], scope="class")
            def test_with_too_short_a_name(self):
                raise AssertionError("must not run")

            @pytest.mark.dependency(depends=["TestOuter::TestInner::test_method"])
            def test_in_module_scope(self):
                pass
"""
RUN_TIME = """
    import pytest
    import pytest_dependency
    from pytest_dependency import depends

    MADE = []

    def any_of(request, names):
        for name in names:
            try:
                return depends(request, [name])
            except pytest.skip.Exception:
                pass
        pytest.skip("none of them")

    @pytest.mark.dependency()
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_make(number):
        MADE.append(number)
        assert number != 2

    @pytest.mark.dependency()
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_use(number, request):
        pytest_dependency.depends(request, [f"test_make[{number}]"])
        assert number in MADE

    def test_any(request):
        any_of(request, ["test_make[2]", "test_use[3]"])

    def test_none(request):
        any_of(request, ["test_make[2]", "test_use[2]"])

    class TestAsking:
        @pytest.mark.dependency()
        def test_of_the_module(self, request):
            depends(request, ["test_use[1]"])

        def test_of_the_class(self, request):
            depends(request, ["test_of_the_module"], scope="class")

        def test_of_another_file(self, request):
            depends(request, ["api/test_auth.py::test_auth"], "session")

        @pytest.mark.wants("test_use[2]")
        def test_by_a_fixture(self, wanted):
            raise AssertionError("must not run")

        @pytest.mark.wants("test_use[3]", "TestAsking::test_of_the_module")
        def test_by_a_fixture_again(self, wanted):
            pass

        def test_that_does_not_exist(self, request):
            depends(request, ["test_nothing"])

        def test_itself(self, request):
            depends(request, ["TestAsking::test_itself"])
"""
GROUPED = """
    import pytest
    from pytest_dependency import depends

    @pytest.fixture(scope="module", params=[1, 2, 3])
    def machine(request):
        return {"number": request.param}

    @pytest.fixture(scope="module")
    def running(request, machine):
        depends(request, [f"test_start[{machine['number']}]"])
        return machine

    @pytest.mark.dependency()
    def test_start(machine):
        assert machine["number"] != 2
        machine["on"] = True

    @pytest.mark.dependency()
    def test_work(running):
        assert running["on"]

    @pytest.mark.dependency()
    def test_stop(running):
        assert running.pop("on")
"""
ENDINGS = """
    import unittest

    import pytest

    @pytest.fixture
    def broken():
        raise OSError("no database")

    @pytest.fixture
    def broken_behind():
        yield
        raise OSError("cannot close")

    def dependent(name):
        @pytest.mark.dependency(depends=[name])
        def test():
            raise AssertionError("must not run")
        return test

    @pytest.mark.dependency()
    def test_setup(broken):
        pass

    test_on_setup = dependent("test_setup")

    @pytest.mark.dependency()
    def test_teardown(broken_behind):
        pass

    test_on_teardown = dependent("test_teardown")

    @pytest.mark.dependency()
    @pytest.mark.xfail
    def test_xfail():
        raise AssertionError

    test_on_xfail = dependent("test_xfail")

    @pytest.mark.dependency()
    @pytest.mark.xfail(strict=True)
    def test_strict():
        pass

    test_on_strict = dependent("test_strict")

    @pytest.mark.dependency()
    @pytest.mark.xfail(strict=False)
    def test_xpass():
        pass

    @pytest.mark.dependency(depends=["test_xpass"])
    def test_on_xpass():
        pass

    @pytest.mark.dependency()
    def test_skip():
        pytest.skip("not today")

    test_on_skip = dependent("test_skip")
    test_on_nobody = dependent("test_nobody")
    test_on_itself = dependent("test_on_itself")
    test_on_one_another = dependent("test_on_each_other")
    test_on_each_other = dependent("test_on_one_another")
    test_in_a_cycle = dependent("test_on_each_other")
    test_on_the_unmarked = dependent("test_unmarked")

    def test_unmarked():
        pass

    @pytest.mark.dependency(depends="test_skip")
    def test_on_text():
        raise AssertionError("must not run")

    class TestUnit(unittest.TestCase):
        @pytest.mark.dependency()
        def test_a_passes(self):
            type(self).seen = 1

        @pytest.mark.dependency(depends=["TestUnit::test_a_passes"])
        def test_b_fails(self):
            self.assertEqual(self.seen, 2)

        @pytest.mark.dependency()
        def test_c_skips(self):
            self.skipTest("not today")

        test_d_on_failed = dependent("TestUnit::test_b_fails")
        test_e_on_skipped = dependent("TestUnit::test_c_skips")
"""
LATER = """
    import pytest

    @pytest.mark.dependency(depends=["test_written_last"])
    def test_written_first():
        pass

    @pytest.mark.dependency()
    def test_written_last():
        pass
"""
SUITE = {
    "pytest.ini": INI,
    "conftest.py": CONFTEST,
    "test_login.py": LOGIN,
    "test_crud.py": CRUD,
    "api/test_auth.py": AUTH,
    "api/test_orders.py": ORDERS,
    "package/__init__.py": "",
    "package/test_a.py": PACKAGE,
    "package/test_b.py": IN_PACKAGE,
    "test_inherited.py": INHERITED,
    "test_wholes.py": WHOLES,
    "test_run_time.py": RUN_TIME,
    "test_grouped.py": GROUPED,
    "test_endings.py": ENDINGS,
    "test_later.py": LATER,
}
ORDERED_HERE = {"test_later.py::test_written_first"}
"""Tests that pytest-dependency skips since what they need is written behind them."""
