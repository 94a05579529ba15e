"""Two people's word, where no controller can prove a host off: never one's alone, never while anything speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.message import Person, words
from bot.domain.operation import State
from bot.domain.policy import Policy, Rule
from bot.domain.power import ProofKind
from bot.testing.power import Fault
from tests.plugins.failover.test_failover import A, Room, room_in

LINE = 'host attest-off host-a --seen "the rack has no power"'
NO_VOTES = Policy(
    grants={"engineer": ("*",), "approver": ("*",)},
    rules=(Rule("trusting", votes=0, approvers=("approver",), expires=3600),),
)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    made.bot.services = replace(made.bot.services, policy=NO_VOTES)
    yield made
    made.bot.store.close()


def dark(room: Room) -> None:
    """The host and its controller have lost their power."""
    room.asks("failover status")  # its controller was shown to be its own
    room.power.fault(A, Fault.DEAD)
    room.dies(power=True)
    room.bot.clock.turn(60)


def test_l6_it_takes_another_person_whatever_the_policy_says(room: Room) -> None:
    dark(room)
    room.asks(LINE)
    room.bot.works()
    assert room.bot.operation().state is State.PROPOSED  # by the rule alone it would run
    assert "may not" in room.asks("hosts") or room.bot.store.holds() == ()
    room.bot.clicks("op.approve", room.bot.value(), "UANA")  # the requester's own vote
    room.bot.works()
    assert room.bot.operation().state is State.PROPOSED
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.works()
    assert room.bot.operation().state is State.DONE, room.why()
    (hold,) = room.bot.store.holds()
    assert hold.proof is not None
    assert (hold.proof.kind, set(hold.proof.people)) == (ProofKind.ATTESTED, {"UANA", "UBRUNO"})
    said = next(facts for each in room.bot.operation().ended if (facts := each.facts).get("seen"))
    assert said["said so by"] == words("{people}", people=[Person("UANA"), Person("UBRUNO")])
    assert room.power.orders == []
    assert len(room.runs("db-1")) == 1
    assert room.runs("db-1") != ["host-a"]


def test_l6_it_is_refused_while_the_host_answers_or_a_controller_does(room: Room) -> None:
    refused = room.asks(LINE)
    assert "host-a answers" in refused
    assert "`/kvm host drain host-a`" in refused
    room.asks("failover status")
    room.dies()
    room.bot.clock.turn(60)
    assert "nobody's word is needed" in room.asks(LINE)
    assert room.bot.store.operations() == ()


def test_l6_a_word_ends_after_fifteen_minutes(room: Room) -> None:
    dark(room)
    room.asks(LINE)
    room.bot.clock.turn(16 * 60)
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.works()
    assert room.bot.operation().state is State.FAILED
    assert "two people who say within 15 minutes" in room.why()
    assert len(room.runs("db-1")) == 0


def test_l6_a_controller_that_comes_back_and_reads_on_ends_it(room: Room) -> None:
    dark(room)
    room.asks(LINE)
    room.power.fault(A, None)
    room.power.on.add("host-a")
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.works()
    assert room.bot.operation().state in {State.STALE, State.FAILED}
    assert room.bot.store.holds() == ()
    assert room.runs("db-1") == []


def test_a_rule_that_names_no_approver_cannot_be_asked_for_it(room: Room) -> None:
    policy = replace(NO_VOTES, rules=(Rule("nobody", votes=0, approvers=(), expires=3600),))
    room.bot.services = replace(room.bot.services, policy=policy)
    dark(room)
    assert "names nobody who may vote" in room.asks(LINE)
