"""Pure: what stands between a running guest and another host, each hindrance a small check of its own."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.domain import placement
from bot.domain.cluster import Disk, Host, Nic, Pool, Seen, Snapshot, Vm, VmDetail, VmState
from bot.domain.placement import Rule
from bot.domain.plan import Objection
from bot.domain.storage import is_medium, is_shared, local_disks, pool_of, seen_there
from plugins.migrate import cards
from plugins.migrate.cards import Verdict
from plugins.migrate.outcome import paused_by_migration, word

SAFE_CACHES = frozenset({"none", "directsync"})


def _with_media(detail: VmDetail) -> tuple[Disk, ...]:
    return tuple(disk for disk in detail.disks if disk.source)


def _shared_disks(source: Host, detail: VmDetail) -> tuple[Disk, ...]:
    """Disks, read-only media too, that other hosts can see."""
    return tuple(disk for disk in _with_media(detail) if is_shared(source, disk))


@dataclass(frozen=True, slots=True)
class Case:
    """A guest that someone wants to move. ``detail`` is empty when it could not be read."""

    snapshot: Snapshot
    vm: Vm
    copy_storage: bool = False

    @property
    def source(self) -> Host:
        """The host it is on."""
        return self.snapshot.host(self.vm.host)

    @property
    def detail(self) -> VmDetail:
        """What was read of its definition."""
        return self.vm.detail or VmDetail()

    def seen_on(self, host: str, disks: Iterable[Disk]) -> frozenset[Seen]:
        """What a host showed at the places of these disks."""
        look = self.snapshot.target_look(self.vm.uuid, host)
        return seen_there(disks, look.disks if look else ())

    def seen_somewhere(self, disks: Sequence[Disk]) -> bool:
        """Whether some host has the very files of all these disks: then only the others are in the way."""
        return any(self.seen_on(each.name, disks) == {Seen.SAME} for each in self.snapshot.hosts)

    def hosts_with(self, disks: Sequence[Disk]) -> tuple[str, ...]:
        """Hosts that have a file at the place of one of these disks."""
        some = {Seen.SAME, Seen.OTHER}
        return tuple(
            each.name for each in self.snapshot.hosts if self.seen_on(each.name, disks) & some
        )


def _state(case: Case) -> Iterator[Objection]:
    vm = case.vm
    if vm.state is VmState.CRASHED:
        yield cards.vm_crashed(vm)
    elif vm.state is VmState.SHUT_OFF:
        yield cards.vm_off(vm)
    elif vm.state not in (VmState.RUNNING, VmState.PAUSED):
        yield cards.state_unfit(vm)
    elif word(vm.paused_by) == "postcopyfailed":
        yield cards.broke_off(vm)
    elif vm.state is VmState.PAUSED:
        yield from _pause(vm)


def _pause(vm: Vm) -> Iterator[Objection]:
    if word(vm.paused_by) == "ioerror":
        yield cards.io_error(vm)
    elif paused_by_migration(vm.paused_by):
        yield cards.half_moved(vm)


def _source_answers(case: Case) -> Iterator[Objection]:
    if not case.source.up:
        yield cards.source_unreachable(case.vm, case.source)


def _in_one_place(case: Case) -> Iterator[Objection]:
    """One UUID active on two hosts is a migration under way, or a disaster.

    A silent host counts as having it.
    """
    others = [each for each in case.snapshot.vms if each.uuid == case.vm.uuid and each.state.active]
    move = next((each for each in case.snapshot.inbound if each.vm_uuid == case.vm.uuid), None)
    arriving = any(
        each.state is VmState.PAUSED and paused_by_migration(each.paused_by) for each in others
    )
    if move is not None or (len(others) > 1 and arriving):
        yield cards.moving(case.vm, move)
    elif len(others) > 1:
        yield cards.running_twice(
            case.vm, [cards.seen_at(each, case.snapshot.host(each.host)) for each in others]
        )


def _no_jobs(case: Case) -> Iterator[Objection]:
    if case.detail.job:
        yield cards.job_active(case.vm, case.detail.job)
    if busy := [disk for disk in case.detail.disks if disk.busy]:
        yield cards.block_job(case.vm, busy)


def _devices(case: Case) -> Iterator[Objection]:
    vm, detail = case.vm, case.detail
    if detail.hostdevs:
        yield cards.host_devices(vm, detail.hostdevs)
    if detail.shared_dirs:
        yield cards.shared_directories(vm, detail.shared_dirs)
    if detail.tpm in {"passthrough", "external"}:
        yield cards.tpm_fixed(vm, detail.tpm)
    if detail.tpm == "emulator" and _below(case.source.libvirt_version, TPM_MOVES):
        yield cards.tpm_too_old(vm, case.source)
    if detail.ties.shmem:
        yield cards.shared_memory(vm, detail.ties.shmem)
    if vdpa := [nic for nic in detail.nics if nic.kind == "vdpa"]:
        yield cards.host_devices(vm, [f"vDPA {nic.source}" for nic in vdpa])
    if detail.ties.launch_security:
        yield cards.encrypted_memory(vm, detail.ties.launch_security)


# From these versions on libvirt and QEMU move what older ones cannot; numbers as libvirt counts
# versions.
TPM_MOVES = 7_001_000  # libvirt: the state of an emulated TPM
# Libvirt and QEMU: the source's page cache, for every cache mode
CACHES_DROPPED = (5_006_000, 4_000_000)


def _below(version: int, least: int) -> bool:
    """Tell whether a version that was read is too low; one that was not read is no reason to refuse."""
    return 0 < version < least


def _definition(case: Case) -> Iterator[Objection]:
    detail = case.detail
    if detail.snapshots:
        yield cards.snapshots(case.vm, detail.snapshots)
    if "invtsc" in detail.cpu_features and not detail.ties.tsc_frequency:
        yield cards.invtsc(case.vm)
    if dropped := [disk for disk in detail.disks if disk.transient]:
        yield cards.transient_disks(case.vm, dropped)


def _storage(case: Case) -> Iterator[Objection]:
    """Libvirt's own rules (``qemuMigrationSrcIsSafe``), foreseen; asked to copy no disk it would copy all."""
    vm, source = case.vm, case.source
    media, local = _own_media(case), local_disks(source, case.detail)
    if media and not case.seen_somewhere(media):
        yield cards.local_media(vm, media)
    if local and not case.copy_storage and not case.seen_somewhere(local):
        yield cards.local_disks(vm, local, case.hosts_with(local))
    if case.copy_storage and not local:
        yield cards.nothing_to_copy(vm)
    writable = [
        each
        for each in _shared_disks(source, case.detail)
        if not is_medium(each) and not each.shareable
    ]
    unsafe = [each for each in writable if each.kind != "network" and each.cache not in SAFE_CACHES]
    if unsafe and not _drops_caches(source):
        yield cards.disk_cache(vm, unsafe)


