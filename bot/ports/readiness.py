"""What can be asked of hosts to tell whether they are ready."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from bot.domain.readiness import CommandResult, CpuBaseline, HostFacts, PairFacts


class Readiness(Protocol):
    """Looks at hosts, changes nothing.

    Every method may raise ``HypervisorError``; hosts by the config's names.
    """

    def host_facts(self, host: str) -> HostFacts:
        """What libvirt tells of a host, asked afresh."""
        ...

    def pair_facts(self, source: str, target: str) -> PairFacts:
        """What two hosts are to each other in a migration from ``source`` to ``target``."""
        ...

    def cpu_baseline(self, hosts: Collection[str]) -> CpuBaseline:
        """The CPU every one of these hosts can run, and how the guests running there stand to it."""
        ...

    def run(
        self, host: str, argv: Sequence[str], *, deadline: float = 20.0
    ) -> CommandResult | None:
        """Run a program on a host to its end over SSH; None when no SSH is configured for it.

        Raises:
            HypervisorError: SSH is configured and does not work, or the program did not end within
                ``deadline`` s.
        """
        ...
