"""A database that was restored from a backup: no old vote is taken for granted, and the trail says so."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters.seen_head import Lost, SeenHead
from bot.domain.operation import Began, Noted, State
from bot.domain.plan import Risk
from bot.domain.policy import Policy, Rule
from bot.flow.commands import dispatcher
from bot.flow.operations import restored
from tests.bot.flow.small_bot import POLICY, Bot, small_bot, text

FREE = Policy(POLICY.grants, rules=(Rule("free", risks=(Risk.LOW, Risk.MEDIUM), votes=0),))


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return small_bot(tmp_path)


def proposed(bot: Bot, line: str = "migrate web-1 to host-b") -> str:
    bot.types(line)
    return bot.value()


def starts_again(bot: Bot, lost: int = 3) -> None:
    """What a start does behind a restored database."""
    restored.distrust(bot.services, bot.store.head()[0], lost)
    dispatcher.pick_up(bot.services)
    bot.works()


def test_what_was_approved_is_not_carried_out_without_a_fresh_vote(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    bot.work.ids.clear()
    starts_again(bot)
    assert bot.operation().state is State.STALE
    assert [each.code for each in bot.operation().objections] == ["restored"]
    assert bot.where("web-1") == ["host-a"]
    bot.clicks("op.again", "op-1:x", "UANA")
    assert bot.operation(2).votes_missing == 1


def test_votes_of_an_open_proposal_are_given_anew(bot: Bot) -> None:
    value = proposed(bot, "migrate web-1 to host-b --policy postcopy")
    bot.clicks("op.approve", value, "UBRUNO")
    starts_again(bot)
    assert bot.operation().state is State.PROPOSED
    assert bot.operation().votes == ()
    bot.clicks("op.approve", value, "UBRUNO")
    bot.clicks("op.approve", value, "UCARLA")
    bot.works()
    assert bot.operation().state is State.DONE


def test_what_was_running_waits_for_a_person_and_for_fresh_votes(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    bot.work.ids.clear()
    bot.store.append(bot.operation(), Began(bot.clock.now(), "drover"))
    restored.distrust(bot.services, bot.store.head()[0], 3)
    assert "restored from a backup" in str(bot.operation().held)
    assert (bot.operation().votes, bot.operation().votes_missing) == ((), 1)
    sleep, left = bot.clock.sleep, ["continue", "approve"]

    def acting(seconds: float) -> None:
        if left and left[0] == "continue" and bot.operation().held:
            left.pop(0)
            bot.clicks("op.continue", "op-1:held", "UANA")
        elif left and not bot.operation().held:
            assert bot.where("web-1") == ["host-a"]
            bot.clicks("op.approve", bot.value(), "UCARLA")
            left.clear()
        sleep(seconds)

    bot.clock.sleep = acting  # type: ignore[method-assign]
    dispatcher.pick_up(bot.services)
    bot.works()
    assert bot.operation().state is State.DONE
    assert [vote.by for vote in bot.operation().votes] == ["UCARLA"]


def test_what_needs_no_vote_is_nobodys_wish_any_more(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, policy=FREE)
    bot.types("migrate web-1 to host-b")
    assert bot.operation().state is State.APPROVED
    bot.work.ids.clear()
    starts_again(bot)
    assert bot.operation().state is State.STALE
    assert bot.where("web-1") == ["host-a"]


def test_the_audit_trail_says_it_once_and_holds(bot: Bot) -> None:
    bot.clicks("op.approve", proposed(bot), "UBRUNO")
    bot.works()
    ended = bot.operation().changed_at
    bot.clock.turn(60)
    starts_again(bot)
    starts_again(bot)
    notes = [each for each in bot.store.events("op-1") if isinstance(each, Noted)]
    assert len(notes) == 2  # each start found a database that ends elsewhere
    assert "restored from a backup" in str(notes[0].text)
    assert (bot.operation().state, bot.operation().changed_at) == (State.DONE, ended)
    assert bot.store.broken_link() == ""
    assert "restored from a backup" in text(bot.types("audit op-1", by="UBRUNO"))
    told = [card for ref, card in bot.chat.messages.items() if ref.channel == "COPS"]
    assert "must be cancelled again" in text(told[0])


def test_the_same_start_twice_is_one(bot: Bot) -> None:
    value = proposed(bot, "migrate web-1 to host-b --policy postcopy")
    bot.clicks("op.approve", value, "UBRUNO")
    for _ in range(2):
        restored.distrust(bot.services, 4, 3)
    assert len([each for each in bot.store.events("op-1") if isinstance(each, Noted)]) == 1


# how it is found out


def head_of(bot: Bot, tmp_path: Path) -> SeenHead:
    return SeenHead(tmp_path / "drover.sqlite.head")


def test_the_database_that_was_left_is_the_same(bot: Bot, tmp_path: Path) -> None:
    assert head_of(bot, tmp_path).loss(bot.store) is None
    head_of(bot, tmp_path).keep(bot.store)
    assert head_of(bot, tmp_path).loss(bot.store) is None
    proposed(bot)
    assert head_of(bot, tmp_path).loss(bot.store) is None  # it grew after the last look
    head_of(bot, tmp_path).keep(bot.store)
    assert head_of(bot, tmp_path).loss(bot.store) is None
    assert (tmp_path / "drover.sqlite.head").stat().st_mode & 0o077 == 0


def test_an_older_database_is_found_out(bot: Bot, tmp_path: Path) -> None:
    proposed(bot)
    with (
        closing(sqlite3.connect(tmp_path / "drover.sqlite")) as connection,
        closing(sqlite3.connect(tmp_path / "backup.sqlite")) as copy,
    ):
        connection.backup(copy)
    at = bot.store.head()[0]
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    head_of(bot, tmp_path).keep(bot.store)
    after = bot.store.head()[0]
    bot.store.close()
    for end in ("-wal", "-shm"):
        (tmp_path / f"drover.sqlite{end}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.sqlite", tmp_path / "drover.sqlite")
    old = small_bot(tmp_path)
    assert head_of(old, tmp_path).loss(old.store) == Lost(at, after - at)


def test_another_history_of_the_same_length_is_found_out(bot: Bot, tmp_path: Path) -> None:
    proposed(bot)
    position, _ = bot.store.head()
    head_of(bot, tmp_path).keep(bot.store)
    file = tmp_path / "drover.sqlite.head"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hash": "0" * 64}))
    assert head_of(bot, tmp_path).loss(bot.store) == Lost(position, 1)


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"position": "x", "hash": 1}'])
def test_a_file_that_says_nothing_is_no_proof(bot: Bot, tmp_path: Path, kept: str) -> None:
    (tmp_path / "drover.sqlite.head").write_text(kept, encoding="utf-8")
    assert head_of(bot, tmp_path).loss(bot.store) is None


def test_another_database_is_no_restored_one(bot: Bot, tmp_path: Path) -> None:
    proposed(bot)
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    head_of(bot, tmp_path).keep(bot.store)
    (tmp_path / "other").mkdir()
    other = small_bot(tmp_path / "other")
    other.types("migrate db-1 to host-c")
    assert other.store.head()[0] < bot.store.head()[0]
    assert head_of(bot, tmp_path).loss(other.store) is None
