"""What is planned, what is refused and why, and what makes an approved plan stale."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from bot import catalog
from bot.domain.card import Table
from bot.domain.cluster import (
    GIB,
    MIB,
    CpuFit,
    Disk,
    DiskThere,
    Health,
    Inbound,
    Lack,
    Listener,
    Nic,
    Pool,
    Scheduler,
    Seen,
    Snapshot,
    TargetLook,
    Ties,
    UsbDevice,
    Vm,
    VmDetail,
    VmState,
)
from bot.domain.errors import UsageError
from bot.domain.message import Code, Names, Words
from bot.domain.plan import Objection, Plan, Refused, Risk
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.domain.unread import Unread
from bot.testing import draw_cluster, uuid_of
from plugins.migrate import grammar, planner, preflight, queries
from plugins.migrate.grammar import About, Migrate
from plugins.migrate.settings import MigrateSettings

SETTINGS = MigrateSettings()
SHARED = Pool(
    "shared",
    "netfs",
    "/srv/shared",
    active=True,
    autostart=True,
    capacity=100 * GIB,
    free=50 * GIB,
    shared=True,
)
LOCAL = Pool(
    "local",
    "dir",
    "/var/lib/images",
    active=True,
    autostart=True,
    capacity=100 * GIB,
    free=50 * GIB,
)
ROOT = Disk("vda", "file", "/srv/shared/web-1.qcow2", cache="none", capacity=10 * GIB)
OWN = Disk("vdb", "file", "/var/lib/images/data.raw", capacity=20 * GIB)
ISO = Disk("sda", "file", "/var/lib/images/install.iso", device="cdrom", readonly=True)

Change = Callable[[Snapshot], Snapshot]


def cluster() -> Snapshot:
    seen = draw_cluster(
        """
        host-a 16cpu 64G reserve 2G | web-1 4G 2cpu load 0.5 dirty 1M autostart [env=prod owner=ann]
        host-b 16cpu 64G reserve 2G
        host-c 16cpu 64G reserve 2G | db-1 20G
        """
    )
    hosts = tuple(replace(host, pools=(LOCAL, SHARED)) for host in seen.hosts)
    fits = tuple(CpuFit(uuid_of("web-1"), host.name, fits=True) for host in hosts[1:])
    return vm_with(disks=(ROOT,))(replace(seen, hosts=hosts, cpu_fits=fits))


def vm_with(**detail: Any) -> Change:
    def change(seen: Snapshot) -> Snapshot:
        vms = (
            replace(vm, detail=replace(vm.detail or VmDetail(), **detail))
            if vm.name == "web-1"
            else vm
            for vm in seen.vms
        )
        return replace(seen, vms=tuple(vms))

    return change


def vm_is(**fields: Any) -> Change:
    def change(seen: Snapshot) -> Snapshot:
        return replace(
            seen, vms=tuple(replace(vm, **fields) if vm.name == "web-1" else vm for vm in seen.vms)
        )

    return change


def looked_at(*found: Lack) -> Change:
    """``host-b`` was asked for what web-1 needs, and lacks this."""
    return lambda seen: replace(seen, target_looks=(TargetLook(uuid_of("web-1"), "host-b", found),))


def lacks(kind: str, name: str) -> Change:
    return looked_at(Lack(kind, name))


def shows(host: str, *seen: Seen) -> Change:
    """``host`` was asked for web-1's disks, in their order."""

    def change(now: Snapshot) -> Snapshot:
        vm = now.vm("web-1")
        assert vm.detail
        found = tuple(
            DiskThere(disk.target, each) for disk, each in zip(vm.detail.disks, seen, strict=True)
        )
        return replace(now, target_looks=(*now.target_looks, TargetLook(vm.uuid, host, (), found)))

    return change


def host_is(name: str, **fields: Any) -> Change:
    def change(seen: Snapshot) -> Snapshot:
        return replace(
            seen,
            hosts=tuple(
                replace(host, **fields) if host.name == name else host for host in seen.hosts
            ),
        )

    return change


def also(vm: Callable[[Vm], Vm]) -> Change:
    return lambda seen: replace(seen, vms=(*seen.vms, vm(seen.vm("web-1"))))


def both(*changes: Change) -> Change:
    def change(seen: Snapshot) -> Snapshot:
        for each in changes:
            seen = each(seen)
        return seen

    return change


def instead(text: str) -> Change:
    return lambda _: draw_cluster(text)


def only_host(seen: Snapshot) -> Snapshot:
    return replace(seen, hosts=seen.hosts[:1], vms=seen.vms[:1])


def unfit(seen: Snapshot) -> Snapshot:
    return replace(
        seen, cpu_fits=(CpuFit(uuid_of("web-1"), "host-b", fits=False, why="avx512f is missing"),)
    )


def moving(seen: Snapshot) -> Snapshot:
    return replace(seen, inbound=(Inbound(uuid_of("web-1"), "host-a", "host-c", 4 * GIB, "op-9"),))


def test_a_vm_whose_system_crashed_is_not_moved_but_started_anew() -> None:
    seen = vm_is(state=VmState.PAUSED, paused_by="crashed")(cluster())
    said = planner.plan(SETTINGS, TO_B, seen, ())
    assert isinstance(said, Refused)
    assert [each.code for each in said.objections] == ["vm-crashed"]
    assert "`/kvm vm reboot web-1`" in str(said.objections[0].remedy)


def two_of_a_name(seen: Snapshot) -> Snapshot:
    return also(lambda vm: replace(vm, uuid=uuid_of("another"), host="host-c"))(seen)


TO_B = Migrate("web-1", "host-b")
COPY = replace(TO_B, copy_storage=True)

