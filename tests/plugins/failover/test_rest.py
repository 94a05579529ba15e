"""What happens around the steps: a target that dies, a database that cannot store, a chat that is down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.errors import StoreError
from bot.domain.operation import Replanned, State
from bot.domain.power import Hold
from plugins.failover.steps import RestartVm
from tests.plugins.failover.test_failover import Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def proposed(room: Room) -> dict[str, str]:
    """Where the plan starts each VM."""
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    steps = room.bot.operation().plan.steps
    return {each.name: each.target for each in steps if isinstance(each, RestartVm)}


def test_a_target_that_dies_between_two_waves_is_not_waited_for(room: Room) -> None:
    planned = proposed(room)
    assert planned["db-1"] != planned["web-1"]
    started = room.bot.hypervisor.start

    def and_the_other_dies(host: str, uuid: str) -> None:
        started(host, uuid)
        room.bot.hypervisor.down(planned["web-1"], "no route to host")

    room.bot.hypervisor.start = and_the_other_dies  # type: ignore[method-assign]
    assert room.works() is State.DONE, room.why()
    assert room.runs("web-1") == room.runs("db-1") == [planned["db-1"]]
    (anew,) = [each for each in room.bot.store.events("op-1") if isinstance(each, Replanned)]
    assert f"{planned['web-1']} does not answer any more" in str(anew.why)


def test_what_finds_no_other_target_stays_off_and_is_told(tmp_path: Path) -> None:
    room = room_in(
        tmp_path,
        """
        host-a  16cpu 64G | db-1 20G [failover=first] | web-1 20G [failover=last]
        host-b  16cpu 32G | app-1 1G
        host-c  16cpu 32G | app-2 2G
        """,
    )
    planned = proposed(room)
    started = room.bot.hypervisor.start

    def and_the_other_dies(host: str, uuid: str) -> None:
        started(host, uuid)
        room.bot.hypervisor.down(planned["web-1"], "no route to host")

    room.bot.hypervisor.start = and_the_other_dies  # type: ignore[method-assign]
    assert room.works() is State.DONE, room.why()
    assert room.runs("db-1") == [planned["db-1"]]
    (anew,) = [each for each in room.bot.store.events("op-1") if isinstance(each, Replanned)]
    assert "these stay off: web-1" in str(anew.why)
    room.bot.store.close()


def test_l28_what_cannot_be_stored_is_not_done(room: Room) -> None:
    proposed(room)
    room.approved()

    def full(hold: Hold) -> None:
        raise StoreError(f"No room for the hold on {hold.host}.")

    kept = room.bot.store.put_hold
    room.bot.store.put_hold = full  # type: ignore[method-assign]
    tries = 0
    slept = room.bot.clock.sleep

    def and_then_there_is_room(seconds: float) -> None:
        nonlocal tries
        tries += 1
        assert tries > 3 or room.power.orders == []
        if tries == 3:
            room.bot.store.put_hold = kept  # type: ignore[method-assign]
        slept(seconds)

    room.bot.clock.sleep = and_then_there_is_room  # type: ignore[method-assign]
    room.bot.works()
    assert tries >= 3
    assert room.bot.operation().state is State.DONE, room.why()
    assert room.power.orders == [("host-a", "bmc-a", False)]


def test_l28_a_failover_goes_on_while_the_chat_is_down(room: Room) -> None:
    proposed(room)
    room.approved()

    for method in ("post", "update", "whisper", "tell"):
        room.bot.chat.fail(method, times=1000)
    room.bot.works()
    assert room.bot.operation().state is State.DONE, room.why()
    assert len(room.runs("db-1")) == 1
