"""A lock that outlives the dead host is waited for, and never broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.message import Duration
from bot.domain.operation import State, StepEnded, StepSkipped
from bot.testing import FakeHypervisor
from plugins.failover.handler import _LOCK_POLL
from tests.examples import examples
from tests.plugins.failover.test_failover import Room, room_in

CLUSTER = """
host-a  16cpu 64G reserve 2G | db-1 8G [failover=first] | web-1 4G [failover=last]
host-b  16cpu 64G reserve 2G | app-1 2G
host-c  16cpu 64G reserve 2G
"""
WAITED = "waited for a lock"
LOCK = 'Failed to get "write" lock'


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path, CLUSTER, lock_patience=30)
    made.dies()
    made.bot.clock.turn(60)
    made.asks()
    yield made
    made.bot.store.close()


def locks(room: Room, times: int) -> None:
    """So many starts find a disk locked."""
    room.bot.hypervisor.refuse("start", LOCK, times=times, code="disk-locked")


def test_l19_a_lock_that_outlives_the_host_is_waited_for(room: Room) -> None:
    locks(room, 3)
    assert room.works() is State.DONE, room.why()
    assert len(room.runs("db-1")) == len(room.runs("web-1")) == 1
    ended = [each for each in room.bot.store.events("op-1") if isinstance(each, StepEnded)]
    waited = [each.facts[WAITED] for each in ended if WAITED in each.facts]
    assert waited == [Duration(3 * _LOCK_POLL)]


def test_l19_one_that_lasts_keeps_its_vm_off_and_is_told_and_the_others_start(room: Room) -> None:
    locks(room, 7)
    assert room.works() is State.DONE, room.why()
    assert room.runs("db-1") == []
    assert len(room.runs("web-1")) == 1
    (why,) = [each.why for each in room.bot.store.events("op-1") if isinstance(each, StepSkipped)]
    assert "db-1 did not start: a disk is still locked after 30 s" in str(why.text)
    assert "Drover breaks no lock" in str(why.remedy)
    assert "`/kvm host failover host-a --only=db-1`" in str(why.remedy)


def test_l4_and_l19_power_that_comes_back_while_a_lock_is_waited_for_stops_all_starts(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks(room, 2)
    start = FakeHypervisor.start

    def press(self: FakeHypervisor, host: str, uuid: str) -> None:
        room.power.on.add("host-a")  # somebody presses the button while it is locked
        start(self, host, uuid)

    monkeypatch.setattr(FakeHypervisor, "start", press)
    assert room.works() is State.FAILED
    assert "host-a is not proven off any more" in room.why()
    assert room.runs("db-1") == room.runs("web-1") == []


@settings(
    max_examples=examples(10),
)
@given(lasts=st.integers(0, 9))
def test_l19_however_long_it_lasts_nothing_but_a_start_is_tried(
    tmp_path_factory: pytest.TempPathFactory, lasts: int
) -> None:
    """On the target Drover only defines and starts: it has nothing that could break a lock."""
    room = room_in(tmp_path_factory.mktemp("locks"), CLUSTER, lock_patience=30)
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    locks(room, lasts)
    before = len(room.bot.hypervisor.calls)
    assert room.works() is State.DONE, room.why()
    did = {name for name, *_ in room.bot.hypervisor.calls[before:]}
    assert did <= {"define_kept", "start"}
    assert len(room.runs("db-1")) == (1 if lasts <= 6 else 0)
    room.bot.store.close()
