"""Real VMs that can only be ended: one whose system panicked and is kept so, and one whose backup does not end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import MIB, OS_CRASHED, Vm, VmState
from lab.guests import processes
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]
A, NAME = "host-a", "panicked"
# mov dx, 0x505; mov al, 1; out dx, al; hlt; jump back: the port of the panic device
SECTOR = bytes.fromhex("ba0505b001eef4ebfd").ljust(510, b"\0") + b"\x55\xaa"
XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><on_crash>preserve</on_crash><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator><disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{disk}'/><target dev='hda' bus='ide'/></disk><panic model='isa'/></devices></domain>"""


@pytest.fixture
def hypervisor(lab: Lab) -> Iterator[LibvirtHypervisor]:
    address = lab.hosts[A]
    made = LibvirtHypervisor(
        [HostAddress(A, address.uri, address.peer_uri)], clock=RealClock(), deadline=10.0
    )
    yield made
    made.close()


@pytest.fixture
def panicked(lab: Lab, tmp_path: Path) -> Iterator[None]:
    disk, xml = tmp_path / "disk.img", tmp_path / "vm.xml"
    disk.write_bytes(SECTOR.ljust(1 << 16, b"\0"))
    xml.write_text(XML.format(name=NAME, disk=disk))
    lab.virsh(A, "define", str(xml))
    try:
        lab.virsh(A, "start", NAME)
        yield
    finally:
        lab.virsh(A, "destroy", NAME, check=False)
        lab.virsh(A, "undefine", NAME, check=False)


def test_a_vm_whose_system_crashed_counts_as_there_and_is_started_anew(
    lab: Lab, hypervisor: LibvirtHypervisor, panicked: None
) -> None:
    def seen() -> Vm:
        return hypervisor.snapshot().vm(NAME)

    crashed = until(lambda: vm if (vm := seen()).paused_by == OS_CRASHED else None, "it crashed")
    assert (crashed.state, crashed.memory) == (VmState.PAUSED, 64 * MIB)
    assert "crashed" in lab.virsh(A, "domstate", NAME)
    assert len(processes(lab._rooms[A], NAME)) == 1, "QEMU is still there"
    hypervisor.force_off(A, crashed.uuid)
    until(lambda: seen().state is VmState.SHUT_OFF or None, "it is off")
    hypervisor.start(A, crashed.uuid)
    until(lambda: seen().paused_by == OS_CRASHED or None, "it crashed again")


def test_a_vm_whose_backup_does_not_end_is_forced_off(
    lab: Lab, hypervisor: LibvirtHypervisor, tmp_path: Path
) -> None:
    """A backup that is pulled lasts until who pulls it says so."""
    guest = lab.guest("backed-up", host=A, memory_mib=96, disk="local")
    wish = tmp_path / "backup.xml"
    wish.write_text(
        f"<domainbackup mode='pull'><server transport='unix' socket='{tmp_path}/nbd'/></domainbackup>"
    )
    lab.virsh(A, "backup-begin", guest.name, str(wish))
    detail = hypervisor.snapshot([guest.name]).vm(guest.name).detail
    assert detail is not None
    assert (str(detail.job), detail.local_job) == ("backup", True)
    hypervisor.force_off(A, guest.uuid)
    until(lambda: guest.where() == [] or None, "its QEMU has ended")
    assert hypervisor.snapshot().vm(guest.name).state is VmState.SHUT_OFF
