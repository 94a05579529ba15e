"""A stored definition under a new identity.

What two VMs must not both have is made anew, or told before anything.
"""

from __future__ import annotations

import copy as copies
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lxml import etree

from bot.adapters.libvirt.read.domain_xml import parse
from bot.adapters.libvirt.write import domain_build
from bot.adapters.libvirt.write.domain_build import LIBOSINFO, PlacedDisk
from bot.domain.cluster import VmDetail
from bot.domain.message import Message, words
from bot.ports.guests import Copy

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_CHARACTER = ("serial", "parallel", "console", "channel", "redirdev", "smartcard", "rng/backend")
_RISKY_ARGUMENTS = ("/", "hostfwd", "port=", "id=uuid")
_SOURCELESS = frozenset({"cdrom", "floppy"})


def copy_definition(root: etree._Element, copy: Copy, disks: Mapping[str, PlacedDisk]) -> str:
    """The definition of a copy with these disks by target, as libvirt takes it.

    ``root`` is changed.
    """
    return domain_build.text(_renew(root, copy, disks))


def obstacles(root: etree._Element) -> tuple[Message, ...]:
    """What of a definition two VMs cannot both have and what cannot be made anew.

    One phrase each.
    """
    detail = parse(domain_build.text(root)).detail
    found = [
        *_firmware_file(root),
        *_disks(root, detail),
        *_devices(root, detail),
        *_interfaces(root),
        *_characters(root),
        *_arguments(root),
    ]
    uuid = root.findtext("uuid", "")
    nobody = Copy(uuid, "00000000-0000-0000-0000-000000000000", "a-copy", (), ())
    rest = _renew(copies.deepcopy(root), nobody, {})
    for disk in rest.findall("devices/disk"):
        disk.clear()
    found += (
        [words("{part} (it names the VM's UUID)", part=each) for each in _naming(rest, uuid)]
        if uuid
        else []
    )
    return tuple(dict.fromkeys(found))


def _renew(root: etree._Element, copy: Copy, disks: Mapping[str, PlacedDisk]) -> etree._Element:
    old = root.findtext("uuid", "")
    _set_text(root, "name", copy.name)
    _set_text(root, "uuid", copy.uuid)
    _metadata(root, copy)
    _firmware(root)
    _system(root, old, copy.uuid)
    for title in root.findall("title"):
        root.remove(title)
    for disk in root.findall("devices/disk"):
        _disk(disk, disks, copy.uuid)
    for number, interface in enumerate(root.findall("devices/interface")):
        _interface(interface, copy.macs[number] if number < len(copy.macs) else "")
    _files(root, copy.uuid)
    _others(root, copy.uuid)
    return root


@dataclass(slots=True)
class _Fresh:
    """New names for files and sockets.

    The same one for what had the same name, as a console and its serial line do.
    """

    uuid: str
    known: dict[str, str] = field(default_factory=dict)

    def name(self, path: str, kind: str) -> str:
        if path not in self.known:
            number = f"-{len(self.known)}" if self.known else ""
            self.known[path] = f"{path.rpartition('/')[0]}/{self.uuid}{number}-{kind}"
        return self.known[path]


def _metadata(root: etree._Element, copy: Copy) -> None:
    """The copy's tags, and which operating system it has.

    What other programs noted is about the other VM.
    """
    kept = [
        each
        for found in root.findall("metadata")
        for each in found.iterfind(f"{{{LIBOSINFO}}}libosinfo")
    ]
    for found in root.findall("metadata"):
        root.remove(found)
    made = etree.SubElement(root, "metadata")
    made.append(domain_build.tags(copy.tags))
    made.extend(kept)


def _firmware(root: etree._Element) -> None:
    """UEFI variables are made anew from their template, under a path of libvirt's choice.

    Genid gets a new value.
    """
    for nvram in root.findall("os/nvram"):
        template = {
            key: value for key, value in nvram.attrib.items() if str(key).startswith("template")
        }
        parent = nvram.getparent()
        nvram.clear()
        nvram.attrib.update(template)
        if not template and parent is not None:
            parent.remove(nvram)
    for store in root.findall("os/varstore"):
        store.attrib.pop("path", "")
    for genid in root.findall("genid"):
        genid.text = None