# code → (what is different, the intent, a word that the text or the remedy must have)
REFUSALS: dict[str, tuple[Change, Migrate, str]] = {
    "unknown-vm": (lambda seen: seen, replace(TO_B, vm="web-2"), "web-1"),
    "ambiguous-vm": (two_of_a_name, TO_B, "UUID"),
    "unknown-host": (lambda seen: seen, replace(TO_B, to="host-bb"), "host-b"),
    "vm-off": (vm_is(state=VmState.SHUT_OFF), TO_B, "Start it first: `/kvm vm start web-1`."),
    "vm-crashed": (vm_is(state=VmState.CRASHED), TO_B, "log"),
    "paused-postcopy": (vm_is(state=VmState.PAUSED, paused_by="user"),
                        replace(TO_B, policy=MigrationPolicy.POSTCOPY), "`/kvm migrate web-1`"),
    "vm-state": (vm_is(state=VmState.SHUTTING_DOWN), TO_B, "shutting down"),
    "io-error": (vm_is(state=VmState.PAUSED, paused_by="ioerror"), TO_B, "storage"),
    "half-moved": (vm_is(state=VmState.PAUSED, paused_by="migration"), TO_B, "both hosts"),
    "post-copy-failed": (vm_is(paused_by="postcopy failed"), TO_B, "vm reboot web-1"),
    "moving": (moving, TO_B, "op-9"),
    "running-twice": (also(lambda vm: replace(vm, host="host-c")), TO_B, "host-c"),
    "source-unreachable": (instead("host-a 4cpu 8G down | web-1 1G\nhost-b 4cpu 8G"), TO_B, "not dead"),
    "job-active": (vm_with(job="backup"), TO_B, "backup"),
    "block-job": (vm_with(disks=(replace(ROOT, busy="active-commit"),)), TO_B, "active-commit"),
    "host-devices": (vm_with(hostdevs=("PCI 0000:3b:00.0",)), TO_B, "SR-IOV"),
    "snapshots": (vm_with(snapshots=2), TO_B, "2 snapshots"),
    "invtsc": (vm_with(cpu_features=("invtsc",)), TO_B, "clock"),
    "disk-cache": (
        both(vm_with(disks=(replace(ROOT, cache="writeback"),)), host_is("host-a", hypervisor_version=3_001_000)),
        TO_B, "QEMU to 4.0"),
    "local-media": (vm_with(disks=(ROOT, ISO)), TO_B, "vm eject web-1 sda"),
    "local-disk": (vm_with(disks=(ROOT, OWN)), TO_B, "--copy-storage"),
    "nothing-to-copy": (lambda seen: seen, COPY, "Leave out"),
    "tpm": (vm_with(tpm="passthrough"), TO_B, "TPM of its host"),
    "shmem": (vm_with(ties=Ties(shmem=("kvmfr",))), TO_B, "kvmfr"),
    "launch-security": (vm_with(ties=Ties(launch_security="sev")), TO_B, "sev"),
    "transient-disk": (vm_with(disks=(replace(ROOT, transient=True),)), TO_B, "vda"),
    "graphics-address": (vm_with(ties=Ties(listeners=(Listener("vnc", "10.0.0.1"),))), TO_B, "10.0.0.1"),
    "graphics-port": (both(vm_with(ties=Ties(listeners=(Listener("vnc", "", frozenset({5955}), fixed=True),))),
                           also(lambda vm: replace(vm, name="db-2", uuid=uuid_of("db-2"), host="host-b"))),
                      replace(TO_B, vm="web-1"), "db-2 uses"),
    "emulator": (lacks("emulator", "/opt/qemu"), TO_B, "Install it at that path on host-b"),
    "tpm-emulator": (lacks("tpm-emulator", "swtpm"), TO_B, "swtpm-tools"),
    "secret": (lacks("secret", "0a81"), TO_B, "secret-define"),
    "folder": (lacks("folder", "/run/app"), TO_B, "/run/app"),
    "network-device": (lacks("network-device", "eno7"), TO_B, "eno7"),
    "usb-device": (lacks("usb-device", "USB 046d:c52b"), TO_B, "Plug one into host-b"),
    "shared-dirs": (vm_with(shared_dirs=("/srv/src",)), TO_B, "/srv/src"),
    "no-other-host": (only_host, Migrate("web-1"), "host-a"),
    "same-host": (lambda seen: seen, replace(TO_B, to="host-a"), "already"),
    "same-host-uuid": (host_is("host-b", uuid=uuid_of("host-a")), TO_B, "host_uuid"),
    "same-hostname": (host_is("host-b", hostname="host-a"), TO_B, "hostnamectl"),
    "localhost": (host_is("host-b", hostname="localhost.localdomain"), TO_B, "/etc/hosts"),
    "arch": (host_is("host-b", arch="aarch64"), TO_B, "aarch64"),
    "network": (host_is("host-b", bridges=frozenset()), TO_B, "bridge br0"),
    "other-storage": (both(host_is("host-a", pools=(replace(SHARED, source="/a"), LOCAL)),
                           host_is("host-b", pools=(replace(SHARED, source="/b"), LOCAL))), TO_B, "/b on host-b"),
    "pool": (host_is("host-b", pools=(LOCAL,)), TO_B, "shared (/srv/shared)"),
    "pools-unread": (host_is("host-b", pools=(), unread=(Unread("pool", "", "no virtstoraged"),)), TO_B,
                     "no virtstoraged"),
    "not-copyable": (vm_with(disks=(ROOT, replace(OWN, kind="block", source="/dev/vg/data"))), COPY, "/dev/vg/data"),
    "pool-full": (both(vm_with(disks=(ROOT, OWN)), host_is("host-b", pools=(SHARED, replace(LOCAL, free=GIB)))),
                  COPY, "1 GiB"),
    "same-file": (both(vm_with(disks=(OWN,)), shows("host-b", Seen.SAME)), COPY, "/images/data.raw"),
    "file-there": (both(vm_with(disks=(OWN,)), shows("host-b", Seen.OTHER)), COPY, "shared = true"),
    "backing-file": (vm_with(disks=(OWN,), ties=Ties(bases=("/srv/tmpl.qcow2",))), COPY, "blockpull"),
    "cpu": (unfit, TO_B, "avx512f is missing"),
    "cpu-passthrough": (
        both(vm_with(cpu_mode="host-passthrough"), host_is("host-b", cpu_model="Skylake")), TO_B, "Skylake"),
    "cpu-pins": (both(vm_with(ties=Ties(pins=(frozenset({0, 12}), frozenset({12, 13})))),
                      host_is("host-b", cpu_ids=frozenset(range(4)))), TO_B, "(12, 13)"),
    "numa-nodes": (both(vm_with(ties=Ties(numa_nodes=frozenset({0, 1}))),
                        host_is("host-b", numa_nodes=frozenset({0}))), TO_B, "does not have: 1"),
    "machine": (host_is("host-b", machines=frozenset({"pc-q35-6.2"})), TO_B, "pc-q35-7.2"),
    "name-taken": (also(lambda vm: replace(vm, uuid=uuid_of("another"), host="host-b", state=VmState.SHUT_OFF)),
                   replace(TO_B, vm=uuid_of("web-1")), "Rename"),
    "leftover": (also(lambda vm: replace(vm, host="host-b", state=VmState.SHUT_OFF)), TO_B, "virsh undefine"),
    # the core's own rules
    "host-unreachable": (instead("host-a 4cpu 8G | web-1 1G\nhost-b 4cpu 8G down"), TO_B, "host-b"),
    "maintenance": (host_is("host-b", maintenance=True), TO_B, "maintenance"),
    "memory": (host_is("host-b", memory=3 * GIB), TO_B, "needs 4 GiB"),
}  # fmt: skip
STALE = {
    "gone",
    "moved",
    "renamed",
    "memory-changed",
    "carried-changed",
    "riskier",
}  # only an approved plan meets these


