"""The queue is looked at often while somebody is at work, and seldom while nobody is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bot.adapters.queue_pace import QueuePace
from tests.waiting import until

OFTEN, SELDOM = 0.4, 1.0

Made = Callable[[float], tuple[QueuePace, list[float]]]


@pytest.fixture
def made() -> Iterator[Made]:
    """Start a pace with so many seconds of calm; it and what it set."""
    begun: list[QueuePace] = []

    def make(calm: float) -> tuple[QueuePace, list[float]]:
        found: list[float] = []
        begun.append(QueuePace(found.append, OFTEN, SELDOM, calm))
        begun[-1].start()
        return begun[-1], found

    yield make
    for each in begun:
        each.stop()


def test_a_start_counts_as_work(made: Made) -> None:
    _, found = made(3600.0)
    until(lambda: found == [OFTEN], lambda: repr(found))


def test_after_a_while_without_a_word_it_is_looked_at_seldom(made: Made) -> None:
    _, found = made(0.05)
    until(lambda: found == [OFTEN, SELDOM], lambda: repr(found))


def test_a_word_makes_it_often_again_once(made: Made) -> None:
    pace, found = made(0.05)
    until(lambda: found == [OFTEN, SELDOM], lambda: repr(found))
    pace.hurry()
    until(lambda: found == [OFTEN, SELDOM] * 2, lambda: repr(found))


def test_a_word_counts_however_late_the_thread_wakes(made: Made) -> None:
    pace, found = made(0.0)
    until(lambda: found == [OFTEN, SELDOM], lambda: repr(found))
    pace.hurry()
    until(lambda: found == [OFTEN, SELDOM] * 2, lambda: repr(found))


def test_what_could_not_be_set_stops_nothing() -> None:
    found: list[float] = []

    def fail(pause: float) -> None:
        found.append(pause)
        raise OSError("gone")

    pace = QueuePace(fail, OFTEN, SELDOM, 0.01)
    pace.start()
    until(lambda: found == [OFTEN, SELDOM], lambda: repr(found))
    pace.hurry()
    until(lambda: found == [OFTEN, SELDOM] * 2, lambda: repr(found))
    pace.stop()


def test_who_never_began_can_be_stopped() -> None:
    found: list[float] = []
    QueuePace(found.append, OFTEN, SELDOM, 1.0).stop()
    assert found == []