def _system(root: etree._Element, old: str, new: str) -> None:
    """Numbers of the machine that programs in it take for unique."""
    for entry in root.findall("sysinfo[@type='smbios']/*/entry"):
        if entry.get("name") in {"uuid", "serial"}:
            entry.text = new
        elif entry.get("name") == "asset":
            parent = entry.getparent()
            if parent is not None:
                parent.remove(entry)
        elif old and entry.text:
            entry.text = entry.text.replace(old, new)


def _disk(element: etree._Element, disks: Mapping[str, PlacedDisk], uuid: str) -> None:
    target = element.find("target")
    name = "" if target is None else target.get("dev", "")
    placed = disks.get(name)
    if placed is None:
        if element.get("device") in _SOURCELESS:
            _drop(element, "source", "backingStore")
        return
    made = domain_build.disk(placed)
    _drop(element, "driver", "source", "backingStore", "mirror", "encryption", "auth")
    element.set("type", made.get("type", "file"))
    element.extend(each for each in made if each.tag in {"driver", "source"})
    unique = hashlib.sha256(f"{uuid} {name}".encode()).hexdigest()
    if element.find("serial") is not None:
        _set_text(element, "serial", unique[:20])  # what virtio shows of it
    if element.find("wwn") is not None:
        _set_text(element, "wwn", f"5{unique[:15]}")


def _interface(interface: etree._Element, mac: str) -> None:
    if mac:
        address = interface.find("mac")
        (etree.SubElement(interface, "mac") if address is None else address).set("address", mac)
    target = interface.find("target")
    if target is not None:
        target.attrib.pop("dev", "")
        if not target.attrib:
            interface.remove(target)
    for parameters in interface.findall("virtualport/parameters"):
        for each in ("interfaceid", "instanceid"):
            parameters.attrib.pop(each, "")


def _files(root: etree._Element, uuid: str) -> None:
    """Files and sockets that a device writes to or listens on."""
    fresh = _Fresh(uuid)
    for log in root.findall("devices/*/log"):
        log.set("file", fresh.name(log.get("file", ""), "serial.log"))
    for element in _character_devices(root):
        source = element.find("source")
        if source is None or not source.get("path"):
            continue
        if element.get("type") == "file":
            source.set("path", fresh.name(source.get("path", ""), "serial.log"))
        elif element.get("type") == "unix" and source.get("mode") == "bind":
            if element.tag == "channel":
                source.attrib.pop("path")  # libvirt chooses one
            else:
                source.set("path", fresh.name(source.get("path", ""), "device.sock"))
    _other_files(root, fresh)


def _other_files(root: etree._Element, fresh: _Fresh) -> None:
    """Files that are no character device's."""
    for pstore in root.findall("devices/pstore/path"):
        pstore.text = fresh.name((pstore.text or "").strip(), "pstore")
    for audio in root.findall("devices/audio[@type='file']"):
        if audio.get("path"):
            audio.set("path", fresh.name(audio.get("path", ""), "audio"))
    for backend in root.findall("devices/interface/backend[@logFile]"):
        backend.set("logFile", fresh.name(backend.get("logFile", ""), "network.log"))


def _others(root: etree._Element, uuid: str) -> None:
    for cid in root.findall("devices/vsock/cid"):
        cid.attrib.pop("address", "")
        cid.set("auto", "yes")
    for shared in root.findall("devices/shmem"):
        if shared.find("server") is None:
            shared.set("name", f"{shared.get('name', '')}-{uuid[:8]}")
    for graphics in root.findall("devices/graphics"):
        _graphics(graphics)


def _graphics(graphics: etree._Element) -> None:
    """Let libvirt choose ports and sockets when the VM starts."""
    if any(graphics.get(each) for each in ("port", "tlsPort")):
        for each in ("port", "tlsPort"):
            graphics.attrib.pop(each, "")
        graphics.set("autoport", "yes")
    if graphics.get("websocket"):
        graphics.set("websocket", "-1")
    graphics.attrib.pop("socket", "")
    for listen in graphics.findall("listen[@type='socket']"):
        listen.attrib.pop("socket", "")


def _firmware_file(root: etree._Element) -> Iterator[Message]:
    """One flash chip with code and variables; libvirt makes only variables anew."""
    for loader in root.findall("os/loader[@readonly='no']"):
        yield words("the firmware that it writes to ({path})", path=(loader.text or "").strip())