def planned(
    intent: Migrate, seen: Snapshot, *rules: Any, settings: MigrateSettings = SETTINGS
) -> Plan:
    plan = planner.plan(settings, intent, seen, rules)
    assert isinstance(plan, Plan), plan
    return plan


def refused(intent: Migrate, seen: Snapshot, *rules: Any) -> tuple[Objection, ...]:
    answer = planner.plan(SETTINGS, intent, seen, rules)
    assert isinstance(answer, Refused), answer
    return answer.objections


def step_of(plan: Plan) -> MigrateVm:
    (step,) = plan.steps
    assert isinstance(step, MigrateVm)
    return step


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_is_foreseen_and_says_what_to_do(code: str) -> None:
    change, intent, word = REFUSALS[code]
    found = [each for each in refused(intent, change(cluster())) if each.code == code]
    assert len(found) == 1
    assert word in f"{found[0].text} {found[0].remedy}"
    assert found[0].remedy


def test_a_host_whose_interfaces_cannot_be_read_is_not_held_to_lack_a_bridge() -> None:
    """As without virtinterfaced: the move is planned, with what could not be checked."""
    unread = (Unread("interface", "", "no virtinterfaced"),)
    found = planned(TO_B, host_is("host-b", bridges=frozenset(), unread=unread)(cluster()))
    assert "br0" in repr(found.warnings)


def test_every_objection_that_the_plugin_can_make_is_in_the_tables() -> None:
    folder = Path(planner.__file__).parent
    source = "".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py")))
    codes = set(re.findall(r'Objection\(\s*"([a-z-]+)"', source))
    assert codes - STALE <= REFUSALS.keys()
    assert codes > STALE


OLD = 7_000_000


@pytest.mark.parametrize("change", [
    vm_with(tpm="emulator"),
    vm_with(nvram="/var/lib/libvirt/qemu/nvram/web-1_VARS.fd", pflash=True),
    vm_with(cpu_features=("invtsc",), ties=Ties(tsc_frequency=2_400_000_000)),
    vm_with(ties=Ties(listeners=(Listener("vnc", "::"), Listener("spice", "127.0.0.1"), Listener("vnc", "")))),
    *(vm_with(disks=(replace(ROOT, cache=cache),)) for cache in ("", "writeback", "writethrough", "unsafe")),
    host_is("host-b", hostname="localhost", migrate_address="10.0.0.2"),
])  # fmt: skip
def test_what_todays_libvirt_and_qemu_move_is_planned(change: Change) -> None:
    assert not planned(TO_B, change(cluster())).warnings


@pytest.mark.parametrize(("old", "code"), [
    (both(vm_with(tpm="emulator"), host_is("host-a", libvirt_version=OLD)), "tpm"),
    (both(vm_with(tpm="emulator"), host_is("host-b", libvirt_version=OLD)), "tpm"),
    (both(vm_with(tpm="external")), "tpm"),
    (both(vm_with(disks=(replace(ROOT, cache=""),)), host_is("host-a", libvirt_version=5_005_000)), "disk-cache"),
])  # fmt: skip
def test_what_the_versions_that_were_read_cannot_move_is_refused(old: Change, code: str) -> None:
    assert [each.code for each in refused(TO_B, old(cluster()))] == [code]


@pytest.mark.parametrize("version", ["libvirt_version", "hypervisor_version"])
def test_a_version_that_could_not_be_read_is_no_reason_to_refuse_a_cached_disk(
    version: str,
) -> None:
    cached = vm_with(disks=(replace(ROOT, cache="writeback"),))
    assert planned(TO_B, both(cached, host_is("host-a", **{version: 0}))(cluster()))


def test_the_way_back_to_an_older_qemu_with_the_machine_type_is_planned_with_a_warning() -> None:
    seen = host_is("host-b", hypervisor_version=6_002_000)(cluster())
    (warning,) = planned(TO_B, seen).warnings
    assert warning.code == "older-qemu"
    told = str(warning.text)
    assert "QEMU on host-b (6.2.0) is older than on host-a (7.2.0)" in told
    assert "machine type" in told
    back = replace(TO_B, vm="db-1", to="host-a")
    assert not [each for each in planned(back, seen).warnings if each.code == "older-qemu"]


def test_one_cpu_that_two_versions_of_libvirt_name_differently_is_one() -> None:
    """Libvirt 9 says EPYC, libvirt 11 EPYC-v1; the CPU tells both the same signature."""
    passed = vm_with(cpu_mode="host-passthrough")
    named = both(
        host_is("host-a", cpu_signature="family 26, model 2"),
        host_is("host-b", cpu_model="EPYC-v1", cpu_signature="family 26, model 2"),
    )
    assert planned(TO_B, both(passed, named)(cluster()))
    other = host_is("host-b", cpu_model="Skylake", cpu_signature="family 6, model 85")
    assert [each.code for each in refused(TO_B, both(passed, named, other)(cluster()))] == [
        "cpu-passthrough"
    ]


def test_an_older_qemu_without_the_machine_type_is_refused_for_that_alone() -> None:
    older = host_is("host-b", hypervisor_version=6_002_000, machines=frozenset({"pc-q35-6.2"}))
    assert [each.code for each in refused(TO_B, older(cluster()))] == ["machine"]


