"""waitress in a thread of its own: bounded threads, connections and sizes, and a clean end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from wsgiref.types import StartResponse, WSGIEnvironment

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server

PATIENCE = 10.0  # seconds for the loop to end

Environ: TypeAlias = WSGIEnvironment
Respond: TypeAlias = StartResponse
Application = Callable[[Environ, Respond], Iterable[bytes]]


class WsgiServer:
    """Answers HTTP requests with a WSGI application.

    waitress' own ``close`` closes files under the hands of its loop and of threads that are about
    to wake it: a byte would go to a closed file, or to a new one with its number. Here nothing is
    closed before the loop has ended.

    Args:
        app: the application.
        listening: where connections come in.
        name: the thread's.
        threads: requests answered at once.
        max_request_body_size: bytes.
        channel_timeout: seconds after which a silent connection is closed.
        cleanup_interval: seconds between two looks for such connections.
        connection_limit: connections at once; more wait.
    """

    def __init__(
        self,
        app: Application,
        listening: socket.socket,
        *,
        name: str,
        threads: int,
        max_request_body_size: int,
        channel_timeout: int,
        cleanup_interval: int = 30,
        connection_limit: int = 100,
    ) -> None:
        self._server: Any = create_server(  # its stubs miss what a server on one address has
            app,
            sockets=[listening],
            ident="",
            # A bot of many hosts has more open files than select() can take
            asyncore_use_poll=True,
            threads=threads,
            max_request_body_size=max_request_body_size,
            channel_timeout=channel_timeout,
            cleanup_interval=cleanup_interval,
            connection_limit=connection_limit,
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @property
    def host(self) -> str:
        """The address it listens on."""
        return str(self._server.effective_host)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.effective_port)

    @property
    def channels(self) -> list[HTTPChannel]:
        """The open connections, as waitress has them."""
        return list(self._server.active_channels.values())

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def call_in_loop(self, do: Callable[[], object]) -> None:
        """Have the loop's thread, which owns the connections, do something soon."""
        self._server.trigger.pull_trigger(do)

    def close(self) -> None:
        """Take no new connection, finish what is being answered, hang up on the rest."""
        serving = self._thread.is_alive()
        if serving:
            self.call_in_loop(lambda: wasyncore.dispatcher.close(self._server))
        self._server.task_dispatcher.shutdown()
        if serving:
            self.call_in_loop(self._stopping.set)
            self._thread.join(PATIENCE)
        # A thread that still answers would wake the loop through these files.
        if not self._server.task_dispatcher.threads and not self._thread.is_alive():
            wasyncore.close_all(self._server._map)  # noqa: SLF001 - there is no public way

    def _serve(self) -> None:
        while not self._stopping.is_set():
            wasyncore.loop(timeout=1, map=self._server._map, use_poll=True, count=1)  # noqa: SLF001
