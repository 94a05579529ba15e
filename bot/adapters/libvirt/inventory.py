"""The slow part of a reading: what a host is and offers, and its guests' definitions."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt
from lxml import etree

from bot.adapters.libvirt.connections import Connection
from bot.adapters.libvirt.domain_xml import Definition, document, parse
from bot.domain.cluster import HugePages, Pool

_SHARED_POOLS = frozenset({"netfs", "gluster", "rbd", "iscsi", "iscsi-direct", "sheepdog"})
_ORDINARY_PAGE = 64 << 10  # the largest that a kernel uses for all memory (arm64, ppc64); huge ones are larger
_POOL_STATE_RUNNING = libvirt.VIR_STORAGE_POOL_RUNNING
_GONE = frozenset({libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_STORAGE_POOL, libvirt.VIR_ERR_NO_INTERFACE})
_OFF = frozenset({libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_NO_CONNECT})


@dataclass(frozen=True, slots=True)
class Facts:
    """What changes seldom about a host. Memory in bytes; versions as libvirt counts them.

    ``cpu`` identifies the host's CPU (model, vendor, signature and features) for host-passthrough.
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
    pools: tuple[Pool, ...]
    huge_pages: tuple[tuple[int, int], ...] = ()  # size in bytes and how many, of those set aside


def facts(connection: Connection) -> Facts:
    """What the host is and offers; about ten calls."""
    capabilities = document(connection.getCapabilities())
    arch, _, cpus, *_ = connection.getInfo()
    networks = _networks(connection)
    return Facts(
        uuid=capabilities.findtext("host/uuid", ""),
        hostname=connection.getHostname(),
        cpus=cpus,
        memory=_memory(connection),
        cpu_model=capabilities.findtext("host/cpu/model", ""),
        cpu=frozenset(_cpu(capabilities)),
        arch=capabilities.findtext("host/cpu/arch", "") or arch,
        hypervisor_version=connection.getVersion(),
        libvirt_version=connection.getLibVersion(),
        machines=frozenset(_machines(capabilities)),
        bridges=frozenset({*_bridges(connection), *(bridge for _, bridge in networks if bridge)}),
        networks=frozenset(name for name, _ in networks),
        pools=_pools(connection),
        huge_pages=_huge_pages(capabilities),
    )


class Definitions:
    """Parsed definitions of one host's guests, read again when an event says so or when they are old.

    Safe to be told of changes from libvirt's event loop while a reading is under way: a guest marked changed
    during the reading of its definition is read again next time.

    Args:
        oldest: seconds after which a definition is read again, for changes that no event tells. Each guest's own
            age limit is spread over the last third, so that they do not all fall due at once.
    """

    def __init__(self, oldest: float) -> None:
        self._oldest = oldest
        self._known: dict[str, tuple[float, Definition, bool, int]] = {}
        self._changed: set[str] = set()

    def changed(self, uuid: str) -> None:
        """The guest's definition may read differently now."""
        self._changed.add(uuid)

    def forget(self) -> None:
        """Nothing is known any more: events were missed."""
        self._known.clear()

    def keep(self, uuids: Collection[str]) -> None:
        """Forget guests that are gone."""
        for uuid in self._known.keys() - set(uuids):
            self._known.pop(uuid, None)

    def read(self, connection: Connection, uuid: str, *, fresh: bool = False) -> tuple[Definition, bool, int]:
        """Definition, whether it is stored, and how many snapshots there are.

        Raises:
            libvirt.libvirtError: above all ``VIR_ERR_NO_DOMAIN`` when the guest just left.
        """
        now = time.monotonic()
        known = self._known.get(uuid)
        if known and not fresh and uuid not in self._changed and now - known[0] < self._limit(uuid):
            return known[1:]
        self._changed.discard(uuid)
        domain = connection.lookupByUUIDString(uuid)
        read = (parse(domain.XMLDesc()), bool(domain.isPersistent()), _snapshots(domain))
        self._known[uuid] = (now, *read)
        return read

    def _limit(self, uuid: str) -> float:
        return self._oldest * (1 - (zlib.crc32(uuid.encode()) % 100) / 300)


def autostarting(connection: Connection) -> frozenset[str]:
    """UUIDs of the guests that start with the host."""
    found = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)
    return frozenset(domain.UUIDString() for domain in found)


def saved(connection: Connection) -> frozenset[str]:
    """UUIDs of the VMs whose memory is saved on the host (managed save); their next start goes on from it."""
    found = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
    return frozenset(domain.UUIDString() for domain in found)


