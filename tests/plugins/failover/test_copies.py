"""A host that came back runs second copies: they are forced off after a new start, else both are paused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.cluster import Vm, VmState
from bot.domain.errors import StepLostError
from bot.domain.operation import Origin, State
from bot.domain.plan import Plan
from bot.domain.power import Hold
from bot.domain.readiness import CommandResult
from bot.flow.context import snapshot
from bot.flow.operations import propose
from bot.plugin_api import Proposal
from plugins.failover import copies
from plugins.failover.intents import StopCopies
from plugins.failover.steps import StopCopy
from tests.plugins.failover.test_failover import Room, room_in
from tests.plugins.failover.test_watch import Looks


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def twice(room: Room) -> Vm:
    """db-1 on host-a, which is on hold, and on host-c."""
    room.bot.store.put_hold(Hold("host-a", room.bot.clock.now(), "", "op-9"))
    seen = room.bot.hypervisor.snapshot().vm("db-1")
    room.bot.hypervisor.put(replace(seen, host="host-c"))
    return seen


def states(room: Room) -> dict[str, VmState]:
    found = room.bot.hypervisor.snapshot().vms
    return {vm.host: vm.state for vm in found if vm.name == "db-1"}


def planned(room: Room, before: str, now: str) -> State:
    services = room.bot.services
    action = services.catalog.action("failover stop-copies")
    origin = Origin("UANA", services.places.ops, "/kvm failover stop-copies host-a", "key", "")
    propose.propose(services, action, StopCopies("host-a", before=before, now=now), origin)
    return room.works()


def test_l21_after_a_new_start_the_old_copy_is_forced_off_and_the_other_runs_on(room: Room) -> None:
    twice(room)
    assert planned(room, "one", "two") is State.DONE, room.why()
    assert states(room) == {"host-a": VmState.SHUT_OFF, "host-c": VmState.RUNNING}


@pytest.mark.parametrize(("before", "now"), [("one", "one"), ("", "two"), ("one", ""), ("", "")])
def test_l21_without_a_new_start_both_are_paused_and_nothing_is_destroyed(
    room: Room, before: str, now: str
) -> None:
    twice(room)
    assert planned(room, before, now) is State.DONE, room.why()
    assert states(room) == {"host-a": VmState.PAUSED, "host-c": VmState.PAUSED}


def test_the_only_copy_is_never_forced_off(room: Room) -> None:
    vm = twice(room)
    intent = StopCopies("host-a", before="one", now="two")
    plan = copies.plan(intent, snapshot(room.bot.services), ())
    assert isinstance(plan, Plan)
    (step,) = plan.steps
    assert isinstance(step, StopCopy)
    room.bot.hypervisor.force_off("host-c", vm.uuid)
    nobody: Any = None  # it says nothing
    with pytest.raises(StepLostError, match="its only copy was left alone"):
        copies.stop(step, room.bot.hypervisor, nobody)
    assert states(room)["host-a"] is VmState.RUNNING


@pytest.mark.parametrize("mode", ["propose", "auto", "alert"])
def test_the_watch_proposes_it_at_once_with_both_boot_ids(room: Room, mode: str) -> None:
    boot = "one"

    def shell(argv: Sequence[str]) -> CommandResult:
        return CommandResult(0, boot if argv[0] == "cat" else "")

    room.bot.hypervisor.give_shell("host-a", shell)
    looks = Looks(room, mode=mode)
    looks.look()
    room.bot.hypervisor.down("host-a", "no route to host")
    looks.look()
    twice(room)
    boot = "two"
    room.bot.hypervisor.up("host-a")
    for _ in range(2):  # as long as it lasts
        found = [each for each in looks.look().noticed if isinstance(each, Proposal)]
        if mode == "alert":
            assert found == []
            continue
        (proposed,) = found
        assert proposed.action == "failover stop-copies"
        assert proposed.intent == StopCopies("host-a", before="one", now="two")
        assert proposed.automatic is (mode == "auto")


def test_it_is_refused_where_nothing_runs_twice_or_no_host_is_on_hold(room: Room) -> None:
    assert "not on hold" in room.asks("failover stop-copies host-a")
    room.bot.store.put_hold(Hold("host-a", room.bot.clock.now(), "", "op-9"))
    assert "No VM of host-a runs elsewhere too" in room.asks("failover stop-copies host-a")
