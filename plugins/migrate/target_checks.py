"""Pure: what keeps a VM from one host that answers. Each check yields objections."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bot.domain.cluster import Disk, Host, Lack, Listener, Nic, Pool, Seen, Vm
from bot.domain.message import Code, Message, Names, Size, words
from bot.domain.plan import Objection
from bot.domain.state_names import VM_STATES
from bot.domain.storage import (
    can_be_copied,
    declared_shared,
    is_one_storage,
    is_same_place,
    local_disks,
    pool_of,
)
from bot.domain.words import is_older, virsh_name
from plugins.migrate.case import MigrationCase, as_code, disks_and_sources
from plugins.migrate.source_checks import (
    OTHER_WAYS,
    declare_shared,
    local_disk,
    local_media,
    tpm_too_old,
)

KEEPS_TPM = 8_009_000
"""The first libvirt that can leave the state of an emulated TPM when a definition goes."""
MOST_CPUS = 8  # numbers that a sentence names; the rest is counted
ANYWHERE = frozenset({"", "0.0.0.0", "::", "localhost"})  # noqa: S104 - compared, not bound


def _distinct(case: MigrationCase, target: Host) -> Iterator[Objection]:
    source = case.source
    if target.uuid and target.uuid == source.uuid:
        yield Objection(
            "same-host-uuid",
            words(
                "{source} and {target} have the same host UUID ({uuid}); libvirt takes them for "
                "one host.",
                source=source.name,
                target=target.name,
                uuid=target.uuid,
            ),
            words(
                "Set a unique `host_uuid` in `/etc/libvirt/libvirtd.conf` on {target} and restart "
                "its daemon.",
                target=target.name,
            ),
        )
    if target.hostname and target.hostname == source.hostname:
        yield Objection(
            "same-hostname",
            words(
                "{source} and {target} have the same host name “{hostname}”; libvirt takes them "
                "for one host.",
                source=source.name,
                target=target.name,
                hostname=target.hostname,
            ),
            words(
                "Give {target} a unique host name (`hostnamectl set-hostname …`) and restart its "
                "daemon.",
                target=target.name,
            ),
        )
    if target.arch and source.arch and target.arch != source.arch:
        yield Objection(
            "arch",
            words(
                "{target} is {target_arch}, {source} is {source_arch}.",
                target=target.name,
                target_arch=target.arch,
                source=source.name,
                source_arch=source.arch,
            ),
            words("Choose a host of the same architecture."),
        )


def _reachable_by_others(_case: MigrationCase, target: Host) -> Iterator[Objection]:
    # Without `migrate_data_uri` libvirt sends the memory to the name that the target gives itself,
    # whatever `migrate_uri` says: that one is for the daemons only.
    address = target.migrate_address or target.hostname
    if _loopback(address):
        yield Objection(
            "localhost",
            words(
                "{target} tells other hosts to reach it at “{address}”, which is a loopback "
                "address.",
                target=target.name,
                address=address,
            ),
            words(
                "Correct `/etc/hosts` on {target} so that its name is not localhost, or set "
                "`migrate_data_uri` for it.",
                target=target.name,
            ),
        )


def _loopback(address: str) -> bool:
    return address.startswith(("localhost", "127.")) or address.strip("[]") == "::1"


def _not_taken(case: MigrationCase, target: Host) -> Iterator[Objection]:
    for other in case.snapshot.on(target.name):
        if other.uuid == case.vm.uuid and not other.state.active:
            yield Objection(
                "leftover",
                words(
                    "{host} still has an old definition of {vm} (same UUID, {state}).",
                    host=other.host,
                    vm=case.vm.name,
                    state=VM_STATES[other.state],
                ),
                words(
                    "Compare both. If the one on {host} is old, remove it there: {command} (its "
                    "disks stay).",
                    host=other.host,
                    command=as_code(f"virsh undefine {{}}{_keeping(other, target)}", case.vm.uuid),
                ),
            )
        elif other.uuid != case.vm.uuid and other.name == case.vm.name:
            yield Objection(
                "name-taken",
                words(
                    "{host} has another VM named {vm} ({uuid}, {state}).",
                    host=other.host,
                    vm=case.vm.name,
                    uuid=other.uuid,
                    state=VM_STATES[other.state],
                ),
                words(
                    "Rename one of them (`virsh domrename` while it is off), or choose another "
                    "host than {host}.",
                    host=other.host,
                ),
            )


def _keeping(vm: Vm, host: Host) -> str:
    """Options with which `virsh undefine` leaves alone what may be the running VM's, on a share."""
    detail = vm.detail
    if detail is None:
        return ""
    tpm = detail.tpm == "emulator" and not is_older(host.libvirt_version, KEEPS_TPM)
    return (
        (" --keep-nvram" if detail.nvram else "")
        + (" --keep-tpm" if tpm else "")
        + (" --snapshots-metadata" if detail.snapshots else "")
    )


