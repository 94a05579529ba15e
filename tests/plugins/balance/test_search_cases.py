"""What the planner does with clusters that we know the answer for."""

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from bench.clusters.generate import generate
from bench.clusters.judge import judge
from plugins.balance.cluster_file import problem_from
from plugins.balance.solver.explain import explain
from plugins.balance.solver.greedy import Descent
from plugins.balance.solver.model import NO_GROUP, BadProblem, Cause, Problem, SearchLimits, WhyNot
from plugins.balance.solver.neighbourhood import Block, Budget, Scratch
from plugins.balance.solver.placement import Placement
from plugins.balance.solver.search import solve
from plugins.balance.solver.sequencing import hosts_after, sequence, worthwhile_prefix


def cluster(
    host: list[int],
    *,
    hosts: int = 3,
    vm_memory: float | list[float] = 1.0,
    cpu: float | list[float] = 1.0,
) -> Problem:
    """Hosts of 8 cores and 16 GiB (15 usable) and VMs, each on the host whose number is given."""
    vms = len(host)
    size = np.broadcast_to(np.array(vm_memory, dtype=np.float64), (vms,)).copy()
    return Problem(
        host_names=tuple(f"h{i}" for i in range(hosts)),
        cores=np.full(hosts, 8.0),
        memory=np.full(hosts, 16.0),
        usable_memory=np.full(hosts, 15.0),
        vcpu_limit=np.full(hosts, 32.0),
        drained=np.zeros(hosts, dtype=np.bool_),
        vm_names=tuple(f"vm{i}" for i in range(vms)),
        vm_memory=size,
        vcpus=np.ones(vms),
        cpu=np.broadcast_to(np.array(cpu, dtype=np.float64), (vms,)).copy(),
        host=np.array(host, dtype=np.intp),
        anti_affinity=np.full(vms, NO_GROUP, dtype=np.intp),
        affinity=np.full(vms, NO_GROUP, dtype=np.intp),
        fixed=("",) * vms,
        transfer=size,
    )


def drained(problem: Problem, *hosts: int) -> Problem:
    return replace(problem, drained=np.isin(np.arange(len(problem.host_names)), hosts))


def grouped(problem: Problem, field: str, *members: int) -> Problem:
    groups = np.where(np.isin(np.arange(len(problem.vm_names)), members), 0, NO_GROUP).astype(
        np.intp
    )
    changed: dict[str, Any] = {field: groups}
    return replace(problem, **changed)


@pytest.fixture(scope="module")
def medium() -> dict[str, object]:
    return generate(20, 300, seed=1)


def test_within_the_moves_and_gib_of_hbal_the_balance_is_far_better(
    medium: dict[str, object],
) -> None:
    # hbal on this cluster, recorded: 55 moves, 944 GiB, J 0.0936.
    problem = problem_from(medium)
    limits = SearchLimits(max_moves=55, max_gib=944.0, per_move=0.01, per_gib=0.015)
    result = solve(problem, limits)
    verdict = judge(
        medium, [(problem.vm_names[m.vm], problem.host_names[m.target]) for m in result.moves]
    )
    assert verdict["illegal"] == []
    assert verdict["moves"] <= 55
    assert verdict["gib"] <= 944.0
    assert verdict["after"]["stranded"] == verdict["after"]["collisions"] == 0
    assert verdict["after"]["J"] < 0.6 * 0.0936


def test_the_goal_is_reached_with_fewer_moves_and_gib(medium: dict[str, object]) -> None:
    result = solve(problem_from(medium), SearchLimits(goal=0.0936, per_gib=0.015))
    assert result.after.balance <= 0.0936
    assert len(result.moves) < 55
    assert result.gib < 944.0


def test_a_dearer_move_means_fewer_moves(medium: dict[str, object]) -> None:
    problem = problem_from(medium)
    plans = [solve(problem, SearchLimits(per_move=price)) for price in (0.01, 0.3)]
    assert len(plans[0].moves) > len(plans[1].moves)
    assert plans[0].after.balance < plans[1].after.balance


def test_the_same_question_has_the_same_answer(medium: dict[str, object]) -> None:
    problem = problem_from(medium)
    assert solve(problem).moves == solve(problem).moves


def test_hosts_of_different_size_are_compared_by_share() -> None:
    problem = cluster([0] * 2 + [1] * 4, hosts=2)
    bigger = replace(
        problem,
        cores=np.array([8.0, 16.0]),
        memory=np.array([16.0, 32.0]),
        usable_memory=np.array([15.0, 31.0]),
    )
    assert solve(bigger).moves == ()


