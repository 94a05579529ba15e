"""Reading a guest's definition (https://libvirt.org/formatdomain.html) into the domain's values."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar, cast

from lxml import etree

from bot.adapters.libvirt.read.ties import device_name, ties
from bot.domain.cluster import Disk, Nic, Scheduler, VmDetail
from bot.domain.errors import UnfitError
from bot.domain.message import Message, Words, words

T = TypeVar("T")

TAGS = "https://drover.dev/tags/1"
"""Namespace of ``<drover:tags><drover:tag key= value=/></drover:tags>`` in ``<metadata>``."""

# Definitions come from hosts; nothing they name is fetched.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)

# As libvirt reads them, whatever their case
_UNITS = {
    "b": 1,
    "byte": 1,
    "bytes": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "kb": 1000,
    "m": 1 << 20,
    "mib": 1 << 20,
    "mb": 1000**2,
    "g": 1 << 30,
    "gib": 1 << 30,
    "gb": 1000**3,
    "t": 1 << 40,
    "tib": 1 << 40,
    "tb": 1000**4,
    "p": 1 << 50,
    "pib": 1 << 50,
    "pb": 1000**5,
    "e": 1 << 60,
    "eib": 1 << 60,
    "eb": 1000**6,
}


@dataclass(frozen=True, slots=True)
class Definition:
    """What a definition says. Memory in bytes; ``virt_type`` is qemu (emulated), kvm, test….

    ``cpu_xml`` as written.

    ``problem``: numbers that make no sense, '' for none; they are 0, those of the scheduler None.
    ``in_cache``: its memory is shared (memfd, or for virtiofs and vhost-user), which the host
    counts as cache.
    """

    uuid: str
    name: str
    virt_type: str
    arch: str
    vcpus: int
    memory: int
    memory_max: int
    scheduler: Scheduler
    tags: Mapping[str, str]
    detail: VmDetail
    cpu_xml: str
    problem: Message = ""
    in_cache: bool = False


def parse(xml: str) -> Definition:
    """The definition in ``xml``, as ``virDomainGetXMLDesc`` gives it.

    Raises:
        ValueError: it is no domain definition.
    """
    root = document(xml)
    if root.tag != "domain":
        raise UnfitError(words("this is no definition of a VM but <{tag}>", tag=repr(root.tag)))
    cpu, numbers = root.find("cpu"), _Numbers()
    detail = _detail(root, numbers)
    memory_max = numbers.size("memory", root.find("memory"))
    # Without a balloon QEMU starts with all of it, whatever <currentMemory> says.
    memory = (
        numbers.size("currentMemory", root.find("currentMemory")) if detail.balloon else 0
    ) or memory_max
    return Definition(
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        virt_type=sys.intern(root.get("type", "")),
        arch=sys.intern(_of(root, "os/type", "arch")),
        vcpus=numbers.vcpus(root.find("vcpu")),
        memory=memory,
        memory_max=memory_max,
        scheduler=_share(numbers.scheduler(root.find("cputune"))),
        tags=_tags(root),
        detail=detail,
        cpu_xml="" if cpu is None else _share(text_of(cpu)),
        problem=numbers.problem,
        in_cache=_in_cache(root),
    )


def _share(value: T) -> T:
    """The first value that was equal to this one: thousands of VMs are alike in most."""
    return cast("T", _first_of_equals(value))


@lru_cache(maxsize=2048)
def _first_of_equals(value: object) -> object:
    return value


def text_of(element: etree._Element) -> str:
    """The XML text of an element."""
    return str(etree.tostring(element, encoding="unicode", with_tail=False))


def _in_cache(root: etree._Element) -> bool:
    """Whether a running VM's memory is among what its host counts as cached.

    Huge pages never are.
    """
    if root.find("memoryBacking/hugepages") is not None:
        return False
    shared = any(each.get("memAccess") == "shared" for each in root.iterfind("cpu/numa/cell"))
    memfd = _of(root, "memoryBacking/source", "type") == "memfd"
    return shared or memfd or _of(root, "memoryBacking/access", "mode") == "shared"


def document(xml: str) -> etree._Element:
    """The root element of an XML text of libvirt's.

    Raises:
        ValueError: the text is not XML.
    """
    if not isinstance(xml, str):
        # No argument of ours
        raise UnfitError(
            words("the answer of libvirt is not text but {answer}", answer=f"{xml!r:.40}")
        )
    try:
        return etree.fromstring(xml.encode(), _PARSER)
    except etree.XMLSyntaxError as error:
        raise UnfitError(
            words("the answer of libvirt is not XML: {error}", error=str(error))
        ) from error


def _detail(root: etree._Element, numbers: _Numbers) -> VmDetail:
    return VmDetail(
        machine=sys.intern(_of(root, "os/type", "machine")),
        emulator=sys.intern(root.findtext("devices/emulator", "")),
        cpu_mode=sys.intern(_of(root, "cpu", "mode")),
        cpu_features=_share(_cpu_features(root)),
        disks=tuple(_disk(each) for each in root.iterfind("devices/disk")),
        nics=tuple(_nic(each) for each in root.iterfind("devices/interface")),
        hostdevs=tuple(_hostdevs(root)),
        shared_dirs=tuple(_shared_dirs(root)),
        tpm=_of(root, "devices/tpm/backend", "type"),
        nvram=nvram_of(root),
        secrets=any(True for _ in root.iterfind("devices/disk//auth")) or _is_encrypted(root),
        hugepages=root.find("memoryBacking/hugepages") is not None,
        memory_locked=root.find("memoryBacking/locked") is not None,
        vcpus_max=numbers.count("vcpu", root.findtext("vcpu") or "1", 1),
        topology=_topology(root, numbers),
        numa_cells=len(root.findall("cpu/numa/cell")),
        memory_limit=numbers.size("maxMemory", root.find("maxMemory")),
        hard_limit=_hard_limit(root, numbers),
        balloon=_of(root, "devices/memballoon", "model") != "none",
        hugepage_size=_hugepage_size(root, numbers),
        pflash=_of(root, "os", "firmware") == "efi" or _of(root, "os/loader", "type") == "pflash",
        loader=(root.findtext("os/loader") or "").strip(),
        nvram_format=_of(root, "os/nvram", "format"),
        ties=_share(ties(root)),
        free_ports=_free_ports(root, numbers),
    )


def nvram_of(root: etree._Element) -> str:
    """Path of the file with its UEFI variables, '' when it has none."""
    return (root.findtext("os/nvram") or _of(root, "os/nvram/source", "file")).strip()


def _topology(root: etree._Element, numbers: _Numbers) -> int:
    """How many vCPUs the fixed topology has; 0 when none is fixed."""
    found = root.find("cpu/topology")
    if found is None:
        return 0
    levels = ("sockets", "dies", "clusters", "cores", "threads")
    return math.prod(numbers.count(f"topology {each}", found.get(each, "1"), 1) for each in levels)


def _free_ports(root: etree._Element, numbers: _Numbers) -> int | None:
    """PCIe root ports without a device; None where bridges or switches have slots of their own.

    A device cannot be plugged into the root complex itself, nor into a port with ``hotplug=off``.
    """
    controllers = root.findall("devices/controller[@type='pci']")
    models = {each.get("model") for each in controllers}
    if "pcie-root" not in models or models - {"pcie-root", "pcie-root-port"}:
        return None
    taken = {each.get("bus") for each in root.iterfind("devices/*/address[@type='pci']")}
    ports = (
        numbers.count("index", each.get("index", "0"), 0)
        for each in controllers
        if each.get("model") == "pcie-root-port" and _of(each, "target", "hotplug") != "off"
    )
    return sum(f"0x{port:02x}" not in taken for port in ports)


def _hard_limit(root: etree._Element, numbers: _Numbers) -> int:
    """Bytes of ``<hard_limit>``; 0 where there is none, which libvirt also writes as a huge one."""
    found = root.find("memtune/hard_limit")
    if found is None or len((found.text or "").strip()) > _DIGITS_OF_NO_LIMIT:
        return 0
    return numbers.size("hard_limit", found)


def _hugepage_size(root: etree._Element, numbers: _Numbers) -> int:
    """Bytes of the huge pages its memory is made of; 0 where the host decides.

    Of several sizes the smallest.
    """
    found = root.iterfind("memoryBacking/hugepages/page")
    sizes = [
        numbers.bytes_of("page", each.get("size", "0"), each.get("unit", "KiB")) for each in found
    ]
    return min(sizes, default=0)


def _cpu_features(root: etree._Element) -> tuple[str, ...]:
    features = root.iterfind("cpu/feature")
    return tuple(
        each.get("name", "")
        for each in features
        if each.get("policy") in {"require", "force", None}
    )


def _disk(disk: etree._Element) -> Disk:
    driver, target = disk.find("driver"), disk.find("target")
    mirror = disk.find("mirror")
    return Disk(
        target="" if target is None else target.get("dev", ""),
        kind=disk.get("type", ""),
        source=_disk_source(disk),
        device=disk.get("device", "disk"),
        cache="" if driver is None else driver.get("cache", ""),
        readonly=disk.find("readonly") is not None,
        shareable=disk.find("shareable") is not None,
        format="" if driver is None else driver.get("type", ""),
        encrypted=_is_encrypted(disk),
        busy="" if mirror is None else mirror.get("job", "copy"),
        transient=disk.find("transient") is not None,
        snapshot=sys.intern(disk.get("snapshot", "")),
    )


def _is_encrypted(element: etree._Element) -> bool:
    return next(element.iter("encryption"), None) is not None


def _disk_source(disk: etree._Element) -> str:
    if disk.get("type") == "nvme":  # each controller's namespaces count from 1
        return f"{device_name('nvme', disk)}/{_of(disk, 'source', 'namespace')}"
    return source_text(disk.find("source"))


def source_text(source: etree._Element | None) -> str:
    """A path, ``pool/volume`` or URL; '' for an empty drive."""
    if source is None:
        return ""
    if source.get("protocol"):
        return _url(source)
    if source.get("pool"):
        return f"{source.get('pool')}/{source.get('volume', '')}"
    plain = (source.get(name) for name in ("file", "dev", "dir", "path"))
    return next((each for each in plain if each), "")


def _url(source: etree._Element) -> str:
    where = ",".join(_host(each) for each in source.iterfind("host"))
    return f"{source.get('protocol')}://{where}/{source.get('name', '')}"


def _host(host: etree._Element) -> str:
    if host.get("socket"):
        return host.get("socket", "")
    port = host.get("port")
    return host.get("name", "") + (f":{port}" if port else "")


def _nic(nic: etree._Element) -> Nic:
    source = nic.find("source")
    found = (
        []
        if source is None
        else [source.get(each) for each in ("network", "bridge", "dev", "path", "name")]
    )
    where = next((each for each in found if each), "")
    return Nic(nic.get("type", ""), where, _of(nic, "mac", "address"))


def _hostdevs(root: etree._Element) -> Iterator[str]:
    for device in root.iterfind("devices/hostdev"):
        if _of(device, "teaming", "type") == "transient":
            continue  # QEMU unplugs it for a migration and plugs its like in on the other host
        yield device_name(device.get("type", "device"), device)
    for nic in root.iterfind("devices/interface[@type='hostdev']"):
        if _of(nic, "teaming", "type") == "transient":
            continue
        yield device_name("network", nic)


def _shared_dirs(root: etree._Element) -> Iterator[str]:
    for each in root.iterfind("devices/filesystem"):
        source = each.find("source")
        yield (source.get("dir") or source_text(source) if source is not None else "") or _of(
            each, "target", "dir"
        )


class _Numbers:
    """Reads numbers of a definition, and collects those that make no sense."""

    def __init__(self) -> None:
        self._odd: list[Words] = []

    @property
    def problem(self) -> Message:
        """Return what makes no sense, '' for nothing."""
        if not self._odd:
            return ""
        return words("its definition makes no sense: {parts}", parts=self._odd)

    def size(self, what: str, element: etree._Element | None) -> int:
        """Read bytes of ``<memory unit='KiB'>…``; libvirt's own unit when none is given is KiB."""
        if element is None:
            return 0
        return self.bytes_of(what, element.text or "", element.get("unit", "KiB"))

    def bytes_of(self, what: str, text: str, unit: str) -> int:
        """Read bytes written as a number and a unit."""
        scale = _UNITS.get(unit.lower())
        if scale is None:
            self._odd.append(words("{part} in “{unit}”", part=what, unit=unit))
            return 0
        return self.count(what, text, 0, _MOST_BYTES // scale) * scale

    def count(self, what: str, text: str, least: int, most: int = 1 << 16) -> int:
        """Read a whole number from ``least`` to ``most``; 0 when it makes no sense."""
        return self._number(what, text, least, most) or 0

    def vcpus(self, element: etree._Element | None) -> int:
        """Read how many vCPUs are in use; 1 when the definition does not say."""
        if element is None:
            return 1
        return self.count("vcpu", element.get("current") or element.text or "1", 1)

    def scheduler(self, tune: etree._Element | None) -> Scheduler:
        """Read ``<cputune>``."""
        if tune is None:
            return Scheduler()
        told = {name: self._number(name, tune.findtext(name), -1, _MOST_TUNE) for name in _TUNE}
        return Scheduler(
            cpu_shares=told["shares"],
            vcpu_period=told["period"],
            vcpu_quota=told["quota"],
            emulator_period=told["emulator_period"],
            emulator_quota=told["emulator_quota"],
        )

    def _number(self, what: str, text: str | None, least: int, most: int) -> int | None:
        """Read a whole number from ``least`` to ``most``.

        None when there is none or it makes no sense.
        """
        if text is None:
            return None
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            self._odd.append(words("{part} “{value}”", part=what, value=text.strip()[:40]))
            return None
        return number


_TUNE = ("shares", "period", "quota", "emulator_period", "emulator_quota")
_MOST_BYTES = 1 << 62  # more is a slip: it would fit into no column of the database
_DIGITS_OF_NO_LIMIT = 15  # 9007199254740991 KiB is VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
_MOST_TUNE = (1 << 63) - 1  # cgroups write "no ceiling" so large


_NO_TAGS: Mapping[str, str] = MappingProxyType({})


def _tags(root: etree._Element) -> Mapping[str, str]:
    found = root.iterfind(f"metadata/{{{TAGS}}}tags/{{{TAGS}}}tag")
    tags = {each.get("key", ""): each.get("value", "") for each in found if each.get("key")}
    return MappingProxyType(tags) if tags else _NO_TAGS


def _of(element: etree._Element, path: str, attribute: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get(attribute, "")
