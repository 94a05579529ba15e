"""What can be asked of hosts to tell whether they are ready."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from bot.domain.readiness import CpuBaseline, HostFacts, PairFacts


class Readiness(Protocol):
    """Looks at hosts, changes nothing.

    Every method may raise ``HypervisorError``, ``HostUnreachableError`` when the host does not
    answer.
    """

    def host_facts(self, host: str) -> HostFacts:
        """What libvirt tells of a host, asked afresh."""
        ...

    def pair_facts(self, source: str, target: str) -> PairFacts:
        """What two hosts are to each other in a migration from ``source`` to ``target``."""
        ...

    def cpu_baseline(self, hosts: Collection[str]) -> CpuBaseline:
        """The CPU every one of these hosts can run.

        Also how the guests running there stand to it.
        """
        ...
