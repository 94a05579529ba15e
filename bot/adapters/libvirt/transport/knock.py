"""Whether a host's machine answers at all.

A port that opens, or that refuses, takes a kernel that lives.
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

_PORTS = {"tcp": 16509, "tls": 16514, "ssh": 22, "libssh": 22, "libssh2": 22}
"""libvirt's transports over the network, with their usual ports (https://libvirt.org/uri.html)."""


def place_of(uri: str) -> tuple[str, frozenset[int]] | None:
    """The host of a libvirt URI, and the ports to knock at with SSH's; None for a local one."""
    parts = urlsplit(uri)
    scheme, _, transport = parts.scheme.partition("+")
    port = _PORTS.get(transport or "tls")
    if not scheme or not parts.hostname or port is None:
        return None
    return parts.hostname, frozenset({parts.port or port, 22})


def knock(place: str, ports: frozenset[int], patience: float) -> bool:
    """Whether any of the ports opens or refuses within ``patience`` seconds."""
    with ThreadPoolExecutor(len(ports), thread_name_prefix="knock") as pool:
        return any(pool.map(lambda port: _answers(place, port, patience), ports))


def _answers(place: str, port: int, patience: float) -> bool:
    try:
        socket.create_connection((place, port), patience).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
