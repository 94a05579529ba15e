"""Twenty guests from one image with cloud-init seeds, by Drover on two lab hosts, against a loop of virt-install.

Both make the same: a qcow2 volume on top of the base image, a seed, a definition with one card, a
started guest. The guests find nothing to boot and stand still, so that what is measured is the
making and not twenty boots.

Needs root and what the lab needs, and virt-install and genisoimage for the peer.

    ./drover bench create [--guests 20]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from bench.goals import Goal, conclude
from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import Job
from bot.domain.message import Message
from bot.domain.operation import Ask
from bot.domain.plan import Plan
from lab import Lab
from lab.image import cloud_image
from plugins.vm_lifecycle import creation, handler
from plugins.vm_lifecycle.intents import NewVms
from plugins.vm_lifecycle.settings import VmLifecycleSettings

POOL, NETWORK, MEMORY_MIB, DISK_MIB = "local", "br0", 64, 64


class Clock:
    """The machine's time."""

    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Silent:
    """Progress that nobody watches."""

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        """Nobody watches."""

    def say(self, text: Message) -> None:
        """Nobody listens."""

    def note(self, text: Message) -> None:
        """Nobody reads."""

    def asks(self) -> frozenset[Ask]:
        """Nobody asks."""
        return frozenset()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def by_drover(lab: Lab, count: int, parallel: int) -> float:
    """Seconds to plan and make them."""
    settings = VmLifecycleSettings.model_validate({
        "images": {"tiny": {"base": f"{POOL}/tiny.qcow2", "user": "ana"}},
        "pool": POOL, "network": NETWORK, "default_cpus": 1, "parallel": parallel,
        "default_memory": f"{MEMORY_MIB}M", "default_disk": f"{DISK_MIB}M",
    })  # fmt: skip
    addresses = [HostAddress(host.name, host.uri, host.peer_uri) for host in lab.hosts.values()]
    hypervisor = LibvirtHypervisor(addresses, clock=Clock(), deadline=60)
    try:
        hypervisor.snapshot()
        began = time.monotonic()
        plan = creation.plan(
            settings, NewVms("drover", count=count), hypervisor.snapshot(["drover"]), ()
        )
        assert isinstance(plan, Plan), plan
        for step in plan.steps:
            handler.run(settings, step, hypervisor, Silent())
        return time.monotonic() - began
    finally:
        hypervisor.close()


def by_virt_install(lab: Lab, count: int, directory: Path) -> float:
    """Seconds of a loop that makes them, host after host in turn, as an administrator's script does."""
    user_data = directory / "user-data"
    user_data.write_text('#cloud-config\n{"users": [{"name": "ana"}]}\n')
    hosts = list(lab.hosts)
    for host in hosts:
        lab.run(host, "mkdir", "-p", "/var/lib/libvirt/boot")  # where virt-install keeps seeds
    began = time.monotonic()
    for number in range(count):
        name = f"peer-{number + 1}"
        meta_data = directory / f"{name}-meta-data"
        meta_data.write_text(f"instance-id: {name}\nlocal-hostname: {name}\n")
        lab.run(
            hosts[number % len(hosts)], "virt-install", "--connect", "qemu:///system", "--quiet", "--name", name,
            "--memory", str(MEMORY_MIB), "--vcpus", "1", "--virt-type", "qemu", "--osinfo", "detect=off,require=off",
            "--disk", f"pool={POOL},size={DISK_MIB / 1024},format=qcow2,bus=virtio,"
            "backing_store=/var/lib/libvirt/images/tiny.qcow2,backing_format=qcow2",
            "--network", f"bridge={NETWORK},model=virtio", "--cloud-init",
            f"user-data={user_data},meta-data={meta_data}", "--import", "--noautoconsole", "--graphics", "none",
        )  # fmt: skip
    return time.monotonic() - began


def running(lab: Lab, start: str) -> int:
    """How many guests run whose names start so, as virsh counts them."""
    names = [name for host in lab.hosts for name in lab.virsh(host, "list", "--name").split()]
    return sum(name.startswith(start) for name in names)


def end(lab: Lab) -> None:
    """End every guest, so that the next contender finds the hosts as the first did."""
    for host in lab.hosts:
        for name in lab.virsh(host, "list", "--name").split():
            lab.virsh(host, "destroy", name)


def main() -> None:
    """Run both and print the ratio."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--guests", type=int, default=20)
    options.add_argument("--parallel", type=int, default=4, help="guests made at once on one host")
    chosen = options.parse_args()
    if shutil.which("virt-install") is None or shutil.which("genisoimage") is None:
        sys.exit("The peer is missing: apt-get install virtinst genisoimage")
    version = subprocess.run(
        ["virt-install", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with Lab(hosts=2) as lab, tempfile.TemporaryDirectory(prefix="drover-bench-") as directory:
        for host in lab.hosts.values():
            shutil.copy(cloud_image().disk, host.directory / "lib" / "images" / "tiny.qcow2")
        ours = by_drover(lab, chosen.guests, chosen.parallel)
        assert running(lab, "drover-") == chosen.guests, "not all of Drover's guests run"
        end(lab)
        theirs = by_virt_install(lab, chosen.guests, Path(directory))
        assert running(lab, "peer-") == chosen.guests, "not all of virt-install's guests run"
        end(lab)
    print(f"{chosen.guests} guests on 2 hosts, {chosen.parallel} at once on each")
    print(f"Drover            {ours:6.1f} s   {ours / chosen.guests:5.2f} s each")
    print(
        f"virt-install {version} {theirs:6.1f} s   {theirs / chosen.guests:5.2f} s each, one after the other"
    )
    print(f"ratio             {theirs / ours:6.1f}")
    conclude([Goal("times quicker than virt-install", theirs / ours, least=1.0)])


if __name__ == "__main__":
    main()