def test_a_port_that_libvirt_chooses_anew_is_in_nobodys_way() -> None:
    auto = Ties(listeners=(Listener("vnc", "", frozenset({5900})),))
    seen = both(
        vm_with(ties=auto),
        also(lambda vm: replace(vm, name="db-2", uuid=uuid_of("db-2"), host="host-b")),
    )
    assert planned(TO_B, seen(cluster()))


def test_secrets_that_the_target_was_asked_for_are_not_warned_of() -> None:
    seen = both(vm_with(secrets=True, ties=Ties(secrets=("0a81",))), looked_at())(cluster())
    assert not planned(TO_B, seen).warnings


def test_a_plain_case_is_planned() -> None:
    plan = planned(TO_B, cluster())
    step = step_of(plan)
    assert (step.name, step.source, step.target, step.memory) == (
        "web-1",
        "host-a",
        "host-b",
        4 * GIB,
    )
    assert step.carried.autostart
    assert not step.carried.paused
    assert plan.risk is Risk.MEDIUM
    assert plan.tags == ("env=prod", "owner=ann")
    assert plan.blast.vms == ("web-1",)
    assert plan.blast.hosts == ("host-a", "host-b")
    assert plan.blast.memory == 4 * GIB
    assert plan.warnings == ()
    assert [each.code for each in plan.reasons] == ["asked-for"]
    assert plan.prediction.converges is True
    assert "assumed" in str(plan.prediction.basis)


def test_all_objections_come_at_once_the_vms_own_first() -> None:
    seen = both(
        vm_with(hostdevs=("USB 046d:c52b",), snapshots=1),
        host_is("host-b", maintenance=True, bridges=frozenset()),
    )(cluster())
    assert [each.code for each in refused(TO_B, seen)] == [
        "host-devices",
        "snapshots",
        "maintenance",
        "network",
    ]


def test_without_a_host_the_least_full_is_chosen_and_the_others_are_named() -> None:
    seen = replace(
        cluster(),
        hosts=(
            *cluster().hosts,
            replace(cluster().host("host-b"), name="host-d", maintenance=True),
        ),
    )
    plan = planned(Migrate("web-1"), seen)
    assert step_of(plan).target == "host-b"
    assert [each.code for each in plan.reasons] == ["chosen", "runner-up", "ruled-out"]
    assert "host-b" in str(plan.reasons[0].text)
    assert "host-c" in str(plan.reasons[1].text)
    assert "host-d" in str(plan.reasons[2].text)


def test_many_hosts_that_are_out_are_counted_not_listed() -> None:
    resting = replace(cluster().host("host-b"), maintenance=True)
    seen = replace(
        cluster(), hosts=(*cluster().hosts, *(replace(resting, name=f"rest-{n}") for n in range(9)))
    )
    reasons = planned(Migrate("web-1"), seen).reasons
    assert [each.code for each in reasons] == [
        "chosen",
        "runner-up",
        *["ruled-out"] * (planner.NAMED_HOSTS + 1),
    ]
    assert "5 more hosts" in str(reasons[-1].text)


def test_without_a_host_and_without_room_every_host_says_why_not() -> None:
    seen = both(host_is("host-b", maintenance=True), host_is("host-c", memory=GIB))(cluster())
    assert [each.code for each in refused(Migrate("web-1"), seen)] == ["maintenance", "memory"]


def test_another_plugins_rule_is_obeyed() -> None:
    def keep_apart(snapshot: Snapshot, vm: Vm, host: str) -> Objection | None:
        return (
            Objection("anti-affinity", "db-1 is there.", "Choose another.")
            if host == "host-b"
            else None
        )

    assert [each.code for each in refused(TO_B, cluster(), keep_apart)] == ["anti-affinity"]
    assert step_of(planned(Migrate("web-1"), cluster(), keep_apart)).target == "host-c"


PCI = vm_with(hostdevs=("PCI 0000:3b:00.0",))
VDPA = vm_with(nics=(Nic("vdpa", "/dev/vhost-vdpa-0"),))
NINE_P = vm_with(shared_dirs=("/srv/src",))
VIRTIOFS = vm_with(shared_dirs=("/srv/src",), ties=Ties(virtiofs=True))
TRY = vm_is(tags={"device-migration": "try"})


def releases(libvirt: int, qemu: int) -> Change:
    each = {"libvirt_version": libvirt, "hypervisor_version": qemu}
    return both(host_is("host-a", **each), host_is("host-b", **each))


@pytest.mark.parametrize(
    ("devices", "libvirt", "qemu", "moves"),
    [
        (PCI, 8_005_000, 7_002_000, False),
        (PCI, 8_006_000, 5_002_000, False),
        (PCI, 8_006_000, 6_000_000, True),
        (VDPA, 8_000_000, 7_002_000, False),
        (VDPA, 9_000_000, 7_002_000, True),
        (NINE_P, 7_000_000, 5_002_000, True),
        (VIRTIOFS, 9_000_000, 7_002_000, False),
        (VIRTIOFS, 11_003_000, 7_002_000, False),
        (VIRTIOFS, 11_003_000, 10_000_000, True),
    ],
)
def test_devices_that_only_qemu_can_judge_are_tried_where_libvirt_asks_it_and_somebody_wants_it(
    devices: Change, libvirt: int, qemu: int, *, moves: bool
) -> None:
    seen = both(devices, releases(libvirt, qemu))(cluster())
    (against,) = refused(TO_B, seen)
    assert against.code in {"host-devices", "shared-dirs"}
    advice = "`/kvm vm tag web-1 device-migration=try`" if moves else "cannot be migrated at all"
    assert advice in str(against.remedy)
    tried = both(devices, releases(libvirt, qemu), TRY)(cluster())
    if not moves:
        assert [each.code for each in refused(TO_B, tried)] == [against.code]
        return
    assert "devices-tried" in {each.code for each in planned(TO_B, tried).warnings}


def test_usb_devices_are_changed_for_those_of_the_other_host() -> None:
    usb = (UsbDevice("USB 046d:c52b"), UsbDevice("USB 1:4", needed=False))
    seen = vm_with(hostdevs=tuple(each.name for each in usb), ties=Ties(usb=usb))(cluster())
    needed, spare = planned(TO_B, seen).warnings
    assert (needed.code, spare.code) == ("usb-devices", "usb-left-out")
    assert "those of host-b: USB 046d:c52b." in str(needed.text)
    assert "loses USB devices: USB 1:4." in str(spare.text)


