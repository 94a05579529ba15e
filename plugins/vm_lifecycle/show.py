"""Pure: one guest as a card, its screen, its serial line and its snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bot.domain import placement
from bot.domain.card import (
    Card,
    Context,
    Element,
    Fields,
    Line,
    Listing,
    Picture,
    Section,
    Table,
    prose,
    words,
)
from bot.domain.cluster import Host, Snapshot, Vm
from bot.domain.metrics import Sweep
from bot.domain.placement import Rule
from bot.domain.words import bytes_text, plural
from plugins.vm_lifecycle import cards, ttl

if TYPE_CHECKING:
    from bot.ports.guests import Address, DiskUse, FileSystem, GuestSnapshot

_MOST_MOUNTS = 20  # file systems in one card


@dataclass(frozen=True, slots=True)
class Portrait:
    """What was read of one guest; ``troubles`` are what could not be."""

    addresses: tuple[Address, ...] = ()
    disks: tuple[DiskUse, ...] = ()
    snapshots: tuple[GuestSnapshot, ...] = ()
    troubles: tuple[str, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()


def card(vm: Vm, snapshot: Snapshot, rules: Iterable[Rule], seen: Portrait) -> Card:
    """All about one guest."""
    host = snapshot.host(vm.host)
    told = f"{vm.name} is {vm.state}{', its memory is saved,' if vm.saved else ''} on {vm.host}"
    elements: list[Element] = [Fields(tuple(_pairs(vm, host, seen)))]
    if seen.disks:
        elements.append(_disks(seen))
    if seen.file_systems:
        elements.append(_file_systems(seen))
    if seen.snapshots:
        elements.append(_snapshots(seen))
    elements.append(Section(_movable(vm, snapshot, rules)))
    small: list[Line] = [words("UUID `{uuid}`", uuid=vm.uuid), *seen.troubles]
    return Card(f"{told}.", vm.name, (*elements, Context(tuple(small))))


def measured(vm: Vm, sweep: Sweep | None) -> Vm:
    """The guest with its load as the newest sweep measured it, where this very look could not."""
    known = (
        [each for each in sweep.vms if (each.uuid, each.host) == (vm.uuid, vm.host)]
        if sweep
        else []
    )
    return replace(vm, cpu=known[0].cpu) if vm.cpu is None and known else vm


def _pairs(vm: Vm, host: Host, seen: Portrait) -> Iterable[tuple[str, Line]]:
    by = f" by {vm.paused_by}" if vm.paused_by else ""
    saved = ", its memory is saved: a start goes on from it" if vm.saved else ""
    yield "State", f"{vm.state}{by}{saved}"
    if vm.problem:
        yield "Cannot be read whole", vm.problem
    yield "Host", vm.host if host.up else f"{vm.host} (does not answer; as last seen)"
    yield "Size", _size(vm)
    yield (
        "Load",
        "not measured" if vm.cpu is None else f"{vm.cpu:.2f} of {plural(vm.vcpus, 'core')}",
    )
    told = [f"{each.ip} ({each.source})" for each in seen.addresses]
    given = [f"{vm.tags['address']} (given at its creation)"] if "address" in vm.tags else []
    yield "Addresses", ", ".join(told or given) or "none known"
    if vm.detail and vm.detail.nics:
        yield "Cards", ", ".join(f"{nic.source} {nic.mac}" for nic in vm.detail.nics)
    yield "Starts with its host", "yes" if vm.autostart else "no"
    yield "Tags", " ".join(cards.own_tags(vm)) or "none"
    if ends := ttl.moment(vm.tags.get("expires", "")):
        yield "Ends (ttl)", words("{at}", at=ends)
    if until := vm.tags.get("drover.deleted"):
        kept = "removed with it" if vm.tags.get("drover.disks") == "remove" else "kept"
        yield "Deleted", f"can be restored until {cards.until_text(until)}; its disks are {kept}"


def _size(vm: Vm) -> str:
    """Its size now, and the one it has after its next start where that is another."""
    now = f"{plural(vm.vcpus, 'vCPU')}, {bytes_text(vm.memory)}"
    if vm.stored is None or (vm.stored.vcpus, vm.stored.memory) == (vm.vcpus, vm.memory):
        return now
    return f"{now} now; {plural(vm.stored.vcpus, 'vCPU')}, {bytes_text(vm.stored.memory)} after a restart"


def _disks(seen: Portrait) -> Table:
    rows = tuple(
        (each.target, each.source, each.problem or bytes_text(each.capacity), _taken(each))
        for each in seen.disks
    )
    return Table(("Disk", "Source", "Size", "Takes"), rows, numeric=frozenset({2, 3}))


def _taken(disk: DiskUse) -> str:
    return "?" if disk.problem else bytes_text(disk.allocation)


def _file_systems(seen: Portrait) -> Table:
    rows = tuple(
        (
            each.mount,
            each.kind,
            ", ".join(each.disks),
            bytes_text(each.total),
            bytes_text(each.used),
            _full(each),
        )
        for each in seen.file_systems[:_MOST_MOUNTS]
    )
    return Table(
        ("Mounted at (by its agent)", "Type", "Disk", "Size", "Used", "Full"),
        rows,
        numeric=frozenset({3, 4, 5}),
    )


def _full(each: FileSystem) -> str:
    return f"{each.used / each.total:.0%}" if each.total else ""


def _snapshots(seen: Portrait) -> Table:
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (each.name, "?", "?", f"cannot be read: {each.problem}", "", "")
        if each.problem
        else (
            each.name,
            "external" if each.external else "internal",
            words("{at}", at=each.made_at),
            each.state,
            "yes" if each.current else "",
            each.description,
        )
        for each in seen.snapshots
    )
    return Table(("Snapshot", "Kind", "Taken", "State", "Current", "Description"), rows)


def _movable(vm: Vm, snapshot: Snapshot, rules: Iterable[Rule]) -> Line:
    """Where it could move, or why nowhere, in the first words of each host's objections."""
    if not vm.state.active:
        return "It is off: there is nothing to migrate."
    rules = tuple(dict.fromkeys((*placement.CORE_RULES, *rules)))
    others = [host.name for host in snapshot.hosts if host.name != vm.host]
    against = {name: placement.objections(snapshot, vm, name, rules) for name in others}
    free = sorted(name for name, found in against.items() if not found)
    if free:
        return words("Could move to {hosts}.", hosts=", ".join(free))
    why = dict.fromkeys(f"{found[0].text} {found[0].remedy}".strip() for found in against.values())
    return prose(f"Cannot move now: {' '.join(why) or 'there is no other host.'}")


def snapshots_card(vm: Vm, seen: Portrait) -> Card:
    """A guest's snapshots."""
    if not seen.snapshots:
        said = f"{vm.name} has no snapshots."
        return Card(said, elements=(Section(said),))
    return Card(
        f"{vm.name} has {plural(len(seen.snapshots), 'snapshot')}.", elements=(_snapshots(seen),)
    )


def screen_card(vm: Vm, png: bytes) -> Card:
    """A guest's screen."""
    said = f"The screen of {vm.name} on {vm.host}"
    return Card(f"{said}.", elements=(Picture(png, said, vm.name),))


def console_card(vm: Vm, text: str) -> Card:
    """The end of a guest's serial line."""
    said = f"The serial line of {vm.name} on {vm.host}"
    if not text.strip():
        return Card(f"{said} is silent.", elements=(Section(f"{said}: nothing was written yet."),))
    return Card(
        f"{said}.", said, (Listing("\n".join(line for line in text.splitlines() if line.strip())),)
    )
