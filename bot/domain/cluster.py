"""The cluster as one frozen value: hosts, VMs and what is known of them at one moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar, cast

from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.message import Message, words
from bot.domain.suggest import nearest
from bot.domain.unread import Unread
from bot.domain.words import names_for

Table = TypeVar("Table")

MIB = 1 << 20
GIB = 1 << 30


class VmState(StrEnum):
    """A guest's life-cycle state, named as ``virsh domstate`` names it."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUT_OFF = "shut off"
    CRASHED = "crashed"
    SHUTTING_DOWN = "in shutdown"
    SUSPENDED = "pmsuspended"
    UNKNOWN = "no state"

    @property
    def active(self) -> bool:
        """Whether a QEMU process exists for it."""
        return self in _ACTIVE


_ACTIVE = frozenset({VmState.RUNNING, VmState.PAUSED, VmState.SHUTTING_DOWN, VmState.SUSPENDED})


class Health(StrEnum):
    """How the bot stands with a host. Unreachable is not dead."""

    UP = "up"
    STALE = "stale"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Scheduler:
    """CPU scheduling of a guest, in libvirt's units.

    ``vcpu_quota`` is a ceiling in µs per ``vcpu_period`` and vCPU, −1 or 0 meaning none; priority
    is ``cpu_shares`` (cgroup v1: 2..262144, v2: 1..10000). None: the hypervisor did not say.
    """

    cpu_shares: int | None = None
    vcpu_period: int | None = None
    vcpu_quota: int | None = None
    emulator_period: int | None = None
    emulator_quota: int | None = None

    @property
    def has_cap(self) -> bool:
        """Whether a ceiling is set."""
        return self.vcpu_quota is not None and self.vcpu_quota > 0


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk or CD of a guest.

    ``source`` is a path, ``pool/volume`` or a network URL; '' when empty.
    """

    target: str
    kind: str  # file, block, network, volume, dir, nvme, vhostuser
    source: str
    device: str = "disk"  # disk, cdrom, floppy, lun
    cache: str = ""
    readonly: bool = False
    shareable: bool = False
    format: str = ""
    capacity: int | None = None  # bytes
    encrypted: bool = False
    busy: str = ""  # the kind of an active block job, '' when none
    transient: bool = False  # what is written to it is dropped when the VM ends
    # Of qcow2: 0.10 is version 2, 1.1 version 3; read for VMs in focus that have snapshots
    compat: str = ""
    # Bytes of the file or device beneath, of a VM in focus
    physical: int | None = field(default=None, metadata={"later": True})
    # How its definition wants it in snapshots: internal, external, manual, no
    snapshot: str = field(default="", metadata={"later": True})


@dataclass(frozen=True, slots=True)
class Nic:
    """One network interface.

    ``kind`` bridge/network/direct/…, ``source`` the bridge's or network's name.
    """

    kind: str
    source: str
    mac: str = ""


@dataclass(frozen=True, slots=True)
class DefinedThen:
    """What a VM was defined with when a snapshot of it was taken; bytes.

    ``devices``: as ``device_names`` in ``bot.domain.only_live`` names them.
    """

    vcpus: int
    memory: int
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VmSnapshot:
    """One snapshot of a VM.

    ``external``: its disks or memory lie in files of their own, not in the qcow2 image.

    ``clashes``: QEMU would take its name for the number of another one, or nobody can say that it
    would not.

    ``then``: the definition that it takes the VM back to; None where the host tells none.
    ``left_out``: disks of then that are not in it.
    """

    name: str
    external: bool = False
    state: str = ""  # as libvirt spells it: running, shutoff, disk-snapshot…
    clashes: bool = False
    then: DefinedThen | None = field(default=None, metadata={"later": True})
    left_out: tuple[str, ...] = field(default=(), metadata={"later": True})


@dataclass(frozen=True, slots=True)
class StoredSize:
    """What a VM gets at its next start, by its stored definition; bytes.

    ``*_max`` bound what can be hot-plugged. ``without``: disks (``vdb``), NICs (their MAC) and host
    devices that it has now and not then; ``other_disks``: disks that are another image then.
    """

    vcpus: int
    memory: int
    vcpus_max: int = 0
    memory_max: int = 0
    without: tuple[str, ...] = field(default=(), metadata={"later": True})
    other_disks: tuple[str, ...] = field(default=(), metadata={"later": True})


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """A USB device of the host that a VM has.

    Such as ``USB 046d:c52b``, or ``USB 1:4`` by bus and device.

    ``needed``: a host without one does not let the VM in; otherwise libvirt leaves the device out.
    """

    name: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """A graphics server of a VM; ``address`` '' is the host's default.

    ``fixed``: its ports stay as they are.
    """

    kind: str
    address: str
    ports: frozenset[int] = frozenset()
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Ties:
    """What of a VM's definition may tie it to its host.

    ``shmem``: shared memory that it only takes part in. ``tsc_frequency`` in Hz, 0 when not fixed.
    ``secrets``: UUIDs.
    ``folders``: where its serial lines and channels have files and sockets. ``bases``: files
    beneath its disks by its stored definition, read for VMs in focus only. ``usb``: those of its
    host devices that are USB. ``virtiofs``: virtiofsd serves one of its shared directories.
    ``pins``: the CPUs of the host that each of its threads is pinned to, each set once;
    ``numa_nodes``: those of the host that its memory is bound to.
    """

    shmem: tuple[str, ...] = ()
    launch_security: str = ""  # sev, tdx…
    listeners: tuple[Listener, ...] = ()
    tsc_frequency: int = 0
    secrets: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    usb: tuple[UsbDevice, ...] = ()
    virtiofs: bool = False
    pins: tuple[frozenset[int], ...] = field(default=(), metadata={"later": True})
    numa_nodes: frozenset[int] = field(default=frozenset(), metadata={"later": True})

    def lacks_cpus(self, host: Host) -> frozenset[int]:
        """The CPUs of the first thread that is pinned to none that a host has.

        A host that does not tell its CPUs may well have them.
        """
        missing = (pin for pin in self.pins if host.cpu_ids and not pin & host.cpu_ids)
        return next(missing, frozenset())

    def unknown_cpus(self, host: Host) -> frozenset[int]:
        """The CPUs of its pins that a host has not.

        A pin to one that is there and one that is not fails only where the host's cgroups have a
        cpuset that checks it.
        """
        return frozenset().union(*self.pins) - host.cpu_ids if host.cpu_ids else frozenset()

    def lacks_numa_nodes(self, host: Host) -> frozenset[int]:
        """Its NUMA nodes that a host has not; libvirt refuses to start it without one of them."""
        return self.numa_nodes - host.numa_nodes if host.numa_nodes else frozenset()


@dataclass(frozen=True, slots=True)
class VmDetail:
    """What decides whether and how a guest can move or change; read from its live definition.

    ``cpu_mode`` is '', 'custom', 'host-model', 'host-passthrough' or 'maximum'; ``hostdevs`` are
    readable names of host devices; ``job`` is the kind of an active job, '' when none;
    ``local_job``: that job ends with the VM and changes nothing of it, as a backup; ``silent``: its
    QEMU did not answer in time, so that its job is not known. ``topology`` is how many vCPUs a
    fixed CPU topology has (0: none is fixed), ``memory_limit`` the bytes that memory hot-plug may
    reach (0: none), ``free_ports`` how many PCIe devices can still be plugged in while it runs
    (None: not known, or no PCIe). ``snapshot_list`` is read for VMs in focus only; None: not read.
    """

    machine: str = ""
    emulator: str = ""
    cpu_mode: str = ""
    cpu_features: tuple[str, ...] = ()  # required by name, e.g. invtsc
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    hostdevs: tuple[str, ...] = ()
    shared_dirs: tuple[str, ...] = ()
    tpm: str = ""  # '' none, 'emulator', 'passthrough', 'external'
    nvram: str = ""  # path, '' when none
    snapshots: int = 0
    secrets: bool = False
    hugepages: bool = False
    memory_locked: bool = False
    job: Message = ""
    local_job: bool = False
    silent: bool = False
    vcpus_max: int = 0
    topology: int = 0
    numa_cells: int = 0
    memory_limit: int = 0
    # Bytes that its QEMU may have, for the kernel kills it beyond them; 0: any
    hard_limit: int = field(default=0, metadata={"later": True})
    balloon: bool = True
    hugepage_size: int = 0  # bytes; 0: the host's default
    pflash: bool = False
    loader: str = ""  # path of the firmware, '' where the host chooses it at each start
    nvram_format: str = ""
    snapshot_list: tuple[VmSnapshot, ...] | None = None
    ties: Ties = Ties()
    checkpoints: int = 0  # read for VMs in focus only
    free_ports: int | None = field(default=None, metadata={"later": True})

    @property
    def bound_devices(self) -> tuple[str, ...]:
        """What it has of its host; without USB, of which another host may have the like."""
        usb = {each.name for each in self.ties.usb}
        vdpa = (f"vDPA {nic.source}" for nic in self.nics if nic.kind == "vdpa")
        return (*(each for each in self.hostdevs if each not in usb), *vdpa)

    @property
    def needs_its_clock(self) -> bool:
        """Whether the CPU feature invtsc ties it to its host's clock: no frequency is fixed."""
        return "invtsc" in self.cpu_features and not self.ties.tsc_frequency


