"""Bolt's socket, whose connection may break while a request is acknowledged."""

from __future__ import annotations

import structlog
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk.errors import SlackClientNotConnectedError
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

log = structlog.get_logger()


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
