"""An HTTP server for a WSGI application: waitress, which bounds threads, connections and sizes.

A request that does not come whole within seconds is hung up on, so that a client that trickles
holds nothing. TLS belongs to the proxy in front.
"""

from __future__ import annotations

import socket
import threading
import time

from bot.adapters.wsgi import Application, Environ, Respond, WsgiServer

__all__ = ["Application", "Environ", "Respond", "WebServer"]

THREADS = 8  # monitors and Slack ask a few things at a time
WHOLE_WITHIN = 10.0
"""Seconds for a request to arrive whole; its sender sends it in one go."""
LOOK = 0.5  # seconds between two looks for requests that do not arrive whole


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
        self._server = WsgiServer(
            application,
            socket.create_server((host, port), family=family),
            name=name,
            threads=threads,
            max_request_body_size=biggest,
            channel_timeout=30,
        )
        self._path = path
        self._closing = threading.Event()
        self._slow = threading.Thread(
            target=self._hang_up_on_slow, name=f"{name}-slow", daemon=True
        )

    @property
    def url(self) -> str:
        """The address, as a proxy on this machine calls it."""
        return f"http://{self._server.host}:{self._server.port}{self._path}"

    def start(self) -> None:
        """Serve in the background."""
        self._server.start()
        self._slow.start()

    def _hang_up_on_slow(self) -> None:
        """Waitress' own timeout is for silence.

        This is for a request that never comes to its end.
        """
        since: dict[int, tuple[object, float]] = {}
        while not self._closing.wait(LOOK):
            now = time.monotonic()
            channels = [each for each in self._server.channels if each.request is not None]
            known = {id(each): (each.request, now) for each in channels}
            since = {
                key: since[key] if key in since and since[key][0] is new[0] else new
                for key, new in known.items()
            }
            for channel in channels:
                if now - since[id(channel)][1] > WHOLE_WITHIN:
                    self._server.call_in_loop(channel.handle_close)

    def close(self) -> None:
        """Take no new connection, finish what is being answered, hang up on the rest."""
        self._closing.set()
        if self._slow.is_alive():
            self._slow.join()
        self._server.close()
