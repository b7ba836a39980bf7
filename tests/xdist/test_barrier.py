from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.run_results import leaving_out

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_BY_ONE = """
    \"\"\"Sends every test alone and in order, so that there is a barrier between any two.\"\"\"
    from pytest_dogfood.xdist.barrier import BarrierPlugin
    from pytest_dogfood.scheduling.queue import Job
    from pytest_dogfood.xdist.controller import ControllerPlugin

    class OneByOne:
        def jobs(self, ids):
            return [Job(index=index, after=(index - 1,) if index else ()) for index in range(len(ids))]

        def finished(self, node_id):
            pass

    def pytest_configure(config):
        if hasattr(config, "workerinput"):
            config.pluginmanager.register(BarrierPlugin())
        elif config.getoption("dist") != "no":
            config.pluginmanager.register(ControllerPlugin(config, OneByOne()))
"""

FIXTURES = """
    import os
    import pytest

    def note(what):
        with open(os.environ["NOTES"], "a") as notes:
            print(what, file=notes)

    @pytest.fixture(scope="session", autouse=True)
    def house():
        note("session up")
        yield
        note("session down")

    @pytest.fixture(scope="module", autouse=True)
    def room(request):
        note(f"{request.module.__name__} up")
        yield
        note(f"{request.module.__name__} down")

    @pytest.fixture(scope="class", autouse=True)
    def table(request):
        if request.cls:
            note(f"{request.cls.__name__} up")
        yield
        if request.cls:
            note(f"{request.cls.__name__} down")
"""
MODULE = """
    import pytest

    class TestA:
        @pytest.mark.parametrize("n", range(3))
        def test_it(self, n): pass

    class TestB:
        @pytest.mark.parametrize("n", range(3))
        def test_it(self, n): pass
"""


@pytest.fixture
def scene(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeconftest(ONE_BY_ONE)
    monkeypatch.setenv("NOTES", str(pytester.path / "notes"))
    return pytester


def make(scene: pytest.Pytester, modules: Mapping[str, str]) -> None:
    scene.makepyfile(**{name: FIXTURES + text for name, text in modules.items()})


def test_fixtures_are_set_up_as_rarely_as_without_a_barrier(scene: pytest.Pytester) -> None:
    make(scene, {"test_one": MODULE, "test_two": MODULE})
    scene.runpytest_subprocess("-n1", *leaving_out([])).assert_outcomes(passed=12)
    noted = (scene.path / "notes").read_text().splitlines()
    (scene.path / "notes").unlink()
    scene.runpytest_subprocess("-n0", *leaving_out([])).assert_outcomes(passed=12)
    assert noted == (scene.path / "notes").read_text().splitlines()


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_an_error_in_a_late_teardown_is_reported_for_the_item_before_and_fails_the_run(
    scene: pytest.Pytester, scope: str
) -> None:
    scene.makepyfile(
        test_one=f"""
        import pytest

        @pytest.fixture(scope={scope!r})
        def broken():
            yield
            print("said on the way down")
            raise OSError("cannot be torn down")

        class TestIt:
            def test_one(self, broken): pass
        """
    )
    result = scene.runpytest_subprocess("-n1", *leaving_out([]))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of TestIt.test_one*", "*OSError: cannot be torn down", "said on the way down"]
    )


def test_an_error_in_a_late_teardown_between_two_modules_does_not_disturb_the_next(
    scene: pytest.Pytester,
) -> None:
    scene.makepyfile(
        test_one="""
        import pytest

        @pytest.fixture(scope="module")
        def broken():
            yield
            raise OSError("cannot be torn down")

        def test_one(broken): pass
        """,
        test_two="def test_two(): pass",
    )
    result = scene.runpytest_subprocess("-n1", *leaving_out([]), "-rE")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR test_one.py::test_one - OSError: cannot be torn down"])


def test_plugins_that_wrap_items_do_not_mind_the_barrier(scene: pytest.Pytester) -> None:
    scene.makepyfile("def test_one(): pass\ndef test_two(): pass")
    result = scene.runpytest_subprocess(
        "-n1", "--timeout=60", "--cov=.", "--reruns=1", "-o", "faulthandler_timeout=60", "--junitxml=out.xml"
    )
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=2)
    assert 'tests="2"' in (scene.path / "out.xml").read_text()


def test_nobody_sees_the_barrier(scene: pytest.Pytester) -> None:
    scene.makepyfile("def test_one(): pass\ndef test_two(): pass")
    result = scene.runpytest_subprocess("-n2", "-v", "--durations=0", "-vv")
    result.stdout.no_fnmatch_line("*dogfood-barrier*")
    assert result.parseoutcomes() == {"passed": 2}


KEEPS_ACCOUNT = """
    import pytest

    class Account:
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_protocol(self, item):
            with open("account", "a") as account:
                print(item.name, file=account)
            return (yield)

    def pytest_configure(config):
        config.pluginmanager.register(Account())
"""


def test_a_plugin_that_keeps_account_of_every_item_does_not_count_the_barrier(
    scene: pytest.Pytester,
) -> None:
    scene.makepyfile(account_plugin=KEEPS_ACCOUNT, test_it="def test_one(): pass\ndef test_two(): pass")
    result = scene.runpytest_subprocess("-n1", "-p", "account_plugin", *leaving_out([]))
    result.assert_outcomes(passed=2)
    assert (scene.path / "account").read_text().split() == ["test_one", "test_two"]


@pytest.mark.parametrize(
    "last_words, options, told",
    [
        ("warnings.warn('late')", ("-W", "error"), "ERROR test_one.py::test_one - UserWarning: late"),
        ("time.sleep(60)", ("--timeout=2",), "ERROR test_one.py::test_one - Failed: Timeout*"),
    ],
)
def test_warnings_and_time_outs_count_in_a_late_teardown_too(
    scene: pytest.Pytester, last_words: str, options: tuple[str, ...], told: str
) -> None:
    scene.makepyfile(
        test_one=f"""
        import time
        import warnings

        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def room():
            yield
            {last_words}

        def test_one(): pass
        """,
        test_two="def test_two(): pass",
    )
    result = scene.runpytest_subprocess("-n1", "-rE", *options, *leaving_out(options))
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([told])
