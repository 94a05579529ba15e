"""The ports ``Readiness`` and ``Shell`` on real hosts.

What libvirt tells of them, and what their shells do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import document, parse
from bot.adapters.libvirt.read.host_reader import HostReader
from bot.adapters.libvirt.read.inventory import describe, facts
from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.transport.knock import knock, place_of
from bot.adapters.libvirt.transport.parts import NONSENSE, Parts, count, name_of, reason, text
from bot.domain.errors import HypervisorError
from bot.domain.message import Message, words
from bot.domain.readiness import (
    CommandResult,
    CpuBaseline,
    CpuOrder,
    GuestCpu,
    HostFacts,
    Net,
    PairFacts,
)
from bot.domain.storage import declared_pools

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ORDERS = {
    libvirt.VIR_CPU_COMPARE_IDENTICAL: CpuOrder.IDENTICAL,
    libvirt.VIR_CPU_COMPARE_SUPERSET: CpuOrder.SUPERSET,
    libvirt.VIR_CPU_COMPARE_INCOMPATIBLE: CpuOrder.INCOMPATIBLE,
}
_ACCELERATORS = ("kvm", "qemu")
_EXPAND = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
_MIGRATABLE = libvirt.VIR_CONNECT_BASELINE_CPU_MIGRATABLE


_KNOCK = 3.0  # seconds that a port has to open or to refuse


class Shells(Protocol):
    """Runs programs on hosts; None when a host has no shell configured."""

    def run(self, host: str, argv: Sequence[str], deadline: float) -> CommandResult | None:
        """Run a program; see the port ``Shell``."""

    def close(self) -> None:
        """Close the connections."""


class LibvirtReadiness:
    """The part of ``LibvirtHypervisor`` that tells whether hosts are ready."""

    _shells: Shells | None

    def _reader(self, host: str) -> HostReader:
        raise NotImplementedError

    def _ask(self, host: str, question: Callable[[Connection], T], what: Message) -> T:
        raise NotImplementedError

    def host_facts(self, host: str) -> HostFacts:
        """What libvirt tells of a host; about fifteen calls. See the port."""
        reader = self._reader(host)
        reader.storage.begin(fresh=True)
        told = self._ask(
            host,
            lambda it: _host_facts(host, it),
            words("The facts of {host} could not be read", host=host),
        )
        stored = reader.storage.finish()
        pools = declared_pools(host, stored.pools, reader.address.storage)
        return replace(told, pools=pools, unread=(*told.unread, *stored.unread))

    def pair_facts(self, source: str, target: str) -> PairFacts:
        """The target's verdict on the source's CPU, and the way there; see the port."""
        address = self._reader(target).address
        virt_type, cpu = self._ask(
            source, _offered_cpu, words("The CPU of {host} could not be read", host=source)
        )
        order, why = self._ask(
            target,
            lambda it: _compare(it, virt_type, cpu),
            words("The CPUs could not be compared on {host}", host=target),
        )
        way = (address.migrate_uri, address.migrate_data_uri, address.migrate_tls)
        return PairFacts(source, target, order, why, *way)

    def cpu_baseline(self, hosts: Collection[str]) -> CpuBaseline:
        """The baseline by the first host's libvirt, and every running guest against it.

        See the port.

        The hosts' CPUs are those they offer to guests (host-model of their domain capabilities), so
        that what QEMU or the kernel of one host lacks counts too.
        """
        if not hosts:
            raise HypervisorError(
                words("No host is given for a baseline."), words("Name hosts that are reachable.")
            )
        offers, running, left_out = self._cpus_of(sorted(hosts))
        virt_type = _usual(
            [guest for found in running.values() for guest, _ in found], offers.values()
        )
        without = [name for name, offer in offers.items() if virt_type not in offer]
        why = words("it offers no CPU model for {kind}", kind=virt_type)
        left_out = (*left_out, *((name, why) for name in without))
        names = [name for name in offers if name not in without]
        cpus = [offers[name][virt_type] for name in names]
        what = words("No CPU model fits all of {names}", names=names)
        xml = self._ask(names[0], lambda it: _baseline(it, virt_type, cpus, _MIGRATABLE), what)
        whole = self._ask(
            names[0], lambda it: _required_features(_baseline(it, virt_type, [xml], _EXPAND)), what
        )
        found = [each for name in names for each in running[name]]
        guests = self._ask(
            names[0], lambda it: [_against(it, *each, whole) for each in found], what
        )
        described = document(xml)
        return CpuBaseline(
            hosts=tuple(names),
            virt_type=virt_type,
            model=described.findtext("model", ""),
            vendor=described.findtext("vendor", ""),
            features=tuple(sorted(_required_features(xml))),
            disabled=tuple(sorted(_features(xml, "disable"))),
            xml=_for_definition(described),
            guests=tuple(guests),
            left_out=left_out,
        )

    def _cpus_of(
        self, hosts: Sequence[str]
    ) -> tuple[
        dict[str, dict[str, str]],
        dict[str, list[tuple[GuestCpu, str]]],
        tuple[tuple[str, Message], ...],
    ]:
        """The CPUs that hosts offer and those of their running guests, by host.

        Also the hosts that cannot tell.

        Raises:
            HypervisorError: no host can tell.
        """
        offers: dict[str, dict[str, str]] = {}
        running: dict[str, list[tuple[GuestCpu, str]]] = {}
        failed: dict[str, HypervisorError] = {}
        for name in hosts:
            try:
                what = words("The CPU of {host} could not be read", host=name)
                offer = self._ask(name, partial(_needed_offers, what), what)
                running[name] = self._ask(
                    name,
                    partial(_running, name),
                    words("The VMs of {host} could not be read", host=name),
                )
                offers[name] = offer
            except HypervisorError as error:
                failed[name] = error
        if not offers:
            raise next(iter(failed.values()))
        return (
            offers,
            running,
            tuple((name, error.why) for name, error in failed.items()),
        )

    def run(
        self, host: str, argv: Sequence[str], *, deadline: float = 20.0
    ) -> CommandResult | None:
        """Run a program on a host; see the port."""
        self._reader(host)  # refuses an unknown name
        return None if self._shells is None else self._shells.run(host, argv, deadline)

    def knock(self, host: str) -> bool | None:
        """Whether the host's machine answers at all; see the port."""
        place = place_of(self._reader(host).uri)
        return None if place is None else knock(*place, _KNOCK)

    def answers(self, place: str, port: int) -> bool:
        """Whether a machine that is no host answers the bot; see the port."""
        return knock(place, frozenset({port}), _KNOCK)


