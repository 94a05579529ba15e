"""Alerts of a site's Alertmanager as incidents, and its webhook."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.alertmanager import BIGGEST_BODY, AlertmanagerHook, serve
from bot.adapters.slack.blocks import render
from bot.adapters.sql.series import SqlSeries
from bot.adapters.web_server import WebServer
from bot.domain.card import Button, Buttons, Card
from bot.domain.errors import StoreError
from bot.domain.metrics import AlertSeverity
from bot.domain.plain_card import plain_text
from bot.flow.commands.rate_limit import Pace, Paces
from bot.flow.monitoring import outside_alerts
from bot.flow.monitoring.monitor import Monitor
from bot.flow.monitoring.outside_alerts import Fix, OutsideRules
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot
from tests.examples import examples

TOKEN = "0123456789abcdef0123456789abcdef"
RULES = OutsideRules(fixes=(Fix("HostDisk*", "Drain it", "host drain {host}"),))
DAY = 86400.0


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    """One alert as Alertmanager sends it."""
    return {
        "status": status,
        "labels": {"alertname": "HostDiskFailing", "severity": "critical", **labels},
        "annotations": {"summary": "A disk fails", "description": "SMART says so."},
        "startsAt": "2026-01-05T09:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c0ffee",
    }


def payload(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "status": "firing",
        "receiver": "drover",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "truncatedAlerts": 0,
        "alerts": list(alerts),
    }


@dataclass
class Site:
    """A small bot that takes alerts."""

    bot: Bot
    monitor: Monitor

    def takes(self, *alerts: dict[str, Any]) -> None:
        found = outside_alerts.read(payload(*alerts), self.bot.clock.now())
        outside_alerts.keep(self.monitor.notes, found)

    def looks(self, rules: OutsideRules = RULES) -> None:
        seen = self.bot.hypervisor.snapshot()
        outside_alerts.show(self.bot.services, self.monitor, seen, rules)

    def shown(self) -> list[Card]:
        chat = self.bot.chat
        return [card for ref, card in chat.messages.items() if ref not in chat.threads]

    def commands(self) -> list[str]:
        """What the buttons of the only message type."""
        (card,) = self.shown()
        rows = [each for each in card.elements if isinstance(each, Buttons)]
        return [
            button.value
            for row in rows
            for button in row.buttons
            if isinstance(button, Button) and button.action == "run"
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    bot = small_bot(tmp_path, plugins=("migrate", "balance", "monitor", "vm_lifecycle"))
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    monitor = Monitor(FakeSampler(bot.hypervisor, bot.clock), series, series, bot.clock)
    bot.services = replace(bot.services, monitor=monitor)
    yield Site(bot, monitor)
    series.close()


def test_an_alert_is_an_incident_with_a_fix_for_this_very_host(site: Site) -> None:
    site.takes(alert(instance="host-a:9100"))
    site.looks()
    site.looks()
    (card,) = site.shown()
    said = plain_text(card)
    assert said.startswith("A disk fails (host-a)\nSMART says so.")
    assert "instance: host-a:9100" in said
    assert site.commands() == ["host drain host-a"]
    (incident,) = site.monitor.measures().incidents
    assert incident.severity is AlertSeverity.CRITICAL


def test_the_fix_is_typed_with_the_rights_of_who_presses_it(site: Site) -> None:
    site.takes(alert(host="host-a"))
    site.looks()
    site.bot.clicks("run", site.commands()[0], "UGIL")
    assert site.bot.store.operations() == ()
    site.bot.clicks("run", site.commands()[0], "UANA")
    assert site.bot.operation().action == "host drain"


def test_its_end_is_the_end_of_the_incident_and_is_forgotten(site: Site) -> None:
    site.takes(alert(host="host-a"))
    site.looks()
    site.takes(alert("resolved", host="host-a"))
    site.looks()
    (card,) = site.shown()
    assert str(card.title) == "Resolved: A disk fails (host-a)"
    assert site.monitor.notes.notes(outside_alerts.PREFIX) == {}


def test_many_of_one_name_are_one_message_that_names_their_places(site: Site) -> None:
    many = [alert(host=host, device=f"sd{each}") for host in ("host-a", "host-b") for each in "abc"]
    other = alert(alertname="BackupMissed", host="host-a")
    site.takes(*many, other)
    site.looks()
    storm, single = sorted(site.shown(), key=lambda card: "more alerts" not in str(card.title))
    assert str(single.title).startswith("A disk fails (host-a)")
    assert "and 5 more alerts of the kind" in str(storm.title)
    said = plain_text(storm)
    assert "6 active, 0 resolved" in said
    assert "A disk fails (host-b)" in said
    for each in many:
        site.takes({**each, "status": "resolved"})
    site.looks()
    (ended,) = (card for card in site.shown() if "more alerts" in str(card.title))
    assert str(ended.title).startswith("Resolved:")
    assert len(site.monitor.notes.notes(outside_alerts.PREFIX)) == 1, "the other one stands"


def test_what_nobody_repeats_for_a_day_is_over(site: Site) -> None:
    site.takes(alert(host="host-a"))
    site.looks()
    site.bot.clock.turn(DAY - 60)
    site.looks()
    assert site.monitor.measures().incidents[0].open
    site.bot.clock.turn(120)
    site.looks()
    assert not site.monitor.measures().incidents[0].open


def test_an_alert_that_came_while_the_chat_was_away_is_shown_later(site: Site) -> None:
    site.bot.chat.fail("post", times=1)
    site.takes(alert(host="host-a"))
    site.looks()
    assert site.shown() == []
    site.looks()
    assert len(site.shown()) == 1


def test_the_end_of_an_alert_that_was_never_told_is_nothing(site: Site) -> None:
    site.takes(alert("resolved", host="host-a"))
    site.looks()
    assert site.shown() == []


@pytest.mark.parametrize(
    ("labels", "commands"),
    [
        ({"host": "host-b"}, ["host drain host-b"]),
        ({"instance": "host-b.example.org:9100"}, ["host drain host-b"]),
        ({"host": "host-z"}, []),
        ({"host": "host-b; reboot"}, []),
        ({"vm": "web-1"}, ["vm show web-1"]),
        ({"alertname": "Other", "host": "host-b"}, ["show host host-b"]),
        ({}, []),
    ],
)
def test_a_fix_names_only_what_the_cluster_has(
    site: Site, labels: dict[str, str], commands: list[str]
) -> None:
    site.takes(alert(**labels))
    site.looks()
    assert site.commands() == commands


def test_texts_of_strangers_mention_and_format_nothing(site: Site) -> None:
    strange = alert(**{"x": "<!channel>", "*y*": "<@UBRUNO>"})
    strange["annotations"] = {
        "summary": "<!here> *bold*\n\x1b[2J",
        "description": "<http://x|y> `c`",
    }
    site.takes(strange)
    site.looks()
    (card,) = site.shown()
    notification, blocks = render(card)
    header = blocks.pop(0)
    assert header["text"]["type"] == "plain_text"  # in which Slack reads no markup
    read = [each for each in blocks if each.get("text", {}).get("type") != "plain_text"]
    sent = json.dumps([notification, read])
    assert "\\u001b" not in json.dumps([header, *blocks])
    for harm in ("<!channel>", "<@UBRUNO>", "<!here>", "<http://x|y>", "\\u001b"):
        assert harm not in sent


def test_so_many_stand_at_a_time_and_the_sender_tries_the_rest_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_alerts, "MOST", 3)
    site.takes(*(alert(disk=str(number)) for number in range(3)))
    with pytest.raises(StoreError):
        site.takes(alert(disk="4"))
    site.takes(alert(disk="1"))  # what is known is brought up to date
    site.takes(alert("resolved", disk="1"))
    site.looks()
    site.takes(alert(disk="4"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=examples(100))
@given(JSON | st.fixed_dictionaries({"alerts": st.lists(JSON, max_size=3)}))
def test_whatever_is_sent_is_understood_or_refused(given_payload: object) -> None:
    from bot.testing import TickingClock

    try:
        found = outside_alerts.read(given_payload, TickingClock().now())
    except ValueError:
        return
    assert all(each.labels for each in found)


# the webhook


class Taken:
    """What a hook kept, and how it fails."""

    def __init__(self) -> None:
        self.payloads: list[object] = []
        self.error: Exception | None = None

    def __call__(self, payload: object) -> None:
        if self.error is not None:
            raise self.error
        self.payloads.append(payload)


Post = Callable[..., int]


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def server(taken: Taken) -> Iterator[WebServer]:
    paces = Paces(60, burst=5)
    made = serve(AlertmanagerHook(TOKEN, taken, lambda: paces.ask("") is Pace.FINE), "127.0.0.1", 0)
    made.start()
    yield made
    made.close()


@pytest.fixture
def post(server: WebServer) -> Post:
    address = server.url.removeprefix("http://").partition("/")[0]

    def send(
        body: object = None,
        *,
        token: str | None = TOKEN,
        path: str = "/alertmanager",
        method: str = "POST",
    ) -> int:
        connection = http.client.HTTPConnection(address, timeout=60)
        given = body if isinstance(body, bytes) else json.dumps(body or payload(alert())).encode()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            connection.request(method, path, given, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    return send


def test_a_payload_with_the_token_is_taken(post: Post, taken: Taken) -> None:
    assert post() == 200
    assert taken.payloads == [payload(alert())]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "0", "é" * 8])
def test_without_the_right_token_nothing_is_taken(post: Post, taken: Taken, token: str) -> None:
    assert post(token=token) == 401
    assert taken.payloads == []


def test_other_paths_methods_and_bodies_are_refused(post: Post, taken: Taken) -> None:
    assert post(path="/") == 404
    assert post(method="GET") == 405
    assert post(b"{") == 400
    assert post(b"[" * 100_000) == 400
    taken.error = ValueError("no list of alerts")
    assert post() == 400
    assert taken.payloads == []


def test_a_body_that_is_too_big_is_refused(post: Post, taken: Taken) -> None:
    assert post(b" " * (BIGGEST_BODY + 1)) == 413
    assert taken.payloads == []


def test_a_flood_is_refused_with_a_status_that_is_tried_again(post: Post) -> None:
    answers = [post() for _ in range(8)]
    assert answers[:5] == [200] * 5
    assert 429 in answers[5:]


def test_what_cannot_be_kept_now_is_tried_again_by_the_sender(post: Post, taken: Taken) -> None:
    taken.error = StoreError("The database does not answer.")
    assert post() == 503


def test_two_senders_at_once_lose_nothing(site: Site) -> None:
    threads = [
        threading.Thread(target=site.takes, args=(alert(disk=str(number)),)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(site.monitor.notes.notes(outside_alerts.PREFIX)) == 8
