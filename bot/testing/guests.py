"""The part of the cluster in memory that makes, changes and shows single guests."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from bot.domain.backing import Image, ImageUse, Storage, image_name, plain
from bot.domain.cluster import (
    STARTING_UP,
    DefinedThen,
    Disk,
    Host,
    Nic,
    StoredSize,
    Vm,
    VmDetail,
    VmSnapshot,
    VmState,
)
from bot.domain.definition import Definition, MaybeUnchanged, Unchanged, sha_of, state_to_keep
from bot.domain.errors import VOLUME_BUSY, HypervisorError
from bot.domain.message import Code, Message, words
from bot.domain.only_live import device_names
from bot.domain.words import command
from bot.ports import Clock
from bot.ports.guests import (
    Address,
    Blueprint,
    Copy,
    DiskUse,
    FileSystem,
    Found,
    GuestDisk,
    GuestNic,
    GuestSnapshot,
    Seed,
    Volume,
)

SCREEN = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""What every fake guest shows: one pixel."""

_PATH = "/var/lib/libvirt/images"


@dataclass(slots=True)
class Extra:
    """What a snapshot of the cluster does not hold of one guest."""

    stored: tuple[int, int] | None = None
    mark: str = ""
    snapshots: list[GuestSnapshot] = field(default_factory=list)
    then: dict[str, tuple[Vm, str]] = field(default_factory=dict)
    """The VM and its mark when a snapshot was taken, by the snapshot's name."""
    said: str = ""
    addresses: tuple[Address, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()
    external: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Paths that were its disks when a snapshot was taken, by the snapshot's name."""


class FakeGuests:
    """The ports of single VMs and volumes in memory.

    A mixin of ``FakeHypervisor``, whose locks, refusals and calls it shares.

    A host has volumes in the pools that its ``Host`` names. A guest that is asked to shut down
    does, unless its UUID is in ``deaf``.
    """

    _clock: Clock
    _lock: threading.RLock
    _guests: dict[tuple[str, str], Any]
    _hosts: dict[str, Host]

    def __init__(self) -> None:
        self.volumes: dict[tuple[str, str, str], Volume] = {}
        """Every volume by host, pool and name; a test may add base images."""
        self.seeds: dict[tuple[str, str, str], Seed] = {}
        """What was uploaded."""
        self.blueprints: dict[str, Blueprint] = {}
        """What was defined, by UUID."""
        self.stamps: dict[tuple[str, str], str] = {}
        """By host and path: what tells a file from others; by default each path.

        Of a host is a file of its own, and
        those of a shared pool are the same on all hosts."""
        self.unknown: dict[str, tuple[str, ...]] = {}
        """By host: what of its storage cannot be looked at."""
        self.kept: dict[str, Vm] = {}
        """What was read as a definition, by its sha."""
        self.removed_nvram: list[tuple[str, str]] = []
        """Host and path of the UEFI variables that went with a definition."""
        self.deaf: set[str] = set()
        """UUIDs of guests that do not listen when asked to shut down."""
        self.busy_volumes: set[tuple[str, str, str]] = set()
        """By host, pool and name: what is being made, copied or read."""
        self.jobs_of_others: set[str] = set()
        """UUIDs of guests with a job that somebody else began."""
        self.extras: dict[str, Extra] = {}
        """By UUID: what a test sets or looks at of snapshots, serial lines, addresses.

        And file systems.
        """

    def _note(self, method: str, *arguments: str) -> None:
        raise NotImplementedError

    def _may(self, method: str) -> None:
        raise NotImplementedError

    def _reach(self, host: str) -> None:
        raise NotImplementedError

    def _guest(self, host: str, uuid: str) -> Any:
        raise NotImplementedError

    def _stop(self, host: str, uuid: str) -> None:
        raise NotImplementedError

    def _turn(self, host: str, uuid: str, state: VmState, paused_by: str) -> None:
        raise NotImplementedError

    def put(self, vm: Vm) -> None:
        """Let there be a guest; see ``FakeHypervisor``."""
        raise NotImplementedError

    # Volumes

    def volume(self, host: str, pool: str, name: str) -> Volume | None:
        """A volume; see the port."""
        with self._lock:
            self._reach(host)
            self._may("volume")
            return self.volumes.get((host, pool, name))

    def create_volume(
        self,
        host: str,
        pool: str,
        name: str,
        capacity: int,
        *,
        base: Volume | None = None,
        copy: bool = False,
    ) -> Volume:
        """Make a volume; see the port."""
        with self._changing("create_volume", host, pool, name):
            if base is not None and (host, base.pool, base.name) not in self.volumes:
                raise HypervisorError(
                    f"There is no volume {base.pool}/{base.name}.", "Copy it there."
                )
            made = self._store(host, pool, name, capacity, base.allocation if copy and base else 0)
            if base is not None and not copy:
                made = self.volumes[host, pool, name] = replace(made, base=base.path)
            return made

    # None
    def storage(
        self,
        host: str,
        *,
        whole: bool = True,
        directories: bool = True,  # noqa: ARG002
    ) -> Storage:
        """Its images and who names them; see the port."""
        with self._lock:
            self._reach(host)
            self._may("storage")
            uses = tuple(self._uses(host))
            named = {plain(each.path) for each in uses}
            mine = {
                plain(each.path): each
                for (where, _, _), each in self.volumes.items()
                if where == host
            }
            while (
                bases := {
                    plain(mine[path].base) for path in named if path in mine and mine[path].base
                }
                - named
            ):
                named |= bases
            shown = [each for path, each in mine.items() if whole or path in named]
            return Storage(
                tuple(self._image(host, each) for each in shown), uses, self.unknown.get(host, ())
            )

    def upload_seed(
        self, host: str, pool: str, name: str, seed: Seed, *, form: str = "raw"
    ) -> Volume:
        """Put a seed into a pool; see the port."""
        with self._changing("upload_seed", host, pool, name):
            self.volumes.pop((host, pool, name), None)
            self.seeds[host, pool, name] = seed
            return replace(self._store(host, pool, name, 1 << 16, 1 << 16), format=form)

    def delete_volume(self, host: str, pool: str, name: str) -> None:
        """Remove a volume; see the port."""
        with self._changing("delete_volume", host, pool, name):
            if (host, pool, name) in self.busy_volumes:
                raise HypervisorError(
                    f"{pool}/{name} is being made, copied or read.",
                    "Ask again when that has ended.",
                    code=VOLUME_BUSY,
                )
            self.volumes.pop((host, pool, name), None)

    # Definitions and power

    def define(self, host: str, blueprint: Blueprint) -> None:
        """Store a definition; see the port."""
        with self._changing("define", host, blueprint.uuid):
            for disk in blueprint.disks:
                if (host, disk.pool, disk.volume) not in self.volumes:
                    raise HypervisorError(
                        f"There is no volume {disk.pool}/{disk.volume}.", "Make it first."
                    )
            taken = [
                vm
                for (where, _), vm in self._there()
                if where == host and vm.name == blueprint.name
            ]
            if any(vm.uuid != blueprint.uuid for vm in taken):
                raise HypervisorError(
                    f"{host} has a VM called {blueprint.name}.", "Choose another name."
                )
            self.blueprints[blueprint.uuid] = blueprint
            self.put(_vm(host, blueprint, self.volumes))

    def define_copy(self, host: str, copy: Copy) -> None:
        """Store a definition like another one; see the port."""
        with self._changing("define_copy", host, copy.uuid):
            source, detail = self._guest(host, copy.source).vm, self._detail(host, copy.source)
            mine = {each.target: _disk(each, self._path(host, each)) for each in copy.disks}
            disks = tuple(mine.get(each.target, _empty(each)) for each in detail.disks)
            cards = zip(detail.nics, copy.macs, strict=False)
            nics = tuple(replace(card, mac=mac) for card, mac in cards)
            detail = replace(detail, disks=disks, nics=nics, snapshots=0)
            identity = {
                "uuid": copy.uuid,
                "name": copy.name,
                "tags": MappingProxyType(dict(copy.tags)),
            }
            self.put(
                replace(
                    source,
                    **identity,
                    state=VmState.SHUT_OFF,
                    autostart=False,
                    cpu=None,
                    detail=detail,
                )
            )

    def definitions(self, host: str, known: Collection[str] = ()) -> tuple[MaybeUnchanged, ...]:
        """The definitions of all its VMs; see the port."""
        with self._lock:
            self._reach(host)
            self._may("definitions")
            found = [self._definition(vm) for (where, _), vm in self._there() if where == host]
            return tuple(_as_unchanged(each) if each.sha in known else each for each in found)

    def _definition(self, vm: Vm) -> Definition:
        vcpus, memory = self._extra(vm.uuid).stored or (vm.vcpus, vm.memory)
        xml = _xml(vm, vcpus, memory)
        sha, now = sha_of(xml), self._clock.now()
        self.kept[sha] = replace(vm, vcpus=vcpus, memory=memory)
        return Definition(
            vm.uuid,
            vm.name,
            vm.host,
            xml,
            sha,
            now,
            now,
            state_to_keep(vm.state, vm.paused_by),
            vcpus,
            memory,
            vm.detail or VmDetail(),
            vm.tags,
            vm.persistent,
        )

    # None
    def define_kept(
        self,
        host: str,
        kept: Definition,
        *,
        reset_nvram: bool = False,  # noqa: ARG002
    ) -> None:
        """Store a definition that was read before; see the port."""
        with self._changing("define_kept", host, kept.uuid):
            named = [
                vm for (where, _), vm in self._there() if where == host and vm.name == kept.name
            ]
            if any(vm.uuid != kept.uuid for vm in named):
                raise HypervisorError(f"{host} has a VM called {kept.name}.", "Rename one of them.")
            if any(vm.uuid == kept.uuid and vm.state.active for vm in named):
                return
            self.put(
                replace(
                    self.kept[kept.sha],
                    host=host,
                    state=VmState.SHUT_OFF,
                    autostart=False,
                    saved=False,
                    persistent=True,
                    paused_by="",
                )
            )

    def not_copyable(self, host: str, uuid: str) -> tuple[Message, ...]:
        """What a copy cannot have as well; see the port."""
        with self._lock:
            self._may("not_copyable")
            detail = self._detail(host, uuid)
            tpm = (
                (f"the TPM of the host ({detail.tpm})",)
                if detail.tpm in {"passthrough", "external"}
                else ()
            )
            return (*(f"the host device {each}" for each in detail.hostdevs), *tpm)

    def undefine(self, host: str, uuid: str, *, keep_state: bool = False) -> None:
        """Forget a guest; see the port."""
        with self._changing("undefine", host, uuid):
            guest = self._guests.get((host, uuid))
            if guest is None:
                return
            if guest.vm.state.active:
                raise HypervisorError(f"{guest.vm.name} still runs.", "Shut it down first.")
            nvram = guest.vm.detail.nvram if guest.vm.detail else ""
            del self._guests[host, uuid]
            shared = (each for (where, _), each in self._there() if where == host)
            if (
                nvram
                and not keep_state
                and not any(
                    each.detail and plain(each.detail.nvram) == plain(nvram) for each in shared
                )
            ):
                self.removed_nvram.append((host, nvram))

    def find(self, host: str, uuid: str) -> Found | None:
        """The guest now; see the port."""
        with self._lock:
            self._reach(host)
            self._may("find")
            guest = self._guests.get((host, uuid))
            if guest is None:
                return None
            vm, extra = guest.vm, self._extra(uuid)
            vcpus, memory = extra.stored or (vm.vcpus, vm.memory)
            detail = vm.detail or VmDetail()
            return Found(
                vm.name, vm.vcpus, vm.memory, vcpus, memory, vm.tags, detail, detail, extra.mark,
                vm.persistent, vm.saved,
            )  # fmt: skip

    def start(self, host: str, uuid: str) -> None:
        """Start a guest; see the port."""
        with self._changing("start", host, uuid):
            guest, extra = self._guest(host, uuid), self._extra(uuid)
            if guest.vm.state.active:
                if guest.vm.paused_by == STARTING_UP:  # its start is waited for, and succeeds
                    self._turn(host, uuid, VmState.RUNNING, "")
                return
            # Saved memory goes on in the size it was saved in
            if extra.stored and not guest.vm.saved:
                guest.vm = replace(guest.vm, vcpus=extra.stored[0], memory=extra.stored[1])
            guest.vm = replace(guest.vm, saved=False)
            extra.said += f"drover-guest {guest.vm.name} up\n"
            self._turn(host, uuid, VmState.RUNNING, "")

    def shutdown(self, host: str, uuid: str) -> None:
        """Ask a guest to shut down; see the port."""
        with self._changing("shutdown", host, uuid):
            if self._guest(host, uuid).vm.state.active and uuid not in self.deaf:
                self._stop(host, uuid)

    def force_off(self, host: str, uuid: str) -> None:
        """Pull the plug; see the port."""
        with self._changing("force_off", host, uuid):
            if self._guest(host, uuid).vm.state.active:
                self._stop(host, uuid)

    def wake(self, host: str, uuid: str) -> None:
        """Wake a guest that sleeps; see the port."""
        with self._changing("wake", host, uuid):
            if self._guest(host, uuid).vm.state is VmState.SUSPENDED:
                self._turn(host, uuid, VmState.RUNNING, "")

    def discard_saved(self, host: str, uuid: str) -> None:
        """Remove a guest's saved memory; see the port."""
        with self._changing("discard_saved", host, uuid):
            guest = self._guest(host, uuid)
            guest.vm = replace(guest.vm, saved=False)

    def resize(self, host: str, uuid: str, *, vcpus: int, memory: int) -> bool:
        """Give it vCPUs and memory; see the port."""
        with self._changing("resize", host, uuid, str(vcpus), str(memory)):
            guest = self._guest(host, uuid)
            self._extra(uuid).stored = (vcpus, memory)
            fits = memory <= (guest.vm.memory_max or guest.vm.memory) and vcpus >= guest.vm.vcpus
            if fits or not guest.vm.state.active:
                guest.vm = replace(guest.vm, vcpus=vcpus, memory=memory)
            return fits or not guest.vm.state.active

    def rename(self, host: str, uuid: str, name: str) -> None:
        """Rename a guest that is off; see the port."""
        with self._changing("rename", host, uuid, name):
            guest = self._guest(host, uuid)
            if guest.vm.state.active:
                raise HypervisorError("The VM was not renamed: it runs.", "Shut it down first.")
            guest.vm = replace(guest.vm, name=name)

    def set_tags(self, host: str, uuid: str, tags: Mapping[str, str]) -> None:
        """Replace its tags; see the port."""
        with self._changing("set_tags", host, uuid):
            guest = self._guest(host, uuid)
            guest.vm = replace(guest.vm, tags=MappingProxyType(dict(tags)))

    def leave_mark(self, host: str, uuid: str, mark: str) -> None:
        """Leave a word in its definition; see the port."""
        with self._changing("leave_mark", host, uuid, mark):
            self._guest(host, uuid)
            self._extra(uuid).mark = mark

    # Snapshots

    def snapshots(self, host: str, uuid: str) -> tuple[GuestSnapshot, ...]:
        """Its snapshots; see the port."""
        with self._lock:
            self._may("snapshots")
            self._guest(host, uuid)
            return tuple(self._extra(uuid).snapshots)

    def has_job(self, host: str, uuid: str) -> bool:
        """Whether something long is under way; see the port."""
        with self._lock:
            self._may("has_job")
            return bool(self._guest(host, uuid).vm.state.active) and uuid in self.jobs_of_others

    def create_snapshot(self, host: str, uuid: str, name: str, description: str = "") -> None:
        """Take a snapshot; see the port."""
        with self._changing("create_snapshot", host, uuid, name):
            guest, extra = self._guest(host, uuid), self._extra(uuid)
            if any(each.name == name for each in extra.snapshots):
                raise HypervisorError(
                    f"Snapshot {name} was not taken: it exists.", "Choose another name."
                )
            extra.snapshots = [replace(each, current=False) for each in extra.snapshots]
            made_at: datetime = self._clock.now()
            extra.snapshots.append(
                GuestSnapshot(
                    name, made_at, _state(guest.vm), current=True, description=description
                )
            )
            extra.then[name] = (guest.vm, extra.mark)
            self._count_snapshots(host, uuid)

    def revert_snapshot(self, host: str, uuid: str, name: str) -> None:
        """Go back to a snapshot; see the port."""
        with self._changing("revert_snapshot", host, uuid, name):
            self._guest(host, uuid)
            extra = self._extra(uuid)
            if all(each.name != name for each in extra.snapshots):
                raise HypervisorError(
                    f"The VM did not go back to {name}: there is none.", "See `vm snapshot list`."
                )
            name = self._name_by_number(uuid, name)
            extra.snapshots = [replace(each, current=each.name == name) for each in extra.snapshots]
            self._define_as_then(host, uuid, name)

    def delete_snapshot(self, host: str, uuid: str, name: str) -> None:
        """Remove a snapshot; see the port."""
        with self._changing("delete_snapshot", host, uuid, name):
            self._guest(host, uuid)
            extra = self._extra(uuid)
            extra.snapshots = [each for each in extra.snapshots if each.name != name]
            self._count_snapshots(host, uuid)

    # Devices

    def attach_disk(self, host: str, uuid: str, disk: GuestDisk) -> None:
        """Plug a volume in; see the port."""
        with self._changing("attach_disk", host, uuid, disk.target):
            if (host, disk.pool, disk.volume) not in self.volumes:
                raise HypervisorError(
                    f"There is no volume {disk.pool}/{disk.volume}.", "Make it first."
                )
            detail = self._detail(host, uuid)
            self._describe(
                host,
                uuid,
                replace(detail, disks=(*detail.disks, _disk(disk, self._path(host, disk)))),
            )

    def grow_disk(self, host: str, uuid: str, target: str, capacity: int) -> None:
        """Make a disk larger; see the port."""
        with self._changing("grow_disk", host, uuid, target, str(capacity)):
            disk = next(
                (each for each in self._detail(host, uuid).disks if each.target == target), None
            )
            key = next(
                (key for key, each in self.volumes.items() if disk and each.path == disk.source),
                None,
            )
            if key is None:
                raise HypervisorError(
                    f"{target} lies in no storage pool.", "Start the VM: then it can grow."
                )
            if self.volumes[key].capacity > capacity:
                raise HypervisorError(f"{target} is larger already.", "Use a larger size.")
            self.volumes[key] = replace(self.volumes[key], capacity=capacity)

    def attach_nic(self, host: str, uuid: str, nic: GuestNic) -> None:
        """Plug a network card in; see the port."""
        with self._changing("attach_nic", host, uuid, nic.mac):
            detail = self._detail(host, uuid)
            self._describe(
                host, uuid, replace(detail, nics=(*detail.nics, Nic(nic.kind, nic.source, nic.mac)))
            )

    def detach_nic(self, host: str, uuid: str, mac: str) -> None:
        """Take a network card out; see the port."""
        with self._changing("detach_nic", host, uuid, mac):
            detail = self._detail(host, uuid)
            left = tuple(each for each in detail.nics if each.mac.lower() != mac.lower())
            self._describe(host, uuid, replace(detail, nics=left))

    def eject(self, host: str, uuid: str, target: str) -> None:
        """Take a medium out; see the port."""
        with self._changing("eject", host, uuid, target):
            detail = self._detail(host, uuid)
            left = tuple(
                replace(each, source="") if each.target == target else each for each in detail.disks
            )
            self._describe(host, uuid, replace(detail, disks=left))

    # Looks

    def disks(self, host: str, uuid: str) -> tuple[DiskUse, ...]:
        """Its disks' sizes; see the port."""
        with self._lock:
            self._may("disks")
            known = {each.path: each for each in self.volumes.values()}
            used = [each for each in self._detail(host, uuid).disks if each.source]
            return tuple(_use(disk, known.get(disk.source)) for disk in used)

    def addresses(self, host: str, uuid: str) -> tuple[Address, ...]:
        """Its addresses; see the port."""
        with self._lock:
            self._may("addresses")
            active = self._guest(host, uuid).vm.state.active
            return self._extra(uuid).addresses if active else ()

    def file_systems(self, host: str, uuid: str) -> tuple[FileSystem, ...]:
        """Its file systems; see the port."""
        with self._lock:
            self._may("file_systems")
            active = self._guest(host, uuid).vm.state.active
            return self._extra(uuid).file_systems if active else ()

    def screenshot(self, host: str, uuid: str) -> bytes:
        """Its screen as PNG; see the port."""
        with self._lock:
            self._may("screenshot")
            vm = self._guest(host, uuid).vm
            if not vm.state.active:
                start = Code(command("/kvm vm start {}", vm.name))
                raise HypervisorError(
                    words("{vm} is off; a screenshot needs a running VM.", vm=vm.name),
                    words("Start it with {command}.", command=start),
                )
            return SCREEN

    def console(self, host: str, uuid: str, lines: int) -> str:
        """The last lines of its serial line; see the port."""
        with self._lock:
            self._may("console")
            self._guest(host, uuid)
            return "\n".join(self._extra(uuid).said.splitlines()[-lines:])

    # How it works.

    def _image(self, host: str, volume: Volume) -> Image:
        pool = next((each for each in self._hosts[host].pools if each.name == volume.pool), None)
        usual = f"{volume.pool} {volume.name}" if pool and pool.shared else f"{host} {volume.path}"
        stamp = self.stamps.get((host, volume.path), usual)
        return Image(volume.path, volume.pool, volume.name, volume.base, stamp)

    def _uses(self, host: str) -> Iterator[ImageUse]:
        for (where, uuid), vm in self._there():
            if where != host:
                continue
            for disk in vm.detail.disks if vm.detail else ():
                if disk.source:
                    path, kept = self._place(host, disk.source), disk.shareable or disk.readonly
                    yield ImageUse(uuid, vm.name, path, disk.device, disk.target, kept=kept)
            if vm.detail and vm.detail.nvram:
                yield ImageUse(uuid, vm.name, vm.detail.nvram)
            for snapshot, paths in self._extra(uuid).external.items():
                yield from (
                    ImageUse(uuid, vm.name, path, "disk", snapshot=snapshot) for path in paths
                )

    def _place(self, host: str, source: str) -> str:
        """The path of a disk that is named by its pool and volume."""
        pool, _, name = source.partition("/")
        volume = self.volumes.get((host, pool, name))
        if volume is not None:
            return volume.path
        return image_name(source) if "://" in source else source

    @contextlib.contextmanager
    def _changing(self, method: str, host: str, *arguments: str) -> Iterator[None]:
        with self._lock:
            self._note(method, host, *arguments)
            self._reach(host)
            yield

    def _there(self) -> Iterator[tuple[tuple[str, str], Vm]]:
        for key, guest in self._guests.items():
            yield key, guest.vm

    def _extra(self, uuid: str) -> Extra:
        return self.extras.setdefault(uuid, Extra())

    def _store(self, host: str, pool: str, name: str, capacity: int, allocation: int) -> Volume:
        known = {each.name: each for each in self._hosts[host].pools}
        if pool not in known:
            raise HypervisorError(f"{host} has no pool {pool}.", "Define and start it there.")
        if (host, pool, name) in self.volumes:
            raise HypervisorError(
                f"{pool}/{name} was not made on {host}: it exists.", "Choose another name."
            )
        path = f"{known[pool].path or _PATH}/{name}"
        made = self.volumes[host, pool, name] = Volume(
            pool, name, path, capacity, allocation, "qcow2"
        )
        return made

    def _path(self, host: str, disk: GuestDisk) -> str:
        return self.volumes[host, disk.pool, disk.volume].path

    def _detail(self, host: str, uuid: str) -> VmDetail:
        return self._guest(host, uuid).vm.detail or VmDetail()

    def _name_by_number(self, uuid: str, name: str) -> str:
        """The snapshot that QEMU takes this name for.

        It numbers them from 1, and looks for a number first.
        """
        numbers = {
            str(number): each.name for number, each in enumerate(self._extra(uuid).snapshots, 1)
        }
        return numbers.get(name, name)

    def _in_depth(self, vm: Vm) -> Vm:
        """What only a look in depth shows: its snapshots, and its size at the next start."""
        taken = tuple(
            VmSnapshot(
                each.name,
                each.external,
                each.state,
                clashes=self._name_by_number(vm.uuid, each.name) != each.name,
                then=self._then(vm.uuid, each.name),
            )
            for each in self._extra(vm.uuid).snapshots
        )
        detail = vm.detail or VmDetail()
        if detail.snapshot_list is None:
            detail = replace(detail, snapshot_list=taken)
        vcpus, memory = self._extra(vm.uuid).stored or (vm.vcpus, vm.memory)
        most = max(memory, vm.memory_max)
        stored = (
            StoredSize(vcpus, memory, max(vcpus, detail.vcpus_max), most) if vm.persistent else None
        )
        return replace(vm, detail=detail, stored=vm.stored or stored)

    def _then(self, uuid: str, name: str) -> DefinedThen | None:
        then, _ = self._extra(uuid).then.get(name, (None, ""))
        if then is None:
            return None
        return DefinedThen(then.vcpus, then.memory, device_names(then.detail or VmDetail()))

    def _define_as_then(self, host: str, uuid: str, name: str) -> None:
        """Take the definition back as well, tags and mark included, as libvirt does."""
        extra, guest = self._extra(uuid), self._guest(host, uuid)
        if name not in extra.then:
            return  # a test put the snapshot there
        then, extra.mark = extra.then[name]
        guest.vm = replace(
            guest.vm,
            tags=then.tags,
            vcpus=then.vcpus,
            memory=then.memory,
            memory_max=then.memory_max,
        )
        if then.detail is not None:
            detail = self._detail(host, uuid)
            self._describe(
                host, uuid, replace(detail, disks=then.detail.disks, nics=then.detail.nics)
            )

    def _describe(self, host: str, uuid: str, detail: VmDetail) -> None:
        guest = self._guest(host, uuid)
        guest.vm = replace(guest.vm, detail=detail)

    def _count_snapshots(self, host: str, uuid: str) -> None:
        self._describe(
            host,
            uuid,
            replace(self._detail(host, uuid), snapshots=len(self._extra(uuid).snapshots)),
        )


def _vm(host: str, wanted: Blueprint, volumes: Mapping[tuple[str, str, str], Volume]) -> Vm:
    disks = tuple(_disk(each, volumes[host, each.pool, each.volume].path) for each in wanted.disks)
    nics = tuple(Nic(each.kind, each.source, each.mac) for each in wanted.nics)
    return Vm(
        uuid=wanted.uuid,
        name=wanted.name,
        host=host,
        state=VmState.SHUT_OFF,
        vcpus=wanted.vcpus,
        memory=wanted.memory,
        memory_max=wanted.memory,
        tags=MappingProxyType(dict(wanted.tags)),
        detail=VmDetail(
            machine="pc-q35-7.2",
            emulator="/usr/bin/qemu-system-x86_64",
            disks=disks,
            nics=nics,
            vcpus_max=wanted.vcpus_max,
        ),
    )


def _as_unchanged(known: Definition) -> Unchanged:
    return Unchanged(
        known.uuid,
        known.host,
        known.sha,
        known.seen_at,
        known.state,
        known.persistent,
        known.password,
    )


def _xml(vm: Vm, vcpus: int, memory: int) -> str:
    """What a definition says, in few words: the same for the same VM, wherever it is."""
    tags = "".join(
        f"\n  <tag key='{key}' value='{value}'/>" for key, value in sorted(vm.tags.items())
    )
    devices = "".join(
        f"\n  <disk target='{each.target}' source='{each.source}'/>" for each in _disks(vm)
    )
    cards = "".join(
        f"\n  <interface mac='{each.mac}' source='{each.source}'/>" for each in _nics(vm)
    )
    head = (
        f"  <name>{vm.name}</name>\n  <uuid>{vm.uuid}</uuid>\n  <memory unit='b'>{memory}</memory>"
    )
    return f"<domain type='kvm'>\n{head}\n  <vcpu>{vcpus}</vcpu>{tags}{devices}{cards}\n</domain>\n"


def _disks(vm: Vm) -> tuple[Disk, ...]:
    return vm.detail.disks if vm.detail else ()


def _nics(vm: Vm) -> tuple[Nic, ...]:
    return vm.detail.nics if vm.detail else ()


def _state(vm: Vm) -> str:
    """As libvirt spells it in snapshots: ``shutoff``."""
    return vm.state.value.replace(" ", "")


def _disk(wanted: GuestDisk, path: str) -> Disk:
    return Disk(wanted.target, "file", path, wanted.device, "none", format=wanted.format)


def _empty(disk: Disk) -> Disk:
    """A drive without its medium; a disk as it is."""
    return disk if disk.device == "disk" else replace(disk, source="")


def _use(disk: Disk, volume: Volume | None) -> DiskUse:
    capacity = volume.capacity if volume else disk.capacity or 0
    return DiskUse(disk.target, disk.source, capacity, volume.allocation if volume else capacity)
