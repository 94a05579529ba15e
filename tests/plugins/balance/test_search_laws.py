"""What holds for every plan on every cluster: judged by replaying it with rules written a second time, here."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.clusters.generate import generate
from bench.clusters.judge import judge
from plugins.balance.cluster_file import problem_from
from plugins.balance.solver.explain import explain, hard_reasons
from plugins.balance.solver.model import (
    NO_GROUP,
    Cause,
    Problem,
    Score,
    SearchLimits,
    Solution,
    WhyNot,
)
from plugins.balance.solver.n_plus_one import NOWHERE, SpareCapacity
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.score import score_of
from plugins.balance.solver.search import solve
from plugins.balance.solver.sequencing import hosts_after
from tests.examples import examples

LEGAL = {WhyNot.WORTHWHILE, WhyNot.TOO_LITTLE_GAIN, WhyNot.CALM}
SOFT = {WhyNot.SPARE, WhyNot.CALM, WhyNot.TOO_LITTLE_GAIN, WhyNot.WORTHWHILE}


@st.composite
def problems(draw: st.DrawFn, *, odd: bool = True) -> Problem:
    """Small clusters, often tight and often broken from the start."""
    hosts, vms = draw(st.integers(1, 6)), draw(st.integers(0, 26))
    rnd = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    memory = rnd.choice([16.0, 24.0, 48.0], hosts)
    mem = rnd.choice([0.5, 1.0, 2.0, 4.0, 8.0], vms)
    anywhere = draw(st.booleans()) or not odd
    return Problem(
        host_names=tuple(f"h{i}" for i in range(hosts)),
        cores=rnd.choice([4.0, 8.0], hosts),
        memory=memory,
        usable_memory=memory - 2.0,
        vcpu_limit=rnd.choice([16.0, 32.0], hosts),
        drained=rnd.random(hosts) < draw(st.sampled_from([0.0, 0.2])),
        vm_names=tuple(f"vm{i}" for i in range(vms)),
        vm_memory=mem,
        vcpus=rnd.integers(1, 4, vms).astype(np.float64),
        cpu=rnd.exponential(0.5, vms),
        host=rnd.integers(0, max(1, round(hosts * draw(st.sampled_from([0.5, 1.0])))), vms).astype(
            np.intp
        ),
        anti_affinity=np.where(rnd.random(vms) < 0.3, rnd.integers(0, 4, vms), NO_GROUP).astype(
            np.intp
        ),
        affinity=np.where(
            rnd.random(vms) < (0.15 if odd else 0), rnd.integers(0, 3, vms), NO_GROUP
        ).astype(np.intp),
        fixed=tuple("pinned" if odd and rnd.random() < 0.1 else "" for _ in range(vms)),
        transfer=mem * rnd.choice([1.0, 1.5], vms),
        allowed=None if anywhere else rnd.random((vms, hosts)) < 0.7,
        domain=rnd.integers(-1, 3, hosts).astype(np.intp) if odd and draw(st.booleans()) else None,
        domain_hard=draw(st.booleans()),
        n_plus_one=odd and draw(st.booleans()),
    )


def spread(problem: Problem, host: list[int], vm: int, to: int) -> bool:
    """Does the domain of this host hold no more of the VM's group than its even share, or no more than before?"""
    zone, group = problem.domain, problem.anti_affinity[vm]
    if zone is None or group == NO_GROUP or zone[to] in (NO_GROUP, zone[host[vm]]):
        return True
    mates = [at for other, at in enumerate(host) if problem.anti_affinity[other] == group]
    domains = {int(zone[at]) for at in np.flatnonzero(~problem.drained)} - {NO_GROUP}
    inside = sum(bool(zone[at] == zone[to]) for at in mates)
    return inside < math.ceil(len(mates) / max(1, len(domains)))


def outlived(problem: Problem, host: list[int], lost: int, among: list[int] | None = None) -> bool:
    """Is there any way to start the VMs of a lost host on the others, by memory and vCPUs alone? Tries all of them."""
    left = (
        [vm for vm, at in enumerate(host) if at == lost and problem.fixed[vm] != "pinned"]
        if among is None
        else among
    )
    if not left:
        return True
    vm = max(left, key=lambda each: (problem.vm_memory[each], each))
    rest, targets = [each for each in left if each != vm], []
    for to in np.flatnonzero(~problem.drained).tolist():
        on = [each for each, at in enumerate(host) if at == to]
        room = problem.usable_memory[to] - problem.vm_memory[on].sum()
        if (
            to != lost
            and room >= problem.vm_memory[vm]
            and problem.vcpu_limit[to] - problem.vcpus[on].sum() >= problem.vcpus[vm]
        ):
            targets.append((room, to))
    moved = [[*host[:vm], to, *host[vm + 1 :]] for _, to in sorted(targets)]
    return any(outlived(problem, each, lost, rest) for each in moved)