def _cpu(case: MigrationCase, target: Host) -> Iterator[Objection]:
    vm, source, mode = case.vm, case.source, case.detail.cpu_mode
    fit = case.snapshot.cpu_fit(vm.uuid, target.name)
    if fit is not None and not fit.fits:
        yield Objection(
            "cpu",
            words(
                "{host} cannot provide the CPU of {vm}: {why}.",
                host=fit.host,
                vm=vm.name,
                why=fit.why or words("its libvirt reports it as incompatible"),
            ),
            words(
                "Give {vm} a CPU model that all hosts have (`/kvm host baseline` shows it) and "
                "restart it.",
                vm=vm.name,
            ),
        )
    if mode in ("host-passthrough", "maximum") and not _may_be_alike(source, target):
        yield Objection(
            "cpu-passthrough",
            words(
                "{vm} has CPU mode {mode}, which needs equal hosts: {source} has {source_model}, "
                "{target} has {target_model}.",
                vm=vm.name,
                mode=mode,
                source=source.name,
                source_model=source.cpu_model,
                target=target.name,
                target_model=target.cpu_model,
            ),
            words(
                "Choose a host with the same CPU, or give the VM a named CPU model and restart it."
            ),
        )


def _may_be_alike(one: Host, other: Host) -> bool:
    """Whether nothing tells two hosts' CPUs apart.

    Each version of libvirt names the models that it knows: one CPU has two names in an upgrade.
    """
    if one.cpu_signature and one.cpu_signature == other.cpu_signature:
        return True
    models = {host.cpu_model for host in (one, other)}
    return "" in models or len(models) == 1


def _cpu_pins(case: MigrationCase, target: Host) -> Iterator[Objection]:
    ties, vm = case.detail.ties, case.vm
    if cpus := ties.lacks_cpus(target):
        yield Objection(
            "cpu-pins",
            words(
                "{vm} is pinned to CPUs of {source} ({cpus}), none of which {target} has.",
                vm=vm.name,
                source=vm.host,
                cpus=Names(tuple(str(each) for each in sorted(cpus)), most=MOST_CPUS),
                target=target.name,
            ),
            words(
                "Pin it to CPUs that both hosts have, on {source}, with `virsh vcpupin`, "
                "`virsh emulatorpin` and `virsh iothreadpin`; or choose another host. "
                "{command} shows its pins.",
                source=vm.host,
                command=as_code("virsh vcpupin {}", virsh_name(vm)),
            ),
        )
    if nodes := ties.lacks_numa_nodes(target):
        yield Objection(
            "numa-nodes",
            words(
                "The memory of {vm} is bound to NUMA nodes that {target} does not have: {nodes}.",
                vm=vm.name,
                target=target.name,
                nodes=Names(tuple(str(each) for each in sorted(nodes)), most=MOST_CPUS),
            ),
            words(
                "Choose another host; or change `<numatune>` in its definition, on {source}, and "
                "restart the VM: {command}.",
                source=vm.host,
                command=as_code("virsh edit {}", virsh_name(vm)),
            ),
        )


def _machine(case: MigrationCase, target: Host) -> Iterator[Objection]:
    machine = case.detail.machine
    if machine and target.machines and machine not in target.machines:
        yield Objection(
            "machine",
            words(
                "QEMU on {target} does not have the machine type {machine} of {vm}.",
                target=target.name,
                machine=machine,
                vm=case.vm.name,
            ),
            words("Upgrade QEMU on {target}, or choose another host.", target=target.name),
        )


def _equipment(case: MigrationCase, target: Host) -> Iterator[Objection]:
    """What the VM needs there besides memory, CPU, network and storage."""
    look = case.snapshot.target_look(case.vm.uuid, target.name)
    for lack in look.lacks if look else ():
        yield _lacking(case.vm, target, lack)
    yield from tpm_too_old(case, target)


