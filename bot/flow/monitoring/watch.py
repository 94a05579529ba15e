"""Runs watches after each sweep and reports at their times.

Replicas take turns, and what was missed comes late.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from bot.domain import codec
from bot.domain.cluster import MANY_VMS, Snapshot
from bot.domain.errors import DroverError
from bot.domain.metrics import AlertSeverity
from bot.domain.operation import BOT, MOST_OPEN, Origin
from bot.flow.context import OPEN, Services, complete
from bot.flow.monitoring import change_notes, incident_cards, incident_notes, incidents, storms
from bot.flow.monitoring.monitor import REPORT, Monitor
from bot.flow.operations import effect, propose
from bot.plugin_api import (
    Alert,
    Composed,
    Measured,
    Memory,
    Proposal,
    Report,
    ReportView,
    Watch,
    WatchView,
)

log = structlog.get_logger()

LEASE = "lease:watch"
LEASED = 60.0  # seconds; a replica that is silent for longer loses its turn
WATCH, DUE = "watch:", "due:"
REACH = timedelta(days=1)  # a report that was missed longer ago is not posted any more
RETRY = timedelta(minutes=2)  # so late a report says that it is late, or is posted anew
PROOF = "audit trail"

Latest = Callable[[], Snapshot | None]


def tick(services: Services, monitor: Monitor, latest: Latest, older_than: float = 0.0) -> None:
    """Measure, then let every watch look that is due.

    Not measured when that was done within ``older_than`` seconds.
    """
    sweep = monitor.sweep(older_than=older_than)
    seen = latest()
    if seen is not None and leads(services, monitor):
        whole = complete(services, seen)
        look(services, monitor, whole)
        effect.measure(services, whole, sweep)
        _overdue_reports(services, monitor, seen)


def fresh_for(every: float, vms: int) -> float:
    """Seconds for which a sweep is new enough for the next one to be left out.

    A sweep is never quite on time. Of very many VMs every second one is left out: it would be most
    of what the bot does, and the mean of half a minute tells as much.

    Args:
        every: seconds between looks.
        vms: how many VMs there are.
    """
    return every * (1.8 if vms > MANY_VMS else 0.8)


def measure(monitor: Monitor, older_than: float) -> None:
    """Measure, unless that was done within ``older_than`` seconds.

    Also while the watches wait for the chat.
    """
    monitor.sweep(older_than=older_than)


def keep(monitor: Monitor, latest: Latest) -> None:
    """Write what was measured; apart from the sweeps, so that a busy database delays no alert."""
    seen = latest()
    if seen is not None:
        monitor.keep_pools(seen)
    monitor.write()


def leads(services: Services, monitor: Monitor) -> bool:
    """Whether this replica has the lease on watching; taken when free, renewed at half time."""
    now = services.clock.now().timestamp()
    text, version = monitor.notes.note(LEASE)
    lease: dict[str, Any] = json.loads(text) if text else {"holder": "", "until": 0.0}
    mine = lease["holder"] == monitor.replica
    if not mine and now < lease["until"]:
        return False
    if mine and lease["until"] - now > LEASED / 2:
        return True
    taken = {"holder": monitor.replica, "until": now + LEASED}
    return monitor.notes.put_note(LEASE, json.dumps(taken), version) or mine


def look(services: Services, monitor: Monitor, seen: Snapshot) -> None:
    """Let every due watch look; a watch that fails is logged and stops no other."""
    with monitor.looking:
        _look_all(services, monitor, seen)


def _look_all(services: Services, monitor: Monitor, seen: Snapshot) -> None:
    measured = monitor.measures()
    monitor.tell(watch.name for watch in services.catalog.watches)
    for watch in services.catalog.watches:
        _look_if_ready(services, monitor, watch, seen, measured)


def _look_if_ready(
    services: Services, monitor: Monitor, watch: Watch, seen: Snapshot, measured: Measured
) -> None:
    try:
        if _ready(services, monitor, watch, seen):
            events = tuple(monitor.untold[watch.name])
            sweep = None if measured.sweep is None else replace(measured.sweep, events=events)
            _look(services, monitor, watch, seen, replace(measured, sweep=sweep))
            if sweep is not None:
                monitor.untold[watch.name].clear()  # a look that failed is told them again
    # One watch's fault must not silence the others; it is logged with its name
    except Exception:
        log.exception("watch failed", watch=watch.name)


def _when_gathered(services: Services, monitor: Monitor, watch: Watch, seen: Snapshot) -> None:
    """Look at once: what was found of a silent host does not wait for the next sweep."""
    with monitor.looking:
        if monitor.gathering.is_ready(watch.name):
            _look_if_ready(services, monitor, watch, seen, monitor.measures())


def _ready(services: Services, monitor: Monitor, watch: Watch, seen: Snapshot) -> bool:
    """Whether a watch may look now.

    It is due, or what it began to gather when it was due is there.
    """
    if monitor.gathering.busy(watch.name):
        return monitor.gathering.is_ready(watch.name)
    moment = time.monotonic()
    if moment < monitor.due.get(watch.name, 0.0):
        return False
    # A sweep is never quite on time
    monitor.due[watch.name] = moment + watch.every.total_seconds() * 0.9
    if watch.gather is not None:
        gather = partial(watch.gather, seen, services.hypervisor)
        then = partial(_when_gathered, services, monitor, watch, seen)
        monitor.gathering.begin(watch.name, gather, then)
    return watch.gather is None


def _look(
    services: Services, monitor: Monitor, watch: Watch, seen: Snapshot, measured: Measured
) -> None:
    found = monitor.gathering.take(watch.name) if watch.gather is not None else None
    text, version = monitor.notes.note(WATCH + watch.name)
    memory = json.loads(text) if text else {}
    view = WatchView(
        seen, services.catalog.rules, services.store, measured, memory, services.clock.now(), found
    )
    looked = watch.look(view)
    if dict(looked.memory) != dict(view.memory):
        monitor.notes.put_note(
            WATCH + watch.name, json.dumps(dict(looked.memory), sort_keys=True), version
        )
    change_notes.put(monitor.notes, watch.name, looked.changes)
    alerts = [each for each in looked.noticed if isinstance(each, Alert)]
    storms.show(services, monitor, alerts, watch.name, seen)
    for noticed in looked.noticed:
        if isinstance(noticed, Alert):
            continue
        try:
            propose_for_bot(services, noticed, watch.name)
        except DroverError as error:
            log.warning("not told, the next look tries again", watch=watch.name, error=str(error))


def propose_for_bot(services: Services, wanted: Proposal, watch: str) -> None:
    """Lay out an operation as the bot's own; one like it that is still open is enough."""
    for operation in services.store.operations(states=OPEN, by=BOT, limit=MOST_OPEN):
        if (operation.action, codec.text(operation.intent)) == (
            wanted.action,
            codec.text(wanted.intent),
        ):
            return
    key = f"watch:{watch}:{wanted.key or uuid.uuid4()}"
    line = f"{services.slash} {wanted.line or wanted.action}"
    origin = Origin(
        BOT, services.places.ops, line, key, wanted.why, wanted.causes, wanted.automatic
    )
    action = services.catalog.action(wanted.action)
    card = propose.propose(services, action, wanted.intent, origin, plan=wanted.plan)
    if card is not None:
        log.info("proposed by a watch", watch=watch, action=wanted.action, said=card.text)


