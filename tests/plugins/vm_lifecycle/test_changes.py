"""Changes of VMs as others made them: what is foreseen, what is kept, and what is told of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import catalog
from bot.domain.cluster import (
    GIB,
    MIB,
    DefinedThen,
    Disk,
    Health,
    HugePages,
    Nic,
    Pool,
    Snapshot,
    StoredSize,
    Ties,
    UsbDevice,
    VmDetail,
    VmSnapshot,
    VmState,
)
from bot.domain.errors import DroverError, StepLostError
from bot.domain.only_live import device_names
from bot.domain.plan import Plan, Refused
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.flow.commands.parse import parse
from bot.plugin_api import Action, Settled
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from plugins.vm_lifecycle import handler, show, steps
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from tests.bot.flow.small_bot import text

TABLE = {
    "images": {"tiny": {"base": "pool/tiny.qcow2"}},
    "pool": "pool",
    "network": "br0",
    "shutdown_seconds": 10,
}
CATALOG = catalog.load(("vm_lifecycle",), {"vm_lifecycle": TABLE})
SETTINGS = VmLifecycleSettings.model_validate(TABLE)
POOL = Pool("pool", "dir", "/pool", active=True, autostart=True, free=50 * GIB)
DISK = Disk("vda", "file", "/pool/web.qcow2", format="qcow2", capacity=10 * GIB)
DETAIL = VmDetail(
    disks=(DISK,), nics=(Nic("bridge", "br0", "52:54:00:00:00:01"),), snapshot_list=()
)
WEB = (uuid_of("web"), "web", "host-a")
SAVED: Mapping[str, Any] = {"state": VmState.SHUT_OFF, "saved": True}
TAKEN = (
    VmSnapshot("before upgrade"),
    VmSnapshot("v1.2+fix"),
    VmSnapshot("7", clashes=True),
    VmSnapshot("20260105"),
    VmSnapshot("ext", external=True),
)


def cluster(
    host: Mapping[str, Any] | None = None, detail: Mapping[str, Any] | None = None, **vm: Any
) -> Snapshot:
    """Two hosts, ``web`` on host-a; ``host`` and ``detail``: what is different of them."""
    seen = draw_cluster("host-a 8cpu 16G | web 2G 2cpu [env=dev]\nhost-b 8cpu 16G | db 12G")
    first, second = seen.hosts
    web = replace(seen.vm("web"), **{"detail": replace(DETAIL, **(detail or {})), **vm})
    vms = tuple(web if each.name == "web" else each for each in seen.vms)
    return replace(
        seen, hosts=(replace(first, **{"pools": (POOL,), **(host or {})}), second), vms=vms
    )


def silent(seen: Snapshot) -> Snapshot:
    """host-b has never answered."""
    gone = replace(seen.hosts[1], health=Health.UNREACHABLE, seen_at=None)
    return replace(
        seen, hosts=(seen.hosts[0], gone), vms=tuple(vm for vm in seen.vms if vm.host == "host-a")
    )


def wish(line: str, seen: Snapshot) -> tuple[Action, Any]:
    """The action and its intent; for a deletion with what the hosts tell of its disks."""
    found = parse(CATALOG, "/kvm", line)
    assert isinstance(found.command, Action)
    survey = found.command.survey if "delete" in line else None
    asked = (
        survey(found.intent, seen, FakeHypervisor(seen, TickingClock())) if survey else found.intent
    )
    return found.command, asked


def answer(line: str, seen: Snapshot) -> Plan | Refused:
    command, intent = wish(line, seen)
    return command.plan(intent, seen, CATALOG.rules)


def planned(line: str, seen: Snapshot) -> Plan:
    plan = answer(line, seen)
    assert isinstance(plan, Plan), plan
    return plan


def refused(line: str, seen: Snapshot) -> dict[str, str]:
    plan = answer(line, seen)
    assert isinstance(plan, Refused), plan
    return {each.code: f"{each.text} {each.remedy}" for each in plan.objections}


def stale(line: str, plan: Plan, seen: Snapshot) -> list[str]:
    command, intent = wish(line, seen)
    return [each.code for each in command.still_good(intent, plan, seen, CATALOG.rules)]


# What was drawn or read from the clock while planning

ALL = (
    "start off", "shutdown web", "force-off web", "reboot web", "pause web", "resize web --cpus 4", "rename off new",
    "clone off new", "autostart web on", "tag web a=b", "ttl web 1d", "delete off --keep-disks",
    "delete off --remove-disks --now", "snapshot create web a",
    "snapshot revert web clean", "snapshot delete web clean", "disk add web 1G",
    "disk grow web vda 20G", "nic add web br0", "nic remove web 52:54:00:00:00:01", "eject web", "create new",
    "create new --count 2 --tag ttl=1d",
)  # fmt: skip


def test_every_action_is_among_those_that_must_stay_good() -> None:
    # Of VMs in other states
    special = {"vm resume", "vm undelete", "vm purge", "vm discard-memory"}
    actions = {
        name for name, each in CATALOG.commands.items() if isinstance(each, Action)
    } - special
    assert actions == {parse(CATALOG, "/kvm", f"vm {line}").command.name for line in ALL}


@given(st.sampled_from(ALL), st.integers(0, 7 * 86400))
def test_time_alone_makes_no_plan_stale(line: str, seconds: int) -> None:
    image = " --image tiny --disk 1G --memory 1G" if line.startswith("create") else ""
    tools = Disk("sda", "file", "/iso/tools.iso", device="cdrom")
    seen = cluster(detail={"disks": (DISK, tools), "snapshot_list": (VmSnapshot("clean"),)})
    off = replace(
        seen.vm("web"),
        uuid=uuid_of("off"),
        name="off",
        state=VmState.SHUT_OFF,
        detail=replace(DETAIL, disks=(replace(DISK, source="/pool/off.qcow2"),), nics=()),
    )
    seen = replace(seen, vms=(*seen.vms, off))
    line = f"vm {line}{image}"
    later = replace(seen, taken_at=seen.taken_at + timedelta(seconds=seconds))
    assert stale(line, planned(line, seen), later) == []


def test_an_approved_mac_is_kept_while_it_is_free() -> None:
    seen = cluster()
    (step,) = planned("vm nic add web br0", seen).steps
    assert isinstance(step, steps.AddNic)
    taken = replace(seen, vms=tuple(
        replace(vm, detail=VmDetail(nics=(Nic("bridge", "br0", step.mac.upper()),))) if vm.name == "db" else vm
        for vm in seen.vms
    ))  # fmt: skip
    assert stale("vm nic add web br0", planned("vm nic add web br0", seen), taken) == ["mac-taken"]
    (other,) = planned("vm nic add web br0", taken).steps
    assert isinstance(other, steps.AddNic)
    assert other.mac != step.mac


# Sizes


def test_what_is_not_named_stays_as_it_is_stored() -> None:
    seen = cluster(stored=StoredSize(2, 3 * GIB, 4, 3 * GIB))
    assert planned("vm resize web --cpus 4", seen).steps == (steps.ResizeVm(*WEB, 4, 3 * GIB),)
    assert planned("vm resize web --memory 4G", seen).steps == (steps.ResizeVm(*WEB, 2, 4 * GIB),)
    assert planned("vm resize web --memory 3G", seen).steps, "it does not have it yet"
    same = cluster(stored=StoredSize(2, 2 * GIB, 4, 2 * GIB))
    assert "nothing-to-do" in refused("vm resize web --memory 2G", same)
    shown = text(show.card(seen.vm("web"), seen, CATALOG.rules, show.VmReading()))
    assert "2 vCPUs, 2 GiB now; 2 vCPUs, 3 GiB after a restart" in shown


@pytest.mark.parametrize(
    ("line", "detail", "code", "says"),
    [
        ("--cpus 4", {"topology": 2, "vcpus_max": 2}, "cpu-topology", "2 vCPUs"),
        ("--memory 3G", {"numa_cells": 2}, "numa", "`--memory 2048M` at most"),
        ("--memory 1G", {"numa_cells": 1, "balloon": False}, "numa", "virsh edit"),
        ("--memory 6G", {"memory_limit": 4 * GIB}, "memory-limit", "`--memory 4096M` at most"),
        (
            "--memory 6G",
            {"hard_limit": 4 * GIB},
            "hard-limit",
            "`virsh memtune web --hard-limit KIB`",
        ),
    ],
)
def test_what_a_definition_fixes_is_foreseen(
    line: str, detail: dict[str, Any], code: str, says: str
) -> None:
    assert (
        says in refused(f"vm resize web {line}", cluster(detail=detail, memory_max=2 * GIB))[code]
    )


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("--cpus 1", {"topology": 2, "vcpus_max": 2}),
        ("--cpus 4", {"topology": 4, "vcpus_max": 4}),
        ("--memory 1G", {"numa_cells": 2}),
        ("--memory 1G", {"hard_limit": GIB // 2}),
        ("--memory 1G", {"balloon": False}),
        ("--memory 4G", {"memory_limit": 4 * GIB}),
    ],
)
def test_what_a_definition_allows_is_planned(line: str, detail: dict[str, Any]) -> None:
    assert planned(f"vm resize web {line}", cluster(detail=detail, memory_max=2 * GIB)).steps


def test_a_transient_vm_has_no_stored_size() -> None:
    assert "transient" in refused("vm resize web --cpus 1", cluster(persistent=False))


# Names of VMs


def test_a_vm_with_snapshots_is_renamed_where_its_libvirt_can() -> None:
    off: dict[str, Any] = {"state": VmState.SHUT_OFF, "detail": {"snapshots": 2}}
    assert planned("vm rename web new", cluster(**off)).steps == (steps.RenameVm(*WEB, "new"),)
    told = refused("vm rename web new", cluster(host={"libvirt_version": 6_009_000}, **off))[
        "snapshots"
    ]
    assert "6.10" in told
    assert "elete" not in told


# Sleep


@pytest.mark.parametrize(
    "line",
    [
        "shutdown web",
        "reboot web",
        "pause web",
        "snapshot create web a",
        "nic remove web 52:54:00:00:00:01",
    ],
)
def test_a_vm_that_sleeps_is_told_to_be_woken(line: str) -> None:
    assert (
        "`/kvm vm resume web`" in refused(f"vm {line}", cluster(state=VmState.SUSPENDED))["asleep"]
    )


@pytest.mark.parametrize("state", [VmState.SUSPENDED, VmState.PAUSED])
@pytest.mark.parametrize("line", ["delete web --keep-disks", "clone web new", "rename web new"])
def test_what_needs_a_vm_off_says_how_one_that_stands_still_gets_there(
    line: str, state: VmState
) -> None:
    told = refused(f"vm {line}", cluster(state=state))["runs"]
    assert "`/kvm vm resume web`, then shut it down with `/kvm vm shutdown web`" in told


@pytest.mark.parametrize("verb", ["start", "resume"])
def test_start_and_resume_wake_a_vm_that_sleeps(verb: str) -> None:
    seen = cluster(state=VmState.SUSPENDED)
    plan = planned(f"vm {verb} web", seen)
    assert plan.steps == (PowerVm(*WEB, PowerVerb.WAKE),)
    hypervisor = FakeHypervisor(seen, TickingClock())
    handler.run(SETTINGS, plan.steps[0], hypervisor, Quiet())
    assert handler.settle(plan.steps[0], hypervisor) is Settled.DONE
    assert "maybe-elsewhere" in refused(f"vm {verb} web", silent(seen))


# Saved memory


@pytest.mark.parametrize(
    "line",
    [
        "resize web --memory 1G", "disk grow web vda 20G", "disk add web 1G", "rename web new", "nic add web br0",
        "nic remove web 52:54:00:00:00:01", "snapshot create web a", "snapshot revert web ext", "eject web",
    ],
)  # fmt: skip
def test_a_vm_with_saved_memory_is_not_changed(line: str) -> None:
    tools = Disk("sda", "file", "/iso/tools.iso", device="cdrom")
    seen = cluster(detail={"snapshot_list": TAKEN, "disks": (DISK, tools)}, **SAVED)
    assert "`/kvm vm start web`" in refused(f"vm {line}", seen)["memory-saved"]
    assert "`/kvm vm discard-memory web`" in refused(f"vm {line}", seen)["memory-saved"]


@pytest.mark.parametrize(
    "line", ["start web", "tag web a=b", "delete web --keep-disks", "autostart web on"]
)
def test_what_goes_on_in_spite_of_saved_memory_says_so(line: str) -> None:
    assert any(
        each.code == "memory-saved" for each in planned(f"vm {line}", cluster(**SAVED)).warnings
    )


def test_saved_memory_is_shown_and_discarded_on_request() -> None:
    seen = cluster(**SAVED)
    assert "with its memory saved" in text(
        show.card(seen.vm("web"), seen, CATALOG.rules, show.VmReading())
    )
    plan = planned("vm discard-memory web", seen)
    assert [each.code for each in plan.warnings] == ["data-loss"]
    hypervisor = FakeHypervisor(seen, TickingClock())
    handler.run(SETTINGS, plan.steps[0], hypervisor, Quiet())
    assert handler.settle(plan.steps[0], hypervisor) is Settled.DONE
    assert "no-saved-memory" in refused("vm discard-memory web", hypervisor.snapshot(("web",)))
    assert "maybe-elsewhere" in refused("vm discard-memory web", silent(seen))


def test_memory_saved_after_the_plan_stops_a_change() -> None:
    plan = planned("vm resize web --memory 1G", cluster(state=VmState.SHUT_OFF))
    with pytest.raises(DroverError, match="memory saved"):
        handler.run(
            SETTINGS, plan.steps[0], FakeHypervisor(cluster(**SAVED), TickingClock()), Quiet()
        )


# Disk-changing verbs ask what a start asks


@pytest.mark.parametrize(
    "line",
    ["resize web --cpus 4", "rename web new", "disk add web 1G", "disk grow web vda 20G", "snapshot create web a",
     "snapshot revert web clean", "snapshot delete web clean", "nic add web br0",
     "nic remove web 52:54:00:00:00:01", "autostart web on"],
)  # fmt: skip
def test_a_vm_that_may_run_elsewhere_is_not_changed(line: str) -> None:
    off = cluster(state=VmState.SHUT_OFF, detail={"snapshot_list": (VmSnapshot("clean"),)})
    assert "maybe-elsewhere" in refused(f"vm {line}", silent(off))
    (step,) = planned(f"vm {line}", off).steps
    hypervisor = FakeHypervisor(silent(off), TickingClock())
    with pytest.raises(StepLostError, match="Nothing was done"):
        handler.run(SETTINGS, step, hypervisor, Quiet())
    assert hypervisor.calls == []
    if "rename" not in line:
        running = cluster(detail={"snapshot_list": (VmSnapshot("clean"),)})
        assert planned(f"vm {line}", silent(running)).steps, "it runs here, so nowhere else"


# Snapshots


@pytest.mark.parametrize("verb", ["revert", "delete"])
@pytest.mark.parametrize("name", ["before upgrade", "v1.2+fix"])
def test_names_of_snapshots_that_exist_are_taken_as_they_are(verb: str, name: str) -> None:
    seen = cluster(detail={"snapshot_list": TAKEN})
    (step,) = planned(f'vm snapshot {verb} web "{name}"', seen).steps
    assert isinstance(step, steps.SnapshotVm)
    assert step.snapshot == name
    (typed,) = planned(f"vm snapshot {verb} web `{name}`", seen).steps
    assert isinstance(typed, steps.SnapshotVm)
    assert typed.snapshot == name


@pytest.mark.parametrize("verb", ["revert", "delete"])
def test_a_snapshot_that_does_not_exist_is_refused_with_the_nearest(verb: str) -> None:
    seen = cluster(detail={"snapshot_list": TAKEN})
    assert (
        "“before upgrade”" in refused(f"vm snapshot {verb} web befor-upgrade", seen)["no-snapshot"]
    )
    assert "vm snapshot list web" in refused(f"vm snapshot {verb} web zzz", seen)["no-snapshot"]
    assert "no snapshots" in refused(f"vm snapshot {verb} web zzz", cluster())["no-snapshot"]


def test_a_revert_tells_what_it_changes_of_the_definition() -> None:
    """libvirt takes a VM back to the definition in its snapshot, not its disks alone."""
    then = DefinedThen(4, 2 * GIB, ("vda", "52:54:00:00:00:09"))
    taken = VmSnapshot("clean", then=then, left_out=("vda",))
    later = replace(DISK, target="vdb", source="/p/later.qcow2")
    seen = cluster(detail={"snapshot_list": (taken,), "disks": (DISK, later)})
    plan = planned("vm snapshot revert web `clean`", seen)
    told = {each.code: str(each.text) for each in plan.warnings}
    assert "loses vdb, 52:54:00:00:00:01" in told["devices-lost"]
    assert "has 52:54:00:00:00:09 again" in told["devices-back"]
    assert "4 vCPUs and 2 GiB again" in told["size-back"]
    assert "vda of web are not in that snapshot" in told["left-out"]
    now = replace(taken, then=DefinedThen(2, 2 * GIB, device_names(DETAIL)), left_out=())
    same = planned("vm snapshot revert web clean", cluster(detail={"snapshot_list": (now,)}))
    assert not {each.code for each in same.warnings} & set(told) - {"data-loss"}


@pytest.mark.parametrize(
    ("state", "detail", "told"),
    [
        ("shutoff", {"nvram": "/web_VARS.fd", "tpm": "emulator"}, "UEFI variables and the TPM state"),
        ("shutoff", {"nvram": "/web_VARS.qcow2", "nvram_format": "qcow2"}, ""),
        ("running", {"nvram": "/web_VARS.fd", "tpm": "emulator"}, ""),
        ("disk-snapshot", {"tpm": "emulator"}, "the TPM state"),
    ],
)  # fmt: skip
def test_what_of_the_firmware_does_not_go_back_is_told(
    state: str, detail: dict[str, Any], told: str
) -> None:
    taken = {"snapshot_list": (VmSnapshot("clean", state=state),)}
    plan = planned("vm snapshot revert web clean", cluster(detail={**detail, **taken}))
    found = {each.code: str(each.text) for each in plan.warnings}
    assert (told in found["firmware-stays"]) if told else "firmware-stays" not in found


def test_a_revert_keeps_the_tags_of_now() -> None:
    taken = {"snapshot_list": (VmSnapshot("clean"),)}
    plan = planned("vm snapshot revert web clean", cluster(detail=taken))
    (step,) = plan.steps
    assert isinstance(step, steps.SnapshotVm)
    assert step.tags == (("env", "dev"),)
    other = cluster(detail=taken, tags={"env": "dev", "owner": "ana"})
    assert stale("vm snapshot revert web clean", plan, other) == ["changed"]


def test_a_name_that_qemu_takes_for_a_number_is_refused() -> None:
    seen = cluster(detail={"snapshot_list": TAKEN})
    for name in ("7", "2", "007"):
        assert "number" in refused(f"vm snapshot create web {name}", seen)
    assert "elete" not in refused("vm snapshot revert web 7", seen)["number"]
    assert planned("vm snapshot delete web 7", seen).steps, "QEMU removes by name"
    assert planned("vm snapshot revert web 20260105", seen).steps, "a number that no snapshot has"
    assert planned("vm snapshot create web v7", seen).steps


@pytest.mark.parametrize(("verb", "since"), [("revert", 9_009_000), ("delete", 9_000_000)])
def test_external_snapshots_need_a_libvirt_that_can(verb: str, since: int) -> None:
    taken = {"snapshot_list": TAKEN}
    assert planned(
        f"vm snapshot {verb} web ext", cluster(host={"libvirt_version": since}, detail=taken)
    ).steps
    told = refused(
        f"vm snapshot {verb} web ext", cluster(host={"libvirt_version": since - 1000}, detail=taken)
    )
    assert "Update libvirt" in told["external-snapshot"]


def test_a_vm_with_uefi_has_snapshots_where_its_libvirt_takes_them() -> None:
    line, raw = "vm snapshot create web a", {"pflash": True, "loader": "/ovmf/code.fd"}
    qcow2, old, new = (
        {**raw, "nvram_format": "qcow2"},
        {"libvirt_version": 9_002_000},
        {"libvirt_version": 9_003_000},
    )
    off: dict[str, Any] = {"state": VmState.SHUT_OFF}
    assert "`/kvm vm shutdown web`" in refused(line, cluster(host=new, detail=raw))["uefi-snapshot"]
    assert "9.3" in refused(line, cluster(host=old, detail=raw))["uefi-snapshot"]
    assert "uefi-snapshot" in refused(line, cluster(host=new, detail=qcow2))
    assert planned(line, cluster(host={"libvirt_version": 10_010_000}, detail=qcow2)).steps
    assert planned(line, cluster(host=new, detail=raw, **off)).steps
    assert "uefi-snapshot" in refused(line, cluster(host=old, detail=raw, **off))
    assert planned(line, cluster(host=old, detail={"pflash": True}, **off)).steps, (
        "the host chooses its firmware"
    )


@pytest.mark.parametrize(
    ("line", "vm"),
    [
        ("rename web new", {"state": VmState.SHUT_OFF, "detail": {"snapshots": 2}}),
        ("snapshot revert web ext", {"detail": {"snapshot_list": TAKEN}}),
        ("snapshot delete web ext", {"detail": {"snapshot_list": TAKEN}}),
        (
            "disk grow web vda 20G",
            {"detail": {"disks": (replace(DISK, compat="1.1"),), "snapshot_list": TAKEN}},
        ),
        (
            "snapshot create web a",
            {"detail": {"pflash": True, "loader": "/code.fd", "nvram_format": "qcow2"}},
        ),
        (
            "snapshot create web a",
            {"state": VmState.SHUT_OFF, "detail": {"pflash": True, "loader": "/code.fd"}},
        ),
    ],
)
def test_a_version_that_could_not_be_read_refuses_nothing(line: str, vm: dict[str, Any]) -> None:
    unknown = {"libvirt_version": 0, "hypervisor_version": 0}
    assert planned(f"vm {line}", cluster(host=unknown, **vm)).steps


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        ({"hostdevs": ("PCI 0000:3b:00.0",)}, "PCI 0000:3b:00.0"),
        ({"nics": (Nic("vdpa", "/dev/vhost-vdpa-0", ""),)}, "vDPA /dev/vhost-vdpa-0"),
        ({"shared_dirs": ("/srv/src",)}, "directory /srv/src"),
        ({"ties": Ties(shmem=("kvmfr",))}, "shared memory kvmfr"),
        ({"disks": (replace(DISK, transient=True),)}, "transient disk vda"),
        ({"ties": Ties(launch_security="sev")}, "its encryption (sev)"),
        ({"cpu_features": ("invtsc",)}, "invtsc"),
    ],
)
def test_what_cannot_be_stored_with_the_memory_is_foreseen(
    detail: dict[str, Any], says: str
) -> None:
    line = "vm snapshot create web a"
    told = refused(line, cluster(detail=detail))["memory-not-stored"]
    assert says in told
    assert "`/kvm vm shutdown web`" in told
    assert planned(line, cluster(detail=detail, state=VmState.SHUT_OFF)).steps


def test_what_travels_is_stored_too() -> None:
    stick = UsbDevice("USB 046d:c52b", needed=True)
    fine = {
        "hostdevs": ("USB 046d:c52b",),
        "cpu_features": ("invtsc",),
        "ties": Ties(usb=(stick,), tsc_frequency=2_000_000_000),
    }
    assert planned("vm snapshot create web a", cluster(detail=fine)).steps
    tried = {"hostdevs": ("PCI 0000:3b:00.0",), "shared_dirs": ("/srv",)}
    seen = cluster(detail=tried, tags={"device-migration": "try"})
    assert planned("vm snapshot create web a", seen).steps


def test_a_disk_that_no_pool_has_grows_only_while_its_vm_runs() -> None:
    elsewhere = {"disks": (replace(DISK, source="/srv/web.qcow2"),)}
    assert planned("vm disk grow web vda 20G", cluster(detail=elsewhere)).steps
    told = refused("vm disk grow web vda 20G", cluster(detail=elsewhere, state=VmState.SHUT_OFF))
    assert "`/kvm vm start web`" in told["no-pool"]


def test_a_disk_with_snapshots_grows_where_qemu_can() -> None:
    def detail(**disk: Any) -> dict[str, Any]:
        return {"disks": (replace(DISK, **disk),), "snapshot_list": (VmSnapshot("a"),)}

    line = "vm disk grow web vda 20G"
    assert "compat=1.1" in refused(line, cluster(detail=detail(compat="0.10")))["snapshots"]
    assert planned(line, cluster(detail=detail(compat="1.1"))).steps
    old = cluster(host={"hypervisor_version": 5_000_000}, detail=detail(compat="1.1"))
    assert "5.1" in refused(line, old)["snapshots"]
    assert planned(line, cluster(detail={"disks": (replace(DISK, compat="0.10"),)})).steps, (
        "without a snapshot"
    )


# Advice


@pytest.mark.parametrize(
    ("line", "vm"),
    [
        ("start", {"state": VmState.PAUSED}),
        ("shutdown", {"state": VmState.PAUSED}),
        ("shutdown", {"state": VmState.SUSPENDED}),
        ("reboot", {"state": VmState.SHUT_OFF}),
        ("pause", {"state": VmState.SHUT_OFF}),
        ("purge", {}),
        ("rename {} new", {}),
        ("resize {} --cpus 1", dict(SAVED)),
        ("snapshot create {} a", {"state": VmState.SUSPENDED}),
        ("snapshot revert {} zzz", {"detail": {"snapshot_list": TAKEN}}),
        (
            "start",
            {"state": VmState.SHUT_OFF, "tags": {"drover.deleted": "2026-01-08T09:00:00+00:00"}},
        ),
    ],
)
def test_commands_in_advice_quote_the_name(line: str, vm: dict[str, Any]) -> None:
    name = "a;touch $(id) 'x'"
    asked = line.format(shlex.quote(name)) if "{}" in line else f"{line} {shlex.quote(name)}"
    told = "\n".join(refused(f"vm {asked}", cluster(name=name, **vm)).values())
    commands = [part for part in told.split("`")[1::2] if "touch" in part]
    assert commands
    for command in commands:
        assert name in shlex.split(command)


# Huge pages


def test_a_vm_on_huge_pages_starts_where_enough_are_free() -> None:
    huge = {"hugepages": True}

    def seen(*pages: HugePages, **vm: Any) -> Snapshot:
        return cluster(host={"huge_pages": pages}, state=VmState.SHUT_OFF, detail={**huge, **vm})

    assert planned("vm start web", seen(HugePages(2 * MIB, 2000, 1024))).steps
    told = refused("vm start web", seen(HugePages(2 * MIB, 2000, 1023)))["huge-pages"]
    assert "1023 free huge pages of 2 MiB, web needs 1024 (2 GiB)" in told
    assert "has no huge pages" in refused("vm start web", seen())["huge-pages"]
    both = (HugePages(2 * MIB, 10, 10), HugePages(GIB, 2, 2))
    assert planned("vm start web", seen(*both, hugepage_size=GIB)).steps
    assert "huge-pages" in refused("vm start web", seen(*both, hugepage_size=2 * MIB))


def test_ordinary_vms_are_planned_against_memory_that_is_not_huge_pages() -> None:
    pages = (HugePages(2 * MIB, 7 * 512, 7 * 512),)  # 7 GiB of 16
    seen = cluster(host={"huge_pages": pages}, state=VmState.SHUT_OFF, memory=10 * GIB)
    assert "memory" in refused("vm start web", seen)
    assert planned("vm start web", cluster(state=VmState.SHUT_OFF, memory=10 * GIB)).steps
    running = cluster(host={"huge_pages": pages}, detail={"hugepages": True})
    assert running.room("host-a") == 9 * GIB, "a VM on huge pages takes nothing of the rest"


class Quiet:
    """Progress that nobody reads."""

    def report(self, job: Any, asks: Any = ()) -> None: ...

    def say(self, text: Any, fraction: float | None = None) -> None: ...

    def note(self, text: Any) -> None: ...

    def asks(self) -> frozenset[Any]:
        return frozenset()

    def sleep(self, seconds: float) -> None: ...


LVM = Pool("vg", "logical", "/dev/vg", active=True, autostart=True, free=50 * GIB)
LV = Disk("vda", "block", "/dev/vg/web", format="raw", capacity=10 * GIB, physical=10 * GIB)
GROW = "vm disk grow web vda 20G"


@pytest.mark.parametrize(
    ("disk", "device"),
    [
        (LV, "lvextend --size=21474836480b /dev/vg/web"),
        (replace(LV, kind="volume", source="vg/my web"), "lvextend --size=21474836480b '/dev/vg/my web'"),
        (replace(LV, device="lun", source="/dev/disk/by-id/wwn-1"), "enlarge that device to 20 GiB"),
    ],
)  # fmt: skip
def test_a_device_is_grown_by_its_storage_and_then_by_qemu(disk: Disk, device: str) -> None:
    """QEMU says “Cannot grow device files”, libvirt's logical pools have no resize at all."""
    host = {"pools": (LVM,)}
    now = refused(GROW, cluster(host=host, detail={"disks": (disk,)}))["device"]
    assert device in now
    assert "ask again" in now
    off = {"state": VmState.SHUT_OFF}
    later = refused(GROW, cluster(host=host, detail={"disks": (disk,)}, **off))["device"]
    assert device in later
    assert "at its next start" in later
    larger = replace(disk, physical=20 * GIB)
    assert planned(GROW, cluster(host=host, detail={"disks": (larger,)})).steps
    unknown = replace(disk, physical=None)
    assert planned(GROW, cluster(host=host, detail={"disks": (unknown,)})).steps, "QEMU will say"


