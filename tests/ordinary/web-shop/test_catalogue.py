from __future__ import annotations

import pytest

pytestmark = pytest.mark.requires("shop-open")


def test_the_front_page_answers(shop):
    assert shop.ask("/") == (200, {"shop": "open"})


@pytest.mark.establishes("catalogue-filled")
class TestFillingTheCatalogue:
    @pytest.mark.parametrize(("name", "cents"), [("tea", 350), ("milk", 120)])
    def test_a_product_is_added(self, shop, name, cents):
        assert shop.ask("/products", name=name, cents=cents)[0] == 201


@pytest.mark.requires("catalogue-filled")
@pytest.mark.parametrize(("name", "cents"), [("tea", 350), ("milk", 120)])
def test_prices_are_in_cents(shop, name, cents):
    assert shop.ask(f"/products/{name}") == (200, {"cents": cents})


def test_what_is_not_sold_is_not_found(shop):
    assert shop.ask("/products/coal")[0] == 404
