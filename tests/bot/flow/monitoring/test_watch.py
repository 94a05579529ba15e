"""Watches, incidents, reports and live answers in memory, on a real SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.sql.series import SqlSeries
from bot.domain.card import Button, Buttons, Card, Context
from bot.domain.cluster import MANY_VMS
from bot.domain.errors import StoreError
from bot.domain.metrics import Change, Metric, Point, host_entity, vm_entity
from bot.domain.plan import Plan
from bot.flow.commands import dispatcher
from bot.flow.context import Services, snapshot
from bot.flow.monitoring import watch
from bot.flow.monitoring.history_writer import Recorder
from bot.flow.monitoring.monitor import Monitor
from bot.plugin_api import (
    Alert,
    Composed,
    Looked,
    Proposal,
    Query,
    Remedy,
    Report,
    ReportView,
    Watch,
    WatchView,
)
from bot.ports import Request
from bot.testing import TickingClock, uuid_of
from bot.testing.sampler import FakeSampler
from plugins.migrate.grammar import Migrate
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.waiting import until

PERIOD = timedelta(seconds=15)
DOWN = Alert(
    "host:host-b",
    Card("host-b does not answer", "host-b is gone"),
    remedies=(Remedy("Look", "hosts"),),
)
BACK = Alert("host:host-b", Card("host-b answers again", "host-b is gone"), over=True)


@dataclass
class Watched:
    """A small bot that measures, with one watch and one report that a test fills."""

    bot: Bot
    monitor: Monitor
    sampler: FakeSampler
    series: SqlSeries
    noticed: list[Any]
    views: list[WatchView]
    reports: list[ReportView]
    cards: list[Card | None]

    @property
    def services(self) -> Services:
        return self.bot.services

    def tick(self, *noticed: Any) -> None:
        """One look at which the watch notices this."""
        self.noticed[:] = noticed
        self.monitor.due.clear()
        watch.tick(self.services, self.monitor, self.bot.hypervisor.snapshot)
        self.bot.clock.turn(PERIOD.total_seconds())

    def shown(self) -> list[Card]:
        """Messages in the channel for alerts, those in threads left out."""
        chat = self.bot.chat
        return [
            card
            for ref, card in chat.messages.items()
            if ref.channel == "COPS" and ref not in chat.threads
        ]

    def replies(self) -> list[Card]:
        return [self.bot.chat.messages[ref] for ref in self.bot.chat.threads]

    def report(self) -> Report:
        (only,) = self.services.catalog.reports
        return only

    def posts(self) -> bool:
        """The report of this very moment."""
        seen = self.bot.hypervisor.snapshot()
        return watch.report(self.services, self.monitor, self.report(), self.bot.clock.now(), seen)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    bot = small_bot(tmp_path)
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    sampler = FakeSampler(bot.hypervisor, bot.clock)
    monitor = Monitor(sampler, series, series, bot.clock, replica="one")
    noticed: list[Any] = []
    views: list[WatchView] = []
    reports: list[ReportView] = []
    cards: list[Card | None] = [Card("all is well")]

    def look(view: WatchView) -> Looked:
        views.append(view)
        return Looked(tuple(noticed), {"looks": view.memory.get("looks", 0) + 1})

    def compose(view: ReportView) -> Composed:
        reports.append(view)
        return Composed(cards[0], {"seen": len(reports)})

    catalog = replace(
        bot.services.catalog,
        watches=(Watch("test", PERIOD, look),),
        reports=(Report("daily", "0 8 * * *", compose),),
    )
    bot.services = replace(bot.services, catalog=catalog, monitor=monitor)
    yield Watched(bot, monitor, sampler, series, noticed, views, reports, cards)
    series.close()


def buttons(card: Card) -> list[Button]:
    return [button for row in card.elements if isinstance(row, Buttons) for button in row.buttons]


def state_of(card: Card) -> str:
    return text(
        Card("", elements=tuple(each for each in card.elements if isinstance(each, Context)))
    )


def test_a_watch_sees_the_cluster_the_sweep_and_its_own_memory(watched: Watched) -> None:
    watched.tick()
    watched.tick()
    first, second = watched.views
    assert first.memory == {}
    assert second.memory == {"looks": 1}
    assert second.measured.sweep is not None
    assert {host.name for host in second.snapshot.hosts} == {"host-a", "host-b", "host-c"}


@pytest.mark.parametrize(("vms", "swept"), [(0, 15), (MANY_VMS, 15), (MANY_VMS + 1, 30)])
def test_of_very_many_vms_every_second_sweep_is_left_out(vms: int, swept: int) -> None:
    made: list[int] = []
    for tick in range(0, 300, 15):
        if not made or tick - made[-1] >= watch.fresh_for(15.0, vms):
            made.append(tick)
    assert made == list(range(0, 300, swept))


def test_one_incident_is_one_message_edited_when_it_ends(watched: Watched) -> None:
    watched.tick(DOWN)
    watched.tick(DOWN)
    (card,) = watched.shown()
    assert [each.action for each in buttons(card)] == ["run", "alert.ack", *["alert.silence"] * 3]
    watched.tick(BACK)
    (card,) = watched.shown()
    assert str(card.title) == "Resolved: host-b is gone"
    assert not buttons(card)
    (reply,) = watched.replies()
    assert "Resolved after 30 s" in str(reply.text)


def test_fifty_flaps_make_one_message_and_one_reply(watched: Watched) -> None:
    for _ in range(50):
        watched.tick(DOWN)
        watched.tick(BACK)
    (card,) = watched.shown()
    assert "came back 49 times" in state_of(card)
    assert len(watched.replies()) == 1


def test_what_comes_back_much_later_is_a_new_incident(watched: Watched) -> None:
    watched.tick(DOWN)
    watched.tick(BACK)
    watched.bot.clock.turn(2 * 3600)
    watched.tick(DOWN)
    assert len(watched.shown()) == 2


def test_who_takes_an_alert_up_is_named_and_silence_is_kept(watched: Watched) -> None:
    watched.tick(DOWN)
    ack, hour, *_ = [
        each for each in buttons(watched.shown()[0]) if each.action.startswith("alert.")
    ]
    watched.bot.clicks(ack.action, ack.value, "UBRUNO")
    (card,) = watched.shown()
    assert "UBRUNO" in state_of(card)
    watched.bot.clicks(hour.action, hour.value, "UCARLA")
    (card,) = watched.shown()
    assert "UBRUNO" in state_of(card)
    assert "silenced until" in state_of(card)
    watched.tick(BACK)
    assert watched.replies() == []


def test_a_silence_is_ended_by_a_button(watched: Watched) -> None:
    watched.tick(DOWN)
    _, hour, *_ = [each for each in buttons(watched.shown()[0]) if each.action.startswith("alert.")]
    watched.bot.clicks(hour.action, hour.value, "UCARLA")
    (card,) = watched.shown()
    assert "acknowledged by UCARLA" in state_of(card), "who silences it has seen it, and is named"
    (end,) = [each for each in buttons(card) if each.action.startswith("alert.")]
    assert str(end.text) == "End silence"
    watched.bot.clicks(end.action, end.value, "UBRUNO")
    (card,) = watched.shown()
    assert "silenced" not in state_of(card)
    watched.tick(BACK)
    assert len(watched.replies()) == 1, "its end is told again"


def test_a_trail_that_was_tampered_with_is_an_incident_until_it_holds_again(
    watched: Watched, tmp_path: Path
) -> None:
    watched.bot.types("migrate web-1 host-b")
    watch.prove(watched.services, watched.monitor)
    assert watched.shown() == []
    with closing(sqlite3.connect(tmp_path / "drover.sqlite")) as plain, plain:
        plain.execute("UPDATE events SET \"by\" = 'UEVIL'")
    watch.prove(watched.services, watched.monitor)
    (card,) = watched.shown()
    assert str(card.title) == "The audit trail was tampered with"
    assert "Event 1" in text(card)
    with closing(sqlite3.connect(tmp_path / "drover.sqlite")) as plain, plain:
        plain.execute("UPDATE events SET \"by\" = 'UANA'")
    watch.prove(watched.services, watched.monitor)
    (card,) = watched.shown()
    assert str(card.title) == "Resolved: The audit trail was tampered with"


def test_a_person_without_a_role_may_not_answer_an_alert(watched: Watched) -> None:
    watched.tick(DOWN)
    said = watched.bot.clicks("alert.ack", "host:host-b|", "UNOBODY")
    assert "may not" in text(said)
    assert "acknowledged" not in state_of(watched.shown()[0])


def test_the_remedy_is_typed_with_the_rights_of_who_presses_it(watched: Watched) -> None:
    watched.tick(DOWN)
    assert "of 3 hosts up" in text(watched.bot.clicks("run", "hosts", "UANA"))
    assert "may not use" in text(watched.bot.clicks("run", "hosts", "UNOBODY"))
    watched.bot.clicks("run", "migrate web-1 host-b", "UANA")
    assert watched.bot.operation(1).origin.by == "UANA"


def test_an_alert_that_could_not_be_posted_comes_at_the_next_look(watched: Watched) -> None:
    watched.bot.chat.fail("post")
    watched.tick(DOWN)
    assert watched.shown() == []
    watched.tick(DOWN)
    assert len(watched.shown()) == 1


def test_after_a_restart_the_same_incident_is_edited_not_posted_anew(watched: Watched) -> None:
    watched.tick(DOWN)
    watched.monitor = Monitor(
        watched.sampler, watched.series, watched.series, watched.bot.clock, replica="one"
    )
    watched.bot.services = replace(watched.services, monitor=watched.monitor)
    watched.tick(BACK)
    (card,) = watched.shown()
    assert str(card.title) == "Resolved: host-b is gone"


def test_of_two_replicas_one_watches_and_the_other_takes_over_when_it_is_silent(
    watched: Watched,
) -> None:
    other = Monitor(
        watched.sampler, watched.series, watched.series, watched.bot.clock, replica="two"
    )
    watched.tick()
    assert not watch.leads(watched.services, other)
    watched.bot.clock.turn(watch.LEASED + 1)
    assert watch.leads(watched.services, other)
    assert not watch.leads(watched.services, watched.monitor)


def test_a_watch_that_fails_does_not_silence_the_others(watched: Watched) -> None:
    def broken(view: WatchView) -> Looked:
        raise ZeroDivisionError

    watches = (Watch("broken", PERIOD, broken), *watched.services.catalog.watches)
    watched.bot.services = replace(
        watched.services, catalog=replace(watched.services.catalog, watches=watches)
    )
    watched.tick(DOWN)
    assert len(watched.shown()) == 1


def test_a_watch_proposes_as_the_bot_and_once_while_it_is_open(watched: Watched) -> None:
    wanted = Proposal("migrate", Migrate("web-1", "host-b"), why="host-a is hot")
    watched.tick(wanted)
    watched.tick(wanted)
    assert len(watched.bot.store.operations()) == 1
    operation = watched.bot.operation(1)
    assert (operation.origin.by, operation.origin.reason) == ("drover", "host-a is hot")


def test_the_plan_that_a_watch_made_is_the_one_laid_out(watched: Watched) -> None:
    action = watched.services.catalog.action("migrate")
    plan = action.plan(Migrate("web-1", "host-b"), watched.bot.hypervisor.snapshot(["web-1"]), ())
    assert isinstance(plan, Plan)
    made = replace(plan, title="as the watch made it")
    watched.tick(Proposal("migrate", Migrate("web-1", "host-b"), plan=made))
    assert watched.bot.operation(1).plan.title == "as the watch made it"


def test_changes_wait_for_the_digests_and_are_dropped_in_the_end(watched: Watched) -> None:
    now = watched.bot.clock.now()
    told = (
        Change(now, "Readiness", "host-a: pool PASS → WARN"),
        Change(now, "Readiness", "host-b: pool WARN → PASS"),
    )

    def look(view: WatchView) -> Looked:
        return Looked(changes=told if not view.memory else (), memory={"told": True})

    watches = (Watch("nightly", PERIOD, look),)
    watched.bot.services = replace(
        watched.services, catalog=replace(watched.services.catalog, watches=watches)
    )
    watched.tick()
    watched.tick()
    watched.posts()
    assert watched.reports[-1].measured.changes == told
    watch.tidy(watched.monitor, now + timedelta(days=29))
    assert watched.monitor.measures().changes == told
    watch.tidy(watched.monitor, now + timedelta(days=31))
    assert watched.monitor.measures().changes == ()


def test_a_report_is_posted_once_a_slot_and_remembers(watched: Watched) -> None:
    assert watched.posts()
    assert not watched.posts()
    watched.bot.clock.turn(86400)
    assert watched.posts()
    assert len(watched.shown()) == 2
    first, second = watched.reports
    assert (first.since, first.memory) == (None, {})
    assert second.memory == {"seen": 1}
    assert second.since == first.now


def test_a_quiet_report_posts_nothing_but_remembers(watched: Watched) -> None:
    watched.cards[0] = None
    assert watched.posts()
    assert watched.shown() == []
    assert watched.monitor.measures().kept["daily"]["memory"] == {"seen": 1}


def test_a_missed_report_comes_late_and_says_so(watched: Watched) -> None:
    watched.posts()
    slot = watched.bot.clock.now() + timedelta(days=1)
    watched.bot.clock.turn(86400 + 3 * 3600)
    watch.post_missed(
        watched.services, watched.monitor, watched.report(), slot, watched.bot.hypervisor.snapshot
    )
    watch.post_missed(
        watched.services, watched.monitor, watched.report(), slot, watched.bot.hypervisor.snapshot
    )
    assert len(watched.shown()) == 2
    assert "3 h late" in text(watched.shown()[-1])


def test_a_new_bot_missed_nothing_but_remembers_how_things_stand(watched: Watched) -> None:
    seen = watched.bot.hypervisor.snapshot
    slot = watched.bot.clock.now() - timedelta(hours=1)
    watch.post_missed(watched.services, watched.monitor, watched.report(), slot, seen)
    watch.begin(watched.services, watched.monitor, watched.report(), seen)
    assert watched.shown() == []
    assert watched.monitor.measures().kept["daily"]["memory"] == {"seen": 1}


def test_a_report_whose_chat_failed_is_posted_by_a_later_tick(watched: Watched) -> None:
    watched.bot.chat.fail("post")
    with pytest.raises(Exception, match="does not answer"):
        watched.posts()
    watched.bot.clock.turn(300)
    watched.tick()
    assert "late" in text(watched.shown()[0])
    watched.tick()
    assert len(watched.shown()) == 1


def test_a_live_answer_edits_its_message_until_its_time_is_over(watched: Watched) -> None:
    command = watched.services.catalog.commands["hosts"]
    assert isinstance(command, Query)
    commands = {**watched.services.catalog.commands, "hosts": replace(command, live=30.0)}
    watched.bot.services = replace(
        watched.services, catalog=replace(watched.services.catalog, commands=commands)
    )
    assert watched.bot.types("hosts") is None
    until(lambda: "no longer live" in text(watched.shown()[0]), "it stops being live")
    assert 6 <= len(watched.bot.chat.edits) <= 8
    assert "asked by UANA" in text(watched.shown()[0]), "everybody sees it"


def test_the_history_gets_minutes_and_says_when_it_loses_some(watched: Watched) -> None:
    clock, broken = TickingClock(), Broken(watched.series)
    recorder = Recorder(broken, most=3)
    for number in range(6):
        recorder.take(clock.now(), [Point(vm_entity("u"), {Metric.CPU: float(number)})])
        clock.turn(60)
    recorder.write(clock.now())
    assert (recorder.losses.waiting, recorder.losses.dropped) == (3, 2)
    assert "disk full" in recorder.losses.why
    broken.works = True
    recorder.write(clock.now())
    assert (recorder.losses.waiting, recorder.losses.why) == (0, "")


class Broken:
    """A history whose disk is full until a test mends it."""

    def __init__(self, series: SqlSeries) -> None:
        self._series = series
        self.works = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self.works:
            found: Callable[..., Any] = getattr(self._series, name)
            return found

        def refuse(*_: object) -> None:
            raise StoreError("disk full")

        return refuse


def test_a_minute_of_sweeps_becomes_their_mean(watched: Watched) -> None:
    for _ in range(25):
        watched.tick()
    watched.bot.clock.turn(120)
    watched.monitor.write()
    now = watched.bot.clock.now()
    past = watched.series.history(
        [host_entity("host-a")], Metric.CPU, now - timedelta(hours=1), now
    )
    assert {bucket.mean for bucket in past[host_entity("host-a")]} == {4.0}
    guest = watched.series.history(
        [vm_entity(uuid_of("web-1"))], Metric.CPU, now - timedelta(hours=1), now
    )
    assert guest[vm_entity(uuid_of("web-1"))][0].mean == 0.5


def test_maintenance_is_in_what_a_watch_sees(watched: Watched) -> None:
    watched.bot.store.set_maintenance("host-b", on=True)
    watched.tick()
    assert watched.views[-1].snapshot.host("host-b").maintenance


def test_how_long_guests_wait_for_cpu_is_in_every_snapshot_while_it_is_fresh(
    watched: Watched,
) -> None:
    assert snapshot(watched.services).vm("web-1").wait is None
    watched.sampler.vms["web-1"] = {"wait": 0.4}
    watched.tick()
    assert (
        snapshot(watched.services).vm("web-1").wait,
        snapshot(watched.services).vm("db-1").wait,
    ) == (
        0.4,
        0.0,
    )
    watched.bot.clock.turn(300)
    assert snapshot(watched.services).vm("web-1").wait is None


def test_a_click_on_a_forgotten_alert_is_answered(watched: Watched) -> None:
    request = Request(
        "k", "click", "UANA", watched.bot.clock.now(), "COPS", action="alert.ack", value="gone|"
    )
    watched.bot.store.accept(request)
    dispatcher.handle(watched.services, request)
    assert "no longer known" in text(watched.bot.chat.cards_for("UANA")[-1])


def test_a_home_without_vms_of_ones_own_says_how_they_get_there(watched: Watched) -> None:
    request = Request("home-0", "home", "UANA", watched.bot.clock.now())
    watched.bot.store.accept(request)
    dispatcher.handle(watched.services, request)
    (mine,) = [each for each in watched.bot.chat.homes["UANA"].elements if "My VMs" in repr(each)]
    assert "owner=" in repr(mine)
    assert "UANA" in repr(mine)


def test_the_home_is_a_dashboard_with_alerts_my_vms_and_buttons_that_answer(
    watched: Watched,
) -> None:
    vm = watched.bot.hypervisor.snapshot().vm("web-1")
    watched.bot.hypervisor.put(replace(vm, tags={"owner": "UANA"}))
    watched.tick(DOWN)
    request = Request("home-1", "home", "UANA", watched.bot.clock.now())
    watched.bot.store.accept(request)
    dispatcher.handle(watched.services, request)
    card = watched.bot.chat.homes["UANA"]
    assert "host-b is gone" in text(card)
    assert "web-1 (running on host-a)" in text(card)
    (vote,) = [each for each in buttons(card) if each.action == "run"]
    assert vote.value == "approvals"
    click = Request(
        "home-2", "click", "UANA", watched.bot.clock.now(), action=vote.action, value=vote.value
    )
    watched.bot.store.accept(click)
    dispatcher.handle(watched.services, click)
    assert "Nothing waits for your vote" in text(watched.bot.chat.homes["UANA"])
    assert watched.bot.chat.cards_for("UANA") == ()
