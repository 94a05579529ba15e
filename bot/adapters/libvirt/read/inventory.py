"""The slow part of a reading: what a host is and offers, and its guests' definitions."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import Definition, document, parse
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.parts import NO_DRIVER, NONSENSE, Parts, count, name_of, text
from bot.domain.backing import plain
from bot.domain.cluster import HugePages, Pool
from bot.domain.errors import UnfitError
from bot.domain.message import Message, Size, join, words
from bot.domain.unread import Unread

# Kinds of which every host that defines a pool reaches the same storage. For all others the
# configuration decides.
_SHARED_POOLS = frozenset({"netfs", "gluster", "rbd", "iscsi", "iscsi-direct", "sheepdog"})
_ISCSI = frozenset({"iscsi", "iscsi-direct"})
# The largest that a kernel uses for all memory (arm64, ppc64); huge ones are larger
_ORDINARY_PAGE = 64 << 10
_POOL_STATE_RUNNING = libvirt.VIR_STORAGE_POOL_RUNNING
_SPREAD = 1 / 3  # the part of their greatest age within which definitions fall due
_DOMAIN_GONE = frozenset({libvirt.VIR_ERR_NO_DOMAIN})


_SIGNATURE = "signature "
# no message: a technical fact, beside what libvirt reports
NO_INTERFACE_DRIVER = "libvirt has no driver for interfaces"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What of a host's capabilities is of use.

    ``mark`` tells the text that it was made of from others. ``pages``: size in KiB and count of
    each size of each NUMA cell, as text.
    """

    mark: bytes = b""
    uuid: str = ""
    cpu_model: str = ""
    cpu: frozenset[str] = frozenset()
    arch: str = ""
    machines: frozenset[str] = frozenset()
    pages: tuple[tuple[str, str], ...] = ()
    cpu_ids: frozenset[int] = frozenset()
    numa_nodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """What changes seldom about a host. Memory in bytes; versions as libvirt counts them.

    ``cpu`` identifies the host's CPU (model, vendor, signature and features) for host-passthrough.
    ``unread``: parts that could not be read; what was known of them before stands in their place.
    ``capabilities``: as they were read last.
    """

    uuid: str
    hostname: str
    cpus: int
    memory: int
    cpu_model: str
    cpu: frozenset[str]
    arch: str
    hypervisor_version: int
    libvirt_version: int
    machines: frozenset[str]
    bridges: frozenset[str]
    networks: frozenset[str]
    huge_pages: tuple[tuple[int, int], ...] = ()  # size in bytes and how many, of those set aside
    unread: tuple[Unread, ...] = ()
    capabilities: Capabilities = Capabilities()

    @property
    def signature(self) -> str:
        """The CPU's family, model and stepping; '' where libvirt does not tell them."""
        return next((each for each in self.cpu if each.startswith(_SIGNATURE)), "")

    @property
    def complete(self) -> bool:
        """Whether reading them again would tell no more, for as long as libvirt's daemon runs."""
        return all(each.why == NO_INTERFACE_DRIVER for each in self.unread)


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools of a host, by name, and what of them could not be read."""

    pools: tuple[Pool, ...] = ()
    unread: tuple[Unread, ...] = ()


def facts(connection: Connection, before: Facts | None = None) -> Facts:
    """What the host is and offers, without its storage; about ten calls.

    What was known ``before`` stands where something cannot be read now.

    Raises:
        ValueError: the host tells neither now nor before how many CPUs and how much memory it has.
    """
    parts = Parts(connection)
    known = before or _NOTHING
    told = parts.read("capabilities", "", lambda: _capabilities(connection, known.capabilities))
    arch, cpus = parts.read("cpus", "", lambda: _info(connection)) or (
        known.arch,
        known.cpus,
    )
    memory = parts.read("memory", "", lambda: _memory(connection)) or known.memory
    if cpus <= 0 or memory <= 0:
        raise UnfitError(
            words("it has {cpus} CPUs and {memory} of memory", cpus=cpus, memory=Size(memory))
        )
    networks = _networks(parts, connection)
    return Facts(
        uuid=known.uuid if told is None else told.uuid,
        hostname=parts.read("host-name", "", lambda: text(connection.getHostname()))
        or known.hostname,
        cpus=cpus,
        memory=memory,
        cpu_model=known.cpu_model if told is None else told.cpu_model,
        cpu=known.cpu if told is None else told.cpu,
        arch=known.arch if told is None else told.arch or arch,
        hypervisor_version=parts.read("qemu-version", "", lambda: int(connection.getVersion()))
        or known.hypervisor_version,
        libvirt_version=parts.read("libvirt-version", "", lambda: int(connection.getLibVersion()))
        or known.libvirt_version,
        machines=known.machines if told is None else told.machines,
        bridges=frozenset(
            {*_bridges(parts, connection), *(bridge for _, bridge in networks if bridge)}
        ),
        networks=frozenset(name for name, _ in networks),
        huge_pages=huge if (huge := _huge_or_none(parts, told)) is not None else known.huge_pages,
        unread=parts.unread,
        capabilities=told or known.capabilities,
    )


def _capabilities(connection: Connection, before: Capabilities) -> Capabilities:
    """Read them; a text that reads as before is not parsed again, for it is long."""
    xml = text(connection.getCapabilities())
    mark = mark_of(xml)
    if mark == before.mark:
        return before
    root = document(xml)
    return Capabilities(
        mark=mark,
        uuid=root.findtext("host/uuid", ""),
        cpu_model=root.findtext("host/cpu/model", ""),
        cpu=frozenset(_cpu(root)),
        arch=root.findtext("host/cpu/arch", ""),
        machines=frozenset(_machines(root)),
        pages=pages_of(root),
        cpu_ids=frozenset(_ids(root, "host/topology/cells/cell/cpus/cpu")),
        numa_nodes=frozenset(_ids(root, "host/topology/cells/cell")),
    )


def _ids(capabilities: etree._Element, path: str) -> Iterator[int]:
    """Yield the numbers of the host's CPUs or NUMA nodes."""
    found = (each.get("id", "") for each in capabilities.iterfind(path))
    return (int(each) for each in found if each.isdecimal())


