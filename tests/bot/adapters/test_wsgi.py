"""The HTTP server ends without touching files that are closed."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from bot.adapters.wsgi import WsgiServer
from tests.waiting import until


def answer(environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
    respond("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def begin() -> WsgiServer:
    server = WsgiServer(
        answer,
        socket.create_server(("127.0.0.1", 0)),
        name="wsgi-test",
        threads=2,
        max_request_body_size=1 << 16,
        channel_timeout=60,
    )
    server.start()
    return server


def test_it_answers_until_it_is_closed() -> None:
    server = begin()
    url = f"http://{server.host}:{server.port}/here"
    with urllib.request.urlopen(url, timeout=60) as got:
        assert got.read() == b"/here"
    server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=60)


def test_nothing_is_closed_under_a_thread_that_is_about_to_wake_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop may do what is asked of it before the thread that asked has written its byte."""
    server = begin()
    trigger = server._server.trigger
    pull = trigger._physical_pull

    def pull_late() -> None:
        pull()  # somebody else's byte, which wakes the loop
        until(lambda: not trigger.thunks, "the loop has done what was asked")
        pull()

    monkeypatch.setattr(trigger, "_physical_pull", pull_late)
    server.close()
    assert not server._thread.is_alive()


def test_one_that_never_began_is_closed_too() -> None:
    server = WsgiServer(
        answer,
        socket.create_server(("127.0.0.1", 0)),
        name="wsgi-test",
        threads=1,
        max_request_body_size=1 << 16,
        channel_timeout=60,
    )
    port = server.port
    server.close()
    socket.create_server(("127.0.0.1", port)).close()
