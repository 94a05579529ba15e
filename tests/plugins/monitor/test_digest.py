"""Digests and answers, as people read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import catalog
from bot.adapters.language import Languages
from bot.domain.capacity import losses
from bot.domain.card import Card, Chart, Section, Table
from bot.domain.cluster import GIB, Pool, Snapshot
from bot.domain.errors import UnknownNameError
from bot.domain.metrics import (
    CLUSTER,
    Bucket,
    Change,
    HostSample,
    Incident,
    Metric,
    SnapshotSeen,
    Sweep,
    VmSample,
    vm_entity,
)
from bot.domain.operation import (
    Approved,
    Began,
    Denied,
    Finished,
    GainMeasured,
    Operation,
    Origin,
    Proposed,
    StepBegan,
    StepEnded,
    VotedFor,
    advance,
    open_operation,
)
from bot.domain.plan import HostBar, Plan, Prediction, Risk, Spread
from bot.domain.policy import Ruling
from bot.domain.steps import MigrateVm
from bot.flow.commands.parse import parse
from bot.flow.commands.query_cards import hosts_card
from bot.plugin_api import Asker, Measured, Query, Report, ReportView, View
from bot.testing import draw_cluster, uuid_of
from bot.testing.draw import TAKEN_AT as NOW
from plugins.monitor import cards, digest_cards
from plugins.monitor.digest import differences, digest, memory_of
from plugins.monitor.digest_cards import digest_card
from plugins.monitor.digest_values import Decisions, Digest, Filling, Gain
from plugins.monitor.settings import MonitorSettings
from tests.bot.flow.small_bot import text

DAY = timedelta(days=1)
BEFORE = draw_cluster(
    "host-a 8cpu 16G load 1 | web-1 4G 4cpu | db-1 4G\nhost-b 8cpu 16G load 1 | old-1 2G | off-1 1G off"
)
AFTER = draw_cluster(
    "host-a 8cpu 16G load 7 | db-1 4G | new-1 1G\nhost-b 8cpu 16G load 1 | web-1 4G 4cpu | off-1 1G"
)
MOVE = MigrateVm(uuid_of("web-1"), "web-1", "host-a", "host-b", 4 * GIB)


@dataclass
class Operations:
    """The history of operations, as a list."""

    found: tuple[Operation, ...] = ()

    def operations(
        self, *, states: Collection[Any] = (), by: str = "", limit: int = 50
    ) -> tuple[Operation, ...]:
        return tuple(each for each in self.found if not states or each.state in states)[:limit]


@dataclass
class Written:
    """A past that is what a test wrote."""

    buckets: dict[tuple[str, Metric], tuple[Bucket, ...]] = field(default_factory=dict)

    def history(
        self, entities: Collection[str], metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, tuple[Bucket, ...]]:
        return {
            each: self.buckets[each, metric] for each in entities if (each, metric) in self.buckets
        }

    def summary(
        self, kind: str, metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, Bucket]:
        return {
            entity: buckets[-1]
            for (entity, of), buckets in self.buckets.items()
            if of is metric and entity.startswith(f"{kind}:")
        }


def bucket(
    mean: float, at: datetime = NOW - DAY, count: int = 1440, peak: float | None = None
) -> Bucket:
    return Bucket(at, 86400, mean, mean, mean if peak is None else peak, count)


def operation(number: int, plan: Plan, *, denied: bool = False, minutes: float = 3) -> Operation:
    asked = NOW - timedelta(hours=5)
    origin = Origin("U1", "C1", "/kvm migrate web-1 host-b", f"k-{number}")
    event = Proposed(
        asked, "U1", "migrate", None, plan, Ruling(1, ("approver",), 3600, "r"), origin, asked + DAY
    )
    found, voted = open_operation(f"op-{number}", event), asked + timedelta(minutes=minutes)
    if denied:
        return advance(found, Denied(voted, "U2", "no"))
    events: list[Any] = [
        VotedFor(voted, "U2", plan.digest),
        Approved(voted, "U2"),
        Began(voted, "drover"),
    ]
    for index in range(len(plan.steps)):
        events += [
            StepBegan(voted, "drover", index),
            StepEnded(voted, "drover", index, {"seconds": 9.5}),
        ]
    for each in (*events, Finished(NOW - timedelta(hours=4), "drover")):
        found = advance(found, each)
    return found


ONE = Plan("Move web-1", (MOVE,), Risk.MEDIUM, prediction=Prediction(seconds=12.0))
BARS = (HostBar("host-a", 0.5, 0.5, 0.9, 0.5), HostBar("host-b", 0.5, 0.5, 0.1, 0.5))
EVEN = replace(ONE, title="Balance", steps=(MOVE, replace(MOVE, name="db-1")), bars=BARS)


def report(seen: Snapshot = AFTER, **different: Any) -> ReportView:
    history: Any = different.pop("history", Operations())
    measured = different.pop("measured", Measured(Sweep(NOW)))
    view = ReportView(seen, (), history, measured, memory_of(BEFORE), NOW, NOW - DAY)
    return replace(view, **different)


def made(**different: Any) -> Digest:
    return digest(MonitorSettings(), report(**different), DAY)


def test_what_changed_is_named() -> None:
    found = differences(memory_of(BEFORE), AFTER)
    assert (found.made, found.gone, found.started, found.stopped) == (
        ("new-1",),
        ("old-1",),
        ("off-1",),
        (),
    )
    assert found.moved == (("web-1", "host-a", "host-b"),)


def test_a_host_that_went_down_or_to_rest_is_named() -> None:
    seen = draw_cluster("host-a 8cpu 16G maintenance\nhost-b 8cpu 16G down")
    assert differences(memory_of(BEFORE), seen).hosts == (
        ("host-a", "up", "maintenance"), ("host-b", "up", "unreachable"),
    )  # fmt: skip


def test_nothing_happened_is_quiet_and_anything_is_not() -> None:
    assert digest(MonitorSettings(), report(BEFORE), DAY).quiet
    assert not made().quiet
    assert not digest(
        MonitorSettings(), report(BEFORE, history=Operations((operation(1, ONE),))), DAY
    ).quiet
    standing = Measured(Sweep(NOW), incidents=(Incident("k", "a pool fills", NOW),))
    assert not digest(MonitorSettings(), report(BEFORE, measured=standing), DAY).quiet


def test_changes_since_the_last_digest_are_told_under_their_heading() -> None:
    told = tuple(
        Change(NOW - ago, "Readiness", f"host-a: {ago}") for ago in (2 * DAY, timedelta(hours=2))
    )
    found = digest(
        MonitorSettings(), report(BEFORE, measured=Measured(Sweep(NOW), changes=told)), DAY
    )
    assert found.notes == told[1:]
    assert not found.quiet
    assert "Readiness" in text(digest_card(found, "/kvm", weekly=False))


@pytest.mark.parametrize(
    ("plugin", "heading", "told"),
    [
        ("host_check", "Readiness", "Prontidão"),
        ("failover", "Failover readiness", "Prontidão de failover"),
    ],
)
def test_what_watches_tell_is_headed_in_the_reader_s_language(
    plugin: str, heading: str, told: str
) -> None:
    change = Change(NOW - timedelta(hours=2), heading, "host-a")
    measured = Measured(Sweep(NOW), changes=(change,))
    card = digest_card(
        digest(MonitorSettings(), report(BEFORE, measured=measured), DAY), "/kvm", weekly=False
    )
    portuguese = Languages(folders=catalog.load((plugin, "monitor")).translations).of("pt-BR")
    assert told in repr([str(portuguese.translate(each.line)) for each in card.elements
                         if isinstance(each, Section)])  # fmt: skip


def test_hosts_in_maintenance_are_counted_in_the_title() -> None:
    seen = draw_cluster("host-a 8cpu 16G\nhost-b 8cpu 16G\nhost-c 8cpu 16G down")
    resting = replace(seen.hosts[1], maintenance=True)
    seen = replace(seen, hosts=(seen.hosts[0], resting, seen.hosts[2]))
    assert str(hosts_card(seen).title) == "2 of 3 hosts up, 1 of them in maintenance"
    status = cards.status_card(seen, Measured(), (), (), NOW)
    assert str(status.title) == "2 of 3 hosts up, 1 of them in maintenance, 0 VMs running"


def test_a_list_of_alerts_says_who_heard_of_it_and_until_when_it_is_silenced() -> None:
    until = NOW + timedelta(hours=1)
    told = Incident("a", "a pool fills", NOW)
    heard = replace(told, key="b", acknowledged_by="UANA")
    silent = replace(heard, key="c", silent_until=until)
    muted, ended = replace(heard, key="d", muted=True), replace(silent, key="e", silent_until=NOW)
    card = cards.alerts_card((told, heard, silent, muted, ended), NOW, 1, str)
    (table,) = [each for each in card.elements if isinstance(each, Table)]
    assert [str(row[1]) for row in table.rows] == [
        "active",
        "acknowledged by UANA",
        "silenced until 2026-01-05 10:00 UTC",
        "silenced until resolved",
        "acknowledged by UANA",
    ]


def test_the_first_digest_has_nothing_to_compare_with() -> None:
    found = made(memory={}, since=None)
    assert found.changed == type(found.changed)()
    assert all(each.before is None for each in found.picture)


def test_a_move_is_told_as_foretold_and_as_it_was() -> None:
    (move,) = made(history=Operations((operation(1, ONE),))).moves
    assert (move.vm, move.foretold, move.took) == ("web-1", 12.0, 9.5)


def test_moves_of_one_plan_are_told_together_as_predicted_and_as_they_were() -> None:
    other = replace(MOVE, uuid="another", name="web-2", target="host-c")
    likely = Prediction(seconds=20.0, least=15.0, most=25.0)
    both = Plan("Drain host-a", (MOVE, other), Risk.MEDIUM, prediction=likely)
    found = made(history=Operations((operation(1, both),)))
    (move,) = found.moves
    assert (str(move.vm), move.source, move.target) == ("2 VMs", "host-a", "host-b, host-c")
    assert (move.foretold, move.took, move.held) == (20.0, 19.0, (True, None))
    shown = text(digest_card(found, "/kvm", weekly=False))
    assert "time: 1 prediction was off by 5%" in shown
    assert "time: 1 of 1 within the predicted range" in shown


def test_moves_of_a_plan_without_a_prediction_are_told_one_by_one() -> None:
    other = replace(MOVE, uuid="another", name="web-2")
    found = made(history=Operations((operation(1, Plan("Two", (MOVE, other), Risk.MEDIUM)),)))
    assert [(each.vm, each.foretold) for each in found.moves] == [("web-1", None), ("web-2", None)]


def test_the_gain_of_a_balance_is_what_its_operation_says() -> None:
    before, foretold, measured = (
        Spread(0.4, 0.9, 0.1),
        Spread(0.0, 0.5, 0.5),
        Spread(0.05, 0.55, 0.45),
    )
    done = replace(operation(1, EVEN), before=before, foretold=foretold)
    found = made(history=Operations((done, operation(2, ONE))))
    assert found.gains == (Gain("op-1", before, foretold, None),)
    assert "not measured yet" in text(digest_card(found, "/kvm", weekly=False))
    later = advance(done, GainMeasured(NOW, "drover", measured, NOW))
    found = made(history=Operations((later,)))
    assert found.gains == (Gain("op-1", before, foretold, measured),)
    assert "actual 0.050 (CPU 55% and 45%)" in text(digest_card(found, "/kvm", weekly=False))


def test_decisions_are_counted_with_their_median() -> None:
    operations = (
        operation(1, ONE, minutes=2),
        operation(2, ONE, minutes=8),
        operation(3, ONE, denied=True),
    )
    assert made(history=Operations(operations)).decisions == Decisions(3, 2, 1, 0, 180.0)


def test_what_was_asked_before_the_last_digest_and_decided_since_is_told() -> None:
    asked, voted = NOW - timedelta(hours=5), NOW - timedelta(hours=5) + timedelta(minutes=3)
    found = made(
        history=Operations((operation(1, ONE),)), since=asked + timedelta(minutes=1)
    ).decisions
    assert found == Decisions(0, 1, 0, 0, 180.0)
    assert made(history=Operations((operation(1, ONE),)), since=voted).decisions == Decisions()


def test_a_gain_that_was_measured_after_the_last_digest_is_told_in_the_next() -> None:
    even = Spread(0.0, 0.5, 0.5)
    done = replace(operation(1, EVEN), before=Spread(0.4, 0.9, 0.1), foretold=even)
    later = advance(done, GainMeasured(NOW, "drover", even, NOW))
    since = done.changed_at + timedelta(minutes=1)
    assert made(history=Operations((done,)), since=since).gains == ()
    assert [each.measured for each in made(history=Operations((later,)), since=since).gains] == [
        even
    ]


def test_hot_idle_and_oversized_are_by_what_was_measured() -> None:
    past = Written({
        ("host:host-a", Metric.CPU): (bucket(6.8),),
        ("host:host-b", Metric.CPU): (bucket(0.4),),
        (vm_entity(uuid_of("web-1")), Metric.CPU): (bucket(0.4),),
        (vm_entity(uuid_of("db-1")), Metric.CPU): (bucket(0.001),),
        (vm_entity(uuid_of("new-1")), Metric.CPU): (bucket(0.001, count=10),),
    })  # fmt: skip
    found = made(measured=Measured(Sweep(NOW), past))
    assert found.hot == (("host-a", 0.85),)
    assert found.idle == (("host-b", 0.05),)
    assert found.idle_vms == ("db-1",)
    assert found.oversized == (("web-1", 4, 0.4),)


def test_a_pool_that_will_be_full_is_named_with_its_days() -> None:
    pool = Pool(
        "images", "dir", "/i", active=True, autostart=True, capacity=100 * GIB, free=30 * GIB
    )
    seen = replace(AFTER, hosts=(replace(AFTER.hosts[0], pools=(pool,)), AFTER.hosts[1]))
    grows = tuple(bucket(float((45 + day) * GIB), NOW - (30 - day) * DAY) for day in range(31))
    past = Written({("pool:host-a/images", Metric.SPACE): grows})
    (found,) = digest(
        MonitorSettings(), report(seen, measured=Measured(Sweep(NOW), past)), DAY
    ).filling
    assert found.where == "host-a"
    assert found.days == pytest.approx(25)
    slower = tuple(replace(each, mean=each.mean / 10) for each in grows)
    past = Written({("pool:host-a/images", Metric.SPACE): slower})
    assert (
        digest(MonitorSettings(), report(seen, measured=Measured(Sweep(NOW), past)), DAY).filling
        == ()
    )


def test_a_full_pool_is_named_even_without_history() -> None:
    pool = Pool(
        "images", "dir", "/i", active=True, autostart=True, capacity=100 * GIB, free=5 * GIB
    )
    seen = replace(AFTER, hosts=(replace(AFTER.hosts[0], pools=(pool,)), AFTER.hosts[1]))
    assert made(snapshot=seen).filling == (Filling("host-a", pool, None),)


# as declared, through the catalog and the grammar


def loaded() -> catalog.Catalog:
    return catalog.load(["monitor"])


def answered(line: str, **different: Any) -> Card:
    found = parse(loaded(), "/kvm", line)
    assert isinstance(found.command, Query)
    history: Any = different.pop("history", Operations())
    view = View(AFTER, history, (), Asker("U1", frozenset(), "en", NOW), **different)
    return found.command.answer(found.intent, view)


SWEEP = Sweep(
    NOW - timedelta(seconds=4),
    (
        HostSample("host-a", NOW, "", 8, 7.0, 0.1, 16 * GIB, 9 * GIB, 0.02),
        HostSample(
            "host-b", NOW - timedelta(minutes=3), "no answer", 8, None, None, 16 * GIB, 5 * GIB
        ),
    ),
    (
        VmSample(
            uuid_of("db-1"),
            "db-1",
            "host-a",
            "running",
            1,
            0.8,
            0.3,
            4 * GIB,
            GIB,
            1e6,
            2e6,
            10.0,
            20.0,
        ),
        VmSample(uuid_of("new-1"), "new-1", "host-a", "running", 1, 0.1),
    ),
    snapshots=(SnapshotSeen("host-a", uuid_of("db-1"), "db-1", "before", NOW - 30 * DAY),),
)
MEASURED = Measured(
    SWEEP, Written(), (Incident("k", "host-b does not answer", NOW - timedelta(minutes=3)),)
)


def test_status_says_who_is_silent_and_since_when() -> None:
    said = text(answered("status", measured=MEASURED))
    for part in (
        "unreachable for 3 min",
        "88% of 8",
        "56% of 16 GiB",
        "host-b does not answer",
        "measured 4.0 s ago",
    ):
        assert part in said, part


def test_top_orders_and_names_the_silent() -> None:
    card = answered("top --by wait", measured=MEASURED)
    (table,) = [each for each in card.elements if isinstance(each, Table)]
    assert [row[0] for row in table.rows] == ["db-1", "new-1"]
    assert tuple(map(str, table.rows[0][2:])) == (
        "0.80 of 1",
        "0.30",
        "1 GiB of 4 GiB",
        "2.86 MiB/s",
        "30 B/s",
    )
    assert "host-b" in repr(card.elements[1])
    with pytest.raises(UnknownNameError, match="host-a"):
        answered("top --host host-aa", measured=MEASURED)


def test_a_chart_has_means_and_peaks_in_its_unit() -> None:
    rows = tuple(
        bucket(2.0 * GIB, NOW - timedelta(hours=24 - n), peak=3.0 * GIB) for n in range(24)
    )
    past = Written({(vm_entity(uuid_of("db-1")), Metric.MEMORY): rows})
    card = answered("chart db-1 --metric memory", measured=Measured(SWEEP, past))
    (drawing,) = [each for each in card.elements if isinstance(each, Chart)]
    assert drawing.unit == "GiB"
    assert {str(name): set(values) for name, values in drawing.series} == {
        "mean": {2.0},
        "highest": {3.0},
    }
    assert "no history" in str(answered("chart new-1", measured=MEASURED).text)


def test_a_cluster_has_a_chart_of_its_own() -> None:
    past = Written({(CLUSTER, Metric.CPU): (bucket(4.0),)})
    card = answered("chart cluster", measured=Measured(SWEEP, past))
    (drawing,) = [each for each in card.elements if isinstance(each, Chart)]
    assert (str(drawing.series[0][0]), drawing.series[0][1]) == ("mean", (4.0,))


def tables(card: Card) -> list[Table]:
    return [each for each in card.elements if isinstance(each, Table)]


def test_fits_and_forecast_and_alerts_answer() -> None:
    assert "fit with N+1 kept" in str(answered("fits --cpus 4 --memory 16G").text)
    assert "1 active, 0 resolved" in str(answered("alerts", measured=MEASURED).text)
    many = replace(MEASURED, incidents=tuple(Incident(str(n), f"a{n}", NOW) for n in range(31)))
    (table,) = tables(answered("alerts --page 2", measured=many))
    assert len(table.rows) == 1
    with pytest.raises(UnknownNameError, match="No host that answers has a pool"):
        answered("forecast pool nope", measured=MEASURED)
    assert "2 vCPUs and 512 MiB fit" in str(answered("fits --memory 512").text)


def history(days: float, count: int = 100) -> dict[tuple[str, Metric], tuple[Bucket, ...]]:
    """The cluster's CPU, growing, over the last days."""
    step = days / count
    rows = tuple(
        replace(bucket(1.0 + n / count, NOW - (count - n) * step * DAY), seconds=int(step * 86400))
        for n in range(count)
    )
    return {(CLUSTER, Metric.CPU): rows}


