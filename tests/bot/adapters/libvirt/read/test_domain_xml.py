"""Definitions as libvirt writes them, read into the domain's values."""

from __future__ import annotations

from operator import attrgetter

import pytest

from bot.adapters.libvirt.read.domain_xml import parse
from bot.domain.cluster import GIB, MIB, Disk, Nic, Scheduler

# A running guest of the lab, as ``virsh dumpxml`` of libvirt 9.0 prints it; addresses and
# controllers left out.
LIVE = """
<domain type='qemu' id='1'>
  <name>web-1</name>
  <uuid>10661f59-140f-4213-9107-68671888037b</uuid>
  <metadata>
    <drover:tags xmlns:drover="https://drover.dev/tags/1">
      <drover:tag key="env" value="dev"/>
      <drover:tag key="owner" value="a &lt;b&gt; &amp; 'c'"/>
    </drover:tags>
    <other:thing xmlns:other="https://example.org/x"><other:tag key="env" value="not mine"/></other:thing>
  </metadata>
  <memory unit='KiB'>262144</memory>
  <currentMemory unit='KiB'>131072</currentMemory>
  <vcpu placement='static' current='2'>4</vcpu>
  <cputune>
    <shares>512</shares>
    <period>100000</period>
    <quota>30000</quota>
    <vcpupin vcpu='0' cpuset='1'/>
  </cputune>
  <resource><partition>/machine</partition></resource>
  <os>
    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='require' name='hypervisor'/>
    <feature policy='disable' name='svm'/>
    <feature policy='require' name='invtsc'/>
  </cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source protocol='nbd' name='web-1' index='1'>
        <host name='10.77.0.254' port='10809'/>
      </source>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:50:6c:89'/>
      <source bridge='br-guests'/>
      <target dev='vnet0'/>
    </interface>
    <interface type='network'>
      <mac address='52:54:00:50:6c:8a'/>
      <source network='default' portid='0c4b27ec-32c2-4a33-a3b4-4ac67ba9ac4f' bridge='virbr0'/>
    </interface>
    <interface type='user'><mac address='52:54:00:50:6c:8b'/></interface>
  </devices>
</domain>
"""

# What keeps a guest where it is, an element of each kind.
STUCK = """
<domain type='kvm'>
  <name>db-1</name>
  <uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>
  <memory unit='GiB'>4</memory>
  <memoryBacking><hugepages/><locked/></memoryBacking>
  <vcpu>2</vcpu>
  <os>
    <type arch='aarch64' machine='virt-7.2'>hvm</type>
    <nvram>/var/lib/libvirt/qemu/nvram/db-1_VARS.fd</nvram>
  </os>
  <cpu mode='host-passthrough' check='none'/>
  <devices>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2' cache='writeback'/>
      <source pool='vms' volume='db-1.qcow2'>
        <encryption format='luks'><secret type='passphrase' uuid='x'/></encryption>
      </source>
      <target dev='vda' bus='virtio'/>
      <shareable/>
      <mirror type='file' job='copy' ready='yes'><source file='/x'/></mirror>
    </disk>
    <disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sda' bus='scsi'/></disk>
    <disk type='network' device='disk'>
      <auth username='libvirt'><secret type='ceph' usage='ceph'/></auth>
      <source protocol='rbd' name='pool/db-1'><host name='mon1' port='6789'/><host name='mon2'/></source>
      <target dev='vdb'/>
    </disk>
    <filesystem type='mount'><source dir='/srv/share'/><target dir='share'/></filesystem>
    <interface type='direct'><source dev='eth0' mode='bridge'/></interface>
    <interface type='hostdev'>
      <source><address type='pci' domain='0x0000' bus='0x03' slot='0x10' function='0x2'/></source>
    </interface>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>
    </hostdev>
    <hostdev mode='subsystem' type='usb'>
      <source><vendor id='0x046d'/><product id='0xc52b'/></source>
    </hostdev>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source>
    </hostdev>
    <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/></source></hostdev>
    <hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  </devices>
</domain>
"""


def test_what_a_guest_is() -> None:
    found = parse(LIVE)
    assert (found.uuid, found.name) == ("10661f59-140f-4213-9107-68671888037b", "web-1")
    assert (found.virt_type, found.arch, found.vcpus) == ("qemu", "x86_64", 2)
    assert (found.memory, found.memory_max) == (128 * MIB, 256 * MIB)
    assert found.scheduler == Scheduler(cpu_shares=512, vcpu_period=100_000, vcpu_quota=30_000)


