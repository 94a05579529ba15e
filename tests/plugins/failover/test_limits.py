"""What bounds a failover that nobody is asked about: the window, the time of a host, and what is under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.operation import Operation
from bot.domain.plan import Plan
from bot.domain.power import Hold
from bot.plugin_api import Proposal
from bot.testing.power import Fault
from plugins.failover import planner, witnesses
from plugins.failover.intents import Failover
from plugins.failover.sight import own_machine
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


def test_l12_the_host_of_the_bots_own_vm_or_of_its_database_is_for_people(room: Room) -> None:
    looks = Looks(room, mode="auto", own_vms=["db-1"])
    looks.look()
    assert not proposed(looks).automatic
    told = [str(each.text) for each in proposed_plan(room, looks).warnings]
    assert any(each.startswith("Drover or its database runs in db-1 on host-a") for each in told)


def proposed_plan(room: Room, looks: Looks) -> Plan:
    """What people are asked about host-a."""
    seen = room.bot.hypervisor.snapshot()
    evidence = witnesses.gather(
        looks.settings.sight, seen.host("host-a"), seen, room.bot.hypervisor
    )
    kept = room.bot.store.definitions(host="host-a")
    made = planner.what_if(looks.settings, Failover("host-a", kept=kept, evidence=evidence), seen)
    assert isinstance(made, Plan)
    return made


def test_l12_the_bots_own_vm_is_known_by_the_uuid_of_its_machine(tmp_path: Path) -> None:
    told = tmp_path / "product_uuid"
    assert own_machine(told) == ""
    told.write_text("4C4C4544-0042\n")
    assert own_machine(told) == "4c4c4544-0042"
    told.write_bytes(b"\xff\xfe")
    assert own_machine(told) == ""


@pytest.mark.parametrize(("minutes", "automatic"), [(5, False), (40, True)])
def test_l11_at_most_one_by_itself_in_a_window(
    room: Room, *, minutes: float, automatic: bool
) -> None:
    """The first, which nobody was asked about, is over and its host answers again."""
    looks = Looks(room, mode="auto", storm_cooldown=0)
    looks.look()
    room.dies("host-b")
    looks.after(8)
    room.asks("host failover host-b")
    room.bot.clicks("op.withdraw", room.bot.value(), "UANA")
    assert room.bot.operation().state.over
    room.bot.hypervisor.up("host-b")
    operations = room.bot.store.operations

    def by_itself(**which: Any) -> tuple[Operation, ...]:
        return tuple(
            replace(each, ruling=replace(each.ruling, automatic=True))
            for each in operations(**which)
        )

    room.bot.store.operations = by_itself  # type: ignore[method-assign]
    looks.look(60 * minutes)
    assert proposed(looks).automatic is automatic
