"""Pure: which images stand on which, and who still needs one.

The storage decides it, not how a path is spelt.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bot.domain.message import Member, Message, words

Key = tuple[str, str]
"""A host and a path there."""

_BY_NAME = frozenset({"rbd", "gluster", "sheepdog", "iscsi"})
"""Protocols whose names are unique, whichever server tells them."""
_MAPPED = re.compile(r"/dev/mapper/(?P<group>(?:[^-]|--)+)-(?P<volume>(?:[^-]|--)+)")


@dataclass(frozen=True, slots=True)
class Image:
    """A file, device or network image that holds a disk or a part of one, as one host sees it.

    ``stamp`` is the same for one file under all its names and on all its hosts, and differs between
    files; '' where it is not known. ``base``: path of the image that it stands on. ``data``: path
    of the file that holds its data, where that is another one (qcow2's ``data-file``), as far as a
    definition names it. ``busy``: it was written to during the look, although no running VM of the
    host names it. ``also``: further places, where several pools have its directory.
    """

    path: str
    pool: str = ""
    volume: str = ""
    base: str = ""
    stamp: str = ""
    busy: bool = False
    also: tuple[str, ...] = ()
    data: str = ""

    @property
    def place(self) -> str:
        """``pool/volume``; '' when it lies in no pool."""
        return f"{self.pool}/{self.volume}" if self.pool else ""

    @property
    def places(self) -> frozenset[str]:
        """Every ``pool/volume`` that is this image."""
        return frozenset({self.place, *self.also} - {""})


@dataclass(frozen=True, slots=True)
class ImageUse:
    """A definition that names an image.

    ``snapshot``: the record that does, '' for the VM's own definition.

    ``device``: disk, cdrom, floppy or lun; '' for everything else that it names (the images
    beneath, a kernel).
    ``kept``: it is shared with others or read-only there.
    """

    uuid: str
    vm: str
    path: str
    device: str = ""
    target: str = ""
    snapshot: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Storage:
    """What one host knows of images and their users.

    ``unknown``: what could not be looked at, one sentence each.
    """

    images: tuple[Image, ...] = ()
    uses: tuple[ImageUse, ...] = ()
    unknown: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one image when its VM (a UUID) is deleted with its disks.

    ``place`` is ``pool/volume``, or the path of what lies in no pool. ``stays`` '' when it goes,
    else why it is kept.
    ``holders`` need it besides the VM: it must not go. ``seed``: Drover made it for cloud-init; it
    goes in any case.
    """

    vm: str
    place: str
    path: str
    stays: str = ""
    holders: tuple[Member, ...] = ()
    seed: bool = False


class Backing:
    """The images of a cluster, each once under all its names, with what stands on it.

    Args:
        storages: what each host that answered knows, by host.
        shared: pools that several hosts see, as (host, pool).
    """

    def __init__(self, storages: Mapping[str, Storage], shared: Collection[Key] = ()) -> None:
        self._storages = storages
        self._images = {
            (host, plain(each.path)): each for host, it in storages.items() for each in it.images
        }
        self._one: dict[Key, Key] = {}
        self._unite(shared)
        self._above: dict[Key, set[Key]] = defaultdict(set)
        for (host, path), image in self._images.items():
            for below in filter(None, (image.base, image.data)):
                self._above[self._same(host, below)].add(self._root((host, path)))

    def image(self, host: str, path: str) -> Image | None:
        """What the host knows of the image at a path."""
        return self._images.get((host, plain(path)))

    def beneath(self, host: str, path: str) -> Iterator[Image]:
        """The images that one stands on and the files with their data, the nearest first."""
        seen = {plain(path)}
        image = self.image(host, path)
        while image is not None:
            if image.data and plain(image.data) not in seen:
                seen.add(plain(image.data))
                yield self.image(host, image.data) or Image(image.data)
            if not image.base or plain(image.base) in seen:
                return
            seen.add(plain(image.base))
            image = self.image(host, image.base) or Image(image.base)
            yield image

    def uses(self, host: str, uuid: str) -> Iterator[ImageUse]:
        """What the definition of a VM and its snapshots name on a host."""
        return (each for each in self._storages.get(host, Storage()).uses if each.uuid == uuid)

    def holders(
        self, host: str, path: str, *, but: str, going: Iterable[str]
    ) -> tuple[Message, ...]:
        """Who needs the image at ``path`` besides the VM ``but`` (a UUID) on ``host``.

        A VM needs every image that its disks and snapshots name, and all that those stand on. A
        volume that stands on the image needs it too, whether or not a VM uses it. ``going``: paths
        that are removed together with it.
        """
        standing = self._standing_on(self._same(host, path))
        leaves = {self._same(host, each) for each in going}
        used: set[Key] = set()
        found: dict[Message, None] = {}
        for where, storage in self._storages.items():
            for use in storage.uses:
                root = self._same(where, use.path)
                if root in standing and (where, use.uuid) != (host, but):
                    used |= self._down(root, standing)
                    found[use_text(use, where, again=use.uuid == but)] = None
        above = standing - {self._same(host, path)} - leaves - used
        for where, image in self._names(above):
            volume = image.place or image.path
            found[words("the volume {volume} on {host}", volume=volume, host=where)] = None
        return tuple(sorted(found, key=str))

    def _names(self, roots: Collection[Key]) -> Iterator[tuple[str, Image]]:
        """Yield each of some images once, with a host that has it; in a pool where it is in one."""
        named = {self._root(key): (key[0], image) for key, image in self._images.items()}
        named |= {
            self._root(key): (key[0], image) for key, image in self._images.items() if image.place
        }
        return (each for root, each in named.items() if root in roots)

    def standing(self, host: str, path: str, *, but: str) -> tuple[Message, ...]:
        """The VMs besides ``but`` (a UUID) whose images stand on the one at ``path``.

        They break when it is written to.

        Those that name this very image do not count.
        """
        root = self._same(host, path)
        above = self._standing_on(root) - {root}
        found = {
            use_text(use, where)
            for where, storage in self._storages.items()
            for use in storage.uses
            if use.uuid != but and use.device and self._same(where, use.path) in above
        }
        return tuple(sorted(found, key=str))

    def sharing(self, host: str, path: str, *, but: str) -> Iterator[tuple[str, ImageUse]]:
        """Yield who names the very image at ``path`` besides ``but`` (a UUID), with the host."""
        root = self._same(host, path)
        for where, storage in self._storages.items():
            for use in storage.uses:
                if use.uuid != but and self._same(where, use.path) == root:
                    yield where, use

    def stands_on(self, top: Key, base: Key) -> bool:
        """Whether the image at ``top`` is the one at ``base`` or stands on it."""
        return self._same(*top) in self._standing_on(self._same(*base))

    def _standing_on(self, root: Key) -> set[Key]:
        """The image itself and all that stand on it, at whatever height."""
        seen, todo = {root}, [root]
        while todo:
            fresh = self._above.get(todo.pop(), set()) - seen
            seen |= fresh
            todo += fresh
        return seen

    def _down(self, root: Key, among: set[Key]) -> set[Key]:
        """The image and those beneath it, as far as they are ``among`` the given ones."""
        return {each for each in among if root in self._standing_on(each)}

    def _unite(self, shared: Collection[Key]) -> None:
        """Know one image under all its names.

        By its stamp, by its place in a shared pool, by a device's path.
        """
        first: dict[tuple[str, ...], Key] = {}
        owners = self._owners()
        nobodys = {image.stamp for key, image in self._images.items() if key not in owners}
        for key, image in self._images.items():
            # Volumes that Drover made for different VMs are different files, even when they were
            # made at one moment.
            owner = "" if image.stamp in nobodys else owners.get(key, "")
            names: list[tuple[str, ...]] = [("stamp", image.stamp, owner)] if image.stamp else []
            seen = [each for each in image.places if (key[0], each.partition("/")[0]) in shared]
            names += [("path", key[1])] if seen else []
            names += [("place", each) for each in seen]
            for name in names:
                self._join(key, first.setdefault(name, key))
        for host, storage in self._storages.items():
            named = {plain(each.path) for each in storage.images} | {
                plain(each.path) for each in storage.uses
            }
            for path in named:
                if path.startswith("/dev/") or ":" in path.partition("/")[0]:
                    self._join((host, path), first.setdefault(("device", path), (host, path)))
                elif not path.startswith("/") and ("place", path) in first:
                    # A volume by its name, of a shared pool that is not active on this host
                    self._join((host, path), first["place", path])

    def _owners(self) -> dict[Key, str]:
        """By host and path the VM that uses a volume which Drover made for it.

        Such a volume bears the VM's UUID.
        """
        return {
            (host, plain(use.path)): use.uuid
            for host, storage in self._storages.items()
            for use in storage.uses
            if use.device and f"-{use.uuid[:8]}" in use.path.rpartition("/")[2]
        }

    def _same(self, host: str, path: str) -> Key:
        return self._root((host, plain(path)))

    def _root(self, key: Key) -> Key:
        while (above := self._one.get(key, key)) != key:
            key = above
        return key

    def _join(self, one: Key, other: Key) -> None:
        first, second = self._root(one), self._root(other)
        if first != second:
            self._one[second] = first


def written_since(first: Storage, later: Storage) -> Storage:
    """The first look, with each image that another one found changed as ``busy``.

    A host that sees the same files and looked in between may have seen neither state.
    """
    stamps = {plain(each.path): each.stamp for each in later.images}
    changed = {
        plain(each.path)
        for each in first.images
        if each.stamp and stamps.get(plain(each.path), each.stamp) != each.stamp
    }
    images = (replace(each, busy=each.busy or plain(each.path) in changed) for each in first.images)
    return replace(first, images=tuple(images))


def use_text(use: ImageUse, host: str, *, again: bool = False) -> Message:
    """Who uses an image; ``again``: the same VM, defined on another host too."""
    args = {"vm": use.vm, "host": host}
    if use.snapshot:
        args["snapshot"] = use.snapshot
        if again:
            return words("snapshot {snapshot} of {vm} on {host} (a second definition)", **args)
        return words("snapshot {snapshot} of {vm} on {host}", **args)
    if again:
        return words("{vm} on {host} (a second definition)", **args)
    return words("{vm} on {host}", **args)


def plain(path: str) -> str:
    """A path in one spelling.

    No ``..``, no doubled slashes, a logical volume by its group and name.
    """
    if not path.startswith("/"):
        return path
    path = posixpath.normpath(f"/{path.lstrip('/')}")
    mapped = _MAPPED.fullmatch(path)
    if mapped is None:
        return path
    return "/dev/" + "/".join(
        each.replace("--", "-") for each in (mapped["group"], mapped["volume"])
    )


def image_name(source: str) -> str:
    """A disk's source as ``ImageUse`` spells it.

    Of a network image of a cluster ``kind:name``, whichever of its servers are named; of a snapshot
    of an RBD image that image. Of any other network image its URL: each server has names of its
    own.
    """
    kind, url, rest = source.partition("://")
    if not url:
        return plain(source)
    return network_image(kind, rest.partition("/")[2]) if kind in _BY_NAME else source


def network_image(kind: str, name: str) -> str:
    """``kind:name`` of what a server serves; of a snapshot of an RBD image that image."""
    if kind == "rbd":
        name = name.partition("@")[0]
    if kind == "iscsi" and "/" not in name:
        name = f"{name}/0"  # its first unit
    return f"{kind}:{name}"


@dataclass(frozen=True, slots=True)
class Looked:
    """The storage of every host that answered, and why the others did not, by host."""

    storages: Mapping[str, Storage] = field(default_factory=dict)
    failed: Mapping[str, Message] = field(default_factory=dict)