def test_an_uneven_pair_is_evened_out_for_the_reason_that_shows() -> None:
    by_memory = solve(cluster([0, 0, 0, 0], hosts=2, vm_memory=3.0, cpu=0.0))
    by_cpu = solve(cluster([0, 0, 0, 0], hosts=2, vm_memory=0.125, cpu=1.5))
    assert [move.cause for move in by_memory.moves] == [Cause.MEMORY] * 2
    assert [move.cause for move in by_cpu.moves] == [Cause.CPU] * 2


def test_a_host_beyond_its_cores_or_memory_is_at_risk() -> None:
    busy = solve(cluster([0] * 6, hosts=2, vm_memory=0.125, cpu=1.5))
    full = cluster([0] * 4, hosts=2, vm_memory=4.0, cpu=0.0)
    assert busy.moves[0].cause is Cause.HOST_AT_RISK
    assert solve(full).moves[0].cause is Cause.HOST_AT_RISK
    assert solve(full, SearchLimits(band=10.0)).after.overfull == 0


def test_a_drained_host_is_emptied_even_inside_the_band() -> None:
    result = solve(drained(cluster([0, 0, 1, 1, 2, 2]), 1), SearchLimits(band=10.0))
    assert {move.vm for move in result.moves} == {2, 3}
    assert {move.cause for move in result.moves} == {Cause.MAINTENANCE}
    assert result.after.stranded == 0


def test_what_cannot_leave_a_drained_host_is_named_and_the_rest_leaves() -> None:
    problem = replace(drained(cluster([0, 0, 1, 1]), 1), fixed=("", "", "passthrough", ""))
    result = solve(problem, SearchLimits(band=10.0))
    assert [move.vm for move in result.moves] == [3]
    assert result.stuck == (2,)
    assert set(explain(problem, 2)) == {WhyNot.HERE, WhyNot.FIXED}


def test_a_standing_collision_is_parted_even_inside_the_band() -> None:
    result = solve(
        grouped(cluster([0, 0, 1, 1, 2, 2]), "anti_affinity", 0, 1), SearchLimits(band=10.0)
    )
    assert [move.cause for move in result.moves] == [Cause.AFFINITY]
    assert result.after.collisions == 0


def test_an_affinity_group_leaves_a_drained_host_together() -> None:
    problem = grouped(drained(cluster([0, 1, 1, 2], vm_memory=5.0), 1), "affinity", 1, 2)
    result = solve(problem, SearchLimits(band=10.0))
    assert {move.vm for move in result.moves} == {1, 2}
    assert len({move.target for move in result.moves}) == 1


def test_a_scattered_affinity_group_is_gathered_and_then_held() -> None:
    problem = grouped(cluster([0, 1, 2, 2]), "affinity", 0, 1)
    result = solve(problem, SearchLimits(band=10.0))
    assert [move.cause for move in result.moves] == [Cause.AFFINITY]
    after = problem.place(hosts_after(problem, result.moves))
    assert result.after.separated == 0
    assert set(explain(after, 0)) == {WhyNot.HERE, WhyNot.HELD_TOGETHER}


def test_two_full_hosts_trade_places_by_way_of_a_third() -> None:
    problem = cluster(
        [0, 0, 1, 1, 2], vm_memory=[7.0, 7.0, 7.0, 7.0, 6.0], cpu=[2.0, 2.0, 0.0, 0.0, 1.0]
    )
    wished = np.array([1, 0, 0, 1, 2], dtype=np.intp)
    moves = sequence(problem, wished)
    assert len(moves) == 3
    assert hosts_after(problem, moves).tolist() == wished.tolist()
    assert [move.target for move in moves if move.vm == moves[0].vm] == [
        2,
        int(wished[moves[0].vm]),
    ]


def test_what_cannot_be_ordered_is_left_out() -> None:
    problem = cluster([0, 0, 1, 1], hosts=2, vm_memory=7.0, cpu=[2.0, 2.0, 0.0, 0.0])
    assert sequence(problem, np.array([1, 0, 0, 1], dtype=np.intp)) == ()


def test_swaps_find_what_single_moves_cannot() -> None:
    # No VM fits anywhere alone but through the small gap on h2; CPU is all on h0, memory is level.
    problem = cluster(
        [0, 0, 1, 1, 2], vm_memory=[7.0, 7.0, 7.0, 7.0, 7.0], cpu=[3.0, 3.0, 0.0, 0.0, 1.5]
    )
    result = solve(problem, SearchLimits(per_gib=0.0))
    assert result.after.cpu < 0.5 * result.before.cpu
    assert result.after.balance < result.before.balance