STARTING_UP = "starting up"
"""Why libvirt calls a VM paused whose start is not over; it may still fail (``Vm.paused_by``)."""
MANY_VMS = 2000
"""Of more, every second look is a lesser one: they would be most of what an idle bot does."""
TRY_DEVICES = "device-migration"
"""Tag of a VM: with ``try`` QEMU decides whether its devices can be migrated."""
OS_CRASHED = "crashed"
"""Why libvirt calls a VM paused, or crashed, whose system crashed and whose QEMU is kept.

``on_crash`` is ``preserve``: it holds its memory and disks until somebody ends it.
"""
POSTCOPY_INCOMING = "postcopy incoming"
"""Why libvirt calls a VM running that still fetches its memory.

From its source, in post-copy: ``Vm.paused_by``.
"""
POSTCOPY_FAILED = "postcopy failed"
"""Why it calls a VM paused, or even running, whose memory will never arrive: it is dead."""
POSTCOPY_SOURCE = "postcopy"
"""Why it calls a VM paused that runs on another host by now, with memory from here."""
POSTCOPY = frozenset({POSTCOPY_FAILED, POSTCOPY_INCOMING, POSTCOPY_SOURCE})
"""Each of these: it is one half of a VM in post-copy, and neither half lives alone."""
WAITING = frozenset({"migration", POSTCOPY_SOURCE})
"""Why it calls one copy paused while a migration is under way: the VM runs on the other host."""