def test_the_rules_of_the_catalog_do_not_say_things_twice() -> None:
    rules = catalog.load(["migrate"]).rules
    seen = both(vm_with(hostdevs=("USB 1:2",)), host_is("host-b", maintenance=True))(cluster())
    assert [each.code for each in refused(TO_B, seen, *rules)] == ["host-devices", "maintenance"]


@pytest.mark.parametrize(
    ("disk", "declared"),
    [
        (Disk("vdb", "nvme", "NVME 0000:01:00.0/1"), False),
        (Disk("vdb", "block", "/dev/vg/data"), True),
        (Disk("vdb", "file", "/var/lib/images/data.raw", shareable=True), True),
    ],
)
def test_no_copy_is_advised_that_would_be_refused(disk: Disk, declared: bool) -> None:  # noqa: FBT001
    seen = vm_with(disks=(ROOT, disk))(cluster())
    (told,) = refused(TO_B, seen)
    assert told.code == "local-disk"
    assert "--copy-storage" not in str(told.remedy)
    assert "libvirt cannot copy vdb to another host. Move them to files" in str(told.remedy)
    assert ("`[[pools]]`" in str(told.remedy)) == declared
    assert "not-copyable" in {each.code for each in refused(COPY, seen)}


def test_the_placement_rule_tells_other_plugins_what_cannot_move() -> None:
    seen = vm_with(disks=(OWN,))(cluster())
    found = preflight.can_move(seen, seen.vm("web-1"), "host-b")
    assert found is not None
    assert found.code == "local-disk"
    assert preflight.can_move(seen, seen.vm("web-1"), "host-a") is None
    assert (
        preflight.can_move(seen, replace(seen.vm("web-1"), state=VmState.SHUT_OFF), "host-b")
        is None
    )


def test_its_own_placement_rule_does_not_forbid_what_copying_allows() -> None:
    seen = vm_with(disks=(ROOT, OWN))(cluster())
    plan = planned(COPY, seen, preflight.can_move)
    assert step_of(plan).copy_storage
    assert plan.blast.storage == 20 * GIB
    assert plan.prediction.seconds is not None
    assert plan.prediction.seconds > 20 * GIB / (100 * MIB)


def test_copying_needs_a_pool_at_the_same_path() -> None:
    seen = both(vm_with(disks=(ROOT, OWN)), host_is("host-b", pools=(SHARED,)))(cluster())
    (found,) = refused(COPY, seen)
    assert found.code == "pool"
    assert "/var/lib/images" in str(found.text)


def pools_of(*pools: tuple[str, Pool]) -> Change:
    return both(*(host_is(host, pools=(pool, LOCAL)) for host, pool in pools))


NAMED = Disk("vda", "volume", "shared/web-1", cache="none")


@pytest.mark.parametrize("disk", [ROOT, NAMED])
def test_a_pool_of_another_export_is_other_storage(disk: Disk) -> None:
    here, there = (replace(SHARED, source=each) for each in ("/export/a", "/export/b"))
    seen = both(vm_with(disks=(disk,)), pools_of(("host-a", here), ("host-b", there)))(cluster())
    (found,) = refused(TO_B, seen)
    assert found.code == "other-storage"
    assert "is /export/a on host-a and /export/b on host-b" in str(found.text)
    known = tuple(replace(each, declared=True) for each in (here, there))
    seen = pools_of(*zip(("host-a", "host-b"), known, strict=True))(seen)
    assert step_of(planned(TO_B, seen)).target == "host-b"


@pytest.mark.parametrize("disk", [ROOT, NAMED])
def test_a_local_pool_of_a_shared_ones_name_and_path_is_not_that_pool(disk: Disk) -> None:
    other = replace(SHARED, kind="dir", shared=False)
    seen = both(vm_with(disks=(disk,)), host_is("host-b", pools=(other, LOCAL)))(cluster())
    assert [each.code for each in refused(TO_B, seen)] == ["pool"]


@pytest.mark.parametrize(
    ("here", "there", "warns"),
    [
        (("nas-1",), ("nas-2",), True),
        (("nas",), ("10.0.0.9",), True),
        (("mon-1", "mon-2"), ("mon-2", "mon-3"), False),
        (("nas",), (), False),
    ],
)
def test_a_server_that_is_called_otherwise_on_the_target_is_a_warning(
    here: tuple[str, ...],
    there: tuple[str, ...],
    warns: bool,  # noqa: FBT001
) -> None:
    one, other = (replace(SHARED, servers=each) for each in (here, there))
    seen = both(vm_with(disks=(ROOT,)), pools_of(("host-a", one), ("host-b", other)))(cluster())
    told = {each.code: str(each.text) for each in planned(TO_B, seen).warnings}
    assert ("other-server" in told) is warns
    known = tuple(replace(each, declared=True) for each in (one, other))
    seen = pools_of(*zip(("host-a", "host-b"), known, strict=True))(seen)
    assert "other-server" not in {each.code for each in planned(TO_B, seen).warnings}


def test_a_path_that_is_declared_as_shared_needs_no_shared_pool() -> None:
    pool = replace(SHARED, kind="dir", shared=False)
    seen = vm_with(disks=(ROOT,))(cluster())
    for name in ("host-a", "host-b"):
        seen = host_is(name, pools=(pool, LOCAL), shared_paths=(pool.path,))(seen)
    assert step_of(planned(TO_B, seen)).target == "host-b"
    seen = host_is("host-b", shared_paths=())(seen)
    assert [each.code for each in refused(TO_B, seen)] == ["pool"]


def test_volumes_are_looked_for_by_the_pools_name() -> None:
    volume = Disk("vda", "volume", "shared/web-1", cache="none")
    assert step_of(planned(TO_B, vm_with(disks=(volume,))(cluster()))).target == "host-b"
    without = both(
        vm_with(disks=(volume,)), host_is("host-b", pools=(replace(SHARED, active=False),))
    )(cluster())
    assert [each.code for each in refused(TO_B, without)] == ["pool"]


