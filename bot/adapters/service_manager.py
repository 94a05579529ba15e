"""What the bot tells systemd: that it is ready, that it is alive, that it stops (sd_notify(3))."""

from __future__ import annotations

import os
import socket

import structlog

log = structlog.get_logger()

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


def notify(*states: str) -> None:
    """Send states to the service manager; nothing where none started the bot.

    A manager that cannot be told is logged: the bot itself works without one.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # An address that begins with @ is in the abstract namespace
    place = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.connect(place)
            told.sendall("\n".join(states).encode())
    except OSError as error:
        log.warning("the service manager cannot be told", socket=address, error=str(error))
