"""Two people may switch a host off that hangs and still answers; what follows needs the same proof as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.operation import State
from bot.testing.power import Fault
from tests.plugins.failover.test_failover import A, Room, room_in

LINE = "host failover host-a --despite-life"


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    made.asks("failover status")  # the controllers are bound
    made.bot.hypervisor.answers_knocks["host-a"] = True
    made.dies()
    made.bot.clock.turn(60)
    yield made
    made.bot.store.close()


def falls_silent_with_its_power(room: Room) -> None:
    ordered = room.power.switch_off

    def and_silent(device: object) -> None:
        ordered(device)  # type: ignore[arg-type]
        room.bot.hypervisor.answers_knocks["host-a"] = False

    room.power.switch_off = and_silent  # type: ignore[method-assign]


def test_it_is_said_how(room: Room) -> None:
    assert LINE in room.asks()
    assert room.bot.store.operations() == ()


def test_it_takes_two_votes_whatever_the_policy_says_and_warns(room: Room) -> None:
    room.asks(LINE)
    operation = room.bot.operation()
    assert operation.ruling.votes == 2
    assert "despite-life" in {each.code for each in operation.plan.warnings}
    falls_silent_with_its_power(room)
    assert room.works() is State.DONE, room.why()
    assert len(room.runs("db-1")) == 1


def test_a_host_that_goes_on_answering_is_not_proven_off(room: Room) -> None:
    room.asks(LINE)
    room.power.fault(A, Fault.LIAR)
    assert room.works() is State.FAILED
    assert "shows life" in room.why()
    assert room.runs("db-1") == ["host-a"]


def test_a_host_that_does_its_work_is_never_switched_off(room: Room) -> None:
    room.bot.hypervisor.up("host-a")
    assert "answers" in room.asks(LINE)
    assert room.bot.store.operations() == ()


def test_without_a_controller_of_its_own_it_is_refused(room: Room) -> None:
    room.power.fault(A, Fault.DEAD)
    assert "No power controller" in room.asks(LINE)
    assert room.bot.store.operations() == ()
