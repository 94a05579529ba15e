"""Disks for guests: images on a network block device all hosts reach.

Also local ones in each host's pool.
"""

import itertools
import uuid
from dataclasses import dataclass
from pathlib import Path

from lab import network
from lab.rooms import Room

POOL = "local"
"""The directory pool each host has, active and set to autostart."""
POOL_PATH = "/var/lib/libvirt/images"
"""Where the pool is, equal on every host and private to each."""

DISK_MIB = 64
_FIRST_PORT = 10809


@dataclass(frozen=True, slots=True)
class SharedDisk:
    """A disk served by the switch: the image's path outside, the export's name and its TCP port."""

    image: Path
    export: str
    port: int


class SharedStorage:
    """One NBD server a disk, in the switch's namespace, so every host sees the same bytes."""

    def __init__(self, switch: Room, directory: Path) -> None:
        self._switch = switch
        self._directory = directory
        self._ports = itertools.count(_FIRST_PORT)
        directory.mkdir()

    def disk(self, name: str) -> SharedDisk:
        """Make an empty sparse disk and serve it to up.

        To eight clients at once (a migration needs two).
        """
        made = SharedDisk(self._directory / f"{name}.raw", name, next(self._ports))
        with made.image.open("xb") as image:
            image.truncate(DISK_MIB * 1024 * 1024)
        options = ["--fork", "--persistent", "--shared=8", "--format=raw", "--cache=none"]
        where = [f"--bind={network.SWITCH}", f"--port={made.port}", f"--export-name={name}"]
        self._switch.run("qemu-nbd", *options, *where, str(made.image))
        return made


def write_pool(etc: Path) -> None:
    """Define the local pool in a host's /etc/libvirt before its libvirtd starts.

    With autostart on.
    """
    directory = etc / "storage"
    (directory / "autostart").mkdir(parents=True, exist_ok=True)
    (directory / f"{POOL}.xml").write_text(
        f"<pool type='dir'><name>{POOL}</name><uuid>{uuid.uuid4()}</uuid>"
        f"<target><path>{POOL_PATH}</path></target></pool>\n"
    )
    (directory / "autostart" / f"{POOL}.xml").symlink_to(f"/etc/libvirt/storage/{POOL}.xml")


def shared_xml(disk: SharedDisk) -> str:
    """The ``<disk>`` element of a shared disk."""
    return (
        "<disk type='network' device='disk'><driver name='qemu' type='raw' cache='none'/>"
        f"<source protocol='nbd' name='{disk.export}'>"
        f"<host name='{network.SWITCH}' port='{disk.port}'/></source><target dev='vda' "
        f"bus='virtio'/></disk>"
    )


def local_xml(volume: str) -> str:
    """The ``<disk>`` element of a volume in the local pool."""
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
        f"<source file='{POOL_PATH}/{volume}'/><target dev='vda' bus='virtio'/></disk>"
    )