def _own_media(case: Case) -> tuple[Disk, ...]:
    own = (
        disk
        for disk in _with_media(case.detail)
        if is_medium(disk) and not is_shared(case.source, disk)
    )
    return tuple(own)


def _drops_caches(source: Host) -> bool:
    """Tell whether the source makes every cache mode safe: QEMU then drops its page cache before the switch."""
    libvirt, qemu = CACHES_DROPPED
    return source.libvirt_version >= libvirt and source.hypervisor_version >= qemu


SOURCE_CHECKS: tuple[Callable[[Case], Iterable[Objection]], ...] = (
    _state, _source_answers, _in_one_place, _no_jobs, _devices, _definition, _storage,
)  # fmt: skip
"""Each yields what keeps a guest where it is, whatever the target."""


def _distinct(case: Case, target: Host) -> Iterator[Objection]:
    source = case.source
    if target.uuid and target.uuid == source.uuid:
        yield cards.same_uuid(source, target)
    if target.hostname and target.hostname == source.hostname:
        yield cards.same_hostname(source, target)
    if target.arch and source.arch and target.arch != source.arch:
        yield cards.other_arch(source, target)
    # Without `migrate_data_uri` libvirt sends the memory to the name that the target gives itself,
    # whatever `migrate_uri` says: that one is for the daemons only.
    said = target.migrate_address or target.hostname
    if _loopback(said):
        yield cards.localhost(target, said)


def _loopback(address: str) -> bool:
    return address.startswith(("localhost", "127.")) or address.strip("[]") == "::1"


def _not_taken(case: Case, target: Host) -> Iterator[Objection]:
    for other in case.snapshot.on(target.name):
        if other.uuid == case.vm.uuid and not other.state.active:
            yield cards.leftover(case.vm, other)
        elif other.uuid != case.vm.uuid and other.name == case.vm.name:
            yield cards.name_taken(case.vm, other)


def _network(case: Case, target: Host) -> Iterator[Objection]:
    missing = [
        nic for nic in case.detail.nics if has(target, nic) is False and has(case.source, nic)
    ]
    if missing:
        yield cards.missing_network(case.vm, target, missing)


