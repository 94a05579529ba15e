"""Programs run on hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.readiness import CommandResult


class Shell(Protocol):
    """Runs programs on hosts over SSH."""

    def run(
        self, host: str, argv: Sequence[str], *, deadline: float = 20.0
    ) -> CommandResult | None:
        """Run a program on a host to its end over SSH; None when no SSH is configured for it.

        Raises:
            HypervisorError: SSH is configured and does not work, or the program did not end within
                ``deadline`` s.
        """
        ...

    def knock(self, host: str) -> bool | None:
        """Whether the host's machine answers the bot at all: a port that opens, or that refuses.

        None: the configuration tells no address to knock at.
        """
        ...

    def answers(self, place: str, port: int) -> bool:
        """Whether a machine that is no host, such as a gateway, answers the bot at a TCP port.

        A port that opens or that refuses.
        """
        ...
