"""Pure: what becomes of a VM's images when it is deleted, and who else needs them."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.domain.backing import (
    Backing,
    Fate,
    Image,
    ImageUse,
    Looked,
    Storage,
    image_name,
    plain,
    use_text,
)
from bot.domain.cluster import Disk, Host, Snapshot, Vm
from bot.domain.message import Member, Message, Words, words
from bot.domain.storage import is_shared
from plugins.vm_lifecycle.settings import VmLifecycleSettings

FIRMWARE, WRITTEN = "firmware", "written"
"""Why an image stays, or must not be written to: others have these UEFI variables; others run."""
_OWN_NVRAM = "/var/lib/libvirt/"
_WRITABLE = frozenset({"disk", "lun"})


@dataclass(frozen=True, slots=True)
class StorageView:
    """The cluster, and the storage of the hosts that answered."""

    settings: VmLifecycleSettings
    snapshot: Snapshot
    looked: Looked
    backing: Backing

    @classmethod
    def of(cls, settings: VmLifecycleSettings, snapshot: Snapshot, looked: Looked) -> StorageView:
        """A scene with its images put together."""
        shared = {
            (host.name, pool.name) for host in snapshot.hosts for pool in host.pools if pool.shared
        }
        return cls(settings, snapshot, looked, Backing(looked.storages, shared))


def is_own_seed(uuid: str, place: str) -> bool:
    """Whether Drover made this volume as the cloud-init seed of this VM.

    ``NAME-UUID8-seed.qcow2`` or ``.iso``, as every version of Drover has named them; the VM may
    have another name now.
    """
    volume = place.partition("/")[2]
    return (
        re.fullmatch(rf"[a-z0-9][a-z0-9-]*-{re.escape(uuid[:8])}-seed\.(qcow2|iso)", volume)
        is not None
    )


def fates(vm: Vm, scene: StorageView) -> tuple[Fate, ...]:
    """What becomes of each image that a VM has, if it is deleted with its disks.

    Its disks go, with the files that hold their data, and of the images beneath them those that
    its own snapshots name as its disks of then. What others need, what lies in no pool, what is
    shared or read-only, and what else is beneath stays. A disk that others need
    bears their names in ``holders`` without a reason to stay: it stands against the deletion.
    """
    host, backing = vm.host, scene.backing
    named = [each for each in backing.uses(host, vm.uuid) if each.device]
    now = [each for each in named if not each.snapshot]
    seeds = _paths(each for each in now if is_own_seed(vm.uuid, _place(scene, host, each.path)))
    tops = [path for path in _paths(filter(_is_own, now)) if path not in seeds]
    before = set(_paths(filter(_is_own, (each for each in named if each.snapshot))))
    bases = _bases(vm, scene, tops)
    images = [*tops, *(path for path in bases if path in before)]
    own = [*images, *(path for path in _data_files(vm, scene, images) if path not in images)]
    going = [
        path for path in (*own, *seeds) if backing.image(host, path) and _place(scene, host, path)
    ]
    rest = [each for each in now if each.device in {"disk", "lun"} and not _is_own(each)]
    found = [_fate(vm, scene, path, going, top=path in tops) for path in own]
    found += [_seed(vm, scene, path, going) for path in seeds]
    found += _staying(vm, scene, "beneath", bases, own)
    found += _staying(vm, scene, "shared", _paths(rest), {each.path for each in found})
    nvram = vm.detail.nvram if vm.detail else ""
    if users := firmware_users((host, vm.uuid), nvram, scene):
        found.append(Fate(vm.uuid, nvram, nvram, FIRMWARE, users))
    return tuple(found)


def firmware_users(vm: tuple[str, str], nvram: str, scene: StorageView) -> tuple[Message, ...]:
    """Who else has the UEFI variables of a VM (host, UUID): removed with it, they lose theirs.

    A file below libvirt's own directories is another one on each host.
    """
    host, uuid = vm
    return tuple(
        dict.fromkeys(
            use_text(use, where, again=use.uuid == uuid)
            for where, storage in scene.looked.storages.items()
            for use in storage.uses
            if nvram
            and plain(use.path) == plain(nvram)
            and (where, use.uuid) != (host, uuid)
            and (where == host or not plain(nvram).startswith(_OWN_NVRAM))
        )
    )


def _bases(vm: Vm, scene: StorageView, tops: Sequence[str]) -> list[str]:
    """The images beneath a VM's disks, each once; none of the disks themselves."""
    beneath = [each for top in tops for each in scene.backing.beneath(vm.host, top)]
    paths = dict.fromkeys(plain(each.path) for each in beneath)
    return [path for path in paths if path not in tops]


