"""Of every plan on every snapshot: legal in its turn, blind to order, spoiled by no odd VM, calm in the band."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import placement
from bot.domain.cluster import GIB, Health, Host, Inbound, Snapshot, Vm, VmState
from bot.domain.plan import Objection, Plan, Refused
from bot.domain.steps import MigrateVm
from plugins.balance import drain, planner
from plugins.balance.intents import Balance, Drain, Undrain
from plugins.balance.settings import BalanceSettings
from tests.examples import examples

SETTINGS = BalanceSettings()
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
TAGS: tuple[dict[str, str], ...] = ({}, {}, {}, {}, {"pin": "here"}, {"pin": "h0"}, {"balance": "off"}, {"apart": "x"}, {"apart": "y"},
        {"together": "z"})  # fmt: skip
STATES = (VmState.RUNNING,) * 8 + (VmState.PAUSED, VmState.SHUT_OFF, VmState.CRASHED)


@st.composite
def hosts(draw: st.DrawFn) -> tuple[Host, ...]:
    return tuple(
        Host(
            name=f"h{number}",
            health=draw(st.sampled_from([Health.UP] * 6 + [Health.UNREACHABLE, Health.STALE])),
            cpus=draw(st.sampled_from([0, 4, 8, 8, 8])),
            memory=draw(st.sampled_from([16, 32, 32])) * GIB,
            reserve=draw(st.sampled_from([0, 2, 20])) * GIB,
            maintenance=draw(st.sampled_from([False] * 5 + [True])),
        )
        for number in range(draw(st.integers(1, 5)))
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Small clusters, often tight, often with something odd in them."""
    boxes = draw(hosts())
    names = [box.name for box in boxes]
    favoured = names[: max(1, len(names) // 2)] + names
    vms = tuple(
        Vm(
            uuid=f"u{number}",
            name=f"v{draw(st.sampled_from([number, number, number, 0]))}",
            host=draw(st.sampled_from(favoured)),
            state=draw(st.sampled_from(STATES)),
            vcpus=draw(st.integers(1, 8)),
            memory=draw(st.sampled_from([1, 2, 4, 8])) * GIB,
            cpu=draw(st.sampled_from([None, 0.0, 0.5, 1.0, 2.0, float("nan")])),
            tags=draw(st.sampled_from(TAGS)),
        )
        for number in range(draw(st.integers(0, 14)))
    )
    inbound = tuple(
        Inbound(vm.uuid, vm.host, draw(st.sampled_from(names)), vm.memory, "op-1")
        for vm in vms
        if vm.state.active and draw(st.integers(0, 12)) == 0
    )
    return Snapshot(NOW, boxes, vms, inbound)


def picky(seed: int) -> placement.Rule:
    """Another plugin's rule that forbids some placements, always the same ones."""

    def rule(seen: Snapshot, vm: Vm, host: str) -> Objection | None:
        bad = vm.host != host and sum(map(ord, f"{seed}{vm.uuid}{host}")) % 4 == 0
        return Objection("picky", f"not on {host}", "elsewhere") if bad else None

    return rule


def steps(found: Plan | Refused) -> tuple[MigrateVm, ...]:
    return (
        ()
        if isinstance(found, Refused)
        else tuple(each for each in found.steps if isinstance(each, MigrateVm))
    )


def wrong(
    seen: Snapshot, found: Plan | Refused, rule: placement.Rule, resting: tuple[str, ...] = ()
) -> list[str]:
    """Everything that is not legal about a plan, by the rules that chat's own migrations obey."""
    broken: list[str] = []
    for step in steps(found):
        vm = next(
            (each for each in seen.vms if each.uuid == step.uuid and each.host == step.source), None
        )
        if vm is None:
            broken.append(f"{step.name} is not on {step.source}")
            continue
        objections = placement.objections(seen, vm, step.target, (*placement.CORE_RULES, rule))
        broken += [str(each.text) for each in objections]
        apart = vm.tags.get("apart")
        mates = [
            each
            for each in seen.on(step.target)
            if each.state.active and apart and each.tags.get("apart") == apart
        ]
        broken += [f"{mate.name} is there" for mate in mates]
        fixed = vm.tags.get("pin") == "here" or any(
            move.vm_uuid == vm.uuid for move in seen.inbound
        )
        broken += (
            [f"{vm.name} does not move"]
            if fixed or vm.uuid in resting or not vm.state.active
            else []
        )
        broken += ["pinned elsewhere"] if vm.tags.get("pin") == "h0" != step.target else []
        vms = tuple(replace(vm, host=step.target) if each is vm else each for each in seen.vms)
        seen = replace(seen, vms=vms)
    return broken


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.integers(0, 9), st.sets(st.integers(0, 13), max_size=3))
def test_no_plan_breaks_a_rule_at_any_step(seen: Snapshot, seed: int, rested: set[int]) -> None:
    recent = tuple((f"u{number}", NOW) for number in sorted(rested))
    found = planner.plan(SETTINGS, Balance(recent=recent), seen, (picky(seed),))
    assert wrong(seen, found, picky(seed), tuple(uuid for uuid, _ in recent)) == []


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.integers(0, 9))
def test_a_plan_holds_on_the_very_snapshot_it_was_made_for(seen: Snapshot, seed: int) -> None:
    rules = (picky(seed),)
    found = planner.plan(SETTINGS, Balance(), seen, rules)
    assert (
        isinstance(found, Refused)
        or planner.still_good(SETTINGS, Balance(), found, seen, rules) == ()
    )


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_hosts_and_vms_does_not_matter(seen: Snapshot, rnd: random.Random) -> None:
    boxes, vms = list(seen.hosts), list(seen.vms)
    rnd.shuffle(boxes)
    rnd.shuffle(vms)
    other = replace(seen, hosts=tuple(boxes), vms=tuple(vms))
    rules = (picky(1),)
    assert steps(planner.plan(SETTINGS, Balance(), seen, rules)) == steps(
        planner.plan(SETTINGS, Balance(), other, rules)
    )


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.sampled_from(["pin", "off", "moving", "rule", "dark", "lost"]))
def test_one_odd_vm_never_spoils_the_plan_for_the_others(seen: Snapshot, how: str) -> None:
    heavy = [
        replace(vm, tags={}, cpu=1.0, state=VmState.RUNNING, memory=GIB, vcpus=1) for vm in seen.vms
    ]
    strong = Host("big", Health.UP, cpus=64, memory=512 * GIB)
    busy = [Vm(f"w{n}", f"w{n}", "big", VmState.RUNNING, 1, 4 * GIB, cpu=4.0) for n in range(6)]
    spare = Host("spare", Health.UP, cpus=64, memory=512 * GIB)
    odd = Vm("odd", "odd", "big", VmState.RUNNING, 1, 4 * GIB, cpu=4.0)
    changes = {
        "pin": replace(odd, tags={"pin": "here"}),
        "off": replace(odd, tags={"balance": "off"}),
        "dark": replace(odd, cpu=None),
        "lost": replace(odd, host="gone"),
    }
    gone = Host("gone", Health.UNREACHABLE)
    inbound = (Inbound("odd", "big", "spare", 0, "op-1"),) if how == "moving" else ()
    everyone = (*heavy, *busy, changes.get(how, odd))
    cluster = Snapshot(NOW, (*seen.hosts, strong, spare, gone), everyone, inbound)

    def rule(_: Snapshot, vm: Vm, host: str) -> Objection | None:
        return (
            Objection("odd", "odd", "")
            if vm.name == "odd" and how == "rule" and host != vm.host
            else None
        )

    found = planner.plan(SETTINGS, Balance(), cluster, (rule,))
    assert {step.name for step in steps(found)} & {each.name for each in busy}
    assert wrong(cluster, found, rule) == []


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.integers(0, 9))
def test_inside_the_band_only_what_is_wrong_is_mended(seen: Snapshot, seed: int) -> None:
    wide = BalanceSettings(band=10.0)
    found = planner.plan(wide, Balance(), seen, (picky(seed),))
    causes = {each.code for each in found.reasons[1:]} if isinstance(found, Plan) else set()
    assert causes <= {"maintenance", "affinity", "host_at_risk"}


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.integers(0, 9))
def test_a_drain_moves_only_vms_of_its_host_and_names_every_other_one(
    seen: Snapshot, seed: int
) -> None:
    found = drain.drain(SETTINGS, Drain("h0"), seen, (picky(seed),))
    host = seen.host("h0")
    resting = replace(
        seen, hosts=tuple(replace(h, maintenance=h.maintenance or h is host) for h in seen.hosts)
    )
    assert wrong(resting, found, picky(seed)) == []
    assert {step.source for step in steps(found)} <= {"h0"}
    if isinstance(found, Plan) and host.cpus:
        there = {vm.name for vm in seen.on("h0") if vm.state.active}
        told = {
            each.code.removeprefix("stuck:")
            for each in found.warnings
            if each.code.startswith("stuck:")
        }
        assert there == {step.name for step in steps(found)} | told
        assert drain.still_drains(SETTINGS, Drain("h0"), found, seen, (picky(seed),)) == ()


@settings(deadline=None, max_examples=examples(40))
@given(snapshots(), st.integers(0, 9))
def test_undrain_brings_home_only_whom_it_may(seen: Snapshot, seed: int) -> None:
    wish = Undrain("h0", tuple(vm.uuid for vm in seen.vms[::2]))
    found = drain.undrain(SETTINGS, wish, seen, (picky(seed),))
    back = replace(
        seen,
        hosts=tuple(replace(h, maintenance=h.maintenance and h.name != "h0") for h in seen.hosts),
    )
    assert wrong(back, found, picky(seed)) == []
    assert {(step.target, step.uuid in wish.home) for step in steps(found)} <= {("h0", True)}
