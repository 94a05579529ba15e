"""An HTTP server for a WSGI application: waitress, which bounds threads, connections and sizes.

A request that does not come whole within seconds is hung up on, so that a client that trickles
holds nothing. TLS belongs to the proxy in front.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress import wasyncore
from waitress.server import create_server

THREADS = 8
PATIENCE = 10.0
WHOLE_WITHIN = 10.0
"""Seconds for a request to arrive whole; its sender sends it in one go."""
LOOK = 0.5

Environ = dict[str, Any]
Respond = Callable[..., Any]
Application = Callable[[Environ, Respond], Iterable[bytes]]


class WebServer:
    """Answers requests in its own threads.

    Args:
        application: what answers.
        host: address to listen on.
        port: 0 for any.
        path: where the application is, for ``url``.
        name: of its threads.
        biggest: bytes of a body; a bigger one gets 413 before the application is asked.
        threads: requests answered at once.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        application: Application,
        host: str,
        port: int,
        *,
        path: str,
        name: str,
        biggest: int,
        threads: int = THREADS,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server: Any = create_server(  # its stubs miss what a server on one address has
            application,
            sockets=[socket.create_server((host, port), family=family)],
            threads=threads,
            max_request_body_size=biggest,
            channel_timeout=30,
            ident="",
            # A bot of many hosts has more open files than select() can take
            asyncore_use_poll=True,
        )
        self._path = path
        self._thread = threading.Thread(target=self._server.run, name=name, daemon=True)
        self._closing = threading.Event()
        self._slow = threading.Thread(
            target=self._hang_up_on_slow, name=f"{name}-slow", daemon=True
        )

    @property
    def url(self) -> str:
        """The address, as a proxy on this machine calls it."""
        return f"http://{self._server.effective_host}:{self._server.effective_port}{self._path}"

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()
        self._slow.start()

    def _hang_up_on_slow(self) -> None:
        """Waitress' own timeout is for silence.

        This is for a request that never comes to its end.
        """
        since: dict[int, tuple[object, float]] = {}
        while not self._closing.wait(LOOK):
            now = time.monotonic()
            channels = [
                each
                for each in list(self._server.active_channels.values())
                if each.request is not None
            ]
            known = {id(each): (each.request, now) for each in channels}
            since = {
                key: since[key] if key in since and since[key][0] is new[0] else new
                for key, new in known.items()
            }
            for channel in channels:
                if now - since[id(channel)][1] > WHOLE_WITHIN:
                    self._server.trigger.pull_trigger(channel.handle_close)

    def close(self) -> None:
        """Take no new connection, finish what is being answered, hang up on the rest.

        waitress' own ``close`` closes files under the hands of its loop; the loop is asked to do it
        instead.
        """
        self._closing.set()
        if not self._thread.is_alive():
            return
        self._server.trigger.pull_trigger(lambda: wasyncore.dispatcher.close(self._server))
        self._server.task_dispatcher.shutdown()
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._server._map))  # noqa: SLF001
        self._thread.join(PATIENCE)
