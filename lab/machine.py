"""What this machine can do for a lab, and what it lacks."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab import boot, cgroups
from lab.errors import LabError

_TOOLS = {
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-nbd": "qemu-utils",
    "qemu-img": "qemu-utils",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "mount": "mount",
}
_TRIAL_S = 20


def missing() -> list[str]:
    """What keeps a lab from running here: a sentence each, saying what to do.

    Empty when all is there.

    Takes a few tens of milliseconds and changes nothing: the namespaces it tries end with the
    probe.
    """
    if os.geteuid() != 0:
        return [
            "The lab needs root (namespaces, libvirtd in system mode): run it with sudo or as root."
        ]
    return [*_missing_tools(), *_missing_kernel_parts(), *cgroups.missing(), *boot.missing()]


def demand() -> None:
    """Raise LabError naming everything that is missing."""
    lacks = missing()
    if lacks:
        raise LabError(
            "This machine cannot run the lab yet.\n" + "\n".join(f"- {line}" for line in lacks)
        )


def _missing_tools() -> Iterator[str]:
    lacking = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if lacking:
        yield f"Programs are missing: apt-get install --no-install-recommends {' '.join(lacking)}"


def _missing_kernel_parts() -> Iterator[str]:
    if not Path("/dev/net/tun").exists():
        yield (
            "/dev/net/tun is missing, so guests get no network: load the tun module (modprobe tun)."
        )
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return
    links = "ip link add name probe type bridge && ip link add name one type veth peer name two"
    probe = f"{links} && mount -t sysfs none /sys"
    argv = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--net",
        "--mount",
        "--uts",
        "--cgroup",
        "sh",
        "-c",
    ]
    tried = subprocess.run([*argv, probe], capture_output=True, text=True, check=False)
    if tried.returncode:
        yield (
            "Namespaces with bridges and veth pairs cannot be made here"
            f" ({tried.stderr.strip() or 'no reason given'}): run on a full machine or in a "
            f"privileged container."
        )


@functools.cache
def domain_type() -> str:
    """``kvm`` where hardware virtualization is there and a guest really boots with it.

    Else ``qemu``.

    ``/dev/kvm`` alone proves nothing: it can exist on a CPU without vmx or svm, and a guest then
    hangs.
    """
    return "kvm" if _validated() and boots("kvm") else "qemu"


def _validated() -> bool:
    if shutil.which("virt-host-validate") is None or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    told = subprocess.run(
        ["virt-host-validate", "qemu"], capture_output=True, text=True, check=False
    ).stdout
    return any("hardware virtualization" in line and ": PASS" in line for line in told.splitlines())


def boots(accelerator: str) -> bool:
    """Whether a guest says that it is up and then ends, within some seconds.

    With ``kvm`` or ``tcg``.
    """
    image = boot.image()
    with tempfile.TemporaryDirectory(prefix="drover-trial-") as directory:
        serial = Path(directory, "serial")
        argv = [
            "qemu-system-x86_64",
            "-accel",
            accelerator,
            "-m",
            "128",
            "-display",
            "none",
            "-nodefaults",
        ]
        argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-no-reboot"]
        argv += ["-append", boot.command_line("probe", end=True)]
        try:
            ended = subprocess.run(
                [*argv, "-serial", f"file:{serial}"],
                capture_output=True,
                timeout=_TRIAL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return ended.returncode == 0 and boot.UP in serial.read_text(errors="replace")
