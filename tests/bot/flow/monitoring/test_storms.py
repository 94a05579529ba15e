"""Many incidents of one kind that begin together are one message, for people and for their clicks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import pytest
import sqlalchemy as sa

from bot.domain.card import Card, Context, Section, Table
from bot.domain.message import Message
from bot.domain.metrics import Incident
from bot.flow.monitoring import incident_notes, incidents, storms
from bot.flow.monitoring.incident_notes import all_incidents
from bot.flow.monitoring.monitor import Monitor
from bot.plugin_api import Alert, Remedy
from tests.bot.flow.monitoring.test_watch import Watched, buttons, state_of, watched
from tests.bot.flow.small_bot import text

__all__ = ["watched"]

MANY = 300


def short(number: int, kind: str = "memory") -> Alert:
    said = Section(f"{90 + number % 10} % of 64 GiB in use.")
    card = Card(f"host-{number} is short", f"host-{number} is short of memory", (said,))
    return Alert(f"{kind}:host-{number}", card, remedies=(Remedy("Look", "hosts"),))


def well(number: int) -> Alert:
    return Alert(f"memory:host-{number}", Card("50 % in use", "memory"), over=True)


def title(card: Card) -> Message:
    return str(card.title)


def rows(card: Card) -> int:
    return sum(len(each.rows) for each in card.elements if isinstance(each, Table))


def test_a_storm_is_one_message_with_the_first_of_it_and_their_number(watched: Watched) -> None:
    watched.tick(*map(short, range(MANY)))
    watched.tick(*map(short, range(MANY)))
    (card,) = watched.shown()
    assert title(card) == "host-0 is short of memory, and 299 more alerts of the kind"
    assert rows(card) == 10
    assert "and 290 more: type `/kvm alerts`" in text(card)
    assert "300 active, 0 resolved" in text(card)
    assert len(all_incidents(watched.monitor.notes)) == MANY


def test_a_storm_shrinks_and_ends_in_its_message_and_says_so_once(watched: Watched) -> None:
    watched.tick(*map(short, range(20)))
    watched.tick(*map(short, range(15)), *map(well, range(15, 20)))
    (card,) = watched.shown()
    assert "15 active, 5 resolved" in text(card)
    assert watched.replies() == []
    for _ in range(2):
        watched.tick(*map(well, range(20)))
    (card,) = watched.shown()
    assert title(card) == "Resolved: host-0 is short of memory, and 19 more alerts of the kind"
    assert not buttons(card)
    (reply,) = watched.replies()
    assert str(reply.text) == "All 20 alerts are resolved after 30 s."


def test_what_begins_a_moment_later_joins_the_storm(watched: Watched) -> None:
    watched.tick(*map(short, range(10)))
    watched.tick(*map(short, range(12)))
    (card,) = watched.shown()
    assert "12 active, 0 resolved" in text(card)


def test_what_comes_back_is_in_the_same_message(watched: Watched) -> None:
    watched.tick(*map(short, range(10)))
    watched.tick(*map(well, range(10)))
    watched.tick(short(3))
    (card,) = watched.shown()
    assert "1 active, 9 resolved" in text(card)


def test_what_begins_much_later_is_told_anew(watched: Watched) -> None:
    watched.tick(*map(short, range(10)))
    watched.bot.clock.turn(storms.WINDOW.total_seconds())
    watched.tick(*map(short, range(11)))
    assert len(watched.shown()) == 2


def test_a_few_and_those_of_different_kinds_are_told_one_by_one(watched: Watched) -> None:
    few = storms.LEAST - 1
    watched.tick(*map(short, range(few)), *(short(each, "contention") for each in range(few)))
    assert len(watched.shown()) == 2 * few
    assert all("active" not in text(card) for card in watched.shown())


def test_a_click_answers_every_incident_of_a_storm(watched: Watched) -> None:
    watched.tick(*map(short, range(10)))
    ack, hour, *_ = buttons(watched.shown()[0])
    watched.bot.clicks(ack.action, ack.value, "UBRUNO")
    assert {each.acknowledged_by for each in all_incidents(watched.monitor.notes)} == {"UBRUNO"}
    assert "UBRUNO" in states(watched.shown()[0])
    watched.bot.clicks(hour.action, hour.value, "UCARLA")
    assert "silenced until" in states(watched.shown()[0])
    watched.tick(*map(well, range(10)))
    assert watched.replies() == []


def test_a_storm_that_could_not_be_posted_comes_at_the_next_look(watched: Watched) -> None:
    watched.bot.chat.fail("post")
    watched.tick(*map(short, range(10)))
    assert watched.shown() == []
    watched.tick(*map(short, range(10)))
    assert len(watched.shown()) == 1


def test_after_a_restart_the_same_message_is_edited(watched: Watched) -> None:
    watched.tick(*map(short, range(10)))
    watched.monitor = Monitor(
        watched.sampler, watched.series, watched.series, watched.bot.clock, replica="one"
    )
    watched.bot.services = replace(watched.services, monitor=watched.monitor)
    watched.tick(*map(short, range(7)), *map(well, range(7, 10)))
    (card,) = watched.shown()
    assert "7 active, 3 resolved" in text(card)


@contextmanager
def writes(watched: Watched) -> Iterator[list[str]]:
    """The transactions that change the database meanwhile."""
    found: list[str] = []
    engine = watched.series._engine

    def note(*given: object) -> None:
        if str(given[2]).startswith("BEGIN IMMEDIATE"):
            found.append(str(given[2]))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_storm_takes_a_few_transactions_however_many_incidents_it_has(watched: Watched) -> None:
    counts = []
    for few in (10, MANY):
        watched.bot.clock.turn(storms.LONGEST.total_seconds() + 1)
        with writes(watched) as begun:
            watched.tick(*map(short, range(few)))
        ack = buttons(watched.shown()[-1])[0]
        with writes(watched) as answered:
            watched.bot.clicks(ack.action, ack.value, "UBRUNO")
        with writes(watched) as ended:
            watched.tick(*map(well, range(few)))
        assert all(not each.open for each in all_incidents(watched.monitor.notes))
        counts.append((len(begun), len(answered), len(ended)))
    assert counts[0] == counts[1], counts
    assert max(counts[0]) > 0


def test_a_click_during_a_look_is_not_overwritten(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.tick(*map(short, range(10)))
    following = incidents.following
    turned: list[Alert] = []

    def click_first(
        before: Incident | None, alert: Alert, watch: str, now: datetime
    ) -> Incident | None:
        if not turned:
            turned.append(alert)
            incident_notes.change(
                watched.monitor.notes, "memory:host-3", lambda it: replace(it, acknowledged_by="U1")
            )
        return following(before, alert, watch, now)

    monkeypatch.setattr(incidents, "following", click_first)
    watched.tick(*map(well, range(10)))
    incident, _ = incident_notes.one(watched.monitor.notes, "memory:host-3")
    assert incident is not None
    assert (incident.acknowledged_by, incident.open) == ("U1", True)
    watched.tick(*map(well, range(10)))
    incident, _ = incident_notes.one(watched.monitor.notes, "memory:host-3")
    assert incident is not None
    assert (incident.acknowledged_by, incident.open) == ("U1", False)


def states(card: Card) -> str:
    """All small print of a card."""
    assert state_of(card)
    return " ".join(
        str(line) for each in card.elements if isinstance(each, Context) for line in each.lines
    )
