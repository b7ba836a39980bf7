"""What several tests of the hub need: hubs on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_dogfood.consistency.hub.model import HubTask, Machine, Source, Stamp
from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.machines import Desk, World, ahead_of_both
from tests.support.checkouts import Farm

MACHINE = Machine(id="11111111-1111-4111-8111-111111111111", host="here")


@pytest.fixture(params=["sqlite", "postgresql"])
def hub_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a hub that does not exist yet, once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hub.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def hub(hub_url: str) -> Iterator[Hub]:
    """Return an empty hub, once on each database."""
    made, _ = Hub.create(hub_url)
    with made:
        yield made


@pytest.fixture
def sqlite_hub(tmp_path: Path) -> Iterator[Hub]:
    made, _ = Hub.create(f"sqlite:///{tmp_path}/hub.sqlite")
    with made:
        yield made


@pytest.fixture
def data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep a test away from the user's own hub and machine id; gives what is used instead."""
    path = tmp_path / "data"
    monkeypatch.setenv("DOGFOOD_DATA_DIR", str(path))
    monkeypatch.delenv("DOGFOOD_HUB", raising=False)
    return path


@pytest.fixture
def stamp() -> Callable[..., Stamp]:
    """Make the stamp of a change, of source `file` unless told otherwise."""

    def make(source: Source = Source.FILE, reason: str = "") -> Stamp:
        return Stamp(machine=MACHINE, actor="tester", source=source, reason=reason, run_id="run")

    return make


@pytest.fixture
def add_task(stamp: Callable[..., Stamp]) -> Callable[..., HubTask]:
    """Create a task of the repository `shop` in a hub."""

    def add(hub: Hub, task_id: str = "SHOP-WP-1-T1", status: str = "todo", **fields: str) -> HubTask:
        task = HubTask(id="", repo="shop", task_id=task_id, status=status, **fields)  # type: ignore[arg-type]
        made = hub.create_task(task, stamp=stamp(Source.CREATE))
        assert made is not None
        return made

    return add


@pytest.fixture
def world(plain_git: Farm, sqlite_hub: Hub) -> Callable[..., World]:
    """Make a remote with one workplan of these tasks, and an empty hub."""

    def make(**statuses: str) -> World:
        return World.of(plain_git, sqlite_hub, {f"X-{name}": status for name, status in statuses.items()})

    return make


@pytest.fixture
def both(world: Callable[..., World]) -> tuple[World, Desk]:
    made = world(F="done", W="todo", new="todo")
    return made, ahead_of_both(made)
