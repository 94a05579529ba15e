"""Where hosts' shells are, and one connection to each, made when it is first wanted."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.domain.readiness import CommandResult

if TYPE_CHECKING:
    from bot.adapters.ssh_link import Link


@dataclass(frozen=True, slots=True)
class SshAddress:
    """How a host's shell is reached.

    ``key_file`` '' tries the agent and the user's default keys; ``known_hosts`` '' is the user's own file. A host
    whose key is in neither is refused. ``proxy_command`` (with ``%h`` and ``%p``) carries the connection instead
    of a socket, as OpenSSH's ProxyCommand does.
    """

    host: str
    user: str = ""
    port: int = 22
    key_file: str = ""
    known_hosts: str = ""
    proxy_command: str = ""

    def __str__(self) -> str:
        return f"{self.user + '@' if self.user else ''}{self.host}"


class SshHosts:
    """Runs programs on hosts, each over one connection that is kept and made anew when it broke. Safe for threads.

    Args:
        addresses: by the config's name of the host.
    """

    def __init__(self, addresses: Mapping[str, SshAddress]) -> None:
        self._addresses = addresses
        self._links: dict[str, Link] = {}
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

    def _link(self, host: str) -> Link:
        from bot.adapters.ssh_link import Link  # paramiko takes 25 MiB, and most bots rarely want a shell

        with self._lock:
            return self._links.setdefault(host, Link(host, self._addresses[host]))
