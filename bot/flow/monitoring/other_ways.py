"""Who is told of what by other ways than the chat.

Alerts by severity, proposals that nobody votes on.

What should have been told by now is found anew at each look, and noted when it was taken: a crash
or a service that fails loses nothing, and what is over before it could be told is not told.
Everything is told while the chat is out of reach.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.domain.card import Card, Context, Element, Line, Section, join, nwords, words
from bot.domain.errors import DroverError
from bot.domain.message import Code, Duration
from bot.domain.metrics import GRAVEST, AlertSeverity, Incident
from bot.domain.operation import MOST_OPEN, Operation, State
from bot.flow.context import Services
from bot.flow.monitoring import incident_cards
from bot.flow.monitoring.incident_notes import all_incidents
from bot.flow.monitoring.monitor import Monitor
from bot.flow.operations import operation_cards
from bot.ports.notifier import Notifier

log = structlog.get_logger()

PREFIX = "told:"
CALM = timedelta(
    minutes=5
)  # so long something must be over before that is told: what flaps is told once
FEW = 3  # messages of one look; more are one
LISTED = 20  # titles in a message that holds many; a mail must stay readable
FIRST_REST, MOST_REST = 15.0, 900.0  # seconds after a failure
OPEN, OVER = "open", "over"
CHAT = "chat"

Silence = Callable[[], float]
"""Seconds for which the chat has been out of reach; 0: it is not."""


@dataclass(frozen=True, slots=True)
class Way:
    """One address, and what it is told while the chat works.

    ``severities``: of alerts. ``proposals_after``: seconds after which a proposal that still waits
    for votes is told; 0: never.
    """

    name: str
    notifier: Notifier
    severities: frozenset[AlertSeverity] = frozenset({AlertSeverity.CRITICAL})
    proposals_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell of a subject, which then is at ``stage``; ``severity`` None: it is over."""

    subject: str
    stage: str
    card: Card
    severity: AlertSeverity | None


@dataclass(slots=True)
class _Rest:
    failures: int = 0
    until: float = float("-inf")


@dataclass
class OtherWays:
    """Tells by other ways than the chat. Called by the clock, on one replica.

    Args:
        services: the bot's.
        monitor: the bot's.
        ways: each with its address.
        silence: for how long the chat has been out of reach.
    """

    services: Services
    monitor: Monitor
    ways: Sequence[Way]
    silence: Silence
    _rests: dict[str, _Rest] = field(default_factory=dict)

    def tick(self) -> None:
        """Tell each way what it should have been told by now."""
        for way in self.ways:
            rest = self._rests.setdefault(way.name, _Rest())
            now = self.services.clock.now().timestamp()
            if now < rest.until:
                continue
            try:
                self._tell(way)
                rest.failures = 0
            except DroverError as error:
                pause = min(FIRST_REST * 2.0**rest.failures, MOST_REST)
                rest.failures, rest.until = rest.failures + 1, now + pause
                log.warning("not told, will try again", way=way.name, error=str(error))

    def _tell(self, way: Way) -> None:
        text, version = self.monitor.notes.note(PREFIX + way.name)
        told: dict[str, str] = json.loads(text) if text else {}
        due = list(self._due(way, told))
        for bundle in [due] if len(due) > FEW else [[each] for each in due]:
            first = bundle[0]
            if len(bundle) == 1:
                way.notifier.send(first.card, first.severity)
            else:
                way.notifier.send(many_card(bundle), gravest(bundle))
            told |= {each.subject: each.stage for each in bundle}
            version = self._note(way, told, version)
        left = self._still_known(told)
        if left != told:
            self._note(way, left, version)

    def _note(self, way: Way, told: Mapping[str, str], version: int) -> int:
        notes, text = self.monitor.notes, json.dumps(told, sort_keys=True)
        if not notes.put_note(PREFIX + way.name, text, version):
            log.warning("another replica tells too", way=way.name)
        return notes.note(PREFIX + way.name)[1]

    def _still_known(self, told: Mapping[str, str]) -> dict[str, str]:
        """Without what was told to its end and is gone."""
        waiting = {each.id for each in self._proposals()}
        standing = {subject_of(each) for each in all_incidents(self.monitor.notes)}
        return {
            subject: stage
            for subject, stage in told.items()
            if subject == CHAT or subject in waiting or subject in standing
        }

    def _due(self, way: Way, told: Mapping[str, str]) -> Iterator[Notice]:
        silent = self.silence()
        yield from _of_chat(told, silent)
        for incident in all_incidents(self.monitor.notes):
            yield from self._of_incident(way, told, incident, silent=silent > 0)
        for operation in self._proposals():
            yield from self._of_proposal(way, told, operation, silent=silent > 0)

    def _proposals(self) -> tuple[Operation, ...]:
        found = self.services.store.operations(states=(State.PROPOSED,), limit=MOST_OPEN)
        return tuple(each for each in found if not each.unreadable and each.open_to_votes)

    def _of_incident(
        self, way: Way, told: Mapping[str, str], incident: Incident, *, silent: bool
    ) -> Iterator[Notice]:
        now, subject = self.services.clock.now(), subject_of(incident)
        stage = told.get(subject)
        if not incident.open:
            calm = incident.over_at is not None and now - incident.over_at >= CALM
            if stage == OPEN and calm:
                yield Notice(subject, OVER, over_card(incident), None)
            return
        unseen = silent and not incident.ts
        heard = incident.acknowledged_by or incident.is_silenced(now)
        if stage != OPEN and not heard and (unseen or incident.severity in way.severities):
            alert = self.monitor.drawn.alerts.get(incident.key)
            fixes = tuple(each.command for each in alert.remedies) if alert is not None else ()
            elements = alert.card.elements if alert is not None else ()
            card = open_card(incident, elements, fixes, self.services.slash)
            yield Notice(subject, OPEN, card, incident.severity)

    def _of_proposal(
        self, way: Way, told: Mapping[str, str], operation: Operation, *, silent: bool
    ) -> Iterator[Notice]:
        waited = (self.services.clock.now() - operation.proposed_at).total_seconds()
        late = 0 < way.proposals_after <= waited
        if operation.id not in told and (silent or late):
            card = proposal_card(operation, self.services.slash)
            yield Notice(operation.id, OPEN, card, AlertSeverity.WARNING)


