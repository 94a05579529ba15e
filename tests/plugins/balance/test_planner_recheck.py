"""A plan under way is asked about again before each step: what went wrong or pointless is skipped, the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain import placement
from bot.domain.card import Checklist, Mark
from bot.domain.cluster import GIB, Job
from bot.domain.operation import State, StepBegan, StepSkipped
from bot.domain.plan import Plan
from bot.domain.steps import MigrateVm
from bot.flow.operations import effect
from bot.plugin_api import Rechecked, Underway
from bot.testing import Ending, draw_cluster, uuid_of
from bot.testing.sampler import FakeSampler
from plugins.balance import drain, planner, recheck
from plugins.balance.intents import Balance, Drain
from plugins.balance.settings import BalanceSettings
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.examples import examples

SETTINGS = BalanceSettings()
UNEVEN = """
host-a 8cpu 32G | v1 4G load 1 dirty 1M | v2 4G load 1 dirty 1M | v3 4G load 1 dirty 1M | v4 4G load 1 dirty 1M
host-b 8cpu 32G
"""
DRAINED = """
host-a 8cpu 32G | a1 4G load 1 dirty 1M | a2 4G load 1 dirty 1M | a3 4G load 1 dirty 1M
host-b 8cpu 32G
host-c 8cpu 32G
"""


def planned(cluster: str = UNEVEN) -> Plan:
    found = planner.plan(SETTINGS, Balance(), draw_cluster(cluster), ())
    assert isinstance(found, Plan)
    return found


def judged(found: Plan, now: str, *turn: int) -> Rechecked:
    left = tuple(range(len(found.steps)))
    return recheck.still_pays(
        SETTINGS, Balance(), Underway(found, frozenset(), left, turn or (0,)), draw_cluster(now), ()
    )


def movers(found: Plan) -> list[str]:
    return [step.name for step in found.steps if isinstance(step, MigrateVm)]


def test_what_still_holds_goes_on() -> None:
    found = planned()
    assert len(found.steps) == 2
    assert judged(found, UNEVEN) == Rechecked()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("off", "gone"),
        ("load 1 dirty 1M [pin=here]", "fixed"),
        ("load 1 dirty 1M autostart", "changed"),
    ],
)
def test_a_move_that_is_not_legal_any_more_is_skipped_in_its_turn_and_not_before(
    change: str, code: str
) -> None:
    found = planned()
    first = movers(found)[0]
    now = UNEVEN.replace(f"{first} 4G load 1 dirty 1M", f"{first} 4G {change}")
    verdict = judged(found, now)
    assert verdict.enough is None
    assert {index: why.code for index, why in verdict.skip.items()} == {0: code}
    assert judged(found, now, 1) == Rechecked()


def test_a_vm_that_somebody_moved_is_skipped() -> None:
    found = planned()
    gone = movers(found)[1]
    now = (
        UNEVEN.replace(f" | {gone} 4G load 1 dirty 1M", "")
        + f"host-c 8cpu 32G | {gone} 4G load 1\n"
    )
    assert [why.code for why in judged(found, now, 1).skip.values()] == ["moved"]


def test_all_of_the_rest_is_left_when_it_no_longer_pays() -> None:
    now = UNEVEN.replace(
        "host-b 8cpu 32G", "host-b 8cpu 32G | w1 4G load 1 | w2 4G load 1 | w3 4G load 1"
    )
    verdict = judged(planned(), now)
    assert verdict.enough is not None
    assert verdict.enough.code == "enough"


def test_one_move_that_brings_nothing_is_skipped_and_the_others_are_not() -> None:
    found = planned("""
    host-a 8cpu 64G | v1 2G load 3 | v2 2G load 2 | v3 2G load 1
    host-b 8cpu 64G
    host-c 8cpu 64G
    """)
    first, *_ = movers(found)
    last = len(found.steps) - 1
    assert last == 1
    calm = {"v1": "3", "v2": "2", "v3": "1"}
    calm[movers(found)[last]] = "0"
    guests = " | ".join(f"{name} 2G load {load}" for name, load in calm.items())
    now = f"host-a 8cpu 64G | {guests}\nhost-b 8cpu 64G\nhost-c 8cpu 64G | w 2G load 1"
    assert first != movers(found)[last]
    assert [why.code for why in judged(found, now, 0, last).skip.values()] == ["pointless"]


def test_evenness_is_the_score_and_the_busiest_and_idlest_host_in_service() -> None:
    even = recheck.evenness(
        SETTINGS, draw_cluster(UNEVEN + "host-c 8cpu 32G maintenance | x 4G load 8")
    )
    assert (even.busiest, even.idlest) == (0.5, 0.0)
    assert even.unevenness == pytest.approx(0.25 + 0.25)


# --- the whole line
# ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, UNEVEN, ("migrate", "balance"))
    yield made
    made.store.close()


@pytest.fixture
def drained(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, DRAINED, ("migrate", "balance"))
    yield made
    made.store.close()


def approved(bot: Bot, line: str) -> None:
    bot.types(line)
    bot.clicks("op.approve", bot.value(), "UBRUNO")


def kinds(bot: Bot, kind: type[StepBegan | StepSkipped]) -> list[int]:
    return [event.index for event in bot.store.events("op-1") if isinstance(event, kind)]


def marks(bot: Bot) -> list[Mark]:
    (found,) = (each for each in bot.shown().elements if isinstance(each, Checklist))
    return [mark for mark, _ in found.items]


def test_a_vm_shut_off_while_another_moves_is_skipped_with_its_reason_shown_and_kept(
    bot: Bot,
) -> None:
    approved(bot, "balance")
    first, second = movers(bot.operation().plan)

    def during(step: MigrateVm, job: Job) -> None:
        bot.hypervisor.kill(uuid_of(second))

    bot.hypervisor.during = during
    bot.works()
    operation = bot.operation()
    assert operation.state is State.DONE
    assert (bot.where(first), bot.where(second)) == (["host-b"], [])
    assert (kinds(bot, StepBegan), kinds(bot, StepSkipped)) == ([0], [1])
    assert marks(bot) == [Mark.DONE, Mark.SKIPPED]
    assert f"1 of 2 steps was skipped: {second} does not run" in text(bot.shown())
    assert f"step 2 skipped: {second} does not run" in text(bot.types("audit op-1"))


def test_a_balance_stops_early_when_the_rest_no_longer_pays(bot: Bot) -> None:
    approved(bot, "balance")
    first, second = movers(bot.operation().plan)
    like = bot.hypervisor.snapshot().vm(second)

    def during(step: MigrateVm, job: Job) -> None:
        bot.hypervisor.put(replace(like, uuid=uuid_of("new"), name="new", host="host-b"))

    bot.hypervisor.during = during
    bot.works()
    assert bot.operation().state is State.DONE
    assert (bot.where(first), bot.where(second)) == (["host-b"], ["host-a"])
    assert "no longer worthwhile" in text(bot.shown())


def test_a_vm_shut_off_in_the_middle_of_its_own_move_is_no_failure(bot: Bot) -> None:
    approved(bot, "balance")
    first, second = movers(bot.operation().plan)

    def during(step: MigrateVm, job: Job) -> None:
        if step.name == first:
            bot.hypervisor.force_off(step.source, step.uuid)
        bot.hypervisor.end_next(Ending.FAILED if step.name == first else Ending.MOVED, at=0.0)

    bot.hypervisor.during = during
    bot.works()
    operation = bot.operation()
    assert operation.state is State.DONE, operation.outcome
    assert operation.skipped[0].index == 0
    assert bot.where(second) == ["host-b"]
    assert "It had begun" in str(operation.skipped[0].why.text)


def test_a_move_that_fails_while_it_is_still_good_is_a_failure(bot: Bot) -> None:
    approved(bot, "balance")
    bot.hypervisor.end_next(Ending.FAILED)
    bot.works()
    assert bot.operation().state is State.FAILED
    assert kinds(bot, StepSkipped) == []


def test_a_vm_moved_or_shut_off_in_a_drain_is_no_failure(drained: Bot) -> None:
    approved(drained, "host drain host-a")
    drained.hypervisor.kill(uuid_of("a1"))
    order = movers(drained.operation().plan)
    (last,) = [name for name in order if name not in ("a1", order[0])][-1:]

    def during(step: MigrateVm, job: Job) -> None:
        seen = drained.hypervisor.snapshot().vm(last)
        if seen.host == "host-a" and step.name != last:
            drained.hypervisor.kill(seen.uuid)
            drained.hypervisor.put(replace(seen, host="host-c"))

    drained.hypervisor.during = during
    drained.works()
    operation = drained.operation()
    assert operation.state is State.DONE, operation.outcome
    assert {
        str(operation.plan.steps[each.index].title).split()[1] for each in operation.skipped
    } == {"a1", last}
    assert [vm.name for vm in drained.hypervisor.snapshot().on("host-a") if vm.state.active] == []


def test_what_a_balance_brought_is_measured_after_its_hosts_have_calmed_down(bot: Bot) -> None:
    approved(bot, "balance")
    bot.works()
    done = bot.operation()
    assert done.before is not None
    assert done.foretold is not None
    assert (done.before.busiest, done.before.idlest) == (0.5, 0.0)
    assert (done.foretold.busiest, done.foretold.idlest) == (0.25, 0.25)
    assert "50%/0% → foretold 25%/25% → not measured yet" in text(bot.shown())
    sampler = FakeSampler(bot.hypervisor, bot.clock, vms={movers(done.plan)[0]: {"cpu": 2.0}})

    def looked(later: float) -> None:
        bot.clock.turn(later)
        effect.measure(bot.services, bot.hypervisor.snapshot(), sampler.sweep())

    looked(30)
    assert bot.operation().measured is None
    looked(40)
    measured = bot.operation().measured
    assert measured is not None
    assert (measured.busiest, measured.idlest) == (0.375, 0.25)
    assert bot.operation().changed_at == done.changed_at
    assert "measured 38%/25%" in text(bot.shown())
    assert "measured 38%/25%" in text(next(reversed(bot.chat.messages.values())))
    assert "measured at" in text(bot.types("audit op-1"))
    version = bot.operation().version
    looked(60)
    assert bot.operation().version == version


def test_nothing_is_measured_while_vms_move_or_after_too_long(bot: Bot) -> None:
    approved(bot, "balance")
    bot.works()
    sampler = FakeSampler(bot.hypervisor, bot.clock)
    bot.clock.turn(100)
    bot.types(f"migrate {movers(bot.operation().plan)[0]} to host-a")
    bot.clicks("op.approve", bot.value(2), "UBRUNO")
    effect.measure(bot.services, bot.hypervisor.snapshot(), sampler.sweep())
    assert bot.operation().measured is None
    bot.works()
    bot.clock.turn(3600)
    effect.measure(bot.services, bot.hypervisor.snapshot(), sampler.sweep())
    assert bot.operation().measured is None


CHANGES = ("off", "moved", "busy", "full")


@settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    loads=st.lists(st.sampled_from([0.2, 0.5, 1.0, 2.0]), min_size=3, max_size=7),
    changes=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(CHANGES)), max_size=4),
    line=st.sampled_from(["balance --min-gain 0.0001", "host drain host-a"]),
)
def test_whatever_happens_meanwhile_it_ends_well_and_no_move_was_illegal(
    tmp_path_factory: pytest.TempPathFactory,
    loads: list[float],
    changes: list[tuple[int, str]],
    line: str,
) -> None:
    guests = " | ".join(f"v{number} 4G load {load} dirty 1M" for number, load in enumerate(loads))
    cluster = f"host-a 8cpu 64G | {guests}\nhost-b 8cpu 32G\nhost-c 8cpu 32G"
    bot = small_bot(tmp_path_factory.mktemp("lives"), cluster, ("migrate", "balance"))
    pending = list(changes)

    def during(step: MigrateVm, job: Job) -> None:
        room = bot.hypervisor.snapshot().room(step.target)
        assert room >= 0, (step.title, room)
        while pending:
            number, change = pending.pop()
            _happens(bot, f"v{number % len(loads)}", change, but=step.name)

    bot.hypervisor.during = during
    bot.types(line)
    if not bot.store.operations():
        bot.store.close()
        return
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    operation = bot.operation()
    assert operation.state is State.DONE, operation.outcome
    assert len(operation.ended) + len(operation.skipped) == len(operation.plan.steps)
    assert all(len(bot.where(f"v{number}")) <= 1 for number in range(len(loads)))
    bot.store.close()


def _happens(bot: Bot, name: str, change: str, but: str) -> None:
    """Something that people do to a guest that is not under way."""
    vm = bot.hypervisor.snapshot().vm(name)
    if name == but or not vm.state.active:
        return
    if change in ("off", "moved"):
        bot.hypervisor.kill(vm.uuid)
    if change == "moved":
        bot.hypervisor.put(replace(vm, host="host-c" if vm.host == "host-b" else "host-b"))
    if change == "busy":
        bot.hypervisor.kill(vm.uuid)
        bot.hypervisor.put(replace(vm, cpu=4.0))
    if change == "full":
        room = max(0, bot.hypervisor.snapshot().room("host-c") - 8 * GIB)
        bot.hypervisor.put(
            replace(vm, uuid=uuid_of("new"), name="new", host="host-c", memory=room, cpu=0.0)
        )


def test_moves_under_way_count_as_arrived() -> None:
    seen = draw_cluster("host-a 8cpu 8G | v1 4G load 1\nhost-b 8cpu 8G")
    there = placement.with_moves(seen, {uuid_of("v1"): "host-b"})
    assert [(vm.name, vm.host) for vm in there.vms] == [("v1", "host-b")]
    both = replace(seen, vms=(*seen.vms, replace(seen.vms[0], host="host-b")))
    assert placement.with_moves(both, {uuid_of("v1"): "host-b"}).vms == there.vms


def test_a_drain_skips_whom_it_cannot_move_any_more_and_says_so() -> None:
    found = drain.drain(SETTINGS, Drain("host-a"), draw_cluster(DRAINED), ())
    assert isinstance(found, Plan)
    index, step = next((i, s) for i, s in enumerate(found.steps) if isinstance(s, MigrateVm))
    full = DRAINED.replace(f"{step.target} 8cpu 32G", f"{step.target} 8cpu 32G | new 31G")
    left = tuple(range(index, len(found.steps)))
    underway = Underway(found, frozenset({0}), left, (index,))
    verdict = drain.next_leaves(SETTINGS, Drain("host-a"), underway, draw_cluster(full), ())
    assert [(each, why.code) for each, why in verdict.skip.items()] == [(index, "memory")]
