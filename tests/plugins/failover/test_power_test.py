"""A real drill: an empty host is switched off and on, which shows whose its controllers are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.powers import ProvenPowers
from bot.domain.operation import State
from bot.domain.power import Binding, Device
from bot.testing.power import FakePower, Fault
from tests.plugins.failover.test_failover import Room, room_in

C = Device("host-c", "pdu-7")
CLUSTER = """
host-a  16cpu 64G reserve 2G | web-1 4G
host-b  16cpu 64G reserve 2G | app-1 2G
host-c  16cpu 64G reserve 2G | old-1 1G off
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path, CLUSTER)
    hypervisor = made.bot.hypervisor

    def switched(host: str, on: bool) -> None:  # noqa: FBT001 - as the fake calls it
        if on:
            hypervisor.up(host)
        else:
            hypervisor.down(host, "no route to host")

    made.power = FakePower(made.bot.clock, [C], {}, switched)
    hypervisor.powers = ProvenPowers(made.power, made.bot.store, made.bot.clock)
    yield made
    made.bot.store.close()


def test_it_binds_a_controller_that_names_no_machine_and_dates_it(room: Room) -> None:
    room.bot.store.set_maintenance("host-c", on=True)
    room.asks("failover drill host-c --real")
    assert room.bot.operation().plan.warnings[-1].code == "nameless"
    assert room.works() is State.DONE, room.why()
    assert [each[2] for each in room.power.orders] == [False, True]
    (bound,) = room.bot.store.bonds()
    assert (bound.host, bound.device, bound.by) == ("host-c", "pdu-7", Binding.DRILL)
    assert bound.at == room.bot.clock.now()
    assert room.bot.hypervisor.snapshot().host("host-c").up
    assert "by a drill" in room.asks("failover status")


@pytest.mark.parametrize(
    ("host", "maintenance", "says"),
    [
        ("host-c", False, "not in maintenance"),
        ("host-a", True, "VMs run on host-a: web-1"),
        ("host-b", True, "no power controller"),
    ],
)
def test_l27_it_touches_only_a_host_that_is_empty_and_rests(
    room: Room, *, host: str, maintenance: bool, says: str
) -> None:
    room.bot.store.set_maintenance(host, on=maintenance)
    assert says in room.asks(f"failover test {host}")
    assert room.bot.store.operations() == ()
    assert room.power.orders == []


def test_l27_a_vm_that_came_between_the_votes_and_the_order_stops_it(room: Room) -> None:
    room.bot.store.set_maintenance("host-c", on=True)
    room.asks("failover test host-c")
    vm = room.bot.hypervisor.snapshot().vm("old-1")
    room.bot.hypervisor.start("host-c", vm.uuid)
    assert room.works() is State.STALE
    assert room.power.orders == []


def test_a_controller_of_another_machine_is_found_and_that_machine_is_switched_on_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.bot.store.set_maintenance("host-c", on=True)
    monkeypatch.setattr(room.power, "_switched", lambda *_: None)  # host-c answers on
    room.asks("failover test host-c")
    assert room.works() is State.FAILED
    assert "it controls another machine, which was switched on again" in room.why()
    assert [each[2] for each in room.power.orders] == [False, True]
    assert room.bot.store.bonds() == ()


def test_a_controller_that_does_nothing_binds_nothing(room: Room) -> None:
    room.bot.store.set_maintenance("host-c", on=True)
    room.asks("failover test host-c")
    room.power.fault(C, Fault.IDLE)
    assert room.works() is State.FAILED
    assert "did not switch host-c off" in room.why()
    assert room.bot.store.bonds() == ()


def test_after_a_kill_between_off_and_on_it_is_switched_on_and_bound(room: Room) -> None:
    room.bot.store.set_maintenance("host-c", on=True)
    room.asks("failover test host-c")
    room.approved()
    ordered = room.power.switch_on

    def die(device: Device) -> None:
        raise KeyboardInterrupt(device.name)

    room.power.switch_on = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        room.bot.works()
    room.power.switch_on = ordered  # type: ignore[method-assign]
    room.bot.forgets()
    room.bot.work.ids.append("op-1")
    room.bot.works()
    assert room.bot.operation().state is State.DONE, room.why()
    assert [each[2] for each in room.power.orders] == [False, True]
    assert room.bot.store.bonds()[0].by is Binding.DRILL
