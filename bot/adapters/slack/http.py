"""HTTP mode: Bolt behind waitress, for workspaces that deliver to a URL instead of a socket.

waitress rather than the standard library's server: it bounds threads, sizes and slow clients before a request is even
verified. TLS belongs to the proxy in front.
"""

from __future__ import annotations

import socket
import threading
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


class HttpServer:
    """Answers Slack's requests at ``/slack/events`` in its own threads.

    Bolt verifies each: a wrong signature, or one older than five minutes, gets 401.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server: Any = create_server(  # its stubs miss what a server on one address has
            SlackRequestHandler(app, path=PATH),
            sockets=[socket.create_server((host, port), family=family)],
            threads=THREADS,
            max_request_body_size=BIGGEST_BODY,
            channel_timeout=30,
            ident="",
        )
        self._thread = threading.Thread(target=self._server.run, name="slack-http", daemon=True)

    @property
    def url(self) -> str:
        """The Request URL, as the lab or a proxy on this machine calls it."""
        return f"http://{self._server.effective_host}:{self._server.effective_port}{PATH}"

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def close(self) -> None:
        """Take no new connection, finish what is being answered, hang up on the rest.

        waitress' own ``close`` closes files under the hands of its loop; the loop is asked to do it instead.
        """
        if not self._thread.is_alive():
            return
        self._server.trigger.pull_trigger(lambda: wasyncore.dispatcher.close(self._server))
        self._server.task_dispatcher.shutdown()
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._server._map))  # noqa: SLF001
        self._thread.join(PATIENCE)
