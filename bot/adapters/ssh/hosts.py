"""Where hosts' shells are, and one connection to each, made when it is first wanted."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bot.adapters.ssh.address import SshAddress
from bot.domain.readiness import CommandResult

if TYPE_CHECKING:
    from bot.adapters.ssh.link import SshLink


class SshHosts:
    """Runs programs on hosts, each over one connection that is kept and made anew when it broke.

    Safe for threads.

    Args:
        addresses: by the config's name of the host.
    """

    def __init__(self, addresses: Mapping[str, SshAddress]) -> None:
        self._addresses = addresses
        self._links: dict[str, SshLink] = {}
        # One link for each host, whoever asks first
        self._lock = threading.Lock()

    def run(self, host: str, argv: Sequence[str], deadline: float) -> CommandResult | None:
        """What the program answered; None when the host has no SSH address.

        Raises:
            HypervisorError: no connection, refused keys, or no end within ``deadline`` seconds.
        """
        return self._link(host).run(argv, deadline) if host in self._addresses else None

    def close(self) -> None:
        """Let go of every connection."""
        for link in self._links.values():
            link.close()

    def _link(self, host: str) -> SshLink:
        # Paramiko takes 25 MiB, and most bots rarely want a shell
        from bot.adapters.ssh.link import SshLink

        with self._lock:
            return self._links.setdefault(host, SshLink(host, self._addresses[host]))