def _data_files(vm: Vm, scene: StorageView, images: Iterable[str]) -> list[str]:
    """The files with the data of some images, where those are files of their own."""
    found = (scene.backing.image(vm.host, path) for path in images)
    return list(dict.fromkeys(plain(each.data) for each in found if each and each.data))


def _staying(
    vm: Vm, scene: StorageView, why: str, paths: Iterable[str], known: Container[str]
) -> list[Fate]:
    """The images among these that stay for a reason; what is known of already is left out."""
    return [
        Fate(vm.uuid, _path_text(scene, vm.host, path), path, why)
        for path in paths
        if path not in known
    ]


def base_disks(vm: Vm, scene: StorageView) -> Iterator[Fate]:
    """Yield the disks of a VM that it must not write to, with those whose data that destroys.

    Other VMs' images are based on them, or other VMs write to them now.
    """
    for path in _paths(
        each for each in scene.backing.uses(vm.host, vm.uuid) if _is_own(each) and not each.snapshot
    ):
        place = _path_text(scene, vm.host, path)
        if names := scene.backing.standing(vm.host, path, but=vm.uuid):
            yield Fate(vm.uuid, place, path, "beneath", names)
        if names := _writers(vm, scene, path):
            yield Fate(vm.uuid, place, path, WRITTEN, names)


def _writers(vm: Vm, scene: StorageView, path: str) -> tuple[Message, ...]:
    """The other VMs that run now, or ran when last seen, with this very image as a disk."""
    running = {(each.host, each.uuid) for each in scene.snapshot.vms if each.state.active}
    found = [
        use_text(use, where)
        for where, use in scene.backing.sharing(vm.host, path, but=vm.uuid)
        if (where, use.uuid) in running
        and use.device in _WRITABLE
        and not (use.kept or use.snapshot)
        and (where == vm.host or not path.startswith("/dev/") or _is_one(scene, vm.host, path))
    ]
    found += [
        words("{vm} on {host} (as last seen)", vm=each.name, host=each.host)
        for each in scene.snapshot.vms
        if each.state.active
        and each.uuid != vm.uuid
        and each.host not in scene.looked.storages
        and _has_disk(each, scene, (vm.host, path))
    ]
    return tuple(dict.fromkeys(found))


def _has_disk(vm: Vm, scene: StorageView, image: tuple[str, str]) -> bool:
    """Whether a VM on a host that was not read had an image (host, path), by its name."""
    host, path = image
    there = scene.backing.image(host, path) or Image(path)
    sources = {
        image_name(disk.source)
        for disk in (vm.detail.disks if vm.detail else ())
        if disk.device in _WRITABLE and not (disk.readonly or disk.shareable)
    }
    return bool(sources & {plain(path), *there.places}) and _is_one(scene, host, path)


def _is_one(scene: StorageView, host: str, path: str) -> bool:
    """Whether a path of a host is known to be the same storage on all hosts.

    A device of one name is another one on each host, unless it is known to be shared.
    """
    there, image = scene.snapshot.host(host), scene.backing.image(host, path) or Image(path)
    network = ":" in path.partition("/")[0]
    disk = Disk("", "network" if network else "block", path)
    return bool(_shared_pools(there, image)) or is_shared(there, disk)


def needed_volumes(
    vm: tuple[str, str], places: Collection[str], scene: StorageView
) -> dict[str, tuple[Member, ...]]:
    """The volumes to remove with a VM (host, UUID) that others need, each with who does.

    One that is not there any more is needed by nobody; where something could not be read, it may
    be there all the same.
    """
    host, uuid = vm
    storage = scene.looked.storages.get(host, Storage())
    images = {place: each for each in storage.images for place in each.places}
    there = {place: images[place] for place in places if place in images}
    going = [each.path for each in there.values()]
    found = {place: holders(scene, host, uuid, each, going) for place, each in there.items()}
    lost = tuple(_not_known(text) for text in storage.unknown)
    found |= {place: lost for place in places if place not in images}
    return {place: names for place, names in found.items() if names}


