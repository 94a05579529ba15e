"""The proof that a host is off, as laws: silence, errors and single readings never prove anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.power import (
    Binding,
    Bound,
    Device,
    Hold,
    Lack,
    Missing,
    Power,
    Proof,
    ProofKind,
    Reading,
    Round,
    attestation,
    holds,
    proven_off,
    rebirth,
    wrong_controllers,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A = Device("host-a", "bmc-a")
PDU_1, PDU_2 = (
    Device("host-a", "pdu-1", 2, shares_power=False),
    Device("host-a", "pdu-2", 2, shares_power=False),
)
BOUND = tuple(
    Bound(each.host, each.name, Binding.UUID, NOON, "uuid-a") for each in (A, PDU_1, PDU_2)
)
ASKED = ("libvirt", "shell", "peers")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def read(
    seconds: float, power: Power = Power.OFF, device: Device = A, identity: str = "uuid-a"
) -> Reading:
    return Reading(device.host, device.name, device.level, power, at(seconds), identity)


def silent(seconds: float) -> Round:
    return Round("host-a", at(seconds), ASKED)


OFF = (read(0), read(3), read(6))


def lack(found: Proof | Missing) -> Lack:
    assert isinstance(found, Missing)
    return found.lack


def test_three_spaced_readings_and_a_silent_round_prove_it() -> None:
    proof = proven_off([A], BOUND, OFF, [silent(5)])
    assert isinstance(proof, Proof)
    assert (proof.kind, proof.host, proof.since) == (ProofKind.DEVICE, "host-a", NOON)
    assert [each.at for each in proof.readings] == [at(0), at(3), at(6)]
    assert proof.witnesses == ASKED


def test_without_a_device_nothing_is_proven() -> None:
    assert lack(proven_off([], BOUND, OFF, [silent(5)])) is Lack.NO_DEVICE


def test_a_device_that_was_not_shown_to_be_this_hosts_proves_nothing() -> None:
    assert lack(proven_off([A], (), OFF, [silent(5)])) is Lack.NOT_BOUND
    unbound = (replace(BOUND[0], by=Binding.NONE),)
    assert lack(proven_off([A], unbound, OFF, [silent(5)])) is Lack.NOT_BOUND


def test_a_device_that_names_another_machine_by_now_proves_nothing() -> None:
    swapped = (*OFF, read(9, identity="uuid-b"))
    assert lack(proven_off([A], BOUND, swapped, [silent(5)])) is Lack.NOT_BOUND


def test_readings_in_one_moment_are_one_reading() -> None:
    hurried = (read(0), read(0.5), read(1), read(1.5))
    assert lack(proven_off([A], BOUND, hurried, [silent(2)])) is Lack.TOO_FEW


def test_the_last_reading_is_after_the_order() -> None:
    assert lack(proven_off([A], BOUND, OFF, [silent(7)], ordered_at=at(6.5))) is Lack.TOO_FEW
    assert isinstance(
        proven_off([A], BOUND, (*OFF, read(9)), [silent(7)], ordered_at=at(6.5)), Proof
    )


def test_a_round_before_the_first_off_reading_says_nothing() -> None:
    assert lack(proven_off([A], BOUND, OFF, [silent(-1)])) is Lack.NOT_SILENT


def test_a_round_in_which_nobody_could_be_asked_says_nothing() -> None:
    assert lack(proven_off([A], BOUND, OFF, [Round("host-a", at(5), ())])) is Lack.NOT_SILENT


def test_another_hosts_silence_says_nothing() -> None:
    assert lack(proven_off([A], BOUND, OFF, [replace(silent(5), host="host-b")])) is Lack.NOT_SILENT


def test_all_devices_of_a_level_must_be_off() -> None:
    one = tuple(read(second, device=PDU_1) for second in (0, 3, 6))
    other = tuple(read(second, device=PDU_2) for second in (1, 4, 7))
    assert lack(proven_off([PDU_1, PDU_2], BOUND, one, [silent(8)])) is Lack.UNKNOWN
    still_on = (*one, *other, read(10, Power.ON, PDU_2))
    assert lack(proven_off([PDU_1, PDU_2], BOUND, still_on, [silent(8)])) is Lack.ON
    proof = proven_off([PDU_1, PDU_2], BOUND, (*one, *other), [silent(8)])
    assert isinstance(proof, Proof)
    assert (proof.level, proof.devices, proof.since) == (2, ("pdu-1", "pdu-2"), at(1))


READINGS = st.lists(
    st.tuples(st.floats(0, 60), st.sampled_from(Power), st.sampled_from(["", "uuid-a"])),
    max_size=12,
).map(lambda rows: [read(second, power, identity=identity) for second, power, identity in rows])
ROUNDS = st.lists(st.tuples(st.floats(0, 60), st.booleans()), max_size=6).map(
    lambda rows: [
        Round("host-a", at(second), ASKED, ("peers",) if heard else ()) for second, heard in rows
    ]
)


@given(READINGS, ROUNDS)
def test_nothing_but_off_readings_and_silence_ever_proves(
    readings: list[Reading], rounds: list[Round]
) -> None:
    proof = proven_off([A], BOUND, readings, rounds)
    if isinstance(proof, Missing):
        return
    assert max(readings, key=lambda each: each.at).power is Power.OFF
    assert len(proof.readings) >= 3
    assert all(each.power is Power.OFF for each in proof.readings)
    assert not any(each.heard for each in rounds if each.at >= proof.since)
    assert any(each.silent for each in rounds if each.at >= proof.since)


@given(READINGS, ROUNDS, st.floats(0, 60))
def test_life_after_the_first_off_reading_voids_the_proof(
    readings: list[Reading], rounds: list[Round], later: float
) -> None:
    proof = proven_off([A], BOUND, readings, rounds)
    if isinstance(proof, Missing):
        return
    heard = Round("host-a", proof.since + timedelta(seconds=later), ASKED, ("libvirt",))
    assert lack(proven_off([A], BOUND, readings, [*rounds, heard])) is Lack.HEARD
    on = replace(
        read(0, Power.ON), at=max(each.at for each in readings) + timedelta(seconds=1 + later)
    )
    assert isinstance(proven_off([A], BOUND, [*readings, on], rounds), Missing)


@given(READINGS, ROUNDS)
def test_an_answer_that_is_none_never_makes_a_proof(
    readings: list[Reading], rounds: list[Round]
) -> None:
    """Replacing any reading by UNKNOWN proves no more than before."""
    if isinstance(proven_off([A], BOUND, readings, rounds), Proof):
        return
    for index in range(len(readings)):
        silenced = [
            *readings[:index],
            replace(readings[index], power=Power.UNKNOWN),
            *readings[index + 1 :],
        ]
        found = proven_off([A], BOUND, silenced, rounds)
        assert isinstance(found, Missing) or readings[index].power is Power.ON


def test_a_proof_stands_until_the_host_is_heard_or_has_power() -> None:
    proof = proven_off([A], BOUND, OFF, [silent(5)])
    assert isinstance(proof, Proof)
    assert holds(proof, [*OFF, read(9)], [silent(9)])
    assert not holds(proof, [read(9, Power.ON)], [])
    assert not holds(proof, [], [Round("host-a", at(9), ASKED, ("shell",))])
    assert holds(
        proof,
        [replace(read(9, Power.ON), host="host-b")],
        [Round("host-b", at(9), ASKED, ("shell",))],
    )
    assert holds(proof, [read(9, Power.UNKNOWN)], [])


def test_two_different_people_attest() -> None:
    words = [("ana", at(0)), ("bruno", at(60))]
    proof = attestation("host-a", words, [silent(61)], [], at(62))
    assert isinstance(proof, Proof)
    assert (proof.kind, proof.people) == (ProofKind.ATTESTED, ("ana", "bruno"))


def test_one_person_twice_is_one_person() -> None:
    assert (
        lack(attestation("host-a", [("ana", at(0)), ("ana", at(60))], [silent(61)], [], at(62)))
        is Lack.TOO_FEW
    )


def test_an_old_word_counts_no_more() -> None:
    words = [("ana", at(0)), ("bruno", at(15 * 60 + 1))]
    assert (
        lack(attestation("host-a", words, [silent(15 * 60 + 2)], [], at(15 * 60 + 2)))
        is Lack.TOO_FEW
    )


def test_nobody_attests_against_a_sign_of_life_or_power() -> None:
    words = [("ana", at(0)), ("bruno", at(60))]
    heard = Round("host-a", at(61), ASKED, ("vms",))
    assert lack(attestation("host-a", words, [silent(62), heard], [], at(63))) is Lack.HEARD
    assert lack(attestation("host-a", words, [silent(62)], [read(61, Power.ON)], at(63))) is Lack.ON
    assert lack(attestation("host-a", words, [], [], at(63))) is Lack.NOT_SILENT


def test_a_new_boot_id_is_a_proof_and_an_unknown_one_is_none() -> None:
    proof = rebirth("host-a", "boot-1", "boot-2", NOON)
    assert proof is not None
    assert proof.kind is ProofKind.REBIRTH
    assert rebirth("host-a", "boot-1", "boot-1", NOON) is None
    assert rebirth("host-a", "", "boot-2", NOON) is None
    assert rebirth("host-a", "boot-1", "", NOON) is None


def test_l7_a_controller_that_was_refuted_proves_nothing() -> None:
    wrong = (replace(BOUND[0], by=Binding.REFUTED),)
    assert lack(proven_off([A], wrong, OFF, [silent(5)])) is Lack.NOT_BOUND


IDS = st.sampled_from(["", "boot-1", "boot-2"])


@given(before=IDS, now=IDS, kind=st.sampled_from(ProofKind), stands=st.booleans())
def test_controllers_are_refuted_by_the_same_boot_id_alone(
    before: str, now: str, kind: ProofKind, *, stands: bool
) -> None:
    """Unknown ids show nothing, a new one shows that they were right; people's word is not theirs."""
    proof = Proof("host-a", kind, NOON, 1, ("bmc-a",))
    hold = Hold("host-a", NOON, proof=proof if stands else None, void=None if stands else proof)
    wrong = kind is ProofKind.DEVICE and before == now != ""
    assert wrong_controllers(hold, before, now) == (("bmc-a",) if wrong else ())
    assert wrong_controllers(Hold("host-a", NOON), before, now) == ()
    assert not (wrong and rebirth("host-a", before, now, NOON))
