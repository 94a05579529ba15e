"""L5, L13, L14, L15: the bot is killed at every event of a failover, right before or right after it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.domain.cluster import STARTING_UP, VmState
from bot.domain.operation import Began, Event, Operation, State, StepBegan, StepEnded
from bot.domain.power import ProofKind
from tests.plugins.failover.test_failover import Room, room_in

MOST = 40  # events of one failover, and so kills, at most


class Killed(BaseException):
    """The process is gone: nothing that handles errors handles this."""


def killed_at(room: Room, number: int, *, stored: bool) -> Event | None:
    """Work until the event of this number since the votes is stored, or about to be; that event, None for no more."""
    append, left, last = room.bot.store.append, number, None

    def and_die(operation: Operation, *events: Event, **more: Any) -> Operation:
        nonlocal left, last
        if left == 0 and not stored:
            last = events[-1]
            raise Killed
        found = append(operation, *events, **more)
        if left == 0:
            last = events[-1]
            raise Killed
        left -= 1
        return found

    room.bot.store.append = and_die  # type: ignore[method-assign]
    try:
        room.bot.works()
    except Killed:
        return last
    finally:
        room.bot.store.append = append  # type: ignore[method-assign]
    return None


def watched(room: Room) -> None:
    """Fail at once when an order is given without a stored hold, or a start makes a second copy."""
    order, start = room.power.switch_off, room.bot.hypervisor.start

    def only_on_hold(device: Any) -> None:
        assert [each.host for each in room.bot.store.holds()] == ["host-a"]  # L13
        order(device)

    def only_once(host: str, uuid: str) -> None:
        (hold,) = room.bot.store.holds()
        assert hold.proof is not None  # L1
        assert hold.proof.kind is ProofKind.DEVICE
        start(host, uuid)
        active = [
            each.vm.host
            for each in room.bot.hypervisor._guests.values()
            if each.vm.uuid == uuid and each.vm.state.active
        ]
        assert active == [host]  # L15

    room.power.switch_off = only_on_hold  # type: ignore[method-assign]
    room.bot.hypervisor.start = only_once  # type: ignore[method-assign]


def dead_host(directory: Path) -> Room:
    """A failover of host-a that two people approved, before its first event."""
    directory.mkdir()
    room = room_in(directory)
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.approved()
    watched(room)
    return room


def killed_and_started(room: Room, number: int, *, stored: bool) -> Event | None:
    """Kill it at the event of this number; if there was one, start it again, with its work to do."""
    event = killed_at(room, number, stored=stored)
    if event is not None:
        room.bot.forgets()
        room.bot.work.ids.append("op-1")
    return event


def is_well(room: Room, event: Event | None) -> None:
    """Done, with one order, and each VM that ran runs once, elsewhere, started once."""
    assert room.bot.operation().state is State.DONE, (event, room.why())
    assert [len(room.runs(name)) for name in ("db-1", "web-1", "old-1")] == [1, 1, 0]
    assert "host-a" not in room.runs("db-1") + room.runs("web-1")
    starts = [call[2] for call in room.bot.hypervisor.calls if call[0] == "start"]
    assert len(starts) == len(set(starts)) == 2  # L14
    assert set(room.power.orders) == {("host-a", "bmc-a", False)}  # L12
    room.bot.store.close()


def has_all(seen: list[type[Event]]) -> bool:
    """Whether the beginning and the end of each of the five steps were among the events."""
    return seen.count(StepBegan) == seen.count(StepEnded) == 5 and Began in seen


@pytest.mark.parametrize("stored", [True, False], ids=["right after", "right before"])
def test_l5_l13_l15_killed_at_each_event_in_turn_it_goes_on_and_each_vm_runs_once(
    tmp_path: Path, *, stored: bool
) -> None:
    """Each event costs the bot its life once, in one and the same failover."""
    room, seen = dead_host(tmp_path / "bot"), list[type[Event]]()
    while (
        event := killed_and_started(room, 0 if stored else bool(seen), stored=stored)
    ) is not None:
        seen.append(type(event))
        assert len(seen) < MOST
    is_well(room, event)
    assert has_all(seen)


@pytest.mark.parametrize("fails", [False, True], ids=["it succeeds", "it fails"])
def test_l14_killed_during_a_start_it_waits_for_that_start_and_defines_nothing_meanwhile(
    tmp_path: Path, *, fails: bool
) -> None:
    """libvirt goes on starting it; until that is over, nobody knows whether it runs."""
    room = dead_host(tmp_path / "bot")
    hypervisor = room.bot.hypervisor
    start, define = hypervisor.start, hypervisor.define_kept
    under_way: list[tuple[str, str]] = []

    def die_in_it(host: str, uuid: str) -> None:
        start(host, uuid)
        hypervisor._turn(host, uuid, VmState.PAUSED, STARTING_UP)
        under_way.append((host, uuid))
        raise Killed

    def wait_for_it(host: str, uuid: str) -> None:
        if under_way and fails:
            hypervisor._turn(*under_way.pop(), VmState.SHUT_OFF, "")
        under_way.clear()
        start(host, uuid)

    def define_nothing_that_starts(host: str, *given: Any, **named: Any) -> None:
        assert not under_way
        define(host, *given, **named)

    hypervisor.start = die_in_it  # type: ignore[method-assign]
    with pytest.raises(Killed):
        room.bot.works()
    assert under_way
    hypervisor.start = wait_for_it  # type: ignore[method-assign]
    hypervisor.define_kept = define_nothing_that_starts  # type: ignore[method-assign]
    room.bot.forgets()
    room.bot.work.ids.append("op-1")
    room.bot.works()
    assert room.bot.operation().state is State.DONE, room.why()
    assert [len(room.runs(name)) for name in ("db-1", "web-1")] == [1, 1]
    assert all(each.vm.paused_by != STARTING_UP for each in hypervisor._guests.values()), (
        "a start was taken for done"
    )
    room.bot.store.close()


@pytest.mark.slow
@pytest.mark.parametrize("stored", [True, False], ids=["right after", "right before"])
def test_l5_l13_l15_killed_once_at_any_event_it_goes_on_and_each_vm_runs_once(
    tmp_path: Path, *, stored: bool
) -> None:
    """One failover for each event, with one kill."""
    seen: list[type[Event]] = []
    for number in range(MOST):
        room = dead_host(tmp_path / str(number))
        event = killed_and_started(room, number, stored=stored)
        if event is not None:
            seen.append(type(event))
            room.bot.works()
        is_well(room, event)
        if event is None:
            break
    assert event is None
    assert has_all(seen)
