"""A silence that people expect is no death, for as long as they said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.operation import State
from bot.flow.operations import overdue
from plugins.failover.verdict import Verdict
from tests.plugins.failover.test_failover import Room, room_in
from tests.plugins.failover.test_watch import Looks


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def says(room: Room, line: str, number: int = 1) -> State:
    room.asks(line)
    room.bot.clicks("op.approve", room.bot.value(number), "UBRUNO")
    room.bot.works()
    return room.bot.operation(number).state


def test_l10_a_host_that_is_expected_to_be_silent_is_not_switched_off(room: Room) -> None:
    assert says(room, "host quiet host-a --for 10m") is State.DONE, room.why()
    room.dies()
    room.bot.clock.turn(60)
    said = room.asks()
    assert "expected to be unreachable until" in said
    assert "host quiet host-a --off" in said
    looks = Looks(room)
    assert looks.after(5).noticed == ()
    assert looks.verdict is Verdict.DEAD  # what it would be without people's word
    room.bot.clock.turn(600)
    room.asks()
    assert room.bot.operation(2).action == "host failover"


def test_what_is_expected_is_said_in_plain_words(room: Room) -> None:
    room.asks("host quiet host-a --for 30m")
    room.asks("host quiet host-a --off")
    first, second = (room.bot.operation(number).plan for number in (1, 2))
    assert str(first.title) == "Expect host-a to be unreachable for 30 min"
    assert str(first.steps[0].title) == str(first.title)
    assert str(second.title) == str(second.steps[0].title) == "Expect host-a to be reachable again"


def test_another_hosts_silence_is_not_expected(room: Room) -> None:
    says(room, "host quiet host-b --for 10m")
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert room.bot.operation(2).action == "host failover"


def test_the_time_begins_when_it_is_carried_out_and_not_when_it_is_proposed(room: Room) -> None:
    room.asks("host quiet host-a --for 10m --in 2h")
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.clock.turn(7200)
    overdue.remind(room.bot.services)  # what is due is handed over
    room.bot.works()
    assert room.bot.operation().state is State.DONE
    room.dies()
    room.bot.clock.turn(540)
    assert "expected to be unreachable until" in room.asks()
    room.bot.clock.turn(120)
    room.asks()
    assert room.bot.operation(2).action == "host failover"


def test_it_is_taken_back(room: Room) -> None:
    says(room, "host quiet host-a --for 1h")
    says(room, "host quiet host-a --off", 2)
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert room.bot.operation(3).action == "host failover"


@pytest.mark.parametrize(
    ("line", "says_so"),
    [
        ("host quiet host-a --for 25h", "For longer, use `/kvm host maintenance host-a on`."),
        ("host quiet host-a --for x", "x"),
    ],
)
def test_what_makes_no_sense_is_refused(room: Room, line: str, says_so: str) -> None:
    assert says_so in room.asks(line)
    assert room.bot.store.operations() == ()
