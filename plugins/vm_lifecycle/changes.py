"""Pure: what a plan makes of definitions, line by line, as its approvers see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bot.domain import owner
from bot.domain.cluster import Disk, Vm
from bot.domain.message import Message, Names, Size, nwords, words
from bot.domain.plan import DefinitionChange, Edit
from bot.domain.steps import Step
from plugins.vm_lifecycle.steps import (
    AddDisk,
    AddNic,
    AutostartVm,
    CreateVm,
    CreateVms,
    EjectMedium,
    GrowDisk,
    RemoveNic,
    RenameVm,
    ResizeVm,
    TagVm,
)

Changes = Iterator[DefinitionChange]
MOST_TAGS = 6  # on a card; the rest is counted


def of(steps: Sequence[Step], vms: Sequence[Vm]) -> tuple[DefinitionChange, ...]:
    """The changes of all steps; of several VMs each line names its VM."""
    by_uuid = {vm.uuid: vm for vm in vms}
    found: list[DefinitionChange] = []
    for step in steps:
        write = _WRITERS.get(type(step))
        if write is not None:
            found += write(step, by_uuid.get(getattr(step, "uuid", "")))
    return tuple(found)


def _new_vms(step: CreateVms, _vm: Vm | None) -> Changes:
    """What all have in common once; of each its name and host, and what differs."""
    first = step.guests[0]
    for guest in step.guests:
        where = words("on {host}, disk {disk}", host=guest.host, disk=guest.disk)
        yield DefinitionChange(Edit.ADD, words("VM"), where, subject=guest.name)
    yield from _new_parts(first)


def _new_vm(step: CreateVm, _vm: Vm | None) -> Changes:
    where = words("on {host}", host=step.host)
    yield DefinitionChange(Edit.ADD, words("VM"), where, subject=step.name)
    yield from _new_parts(step)


def _new_parts(new: CreateVm) -> Changes:
    tags = tuple(owner.tag_text(*each) for each in new.tags)
    cloud_init = nwords(
        "{n} line of user data", "{n} lines of user data", n=len(new.user_data.splitlines())
    )
    parts: tuple[tuple[Message, Message], ...] = (
        (words("vCPUs"), words("{count}, up to {most}", count=new.vcpus, most=new.vcpus_max)),
        (words("memory"), words("{size}", size=Size(new.memory))),
        (words("disk"), words("{size}, a copy of {image}", size=Size(new.capacity), image=new.base)
         if new.full_copy
         else words("{size} over {image}", size=Size(new.capacity), image=new.base)),
        (words("NIC"), words("{kind} {network}", kind=new.network_kind, network=new.network)),
        (words("machine"), words("{machine}, {arch}", machine=new.machine, arch=new.arch)),
        (words("cloud-init"), cloud_init),
        (words("tags"), words("{tags}", tags=Names(tags, most=MOST_TAGS)) if tags else ""),
        (words("start"), words("started at once") if new.start else words("left powered off")),
    )  # fmt: skip
    yield from (DefinitionChange(Edit.ADD, part, value) for part, value in parts if value != "")


def _size(step: ResizeVm, vm: Vm | None) -> Changes:
    if vm is None:
        return
    vcpus, memory = vm.vcpus, vm.memory
    if vm.stored is not None:
        vcpus, memory = vm.stored.vcpus, vm.stored.memory
    if vcpus != step.vcpus:
        yield _change(step.name, words("vCPUs"), str(vcpus), str(step.vcpus))
    if memory != step.memory:
        before, after = words("{size}", size=Size(memory)), words("{size}", size=Size(step.memory))
        yield _change(step.name, words("memory"), before, after)


def _name(step: RenameVm, _vm: Vm | None) -> Changes:
    yield _change(step.name, words("name"), step.name, step.to)


def _autostart(step: AutostartVm, _vm: Vm | None) -> Changes:
    states = (words("disabled"), words("enabled"))
    yield _change(step.name, words("autostart"), states[not step.on], states[step.on])


def _tags(step: TagVm, vm: Vm | None) -> Changes:
    had, has = dict(vm.tags) if vm is not None else {}, dict(step.tags)
    for key in sorted({*had, *has}):
        part = words("tag {key}", key=key)
        before, after = _tag_value(key, had), _tag_value(key, has)
        if key not in had:
            yield DefinitionChange(Edit.ADD, part, after, subject=step.name)
        elif key not in has:
            yield DefinitionChange(Edit.REMOVE, part, before=before, subject=step.name)
        elif had[key] != has[key]:
            yield _change(step.name, part, before, after)


def _tag_value(key: str, tags: Mapping[str, str]) -> Message:
    return owner.tag_value(key, tags.get(key, ""))


def _disk(step: AddDisk, _vm: Vm | None) -> Changes:
    value = words("{size}, new volume {volume}", size=Size(step.capacity), volume=step.volume)
    part = words("disk {target}", target=step.target)
    yield DefinitionChange(Edit.ADD, part, value, subject=step.name)


def _larger_disk(step: GrowDisk, vm: Vm | None) -> Changes:
    disk = _disk_of(vm, step.target)
    before: Message = "?"
    if disk is not None and disk.capacity is not None:
        before = words("{size}", size=Size(disk.capacity))
    part = words("disk {target}", target=step.target)
    yield _change(step.name, part, before, words("{size}", size=Size(step.capacity)))


def _nic(step: AddNic, _vm: Vm | None) -> Changes:
    value = words(
        "{kind} {network}, MAC {mac}",
        kind=step.network_kind,
        network=step.network,
        mac=step.mac,
    )
    yield DefinitionChange(Edit.ADD, words("NIC"), value, subject=step.name)


def _no_nic(step: RemoveNic, vm: Vm | None) -> Changes:
    nics = vm.detail.nics if vm is not None and vm.detail else ()
    found = next((each for each in nics if each.mac.lower() == step.mac), None)
    before: Message = words("MAC {mac}", mac=step.mac)
    if found is not None:
        before = words("{network}, MAC {mac}", network=found.source, mac=step.mac)
    yield DefinitionChange(Edit.REMOVE, words("NIC"), before=before, subject=step.name)


def _no_medium(step: EjectMedium, vm: Vm | None) -> Changes:
    disk = _disk_of(vm, step.target)
    part = words("medium in {target}", target=step.target)
    before = disk.source if disk is not None else ""
    yield DefinitionChange(Edit.REMOVE, part, before=before, subject=step.name)


def _disk_of(vm: Vm | None, target: str) -> Disk | None:
    disks = vm.detail.disks if vm is not None and vm.detail else ()
    return next((each for each in disks if each.target == target), None)


def _change(vm: str, part: Message, before: Message, after: Message) -> DefinitionChange:
    return DefinitionChange(Edit.CHANGE, part, after, before, vm)


# Any: each writer takes its own kind of step
_WRITERS: Mapping[type[Step], Callable[[Any, Vm | None], Changes]] = {
    CreateVm: _new_vm,
    CreateVms: _new_vms,
    ResizeVm: _size,
    RenameVm: _name,
    AutostartVm: _autostart,
    TagVm: _tags,
    AddDisk: _disk,
    GrowDisk: _larger_disk,
    AddNic: _nic,
    RemoveNic: _no_nic,
    EjectMedium: _no_medium,
}