@pytest.mark.parametrize("disk", [
    Disk("vda", "network", "nbd://storage:10809/web-1"),
    replace(ROOT, cache="directsync"),
    replace(ROOT, cache="", shareable=True),
    Disk("sda", "file", "", device="cdrom"),
    replace(ISO, source="/srv/shared/install.iso"),
])  # fmt: skip
def test_disks_that_are_safe_to_move(disk: Disk) -> None:
    assert step_of(planned(TO_B, vm_with(disks=(disk,))(cluster()))).target == "host-b"


@pytest.mark.parametrize(("change", "code"), [
    (vm_is(dirty_rate=None), "dirty-unknown"),
    (vm_is(detail=None), "not-read"),
    (lambda seen: replace(seen, cpu_fits=()), "cpu-unknown"),
    (vm_with(nics=(Nic("direct", "eno1"),)), "network-unknown"),
    (vm_with(nics=(Nic("bridge", "ovs0"),)), "network-unknown"),
    (vm_with(secrets=True), "secrets"),
    (vm_with(hugepages=True), "hugepages"),
    (vm_with(memory_locked=True), "memory-locked"),
    (vm_with(checkpoints=2), "checkpoints"),
    (both(vm_with(ties=Ties(pins=(frozenset({0, 12}),))), host_is("host-b", cpu_ids=frozenset({0, 1}))), "cpu-pins"),
    (vm_with(ties=Ties(folders=("/run/app",))), "folders-unknown"),
    (vm_with(ties=Ties(listeners=(Listener("vnc", "", frozenset({5955}), fixed=True),))), "ports-unknown"),
    (vm_is(persistent=False, autostart=False), "transient"),
    (vm_is(dirty_rate=float(GIB)), "no-convergence"),
])  # fmt: skip
def test_what_cannot_be_foreseen_is_a_warning(change: Change, code: str) -> None:
    assert [each.code for each in planned(TO_B, change(cluster())).warnings] == [code]


def test_a_disk_of_unknown_size_is_mentioned_when_it_is_copied() -> None:
    seen = vm_with(disks=(replace(OWN, capacity=None),))(cluster())
    assert [each.code for each in planned(COPY, seen).warnings] == ["old-files", "size-unknown"]


def test_postcopy_and_what_does_not_converge_are_of_high_risk() -> None:
    assert planned(replace(TO_B, policy=MigrationPolicy.POSTCOPY), cluster()).risk is Risk.HIGH
    assert planned(TO_B, vm_is(dirty_rate=float(GIB))(cluster())).risk is Risk.HIGH


def test_a_paused_vm_writes_nothing_and_is_carried_paused() -> None:
    plan = planned(TO_B, vm_is(state=VmState.PAUSED, paused_by="user", dirty_rate=None)(cluster()))
    assert step_of(plan).carried.paused
    assert plan.prediction.converges is True


def test_the_configured_bandwidth_holds_unless_the_person_gives_another() -> None:
    slow = MigrateSettings(bandwidth_mib_s=10)
    assert step_of(planned(TO_B, cluster(), settings=slow)).bandwidth == 10
    plan = planned(replace(TO_B, bandwidth=50), cluster(), settings=slow)
    assert step_of(plan).bandwidth == 50
    assert "assumed" not in str(plan.prediction.basis)
    assert "50 MiB/s" in str(plan.prediction.basis)


def test_the_waiting_copy_of_a_migration_outside_is_a_move_not_a_disaster() -> None:
    seen = also(lambda vm: replace(vm, host="host-c", state=VmState.PAUSED, paused_by="migration"))(
        cluster()
    )
    assert [each.code for each in refused(TO_B, seen)] == ["moving"]


def test_a_silent_host_that_last_had_it_counts_as_having_it() -> None:
    seen = draw_cluster("host-a 8cpu 8G | web-1 1G\nhost-b 8cpu 8G\nhost-c 8cpu 8G down")
    seen = also(lambda vm: replace(vm, host="host-c"))(seen)
    (found,) = refused(TO_B, seen)
    assert found.code == "running-twice"
    assert "last seen" in str(found.text)


def test_of_a_silent_host_only_its_silence_is_reported() -> None:
    seen = host_is(
        "host-b", health=Health.UNREACHABLE, bridges=frozenset(), machines=frozenset({"pc"})
    )(cluster())
    assert [each.code for each in refused(TO_B, seen)] == ["host-unreachable"]


# --- still good
# ---------------------------------------------------------------------------------------------------


def still(intent: Migrate, change: Change, *rules: Any) -> list[str]:
    plan = planned(intent, cluster(), *rules)
    return [
        each.code for each in planner.still_good(SETTINGS, intent, plan, change(cluster()), rules)
    ]


def test_nothing_changed_is_still_good() -> None:
    assert still(TO_B, lambda seen: seen) == []


@pytest.mark.parametrize(("change", "code"), [
    (lambda seen: replace(seen, vms=seen.vms[1:]), "gone"),
    (vm_is(host="host-c"), "moved"),
    (vm_is(name="web-one"), "renamed"),
    (vm_is(memory=5 * GIB), "memory-changed"),
    (vm_is(autostart=False), "carried-changed"),
    (vm_is(state=VmState.PAUSED, paused_by="user"), "carried-changed"),
    (vm_is(scheduler=Scheduler(vcpu_period=100_000, vcpu_quota=30_000)), "carried-changed"),
    (vm_is(dirty_rate=float(GIB)), "riskier"),
    (vm_is(state=VmState.SHUT_OFF), "vm-off"),
    (host_is("host-b", maintenance=True), "maintenance"),
    (host_is("host-b", memory=GIB), "memory"),
    (vm_with(hostdevs=("USB 1:2",)), "host-devices"),
    (lambda seen: replace(seen, hosts=(seen.hosts[0], seen.hosts[2])), "unknown-host"),
])  # fmt: skip
def test_what_makes_an_approved_plan_stale(change: Change, code: str) -> None:
    assert still(TO_B, change) == [code]


def test_what_changed_is_said_exactly() -> None:
    plan = planned(TO_B, cluster())
    capped = vm_is(scheduler=Scheduler(vcpu_period=100_000, vcpu_quota=30_000), autostart=False)(
        cluster()
    )
    (found,) = planner.still_good(SETTINGS, TO_B, plan, capped, ())
    assert "autostart yes → no" in str(found.text)
    assert "CPU scheduling no limit → limit 30% per vCPU" in str(found.text)


