"""A VM of which a host tells nonsense stays where it is, with its reason; everything else is planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import placement
from bot.domain.capacity import fits, losses
from bot.domain.cluster import GIB, Snapshot
from bot.domain.plan import Plan
from bot.domain.steps import MigrateVm
from bot.testing import draw_cluster
from plugins.balance import drain, planner, rolling, shares
from plugins.balance.intents import About, Balance, Cap, Drain, Rolling, Shares, Simulate
from plugins.balance.settings import BalanceSettings
from plugins.monitor import planner as monitor
from plugins.monitor.settings import MonitorSettings
from tests.bot.flow.small_bot import text
from tests.examples import examples

SETTINGS = BalanceSettings()
HOSTS = """
host-a 8cpu 32G | v1 4G load 1 | v2 4G load 1 | v3 4G load 1 | v4 4G load 1 | v5 4G load 1 | odd 4G load 1
host-b 8cpu 32G | w1 4G
host-c 8cpu 32G
"""
NONSENSE: st.SearchStrategy[Any] = st.one_of(
    st.integers(max_value=-1), st.integers(min_value=1 << 63), st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([None, "4G", b"", [], float("nan"), float("inf"), -0.5]),
)  # fmt: skip


def with_odd(**odd: Any) -> Snapshot:
    seen = draw_cluster(HOSTS)
    tagged = (replace(vm, tags={"priority": "gold"}) if vm.name == "v1" else vm for vm in seen.vms)
    return replace(seen, vms=tuple(replace(vm, **odd) if vm.name == "odd" else vm for vm in tagged))


def moved(plan: object) -> list[str]:
    assert isinstance(plan, Plan), plan
    return [step.name for step in plan.steps if isinstance(step, MigrateVm)]


@settings(max_examples=examples(60))
@given(what=st.sampled_from(["memory", "vcpus", "cpu", "memory_max", "dirty_rate"]), value=NONSENSE)
def test_whatever_a_host_tells_of_one_vm_the_cluster_is_planned(what: str, value: Any) -> None:
    seen = with_odd(**{what: value})
    assert isinstance(planner.plan(SETTINGS, Balance(), seen, ()), Plan)
    assert moved(drain.drain(SETTINGS, Drain("host-b"), seen, ())) == ["w1"], (
        "another host is drained"
    )
    assert {"v1", "v2", "v3"} <= set(moved(drain.drain(SETTINGS, Drain("host-a"), seen, ())))
    assert "w1" in moved(rolling.rolling(SETTINGS, Rolling(("host-b",)), seen, ()))
    assert fits(seen, 2, GIB, 4.0).count > 0
    assert len(losses(seen, 4.0)) == 3
    assert planner.why(SETTINGS, About("v1"), seen, ()).text
    assert planner.simulation(SETTINGS, Simulate(Balance(), ("host-c",)), seen, ()).text
    assert isinstance(shares.plan(Shares("host-a"), seen), Plan), "the others' priorities are set"
    shares.limit(Cap("odd", 50), seen)


@pytest.mark.parametrize("load", [17.0, 1e4, 1e16, 1e18, 4e18])
def test_a_load_that_its_host_cannot_carry_counts_as_not_measured(load: float) -> None:
    seen = with_odd(cpu=load)
    assert seen.sound().vm("odd").cpu is None
    found = planner.plan(SETTINGS, Balance(), seen, ())
    idle = planner.plan(SETTINGS, Balance(), with_odd(cpu=None), ())
    assert isinstance(found, Plan)
    assert moved(found) == moved(idle)
    assert "unmeasured" in [each.code for each in found.warnings]
    assert with_odd(cpu=15.9).sound().vm("odd").cpu == 15.9, "a late clock"


def test_it_stays_with_its_reason() -> None:
    seen = with_odd(memory=-5)
    drained = drain.drain(SETTINGS, Drain("host-a"), seen, ())
    assert isinstance(drained, Plan)
    assert "odd" not in moved(drained)
    (warning,) = [each for each in drained.warnings if each.code == "stuck:odd"]
    assert "could not be read completely" in str(warning.text)
    assert "memory -5" in str(warning.text)
    assert "`virsh dumpxml odd`" in str(warning.text)
    balanced = planner.plan(SETTINGS, Balance(), seen, ())
    assert isinstance(balanced, Plan)
    assert any("odd on host-a" in str(each.text) for each in balanced.warnings)
    assert "memory -5" in repr(planner.why(SETTINGS, About("odd"), seen, ()))


def test_a_vm_that_could_not_be_read_is_not_moved_by_hand_either() -> None:
    seen = with_odd(problem="its definition: error 1")
    (found,) = placement.objections(seen, seen.vm("odd"), "host-b", placement.CORE_RULES)
    assert (found.code, "error 1" in str(found.text)) == ("not-readable", True)
    assert placement.objections(seen, seen.vm("odd"), "host-a", placement.CORE_RULES) == ()


def test_fits_tells_whose_size_is_not_known() -> None:
    card = monitor.fits_card(MonitorSettings(), 2, GIB, with_odd(memory=-5))
    assert "odd on host-a" in text(card)
