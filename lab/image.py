"""A small cloud image: a disk, and the kernel and user space that read a NoCloud seed; made once, kept in the cache."""

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import boot
from lab.boot import APPLETS, DIRECTORIES, apt, cpio, kernel_package, loading_order, write
from lab.errors import LabError

NAME = "tiny"
"""What the image calls itself, in the first line of its disk."""
COMMAND_LINE = "console=tty0 console=ttyS0 quiet panic=-1 mitigations=off no_timer_check random.trust_cpu=on"
DISK_MIB = 32

_INIT = Path(__file__).parent / "guest" / "cloud"
# Beside the modules every lab guest has: the file system of a seed. cdrom holds functions it calls.
_MORE = ("cdrom", "isofs")
_MORE_APPLETS = ("head", "hostname", "printf", "sed")


@dataclass(frozen=True, slots=True)
class CloudImage:
    """Files to make guests from. ``disk`` is a qcow2 base image; guests boot from ``kernel`` and ``initrd``."""

    disk: Path
    kernel: Path
    initrd: Path


def cloud_image() -> CloudImage:
    """The image, made now if the cache has none; takes seconds the first time.

    Raises LabError when the kernel's modules cannot be fetched or a program is missing.
    """
    plain = boot.image()
    busybox, qemu_img = shutil.which("busybox"), shutil.which("qemu-img")
    if busybox is None or qemu_img is None:
        raise LabError("busybox or qemu-img is missing: apt-get install busybox-static qemu-utils")
    home = plain.kernel.parent
    return CloudImage(_disk(home, qemu_img), plain.kernel, _initrd(home, Path(busybox)))


def _disk(home: Path, qemu_img: str) -> Path:
    disk = home / f"{NAME}-{DISK_MIB}.qcow2"
    if disk.exists():
        return disk
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        raw, made = Path(scratch, "disk.raw"), Path(scratch, "disk.qcow2")
        with raw.open("wb") as file:
            file.write(f"{NAME}\n".encode())
            file.truncate(DISK_MIB << 20)
        subprocess.run([qemu_img, "convert", "-O", "qcow2", str(raw), str(made)], check=True, capture_output=True)
        made.rename(disk)
    return disk


def _initrd(home: Path, busybox: Path) -> Path:
    modules = _modules(home)
    plain = loading_order(home / "modules")
    files = {f"{name}.ko": home / "modules" / f"{name}.ko" for name in plain}
    files |= {f"{name}.ko": modules / f"{name}.ko" for name in _MORE}
    entries = [(name, 0o040755, b"") for name in DIRECTORIES]
    entries += [("bin/busybox", 0o100755, busybox.read_bytes()), ("init", 0o100755, _INIT.read_bytes())]
    entries += [(f"bin/{applet}", 0o120777, b"busybox") for applet in (*APPLETS, *_MORE_APPLETS)]
    entries += [(f"modules/{name}", 0o100644, path.read_bytes()) for name, path in files.items()]
    entries += [("modules/order", 0o100644, " ".join(files).encode())]
    entries += [("etc/acpi/PWRF/00000080", 0o100755, b"#!/bin/sh\npoweroff -f\n")]
    entries += [("TRAILER!!!", 0, b"")]
    content = b"".join(cpio(number, *entry) for number, entry in enumerate(entries, 1))
    initrd = home / f"cloud-{hashlib.sha256(content).hexdigest()[:12]}.gz"
    if not initrd.exists():
        write(initrd, gzip.compress(content, compresslevel=1, mtime=0))
    return initrd


def _modules(home: Path) -> Path:
    """Where the further modules are, fetched now if the cache has none."""
    kept = home / "cloud-modules"
    if not kept.exists():
        # apt's download user must be able to write there, so not in a private cache.
        with tempfile.TemporaryDirectory(prefix="drover-kernel-") as scratch:
            os.chmod(scratch, 0o777)  # noqa: PTH101, S103
            apt(["apt-get", "-q", "download", kernel_package()], scratch)
            apt(["dpkg-deb", "--extract", str(next(Path(scratch).glob("*.deb"))), str(Path(scratch, "unpacked"))], "/")
            staged = Path(tempfile.mkdtemp(prefix=".cloud-modules-", dir=home))
            for path in Path(scratch, "unpacked").glob("**/*.ko*"):
                if path.name.split(".")[0] in _MORE:
                    content = path.read_bytes()
                    plain = lzma.decompress(content) if path.suffix == ".xz" else content
                    (staged / f"{path.name.split('.')[0]}.ko").write_bytes(plain)
        try:
            staged.rename(kept)
        except OSError:
            shutil.rmtree(staged)  # another lab was quicker; its copy is as good
    return kept