def has(host: Host, nic: Nic) -> bool | None:
    """Whether a host has what a card is plugged into; None: it is of a kind that cannot be looked at, or read there."""
    kinds = {"bridge": (host.bridges, "interface"), "network": (host.networks, "network")}
    known, kind = kinds.get(nic.kind, (None, ""))
    if known is None:
        return None
    return True if nic.source in known else None if host.why_unread(kind) else False


def _pools(case: Case, target: Host) -> Iterator[Objection]:
    active = [pool for pool in target.pools if pool.active]
    wanted = [
        _pool_there(case.source, disk, active) for disk in _shared_disks(case.source, case.detail)
    ]
    if (missing := [each for each in wanted if each]) and (why := target.why_unread("pool")):
        yield cards.pools_unread(case.vm, target, tuple(dict.fromkeys(missing)), why)
    elif missing:
        yield cards.missing_pool(case.vm, target, tuple(dict.fromkeys(missing)), copying=False)
    if case.copy_storage:
        yield from _copies(case, target, active)


def _pool_there(source: Host, disk: Disk, active: Sequence[Pool]) -> str:
    """The name of the pool that a shared disk needs and that is not among ``active``; '' when all is well."""
    pool = pool_of(source, disk)
    if disk.kind == "network" or pool is None:
        return ""
    if disk.kind == "volume":
        return "" if any(each.name == pool.name for each in active) else pool.name
    there = any(
        each.shared and (each.path, each.source) == (pool.path, pool.source) for each in active
    )
    return "" if there else f"{pool.name} ({pool.path})"


def _files(case: Case, target: Host) -> Iterator[Objection]:
    """What the target showed at the places of the VM's own disks.

    A file that is there is never copied over.
    """
    media, local = _own_media(case), local_disks(case.source, case.detail)
    if media and case.seen_somewhere(media) and case.seen_on(target.name, media) != {Seen.SAME}:
        yield cards.local_media(case.vm, media)
    seen = case.seen_on(target.name, local)
    if case.copy_storage:
        if seen & {Seen.SAME, Seen.OTHER}:
            yield cards.already_there(case.vm, target, local, same=Seen.OTHER not in seen)
    elif local and case.seen_somewhere(local) and seen != {Seen.SAME}:
        yield cards.local_disks(case.vm, local, case.hosts_with(local))


def _copies(case: Case, target: Host, active: Sequence[Pool]) -> Iterator[Objection]:
    """Libvirt creates a copy only as a file in a pool whose path is the file's folder, or as a volume of that pool."""
    local = local_disks(case.source, case.detail)
    if case.detail.ties.bases:
        yield cards.explicit_bases(case.vm, target, case.detail.ties.bases)
    if blocks := [disk for disk in local if not _can_be_created(disk)]:
        yield cards.not_copyable(case.vm, blocks)
    places = {disk: _copy_pool(disk, active) for disk in local if _can_be_created(disk)}
    if missing := [_folder(disk) for disk, pool in places.items() if pool is None]:
        yield cards.missing_pool(case.vm, target, tuple(dict.fromkeys(missing)), copying=True)
    for pool in dict.fromkeys(each for each in places.values() if each):
        needed = sum(disk.capacity or 0 for disk, place in places.items() if place == pool)
        if pool.capacity and needed > pool.free:
            yield cards.pool_full(case.vm, target, pool, needed)


def _can_be_created(disk: Disk) -> bool:
    """Block devices have no pool to be made in, and what several guests share is never copied."""
    return disk.kind in ("file", "volume") and not disk.shareable


def _folder(disk: Disk) -> str:
    return disk.source.split("/", 1)[0] if disk.kind == "volume" else posixpath.dirname(disk.source)


def _copy_pool(disk: Disk, active: Sequence[Pool]) -> Pool | None:
    place = _folder(disk)
    by_name = disk.kind == "volume"
    return next(
        (each for each in active if (each.name if by_name else each.path.rstrip("/")) == place),
        None,
    )


def _cpu(case: Case, target: Host) -> Iterator[Objection]:
    vm, source, mode = case.vm, case.source, case.detail.cpu_mode
    fit = case.snapshot.cpu_fit(vm.uuid, target.name)
    if fit is not None and not fit.fits:
        yield cards.cpu_unfit(vm, fit)
    known = source.cpu_model and target.cpu_model
    if mode in ("host-passthrough", "maximum") and known and source.cpu_model != target.cpu_model:
        yield cards.cpu_passthrough(vm, mode, source, target)


