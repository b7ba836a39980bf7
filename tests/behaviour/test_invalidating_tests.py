"""A Python test that destroys a token says so with the mark `invalidates`, and is treated as a journey that does."""

from __future__ import annotations

import json

import pytest

from tests.behaviour.test_off import Make
from tests.support.command_line import dogfood
from tests.support.scenes import Inner

FILLED = """
    capabilities:
      basket-filled: {probe: 'test -e "$DOGFOOD_STATE/basket"'}
"""
SHOP = """
    import pytest

    @pytest.mark.requires("basket-filled")
    @pytest.mark.invalidates("basket-filled")
    def test_order(dogfood_state):
        (dogfood_state / "basket").unlink()

    @pytest.mark.requires("basket-filled")
    def test_total(dogfood_state):
        assert (dogfood_state / "basket").exists()

    @pytest.mark.establishes("basket-filled")
    def test_fill(dogfood_state):
        (dogfood_state / "basket").touch()
"""
EMPTY = """
    import pytest

    @pytest.mark.requires("basket-filled")
    @pytest.mark.dogfood_invalidates("basket-filled")
    def test_empty(dogfood_state):
        (dogfood_state / "basket").unlink()
"""


@pytest.fixture(scope="module")
def shop(inner: Make) -> Inner:
    return inner({"dogfood.yaml": FILLED, "test_shop.py": SHOP})


@pytest.fixture(scope="module")
def emptied_twice(inner: Make) -> Inner:
    return inner({"dogfood.yaml": FILLED, "test_shop.py": SHOP, "test_z_empty.py": EMPTY})


def test_a_test_has_the_values_of_what_it_destroys(inner: Make) -> None:
    tests = """
        import pytest

        @pytest.mark.establishes("account-made")
        def test_make(capabilities):
            capabilities.save(name="ada")

        @pytest.mark.requires("account-made")
        @pytest.mark.invalidates("account-made")
        def test_delete(capabilities):
            assert capabilities["account-made"] == {"name": "ada"}
    """
    inner({"dogfood.yaml": "", "test_account.py": tests}).dogfood().assert_outcomes(passed=2)


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_destroys_a_token_runs_after_what_needs_it(shop: Inner, workers: str) -> None:
    shop.dogfood(workers).assert_outcomes(passed=3)


def test_the_plan_names_what_each_test_destroys(shop: Inner) -> None:
    shown = shop.typed("--dogfood-check", "--dogfood-format=json", "-q").stdout.str()
    start = shown.index("{\n")
    plan = json.JSONDecoder().raw_decode(shown[start:])[0]["plan"]["journeys"]
    assert {one["id"].partition("::")[2]: one["invalidates"] for one in plan} == {
        "test_fill": [],
        "test_total": [],
        "test_order": ["basket-filled"],
    }


def test_the_graph_shows_what_a_destroyer_waits_for(shop: Inner) -> None:
    assert (
        "      ends basket-filled, so it comes after test_shop.py::test_total"
        in dogfood(shop.path, "graph", "--tests").stdout.splitlines()
    )


@pytest.mark.parametrize(
    "names, line",
    [
        (
            ["test_shop.py::test_order"],
            "  invalidates basket-filled (chain), so it comes after the others that need it",
        ),
        (["basket-filled"], "  invalidated by test_shop.py::test_order (test_shop.py:4)"),
        ([], "  invalidated by: test_shop.py::test_order"),
    ],
)
def test_explain_names_what_destroys_a_token(shop: Inner, names: list[str], line: str) -> None:
    assert line in dogfood(shop.path, "explain", *names).stdout.splitlines()


def test_where_two_use_a_token_up_it_is_provisioned_again(inner: Make) -> None:
    capabilities = """
        capabilities:
          basket-filled:
            probe: test -e "$DOGFOOD_STATE/basket"
            provision: [run: touch "$DOGFOOD_STATE/basket"]
    """
    scene = inner({"dogfood.yaml": capabilities, "test_shop.py": SHOP, "test_z_empty.py": EMPTY})
    scene.dogfood("-p", "no:randomly").assert_outcomes(passed=4)