def test_a_qcow2_image_on_a_device_grows_while_its_vm_runs() -> None:
    host, image = {"pools": (LVM,)}, {"disks": (replace(LV, format="qcow2"),)}
    assert planned(GROW, cluster(host=host, detail=image)).steps
    told = refused(GROW, cluster(host=host, detail=image, state=VmState.SHUT_OFF))["device"]
    assert "`/kvm vm start web`" in told


def test_a_pool_that_changes_no_sizes_leaves_it_to_qemu() -> None:
    gluster = Pool("vols", "gluster", "", active=True, autostart=True, free=50 * GIB)
    host, disk = (
        {"pools": (gluster,)},
        {"disks": (replace(DISK, kind="volume", source="vols/web"),)},
    )
    assert planned(GROW, cluster(host=host, detail=disk)).steps
    told = refused(GROW, cluster(host=host, detail=disk, state=VmState.SHUT_OFF))["pool-kind"]
    assert "`/kvm vm start web`" in told


def test_a_nic_without_an_address_is_not_named_by_nothing() -> None:
    told = refused("vm nic remove web aa:bb", cluster(detail={"nics": (Nic("bridge", "br0", ""),)}))
    assert "It has" not in told["no-card"]


@pytest.mark.parametrize("line", ["vm disk add web 1G", "vm nic add web br0"])
def test_a_device_needs_a_free_port_while_the_vm_runs(line: str) -> None:
    full: dict[str, Any] = {"free_ports": 0}
    assert "`/kvm vm shutdown web`" in refused(line, cluster(detail=full))["no-free-port"]
    assert planned(line, cluster(detail=full, state=VmState.SHUT_OFF)).steps
    assert planned(line, cluster(detail={"free_ports": 1})).steps


