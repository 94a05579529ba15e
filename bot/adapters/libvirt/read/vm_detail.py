"""Looking deeper at a guest: jobs, disks' sizes, CPUs that fit, how fast it writes memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import Definition, document, parse, text_of
from bot.adapters.libvirt.read.inventory import Facts
from bot.adapters.libvirt.read.qcow2 import snapshot_ids
from bot.adapters.libvirt.read.sampling import name_of_snapshot
from bot.adapters.libvirt.read.ties import bases
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.transport.parts import NONSENSE, Parts, count
from bot.adapters.libvirt.write import volumes
from bot.domain.backing import image_name
from bot.domain.cluster import (
    CpuFit,
    DefinedThen,
    Disk,
    Host,
    StoredSize,
    Vm,
    VmDetail,
    VmSnapshot,
)
from bot.domain.message import Message, Names, join, words
from bot.domain.only_live import device_names
from bot.domain.storage import is_medium

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

_JOBS = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_START: words("start"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: words("save"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_RESTORE: words("restore"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: words("migration in"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: words("migration"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: words("snapshot"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT: words("snapshot revert"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: words("dump"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: words("backup"),
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE: words("snapshot delete"),
}
# Jobs that libvirt ends when it ends the VM, and that change nothing of it
_ENDS_WITH_IT = frozenset(
    {
        libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE,
        libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT,
        libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP,
        libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP,
    }
)
_SHOWN = 3  # differing CPU features that are named; the rest is counted
_BLOCK_JOBS = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL: "pull",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY: "copy",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT: "commit",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: "active-commit",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: "backup",
}
# Answers that mean "not here" or "not now" to a question whose answer may be missing.
_CANNOT_SAY = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_OPERATION_FAILED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_DOMAIN,
    }
)
_JOB_OPERATION = libvirt.VIR_DOMAIN_JOB_OPERATION
_DIRTY_MEASURED = libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED
_DIRTY_SECONDS = 1  # the shortest that QEMU measures: a person waits for it


@dataclass(frozen=True, slots=True)
class Depth:
    """What only a deeper look shows.

    ``live`` is the definition that would travel (None for a guest that is off).

    ``problem``: what could not be read, '' for nothing.
    """

    detail: VmDetail
    live: Definition | None
    stored: StoredSize | None = None
    problem: Message = ""


def depth(connection: Connection, vm: Vm) -> Depth:
    """A deeper look at a guest, from its own host, with the rights to change it.

    Several calls a disk.
    """
    domain = connection.lookupByUUIDString(vm.uuid)
    parts = Parts(connection)
    if vm.detail is None:
        return Depth(VmDetail(), None)  # its problem is told already
    disks = tuple(_look_at(parts, domain, disk) for disk in vm.detail.disks)
    ask = partial(parts.read, absent=())
    if vm.detail.snapshots:
        versions = [
            ask("disk-format", each.target, partial(_compat, connection, each)) for each in disks
        ]
        disks = tuple(
            replace(disk, compat=version or "")
            for disk, version in zip(disks, versions, strict=True)
        )
    job, local_job = ask("job", "", lambda: _job_of(domain)) or ("", False)
    snapshots = _snapshot_list(parts, domain)
    if any(not each.external and each.name.isdecimal() for each in snapshots or ()):
        numbers = ask("snapshot-numbers", "", lambda: _numbers(connection, vm.detail))
        snapshots = tuple(
            replace(each, clashes=_clashes(each, numbers)) for each in snapshots or ()
        )
    checkpoints = ask("checkpoints", "", lambda: _checkpoints(domain))
    stored = ask("stored-definition", "", lambda: _stored_size(domain, vm))
    ties = replace(
        vm.detail.ties,
        bases=ask("disk-bases", "", lambda: _bases(domain)) or (),
    )
    detail = replace(
        vm.detail,
        disks=disks,
        job=job,
        local_job=local_job,
        snapshot_list=snapshots,
        checkpoints=checkpoints or 0,
        ties=ties,
    )
    live = ask("live-definition", "", lambda: _live(domain)) if vm.state.active else None
    return Depth(detail, live, stored, join((each.text for each in parts.unread), "; "))


def _live(domain: Domain) -> Definition | None:
    """The definition that would travel; None where the host cannot say."""
    try:
        return parse(
            domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_UPDATE_CPU)
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_SAY:
            return None
        raise


def _stored_size(domain: Domain, vm: Vm) -> StoredSize | None:
    """Its size at the next start; None for a transient VM, which has none."""
    if not vm.persistent:
        return None
    stored = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    size = (stored.vcpus, stored.memory, stored.detail.vcpus_max, stored.memory_max)
    if vm.detail is None or not vm.state.active:
        return StoredSize(*size)
    then = device_names(stored.detail)
    gone = tuple(name for name in device_names(vm.detail) if name not in then)
    return StoredSize(*size, gone, tuple(_other_disks(vm.detail, stored.detail)))


def _other_disks(now: VmDetail, then: VmDetail) -> Iterator[str]:
    """Yield the disks that are one image now and another one at the next start."""
    sources = {disk.target: (disk.kind, image_name(disk.source)) for disk in then.disks}
    for disk in now.disks:
        mine = (disk.kind, image_name(disk.source))
        if not is_medium(disk) and sources.get(disk.target, mine) != mine:
            yield disk.target


def _snapshot_list(parts: Parts, domain: Domain) -> tuple[VmSnapshot, ...] | None:
    """Its snapshots, of one that cannot be read the name alone; None when the host cannot say."""
    listed = parts.read(
        "snapshots", "", lambda: list(domain.listAllSnapshots(0)), absent=_CANNOT_SAY
    )
    if listed is None:
        return None
    found: list[VmSnapshot] = []
    for each in listed:
        name = name_of_snapshot(each)
        taken = parts.read("snapshot", name, partial(snapshot_of, each))
        if taken is None and parts.why("snapshot", name):
            taken = VmSnapshot(name)
        found += [taken] if taken is not None else []
    return tuple(found)


def _bases(domain: Domain) -> tuple[str, ...]:
    """Files beneath its disks that its own definition names.

    QEMU would look for them on another host too.
    """
    try:
        return tuple(
            dict.fromkeys(bases(document(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))))
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_SAY:
            return ()
        raise


def _checkpoints(domain: Domain) -> int:
    """How many checkpoints of backups it has; a migration leaves them behind."""
    try:
        return len(domain.listAllCheckpoints(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_SAY:
            return 0
        raise


def _numbers(connection: Connection, detail: VmDetail | None) -> tuple[dict[str, str], ...] | None:
    """Of each qcow2 disk the names of its snapshots by QEMU's numbers.

    None when not all can be read.
    """
    found = []
    for disk in detail.disks if detail else ():
        if disk.device == "disk" and disk.format == "qcow2" and disk.source:
            read = volumes.reader(connection, disk.source)
            if read is None:
                return None
            found.append(snapshot_ids(read))
    return tuple(found)


def _clashes(taken: VmSnapshot, numbers: tuple[dict[str, str], ...] | None) -> bool:
    if taken.external or not taken.name.isdecimal():
        return False
    return numbers is None or any(
        each.get(taken.name, taken.name) != taken.name for each in numbers
    )


def snapshot_of(snapshot: libvirt.virDomainSnapshot) -> VmSnapshot:
    """A ``virDomainSnapshot``: external when any disk of it, or its memory.

    Lies in a file of its own.
    """
    root = document(snapshot.getXMLDesc(0))
    parts = [*root.iterfind("memory"), *root.iterfind("disks/disk")]
    external = any(each.get("snapshot") == "external" for each in parts)
    name = root.findtext("name") or name_of_snapshot(snapshot)
    then = _defined_then(root)
    known = () if then is None else then.devices
    left_out = tuple(
        disk.get("name", "")
        for disk in root.iterfind("disks/disk")
        if disk.get("snapshot") in {"no", "manual"} and disk.get("name", "") in known
    )
    return VmSnapshot(name, external, root.findtext("state", ""), then=then, left_out=left_out)


def _defined_then(root: etree._Element) -> DefinedThen | None:
    """The definition in a snapshot; of a VM that ran its size is that of its next start.

    None where there is none: very old snapshots hold the VM's UUID alone.
    """
    found, stored = root.find("domain"), root.find("inactiveDomain")
    if found is None or found.find("devices") is None:
        return None
    then = parse(text_of(found))
    size = then
    if stored is not None:
        stored.tag = "domain"
        size = parse(text_of(stored))
    return DefinedThen(size.vcpus, size.memory, device_names(then.detail))


def active_job(domain: Domain) -> Message:
    """The kind of the job that holds a guest, '' when none does."""
    return _job_of(domain)[0]


def _job_of(domain: Domain) -> tuple[Message, bool]:
    """The kind of the job that holds a guest, '' for none; and whether it ends with the guest."""
    try:
        stats = domain.jobStats()
    except libvirt.libvirtError as error:
        if (
            error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
            and "only on the source" in str(error)
        ):
            return _JOBS[libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN], False
        if error.get_error_code() in _CANNOT_SAY:
            return "", False
        raise
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return "", False
    kind = stats.get(_JOB_OPERATION, 0)
    return _JOBS.get(kind, words("job")), kind in _ENDS_WITH_IT


def fit(  # noqa: PLR0917 - two hosts, two kinds of knowledge
    connection: Connection, vm: Vm, live: Definition, here: Facts, there: Host, there_facts: Facts
) -> CpuFit | None:
    """Whether a guest's CPU can run on another host; None when that host's libvirt cannot say.

    ``host-passthrough`` (and ``maximum`` under KVM) shows the guest the host's own CPU: only an
    equal one fits. All else is asked of the host, for the guest's kind of virtualization. An
    emulated CPU does not depend on the host's.
    """
    if live.arch != there_facts.arch and live.arch:
        return CpuFit(
            vm.uuid,
            there.name,
            fits=False,
            why=words(
                "{host} is {arch}, not {wanted}",
                host=there.name,
                arch=there_facts.arch,
                wanted=live.arch,
            ),
        )
    if live.detail.cpu_mode in {"host-passthrough", "maximum"}:
        return _same_cpu(vm, live, here, there, there_facts)
    if not live.cpu_xml:
        return CpuFit(vm.uuid, there.name, fits=True)
    return _ask_fit(connection, vm, live, there)


def start_dirty_rate(connection: Connection, vm: Vm) -> bool:
    """Begin measuring how fast a guest writes memory; False when its host cannot.

    By page sampling, which disturbs nothing. The dirty-bitmap mode was seen to crash emulated
    guests (QEMU 7.2).
    """
    try:
        domain = connection.lookupByUUIDString(vm.uuid)
        domain.startDirtyRateCalc(_DIRTY_SECONDS, libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_SAY:
            return False
        raise
    return True


def dirty_rate(connection: Connection, vm: Vm) -> float | None:
    """Bytes a second a guest writes to its memory, once measured; None before."""
    domain = connection.lookupByUUIDString(vm.uuid)
    nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    for _, record in connection.domainListGetStats(
        [domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE, nowait
    ):
        rate = record.get("dirtyrate.megabytes_per_second")
        if record.get("dirtyrate.calc_status") == _DIRTY_MEASURED and rate is not None:
            return float(rate) * (1 << 20)
    return None


def _look_at(parts: Parts, domain: Domain, disk: Disk) -> Disk:
    """The disk with its size in bytes and what block job holds it.

    Each stays unknown where it cannot be read.
    """
    if not disk.source:
        return disk
    busy = parts.read(
        "block-job",
        disk.target,
        lambda: _block_job(domain, disk.target),
        absent=(),
    )
    capacity, physical = _sizes(domain, disk)
    return replace(disk, capacity=capacity, physical=physical, busy=busy or disk.busy)


def _sizes(domain: Domain, disk: Disk) -> tuple[int | None, int | None]:
    """Bytes of a disk, and of the file or device beneath; None where they cannot be read.

    Nothing is decided by a size that is not known.
    """
    try:
        capacity, _, physical = sizes(domain, disk)
        return count(capacity), count(physical)
    except (libvirt.libvirtError, *NONSENSE):
        return None, None


def sizes(domain: Domain, disk: Disk) -> tuple[int, int, int]:
    """Capacity, allocation and what lies beneath of a disk in bytes, as the host tells them.

    Of a VM that is off libvirt knows no path for a disk that is named by its pool and volume.
    """
    if disk.kind == "volume" and not domain.isActive():
        pool, _, name = disk.source.partition("/")
        where = domain.connect().storagePoolLookupByName(pool)
        volume = where.storageVolLookupByName(name)
        _, capacity, allocation = volume.info()
        physical = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]
    else:
        capacity, allocation, physical = domain.blockInfo(disk.target, 0)
    return capacity, allocation, physical


def _compat(connection: Connection, disk: Disk) -> str:
    """Version of the qcow2 format, as libvirt's volumes tell it.

    '' where the disk lies in no pool.
    """
    if disk.format != "qcow2" or not disk.source:
        return ""
    try:
        pool, _, name = disk.source.partition("/") if disk.kind == "volume" else ("", "", "")
        if name:
            volume = connection.storagePoolLookupByName(pool).storageVolLookupByName(name)
        else:
            volume = connection.storageVolLookupByPath(disk.source)
        return document(volume.XMLDesc(0)).findtext("target/compat") or "0.10"
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_SAY:
            return ""
        raise


def _block_job(domain: Domain, target: str) -> str:
    try:
        info = domain.blockJobInfo(target)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _CANNOT_SAY:
            return ""
        raise
    return _BLOCK_JOBS.get(info["type"], "job") if info else ""


def _same_cpu(vm: Vm, live: Definition, here: Facts, there: Host, there_facts: Facts) -> CpuFit:
    mode = live.detail.cpu_mode
    if live.virt_type == "qemu":
        same = here.hypervisor_version == there_facts.hypervisor_version
        different = words(
            "{mode} needs equal QEMU versions: {here} here, {there} there",
            mode=mode,
            here=here.hypervisor_version,
            there=there_facts.hypervisor_version,
        )
    else:
        same = here.cpu == there_facts.cpu
        different = words(
            "{mode} needs equal CPUs: {differences}",
            mode=mode,
            differences=join(_differences(here.cpu, there_facts.cpu), "; "),
        )
    return CpuFit(vm.uuid, there.name, fits=same, why="" if same else different)


def _differences(here: frozenset[str], there: frozenset[str]) -> Iterator[Message]:
    if only := sorted(here - there):
        yield words("only here: {features}", features=Names(tuple(only), most=_SHOWN))
    if only := sorted(there - here):
        yield words("only there: {features}", features=Names(tuple(only), most=_SHOWN))


def _ask_fit(connection: Connection, vm: Vm, live: Definition, there: Host) -> CpuFit | None:
    detail = live.detail
    ask = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        answer = connection.compareHypervisorCPU(
            detail.emulator or None,
            live.arch or None,
            detail.machine or None,
            live.virt_type,
            live.cpu_xml,
            ask,
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_CPU_INCOMPATIBLE:
            return CpuFit(vm.uuid, there.name, fits=False, why=report_text(error))
        if error.get_error_code() in _CANNOT_SAY:
            return None
        raise
    fits = answer in {libvirt.VIR_CPU_COMPARE_IDENTICAL, libvirt.VIR_CPU_COMPARE_SUPERSET}
    return CpuFit(
        vm.uuid,
        there.name,
        fits=fits,
        why="" if fits else words("its CPU lacks what the VM uses"),
    )
