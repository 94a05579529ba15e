"""How long each VM is away: foretold from the plan, measured from stored moments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.operation import State
from plugins.failover import recovery
from plugins.failover.steps import AwaitReady, ConfirmOff, RestartVm
from tests.plugins.failover.test_failover import Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def test_a_later_wave_is_foretold_later_and_a_host_starts_few_at_a_time() -> None:
    confirm = ConfirmOff("host-a", 1, 3, 3.0)
    starts = [
        RestartVm(name, name, "host-a", "host-b", "", 1, wave, 2)
        for name, wave in (("a", 1), ("b", 1), ("c", 1), ("d", 2))
    ]
    found = recovery.forecast([confirm, *starts])
    assert found == {"a": 27.0, "b": 27.0, "c": 27.0, "d": 30.0}
    waits = AwaitReady("a", "a", "host-b", "agent", 60.0, 1)
    assert recovery.forecast([confirm, *starts, waits])["d"] == 60.0


def test_l30_the_parts_come_from_stored_moments_and_add_up(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.bot.clock.turn(21)
    assert room.works() is State.DONE, room.why()
    operation = room.bot.operation()
    found = {each.name: each for each in recovery.measure(operation)}
    db = found["db-1"]
    assert operation.began_at is not None
    assert db.noticed is not None
    assert db.noticed >= 60
    assert db.decided is not None
    assert db.decided >= 21
    assert db.fenced is not None
    assert db.fenced >= 6  # three readings, three seconds apart
    assert db.booted is None  # nobody waited for it
    ends = {each.index: each.at for each in operation.ended}
    steps = operation.plan.steps
    (index,) = [i for i, s in enumerate(steps) if isinstance(s, RestartVm) and s.name == "db-1"]
    heard = operation.intent.evidence.last_heard
    assert db.whole == pytest.approx((ends[index] - heard).total_seconds())
    assert found["web-1"].foretold is not None
    assert db.foretold is not None
    assert found["web-1"].foretold > db.foretold
    said = room.asks("failover report")
    assert "2 of 2 VMs of host-a run elsewhere (op-1)" in said


def test_a_vm_that_was_skipped_is_told_with_why(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.bot.hypervisor.refuse("start", "no such bridge")
    assert room.works() is State.DONE, room.why()
    said = room.asks("failover report op-1")
    assert "1 of 2 VMs" in said
    assert "no such bridge" in said


def test_without_a_failover_there_is_nothing_to_tell(room: Room) -> None:
    assert "No failover was carried out" in room.asks("failover report")
    room.asks("failover protect")
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert "No failover was carried out" in room.asks("failover report")  # proposed is not begun
    (operation,) = room.bot.store.operations()
    late = recovery.measure(operation)
    assert {each.whole for each in late} == {None}
    assert timedelta(0) <= room.bot.clock.now() - operation.proposed_at
