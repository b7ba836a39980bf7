"""What is said of a token that a Python test has established and that is gone when another test needs it."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.scenes import Inner

SHOP = {
    "dogfood.yaml": """\
        capabilities:
          basket-filled: {probe: 'test -e "$DOGFOOD_STATE/basket"'}
        """,
    "test_shop.py": """\
        import pytest

        @pytest.mark.establishes("basket-filled")
        def test_fill(dogfood_state):
            (dogfood_state / "basket").touch()

        @pytest.mark.requires("basket-filled")
        @pytest.mark.establishes("order-placed")
        def test_order(dogfood_state):
            (dogfood_state / "basket").unlink()

        @pytest.mark.requires("order-placed")
        def test_listed(): pass

        @pytest.mark.requires("basket-filled")
        def test_total(): pass
        """,
}


def test_the_error_says_after_what_it_was_lost_and_what_to_do(inner: Callable[..., Inner]) -> None:
    result = inner(SHOP).dogfood("-p", "no:randomly")
    result.assert_outcomes(passed=2, errors=2)
    lost = "established it, but it has been lost since, and a Python test cannot be replayed;"
    with_base = "as lost with 'basket-filled': declare `invalidates` at *::test_order if that uses it up, or"
    unsaid = "*::test_order ran since: if that destroys it, declare it there with `invalidates`, or"
    result.stdout.fnmatch_lines_random(
        [
            f"harness: 'order-placed' is not present: *::test_order {lost} without a 'probe:' it counts {with_base} *",
            f"harness: 'basket-filled' is not present: *::test_fill {lost} {unsaid} give it a 'provision:' under *",
        ]
    )
