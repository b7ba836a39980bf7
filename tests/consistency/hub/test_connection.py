"""What only a server can do: not answer, go away, and keep a password."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from pytest_dogfood.consistency.hub.connection import display_url, parse_url
from pytest_dogfood.consistency.hub.model import HubTask, HubUnreachable, HubUsageError, Stamp, Status
from pytest_dogfood.consistency.hub.store import Hub
from tests.support import postgres


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def test_a_server_that_never_answers_is_given_up(silent_port: int) -> None:
    with pytest.raises(HubUnreachable, match="timeout") as unreachable:
        # libpq takes two seconds for the least it can wait.
        Hub.open(f"postgresql://me:hunter2@127.0.0.1:{silent_port}/hub?connect_timeout=2")
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


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hub:ge@wort@host/hub",
        "postgresql://hub:ge@w@wort@host/hub",
        "postgresql://hub:ge@wort/x@host/hub",
        "postgresql://hub:ge@wort?x=y@host/hub",
        "postgresql://hub:ge@12:34@host/hub",
        "postgresql://hu/b:gewort@host/hub",
        "postgresql:///hub:gewort@host/hub",
        "postgresql:///hub?user=hub&password=ge@wort",
        "postgresql://host:5432/hub?user=hub&password=ge@wort",
        "postgresql://hub:gewort@/hub?host=ge@wort",
        "hub:gewort@host/hub",
        "postgresql:/hub:gewort@host/hub",
    ],
)
def test_an_at_sign_that_may_come_from_a_password_is_refused_without_showing_any_of_it(url: str) -> None:
    with pytest.raises(HubUsageError) as refused:
        parse_url(url)
    assert not re.search("wort|ge@", str(refused.value))


def test_what_is_refused_for_an_at_sign_says_how_it_is_written() -> None:
    with pytest.raises(HubUsageError, match=r"write each '@' .* as %40"):
        parse_url("postgresql://hub:ge@wort@host/hub")


@pytest.mark.parametrize(
    "url, user, password",
    [
        ("postgresql://hub:ge%40wort@host/hub", "hub", "ge@wort"),
        ("postgresql://hub:a/b?c:d#e@host/hub", "hub", "a/b?c:d#e"),
        ("postgresql://hub@tenant:gewort@host/hub", "hub@tenant", "gewort"),
        ("postgresql://hub@host/hub", "hub", None),
    ],
)
def test_a_url_with_one_meaning_is_taken(url: str, user: str, password: str | None) -> None:
    taken = parse_url(url)
    assert (taken.username, taken.password, taken.host) == (user, password, "host")


def test_a_file_with_an_at_sign_in_its_path_is_a_file() -> None:
    assert parse_url("/data/a:b@c/hub.sqlite").database == "/data/a:b@c/hub.sqlite"


@pytest.mark.parametrize("written", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_usual_spellings_mean_postgresql(written: str) -> None:
    assert display_url(parse_url(f"{written}://me:hunter2@host/x")) == "postgresql://me:***@host/x"


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
                hub.move_forward(task, Status.DONE, stamp=stamp())
            server.start()
            assert hub.move_forward(task, Status.DONE, stamp=stamp())
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
