"""Every sentence the core adds to alerts and reports.

Who took one up, how long it lasted, what can be pressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Table,
    Words,
    nwords,
    words,
)
from bot.domain.message import Duration, Message
from bot.domain.metrics import Incident
from bot.flow.operations.operation_cards import who
from bot.plugin_api import Alert, Remedy

_SHOWN = 10  # of the incidents that share a message


def incident_card(
    card: Card, incident: Incident, remedies: Sequence[Remedy], now: datetime
) -> Card:
    """An alert's card with its state, and buttons while it stands."""
    elements: list[Element] = [*card.elements, Context(tuple(_state(incident, now)))]
    if incident.open:
        elements.append(Buttons(tuple(_buttons(incident, remedies, now))))
    title = (
        card.title or incident.title
        if incident.open
        else words("Resolved: {title}", title=incident.title)
    )
    return replace(card, title=title, elements=tuple(elements))


def _state(incident: Incident, now: datetime) -> list[Line]:
    said: list[Line] = [words("since {at}", at=incident.opened_at)]
    if incident.over_at is not None:
        said = [words("{at}, for {long}", at=incident.opened_at, long=duration_of(incident))]
    if incident.times > 1:
        said.append(nwords("came back {n} time", "came back {n} times", n=incident.times - 1))
    if incident.acknowledged_by:
        said.append(words("acknowledged by {who}", who=who(incident.acknowledged_by)))
    if incident.muted and incident.open:
        said.append(words("silenced until resolved"))
    elif incident.silent_until is not None and incident.silent_until > now and incident.open:
        said.append(words("silenced until {at}", at=incident.silent_until))
    return said


def _buttons(incident: Incident, remedies: Sequence[Remedy], now: datetime) -> list[Button]:
    row = [Button(each.text, "run", each.command, Style.PRIMARY) for each in remedies[:3]]
    silenced = incident.is_silenced(now)
    acknowledged = bool(incident.acknowledged_by)
    return row + _answers(incident.key, acknowledged=acknowledged, silenced=silenced)


def _answers(key: str, *, acknowledged: bool, silenced: bool) -> list[Button]:
    """What people can say to an alert, or to all that share a message."""
    row = [] if acknowledged else [Button(words("Acknowledge"), "alert.ack", f"{key}|")]
    if silenced:
        return [*row, Button(words("End silence"), "alert.silence", f"{key}|off")]
    return [
        *row,
        Button(words("Silence 1 h"), "alert.silence", f"{key}|1h"),
        Button(words("Silence 8 h"), "alert.silence", f"{key}|8h"),
        Button(words("Silence until resolved"), "alert.silence", f"{key}|fixed"),
    ]


def storm_card(members: Sequence[Incident], alerts: Mapping[str, Alert], now: datetime) -> Card:
    """One message for many incidents of one kind that began together, oldest first."""
    standing = [each for each in members if each.open]
    title = _storm_title(members, standing)
    counted = words(
        "{active} active, {resolved} resolved",
        active=len(standing),
        resolved=len(members) - len(standing),
    )
    elements: list[Element] = [Section(counted)]
    if standing:
        rows = tuple((each.title, _short_text(each, alerts)) for each in standing[:_SHOWN])
        elements.append(Table((words("What"), words("Now")), rows))
    if len(standing) > _SHOWN:
        more = len(standing) - _SHOWN
        text = nwords(
            "and {n} more: type `/kvm alerts`", "and {n} more: type `/kvm alerts`", n=more
        )
        elements.append(Context((text,)))
    elements.append(Context(tuple(_storm_state(members, now))))
    if standing:
        acknowledged = all(each.acknowledged_by for each in standing)
        silenced = all(each.is_silenced(now) for each in standing)
        buttons = _answers(members[0].storm, acknowledged=acknowledged, silenced=silenced)
        elements.append(Buttons(tuple(buttons)))
    return Card(
        Words("{title}: {counted}", {"title": title, "counted": counted}), title, tuple(elements)
    )


def _storm_title(members: Sequence[Incident], standing: Sequence[Incident]) -> Words:
    if not standing:
        return nwords(
            "Resolved: {title}, and {n} more alert of the kind",
            "Resolved: {title}, and {n} more alerts of the kind",
            n=len(members) - 1,
            title=members[0].title,
        )
    return nwords(
        "{title}, and {n} more alert of the kind",
        "{title}, and {n} more alerts of the kind",
        n=len(standing) - 1,
        title=standing[0].title,
    )


def _short_text(incident: Incident, alerts: Mapping[str, Alert]) -> Line:
    """What an alert says in short: its first line."""
    alert = alerts.get(incident.key)
    if alert is None or alert.over:
        return incident.said
    lines = (each.line for each in alert.card.elements if isinstance(each, Section))
    return next(lines, alert.card.text)


def _storm_state(members: Sequence[Incident], now: datetime) -> list[Line]:
    standing = [each for each in members if each.open]
    since, ends = members[0].opened_at, [each.over_at for each in members if each.over_at]
    said: list[Line] = [words("since {at}", at=since)]
    if not standing and ends:
        said = [words("{at}, for {long}", at=since, long=_storm_lasted(members))]
    people = dict.fromkeys(each.acknowledged_by for each in members if each.acknowledged_by)
    said += [words("acknowledged by {who}", who=who(person)) for person in people]
    if standing and all(each.muted for each in standing):
        said.append(words("silenced until resolved"))
    elif until := _all_silent_until(standing, now):
        said.append(words("silenced until {at}", at=until))
    return said


def _all_silent_until(standing: Sequence[Incident], now: datetime) -> datetime | None:
    """Until when all of them are silent; None when one of them is not."""
    ends = [each.silent_until for each in standing if each.silent_until and each.silent_until > now]
    return min(ends) if ends and len(ends) == len(standing) else None


def _storm_lasted(members: Sequence[Incident]) -> Duration:
    last = max(each.over_at or each.opened_at for each in members)
    return Duration((last - members[0].opened_at).total_seconds())


def storm_over_note(members: Sequence[Incident]) -> Card:
    """In the thread: all of them are over."""
    text = nwords(
        "{n} alert is resolved after {time}.",
        "All {n} alerts are resolved after {time}.",
        n=len(members),
        time=_storm_lasted(members),
    )
    return Card(text=text, elements=(Section(text),))


def duration_of(incident: Incident) -> Duration:
    """How long an incident that is over lasted."""
    end = incident.over_at or incident.opened_at
    return Duration((end - incident.opened_at).total_seconds())


def over_note(incident: Incident) -> Card:
    """In the thread: it is over."""
    text = words("Resolved after {time}: {said}", time=duration_of(incident), said=incident.said)
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