def subject_of(incident: Incident) -> str:
    """What an incident is called in what was told."""
    return f"{incident.key}@{incident.opened_at.isoformat()}"


def _of_chat(told: Mapping[str, str], silent: float) -> Iterator[Notice]:
    if silent and told.get(CHAT) != OPEN:
        yield Notice(CHAT, OPEN, chat_card(silent), AlertSeverity.CRITICAL)
    elif not silent and told.get(CHAT) == OPEN:
        said = words("Slack answers again.")
        yield Notice(CHAT, OVER, Card(said), None)


def chat_card(silent: float) -> Card:
    """That nobody can use the chat, and what to do meanwhile."""
    title = words("Slack does not answer")
    said = words(
        "Drover has not reached Slack for {time}. Commands and buttons there do nothing for now. "
        "Operations under way go on. New alerts and proposals are told here.",
        time=Duration(silent),
    )
    advice = words("See {command} on the machine of the bot.", command=Code("drover health"))
    return Card(title, title, (Section(said), Section(advice)))


def open_card(
    incident: Incident, elements: tuple[Element, ...], fixes: Sequence[str], slash: str
) -> Card:
    """An alert, with the commands that its buttons would type."""
    title = words(
        "{severity}: {title}", severity=SEVERITIES[incident.severity], title=incident.title
    )
    shown = elements or (Section(incident.said),)
    lines: list[Line] = [words("since {at}", at=incident.opened_at)]
    typed = [words("Type {command}.", command=Code(f"{slash} {each}")) for each in fixes]
    return Card(title, title, (*shown, *(Section(each) for each in typed), Context(tuple(lines))))


def over_card(incident: Incident) -> Card:
    """That an alert is over."""
    title = words("Resolved: {title}", title=incident.title)
    said = words(
        "Resolved after {time}: {said}",
        time=incident_cards.duration_of(incident),
        said=incident.said,
    )
    return Card(title, title, (Section(said),))


def proposal_card(operation: Operation, slash: str) -> Card:
    """A proposal that waits for votes."""
    title = nwords(
        "{id} waits for {n} vote: {title}",
        "{id} waits for {n} votes: {title}",
        n=operation.votes_missing,
        id=operation.id,
        title=operation.plan.title,
    )
    said: list[Line] = [
        words("Requested by {who}.", who=operation_cards.requester(operation.origin)),
        operation_cards.blast_text(operation.plan),
        words("It expires {at}.", at=operation.expires_at),
        words("Look at it and vote in the approvals channel, or type {command}.",
              command=Code(f"{slash} approvals")),
    ]  # fmt: skip
    reason = operation.origin.reason
    if reason:
        said.insert(1, words("Reason: {reason}", reason=reason))
    return Card(title, title, tuple(Section(each) for each in said))


def many_card(bundle: Sequence[Notice]) -> Card:
    """Many notices in one message."""
    title = nwords("{n} message", "{n} messages", n=len(bundle))
    worst = next((each for each in bundle if each.severity is gravest(bundle)), bundle[0])
    headline = words(
        "{count}, first: {title}", count=title, title=worst.card.title or worst.card.text
    )
    listed = [each.card.title or each.card.text for each in bundle[:LISTED]]
    rest = len(bundle) - len(listed)
    more = nwords("And {n} more.", "And {n} more.", n=rest) if rest else ""
    return Card(headline, headline, (Section(join((*listed, more), "\n")),))


def gravest(bundle: Sequence[Notice]) -> AlertSeverity | None:
    """The highest severity among notices; None when all of it is over."""
    return next((each for each in GRAVEST if any(one.severity is each for one in bundle)), None)


SEVERITIES = {
    AlertSeverity.INFO: words("Note"),
    AlertSeverity.WARNING: words("Warning"),
    AlertSeverity.CRITICAL: words("Critical"),
}
