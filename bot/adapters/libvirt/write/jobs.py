"""Migrations: starting one, watching it, and having a say in it."""

from __future__ import annotations

from collections.abc import Iterable

import libvirt

from bot.adapters.libvirt.transport.connections import HostAddress
from bot.domain.cluster import Job
from bot.domain.steps import MigrateVm, MigrationPolicy

# What FAST asks of auto-converge, in percent of CPU taken from the guest; QEMU's own are 20 and 10.
_FAST_INITIAL = 40
_FAST_INCREMENT = 20

# Codes by which a host says that there is no job to tell of: no such guest, not running, or
# arriving here.
_NO_JOB = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    }
)

_ENDED = frozenset(
    {
        libvirt.VIR_DOMAIN_JOB_NONE,
        libvirt.VIR_DOMAIN_JOB_COMPLETED,
        libvirt.VIR_DOMAIN_JOB_FAILED,
        libvirt.VIR_DOMAIN_JOB_CANCELLED,
    }
)


def flags(move: MigrateVm, *, persistent: bool, tls: bool = False, shared: bool = False) -> int:
    """The flags of ``virDomainMigrateToURI3``.

    UNSAFE is among them only where libvirt took for local what is known to be ``shared``.
    """
    chosen = (
        libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    )
    if persistent:
        chosen |= libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    if move.copy_storage:
        chosen |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
    if move.policy is MigrationPolicy.POSTCOPY:
        chosen |= libvirt.VIR_MIGRATE_POSTCOPY
    if tls:
        chosen |= libvirt.VIR_MIGRATE_TLS
    if shared:
        chosen |= libvirt.VIR_MIGRATE_UNSAFE
    return int(chosen)


def parameters(
    move: MigrateVm, target: HostAddress, disks: Iterable[str]
) -> dict[str, str | int | list[str]]:
    """The parameters of ``virDomainMigrateToURI3``; ``disks``: targets of those to copy."""
    chosen: dict[str, str | int | list[str]] = {}
    if move.bandwidth:
        chosen[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = move.bandwidth
    if target.migrate_data_uri:
        chosen[libvirt.VIR_MIGRATE_PARAM_URI] = target.migrate_data_uri
    copied = list(disks)
    if move.copy_storage and copied:  # an empty list would mean all of them
        chosen[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = copied
    if move.policy is MigrationPolicy.FAST:
        chosen[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL] = _FAST_INITIAL
        chosen[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT] = _FAST_INCREMENT
    return chosen


def progress(domain: libvirt.virDomain) -> Job | None:
    """Progress of a guest's migration out of this host; None when there is none."""
    try:
        stats = domain.jobStats()
        if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) in _ENDED:
            return None
        if (
            stats.get(libvirt.VIR_DOMAIN_JOB_OPERATION)
            != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        ):
            return None
        postcopy = domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY]
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_JOB:
            return None
        raise
    return job_of(stats, postcopy=postcopy)


def completed_job(domain: libvirt.virDomain) -> Job | None:
    """How the last migration of a guest went, told by the host it is on now.

    Kept until the next job.
    """
    flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        stats = domain.jobStats(flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_JOB:
            return None
        raise
    return (
        None
        if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE
        else job_of(stats)
    )


def job_of(stats: dict[str, int], *, postcopy: bool = False) -> Job:
    """Our progress from the dictionary of ``virDomainGetJobStats``.

    There, times are in ms, rates in bytes/s, and the dirty rate in pages a second.
    """
    downtime = stats.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME)
    page = stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, 4096)
    return Job(
        phase=_phase(stats, postcopy=postcopy),
        total=stats.get(libvirt.VIR_DOMAIN_JOB_DATA_TOTAL, 0),
        remaining=stats.get(libvirt.VIR_DOMAIN_JOB_DATA_REMAINING, 0),
        processed=stats.get(libvirt.VIR_DOMAIN_JOB_DATA_PROCESSED, 0),
        rate=float(
            stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_BPS, 0)
            + stats.get(libvirt.VIR_DOMAIN_JOB_DISK_BPS, 0)
        ),
        dirty_rate=float(stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, 0) * page),
        iteration=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_ITERATION, 0),
        throttle=stats.get(libvirt.VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, 0),
        elapsed=stats.get(libvirt.VIR_DOMAIN_JOB_TIME_ELAPSED, 0) / 1000,
        expected_downtime=None if downtime is None else downtime / 1000,
    )


def _phase(stats: dict[str, int], *, postcopy: bool) -> str:
    if postcopy:
        return "post-copy"
    if not stats.get(libvirt.VIR_DOMAIN_JOB_DATA_TOTAL):
        return "setup"
    return "copying" if stats.get(libvirt.VIR_DOMAIN_JOB_DATA_REMAINING) else "finishing"