def report(
    services: Services, monitor: Monitor, wanted: Report, slot: datetime, seen: Snapshot
) -> bool:
    """Post the report of a slot, once among all replicas and restarts.

    Whether it was this call's to post.
    """
    if not services.store.claim(f"{wanted.name}:{slot.isoformat()}"):
        return False
    _set_due(monitor, wanted.name, slot.isoformat())
    _post(services, monitor, wanted, slot, seen)
    return True


def _post(
    services: Services, monitor: Monitor, wanted: Report, slot: datetime, seen: Snapshot
) -> None:
    """Compose and post under a key: repeating it after a crash edits the message that is there."""
    text, version = monitor.notes.note(REPORT + wanted.name)
    kept = json.loads(text) if text else {}
    composed = compose_report(services, monitor, wanted, seen, slot=slot, kept=kept)
    if composed.card is not None:
        late = (services.clock.now() - slot).total_seconds()
        card = (
            incident_cards.late_card(composed.card, late)
            if late > RETRY.total_seconds()
            else composed.card
        )
        services.chat.post(
            services.places.digest, card, key=f"{REPORT}{wanted.name}:{slot.isoformat()}"
        )
    now_kept = {"slot": slot.isoformat(), "memory": dict(composed.memory)}
    monitor.notes.put_note(REPORT + wanted.name, json.dumps(now_kept, sort_keys=True), version)
    _set_due(monitor, wanted.name, "")


