"""A watch that gathers: host_check's nightly look at the hosts, from the sweep to the message in the channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot import catalog
from bot.adapters.sql.series import SqlSeries
from bot.domain.cluster import GIB, Pool, Snapshot
from bot.flow.monitoring import watch
from bot.flow.monitoring.monitor import Monitor
from bot.plugin_api import Looked, Watch, WatchView
from bot.ports import Hypervisor
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot
from tests.waiting import until

POOL = Pool("local", "dir", "/srv", active=True, autostart=True, capacity=100 * GIB, free=50 * GIB)


@pytest.fixture
def nightly(tmp_path: Path) -> Iterator[tuple[Bot, Monitor]]:
    bot = small_bot(tmp_path)
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    monitor = Monitor(
        FakeSampler(bot.hypervisor, bot.clock), series, series, bot.clock, replica="one"
    )
    watches = catalog.load(["host_check"]).watches
    bot.services = replace(
        bot.services, catalog=replace(bot.services.catalog, watches=watches), monitor=monitor
    )
    for host in ("host-a", "host-b", "host-c"):
        bot.hypervisor.change(host, pools=(POOL,))
    yield bot, monitor
    series.close()
    bot.store.close()


def ticks_until(so: Callable[[], bool], bot: Bot, monitor: Monitor) -> None:
    """Tick, and on until it is so; what is gathered comes from a thread of its own."""

    def look() -> bool:
        watch.tick(bot.services, monitor, bot.hypervisor.snapshot)
        return so()

    until(look, "what is gathered is in")


def night(bot: Bot, monitor: Monitor) -> list[str]:
    """What stands in the channel after one more look."""
    monitor.due.clear()

    def looked() -> bool:
        with monitor.looking:
            return not monitor.gathering.busy("readiness")

    ticks_until(looked, bot, monitor)
    bot.clock.turn(86400)
    return [
        str(card.title) for ref, card in bot.chat.messages.items() if ref not in bot.chat.threads
    ]


def test_a_pool_that_stops_is_told_once_and_closed_when_it_runs_again(
    nightly: tuple[Bot, Monitor],
) -> None:
    bot, monitor = nightly
    assert night(bot, monitor) == []
    assert night(bot, monitor) == []
    bot.hypervisor.change("host-b", pools=(replace(POOL, active=False),))
    assert night(bot, monitor) == ["host-b is less ready than it was: pool local"]
    assert night(bot, monitor) == ["host-b is less ready than it was: pool local"]
    bot.hypervisor.change("host-b", pools=(POOL,))
    assert night(bot, monitor) == ["Resolved: host-b is less ready than it was: pool local"]


def test_a_host_that_hangs_delays_neither_the_sweeps_nor_the_other_watches(
    nightly: tuple[Bot, Monitor],
) -> None:
    bot, monitor = nightly
    answers, gathered, looks = threading.Event(), [], []

    def hang(seen: Snapshot, hypervisor: Hypervisor) -> str:
        gathered.append(seen)
        assert answers.wait(60)
        return "answered at last"

    def look(view: WatchView) -> Looked:
        looks.append(view.found)
        return Looked()

    slow, quick = Watch("slow", timedelta(0), look, gather=hang), Watch("quick", timedelta(0), look)
    bot.services = replace(
        bot.services, catalog=replace(bot.services.catalog, watches=(slow, quick))
    )
    for _ in range(3):
        watch.tick(bot.services, monitor, bot.hypervisor.snapshot)
    assert looks == [None] * 3
    assert len(gathered) == 1
    answers.set()
    until(lambda: "answered at last" in looks, "it looks without another tick")
