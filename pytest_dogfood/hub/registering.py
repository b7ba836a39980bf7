"""Which repositories there are, and where they are checked out."""

from __future__ import annotations

import shlex
import uuid
from importlib import import_module
from pathlib import Path

from sqlalchemy import Connection, Table, func, select, update

from pytest_dogfood.consistency.hub.queries import read_repos
from pytest_dogfood.consistency.hub.schema import checkouts, repos
from pytest_dogfood.hub.entries import Checkout, Repo
from pytest_dogfood.hub.errors import HubUsageError
from pytest_dogfood.hub.machine import Machine


def repo_of(connection: Connection, slug: str, root_commit: str) -> Repo:
    """Give the repository of a slug, added if it is new; an empty `root_commit` is one that is not known."""
    _insert_once(connection, repos, id=str(uuid.uuid4()), slug=slug, root_commit=root_commit)
    found = read_repos(connection, slug)[0]
    if not root_commit or root_commit == found.root_commit:
        return found
    if found.root_commit:
        raise HubUsageError(
            f"'{slug}' begins with commit {found.root_commit[:12]}, but this history begins with "
            f"{root_commit[:12]}: another repository? Register it under another name: --slug NAME"
        )
    connection.execute(update(repos).where(repos.c.id == found.id).values(root_commit=root_commit))
    return Repo(id=found.id, slug=slug, root_commit=root_commit)


def checkout_of(connection: Connection, repo: Repo, path: Path, machine: Machine) -> Checkout:
    """Give the checkout of a repository at a path of this machine, added if it is new."""
    row = {"machine_id": machine.id, "host": machine.host, "path": str(path)}
    _insert_once(connection, checkouts, id=str(uuid.uuid4()), repo=repo.id, **row)
    here = (checkouts.c.machine_id == machine.id, checkouts.c.path == str(path))
    joined = select(checkouts.c.id, checkouts.c.gone_at, repos.c.slug).join(
        repos, checkouts.c.repo == repos.c.id
    )
    found = connection.execute(joined.where(*here)).one()
    if found.slug != repo.slug and found.gone_at is None:
        raise HubUsageError(
            f"{path} is registered as '{found.slug}' already; use that name, or, if it holds another repository now, "
            f"first: dogfood hub forget {shlex.quote(str(path))}"
        )
    connection.execute(update(checkouts).where(*here).values(repo=repo.id, host=machine.host, gone_at=None))
    return Checkout(id=found.id, repo=repo.slug, **row)


def forget(connection: Connection, path: Path, machine: Machine) -> None:
    """Forget that there is a checkout at a path of this machine; what was written back there stays known."""
    here = (checkouts.c.machine_id == machine.id, checkouts.c.path == str(path))
    connection.execute(update(checkouts).where(*here).values(gone_at=func.now()))


def _insert_once(connection: Connection, table: Table, **values: str) -> None:
    """Insert a row unless there is one with the same key, whoever was first."""
    # Each has a statement of its own for this, and PostgreSQL's takes long to import.
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing())
