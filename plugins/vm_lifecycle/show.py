"""Pure: cards of one VM: its state, its screen, its serial console, its snapshots."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bot.domain import placement
from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Context,
    Element,
    Fields,
    Line,
    Listing,
    Menu,
    Picture,
    Section,
    Table,
    join,
    nwords,
    prose,
    words,
)
from bot.domain.cluster import Host, Snapshot, Vm, VmState
from bot.domain.message import Join, Message, Names, Number, Percent, Size, Words
from bot.domain.metrics import Sweep
from bot.domain.pages import MORE, ROW, Page, page_buttons
from bot.domain.placement import Rule
from bot.domain.plan import Objection
from bot.domain.state_names import VM_STATES, state_text
from bot.domain.units import moment_of
from bot.domain.vm_menu import SHOW, vm_buttons
from bot.domain.words import command
from plugins.vm_lifecycle import texts

if TYPE_CHECKING:
    from bot.ports.guests import Address, DiskUse, FileSystem, GuestSnapshot

SNAPSHOTS = 20  # on a page
_MOST_MOUNTS = 20  # file systems in one card


@dataclass(frozen=True, slots=True)
class VmReading:
    """What was read of one VM; ``troubles`` say what could not be."""

    addresses: tuple[Address, ...] = ()
    disks: tuple[DiskUse, ...] = ()
    snapshots: tuple[GuestSnapshot, ...] = ()
    troubles: tuple[Message, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()


def card(
    vm: Vm,
    snapshot: Snapshot,
    rules: Iterable[Rule],
    seen: VmReading,
    allowed: Collection[str] = (),
) -> Card:
    """All about one VM, with buttons for what may be done with it."""
    args = {"vm": vm.name, "state": VM_STATES[vm.state], "host": vm.host}
    text = (
        words("{vm} is {state}, with its memory saved, on {host}.", **args)
        if vm.saved
        else words("{vm} is {state} on {host}.", **args)
    )
    elements: list[Element] = [Fields(tuple(_pairs(vm, snapshot.host(vm.host), seen)))]
    if seen.disks:
        elements.append(_disks(seen))
    if seen.file_systems:
        elements.append(_file_systems(seen))
    if seen.snapshots:
        elements.append(_snapshots(seen))
    elements.append(Section(_movable(vm, snapshot, rules)))
    if buttons := vm_buttons(vm, set(allowed) - {SHOW}):
        elements.append(Buttons(buttons))
    small: list[Line] = [words("UUID `{uuid}`", uuid=vm.uuid), *seen.troubles]
    return Card(text, vm.name, (*elements, Context(tuple(small))))


def with_load(vm: Vm, sweep: Sweep | None) -> Vm:
    """The VM with its load as the newest sweep measured it, where this read could not."""
    known = (
        [each for each in sweep.vms if (each.uuid, each.host) == (vm.uuid, vm.host)]
        if sweep
        else []
    )
    return replace(vm, cpu=known[0].cpu) if vm.cpu is None and known else vm


def _pairs(vm: Vm, host: Host, seen: VmReading) -> Iterable[tuple[Line, Line]]:
    yield words("State"), _state(vm)
    if vm.problem:
        yield words("Not fully readable"), vm.problem
    yield (
        words("Host"),
        vm.host if host.up else words("{host} (does not answer; as last seen)", host=vm.host),
    )
    yield words("Size"), size_of(vm)
    yield words("Load"), _load(vm)
    yield words("IP addresses"), _addresses(vm, seen)
    if vm.detail and vm.detail.nics:
        nics = tuple(f"{nic.source} {nic.mac}" for nic in vm.detail.nics)
        yield words("NICs"), words("{nics}", nics=nics)
    yield words("Autostart"), words("yes") if vm.autostart else words("no")
    tags = texts.own_tags(vm)
    yield words("Tags"), join(tags, " ") if tags else words("no tags")
    if ends := moment_of(vm.tags.get(texts.EXPIRES, "")):
        yield words("Shut down at (ttl)"), words("{at}", at=ends)
    if until := vm.tags.get("drover.deleted"):
        yield words("Deleted"), _deletion_text(vm, until)


def _deletion_text(vm: Vm, until: str) -> Words:
    at = texts.moment(until)
    if vm.tags.get("drover.disks") == "remove":
        return words("can be restored until {at}; its disks are removed with it", at=at)
    return words("can be restored until {at}; its disks are kept", at=at)


def _state(vm: Vm) -> Line:
    state = state_text(vm.state, vm.paused_by)
    if vm.saved:
        return words("{state}, memory saved: the next start restores it", state=state)
    return state


def _load(vm: Vm) -> Line:
    if vm.cpu is None:
        return words("not measured")
    return nwords("{used} of {n} core", "{used} of {n} cores", n=vm.vcpus, used=Number(vm.cpu, 2))


def _addresses(vm: Vm, seen: VmReading) -> Line:
    if seen.addresses:
        known = tuple(f"{each.ip} ({each.source})" for each in seen.addresses)
        return words("{addresses}", addresses=known)
    if "address" in vm.tags:
        return words("{address} (set at its creation)", address=vm.tags["address"])
    return words("unknown (no guest agent or DHCP lease)")


def size_of(vm: Vm) -> Line:
    """Its size now, and the one it has after its next start where that is another."""
    now = _vcpus_and_memory(vm.vcpus, vm.memory)
    if vm.stored is None or (vm.stored.vcpus, vm.stored.memory) == (vm.vcpus, vm.memory):
        return now
    after = _vcpus_and_memory(vm.stored.vcpus, vm.stored.memory)
    return words("{now} now; {after} after a restart", now=now, after=after)


def _vcpus_and_memory(vcpus: int, memory: int) -> Message:
    return nwords("{n} vCPU, {memory}", "{n} vCPUs, {memory}", n=vcpus, memory=Size(memory))


def _disks(seen: VmReading) -> Table:
    rows = tuple(
        (each.target, each.source, each.problem or _bytes(each.capacity), _used_text(each))
        for each in seen.disks
    )
    columns = (words("Disk"), words("Path"), words("Size"), words("Used"))
    return Table(columns, rows, numeric=frozenset({2, 3}))


def _used_text(disk: DiskUse) -> Line:
    return "?" if disk.problem else _bytes(disk.allocation)


def _bytes(count: int) -> Line:
    return words("{size}", size=Size(count))


def _file_systems(seen: VmReading) -> Table:
    rows = tuple(
        (
            each.mount,
            each.kind,
            words("{disks}", disks=each.disks),
            _bytes(each.total),
            _bytes(each.used),
            _full(each),
        )
        for each in seen.file_systems[:_MOST_MOUNTS]
    )
    columns = (
        words("Mounted at (guest agent)"),
        words("Type"),
        words("Disk"),
        words("Size"),
        words("Used"),
        words("Full"),
    )
    return Table(columns, rows, numeric=frozenset({3, 4, 5}))


def _full(each: FileSystem) -> Line:
    return words("{share}", share=Percent(each.used / each.total)) if each.total else ""


def _snapshots(seen: VmReading) -> Table:
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (each.name, "?", "?", words("cannot be read: {why}", why=each.problem), "", "")
        if each.problem
        else (
            each.name,
            words("external") if each.external else words("internal"),
            words("{at}", at=each.made_at),
            _state_then(each.state),
            words("yes") if each.current else "",
            each.description,
        )
        for each in seen.snapshots
    )
    columns = (
        words("Snapshot"),
        words("Kind"),
        words("Taken"),
        words("State"),
        words("Current"),
        words("Description"),
    )
    return Table(columns, rows)


def _movable(vm: Vm, snapshot: Snapshot, rules: Iterable[Rule]) -> Line:
    """Where it could be migrated, or the first objection to each host."""
    if not vm.state.active:
        return words("Not running: live migration does not apply.")
    rules = tuple(dict.fromkeys((*placement.CORE_RULES, *rules)))
    others = [host.name for host in snapshot.hosts if host.name != vm.host]
    against = {name: placement.objections(snapshot, vm, name, rules) for name in others}
    if not others:
        return words("It cannot be migrated: there is no other host.")
    if free := sorted(name for name, found in against.items() if not found):
        return words("It can be migrated to {hosts}.", hosts=Names(tuple(free), Join.OR))
    first = dict.fromkeys(_with_remedy(found[0]) for found in against.values())
    return words("It cannot be migrated now: {why}", why=join(first))


def _with_remedy(objection: Objection) -> Line:
    text = prose(objection.text)
    return join((text, prose(objection.remedy))) if objection.remedy else text


def snapshots_card(vm: Vm, seen: VmReading, number: int = 1, allowed: Collection[str] = ()) -> Card:
    """A page of a VM's snapshots, each with a menu of what the person may do with it."""
    if not seen.snapshots:
        text = words("{vm} has no snapshots.", vm=vm.name)
        return Card(text, elements=(Section(text),))
    text = nwords(
        "{vm} has {n} snapshot.", "{vm} has {n} snapshots.", n=len(seen.snapshots), vm=vm.name
    )
    page = Page(len(seen.snapshots), number, SNAPSHOTS)
    rows = [
        Section(_snapshot_line(each), _snapshot_menu(vm, each, allowed))
        for each in seen.snapshots[page.first : page.last]
    ]
    pages: tuple[Element, ...] = (page_buttons(partial(_snapshots_line, vm), page),)
    if page.count > 1:
        pages = (*pages, Context((page.text,)))
    return Card(text, text, (*rows, *pages), export=_snapshots(seen))