def _qemu(case: Case, target: Host) -> Iterator[Objection]:
    machine = case.detail.machine
    if machine and target.machines and machine not in target.machines:
        yield cards.missing_machine(case.vm, target, machine)
    if 0 < target.hypervisor_version < case.source.hypervisor_version:
        yield cards.older_qemu(case.source, target)


def _equipment(case: Case, target: Host) -> Iterator[Objection]:
    """What the VM needs there besides room, CPU, network and storage."""
    look = case.snapshot.target_look(case.vm.uuid, target.name)
    for lack in look.lacks if look else ():
        yield cards.lacking(case.vm, target, lack)
    if case.detail.tpm == "emulator" and _below(target.libvirt_version, TPM_MOVES):
        yield cards.tpm_too_old(case.vm, target)


ANYWHERE = frozenset({"", "0.0.0.0", "::", "localhost"})  # noqa: S104 - compared, not bound


def _graphics(case: Case, target: Host) -> Iterator[Objection]:
    """Graphics servers listen on the target as they do here: at the same address, and at the same port if it is fixed.

    An address that every host has is none that another one could be asked for.
    """
    for each in case.detail.ties.listeners:
        if each.address not in ANYWHERE and not _loopback(each.address):
            yield cards.graphics_address(case.vm, target, each)
    wanted = frozenset(
        port for each in case.detail.ties.listeners if each.fixed for port in each.ports
    )
    for other in case.snapshot.on(target.name) if wanted else ():
        there = (
            (each.ports for each in other.detail.ties.listeners)
            if other.detail and other.state.active
            else ()
        )
        if taken := wanted.intersection(*[frozenset[int]().union(*there)]):
            yield cards.graphics_port(case.vm, other, min(taken))


TARGET_CHECKS: tuple[Callable[[Case, Host], Iterable[Objection]], ...] = (
    _distinct, _not_taken, _cpu, _qemu, _equipment, _graphics, _network, _files, _pools,
)  # fmt: skip
"""Each yields what keeps a guest from one host that answers."""


def immovable(case: Case) -> tuple[Objection, ...]:
    """Everything that keeps the guest where it is."""
    return tuple(each for check in SOURCE_CHECKS for each in check(case))


def unfit(case: Case, target: Host) -> tuple[Objection, ...]:
    """Everything between the guest and ``target`` beside room, health and other plugins' rules."""
    if not target.up:
        return ()  # the core's rule says it
    return tuple(each for check in TARGET_CHECKS for each in check(case, target))


def can_move(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:
    """A placement rule for every plugin: a running guest may only be planned where it could move without copying."""
    if not vm.state.active or vm.host == host:
        return None
    case = Case(snapshot, vm)
    return next(iter((*immovable(case), *unfit(case, snapshot.host(host)))), None)


def barriers(case: Case, target: str, rules: Iterable[Rule]) -> tuple[Objection, ...]:
    """Everything against the guest on ``target``, the core's rules and the plugins' included; each once."""
    if target == case.vm.host:
        return (cards.same_host(case.vm),)
    everyone = dict.fromkeys(
        (*placement.CORE_RULES, *(rule for rule in rules if rule is not can_move))
    )
    placed = placement.objections(case.snapshot, case.vm, target, everyone)
    return (*placed, *unfit(case, case.snapshot.host(target)))


def survey(case: Case, rules: Iterable[Rule]) -> tuple[Verdict, ...]:
    """Every host as a place for the guest: those that may take it best first, then the others by name; its own last."""
    rules = tuple(rules)
    names = sorted(host.name for host in case.snapshot.hosts if host.name != case.vm.host)
    found = {name: barriers(case, name, rules) for name in names}
    legal = sorted(
        (n for n in names if not found[n]),
        key=lambda n: placement.preference(case.snapshot, case.vm, n),
    )
    return tuple(
        verdict(case, name, found[name])
        for name in (*legal, *(name for name in names if found[name]))
    )


def verdict(case: Case, name: str, objections: tuple[Objection, ...]) -> Verdict:
    """One host with its fullness before and after the guest would arrive."""
    host = case.snapshot.host(name)
    extra = 0 if name == case.vm.host else case.vm.memory
    before = placement.fullness(case.snapshot, host)
    after = placement.fullness(case.snapshot, host, extra)
    return Verdict(name, objections, before, after, placement.cpu_share(case.snapshot, host))