def holders(
    scene: StorageView, host: str, uuid: str, image: Image, going: Iterable[str]
) -> tuple[Member, ...]:
    """Who needs an image besides the VM; what is not known counts as a need."""
    found: list[Member] = [*scene.backing.holders(host, image.path, but=uuid, going=going)]
    found += _catalogue(scene, host, image)
    found += [
        text
        for each in scene.snapshot.hosts
        for text in _perhaps_needed_on(scene, each, host, image)
    ]
    storage = scene.looked.storages.get(host)
    found += [_not_known(text) for text in (storage.unknown if storage else ())]
    if image.busy:  # although no running VM names it
        found.append(words("something that writes to {path} now", path=image.path))
    return tuple(dict.fromkeys(found))


def _not_known(text: Message) -> Words:
    return words("perhaps others (not known: {what})", what=text)


def _fate(vm: Vm, scene: StorageView, path: str, going: list[str], *, top: bool) -> Fate:
    image = scene.backing.image(vm.host, path)
    if image is None or not image.pool:
        return Fate(vm.uuid, path, path, "no-pool")
    needed = holders(scene, vm.host, vm.uuid, image, going)
    return Fate(vm.uuid, image.place, path, "needed" if needed and not top else "", needed)


def _seed(vm: Vm, scene: StorageView, path: str, going: list[str]) -> Fate:
    image = scene.backing.image(vm.host, path) or Image(path)
    needed = holders(scene, vm.host, vm.uuid, image, going)
    return Fate(vm.uuid, image.place, path, "needed" if needed else "", needed, seed=True)


def _catalogue(scene: StorageView, host: str, image: Image) -> Iterator[Member]:
    """Yield the configured images that this one is, or that are based on it."""
    for name, wanted in scene.settings.images.items():
        files = {plain(each) for each in (wanted.kernel, wanted.initrd) if each}
        bases = [
            (where, each.path)
            for where, storage in scene.looked.storages.items()
            for each in storage.images
            if wanted.base in each.places
        ]
        stands = any(scene.backing.stands_on(base, (host, image.path)) for base in bases)
        if stands or wanted.base in image.places or plain(image.path) in files:
            yield words("the configured image {image}", image=name)


def _perhaps_needed_on(
    scene: StorageView, other: Host, host: str, image: Image
) -> Iterator[Member]:
    """Yield what another host may need of which not all could be read.

    Of one that was not read at all: its VMs as last seen, and all of a shared pool. Of one that
    sees the same shared pool: what it could not read.
    """
    if other.name == host:
        return
    shared = _shared_pools(scene.snapshot.host(host), image)
    if other.name in scene.looked.storages:
        if shared & {pool.name for pool in other.pools if pool.shared}:
            for text in scene.looked.storages[other.name].unknown:
                yield words("perhaps VMs of {host} (not known: {what})", host=other.name, what=text)
        return
    for vm in scene.snapshot.on(other.name):
        sources = {
            plain(disk.source) for disk in (vm.detail.disks if vm.detail else ()) if disk.source
        }
        if sources & {plain(image.path), *image.places}:
            yield words("{vm} on {host} (as last seen)", vm=vm.name, host=vm.host)
    if shared:
        if why := scene.looked.failed.get(other.name):
            yield words("perhaps VMs of {host} (not known: {what})", host=other.name, what=why)
        else:
            yield words("perhaps VMs of {host}, which does not answer", host=other.name)


def _shared_pools(host: Host, image: Image) -> set[str]:
    """The shared pools of a host that an image lies in, by name."""
    mine = {place.partition("/")[0] for place in image.places}
    return {pool.name for pool in host.pools if pool.shared and pool.name in mine}


def _is_own(use: ImageUse) -> bool:
    return use.device == "disk" and not use.kept


def _paths(uses: Iterable[ImageUse]) -> list[str]:
    return list(dict.fromkeys(plain(each.path) for each in uses))


def _place(scene: StorageView, host: str, path: str) -> str:
    image = scene.backing.image(host, path)
    return image.place if image else ""


def _path_text(scene: StorageView, host: str, path: str) -> str:
    return _place(scene, host, path) or path
