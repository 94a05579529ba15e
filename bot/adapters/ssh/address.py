"""How a host's shell is reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SshAddress:
    """How a host's shell is reached.

    ``key_file`` '' tries the agent and the user's default keys; ``known_hosts`` '' is the user's
    own file. A host whose key is in neither is refused. ``proxy_command`` (with ``%h`` and ``%p``)
    carries the connection instead of a socket, as OpenSSH's ProxyCommand does.
    """

    host: str
    user: str = ""
    port: int = 22
    key_file: str = ""
    known_hosts: str = ""
    proxy_command: str = ""

    def __str__(self) -> str:
        return f"{self.user + '@' if self.user else ''}{self.host}"
