"""Reading which images a host has, what each stands on, and which definitions name them.

Through libvirt alone.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import libvirt
from lxml import etree

from bot.adapters.libvirt.read import backing_text
from bot.adapters.libvirt.read.domain_xml import document, source_text
from bot.adapters.libvirt.read.pool_refresh import Refreshes
from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.transport.parts import NO_DRIVER, NONSENSE, VANISHED, reason
from bot.domain.backing import Image, ImageUse, Storage, image_name, plain
from bot.domain.errors import HostUnreachableError
from bot.domain.message import Message, words

_DIRECTORIES = frozenset({"dir", "fs", "netfs"})
_NETWORK = frozenset({"rbd", "gluster"})
_FAULTS = (libvirt.libvirtError, *NONSENSE)
_NEVER_LOOKED_AT = ("/dev/", "/proc/", "/sys/")
_LOOK = "drover-look-"  # names of pools that exist only while a directory is looked at
_IN_USE = frozenset({libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_ERR_OPERATION_INVALID})
_TRIES, _REST = 4, 0.25  # a pool that is looked at by somebody else is soon free; seconds between
_LONGEST_CHAIN = 200  # what libvirt itself follows
_ARGUMENTS = "{http://libvirt.org/schemas/domain/qemu/1.0}"
# In QEMU's arguments a comma within a path is doubled
_IN_ARGUMENT = re.compile(r"""(?:^|[=:"'])(/(?:,,|[^,"'])+)""")


def storage(
    connection: Connection,
    *,
    whole: bool,
    directories: bool = True,
    refreshes: Refreshes | None = None,
) -> Storage:
    """What the host knows of images; see the port.

    ``refreshes``: pools are read anew at most as it lets them.
    """
    look = _Look(connection, directories, refreshes)
    look.pools(whole=whole)
    for domain in connection.listAllDomains(0):
        look.domain(domain)
    look.follow()
    look.settle()
    return Storage(
        tuple(
            replace(each, base=look.name_of(each.base), data=look.name_of(each.data))
            for each in look.images.values()
        ),
        tuple(dict.fromkeys(replace(each, path=look.name_of(each.path)) for each in look.uses)),
        tuple(dict.fromkeys(look.unknown)),
    )


@dataclass(slots=True)
class _Pool:
    handle: libvirt.virStoragePool
    name: str
    kind: str
    path: str
    source: str = ""
    fresh: bool = False


@dataclass(slots=True)
class _Wanted:
    """A path that a definition names as a disk.

    ``settled`` when the definition tells all that is beneath it.
    """

    path: str
    vm: str
    format: str
    settled: bool
    off: bool


@dataclass(slots=True)
class _Look:
    """One look at a host."""

    connection: Connection
    around: bool = True  # look into directories that belong to no pool
    refreshes: Refreshes | None = None
    images: dict[str, Image] = field(default_factory=dict)
    uses: list[ImageUse] = field(default_factory=list)
    unknown: list[Message] = field(default_factory=list)
    known: list[_Pool] = field(default_factory=list)
    wanted: list[_Wanted] = field(default_factory=list)
    handles: dict[str, libvirt.virStorageVol] = field(default_factory=dict)
    # Those looked at, with what went wrong
    directories: dict[str, str] = field(default_factory=dict)
    # Other names of devices that are volumes, such as /dev/dm-3, with the volume's path
    devices: dict[str, str] = field(default_factory=dict)

    # Pools and volumes

    def pools(self, *, whole: bool) -> None:
        """The active pools; with ``whole`` every volume in them."""
        try:
            found = self.connection.listAllStoragePools(
                libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
            )
        except libvirt.libvirtError as error:
            if error.get_error_code() in NO_DRIVER:
                return
            raise
        for handle in found:
            try:
                pool = _pool(handle)
                self.known.append(pool)
                if whole:
                    self._volumes_of(pool)
            except _FAULTS as error:
                self._unread(words("A storage pool"), error)

    def _volumes_of(self, pool: _Pool) -> None:
        self._refresh(pool)
        for handle in pool.handle.listAllVolumes(0):
            self._note(handle, pool)

    def _refresh(self, pool: _Pool) -> None:
        """Files come there behind libvirt's back.

        A pool in which something is being made tells what it knows.
        """
        if pool.fresh:
            return
        pool.fresh = True
        try:
            if self.refreshes is None:
                pool.handle.refresh(0)
            else:
                self.refreshes.refresh(pool.name, lambda: pool.handle.refresh(0))
        except HostUnreachableError:
            # Somebody else reads it right now, and that takes long: what libvirt knows must do
            return
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_INTERNAL_ERROR:
                self._unread(words("Pool {pool}", pool=pool.name), error)

    def _note(self, handle: libvirt.virStorageVol, pool: _Pool) -> Image | None:
        try:
            image = _image(handle, pool)
        except _FAULTS as error:
            self._unread(words("A volume of pool {pool}", pool=pool.name), error)
            return None
        if not backing_text.is_place(image.base):
            why = words("what it stands on cannot be read")
            self.unknown.append(words("{path}: {why}.", path=image.path, why=why))
            image = replace(image, base="")
        path = plain(image.path)
        image = _of_both(self.images.get(path), image)
        self.images[path] = image
        self.handles[path] = handle
        return image

    def _unread(self, what: Message, error: Exception) -> None:
        """One odd object is not known; what vanished meanwhile is not there.

        A broken connection ends the look.
        """
        if isinstance(error, libvirt.libvirtError):
            if error.get_error_code() in VANISHED:
                return
            if not is_alive(self.connection):
                raise error
        why = reason(error)
        self.unknown.append(words("{what} could not be read: {why}.", what=what, why=why))

    # Definitions

    def domain(self, domain: libvirt.virDomain) -> None:
        """What a VM and its snapshots name."""
        try:
            name, uuid, active = domain.name(), domain.UUIDString(), bool(domain.isActive())
            live = document(domain.XMLDesc(0))
            stored = document(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)) if active else None
            self._definition(live, uuid, name, off=not active)
            if stored is not None:
                self._definition(stored, uuid, name, off=False)
            for each in _snapshots(domain):
                self._snapshot(document(each.getXMLDesc(0)), uuid, name)
        except _FAULTS as error:
            self._unread("A definition", error)

    def _definition(
        self, root: etree._Element, uuid: str, vm: str, *, off: bool, snapshot: str = ""
    ) -> None:
        for disk in root.iterfind("devices/disk"):
            self._disk(disk, ImageUse(uuid, vm, "", snapshot=snapshot), off=off)
        for path in _paths(root):
            self.uses.append(ImageUse(uuid, vm, path, snapshot=snapshot))

    def _snapshot(self, root: etree._Element, uuid: str, vm: str) -> None:
        name = root.findtext("name", "")
        for tag in ("domain", "inactiveDomain"):
            found = root.find(tag)
            if found is not None:
                self._definition(found, uuid, vm, off=False, snapshot=name)
        for path in _paths(root):
            self.uses.append(ImageUse(uuid, vm, path, snapshot=name))

    def _disk(self, disk: etree._Element, use: ImageUse, *, off: bool) -> None:
        path = self._path_of(disk.find("source"))
        if not path:
            return
        target, driver = disk.find("target"), disk.find("driver")
        shared = disk.find("shareable"), disk.find("transient[@shareBacking='yes']")
        kept = any(each is not None for each in (*shared, disk.find("readonly")))
        device = disk.get("device", "disk")
        use = replace(
            use,
            path=path,
            device=device,
            kept=kept,
            target="" if target is None else target.get("dev", ""),
        )
        self.uses.append(use)
        told = disk.find("backingStore")
        form = "" if driver is None else driver.get("type", "")
        self.wanted.append(_Wanted(path, use.vm, form, told is not None, off))
        self._told_data(path, disk.find("source"))
        self._told_chain(path, told)

    def _told_data(self, path: str, source: etree._Element | None) -> None:
        """The file with an image's data, where it is another one; libvirt 10.10 and later tell."""
        data = "" if source is None else self._path_of(source.find("dataStore/source"))
        if data:
            self.images[plain(path)] = replace(self.images.get(plain(path), Image(path)), data=data)
            self.wanted.append(_Wanted(data, "", "raw", settled=True, off=False))

    def _told_chain(self, path: str, told: etree._Element | None) -> None:
        """The images beneath, as a definition names them."""
        for _ in range(_LONGEST_CHAIN):
            base = "" if told is None else self._path_of(told.find("source"))
            if told is None or not base:
                return
            known = self.images.get(plain(path), Image(path))
            self.images[plain(path)] = replace(known, base=known.base or base)
            self.wanted.append(_Wanted(base, "", "raw", settled=True, off=False))
            self._told_data(base, told.find("source"))
            path, told = base, told.find("backingStore")

    def _path_of(self, source: etree._Element | None) -> str:
        """A path on the host, of a network image as ``image_name`` spells it.

        ``pool/volume`` where that volume is not there.
        """
        if source is None:
            return ""
        if source.get("protocol"):
            return image_name(source_text(source))
        if source.get("pool"):
            return self._in_pool(source.get("pool", ""), source.get("volume", ""))
        return next((found for name in ("file", "dev") if (found := source.get(name))), "")

    def _in_pool(self, name: str, volume: str) -> str:
        pool = next((each for each in self.known if each.name == name), None)
        if pool is None:
            return f"{name}/{volume}"
        known = next(
            (each for each in self.images.values() if (each.pool, each.volume) == (name, volume)),
            None,
        )
        found = known or self._look_up(pool, lambda: pool.handle.storageVolLookupByName(volume))
        return found.path if found else f"{name}/{volume}"

    def _look_up(self, pool: _Pool, look: Callable[[], libvirt.virStorageVol]) -> Image | None:
        for again in (False, True):
            try:
                return self._note(look(), pool)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in VANISHED:
                    raise
            if again or pool.fresh:
                return None
            self._refresh(pool)
        return None

    # What lies outside of what is known

    def follow(self) -> None:
        """Look at every image that is named and not known yet, and at what it stands on."""
        todo = [*map(_beneath, self.images.values()), *self.wanted]
        done: set[str] = set()
        while todo:
            each = todo.pop()
            if plain(each.path) in done:
                continue
            done.add(plain(each.path))
            try:
                image = self._find(each)
            except _FAULTS as error:
                self._unread(each.path, error)
                continue
            if image is not None:
                todo.append(_beneath(image))

    def name_of(self, path: str) -> str:
        """Return the path of the volume that a device is, the path itself of all else."""
        return self.devices.get(plain(path), path)

    def _find(self, wanted: _Wanted) -> Image | None:
        path = plain(wanted.path)
        if path.startswith("/dev/") and path not in self.images:
            path = self._device(path)
        known = self.images.get(path)
        if known is not None and known.pool:
            if path.startswith("/dev/"):
                self._perhaps_unknown(
                    wanted,
                    words("libvirt does not read what an image on a device stands on"),
                )
            return known
        if not path.startswith("/") or path.startswith(_NEVER_LOOKED_AT):
            self._perhaps_unknown(wanted, words("what it stands on cannot be read"))
            return known
        directory = path.rpartition("/")[0] or "/"
        pool = next(
            (
                each
                for each in self.known
                if each.kind in _DIRECTORIES and plain(each.path) == directory
            ),
            None,
        )
        if pool is not None:
            found = self._look_up(pool, lambda: self.connection.storageVolLookupByPath(path))
            return self._with_told(found, known)
        trouble = self._look_into(directory)
        if trouble and known is None:
            self._perhaps_unknown(wanted, trouble)
        return self._with_told(self.images.get(path), known)

    def _device(self, path: str) -> str:
        """Return the path of the volume that a device is, whatever link of it names that.

        libvirt compares devices, not names.
        """
        if not self.known:
            return path
        try:
            volume = self.connection.storageVolLookupByPath(path)
            name = volume.storagePoolLookupByVolume().name()
        except libvirt.libvirtError as error:
            if error.get_error_code() in VANISHED:
                return path
            raise
        pool = next((each for each in self.known if each.name == name), None)
        image = self._note(volume, pool) if pool is not None else None
        if image is None:
            return path
        self.devices[path] = image.path
        return plain(image.path)

    def _with_told(self, found: Image | None, told: Image | None) -> Image | None:
        """What the storage says; where it says nothing of a base, what the definition says."""
        if found is None or told is None or found.base:
            return found or told
        self.images[plain(found.path)] = both = replace(found, base=told.base)
        return both

    def _perhaps_unknown(self, wanted: _Wanted, why: Message) -> None:
        """An image that stands on nothing we know of is only certain when it is raw.

        Or its VM's definition tells.
        """
        if wanted.off and not wanted.settled and wanted.format != "raw":
            text = words("{path} of {vm}: {why}.", path=wanted.path, vm=wanted.vm, why=why)
            self.unknown.append(text)

    def _look_into(self, directory: str) -> Message:
        """Read a directory that belongs to no pool, by a pool that exists only for this look.

        '' or what went wrong.
        """
        if not self.around:
            return words("its directory belongs to no storage pool")
        if directory in self.directories:
            return self.directories[directory]
        name = f"{_LOOK}{hashlib.sha256(directory.encode()).hexdigest()[:12]}"
        root = etree.Element("pool", type="dir")
        etree.SubElement(root, "name").text = name
        etree.SubElement(etree.SubElement(root, "target"), "path").text = directory
        self.directories[directory] = ""
        try:
            handle = self._short_lived(etree.tostring(root, encoding="unicode"))
        except libvirt.libvirtError as error:
            missing = (
                error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR
                and error.get_int1() == errno.ENOENT
            )
            self.directories[directory] = "" if missing else report_text(error)
            return self.directories[directory]
        try:
            here = _Pool(handle, "", "dir", directory, fresh=True)
            for volume in handle.listAllVolumes(0):
                self._note(volume, here)
                self.handles.pop(plain(f"{directory}/{volume.name()}"), None)
        finally:
            # A directory's pool that is not stored is gone by that; its files stay
            handle.destroy()
        return ""

    def _short_lived(self, xml: str) -> libvirt.virStoragePool:
        """The pool; another look at the same directory is waited for."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                return self.connection.storagePoolCreateXML(xml, 0)
            except libvirt.libvirtError as error:
                if not left or error.get_error_code() not in _IN_USE:
                    raise
            time.sleep(_REST)
        raise AssertionError("unreachable")

    # Whether something writes

    def settle(self) -> None:
        """Read the images of VMs that are off once more.

        One that changed meanwhile is used under another name.
        """
        active = {
            plain(each.path)
            for domain in self.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            for each in self.uses
            if each.uuid == domain.UUIDString()
        }
        for path in {plain(each.path) for each in self.wanted if each.off} - active:
            image, handle = self.images.get(path), self.handles.get(path)
            if image is None or handle is None or not image.stamp:
                continue
            try:
                stamp = _stamp(document(handle.XMLDesc(0)))
            except _FAULTS as error:
                self._unread(path, error)
                continue
            if stamp != image.stamp:
                self.images[path] = replace(image, busy=True)


def _snapshots(domain: libvirt.virDomain) -> list[libvirt.virDomainSnapshot]:
    try:
        return list(domain.listAllSnapshots(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() in NO_DRIVER:
            return []
        raise


def _pool(handle: libvirt.virStoragePool) -> _Pool:
    root = document(handle.XMLDesc(0))
    name = root.findtext("name", "")
    return _Pool(
        handle,
        "" if name.startswith(_LOOK) else name,  # left over, or another's look: nothing lies in it
        root.get("type", ""),
        root.findtext("target/path", ""),
        root.findtext("source/name", ""),
    )


def _image(handle: libvirt.virStorageVol, pool: _Pool) -> Image:
    root = document(handle.XMLDesc(0))
    name = root.findtext("name", "")
    path = root.findtext("target/path", "") or handle.path()
    told = root.findtext("backingStore/path", "")
    base = backing_text.base_of(told, path.rpartition("/")[0]) if pool.path else told
    if pool.kind in _NETWORK:
        path = f"{pool.kind}:{pool.source}/{name}"
        base = f"{pool.kind}:{base}" if base else ""
        return Image(path, pool.name, name if pool.name else "", base, path)
    stamp = _stamp(root) if pool.kind in _DIRECTORIES and root.get("type", "file") == "file" else ""
    return Image(path, pool.name, name if pool.name else "", base, stamp)


def _of_both(known: Image | None, found: Image) -> Image:
    """The image as it is found now, with the places and the base that it is known by."""
    if known is None:
        return found
    places = sorted(known.places | found.places)
    pool, _, volume = (*places, "")[0].partition("/")
    base = found.base or known.base
    data = found.data or known.data
    return replace(found, pool=pool, volume=volume, also=tuple(places[1:]), base=base, data=data)


def _beneath(image: Image) -> _Wanted:
    return _Wanted(image.base, "", "raw", settled=True, off=False)


def _stamp(root: etree._Element) -> str:
    """What one file shows under all its names.

    The moments of its last changes in ns, and its sizes.

    libvirt tells no inode. Two files with all of these equal have never been seen; were there such,
    both would be kept.
    """
    moments = [root.findtext(f"target/timestamps/{each}", "") for each in ("mtime", "ctime")]
    if not all(moments):
        return ""
    return " ".join([*moments, root.findtext("capacity", ""), root.findtext("physical", "")])


def _paths(root: etree._Element) -> Iterator[str]:
    """Every absolute path that a definition names, but in what people and programs noted there."""
    for element in _without_notes(root):
        found = [*(str(each) for each in element.attrib.values()), element.text or ""]
        yield from (each.strip() for each in found if each.strip().startswith("/"))
        if element.tag.startswith(_ARGUMENTS):
            arguments = (_IN_ARGUMENT.findall(each) for each in found)
            yield from (each.replace(",,", ",") for each in itertools.chain(*arguments))


def _without_notes(element: etree._Element) -> Iterable[etree._Element]:
    if element.tag in {"metadata", "description", "title", "name"}:
        return
    yield element
    for child in element:
        if isinstance(child.tag, str):
            yield from _without_notes(child)


def image_of(connection: Connection, source: str, *, volume: bool) -> Image | None:
    """The image at a path, or of a ``pool/volume``, looked for afresh.

    None when the host has none there.
    """
    look = _Look(connection)
    look.pools(whole=False)
    pool, _, name = source.partition("/")
    path = look._in_pool(pool, name) if volume else source  # noqa: SLF001 - the same module
    found = (
        look._find(_Wanted(path, "", "raw", settled=True, off=False))  # noqa: SLF001
        if path.startswith("/")
        else None
    )
    return found if found is not None and (found.pool or found.stamp) else None
