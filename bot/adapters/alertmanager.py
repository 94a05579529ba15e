"""The webhook for a site's Alertmanager: authenticated, bounded, limited in rate."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable
from http import HTTPStatus

import structlog

from bot.adapters.web_server import Environ, Respond, WebServer
from bot.domain.errors import DroverError

log = structlog.get_logger()

PATH = "/alertmanager"
BIGGEST_BODY = 256 * 1024  # bytes: some hundred alerts; a sender must not fill our memory
THREADS = 2  # a sender that hangs holds one, the next one is still heard

Take = Callable[[object], None]
"""Keeps what a payload tells; ``ValueError``: it is none of ours; ``DroverError``: not now."""
Admit = Callable[[], bool]
"""Whether one more request may be answered now."""


class AlertmanagerHook:
    """A WSGI application that takes ``POST /alertmanager`` with ``Authorization: Bearer TOKEN``.

    Alertmanager repeats what is answered with 429 or 5xx, and gives up what is answered with
    another 4xx.

    Args:
        token: the secret.
        take: keeps a payload.
        admit: limits the rate.
    """

    def __init__(self, token: str, take: Take, admit: Admit) -> None:
        self._expected = f"Bearer {token}".encode()
        self._take, self._admit = take, admit

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        """Answer one request."""
        status = self._answer(environ)
        if status is not HTTPStatus.OK:
            log.warning("a request to the alert webhook was refused", status=status.value)
        respond(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [status.phrase.encode()]

    def _answer(self, environ: Environ) -> HTTPStatus:
        if environ.get("PATH_INFO") != PATH:
            return HTTPStatus.NOT_FOUND
        given = str(environ.get("HTTP_AUTHORIZATION", "")).encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._expected):
            return HTTPStatus.UNAUTHORIZED
        if environ.get("REQUEST_METHOD") != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED
        if not self._admit():
            return HTTPStatus.TOO_MANY_REQUESTS
        return self._respond(environ["wsgi.input"].read(BIGGEST_BODY + 1))

    def _respond(self, body: bytes) -> HTTPStatus:
        if len(body) > BIGGEST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        try:
            self._take(json.loads(body))
        except (ValueError, RecursionError) as error:
            log.warning("alerts not understood", error=str(error)[:200])
            return HTTPStatus.BAD_REQUEST
        except DroverError as error:
            log.warning("alerts not kept", error=str(error))
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.OK


def serve(hook: AlertmanagerHook, host: str, port: int) -> WebServer:
    """A server for the webhook, not started yet.

    Raises:
        OSError: the address cannot be had.
    """
    return WebServer(
        hook, host, port, path=PATH, name="alertmanager", biggest=BIGGEST_BODY, threads=THREADS
    )
