"""Whether a guest's CPU fits, asked of a host that answers as libvirt does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import libvirt
import pytest

from bot.adapters.libvirt.read import vm_detail
from bot.adapters.libvirt.read.domain_xml import Definition, parse
from bot.adapters.libvirt.read.inventory import Facts
from bot.domain.cluster import DefinedThen, Host, Vm
from bot.testing import draw_cluster

CLUSTER = draw_cluster("host-a 4cpu 8G | web-1 1G\nhost-b 4cpu 8G")
VM: Vm = CLUSTER.vm("web-1")
THERE: Host = CLUSTER.host("host-b")
FACTS = Facts(
    uuid="", hostname="host-a", cpus=4, memory=0, cpu_model="EPYC",
    cpu=frozenset({"model EPYC", "vendor AMD", "feature avx2"}), arch="x86_64", hypervisor_version=7002000,
    libvirt_version=9000000, machines=frozenset(), bridges=frozenset(), networks=frozenset(),
)  # fmt: skip


def live(cpu: str, virt_type: str = "kvm", arch: str = "x86_64") -> Definition:
    return parse(
        f"<domain type='{virt_type}'><os><type arch='{arch}' machine='pc-q35-7.2'>hvm</type></os>{cpu}"
        "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"
    )


CUSTOM = "<cpu mode='custom' match='exact'><model>EPYC</model></cpu>"


class OneAnswer:
    """A connection that answers one question."""

    def __init__(self, answer: int | libvirt.libvirtError) -> None:
        self._answer = answer
        self.asked: tuple[Any, ...] = ()

    def compareHypervisorCPU(self, *asked: Any) -> int:  # noqa: N802 - libvirt's name
        self.asked = asked
        if isinstance(self._answer, libvirt.libvirtError):
            raise self._answer
        return self._answer


def refused(code: int, text: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError("")
    error.err = (code, 0, text, 0, "", None, None, 0, 0)
    return error


@pytest.mark.parametrize(("answer", "fits"), [(0, False), (1, True), (2, True)])
def test_the_host_decides(answer: int, *, fits: bool) -> None:
    host = OneAnswer(answer)
    found = vm_detail.fit(host, VM, live(CUSTOM), FACTS, THERE, FACTS)
    assert found is not None
    assert (found.vm_uuid, found.host, found.fits) == (VM.uuid, "host-b", fits)
    assert bool(found.why) is not fits
    emulator, arch, machine, virt_type, cpu, flags = host.asked
    assert (emulator, arch, machine, virt_type) == (
        "/usr/bin/qemu-system-x86_64",
        "x86_64",
        "pc-q35-7.2",
        "kvm",
    )
    assert "EPYC" in cpu
    assert flags == libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE


def test_what_is_lacking_is_told() -> None:
    host = OneAnswer(
        refused(
            libvirt.VIR_ERR_CPU_INCOMPATIBLE, "Host CPU does not provide required features: avx512f"
        )
    )
    found = vm_detail.fit(host, VM, live(CUSTOM), FACTS, THERE, FACTS)
    assert found is not None
    assert not found.fits
    assert "avx512f" in str(found.why)


def test_a_host_that_cannot_say_is_not_an_answer() -> None:
    host = OneAnswer(refused(libvirt.VIR_ERR_NO_SUPPORT, "not supported"))
    assert vm_detail.fit(host, VM, live(CUSTOM), FACTS, THERE, FACTS) is None


def test_an_emulated_guest_is_compared_as_such() -> None:
    host = OneAnswer(2)
    assert vm_detail.fit(host, VM, live(CUSTOM, "qemu"), FACTS, THERE, FACTS) is not None
    assert host.asked[3] == "qemu"


@pytest.mark.parametrize("mode", ["host-passthrough", "maximum"])
def test_passthrough_fits_equal_cpus_only(mode: str) -> None:
    cpu = f"<cpu mode='{mode}'/>"
    same = vm_detail.fit(OneAnswer(2), VM, live(cpu), FACTS, THERE, FACTS)
    other = replace(
        FACTS, cpu=frozenset({"model EPYC", "vendor AMD", "feature avx2", "feature avx512f"})
    )
    different = vm_detail.fit(OneAnswer(2), VM, live(cpu), FACTS, THERE, other)
    assert same is not None
    assert different is not None
    assert same.fits
    assert not different.fits
    assert "only there: feature avx512f" in str(different.why)


def test_an_emulated_maximum_depends_on_qemu_alone() -> None:
    cpu = live("<cpu mode='maximum'/>", "qemu")
    newer = replace(FACTS, cpu=frozenset({"model Skylake"}))
    fits = vm_detail.fit(OneAnswer(0), VM, cpu, FACTS, THERE, newer)
    other_qemu = vm_detail.fit(
        OneAnswer(0), VM, cpu, FACTS, THERE, replace(newer, hypervisor_version=8000000)
    )
    assert fits is not None
    assert other_qemu is not None
    assert fits.fits
    assert not other_qemu.fits


def test_another_architecture_never_fits() -> None:
    found = vm_detail.fit(OneAnswer(2), VM, live(CUSTOM, arch="aarch64"), FACTS, THERE, FACTS)
    assert found is not None
    assert not found.fits
    assert "aarch64" in str(found.why)


def test_a_guest_without_a_cpu_element_fits() -> None:
    found = vm_detail.fit(OneAnswer(0), VM, live(""), FACTS, THERE, FACTS)
    assert found is not None
    assert found.fits


def test_a_snapshot_holds_the_definition_that_it_takes_its_vm_back_to(
    connection: libvirt.virConnect,
) -> None:
    domain = connection.defineXML(
        "<domain type='test'><name>a</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>"
        "<os><type>hvm</type></os><devices>"
        "<disk type='file'><source file='/a.qcow2'/><target dev='vdb' bus='virtio'/></disk>"
        "<interface type='bridge'><mac address='52:54:00:00:00:0A'/><source bridge='br0'/></interface>"
        "</devices></domain>"
    )
    taken = domain.snapshotCreateXML("<domainsnapshot><name>a</name></domainsnapshot>")
    domain.setVcpusFlags(1, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    then = vm_detail.snapshot_of(taken).then
    assert then == DefinedThen(2, 512 << 20, ("vdb", "52:54:00:00:00:0a"))
    domain.revertToSnapshot(taken)
    assert parse(domain.XMLDesc()).vcpus == 2, "as libvirt does"


DISKS_OF_A_SNAPSHOT = """<domainsnapshot><name>a</name><state>shutoff</state>
<disks><disk name='vda' snapshot='internal'/><disk name='vdb' snapshot='no'/>
<disk name='vdc' snapshot='manual'/><disk name='sda' snapshot='no'/></disks>{}</domainsnapshot>"""


class OneSnapshot:
    """A snapshot that is described so."""

    def __init__(self, xml: str) -> None:
        self._xml = xml

    def getXMLDesc(self, _: int) -> str:  # noqa: N802 - libvirt's name
        return self._xml


def test_disks_that_a_snapshot_leaves_out_are_known() -> None:
    disks = "".join(
        f"<disk device='{kind}'><source file='/{name}'/><target dev='{name}'/></disk>"
        for name, kind in (("vda", "disk"), ("vdb", "disk"), ("vdc", "disk"), ("sda", "cdrom"))
    )
    size = "<memory unit='MiB'>{}</memory><vcpu>{}</vcpu>"
    xml = DISKS_OF_A_SNAPSHOT.format(
        f"<domain>{size.format(512, 1)}<devices>{disks}</devices></domain>"
        f"<inactiveDomain>{size.format(1024, 4)}<devices/></inactiveDomain>"
    )
    taken = vm_detail.snapshot_of(OneSnapshot(xml))
    assert taken.left_out == ("vdb", "vdc")
    assert taken.then is not None
    assert taken.then.devices == ("vda", "vdb", "vdc")
    assert (taken.then.vcpus, taken.then.memory) == (4, 1 << 30), "as at its next start"
    old = DISKS_OF_A_SNAPSHOT.format("<domain><uuid>x</uuid></domain>")
    assert vm_detail.snapshot_of(OneSnapshot(old)).then is None
