"""Nothing is lost: the ends of VMs, what is removed with them, and what must not be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.libvirt.read import domain_xml
from bot.adapters.libvirt.write import domain_build
from bot.domain import codec
from bot.domain.backing import Storage
from bot.domain.cluster import (
    GIB,
    MIB,
    Disk,
    Health,
    Pool,
    Snapshot,
    StoredSize,
    VmDetail,
    VmState,
)
from bot.domain.errors import DroverError, StepLostError, UsageError
from bot.domain.plan import Plan, Refused, Risk
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.domain.words import unfit
from bot.flow.commands.parse import parse
from bot.plugin_api import Action, Alert, Proposal
from bot.ports.guests import Volume
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from bot.testing.guests import Extra
from plugins.vm_lifecycle import creation, devices, planner, ttl
from plugins.vm_lifecycle.intents import DiskWish, NewTags, NewVms, SnapshotWish
from plugins.vm_lifecycle.steps import AddDisk, CloneVm, DeleteVm, PurgeVm, SetTtl, UndeleteVm
from tests.bot.flow.small_bot import small_bot
from tests.bot.flow.small_bot import text as card_text
from tests.plugins.vm_lifecycle.test_handler import Waiting, run
from tests.plugins.vm_lifecycle.test_handler import cluster as hosts
from tests.plugins.vm_lifecycle.test_planner import CATALOG, SETTINGS, planned, refused, with_vm

CLUSTER = """
    host-a 8cpu 16G | trans-1 1G transient [env=ci] | web-1 1G [env=ci] | off-1 1G off
    host-b 8cpu 16G