def test_an_exchange_lowers_what_it_minimises_by_at_least_what_it_claims(
    medium: dict[str, object],
) -> None:
    problem = problem_from(medium)
    placement = Placement(problem)
    hosts = np.flatnonzero(~problem.drained)
    vms = np.flatnonzero(~problem.drained[problem.host])
    claims = 0
    for _ in range(10):
        block = Block(placement, hosts, vms, Scratch())
        before = placement.imbalance() + 0.004 * placement.bill()[0]
        claimed = block.improve(np.full(len(vms), 0.004), Budget(np.inf, np.inf))
        block.write(placement)
        assert block.imbalance() == pytest.approx(placement.imbalance())
        assert before - placement.imbalance() - 0.004 * placement.bill()[0] >= claimed - 1e-4
        claims += claimed > 0
    assert claims > 3


def test_a_search_out_of_time_says_so_and_is_still_legal(medium: dict[str, object]) -> None:
    problem = problem_from(medium)
    ticks = count()
    result = solve(problem, SearchLimits(seconds=3.0), clock=lambda: float(next(ticks)))
    assert result.cut_short
    assert (
        judge(
            medium, [(problem.vm_names[m.vm], problem.host_names[m.target]) for m in result.moves]
        )["illegal"]
        == []
    )
    assert result.after.total < result.before.total


def test_a_limit_that_stood_in_the_way_is_reported(medium: dict[str, object]) -> None:
    problem = problem_from(medium)
    assert solve(problem, SearchLimits(max_moves=40)).capped
    assert not solve(problem, SearchLimits(max_moves=300)).capped


def test_why_not_tells_a_small_gain_from_a_large_one() -> None:
    problem = cluster([0, 0, 0, 0, 1], hosts=2, vm_memory=2.0)
    assert explain(problem, 0)[1] is WhyNot.WORTHWHILE
    assert explain(problem, 4)[0] is WhyNot.TOO_LITTLE_GAIN
    assert explain(problem, 0, SearchLimits(band=5.0))[1] is WhyNot.CALM


def test_a_cluster_with_nothing_to_do_or_nowhere_to_go_needs_no_plan() -> None:
    assert solve(cluster([], hosts=2)).moves == ()
    assert solve(drained(cluster([0, 1], hosts=2), 0, 1)).moves == ()
    assert solve(cluster([0, 0, 0], hosts=1)).moves == ()


def test_hundreds_of_vms_are_dealt_to_blocks_that_cover_every_host_once() -> None:
    problem = problem_from(generate(60, 1000, seed=1))
    blocks = Descent(problem, SearchLimits(), Placement(problem), lambda: False).blocks()
    assert len(blocks) == 3
    assert sorted(np.concatenate(blocks).tolist()) == np.flatnonzero(~problem.drained).tolist()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cores": np.array([8.0])}, "one per host"),
        ({"cores": np.zeros(3)}, "above 0"),
        ({"cpu": np.array([np.nan, 1.0])}, "measure again"),
        ({"host": np.array([0, 3])}, "not listed"),
        ({"vm_names": ("a", "a")}, "unique"),
        ({"allowed": np.ones((1, 1), dtype=np.bool_)}, "VMs × hosts"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_to_do(
    change: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadProblem, match=text):
        replace(cluster([0, 1]), **change)


def test_a_price_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="per_move"):
        SearchLimits(per_move=0.0)
    with pytest.raises(ValueError, match="give 0 or more"):
        SearchLimits(max_moves=-1)


def test_a_cluster_file_that_lacks_something_is_refused(medium: dict[str, object]) -> None:
    with pytest.raises(BadProblem, match="vcpu_ratio"):
        problem_from({key: value for key, value in medium.items() if key != "vcpu_ratio"})


def test_each_layer_refuses_by_itself_what_breaks_a_rule() -> None:
    problem = cluster([0, 1, 1], vm_memory=[8.0, 8.0, 1.0])
    assert not Placement(problem).try_all([(0, 1)])
    assert Placement(problem).try_all([(0, 1), (1, 0)])
    assert sequence(drained(problem, 2), np.array([2, 1, 1], dtype=np.intp)) == ()
    walled = replace(problem, allowed=np.array([[True, True, False]] * 3))
    assert sequence(walled, np.array([0, 1, 2], dtype=np.intp)) == ()
    assert not Placement(walled).legal_targets(2)[2]
    assert {move.target for move in solve(walled, SearchLimits(band=0.0)).moves} <= {0, 1}


def test_a_plan_ends_before_the_moves_that_no_longer_pay() -> None:
    problem = cluster([0, 0, 0, 0, 1, 1], hosts=2, vm_memory=2.0)
    moves = sequence(problem, np.array([1, 0, 0, 0, 1, 0], dtype=np.intp))
    assert len(moves) == 2
    assert worthwhile_prefix(moves, 0.01) == moves[:1]
