"""A watch that gathers: host_check's nightly look at the hosts, from the sweep to the message in the channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import catalog
from bot.adapters.sql.series import SqlSeries
from bot.domain.cluster import GIB, Pool
from bot.flow import watch
from bot.flow.monitor import Monitor
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot

POOL = Pool("local", "dir", "/srv", active=True, autostart=True, capacity=100 * GIB, free=50 * GIB)


@pytest.fixture
def nightly(tmp_path: Path) -> Iterator[tuple[Bot, Monitor]]:
    bot = small_bot(tmp_path)
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    monitor = Monitor(FakeSampler(bot.hypervisor, bot.clock), series, series, bot.clock, replica="one")
    watches = catalog.load(["host_check"]).watches
    bot.world = replace(bot.world, catalog=replace(bot.world.catalog, watches=watches), monitor=monitor)
    for host in ("host-a", "host-b", "host-c"):
        bot.hypervisor.change(host, pools=(POOL,))
    yield bot, monitor
    series.close()
    bot.store.close()


def night(bot: Bot, monitor: Monitor) -> list[str]:
    """What stands in the channel after one more look."""
    monitor.due.clear()
    watch.tick(bot.world, monitor, bot.hypervisor.snapshot)
    bot.clock.turn(86400)
    return [card.title for ref, card in bot.chat.messages.items() if ref not in bot.chat.threads]


def test_a_pool_that_stops_is_told_once_and_closed_when_it_runs_again(nightly: tuple[Bot, Monitor]) -> None:
    bot, monitor = nightly
    assert night(bot, monitor) == []
    assert night(bot, monitor) == []
    bot.hypervisor.change("host-b", pools=(replace(POOL, active=False),))
    assert night(bot, monitor) == ["host-b is less ready than it was: pool local"]
    assert night(bot, monitor) == ["host-b is less ready than it was: pool local"]
    bot.hypervisor.change("host-b", pools=(POOL,))
    assert night(bot, monitor) == ["Over: host-b is less ready than it was: pool local"]
