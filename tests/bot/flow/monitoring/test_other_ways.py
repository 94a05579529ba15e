"""Who is told by other ways than the chat, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bot.adapters.sql.series import SqlSeries
from bot.domain.card import Card, Section
from bot.domain.errors import NotifierError
from bot.domain.metrics import AlertSeverity
from bot.domain.plain_card import plain_text, plain_title
from bot.flow.monitoring import incidents
from bot.flow.monitoring.monitor import Monitor
from bot.flow.monitoring.other_ways import OtherWays, Way
from bot.flow.operations import overdue
from bot.plugin_api import Alert, Remedy
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot

DOWN = Alert(
    "host:host-b",
    Card("host-b does not answer", "host-b is gone", (Section("3 VMs were there."),)),
    remedies=(Remedy("Look", "hosts"),),
    severity=AlertSeverity.CRITICAL,
)
BACK = replace(DOWN, card=Card("host-b answers again", "host-b is gone"), over=True)
NOTE = Alert("uneven", Card("uneven", "The load is uneven"), severity=AlertSeverity.INFO)
CALM = 301.0


@dataclass
class Taken:
    """A way that remembers what it took, and fails when told to."""

    cards: list[tuple[Card, AlertSeverity | None]] = field(default_factory=list)
    fails: int = 0
    tries: int = 0

    def send(self, card: Card, severity: AlertSeverity | None) -> None:
        self.tries += 1
        if self.fails:
            self.fails -= 1
            raise NotifierError("not now")
        self.cards.append((card, severity))

    @property
    def titles(self) -> list[str]:
        return [plain_title(card) for card, _ in self.cards]


@dataclass
class Told:
    """A small bot with one other way."""

    bot: Bot
    monitor: Monitor
    taken: Taken
    silent: list[float]
    ways: OtherWays

    def shows(self, alert: Alert) -> None:
        incidents.show(self.bot.services, self.monitor, alert, "test")

    def looks(self, seconds: float = 15.0) -> list[str]:
        """Titles of what is told after so many seconds."""
        self.bot.clock.turn(seconds)
        before = len(self.taken.cards)
        self.ways.tick()
        return self.taken.titles[before:]

    def restarts(self) -> None:
        self.ways = OtherWays(
            self.bot.services, self.monitor, self.ways.ways, lambda: self.silent[0]
        )


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    bot = small_bot(tmp_path)
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    monitor = Monitor(FakeSampler(bot.hypervisor, bot.clock), series, series, bot.clock)
    bot.services = replace(bot.services, monitor=monitor)
    taken, silent = Taken(), [0.0]
    way = Way("on-call", taken, frozenset({AlertSeverity.CRITICAL}), proposals_after=300)
    yield Told(
        bot, monitor, taken, silent, OtherWays(bot.services, monitor, (way,), lambda: silent[0])
    )
    series.close()


def test_an_alert_of_its_severity_is_told_once_with_what_to_type(told: Told) -> None:
    told.shows(DOWN)
    told.shows(NOTE)
    assert told.looks() == ["Critical: host-b is gone"]
    assert told.looks() == []
    ((card, severity),) = told.taken.cards
    assert severity is AlertSeverity.CRITICAL
    assert "3 VMs were there." in plain_text(card)
    assert "Type `/kvm hosts`." in plain_text(card)


def test_the_end_of_what_was_told_is_told_when_it_lasts(told: Told) -> None:
    told.shows(DOWN)
    told.looks()
    told.shows(BACK)
    assert told.looks() == []
    assert told.looks(CALM) == ["Resolved: host-b is gone"]
    assert told.taken.cards[-1][1] is None
    assert told.looks(CALM) == []


def test_what_flaps_is_told_once(told: Told) -> None:
    for _ in range(20):
        told.shows(DOWN)
        told.looks()
        told.shows(BACK)
        told.looks()
    told.shows(DOWN)
    told.looks()
    assert told.taken.titles == ["Critical: host-b is gone"]


def test_what_comes_back_after_its_end_was_told_is_told_again(told: Told) -> None:
    told.shows(DOWN)
    told.looks()
    told.shows(BACK)
    told.looks(CALM)
    told.shows(DOWN)
    assert told.looks() == ["Critical: host-b is gone"]


def test_what_came_and_went_before_it_could_be_told_is_not_told(told: Told) -> None:
    told.shows(DOWN)
    told.shows(BACK)
    assert told.looks(CALM) == []


def test_an_alert_that_somebody_has_acknowledged_or_silenced_is_not_told(told: Told) -> None:
    told.shows(DOWN)
    told.bot.clicks("alert.ack", "host:host-b|", "UBRUNO")
    assert told.looks() == []


def test_a_failure_is_tried_again_later_and_a_restart_tells_nothing_twice(told: Told) -> None:
    told.taken.fails = 2
    told.shows(DOWN)
    assert told.looks() == []
    assert told.looks(1) == []
    assert told.taken.tries == 1
    assert told.looks(15) == []
    assert told.looks(31) == ["Critical: host-b is gone"]
    told.restarts()
    assert told.looks() == []


def test_a_proposal_that_nobody_votes_on_is_told_once(told: Told) -> None:
    told.bot.types("migrate web-1 to host-b --reason disk")
    assert told.looks(200) == []
    assert told.looks(101) == ["op-1 waits for 1 vote: Move web-1 from host-a to host-b"]
    body = plain_text(told.taken.cards[0][0])
    assert "Requested by UANA." in body
    assert "`/kvm approvals`" in body
    assert told.looks(100) == []


def test_a_proposal_that_was_decided_on_is_not_told(told: Told) -> None:
    told.bot.types("migrate web-1 to host-b")
    told.bot.clicks("op.approve", told.bot.value(), "UBRUNO")
    assert told.looks(400) == []
    told.bot.clock.turn(700)
    overdue.expire(told.bot.services)
    assert told.looks() == []


def test_while_slack_is_out_of_reach_everything_new_is_told(told: Told) -> None:
    told.shows(NOTE)  # posted while Slack was there
    assert told.looks() == []
    told.silent[0] = 90.0
    told.bot.chat.fail("post", times=100)
    with pytest.raises(Exception, match="chat"):
        told.shows(replace(NOTE, key="other", card=Card("ttl", "A VM ends soon")))
    told.bot.types("migrate web-1 to host-b")
    assert told.looks() == [
        "Slack does not answer",
        "Note: A VM ends soon",
        "op-1 waits for 1 vote: Move web-1 from host-a to host-b",
    ]
    told.silent[0] = 0.0
    assert told.looks() == ["Slack answers again."]
    assert told.looks() == []


def test_an_incident_is_posted_when_slack_is_back(told: Told) -> None:
    told.bot.chat.fail("post", times=1)
    with pytest.raises(Exception, match="chat"):
        told.shows(DOWN)
    assert told.bot.chat.messages == {}
    told.shows(DOWN)
    told.shows(DOWN)
    (card,) = told.bot.chat.messages.values()
    assert str(card.title) == "host-b is gone"


def test_an_incident_that_ended_before_slack_was_back_is_over_and_not_posted(told: Told) -> None:
    told.bot.chat.fail("post", times=1)
    with pytest.raises(Exception, match="chat"):
        told.shows(DOWN)
    told.shows(BACK)
    assert told.bot.chat.messages == {}
    assert not told.monitor.measures().incidents[0].open


def test_many_at_once_are_one_message_with_the_gravest_first(told: Told) -> None:
    for number in range(30):
        told.shows(replace(DOWN, key=f"host:{number}"))
    assert told.looks() == ["30 messages, first: Critical: host-b is gone"]
    assert "And 10 more." in plain_text(told.taken.cards[0][0])
    assert told.taken.cards[0][1] is AlertSeverity.CRITICAL
    assert told.looks() == []


def test_what_is_told_and_gone_is_forgotten(told: Told) -> None:
    told.bot.types("migrate web-1 to host-b")
    told.looks(301)
    assert "op-1" in told.monitor.notes.note("told:on-call")[0]
    told.bot.clicks("op.withdraw", told.bot.value(), "UANA")
    told.looks()
    assert "op-1" not in told.monitor.notes.note("told:on-call")[0]