def test_a_test_whose_token_another_has_used_up_says_which_one(emptied_twice: Inner) -> None:
    emptied_twice.dogfood("test_z_empty.py").assert_outcomes(passed=2)  # alone it finds its token
    result = emptied_twice.dogfood("-p", "no:randomly")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        "harness: 'basket-filled' is not present: test_shop.py::test_fill established it, but "
        "test_shop.py::test_order, which invalidates it, has run since, and a Python test cannot be replayed; "
        "give it a 'provision:' to let several use it up, under 'capabilities:'"
    )


def test_the_check_says_so_before_the_run(emptied_twice: Inner) -> None:
    emptied_twice.typed("--dogfood-check").stdout.fnmatch_lines(
        "warning: *'test_shop.py::test_order' destroys 'basket-filled' before test_z_empty.py::test_empty can use it, "
        "and only a Python test establishes it, which cannot be replayed [[]invalidates-starves]"
    )


WRONG = """
    import pytest

    @pytest.mark.invalidates("baskt-filled")
    def test_unknown():
        pass

    @pytest.mark.establishes("order-placed")
    @pytest.mark.invalidates("order-placed")
    def test_both():
        pass

    @pytest.mark.invalidates("basket-filled:*")
    def test_every_instance():
        pass

    @pytest.mark.establishes("basket-filled:*")
    def test_every_instance_established():
        pass

    @pytest.mark.invalidates
    def test_nothing():
        pass
"""


def test_slips_are_errors_before_anything_runs(inner: Make) -> None:
    result = inner({"dogfood.yaml": FILLED, "test_wrong.py": WRONG}).dogfood()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    takes = "takes tokens, one by one, and not 'basket-filled:*' [bad-token]"
    unknown = "names 'baskt-filled', which nothing establishes, provides or defines [unknown-token]"
    both = "both invalidates and establishes 'order-placed' [conflicting-tokens]"
    assert [line for line in result.errlines if line.startswith("test_wrong.py:")] == [
        f"test_wrong.py:4: test 'test_wrong.py::test_unknown' {unknown}",
        f"test_wrong.py:8: test_wrong.py::test_both {both}",
        f"test_wrong.py:13: test_wrong.py::test_every_instance: the mark 'invalidates' {takes}",
        f"test_wrong.py:17: test_wrong.py::test_every_instance_established: the mark 'establishes' {takes}",
        "test_wrong.py:21: test_wrong.py::test_nothing: the mark 'invalidates' names no token [bad-token]",
    ]


def test_a_class_destroys_a_token_with_each_of_its_tests(inner: Make) -> None:
    tests = """
        import pytest

        @pytest.mark.requires("door-open")
        @pytest.mark.invalidates("door-open")
        class TestClosing:
            def test_pull(self, dogfood_state):
                (dogfood_state / "door").unlink()

            def test_push(self, dogfood_state):
                (dogfood_state / "door").unlink()
    """
    door = """
        capabilities:
          door-open:
            probe: test -e "$DOGFOOD_STATE/door"
            provision: [run: touch "$DOGFOOD_STATE/door"]
    """
    inner({"dogfood.yaml": door, "test_door.py": tests}).dogfood().assert_outcomes(passed=2)


def test_a_token_that_a_file_only_destroys_is_not_offered_by_it(inner: Make) -> None:
    journeys = "{journeys: [{id: pay, requires: [basket-full], steps: [run: 'true']}]}"
    tests = 'import pytest\n\n@pytest.mark.invalidates("basket-full")\ndef test_empty(): pass\n'
    done = dogfood(inner({"pay.journey.yaml": journeys, "test_empty.py": tests}).path, "check")
    assert done.returncode == 4
    assert "names 'basket-full', which nothing establishes" in done.stderr + done.stdout
