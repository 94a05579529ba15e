"""Many incidents of one kind that begin together.

One message for all, edited as they come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import structlog

from bot.domain.cluster import Snapshot
from bot.domain.errors import DroverError
from bot.domain.metrics import Incident
from bot.flow.context import Services
from bot.flow.monitoring import incident_cards, incident_notes, incidents
from bot.flow.monitoring.monitor import Monitor
from bot.plugin_api import Alert
from bot.ports import MessageRef, Urgency

log = structlog.get_logger()

LEAST = 5  # incidents of one kind that begin within the window are one message
WINDOW = timedelta(minutes=5)  # what has one cause begins within it: sweeps take seconds
LONGEST = timedelta(hours=1)  # what begins so long after the first one is told anew


@dataclass(frozen=True, slots=True)
class _Storm:
    """One message for many incidents: its key, and where it is once it was posted."""

    key: str
    channel: str = ""
    ts: str = ""


def kind_of(key: str) -> str:
    """What incidents of one kind have in common.

    Their key before the name; '' for a key without.
    """
    kind, colon, _ = key.partition(":")
    return kind if colon else ""


def show(
    services: Services,
    monitor: Monitor,
    alerts: Iterable[Alert],
    watch: str,
    seen: Snapshot | None = None,
) -> None:
    """Show what one look of a watch noticed; what cannot be shown now the next look tries again.

    ``seen``: the cluster, for who owns the VMs that it is about.
    """
    some = tuple(alerts)
    if not some:
        return
    looked = _Look(services, monitor, watch, seen)
    for alert in some:
        looked.sort(alert)
    looked.show()


class _Look:
    """The alerts of one look: those of storms, those that may begin one, and the others."""

    def __init__(
        self, services: Services, monitor: Monitor, watch: str, seen: Snapshot | None
    ) -> None:
        self._seen = seen
        self._services = services
        self._monitor = monitor
        self._watch = watch
        self._now = services.clock.now()
        found = incident_notes.all_with_versions(monitor.notes)
        self._known = {key: incident for key, (incident, _) in found.items()}
        self._versions = {key: version for key, (_, version) in found.items()}
        self._begun: dict[str, list[Alert]] = {}
        self._single: list[Alert] = []
        self._changed: dict[str, None] = {}  # storms
        self._turned: list[Incident] = []  # what of storms began again or ended

    def sort(self, alert: Alert) -> None:
        """Take one alert; of a storm's incident only its beginning and its end are stored."""
        before = self._known.get(alert.key)
        after = incidents.following(before, alert, self._watch, self._now)
        if after is None:
            return
        kind = kind_of(alert.key)
        if before is not None and before.storm and after.storm:
            self._monitor.drawn.alerts[alert.key] = alert
            self._changed[before.storm] = None
            if before.open != after.open:
                self._turned.append(after)
        elif not after.ts and kind:
            self._begun.setdefault(kind, []).append(alert)
        else:
            self._single.append(alert)

    def show(self) -> None:
        """Show them, the storms last."""
        self._quietly(partial(self._keep, self._turned))
        for kind, alerts in self._begun.items():
            storm = self._storm_for(kind, len(alerts))
            if storm is None:
                self._single += alerts
            else:
                self._quietly(partial(self._begin, storm, alerts))
        for alert in self._single:
            self._quietly(
                partial(
                    incidents.show, self._services, self._monitor, alert, self._watch, self._seen
                )
            )
        for key in self._changed:
            self._quietly(partial(self._show_storm, key))

    def _quietly(self, act: Callable[[], None]) -> None:
        try:
            act()
        except DroverError as error:
            log.warning("not told, the next look tries again", watch=self._watch, error=str(error))

    def _storm_for(self, kind: str, count: int) -> _Storm | None:
        """The storm that so many more of a kind belong to; None: each is told by itself."""
        lately = [
            each
            for each in self._known.values()
            if kind_of(each.key) == kind and self._now - each.opened_at <= WINDOW
        ]
        for each in lately:
            if each.storm and self._now - self._members(each.storm)[0].opened_at <= LONGEST:
                return _Storm(each.storm, each.channel, each.ts)
        if count + len(lately) < LEAST:
            return None
        return _Storm(f"{incidents.STORM}{kind}:{self._now.isoformat()}")

    def _members(self, storm: str) -> Sequence[Incident]:
        """The incidents of a storm, oldest first."""
        theirs = (each for each in self._known.values() if each.storm == storm)
        return sorted(theirs, key=lambda each: (each.opened_at, each.key))

    def _begin(self, storm: _Storm, alerts: Sequence[Alert]) -> None:
        """Store the incidents of a storm, before it is posted: other ways need no chat."""
        self._changed[storm.key] = None
        begun: list[tuple[Alert, Incident]] = []
        for alert in alerts:
            after = incidents.following(self._known.get(alert.key), alert, self._watch, self._now)
            if after is not None:
                self._monitor.drawn.alerts[alert.key] = alert
                begun.append((alert, after))
        self._keep(
            [
                replace(after, storm=storm.key, channel=storm.channel, ts=storm.ts)
                for _, after in begun
            ]
        )
        for alert, after in begun:
            incidents.tell_owners(self._services, after, alert.card, self._seen)

    def _show_storm(self, key: str) -> None:
        """Post a storm's message, under its key, or edit it."""
        members = self._members(key)
        posted = next((each for each in members if each.ts), None)
        if posted is None and not any(each.open for each in members):
            return  # it came and went while the chat was away
        if posted is None:
            card = incident_cards.storm_card(members, self._monitor.drawn.alerts, self._now)
            ref = self._services.chat.post(
                self._services.places.ops, card, key=key, urgency=Urgency.ALERT
            )
            self._monitor.drawn.storms[key] = card
        else:
            ref = MessageRef(posted.channel, posted.ts)
        self._keep(
            [replace(each, channel=ref.channel, ts=ref.ts) for each in members if not each.ts]
        )
        incidents.draw_storm(self._services, self._monitor, self._members(key))

    def _keep(self, some: Sequence[Incident]) -> None:
        """Store incidents in one transaction: a vote waits for one, not for hundreds.

        Where a click or another replica was first since this look began, nothing is stored: the
        next look sees what it did.
        """
        versioned = [(each, self._versions.get(each.key, 0)) for each in some]
        stored = incident_notes.put_all(self._monitor.notes, versioned)
        for each, version in versioned:
            if each.key in stored:
                self._known[each.key], self._versions[each.key] = each, version + 1