def huge_pages(connection: Connection, known: Facts) -> tuple[HugePages, ...] | None:
    """The huge pages that a host sets aside, with how many are free now; None where it does not tell."""
    sizes = [size for size, _ in known.huge_pages]
    if not sizes:
        return ()
    try:
        # Cell -1 is the whole host, whatever its NUMA cells.
        told = connection.getFreePages([size >> 10 for size in sizes], -1, 1)
    except libvirt.libvirtError as error:
        if error.get_error_code() in {*_OFF, libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_INVALID_ARG}:
            return None
        raise
    free: Counter[int] = Counter()
    for counts in told.values():
        free.update(counts)
    return tuple(HugePages(size, total, free[size >> 10]) for size, total in known.huge_pages)


def _huge_pages(capabilities: etree._Element) -> tuple[tuple[int, int], ...]:
    """Size in bytes and count, over all NUMA cells, of each page size that the host sets aside, smallest first."""
    counts: Counter[int] = Counter()
    for each in capabilities.iterfind("host/topology/cells/cell/pages"):
        counts[int(each.get("size", "0")) << 10] += int(each.text or 0)  # libvirt counts sizes in KiB here
    return tuple(sorted((size, count) for size, count in counts.items() if count and size > _ORDINARY_PAGE))


def _snapshots(domain: object) -> int:
    try:
        return int(domain.snapshotNum())  # type: ignore[attr-defined]
    except libvirt.libvirtError as error:
        if error.get_error_code() in _OFF:
            return 0
        raise


def _memory(connection: Connection) -> int:
    """Exact bytes where the host tells them; ``getInfo`` rounds to MiB."""
    try:
        return int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) * 1024
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _OFF:
            raise
        return int(connection.getInfo()[1]) << 20


def _cpu(capabilities: etree._Element) -> Iterator[str]:
    """Words that together tell one CPU from another; the microcode's version is left out."""
    cpu = capabilities.find("host/cpu")
    if cpu is None:
        return
    yield f"model {cpu.findtext('model', '')}"
    yield f"vendor {cpu.findtext('vendor', '')}"
    signature = cpu.find("signature")
    if signature is not None:
        yield f"signature {sorted(signature.attrib.items())}"
    yield from (f"feature {each.get('name')}" for each in cpu.iterfind("feature"))


def _machines(capabilities: etree._Element) -> Iterator[str]:
    for machine in capabilities.iterfind("guest/arch//machine"):
        yield machine.text or ""
        if machine.get("canonical"):
            yield machine.get("canonical", "")


def _bridges(connection: Connection) -> Iterator[str]:
    """Names of the host's bridges, by the interface driver; a host without one tells its networks' bridges only.

    Inactive ones too: a bridge to which nothing is plugged counts as inactive.
    """
    for described, _ in _described(connection.listAllInterfaces):
        if described.get("type") == "bridge":
            yield described.get("name", "")


def _networks(connection: Connection) -> list[tuple[str, str]]:
    """Name and bridge ('' for those without) of each active network."""
    found = _described(lambda: connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
    bridges = ((root.findtext("name", ""), root.find("bridge")) for root, _ in found)
    return [(name, "" if bridge is None else bridge.get("name", "")) for name, bridge in bridges]


def _pools(connection: Connection) -> tuple[Pool, ...]:
    found = _described(connection.listAllStoragePools, lambda pool: (pool.info(), bool(pool.autostart())))
    pools = (_pool(described, *told) for described, told in found)
    return tuple(sorted(pools, key=lambda pool: pool.name))


def _pool(described: etree._Element, info: Sequence[int], autostart: bool) -> Pool:  # noqa: FBT001 - as libvirt tells
    state, capacity, _, available = info
    kind = described.get("type", "")
    return Pool(
        name=described.findtext("name", ""),
        kind=kind,
        path=described.findtext("target/path", ""),
        active=state == _POOL_STATE_RUNNING,
        autostart=autostart,
        capacity=capacity,
        free=available,
        shared=kind in _SHARED_POOLS,
    )


def _described(
    listed: Callable[[], Iterable[Any]], more: Callable[[Any], Any] = lambda _: None
) -> Iterator[tuple[etree._Element, Any]]:
    """The description of each thing a driver lists, and what ``more`` tells of it.

    Nothing where the host has no such driver; without those that vanish in between.
    """
    try:
        things = listed()
    except libvirt.libvirtError as error:
        if error.get_error_code() in _OFF:
            return
        raise
    for thing in things:
        try:
            yield document(thing.XMLDesc()), more(thing)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _GONE:
                raise