def _lacking(vm: Vm, target: Host, lack: Lack) -> Objection:
    """Name something that the target was asked for and does not have."""
    given = {"target": target.name, "name": lack.name, "vm": vm.name}
    texts: dict[str, tuple[Message, Message]] = {
        "emulator": (
            words("{target} has no emulator {name}, which {vm} needs.", **given),
            words(
                "Install it at that path on {target}, or choose another host.", target=target.name
            ),
        ),
        "tpm-emulator": (
            words("{target} has no TPM emulator, which {vm} needs.", **given),
            words("Install swtpm and swtpm-tools on {target}.", target=target.name),
        ),
        "secret": (
            words("{target} has no secret {name}, which {vm} needs.", **given),
            words(
                "Define the same secret on {target}, with the same UUID: `virsh secret-define`, "
                "then `virsh secret-set-value`.",
                target=target.name,
            ),
        ),
        "folder": (
            words("{target} has no directory {name}, which {vm} needs.", **given),
            words(
                "Create it there: QEMU opens a socket or a file in it for a serial port or a "
                "channel."
            ),
        ),
        "usb-device": (
            words("{target} does not have {name}, which {vm} uses.", **given),
            words(
                "Plug one into {target}, choose another host, or detach it from the VM. With "
                "`startupPolicy='optional'` libvirt leaves it out.",
                target=target.name,
            ),
        ),
        "network-device": (
            words("{target} has no network device {name}, which {vm} needs.", **given),
            words("Choose a host that has it, or connect the VM to a bridge."),
        ),
    }
    text, remedy = texts.get(
        lack.kind,
        (
            words("{target} does not have {name}, which {vm} needs.", **given),
            words("Choose another host."),
        ),
    )
    return Objection(lack.kind, text, remedy)


def _graphics(case: MigrationCase, target: Host) -> Iterator[Objection]:
    """Graphics servers listen on the target as here: same address, and same port if it is fixed.

    An address that every host has is none that another one could be asked for.
    """
    listeners = case.detail.ties.listeners
    for each in listeners:
        if each.address not in ANYWHERE and not _loopback(each.address):
            yield _graphics_address(case.vm, target, each)
    wanted = frozenset(port for each in listeners if each.fixed for port in each.ports)
    for other in case.snapshot.on(target.name):
        if taken := wanted & _ports(other):
            yield _graphics_port(case.vm, other, min(taken))


def _ports(vm: Vm) -> frozenset[int]:
    """Ports that the graphics servers of a VM use now."""
    if vm.detail is None or not vm.state.active:
        return frozenset()
    return frozenset(port for each in vm.detail.ties.listeners for port in each.ports)


def _graphics_address(vm: Vm, target: Host, listener: Listener) -> Objection:
    return Objection(
        "graphics-address",
        words(
            "The {kind} server of {vm} listens at {address}, an address that {target} does not "
            "have.",
            kind=listener.kind.upper(),
            vm=vm.name,
            address=listener.address,
            target=target.name,
        ),
        words(
            "Let it listen on 0.0.0.0 or on 127.0.0.1 ({edit}), then {reboot}.",
            edit=as_code("virsh edit {}", virsh_name(vm)),
            reboot=as_code("/kvm vm reboot {}", vm.name),
        ),
    )


def _graphics_port(vm: Vm, other: Vm, port: int) -> Objection:
    return Objection(
        "graphics-port",
        words(
            "The graphics server of {vm} has the fixed port {port}, which {other} uses on {host}.",
            vm=vm.name,
            port=str(port),
            other=other.name,
            host=other.host,
        ),
        words(
            "Give it `autoport='yes'` ({edit}), then {reboot}; or choose another host.",
            edit=as_code("virsh edit {}", virsh_name(vm)),
            reboot=as_code("/kvm vm reboot {}", vm.name),
        ),
    )


def _network(case: MigrationCase, target: Host) -> Iterator[Objection]:
    missing = [
        nic for nic in case.detail.nics if has(target, nic) is False and has(case.source, nic)
    ]
    if not missing:
        return
    network = next((nic.source for nic in missing if nic.kind == "network"), "")
    yield Objection(
        "network",
        words(
            "{target} does not have what {vm} is connected to: {networks}.",
            target=target.name,
            vm=case.vm.name,
            networks=network_names(missing),
        ),
        words(
            "Create or start it on {target}: {command}.",
            target=target.name,
            command=as_code("virsh net-start {}", network),
        )
        if network
        else words("Create or start it on {target}.", target=target.name),
    )


