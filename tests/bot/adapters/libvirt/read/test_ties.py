"""What of a definition ties a VM to its host."""

from __future__ import annotations

import libvirt
import pytest

from bot.adapters.libvirt.read.domain_xml import document, parse
from bot.adapters.libvirt.read.inventory import facts
from bot.adapters.libvirt.read.ties import bases, numbers_of, usb_names
from bot.domain.cluster import Health, Host, Listener, Ties, UsbDevice, VmDetail

ADDRESS = "<listen type='address' address='10.0.0.1'/>"


def detail(devices: str = "", more: str = "") -> VmDetail:
    return parse(
        f"<domain type='kvm'><uuid>u</uuid><name>n</name><memory>1</memory>{more}<devices>{devices}</devices></domain>"
    ).detail


@pytest.mark.parametrize(
    ("devices", "listeners"),
    [
        (f"<graphics type='vnc' port='5955' autoport='no' listen='10.0.0.1'>{ADDRESS}</graphics>",
         [Listener("vnc", "10.0.0.1", frozenset({5955}), fixed=True)]),
        (f"<graphics type='spice' port='5901' tlsPort='5902' autoport='yes'>{ADDRESS}</graphics>",
         [Listener("spice", "10.0.0.1", frozenset({5901, 5902}))]),
        (("<graphics type='vnc' port='-1' autoport='yes'><listen type='network' network='n' address='10.0.0.1'/>"
         "</graphics>"), []),
        ("<graphics type='vnc' socket='/x'><listen type='socket' socket='/x'/></graphics>", []),
        ("<graphics type='vnc' autoport='yes'><listen type='none'/></graphics>", []),
        ("<graphics type='egl-headless'/>", []),
    ],
)  # fmt: skip
def test_graphics(devices: str, listeners: list[Listener]) -> None:
    assert list(detail(devices).ties.listeners) == listeners


def test_shared_memory_whose_master_it_is_travels() -> None:
    shmem = "<shmem name='a'><model type='ivshmem-plain'/></shmem><shmem name='b' role='master'/>"
    assert detail(shmem + "<shmem name='c' role='peer'/>").ties.shmem == ("a", "c")


def test_a_device_that_qemu_unplugs_for_the_move_ties_nothing() -> None:
    net = "<interface type='hostdev'><source><address type='pci' bus='0x1' slot='0x2'/></source>{}</interface>"
    assert detail(net.format("<teaming type='transient' persistent='ua-1'/>")).hostdevs == ()
    assert len(detail(net.format("<teaming type='persistent'/>")).hostdevs) == 1
    device = "<hostdev mode='subsystem' type='pci'><source/>{}</hostdev>"
    assert detail(device.format("<teaming type='transient' persistent='ua-1'/>")).hostdevs == ()


def test_usb_devices_are_told_apart_and_a_host_may_lack_those_that_are_optional() -> None:
    usb = "<hostdev mode='subsystem' type='usb'><source{}><vendor id='0x046d'/><product id='0xc52b'/></source></hostdev>"
    where = "<hostdev mode='subsystem' type='usb'><source startupPolicy='requisite'><address bus='1' device='4'/></source></hostdev>"
    found = detail(
        usb.format("") + where + "<hostdev mode='subsystem' type='pci'><source/></hostdev>"
    )
    assert found.hostdevs == ("USB 046d:c52b", "USB 1:4", "pci device")
    assert found.ties.usb == (UsbDevice("USB 046d:c52b"), UsbDevice("USB 1:4", needed=False))
    described = document(
        "<device><name>usb_1_2</name><capability type='usb_device'><bus>1</bus><device>4</device>"
        "<product id='0xc52b'>Receiver</product><vendor id='0x046d'>Logitech</vendor></capability></device>"
    )
    assert usb_names(described) == ("USB 046d:c52b", "USB 1:4")


@pytest.mark.parametrize(
    ("driver", "virtiofs"),
    [("<driver type='virtiofs'/>", True), ("<driver type='path'/>", False), ("", False)],
)
def test_directories_of_virtiofs_are_known(driver: str, *, virtiofs: bool) -> None:
    shared = (
        f"<filesystem type='mount'>{driver}<source dir='/srv/a'/><target dir='a'/></filesystem>"
    )
    assert (detail(shared).shared_dirs, detail(shared).ties.virtiofs) == (("/srv/a",), virtiofs)


