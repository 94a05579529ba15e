"""Changes of VMs that were not made by Drover, on the lab's real hosts: each is done whole, or refused beforehand."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt
import pytest
from lxml import etree

from bot import catalog
from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import MIB, Ties, Vm, VmState
from bot.domain.errors import HypervisorError
from bot.domain.plan import Plan, Refused
from bot.flow.commands.parse import parse
from bot.plugin_api import Action, Settled
from plugins.vm_lifecycle import handler
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import AddDisk, AddNic
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab

A = "host-a"
TABLE = {
    "images": {"tiny": {"base": "local/tiny.qcow2"}},
    "pool": "local",
    "network": "br0",
    "poll_seconds": 0.2,
}
CATALOG = catalog.load(("vm_lifecycle",), {"vm_lifecycle": TABLE})
SETTINGS = VmLifecycleSettings.model_validate(TABLE)


@dataclass
class Telling:
    """A ``Progress`` that keeps what is told."""

    notes: list[str] = field(default_factory=list)

    def report(self, job: Any, asks: Any = ()) -> None: ...

    def say(self, text: Any) -> None: ...

    def note(self, text: Any) -> None:
        self.notes.append(str(text))

    def asks(self) -> frozenset[Any]:
        return frozenset()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Scene:
    """Host-a, with what libvirt itself says beside what Drover says."""

    lab: Lab
    hypervisor: LibvirtHypervisor
    connection: Any
    images: Path
    pool: str
    boot: str

    def define(self, name: str, *, disk: bool = True, more: str = "", devices: str = "", boot: bool = False,
               memory: int = 128, vcpu: str = "<vcpu>1</vcpu>", os: str = "", machine: str = "pc", firmware: str = "",
               line: str = "quiet panic=-1") -> Any:  # fmt: skip
        """A VM with a disk of 16 MiB, defined by hand as people do."""
        path = self.images / f"{name}.qcow2"
        if disk and not path.exists():
            self.run("qemu-img", "create", "-q", "-f", "qcow2", str(path), "16M")
        drive = (
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{self.pool}/{path.name}'/><target dev='vda' bus='virtio'/></disk>"
        )
        loaded = self.boot.replace("LINE", line) if boot else ""
        return self.connection.defineXML(
            f"<domain type='qemu'><name>{name}</name><uuid>{uuid.uuid4()}</uuid><memory unit='MiB'>{memory}</memory>"
            f"{vcpu}<os{firmware}><type arch='x86_64' machine='{machine}'>hvm</type>{os}{loaded}</os>"
            f"<features><acpi/></features>{more}<devices>{drive if disk else ''}{devices}</devices></domain>"
        )

    def run(self, *command: str) -> str:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def write(self, name: str, pattern: int) -> None:
        """Fill the first MiB of a disk."""
        self.run("qemu-io", "-c", f"write -P {pattern} 0 1M", str(self.images / f"{name}.qcow2"))

    def holds(self, name: str, pattern: int) -> bool:
        told = self.run(
            "qemu-io", "-r", "-c", f"read -P {pattern} 0 1M", str(self.images / f"{name}.qcow2")
        )
        return "Pattern verification failed" not in told

    def vm(self, name: str) -> Vm:
        return self.hypervisor.snapshot((name,)).vm(name)

    def answer(self, line: str) -> Plan | Refused:
        found = parse(CATALOG, "/kvm", line)
        assert isinstance(found.command, Action)
        seen = self.hypervisor.snapshot(found.command.focus(found.intent))
        return found.command.plan(found.intent, seen, CATALOG.rules)

    def refused(self, line: str) -> dict[str, str]:
        plan = self.answer(line)
        assert isinstance(plan, Refused), plan
        return {each.code: f"{each.text} {each.remedy}" for each in plan.objections}

    def done(self, line: str) -> tuple[Plan, dict[str, Any]]:
        """Ask for it and do it, as after a vote."""
        plan = self.answer(line)
        assert isinstance(plan, Plan), plan
        found = parse(CATALOG, "/kvm", line)
        assert isinstance(found.command, Action)
        again = self.hypervisor.snapshot(found.command.focus(found.intent))
        assert found.command.still_good(found.intent, plan, again, CATALOG.rules) == ()
        facts: dict[str, Any] = {}
        for step in plan.steps:
            facts |= handler.run(SETTINGS, step, self.hypervisor, Telling())
            assert handler.settle(step, self.hypervisor) is Settled.DONE
        return plan, facts


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Scene]:
    from lab.image import cloud_image

    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    hypervisor = LibvirtHypervisor(
        addresses, clock=RealClock(), deadline=10, measure_dirty_rate=False
    )
    host, image = lab.hosts[A], cloud_image()
    boot = f"<kernel>{image.kernel}</kernel><initrd>{image.initrd}</initrd><cmdline>LINE</cmdline>"
    connection = libvirt.open(host.uri)
    described = etree.fromstring(connection.storagePoolLookupByName("local").XMLDesc())
    pool = described.findtext("target/path", "")
    yield Scene(lab, hypervisor, connection, host.directory / "lib" / "images", pool, boot)
    connection.close()
    hypervisor.close()


@pytest.fixture
def scene(hosts: Scene) -> Iterator[Scene]:
    before = {domain.UUIDString() for domain in hosts.connection.listAllDomains()}
    files = set(hosts.images.iterdir())
    yield hosts
    for domain in hosts.connection.listAllDomains():
        if domain.UUIDString() not in before:
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                                 | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                                 | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                                 | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)  # fmt: skip
    for made in set(hosts.images.iterdir()) - files:
        made.unlink()
    # It must not remember files that are gone
    hosts.connection.storagePoolLookupByName("local").refresh()


# Size


def test_a_fixed_topology_is_foreseen_and_nothing_is_half_done(scene: Scene) -> None:
    domain = scene.define(
        "topo", disk=False, more="<cpu><topology sockets='1' cores='1' threads='1'/></cpu>"
    )
    assert "1 vCPU" in scene.refused("vm resize topo --cpus 2 --memory 200M")["cpu-topology"]
    with pytest.raises(HypervisorError, match="topology"):
        scene.hypervisor.resize(A, domain.UUIDString(), vcpus=2, memory=200 * MIB)
    found = scene.hypervisor.find(A, domain.UUIDString())
    assert found is not None
    assert (found.vcpus_next, found.memory_next) == (1, 128 * MIB), "the memory was put back"
    scene.done("vm resize topo --memory 200M")
    stored = scene.vm("topo").stored
    assert stored is not None
    assert (stored.vcpus, stored.memory) == (1, 200 * MIB)


def test_without_a_balloon_a_vm_shrinks_and_grows_at_its_next_start(scene: Scene) -> None:
    domain = scene.define(
        "rigid", disk=False, memory=256, boot=True, devices="<memballoon model='none'/>"
    )
    for wanted in (160, 192):
        scene.done(f"vm resize rigid --memory {wanted}M")
        domain.create()
        assert domain.info()[2] == wanted * 1024, "KiB of the running VM"
        domain.destroy()


def test_numa_cells_fix_the_memory(scene: Scene) -> None:
    cells = "<cpu><numa><cell id='0' cpus='0' memory='131072' unit='KiB'/></numa></cpu>"
    domain = scene.define("cells", disk=False, more=cells)
    assert "NUMA cell" in scene.refused("vm resize cells --memory 200M")["numa"]
    with pytest.raises(HypervisorError, match="NUMA"):
        scene.hypervisor.resize(A, domain.UUIDString(), vcpus=1, memory=200 * MIB)
    scene.done("vm resize cells --memory 96M --cpus 2")
    domain.create()
    stored = scene.vm("cells").stored
    assert stored is not None
    assert stored.memory == 96 * MIB


def test_a_size_that_waits_is_kept_when_another_part_changes(scene: Scene) -> None:
    domain = scene.define("later", disk=False, boot=True)
    domain.create()
    _, facts = scene.done("vm resize later --memory 200M")
    assert str(facts["now"]) == "takes effect at the next start (now 1 vCPU, 128 MiB)"
    scene.done("vm resize later --cpus 2")
    found = scene.hypervisor.find(A, domain.UUIDString())
    assert found is not None
    assert (found.vcpus_next, found.memory_next) == (2, 200 * MIB)


# Names


def test_a_vm_with_snapshots_is_renamed(scene: Scene) -> None:
    scene.define("old-name")
    scene.done("vm snapshot create old-name first")
    scene.done("vm rename old-name new-name")
    assert [each.name for each in scene.hypervisor.snapshots(A, scene.vm("new-name").uuid)] == [
        "first"
    ]


def test_a_vm_with_a_backup_checkpoint_is_renamed_too(scene: Scene) -> None:
    domain = scene.define("backed-up", boot=True)
    domain.create()
    domain.checkpointCreateXML("<domaincheckpoint><name>c1</name></domaincheckpoint>")
    domain.destroy()
    scene.done("vm rename backed-up kept-up")


# Sleep


def test_a_vm_that_sleeps_is_woken_and_nothing_else_is_tried_with_it(scene: Scene) -> None:
    asleep = (
        "mount -t sysfs sys /sys; sleep 2; echo mem >/sys/power/state; while :; do sleep 1; done"
    )
    line = f"quiet rdinit=/bin/sh -- -c &quot;{asleep.replace('>', '&gt;')}&quot;"
    sleeps = "<pm><suspend-to-mem enabled='yes'/></pm>"
    domain = scene.define("dozy", boot=True, line=line, more=sleeps)
    domain.create()
    until(lambda: domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED, "it falls asleep")
    for verb in ("shutdown", "reboot", "pause"):
        assert "vm resume dozy" in scene.refused(f"vm {verb} dozy")["asleep"]
    assert "asleep" in scene.refused("vm snapshot create dozy s")
    plan, _ = scene.done("vm start dozy")
    assert str(plan.title) == "Wake dozy on host-a"
    assert scene.vm("dozy").state is VmState.RUNNING


# Saved memory


def test_saved_memory_is_seen_by_every_verb(scene: Scene) -> None:
    domain = scene.define("saved", boot=True)
    domain.create()
    scene.done("vm snapshot create saved before")
    domain.managedSave(0)
    assert scene.vm("saved").saved
    for line in (
        "resize saved --memory 96M",
        "disk grow saved vda 1G",
        "rename saved other",
        "disk add saved 1G",
        "snapshot revert saved before",
        "snapshot create saved more",
        "nic add saved br0",
    ):
        against = scene.refused(f"vm {line}")
        assert "vm discard-memory saved" in against["memory-saved"], line
    plan, _ = scene.done("vm start saved")
    assert any("restores the memory" in str(each.text) for each in plan.warnings)
    assert not scene.vm("saved").saved
    domain.managedSave(0)
    plan, _ = scene.done("vm discard-memory saved")
    assert any("is lost" in str(each.text) for each in plan.warnings)
    assert not domain.hasManagedSaveImage(0)
    assert "no-saved-memory" in scene.refused("vm discard-memory saved")
    scene.done("vm disk grow saved vda 1G")


# Devices


def test_a_nic_and_a_disk_are_added_to_a_running_vm_of_any_name(scene: Scene) -> None:
    domain = scene.define("json:{a},b=c d", boot=True, disk=False)
    domain.create()
    (plan, _) = scene.done('vm nic add "json:{a},b=c d" br0')
    (step,) = plan.steps
    assert isinstance(step, AddNic)
    assert scene.lab.virsh(A, "domiflist", domain.UUIDString()).count(step.mac) == 1
    (plan, _) = scene.done('vm disk add "json:{a},b=c d" 1G')
    (disk,) = plan.steps
    assert isinstance(disk, AddDisk)
    assert disk.volume.startswith("local/json-a-b-c-d-")


@pytest.mark.slow
def test_what_a_vm_has_only_while_it_runs_is_told_before_it_is_ended(scene: Scene) -> None:
    volume = (
        "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source pool='local' volume='kept.qcow2'/><target dev='vdb' bus='virtio'/></disk>"
        "<interface type='bridge'><source bridge='br0'/></interface>"
    )
    for name in ("kept", "hot", "copy"):
        image = str(scene.images / f"{name}.qcow2")
        scene.run("qemu-img", "create", "-q", "-f", "qcow2", image, "16M")
    scene.connection.storagePoolLookupByName("local").refresh(0)
    domain = scene.define("lively", boot=True, devices=volume)
    domain.create()

    def told() -> dict[str, str]:
        plan = scene.answer("vm shutdown lively")
        assert isinstance(plan, Plan), plan
        return {each.code: str(each.text) for each in plan.warnings}

    assert told() == {}
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    hot = "<driver name='qemu' type='qcow2'/><target dev='vdc' bus='virtio'/>"
    hot += f"<source file='{scene.pool}/hot.qcow2'/>"
    domain.attachDeviceFlags(f"<disk type='file' device='disk'>{hot}</disk>", live)
    mac = "52:54:00:12:34:56"
    nic = f"<interface type='bridge'><mac address='{mac}'/><source bridge='br0'/></interface>"
    domain.attachDeviceFlags(nic, live)
    assert f"lively has vdc, {mac} only while it runs" in told()["only-live"]
    target = f"<driver type='qcow2'/><source file='{scene.pool}/copy.qcow2'/>"
    how = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB | libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
    domain.blockCopy("vda", f"<disk type='file'>{target}</disk>", {}, how)
    assert "vda (`copy`)" in told()["block-job"]
    for line in ("vm snapshot create lively a", "vm disk grow lively vda 1G"):
        assert "vda (`copy`)" in scene.refused(line)["block-job"]
    with pytest.raises(libvirt.libvirtError):
        domain.snapshotCreateXML("<domainsnapshot><name>a</name></domainsnapshot>")
    with pytest.raises(libvirt.libvirtError):
        domain.blockResize("vda", 1 << 30, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def is_ready() -> bool:
        info = domain.blockJobInfo("vda")
        return bool(info) and info["cur"] == info["end"] and "ready='yes'" in domain.XMLDesc(0)

    until(is_ready, "the copy is as its source")
    domain.blockJobAbort("vda", libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    until(lambda: not domain.blockJobInfo("vda"), "the copy is the disk")
    assert "block-job" not in told()


@pytest.mark.slow
def test_a_disk_that_is_named_by_its_pool_grows_while_its_vm_is_off(scene: Scene) -> None:
    scene.run("qemu-img", "create", "-q", "-f", "qcow2", str(scene.images / "named.qcow2"), "16M")
    volume = (
        "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source pool='local' volume='named.qcow2'/><target dev='vda' bus='virtio'/></disk>"
    )
    scene.define("named", disk=False, devices=volume)
    scene.done("vm disk grow named vda 1G")
    told = scene.run("qemu-img", "info", str(scene.images / "named.qcow2"))
    assert "1 GiB" in told


# Snapshots


@pytest.mark.parametrize(
    "name", ["before upgrade", "2026-01-05 10:00", "vor Änderung", "v1.2+fix", "-x", "Bob’s"]
)
def test_snapshots_of_others_are_gone_back_to_and_removed_by_their_names(
    scene: Scene, name: str
) -> None:
    domain = scene.define("strange")
    scene.write("strange", 11)
    domain.snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>")
    scene.write("strange", 22)
    dashes = "-- " if name.startswith("-") else ""
    scene.done(f'vm snapshot revert {dashes}strange "{name}"')
    assert scene.holds("strange", 11)
    scene.done(f'vm snapshot delete {dashes}strange "{name}"')
    assert domain.snapshotNum() == 0


def test_a_typo_is_told_before_the_vote(scene: Scene) -> None:
    scene.define("typo")
    scene.done("vm snapshot create typo before-upgrade")
    for verb in ("revert", "delete"):
        assert (
            "before-upgrade"
            in scene.refused(f"vm snapshot {verb} typo befor-upgrade")["no-snapshot"]
        )
        assert (
            "vm snapshot list typo"
            in scene.refused(f"vm snapshot {verb} typo nosuch")["no-snapshot"]
        )
    assert "snapshot-exists" in scene.refused("vm snapshot create typo before-upgrade")


def test_an_external_snapshot_is_shown_as_such_and_no_revert_is_tried_where_libvirt_cannot(
    scene: Scene,
) -> None:
    domain = scene.define("outer")
    files = f"<disks><disk name='vda' snapshot='external'><source file='{scene.pool}/outer.snap'/></disk></disks>"
    domain.snapshotCreateXML(f"<domainsnapshot><name>ext</name>{files}</domainsnapshot>",
                             libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY)  # fmt: skip
    (taken,) = scene.hypervisor.snapshots(A, domain.UUIDString())
    assert taken.external
    old = scene.connection.getLibVersion() < 9_009_000
    assert isinstance(scene.answer("vm snapshot revert outer ext"), Refused if old else Plan)
    if old:
        told = scene.refused("vm snapshot revert outer ext")["external-snapshot"]
        assert "elete" not in told
        with pytest.raises(HypervisorError):
            scene.hypervisor.revert_snapshot(A, domain.UUIDString(), "ext")


def test_a_snapshot_named_by_a_number_is_neither_taken_nor_gone_back_to(scene: Scene) -> None:
    domain = scene.define("numbers")
    assert "number" in scene.refused("vm snapshot create numbers 2")
    # By others; QEMU numbers them from 1 on
    made = (("2", 22), ("1", 11), ("3", 44), ("20260105", 55))
    for name, pattern in made:
        scene.write("numbers", pattern)
        domain.snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>")
    scene.write("numbers", 33)
    domain.revertToSnapshot(domain.snapshotLookupByName("1"))
    assert scene.holds("numbers", 22), "what QEMU does with such a name: the wrong one"
    for name in ("1", "2"):
        assert "qemu-img snapshot" in scene.refused(f"vm snapshot revert numbers {name}")["number"]
    for name, pattern in made[2:]:
        scene.write("numbers", 33)
        scene.done(f"vm snapshot revert numbers {name}")
        assert scene.holds("numbers", pattern), "its own number, or one that no snapshot has"
    scene.done("vm snapshot delete numbers 2")
    left = scene.run("qemu-img", "snapshot", "-l", str(scene.images / "numbers.qcow2"))
    assert [line.split()[:2] for line in left.splitlines()[2:]] == [
        ["2", "1"],
        ["3", "3"],
        ["4", "20260105"],
    ]
    scene.write("numbers", 33)
    scene.done("vm snapshot revert numbers 1")
    assert scene.holds("numbers", 11), "nothing else has the number 1 any more"


def test_an_old_image_with_snapshots_is_not_grown(scene: Scene) -> None:
    for name, compat in (("old-image", "0.10"), ("new-image", "1.1")):
        scene.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"compat={compat}",
                  str(scene.images / f"{name}.qcow2"), "16M")  # fmt: skip
        scene.define(name)
        scene.connection.storagePoolLookupByName("local").refresh()
        scene.done(f"vm snapshot create {name} first")
    assert "compat=1.1" in scene.refused("vm disk grow old-image vda 1G")["snapshots"]
    with pytest.raises(HypervisorError):
        scene.hypervisor.grow_disk(A, scene.vm("old-image").uuid, "vda", 1024 * MIB)
    scene.run(
        "qemu-img",
        "amend",
        "-f",
        "qcow2",
        "-o",
        "compat=1.1",
        str(scene.images / "old-image.qcow2"),
    )
    scene.connection.storagePoolLookupByName("local").refresh()
    for name in ("old-image", "new-image"):
        scene.done(f"vm disk grow {name} vda 1G")


@pytest.mark.parametrize("firmware", ["named", "chosen"])
def test_whether_a_vm_with_uefi_can_have_a_snapshot_is_foreseen(
    scene: Scene, firmware: str
) -> None:
    code, variables = scene.images / "code.fd", scene.images / "uefi_VARS.fd"
    code.write_bytes(b"\0" * (1 << 20))
    variables.write_bytes(b"\0" * (1 << 18))
    nvram = f"<nvram>{scene.pool}/uefi_VARS.fd</nvram>"
    if firmware == "named":
        loader = f"<loader readonly='yes' type='pflash'>{scene.pool}/code.fd</loader>"
        scene.define("uefi", os=f"{loader}{nvram}", machine="q35")
    else:
        scene.define("uefi", os=nvram, machine="q35", firmware=" firmware='efi'")
    detail = scene.vm("uefi").detail
    assert detail is not None
    assert (detail.pflash, bool(detail.loader)) == (True, firmware == "named")
    foreseen = scene.answer("vm snapshot create uefi off")
    if isinstance(foreseen, Refused):
        assert [each.code for each in foreseen.objections] == ["uefi-snapshot"]
        with pytest.raises(HypervisorError, match="pflash"):
            scene.hypervisor.create_snapshot(A, scene.vm("uefi").uuid, "off")
    else:
        scene.done("vm snapshot create uefi off")


def test_a_running_vm_with_uefi_has_no_snapshot_with_its_memory(scene: Scene) -> None:
    code, variables = scene.images / "code.fd", scene.images / "uefi_VARS.fd"
    code.write_bytes(b"\0" * (1 << 20))
    variables.write_bytes(b"\0" * (1 << 18))
    firmware = f"<loader readonly='yes' type='pflash'>{scene.pool}/code.fd</loader><nvram>{scene.pool}/uefi_VARS.fd</nvram>"
    domain = scene.define("uefi-on", os=firmware, machine="q35")
    domain.create()
    assert "uefi-snapshot" in scene.refused("vm snapshot create uefi-on on")
    with pytest.raises(HypervisorError, match="pflash"):
        scene.hypervisor.create_snapshot(A, domain.UUIDString(), "on")


# Huge pages


def test_huge_pages_are_read_and_a_start_looks_whether_they_suffice(scene: Scene) -> None:
    setting = Path("/proc/sys/vm/nr_hugepages")
    before = setting.read_text()
    setting.write_text("32")
    try:
        if int(setting.read_text()) != 32:
            pytest.skip("this machine has no 32 huge pages to set aside")
        scene.define("huge", disk=False, more="<memoryBacking><hugepages/></memoryBacking>")
        scene.define("plain", disk=False)
        box = scene.hypervisor.snapshot(("huge",)).host(A)
        assert box.huge_pages is not None
        (pages,) = box.huge_pages
        assert (pages.size, pages.total, pages.free) == (2 * MIB, 32, 32)
        assert (
            "32 free huge pages of 2 MiB, huge needs 64"
            in scene.refused("vm start huge")["huge-pages"]
        )
        assert box.usable == box.memory - box.reserve - 64 * MIB
        assert isinstance(scene.answer("vm start plain"), Plan)
    finally:
        setting.write_text(before)


@pytest.mark.slow
def test_libvirt_starts_no_vm_on_cpus_or_numa_nodes_that_its_host_has_not(scene: Scene) -> None:
    pin = "<cputune><vcpupin vcpu='0' cpuset='{}'/></cputune>"
    elsewhere = scene.define("pinned", more=pin.format("900-901"))
    bound = scene.define("bound", more="<numatune><memory mode='strict' nodeset='7'/></numatune>")
    for domain, why in ((elsewhere, "affinity|cpuset"), (bound, "NUMA node 7 is unavailable")):
        with pytest.raises(libvirt.libvirtError, match=why):
            domain.create()
    host = scene.hypervisor.snapshot().host(A)

    def ties(name: str) -> Ties:
        detail = scene.vm(name).detail
        assert detail is not None
        return detail.ties

    assert ties("pinned").lacks_cpus(host) == {900, 901}
    assert ties("bound").lacks_numa_nodes(host) == {7}
    here = min(host.cpu_ids)
    scene.define("pinned-here", more=pin.format(here)).create()
    assert not ties("pinned-here").lacks_cpus(host)
    # Whether this one starts is up to the host's cgroups: here they refuse it
    scene.define("pinned-in-part", more=pin.format(f"{here},900"))
    assert ties("pinned-in-part").unknown_cpus(host) == {900}


@pytest.mark.slow
def test_what_a_vm_wrote_into_its_raw_disk_is_not_copied_as_an_image(scene: Scene) -> None:
    domain = scene.define("writer")  # its file is qcow2, which a VM may also have written
    scene.connection.defineXML(domain.XMLDesc(0).replace("type='qcow2'", "type='raw'", 1))
    told = scene.hypervisor.not_copyable(A, domain.UUIDString())
    assert [str(each) for each in told] == [
        "the disk vda (raw in the definition, but its content looks like qcow2)"
    ]
