"""A network between a client and a server that tests can make slow, cut, or let lose answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """Forwards connections to a server. Each direction takes `delay` seconds."""

    def __init__(self, connect: Callable[[], socket.socket], delay: float) -> None:
        self._connect = connect
        self._delay = delay
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._loses_next = threading.Event()
        self._stops_after = b""
        self.is_stopped = threading.Event()
        self._is_frozen = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_answer(self) -> None:
        """Cut the connection when the server answers the next time, and let the client hear nothing of it."""
        self._loses_next.set()

    def stop_sending_after(self, words: bytes) -> None:
        """Forward what clients send up to the end of these words, and nothing after that: the client is frozen."""
        self._stops_after = words

    def freeze_reading(self) -> None:
        """Take nothing from the server any more: the clients are frozen while they read."""
        self._is_frozen.set()

    def close(self) -> None:
        self._listening.close()
        for each in self._open:
            _cut(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = self._connect()
                self._open += [client, server]
                self._forward(client, server, self._of_client)
                self._forward(server, client, self._of_server)

    def _forward(
        self, source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Forward what comes, at its time, until either end closes."""
        on_the_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

        def receive() -> None:
            content = b"-"
            while content:
                try:
                    content = source.recv(65536) if not self._freezes(change) else self._wait_forever()
                except OSError:
                    content = b""
                on_the_way.put((time.monotonic() + self._delay, content))

        def send() -> None:
            while True:
                due, content = on_the_way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                changed = change(content) if content else None
                if changed is None:
                    _cut(source)
                    _cut(target)
                    return
                with suppress(OSError):
                    target.sendall(changed)

        threading.Thread(target=receive, daemon=True).start()
        threading.Thread(target=send, daemon=True).start()

    def _freezes(self, change: Callable[[bytes], bytes | None]) -> bool:
        return change == self._of_server and self._is_frozen.is_set()

    @staticmethod
    def _wait_forever() -> bytes:
        threading.Event().wait()
        return b""

    def _of_client(self, content: bytes) -> bytes | None:
        if self.is_stopped.is_set():
            return b""
        if self._stops_after and (found := content.find(self._stops_after)) >= 0:
            self.is_stopped.set()
            return content[: found + len(self._stops_after)]
        return content

    def _of_server(self, content: bytes) -> bytes | None:
        if self._loses_next.is_set():
            self._loses_next.clear()
            return None
        return content


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def proxy(server_url: str, *, delay: float = 0.0) -> Iterator[tuple[Proxy, str]]:
    """Put a proxy before a PostgreSQL server; gives it, and the URL of the server through it."""
    server = {name: str(value) for name, value in conninfo_to_dict(server_url).items()}
    host, port = server.get("host", "127.0.0.1"), server.get("port", "5432")

    def connect() -> socket.socket:
        if host.startswith("/"):
            made = socket.socket(socket.AF_UNIX)
            made.connect(f"{host}/.s.PGSQL.{port}")
            return made
        made = socket.create_connection((host, int(port)))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    made = Proxy(connect, delay)
    try:
        yield made, f"postgresql://{quote(server['user'])}@127.0.0.1:{made.port}/{server['dbname']}"
    finally:
        made.close()