def broken_rules(problem: Problem, result: Solution) -> list[str]:
    host, broken = problem.host.tolist(), []
    for move in result.moves:
        vm, to = move.vm, move.target
        there = [other for other, at in enumerate(host) if at == to and other != vm]
        checks = {
            "source": move.source == host[vm],
            "elsewhere": to != host[vm],
            "drained": not problem.drained[to],
            "fixed": not problem.fixed[vm],
            "allowed": problem.allowed is None or problem.allowed[vm, to],
            "memory": sum(problem.vm_memory[other] for other in there) + problem.vm_memory[vm]
            <= problem.usable_memory[to],
            "vcpus": sum(problem.vcpus[other] for other in there) + problem.vcpus[vm]
            <= problem.vcpu_limit[to],
            "domain": not problem.domain_hard or spread(problem, host, vm, to),
            "apart": problem.anti_affinity[vm] == NO_GROUP
            or all(problem.anti_affinity[o] != problem.anti_affinity[vm] for o in there),
        }
        broken += [f"{problem.vm_names[vm]}: {rule}" for rule, holds in checks.items() if not holds]
        host[vm] = to
    return broken


def moves_by_name(problem: Problem, result: Solution) -> list[tuple[str, str, str, str]]:
    hosts = problem.host_names
    return [
        (problem.vm_names[m.vm], hosts[m.source], hosts[m.target], m.cause.value)
        for m in result.moves
    ]


@settings(deadline=None, max_examples=examples(200))
@given(problems())
def test_no_plan_breaks_a_rule_at_any_step(problem: Problem) -> None:
    assert broken_rules(problem, solve(problem)) == []


@settings(deadline=None, max_examples=examples(100))
@given(problems())
def test_no_plan_for_evenness_puts_a_host_at_risk_that_was_not(problem: Problem) -> None:
    problem = replace(problem, n_plus_one=True)
    at_first = SpareCapacity(Placement(problem)).at_risk().tolist()
    host = problem.host.tolist()
    for move in solve(problem, SearchLimits(band=0.0)).moves:
        if move.cause not in (Cause.CPU, Cause.MEMORY):
            return  # what mends a fault goes before
        host[move.vm] = move.target
        if not at_first:
            assert all(
                outlived(problem, host, lost) for lost in np.flatnonzero(~problem.drained).tolist()
            )


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.randoms(use_true_random=False))
def test_the_shelters_that_are_kept_move_by_move_hold_everyone(
    problem: Problem, rnd: random.Random
) -> None:
    spare = SpareCapacity(Placement(problem))
    hosts = np.flatnonzero(~problem.drained).tolist()
    for _ in range(12 if hosts and problem.vm_names else 0):
        vm, to = rnd.randrange(len(problem.vm_names)), rnd.choice(hosts)
        if not spare.where.legal_targets(vm)[to]:
            continue
        before = (
            spare.where.host.copy(),
            spare.left.copy(),
            len(spare.at_risk()),
            spare.stranded.sum(),
        )
        if spare.allows(vm, to, needed=rnd.random() < 0.3, make=rnd.random() < 0.8):
            continue
        assert (spare.where.host == before[0]).all()
        np.testing.assert_allclose(spare.left, before[1])
    where = spare.where
    for lost in hosts:
        guests = [vm for vm in np.flatnonzero(where.host == lost) if not spare.bound[vm]]
        kept = [vm for vm in guests if spare.shelter[vm] != NOWHERE]
        gone = sum(problem.vm_memory[vm] for vm in guests if spare.shelter[vm] == NOWHERE)
        assert gone == pytest.approx(spare.stranded[lost])
        assert all(problem.allowed is None or problem.allowed[vm, spare.shelter[vm]] for vm in kept)
        for host in set(hosts) - {lost}:
            new = [vm for vm in kept if spare.shelter[vm] == host]
            assert (
                not new
                or where.load[host, 1] + problem.vm_memory[new].sum()
                <= problem.usable_memory[host] + 1e-9
            )
            assert (
                not new
                or where.vcpus[host] + problem.vcpus[new].sum() <= problem.vcpu_limit[host] + 1e-9
            )


@settings(deadline=None, max_examples=examples(200))
@given(problems())
def test_a_plan_lowers_the_score_by_the_sum_of_its_gains(problem: Problem) -> None:
    result = solve(problem, SearchLimits(band=0.0))
    after = score_of(problem, hosts_after(problem, result.moves))
    assert after == result.after
    assert result.after.total < result.before.total or not result.moves
    # The root of a variance that cancels to nothing is good to about 1e-8.
    assert sum(move.gain for move in result.moves) == pytest.approx(
        result.before.total - after.total, abs=1e-6
    )


