"""Odd objects of real hosts: a bridge port that libvirt cannot describe, taps that come and go, a pool that is slow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.libvirt.read.sampling import LibvirtSampler
from bot.domain.cluster import MIB
from bot.domain.errors import HostUnreachableError
from bot.ports.guests import Seed
from lab.gates import closed_gate
from lab.guests import Guest, processes
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab
A, B = "host-a", "host-b"


def connected(lab: Lab, deadline: float) -> LibvirtHypervisor:
    hosts = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    return LibvirtHypervisor(hosts, clock=RealClock(), deadline=deadline)


@pytest.fixture
def hypervisor(lab: Lab) -> Iterator[LibvirtHypervisor]:
    made = connected(lab, 10.0)
    yield made
    made.close()


def test_a_bridge_port_with_a_dot_costs_the_description_of_its_bridge_alone(
    lab: Lab, hypervisor: LibvirtHypervisor
) -> None:
    lab.run(A, "ip", "tuntap", "add", "lab.m", "mode", "tap")
    try:
        lab.run(A, "ip", "link", "set", "lab.m", "master", "br0")
        seen = hypervisor.snapshot(["nobody"])
        host = seen.host(A)
        assert (host.up, host.problem) == (True, "")
        assert "br0" in host.bridges, "VMs that need it may still move there"
        assert [(each.kind, each.name) for each in host.unread] == [("interface", "br0")]
        assert "lab.m" in str(host.unread[0].why)
        assert seen.host(B).unread == ()
        assert hypervisor.host_facts(A).unread == host.unread
    finally:
        lab.run(A, "ip", "link", "del", "lab.m")
    assert hypervisor.snapshot(["nobody"]).host(A).unread == ()


def test_taps_that_come_and_go_while_a_host_is_read_never_make_it_silent(
    lab: Lab, hypervisor: LibvirtHypervisor
) -> None:
    over = threading.Event()
    rounds = 0

    def plug() -> None:
        nonlocal rounds
        while not over.is_set():
            lab.run(
                A,
                "sh",
                "-c",
                "ip tuntap add t9 mode tap; ip link set t9 master br0; ip link del t9",
            )
            rounds += 1

    thread = threading.Thread(target=plug)
    thread.start()
    try:
        seen = [hypervisor.snapshot(["nobody"]).host(A) for _ in range(150)]
    finally:
        over.set()
        thread.join()
    assert rounds > 10
    assert {(host.up, "br0" in host.bridges) for host in seen} == {(True, True)}


def test_a_pool_that_is_slow_to_read_makes_no_host_silent_and_is_read_once(
    lab: Lab, tmp_path: Path
) -> None:
    """libvirt reads the pool for longer than the deadline: it waits for one file of it."""
    lab.virsh(A, "pool-create-as", "many", "dir", "--target", str(tmp_path))
    (tmp_path / "behind-libvirt").touch()
    hypervisor = connected(lab, 5.0)
    told: list[str] = []

    def found() -> Any:
        try:
            return hypervisor.volume(A, "many", "behind-libvirt")
        except HostUnreachableError as error:
            told.append(str(error.text))
            return None

    try:
        assert hypervisor.snapshot().host(A).up
        with closed_gate(tmp_path / "behind-libvirt"):
            assert found() is None
            assert [hypervisor.snapshot().host(A).up for _ in range(3)] == [True] * 3
            assert found() is None
        assert until(found, "the new file is found").name == "behind-libvirt"
        assert "refreshing pool many on host-a" in told[0]
        # The last question may have waited in vain for a read that ended just then
        assert all("pool many" in each for each in told), told
        (tmp_path / "behind-too").touch()
        assert hypervisor.volume(A, "many", "behind-too") is None, (
            "what took so long to read is not read again at once"
        )
        seed = Seed("instance-id: many\n", "#cloud-config\n")
        assert hypervisor.create_volume(A, "many", "new.qcow2", 1 << 20).name == "new.qcow2"
        assert hypervisor.upload_seed(A, "many", "new-seed.iso", seed).name == "new-seed.iso"

        hypervisor.delete_volume(A, "many", "new.qcow2")
        assert not (tmp_path / "new.qcow2").exists()
    finally:
        hypervisor.close()
        lab.virsh(A, "pool-destroy", "many", check=False)


def test_a_sweep_of_real_hosts_tells_nothing_unread(lab: Lab) -> None:
    hosts = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    sampler = LibvirtSampler(hosts, clock=RealClock(), deadline=10.0)
    try:
        sweep = sampler.sweep()
    finally:
        sampler.close()
    assert [(host.silent, host.unread) for host in sweep.hosts] == [(False, ())] * len(hosts)


def resident(guest: Guest) -> int:
    """Bytes that its QEMU has in memory (proc(5), statm)."""
    pids = [pid for room in guest.rooms.values() for pid in processes(room, guest.name)]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def used_by_the_kernels_count(lab: Lab) -> int:
    """Bytes of a host that are neither free nor a cache, which includes memfd (proc(5))."""
    told = dict(line.split(":") for line in lab.run(A, "cat", "/proc/meminfo").splitlines())
    of = {name: int(told[name].split()[0]) * 1024 for name in told}
    return of["MemTotal"] - of["MemFree"] - of["Buffers"] - of["Cached"]


@pytest.mark.parametrize(
    ("backing", "in_cache"),
    [
        ("", False),
        ("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", True),
    ],
    ids=["private", "memfd"],
)
def test_a_guests_memory_is_in_use_once_however_it_is_backed(
    lab: Lab, tmp_path: Path, backing: str, *, in_cache: bool
) -> None:
    name = f"odd-memory-{len(backing)}"
    guest = lab.guest(name, host=A, memory_mib=256, dirty_mib_s=100.0, running=False, disk=None)
    made = tmp_path / "made.xml"
    made.write_text(lab.virsh(A, "dumpxml", name).replace("<os>", f"{backing}<os>", 1))
    lab.virsh(A, "define", str(made))
    host = lab.hosts[A]
    sampler = LibvirtSampler(
        [HostAddress(A, host.uri, host.peer_uri)], clock=RealClock(), deadline=10.0, slow_every=1
    )
    seen: list[tuple[int, int]] = []

    def counted(least: int, most: int) -> bool:
        """Beside the kernel's count, read before and after: its gauges move once a second."""
        before = used_by_the_kernels_count(lab)
        used = sampler.sweep().hosts[0].used
        beside = used - before, used - used_by_the_kernels_count(lab)
        seen.append((beside[0] // MIB, beside[1] // MIB))
        return all(least * MIB < each < most * MIB for each in beside)

    try:
        until(lambda: counted(-60, 60), lambda: f"without the VM: {seen[-5:]}")
        lab.virsh(A, "start", name)
        until(lambda: resident(guest) > 180 * MIB, "the VM writes most of its memory")
        least, most = (150, 350) if in_cache else (-60, 60)
        until(lambda: counted(least, most), lambda: f"with the VM: {seen[-5:]}")
    finally:
        sampler.close()
        lab.virsh(A, "destroy", name, check=False)
        lab.virsh(A, "undefine", name, check=False)
