"""A host that is proven off answers in sightings; the proof is read again each time, and life or power voids it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.adapters.powers import NoPowers, ProvenPowers
from bot.adapters.sql.store import SqlStore
from bot.catalog import core_codec
from bot.domain.cluster import Sighting, VmState
from bot.domain.errors import PowerError
from bot.domain.power import (
    MOST_MINUTES_ATTESTED,
    Binding,
    Bound,
    Device,
    Hold,
    Power,
    Proof,
    ProofKind,
)
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from bot.testing.power import FakePower, Fault

ONE, TWO = Device("host-a", "bmc-a"), Device("host-a", "pdu-a")
CLUSTER = "host-a 4cpu 4G | web-1 1G\nhost-b 4cpu 4G"


@dataclass
class Room:
    clock: TickingClock
    store: SqlStore
    control: FakePower
    hypervisor: FakeHypervisor
    uuid: str = ""

    def held(self, kind: ProofKind = ProofKind.DEVICE) -> None:
        """host-a has no power, and that is proven."""
        self.control.on.discard("host-a")
        self.hypervisor.die("host-a")
        now = self.clock.now()
        self.store.put_bond(Bound("host-a", "bmc-a", Binding.UUID, now, "uuid-a"))
        self.store.put_bond(Bound("host-a", "pdu-a", Binding.DRILL, now))
        self.store.put_hold(Hold("host-a", now, "", "op-1"))
        self.hypervisor.power.prove(Proof("host-a", kind, now, 1, ("bmc-a", "pdu-a")))

    def seen(self) -> Sighting:
        return next(each for each in self.hypervisor.sightings(self.uuid) if each.host == "host-a")

    def proof(self) -> Proof | None:
        return self.store.holds()[0].proof


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    clock = TickingClock()
    store = SqlStore(f"sqlite:///{tmp_path}/drover.sqlite", core_codec(), clock=clock)
    control = FakePower(clock, [ONE, TWO], {"host-a": "uuid-a"})
    hypervisor = FakeHypervisor(
        draw_cluster(CLUSTER), clock, powers=ProvenPowers(control, store, clock)
    )
    yield Room(clock, store, control, hypervisor, hypervisor.snapshot().vm("web-1").uuid)
    store.close()


def test_a_silent_host_is_silent_until_it_is_proven_off(room: Room) -> None:
    assert room.seen().state is VmState.RUNNING
    room.hypervisor.die("host-a")
    assert not room.seen().reachable
    room.store.put_hold(Hold("host-a", room.clock.now(), "", "op-1"))
    room.control.on.discard("host-a")
    assert not room.seen().reachable  # a hold is no proof, and neither is one reading
    room.held()
    assert room.seen() == Sighting("host-a", reachable=True, proven="device")


def test_a_proof_needs_a_hold(room: Room) -> None:
    with pytest.raises(PowerError, match="not on hold"):
        room.hypervisor.power.prove(Proof("host-a", ProofKind.DEVICE, room.clock.now()))
    with pytest.raises(PowerError, match="not on hold"):
        NoPowers().prove(Proof("host-a", ProofKind.DEVICE, room.clock.now()))


@pytest.mark.parametrize("device", [ONE, TWO])
def test_l4_power_that_is_read_on_voids_the_proof_for_good(room: Room, device: Device) -> None:
    room.held()
    other = TWO if device is ONE else ONE
    room.control.on.add("host-a")
    room.control.fault(other, Fault.LIAR)
    assert not room.seen().reachable
    room.control.on.discard("host-a")
    assert not room.seen().reachable
    assert room.proof() is None


def test_l2_a_controller_that_does_not_answer_is_not_off(room: Room) -> None:
    room.held()
    room.control.fault(TWO, Fault.DEAD)
    assert not room.seen().reachable
    room.control.fault(TWO, None)
    assert room.seen().proven == "device"  # it did not say that the host is on


def test_l4_a_host_that_answers_voids_the_proof(room: Room) -> None:
    room.held()
    room.hypervisor.up("host-a")
    assert room.seen() == Sighting("host-a", reachable=True, state=VmState.SHUT_OFF)
    room.hypervisor.down("host-a")
    assert not room.seen().reachable


def test_l7_a_controller_that_names_another_machine_proves_nothing(room: Room) -> None:
    room.held()
    room.store.put_bond(Bound("host-a", "bmc-a", Binding.UUID, room.clock.now(), "uuid-of-another"))
    assert not room.seen().reachable


def test_l6_two_peoples_word_ends_and_power_voids_it(room: Room) -> None:
    room.held(ProofKind.ATTESTED)
    for device in (ONE, TWO):
        room.control.fault(device, Fault.DEAD)
    assert room.seen().proven == "attested"
    room.clock.turn(timedelta(minutes=MOST_MINUTES_ATTESTED, seconds=1).total_seconds())
    assert not room.seen().reachable
    room.held(ProofKind.ATTESTED)
    room.control.fault(ONE, None)
    room.control.on.add("host-a")
    assert not room.seen().reachable
    assert room.proof() is None


def test_only_bound_controllers_are_answered(room: Room) -> None:
    room.held()
    room.hypervisor.power.bind(replace(room.hypervisor.power.bonds("host-a")[0], by=Binding.NONE))
    assert [each.device for each in room.hypervisor.power.bonds("host-a")] == ["pdu-a"]
    assert room.hypervisor.power.read(TWO).power is Power.OFF


def test_l7_what_was_refuted_takes_people_or_a_drill_not_the_uuid_that_it_names(room: Room) -> None:
    room.held()
    power = room.hypervisor.power
    bond = next(each for each in power.bonds("host-a") if each.device == "bmc-a")
    power.bind(replace(bond, by=Binding.REFUTED))
    assert not room.seen().reachable  # the proof rested on it
    power.bind(bond)
    assert [each.device for each in power.bonds("host-a")] == ["pdu-a"]
    assert [each.device for each in power.wrong_bonds("host-a")] == ["bmc-a"]
    for by in (Binding.PEOPLE, Binding.DRILL):
        power.bind(replace(bond, by=Binding.REFUTED))
        power.bind(replace(bond, by=by))
        assert {each.device for each in power.bonds("host-a")} == {"bmc-a", "pdu-a"}


def test_what_voided_a_proof_leaves_it_to_be_looked_at(room: Room) -> None:
    room.held()
    proof = room.proof()
    room.hypervisor.up("host-a")
    room.seen()
    (hold,) = room.store.holds()
    assert (hold.proof, hold.void) == (None, proof)
