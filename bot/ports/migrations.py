"""Live migrations."""

from __future__ import annotations

from typing import Protocol

from bot.domain.cluster import Job
from bot.domain.steps import MigrateVm
from bot.ports.guests import Volume


class Migrations(Protocol):
    """Live migrations: start, watch, steer and cancel them.

    Every method may raise ``HypervisorError``, ``HostUnreachableError`` when the host does not
    answer.
    """

    def migrate(self, move: MigrateVm) -> None:
        """Peer-to-peer live migration; blocks until libvirt answers.

        Not the truth: look at both hosts.
        """
        ...

    def copied_volumes(self, move: MigrateVm, host: str) -> tuple[Volume, ...]:
        """The volumes that ``host`` has at the places of the disks that ``move`` copies.

        Looked for afresh.

        On the target before a move: what a copy would overwrite. After one that failed: what was
        made for the copy. On the source after one that succeeded: what is left there.
        """
        ...

    def job(self, host: str, uuid: str) -> Job | None:
        """Progress of the guest's migration out of ``host``; None when no job is active."""
        ...

    def last_job(self, host: str, uuid: str) -> Job | None:
        """How the guest's last migration went, asked of the host it is on now.

        None when that is not known.

        ``expected_downtime`` is then the pause that it truly had.
        """
        ...

    def cancel_job(self, host: str, uuid: str) -> None:
        """Ask for the migration's end; it may come too late."""
        ...

    def start_postcopy(self, host: str, uuid: str) -> None:
        """Switch a running migration that allows it to post-copy."""
        ...

    def raise_downtime(self, host: str, uuid: str, milliseconds: int) -> None:
        """Allow a running migration a longer pause at its end."""
        ...
