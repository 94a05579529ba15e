"""Every sentence the core adds to alerts and reports: who took one up, how long it lasted, what can be pressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Context,
    Element,
    Line,
    Section,
    Style,
    nwords,
    words,
)
from bot.domain.message import Duration, Message
from bot.domain.metrics import Incident
from bot.flow.operations.operation_cards import who
from bot.plugin_api import Remedy


def incident_card(
    card: Card, incident: Incident, remedies: Sequence[Remedy], now: datetime
) -> Card:
    """An alert's card with its state, and buttons while it stands."""
    elements: list[Element] = [*card.elements, Context(tuple(_state(incident, now)))]
    if incident.open:
        elements.append(Buttons(tuple(_buttons(incident, remedies))))
    title = (
        card.title or incident.title
        if incident.open
        else words("Resolved: {title}", title=incident.title)
    )
    return replace(card, title=title, elements=tuple(elements))


def _state(incident: Incident, now: datetime) -> list[Line]:
    said: list[Line] = [words("since {at}", at=incident.opened_at)]
    if incident.over_at is not None:
        said = [words("{at}, for {long}", at=incident.opened_at, long=lasted(incident))]
    if incident.times > 1:
        said.append(nwords("came back {n} time", "came back {n} times", n=incident.times - 1))
    if incident.acknowledged_by:
        said.append(words("acknowledged by {who}", who=who(incident.acknowledged_by)))
    if incident.muted and incident.open:
        said.append(words("silenced until resolved"))
    elif incident.silent_until is not None and incident.silent_until > now and incident.open:
        said.append(words("silenced until {at}", at=incident.silent_until))
    return said


def _buttons(incident: Incident, remedies: Sequence[Remedy]) -> list[Button]:
    row = [Button(each.text, "run", each.command, Style.PRIMARY) for each in remedies[:3]]
    if not incident.acknowledged_by:
        row.append(Button(words("Acknowledge"), "alert.ack", f"{incident.key}|"))
    if not incident.muted:
        row += [
            Button(words("Silence 1 h"), "alert.silence", f"{incident.key}|1h"),
            Button(words("Silence 8 h"), "alert.silence", f"{incident.key}|8h"),
            Button(words("Silence until resolved"), "alert.silence", f"{incident.key}|fixed"),
        ]
    return row


def lasted(incident: Incident) -> Duration:
    """How long an incident that is over lasted."""
    end = incident.over_at or incident.opened_at
    return Duration((end - incident.opened_at).total_seconds())


def over_note(incident: Incident) -> Card:
    """In the thread: it is over."""
    text = words("Resolved after {time}: {said}", time=lasted(incident), said=incident.said)
    return Card(text=text, elements=(Section(text),))


def again_note(incident: Incident, card: Card) -> Card:
    """In the thread: it is back."""
    back = incident.times - 1
    text = nwords(
        "It is back, {n} time by now: {said}",
        "It is back, {n} times by now: {said}",
        n=back,
        said=card.text,
    )
    return Card(text=text, elements=(Section(text),))


def trail_notice(broken: Message) -> Card:
    """That the audit trail was tampered with, and what to do; or that it holds again."""
    if not broken:
        return Card(words("The audit trail holds."))
    advice = words("Compare the database with a backup, and find out who can write to it.")
    return Card(
        text=words("The audit trail was tampered with: {broken}", broken=broken),
        title=words("The audit trail was tampered with"),
        elements=(Section(words("{broken}", broken=broken)), Section(advice)),
    )


def late_card(card: Card, seconds: float) -> Card:
    """A report that should have come earlier."""
    note = words(
        "{time} late: nobody was there to post it when it was due.", time=Duration(seconds)
    )
    return replace(card, elements=(Context((note,)), *card.elements))


def ended_card(card: Card, line: str) -> Card:
    """A live answer that is no longer brought up to date."""
    return replace(
        card,
        elements=(
            *card.elements,
            Context((words("no longer live; type `{line}` again", line=line),)),
        ),
    )


def live_card(card: Card) -> Card:
    """A live answer."""
    return replace(card, elements=(*card.elements, Context((words("live for a minute"),))))
