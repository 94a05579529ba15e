"""Plans for guests that exist: what each wish becomes, what is refused and why, and what makes a plan stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from bot import catalog
from bot.domain import codec
from bot.domain.cluster import (
    GIB,
    Disk,
    Health,
    Inbound,
    Nic,
    Pool,
    Snapshot,
    Vm,
    VmDetail,
    VmState,
)
from bot.domain.metrics import Sweep, VmSample
from bot.domain.plan import Plan, Refused, Risk
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.flow.commands.parse import parse
from bot.plugin_api import Action, Alert, Looked, Proposal
from bot.ports.guests import Address, DiskUse, FileSystem, GuestSnapshot, Volume
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from plugins.vm_lifecycle import show, steps, ttl
from plugins.vm_lifecycle.places import volume_of, volume_on
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from tests.bot.flow.small_bot import text

TABLE = {"images": {"tiny": {"base": "pool/tiny.qcow2"}}, "pool": "pool", "network": "br0"}
SETTINGS = VmLifecycleSettings.model_validate(TABLE)
CATALOG = catalog.load(("vm_lifecycle",), {"vm_lifecycle": TABLE})
POOL = Pool("pool", "dir", "/pool", active=True, autostart=True, free=50 * GIB)
DISKS = (
    Disk("vda", "file", "/pool/web-1.qcow2", format="qcow2", capacity=10 * GIB),
    Disk("vdb", "file", f"/pool/web-1-{uuid_of('web-1')[:8]}-seed.qcow2", format="qcow2"),
    Disk("sda", "file", "/iso/tools.iso", device="cdrom"),
)
SEED = f"pool/web-1-{uuid_of('web-1')[:8]}-seed.qcow2"
NICS = (Nic("bridge", "br0", "52:54:00:00:00:01"),)


def cluster(**change: Any) -> Snapshot:
    """``change``: of web-1."""
    seen = draw_cluster("""
        host-a 8cpu 16G | web-1 2G 2cpu [env=dev owner=ann] | off-1 1G off [env=dev] | sleepy 1G paused
        host-b 8cpu 16G | db-1 12G [env=prod]
    """)
    hosts = tuple(replace(host, pools=(POOL,)) for host in seen.hosts)
    seen = replace(seen, hosts=hosts)
    return with_vm(seen, "web-1", **{"detail": VmDetail(disks=DISKS, nics=NICS), **change})


def with_vm(seen: Snapshot, name: str, **change: Any) -> Snapshot:
    return replace(
        seen, vms=tuple(replace(vm, **change) if vm.name == name else vm for vm in seen.vms)
    )


def surveyed(action: Action, intent: Any, seen: Snapshot) -> Any:
    """The intent with what hosts tell that have a volume for every disk in a pool."""
    if action.survey is None:
        return intent
    hypervisor = FakeHypervisor(seen, TickingClock())
    for vm in seen.vms:
        for disk in vm.detail.disks if vm.detail else ():
            if place := volume_on(disk.source, seen.host(vm.host)):
                pool, _, name = place.partition("/")
                hypervisor.volumes[vm.host, pool, name] = Volume(
                    pool, name, f"/{place}", 10 * GIB, GIB, disk.format
                )
    return action.survey(intent, seen, hypervisor)


def answer(line: str, seen: Snapshot | None = None) -> Plan | Refused:
    found, seen = parse(CATALOG, "/kvm", line), seen or cluster()
    assert isinstance(found.command, Action)
    return found.command.plan(surveyed(found.command, found.intent, seen), seen, CATALOG.rules)


def planned(line: str, seen: Snapshot | None = None) -> Plan:
    plan = answer(line, seen)
    assert isinstance(plan, Plan), plan
    return plan


def refused(line: str, seen: Snapshot | None = None) -> dict[str, str]:
    plan = answer(line, seen)
    assert isinstance(plan, Refused), plan
    return {each.code: f"{each.text} {each.remedy}" for each in plan.objections}


def stale(line: str, plan: Plan, seen: Snapshot) -> list[str]:
    found = parse(CATALOG, "/kvm", line)
    assert isinstance(found.command, Action)
    intent = surveyed(found.command, found.intent, seen)
    return [each.code for each in found.command.still_good(intent, plan, seen, CATALOG.rules)]


WEB = (uuid_of("web-1"), "web-1", "host-a")
OFF = (uuid_of("off-1"), "off-1", "host-a")


@pytest.mark.parametrize(
    ("line", "risk", "expected"),
    [
        ("vm start off-1", Risk.LOW, [PowerVm(*OFF, PowerVerb.START)]),
        ("vm shutdown web-1", Risk.MEDIUM, [PowerVm(*WEB, PowerVerb.SHUTDOWN)]),
        ("vm force-off web-1", Risk.HIGH, [PowerVm(*WEB, PowerVerb.FORCE_OFF)]),
        ("vm pause web-1", Risk.MEDIUM, [PowerVm(*WEB, PowerVerb.PAUSE)]),
        ("vm resume sleepy", Risk.LOW, [PowerVm(uuid_of("sleepy"), "sleepy", "host-a", PowerVerb.RESUME)]),
        ("vm reboot web-1", Risk.MEDIUM, [
            PowerVm(*WEB, PowerVerb.SHUTDOWN), PowerVm(*WEB, PowerVerb.START)]),
        ("vm resize web-1 --cpus 4", Risk.MEDIUM, [steps.ResizeVm(*WEB, 4, 2 * GIB)]),
        ("vm resize web-1 --memory 3G", Risk.MEDIUM, [steps.ResizeVm(*WEB, 2, 3 * GIB)]),
        ("vm rename off-1 other", Risk.MEDIUM, [steps.RenameVm(*OFF, "other")]),
        ("vm autostart web-1 on", Risk.LOW, [steps.AutostartVm(*WEB, on=True)]),
        ("vm tag web-1 env=qa --remove owner", Risk.LOW, [steps.TagVm(*WEB, (("env", "qa"),))]),
        ("vm delete off-1 --keep-disks", Risk.DESTRUCTIVE, [steps.DeleteVm(*OFF, remove_disks=False, grace=259_200)]),
        ("vm snapshot create web-1 clean", Risk.MEDIUM, [
            steps.SnapshotVm(*WEB, steps.SnapshotVerb.CREATE, "clean")]),
        ("vm snapshot delete web-1 clean", Risk.MEDIUM, [
            steps.SnapshotVm(*WEB, steps.SnapshotVerb.DELETE, "clean")]),
        ("vm disk add web-1 5", Risk.MEDIUM, [
            steps.AddDisk(*WEB, f"pool/web-1-{WEB[0][:8]}-vdc.qcow2", "vdc", 5 * GIB)]),
        ("vm disk grow web-1 vda 20G", Risk.MEDIUM, [steps.GrowDisk(*WEB, "vda", 20 * GIB)]),
        ("vm nic remove web-1 52:54:00:00:00:01", Risk.MEDIUM, [steps.RemoveNic(*WEB, "52:54:00:00:00:01")]),
        ("vm eject web-1", Risk.MEDIUM, [steps.EjectMedium(*WEB, "sda")]),
    ],
)  # fmt: skip
def test_each_request_becomes_its_steps(line: str, risk: Risk, expected: list[Any]) -> None:
    plan = planned(line)
    assert list(plan.steps) == expected
    assert plan.risk is risk
    assert plan.blast.vms == (expected[0].name,)
    assert stale(line, plan, cluster()) == []
    assert CATALOG.codec().loads(codec.text(plan)) == plan
    intent = parse(CATALOG, "/kvm", line).intent
    assert CATALOG.codec().loads(codec.text(intent)) == intent


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("vm start web-2", "unknown-vm", "web-1"),
        ("vm start web-1", "nothing-to-do", "running on host-a"),
        ("vm start sleepy", "paused", "vm resume sleepy"),
        ("vm shutdown sleepy", "paused", "vm force-off sleepy"),
        ("vm reboot sleepy", "paused", "vm resume sleepy"),
        ("vm shutdown off-1", "nothing-to-do", "powered off"),
        ("vm reboot off-1", "not-running", "vm start off-1"),
        ("vm pause off-1", "not-running", "vm start off-1"),
        ("vm rename web-1 other", "runs", "vm shutdown web-1"),
        ("vm rename off-1 db-1", "name-taken", "on host-b"),
        ("vm rename off-1 Other_1", "bad-name", "other-1"),
        ("vm delete web-1 --keep-disks", "runs", "vm shutdown web-1"),
        ("vm clone web-1 copy", "runs", "vm shutdown web-1"),
        ("vm clone off-1 db-1", "name-taken", "on host-b"),
        ("vm undelete off-1", "nothing-to-do", "off-1"),
        ("vm purge off-1", "not-deleted", "vm delete off-1"),
        ("vm resize web-1 --cpus 9", "cpus", "host-a has 8 CPUs"),
        ("vm resize web-1 --memory 20G", "memory", "would fit"),
        ("vm tag web-1 drover.deleted=now", "reserved", "drover."),
        ("vm tag web-1 pin=host-x", "unknown-host", "Did you mean “host-"),
        ("vm tag web-1 pin=host-a,elsewhere", "unknown-host", "“elsewhere”"),
        ("vm create new-1 --tag pin=hosta", "unknown-host", "Did you mean “host-a”?"),
        ("vm snapshot create web-1 ../x", "bad-name", "snapshot"),
        ("vm disk grow web-1 vdz 20G", "no-disk", "vda"),
        ("vm disk grow web-1 vda 5G", "shrink", "10 GiB"),
        ("vm disk grow web-1 vda 61G", "disk-space", "the disk needs 51 GiB"),
        ("vm disk add web-1 60G", "disk-space", "50 GiB free"),
        ("vm nic add web-1 br9", "network", "br0"),
        ("vm nic add web-1 other", "network", "`/kvm vm nic add web-1 br0`"),
        ("vm nic remove web-1 52:54:00:00:00:99", "no-card", "52:54:00:00:00:01"),
        ("vm eject web-1 sdz", "no-drive", "sda"),
        ("vm shutdown --tag env=qa", "no-such-tag", "env=qa"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(line: str, code: str, says: str) -> None:
    assert says in refused(line)[code]


def test_a_bulk_verb_lists_everyone_and_skips_who_is_there_already() -> None:
    plan = planned("vm shutdown --tag env=dev")
    assert [str(each.title) for each in plan.steps] == ["Shut down web-1 on host-a"]
    assert any("off-1" in str(each.text) for each in plan.reasons)
    both = planned("vm delete --tag env=dev --keep-disks", cluster(state=VmState.SHUT_OFF))
    assert [each.name for each in both.steps if isinstance(each, steps.DeleteVm)] == [
        "off-1",
        "web-1",
    ]
    assert "2 VMs (off-1, web-1)" in str(both.title)
    assert {"off-1 on host-a", "web-1 on host-a"} <= {
        str(each.text).partition(",")[0] for each in both.reasons
    }


def test_several_vms_at_once_are_never_a_low_risk() -> None:
    off = cluster(state=VmState.SHUT_OFF)
    assert planned("vm start web-1", off).risk is Risk.LOW
    assert planned("vm start --tag owner=ann", off).risk is Risk.LOW, "a tag that one guest has"
    assert planned("vm start --tag env=dev", off).risk is Risk.MEDIUM
    assert planned("vm force-off --tag env=dev").risk is Risk.HIGH


def test_a_start_is_refused_while_the_vm_may_run_elsewhere() -> None:
    seen = cluster()
    off = seen.vm("off-1")
    copy = replace(seen, vms=(*seen.vms, replace(off, host="host-b")))
    assert planned("vm start off-1", copy).steps, "a leftover that is off is no danger"
    silent = replace(copy.hosts[1], health=Health.UNREACHABLE, problem="no route")
    had = replace(copy, hosts=(copy.hosts[0], silent))
    assert "host-b had off-1" in refused("vm start off-1", had)["maybe-elsewhere"]
    assert planned("vm start off-1", replace(seen, hosts=had.hosts)).steps, "it did not have it"
    never = replace(seen, hosts=(seen.hosts[0], replace(silent, seen_at=None)))
    assert "not known" in refused("vm start off-1", never)["maybe-elsewhere"]


def test_a_start_obeys_the_placement_rules() -> None:
    seen = cluster()
    resting = replace(seen, hosts=(replace(seen.hosts[0], maintenance=True), seen.hosts[1]))
    assert "maintenance" in refused("vm start off-1", resting)


@pytest.mark.parametrize(
    "line", ["vm shutdown web-1", "vm resize web-1 --cpus 3", "vm snapshot create web-1 a"]
)
def test_a_vm_that_migrates_or_is_on_an_unreachable_host_is_not_changed(line: str) -> None:
    seen = cluster()
    moving = replace(seen, inbound=(Inbound(WEB[0], "host-a", "host-b", GIB, "op-1"),))
    assert "busy" in refused(line, moving)
    silent = replace(seen, hosts=(replace(seen.hosts[0], health=Health.UNREACHABLE), seen.hosts[1]))
    assert "may still run VMs" in refused(line, silent)["host-unreachable"]


@pytest.mark.parametrize(
    "line", ["vm reboot web-1", "vm force-off web-1", "vm delete web-1 --remove-disks"]
)
def test_nobody_touches_a_vm_whose_tags_cannot_be_read(line: str) -> None:
    """They decide who must approve."""
    seen = with_vm(cluster(), "web-1", detail=None, tags={}, problem="its definition: error 1")
    assert "error 1" in refused(line, seen)["not-readable"]


def test_a_vm_shows_what_of_it_cannot_be_read() -> None:
    seen = with_vm(cluster(), "web-1", problem="its definition makes no sense: shares “x”")
    vm = seen.vm("web-1")
    card = show.card(
        vm, seen, (), show.VmReading(disks=(DiskUse("vda", "/a", 0, 0, problem="no such file"),))
    )
    assert "shares “x”" in text(card)
    assert "no such file" in text(card)


def test_a_vm_that_a_migration_left_paused_is_not_resumed() -> None:
    seen = cluster(state=VmState.PAUSED, paused_by="postcopy failed")
    assert "half-moved" in refused("vm resume web-1", seen)


def test_a_deleted_vm_cannot_be_started() -> None:
    tags = MappingProxyType(
        {"drover.deleted": "2026-01-08T09:00:00+00:00", "drover.disks": "remove"}
    )
    seen = cluster(state=VmState.SHUT_OFF, tags=tags)
    assert "vm undelete web-1" in refused("vm start web-1", seen)["deleted"]
    assert planned("vm undelete web-1", seen).steps == (steps.UndeleteVm(*WEB),)
    (purge,) = planned("vm purge web-1", seen).steps
    log = f"pool/{WEB[0]}-serial.log"
    assert isinstance(purge, steps.PurgeVm)
    assert purge.volumes == ("pool/web-1.qcow2", SEED, log)


def test_kept_disks_are_kept_and_shared_ones_always() -> None:
    seen = cluster(state=VmState.SHUT_OFF)
    keep = planned("vm delete web-1 --keep-disks --now", seen).steps[1]
    assert isinstance(keep, steps.PurgeVm)
    assert keep.volumes == (SEED, f"pool/{WEB[0]}-serial.log")
    shared = replace(DISKS[0], shareable=True)
    both = with_vm(
        with_vm(seen, "off-1", detail=VmDetail(disks=(shared,))),
        "web-1",
        detail=VmDetail(disks=(shared,)),
    )
    plan = planned("vm delete web-1 --remove-disks --now", both)
    assert isinstance(plan.steps[1], steps.PurgeVm)
    assert plan.steps[1].volumes == (f"pool/{WEB[0]}-serial.log",)
    assert any("pool/web-1.qcow2 (shared or read-only)" in str(each.text) for each in plan.warnings)


def test_snapshots_need_disks_that_keep_them() -> None:
    raw = (replace(DISKS[0], format="raw"),)
    assert (
        "raw"
        in refused("vm snapshot create web-1 a", cluster(detail=VmDetail(disks=raw)))["format"]
    )


def test_a_plan_goes_stale_when_it_would_be_another() -> None:
    plan = planned("vm shutdown --tag env=dev")
    started = with_vm(cluster(), "off-1", state=VmState.RUNNING)
    assert stale("vm shutdown --tag env=dev", plan, started) == ["changed"]
    moved = cluster(host="host-b")
    assert stale("vm shutdown web-1", planned("vm shutdown web-1"), moved) == ["changed"]
    assert stale(
        "vm shutdown web-1", planned("vm shutdown web-1"), cluster(state=VmState.SHUT_OFF)
    ) == ["nothing-to-do"]


def test_a_clone_is_planned_volume_by_volume() -> None:
    line = "vm clone web-1 copy"
    plan = planned(line, cluster(state=VmState.SHUT_OFF))
    (step,) = plan.steps
    assert isinstance(step, steps.CloneVm)
    assert step.disks == (("vda", "pool/web-1.qcow2", f"pool/copy-{step.uuid[:8]}-vda.qcow2"),)
    assert step.seed == ("vdb", f"pool/copy-{step.uuid[:8]}-seed.qcow2")
    assert len(step.macs) == 1
    assert dict(step.tags) == {"env": "dev", "owner": "ann"}
    assert CATALOG.codec().loads(codec.text(plan)) == plan
    later = replace(
        cluster(state=VmState.SHUT_OFF), taken_at=cluster().taken_at + timedelta(minutes=5)
    )
    assert stale(line, plan, later) == []
    lost = VmDetail(disks=(replace(DISKS[0], source="/elsewhere/web.qcow2"),))
    assert "no-pool" in refused(line, cluster(state=VmState.SHUT_OFF, detail=lost))


def test_time_alone_makes_no_plan_stale() -> None:
    later = replace(cluster(), taken_at=cluster().taken_at + timedelta(minutes=5))
    for line in (
        "vm ttl web-1 1d",
        "vm snapshot revert web-1 clean",
        "vm delete off-1 --keep-disks",
    ):
        assert stale(line, planned(line), later) == []


# What the clock does


def timed(**tags: str) -> Snapshot:
    return cluster(tags=MappingProxyType(tags))


def test_a_vm_with_a_ttl_is_announced_then_shut_down() -> None:
    now = cluster().taken_at

    def looked(memory: dict[str, str], **tags: str) -> Any:
        return ttl.endings(SETTINGS, timed(**tags), memory)

    assert looked({}, expires=(now + timedelta(days=2)).isoformat()) == Looked()
    first = looked({}, expires=(now + timedelta(hours=2)).isoformat(), owner="ann")
    (soon,) = first.noticed
    assert isinstance(soon, Alert)
    assert "ann" in repr(soon.card)
    assert [each.command for each in soon.remedies] == [f"vm ttl {WEB[1]} 7d"]
    assert dict(first.memory) == {soon.key: WEB[1]}
    over, wish = looked(dict(first.memory), expires=(now - timedelta(hours=2)).isoformat()).noticed[
        :2
    ]
    assert isinstance(over, Alert)
    assert over.over
    assert isinstance(wish, Proposal)
    intent: Any = wish.intent
    assert (wish.action, intent.vm) == ("vm shutdown", WEB[0])
    assert looked({}, expires="tomorrow") == Looked()


def test_a_paused_vm_whose_ttl_ended_is_announced_with_a_choice() -> None:
    ended = (cluster().taken_at - timedelta(hours=2)).isoformat()
    seen = with_vm(timed(expires=ended), "web-1", state=VmState.PAUSED)
    first = ttl.endings(SETTINGS, seen, {})
    (told,) = first.noticed
    assert isinstance(told, Alert)
    assert not told.over
    assert [each.command for each in told.remedies] == ["vm resume web-1", "vm force-off web-1"]
    off = ttl.endings(SETTINGS, with_vm(seen, "web-1", state=VmState.SHUT_OFF), dict(first.memory))
    assert [each.over for each in off.noticed if isinstance(each, Alert)] == [True]


def test_an_announcement_that_is_not_true_any_more_is_ended_unless_nobody_knows() -> None:
    now = cluster().taken_at
    ends = (now + timedelta(hours=2)).isoformat()
    before = dict(ttl.endings(SETTINGS, timed(expires=ends), {}).memory)
    changed = ttl.endings(SETTINGS, timed(expires=(now + timedelta(days=7)).isoformat()), before)
    assert [(each.key, each.over) for each in changed.noticed if isinstance(each, Alert)] == [
        (*before, True)
    ]
    assert not changed.memory
    seen = timed(expires=ends)
    hosts = tuple(replace(host, health=Health.UNREACHABLE) for host in seen.hosts)
    assert ttl.endings(SETTINGS, replace(seen, hosts=hosts), before) == Looked((), before)


def test_a_deleted_vm_is_purged_after_its_grace_period() -> None:
    now = cluster().taken_at
    assert (
        list(ttl.purges(timed(**{"drover.deleted": (now + timedelta(hours=1)).isoformat()}))) == []
    )
    (wish,) = ttl.purges(timed(**{"drover.deleted": now.isoformat()}))
    assert isinstance(wish, Proposal)
    assert wish.action == "vm purge"
    command = CATALOG.commands["vm purge"]
    assert isinstance(command, Action)
    deleted = timed(**{"drover.deleted": now.isoformat(), "drover.disks": "keep"})
    plan = command.plan(
        wish.intent, with_vm(deleted, "web-1", state=VmState.SHUT_OFF), CATALOG.rules
    )
    assert isinstance(plan, Plan)


# The card


def test_the_card_shows_what_was_read_and_tells_what_was_not() -> None:
    seen = cluster(cpu=0.5)
    vm: Vm = seen.vm("web-1")
    read = show.VmReading(
        (Address("10.0.0.5", "agent"),),
        (DiskUse("vda", "/pool/web-1.qcow2", 10 * GIB, GIB),),
        (),
        ("No snapshots told.",),
        (
            FileSystem("/srv", "ext4", 8 * GIB, 6 * GIB, ("vda",)),
            FileSystem("/proc/x", "proc", 0, 0),
        ),
    )
    shown = text(show.card(vm, seen, CATALOG.rules, read))
    for part in (
        "10.0.0.5 (agent)",
        "0.50 of 2 cores",
        "10 GiB",
        "env=dev owner=ann",
        "can be migrated to",
        "No snapshots told.",
        "/srv",
        "ext4",
        "vda",
        "8 GiB",
        "6 GiB",
        "75%",
    ):
        assert part in shown
    assert "PNG" in repr(show.screen_card(vm, b"\x89PNG"))
    assert "login:" in text(show.console_card(vm, "tick 1\nlogin:"))
    assert "empty so far" in text(show.console_card(vm, "\n"))
    assert "no snapshots" in text(show.snapshots_card(vm, show.VmReading()))
    taken = GuestSnapshot(
        "clean", seen.taken_at, "running", current=True, description="before the test"
    )
    assert "before the test" in text(show.snapshots_card(vm, show.VmReading(snapshots=(taken,))))
    full = with_vm(seen, "db-1", memory=15 * GIB)
    assert "host-b has room for" in text(show.card(vm, full, CATALOG.rules, show.VmReading()))


def test_a_load_that_a_look_cannot_measure_is_the_newest_sweeps() -> None:
    vm = cluster(cpu=None).vm("web-1")
    sample = VmSample(vm.uuid, vm.name, vm.host, "running", cpu=0.25)
    sweep = Sweep(cluster().taken_at, vms=(sample,))
    assert show.with_load(vm, sweep).cpu == 0.25
    assert show.with_load(vm, None).cpu is None
    assert show.with_load(replace(vm, cpu=0.5), sweep).cpu == 0.5
    assert show.with_load(replace(vm, host="host-b"), sweep).cpu is None


def broken_postcopy(other: VmState | None = None) -> Snapshot:
    seen = cluster()
    dead = replace(
        seen.vm("web-1"), paused_by="postcopy failed", detail=VmDetail(job="migration in")
    )
    left = replace(dead, host="host-b", state=other or VmState.SHUT_OFF, detail=None)
    return replace(
        seen, vms=(*(vm for vm in seen.vms if vm.name != "web-1"), dead, *([left] if other else []))
    )


@pytest.mark.parametrize("other", [None, VmState.SHUT_OFF])
def test_what_is_left_of_a_failed_postcopy_is_forced_off_and_started(other: VmState | None) -> None:
    plan = planned("vm reboot web-1", broken_postcopy(other))
    assert plan.steps == (
        PowerVm(*WEB, PowerVerb.FORCE_OFF),
        PowerVm(*WEB, PowerVerb.START),
    )
    assert "data-loss" in [each.code for each in plan.warnings]
    assert planned("vm force-off web-1", broken_postcopy(other)).steps[0].title


def test_a_vm_whose_qemu_hangs_is_forced_off_and_nothing_else() -> None:
    seen = cluster()
    hung = replace(seen.vm("web-1"), detail=VmDetail(job="unknown", silent=True))
    seen = replace(seen, vms=(*(vm for vm in seen.vms if vm.name != "web-1"), hung))
    plan = planned("vm force-off web-1", seen)
    assert plan.steps == (PowerVm(*WEB, PowerVerb.FORCE_OFF),)
    assert [each.code for each in plan.warnings] == ["data-loss", "job-unknown"]
    for line in ("vm shutdown web-1", "vm reboot web-1", "vm resize web-1 --cpus 3"):
        assert "busy" in refused(line, seen)


def test_a_failed_postcopy_whose_other_half_exists_is_not_ended() -> None:
    assert {"busy", "runs-elsewhere"} <= refused(
        "vm reboot web-1", broken_postcopy(VmState.PAUSED)
    ).keys()
    two = broken_postcopy(VmState.PAUSED)
    assert "busy" in refused("vm force-off web-1", two)
    dead, half = two.vms[-2:]
    hung = replace(dead, detail=VmDetail(job="unknown", silent=True))
    assert "busy" in refused("vm force-off web-1", replace(two, vms=(*two.vms[:-2], hung, half)))


@pytest.mark.parametrize(
    ("source", "path", "place"),
    [
        ("/images/web.qcow2", "/images", "p/web.qcow2"),
        ("/images//./web.qcow2", "/images/", "p/web.qcow2"),
        ("/images/../images/web.qcow2", "/images/.", "p/web.qcow2"),
        ("/images/sub/web.qcow2", "/images", ""),
        ("/images/../other/web.qcow2", "/images", ""),
        ("/dev/mapper/vg-web--1", "/dev/vg", "p/web-1"),
        ("p/web.qcow2", "/images", "p/web.qcow2"),
    ],
)
def test_a_disk_is_found_in_its_pool_however_its_path_is_spelt(
    source: str, path: str, place: str
) -> None:
    assert volume_of(source, Pool("p", "dir", path, active=True, autostart=True)) == place
