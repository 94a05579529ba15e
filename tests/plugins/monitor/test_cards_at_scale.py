"""What a person sees of very many hosts: the worst of them, on one screen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bot.domain.card import Card, Chart, Table
from bot.domain.cluster import Health
from bot.domain.metrics import AlertSeverity, HostSample, Incident, Sweep, gravest_first
from bot.plugin_api import Measured
from bot.testing import draw_cluster
from plugins.monitor import cards
from tests.bot.flow.small_bot import text

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
GIB = 1 << 30


def status(count: int, *, whole: bool = False) -> Card:
    """The status of so many hosts: one is silent, one rests, one is nearly full."""
    lines = [f"host-{number:03} 16cpu 64G | vm-{number} 1G load 1" for number in range(count)]
    lines[7] += "".join(f" | full-{each} 10G" for each in range(6))
    lines[3] = lines[3].replace("64G", "64G down", 1)
    seen = draw_cluster("\n".join(lines))
    assert seen.host("host-003").health is not Health.UP
    sweep = Sweep(
        NOW,
        tuple(
            HostSample(
                each.name, NOW, "" if each.up else "gone", 16, cpu=number / count,
                memory=64 * GIB, used=GIB,
            )
            for number, each in enumerate(seen.hosts)
        ),
    )  # fmt: skip
    return cards.status_card(seen, Measured(sweep), (), (), NOW, whole=whole)


def table(card: Card) -> Table:
    return next(each for each in card.elements if isinstance(each, Table))


def test_of_many_hosts_the_worst_are_shown_and_the_others_counted() -> None:
    card = status(300)
    shown = [str(row[0]) for row in table(card).rows]
    assert len(shown) == cards.SCREEN
    assert shown[0] == "host-003"
    assert {"host-007", "host-299"} <= set(shown[:4])
    assert "the worst first; 280 more hosts: `/kvm hosts`" in text(card)
    assert "all as a file: `/kvm status --csv`" in text(card)
    assert len(table(status(300, whole=True)).rows) == 300
    (chart,) = (each for each in card.elements if isinstance(each, Chart))
    assert len(chart.labels) == cards.SCREEN
    assert "host-299" in chart.labels


def test_few_hosts_are_all_shown_by_name() -> None:
    card = status(cards.SCREEN)
    shown = [str(row[0]) for row in table(card).rows]
    assert shown == sorted(shown)
    assert len(shown) == cards.SCREEN
    assert "more hosts" not in text(card)


def test_what_waits_least_is_told_first_and_never_among_those_left_out() -> None:
    started = [
        Incident(
            f"vm:{number}", f"vm-{number} waits for its CPU", NOW - timedelta(hours=9 - number)
        )
        for number in range(6)
    ]
    dead = Incident(
        "host:host-001", "host-001 does not answer", NOW, severity=AlertSeverity.CRITICAL
    )
    over = Incident(
        "host:host-002", "host-002 does not answer", NOW - timedelta(hours=10), over_at=NOW,
        severity=AlertSeverity.CRITICAL,
    )  # fmt: skip
    told = (over, *started, dead)
    shown = text(
        cards.status_card(
            draw_cluster("host-001 16cpu 64G"), Measured(None, incidents=told), (), (), NOW
        )
    )
    assert "host-001 does not answer" in shown
    assert "host-002 does not answer" not in shown
    assert "vm-5 waits" in shown
    assert "vm-0 waits" not in shown
    assert gravest_first(told) == (dead, *reversed(started), over)


def test_a_host_that_either_look_has_seen_was_seen() -> None:
    drawing = draw_cluster("host-001 16cpu 64G\nhost-003 16cpu 64G down")
    seen = replace(
        drawing,
        hosts=tuple(
            replace(each, seen_at=NOW - timedelta(minutes=2)) if each.name == "host-003" else each
            for each in drawing.hosts
        ),
    )
    silent = HostSample("host-003", None, "gone")
    card = cards.status_card(seen, Measured(Sweep(NOW, (silent,))), (), (), NOW)
    (row,) = (row for row in table(card).rows if row[0] == "host-003")
    assert str(row[1]) == "unreachable for 2 min"
