"""What several test files need."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import settings

from pytest_dogfood.execution import watcher
from pytest_dogfood.fleet.database.connection import Connection
from pytest_dogfood.fleet.database.tables import make_tables
from tests.support import postgres
from tests.support.checkouts import Farm, isolated
from tests.support.live_projects import Eventually, Live
from tests.support.run_results import leaving_out
from tests.support.scenes import Inner, Scene

Dogfood = Callable[..., pytest.RunResult]


def pytest_configure() -> None:
    """Let runs within a test behave as at a terminal, whatever started these tests.

    On a CI system pytest shortens nothing, and in a job of GitHub's a run writes a summary and annotations; what a
    shell starts in the background ignores Ctrl-C, and what nohup starts the end of its terminal. States that they
    cache are not put among those of the user. Laws have no deadline: the machine may be busy with something else.
    """
    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="dogfood-cache-")
    for name in list(os.environ):
        if name in {"CI", "BUILD_NUMBER"} or name.startswith("GITHUB_"):
            del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture
def short_root() -> Iterator[Path]:
    """A short private directory for the states of inner runs, whose paths must leave room for sockets."""
    path = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def dogfood(pytester: pytest.Pytester, short_root: Path) -> Dogfood:
    """Run `pytest --dogfood` in the pytester directory, in a process of its own."""

    def run(*arguments: str, on: bool = True) -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            *(["--dogfood"] if on else []),
            *leaving_out(arguments, "cacheprovider"),
            "-o",
            f"dogfood_state_root={short_root}",
            *arguments,
        )

    return run


@pytest.fixture(scope="session")
def new_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Scene]]:
    """Make scenes, for fixtures of any scope."""
    roots: list[Path] = []

    def make() -> Scene:
        roots.append(Path(tempfile.mkdtemp(prefix="d", dir="/tmp")))
        return Scene(tmp_path_factory.mktemp("scene"), roots[-1])

    yield make
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def scene(new_scene: Callable[[], Scene]) -> Scene:
    return new_scene()


@pytest.fixture(scope="session")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mapping[str, str]], Inner]]:
    """Return a function that makes a project out of files and their texts."""
    roots: list[Path] = []

    def make(files: Mapping[str, str]) -> Inner:
        roots.append(Path(tempfile.mkdtemp(prefix="d", dir="/tmp")))
        return Inner(tmp_path_factory.mktemp("inner"), roots[-1]).write(files)

    yield make
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def eventually() -> Eventually:
    """Return a function that waits until something is so, at most 30 seconds, and tells whether it is."""

    def wait(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 30
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        return condition()

    return wait


@pytest.fixture(scope="session")
def new_live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Live]]:
    """Make live projects, for fixtures of any scope; what their runs left running is ended."""
    made: list[Live] = []

    def make() -> Live:
        made.append(Live(tmp_path_factory.mktemp("live"), Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))))
        return made[-1]

    yield make
    for live in made:
        watcher.end_processes(live.marker, grace=0)
        shutil.rmtree(live.state_root, ignore_errors=True)


@pytest.fixture
def live(new_live: Callable[[], Live]) -> Live:
    return new_live()


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A directory for repositories, with a git that nobody has configured but the test."""
    return Farm(root=tmp_path, environment=isolated(tmp_path / "home"))


@pytest.fixture
def plain_git(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Farm:
    """Return a farm whose git is the one that the program under test calls, too."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "SSH_"))]:
        monkeypatch.delenv(name)
    for name, value in farm.environment.items():
        monkeypatch.setenv(name, value)
    return farm


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the URL of a PostgreSQL server: DOGFOOD_TEST_POSTGRES, or one that is started for the session."""
    if named := os.environ.get("DOGFOOD_TEST_POSTGRES"):
        yield named
        return
    with postgres.server() as started:
        yield started.url


@pytest.fixture(scope="session")
def new_postgres_url(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Make empty databases, for fixtures of any scope."""
    import psycopg

    made = []
    connection = psycopg.connect(postgres_server, autocommit=True)

    def new() -> str:
        name = f"dogfood_{uuid.uuid4().hex}"
        connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return urlsplit(postgres_server)._replace(path=f"/{name}").geturl()

    yield new
    # A server of our own goes as a whole.
    for name in made if "DOGFOOD_TEST_POSTGRES" in os.environ else ():
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


@pytest.fixture(scope="session")
def fleet_url(new_postgres_url: Callable[[], str]) -> str:
    """Return the URL of a database with the tables of a fleet."""
    url = new_postgres_url()
    connection = Connection(url)
    make_tables(connection)
    connection.close()
    return url


@pytest.fixture
def postgres_url(new_postgres_url: Callable[[], str]) -> str:
    return new_postgres_url()