def test_the_rest() -> None:
    disk = (
        "<disk type='file'><source file='/d'><encryption><secret type='passphrase' uuid='s-1'/></encryption></source>"
        "<backingStore type='file'><format type='qcow2'/><source file='/t.qcow2'/></backingStore><transient/>"
        "<target dev='vda'/></disk>"
    )
    found = detail(
        disk + "<serial type='file'><source path='/srv/logs/a.log'/></serial>"
        "<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/a'/></channel>"
        "<serial type='pty'><source path='/dev/pts/3'/></serial>",
        "<launchSecurity type='sev'/><clock><timer name='tsc' frequency='2400000000'/></clock>",
    )
    assert found.ties.secrets == ("s-1",)
    assert found.ties.folders == ("/srv/logs",)
    assert list(bases(document(f"<domain><devices>{disk}</devices></domain>"))) == ["/t.qcow2"]
    assert (found.ties.launch_security, found.ties.tsc_frequency) == ("sev", 2_400_000_000)
    assert found.disks[0].transient


@pytest.mark.parametrize(
    ("more", "pins", "nodes"),
    [
        ("<vcpu cpuset='0-3,^2'>2</vcpu>", [{0, 1, 3}], set()),
        (("<vcpu cpuset='0-7'>2</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='1' cpuset='5'/>"
         "<emulatorpin cpuset='0'/><iothreadpin iothread='1' cpuset='4'/></cputune>"), [{4}, {5}, {0}], set()),
        # The third is not plugged in
        ("<vcpu current='2'>3</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='2' cpuset='99'/></cputune>",
         [{4}], set()),
        (("<vcpu current='1'>2</vcpu><vcpus><vcpu id='0' enabled='no'/><vcpu id='1' enabled='yes'/></vcpus>"
         "<cputune><vcpupin vcpu='1' cpuset='9'/></cputune>"), [{9}], set()),
        (("<vcpu>1</vcpu><numatune><memory mode='strict' nodeset='1'/><memnode cellid='0' mode='preferred' "
         "nodeset='2-3'/></numatune>"), [], {1, 2, 3}),
        ("<vcpu cpuset='0-99999999999'>nonsense</vcpu>", [], set()),
    ],
)  # fmt: skip
def test_cpus_and_numa_nodes_that_it_is_pinned_to(
    more: str, pins: list[set[int]], nodes: set[int]
) -> None:
    found = detail(more=more).ties
    assert [set(each) for each in found.pins] == pins
    assert found.numa_nodes == nodes


def test_lists_of_cpus_are_read_as_libvirt_writes_them() -> None:
    assert numbers_of("0-3,^2,8") == {0, 1, 3, 8}
    assert numbers_of("") == frozenset()
    assert numbers_of("0-,x") == numbers_of("1-9999999999") == frozenset()


def test_a_pin_that_a_host_has_in_part_and_what_a_host_does_not_tell_are_no_obstacle() -> None:
    pinned = Ties(pins=(frozenset({3, 4}),), numa_nodes=frozenset({1}))
    assert not pinned.lacks_cpus(Host("a", Health.UP, cpu_ids=frozenset(range(4))))
    assert pinned.lacks_cpus(Host("a", Health.UP, cpu_ids=frozenset(range(3)))) == {3, 4}
    assert pinned.lacks_numa_nodes(Host("a", Health.UP, numa_nodes=frozenset({0}))) == {1}
    assert pinned.unknown_cpus(Host("a", Health.UP, cpu_ids=frozenset(range(4)))) == {4}
    unknown = Host("a", Health.UP)
    assert not pinned.unknown_cpus(unknown)
    assert not pinned.lacks_cpus(unknown)
    assert not pinned.lacks_numa_nodes(unknown)


def test_a_host_tells_its_cpus_and_numa_nodes() -> None:
    connection = libvirt.open("test:///default")
    try:
        told = facts(connection).capabilities
    finally:
        connection.close()
    assert told.cpu_ids == frozenset(range(16))
    assert told.numa_nodes == {0, 1}
