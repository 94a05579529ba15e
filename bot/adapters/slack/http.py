"""HTTP mode: Bolt behind waitress, for workspaces that deliver to a URL instead of a socket.

waitress rather than the standard library's server: it bounds threads, connections and sizes before
a request is even verified. A request that does not come whole within seconds is hung up on, so that
a client that trickles holds nothing. TLS belongs to the proxy in front.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from slack_bolt import App
from slack_bolt.adapter.wsgi import SlackRequestHandler
from waitress import wasyncore
from waitress.server import create_server

PATH = "/slack/events"
BIGGEST_BODY = 1 << 20
"""Slack's payloads are far smaller; what is bigger is not Slack's."""
THREADS = 8
PATIENCE = 10.0
WHOLE_WITHIN = 10.0
"""Seconds for a request to arrive whole; Slack sends its own in one go."""
LOOK = 0.5
STAMP = "HTTP_X_SLACK_REQUEST_TIMESTAMP"

Environ = dict[str, Any]
Respond = Callable[..., Any]


def with_time(
    app: Callable[[Environ, Respond], Iterable[bytes]],
) -> Callable[[Environ, Respond], Iterable[bytes]]:
    """Refuse with 401 what has a timestamp that is none, before Bolt.

    Which takes it for a fault of its own.
    """

    def checked(environ: Environ, respond: Respond) -> Iterable[bytes]:
        stamp = str(environ.get(STAMP, ""))
        if stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12:
            return app(environ, respond)
        status = HTTPStatus.UNAUTHORIZED
        respond(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [b"invalid request timestamp"]

    return checked


class HttpServer:
    """Answers Slack's requests at ``/slack/events`` in its own threads.

    Bolt verifies each: a wrong signature, or one older than five minutes, gets 401.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server: Any = create_server(  # its stubs miss what a server on one address has
            with_time(SlackRequestHandler(app, path=PATH)),
            sockets=[socket.create_server((host, port), family=family)],
            threads=THREADS,
            max_request_body_size=BIGGEST_BODY,
            channel_timeout=30,
            ident="",
            # A bot of many hosts has more open files than select() can take
            asyncore_use_poll=True,
        )
        self._thread = threading.Thread(target=self._server.run, name="slack-http", daemon=True)
        self._closing = threading.Event()
        self._slow = threading.Thread(
            target=self._hang_up_on_slow, name="slack-http-slow", daemon=True
        )

    @property
    def url(self) -> str:
        """The Request URL, as the lab or a proxy on this machine calls it."""
        return f"http://{self._server.effective_host}:{self._server.effective_port}{PATH}"

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
