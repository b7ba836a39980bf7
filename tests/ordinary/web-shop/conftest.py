from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import pytest_dogfood

LOG = Path(__file__).parent / "log"


class Client:
    """What a browser would send to the shop."""

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"
        self.session = ""

    def ask(self, path, **body):
        """Send a request; give the status and the answer."""
        data = json.dumps(body).encode() if body else None
        request = Request(self.base + path, data, {"Session": self.session})
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def shop(capabilities):
    return Client(capabilities["shop-open"]["port"])


@pytest.fixture
def ada(shop, dogfood_state):
    """Give the shop as ada sees it, who is logged in."""
    shop.session = (dogfood_state / "session").read_text()
    return shop


@pytest_dogfood.provides("address-book")
@pytest.fixture(scope="session")
def address_book(tmp_path_factory):
    file = tmp_path_factory.mktemp("addresses") / "ada.txt"
    file.write_text("12 St James's Square\n")
    yield {"file": str(file)}
    file.unlink()


@pytest.fixture(autouse=True)
def told(request):
    """Write down which tests run."""
    name = request.node.name
    with LOG.open("a") as log:
        log.write(f"begin {name}\n")
    yield
    with LOG.open("a") as log:
        log.write(f"done {name}\n")