def test_a_chosen_host_need_not_be_the_best_any_more() -> None:
    intent = Migrate("web-1")
    assert step_of(planned(intent, cluster())).target == "host-b"

    def fuller(seen: Snapshot) -> Snapshot:
        return replace(
            seen,
            vms=(
                *seen.vms,
                replace(
                    seen.vm("db-1"),
                    name="db-2",
                    uuid=uuid_of("db-2"),
                    host="host-b",
                    memory=40 * GIB,
                ),
            ),
        )

    assert step_of(planned(intent, fuller(cluster()))).target == "host-c"
    assert still(intent, fuller) == []


def test_one_changed_page_of_a_sample_makes_no_approved_plan_stale() -> None:
    slow = replace(TO_B, bandwidth=1)
    plan = planned(slow, vm_is(dirty_rate=0.0)(cluster()))
    codes = {
        rate: [each.code for each in planner.still_good(SETTINGS, slow, plan, seen, ())]
        for rate in (0, 2, 4, 8)
        for seen in [vm_is(dirty_rate=float(rate * MIB))(cluster())]
    }
    assert codes == {0: [], 2: [], 4: [], 8: ["riskier"]}


def test_a_dirty_rate_that_grew_within_reason_is_no_reason_to_stop() -> None:
    assert still(TO_B, vm_is(dirty_rate=20.0 * MIB)) == []


# --- grammar
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "intent"), [
    ("web-1", Migrate("web-1")),
    ("web-1 host-b", Migrate("web-1", "host-b")),
    ("web-1 to host-b", Migrate("web-1", "host-b")),
    ("--policy FAST web-1 TO host-b", Migrate("web-1", "host-b", MigrationPolicy.FAST)),
    ("web-1 --copy-storage --bandwidth 20", Migrate("web-1", copy_storage=True, bandwidth=20)),
])  # fmt: skip
def test_the_ways_to_ask(typed: str, intent: Migrate) -> None:
    assert grammar.migrate_grammar().main(typed.split(), standalone_mode=False) == intent


def test_a_reason_of_several_words() -> None:
    asked = grammar.migrate_grammar().main(
        ["web-1", "--reason", " disk swap "], standalone_mode=False
    )
    assert asked.reason == "disk swap"


@pytest.mark.parametrize(("typed", "word"), [
    ("", "VM"),
    ("web-1 to", "which host"),
    ("web-1 to host-b for repair", "“for”"),
    ("web-1 --policy quick", "postcopy"),
    ("web-1 --bandwidth -3", "bandwidth"),
    ("web-1 --copystorage", "--copy-storage"),
])  # fmt: skip
def test_slips_are_answered_with_the_right_word(typed: str, word: str) -> None:
    with pytest.raises((click.UsageError, UsageError)) as error:
        grammar.migrate_grammar().main(typed.split(), standalone_mode=False)
    told = error.value
    assert word in (told.format_message() if isinstance(told, click.UsageError) else str(told))


def test_the_help_names_every_option() -> None:
    text = grammar.migrate_grammar().get_help(
        click.Context(grammar.migrate_grammar(), info_name="/kvm migrate")
    )
    for word in ("VM [to HOST]", "--policy", "--copy-storage", "--bandwidth MiB/s", "--reason"):
        assert word in text


# --- where
# --------------------------------------------------------------------------------------------------------


def test_where_lists_every_host_best_first() -> None:
    seen = host_is("host-b", maintenance=True)(cluster())
    card = queries.where(About("web-1"), seen, ())
    assert str(card.text) == "web-1 is on host-a. It can move to host-c."
    (table,) = [each for each in card.elements if type(each).__name__ == "Table"]
    assert [row[0] for row in table.rows] == ["host-c", "host-b", "host-a"]  # type: ignore[union-attr]


def test_where_says_what_holds_a_vm_anywhere() -> None:
    card = queries.where(About("web-1"), vm_with(hostdevs=("USB 1:2",))(cluster()), ())
    assert str(card.text) == "web-1 is on host-a and cannot be moved now."


def test_the_very_same_file_on_the_target_is_moved_plainly_and_never_copied() -> None:
    seen = both(vm_with(disks=(OWN,)), shows("host-b", Seen.SAME))(cluster())
    plan = planned(TO_B, seen)
    assert not step_of(plan).copy_storage
    assert [each.code for each in plan.warnings] == ["taken-for-shared"]
    (only,) = refused(COPY, seen)
    assert (only.code, "migrate web-1 to host-b" in str(only.remedy)) == ("same-file", True)


def test_another_file_on_the_target_is_never_copied_over() -> None:
    seen = both(vm_with(disks=(OWN,)), shows("host-b", Seen.OTHER))(cluster())
    (plain,) = refused(TO_B, seen)
    assert "--copy-storage" not in str(plain.remedy)
    assert "host-b has a file at the same place" in str(plain.text)
    assert "shared = true" in str(plain.remedy)
    assert [each.code for each in refused(COPY, seen)] == ["file-there"]


def test_what_only_the_source_has_may_be_copied() -> None:
    seen = both(vm_with(disks=(OWN,)), shows("host-b", Seen.ABSENT))(cluster())
    (plain,) = refused(TO_B, seen)
    assert "`/kvm migrate web-1 --copy-storage`" in str(plain.remedy)
    assert [each.code for each in planned(COPY, seen).warnings] == ["old-files"]


def test_a_host_that_did_not_say_is_looked_at_again() -> None:
    seen = both(vm_with(disks=(OWN,)), shows("host-b", Seen.UNKNOWN))(cluster())
    assert [each.code for each in planned(COPY, seen).warnings] == ["there-unknown", "old-files"]


def test_a_medium_that_the_target_shows_too_need_not_be_ejected() -> None:
    seen = both(vm_with(disks=(ROOT, ISO)), shows("host-b", Seen.UNKNOWN, Seen.SAME))(cluster())
    assert step_of(planned(TO_B, seen)).target == "host-b"
    assert [each.code for each in refused(replace(TO_B, to="host-c"), seen)] == ["local-media"]


def test_without_a_host_only_those_that_have_the_disk_are_chosen() -> None:
    seen = both(vm_with(disks=(OWN,)), shows("host-c", Seen.SAME), shows("host-b", Seen.ABSENT))(
        cluster()
    )
    plan = planned(Migrate("web-1"), seen)
    assert step_of(plan).target == "host-c"
    assert "Not host-b" in " ".join(str(each.text) for each in plan.reasons)


