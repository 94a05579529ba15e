"""Incidents in chat.

One message each, edited while it lasts and when it ends, with what people decided about it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.errors import UsageError
from bot.domain.message import words
from bot.domain.metrics import Incident
from bot.flow import personal_settings
from bot.flow.context import Services, roles_of
from bot.flow.monitoring import incident_cards, incident_notes
from bot.flow.monitoring.monitor import Monitor
from bot.flow.operations.operation_cards import forbidden_card, note_card
from bot.plugin_api import Alert, Remedy
from bot.ports import MessageRef, Request, Urgency

log = structlog.get_logger()

# What comes back within this time is the same incident, in the same message
SAME = timedelta(hours=1)
STORM = "storm:"
"""How the names of messages begin that many incidents share; see ``storms``."""


def show(
    services: Services, monitor: Monitor, alert: Alert, watch: str, seen: Snapshot | None = None
) -> None:
    """Show what a watch noticed: a new message, or an edit of the one that people know.

    Args:
        services: what it works with.
        monitor: remembers what is shown.
        alert: what was noticed.
        watch: the name of the watch.
        seen: the cluster, for who owns the VMs that it is about; None: nobody is told.

    Raises:
        ChatError: it could not be shown; the next look tries again.
    """
    alert = replace(
        alert, remedies=tuple(each for each in alert.remedies if _there(services, each))
    )
    before, version = incident_notes.one(monitor.notes, alert.key)
    after = following(before, alert, watch, services.clock.now())
    if after is None:
        return
    monitor.drawn.alerts[alert.key] = alert
    if after != before:
        # Before it is posted: who is told by other ways does not depend on the chat
        if not incident_notes.put(monitor.notes, after, version):
            return  # a click or another replica was first: the next look sees what it did
        version += 1
    if not after.ts:
        if not after.open:
            return  # it came and went while the chat was away
        after = _post(services, monitor, alert, after)
        if not incident_notes.put(monitor.notes, after, version):
            return
        tell_owners(services, after, alert.card, seen)
    elif before is not None and before.open != after.open:
        _note_in_thread(services, after, alert.card)
        tell_owners(services, after, alert.card, seen)
    _draw(services, monitor, alert, after)


def tell_owners(services: Services, incident: Incident, card: Card, seen: Snapshot | None) -> None:
    """Tell those whose VMs it is about; not each time that it flaps, nor while it is silenced."""
    if seen is None or incident.times > 1 or incident.is_silenced(services.clock.now()):
        return
    personal_settings.tell_owners(services, incident, card, seen)


def _there(services: Services, remedy: Remedy) -> bool:
    """Whether its command exists here: the plugin that has it may not be enabled."""
    try:
        services.catalog.find(shlex.split(remedy.command))
    except UsageError:
        return False
    return True


def following(before: Incident | None, alert: Alert, watch: str, now: datetime) -> Incident | None:
    """The incident as it is after an alert; None when there is none to end."""
    if alert.over:
        if before is None or not before.open:
            return None
        return replace(before, over_at=now, said=alert.card.text)
    title, said = alert.card.title or alert.card.text, alert.card.text
    if before is None or (before.over_at is not None and now - before.over_at > SAME):
        return Incident(alert.key, title, now, said=said, watch=watch, severity=alert.severity)
    known = replace(before, title=title, said=said, severity=alert.severity)
    return known if before.open else replace(known, over_at=None, times=before.times + 1)


def _post(services: Services, monitor: Monitor, alert: Alert, after: Incident) -> Incident:
    """With the message it is shown in.

    Posted under a key, so that a crash in between makes no second one.
    """
    if after.ts:
        return after
    card = incident_cards.incident_card(alert.card, after, alert.remedies, services.clock.now())
    ref = services.chat.post(
        services.places.ops,
        card,
        key=f"incident:{after.key}:{after.opened_at.isoformat()}",
        urgency=Urgency.ALERT,
    )
    posted = monitor.drawn.incidents[after.key] = replace(after, channel=ref.channel, ts=ref.ts)
    return posted


def _draw(services: Services, monitor: Monitor, alert: Alert, incident: Incident) -> None:
    """Edit the message when it does not show the incident as it is.

    At once when something turned, else soon.
    """
    last = monitor.drawn.incidents.get(incident.key)
    if last == incident:
        return
    ref = MessageRef(incident.channel, incident.ts)
    card = incident_cards.incident_card(alert.card, incident, alert.remedies, services.clock.now())
    if last is not None and replace(last, said="", title="") == replace(
        incident, said="", title=""
    ):
        services.chat.later(ref, card)
    else:
        services.chat.later(ref, card, urgency=Urgency.ALERT)
    monitor.drawn.incidents[incident.key] = incident


def _note_in_thread(services: Services, after: Incident, card: Card) -> None:
    """That it ended or came back, as a reply.

    What flaps says so in its message alone; silence is kept.
    """
    if after.times > 1 or after.is_silenced(services.clock.now()):
        return
    note = incident_cards.again_note(after, card) if after.open else incident_cards.over_note(after)
    key = f"incident:{after.key}:{after.opened_at.isoformat()}:{after.times}:{after.open}"
    parent = MessageRef(after.channel, after.ts)
    services.messages.say(
        after.channel, lambda: services.chat.post(after.channel, note, thread=parent, key=key)
    )


def acknowledge(services: Services, request: Request) -> Card | None:
    """Answer a click on Acknowledge under an alert."""
    return _decide(services, request, lambda incident: _acknowledge(incident, request.by))


def silence(services: Services, request: Request) -> Card | None:
    """Answer a click on Silence or End silence under an alert.

    Its value is ``KEY|1h``, ``8h``, ``fixed`` (until it is resolved) or ``off``. Who
    silences it has seen it, and stays named as who acknowledged it.
    """
    length = request.value.rpartition("|")[2]
    until = services.clock.now() + timedelta(hours=8 if length == "8h" else 1)

    def change(incident: Incident) -> Incident:
        if length == "off":
            return replace(incident, muted=False, silent_until=None)
        after = _acknowledge(incident, request.by)
        return (
            replace(after, muted=True) if length == "fixed" else replace(after, silent_until=until)
        )

    return _decide(services, request, change)


def _acknowledge(incident: Incident, by: str) -> Incident:
    """The first who acknowledges it stays named."""
    return replace(incident, acknowledged_by=incident.acknowledged_by or by)


def _decide(
    services: Services, request: Request, change: Callable[[Incident], Incident]
) -> Card | None:
    monitor = services.monitor
    if monitor is None:
        return note_card(words("Nothing is measured here."), words("Enable the monitor plugin."))
    if not roles_of(services, request.by):
        return forbidden_card(
            words("You may not answer alerts."), words("It takes any role of the configuration.")
        )
    key = request.value.rpartition("|")[0]
    if key.startswith(STORM):
        return _decide_all(services, monitor, key, change)
    incident = incident_notes.change(monitor.notes, key, change)
    if incident is None:
        return _unknown()
    alert = monitor.drawn.alerts.get(key)
    if alert is not None:  # otherwise this process has just started, and the next look draws it
        _draw(services, monitor, alert, incident)
    return None


def _unknown() -> Card:
    return note_card(
        words("This alert is no longer known."), words("Type `/kvm alerts` to see what stands.")
    )


def _decide_all(
    services: Services, monitor: Monitor, storm: str, change: Callable[[Incident], Incident]
) -> Card | None:
    """Change every incident that shares a message; the next look draws it if not this one."""
    members = incident_notes.change_all(monitor.notes, storm, change)
    if not members:
        return _unknown()
    draw_storm(services, monitor, members)
    return None


def draw_storm(services: Services, monitor: Monitor, members: Sequence[Incident]) -> None:
    """Edit the message that incidents share.

    When it does not show them as they are, oldest first.
    """
    first, now = next((each for each in members if each.ts), None), services.clock.now()
    if first is None:
        return  # it is not posted yet
    card = incident_cards.storm_card(members, monitor.drawn.alerts, now)
    if monitor.drawn.storms.get(first.storm) == card:
        return
    monitor.drawn.storms[first.storm] = card
    ref = MessageRef(first.channel, first.ts)
    services.chat.later(ref, card, urgency=Urgency.ALERT)
    if any(each.open or each.is_silenced(now) for each in members):
        return
    note = incident_cards.storm_over_note(members)
    key = f"{first.storm}:over:{max(each.times for each in members)}"
    services.messages.say(
        first.channel,
        lambda: services.chat.post(first.channel, note, thread=ref, key=key, urgency=Urgency.ALERT),
    )
