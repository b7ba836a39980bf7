from __future__ import annotations

import pytest

pytestmark = pytest.mark.requires("shop-open")


@pytest.mark.establishes("account-made")
def test_an_account_can_be_made(shop, capabilities):
    status, _ = shop.ask("/accounts", name="ada", password="lovelace")
    assert status == 201
    capabilities.save(password="lovelace")


@pytest.mark.requires("account-made")
class TestWithAnAccount:
    def test_a_name_is_taken_once(self, shop):
        assert shop.ask("/accounts", name="ada", password="other")[0] == 409

    @pytest.mark.establishes("logged-in")
    def test_logging_in_opens_a_session(self, shop, capabilities, dogfood_state):
        password = capabilities["account-made"]["password"]
        status, answer = shop.ask("/sessions", name="ada", password=password)
        assert status == 201, answer
        (dogfood_state / "session").write_text(answer["session"])
