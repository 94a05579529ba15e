"""A controller that names no machine, such as a PDU's outlet: two people say whose it is, and then it proves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.powers import ProvenPowers
from bot.domain.operation import State
from bot.domain.power import Binding, Device
from bot.testing.power import FakePower, Fault
from tests.plugins.failover.test_attest import NO_VOTES
from tests.plugins.failover.test_failover import Room, room_in

PDU = Device("host-a", "pdu-a")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    bot = made.bot
    made.power = FakePower(
        bot.clock, [PDU], {}, lambda host, on: None if on else bot.hypervisor.die(host)
    )
    bot.hypervisor.powers = ProvenPowers(made.power, bot.store, bot.clock)
    bot.services = replace(bot.services, policy=NO_VOTES)
    yield made
    bot.store.close()


def test_a_controller_is_bound_by_two_people_and_then_proves_the_host_off(room: Room) -> None:
    room.asks("failover bind host-a pdu-a")
    room.bot.works()
    assert room.bot.store.bonds() == ()  # whatever the policy says, it takes a vote
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.works()
    (bond,) = room.bot.store.bonds()
    assert (bond.device, bond.by) == ("pdu-a", Binding.PEOPLE)
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert room.works(2) is State.DONE, room.why(2)
    assert room.power.orders == [("host-a", "pdu-a", False)]
    assert len(room.runs("db-1")) == 1


def test_without_that_it_is_never_used_and_the_way_is_told(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    assert "failover bind host-a pdu-a" in room.asks()
    assert room.power.orders == []


def test_what_does_not_answer_or_is_anothers_is_not_bound(room: Room) -> None:
    assert "has no power controller pdu-b" in room.asks("failover bind host-a pdu-b")
    room.power.fault(PDU, Fault.DEAD)
    assert "does not answer" in room.asks("failover bind host-a pdu-a")
    other = FakePower(room.bot.clock, [PDU], {"host-a": "uuid-of-another"})
    room.bot.hypervisor.powers = ProvenPowers(other, room.bot.store, room.bot.clock)
    assert "controls another machine" in room.asks("failover bind host-a pdu-a")
    assert room.bot.store.operations() == ()