def compose_report(
    services: Services,
    monitor: Monitor,
    wanted: Report,
    seen: Snapshot,
    *,
    slot: datetime,
    kept: Memory,
) -> Composed:
    """A report's card and memory, from what the last one remembered."""
    since = datetime.fromisoformat(kept["slot"]) if kept.get("slot") else None
    now = services.clock.now()
    late = max(0.0, (now - slot).total_seconds())
    whole = complete(services, seen)
    view = ReportView(
        whole,
        services.catalog.rules,
        services.store,
        monitor.measures(),
        kept.get("memory", {}),
        now,
        since,
        late,
        services.slash,
    )
    return wanted.compose(view)


def post_missed(
    services: Services, monitor: Monitor, wanted: Report, slot: datetime | None, latest: Latest
) -> None:
    """After a start: post the newest slot that passed while nobody ran.

    A bot that never reported missed nothing.
    """
    text, _ = monitor.notes.note(REPORT + wanted.name)
    seen = latest()
    if slot is None or not text or seen is None or services.clock.now() - slot > REACH:
        return
    if datetime.fromisoformat(json.loads(text)["slot"]) < slot:
        report(services, monitor, wanted, slot, seen)


def begin(services: Services, monitor: Monitor, wanted: Report, latest: Latest) -> None:
    """Remember how things stand at the first start.

    So the first report has something to compare with.
    """
    seen, now = latest(), services.clock.now()
    text, version = monitor.notes.note(REPORT + wanted.name)
    if text or seen is None:
        return
    composed = compose_report(services, monitor, wanted, seen, slot=now, kept={})
    kept = {"slot": now.isoformat(), "memory": dict(composed.memory)}
    monitor.notes.put_note(REPORT + wanted.name, json.dumps(kept, sort_keys=True), version)


def _overdue_reports(services: Services, monitor: Monitor, seen: Snapshot) -> None:
    """Post again what was claimed but never said to be posted.

    Its chat failed, or its process died.
    """
    for key, text in monitor.notes.notes(DUE).items():
        slot = datetime.fromisoformat(text)
        name = key.removeprefix(DUE)
        wanted = next((each for each in services.catalog.reports if each.name == name), None)
        if wanted is None or services.clock.now() - slot > REACH:
            _set_due(monitor, name, "")
        elif services.clock.now() - slot > RETRY:
            try:
                _post(services, monitor, wanted, slot, seen)
            except DroverError as error:
                log.warning("report not posted, will try again", report=name, error=str(error))


def _set_due(monitor: Monitor, name: str, text: str) -> None:
    _, version = monitor.notes.note(DUE + name)
    if text or version:
        monitor.notes.put_note(DUE + name, text, version)


def prove(services: Services, monitor: Monitor) -> None:
    """Check the whole audit trail, and alert when it does not hold.

    Called by the clock, and once after a start.
    """
    broken = services.store.broken_link()
    if broken:
        log.error("the audit trail does not hold", fault=str(broken))
    if leads(services, monitor):
        incidents.show(
            services,
            monitor,
            Alert(
                "audit-trail",
                incident_cards.trail_notice(broken),
                over=not broken,
                severity=AlertSeverity.CRITICAL,
            ),
            PROOF,
        )


def tidy(monitor: Monitor, now: datetime) -> None:
    """Drop what is too old; called once a day."""
    monitor.forget()
    incident_notes.forget(monitor.notes, now)
    change_notes.forget(monitor.notes, now)