@dataclass(frozen=True, slots=True)
class Vm:
    """One guest as seen on one host. Memory in bytes, CPU load in host cores (1.0 = one core busy).

    ``wait``: cores that it was ready to use and did not get, by the newest sweep; None: not
    measured. ``saved``: it is off, and its memory is kept on the host (managed save), from which
    its next start goes on. ``stored``: its size at the next start, read for VMs in focus only.
    ``problem``: why it could not be read whole, '' when it was. Nothing moves such a VM, and what
    is not known of it (its disks when ``detail`` is None) must not be taken for absent.
    """

    uuid: str
    name: str
    host: str
    state: VmState
    vcpus: int
    memory: int
    memory_max: int = 0
    cpu: float | None = None
    persistent: bool = True
    autostart: bool = False
    # Why libvirt says it is paused: user, migration, ioerror…; POSTCOPY_INCOMING and
    # POSTCOPY_FAILED of a running VM too
    paused_by: str = ""
    scheduler: Scheduler = Scheduler()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    detail: VmDetail | None = None
    dirty_rate: float | None = None  # bytes/s of memory the guest writes; None: not measured
    wait: float | None = None
    saved: bool = False
    stored: StoredSize | None = None
    problem: Message = ""

    @property
    def has_crashed(self) -> bool:
        """Whether its QEMU or its own system crashed."""
        return self.state is VmState.CRASHED or self.paused_by == OS_CRASHED

    @property
    def tries_devices(self) -> bool:
        """Whether somebody wants QEMU to decide if its devices can be migrated or stored."""
        return self.tags.get(TRY_DEVICES) == "try"

    @property
    def huge(self) -> bool:
        """Whether its memory is made of huge pages, which a host sets aside."""
        return self.detail is not None and self.detail.hugepages


