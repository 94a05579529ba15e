"""Who may decide, and when: roles and freezes read again, fallback approvers called, nothing left lying untold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import time
from pathlib import Path

import pytest

from bot.domain.errors import ChatError
from bot.domain.operation import Noted, State, Withdrawn
from bot.domain.plan import Risk
from bot.domain.policy import Policy, Rule, Window
from bot.flow.commands import dispatcher
from bot.flow.context import Role
from bot.flow.operations import overdue
from bot.testing.chat import FakeChat
from tests.bot.flow.small_bot import POLICY, ROLES, Bot, small_bot, text

NIGHT = Window(start=time(22), end=time(6))
STRICT = Policy(
    grants={"engineer": ("*",), "approver": ("*",), "boss": ()},
    rules=(
        Rule("night", window=NIGHT, freeze=True, why="Nothing moves at night."),
        Rule("careful", risks=(Risk.HIGH,), votes=2, expires=86400),
        Rule("default", expires=86400, fallback=("boss",), fallback_after=1800),
    ),
)
WITH_BOSS = {**ROLES, "boss": Role(frozenset({"UDORA"}))}
HOUR = 3600.0


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, policy=STRICT, roles=WITH_BOSS)
    yield made
    made.store.close()


def proposed(bot: Bot, line: str = "migrate web-1 to host-b") -> str:
    bot.types(line)
    return bot.value()


def in_thread(bot: Bot) -> list[str]:
    return [text(bot.chat.messages[ref]) for ref in bot.chat.threads]


def without(bot: Bot, role: str, user: str) -> None:
    """Take a role from a person."""
    roles = dict(bot.services.roles)
    roles[role] = replace(roles[role], users=roles[role].users - {user})
    bot.services = replace(bot.services, roles=roles)


def test_fallback_approvers_may_vote_only_after_a_time_and_are_called_once(bot: Bot) -> None:
    value = proposed(bot)
    assert "may not approve" in text(bot.clicks("op.approve", value, "UDORA"))
    overdue.remind(bot.services)
    assert in_thread(bot) == []
    bot.clock.turn(1801)
    overdue.remind(bot.services)
    overdue.remind(bot.services)
    (called,) = in_thread(bot)
    assert "UDORA" in called
    assert "still waits for" in called
    bot.clicks("op.approve", value, "UDORA")
    assert bot.operation().state is State.APPROVED
    assert [str(event.text) for event in bot.store.events("op-1") if isinstance(event, Noted)] == [
        "Shown to boss."
    ]


def test_an_escalation_that_the_chat_lost_is_said_later(bot: Bot) -> None:
    proposed(bot)
    bot.clock.turn(1801)
    bot.chat.fail("post")
    overdue.remind(bot.services)
    assert in_thread(bot) == []
    bot.services.messages.catch_up()
    assert len(in_thread(bot)) == 1


def test_a_vote_whose_giver_lost_the_role_before_the_start_counts_no_more(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    without(bot, "approver", "UBRUNO")
    bot.works()
    assert bot.operation().state is State.STALE
    assert "lost the role" in text(bot.shown())
    assert bot.where("web-1") == ["host-a"]
    assert bot.operation(2).state is State.PROPOSED
    bot.clicks("op.approve", bot.value(2), "UCARLA")
    bot.works()
    assert bot.where("web-1") == ["host-b"]


def test_of_two_votes_one_that_counts_no_more_is_one_too_few(bot: Bot) -> None:
    value = proposed(bot, "migrate web-1 to host-b --policy postcopy")
    bot.clicks("op.approve", value, "UBRUNO")
    bot.clicks("op.approve", value, "UCARLA")
    without(bot, "approver", "UCARLA")
    bot.works()
    assert bot.operation().state is State.STALE
    assert "1 of 2 votes" in text(bot.shown())


def test_a_requester_who_lost_the_right_before_the_start_moves_nothing(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    without(bot, "engineer", "UANA")
    bot.works()
    assert bot.operation().state is State.STALE
    assert bot.where("web-1") == ["host-a"]


def test_an_approver_who_lost_the_role_before_the_click_is_refused(bot: Bot) -> None:
    value = proposed(bot)
    without(bot, "approver", "UBRUNO")
    assert "may not approve" in text(bot.clicks("op.approve", value, "UBRUNO"))
    assert bot.operation().votes == ()


def test_a_freeze_that_began_since_the_proposal_refuses_the_click_and_ends(bot: Bot) -> None:
    value = proposed(bot)
    bot.clock.turn(13.5 * HOUR)  # 22:30
    assert "Nothing moves at night" in text(bot.clicks("op.approve", value, "UBRUNO"))
    assert "Nothing moves at night" in text(bot.types("migrate db-1 to host-b"))
    assert bot.operation().state is State.PROPOSED
    bot.clock.turn(8 * HOUR)
    bot.clicks("op.approve", value, "UBRUNO")
    assert bot.operation().state is State.APPROVED


def test_a_freeze_that_began_between_approval_and_start_stops_it(bot: Bot) -> None:
    value = proposed(bot)
    bot.clock.turn(12.9 * HOUR)  # 21:54
    bot.clicks("op.approve", value, "UBRUNO")
    bot.clock.turn(0.2 * HOUR)
    bot.works()
    assert bot.operation().state is State.STALE
    assert "Nothing moves at night" in text(bot.shown())
    assert bot.where("web-1") == ["host-a"]


def test_an_approved_operation_that_the_queue_lost_is_handed_to_it_again(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    bot.work.ids.clear()
    overdue.remind(bot.services)
    assert bot.work.ids == []
    bot.clock.turn(overdue.NUDGE + 1)
    overdue.remind(bot.services)
    assert bot.work.ids == ["op-1"]


def test_waiting_long_for_its_turn_is_told_once(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    bot.clock.turn(HOUR)
    overdue.remind(bot.services)
    overdue.remind(bot.services)
    assert sum("is approved for" in said or "'approved'" in said for said in in_thread(bot)) == 1


def test_the_end_is_told_even_when_the_chat_failed_at_first(bot: Bot) -> None:
    value = proposed(bot)
    bot.chat.fail("tell")
    bot.clicks("op.withdraw", value, "UANA")
    assert not any("Withdrawn" in text(card) for card in bot.chat.cards_for("UANA"))
    bot.services.messages.catch_up()
    bot.services.messages.catch_up()
    assert sum("Withdrawn" in text(card) for card in bot.chat.cards_for("UANA")) == 1


def test_a_decision_whose_telling_a_crash_cut_off_is_told_after_the_start(bot: Bot) -> None:
    proposed(bot)
    operation = bot.operation()
    bot.store.append(operation, Withdrawn(bot.clock.now(), "UANA"))
    dispatcher.pick_up(bot.services)
    dispatcher.pick_up(bot.services)
    assert sum("Withdrawn" in text(card) for card in bot.chat.cards_for("UANA")) == 1
    assert "Withdrawn" in str(bot.shown().title)


def test_a_chat_that_does_not_know_the_roles_delays_the_start_but_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody by id alone: for those who have their role by id the chat is not asked."""
    roles = {**ROLES, "approver": Role(frozenset(), frozenset({"kvm"}))}
    bot = small_bot(tmp_path, policy=POLICY, roles=roles)
    monkeypatch.setattr(FakeChat, "groups_of", lambda *_: frozenset({"kvm"}))
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    asked: list[str] = []

    def groups_of(chat: FakeChat, user: str) -> frozenset[str]:
        asked.append(user)
        if len(asked) < 3:
            raise ChatError("The chat does not answer.")
        return frozenset({"kvm"})

    monkeypatch.setattr(FakeChat, "groups_of", groups_of)
    bot.works()
    assert len(asked) >= 3
    assert bot.operation().state is State.DONE
    bot.store.close()
