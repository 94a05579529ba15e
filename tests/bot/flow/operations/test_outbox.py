"""What is to be said: in order, off the threads of who works, tried until it is said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from bot.domain.errors import ChatError, ChatRefusedError
from bot.flow.operations.outbox import Item, NotYetError, Outbox


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    made = Outbox()
    made.start()
    yield made
    made.stop(0)


class Said:
    """What was said, and a way to make it fail or hang."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.failures: list[Exception] = []
        self.go = threading.Event()
        self.go.set()
        self.inside = threading.Event()

    def __call__(self, word: str) -> Callable[[], None]:
        def say() -> None:
            self.inside.set()
            assert self.go.wait(60)
            if self.failures:
                raise self.failures.pop(0)
            self.words.append(word)

        return say


def test_who_puts_something_in_does_not_wait_for_a_chat_that_hangs(outbox: Outbox) -> None:
    said = Said()
    said.go.clear()
    outbox.put("C1", Item(said("one")))
    assert said.inside.wait(60)
    outbox.put("C1", Item(said("two")))  # returns, though the first hangs
    said.go.set()
    assert outbox.stop(10)
    assert said.words == ["one", "two"]


def test_a_lane_that_hangs_holds_up_no_other(outbox: Outbox) -> None:
    hanging, well = Said(), Said()
    hanging.go.clear()
    outbox.put("C1", Item(hanging("one")))
    outbox.put("C2", Item(well("two")))
    assert well.inside.wait(60)
    hanging.go.set()
    assert outbox.stop(10)
    assert (hanging.words, well.words) == (["one"], ["two"])


def test_when_the_chat_is_back_all_is_told_in_order() -> None:
    clock, said = Clock(), Said()
    outbox = Outbox(clock)
    said.failures = [ChatError("Slack does not answer.")]
    for word in ("one", "two", "three"):
        outbox.put("C1", Item(said(word), subject="op-1"))
    assert said.words == []
    clock.at += 2
    outbox.catch_up()
    assert said.words == ["one", "two", "three"]


def test_the_urgent_goes_first_but_never_before_its_own() -> None:
    said = Said()
    outbox = Outbox(Clock())
    said.failures = [ChatError("Slack does not answer.")]
    outbox.put("C1", Item(said("note of op-1"), subject="op-1"))
    outbox.put("C1", Item(said("message of op-2"), subject="op-2", urgency=0))
    outbox.catch_up()
    assert said.words == ["message of op-2", "note of op-1"]


def test_what_cannot_be_said_yet_holds_up_its_own_subject_alone() -> None:
    clock, said = Clock(), Said()
    outbox = Outbox(clock)
    said.failures = [NotYetError("op-1")]
    outbox.put("C1", Item(said("op-1 begins"), subject="op-1"))
    outbox.put("C1", Item(said("op-1 ends"), subject="op-1"))
    outbox.put("C1", Item(said("op-2 ends"), subject="op-2"))
    assert said.words == ["op-2 ends"]
    outbox.catch_up()
    assert said.words == ["op-2 ends", "op-1 begins", "op-1 ends"]


def test_what_is_refused_for_good_is_an_end() -> None:
    said = Said()
    outbox = Outbox(Clock())
    said.failures = [ChatRefusedError("channel_not_found")]
    outbox.put("C1", Item(said("one")))
    outbox.put("C1", Item(said("two")))
    outbox.catch_up()
    assert said.words == ["two"]


def test_what_is_refused_and_may_be_allowed_again_is_tried_slowly() -> None:
    clock, said, asked = Clock(), Said(), []
    outbox = Outbox(clock)
    said.failures = [ChatRefusedError("is_archived")]

    def refused(error: ChatRefusedError) -> bool:
        asked.append(error.text)
        return True

    outbox.put("C1", Item(said("one"), refused=refused))
    outbox.put("C1", Item(said("two")))
    assert said.words == ["two"]
    clock.at += 61
    outbox.put("C1", Item(said("three")))
    assert said.words == ["two", "one", "three"]
    assert asked == ["is_archived"]


def test_a_fault_of_its_own_ends_it_and_not_the_lane() -> None:
    said = Said()
    outbox = Outbox(Clock())
    said.failures = [ZeroDivisionError()]
    outbox.put("C1", Item(said("one")))
    outbox.put("C1", Item(said("two")))
    assert said.words == ["two"]


def test_an_answer_is_given_up_after_its_tries() -> None:
    said = Said()
    outbox = Outbox(Clock())
    said.failures = [ChatError("Slack does not answer.")]
    outbox.put("answers:U1", Item(said("one"), tries=1))
    outbox.put("answers:U1", Item(said("two"), tries=1))
    outbox.catch_up()
    assert said.words == ["two"]
