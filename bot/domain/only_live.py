"""Pure: what a VM has only while it runs; whoever agrees to end it should know."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import Vm, VmDetail
from bot.domain.message import Code, Names, words
from bot.domain.plan import Reason
from bot.domain.storage import is_medium

_MOST_NAMED = 8  # a warning with more names is not read


def device_names(detail: VmDetail) -> tuple[str, ...]:
    """What people call its disks, NICs and host devices; removable drives come and go by hand."""
    disks = (disk.target for disk in detail.disks if not is_medium(disk))
    return (*disks, *(nic.mac.lower() for nic in detail.nics), *detail.hostdevs)


def warnings(vm: Vm) -> Iterator[Reason]:
    """Yield what of a VM is not in its stored definition."""
    stored = vm.stored
    if stored is not None and stored.without:
        yield Reason(
            "only-live",
            words(
                "{vm} has {devices} only while it runs: its stored definition on {host} lacks "
                "them, so it does not have them after its next start.",
                vm=vm.name,
                devices=Names(stored.without, most=_MOST_NAMED),
                host=vm.host,
            ),
        )
    if stored is not None and stored.other_disks:
        yield Reason(
            "other-disk",
            words(
                "The stored definition of {vm} on {host} has other images for {disks}: what it "
                "writes now is not there after its next start.",
                vm=vm.name,
                host=vm.host,
                disks=Names(stored.other_disks, most=_MOST_NAMED),
            ),
        )


def aborted_jobs(vm: Vm) -> Iterator[Reason]:
    """Yield the block jobs that end with the VM."""
    busy = [disk for disk in (vm.detail.disks if vm.detail else ()) if disk.busy]
    if busy:
        parts = (words("{disk} ({job})", disk=each.target, job=Code(each.busy)) for each in busy)
        yield Reason(
            "block-job",
            words(
                "Block jobs of {vm} are aborted: {disks}.", vm=vm.name, disks=Names(tuple(parts))
            ),
        )