def test_a_definition_that_names_files_beneath_its_disks_is_made_independent_first() -> None:
    (only,) = refused(
        COPY, vm_with(disks=(OWN,), ties=Ties(bases=("/var/lib/images/tmpl.qcow2",)))(cluster())
    )
    assert only.code == "backing-file"
    assert "virsh blockpull web-1 vdb --wait" in str(only.remedy)


TRUTHS: tuple[Change, ...] = (
    lambda seen: seen,
    vm_with(disks=(OWN,)),
    vm_with(disks=(ROOT, OWN)),
    vm_with(hostdevs=("USB 1:2",)),
    both(vm_with(disks=(OWN,)), host_is("host-b", pools=(SHARED,))),
    both(vm_with(disks=(OWN,)), shows("host-b", Seen.SAME)),
    both(vm_with(disks=(OWN,)), shows("host-b", Seen.OTHER)),
    both(vm_with(disks=(OWN,)), shows("host-b", Seen.OTHER), shows("host-c", Seen.ABSENT)),
    host_is("host-b", maintenance=True),
    vm_is(state=VmState.SHUT_OFF),
)


@pytest.mark.parametrize("change", TRUTHS)
@pytest.mark.parametrize("card", ["where", "why"])
def test_each_row_says_the_same_truth_as_the_plan_and_its_command_works(
    card: str, change: Change
) -> None:
    seen = change(cluster())
    shown = (
        queries.where(About("web-1"), seen, ())
        if card == "where"
        else queries.why(About("web-1"), seen, lambda _: (), ())
    )
    (table,) = [each for each in shown.elements if isinstance(each, Table)]
    for host, verdict, todo, *_ in table.rows:
        if host == "host-a":
            assert str(verdict) == "it is here"
        elif str(verdict).startswith("can take it"):
            words = shlex.split(str(todo).strip("`"))
            assert words[:5] == ["/kvm", "migrate", "web-1", "to", host]
            planned(Migrate("web-1", str(host), copy_storage="--copy-storage" in words), seen)
        else:
            for copy in (False, True):
                refused(Migrate("web-1", str(host), copy_storage=copy), seen)


HOSTILE = (
    "a b",
    "it's",
    'say "x"',
    "$(touch x)",
    "a;touch x",
    "a|b",
    "a\nb",
    "-rf",
    "--all",
    "a&b",
    "~",
    "*",
)


def commands_of(message: object) -> list[str]:
    """Every command to type that a message holds."""
    if isinstance(message, Code):
        return [message.command]
    if isinstance(message, Names):
        return [found for each in message.items for found in commands_of(each)]
    if isinstance(message, Words):
        return [found for each in message.args.values() for found in commands_of(each)]
    return []


def advised(change: Change, intent: Migrate, name: str) -> list[str]:
    """Every command in the advice of a refusal when web-1 is called ``name``."""
    seen = change(cluster())
    vms = tuple(replace(vm, name=name) if vm.name == "web-1" else vm for vm in seen.vms)
    called = replace(intent, vm=name) if intent.vm == "web-1" else intent
    found = refused(called, replace(seen, vms=vms))
    return [command for each in found for command in commands_of(each.remedy)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_word_of_each_command(name: str) -> None:
    """Whatever a VM is called, its name in advice is one argument, and never an option."""
    asked = 0
    for change, intent, _ in REFUSALS.values():
        plain = advised(change, intent, "web-1")
        for expected, line in zip(plain, advised(change, intent, name), strict=True):
            words = shlex.split(line)
            wanted = [name if word == "web-1" else word for word in shlex.split(expected)]
            assert sorted(word for word in words if word != "--") == sorted(wanted)
            if name in words:
                asked += 1
                assert not name.startswith("-") or "--" in words[: words.index(name)], line
    assert asked >= 15, "advice still holds commands"


DESTROYS = re.compile(
    r"\b(delete|remove|undefine|destroy|purge|erase|wipe|discard)\w*\b", re.IGNORECASE
)
MAY_DESTROY = {
    "leftover": "libvirt moves no VM to a host that has a definition of it; its disks stay",
    "running-twice": "says that two copies destroy their disks",
}


def test_no_remedy_destroys_anything_but_where_there_is_no_other_way() -> None:
    destroying = {
        code
        for code, (change, intent, _) in REFUSALS.items()
        for each in refused(intent, change(cluster()))
        if each.code == code and DESTROYS.search(str(each.remedy))
    }
    assert destroying == MAY_DESTROY.keys()


@pytest.mark.parametrize(
    ("detail", "version", "options"),
    [
        ({}, 9_000_000, ""),
        ({"nvram": "/v.fd", "tpm": "emulator"}, 9_000_000, " --keep-nvram --keep-tpm"),
        ({"tpm": "emulator", "snapshots": 1}, 8_008_000, " --snapshots-metadata"),
    ],
)
def test_an_old_definition_is_removed_without_what_may_be_the_running_vms(
    detail: dict[str, Any], version: int, options: str
) -> None:
    """Its UEFI variables and its TPM state may lie on a share that both hosts have."""
    left = also(
        lambda vm: replace(
            vm,
            host="host-b",
            state=VmState.SHUT_OFF,
            detail=replace(vm.detail or VmDetail(), **detail),
        )
    )
    seen = both(left, host_is("host-b", libvirt_version=version))(cluster())
    (found,) = (each for each in refused(TO_B, seen) if each.code == "leftover")
    assert f"`virsh undefine {uuid_of('web-1')}{options}`" in str(found.remedy)


@pytest.mark.parametrize("source", ["nbd://localhost:10809/web", "nbd:///run/nbd.sock/web"])
def test_a_disk_that_its_host_serves_itself_is_not_on_the_other(source: str) -> None:
    """The target has another server there, or none."""
    seen = vm_with(disks=(Disk("vda", "network", source),))(cluster())
    (found,) = refused(TO_B, seen)
    assert found.code == "local-disk"
    assert f'path = "{source.rpartition("/")[0]}"' in str(found.remedy)
    declared = host_is("host-a", shared_paths=(source.rpartition("/")[0],))(seen)
    assert planned(TO_B, declared).steps