def test_without_history_nothing_is_said_to_be_well() -> None:
    """What is in use now is known all the same, from the newest sweep."""
    card = answered("forecast", measured=MEASURED)
    assert str(card.text) == "Not enough history to forecast (needs 2 d, has none)."
    (table,) = [each for each in card.elements if isinstance(each, Table)]
    assert [str(row[0]) for row in table.rows][:2] == ["CPU", "Memory"]
    whole = replace(
        MEASURED,
        sweep=replace(
            SWEEP, hosts=tuple(replace(each, problem="", cpu=1.5) for each in SWEEP.hosts)
        ),
    )
    (table,) = [
        each for each in answered("forecast", measured=whole).elements if isinstance(each, Table)
    ]
    assert tuple(map(str, table.rows[0][:2])) == ("CPU", "3.0 of 16 cores")


def test_a_short_history_is_told_with_what_it_needs() -> None:
    card = answered("forecast", measured=Measured(SWEEP, Written(history(40 / 1440))))
    assert str(card.text) == "Not enough history to forecast (needs 2 d, has 40 min)."


def test_what_has_history_is_predicted_and_the_rest_named() -> None:
    card = answered("forecast", measured=Measured(SWEEP, Written(history(10))))
    assert "Not enough history (needs 2 d): Memory (has none)" in str(card.text)
    assert "CPU" not in str(card.text).rpartition("needs")[2]


