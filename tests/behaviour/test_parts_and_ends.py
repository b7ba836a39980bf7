"""What pytest tells of a test in other ways than by its call: subtests, unittest, a teardown expected to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])
WITH_SUBTESTS = pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest has subtests since 9.0")

CAPABILITIES = {
    "made": "{description: by a test}",
    "seen": "{scope: machine, description: by a test of unittest's}",
    "broken": '{scope: machine, provision: [{run: "false"}]}',
}


def write(scene: Scene, tests: str) -> None:
    defined = [f"{token}: {text}" for token, text in CAPABILITIES.items() if f'"{token}"' in tests]
    scene.write("dogfood.yaml", f"capabilities: {{{', '.join(defined)}}}")
    scene.write("test_it.py", tests)


@WITH_SUBTESTS
@WORKERS
def test_a_test_with_a_failed_subtest_has_failed_and_establishes_nothing(scene: Scene, workers: str) -> None:
    write(
        scene,
        """
        import unittest
        import pytest

        @pytest.mark.establishes("made")
        def test_makes(subtests):
            for number in range(2):
                with subtests.test(number=number):
                    assert number == 0

        @pytest.mark.requires("made")
        def test_uses(): pass

        class TestThat(unittest.TestCase):
            @pytest.mark.establishes("seen")
            def test_sees(self):
                for number in range(2):
                    with self.subTest(number=number):
                        self.assertEqual(number, 0)

        @pytest.mark.requires("seen")
        def test_looks(): pass
        """,
    )
    run = scene.run(workers)
    assert run.status == 1
    assert run.closing_line == ("dogfood: 4 tests = 2 failed + 2 deferred (2 causes); 0 tokens")


@WITH_SUBTESTS
def test_a_harness_error_within_a_subtest_is_no_failure_of_the_product(scene: Scene) -> None:
    write(
        scene,
        """
        import pytest

        @pytest.mark.establishes("made")
        def test_makes(subtests, capabilities):
            with subtests.test("needs more"):
                capabilities.require("broken")

        @pytest.mark.requires("made")
        def test_uses(): pass
        """,
    )
    run = scene.run("-n0")
    assert run.status == 1
    assert run.closing_line == ("dogfood: 2 tests = 1 error + 1 deferred (1 cause); 0 tokens")
    assert "FAILED" not in run.text
    assert "failure" not in run.cases["test_makes"].kind


def test_an_expected_failure_of_the_teardown_is_no_pass(scene: Scene) -> None:
    write(
        scene,
        """
        import pytest

        @pytest.fixture
        def leaves_badly():
            yield
            raise OSError("cannot leave")

        @pytest.mark.xfail(reason="it cannot leave")
        @pytest.mark.establishes("made")
        def test_makes(leaves_badly): pass

        @pytest.mark.requires("made")
        def test_uses(): pass
        """,
    )
    run = scene.run("-n0")
    assert run.closing_line == ("dogfood: 2 tests = 1 deferred (1 cause) + 1 xfailed; 0 tokens")


def test_a_failed_test_of_unittest_establishes_nothing_even_for_a_moment(scene: Scene) -> None:
    write(
        scene,
        """
        import time
        import unittest
        from pathlib import Path
        import pytest

        def wait_for(name):
            until = time.monotonic() + 30
            while not Path(name).exists():
                assert time.monotonic() < until
                time.sleep(0.02)

        class TestThat(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def slow_to_leave(self):
                yield
                Path("called").touch()
                wait_for("asked")

            @pytest.mark.establishes("seen")
            def test_sees(self):
                self.fail("it does not")

        def test_asks(capabilities):
            wait_for("called")
            try:
                capabilities.require("seen")
            finally:
                Path("asked").touch()
        """,
    )
    run = scene.run("-n2")
    assert run.cases["test_sees"].kind == "failure"
    assert run.cases["test_asks"].kind != "passed", run.text