def _snapshots_line(vm: Vm, page: int) -> str:
    return command("vm snapshot list {}", vm.name) + (f" --page {page}" if page > 1 else "")


_STATES_THEN: Mapping[str, Message] = {
    "running": VM_STATES[VmState.RUNNING],
    "paused": VM_STATES[VmState.PAUSED],
    "shutoff": VM_STATES[VmState.SHUT_OFF],
    "crashed": VM_STATES[VmState.CRASHED],
    "shutdown": VM_STATES[VmState.SHUTTING_DOWN],
    "pmsuspended": VM_STATES[VmState.SUSPENDED],
    "disk-snapshot": words("disks only"),
}
"""What the VM did when a snapshot was taken, by libvirt's word for it."""


def _state_then(state: str) -> Message:
    return _STATES_THEN.get(state) or prose(state)


def _snapshot_line(each: GuestSnapshot) -> Message:
    """Two lines of one snapshot."""
    if each.problem:
        facts: list[Message] = [words("cannot be read: {why}", why=each.problem)]
    else:
        kind = words("external") if each.external else words("internal")
        current = [words("current")] if each.current else []
        told: list[Message] = [each.description] if each.description else []
        facts = [words("{at}", at=each.made_at), _state_then(each.state), kind, *current, *told]
    return words("*{snapshot}*\n{facts}", snapshot=each.name, facts=join(facts, " · "))


def _snapshot_menu(vm: Vm, each: GuestSnapshot, allowed: Collection[str]) -> Menu | None:
    choices = tuple(
        Button(text, ROW, f"{command(f'{name} {{}} {{}}', vm.name, each.name)} {MORE}")
        for text, name in (
            (words("Revert…"), "vm snapshot revert"),
            (words("Delete…"), "vm snapshot delete"),
        )
        if name in allowed
    )
    return Menu(choices) if choices else None


def screen_card(vm: Vm, png: bytes) -> Card:
    """A VM's screen."""
    text = words("The screen of {vm} on {host}", vm=vm.name, host=vm.host)
    return Card(text, elements=(Picture(png, text, vm.name),))


def console_card(vm: Vm, text: str) -> Card:
    """The last lines of a VM's serial console."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        empty = words(
            "The serial console of {vm} on {host} is empty so far.", vm=vm.name, host=vm.host
        )
        return Card(empty, elements=(Section(empty),))
    title = words("Serial console of {vm} ({host}), last lines", vm=vm.name, host=vm.host)
    return Card(title, title, (Listing("\n".join(lines)),))
