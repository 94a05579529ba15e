"""Edits come in the right order, however slow the chat is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bot.adapters.slack.coalescer import Coalescer, Edit
from bot.domain.card import Card
from bot.domain.errors import ChatError
from bot.ports import MessageRef

ONE, TWO = MessageRef("C1", "1.0"), MessageRef("C1", "2.0")


class Screen:
    """Records what is shown; can be held up in the middle of an edit, and can fail."""

    def __init__(self) -> None:
        self.shown: list[tuple[MessageRef, str]] = []
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Event()
        self.may_go.set()
        self.failures = 0

    def send(self, ref: MessageRef, card: Card, edit: Edit) -> None:
        self.entered.release()
        self.may_go.wait(10)
        with edit.turn:
            if not edit.wanted():
                return
            if self.failures:
                self.failures -= 1
                raise ChatError("Slack does not answer.")
            self.shown.append((ref, card.text))


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def edits(screen: Screen) -> Iterator[Coalescer]:
    coalescer = Coalescer(screen.send, every=60)
    yield coalescer
    screen.may_go.set()
    coalescer.close()


def test_the_first_edit_is_shown_at_once_and_the_rest_wait(screen: Screen, edits: Coalescer) -> None:
    edits.later(ONE, Card("10 %"))
    assert screen.entered.acquire(timeout=10)
    edits.later(ONE, Card("20 %"))
    edits.later(ONE, Card("30 %"))
    assert screen.entered.acquire(timeout=0.05) is False
    edits.flush()
    assert screen.shown == [(ONE, "10 %"), (ONE, "30 %")]


def test_messages_do_not_wait_for_each_other(screen: Screen, edits: Coalescer) -> None:
    edits.later(ONE, Card("10 %"))
    assert screen.entered.acquire(timeout=10)
    edits.later(ONE, Card("20 %"))
    edits.later(TWO, Card("5 %"))
    assert screen.entered.acquire(timeout=10)
    edits.close()
    assert screen.shown == [(ONE, "10 %"), (TWO, "5 %"), (ONE, "20 %")]


def test_an_edit_now_drops_what_was_to_come_later(screen: Screen, edits: Coalescer) -> None:
    edits.now(ONE, Card("0 %"))
    edits.later(ONE, Card("99 %"))
    edits.now(ONE, Card("done"))
    edits.flush()
    assert screen.shown == [(ONE, "0 %"), (ONE, "done")]


def test_an_edit_now_is_not_delayed_by_an_older_one_and_not_undone_by_it(screen: Screen, edits: Coalescer) -> None:
    screen.may_go.clear()
    edits.later(ONE, Card("99 %"))
    assert screen.entered.acquire(timeout=10)  # the older edit is under way, waiting for a rate limit
    final = threading.Thread(target=edits.now, args=(ONE, Card("done")))
    final.start()
    assert screen.entered.acquire(timeout=10)  # and the final one did not wait for it
    screen.may_go.set()
    final.join(10)
    edits.flush()
    assert screen.shown == [(ONE, "done")]


def test_an_edit_that_fails_is_no_end_of_progress(screen: Screen, edits: Coalescer) -> None:
    screen.failures = 1
    edits.later(ONE, Card("10 %"))
    edits.later(TWO, Card("10 %"))
    edits.flush()
    edits.later(ONE, Card("20 %"))
    edits.flush()
    assert (ONE, "20 %") in screen.shown


def test_an_edit_now_that_fails_is_told(screen: Screen, edits: Coalescer) -> None:
    screen.failures = 1
    with pytest.raises(ChatError):
        edits.now(ONE, Card("done"))


def test_closing_shows_the_last_and_later_still_works_after_it(screen: Screen, edits: Coalescer) -> None:
    edits.now(ONE, Card("0 %"))
    edits.later(ONE, Card("50 %"))
    edits.close()
    assert screen.shown[-1] == (ONE, "50 %")
    edits.later(ONE, Card("60 %"))
    assert screen.shown[-1] == (ONE, "60 %")


def test_time_between_two_edits(screen: Screen) -> None:
    now = [100.0]
    coalescer = Coalescer(screen.send, every=2, clock=lambda: now[0])
    coalescer.now(ONE, Card("0 %"))
    with coalescer._changed:
        coalescer._pending[ONE] = Card("1 %")
    assert coalescer._take(due_only=True) is None
    assert coalescer._until_due() == 2
    now[0] += 2
    taken = coalescer._take(due_only=True)
    assert taken is not None
    coalescer._show(*taken)
    assert screen.shown == [(ONE, "0 %"), (ONE, "1 %")]
