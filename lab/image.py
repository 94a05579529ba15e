"""A small cloud image: a disk, and the kernel and user space that read a NoCloud seed.

Made once, kept in the cache.
"""

import gzip
import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import boot, packages
from lab.boot import (
    APPLETS,
    Record,
    archive,
    keep_module,
    kernel_package,
    loading_order,
    user_space,
    write,
)
from lab.errors import LabError

NAME = "tiny"
"""What the image calls itself, in the first line of its disk."""
COMMAND_LINE = " ".join(("console=tty0", "console=ttyS0", *boot.KERNEL))
DISK_MIB = 32

_INIT = Path(__file__).parent / "guest" / "cloud"
# Beside the modules every lab guest has: the file system of a seed. cdrom holds functions it calls.
_MORE = ("cdrom", "isofs")
_MORE_APPLETS = ("grep", "head", "hostname", "printf", "sed", "udhcpc")
_AGENT = "qemu-ga"
_AGENT_MODULES = ("virtio_console",)
_AGENT_PACKAGES = (
    "qemu-guest-agent",
    "liburing2",
    "libnuma1",
    "libglib2.0-0",
    "libpcre2-8-0",
    "libudev1",
)
# What a DHCP client does with a lease; busybox, networking/udhcp: the facts are in the environment.
_LEASED = b"""#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
echo "address: $ip/$mask by DHCP" >/dev/ttyS0
"""


@dataclass(frozen=True, slots=True)
class CloudImage:
    """Files to make guests from.

    ``disk`` is a qcow2 base image; guests boot from ``kernel`` and ``initrd``.
    """

    disk: Path
    kernel: Path
    initrd: Path


def cloud_image(*, agent: bool = False) -> CloudImage:
    """The image, made now if the cache has none; takes seconds the first time.

    ``agent``: QEMU's guest agent is in it.

    Raises LabError when the kernel's modules cannot be fetched or a program is missing.
    """
    plain = boot.image()
    busybox, qemu_img = shutil.which("busybox"), shutil.which("qemu-img")
    if busybox is None or qemu_img is None:
        raise LabError("busybox or qemu-img is missing: apt-get install busybox-static qemu-utils")
    home = plain.kernel.parent
    return CloudImage(
        _disk(home, qemu_img), plain.kernel, _initrd(home, Path(busybox), agent=agent)
    )


def _disk(home: Path, qemu_img: str) -> Path:
    disk = home / f"{NAME}-{DISK_MIB}.qcow2"
    if disk.exists():
        return disk
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        raw, made = Path(scratch, "disk.raw"), Path(scratch, "disk.qcow2")
        with raw.open("wb") as file:
            file.write(f"{NAME}\n".encode())
            file.truncate(DISK_MIB << 20)
        subprocess.run(
            [qemu_img, "convert", "-O", "qcow2", str(raw), str(made)],
            check=True,
            capture_output=True,
        )
        made.rename(disk)
    return disk


def _initrd(home: Path, busybox: Path, *, agent: bool) -> Path:
    more = (*_MORE, *(_AGENT_MODULES if agent else ()))
    modules = _modules(home, more)
    files = {name: home / "modules" / f"{name}.ko" for name in loading_order(home / "modules")}
    files |= {name: modules / f"{name}.ko" for name in more}
    entries = user_space(busybox, _INIT, (*APPLETS, *_MORE_APPLETS), files)
    entries += [(name, 0o040755, b"") for name in ("lib", "run", "sbin", "var")]
    entries += [("etc/udhcpc", 0o100755, _LEASED)]
    entries += _agent() if agent else []
    content = archive(entries)
    initrd = home / f"cloud-{hashlib.sha256(content).hexdigest()[:12]}.gz"
    if not initrd.exists():
        write(initrd, gzip.compress(content, compresslevel=1, mtime=0))
    return initrd


def _modules(home: Path, names: tuple[str, ...]) -> Path:
    """Where further modules are, fetched now if the cache has not all of them."""
    kept = home / "cloud-modules"
    if not all((kept / f"{name}.ko").exists() for name in names):
        kept.mkdir(exist_ok=True)
        with packages.fetched((kernel_package(),)) as unpacked:
            for path in unpacked.glob("**/*.ko*"):
                if path.name.split(".")[0] in names:
                    keep_module(path, kept)
    return kept


def _agent() -> list[Record]:
    """QEMU's guest agent with the libraries it is linked to.

    The machine's own or those of the loader beside them.
    """
    home = packages.unpacked("agent", _AGENT_PACKAGES, f"usr/sbin/{_AGENT}")
    program = home / "usr/sbin" / _AGENT
    linked = packages.run(
        ["env", f"LD_LIBRARY_PATH={packages.libraries(home)}", "ldd", str(program)], "/"
    )
    needed = [Path(path) for path in re.findall(r"(/\S+) \(0x", linked)]
    files = [("bin/qemu-ga", program), *((f"lib/{path.name}", path) for path in needed)]
    return [(name, 0o100755, path.read_bytes()) for name, path in files] + [
        ("lib64", 0o120777, b"lib"),
        (
            "sbin/shutdown",
            0o100755,
            b"#!/bin/sh\necho asked by the agent: shutdown $* >/dev/ttyS0\npoweroff -f\n",
        ),
    ]
