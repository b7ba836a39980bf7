from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.requires("shop-open", "logged-in", "catalogue-filled")


@pytest.mark.requires("address-book")
@pytest.mark.establishes("order-placed")
def test_an_order_can_be_placed(ada, capabilities):
    assert Path(capabilities["address-book"]["file"]).read_text()
    status, answer = ada.ask("/orders", product="tea", quantity=3)
    assert status == 201
    capabilities.save(number=str(answer["number"]))


@pytest.mark.requires("order-placed")
def test_an_order_has_a_total(ada, capabilities):
    _, order = ada.ask(f"/orders/{capabilities['order-placed']['number']}")
    assert order["total"] == 1050


@pytest.mark.requires("order-placed")
def test_an_order_can_be_cancelled(ada, capabilities):
    path = f"/orders/{capabilities['order-placed']['number']}"
    assert ada.ask(f"{path}/cancel", sure=True)[0] == 200
    assert ada.ask(path)[1]["state"] == "cancelled"
