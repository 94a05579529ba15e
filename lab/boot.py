"""The kernel and the initramfs lab guests boot from, made once and kept in the user's cache."""

import graphlib
import gzip
import hashlib
import lzma
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import packages
from lab.errors import LabError

UP = "drover-guest"
"""What a guest says on its serial line once it is up, before its name."""

_PACKAGE = "linux-image-cloud-amd64"
_INIT = Path(__file__).parent / "guest" / "init"
_POWER_BUTTON = Path(__file__).parent / "guest" / "power-button"

Record = tuple[str, int, bytes]
"""A file in an initramfs: its name, mode and content."""

APPLETS = [
    "acpid",
    "cat",
    "dd",
    "insmod",
    "ip",
    "mkdir",
    "mount",
    "nproc",
    "poweroff",
    "sh",
    "sleep",
]
_DIRECTORIES = ["bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules", "proc", "sys"]
# What a kernel has built in is simply not there as a file.
_MODULES = [
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
]
_MODULES += ["failover", "net_failover", "virtio_net", "virtio_balloon", "button", "evdev"]


@dataclass(frozen=True, slots=True)
class BootImage:
    """Files a guest boots from; their names change with their content, so labs can share them."""

    kernel: Path
    initrd: Path


KERNEL = (
    "quiet",
    "panic=-1",
    "no_timer_check",
    "random.trust_cpu=on",
    # A fifth of an emulated guest's boot: relocation, self-tests, calibration
    "mitigations=off",
    "nokaslr",
    "cryptomgr.notests",
    "lpj=4000000",
)
"""What every guest's kernel is told."""


def command_line(
    name: str, *, load: float = 0, dirty_mib_s: float = 0, room_mib: int = 16, end: bool = False
) -> str:
    """The kernel command line that makes a guest burn ``load`` vCPUs.

    Also dirty ``dirty_mib_s`` MiB/s over ``room_mib``.

    With ``end`` it powers off once it is up.
    """
    words = ["console=ttyS0", *KERNEL]
    words += [f"drover.name={name}", f"drover.load={round(load * 100)}"]
    words += [f"drover.dirty={round(dirty_mib_s * 1024)}", f"drover.room={room_mib}"]
    return " ".join([*words, *(["drover.end=1"] if end else [])])


def missing() -> Iterator[str]:
    """What keeps an image from being made here, a sentence each."""
    busybox = shutil.which("busybox")
    if busybox and _is_dynamic(Path(busybox)):
        yield f"{busybox} is not the static one: apt-get install busybox-static"
    if _cached_kernel() is None and shutil.which("apt-get") is None:
        yield (
            f"There is no kernel for guests in {_cache()} and no apt-get to fetch one: put a Debian"
            f" vmlinuz-* and its modules/ there."
        )


def image() -> BootImage:
    """The boot image, made now if the cache has none; takes seconds the first time.

    Raises LabError when the kernel cannot be fetched or busybox is missing.
    """
    kernel = _cached_kernel() or _fetch_kernel()
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("busybox is missing: apt-get install busybox-static")
    content = _initramfs(Path(busybox), kernel.parent / "modules")
    initrd = kernel.parent / f"initrd-{hashlib.sha256(content).hexdigest()[:12]}.gz"
    if not initrd.exists():
        write(initrd, gzip.compress(content, compresslevel=1, mtime=0))
    return BootImage(kernel, initrd)


def _cache() -> Path:
    return packages.cache() / "guest"


