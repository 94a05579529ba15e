"""What people are told when the chat refuses, forgets or does not tell; and by which of two replicas."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from bot.domain.errors import ChatError, ChatRefusedError
from bot.domain.operation import State
from bot.flow.commands import dispatcher
from bot.flow.commands.dispatcher import pick_up
from bot.flow.context import Role
from bot.flow.operations import operation_cards
from bot.flow.operations.operation_messages import OperationMessages
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text


def test_what_waits_for_a_person_who_is_gone_is_given_up(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    bot.chat.fail(
        "tell", times=50, error=ChatRefusedError("Slack refused chat.postMessage: user_disabled.")
    )
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    assert bot.operation().state is State.DONE
    assert bot.unsaid() == set()
    assert bot.store.words_left() == ()


def test_an_open_operation_whose_message_is_gone_gets_a_new_one(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    (old,) = bot.store.copies("op-1")
    del bot.chat.messages[old]
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    (new,) = bot.store.copies("op-1")
    assert new != old
    assert str(bot.chat.messages[new].title).startswith("🕒 Approved")
    bot.works()
    assert str(bot.shown().title).startswith("✅ Done")


def test_the_message_of_an_operation_that_is_over_is_forgotten_when_it_is_gone(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    (old,) = bot.store.copies("op-1")
    bot.works()
    del bot.chat.messages[old]
    before = len(bot.chat.lost)
    bot.services.messages.show("op-1")
    bot.services.messages.show("op-1")
    assert bot.store.copies("op-1") == ()
    assert len(bot.chat.lost) == before + 1, "a message that is gone is not edited again"


class TooLateError(ChatRefusedError):
    """As for Slack's edit_window_closed."""

    stays = True


def test_where_messages_cannot_be_edited_each_state_is_a_new_message_and_progress_is_none(
    bot: Bot,
) -> None:
    """A workspace may forbid edits: what an operation came to is shown all the same, once."""
    bot.types("migrate web-1 to host-b")
    (asked,) = bot.store.copies("op-1")
    bot.chat.fail("later", times=1000, error=TooLateError("edit_window_closed"))
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    (approved,) = bot.store.copies("op-1")
    assert approved != asked
    during: list[int] = []
    bot.hypervisor.during = lambda *_: during.append(len(bot.chat.messages))
    bot.works()
    assert len(set(during)) == 1, "progress makes no new message"
    (last,) = bot.store.copies("op-1")
    assert str(bot.chat.messages[last].title).startswith("✅ Done")
    done = [each for each in bot.chat.messages.values() if str(each.title).startswith("✅ Done")]
    assert len(done) == 1
    assert bot.store.words_left() == ()


def test_a_proposal_that_cannot_be_posted_is_told_and_shown_when_it_can(bot: Bot) -> None:
    bot.chat.fail(
        "post", times=2, error=ChatRefusedError("Slack refused chat.postMessage: is_archived.")
    )
    said = text(bot.types("migrate web-1 to host-b"))
    assert "op-1" in said
    told = " ".join(str(each.card.text) for each in bot.chat.whispers)
    assert "op-1 is proposed, but its message cannot be posted" in told
    assert bot.store.copies("op-1") == ()
    bot.services.messages.catch_up()
    bot.services.messages.catch_up()
    assert str(bot.shown().title).startswith("🟡 Approve?")
    assert sum("cannot be posted" in str(each.card.text) for each in bot.chat.whispers) == 1


def test_groups_that_slack_does_not_tell_take_no_right_and_end_nothing(tmp_path: Path) -> None:
    roles = {
        "engineer": Role(groups=frozenset({"SENG"})),
        "approver": Role(groups=frozenset({"SAPP"})),
    }
    bot = small_bot(tmp_path, roles=roles)
    bot.chat.groups = {"UANA": frozenset({"SENG"}), "UBRUNO": frozenset({"SAPP"})}
    bot.types("migrate web-1 to host-b")
    trouble = ChatError("Slack does not tell the user groups now.", "Try again in a minute.")
    bot.chat.groups_error = trouble
    assert "does not tell the user groups now" in text(
        bot.clicks("op.approve", bot.value(), "UBRUNO")
    )
    assert bot.operation().state is State.PROPOSED
    bot.chat.groups_error = None
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.chat.groups_error = trouble
    slept = bot.clock.sleep

    def later(seconds: float) -> None:
        bot.chat.groups_error = None
        slept(seconds)

    bot.clock.sleep = later  # type: ignore[method-assign]
    bot.works()
    assert bot.operation().state is State.DONE
    bot.store.close()


def test_a_restored_database_edits_no_message_of_before(bot: Bot, tmp_path: Path) -> None:
    bot.types("migrate web-1 to host-b")
    (old,) = bot.store.copies("op-1")
    before = bot.chat.messages[old]
    (tmp_path / "restored").mkdir()
    again = small_bot(tmp_path / "restored")
    again.chat = bot.chat
    again.clock.turn(3600)
    again.services = replace(again.services, chat=bot.chat)
    again.forgets()
    again.types("migrate db-1 to host-b")
    assert bot.chat.messages[old] == before
    assert again.store.copies("op-1") != (old,)
    again.store.close()


def test_of_two_replicas_one_posts_an_operation_and_its_end(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    other = OperationMessages(bot.store, bot.chat, partial(operation_cards.operation_card))
    other.post("op-1", "CAPPROVALS")
    services = replace(bot.services, messages=other)
    pick_up(services)
    assert len(bot.chat.messages) == 1
    bot.clicks("op.withdraw", bot.value(), "UANA")
    pick_up(services)
    ended = [str(card.text) for ref, card in bot.chat.messages.items() if ref in bot.chat.threads]
    assert len(ended) == 1


def test_a_denial_needs_more_than_white_space(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    assert "a reason is needed" in text(bot.answers("op.deny", bot.value(), "UBRUNO", why="  \n "))
    assert bot.operation().state is State.PROPOSED


def test_an_answer_stands_in_the_thread_where_it_was_asked(bot: Bot) -> None:
    request = Request(
        "k", "command", "UANA", bot.clock.now(), "COPS", "vms", thread="1700000000.000009"
    )
    assert bot.store.accept(request)
    dispatcher.handle(bot.services, request)
    assert bot.chat.whispers[-1].thread == "1700000000.000009"


def test_a_person_of_whom_nothing_is_known_is_mentioned(bot: Bot) -> None:
    said = text(bot.types("audit <@U0BERT>"))
    assert "U0BERT did nothing in that time." in said  # a mention, which Slack shows as the name
    assert "<@U0BERT>" not in said