def network_names(nics: Iterable[Nic]) -> Names:
    """List what NICs are connected to, each once: ``bridge br0, network lan``."""
    return Names(tuple(dict.fromkeys(f"{nic.kind} {nic.source}".strip() for nic in nics)))


def has(host: Host, nic: Nic) -> bool | None:
    """Check whether a host has what a NIC is connected to.

    None: it is of a kind that cannot be checked, or could not be read there.
    """
    kinds = {"bridge": (host.bridges, "interface"), "network": (host.networks, "network")}
    known, kind = kinds.get(nic.kind, (None, ""))
    if known is None:
        return None
    return True if nic.source in known else None if host.why_unread(kind) else False


def _files(case: MigrationCase, target: Host) -> Iterator[Objection]:
    """What the target showed at the places of the VM's own disks.

    A file that is there is never copied over.
    """
    media, local = case.own_media, local_disks(case.source, case.detail)
    if media and case.same_somewhere(media) and case.files_on(target.name, media) != {Seen.SAME}:
        yield local_media(case.vm, media)
    seen = case.files_on(target.name, local)
    if case.copy_storage:
        if Seen.OTHER in seen:
            yield _other_file(case.vm, target, local)
        elif Seen.SAME in seen:
            yield _same_file(case.vm, target, local)
    elif local and case.same_somewhere(local) and seen != {Seen.SAME}:
        yield local_disk(case, local)


def _same_file(vm: Vm, target: Host, disks: tuple[Disk, ...]) -> Objection:
    return Objection(
        "same-file",
        words(
            "{target} sees the very disks of {vm} ({disks}): a copy would overwrite them with "
            "themselves.",
            target=target.name,
            vm=vm.name,
            disks=disks_and_sources(disks),
        ),
        words(
            "Leave out the copy: {command}.",
            command=as_code("/kvm migrate {} to {}", vm.name, target.name),
        ),
    )


def _other_file(vm: Vm, target: Host, disks: tuple[Disk, ...]) -> Objection:
    return Objection(
        "file-there",
        words(
            "{target} already has a file where a disk of {vm} would be copied to: {disks}.",
            target=target.name,
            vm=vm.name,
            disks=disks_and_sources(disks),
        ),
        words(
            "Drover never copies over an existing file. {declare} Otherwise choose another host.",
            declare=declare_shared(disks),
        ),
    )


def _pools(case: MigrationCase, target: Host) -> Iterator[Objection]:
    active = [pool for pool in target.pools if pool.active]
    wanted = (_missing_pool(case.source, target, disk, active) for disk in case.shared_disks)
    missing = tuple(dict.fromkeys(each for each in wanted if each))
    for pool, other in case.shared_pools(target):
        if not is_one_storage(pool, other):
            yield _other_storage(case, target, pool, other)
    if missing and (why := target.why_unread("pool")):
        yield Objection(
            "pools-unread",
            words(
                "The storage pools of {target} cannot be read ({why}), so it is unknown whether it "
                "has {pools} for {vm}.",
                target=target.name,
                why=why,
                pools=missing,
                vm=case.vm.name,
            ),
            words("Try again when they can be read."),
        )
    elif missing:
        yield Objection(
            "pool",
            words(
                "{target} has no active pool for the disks of {vm}: {pools}.",
                target=target.name,
                vm=case.vm.name,
                pools=missing,
            ),
            _define_pool(target),
        )
    if case.copy_storage:
        yield from _copies(case, target, active)


def _define_pool(target: Host) -> Message:
    return words(
        "Define and start it on {target} (`virsh pool-define-as`, `pool-start`, `pool-autostart`).",
        target=target.name,
    )


def _other_storage(case: MigrationCase, target: Host, pool: Pool, other: Pool) -> Objection:
    return Objection(
        "other-storage",
        words(
            "Pool {pool} is {here} on {source} and {there} on {target}: {vm} would find other "
            "files there.",
            pool=pool.name,
            here=pool.source,
            source=case.source.name,
            there=other.source,
            target=target.name,
            vm=case.vm.name,
        ),
        words(
            "Correct the pool of one of them. If both are the same storage, declare it in the "
            "configuration: `[[pools]]`, {setting}, `shared = true`.",
            setting=Code(f"name = {json.dumps(pool.name)}"),
        ),
    )


