"""Edits of messages: the newest is shown, the urgent first, and the last word always."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bot.adapters.slack.api import SlackLimitedError
from bot.adapters.slack.coalescer import METHOD, THREADS, Coalescer
from bot.adapters.slack.pacer import Pacer
from bot.domain.card import Card
from bot.domain.errors import ChatError, ChatRefusedError
from bot.ports import MessageRef, Urgency

ONE, TWO, THREE = (MessageRef("C1", f"{number}.0") for number in (1, 2, 3))
FINAL, VOTE, PROGRESS = Urgency.FINAL, Urgency.VOTE, Urgency.PROGRESS


class Screen:
    """Records what is shown; can be held up in the middle of an edit, and can fail."""

    def __init__(self) -> None:
        self.shown: list[tuple[MessageRef, str]] = []
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Event()
        self.may_go.set()
        self.failures: list[ChatError] = []

    def send(self, ref: MessageRef, card: Card, urgency: Urgency) -> None:
        self.entered.release()
        assert self.may_go.wait(60)
        if self.failures:
            raise self.failures.pop()
        self.shown.append((ref, str(card.text)))


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def edits(screen: Screen) -> Iterator[Coalescer]:
    coalescer = Coalescer(screen.send, Pacer(pace=1000), every=60)
    yield coalescer
    screen.may_go.set()
    coalescer.close()


def test_the_first_edit_is_shown_at_once_and_the_rest_wait(
    screen: Screen, edits: Coalescer
) -> None:
    edits.later(ONE, Card("10 %"), PROGRESS)
    assert screen.entered.acquire(timeout=60)
    edits.later(ONE, Card("20 %"), PROGRESS)
    edits.later(ONE, Card("30 %"), PROGRESS)
    assert screen.entered.acquire(timeout=0.05) is False
    edits.flush()
    assert screen.shown == [(ONE, "10 %"), (ONE, "30 %")]


def test_nobody_waits_for_a_message(screen: Screen, edits: Coalescer) -> None:
    screen.may_go.clear()
    for urgency in (PROGRESS, VOTE, FINAL):  # the chat hangs; each returns
        edits.later(ONE, Card("a"), urgency)
    assert screen.shown == []


def test_the_urgent_goes_first(screen: Screen) -> None:
    now = [1000.0]
    pacer = Pacer(clock=lambda: now[0])
    pacer.note_limit(METHOD, 3600)
    edits = Coalescer(screen.send, pacer, every=0, clock=lambda: now[0])
    edits.later(ONE, Card("10 %"), PROGRESS)
    edits.later(TWO, Card("approved"), VOTE)
    edits.later(THREE, Card("done"), FINAL)
    order = []
    with edits._changed:
        now[0] += 3601
        while (ref := edits._next()) is not None:
            order.append(ref)
            del edits._wanted[ref]
    assert order == [THREE, TWO, ONE]


def test_an_edit_now_drops_what_was_to_come_later(screen: Screen, edits: Coalescer) -> None:
    edits.now(ONE, Card("0 %"))
    edits.later(ONE, Card("99 %"), PROGRESS)
    edits.now(ONE, Card("done"))
    edits.flush()
    assert screen.shown == [(ONE, "0 %"), (ONE, "done")]


def test_an_older_edit_under_way_does_not_undo_a_newer_one(
    screen: Screen, edits: Coalescer
) -> None:
    screen.may_go.clear()
    edits.later(ONE, Card("99 %"), PROGRESS)
    assert screen.entered.acquire(timeout=60)
    edits.later(ONE, Card("done"), FINAL)
    screen.may_go.set()
    edits.flush()
    assert screen.shown == [(ONE, "99 %"), (ONE, "done")]


@pytest.mark.parametrize("failures", [1, 7])
def test_a_final_edit_is_tried_until_it_is_shown(
    screen: Screen, edits: Coalescer, failures: int
) -> None:
    screen.failures = [ChatError("Slack does not answer.")] * failures
    told: list[str] = []
    edits.later(ONE, Card("done"), FINAL, lambda: told.append("shown"))
    edits.flush()
    assert screen.shown == [(ONE, "done")]
    assert told == ["shown"]


def test_what_was_promised_of_an_older_edit_holds_for_the_newer(
    screen: Screen, edits: Coalescer
) -> None:
    screen.failures = [ChatError("Slack does not answer.")]
    told: list[str] = []
    edits.later(ONE, Card("approved"), VOTE, lambda: told.append("shown"))
    edits.later(ONE, Card("1 %"), PROGRESS)
    edits.flush()
    assert screen.shown[-1] == (ONE, "1 %")
    assert told == ["shown"]


def test_an_edit_that_is_refused_for_good_is_an_end(screen: Screen, edits: Coalescer) -> None:
    screen.failures = [ChatRefusedError("message_not_found")]
    lost: list[str] = []
    edits.later(ONE, Card("done"), FINAL, None, lambda error: lost.append(str(error.text)))
    edits.flush()
    assert lost == ["message_not_found"]
    assert screen.shown == []


def test_progress_that_fails_is_dropped_and_no_end_of_progress(
    screen: Screen, edits: Coalescer
) -> None:
    screen.failures = [ChatError("Slack does not answer.")]
    edits.later(ONE, Card("10 %"), PROGRESS)
    edits.flush()
    edits.later(ONE, Card("20 %"), PROGRESS)
    edits.flush()
    assert screen.shown == [(ONE, "20 %")]


def test_a_limit_is_no_failure(screen: Screen, edits: Coalescer) -> None:
    screen.failures = [SlackLimitedError("Slack limits the messages of the bot's messages.")] * 20
    edits.later(ONE, Card("10 %"), PROGRESS)
    edits.flush()
    assert screen.shown == [(ONE, "10 %")]


def test_an_edit_now_that_fails_is_told_in_the_end(screen: Screen, edits: Coalescer) -> None:
    screen.failures = [ChatError("Slack does not answer.")] * 10
    with pytest.raises(ChatError):
        edits.now(ONE, Card("done"))


def test_closing_shows_what_waits(screen: Screen, edits: Coalescer) -> None:
    edits.now(ONE, Card("0 %"))
    edits.later(ONE, Card("50 %"), PROGRESS)
    edits.close()
    assert screen.shown[-1] == (ONE, "50 %")


def test_calls_are_kept_free_for_the_last_word_of_every_message_that_moves(screen: Screen) -> None:
    """30 operations at once: votes and progress leave room, so that 30 ends can be shown at once."""
    now = [1000.0]
    pacer = Pacer(clock=lambda: now[0])
    edits = Coalescer(screen.send, pacer, every=0, clock=lambda: now[0])
    refs = [MessageRef("C1", f"{number}.0") for number in range(30)]
    for second in range(90):
        now[0] += 1
        for ref in refs:
            edits.later(ref, Card(f"{second} %"), PROGRESS)
    for ref in refs:
        edits.later(ref, Card("done"), FINAL)
    assert edits.flush(10)
    ends = [ref for ref, text in screen.shown if text == "done"]
    assert sorted(ends, key=str) == sorted(refs, key=str)
    edits.close()


@pytest.mark.parametrize(
    ("voting", "working"), [(0.0, 20.0), (4.0, 20.0), (30.0, 25.0), (1.0, 120.0), (4.0, 3.0)]
)
def test_thirty_operations_at_once_have_their_last_word_in_time(
    screen: Screen, voting: float, working: float
) -> None:
    """By a clock of its own: votes within ``voting`` seconds, ``working`` seconds of work with progress, the ends."""
    now = [1000.0]
    pacer = Pacer(clock=lambda: now[0])
    edits = Coalescer(screen.send, pacer, every=2, clock=lambda: now[0])
    edits._threads = [threading.Thread() for _ in range(THREADS)]  # nobody sends but this test
    refs = [MessageRef("C1", f"{number}.0") for number in range(30)]
    voted = {ref: 1000 + voting * number / 30 for number, ref in enumerate(refs)}
    told: dict[MessageRef, float] = {}
    sent: list[float] = []
    late: dict[MessageRef, float] = {}
    for step in range(int((voting + working + 60) * 20)):
        now[0] = 1000 + step / 20
        for ref in refs:
            at, end = voted[ref], voted[ref] + working
            if at <= now[0] < at + 0.05:
                edits.later(ref, Card("approved"), VOTE)
            elif at + 1 < now[0] < end and step % 20 == 0:
                edits.later(ref, Card("moving"), PROGRESS)
            elif now[0] >= end and ref not in told:
                told[ref] = now[0]
                edits.later(ref, Card("done"), FINAL)
        with edits._changed:
            while (ready := edits._next()) is not None:
                sent.append(now[0])
                edits._shown_at[ready] = now[0]
                if edits._wanted.pop(ready).card.text == "done":
                    late[ready] = now[0] - told[ready]
    assert len(late) == len(refs)
    assert max(late.values()) < 10, sorted(late.values())
    assert all(last - first >= 60 for first, last in zip(sent, sent[50:], strict=False)), (
        "Slack's 50 edits a minute"
    )
    edits._threads = []


def test_what_is_shown_already_costs_no_edit(screen: Screen, edits: Coalescer) -> None:
    told: list[str] = []
    edits.later(ONE, Card("done"), FINAL, lambda: told.append("first"))
    edits.flush()
    edits.later(ONE, Card("done"), FINAL, lambda: told.append("second"))
    edits.flush()
    assert screen.shown == [(ONE, "done")]
    assert told == ["first", "second"]
    edits.now(ONE, Card("done"))
    assert len(screen.shown) == 2, "who waits wants to know whether the message is still there"
