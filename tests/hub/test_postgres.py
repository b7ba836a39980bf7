"""What only a server can do: not answer, go away, and keep a password."""

from __future__ import annotations

import socket
from collections.abc import Callable
from collections.abc import Iterator
from hashlib import sha256

import pytest
from sqlalchemy import create_engine
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pytest_dogfood.hub import connecting
from pytest_dogfood.hub.database import Hub
from pytest_dogfood.hub.entries import Stamp
from pytest_dogfood.hub.errors import HubUnreachable
from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.statuses import Status
from pytest_dogfood.hub.tasks import HubTask
from pytest_dogfood.hub.urls import parse_url
from pytest_dogfood.hub.urls import shown
from tests.hub import postgres


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Give a port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def test_a_server_that_never_answers_is_given_up(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # libpq takes two seconds for the least it can wait.
    monkeypatch.setattr(connecting, "_KEEPALIVE", {"connect_timeout": 2})
    with pytest.raises(HubUnreachable, match="timeout") as unreachable:
        Hub.open(f"postgresql://me:hunter2@127.0.0.1:{silent_port}/hub")
    assert "hunter2" not in str(unreachable.value)
    assert unreachable.value.exit_status == 3


def test_a_server_that_is_not_there_is_unreachable_and_the_password_stays_secret() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HubUnreachable, match=r"postgresql://me:\*\*\*@127") as unreachable:
        Hub.open(f"postgresql://me:hunter2@127.0.0.1:{port}/hub?sslpassword=hunter3&connect_timeout=5")
    assert "hunter" not in str(unreachable.value)


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@host:port/x", "mysql://me:hunter2@host/x", "sqlite://"]
)
def test_a_url_that_is_none_of_ours_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(HubUsageError) as refused:
        parse_url(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("written", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_usual_spellings_mean_postgresql(written: str) -> None:
    assert shown(parse_url(f"{written}://me:hunter2@host/x")) == "postgresql://me:***@host/x"


def test_the_log_cannot_be_truncated(postgres_url: str, add_task: Callable[..., HubTask]) -> None:
    hub, _ = Hub.create(postgres_url)
    with hub:
        add_task(hub)
        engine = create_engine(parse_url(postgres_url))
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text("TRUNCATE task_events"))
        engine.dispose()
        assert len(hub.events()) == 1


def test_a_server_that_goes_away_in_the_middle_is_noticed_and_found_again(
    add_task: Callable[..., HubTask], stamp: Callable[..., Stamp]
) -> None:
    with postgres.server() as server:
        hub, _ = Hub.create(server.url)
        with hub:
            task = add_task(hub)
            server.stop()
            with pytest.raises(HubUnreachable):
                hub.compare_and_set(task, Status.DONE, stamp=stamp())
            server.start()
            assert hub.compare_and_set(task, Status.DONE, stamp=stamp())
            assert [event.to_status for event in hub.events()] == ["todo", "done"]


def test_an_id_that_no_index_takes_is_refused_by_itself_and_the_hub_is_still_there(
    postgres_url: str, add_task: Callable[..., HubTask]
) -> None:
    endless = "".join(sha256(str(number).encode()).hexdigest() for number in range(500))
    hub, _ = Hub.create(postgres_url)
    with hub:
        with pytest.raises(HubUsageError, match="does not take a value"):
            add_task(hub, endless)
        assert add_task(hub, "T1").status == "todo"
