"""Alerts that a site's Alertmanager sends: each becomes an incident, with a fix to click.

They are kept before the sender is answered, and shown by the next look; so none is lost when the
chat is away. Every text in them is a stranger's: it is shown as it is, and chooses no command. A
fix is a command of the configuration, and names only a host or a VM that the cluster has.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from bot.domain.card import Card, Context, Element, Fields, Section, words
from bot.domain.cluster import Snapshot
from bot.domain.errors import StoreError
from bot.domain.message import Message
from bot.domain.metrics import AlertSeverity
from bot.domain.plain_card import one_line
from bot.flow.context import Services
from bot.flow.monitoring import incident_notes, storms
from bot.flow.monitoring.monitor import Monitor
from bot.plugin_api import Alert, Remedy
from bot.ports.series import Notes

PREFIX = "outside:"
WATCH = "alertmanager"
MOST = 500  # alerts kept at a time
STALE = timedelta(days=1)  # without a word of the sender, which repeats what stands every few hours
LABELS, NAME, TEXT = 12, 60, 1000  # labels shown; characters of a name and of a text
TRIES = 5  # lost races before the sender is asked to send again
SEVERITIES = {
    "critical": AlertSeverity.CRITICAL,
    "page": AlertSeverity.CRITICAL,
    "error": AlertSeverity.CRITICAL,
    "info": AlertSeverity.INFO,
    "none": AlertSeverity.INFO,
}
SHOWN_ELSEWHERE = frozenset({"alertname", "severity"})


@dataclass(frozen=True, slots=True)
class OutsideAlert:
    """One alert as it was received, every text bounded. ``at``: when, UTC."""

    fingerprint: str
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    at: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.labels.get("alertname", "") or "alert"

    @property
    def kind(self) -> str:
        """What alerts of its name have in common, in a form that fits into a key."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Fix:
    """A command that is offered under alerts whose name fits the shell pattern ``alert``.

    ``{host}`` and ``{vm}`` in it stand for what the labels name.
    """

    alert: str
    text: Message
    command: str


@dataclass(frozen=True, slots=True)
class OutsideRules:
    """Which labels name a host and a VM, and which fixes are offered."""

    host_labels: tuple[str, ...] = ("host", "node", "instance", "hostname")
    vm_labels: tuple[str, ...] = ("vm", "domain", "guest")
    fixes: tuple[Fix, ...] = ()


DEFAULT_FIXES = (
    Fix("*", words("Show VM"), "vm show {vm}"),
    Fix("*", words("Show host"), "show host {host}"),
)


def read(payload: object, now: datetime) -> tuple[OutsideAlert, ...]:
    """The alerts of a webhook's payload (Alertmanager's version 4).

    Raises:
        ValueError: it is none.
    """
    alerts = payload.get("alerts") if isinstance(payload, Mapping) else None
    if not isinstance(alerts, list) or not all(isinstance(each, Mapping) for each in alerts):
        raise ValueError("no list of alerts")  # no message: for the log
    return tuple(_read_one(each, now) for each in alerts)


def _read_one(given: Mapping[str, object], now: datetime) -> OutsideAlert:
    labels, annotations = _texts(given.get("labels")), _texts(given.get("annotations"))
    if given.get("status") not in {"firing", "resolved"} or not labels:
        # no message: for the log
        raise ValueError("an alert without status or labels")
    # Its own fingerprint is a text like any other; ours has a form that fits into a key
    identity = json.dumps(given.get("labels"), sort_keys=True)
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return OutsideAlert(
        fingerprint, given["status"] == "firing", labels, annotations, now.isoformat()
    )