def mark_of(xml: str) -> bytes:
    """What tells a text from others, in few bytes."""
    return hashlib.blake2b(xml.encode(), digest_size=16).digest()


_NOTHING = Facts("", "", 0, 0, "", frozenset(), "", 0, 0, frozenset(), frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class CachedVm:
    """What is known of one guest beyond its state.

    ``problem``: what of it could not be read, and why.

    ``definition`` is the last one that could be read, None when none ever could. Memory in bytes.
    ``mark`` tells the text that it was made of from others.
    """

    definition: Definition | None
    persistent: bool = True
    snapshots: int = 0
    vcpus: int = 0
    memory: int = 0
    problem: Message = ""
    mark: bytes = b""


_UNREAD = (0.0, CachedVm(None))


class Definitions:
    """Parsed definitions of one host's guests.

    Read again when an event says so or when they are old.

    Safe to be told of changes from libvirt's event loop while a reading is under way: a guest
    marked changed during the reading of its definition is read again next time.

    Args:
        oldest: seconds after which a definition is read again, for changes that no event tells.
            Each guest's own age limit is spread over the last third, so that they do not all fall
            due at once.
    """

    def __init__(self, oldest: float) -> None:
        self._oldest = oldest
        self._young = oldest * (1 - _SPREAD)
        self._known: dict[str, tuple[float, CachedVm]] = {}
        self._changed: set[str] = set()

    def forget_vm(self, uuid: str) -> None:
        """The guest's definition may read differently now."""
        self._changed.add(uuid)

    def forget(self) -> None:
        """Nothing is known any more: events were missed."""
        self._known.clear()

    def keep(self, uuids: Collection[str]) -> None:
        """Forget guests that are gone."""
        for uuid in self._known.keys() - set(uuids):
            self._known.pop(uuid, None)

    def cached_bytes(self, uuids: Collection[str]) -> int:
        """Return the bytes of these guests' memory that their host counts as cached.

        All that each may take: how much of it is taken already is not told by a definition.
        """
        known = (self._known[uuid][1] for uuid in uuids if uuid in self._known)
        return sum(each.memory for each in known if each.definition and each.definition.in_cache)

    def read(self, connection: Connection, uuid: str, *, fresh: bool = False) -> CachedVm | None:
        """Return what is known of a guest; None when it just left.

        What cannot be read is taken from the reading before, and told in ``problem``.
        """
        now = time.monotonic()
        at, before = self._known.get(uuid, _UNREAD)
        old = uuid in self._changed or self._is_old(uuid, now - at)
        if before.definition and not before.problem and not fresh and not old:
            return before
        self._changed.discard(uuid)
        read = _read(connection, uuid, before)
        if read is not None:
            self._known[uuid] = (now, read)
        return read

    def _is_old(self, uuid: str, age: float) -> bool:
        if age < self._young:
            return False
        return age >= self._oldest * (1 - (zlib.crc32(uuid.encode()) % 100) / 100 * _SPREAD)


def _read(connection: Connection, uuid: str, before: CachedVm) -> CachedVm | None:
    parts = Parts(connection)
    domain = parts.read(
        "definition", "", lambda: connection.lookupByUUIDString(uuid), absent=_DOMAIN_GONE
    )
    if domain is None and not parts.unread:
        return None
    ask = partial(parts.read, absent=_DOMAIN_GONE)
    found = None if domain is None else ask("definition", "", lambda: _definition(domain, before))
    definition, mark = found or (None, before.mark)
    if definition is None and not parts.unread:
        return None
    persistent = snapshots = size = None
    if domain is not None:
        persistent = ask("persistent", "", lambda: bool(count(domain.isPersistent())))
        snapshots = parts.read(
            "snapshot-count",
            "",
            lambda: count(domain.snapshotNum()),
            absent=_DOMAIN_GONE | NO_DRIVER,
        )
    if definition is None or definition.problem:
        size = _size(domain)
    vcpus, memory = _sizes(definition or before.definition, size)
    told: list[Message] = [each.text for each in parts.unread]
    told += [definition.problem] if definition and definition.problem else []
    return CachedVm(
        definition or before.definition,
        before.persistent if persistent is None else persistent,
        before.snapshots if snapshots is None else snapshots,
        vcpus,
        memory,
        join(told, "; "),
        mark,
    )


def _definition(domain: libvirt.virDomain, before: CachedVm) -> tuple[Definition, bytes]:
    """Return the definition, and the mark of its text; what reads as before is not parsed again."""
    xml = text(domain.XMLDesc())
    mark = mark_of(xml)
    if before.definition is not None and mark == before.mark:
        return before.definition, mark
    return parse(xml), mark


def _size(domain: libvirt.virDomain) -> tuple[int, int] | None:
    """Return vCPUs and bytes of memory as the running domain has them.

    For one whose definition is odd.
    """
    try:
        _, _, kib, vcpus, *_ = domain.info()
        return count(vcpus), count(kib) * 1024
    except (libvirt.libvirtError, *NONSENSE):
        return None  # the problem with its definition is told already


def _sizes(definition: Definition | None, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return vCPUs and bytes of memory: by the definition, else as the domain itself says.

    0 when nobody knows.
    """
    vcpus, memory = (definition.vcpus, definition.memory) if definition else (0, 0)
    other = size or (0, 0)
    return vcpus or other[0], memory or other[1]


def autostarting(connection: Connection) -> frozenset[str]:
    """UUIDs of the guests that start with the host."""
    found = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)
    return frozenset(domain.UUIDString() for domain in found)


def saved_memories(connection: Connection) -> frozenset[str]:
    """UUIDs of the VMs whose memory is saved on the host (managed save).

    Their next start goes on from it.
    """
    found = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
    return frozenset(domain.UUIDString() for domain in found)


def huge_pages(connection: Connection, known: Facts) -> tuple[HugePages, ...] | None:
    """The huge pages that a host sets aside, with how many are free now.

    None where it does not tell.
    """
    sizes = [size for size, _ in known.huge_pages]
    if not sizes:
        return ()
    try:
        # Cell -1 is the whole host, whatever its NUMA cells.
        told = connection.getFreePages([size >> 10 for size in sizes], -1, 1)
    except libvirt.libvirtError as error:
        if error.get_error_code() in {
            *NO_DRIVER,
            libvirt.VIR_ERR_OPERATION_FAILED,
            libvirt.VIR_ERR_INVALID_ARG,
        }:
            return None
        raise
    free: Counter[int] = Counter()
    for counts in told.values():
        free.update(counts)
    return tuple(
        HugePages(size, total, count(free[size >> 10])) for size, total in known.huge_pages
    )


def _huge_or_none(parts: Parts, told: Capabilities | None) -> tuple[tuple[int, int], ...] | None:
    """The huge pages set aside; None where they cannot be read."""
    if told is None:
        return None
    return parts.read("huge-pages", "", lambda: pages_set_aside(told.pages))


def pages_of(capabilities: etree._Element) -> tuple[tuple[str, str], ...]:
    """Size in KiB and count of each page size of each NUMA cell, as they are written."""
    found = capabilities.iterfind("host/topology/cells/cell/pages")
    return tuple((each.get("size", "0"), each.text or "0") for each in found)


def pages_set_aside(pages: Iterable[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    """Size in bytes and count, over all NUMA cells, of each page size that the host sets aside.

    Smallest first.

    Raises:
        ValueError: what is written is no number.
    """
    counts: Counter[int] = Counter()
    for size, number in pages:
        counts[int(size) << 10] += int(number)
    return tuple(
        sorted(
            (size, number)
            for size, number in counts.items()
            if number > 0 and size > _ORDINARY_PAGE
        )
    )


def _info(connection: Connection) -> tuple[str, int]:
    """Architecture and number of CPUs."""
    arch, _, cpus, *_ = connection.getInfo()
    return text(arch), count(cpus)


def _memory(connection: Connection) -> int:
    """Exact bytes where the host tells them; ``getInfo`` rounds to MiB."""
    try:
        return (
            count(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"])
            * 1024
        )
    except (libvirt.libvirtError, *NONSENSE):
        return count(connection.getInfo()[1]) << 20  # an error of this one is told


def _cpu(capabilities: etree._Element) -> Iterator[str]:
    """Words that together tell one CPU from another; the microcode's version is left out."""
    cpu = capabilities.find("host/cpu")
    if cpu is None:
        return
    yield f"model {cpu.findtext('model', '')}"
    yield f"vendor {cpu.findtext('vendor', '')}"
    signature = cpu.find("signature")
    if signature is not None:
        yield f"{_SIGNATURE}{sorted(signature.attrib.items())}"
    yield from (f"feature {each.get('name')}" for each in cpu.iterfind("feature"))


def _machines(capabilities: etree._Element) -> Iterator[str]:
    for machine in capabilities.iterfind("guest/arch//machine"):
        yield machine.text or ""
        if machine.get("canonical"):
            yield machine.get("canonical", "")


def _bridges(parts: Parts, connection: Connection) -> Iterator[str]:
    """Names of the host's bridges, by the interface driver.

    A host without one, as Debian 13 installs by default, tells its networks' bridges only; that
    its others are not known is noted, for they may well be there.

    Inactive ones too: a bridge to which nothing is plugged counts as inactive. An interface that
    cannot be described is taken for a bridge: libvirt describes a bridge with each of its ports and
    fails at one odd port; to take it for absent would refuse every move to that host.
    """
    listed = parts.read(
        "interface", "", lambda: list(connection.listAllInterfaces()), absent=NO_DRIVER
    )
    if listed is None and not parts.why("interface", ""):
        parts.note("interface", "", NO_INTERFACE_DRIVER)
    for each in listed or ():
        name = name_of(each)
        root = parts.read("interface", name, partial(describe, each, "interface"))
        if root is not None and root.get("type") == "bridge":
            yield root.get("name") or name
        elif parts.why("interface", name) and name != "?":
            yield name


def _networks(parts: Parts, connection: Connection) -> list[tuple[str, str]]:
    """Name and bridge ('' for those without.

    Or that cannot be described) of each active network.
    """
    active = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
    found: list[tuple[str, str]] = []
    for each in parts.list_all("network", lambda: connection.listAllNetworks(active)):
        name = name_of(each)
        root = parts.read("network", name, partial(describe, each, "network"))
        bridge = None if root is None else root.find("bridge")
        if root is not None or parts.why("network", name):
            found.append((name, "" if bridge is None else bridge.get("name", "")))
    return found


def pools_of(connection: Connection, before: Pools | None = None) -> Pools:
    """The storage pools; where one cannot be read, it stands as it was ``before``.

    If it was known then.
    """
    parts = Parts(connection)
    known = {pool.name: pool for pool in (before or Pools()).pools}
    found: list[Pool] = []
    listed = parts.list_all("pool", connection.listAllStoragePools)
    for each in listed:
        name = name_of(each)
        pool = parts.read("pool", name, partial(_pool_of, each))
        if pool is None and parts.why("pool", name):
            pool = known.get(name)
        found += [pool] if pool is not None else []
    if parts.why("pool", ""):
        found = list(known.values())
    return Pools(tuple(sorted(found, key=lambda pool: pool.name)), parts.unread)


def describe(thing: libvirt.virStoragePool | libvirt.virNetwork, tag: str) -> etree._Element:
    """Return the description of a network, pool or interface.

    Raises:
        ValueError: it is not XML, or describes something else.
    """
    root = document(thing.XMLDesc())
    if root.tag != tag:
        raise UnfitError(
            words("it is described as <{found}>, not as <{tag}>", found=str(root.tag), tag=tag)
        )
    return root


def _pool_of(pool: libvirt.virStoragePool) -> Pool:
    autostart = bool(count(pool.autostart()))
    return _pool(
        name_of(pool),
        describe(pool, "pool"),
        [count(each) for each in pool.info()],
        autostart=autostart,
        # What is started at boot is stored: nobody need ask
        persistent=autostart or bool(count(pool.isPersistent())),
    )


def _source_of(root: etree._Element, kind: str) -> str:
    """What of its servers a pool is, by https://libvirt.org/formatstorage.html."""
    if kind in _ISCSI:
        device = root.find("source/device")
        return "" if device is None else device.get("path", "")
    if kind == "netfs":
        export = root.find("source/dir")
        return "" if export is None else plain(export.get("path", ""))
    return root.findtext("source/name", "") if kind in _SHARED_POOLS else ""


# As libvirt tells
def _pool(
    name: str,
    root: etree._Element,
    info: Sequence[int],
    *,
    autostart: bool,
    persistent: bool,
) -> Pool:
    state, capacity, _, available = info
    kind = root.get("type", "")
    return Pool(
        name=root.findtext("name") or name,
        kind=kind,
        path=root.findtext("target/path", ""),
        active=state == _POOL_STATE_RUNNING,
        autostart=autostart,
        persistent=persistent,
        capacity=capacity,
        free=available,
        shared=kind in _SHARED_POOLS,
        source=_source_of(root, kind),
        servers=tuple(sorted(each.get("name", "") for each in root.iterfind("source/host"))),
    )