@pytest.mark.parametrize("kind", ["logical", "zfs", "iscsi", "rbd", "gluster"])
def test_new_disks_are_made_only_in_pools_of_files(kind: str) -> None:
    """In other pools libvirt takes no notice of qcow2: the VM that was made would not start."""
    host = {"pools": (replace(POOL, kind=kind),)}
    told = refused("vm disk add web 1G", cluster(host=host))["pool-kind"]
    assert "`plugins.vm_lifecycle.pool`" in told
    disk = replace(DISK, kind="volume", source="pool/web", format="raw")
    off = cluster(host=host, detail={"disks": (disk,)}, state=VmState.SHUT_OFF)
    assert "virsh define" in refused("vm clone web new", off)["pool-kind"]


def test_a_command_for_a_disk_has_its_path_though_its_pool_names_it() -> None:
    disk = replace(DISK, kind="volume", source="pool/web.qcow2", compat="0.10")
    seen = cluster(detail={"disks": (disk,), "snapshot_list": (VmSnapshot("clean"),)})
    assert "compat=1.1 /pool/web.qcow2`" in refused(GROW, seen)["snapshots"]


@pytest.mark.parametrize(
    "line", ["snapshot create web a", "snapshot revert web clean", "disk grow web vda 20G"]
)
def test_what_libvirt_refuses_during_a_block_job_is_foreseen(line: str) -> None:
    """It does not abort such jobs by itself, as the plan of a revert once told."""
    detail = {"disks": (replace(DISK, busy="copy"),), "snapshot_list": (VmSnapshot("clean"),)}
    told = refused(f"vm {line}", cluster(detail=detail))["block-job"]
    assert "vda (`copy`)" in told
    assert "`virsh blockjob web vda --info`" in told


@pytest.mark.parametrize(
    ("disk", "code"),
    [
        (replace(DISK, target="vdb", snapshot="no"), "left-out"),
        (replace(DISK, target="vdb", snapshot="external"), "left-out"),
        (replace(DISK, target="fda", device="floppy", format="raw"), "format"),
        (replace(DISK, target="sda", device="lun", format="raw"), "format"),
        (replace(DISK, target="sda", device="cdrom", format="raw", readonly=True), ""),
        (replace(DISK, target="fda", device="floppy", source="", format="raw"), ""),
    ],
)  # fmt: skip
def test_a_disk_that_no_internal_snapshot_can_have_is_foreseen(disk: Disk, code: str) -> None:
    seen = cluster(detail={"disks": (DISK, disk)})
    if code:
        assert code in refused("vm snapshot create web a", seen)
    else:
        assert planned("vm snapshot create web a", seen).steps
