"""Pure: the plan to clone a VM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bot.domain.cluster import Disk, Host, Snapshot, Vm
from bot.domain.message import Message, Names, nwords, words
from bot.domain.plan import Objection
from plugins.vm_lifecycle import cloud_init, creation, fates
from plugins.vm_lifecycle.intents import NewClone
from plugins.vm_lifecycle.places import own_disk, volume_on
from plugins.vm_lifecycle.planner import Planned, VmInCluster, change_objections
from plugins.vm_lifecycle.steps import CloneVm
from plugins.vm_lifecycle.vm_states import must_be_off

_OWN = frozenset({"address", "expires", "ttl"})
"""Tags that a clone does not inherit."""


_BY_HAND = words(
    "Copy the disk with the tools of that storage, and define the clone on the host with "
    "`virsh define`."
)


def clone(intent: NewClone, case: VmInCluster) -> Planned:
    """Clone a VM on its host; copies of a running one would be inconsistent."""
    vm, snapshot = case.vm, case.snapshot
    host = snapshot.host(vm.host)
    against = [
        *change_objections(vm, snapshot),
        *creation.name_slips(intent.to),
        *creation.name_objections((intent.to,), snapshot),
    ]
    if vm.state.active:
        against.append(must_be_off(vm, words("Only a powered-off VM can be cloned.")))
    if intent.unique:
        against.append(_not_copyable(vm, intent.unique))
    own = [
        disk
        for disk in (vm.detail.disks if vm.detail else ())
        if own_disk(disk) and not disk.shareable
    ]
    places = {disk.target: volume_on(disk.source, host) for disk in own}
    against += _pool_objections(vm, own, places, host)
    return (
        _clone(intent, vm, snapshot, {t: place for t, place in places.items() if place}),
    ), tuple(against)


def _not_copyable(vm: Vm, unique: tuple[Message, ...]) -> Objection:
    return Objection(
        "not-copyable",
        words(
            "{vm} cannot be cloned: two VMs cannot share {parts}.",
            vm=vm.name,
            parts=Names(unique),
        ),
        words("Remove that from its definition first, or make a new VM with `/kvm vm create`."),
    )


def _pool_objections(
    vm: Vm, own: Sequence[Disk], places: Mapping[str, str], host: Host
) -> Iterator[Objection]:
    """Yield an objection for disks that lie in no pool, and for pools without enough space."""
    if lost := [disk.source for disk in own if not places[disk.target]]:
        yield Objection(
            "no-pool",
            nwords(
                "{n} disk of {vm} is in no storage pool: {disks}.",
                "{n} disks of {vm} are in no storage pool: {disks}.",
                n=len(lost),
                vm=vm.name,
                disks=lost,
            ),
            words("Define a pool for their directory."),
        )
    for disk in own if host.up else ():
        pool = places[disk.target].partition("/")[0]
        if pool:
            yield from creation.image_objections(pool, disk.capacity or 0, host, _BY_HAND)


def _seed(vm: Vm, snapshot: Snapshot, stem: str) -> tuple[str, str]:
    """Target and new volume of a VM's cloud-init seed made by Drover; '' when it has none."""
    host = snapshot.host(vm.host)
    for disk in vm.detail.disks if vm.detail else ():
        place = volume_on(disk.source, host)
        if fates.is_own_seed(vm.uuid, place):
            pool, form = place.partition("/")[0], place.rpartition(".")[2]
            return disk.target, f"{pool}/{stem}-seed.{form}"
    return "", ""


def _clone(intent: NewClone, vm: Vm, snapshot: Snapshot, places: Mapping[str, str]) -> CloneVm:
    uuid = creation.identity(f"{vm.uuid} {intent.to}", snapshot)
    stem = f"{intent.to}-{uuid[:8]}"
    seed = _seed(vm, snapshot, stem)
    copies = [
        (target, place, f"{place.partition('/')[0]}/{stem}-{target}.qcow2")
        for target, place in places.items()
    ]
    cards_of = vm.detail.nics if vm.detail else ()
    macs = tuple(
        creation.mac_of(creation.identity(f"{uuid} card {number}", snapshot))
        for number in range(len(cards_of))
    )
    who = cloud_init.VmIdentity(uuid, intent.to, macs[0] if macs else "")
    tags = {
        key: value
        for key, value in vm.tags.items()
        if key not in _OWN and not key.startswith("drover.")
    }
    return CloneVm(
        uuid,
        intent.to,
        vm.host,
        vm.uuid,
        vm.name,
        tuple(each for each in copies if each[0] != seed[0]),
        seed,
        cloud_init.meta_data(who),
        cloud_init.network_config(who),
        macs,
        tuple(sorted(tags.items())),
    )
