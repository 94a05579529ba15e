"""What of a VM's definition ties it to its host (https://libvirt.org/formatdomain.html).

For a migration.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from lxml import etree

from bot.domain.cluster import Listener, Ties, UsbDevice

_MOST_DIGITS = 6  # of the number of a CPU; more is nonsense
# Below these libvirt makes each VM's files and sockets itself, on every host.
_OWN = ("/var/lib/libvirt/", "/run/libvirt/", "/var/run/libvirt/", "/var/log/libvirt/", "/dev/")


def ties(root: etree._Element) -> Ties:
    """Read them from a ``<domain>``."""
    return Ties(
        shmem=tuple(
            each.get("name", "")
            for each in root.iterfind("devices/shmem")
            if each.get("role") != "master"
        ),
        launch_security=_attribute(root.find("launchSecurity"), "type"),
        listeners=tuple(_listeners(root)),
        tsc_frequency=_tsc(root),
        secrets=tuple(
            dict.fromkeys(each.get("uuid", "") for each in root.iter("secret") if each.get("uuid"))
        ),
        folders=tuple(sorted(set(_folders(root)))),
        usb=tuple(_usb(root)),
        virtiofs=root.find("devices/filesystem/driver[@type='virtiofs']") is not None,
        pins=tuple(dict.fromkeys(filter(None, _pins(root)))),
        numa_nodes=frozenset(_numa_nodes(root)),
    )


def _pins(root: etree._Element) -> Iterator[frozenset[int]]:
    """The CPUs of the host for each thread; vCPUs that are not plugged in have no thread yet."""
    vcpu, tune = root.find("vcpu"), root.find("cputune")
    count = "" if vcpu is None else vcpu.get("current") or (vcpu.text or "").strip()
    plugged = int(count) if _is_number(count) else 0
    single = root.find("vcpus") is not None  # then those of any number may be plugged in
    own = 0
    for pin in () if tune is None else tune.iterfind("vcpupin"):
        number = pin.get("vcpu", "")
        if single or (_is_number(number) and int(number) < plugged):
            own += 1
            yield numbers_of(pin.get("cpuset", ""))
    for name in ("emulatorpin", "iothreadpin"):
        for pin in () if tune is None else tune.iterfind(name):
            yield numbers_of(pin.get("cpuset", ""))
    # What has no pin of its own
    if own < plugged and vcpu is not None:
        yield numbers_of(vcpu.get("cpuset", ""))


def _numa_nodes(root: etree._Element) -> Iterator[int]:
    for name in ("memory", "memnode"):
        for each in root.iterfind(f"numatune/{name}"):
            yield from numbers_of(each.get("nodeset", ""))


def numbers_of(text: str) -> frozenset[int]:
    """The numbers of a list such as ``0-3,^2,8``, as libvirt writes CPUs; empty for nonsense."""
    found: set[int] = set()
    for part in filter(None, (each.strip() for each in text.split(","))):
        first, _, last = part.removeprefix("^").partition("-")
        if not all(map(_is_number, (first, last or first))):
            return frozenset()
        some = range(int(first), int(last or first) + 1)
        found = found.difference(some) if part.startswith("^") else found.union(some)
    return frozenset(found)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < _MOST_DIGITS


def device_name(kind: str, device: etree._Element) -> str:
    """Return a name such as ``PCI 0000:01:00.0`` or ``USB 046d:c52b``."""
    source = device.find("source")
    if source is None:
        return f"{kind} device"
    address, vendor = source.find("address"), source.find("vendor")
    if vendor is not None:
        product = _attribute(source.find("product"), "id")
        return f"{kind.upper()} {_hex(vendor.get('id'))}:{_hex(product)}"
    if address is None:
        adapter = _attribute(source.find("adapter"), "name")
        return f"{kind} {adapter or source.findtext('char', '') or 'device'}"
    if address.get("uuid"):
        return f"mediated {address.get('uuid')}"
    if address.get("bus") and address.get("slot"):
        parts = [_hex(address.get(name)) for name in ("domain", "bus", "slot", "function")]
        return (
            f"{kind.upper()} {parts[0].zfill(4)}:{parts[1].zfill(2)}:{parts[2].zfill(2)}.{parts[3]}"
        )
    return f"{kind.upper()} " + ":".join(str(value) for value in address.attrib.values())


def usb_names(device: etree._Element) -> tuple[str, ...]:
    """Return what VMs may call a host's USB device; its ``<device>`` as the host describes it."""
    found = device.find("capability[@type='usb_device']")
    if found is None:
        return ()
    vendor, product = (_attribute(found.find(each), "id") for each in ("vendor", "product"))
    bus, number = (found.findtext(each, "") for each in ("bus", "device"))
    return (f"USB {_hex(vendor)}:{_hex(product)}", f"USB {bus}:{number}")


def _hex(number: str | None) -> str:
    return (number or "0").removeprefix("0x")


def _usb(root: etree._Element) -> Iterator[UsbDevice]:
    """USB devices of the host; ``startupPolicy`` says whether a host may lack one."""
    for each in root.iterfind("devices/hostdev[@type='usb']"):
        policy = _attribute(each.find("source"), "startupPolicy") or "mandatory"
        yield UsbDevice(device_name("usb", each), needed=policy == "mandatory")


def _attribute(element: etree._Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _listeners(root: etree._Element) -> Iterator[Listener]:
    """Graphics servers; one on a socket, or whose address libvirt finds by a network.

    Ties a VM to no host.
    """
    for each in root.iterfind("devices/graphics"):
        found = each.find("listen")
        kind = "address" if found is None else found.get("type", "")
        if each.get("type") not in {"vnc", "spice", "rdp"} or kind != "address":
            continue
        address = _attribute(found, "address") or each.get("listen", "")
        ports = (each.get("port"), each.get("tlsPort"))
        yield Listener(
            each.get("type", ""),
            address,
            frozenset(int(port) for port in ports if port and port.isdecimal() and int(port)),
            fixed=each.get("autoport") == "no",
        )


def _tsc(root: etree._Element) -> int:
    """Hertz that the VM's time-stamp counter is fixed at; 0 when it is not."""
    found = (each.get("frequency", "0") for each in root.iterfind("clock/timer[@name='tsc']"))
    return next((int(each) for each in found if each.isdecimal()), 0)


def _folders(root: etree._Element) -> Iterator[str]:
    """Folders of the sockets and files that QEMU opens for serial lines, channels and the like."""
    for kind in ("serial", "parallel", "console", "channel", "rng/backend"):
        for each in root.iterfind(f"devices/{kind}/source[@path]"):
            path = each.get("path", "")
            if path.startswith("/") and not path.startswith(_OWN):
                yield posixpath.dirname(path)


def bases(root: etree._Element) -> Iterator[str]:
    """Files beneath its disks that a stored ``<domain>`` names.

    A live one also names those that QEMU found.
    """
    for source in root.iterfind("devices/disk//backingStore/source"):
        path = source.get("file") or source.get("dev") or ""
        if path:
            yield path