"""
TRANS = (uuid_of("trans-1"), "trans-1", "host-a")
OFF = (uuid_of("off-1"), "off-1", "host-a")


def seen() -> Snapshot:
    return draw_cluster(CLUSTER)


# What exists only while it runs


@pytest.mark.parametrize(
    ("verb", "power"), [("shutdown", PowerVerb.SHUTDOWN), ("force-off", PowerVerb.FORCE_OFF)]
)
def test_a_transient_vm_ends_only_when_people_agree_that_nothing_is_left(
    verb: str, power: PowerVerb
) -> None:
    said = refused(f"vm {verb} trans-1", seen())["definition-lost"]
    assert f"vm {verb} trans-1 --lose-definition" in said
    assert "definition is lost" in said
    plan = planned(f"vm {verb} trans-1 --lose-definition", seen())
    assert plan.steps == (PowerVm(*TRANS, power, lose_definition=True),)
    assert "lose its definition" in str(plan.title)
    assert any(each.code == "definition-lost" for each in plan.warnings)


def test_of_several_the_transient_ones_are_named() -> None:
    assert "trans-1" in refused("vm shutdown --tag env=ci", seen())["definition-lost"]
    both = planned("vm shutdown --tag env=ci --lose-definition", seen())
    assert [
        (each.name, each.lose_definition) for each in both.steps if isinstance(each, PowerVm)
    ] == [
        ("trans-1", True),
        ("web-1", False),
    ]


def test_a_reboot_of_a_transient_vm_is_refused_with_what_to_type() -> None:
    assert "virsh reboot trans-1" in refused("vm reboot trans-1", seen())["transient"]


@pytest.mark.parametrize("verb", [PowerVerb.SHUTDOWN, PowerVerb.FORCE_OFF])
def test_a_vm_that_became_transient_after_the_vote_is_not_ended(verb: PowerVerb) -> None:
    hypervisor = hosts()
    web = hypervisor.snapshot().vm("web-1")
    hypervisor.put(replace(web, persistent=False))
    with pytest.raises(DroverError, match="now transient") as caught:
        run(PowerVm(web.uuid, "web-1", "host-a", verb), hypervisor)
    assert "--lose-definition" in str(caught.value.advice)
    assert hypervisor.snapshot().vm("web-1").state is VmState.RUNNING
    assert not hypervisor.calls
    run(PowerVm(web.uuid, "web-1", "host-a", verb, lose_definition=True), hypervisor)
    assert not [vm for vm in hypervisor.snapshot().vms if vm.name == "web-1"]


def timed(name: str, taken: Snapshot) -> Snapshot:
    ended = (taken.taken_at - timedelta(hours=2)).isoformat()
    return with_vm(taken, name, tags=MappingProxyType({"ttl": "1h", "expires": ended}))


def test_the_clock_never_ends_a_transient_vm_by_itself() -> None:
    (told,) = ttl.endings(SETTINGS, timed("trans-1", seen()), {}).noticed
    assert isinstance(told, Alert)
    assert not told.over
    assert told.remedies[0].command == "vm shutdown trans-1 --lose-definition"


@pytest.mark.parametrize(
    "line", ["shutdown web-1", "force-off web-1", "reboot web-1", "snapshot revert web-1 clean"]
)
def test_approvers_read_what_a_vm_has_only_while_it_runs(line: str) -> None:
    def told(**change: Any) -> dict[str, str]:
        plan = planned(f"vm {line}", with_vm(seen(), "web-1", **change))
        return {each.code: str(each.text) for each in plan.warnings}

    new = ("only-live", "other-disk", "block-job")
    assert not set(new) & told(stored=StoredSize(1, GIB)).keys()
    stored = StoredSize(1, GIB, without=("vdb", "52:54:00:00:00:01"), other_disks=("vda",))
    copied = Disk("vda", "file", "/pool/web.qcow2", busy="copy")
    disks = (replace(copied, busy=""),) if "revert" in line else (copied,)
    said = told(stored=stored, detail=VmDetail(disks=disks))
    assert "web-1 has vdb, 52:54:00:00:00:01 only while it runs" in said["only-live"]
    assert "has other images for vda" in said["other-disk"]
    if "revert" not in line:
        assert "Block jobs of web-1 are aborted: vda (`copy`)." in said["block-job"]


# What may run elsewhere


def silent(name: str, **change: Any) -> Snapshot:
    """host-b had the VM, off, when it last answered."""
    taken = seen()
    copy = replace(taken.vm(name), host="host-b", **change)
    down = replace(taken.hosts[1], health=Health.UNREACHABLE, problem="no route")
    return replace(taken, hosts=(taken.hosts[0], down), vms=(*taken.vms, copy))


def deleted(taken: Snapshot) -> Snapshot:
    tags = MappingProxyType(
        {"drover.deleted": taken.taken_at.isoformat(), "drover.disks": "remove"}
    )
    return replace(
        taken, vms=tuple(replace(vm, tags=tags) if vm.name == "off-1" else vm for vm in taken.vms)
    )


@pytest.mark.parametrize(
    "line",
    [
        "vm delete off-1 --remove-disks --now",
        "vm delete off-1 --keep-disks",
        "vm purge off-1",
        "vm undelete off-1",
        "vm clone off-1 copy",
    ],
)
def test_nothing_is_removed_while_a_silent_host_may_run_it(line: str) -> None:
    taken = silent("off-1")
    taken = deleted(taken) if "purge" in line or "undelete" in line else taken
    assert "host-b had off-1" in refused(line, taken)["maybe-elsewhere"]
    never = replace(seen(), hosts=(taken.hosts[0], replace(taken.hosts[1], seen_at=None)))
    never = deleted(never) if "purge" in line or "undelete" in line else never
    assert "not known" in refused(line, never)["maybe-elsewhere"]


def test_the_clock_ends_no_vm_that_may_run_elsewhere() -> None:
    (told,) = ttl.endings(
        SETTINGS, timed("web-1", silent("web-1", state=VmState.SHUT_OFF)), {}
    ).noticed
    assert isinstance(told, Alert)
    assert not told.over
    assert "may run there" in repr(told.card)
    again = ttl.endings(SETTINGS, timed("web-1", seen()), {}).noticed
    assert [type(each) for each in again] == [Alert, Proposal]


STEPS = [
    DeleteVm(*OFF, remove_disks=True, grace=0),
    UndeleteVm(*OFF),
    PurgeVm(*OFF, ("pool/off-1.qcow2",)),
    CloneVm("9" * 8, "copy", "host-a", OFF[0], "off-1", (), ("", ""), "", "", ()),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_step_looks_again_whether_a_host_that_had_it_is_silent(step: Any) -> None:
    hypervisor = hosts()
    off = hypervisor.snapshot().vm("off-1")
    tags = MappingProxyType({"drover.deleted": "2026-01-01T00:00:00+00:00"})
    hypervisor.put(replace(off, tags=tags if isinstance(step, PurgeVm | UndeleteVm) else off.tags))
    hypervisor.put(replace(off, host="host-b"))
    hypervisor.down("host-b")
    before = hypervisor.snapshot().vms
    with pytest.raises(StepLostError, match="may run on host-b"):
        run(step, hypervisor)
    assert hypervisor.snapshot().vms == before
    assert not hypervisor.calls


def test_a_running_copy_elsewhere_stops_a_purge() -> None:
    hypervisor = hosts()
    off = hypervisor.snapshot().vm("off-1")
    hypervisor.put(
        replace(off, tags=MappingProxyType({"drover.deleted": "2026-01-01T00:00:00+00:00"}))
    )
    hypervisor.put(replace(off, host="host-b", state=VmState.RUNNING))
    with pytest.raises(StepLostError, match="running on host-b"):
        run(PurgeVm(*OFF, ("pool/off-1.qcow2",)), hypervisor)
    assert not hypervisor.calls


# What is removed with a VM


def disk(source: str, **how: Any) -> Disk:
    return Disk(how.pop("target", "vda"), "file", source, format="qcow2", **how)


def with_disks(
    hypervisor: FakeHypervisor, name: str, *disks: Disk, host: str = "host-a", **how: Any
) -> str:
    """Let there be a VM that is off and has these disks."""
    vm = draw_cluster(f"{host} 1cpu 1G | {name} 512M off").vm(name)
    hypervisor.put(replace(vm, detail=VmDetail(disks=disks), **how))
    return vm.uuid


def volume(
    hypervisor: FakeHypervisor,
    name: str,
    base: str = "",
    *,
    pool: str = "pool",
    host: str = "host-a",
) -> None:
    on = f"/pool/{base}" if base else ""
    hypervisor.volumes[host, pool, name] = Volume(
        pool, name, f"/{pool}/{name}", GIB, MIB, "qcow2", on
    )


def asked(hypervisor: FakeHypervisor, line: str) -> Plan | Refused:
    """The answer to a command, with its look at the hosts, as the core asks for it."""
    found, snapshot = parse(CATALOG, "/kvm", line), hypervisor.snapshot()
    assert isinstance(found.command, Action)
    intent = (
        found.command.survey(found.intent, snapshot, hypervisor)
        if found.command.survey
        else found.intent
    )
    assert CATALOG.codec().loads(codec.text(intent)) == intent
    return found.command.plan(intent, snapshot, CATALOG.rules)


def objections(hypervisor: FakeHypervisor, line: str) -> dict[str, str]:
    answer = asked(hypervisor, line)
    assert isinstance(answer, Refused), answer
    return {each.code: f"{each.text} {each.remedy}" for each in answer.objections}


def removed(hypervisor: FakeHypervisor, line: str) -> tuple[tuple[str, ...], str]:
    """The volumes that a deletion removes, without the serial log, and what approvers read of it."""
    answer = asked(hypervisor, line)
    assert isinstance(answer, Plan), answer
    purge = answer.steps[-1]
    assert isinstance(purge, PurgeVm)
    assert purge.volumes[-1].endswith("-serial.log")
    return purge.volumes[:-1], " ".join(str(each.text) for each in answer.warnings)


def test_a_template_of_linked_clones_is_not_removed() -> None:
    hypervisor = hosts()
    for name, base in (
        ("golden", ""),
        ("clone-1", "golden"),
        ("clone-2", "clone-1"),
        ("loose", "golden"),
    ):
        volume(hypervisor, f"{name}.qcow2", f"{base}.qcow2" if base else "")
    with_disks(hypervisor, "golden", disk("/pool/golden.qcow2"))
    with_disks(hypervisor, "clone-2", disk("/pool/clone-2.qcow2"))
    said = objections(hypervisor, "vm delete golden --remove-disks --now")["disk-needed"]
    assert "clone-2 on host-a, the volume pool/loose.qcow2 on host-a" in said
    assert "vm delete golden --keep-disks" in said
    assert objections(hypervisor, "vm delete golden --remove-disks")["disk-needed"] == said
    assert removed(hypervisor, "vm delete clone-2 --remove-disks --now")[0] == (
        "pool/clone-2.qcow2",
    )
    gone, told = removed(hypervisor, "vm delete golden --keep-disks --now")
    assert gone == ()
    assert "Kept of golden: pool/golden.qcow2" in told


@pytest.mark.parametrize("other", ["pool/db.qcow2", "/pool/../pool/db.qcow2", "/pool/link.qcow2"])
def test_a_disk_that_another_vm_names_otherwise_is_not_removed(other: str) -> None:
    hypervisor = hosts()
    volume(hypervisor, "db.qcow2")
    volume(hypervisor, "link.qcow2")
    hypervisor.stamps["host-a", "/pool/link.qcow2"] = "host-a /pool/db.qcow2"
    with_disks(hypervisor, "old-db", disk("/pool/db.qcow2"))
    with_disks(hypervisor, "new-db", disk(other))
    said = objections(hypervisor, "vm delete old-db --remove-disks --now")["disk-needed"]
    assert "new-db on host-a" in said


def test_a_disk_that_another_host_names_in_a_shared_pool_is_not_removed() -> None:
    hypervisor = hosts()
    for host, path in (("host-a", "/pool"), ("host-b", "/mnt/pool")):
        hypervisor.change(
            host, pools=(Pool("pool", "netfs", path, active=True, autostart=True, shared=True),)
        )
        hypervisor.volumes[host, "pool", "db.qcow2"] = Volume(
            "pool", "db.qcow2", f"{path}/db.qcow2", GIB, MIB
        )
    with_disks(hypervisor, "old-db", disk("/pool/db.qcow2"))
    with_disks(hypervisor, "far", disk("/mnt/pool/db.qcow2"), host="host-b")
    assert (
        "far on host-b"
        in objections(hypervisor, "vm delete old-db --remove-disks --now")["disk-needed"]
    )


def test_the_second_definition_of_a_vm_holds_a_shared_disk() -> None:
    hypervisor = hosts()
    for host in ("host-a", "host-b"):
        hypervisor.change(
            host, pools=(Pool("pool", "netfs", "/pool", active=True, autostart=True, shared=True),)
        )
        volume(hypervisor, "ha.qcow2", host=host)
        with_disks(hypervisor, "ha", disk("/pool/ha.qcow2"), host=host)
    said = objections(hypervisor, "vm delete ha --remove-disks --now")["disk-needed"]
    assert "ha on host-b (a second definition)" in said


def test_a_host_that_is_not_heard_counts_as_using_a_shared_pool() -> None:
    hypervisor = hosts()
    for host in ("host-a", "host-b"):
        hypervisor.change(
            host, pools=(Pool("pool", "netfs", "/pool", active=True, autostart=True, shared=True),)
        )
        volume(hypervisor, "web.qcow2", host=host)
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    hypervisor.down("host-b")
    said = objections(hypervisor, "vm delete web --remove-disks --now")["disk-needed"]
    assert "perhaps VMs of host-b" in said
    hypervisor.change("host-a", pools=(Pool("pool", "dir", "/pool", active=True, autostart=True),))
    assert removed(hypervisor, "vm delete web --remove-disks --now")[0] == ("pool/web.qcow2",), (
        "nobody else sees it"
    )
    hypervisor.up("host-b")
    with_disks(hypervisor, "far", disk("/pool/web.qcow2"), host="host-b")
    hypervisor.down("host-b")
    assert (
        "far on host-b (as last seen)"
        in objections(hypervisor, "vm delete web --remove-disks --now")["disk-needed"]
    )


def test_an_image_of_the_catalogue_is_not_removed() -> None:
    hypervisor = hosts()
    volume(hypervisor, "tiny.qcow2")
    with_disks(hypervisor, "base", disk("/pool/tiny.qcow2"))
    said = objections(hypervisor, "vm delete base --remove-disks --now")["disk-needed"]
    assert "the configured image tiny" in said


def test_what_cannot_be_read_counts_as_used_and_disks_can_still_be_kept() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    hypervisor.unknown["host-a"] = ("/srv/x.qcow2 of x: permission denied.",)
    said = objections(hypervisor, "vm delete web --remove-disks --now")["disk-needed"]
    assert "/srv/x.qcow2 of x: permission denied" in said
    hypervisor.unknown.clear()
    hypervisor.refuse("storage", "It does not tell.", times=2)
    said = objections(hypervisor, "vm delete web --remove-disks --now")["storage-unknown"]
    assert "vm delete web --keep-disks" in said
    hypervisor.refuse("storage", "It does not tell.", times=2)
    assert removed(hypervisor, "vm delete web --keep-disks --now")[0] == ()


def shared_pool(hypervisor: FakeHypervisor, *, active: bool = True) -> None:
    for host in ("host-a", "host-b"):
        there = Pool("pool", "netfs", "/pool", active=active, autostart=True, shared=True)
        hypervisor.change(host, pools=(there,))


def test_a_volume_that_a_host_names_while_its_pool_is_not_active_is_needed() -> None:
    hypervisor = hosts()
    shared_pool(hypervisor)
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    with_disks(hypervisor, "far", Disk("vda", "volume", "pool/web.qcow2"), host="host-b")
    said = objections(hypervisor, "vm delete web --remove-disks --now")["disk-needed"]
    assert "far on host-b" in said


def test_what_another_host_of_a_shared_pool_cannot_read_counts_as_a_need() -> None:
    hypervisor = hosts()
    shared_pool(hypervisor)
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    hypervisor.unknown["host-b"] = ("A definition could not be read.",)
    said = objections(hypervisor, "vm delete web --remove-disks --now")["disk-needed"]
    assert "perhaps VMs of host-b (not known: A definition could not be read.)" in said
    there = Pool("pool", "dir", "/pool", active=True, autostart=True)
    hypervisor.change("host-b", pools=(there,))
    assert removed(hypervisor, "vm delete web --remove-disks --now")[0] == ("pool/web.qcow2",), (
        "host-b does not see that pool"
    )


def test_a_purge_removes_nothing_that_it_cannot_look_at() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    web = with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    answer = asked(hypervisor, "vm delete web --remove-disks --now")
    assert isinstance(answer, Plan)
    run(answer.steps[0], hypervisor)
    lost = hypervisor.volumes.pop(("host-a", "pool", "web.qcow2"))
    hypervisor.unknown["host-a"] = ("A volume of pool pool could not be read.",)
    with pytest.raises(DroverError, match="perhaps others"):
        run(answer.steps[1], hypervisor)
    hypervisor.unknown.clear()
    hypervisor.volumes["host-a", "pool", "web.qcow2"] = lost
    hypervisor.refuse("volume", "The pool is not active.")
    with pytest.raises(DroverError, match="not active"):
        run(answer.steps[1], hypervisor)
    assert hypervisor.find("host-a", web) is not None, "its definition is kept with its disks"
    assert not any(call[0] in {"undefine", "delete_volume"} for call in hypervisor.calls)


def test_a_purge_removes_what_it_can_and_names_what_is_left() -> None:
    hypervisor = hosts()
    for name in ("one.qcow2", "two.qcow2"):
        volume(hypervisor, name)
    disks = (disk("/pool/one.qcow2"), disk("/pool/two.qcow2", target="vdb"))
    web = with_disks(hypervisor, "web", *disks)
    answer = asked(hypervisor, "vm delete web --remove-disks --now")
    assert isinstance(answer, Plan)
    run(answer.steps[0], hypervisor)
    hypervisor.busy_volumes.add(("host-a", "pool", "one.qcow2"))
    with pytest.raises(DroverError, match=r"web is removed .* pool/one\.qcow2") as caught:
        run(answer.steps[1], hypervisor)
    assert caught.value.code == "volumes-left"
    assert "virsh vol-delete one.qcow2 --pool=pool" in str(caught.value.advice)
    assert hypervisor.find("host-a", web) is None
    assert ("host-a", "pool", "two.qcow2") not in hypervisor.volumes


def test_a_purge_waits_for_a_volume_that_is_being_copied() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    answer = asked(hypervisor, "vm delete web --remove-disks --now")
    assert isinstance(answer, Plan)
    run(answer.steps[0], hypervisor)
    hypervisor.busy_volumes.add(("host-a", "pool", "web.qcow2"))
    run(answer.steps[1], hypervisor, Waiting(600, hypervisor.busy_volumes.clear))
    assert ("host-a", "pool", "web.qcow2") not in hypervisor.volumes


@pytest.mark.parametrize("name", ["12", "007", uuid_of("other")])
@pytest.mark.parametrize(
    "line", ["vm create {} --image tiny", "vm clone off-1 {}", "vm rename off-1 {}"]
)
def test_no_new_name_reads_as_the_id_or_uuid_of_another_vm(line: str, name: str) -> None:
    assert "would read it as the id" in refused(line.format(name), seen())["bad-name"]


@pytest.mark.parametrize(
    "own",
    [
        disk("/pool/cassandra-seed.qcow2"),
        disk("/pool/orders-seed.qcow2", target="vdb"),
        disk("/pool/x-seed.iso", device="cdrom"),
        disk("/pool/web-00000000-seed.qcow2", target="vdb"),
    ],
)
def test_a_name_with_seed_in_it_makes_no_seed(own: Disk) -> None:
    hypervisor = hosts()
    volume(hypervisor, own.source.rpartition("/")[2])
    with_disks(hypervisor, "cassandra-seed", own)
    assert removed(hypervisor, "vm delete cassandra-seed --keep-disks --now")[0] == ()


@pytest.mark.parametrize(("form", "device"), [("qcow2", "disk"), ("iso", "cdrom")])
def test_a_seed_that_drover_made_goes_with_its_vm_even_after_a_rename(
    form: str, device: str
) -> None:
    hypervisor = hosts()
    seed = f"former-name-{uuid_of('web')[:8]}-seed.{form}"
    volume(hypervisor, seed)
    volume(hypervisor, "web.qcow2")
    drive = disk(f"/pool/{seed}", target="vdb", device=device, readonly=device == "cdrom")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"), drive)
    assert removed(hypervisor, "vm delete web --keep-disks --now")[0] == (f"pool/{seed}",)
    with_disks(hypervisor, "other", drive)
    gone, told = removed(hypervisor, "vm delete web --keep-disks --now")
    assert gone == (), "another VM reads it"
    assert "in use by other on host-a" in told


def test_of_a_chain_what_is_the_vms_own_goes_and_what_was_not_stays_by_name() -> None:
    hypervisor = hosts()
    volume(hypervisor, "template.qcow2")
    volume(hypervisor, "web.qcow2", "template.qcow2")
    volume(hypervisor, "web.s1", "web.qcow2")
    web = with_disks(hypervisor, "web", disk("/pool/web.s1"))
    hypervisor.extras[web] = Extra(external={"s1": ("/pool/web.qcow2",)})
    gone, told = removed(hypervisor, "vm delete web --remove-disks --now")
    assert gone == ("pool/web.s1", "pool/web.qcow2")
    assert "pool/template.qcow2 (a base image that was not the VM's own disk)" in told
    volume(hypervisor, "other.qcow2", "web.qcow2")
    gone, told = removed(hypervisor, "vm delete web --remove-disks --now")
    assert gone == ("pool/web.s1",)
    assert "pool/web.qcow2 (in use by the volume pool/other.qcow2 on host-a)" in told


def test_the_card_of_a_deletion_says_what_goes_when_and_how_to_restore_it() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"), disk("/srv/raw.img", target="vdb"))
    answer = asked(hypervisor, "vm delete web --remove-disks")
    assert isinstance(answer, Plan)
    told = {each.code: str(each.text) for each in answer.warnings}
    assert "after the grace period (3 d after the approval)" in told["deleted"]
    assert "pool/web.qcow2" in told["deleted"]
    assert "`/kvm vm undelete web`" in told["deleted"]
    assert "/srv/raw.img (not in a storage pool)" in told["kept"]
    facts = run(answer.steps[0], hypervisor)
    assert "UTC; `/kvm vm undelete web` restores it" in str(facts["kept_until"])


def test_of_many_deletions_every_one_is_shown_to_approvers(tmp_path: Path) -> None:
    vms = " | ".join(f"job-{number} 512M off [env=ci]" for number in range(12))
    bot = small_bot(tmp_path, f"host-a 16cpu 64G | {vms}", ("vm_lifecycle",))
    bot.types("vm delete --tag env=ci --keep-disks --now")
    shown = card_text(bot.shown())
    for number in range(12):
        assert f"job-{number} is deleted at once and cannot be undeleted" in shown, number
    bot.store.close()


def test_a_purge_looks_again_and_removes_nothing_that_others_came_to_need() -> None:
    hypervisor = hosts()
    volume(hypervisor, "golden.qcow2")
    golden = with_disks(hypervisor, "golden", disk("/pool/golden.qcow2"))
    answer = asked(hypervisor, "vm delete golden --remove-disks --now")
    assert isinstance(answer, Plan)
    volume(hypervisor, "late.qcow2", "golden.qcow2")
    run(answer.steps[0], hypervisor)
    with pytest.raises(DroverError, match=r"late\.qcow2") as caught:
        run(answer.steps[1], hypervisor)
    assert "vm undelete golden" in str(caught.value.advice)
    assert hypervisor.find("host-a", golden) is not None
    assert ("host-a", "pool", "golden.qcow2") in hypervisor.volumes
    del hypervisor.volumes["host-a", "pool", "late.qcow2"]
    run(answer.steps[1], hypervisor)
    assert ("host-a", "pool", "golden.qcow2") not in hypervisor.volumes


def test_a_purge_that_was_cut_off_goes_on_with_a_chain() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    volume(hypervisor, "web.s1", "web.qcow2")
    purge = PurgeVm(uuid_of("web"), "web", "host-a", ("pool/web.s1", "pool/web.qcow2"))
    run(purge, hypervisor)
    assert not [name for _, _, name in hypervisor.volumes if name.startswith("web")]


def test_a_clone_copies_a_disk_that_has_seed_in_its_name() -> None:
    hypervisor = hosts()
    volume(hypervisor, "cassandra-seed.qcow2")
    with_disks(hypervisor, "cassandra-seed", disk("/pool/cassandra-seed.qcow2"))
    answer = asked(hypervisor, "vm clone cassandra-seed copy-1")
    assert isinstance(answer, Plan)
    (step,) = answer.steps
    assert isinstance(step, CloneVm)
    assert [each[:2] for each in step.disks] == [("vda", "pool/cassandra-seed.qcow2")]
    assert step.seed == ("", "")


@pytest.mark.parametrize(("form", "device"), [("qcow2", "disk"), ("iso", "cdrom")])
def test_a_clone_gets_a_seed_of_its_own_where_its_source_has_one(form: str, device: str) -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    volume(hypervisor, f"web-{uuid_of('web')[:8]}-seed.{form}")
    seed = disk(
        f"/pool/web-{uuid_of('web')[:8]}-seed.{form}",
        target="sdx",
        device=device,
        readonly=device == "cdrom",
    )
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"), seed)
    answer = asked(hypervisor, "vm clone web copy")
    assert isinstance(answer, Plan)
    (step,) = answer.steps
    assert isinstance(step, CloneVm)
    assert [each[0] for each in step.disks] == ["vda"]
    assert step.seed == ("sdx", f"pool/copy-{step.uuid[:8]}-seed.{form}")
    run(step, hypervisor)
    made = hypervisor.snapshot().vm("copy").detail
    assert made is not None
    assert {each.target: (each.source, each.device) for each in made.disks}["sdx"] == (
        f"/{step.seed[1]}",
        device,
    )


def test_what_two_vms_cannot_share_is_told_before_the_vote_and_before_a_copy() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    web = with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    answer = asked(hypervisor, "vm clone web copy")
    assert isinstance(answer, Plan)
    vm = hypervisor.snapshot().vm("web")
    assert vm.detail is not None
    hypervisor.put(replace(vm, detail=replace(vm.detail, hostdevs=("PCI 0000:01:00.0",))))
    assert (
        "the host device PCI 0000:01:00.0"
        in objections(hypervisor, "vm clone web copy")["not-copyable"]
    )
    with pytest.raises(DroverError, match="Nothing was copied"):
        run(answer.steps[0], hypervisor)
    assert not [each for each in hypervisor.calls if each[0] == "create_volume"]
    assert hypervisor.find("host-a", web) is not None


def test_a_vm_whose_memory_is_saved_is_not_cloned() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    answer = asked(hypervisor, "vm clone web copy")
    assert isinstance(answer, Plan)
    hypervisor.put(replace(hypervisor.snapshot().vm("web"), saved=True))
    assert "vm discard-memory web" in objections(hypervisor, "vm clone web copy")["memory-saved"]
    with pytest.raises(DroverError, match="Nothing was copied"):
        run(answer.steps[0], hypervisor)


def test_a_clone_with_a_tpm_says_that_it_gets_an_empty_one() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    vm = hypervisor.snapshot().vm("web")
    assert vm.detail is not None
    hypervisor.put(replace(vm, detail=replace(vm.detail, tpm="emulator", nvram="/nvram/web.fd")))
    answer = asked(hypervisor, "vm clone web copy")
    assert isinstance(answer, Plan)
    assert {"new-tpm", "new-nvram"} <= {each.code for each in answer.warnings}


def test_a_new_disk_is_never_a_volume_that_is_there_already() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    web = with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    former = f"web-{web[:8]}-vdb.qcow2"
    volume(hypervisor, former)
    answer = asked(hypervisor, "vm disk add web 2G")
    assert isinstance(answer, Plan)
    (step,) = answer.steps
    assert isinstance(step, AddDisk)
    assert (step.target, step.volume) == ("vdc", f"pool/web-{web[:8]}-vdc.qcow2")
    hypervisor.refuse("attach_disk", "No free slot.")
    with pytest.raises(DroverError, match="No free slot"):
        run(step, hypervisor)
    assert ("host-a", "pool", former) in hypervisor.volumes, (
        "what a disk that was taken out holds stays"
    )


def test_with_its_disks_a_vms_firmware_keeps_what_it_knows() -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    vm = hypervisor.snapshot().vm("web")
    assert vm.detail is not None
    hypervisor.put(replace(vm, detail=replace(vm.detail, tpm="emulator", nvram="/nvram/web.fd")))
    for option, kept in (("--keep-disks", True), ("--remove-disks", False)):
        answer = asked(hypervisor, f"vm delete web {option} --now")
        assert isinstance(answer, Plan)
        purge, told = answer.steps[1], {each.code: str(each.text) for each in answer.warnings}
        assert isinstance(purge, PurgeVm)
        assert purge.keep_state is kept
        assert "its TPM state" in told["kept" if kept else "no-grace"]


@pytest.mark.parametrize(
    ("host", "nvram", "kept"),
    [
        ("host-a", "/pool/one_VARS.fd", True),
        ("host-a", "/pool//./one_VARS.fd", True),
        ("host-b", "/pool/one_VARS.fd", True),
        ("host-a", "/pool/other_VARS.fd", False),
    ],
)
def test_uefi_variables_that_another_vm_has_stay(host: str, nvram: str, kept: bool) -> None:  # noqa: FBT001
    hypervisor = hosts()
    for name, where, path in (("one", "host-a", "/pool/one_VARS.fd"), ("two", host, nvram)):
        with_disks(hypervisor, name, host=where)
        vm = hypervisor.snapshot().vm(name)
        hypervisor.put(replace(vm, detail=VmDetail(nvram=path)))
    answer = asked(hypervisor, "vm delete one --remove-disks --now")
    assert isinstance(answer, Plan)
    told = {each.code: str(each.text) for each in answer.warnings}
    assert (f"/pool/one_VARS.fd (in use by two on {host})" in told.get("kept", "")) is kept
    assert ("its UEFI variables" in told["no-grace"]) is not kept
    planned_purge = answer.steps[1]
    assert isinstance(planned_purge, PurgeVm)
    run(answer.steps[0], hypervisor)
    run(replace(planned_purge, keep_state=False), hypervisor)  # as if the other came later
    assert hypervisor.removed_nvram == ([] if kept else [("host-a", "/pool/one_VARS.fd")])


def test_uefi_variables_go_with_the_last_vm_of_a_host_that_has_them() -> None:
    """As on real hosts, see ``tests/contract/test_backing.py``."""
    hypervisor = hosts()
    for name, path in (("one", "/pool/x_VARS.fd"), ("two", "/pool/./x_VARS.fd")):
        with_disks(hypervisor, name)
        vm = hypervisor.snapshot().vm(name)
        hypervisor.put(replace(vm, detail=VmDetail(nvram=path)))
    hypervisor.undefine("host-a", uuid_of("one"))
    assert hypervisor.removed_nvram == []
    hypervisor.undefine("host-a", uuid_of("two"))
    assert hypervisor.removed_nvram == [("host-a", "/pool/./x_VARS.fd")]


def test_uefi_variables_below_libvirts_own_directory_are_each_hosts_own() -> None:
    hypervisor = hosts()
    path = "/var/lib/libvirt/qemu/nvram/one_VARS.fd"
    for host in ("host-a", "host-b"):
        with_disks(hypervisor, "one", host=host)
        (vm,) = [each for each in hypervisor.snapshot().on(host) if each.name == "one"]
        hypervisor.put(replace(vm, detail=VmDetail(nvram=path)))
    answer = asked(hypervisor, "vm delete one --remove-disks --now")
    assert isinstance(answer, Plan)
    assert isinstance(answer.steps[1], PurgeVm)
    assert not answer.steps[1].keep_state


class Written(FakeHypervisor):
    """A file that another host writes to while hosts are read one after the other."""

    looks = 0

    def storage(self, host: str, *, whole: bool = True, directories: bool = True) -> Storage:
        self.looks += host == "host-a"
        self.stamps[host, "/pool/web.qcow2"] = f"{host} {self.looks}"
        return super().storage(host, whole=whole, directories=directories)


def test_a_file_that_another_host_writes_to_meanwhile_is_not_removed() -> None:
    hypervisor = Written(draw_cluster("host-a 8cpu 16G\nhost-b 8cpu 16G"), clock=TickingClock())
    there = Pool("pool", "dir", "/pool", active=True, autostart=True)
    for host in ("host-a", "host-b"):
        hypervisor.change(host, pools=(there,))
        volume(hypervisor, "web.qcow2", host=host)
    with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    with_disks(hypervisor, "far", disk("/pool/web.qcow2"), host="host-b", state=VmState.RUNNING)
    said = objections(hypervisor, "vm delete web --remove-disks --now")["disk-needed"]
    assert "something that writes to /pool/web.qcow2 now" in said


@pytest.mark.parametrize("line", ["vm start web", "vm snapshot revert web clean"])
@pytest.mark.parametrize("host", ["host-a", "host-b"])
def test_a_disk_that_another_running_vm_writes_to_is_not_written_to(line: str, host: str) -> None:
    hypervisor = hosts()
    shared_pool(hypervisor)
    volume(hypervisor, "web.qcow2")
    volume(hypervisor, "web.qcow2", host="host-b")
    web = with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    hypervisor.create_snapshot("host-a", web, "clean")
    running = {"host": host, "state": VmState.RUNNING}
    with_disks(hypervisor, "twin", disk("/pool/web.qcow2"), **running)
    said = objections(hypervisor, line)["disk-written"]
    assert f"A running VM uses pool/web.qcow2 of web: twin on {host}." in said
    assert "<shareable/>" in said
    for how in ({"shareable": True}, {"readonly": True}, {"device": "cdrom"}):
        with_disks(hypervisor, "twin", disk("/pool/web.qcow2", **how), **running)
        assert isinstance(asked(hypervisor, line), Plan), how
    with_disks(hypervisor, "twin", disk("/pool/web.qcow2"), **running)
    hypervisor.down("host-b")
    if host == "host-b" and line == "vm start web":
        said = objections(hypervisor, line)["disk-written"]
        assert "twin on host-b (as last seen)." in said


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("vm snapshot create web s1", "disk-written"),
        ("vm snapshot delete web clean", "disk-written"),
        ("vm disk grow web vda 20G", "disk-written"),
        ("vm clone web copy", "disk-in-use"),
    ],
)
def test_a_disk_of_a_vm_that_is_off_is_left_alone_while_another_vm_writes_to_it(
    line: str, code: str
) -> None:
    hypervisor = hosts()
    volume(hypervisor, "web.qcow2")
    web = with_disks(hypervisor, "web", disk("/pool/web.qcow2"))
    hypervisor.create_snapshot("host-a", web, "clean")
    assert isinstance(asked(hypervisor, line), Plan)
    with_disks(hypervisor, "twin", disk("/pool/web.qcow2"), state=VmState.RUNNING)
    assert "pool/web.qcow2 of web: twin on host-a." in objections(hypervisor, line)[code]


@pytest.mark.parametrize(
    ("kind", "source", "one"),
    [
        ("block", "/dev/vg/web", False),
        ("network", "rbd://mon-1,mon-2/pool/web", True),
        ("network", "nbd://mon-1,mon-2/", False),
    ],
)
def test_a_device_of_one_name_on_two_hosts_is_one_only_where_it_is_shared(
    kind: str, source: str, *, one: bool
) -> None:
    hypervisor = hosts()
    with_disks(hypervisor, "web", Disk("vda", kind, source))
    far = Disk("vda", kind, source.replace("mon-1,mon-2", "mon-2,mon-1"))
    with_disks(hypervisor, "far", far, host="host-b", state=VmState.RUNNING)
    refusal = isinstance(asked(hypervisor, "vm start web"), Refused)
    assert refusal is one


@pytest.mark.parametrize("line", ["vm start golden", "vm snapshot revert golden clean"])
def test_a_template_that_clones_stand_on_is_not_written_to(line: str) -> None:
    hypervisor = hosts()
    for name, base in (("golden", ""), ("clone", "golden"), ("loose", "golden")):
        volume(hypervisor, f"{name}.qcow2", f"{base}.qcow2" if base else "")
    golden = with_disks(hypervisor, "golden", disk("/pool/golden.qcow2"))
    hypervisor.create_snapshot("host-a", golden, "clean")
    with_disks(hypervisor, "twin", disk("/pool/golden.qcow2"))
    assert isinstance(asked(hypervisor, line), Plan), (
        "a second definition of the same disk stands on nothing"
    )
    with_disks(hypervisor, "top", disk("/pool/clone.qcow2"))
    said = objections(hypervisor, line)["template"]
    assert "is the base image of top on host-a;" in said
    assert "vm clone golden NEW-NAME" in said
    hypervisor.refuse("storage", "It does not tell.", times=2)
    assert isinstance(asked(hypervisor, line), Plan), (
        "what cannot be read keeps no VM from its start"
    )


# What people write


@pytest.mark.parametrize(
    "tag", ["drover.deleted=2020-01-01", "drover.disks=remove", "expires=2020-01-01T00:00:00+00:00"]
)
def test_reserved_tags_are_refused_wherever_tags_are_given(tag: str) -> None:
    for line in (
        f"vm tag web-1 {tag}",
        f"vm tag web-1 --remove {tag.partition('=')[0]}",
        f"vm create new --tag {tag}",
    ):
        assert tag.partition("=")[0] in objections(hosts(), line)["reserved"], line


def test_an_end_is_set_by_a_command_of_its_own_that_is_no_low_risk() -> None:
    hypervisor = hosts()
    for line in ("vm tag web-1 ttl=1m", "vm tag web-1 --remove ttl"):
        assert "`/kvm vm ttl web-1 7d`" in objections(hypervisor, line)["reserved"]
    answer = asked(hypervisor, "vm ttl web-1 7d")
    assert isinstance(answer, Plan)
    assert answer.risk is Risk.MEDIUM
    (step,) = answer.steps
    assert isinstance(step, SetTtl)
    web = hypervisor.snapshot().vm("web-1")
    hypervisor.set_tags("host-a", web.uuid, {"late": "yes"})
    run(step, hypervisor)
    tags = dict(hypervisor.snapshot().vm("web-1").tags)
    assert tags == {"late": "yes", "ttl": "7d", "expires": step.expires}, (
        "tags given meanwhile stay"
    )
    off = asked(hypervisor, "vm ttl web-1 off")
    assert isinstance(off, Plan)
    run(off.steps[0], hypervisor)
    assert dict(hypervisor.snapshot().vm("web-1").tags) == {"late": "yes"}
    assert "nothing-to-do" in objections(hypervisor, "vm ttl web-1 off")


@pytest.mark.parametrize("ttl", ["0s", "59s", "3651d", "99999999999999d", "tomorrow"])
@pytest.mark.parametrize("line", ["vm ttl web-1 {ttl}", "vm create new --tag ttl={ttl}"])
def test_an_invalid_ttl_is_refused(line: str, ttl: str) -> None:
    with pytest.raises(UsageError):
        parse(CATALOG, "/kvm", line.format(ttl=ttl))


@pytest.mark.parametrize(
    "mark",
    [
        *(
            "\x00",
            "\x1b",
            "\x85",
            "\xad",
            "\u061c",
            "\u200b",
            "\u200f",
            "\u2028",
            "\u202e",
            "\u2060",
        ),
        *("\ud800", "\ufeff", "\ufffe", "\uffff", "\U000e0041"),
    ],
)
def test_what_no_definition_can_hold_is_refused_before_the_vote(mark: str) -> None:
    snapshot, text = hosts().snapshot(), f"a{mark}b"
    wishes = (
        (planner.tag, NewTags("web-1", (("note", text),))),
        (planner.tag, NewTags("web-1", ((text, "note"),))),
        (planner.tag, NewTags("web-1", take=("x",), reason=text)),
        (devices.plan_snapshot, SnapshotWish("create", "web-1", "clean", text)),
        (devices.plan_disk, DiskWish("add", "web-1", GIB, reason=text)),
    )
    for work, wish in wishes:
        answer = planner.plan(work, Risk.LOW, SETTINGS, wish, snapshot, ())
        assert isinstance(answer, Refused), wish
        assert [each.code for each in answer.objections] == ["bad-text"], wish
    for wanted in (
        {"tags": (("note", text),)},
        {"ssh_keys": (text,)},
        {"user_data": f"#!/bin/sh\n{text}"},
    ):
        created = creation.plan(SETTINGS, NewVms("new", **wanted), snapshot, ())
        assert isinstance(created, Refused)
        assert f"U+{ord(mark):04X}" in str(created.objections[0].text)


def test_lines_are_fine_where_there_may_be_lines() -> None:
    assert unfit("a\tb\nc", lines=True) == ""
    assert unfit("a\nb") == "U+000A"
    assert unfit("ü 🙂 👩\u200d💻 日本 می\u200cخواهم “x” – a\u00a0b") == ""


@given(st.text())
def test_whatever_fits_can_be_stored_as_a_tag(text: str) -> None:
    if not unfit(text):
        stored = domain_xml.document(domain_build.text(domain_build.tags({"note": text})))
        assert [each.get("value") for each in stored] == [text]


# What version 0.1 stored


@pytest.mark.parametrize(
    "stored",
    [
        '{"host":"h","is":"PowerVm","name":"n","uuid":"u","verb":"shut down"}',
        '{"host":"h","is":"PurgeVm","name":"n","uuid":"u","volumes":["pool/a"]}',
        '{"is":"VmVerb","reason":"","tag":"","verb":"purge","vm":"n"}',
        '{"is":"Deletion","now":false,"reason":"","remove_disks":true,"tag":"","vm":"n"}',
        '{"is":"NewClone","reason":"","to":"m","vm":"n"}',
        '{"capacity":1,"is":"DiskWish","reason":"","target":"","verb":"add","vm":"n"}',
        '{"description":"","is":"SnapshotWish","reason":"","snapshot":"s","verb":"revert","vm":"n"}',
    ],
)
def test_what_version_0_1_stored_is_read_and_has_the_digest_it_had(stored: str) -> None:
    assert codec.text(CATALOG.codec().loads(stored)) == stored