def test_only_our_tags_are_read() -> None:
    assert dict(parse(LIVE).tags) == {"env": "dev", "owner": "a <b> & 'c'"}


def test_what_it_needs_of_a_host() -> None:
    detail = parse(LIVE).detail
    assert (detail.machine, detail.emulator) == ("pc-i440fx-7.2", "/usr/bin/qemu-system-x86_64")
    assert (detail.cpu_mode, detail.cpu_features) == ("custom", ("hypervisor", "invtsc"))
    assert detail.disks == (
        Disk("vda", "network", "nbd://10.77.0.254:10809/web-1", cache="none", format="raw"),
        Disk("sda", "file", "", device="cdrom", readonly=True, format="raw"),
    )
    assert detail.nics == (
        Nic("bridge", "br-guests", "52:54:00:50:6c:89"),
        Nic("network", "default", "52:54:00:50:6c:8a"),
        Nic("user", "", "52:54:00:50:6c:8b"),
    )
    assert (detail.hostdevs, detail.shared_dirs, detail.tpm, detail.nvram) == ((), (), "", "")
    assert (detail.secrets, detail.hugepages, detail.memory_locked) == (False, False, False)


def test_the_cpu_is_kept_as_written() -> None:
    cpu = parse(LIVE).cpu_xml
    assert cpu.startswith("<cpu mode=")
    assert cpu.endswith("</cpu>")
    assert "invtsc" in cpu


def test_what_many_vms_have_alike_is_kept_once() -> None:
    one, other = parse(LIVE), parse(LIVE.replace("web-1", "web-2"))
    assert (one.name, other.name) == ("web-1", "web-2")
    for shared in ("detail.cpu_features", "detail.ties", "detail.machine", "cpu_xml", "scheduler"):
        assert attrgetter(shared)(one) is attrgetter(shared)(other), shared


def test_what_keeps_a_guest_where_it_is() -> None:
    detail = parse(STUCK).detail
    assert detail.hostdevs == (
        "PCI 0000:01:00.0",
        "USB 046d:c52b",
        "mediated c2177883-f1bb-47f0-914d-32a22e3a8804",
        "scsi scsi_host0",
        "USB 1:4",
        "NETWORK 0000:03:10.2",
    )
    assert detail.shared_dirs == ("/srv/share",)
    assert (detail.tpm, detail.nvram) == ("emulator", "/var/lib/libvirt/qemu/nvram/db-1_VARS.fd")
    assert detail.secrets
    assert detail.hugepages
    assert detail.memory_locked
    assert detail.cpu_mode == "host-passthrough"


def test_disks_of_every_kind() -> None:
    volume, lun, ceph = parse(STUCK).detail.disks
    assert (volume.source, volume.cache, volume.busy) == ("vms/db-1.qcow2", "writeback", "copy")
    assert volume.shareable
    assert volume.encrypted
    assert (lun.kind, lun.device, lun.source) == ("block", "lun", "/dev/sdb")
    assert ceph.source == "rbd://mon1:6789,mon2/pool/db-1"


def test_memory_without_a_current_size_is_all_of_it() -> None:
    found = parse(STUCK)
    assert found.memory == found.memory_max == 4 * GIB
    assert found.vcpus == 2
    assert found.scheduler == Scheduler()


@pytest.mark.parametrize("text", ["", "nonsense", "<network/>", "<domain"])
def test_what_is_no_definition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"XML|definition"):
        parse(text)


def test_nothing_outside_is_read(tmp_path: object) -> None:
    bomb = '<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/hostname">]><domain type="kvm"><name>&e;</name></domain>'
    assert parse(bomb).name in {"", "&e;"}


