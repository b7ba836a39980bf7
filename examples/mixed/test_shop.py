from __future__ import annotations

import csv
from pathlib import Path

import pytest


@pytest.mark.requires("shop-open")
@pytest.mark.establishes("customer-registered")
def test_a_customer_can_register(shop, capabilities):
    shop.register("ada")
    assert shop.customers() == ["ada"]
    capabilities.save(name="ada")


@pytest.mark.requires("order-placed", "customer-registered")
def test_an_order_is_charged_to_its_customer(shop, capabilities):
    name = capabilities["customer-registered"]["name"]
    assert shop.total(name) == int(capabilities["order-placed"]["cents"])


@pytest.mark.requires("price-list-written")
def test_every_price_is_positive(capabilities):
    file = Path(capabilities["price-list-written"]["file"])
    prices = dict(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    assert all(int(cents) > 0 for cents in prices.values())


def test_a_test_outside_the_graph_runs_as_ever(tmp_path):
    assert list(tmp_path.iterdir()) == []
