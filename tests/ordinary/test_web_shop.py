"""Twelve Python tests in three files, against a shop with a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ordinary.suites import Suite

ACCOUNT = "test_accounts.py::TestWithAnAccount"
FILLING = "test_catalogue.py::TestFillingTheCatalogue::test_a_product_is_added"
PRICES = "test_catalogue.py::test_prices_are_in_cents"

SHOP = Suite(
    name="web-shop",
    outcomes={
        "test_accounts.py::test_an_account_can_be_made": ("passed", "passed"),
        f"{ACCOUNT}::test_a_name_is_taken_once": ("passed", "passed"),
        f"{ACCOUNT}::test_logging_in_opens_a_session": ("passed", "failed"),
        "test_catalogue.py::test_the_front_page_answers": ("passed", "passed"),
        f"{FILLING}[tea-350]": ("passed", "passed"),
        f"{FILLING}[milk-120]": ("passed", "passed"),
        f"{PRICES}[tea-350]": ("passed", "passed"),
        f"{PRICES}[milk-120]": ("passed", "passed"),
        "test_catalogue.py::test_what_is_not_sold_is_not_found": ("passed", "passed"),
        "test_orders.py::test_an_order_can_be_placed": ("passed", "deferred"),
        "test_orders.py::test_an_order_has_a_total": ("passed", "deferred"),
        "test_orders.py::test_an_order_can_be_cancelled": ("passed", "deferred"),
    },
    broken={"SHOP_BROKEN": "login"},
    orders=[
        (
            "open shop",
            "begin test_an_account_can_be_made",
            "begin test_logging_in_opens_a_session",
            "begin test_an_order_can_be_placed",
            "begin test_an_order_has_a_total",
            "release order-placed",
            "release logged-in",
            "release account-made",
            "release shop-open",
        ),
        (
            "begin test_a_product_is_added[tea-350]",
            "begin test_prices_are_in_cents[milk-120]",
            "release catalogue-filled",
            "release shop-open",
        ),
        (
            "done test_a_product_is_added[milk-120]",
            "begin test_an_order_can_be_placed",
            "release order-placed",
            "release catalogue-filled",
        ),
    ],
    released={
        "open shop": "release shop-open",
        "begin test_an_account_can_be_made": "release account-made",
        "done test_a_product_is_added[milk-120]": "release catalogue-filled",
        "begin test_logging_in_opens_a_session": "release logged-in",
        "an order comes in": "release order-placed",
    },
    words="order",
    one="test_orders.py::test_an_order_can_be_cancelled",
    interrupted="test_orders.py::test_an_order_can_be_placed",
    begun="an order comes in",
    slow={"SHOP_SLOW": "4"},
)


@pytest.mark.parametrize("way", SHOP.ways())
def test_each_test_of_the_shop_has_one_outcome(way: str, short_root: Path) -> None:
    assert SHOP.complaints(way, short_root) == []