def without_waiting(vms: Sequence[Vm], silent: Collection[str] = ()) -> tuple[Vm, ...]:
    """The VMs without the waiting copy of one that is on its way.

    Two waiting copies are both shown. So is the source of a migration in post-copy when it or what
    runs elsewhere is on a host that is ``silent``: neither can do without the other.
    """
    settled: dict[str, set[str]] = {}
    for vm in vms:
        if vm.state.active and vm.paused_by not in WAITING:
            settled.setdefault(vm.uuid, set()).add(vm.host)
    return tuple(
        vm
        for vm in vms
        if vm.paused_by not in WAITING
        or vm.uuid not in settled
        or (
            vm.paused_by == POSTCOPY_SOURCE and (vm.host in silent or settled[vm.uuid] <= {*silent})
        )
    )


@dataclass(frozen=True, slots=True)
class HugePages:
    """Huge pages of one size that a host sets aside.

    ``size`` in bytes, ``total`` and ``free`` are counts.
    """

    size: int
    total: int
    free: int


_POOLS_OF_FILES = frozenset({"dir", "fs", "netfs", "vstorage"})
_POOLS_OF_DEVICES = frozenset({"logical", "disk", "iscsi", "scsi", "mpath", "zfs"})


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool: ``shared`` when its kind is reachable from every host that defines it. Bytes.

    ``declared``: the configuration says whether it is shared. ``source``: what of its servers it
    is: the target (IQN) of an iSCSI pool, the directory of an NFS export, the pool of Ceph, the
    volume of Gluster; ``servers``: their names or addresses. ``persistent``: its definition is
    stored on the host, so that it is there after a restart.
    """

    name: str
    kind: str
    path: str
    active: bool
    autostart: bool
    capacity: int = 0
    free: int = 0
    shared: bool = False
    declared: bool = False
    source: str = ""
    servers: tuple[str, ...] = field(default=(), metadata={"later": True})
    persistent: bool = field(default=True, metadata={"later": True})

    @property
    def holds_files(self) -> bool:
        """Tell whether libvirt makes image files in it: qcow2 is a word for nothing elsewhere."""
        return self.kind in _POOLS_OF_FILES

    @property
    def holds_devices(self) -> bool:
        """Tell whether its volumes are block devices."""
        return self.kind in _POOLS_OF_DEVICES

    @property
    def grows_volumes(self) -> bool:
        """Tell whether libvirt can change the size of a volume in it."""
        return self.holds_files or self.kind in {"rbd", "sheepdog", "linstor"}


@dataclass(frozen=True, slots=True)
class Host:
    """One hypervisor.

    ``name`` is the config's; memory in bytes; ``cpu`` its busy cores (None: not measured).
    """

    name: str
    health: Health
    seen_at: datetime | None = None
    problem: Message = ""  # why it is not UP
    uuid: str = ""
    hostname: str = ""  # what the host calls itself, and tells others in a migration
    cpus: int = 0
    memory: int = 0
    memory_free: int = 0
    reserve: int = 0  # bytes kept for the host itself
    cpu: float | None = None
    cpu_model: str = ""
    arch: str = ""
    hypervisor_version: int = 0  # QEMU, major*1e6 + minor*1e3 + micro
    libvirt_version: int = 0
    machines: frozenset[str] = frozenset()
    bridges: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()  # active ones
    pools: tuple[Pool, ...] = ()
    maintenance: bool = False
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shared_paths: tuple[str, ...] = ()  # patterns of paths that the configuration declares shared
    # Of `migrate_data_uri`: where a migration's data goes; '' is where its hostname leads
    migrate_address: str = ""
    huge_pages: tuple[HugePages, ...] | None = None  # None: not known
    unread: tuple[Unread, ...] = ()  # parts of it that could not be read; the rest of it is known
    held: bool = field(
        default=False, metadata={"later": True}
    )  # it failed, and was not admitted again
    # Family, model and stepping as the CPU itself tells them; another libvirt gives it another name
    cpu_signature: str = field(default="", metadata={"later": True})
    # Their numbers; empty where the host does not tell them
    cpu_ids: frozenset[int] = field(default=frozenset(), metadata={"later": True})
    numa_nodes: frozenset[int] = field(default=frozenset(), metadata={"later": True})

    @property
    def set_aside(self) -> int:
        """Bytes that are huge pages: no use to VMs that do not ask for them."""
        return sum(each.size * each.total for each in self.huge_pages or ())

    @property
    def usable(self) -> int:
        """Bytes of ordinary memory for VMs: without the reserve and without huge pages."""
        return self.memory - self.reserve - self.set_aside

    def pages_of(self, vm: Vm) -> HugePages | None:
        """The huge pages that this VM's memory is made of here.

        None when the host sets none of that size aside.
        """
        size = vm.detail.hugepage_size if vm.detail else 0
        there = sorted(
            (each for each in self.huge_pages or () if each.total), key=lambda each: each.size
        )
        return next((each for each in there if size in {0, each.size}), None)

    def why_unread(self, kind: str) -> Message:
        """Return why all its parts of a kind cannot be read.

        '' when they can: what is not listed is not there.
        """
        return next((each.why for each in self.unread if each.kind == kind and not each.name), "")

    @property
    def up(self) -> bool:
        """Whether it answered in this snapshot."""
        return self.health is Health.UP


@dataclass(frozen=True, slots=True)
class Inbound:
    """A move under way.

    Memory that will soon be needed on ``target`` and is still used on ``source``.
    """

    vm_uuid: str
    source: str
    target: str
    memory: int
    operation: str


_MOST = 1 << 62  # counts up to here fit into every database and JSON reader
# Times the CPUs of a host: what a late clock may make of a VM that uses all of them
_MOST_LOAD = 2.0


def sound(vm: Vm) -> Vm:
    """Return the VM; one whose numbers make no sense with 0 for each of them, and with its problem.

    One host that tells nonsense of one VM must not make the whole cluster unplannable.
    """
    if _is_plain(vm):
        return vm
    odd = [f"{what} {value!r:.40}" for what, value in _counts(vm) if not _is_number(value, int)]
    measures = (vm.cpu, vm.dirty_rate, vm.wait)
    if not odd and all(value is None or _is_number(value, float) for value in measures):
        return vm
    memory, memory_max, vcpus = (value if _is_number(value, int) else 0 for _, value in _counts(vm))
    cpu, dirty_rate, wait = (value if _is_number(value, float) else None for value in measures)
    problem = vm.problem or (
        words("its host reports impossible values: {values}", values=odd) if odd else ""
    )
    return replace(
        vm, memory=memory, memory_max=memory_max, vcpus=vcpus, cpu=cpu, dirty_rate=dirty_rate,
        wait=wait, problem=problem,
    )  # fmt: skip


def _is_plain(vm: Vm) -> bool:
    """Whether all numbers of a VM make sense, at a glance: planners ask it millions of times."""
    counts = (vm.memory, vm.memory_max, vm.vcpus)
    for count in counts:
        if type(count) is not int or not 0 <= count < _MOST:
            return False
    for measure in (vm.cpu, vm.dirty_rate, vm.wait):
        if measure is not None and (type(measure) is not float or not 0 <= measure < _MOST):
            return False
    return True


def _measured_within(vm: Vm, cpus: Mapping[str, int]) -> Vm:
    """The VM; without a measured load when no VM of its host can have caused it."""
    most = _MOST_LOAD * cpus.get(vm.host, 0)
    return replace(vm, cpu=None) if vm.cpu is not None and 0 < most < vm.cpu else vm


def _counts(vm: Vm) -> tuple[tuple[str, int], ...]:
    return ("memory", vm.memory), ("maximum memory", vm.memory_max), ("vCPUs", vm.vcpus)


def _is_number(value: object, kind: type[int | float]) -> bool:
    """Whether a value is a number that can be a size, a count or a load."""
    known = isinstance(value, int) or (kind is float and isinstance(value, float))
    return known and 0 <= value < _MOST  # type: ignore[operator]


def tags_of(vms: Iterable[Vm]) -> tuple[str, ...]:
    """All tags of guests as ``key=value``, each once, sorted: what a policy's rules look at."""
    return tuple(sorted({f"{key}={value}" for vm in vms for key, value in vm.tags.items()}))


