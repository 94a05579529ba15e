"""No more calls than Slack allows, whoever makes them; who is urgent goes first."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack.pacer import Pacer
from bot.adapters.slack.tiers import PER_PLACE, TIERS
from bot.ports import Urgency
from tests.bot.adapters.slack.conftest import NappingPacer

METHODS = st.sampled_from(sorted(TIERS))
CALLS = st.lists(
    st.tuples(METHODS, st.sampled_from(("C1", "C2")), st.sampled_from(Urgency), st.floats(0, 30)),
    max_size=150,
)


@given(calls=CALLS)
def test_no_window_holds_more_calls_than_the_tier(
    calls: list[tuple[str, str, Urgency, float]],
) -> None:
    pacer = NappingPacer()
    made: dict[tuple[str, str], list[float]] = {}
    for method, channel, urgency, pause in calls:
        pacer.at += pause / 30  # somebody asks, sooner or later
        pacer.turn(method, channel, urgency)
        made.setdefault((method, ""), []).append(pacer.at)
        made.setdefault((method, channel), []).append(pacer.at)
    for (method, channel), times in made.items():
        tier = PER_PLACE.get(method) if channel else TIERS[method]
        if tier is None:
            continue
        for first, last in zip(times, times[tier.calls :], strict=False):
            assert last - first >= tier.seconds, (method, channel)


def test_a_limit_holds_for_everybody_who_calls_the_method_and_for_no_other(
    pacer: NappingPacer,
) -> None:
    pacer.note_limit("chat.update", 30)
    pacer.turn("chat.postMessage", "C1")
    assert pacer.naps == []
    pacer.turn("chat.update")
    pacer.turn("chat.update")
    assert pacer.naps == [30]


def test_of_two_limits_the_longer_holds(pacer: NappingPacer) -> None:
    pacer.note_limit("chat.update", 30)
    pacer.note_limit("chat.update", 1)
    assert pacer.until("chat.update") == 30


def test_a_channel_does_not_wait_for_another(pacer: NappingPacer) -> None:
    pacer.turn("chat.postMessage", "C1")
    assert pacer.until("chat.postMessage", "C1") > 1
    assert pacer.until("chat.postMessage", "C2") == 0


def test_what_is_reserved_is_for_what_is_final(pacer: NappingPacer) -> None:
    pacer.reserve("chat.update", 30)
    taken = dict.fromkeys(Urgency, 0)
    for urgency in (Urgency.PROGRESS, Urgency.PROGRESS, Urgency.ALERT, Urgency.VOTE, Urgency.FINAL):
        while pacer.take("chat.update", urgency=urgency):
            taken[urgency] += 1
        pacer.at += 10
    assert taken == {
        Urgency.PROGRESS: 15,
        Urgency.ALERT: 0,
        Urgency.VOTE: 0,
        Urgency.FINAL: 30,
    }


def test_many_votes_at_once_are_not_all_shown_before_their_number_is_known(
    pacer: NappingPacer,
) -> None:
    pacer.reserve("chat.update", 1)
    assert sum(pacer.take("chat.update", urgency=Urgency.VOTE) for _ in range(30)) == 12
    assert all(pacer.take("chat.update") for _ in range(30))


def test_however_much_is_reserved_something_is_left(pacer: NappingPacer) -> None:
    pacer.reserve("chat.update", 1000)
    assert pacer.take("chat.update", urgency=Urgency.PROGRESS)


@pytest.mark.parametrize("others", [1, 5])
def test_who_is_urgent_goes_before_who_came_earlier(others: int) -> None:
    now = [0.0]
    pacer = Pacer(clock=lambda: now[0])
    pacer.note_limit("chat.update", 10)
    order: list[Urgency] = []

    def go(urgency: Urgency) -> None:
        pacer.turn("chat.update", urgency=urgency)
        order.append(urgency)

    wanted = [*itertools.repeat(Urgency.PROGRESS, others), Urgency.VOTE, Urgency.FINAL]
    threads = [threading.Thread(target=go, args=(urgency,), daemon=True) for urgency in wanted]
    for count, thread in enumerate(threads, 1):
        thread.start()
        while len(pacer._waiting["chat.update"]) < count:
            threading.Event().wait(0.001)
    with pacer._changed:
        now[0] = 11.0
        pacer._changed.notify_all()
    for thread in threads:
        thread.join(60)
    assert order[:2] == [Urgency.FINAL, Urgency.VOTE]
    assert len(order) == others + 2
