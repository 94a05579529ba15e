"""`why` after a failover: the operation that started the VM where it is now is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.operation import State
from tests.bot.flow.small_bot import text
from tests.plugins.failover.test_failover import Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def fails_over(room: Room) -> str:
    """The id of the operation that started the VMs of host-a elsewhere."""
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    newest = room.bot.store.operations(limit=1)[0]
    for person in ("UBRUNO", "UCARLA"):
        room.bot.clicks("op.approve", room.bot.value(int(newest.id[3:])), person)
    room.bot.works()
    assert room.bot.store.operation(newest.id).state is State.DONE, room.why()
    return newest.id


def test_why_names_the_failover_that_started_a_vm_elsewhere(room: Room) -> None:
    id_ = fails_over(room)
    (host,) = set(room.bot.where("web-1")) - {"host-a"}  # whose last sight of it is stale
    said = text(room.bot.types("why web-1"))
    assert f"Why web-1 is on {host}" in said
    assert f"{id_}, " in said
    assert "Switch host-a off and start 2 VMs on other hosts (done" in said


def test_why_tells_a_failover_after_the_migration_before_it(room: Room) -> None:
    room.bot.types("migrate web-1 to host-b")
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.works()
    room.bot.types("migrate web-1 to host-a")
    room.bot.clicks("op.approve", room.bot.value(2), "UBRUNO")
    room.bot.works()
    assert room.bot.where("web-1") == ["host-a"]
    id_ = fails_over(room)
    said = text(room.bot.types("why web-1"))
    assert "op-2 moved it from host-b to host-a" in said
    assert f"Later: {id_}, Switch host-a off and start 2 VMs on other hosts." in said
    assert "outside Drover" not in said
