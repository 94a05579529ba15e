"""Decisions by typing: what buttons do, by the id of the operation, and a vote by the hash of its plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.card import Table
from bot.domain.operation import State
from bot.flow.commands import decisions, dispatcher, late_requests
from bot.flow.commands.buttons import Lane
from bot.flow.operations import overdue
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=("migrate", "balance"))
    yield made
    made.store.close()


@pytest.fixture
def proposed(bot: Bot) -> Bot:
    bot.types("migrate web-1 to host-b")
    return bot


def digest(bot: Bot) -> str:
    return bot.operation().plan.digest


def test_approve_with_the_hash_counts_as_a_vote_and_says_so(proposed: Bot) -> None:
    said = text(proposed.types(f"approve op-1 {digest(proposed)}", "UBRUNO"))
    assert proposed.operation().state is State.APPROVED
    assert [vote.by for vote in proposed.operation().votes] == ["UBRUNO"]
    assert "You approved it. It has all its votes." in said
    proposed.works()
    assert proposed.where("web-1") == ["host-b"]


@pytest.mark.parametrize("typed", ["approve 1 {0}", "APPROVE OP-1 {1}", "approve op-1 {2}"])
def test_the_id_and_the_hash_may_be_typed_shorter(proposed: Bot, typed: str) -> None:
    whole = digest(proposed)
    proposed.types(typed.format(whole, whole.upper(), whole[:8]), "UBRUNO")
    assert proposed.operation().state is State.APPROVED


@pytest.mark.parametrize("typed", ["0000000000000000", "{0}0", "{1}", "x"])
def test_another_hash_is_no_vote(proposed: Bot, typed: str) -> None:
    whole = digest(proposed)
    said = text(proposed.types(f"approve op-1 {typed.format(whole, whole[:7])}", "UBRUNO"))
    assert proposed.operation().votes == ()
    assert "not the one you saw" in said


def test_approve_without_the_hash_shows_the_plan_and_what_to_type(proposed: Bot) -> None:
    said = text(proposed.types("approve op-1", "UBRUNO"))
    assert proposed.operation().votes == ()
    assert "web-1" in said
    assert f"`/kvm approve op-1 {digest(proposed)[:8]}` approves exactly this plan." in said


def test_approve_without_the_hash_by_who_may_not_says_why(proposed: Bot) -> None:
    assert "You asked for op-1 yourself" in text(proposed.types("approve op-1", "UANA"))
    assert "You may not approve op-1" in text(proposed.types("approve op-1", "UEVA"))


def test_approve_of_what_is_over_says_its_state(proposed: Bot) -> None:
    proposed.types("withdraw op-1")
    assert "op-1 is withdrawn" in text(proposed.types("approve op-1", "UBRUNO"))


def test_deny_takes_a_reason_without_quotes(proposed: Bot) -> None:
    said = text(proposed.types("deny op-1 not before the backup", "UBRUNO"))
    assert proposed.operation().state is State.DENIED
    assert str(proposed.operation().outcome) == "not before the backup"
    assert "You denied it." in said


def test_deny_without_a_reason_opens_its_dialog_or_says_what_to_type(proposed: Bot) -> None:
    said = text(proposed.types("deny op-1", "UBRUNO"))
    assert "/kvm deny op-1 not before the backup" in said
    asked = Request(
        "k", "command", "UBRUNO", proposed.clock.now(), "COPS", "deny op-1", trigger="t"
    )
    dispatcher.handle(proposed.services, asked)
    assert proposed.chat.forms["t"].action == "op.deny"
    assert proposed.operation().state is State.PROPOSED


def test_withdraw_is_for_the_requester(proposed: Bot) -> None:
    assert "Only the person who asked" in text(proposed.types("withdraw op-1", "UBRUNO"))
    assert "You withdrew it." in text(proposed.types("withdraw op-1", "UANA"))
    assert proposed.operation().state is State.WITHDRAWN


def test_only_who_may_deny_is_told_to_deny(proposed: Bot) -> None:
    """Advice that its reader can follow: an approver denies, the requester withdraws, others do neither."""
    assert "`/kvm deny op-1 REASON`" in text(proposed.types("withdraw op-1", "UBRUNO"))
    other = text(proposed.types("withdraw op-1", "UEVA"))
    assert "Only the person who asked" in other
    assert "deny" not in other
    assert "`/kvm withdraw op-1`" in text(proposed.types("deny op-1 not now", "UANA"))
    assert proposed.operation().state is State.PROPOSED


def test_the_trail_says_that_the_bot_found_the_votes_to_be_enough(proposed: Bot) -> None:
    proposed.types(f"approve op-1 {digest(proposed)}", "UBRUNO")
    trail = proposed.types("audit op-1")
    assert trail is not None
    table = next(each for each in trail.elements if isinstance(each, Table))
    found = {str(what): str(who) for _, who, what in table.rows}
    assert found["approved: every vote was given"] == "Drover"
    assert next(who for what, who in found.items() if "approved the plan" in what) == "UBRUNO"


def test_cancel_of_what_is_only_proposed_says_how_to_take_it_back(proposed: Bot) -> None:
    said = text(proposed.types("cancel op-1"))
    assert "op-1 is only proposed: nothing of it runs." in said
    assert "Take it back with `/kvm withdraw op-1`." in said
    other = text(proposed.types("cancel op-1", "UBRUNO"))
    assert "Deny it with `/kvm deny op-1`." in other
    assert "withdraw" not in other
    assert proposed.operation().state is State.PROPOSED


def test_a_decision_on_what_ended_without_being_done_says_how_to_propose_it_again(
    proposed: Bot,
) -> None:
    proposed.clock.turn(601)
    overdue.expire(proposed.services)
    said = text(proposed.types(f"approve op-1 {digest(proposed)}", "UBRUNO"))
    assert "op-1 is expired. Nothing was changed." in said
    assert "`/kvm retry op-1` proposes it again." in said


def test_cancel_ends_what_has_not_begun(proposed: Bot) -> None:
    proposed.types(f"approve op-1 {digest(proposed)}", "UBRUNO")
    assert "You cancelled it." in text(proposed.types("cancel op-1", "UANA"))
    assert proposed.operation().state is State.CANCELLED


def test_retry_and_again_propose_anew(proposed: Bot) -> None:
    proposed.types("withdraw op-1")
    assert "op-2" in text(proposed.types("retry op-1", "UEVA"))
    assert proposed.operation(2).origin.by == "UEVA"
    assert "op-3" in text(proposed.types("again", "UANA"))
    assert proposed.operation(3).replaces == "op-1"
    assert proposed.operation(3).plan.digest == digest(proposed)


def test_again_without_an_operation_says_so(bot: Bot) -> None:
    assert "You have not asked for an operation yet." in text(bot.types("again"))


def test_continue_lets_a_step_go_on_that_waits(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    bot.types(f"approve op-1 {digest(bot)}", "UBRUNO")
    said = text(bot.types("continue op-1"))
    assert "op-1 is" in said  # it does not run


def test_an_unknown_id_and_a_word_that_is_none_are_answered(bot: Bot) -> None:
    assert "op-77" in text(bot.types("cancel op-77"))
    assert "“web-1” is not the id of an operation." in text(bot.types("cancel web-1"))
    assert "`ID` is missing" in text(bot.types("cancel"))


def test_details_shows_the_hash(proposed: Bot) -> None:
    assert digest(proposed) in text(proposed.types("details op-1", "UBRUNO"))


def test_decisions_wait_in_the_lane_of_their_button(proposed: Bot) -> None:
    request = Request("k", "command", "UBRUNO", proposed.clock.now(), "COPS")
    lanes = {
        line: dispatcher.lane_of(proposed.services, replace(request, text=line))
        for line in ("approve op-1", "deny op-1", "cancel op-1", "retry op-1", "vms", "")
    }
    assert lanes == {
        "approve op-1": Lane.DECISION,
        "deny op-1": Lane.DIALOG,
        "cancel op-1": Lane.DECISION,
        "retry op-1": Lane.WORK,
        "vms": Lane.WORK,
        "": Lane.WORK,
    }


@pytest.mark.parametrize(("line", "refused"), [("cancel op-1", False), ("approve op-1", True)])
def test_what_only_stops_is_never_too_late(proposed: Bot, line: str, *, refused: bool) -> None:
    long_ago = proposed.clock.now() - timedelta(hours=1)
    request = Request("k", "command", "UANA", long_ago, "COPS", line)
    assert late_requests.refuse(proposed.services, request) is refused


def test_help_lists_decisions_for_who_has_a_role(bot: Bot) -> None:
    listed = text(bot.types("help", "UBRUNO"))
    assert all(each.name in listed for each in decisions.DECISIONS)
    assert "approve" not in text(bot.types("help", "UNOBODY"))
