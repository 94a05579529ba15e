"""The verdict on a silent host, as laws: life beats silence, the bot's own blindness beats all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.power import Power, Reading
from plugins.failover.evidence import Evidence, Expected, Heard, OwnView, Statement, Witness
from plugins.failover.verdict import Cause, Patience, Verdict, automatic_objection, judge

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE = Patience()
START = NOON - timedelta(days=1)


def said(witness: Witness, heard: Heard) -> Statement:
    return Statement(witness, heard, NOON)


def reading(power: Power, device: str = "bmc-a") -> Reading:
    return Reading("host-a", device, 1, power, NOON)


SILENT = tuple(said(each, Heard.SILENT) for each in Witness)
DEAD = Evidence(
    "host-a",
    NOON,
    NOON - timedelta(seconds=52),
    sweeps=4,
    statements=SILENT,
    power=(reading(Power.ON),),
    view=OwnView(hosts=3, silent=1, started_at=START),
    bound=frozenset({"bmc-a"}),
)


def verdict(evidence: Evidence) -> Verdict:
    return judge(evidence, PATIENCE).verdict


def heard(witness: Witness, word: Heard, evidence: Evidence = DEAD) -> Evidence:
    return evidence.with_statements([said(witness, word)])


def test_a_silent_host_with_power_and_a_controller_of_its_own_is_dead() -> None:
    assert judge(DEAD, PATIENCE).verdict is Verdict.DEAD
    assert automatic_objection(DEAD, judge(DEAD, PATIENCE)) is None


def test_a_silent_host_whose_own_controller_reads_off_is_gone() -> None:
    assert verdict(replace(DEAD, power=(reading(Power.OFF),))) is Verdict.GONE


@pytest.mark.parametrize(
    ("power", "bound", "cause"),
    [
        ((), frozenset(), Cause.NO_DEVICE),
        ((reading(Power.OFF),), frozenset(), Cause.NOT_BOUND),
        ((reading(Power.ON),), frozenset(), Cause.NOT_BOUND),
        ((reading(Power.UNKNOWN),), frozenset({"bmc-a"}), Cause.NO_ANSWER),
        (
            (reading(Power.OFF), reading(Power.UNKNOWN, "pdu")),
            frozenset({"bmc-a", "pdu"}),
            Cause.NO_ANSWER,
        ),
    ],
)
def test_without_an_answer_of_its_own_controllers_it_is_dark(
    power: tuple[Reading, ...], bound: frozenset[str], cause: Cause
) -> None:
    judged = judge(replace(DEAD, power=power, bound=bound), PATIENCE)
    assert (judged.verdict, judged.cause) == (Verdict.DARK, cause)


def test_one_controller_that_reads_on_outweighs_others_that_read_off() -> None:
    mixed = replace(
        DEAD,
        power=(reading(Power.OFF), reading(Power.ON, "pdu")),
        bound=frozenset({"bmc-a", "pdu"}),
    )
    assert verdict(mixed) is Verdict.DEAD


@pytest.mark.parametrize(
    ("witness", "word", "expected"),
    [
        (Witness.LIBVIRT, Heard.WELL, Verdict.WELL),
        (Witness.LIBVIRT, Heard.LIFE, Verdict.UNCLEAR),  # the connection is refused: a kernel lives
        (Witness.SHELL, Heard.WELL, Verdict.DEAF),
        (Witness.SHELL, Heard.LIFE, Verdict.UNCLEAR),
        (Witness.PEERS, Heard.WELL, Verdict.CUT_OFF),
        (Witness.PEERS, Heard.LIFE, Verdict.UNCLEAR),  # a ping is a kernel, not health
        (Witness.VMS, Heard.WELL, Verdict.ISOLATED),
        (Witness.STORAGE, Heard.WELL, Verdict.ISOLATED),
    ],
)
def test_each_sign_of_life_is_a_verdict_of_its_own(
    witness: Witness, word: Heard, expected: Verdict
) -> None:
    assert verdict(heard(witness, word)) is expected


def test_a_host_that_has_started_anew_without_its_libvirt_has_no_vms_that_run() -> None:
    deaf = DEAD.with_statements([said(Witness.SHELL, Heard.WELL)])
    assert verdict(replace(deaf, boots=("boot-1", "boot-1"))) is Verdict.DEAF
    assert verdict(replace(deaf, boots=("boot-1", ""))) is Verdict.DEAF
    assert verdict(replace(deaf, boots=("boot-1", "boot-2"))) is Verdict.REBORN


def test_a_host_that_answers_after_a_restart_is_back() -> None:
    back = heard(Witness.LIBVIRT, Heard.WELL, replace(DEAD, boots=("boot-1", "boot-2")))
    assert verdict(back) is Verdict.BACK
    assert verdict(replace(back, boots=("boot-1", "boot-1"))) is Verdict.WELL
    assert verdict(replace(back, boots=("", "boot-2"))) is Verdict.WELL


@pytest.mark.parametrize(
    ("view", "cause"),
    [
        (OwnView(3, 2, START), Cause.HALF_SILENT),
        (OwnView(4, 2, START), Cause.HALF_SILENT),
        (OwnView(20, 10, START), Cause.HALF_SILENT),
        (OwnView(1, 1, START), Cause.NO_ANCHOR),
        (OwnView(1, 1, START, anchors=2, anchors_heard=1), Cause.NO_ANCHOR),
        (OwnView(2, 1, START, anchors=1), Cause.NO_ANCHOR),
        (OwnView(20, 1, START, anchors=4, anchors_heard=2), Cause.NO_ANCHOR),
        (OwnView(3, 1, NOON - timedelta(seconds=299)), Cause.JUST_STARTED),
        (OwnView(3, 1, START, storm_at=NOON - timedelta(seconds=299)), Cause.STORM),
    ],
)
def test_when_the_bot_sees_nothing_no_host_is_dead(view: OwnView, cause: Cause) -> None:
    judged = judge(replace(DEAD, view=view), PATIENCE)
    assert (judged.verdict, judged.cause) == (Verdict.US, cause)


@pytest.mark.parametrize(
    "view",
    [
        OwnView(2, 1, START),
        OwnView(1, 1, START, anchors=2, anchors_heard=2),
        OwnView(20, 9, START),
        OwnView(20, 9, START, anchors=3, anchors_heard=2),
        OwnView(3, 1, START, storm_at=NOON - timedelta(seconds=301)),
    ],
)
def test_one_silent_host_among_hosts_that_answer_is_not_the_bot(view: OwnView) -> None:
    assert verdict(replace(DEAD, view=view)) is Verdict.DEAD


def test_expected_silence_is_waited_for_and_says_until_when() -> None:
    until = NOON + timedelta(minutes=20)
    judged = judge(replace(DEAD, expected=Expected("quiet", until)), PATIENCE)
    assert (judged.verdict, judged.until) == (Verdict.EXPECTED, until)


@pytest.mark.parametrize(
    "young",
    [
        replace(DEAD, last_heard=NOON - timedelta(seconds=44)),
        replace(DEAD, sweeps=2),
        replace(DEAD, last_heard=None),
    ],
)
def test_a_short_silence_or_one_of_unknown_length_is_waited_for(young: Evidence) -> None:
    assert verdict(young) is Verdict.WAITING


def test_one_kind_of_witness_is_not_enough_to_act_without_people() -> None:
    """Without SSH to other hosts, only the bot's own network speaks: it may be the network that is dead."""
    only_ours = replace(
        DEAD, statements=(said(Witness.LIBVIRT, Heard.SILENT), said(Witness.SHELL, Heard.SILENT))
    )
    assert verdict(only_ours) is Verdict.DEAD
    assert automatic_objection(only_ours, judge(only_ours, PATIENCE)) is Cause.ONE_KIND