def _texts(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        # no message: for the log
        raise ValueError("labels that are none")  # noqa: TRY004 - one error for whatever is wrong
    if not all(isinstance(part, str) for pair in given.items() for part in pair):
        raise ValueError("a label that is no text")  # no message: for the log
    return {one_line(name, NAME): one_line(text, TEXT) for name, text in sorted(given.items())}


def keep(notes: Notes, alerts: Iterable[OutsideAlert]) -> None:
    """Keep alerts until they are shown. The newest word on each counts.

    Raises:
        StoreError: they are not kept, or there are too many: the sender tries again.
    """
    for alert in alerts:
        key = PREFIX + alert.fingerprint
        for _ in range(TRIES):
            text, version = notes.note(key)
            if not text and (not alert.firing or len(notes.notes(PREFIX)) >= MOST):
                if alert.firing:
                    raise StoreError(words("Too many alerts stand at a time."))
                break  # the end of something that was never told
            if notes.put_note(key, json.dumps(asdict(alert), sort_keys=True), version):
                break
        else:
            raise StoreError(words("The alert changes too quickly."))


def show(services: Services, monitor: Monitor, seen: Snapshot, rules: OutsideRules) -> None:
    """Show what was received as incidents. Called by the clock, on one replica."""
    now = services.clock.now()
    kept = monitor.notes.notes(PREFIX)
    alerts: dict[str, Alert] = {}
    for key, text in kept.items():
        received = OutsideAlert(**json.loads(text))
        over = not received.firing or now - datetime.fromisoformat(received.at) > STALE
        alerts[key] = alert_of(received, seen, rules, over=over)
    storms.show(services, monitor, alerts.values(), WATCH, seen)
    for key, alert in alerts.items():
        incident, _ = incident_notes.one(monitor.notes, alert.key)
        if alert.over and (incident is None or not incident.open):
            current, version = monitor.notes.note(key)
            if current == kept[key]:  # no newer word came meanwhile
                monitor.notes.put_note(key, "", version)


def alert_of(
    received: OutsideAlert, seen: Snapshot, rules: OutsideRules, *, over: bool = False
) -> Alert:
    """The alert that people see; those of one name are of one kind."""
    summary = received.annotations.get("summary", "") or received.name
    said = received.annotations.get("description", "") or summary
    names = [name for name in _places(received, seen, rules).values() if name not in summary]
    about = next(iter(names), "")
    title = words("{alert} ({name})", alert=summary, name=about) if about else summary
    shown = {name: text for name, text in received.labels.items() if name not in SHOWN_ELSEWHERE}
    elements: list[Element] = [Section(said)]
    if shown:
        elements.append(Fields(tuple(list(shown.items())[:LABELS])))
    elements.append(Context((words("{alert}, told by Alertmanager", alert=received.name),)))
    grave = SEVERITIES.get(received.labels.get("severity", "").lower(), AlertSeverity.WARNING)
    return Alert(
        f"{WATCH}-{received.kind}:{received.fingerprint}",
        Card(said, title, tuple(elements)),
        over=over,
        remedies=() if over else fixes_of(received, seen, rules),
        severity=grave,
    )


def fixes_of(received: OutsideAlert, seen: Snapshot, rules: OutsideRules) -> tuple[Remedy, ...]:
    """The fixes of the first configured rule, else a look at what the alert names."""
    places = _places(received, seen, rules)
    wanted = [each for each in rules.fixes if fnmatch.fnmatchcase(received.name, each.alert)]
    filled = [found for each in wanted if (found := _fill(each, places))]
    filled = filled or [found for each in DEFAULT_FIXES if (found := _fill(each, places))][:1]
    return tuple(filled[:3])


def _places(received: OutsideAlert, seen: Snapshot, rules: OutsideRules) -> Mapping[str, str]:
    """What of the cluster an alert names; '' for what it does not."""
    return {
        "{host}": _name_of(received, rules.host_labels, [host.name for host in seen.hosts]),
        "{vm}": _name_of(received, rules.vm_labels, [vm.name for vm in seen.vms]),
    }


def _fill(fix: Fix, places: Mapping[str, str]) -> Remedy | None:
    """A fix for this very alert; None when it names something that the alert does not."""
    command = fix.command
    for hole, name in places.items():
        if hole in command:
            if not name:
                return None
            command = command.replace(hole, shlex.quote(name))
    return Remedy(fix.text, command)


def _name_of(received: OutsideAlert, labels: Sequence[str], known: Sequence[str]) -> str:
    """The one name of the cluster that a label has, with or without port and domain; '' if none."""
    for label in labels:
        value = received.labels.get(label, "")
        for tried in (value, value.rpartition(":")[0], value.split(":")[0].split(".")[0]):
            if tried and known.count(tried) == 1:
                return tried
    return ""