@settings(deadline=None, max_examples=examples(200))
@given(problems(), st.sampled_from([0.0, 0.05, 0.2]), st.sampled_from([0.01, 0.03, 0.2]))
def test_planning_again_after_applying_finds_nothing(
    problem: Problem, band: float, per_move: float
) -> None:
    limits = SearchLimits(band=band, per_move=per_move)
    result = solve(problem, limits)
    assert not result.capped
    assert not result.cut_short
    assert solve(problem.place(hosts_after(problem, result.moves)), limits).moves == ()


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.floats(0.0, 0.5))
def test_a_faultless_cluster_inside_the_band_is_left_alone(problem: Problem, slack: float) -> None:
    mended = problem.place(hosts_after(problem, solve(problem).moves))
    before = score_of(mended, mended.host)
    result = solve(mended, SearchLimits(band=before.balance + slack, per_move=1e-4))
    assert before.faults or result.moves == ()


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_hosts_and_vms_does_not_matter(problem: Problem, rnd: random.Random) -> None:
    hosts, vms = list(range(len(problem.host_names))), list(range(len(problem.vm_names)))
    rnd.shuffle(hosts)
    rnd.shuffle(vms)
    other = problem.reorder(np.array(hosts, dtype=np.intp), np.array(vms, dtype=np.intp))
    assert moves_by_name(other, solve(other)) == moves_by_name(problem, solve(problem))


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.integers(0, 6), st.floats(0.0, 40.0))
def test_limits_on_moves_and_gib_are_hard(problem: Problem, moves: int, gib: float) -> None:
    result = solve(problem, SearchLimits(max_moves=moves, max_gib=gib))
    assert len(result.moves) <= moves
    assert sum(problem.transfer[move.vm] for move in result.moves) <= gib
    assert broken_rules(problem, result) == []


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.data())
def test_one_odd_vm_never_spoils_the_plan(problem: Problem, data: st.DataObject) -> None:
    if not problem.vm_names:
        return
    odd = data.draw(st.integers(0, len(problem.vm_names) - 1))
    fixed = tuple("passthrough" if vm == odd else why for vm, why in enumerate(problem.fixed))
    result = solve(replace(problem, fixed=fixed))
    assert odd not in {move.vm for move in result.moves}
    assert result.after.total <= result.before.total
    assert not set(explain(replace(problem, fixed=fixed), odd)) & LEGAL


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.data())
def test_why_not_agrees_with_the_rules(problem: Problem, data: st.DataObject) -> None:
    if not problem.vm_names:
        return
    vm = data.draw(st.integers(0, len(problem.vm_names) - 1))
    nobody = np.full(len(problem.vm_names), NO_GROUP, dtype=np.intp)
    loose = replace(problem, affinity=nobody, n_plus_one=False, domain_hard=True)
    for target, why in enumerate(explain(loose, vm)):
        move = replace_target(loose, vm, target)
        assert (why in LEGAL) == (broken_rules(loose, move) == [])


@settings(deadline=None, max_examples=examples(100))
@given(problems(), st.data())
def test_what_forbids_a_move_is_what_explains_it(problem: Problem, data: st.DataObject) -> None:
    """The quick look, at a placement that has changed, says what the whole explanation does."""
    if not problem.vm_names:
        return
    where = Placement(problem)
    vms, hosts = range(len(problem.vm_names)), range(len(problem.host_names))
    for _ in range(data.draw(st.integers(0, 3))):
        where.move(data.draw(st.sampled_from(vms)), data.draw(st.sampled_from(hosts)))
    vm = data.draw(st.sampled_from(vms))
    whole = explain(problem.place(where.host), vm)
    for quick, full in zip(hard_reasons(where, vm), whole, strict=True):
        assert full in SOFT if quick is None else full is quick


def replace_target(problem: Problem, vm: int, target: int) -> Solution:
    from plugins.balance.solver.model import Move

    move = Move(vm, int(problem.host[vm]), target, Cause.CPU, 0.0)
    return Solution((move,), Score(0.0, 0.0), Score(0.0, 0.0))


@settings(deadline=None, max_examples=examples(30))
@given(
    hosts=st.integers(3, 9), vms=st.integers(20, 90), seed=st.integers(1, 10**6), het=st.booleans()
)
def test_the_neutral_judge_finds_every_generated_plan_legal_and_better(
    hosts: int, vms: int, seed: int, *, het: bool
) -> None:
    try:
        cluster = generate(hosts, vms, seed=seed, het=het, drain=1)
    except (SystemExit, StopIteration):
        return  # the generator found no such cluster; there is nothing to plan
    problem = problem_from(cluster)
    result = solve(problem)
    plan = [(problem.vm_names[move.vm], problem.host_names[move.target]) for move in result.moves]
    verdict = judge(cluster, plan)
    assert verdict["illegal"] == []
    assert verdict["after"]["score"] <= verdict["before"]["score"]
    assert verdict["after"]["score"] == pytest.approx(result.after.total, abs=1e-9)