def test_n_plus_one_is_told_of_the_hosts_in_service() -> None:
    def told(text: str, *resting: str) -> str:
        seen = draw_cluster(text)
        hosts = tuple(replace(each, maintenance=each.name in resting) for each in seen.hosts)
        lost = losses(replace(seen, hosts=hosts), 4.0)

        return str(cards.verdict(lost, resting))

    three = "host-a 8cpu 16G | a 4G\nhost-b 8cpu 16G | b 4G\nhost-c 8cpu 16G | c 4G"
    assert told(three) == "N+1 OK: if any one host fails, its VMs fit on the others."
    assert told(three, "host-c").startswith("N+1 OK:")
    only = "N+1 LOST: only host-a is in service; its VMs could not be restarted. In maintenance: host-b, host-c."
    assert told(three, "host-b", "host-c") == only
    assert told(three, "host-a", "host-b", "host-c") == "N+1 LOST: no host is in service."
    assert "if one of these hosts fails" in told("host-a 8cpu 16G | a 12G\nhost-b 8cpu 16G | b 12G")


def test_a_digest_preview_shows_everything_once() -> None:
    operations = Operations((operation(1, ONE), operation(2, ONE, denied=True)))
    kept = {"digest daily": {"slot": (NOW - DAY).isoformat(), "memory": dict(memory_of(BEFORE))}}
    said = text(
        answered("digest preview", measured=replace(MEASURED, kept=kept), history=operations)
    )
    for part in (
        "New: new-1",
        "Gone: old-1",
        "web-1 (host-a → host-b)",
        "db-1: before",
        "2 requests: 1 approved",
    ):
        assert part in said, part


def test_a_digest_at_its_time_remembers_and_is_silent_when_quiet() -> None:
    daily, weekly = [each for each in loaded().reports if isinstance(each, Report)]
    assert (daily.cron, weekly.cron) == ("0 8 * * *", "0 8 * * mon")
    composed = daily.compose(report())
    assert composed.card is not None
    assert composed.memory == memory_of(AFTER)
    assert daily.compose(report(BEFORE)).card is None


def test_now_is_public_and_preview_is_not() -> None:
    command = loaded().commands["digest"]
    assert isinstance(command, Query)
    assert command.public(parse(loaded(), "/kvm", "digest now").intent)
    assert not command.public(parse(loaded(), "/kvm", "digest").intent)


def test_one_of_a_kind_is_singular_in_portuguese() -> None:
    folder = Path(digest_cards.__file__).parent / "locale"
    said = digest_cards._decisions(Decisions(2, 1, 1, 0, None))
    shown = str(Languages("pt_BR", (folder,)).of("pt_BR").translate(said))
    assert shown == "2 pedidos: 1 aprovado, 1 recusado, 0 expirado."
