"""Nothing is lost: the ends of VMs, what is removed with them, and what must not be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from bot.declare import Alert, Proposal
from bot.domain.cluster import Health, Snapshot, VmState
from bot.domain.errors import DroverError, StepLostError
from bot.testing import drawn, uuid_of
from plugins.vm_lifecycle import keeping
from plugins.vm_lifecycle.steps import CloneVm, DeleteVm, Power, PowerVm, PurgeVm, UndeleteVm
from tests.plugins.vm_lifecycle.test_handler import cluster as hosts
from tests.plugins.vm_lifecycle.test_handler import run
from tests.plugins.vm_lifecycle.test_planner import SETTINGS, planned, refused, with_vm

CLUSTER = """
    host-a 8cpu 16G | trans-1 1G transient [env=ci] | web-1 1G [env=ci] | off-1 1G off
    host-b 8cpu 16G
"""
TRANS = (uuid_of("trans-1"), "trans-1", "host-a")
OFF = (uuid_of("off-1"), "off-1", "host-a")


def seen() -> Snapshot:
    return drawn(CLUSTER)


# What exists only while it runs


@pytest.mark.parametrize(("verb", "power"), [("shutdown", Power.SHUTDOWN), ("force-off", Power.FORCE_OFF)])
def test_a_transient_vm_ends_only_when_people_agree_that_nothing_is_left(verb: str, power: Power) -> None:
    said = refused(f"vm {verb} trans-1", seen())["definition-lost"]
    assert f"vm {verb} trans-1 --lose-definition" in said
    assert "definition is lost" in said
    plan = planned(f"vm {verb} trans-1 --lose-definition", seen())
    assert plan.steps == (PowerVm(*TRANS, power, lose_definition=True),)
    assert "for good" in plan.title
    assert any(each.code == "definition-lost" for each in plan.warnings)


def test_of_several_the_transient_ones_are_named() -> None:
    assert "trans-1" in refused("vm shutdown --tag env=ci", seen())["definition-lost"]
    both = planned("vm shutdown --tag env=ci --lose-definition", seen())
    assert [(each.name, each.lose_definition) for each in both.steps if isinstance(each, PowerVm)] == [
        ("trans-1", True),
        ("web-1", False),
    ]


def test_a_reboot_of_a_transient_vm_is_refused_with_what_to_type() -> None:
    assert "virsh reboot trans-1" in refused("vm reboot trans-1", seen())["transient"]


@pytest.mark.parametrize("verb", [Power.SHUTDOWN, Power.FORCE_OFF])
def test_a_vm_that_became_transient_after_the_vote_is_not_ended(verb: Power) -> None:
    hypervisor = hosts()
    web = hypervisor.snapshot().vm("web-1")
    hypervisor.put(replace(web, persistent=False))
    with pytest.raises(DroverError, match="transient now") as caught:
        run(PowerVm(web.uuid, "web-1", "host-a", verb), hypervisor)
    assert "--lose-definition" in caught.value.advice
    assert hypervisor.snapshot().vm("web-1").state is VmState.RUNNING
    assert not hypervisor.calls
    run(PowerVm(web.uuid, "web-1", "host-a", verb, lose_definition=True), hypervisor)
    assert not [vm for vm in hypervisor.snapshot().vms if vm.name == "web-1"]


def timed(name: str, taken: Snapshot) -> Snapshot:
    ended = (taken.taken_at - timedelta(hours=2)).isoformat()
    return with_vm(taken, name, tags=MappingProxyType({"ttl": "1h", "expires": ended}))


def test_the_clock_never_ends_a_transient_vm_by_itself() -> None:
    (told,) = keeping.endings(SETTINGS, timed("trans-1", seen()), {}).noticed
    assert isinstance(told, Alert)
    assert not told.over
    assert told.remedies[0].command == "vm shutdown trans-1 --lose-definition"


# What may run elsewhere


def silent(name: str, **change: Any) -> Snapshot:
    """host-b had the VM, off, when it last answered."""
    taken = seen()
    copy = replace(taken.vm(name), host="host-b", **change)
    down = replace(taken.hosts[1], health=Health.UNREACHABLE, problem="no route")
    return replace(taken, hosts=(taken.hosts[0], down), vms=(*taken.vms, copy))


def deleted(taken: Snapshot) -> Snapshot:
    tags = MappingProxyType({"drover.deleted": taken.taken_at.isoformat(), "drover.disks": "remove"})
    return replace(taken, vms=tuple(replace(vm, tags=tags) if vm.name == "off-1" else vm for vm in taken.vms))


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
    (told,) = keeping.endings(SETTINGS, timed("web-1", silent("web-1", state=VmState.SHUT_OFF)), {}).noticed
    assert isinstance(told, Alert)
    assert not told.over
    assert "may run there" in repr(told.card)
    again = keeping.endings(SETTINGS, timed("web-1", seen()), {}).noticed
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
    hypervisor.put(replace(off, tags=MappingProxyType({"drover.deleted": "2026-01-01T00:00:00+00:00"})))
    hypervisor.put(replace(off, host="host-b", state=VmState.RUNNING))
    with pytest.raises(StepLostError, match="running on host-b"):
        run(PurgeVm(*OFF, ("pool/off-1.qcow2",)), hypervisor)
    assert not hypervisor.calls
