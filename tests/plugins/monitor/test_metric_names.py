"""One name for each metric, whatever people write for it: in top, chart, balance and forecast, as an option or a word."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from bot.catalog import Catalog, load
from bot.domain.cluster import Pool
from bot.domain.errors import AmbiguousNameError, UsageError
from bot.domain.metrics import Metric, pool_entity
from bot.flow.commands.parse import parse
from bot.testing import draw_cluster
from plugins.balance.from_snapshot import Only
from plugins.monitor.planner import _entity
from plugins.monitor.rates import By


@cache
def catalog() -> Catalog:
    return load(("migrate", "monitor", "balance"), {})


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("top --by memory", "by", By.MEM),
        ("top --by mem", "by", By.MEM),
        ("top RAM", "by", By.MEM),
        ("top network", "by", By.NET),
        ("top", "by", By.CPU),
        ("chart web-1 memory", "metric", Metric.MEMORY),
        ("chart web-1 mem", "metric", Metric.MEMORY),
        ("chart web-1 --metric mem", "metric", Metric.MEMORY),
        ("chart web-1 --metric network", "metric", Metric.NET),
        ("chart web-1", "metric", Metric.CPU),
        ("balance --only mem", "only", Only.MEMORY),
        ("balance --only memory", "only", Only.MEMORY),
        ("balance --only CPU", "only", Only.CPU),
        ("balance", "only", Only.ALL),
        ("forecast mem", "metric", Metric.MEMORY),
        ("forecast cpu", "metric", Metric.CPU),
        ("forecast fast", "pool", "fast"),
        ("forecast pool memory", "pool", "memory"),
    ],
)
def test_every_spelling_is_understood(line: str, field: str, value: object) -> None:
    assert getattr(parse(catalog(), "/kvm", line).intent, field) == value


@pytest.mark.parametrize("line", ["top --by colour", "chart web-1 colour", "balance --only net"])
def test_what_is_no_metric_is_told_with_the_same_names(line: str) -> None:
    with pytest.raises(UsageError, match=r"cpu.*memory"):
        parse(catalog(), "/kvm", line)


def test_a_pool_that_several_hosts_have_of_their_own_is_asked_about() -> None:
    seen = draw_cluster("host-a 4cpu 8G | web-1 1G\nhost-b 4cpu 8G")
    pool = Pool("local", "dir", "/srv", active=True, autostart=True, capacity=1)
    own = replace(seen, hosts=tuple(replace(each, pools=(pool,)) for each in seen.hosts))
    with pytest.raises(AmbiguousNameError) as asked:
        _entity("local", own)
    assert "`/kvm chart host-a/local` or `/kvm chart host-b/local`" in str(asked.value.advice)
    assert _entity("host-b/local", own) == pool_entity("host-b", "local")
    shared = replace(
        own, hosts=tuple(replace(each, pools=(replace(pool, shared=True),)) for each in own.hosts)
    )
    assert _entity("local", shared) == pool_entity("host-a", "local")
