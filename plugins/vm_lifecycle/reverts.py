"""Pure: what a revert to a snapshot changes besides the disks that are in it."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import DefinedThen, Vm, VmDetail, VmSnapshot
from bot.domain.message import Join, Message, Names, Size, nwords, words
from bot.domain.only_live import device_names
from bot.domain.plan import Reason
from bot.domain.words import names_for
from plugins.vm_lifecycle import texts

_WITHOUT_MEMORY = frozenset({"shutoff", "disk-snapshot"})
"""States in which libvirt takes a snapshot of the disks alone."""


def snapshots_of(vm: Vm) -> tuple[VmSnapshot, ...]:
    """Its snapshots, as far as its host tells them."""
    return (vm.detail.snapshot_list if vm.detail else None) or ()


def name_of_existing(typed: str, vm: Vm) -> str:
    """The name of the snapshot that is meant; what was typed where it is none, or not one alone."""
    alike = names_for(typed, [each.name for each in snapshots_of(vm)])
    return alike[0] if len(alike) == 1 else typed


def warnings(typed: str, vm: Vm) -> Iterator[Reason]:
    """Yield what a revert changes of the definition, and the disks that stay as they are.

    libvirt takes a VM back to the definition that its snapshot holds.
    """
    name = name_of_existing(typed, vm)
    taken = next((each for each in snapshots_of(vm) if each.name == name), None)
    if taken is None or vm.detail is None:
        return
    if taken.then is not None:
        yield from _devices(vm, vm.detail, taken.then)
        yield from _size(vm, taken.then)
    if taken.state in _WITHOUT_MEMORY and (parts := tuple(_firmware_state(vm.detail))):
        yield Reason(
            "firmware-stays",
            words(
                "That snapshot was taken without memory: {parts} of {vm} stay as they are now. A "
                "system whose disk is sealed with them may ask for its recovery key.",
                parts=Names(parts, Join.AND),
                vm=vm.name,
            ),
        )
    if taken.left_out:
        yield Reason(
            "left-out",
            words(
                "{disks} of {vm} are not in that snapshot: they keep what they hold now.",
                disks=Names(taken.left_out, most=texts.MOST_NAMED),
                vm=vm.name,
            ),
        )


def _firmware_state(detail: VmDetail) -> Iterator[Message]:
    """What only the memory's part of a snapshot holds, or a qcow2 image."""
    if detail.nvram and detail.nvram_format != "qcow2":
        yield words("UEFI variables")
    if detail.tpm == "emulator":
        yield words("the TPM state")


def _devices(vm: Vm, detail: VmDetail, then: DefinedThen) -> Iterator[Reason]:
    now = device_names(detail)
    added = tuple(name for name in now if name not in then.devices)
    removed = tuple(name for name in then.devices if name not in now)
    if added:
        yield Reason(
            "devices-lost",
            words(
                "The definition of {vm} goes back as well: it loses {devices}. "
                "Volumes of such disks stay in their pools.",
                vm=vm.name,
                devices=Names(added, most=texts.MOST_NAMED),
            ),
        )
    if removed:
        yield Reason(
            "devices-back",
            words(
                "The definition of {vm} goes back as well: it has {devices} again.",
                vm=vm.name,
                devices=Names(removed, most=texts.MOST_NAMED),
            ),
        )


def _size(vm: Vm, then: DefinedThen) -> Iterator[Reason]:
    now = (vm.stored.vcpus, vm.stored.memory) if vm.stored else (vm.vcpus, vm.memory)
    if (then.vcpus, then.memory) != now and then.memory:
        yield Reason(
            "size-back",
            nwords(
                "The definition of {vm} goes back as well: it has {n} vCPU and {memory} again.",
                "The definition of {vm} goes back as well: it has {n} vCPUs and {memory} again.",
                n=then.vcpus,
                vm=vm.name,
                memory=Size(then.memory),
            ),
        )