def _uuid_of(secret: libvirt.virSecret) -> str:
    return text(secret.UUIDString())


def _host_facts(host: str, connection: Connection) -> HostFacts:
    parts = Parts(connection)
    known = facts(connection)
    # That they could not be read is told with the facts
    told = parts.read("capabilities", "", lambda: document(connection.getCapabilities()))
    capabilities = etree.Element("capabilities") if told is None else told
    pages = parts.read("huge-pages", "", lambda: dict(_huge_pages(capabilities)))
    nets = tuple(_nets(parts, connection))
    secrets = parts.list_all("secret", connection.listAllSecrets)
    uuids = [parts.read("secret", "", partial(_uuid_of, each)) for each in secrets]
    # Networks were looked at twice; what could not be read of them is told once.
    unread = tuple(dict.fromkeys((*known.unread, *parts.unread)))
    iommu = capabilities.find("host/iommu")
    return HostFacts(
        host=host,
        hostname=known.hostname,
        uuid=known.uuid,
        libvirt_version=known.libvirt_version,
        hypervisor_version=known.hypervisor_version,
        arch=known.arch,
        cpus=known.cpus,
        numa_nodes=len(capabilities.findall("host/topology/cells/cell")) or 1,
        memory=known.memory,
        cpu_model=known.cpu_model,
        cpu=known.cpu,
        emulator=capabilities.findtext(f"guest/arch[@name='{known.arch}']/emulator", ""),
        virt_types=frozenset(
            each.get("type", "")
            for each in capabilities.iterfind(f"guest/arch[@name='{known.arch}']/domain")
        ),
        machines=known.machines,
        iommu=None if iommu is None else iommu.get("support") == "yes",
        transports=tuple(
            each.text or ""
            for each in capabilities.iterfind("host/migration_features//uri_transport")
        ),
        security=tuple(
            model
            for each in capabilities.iterfind("host/secmodel/model")
            if (model := each.text or "") != "none"
        ),
        huge_pages=pages or {},
        shared_pages=_shared_pages(connection),
        networks=nets,
        bridges=known.bridges,
        secrets=tuple(uuid for uuid in uuids if uuid),
        hardware=_optional(lambda: _hardware(connection), ""),
        unread=unread,
    )