def _disks(root: etree._Element, detail: VmDetail) -> Iterator[Message]:
    for lun in root.findall("devices/disk[@device='lun']"):
        yield words(
            "the LUN {target}, which is passed through",
            target=_attribute(lun.find("target"), "dev"),
        )
    for part in root.findall("devices/disk/source/slices/../.."):
        yield words(
            "the disk {target}, which is only a part of its file",
            target=_attribute(part.find("target"), "dev"),
        )
    for disk in detail.disks:
        if disk.encrypted and disk.device == "disk":
            yield words(
                "the encrypted disk {target}, which cannot be copied without its secret",
                target=disk.target,
            )


def _devices(root: etree._Element, detail: VmDetail) -> Iterator[Message]:
    yield from (words("the host device {device}", device=each) for each in detail.hostdevs)
    if detail.tpm in {"passthrough", "external"}:
        yield words("the TPM of the host ({tpm})", tpm=detail.tpm)
    if root.find("devices/tpm/backend/source") is not None:
        yield words("the TPM state at a path of its own")
    for memory in root.findall("devices/memory"):
        if path := memory.findtext("source/path", ""):
            yield words("the memory device that is stored in {path}", path=path)
    for source in root.findall("devices/filesystem/source[@socket]"):
        yield words("the file system daemon at {socket}", socket=source.get("socket", ""))
    for source in root.findall("devices/input/source"):
        yield words(
            "the input device {path} of the host",
            path=str(source.get("dev") or source.get("evdev")),
        )


def _interfaces(root: etree._Element) -> Iterator[Message]:
    for interface in root.findall("devices/interface"):
        kind, source, target = (
            interface.get("type", ""),
            interface.find("source"),
            interface.find("target"),
        )
        if kind in {"vhostuser", "vdpa", "server", "udp"}:
            where = next(
                (each for name in ("path", "dev", "port") if (each := _attribute(source, name))), ""
            )
            yield words("the {kind} NIC {where}", kind=kind, where=where)
        if kind == "direct" and _attribute(source, "mode") == "passthrough":
            yield words(
                "the NIC that takes all of {interface} of the host",
                interface=_attribute(source, "dev"),
            )
        if _attribute(target, "managed") == "no":
            yield words(
                "the tap device {tap}, which another program creates", tap=_attribute(target, "dev")
            )
        if interface.find("portForward") is not None:
            yield words("the ports of the host that a NIC forwards")


def _characters(root: etree._Element) -> Iterator[Message]:
    for element in _character_devices(root):
        kind, name = element.get("type", ""), element.tag
        for source in element.findall("source"):
            if kind in {"dev", "pipe"}:
                yield words(
                    "the {kind} device {path} of the host", kind=name, path=source.get("path", "")
                )
            elif kind in {"tcp", "udp"} and source.get("mode") == "bind":
                yield words(
                    "the {kind} device that listens on port {port}",
                    kind=name,
                    port=source.get("service", ""),
                )
            elif (
                kind == "unix"
                and source.get("mode") == "connect"
                and _is_of(root, source.get("path", ""))
            ):
                yield words(
                    "the {kind} device that connects to {path}",
                    kind=name,
                    path=source.get("path", ""),
                )


def _arguments(root: etree._Element) -> Iterator[Message]:
    """Arguments that only QEMU reads: what names a file, a socket or a port may be the VM's own."""
    for argument in root.findall(f"{_QEMU}commandline/{_QEMU}arg"):
        value = argument.get("value", "")
        if any(each in value for each in _RISKY_ARGUMENTS):
            yield words("the QEMU argument “{value}”", value=value)


def _is_of(root: etree._Element, path: str) -> bool:
    """Whether a socket's path names this VM, so that nobody else is served there."""
    return any(
        each and each in path for each in (root.findtext("uuid", ""), root.findtext("name", ""))
    )


def _naming(root: etree._Element, uuid: str) -> Iterator[Message]:
    for element in root.iter("*"):
        for value in (*(str(each) for each in element.attrib.values()), element.text or ""):
            if uuid in value:
                yield f"“{value.strip()}” in <{etree.QName(element).localname}>"


def _character_devices(root: etree._Element) -> Iterator[etree._Element]:
    for path in _CHARACTER:
        yield from root.iterfind(f"devices/{path}")


def _drop(element: etree._Element, *names: str) -> None:
    for name in names:
        for each in element.findall(name):
            element.remove(each)


def _set_text(root: etree._Element, name: str, content: str) -> None:
    found = root.find(name)
    (etree.SubElement(root, name) if found is None else found).text = content


def _attribute(element: etree._Element | None, attribute: str) -> str:
    return "" if element is None else element.get(attribute, "")