def test_dark_is_never_acted_on_without_people() -> None:
    dark = replace(DEAD, power=())
    assert automatic_objection(dark, judge(dark, PATIENCE)) is Cause.NO_DEVICE


EVIDENCE = st.builds(
    Evidence,
    host=st.just("host-a"),
    at=st.just(NOON),
    last_heard=st.one_of(st.none(), st.floats(0, 600).map(lambda s: NOON - timedelta(seconds=s))),
    sweeps=st.integers(0, 10),
    statements=st.lists(st.sampled_from(Heard), min_size=5, max_size=5).map(
        lambda words: tuple(said(each, word) for each, word in zip(Witness, words, strict=True))
    ),
    power=st.lists(st.sampled_from(Power), max_size=2).map(
        lambda powers: tuple(reading(power, f"bmc-{index}") for index, power in enumerate(powers))
    ),
    view=st.builds(
        OwnView,
        hosts=st.integers(1, 12),
        silent=st.integers(1, 12),
        started_at=st.floats(0, 900).map(lambda s: NOON - timedelta(seconds=s)),
        anchors=st.integers(0, 2),
        anchors_heard=st.integers(0, 2),
        storm_at=st.one_of(st.none(), st.floats(0, 900).map(lambda s: NOON - timedelta(seconds=s))),
    ),
    bound=st.sets(st.sampled_from(["bmc-0", "bmc-1"])).map(frozenset),
    expected=st.one_of(st.none(), st.just(Expected("maintenance"))),
    boots=st.sampled_from([("", ""), ("a", "a"), ("a", "b")]),
)


@given(EVIDENCE, st.sampled_from(Witness), st.sampled_from([Heard.LIFE, Heard.WELL]))
def test_more_life_never_leads_nearer_to_a_fence(
    evidence: Evidence, witness: Witness, word: Heard
) -> None:
    assert not verdict(evidence.with_statements([said(witness, word)])).fenceable


@given(EVIDENCE)
def test_no_fence_while_anybody_hears_it_it_is_expected_or_the_bot_is_blind(
    evidence: Evidence,
) -> None:
    judged = judge(evidence, PATIENCE)
    if not judged.verdict.fenceable:
        return
    assert not evidence.alive
    assert evidence.expected is None
    assert evidence.silent_for >= PATIENCE.silence
    assert 2 * evidence.view.silent < evidence.view.hosts or evidence.view.silent == 1
    assert not evidence.view.anchors or 2 * evidence.view.anchors_heard > evidence.view.anchors
    if judged.verdict is not Verdict.DARK:
        assert evidence.bound & {each.device for each in evidence.power}


@given(EVIDENCE, st.sampled_from(Power))
def test_an_unbound_controller_never_makes_a_host_gone_or_dead(
    evidence: Evidence, power: Power
) -> None:
    unbound = replace(evidence, power=(reading(power, "of-another-host"),), bound=frozenset())
    assert verdict(unbound) not in {Verdict.GONE, Verdict.DEAD}
