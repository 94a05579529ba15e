"""All hosts of the cluster behind one door."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from bot.domain.cluster import Job, Scheduler, Sighting, Snapshot
from bot.domain.steps import MigrateVm
from bot.ports.guests import Guests, Volume
from bot.ports.power import Powers
from bot.ports.readiness import Readiness


class Hypervisor(Readiness, Guests, Protocol):
    """All hosts of the cluster behind one door. Hosts are named as in the config, guests by UUID.

    Every method may raise ``HypervisorError``; ``HostUnreachableError`` when the host does not
    answer in time.
    """

    @property
    def power(self) -> Powers:
        """The hosts' power controllers, and what is proven of hosts that failed."""
        ...

    def snapshot(self, focus: Collection[str] = ()) -> Snapshot:
        """One read of the cluster, all hosts side by side, each under a deadline.

        A host that does not answer is in the snapshot with its health and last known guests; it
        never delays the others. ``focus``: names or UUIDs of guests to read in depth (``detail``
        fresh, ``cpu_fits`` for each host that is up, the dirty rate when it can be measured without
        disturbing anything).
        """
        ...

    def sightings(self, uuid: str) -> tuple[Sighting, ...]:
        """The guest's state on every configured host, asked afresh.

        A host that does not answer and is proven off, by its controllers read at this moment, is told as one that
        answers and has no such guest; one that answers voids whatever proved it off.
        """
        ...

    def migrate(self, move: MigrateVm) -> None:
        """Peer-to-peer live migration; blocks until libvirt answers.

        Not the truth: look at both hosts.
        """
        ...

    def copied_volumes(self, move: MigrateVm, host: str) -> tuple[Volume, ...]:
        """The volumes that ``host`` has at the places of the disks that ``move`` copies, looked for afresh.

        On the target before a move: what a copy would overwrite. After one that failed: what was
            made for the copy.
        On the source after one that succeeded: what is left there.
        """

    def job(self, host: str, uuid: str) -> Job | None:
        """Progress of the guest's migration out of ``host``; None when no job is active."""
        ...

    def last_job(self, host: str, uuid: str) -> Job | None:
        """How the guest's last migration went, asked of the host it is on now; None when that is not known.

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

    def pause(self, host: str, uuid: str) -> None:
        """Pause a running guest."""
        ...

    def resume(self, host: str, uuid: str) -> None:
        """Let a paused guest go on."""
        ...

    def set_autostart(self, host: str, uuid: str, *, on: bool) -> None:
        """Set or clear start at boot."""
        ...

    def autostart(self, host: str, uuid: str) -> bool:
        """Whether the guest starts at boot."""
        ...

    def set_scheduler(self, host: str, uuid: str, scheduler: Scheduler) -> None:
        """Apply the given (non-None) parameters, live and in the stored definition."""
        ...

    def scheduler(self, host: str, uuid: str) -> Scheduler:
        """The parameters in force, as the host reports them."""
        ...

    def cpu_seconds(self, host: str, uuid: str) -> float:
        """CPU time the guest has used so far on this host."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...
