"""What libvirt refuses to move is foreseen, and what it moves is planned: each asked of real hosts, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest
from lxml import etree

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.libvirt.read.domain_xml import TAGS
from bot.domain.cluster import MIB, VmState
from bot.domain.errors import HypervisorError
from bot.domain.plan import Plan, Refused
from bot.domain.steps import MigrateVm
from bot.ports.guests import GuestNic
from lab.errors import LabError
from lab.network import GUEST_BRIDGE
from plugins.migrate import planner
from plugins.migrate.grammar import Migrate
from plugins.migrate.settings import MigrateSettings
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab
A, B = "host-a", "host-b"
NUMBERS = count(1)


@dataclass
class Case:
    """A VM whose definition was changed before it started."""

    lab: Lab
    hypervisor: LibvirtHypervisor
    name: str
    uuid: str

    def plan(self) -> Plan | Refused:
        intent = Migrate(self.name, B)
        return planner.plan(MigrateSettings(), intent, self.hypervisor.snapshot({self.name}), ())

    def move(self) -> None:
        self.hypervisor.migrate(MigrateVm(self.uuid, self.name, A, B, 128 * MIB))

    def codes(self) -> list[str]:
        plan = self.plan()
        return [each.code for each in plan.objections] if isinstance(plan, Refused) else []

    def state_on(self, host: str) -> VmState | None:
        return next(
            each.state for each in self.hypervisor.sightings(self.uuid) if each.host == host
        )


Make = Callable[[Callable[[str], str]], Case]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    """Make a running VM on host-a with a changed definition."""
    hosts = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    hypervisor = LibvirtHypervisor(
        hosts, clock=RealClock(), deadline=10.0, measure_dirty_rate=False
    )
    made: list[str] = []

    def begin(change: Callable[[str], str]) -> Case:
        guest = lab.guest(f"foreseen-{next(NUMBERS)}", host=A, disk=None, running=False)
        made.append(guest.name)
        written = tmp_path / f"{guest.name}.xml"
        written.write_text(change(lab.virsh(A, "dumpxml", guest.name)))
        lab.virsh(A, "define", str(written))
        lab.virsh(A, "start", guest.name)
        until(guest.boots, "it boots")
        return Case(lab, hypervisor, guest.name, guest.uuid)

    yield begin
    hypervisor.close()
    for name in made:
        for host in (A, B):
            lab.virsh(host, "destroy", name, check=False)
            lab.virsh(host, "undefine", name, "--nvram", check=False)


def device(xml: str) -> Callable[[str], str]:
    return lambda written: written.replace("</devices>", f"{xml}</devices>")


def image(path: Path, lab: Lab) -> str:
    lab.run(A, "qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M")
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>"
        "<target dev='vdb' bus='virtio'/>{}</disk>"
    )


def address_of(lab: Lab) -> str:
    told = lab.run(A, "ip", "-4", "-o", "addr", "show", "dev", "eth0").split()
    return told[told.index("inet") + 1].partition("/")[0]


def test_shared_memory_is_refused_as_libvirt_refuses_it(make: Make) -> None:
    case = make(
        device(
            "<shmem name='foreseen'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>"
        )
    )
    assert case.codes() == ["shmem"]
    with pytest.raises(HypervisorError, match="ivshmem"):
        case.move()


@pytest.mark.slow
def test_a_shared_directory_moves_where_the_guest_has_not_mounted_it_and_somebody_tries(
    make: Make, lab: Lab, tmp_path: Path
) -> None:
    """libvirt refuses no 9p; QEMU does while it is mounted, which nobody outside the VM can see."""
    folder = f"<source dir='{tmp_path}'/><target dir='share'/>"
    case = make(device(f"<filesystem type='mount' accessmode='mapped'>{folder}</filesystem>"))
    assert case.codes() == ["shared-dirs"]
    tagged = "<tags><tag key='device-migration' value='try'/></tags>"
    lab.virsh(
        A, "metadata", case.name, TAGS, "--key", "drover", "--set", tagged, "--live", "--config"
    )
    plan = case.plan()
    assert isinstance(plan, Plan), plan
    assert "devices-tried" in {each.code for each in plan.warnings}
    case.move()
    assert case.state_on(B) is VmState.RUNNING


def test_a_transient_disk_is_refused_as_libvirt_refuses_it(
    make: Make, lab: Lab, tmp_path: Path
) -> None:
    case = make(device(image(tmp_path / "t.qcow2", lab).format("<transient/>")))
    assert "transient-disk" in case.codes()
    with pytest.raises(HypervisorError, match="transient"):
        case.move()


def test_a_screen_at_the_sources_own_address_is_refused(make: Make, lab: Lab) -> None:
    listen = f"<listen type='address' address='{address_of(lab)}'/>"
    case = make(device(f"<graphics type='vnc' port='-1' autoport='yes'>{listen}</graphics>"))
    assert case.codes() == ["graphics-address"]
    with pytest.raises(HypervisorError, match="Failed to bind socket") as caught:
        case.move()
    assert "autoport" in str(caught.value.advice)


def test_a_screens_fixed_port_that_a_vm_there_has_is_refused(
    make: Make, lab: Lab, tmp_path: Path
) -> None:
    screen = device("<graphics type='vnc' port='5957' autoport='no' listen='127.0.0.1'/>")
    case = make(screen)
    assert case.codes() == []
    other = lab.guest(f"foreseen-{next(NUMBERS)}", host=B, disk=None, running=False)
    written = tmp_path / "other.xml"
    written.write_text(screen(lab.virsh(B, "dumpxml", other.name)))
    lab.virsh(B, "define", str(written))
    lab.virsh(B, "start", other.name)
    try:
        assert case.codes() == ["graphics-port"]
    finally:
        lab.virsh(B, "destroy", other.name)
        lab.virsh(B, "undefine", other.name)
    case.move()
    assert case.state_on(B) is VmState.RUNNING


def test_an_emulator_that_the_target_lacks_is_refused(make: Make, tmp_path: Path) -> None:
    emulator = tmp_path / "qemu"
    emulator.write_text('#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 "$@"\n')
    emulator.chmod(0o755)
    case = make(lambda xml: re.sub("(?<=<emulator>)[^<]+", str(emulator), xml))
    emulator.rename(tmp_path / "gone")
    assert case.codes() == ["emulator"]
    with pytest.raises(HypervisorError, match="Cannot check QEMU binary") as caught:
        case.move()
    assert str(caught.value.advice).startswith("host-b lacks the file or folder")


def create_encrypted_disk(lab: Lab, path: Path) -> None:
    """Create an empty qcow2 disk of 8 MiB at ``path``, encrypted by LUKS with the passphrase ``pw``.

    qemu-img measures how fast this machine derives a key by the CPU time of a new thread. On a
    fast machine that time can still be 0 when it is read, and qemu-img gives up ("Unable to get
    accurate CPU usage", QEMU commit c72cab5ad9, mended in QEMU 10). It says nothing of the disk,
    so this error alone is asked again.
    """
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=pw"]
    argv += ["-o", "encrypt.format=luks,encrypt.key-secret=s", str(path), "8M"]

    def measured() -> bool:
        try:
            lab.run(A, *argv)
        except LabError as error:
            if "accurate CPU usage" not in str(error):
                raise
            return False
        return True

    until(measured, "qemu-img measured its speed")


def test_a_secret_that_the_target_lacks_is_refused(make: Make, lab: Lab, tmp_path: Path) -> None:
    uuid = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"
    secret = libvirt.open(lab.hosts[A].uri).secretDefineXML(
        f"<secret ephemeral='no' private='yes'><uuid>{uuid}</uuid>"
        "<usage type='volume'><volume>v</volume></usage></secret>"
    )
    try:
        secret.setValue(b"pw")
        path = tmp_path / "enc.qcow2"
        create_encrypted_disk(lab, path)
        locked = f"<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption></source>"
        disk = (
            f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'>{locked}"
            "<target dev='vdb' bus='virtio'/></disk>"
        )
        assert "secret" in make(device(disk)).codes()
    finally:
        secret.undefine()


def test_a_folder_of_a_socket_that_the_target_lacks_is_refused(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    source = f"<source mode='bind' path='{folder}/a.sock'/>"
    case = make(
        device(
            f"<channel type='unix'>{source}<target type='virtio' name='org.example.a'/></channel>"
        )
    )
    assert case.codes() == []
    folder.rename(tmp_path / "gone")  # the lab's hosts have one file system
    assert case.codes() == ["folder"]
    with pytest.raises(HypervisorError, match="UNIX socket path") as caught:
        case.move()
    assert "host-b lacks the file or folder" in str(caught.value.advice)


def test_macvtap_over_a_device_that_the_target_lacks_is_refused(make: Make, lab: Lab) -> None:
    lab.run(A, "ip", "link", "add", "only-a", "type", "veth", "peer", "name", "only-peer")
    lab.run(A, "ip", "link", "set", "only-a", "up")
    try:
        case = make(
            device(
                "<interface type='direct'><source dev='only-a' mode='bridge'/><rom enabled='no'/></interface>"
            )
        )
        assert case.codes() == ["network-device"]
        with pytest.raises(HypervisorError):
            case.move()
    finally:
        lab.run(A, "ip", "link", "del", "only-a", check=False)


def test_a_vm_whose_next_backup_must_be_full_is_told(make: Make, lab: Lab, tmp_path: Path) -> None:
    case = make(device(image(tmp_path / "c.qcow2", lab).format("")))
    written = tmp_path / "checkpoint.xml"
    written.write_text("<domaincheckpoint><name>c1</name></domaincheckpoint>")
    lab.virsh(A, "checkpoint-create", case.name, str(written))
    vm = case.hypervisor.snapshot({case.name}).vm(case.name)
    assert vm.detail
    assert vm.detail.checkpoints == 1


def as_q35(written: str) -> str:
    """The same VM with PCIe; libvirt chooses its ports anew."""
    root = etree.fromstring(written)
    devices = root.find("devices")
    for each in (*root.iter("address"), *root.iter("controller")):
        parent = each.getparent()
        assert parent is not None
        parent.remove(each)
    assert devices is not None
    kind = root.find("os/type")
    assert kind is not None
    kind.set("machine", "q35")
    return str(etree.tostring(root, encoding="unicode"))


def test_no_free_port_is_refused_as_libvirt_refuses_it_and_while_it_is_off_there_is_one(
    make: Make, lab: Lab
) -> None:
    case = make(as_q35)

    def added(number: int) -> int:
        mac = f"52:54:00:00:77:{number:02x}"
        case.hypervisor.attach_nic(A, case.uuid, GuestNic("bridge", GUEST_BRIDGE, mac))
        return number

    def free() -> int | None:
        detail = case.hypervisor.snapshot({case.name}).vm(case.name).detail
        assert detail is not None
        return detail.free_ports

    first = free()
    assert first
    for number in range(first):
        assert free() == first - added(number)
    assert free() == 0
    with pytest.raises(HypervisorError, match="PCI"):
        added(first)
    lab.virsh(A, "destroy", case.name)
    assert added(first) == first
