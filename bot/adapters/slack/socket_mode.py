"""Bolt's socket, whose connection may break while a request is acknowledged."""

from __future__ import annotations

import threading

import structlog
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk.errors import SlackClientNotConnectedError
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

log = structlog.get_logger()

HANG_UP = 5.0  # seconds that closing the socket may take


class Socket(SocketModeHandler):
    """Logs an ack that cannot be sent as one line; the SDK logs a traceback.

    Nothing is to be done: the request was stored before, or refused. Slack delivers it again, which
    is a duplicate, or shows the person an error.
    """

    def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override] # as in Bolt's own
        """Handle a request and acknowledge it."""
        try:
            super().handle(client, req)
        except SlackClientNotConnectedError as error:
            log.warning(
                "an ack was lost with the connection to Slack; its request is handled",
                type=req.type,
                envelope=req.envelope_id,
                error=str(error),
            )


def hang_up(socket: SocketModeHandler) -> None:
    """Close the socket, and its threads, within `HANG_UP` seconds or when the process ends.

    The SDK's close waits for a lock that its receiver may hold for ever; a stop must not. Its
    processor of messages looks once a second whether it is closed, unless something comes: nothing
    does.
    """
    socket.client.closed = True
    socket.client.message_queue.put(None)
    closing = threading.Thread(target=_close, args=(socket,), name="slack-hangs-up", daemon=True)
    closing.start()
    closing.join(HANG_UP)
    if closing.is_alive():
        log.warning("the socket to Slack did not close in time; it ends with the process")


def _close(socket: SocketModeHandler) -> None:
    try:
        socket.close()  # type: ignore[no-untyped-call] # bolt left it untyped
    except AttributeError as error:
        # The SDK looks for its connection before it takes the lock: its receiver or its monitor
        # closed the same one meanwhile. Its threads are left running; a second close ends them.
        log.info("the connection to Slack closed by itself", error=str(error))
        socket.close()  # type: ignore[no-untyped-call] # bolt left it untyped
    socket.client.disconnect()  # one that its monitor opened meanwhile