def _optional(question: Callable[[], T], otherwise: T) -> T:
    """The answer to a question that decides nothing, or ``otherwise`` where this host has none."""
    try:
        return question()
    except (libvirt.libvirtError, *NONSENSE) as error:
        _log.info("a host does not tell something of itself: %s", reason(error))
        return otherwise


def _huge_pages(capabilities: etree._Element) -> Iterator[tuple[int, int]]:
    """Page size in KiB and how many there are, over all NUMA nodes.

    Larger than the smallest size.
    """
    totals: dict[int, int] = {}
    for pages in capabilities.iterfind("host/topology/cells/cell/pages"):
        size = int(pages.get("size", "0"))
        totals[size] = totals.get(size, 0) + int(pages.text or 0)
    smallest = min(totals, default=0)
    yield from ((size, count) for size, count in sorted(totals.items()) if size > smallest)


def _shared_pages(connection: Connection) -> int | None:
    def ask() -> int | None:
        told = connection.getMemoryParameters().get("shm_pages_sharing")
        return None if told is None else count(told)

    return _optional(ask, None)


def _nets(parts: Parts, connection: Connection) -> Iterator[Net]:
    for each in parts.list_all("network", connection.listAllNetworks):
        name = name_of(each)
        net = parts.read("network", name, partial(_net, each))
        if net is not None:
            yield net


def _net(network: libvirt.virNetwork) -> Net:
    bridge = describe(network, "network").find("bridge")
    name = "" if bridge is None else bridge.get("name", "")
    autostart = bool(count(network.autostart()))
    return Net(
        text(network.name()),
        bool(count(network.isActive())),
        autostart,
        name,
        autostart or bool(count(network.isPersistent())),
    )


def _hardware(connection: Connection) -> str:
    entries = document(connection.getSysinfo()).iterfind("system/entry")
    told = {each.get("name"): (each.text or "").strip() for each in entries}
    return " ".join(filter(None, (told.get("manufacturer"), told.get("product"))))


def _offers(connection: Connection) -> dict[str, str]:
    """The CPU that a host offers its guests, as XML, by accelerator."""
    return {
        virt_type: cpu
        for virt_type in _ACCELERATORS
        if (cpu := _optional(partial(_host_model, connection, virt_type), ""))
    }


def _needed_offers(what: Message, connection: Connection) -> dict[str, str]:
    """As ``_offers``.

    Raises:
        HypervisorError: it offers none, with what its libvirt says; ``what`` failed by that.
    """
    if offers := _offers(connection):
        return offers
    for virt_type in _ACCELERATORS:
        _host_model(connection, virt_type)  # tells why
    why = words("it offers no CPU model to VMs")
    raise HypervisorError(
        words("{what}: {reason}.", what=what, reason=why),
        words("Check QEMU and `virsh domcapabilities` on that host."),
        why=why,
    )


def _usual(guests: Sequence[GuestCpu], offers: Collection[dict[str, str]]) -> str:
    """The accelerator to make a baseline for.

    KVM where all offer it, unless all guests are emulated.
    """
    emulated = bool(guests) and not any(guest.virt_type == "kvm" for guest in guests)
    return "kvm" if all("kvm" in offer for offer in offers) and not emulated else "qemu"