@dataclass(frozen=True, slots=True)
class CpuFit:
    """Whether a guest's live CPU can run on a host, as that host's libvirt answered."""

    vm_uuid: str
    host: str
    fits: bool
    why: Message = ""


@dataclass(frozen=True, slots=True)
class Lack:
    """A thing that a VM needs and a host lacks.

    ``kind`` is emulator, tpm-emulator, secret, folder, network-device or usb-device.
    """

    kind: str
    name: str


class Seen(StrEnum):
    """What another host has at the place of a VM's disk."""

    SAME = "the very same file"  # no message: a stored value
    OTHER = "another file"
    ABSENT = "nothing"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class DiskThere:
    """What another host has at the place of one disk (its ``target`` in the VM, such as vda)."""

    target: str
    seen: Seen


@dataclass(frozen=True, slots=True)
class TargetLook:
    """What another host showed when it was asked for the things that a VM would need there.

    ``disks``: of the files and volumes that are not known to be shared.
    """

    vm_uuid: str
    host: str
    lacks: tuple[Lack, ...] = ()
    disks: tuple[DiskThere, ...] = ()


@dataclass(slots=True)
class _Tables:
    """What of a snapshot is looked up again and again, each table made when it is first asked for.

    A planner asks for every VM on every host: a walk over the cluster each time would be the cube
    of its size. Two threads that ask at once make the same table twice.
    """

    _hosts: dict[str, Host] | None = None
    _vms: dict[str, tuple[Vm, ...]] | None = None
    _promised: dict[str, int] | None = None
    _named: dict[str, list[Vm]] | None = None
    _sound: tuple[Vm, ...] | None = None
    _others: dict[object, object] = field(default_factory=dict)

    def other(self, make: Callable[[Snapshot], Table], of: Snapshot) -> Table:
        """What a function of somebody else makes of the snapshot."""
        if make not in self._others:
            self._others[make] = make(of)
        return cast("Table", self._others[make])

    def sound(self, of: Snapshot) -> tuple[Vm, ...]:
        """VMs as ``sound`` has them, in the snapshot's order."""
        if self._sound is None:
            self._sound = tuple([sound(vm) for vm in of.vms])
        return self._sound

    def hosts(self, of: Snapshot) -> Mapping[str, Host]:
        """Hosts by name."""
        if self._hosts is None:
            self._hosts = {host.name: host for host in reversed(of.hosts)}
        return self._hosts

    def vms(self, of: Snapshot) -> Mapping[str, tuple[Vm, ...]]:
        """The VMs of each host that has some, by name."""
        if self._vms is None:
            found: dict[str, list[Vm]] = {}
            for vm in sorted(of.vms, key=lambda vm: vm.name):
                found.setdefault(vm.host, []).append(vm)
            self._vms = {host: tuple(theirs) for host, theirs in found.items()}
        return self._vms

    def by_any_name(self, of: Snapshot) -> Mapping[str, Sequence[Vm]]:
        """VMs by name and by UUID, in the snapshot's order."""
        if self._named is None:
            found: dict[str, list[Vm]] = {}
            for vm in of.vms:
                found.setdefault(vm.name, []).append(vm)
                if vm.uuid != vm.name:
                    found.setdefault(vm.uuid, []).append(vm)
            self._named = found
        return self._named

    def memory_promises(self, of: Snapshot) -> Mapping[str, int]:
        """Bytes of ordinary memory promised on each host."""
        if self._promised is None:
            huge = {vm.uuid for vm in of.vms if vm.huge}
            found = dict.fromkeys(self.hosts(of), 0)
            parts = [(vm.host, vm.uuid, vm.memory) for vm in self.sound(of) if vm.state.active]
            parts += [(move.target, move.vm_uuid, move.memory) for move in of.inbound]
            for name, uuid, memory in parts:
                host = self.hosts(of).get(name)
                if host is not None and not (uuid in huge and host.set_aside > 0):
                    found[name] += memory
            self._promised = found
        return self._promised


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at ``taken_at``: every configured host, every guest of the hosts that answered.

    Guests of hosts that did not answer appear as last seen, with the host's health telling so.
    ``copying``: UUIDs of the guests whose local disks a plan copies when it moves them; placement
    rules judge their moves accordingly.
    """

    taken_at: datetime
    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    inbound: tuple[Inbound, ...] = ()
    cpu_fits: tuple[CpuFit, ...] = ()
    target_looks: tuple[TargetLook, ...] = ()
    copying: frozenset[str] = frozenset()
    _tables: _Tables = field(default_factory=_Tables, init=False, repr=False, compare=False)

    def host(self, name: str) -> Host:
        """The host of this name.

        Raises:
            UnknownNameError: no such host; the advice names the nearest.
        """
        if (found := self._tables.hosts(self).get(name)) is not None:
            return found
        names = [host.name for host in self.hosts]
        if len(alike := names_for(name, names)) == 1:
            return self.host(alike[0])
        raise UnknownNameError(
            words("There is no host “{name}”.", name=name),
            nearest(name, names, words("See all with `/kvm hosts`.")),
        )

    def vm(self, name: str) -> Vm:
        """The one guest of this name or UUID.

        Its running copy wins over an incoming or a shut-off one. A UUID is that guest's, also where
        another one has it for a name.

        Where nothing has exactly this name, one that differs only by how accents are encoded, or by
        what autocorrection or chat marks add, is meant.

        Raises:
            UnknownNameError: no such guest; the advice names the nearest.
            AmbiguousNameError: several guests have this name; the advice tells how to name one.
        """
        found = self._any_of_name(name)
        if not found:
            names = sorted({vm.name for vm in self.vms})
            raise UnknownNameError(
                words("There is no VM “{name}”.", name=name),
                nearest(name, names, self._perhaps_elsewhere()),
            )
        if len({vm.uuid for vm in found}) > 1:
            where = tuple(words("{uuid} on {host}", uuid=vm.uuid, host=vm.host) for vm in found)
            raise AmbiguousNameError(
                words("{count} VMs are called “{name}”.", count=len(found), name=name),
                words("Give the UUID instead: {where}.", where=where),
            )
        return min(
            found, key=lambda vm: (vm.state is not VmState.RUNNING, not vm.state.active, vm.host)
        )

    def uuids_for(self, names: Iterable[str]) -> frozenset[str]:
        """UUIDs of all VMs that these names or UUIDs may mean; unknown ones mean none."""
        return frozenset(vm.uuid for name in names for vm in self._any_of_name(name))

    def _any_of_name(self, name: str) -> Sequence[Vm]:
        """Every VM that a name or UUID may mean."""
        found = self.copies(name) or self._tables.by_any_name(self).get(name, ())
        if found:
            return found
        alike = set(names_for(name, [each for vm in self.vms for each in (vm.name, vm.uuid)]))
        return [vm for vm in self.vms if vm.name in alike or vm.uuid in alike]

    def _perhaps_elsewhere(self) -> Message:
        unheard = [host.name for host in self.hosts if not host.up]
        if not unheard:
            return words("See all with `/kvm vms`.")
        return words(
            "It may be on a host that does not answer: {hosts}. See them with `/kvm hosts`.",
            hosts=unheard,
        )

    def sound(self) -> Snapshot:
        """Return it with every VM as ``sound`` has it, for planners.

        What follows of nonsense is none of it.

        A load far beyond the CPUs of its host is no measurement either.
        """
        cpus = {host.name: host.cpus for host in self.hosts}
        return replace(self, vms=tuple([_measured_within(vm, cpus) for vm in self.sound_vms]))

    @property
    def sound_vms(self) -> Sequence[Vm]:
        """Its VMs, each as ``sound`` has it."""
        return self._tables.sound(self)

    def table(self, make: Callable[[Snapshot], Table]) -> Table:
        """What ``make`` makes of it, made once: a look-up table that a planner has of its own."""
        return self._tables.other(make, self)

    def on(self, host: str) -> tuple[Vm, ...]:
        """The guests on a host, by name."""
        return self._tables.vms(self).get(host, ())

    def cpu_fit(self, vm_uuid: str, host: str) -> CpuFit | None:
        """What the host answered for this guest's CPU; None when it was not asked."""
        return next(
            (fit for fit in self.cpu_fits if (fit.vm_uuid, fit.host) == (vm_uuid, host)), None
        )

    def target_look(self, vm_uuid: str, host: str) -> TargetLook | None:
        """What the host showed of the things that this VM would need there.

        None when it was not asked.
        """
        return next(
            (each for each in self.target_looks if (each.vm_uuid, each.host) == (vm_uuid, host)),
            None,
        )

    def copies(self, uuid: str) -> Sequence[Vm]:
        """Every VM of this UUID, wherever it was seen."""
        return [vm for vm in self._tables.by_any_name(self).get(uuid, ()) if vm.uuid == uuid]

    def copy_on(self, uuid: str, host: str) -> Vm | None:
        """The VM of this UUID as one host has it; None where that has none."""
        return next((vm for vm in self.copies(uuid) if vm.host == host), None)

    def namesakes(self, name: str) -> Sequence[Vm]:
        """Every VM of exactly this name, wherever it was seen."""
        return [vm for vm in self._tables.by_any_name(self).get(name, ()) if vm.name == name]

    def memory_promises(self, host: str) -> int:
        """Bytes of ordinary memory promised on a host.

        Its active VMs and the moves under way to it.

        VMs on huge pages live in what the host sets aside, where it is known to.
        """
        return self._tables.memory_promises(self)[self.host(host).name]

    def room(self, host: str) -> int:
        """Bytes of ordinary memory still to be promised on a host; negative when overcommitted."""
        return self.host(host).usable - self.memory_promises(host)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a UUID was looked for and what was found; ``state`` None: no such guest there.

    ``reachable`` False: nobody knows, and a start would risk two copies. ``paused_by`` as in
    ``Vm``. ``proven``: it does not answer, but is proven off: by its power controllers
    (``device``) or by two people (``attested``).
    """

    host: str
    reachable: bool
    state: VmState | None = None
    paused_by: str = ""
    proven: str = ""

    @property
    def is_up(self) -> bool:
        """Whether it is active there and its start is over: one under way may still fail."""
        return self.state is not None and self.state.active and self.paused_by != STARTING_UP


@dataclass(frozen=True, slots=True)
class Job:
    """Progress of a migration.

    Bytes and bytes/s; times in seconds; ``throttle`` percent of auto-converge.
    """

    phase: str  # setup, copying, post-copy, finishing
    total: int = 0
    remaining: int = 0
    processed: int = 0
    rate: float = 0.0
    dirty_rate: float = 0.0
    iteration: int = 0
    throttle: int = 0
    elapsed: float = 0.0
    expected_downtime: float | None = None

    @property
    def fraction(self) -> float:
        """Share of memory and storage already on the other side, 0..1."""
        return 0.0 if self.total <= 0 else max(0.0, min(1.0, 1 - self.remaining / self.total))

    @property
    def eta(self) -> float | None:
        """Seconds to go at the present rate; None while it does not converge or is not known."""
        pace = self.rate - self.dirty_rate
        return self.remaining / pace if pace > 0 else None
