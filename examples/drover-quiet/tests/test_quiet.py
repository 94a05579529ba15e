"""The plugin's pure functions, on clusters drawn as text. Run with Drover on the path."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drover_quiet.action import Rest, plan
from drover_quiet.query import Quiet, answer
from drover_quiet.rule import same_rack
from drover_quiet.watch import look

from bot.domain.message import nwords
from bot.domain.metrics import Sweep, VmSample
from bot.domain.plan import Plan, Refused
from bot.domain.steps import SetMaintenance
from bot.plugin_api import Measured, View, WatchView
from bot.testing import draw_cluster

CLUSTER = draw_cluster("""
    host-a 16cpu 64G [rack=r1] | web-1 4G load 0.01 [rack=r1] | db-1 8G 2cpu load 1.9
    host-b 16cpu 64G [rack=r2]
""")
NOTHING: Any = None


def test_only_idle_vms_are_listed() -> None:
    view = View(CLUSTER, history=NOTHING, rules=(), asker=NOTHING)
    card = answer(Quiet(0.05), view)
    assert card.text == nwords("{n} idle VM", "{n} idle VMs", n=1)
    assert "web-1" in str(card.elements)
    assert "db-1" not in str(card.elements)


def test_a_host_is_put_into_maintenance_once() -> None:
    planned = plan(Rest("host-a"), CLUSTER, ())
    assert isinstance(planned, Plan)
    assert planned.steps == (SetMaintenance("host-a", on=True),)
    resting = draw_cluster("host-a 16cpu 64G maintenance")
    refused = plan(Rest("host-a"), resting, ())
    assert isinstance(refused, Refused)
    assert [each.code for each in refused.objections] == ["already"]


def test_a_vm_stays_in_its_rack() -> None:
    vm = CLUSTER.vm("web-1")
    assert same_rack(CLUSTER, vm, "host-a") is None
    objection = same_rack(CLUSTER, vm, "host-b")
    assert objection is not None
    assert objection.code == "rack"


def test_an_alert_begins_and_ends() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def after(cpu: float, memory: Any) -> Any:
        sample = VmSample("u-db-1", "db-1", "host-a", "running", 2, cpu, 0.0, 1000)
        measured = Measured(Sweep(now, (), (sample,)))
        return look(WatchView(CLUSTER, (), NOTHING, measured, memory, now))

    first = after(1.99, {})
    assert [(each.key, each.over) for each in first.noticed] == [("u-db-1", False)]
    second = after(0.1, first.memory)
    assert [(each.key, each.over) for each in second.noticed] == [("u-db-1", True)]
    assert after(0.1, second.memory).noticed == ()