@pytest.mark.parametrize("answer", [None, b"<domain/>", 7, ["<domain/>"]])
def test_what_is_no_text_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match="not text"):
        parse(answer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ("<vcpu>two</vcpu>", "vcpu “two”"),
        ("<vcpu>-3</vcpu>", "vcpu “-3”"),
        ("<vcpu>0</vcpu>", "vcpu “0”"),
        ("<vcpu current='x'>4</vcpu>", "vcpu “x”"),
        ("<memory>-5</memory>", "memory “-5”"),
        ("<memory unit='zib'>5</memory>", "memory in “zib”"),
        ("<memory>99999999999999999999999</memory>", "memory “99999999999999999999999”"),
        ("<memory>1.5</memory>", "memory “1.5”"),
        ("<memory>8</memory><currentMemory>much</currentMemory>", "currentMemory “much”"),
        ("<cputune><shares>lots</shares></cputune>", "shares “lots”"),
        ("<cputune><quota>1e9</quota></cputune>", "quota “1e9”"),
        ("<cputune><period>-7</period></cputune>", "period “-7”"),
    ],
)
def test_a_number_that_makes_no_sense_costs_itself_and_is_told(odd: str, told: str) -> None:
    made = parse(
        f"<domain><name>odd</name><devices><emulator>/qemu</emulator></devices>{odd}</domain>"
    )
    assert told in str(made.problem)
    assert (made.name, made.detail.emulator) == ("odd", "/qemu")
    assert min(made.vcpus, made.memory) >= 0


def test_a_definition_that_makes_sense_has_no_problem() -> None:
    made = parse(
        "<domain><vcpu current='1'>2</vcpu><memory>1024</memory>"
        "<cputune><shares>2</shares><quota>-1</quota></cputune></domain>"
    )
    assert (made.problem, made.vcpus, made.memory, made.scheduler.vcpu_quota) == (
        "",
        1,
        1 << 20,
        -1,
    )


def test_nvme_disks_of_two_controllers_are_two_though_both_count_from_one() -> None:
    # As libvirt's format of domains describes them
    found = parse(
        "<domain><name>x</name><devices>"
        + "".join(
            "<disk type='nvme' device='disk'><source type='pci' managed='yes' namespace='1'>"
            f"<address domain='0x0000' bus='0x{bus}' slot='0x00' function='0x0'/></source>"
            f"<target dev='vd{target}'/></disk>"
            for bus, target in (("01", "a"), ("02", "b"))
        )
        + "</devices></domain>"
    )
    assert [disk.source for disk in found.detail.disks] == [
        "NVME 0000:01:00.0/1",
        "NVME 0000:02:00.0/1",
    ]


@pytest.mark.parametrize("memory", ["<memory/>", "<memory unit='MiB'> </memory>"])
def test_an_empty_memory_is_told_and_is_no_zero(memory: str) -> None:
    assert "makes no sense" in str(parse(f"<domain><name>x</name>{memory}</domain>").problem)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("<hard_limit unit='KiB'>4194304</hard_limit>", 4 << 30),
        ("<hard_limit unit='G'>4</hard_limit>", 4 << 30),
        ("<hard_limit unit='KiB'>9007199254740991</hard_limit>", 0),  # no limit
        ("<soft_limit unit='G'>4</soft_limit>", 0),
    ],
)
def test_what_the_kernel_lets_a_vm_have_is_read(limit: str, told: int) -> None:
    found = parse(f"<domain><memory>1024</memory><memtune>{limit}</memtune></domain>")
    assert found.detail.hard_limit == told
    assert not found.problem


ROOT = "<controller type='pci' index='0' model='pcie-root'/>"
PORTS = "".join(
    f"<controller type='pci' index='{n}' model='pcie-root-port'>{inside}</controller>"
    for n, inside in ((1, ""), (2, ""), (10, ""), (11, "<target hotplug='off'/>"))
)
AT_10 = "<address type='pci' domain='0x0000' bus='0x0a' slot='0x00' function='0x0'/>"


@pytest.mark.parametrize(
    ("devices", "free"),
    [
        (ROOT, 0),
        (ROOT + PORTS, 3),
        (f"{ROOT}{PORTS}<interface type='bridge'>{AT_10}</interface>", 2),
        # The address on the host is no address in the VM
        (f"{ROOT}{PORTS}<interface type='hostdev'><source>{AT_10}</source></interface>", 3),
        (f"{ROOT}{PORTS}<controller type='pci' index='12' model='pcie-to-pci-bridge'/>", None),
        ("<controller type='pci' index='0' model='pci-root'/>", None),
        ("", None),
    ],
)
def test_free_ports_are_those_without_a_device(devices: str, free: int | None) -> None:
    found = parse(f"<domain><name>x</name><devices>{devices}</devices></domain>")
    assert found.detail.free_ports == free
    assert not found.problem
