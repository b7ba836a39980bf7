"""PgBouncer in front of a PostgreSQL server: it gives a session to another client after each transaction."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.postgres import words_to_act_unprivileged
from tests.support.waiting import until

_SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = trust
auth_file = {place}/users
pool_mode = transaction
default_pool_size = {sessions}
logfile = {place}/log
pidfile = {place}/pid
"""


@contextmanager
def pgbouncer(server_url: str, *, sessions: int = 4) -> Iterator[str]:
    """Run PgBouncer with so many sessions on a server; gives its URL. Skips the test where it is not installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    server = conninfo_to_dict(server_url)
    place = Path(tempfile.mkdtemp(prefix="dpb", dir="/tmp"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (place / "users").write_text(f'"{server["user"]}" "{server.get("password", "")}"\n')
    (place / "settings.ini").write_text(
        _SETTINGS.format(
            host=server.get("host", "127.0.0.1"),
            port=server.get("port", "5432"),
            listen=port,
            place=place,
            sessions=sessions,
        )
    )
    words = [*words_to_act_unprivileged(place), program, str(place / "settings.ini")]
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, cwd=place)
    try:
        assert until(lambda: _answers(port) or process.poll() is not None)
        assert process.poll() is None, (place / "output").read_text()
        parts = urlsplit(server_url)
        yield f"postgresql://{server['user']}@127.0.0.1:{port}{parts.path}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
