"""L22: a host that failed is admitted again by votes, and after a green check or by an explicit word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.cluster import Nic, Pool, VmDetail
from bot.domain.operation import State
from bot.domain.power import Power
from bot.testing.power import Fault
from plugins.failover import readmission
from plugins.failover.intents import Readmit
from tests.plugins.failover.test_failover import A, Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Its VMs run elsewhere, and host-a has come back."""
    made = room_in(tmp_path)
    made.dies()
    made.bot.clock.turn(60)
    made.asks()
    assert made.works() is State.DONE, made.why()
    made.power.on.add("host-a")
    made.bot.hypervisor.up("host-a")
    yield made
    made.bot.store.close()


def breaks(room: Room, what: str) -> None:
    """Something is wrong with the host that came back."""
    if what == "controller":
        room.power.fault(A, Fault.DEAD)
    if what == "stale":
        room.power.fault(A, Fault.LIAR)
    if what == "pool":
        pool = Pool("images", "dir", "/srv", active=False, autostart=True)
        room.bot.hypervisor.change("host-a", pools=(pool,))
    if what == "bridge":
        here = room.bot.hypervisor.snapshot().on("host-a")
        (vm,) = [each for each in here if each.name == "db-1"]
        detail = VmDetail(nics=(Nic("bridge", "br7"),))
        room.bot.hypervisor.put(replace(vm, detail=detail))
        room.bot.hypervisor.change("host-a", bridges=frozenset({"br0"}))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("controller", "nothing proves it off: power by bmc-a: no answer"),
        ("stale", "nothing proves it off: power by bmc-a: off"),
        ("pool", "The pool images of host-a is not active"),
        ("bridge", "host-a lacks what db-1 needs there: bridge br7"),
    ],
)
def test_l22_a_host_with_which_something_is_wrong_is_admitted_by_an_explicit_word_alone(
    room: Room, what: str, said: str
) -> None:
    breaks(room, what)
    refused = room.asks("host readmit host-a")
    assert said in refused.replace("*", "")
    assert [each.host for each in room.bot.store.holds()] == ["host-a"]
    room.asks("host readmit host-a --despite-check")
    told = " ".join(str(each.text) for each in room.bot.operation(2).plan.warnings)
    assert said in told.replace("*", "")
    assert room.works(2) is State.DONE, room.why(2)
    assert room.bot.store.holds() == ()


def test_l22_what_breaks_after_the_proposal_stops_it(room: Room) -> None:
    room.asks("host readmit host-a")
    room.approved(2)
    breaks(room, "controller")
    room.bot.works()
    assert room.bot.operation(2).state is State.STALE
    assert [each.host for each in room.bot.store.holds()] == ["host-a"]


def test_l22_a_host_that_other_hosts_do_not_reach_any_more_is_not_admitted(room: Room) -> None:
    seen = room.bot.hypervisor.snapshot()
    seen = replace(
        seen, hosts=tuple(replace(each, held=each.name == "host-a") for each in seen.hosts)
    )
    reading = replace(room.power.read(A), power=Power.ON)
    intent = Readmit("host-a", readings=(reading,), bound=frozenset({"bmc-a"}), unheard=True)
    rules = room.bot.services.catalog.rules
    refused = readmission.plan(intent, seen, rules)
    assert "not-heard" in str(refused)
    assert "not-heard" not in str(readmission.plan(replace(intent, unheard=False), seen, rules))