def _cached_kernel() -> Path | None:
    found = sorted(_cache().glob("*/vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def _fetch_kernel() -> Path:
    """Download and unpack Debian's kernel package without installing it.

    Keep the kernel and its modules.
    """
    package = kernel_package()
    _cache().mkdir(parents=True, exist_ok=True)
    with packages.fetched((package,)) as unpacked:
        return _keep(unpacked, package)


def kernel_package() -> str:
    """The package that holds Debian's newest cloud kernel; LabError when apt knows none."""
    told = packages.run(["apt-cache", "depends", _PACKAGE], "/")
    name = re.search(r"Depends: (linux-image-\d\S+)", told)
    if name is None:
        raise LabError(
            f"apt knows no {_PACKAGE}: run apt-get update, or check the machine's package sources."
        )
    return name[1]


def _keep(unpacked: Path, package: str) -> Path:
    """Move what a guest needs from an unpacked package into the cache, whole or not at all."""
    kernel = next(unpacked.glob("boot/vmlinuz-*"))
    kept = unpacked / "kept"
    (kept / "modules").mkdir(parents=True)
    shutil.copy(kernel, kept / kernel.name)
    for path in unpacked.glob("**/*.ko*"):
        if path.name.split(".")[0] in _MODULES:
            keep_module(path, kept / "modules")
    home = _cache() / package
    if not home.exists():
        staged = Path(tempfile.mkdtemp(prefix=f".{package}-", dir=_cache()))
        shutil.copytree(kept, staged, dirs_exist_ok=True)
        try:
            staged.rename(home)
        except OSError:
            # Another lab was quicker; its copy is as good.
            shutil.rmtree(staged)
    return home / kernel.name


def keep_module(path: Path, directory: Path) -> None:
    """Put a kernel module of a package into a directory, plain."""
    content = path.read_bytes()
    plain = lzma.decompress(content) if path.suffix == ".xz" else content
    write(directory / f"{path.name.split('.')[0]}.ko", plain)


def _is_dynamic(program: Path) -> bool:
    """Whether an ELF program asks for a dynamic loader."""
    with program.open("rb") as file:
        return b"/ld-linux" in file.read(4096)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when two labs write it at once."""
    descriptor, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(staged).rename(path)


def _initramfs(busybox: Path, modules: Path) -> bytes:
    """A cpio archive (newc) with busybox, the modules and the init script."""
    files = {name: modules / f"{name}.ko" for name in loading_order(modules)}
    return archive(user_space(busybox, _INIT, APPLETS, files))


def user_space(
    busybox: Path, init: Path, applets: Iterable[str], modules: Mapping[str, Path]
) -> list[Record]:
    """What every guest of the lab is made of.

    Args:
        busybox: The static one.
        init: The script that is run first.
        applets: The programs of busybox that are in its PATH.
        modules: The kernel's modules by name, in the order in which they are loaded.
    """
    return [
        *((name, 0o040755, b"") for name in _DIRECTORIES),
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("bin/power-button", 0o100755, _POWER_BUTTON.read_bytes()),
        ("init", 0o100755, init.read_bytes()),
        *((f"bin/{applet}", 0o120777, b"busybox") for applet in applets),
        *((f"modules/{name}.ko", 0o100644, path.read_bytes()) for name, path in modules.items()),
        ("modules/order", 0o100644, " ".join(f"{name}.ko" for name in modules).encode()),
        ("etc/acpi/PWRF/00000080", 0o100755, b"#!/bin/sh\npoweroff -f\n"),
    ]


def loading_order(modules: Path) -> list[str]:
    """The modules there are, each after those it needs, as its own ``depends=`` says."""
    needs = {
        name: _needs(modules / f"{name}.ko")
        for name in _MODULES
        if (modules / f"{name}.ko").exists()
    }
    ours = {name: [need for need in needed if need in needs] for name, needed in needs.items()}
    return list(graphlib.TopologicalSorter(ours).static_order())


def _needs(module: Path) -> list[str]:
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return found[1].decode().split(",") if found and found[1] else []


def archive(records: Iterable[Record]) -> bytes:
    """A cpio archive of the "newc" format."""
    ended = [*records, ("TRAILER!!!", 0, b"")]
    return b"".join(_record(number, *record) for number, record in enumerate(ended, 1))


def _record(inode: int, name: str, mode: int, content: bytes) -> bytes:
    """One record of the "newc" format.

    Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    fields = [inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
