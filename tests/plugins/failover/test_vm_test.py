"""L27: a test kills the named VM alone, if it is tagged for it, and never leaves it off or running twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.cluster import Snapshot
from bot.domain.operation import State
from plugins.failover.steps import KillVm, ReadmitVm, StartKept
from tests.plugins.failover.test_failover import Room, room_in

CLUSTER = """
host-a  16cpu 64G | web-1 4G 2cpu [failover.test=on] | db-1 8G 2cpu | pin-1 1G [failover.test=on,pin=host-a] | off-1 1G off [failover.test=on]
host-b  16cpu 64G | app-1 2G
host-c  16cpu 64G | app-2 4G
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path, CLUSTER)
    yield made
    made.bot.store.close()


def defined(room: Room, name: str) -> set[str]:
    """The hosts that have its definition."""
    seen: Snapshot = room.bot.hypervisor.snapshot()
    return {vm.host for vm in seen.vms if vm.name == name}


def test_l27_a_tagged_vm_is_killed_and_starts_elsewhere_as_it_is_kept(room: Room) -> None:
    room.asks("failover test-vm web-1")
    steps = room.bot.operation().plan.steps
    assert [type(step) for step in steps] == [KillVm, StartKept, ReadmitVm]
    warnings = " ".join(str(each.text) for each in room.bot.operation().plan.warnings)
    assert "what it has not written is lost" in warnings
    assert room.runs("web-1") == ["host-a"]  # nothing without votes
    assert room.works() is State.DONE, room.why()
    assert room.runs("web-1") == ["host-b"]
    assert defined(room, "web-1") == {"host-b"}
    assert room.runs("db-1") == ["host-a"]
    assert room.power.orders == []
    killed = [call for call in room.bot.hypervisor.calls if call[0] == "force_off"]
    assert len(killed) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("db-1", "db-1 has not the tag `failover.test=on`"),
        ("pin-1", "pin-1 is pinned to host-a"),
        ("off-1", "off-1 is powered off, not running"),
    ],
)
def test_l27_what_could_not_be_started_elsewhere_is_not_killed(
    room: Room, name: str, said: str
) -> None:
    assert said in room.asks(f"failover test-vm {name}")
    assert room.bot.store.operations() == ()


def test_a_vm_that_does_not_start_elsewhere_runs_again_where_it_was(room: Room) -> None:
    room.asks("failover test-vm web-1")
    room.bot.hypervisor.refuse("start", "no such bridge")
    assert room.works() is State.FAILED
    assert "It runs on host-a again" in room.why()
    assert room.runs("web-1") == ["host-a"]
    assert defined(room, "web-1") == {"host-a"}


def test_l1_it_is_not_started_while_another_host_may_have_it(room: Room) -> None:
    room.asks("failover test-vm web-1")
    room.approved()
    kill = room.bot.hypervisor.force_off

    def and_a_host_is_lost(host: str, uuid: str) -> None:
        kill(host, uuid)
        room.bot.hypervisor.down("host-c", "no route to host")

    room.bot.hypervisor.force_off = and_a_host_is_lost  # type: ignore[method-assign]
    room.bot.works()
    assert room.bot.operation().state is State.FAILED
    assert "host-c does not answer" in room.why()
    assert room.runs("web-1") == []


def test_a_tag_that_was_taken_away_meanwhile_saves_it(room: Room) -> None:
    room.asks("failover test-vm web-1")
    vm = room.bot.hypervisor.snapshot().vm("web-1")
    room.bot.hypervisor.set_tags(vm.host, vm.uuid, {})
    room.approved()
    room.bot.works()
    assert room.bot.operation().state is State.STALE
    assert room.runs("web-1") == ["host-a"]
