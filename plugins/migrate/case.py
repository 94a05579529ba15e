"""Pure: a VM that someone wants to move, its disks, and parts of messages about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.domain.cluster import Disk, Host, Pool, Scheduler, Seen, Snapshot, Vm, VmDetail
from bot.domain.message import Code, Message, Names, Percent, words
from bot.domain.storage import (
    is_medium,
    is_one_storage,
    is_same_place,
    is_shared,
    pool_of,
    sightings,
)
from bot.domain.words import command

AUTOSTART, SCHEDULER = words("autostart"), words("CPU scheduling")
DEFAULT_PERIOD = 100_000  # microseconds; libvirt's own when none is set


@dataclass(frozen=True, slots=True)
class MigrationCase:
    """A VM that someone wants to move. ``detail`` is empty when it could not be read."""

    snapshot: Snapshot
    vm: Vm
    copy_storage: bool = False

    @property
    def source(self) -> Host:
        """The host it is on."""
        return self.snapshot.host(self.vm.host)

    @property
    def detail(self) -> VmDetail:
        """What was read of its definition."""
        return self.vm.detail or VmDetail()

    @property
    def disks(self) -> tuple[Disk, ...]:
        """Its disks and drives that hold something."""
        return tuple(disk for disk in self.detail.disks if disk.source)

    @property
    def shared_disks(self) -> tuple[Disk, ...]:
        """Disks, read-only media too, that other hosts can see."""
        return tuple(disk for disk in self.disks if is_shared(self.source, disk))

    @property
    def own_media(self) -> tuple[Disk, ...]:
        """Read-only media that are not known to be shared."""
        return tuple(
            disk for disk in self.disks if is_medium(disk) and not is_shared(self.source, disk)
        )

    def shared_pools(self, target: Host) -> tuple[tuple[Pool, Pool], ...]:
        """Return the shared pools of its disks, each with the one that stands for it on a host."""
        found: dict[str, tuple[Pool, Pool]] = {}
        for disk in self.shared_disks:
            pool = pool_of(self.source, disk)
            if pool is None or not pool.shared or disk.kind == "network":
                continue
            there = [each for each in target.pools if each.active and each.shared]
            alike = [each for each in there if is_same_place(disk, pool, each)]
            # Of several in one folder, as iSCSI pools are, the one that is the same storage
            ones = [each for each in alike if is_one_storage(pool, each)]
            if alike:
                found[pool.name] = (pool, (ones or alike)[0])
        return tuple(found.values())

    def files_on(self, host: str, disks: Iterable[Disk]) -> frozenset[Seen]:
        """Return what a host showed at the places of these disks."""
        look = self.snapshot.target_look(self.vm.uuid, host)
        return sightings(disks, look.disks if look else ())

    def same_somewhere(self, disks: Sequence[Disk]) -> bool:
        """Check whether some host has the very files of all these disks.

        Then only the other hosts are ruled out.
        """
        return any(self.files_on(each.name, disks) == {Seen.SAME} for each in self.snapshot.hosts)

    def hosts_with(self, disks: Sequence[Disk]) -> tuple[str, ...]:
        """Hosts that have a file at the place of one of these disks."""
        some = {Seen.SAME, Seen.OTHER}
        return tuple(
            each.name for each in self.snapshot.hosts if self.files_on(each.name, disks) & some
        )


def as_code(template: str, *names: str) -> Code:
    """Return a command for people to type, in chat or on a host, with each name quoted."""
    return Code(command(template, *names))


def disks_and_sources(disks: Iterable[Disk]) -> Names:
    """List disks with their files: ``vda (/srv/a.qcow2)``."""
    return Names(tuple(f"{disk.target} ({disk.source})" for disk in disks))


def disk_targets(disks: Iterable[Disk]) -> Names:
    """List disks as the VM calls them: ``vda, vdb``."""
    return Names(tuple(disk.target for disk in disks))


def version_text(version: int) -> str:
    """Write a version as its vendor does; libvirt counts 7.2.0 as 7002000."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def scheduler_text(scheduler: Scheduler) -> Message:
    """CPU shares and limit: ``shares 1024, limit 30% per vCPU``."""
    limit: Message = words("no limit")
    if scheduler.has_cap and scheduler.vcpu_quota:
        share = scheduler.vcpu_quota / (scheduler.vcpu_period or DEFAULT_PERIOD)
        limit = words("limit {share} per vCPU", share=Percent(share))
    if scheduler.cpu_shares is None:
        return limit
    return words("shares {shares}, {limit}", shares=scheduler.cpu_shares, limit=limit)