def _offered_cpu(connection: Connection) -> tuple[str, str]:
    """The best accelerator and its CPU; ('', '') when the host offers none."""
    return next(iter(_offers(connection).items()), ("", ""))


def _host_model(connection: Connection, virt_type: str) -> str:
    told = document(connection.getDomainCapabilities(None, None, None, virt_type))
    mode = told.find("cpu/mode[@name='host-model']")
    if mode is None or mode.get("supported") != "yes" or mode.find("model") is None:
        return ""
    cpu = etree.Element("cpu", mode="custom", match="exact")
    cpu.extend(list(mode))
    return etree.tostring(cpu, encoding="unicode")


def _compare(connection: Connection, virt_type: str, cpu: str) -> tuple[CpuOrder, Message]:
    if not cpu:
        return CpuOrder.UNKNOWN, words("the source offers no CPU model")
    ask = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        answer = connection.compareHypervisorCPU(None, None, None, virt_type, cpu, ask)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_CPU_INCOMPATIBLE:
            return CpuOrder.INCOMPATIBLE, report_text(error)
        return CpuOrder.UNKNOWN, report_text(error)
    return _ORDERS.get(answer, CpuOrder.UNKNOWN), ""


def _baseline(connection: Connection, virt_type: str, cpus: Sequence[str], flags: int) -> str:
    return str(connection.baselineHypervisorCPU(None, None, None, virt_type, list(cpus), flags))


def _required_features(cpu: str) -> frozenset[str]:
    return _features(cpu, "require") | _features(cpu, "force")


def _features(cpu: str, policy: str) -> frozenset[str]:
    found = document(cpu).iterfind(f"feature[@policy='{policy}']")
    return frozenset(each.get("name", "") for each in found)


def _for_definition(cpu: etree._Element) -> str:
    """The baseline as the ``cpu`` element of a guest's definition."""
    cpu.set("mode", "custom")
    cpu.set("match", "exact")
    model = cpu.find("model")
    if model is not None:
        model.set("fallback", "forbid")
    etree.indent(cpu)
    return etree.tostring(cpu, encoding="unicode").strip()


def _running(host: str, connection: Connection) -> list[tuple[GuestCpu, str]]:
    """Each running guest with its live CPU as XML, '' when it has none of its own."""
    found: list[tuple[GuestCpu, str]] = []
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            found.append(_cpu_of(host, domain))
        except libvirt.libvirtError as error:
            if error.get_error_code() in {
                libvirt.VIR_ERR_NO_DOMAIN,
                libvirt.VIR_ERR_OPERATION_INVALID,
            }:
                continue  # it left or ended while it was looked at
            if not is_alive(connection):
                raise
            found.append((GuestCpu(name_of(domain), host, "?", problem=reason(error)), ""))
        except NONSENSE as error:
            found.append((GuestCpu(name_of(domain), host, "?", problem=reason(error)), ""))
    return found


def _cpu_of(host: str, domain: libvirt.virDomain) -> tuple[GuestCpu, str]:
    defined = parse(domain.XMLDesc())
    live = parse(
        domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_UPDATE_CPU)
    )
    model = document(live.cpu_xml).findtext("model", "") if live.cpu_xml else ""
    mode = defined.detail.cpu_mode or "default"
    guest = GuestCpu(text(domain.name()), host, mode, model, virt_type=live.virt_type)
    return guest, live.cpu_xml if model else ""


def _against(
    connection: Connection, guest: GuestCpu, cpu: str, baseline: frozenset[str]
) -> GuestCpu:
    """The guest with the features that it has beyond the baseline.

    One that takes its host's CPU as it is stays.
    """
    if not cpu or guest.mode == "host-passthrough":
        return guest
    try:
        whole = _required_features(_baseline(connection, guest.virt_type, [cpu], _EXPAND))
    except (libvirt.libvirtError, *NONSENSE) as error:
        return replace(guest, problem=reason(error))
    return replace(guest, beyond=tuple(sorted(whole - baseline)))
