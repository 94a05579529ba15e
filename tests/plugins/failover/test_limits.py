"""What bounds a failover that nobody is asked about: the window, the time of a host, and what is under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.power import Hold
from bot.plugin_api import Proposal
from bot.testing.power import Fault
from tests.plugins.failover.test_failover import Room, room_in
from tests.plugins.failover.test_watch import Looks, two_kinds

HOUR = 3600.0


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    two_kinds(monkeypatch)
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def proposed(looks: Looks) -> Proposal:
    """What the watch proposes once host-a has been silent for long enough."""
    looks.room.dies()
    (noticed,) = looks.after(8).noticed
    assert isinstance(noticed, Proposal)
    return noticed


def test_it_acts_by_itself_within_its_limits(room: Room) -> None:
    looks = Looks(room, mode="auto")
    looks.look()
    assert proposed(looks).automatic


@pytest.mark.parametrize(("hours", "automatic"), [(1, False), (23, False), (26, True)])
def test_l11_a_host_that_was_on_hold_within_a_day_is_for_people_whatever_was_done_since(
    room: Room, *, hours: float, automatic: bool
) -> None:
    """Nothing but its hold tells of the failover: no operation of it is among the newest."""
    looks = Looks(room, mode="auto")
    room.bot.store.put_hold(Hold("host-a", room.bot.clock.now(), "", "op-9"))
    looks.look()
    room.bot.store.lift_hold("host-a")
    looks.look(hours * HOUR)
    assert proposed(looks).automatic is automatic


@pytest.mark.parametrize("line", ["host failover host-b", "host attest-off host-b --seen smoke"])
def test_l11_none_begins_while_people_decide_about_another(room: Room, line: str) -> None:
    looks = Looks(room, mode="auto", storm_cooldown=0)
    looks.look()
    room.dies("host-b", power=True)
    if "attest" in line:
        room.power.fault(room.power.devices("host-b")[0], Fault.DEAD)
    looks.after(8)
    room.asks(line)
    assert len(room.bot.store.operations()) == 1, line
    room.bot.hypervisor.up("host-b")
    assert not proposed(looks).automatic
