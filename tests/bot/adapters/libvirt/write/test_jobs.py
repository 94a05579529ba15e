"""What a migration is asked to do, what is copied, and how its progress reads."""

from __future__ import annotations

from dataclasses import replace

import libvirt
import pytest

from bot.adapters.libvirt.transport.connections import HostAddress
from bot.adapters.libvirt.write import jobs
from bot.domain.cluster import MIB
from bot.domain.steps import MigrateVm, MigrationPolicy

MOVE = MigrateVm("u", "web-1", "host-a", "host-b", 128 * MIB)
TARGET = HostAddress("host-b", "qemu+tls://host-b/system", "qemu+tls://host-b/system")

# As libvirt 9.0 told them of a guest on the lab (QEMU 7.2), in the second round of copying.
TOLD = {
    "operation": 5, "time_elapsed": 5290, "downtime": 702, "setup_time": 1, "data_total": 135012352,
    "data_processed": 100820460, "data_remaining": 7692288, "memory_total": 135012352,
    "memory_processed": 100820460, "memory_remaining": 7692288, "memory_bps": 20984479, "memory_constant": 9241,
    "memory_normal": 24546, "memory_normal_bytes": 100540416, "memory_dirty_rate": 595, "memory_iteration": 2,
    "memory_postcopy_requests": 0, "memory_page_size": 4096, "disk_total": 0, "disk_processed": 0,
    "disk_remaining": 0, "auto_converge_throttle": 20, "type": 2,
}  # fmt: skip


def has(flags: int, name: str) -> bool:
    return bool(flags & getattr(libvirt, f"VIR_MIGRATE_{name}"))


@pytest.mark.parametrize("policy", list(MigrationPolicy))
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("persistent", [True, False])
def test_flags(policy: MigrationPolicy, *, copy: bool, persistent: bool) -> None:
    flags = jobs.flags(replace(MOVE, policy=policy, copy_storage=copy), persistent=persistent)
    assert not has(flags, "TLS")
    assert jobs.flags(
        replace(MOVE, policy=policy, copy_storage=copy), persistent=persistent, tls=True
    ) == (flags | libvirt.VIR_MIGRATE_TLS)
    assert all(has(flags, each) for each in ("LIVE", "PEER2PEER", "AUTO_CONVERGE"))
    assert has(flags, "PERSIST_DEST") is has(flags, "UNDEFINE_SOURCE") is persistent
    assert has(flags, "NON_SHARED_DISK") is copy
    assert has(flags, "POSTCOPY") is (policy is MigrationPolicy.POSTCOPY)
    known = jobs.flags(
        replace(MOVE, policy=policy, copy_storage=copy), persistent=persistent, shared=True
    )
    assert known == flags | libvirt.VIR_MIGRATE_UNSAFE
    assert not any(
        has(flags, each)
        for each in ("UNSAFE", "PAUSED", "OFFLINE", "TUNNELLED", "CHANGE_PROTECTION")
    )


def test_a_plain_move_has_no_parameters() -> None:
    assert jobs.parameters(MOVE, TARGET, ["vda"]) == {}


def test_parameters() -> None:
    move = replace(MOVE, bandwidth=20, copy_storage=True, policy=MigrationPolicy.FAST)
    target = replace(TARGET, migrate_data_uri="tcp://10.0.0.2")
    assert jobs.parameters(move, target, ["vda", "vdb"]) == {
        "bandwidth": 20,
        "migrate_uri": "tcp://10.0.0.2",
        "migrate_disks": ["vda", "vdb"],
        "auto_converge.initial": 40,
        "auto_converge.increment": 20,
    }


def test_progress_in_our_units() -> None:
    job = jobs.job_of(TOLD)
    assert (job.phase, job.iteration, job.throttle) == ("copying", 2, 20)
    assert (job.total, job.remaining, job.processed) == (135012352, 7692288, 100820460)
    assert job.rate == 20984479.0
    assert job.dirty_rate == 595 * 4096.0, "libvirt tells pages a second"
    assert (job.elapsed, job.expected_downtime) == (5.29, 0.702)
    assert job.fraction == pytest.approx(0.943, abs=0.001)


def test_phases() -> None:
    assert jobs.job_of({"type": 2, "data_total": 0}).phase == "setup"
    assert jobs.job_of({**TOLD, "data_remaining": 0}).phase == "finishing"
    assert jobs.job_of(TOLD, postcopy=True).phase == "post-copy"


def test_disks_count_in_the_rate() -> None:
    assert jobs.job_of({**TOLD, "disk_bps": 1000}).rate == 20985479.0


class Domain:
    """A ``virDomain`` that tells what it is given."""

    def __init__(self, stats: dict[str, int], state: tuple[int, int] = (1, 1)) -> None:
        self._stats = stats
        self._state = list(state)

    def jobStats(self, flags: int = 0) -> dict[str, int]:  # noqa: N802 - libvirt's name
        return self._stats

    def state(self) -> list[int]:
        return self._state


def test_no_job_is_none() -> None:
    assert jobs.progress(Domain({"type": 0})) is None
    assert jobs.completed_job(Domain({"type": 0})) is None


def test_another_job_is_no_migration() -> None:
    backup = {**TOLD, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP}
    assert jobs.progress(Domain(backup)) is None


def test_a_job_that_ended_is_none() -> None:
    assert jobs.progress(Domain({**TOLD, "type": libvirt.VIR_DOMAIN_JOB_COMPLETED})) is None


def test_postcopy_shows_in_the_guests_state() -> None:
    paused = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
    job = jobs.progress(Domain(TOLD, paused))
    assert job is not None
    assert job.phase == "post-copy"
