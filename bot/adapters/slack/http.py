"""HTTP mode: Bolt behind waitress, for workspaces that deliver to a URL instead of a socket."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from slack_bolt import App
from slack_bolt.adapter.wsgi import SlackRequestHandler

from bot.adapters.web_server import Application, Environ, Respond, WebServer

PATH = "/slack/events"
BIGGEST_BODY = 1 << 20
"""Slack's payloads are far smaller; what is bigger is not Slack's."""
STAMP = "HTTP_X_SLACK_REQUEST_TIMESTAMP"


def with_time(app: Application) -> Application:
    """Refuse with 401 what has a timestamp that is none, before Bolt.

    Which takes it for a fault of its own.
    """

    def check(environ: Environ, respond: Respond) -> Iterable[bytes]:
        stamp = str(environ.get(STAMP, ""))
        if stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12:
            return app(environ, respond)
        status = HTTPStatus.UNAUTHORIZED
        respond(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [b"invalid request timestamp"]

    return check


class HttpServer(WebServer):
    """Answers Slack's requests at ``/slack/events`` in its own threads.

    Bolt verifies each: a wrong signature, or one older than five minutes, gets 401.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        application = with_time(SlackRequestHandler(app, path=PATH))
        super().__init__(
            application, host, port, path=PATH, name="slack-http", biggest=BIGGEST_BODY
        )
