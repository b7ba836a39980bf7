from __future__ import annotations

from contextlib import closing

import pytest
from shop import Shop

import pytest_dogfood


@pytest.fixture
def shop(dogfood_state):
    """Give the same shop that the journeys of the chain use."""
    with closing(Shop(dogfood_state / "shop.db")) as shop:
        yield shop


@pytest_dogfood.provides("price-list-written")
@pytest.fixture(scope="session")
def price_list(tmp_path_factory):
    """Write a price list; whoever requires `price-list-written` sees its path as a value."""
    file = tmp_path_factory.mktemp("prices") / "prices.csv"
    file.write_text("tea,350\ncoffee,420\n", encoding="utf-8")
    yield {"file": str(file)}
    file.unlink()
