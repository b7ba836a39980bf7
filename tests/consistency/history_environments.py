"""Where histories take place: a remote, clones of it and a hub, made once and copied for each history."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, make_url

from pytest_dogfood.consistency.hub.model import Machine
from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.history_workplans import FILES
from tests.consistency.machines import REPO, Desk
from tests.support.checkouts import IDENTITY, Farm, isolated

CODE = "src/code.py"
NAMES = ("Ann", "Bo", "Cy", "Di")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One world of its own: some machines, each with a clone, and the hub they share."""

    url: str
    hub: Hub
    desks: tuple[Desk, ...]


class Stages:
    """Makes stages below a directory, with their hubs in SQLite files, or as databases of a PostgreSQL server."""

    def __init__(self, root: Path, environment: dict[str, str], server: str = "") -> None:
        self._root = root
        self._environment = environment
        self._server = make_url(server).set(drivername="postgresql+psycopg") if server else None
        self._template = root / "template"
        self._template.mkdir()
        self._root_commit = _make_repositories(Farm(root=self._template, environment=environment))
        self._hub_template = ""
        self._hub_template = self._new_hub("template")
        Hub.create(self._hub_template)[0].close()

    @contextmanager
    def stage(self, machines: int) -> Iterator[Stage]:
        """Return a stage that is gone afterwards."""
        root = self._root / uuid.uuid4().hex[:8]
        root.mkdir()
        url = self._new_hub(root.name)
        try:
            with Hub.open(url) as hub:
                shutil.copytree(self._template / "origin.git", root / "origin.git", symlinks=True)
                farm = Farm(root=root, environment=self._environment)
                yield Stage(
                    url=url, hub=hub, desks=tuple(self._desk(farm, hub, at) for at in range(machines))
                )
        finally:
            self._drop(root.name)
            shutil.rmtree(root)

    def _desk(self, farm: Farm, hub: Hub, number: int) -> Desk:
        name = NAMES[number]
        shutil.copytree(self._template / "clone", farm.root / name, symlinks=True)
        clone = farm.at(name)
        # Within one second, the same commit by the same person would be one and the same.
        with (clone.path / ".git/config").open("a") as config:
            config.write(IDENTITY.replace("Ann", name))
        machine = Machine(id=name, host=name)
        hub.register(clone.path.resolve(), slug=REPO, root_commit=self._root_commit, machine=machine)
        return Desk(clone=clone, hub=hub, machine=machine)

    def _new_hub(self, name: str) -> str:
        """Make a copy of the empty hub, once there is one, and give its URL."""
        if self._server is None:
            path = self._root / name / "hub.sqlite"
            if self._hub_template:
                shutil.copy(self._template / "hub.sqlite", path)
            return f"sqlite:///{path}"
        with self._administration() as engine, engine.connect() as connection:
            template = self._database("template") if self._hub_template else "template0"
            connection.exec_driver_sql(f"CREATE DATABASE {self._database(name)} TEMPLATE {template}")
        return self._server.set(database=self._database(name)).render_as_string(hide_password=False)

    def _drop(self, name: str) -> None:
        if self._server is not None:
            with self._administration() as engine, engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {self._database(name)} WITH (FORCE)")

    def close(self) -> None:
        self._drop("template")

    def _database(self, name: str) -> str:
        # Two simulations may share a server.
        return f"histories_{self._root.name.replace('-', '_').lower()}_{name}"

    @contextmanager
    def _administration(self) -> Iterator[Engine]:
        engine = create_engine(self._server or "", isolation_level="AUTOCOMMIT")
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def own_stages(server: str = "") -> Iterator[Stages]:
    """Have a process of its own make stages: it knows no git but theirs, and all it leaves is in one directory."""
    # In memory, where there is such a place: all are as careful there as on a disk, and nobody waits for one.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a directory of its own
    with tempfile.TemporaryDirectory(prefix="histories-", dir=memory) as directory:
        root = Path(directory).resolve()
        environment = isolated(root / "home")
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = directory  # who is killed cannot clear up
        stages = Stages(root, environment, server)
        try:
            yield stages
        finally:
            stages.close()


def _make_repositories(farm: Farm) -> str:
    """Make the remote and a clone of it which finds the remote beside itself; gives the first commit."""
    first = farm.checkout("clone")
    for path, content in FILES.items():
        first.write(content, path)
    first.write("code = 0\n", CODE)
    first.git("add", ".")
    first.git("commit", "--quiet", "--message=first")
    first.git("clone", "--quiet", "--bare", str(first.path), str(farm.root / "origin.git"))
    for key, value in (("gc.auto", "0"), ("core.autocrlf", "false")):
        first.git("config", key, value)
    first.git("remote", "add", "origin", "../origin.git")
    first.git("fetch", "--quiet")
    first.git("branch", "--quiet", "--set-upstream-to=origin/main")
    shutil.rmtree(first.path / ".git/hooks", ignore_errors=True)
    return first.head