def _missing_pool(source: Host, target: Host, disk: Disk, active: Sequence[Pool]) -> str:
    """The name of the pool that a shared disk needs and that is not among ``active``, or ''.

    A path that is declared as shared needs none.
    """
    pool = pool_of(source, disk)
    if disk.kind == "network" or pool is None:
        return ""
    if not pool.shared and declared_shared(target, disk):
        return ""
    there = any(each.shared and is_same_place(disk, pool, each) for each in active)
    named = pool.name if disk.kind == "volume" else f"{pool.name} ({pool.path})"
    return "" if there else named


def _copies(case: MigrationCase, target: Host, active: Sequence[Pool]) -> Iterator[Objection]:
    """Check where the copies of local disks would be created.

    Libvirt creates a copy only as a file in a pool whose path is the file's directory, or as a
    volume of that pool.
    """
    vm, local = case.vm, local_disks(case.source, case.detail)
    if case.detail.ties.bases:
        yield _named_bases(case, target)
    if stuck := [disk for disk in local if not can_be_copied(disk)]:
        yield _not_copyable(vm, stuck)
    places = {disk: _copy_pool(disk, active) for disk in local if can_be_copied(disk)}
    if missing := [_folder(disk) for disk, pool in places.items() if pool is None]:
        yield Objection(
            "pool",
            words(
                "{target} has no active pool to copy the disks of {vm} into: {pools}.",
                target=target.name,
                vm=vm.name,
                pools=tuple(dict.fromkeys(missing)),
            ),
            _define_pool(target),
        )
    yield from _full_pools(vm, target, places)


def _not_copyable(vm: Vm, disks: Sequence[Disk]) -> Objection:
    listed = tuple(f"{disk.target} ({disk.kind} {disk.source})" for disk in disks)
    return Objection(
        "not-copyable",
        words(
            "libvirt cannot copy these disks of {vm} to another host: {disks}.",
            vm=vm.name,
            disks=Names(listed),
        ),
        OTHER_WAYS,
    )


def _full_pools(vm: Vm, target: Host, places: Mapping[Disk, Pool | None]) -> Iterator[Objection]:
    """Object to each pool that has too little space for the disks that would be copied into it."""
    for pool in dict.fromkeys(each for each in places.values() if each):
        needed = sum(disk.capacity or 0 for disk, place in places.items() if place == pool)
        if pool.capacity and needed > pool.free:
            yield Objection(
                "pool-full",
                words(
                    "Pool {pool} on {target} has {free} free; the disks of {vm} need {needed}.",
                    pool=pool.name,
                    target=target.name,
                    free=Size(pool.free),
                    vm=vm.name,
                    needed=Size(needed),
                ),
                words("Free space there, or choose another host."),
            )


def _named_bases(case: MigrationCase, target: Host) -> Objection:
    """A definition that names base images makes QEMU on the target look for those files."""
    disk = next((each.target for each in case.detail.disks if each.device == "disk"), "vda")
    return Objection(
        "backing-file",
        words(
            "The definition of {vm} names base images of its disks: {bases}. QEMU on {target} "
            "would look for them there, although the copy is complete.",
            vm=case.vm.name,
            bases=case.detail.ties.bases,
            target=target.name,
        ),
        words(
            "Make its disk independent first: {command}.",
            command=as_code("virsh blockpull {} {} --wait", virsh_name(case.vm), disk),
        ),
    )


def _folder(disk: Disk) -> str:
    return disk.source.split("/", 1)[0] if disk.kind == "volume" else posixpath.dirname(disk.source)


def _copy_pool(disk: Disk, active: Sequence[Pool]) -> Pool | None:
    place = _folder(disk)
    by_name = disk.kind == "volume"
    return next(
        (each for each in active if (each.name if by_name else each.path.rstrip("/")) == place),
        None,
    )


TARGET_CHECKS: tuple[Callable[[MigrationCase, Host], Iterable[Objection]], ...] = (
    _distinct,
    _reachable_by_others,
    _not_taken,
    _cpu,
    _cpu_pins,
    _machine,
    _equipment,
    _graphics,
    _network,
    _files,
    _pools,
)
"""Each yields what keeps a VM from one host that answers."""
