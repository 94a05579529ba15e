"""CPU inside a host: what tags ask for, one guest's ceiling, and that both can be taken back, down to the hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import catalog
from bot.domain import codec
from bot.domain.cluster import Scheduler, Snapshot
from bot.domain.errors import DroverError, UnknownNameError, UsageError
from bot.domain.message import Number
from bot.domain.operation import State
from bot.domain.plan import Plan, Refused
from bot.flow.commands.parse import parse
from bot.plugin_api import Settled
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from plugins.balance import contention, handler, shares
from plugins.balance.intents import Cap, Shares
from plugins.balance.settings import BalanceSettings
from plugins.balance.steps import SetScheduler
from tests.bot.flow.small_bot import Bot, small_bot, text

CLUSTER = """
host-a 8cpu 32G | g1 2G 2cpu load 2 [priority=gold] | s1 2G 2cpu load 1 | b1 2G load 1 [priority=bronze cpu-cap=50%]
host-b 8cpu 32G | other 2G 4cpu load 1
host-c 8cpu 32G down | lost 2G
"""


def steps(found: Plan | Refused) -> dict[str, Scheduler]:
    assert isinstance(found, Plan), found
    return {step.name: step.wanted for step in found.steps if isinstance(step, SetScheduler)}


def codes(found: Plan | Refused) -> list[str]:
    assert isinstance(found, Refused)
    return [each.code for each in found.objections]


def with_scheduler(seen: Snapshot, schedulers: Mapping[str, Scheduler]) -> Snapshot:
    changed = tuple(replace(vm, scheduler=schedulers.get(vm.name, vm.scheduler)) for vm in seen.vms)
    return replace(seen, vms=changed)


def test_every_vm_of_the_host_gets_what_its_tags_say() -> None:
    found = shares.plan(Shares("host-a"), draw_cluster(CLUSTER))
    assert steps(found) == {
        "g1": Scheduler(cpu_shares=400),
        "s1": Scheduler(cpu_shares=100),
        "b1": Scheduler(cpu_shares=25, vcpu_period=100_000, vcpu_quota=50_000),
    }
    assert isinstance(found, Plan)
    assert "2.00 cores" in str(
        found.reasons[1].text
    )  # 8 × 400 / 525 is more than its two vCPUs can use
    assert found.blast.hosts == ("host-a",)


CONTENDED = """
host-a 2cpu 32G | gold 2G load 0.5 wait 0.5 [priority=gold] | silver 2G load 0.5 wait 0.5 | idle 2G load 0.02 wait 0
"""


def reasons(found: Plan | Refused) -> dict[str, str]:
    assert isinstance(found, Plan)
    return {str(reason.text).partition(":")[0]: str(reason.text) for reason in found.reasons}


def test_what_was_measured_tells_who_waits_and_what_each_will_get() -> None:
    found = shares.plan(Shares("host-a"), draw_cluster(CONTENDED))
    said = reasons(found)
    assert "It uses 0.50, waits for 0.50 more, and should get 0.80." in said["gold"]
    assert "It uses 0.50, waits for 0.50 more, and should get 0.20." in said["silver"]
    assert "It uses 0.02 and should get 0.02." in said["idle"]
    assert isinstance(found, Plan)
    assert [each.code for each in found.warnings] == ["contended"]
    assert "gold (0.50 cores), silver (0.50 cores)" in str(found.warnings[0].text)


def test_where_nobody_waits_that_is_said_and_where_nobody_measured_too() -> None:
    calm = shares.plan(Shares("host-a"), draw_cluster(CONTENDED.replace("wait 0.5", "wait 0.01")))
    assert isinstance(calm, Plan)
    assert [each.code for each in calm.warnings] == ["calm"]
    assert "should get 0.51" in reasons(calm)["gold"]
    unknown = shares.plan(Shares("host-a"), draw_cluster(CLUSTER))
    assert isinstance(unknown, Plan)
    assert [each.code for each in unknown.warnings] == ["unmeasured"]


def test_a_ceiling_that_keeps_cpu_from_a_vm_says_so() -> None:
    capped = CONTENDED.replace("[priority=gold]", "[priority=gold cpu-cap=60%]")
    said = reasons(shares.plan(Shares("host-a"), draw_cluster(capped)))
    assert "should get 0.60. Its CPU limit withholds 0.40." in said["gold"]
    assert "should get 0.40" in said["silver"]


def test_without_tags_it_says_who_waits_and_for_whom() -> None:
    untagged = CONTENDED.replace("[priority=gold]", "").replace(
        "silver 2G load 0.5", "silver 2G load 0.9"
    )
    found = shares.plan(Shares("host-a"), draw_cluster(untagged))
    assert codes(found) == ["no-tags", "waits"]
    assert isinstance(found, Refused)
    assert "silver uses most, 0.90" in str(found.objections[1].text)
    assert codes(
        shares.plan(Shares("host-a"), draw_cluster(untagged.replace("wait 0.5", "wait 0")))
    ) == ["no-tags"]


wanted = st.builds(contention.CpuDemand, st.floats(0, 4), st.floats(0, 4), st.floats(0.1, 8))


@given(
    st.dictionaries(st.sampled_from("abcdef"), wanted, min_size=1),
    st.randoms(use_true_random=False),
)
def test_what_is_foretold_is_never_more_than_there_is_or_than_a_vm_wants(
    found: dict[str, contention.CpuDemand], random: Random
) -> None:
    weights = {uuid: random.choice((25, 100, 400)) for uuid in found}
    likely = contention.predict_cores(found, weights)
    assert set(likely) == set(found)
    assert all(likely[uuid] <= want.demand + 1e-9 for uuid, want in found.items())
    if any(want.waits > contention.WAITING for want in found.values()):
        there = sum(want.used for want in found.values())
        assert sum(likely.values()) <= there + 1e-9
        wanting = sum(want.demand for want in found.values())
        assert sum(likely.values()) == pytest.approx(min(there, wanting))
    for one, want in found.items():
        less = [
            other
            for other in found
            if weights[one] >= weights[other] and likely[one] < likely[other] - 1e-9
        ]
        assert not less or likely[one] == pytest.approx(want.demand)


def test_what_is_so_already_is_not_set_again() -> None:
    so = {"g1": Scheduler(cpu_shares=400), "s1": Scheduler(cpu_shares=100, vcpu_quota=-1)}
    assert set(steps(shares.plan(Shares("host-a"), with_scheduler(draw_cluster(CLUSTER), so)))) == {
        "b1"
    }
    all_so = {**so, "b1": Scheduler(cpu_shares=25, vcpu_quota=50_000)}
    assert codes(shares.plan(Shares("host-a"), with_scheduler(draw_cluster(CLUSTER), all_so))) == [
        "as-tagged"
    ]


@pytest.mark.parametrize(
    ("host", "was", "is_now", "code"),
    [
        ("host-b", "", "", "no-tags"),
        ("host-c", "", "", "host-unreachable"),
        ("host-a", "priority=gold", "priority=platinum", "bad-tag"),
        ("host-a", "cpu-cap=50%", "cpu-cap=much", "bad-tag"),
    ],
)
def test_what_cannot_be_done_is_told(host: str, was: str, is_now: str, code: str) -> None:
    assert codes(
        shares.plan(Shares(host), draw_cluster(CLUSTER.replace(was, is_now) if was else CLUSTER))
    ) == [code]


def test_a_ceiling_is_spread_over_the_vcpus_in_the_vms_own_period() -> None:
    seen = draw_cluster(CLUSTER)
    assert steps(shares.limit(Cap("other", 150), seen))["other"].vcpu_quota == 37_500
    slow = with_scheduler(seen, {"other": Scheduler(vcpu_period=200_000)})
    assert steps(shares.limit(Cap("other", 150), slow))["other"] == Scheduler(
        vcpu_period=200_000, vcpu_quota=75_000
    )
    capped = with_scheduler(seen, {"other": Scheduler(vcpu_quota=50_000)})
    assert steps(shares.limit(Cap("other", 0), capped)) == {"other": Scheduler(vcpu_quota=-1)}


def test_a_ceiling_that_changes_nothing_or_cannot_be_is_refused() -> None:
    seen = draw_cluster(
        CLUSTER.replace("other 2G 4cpu load 1", "other 2G 4cpu load 1 | off 1G off")
    )
    assert codes(shares.limit(Cap("other", 401), seen)) == ["no-limit"]
    assert codes(shares.limit(Cap("other", 0), seen)) == ["as-wanted"]
    assert codes(shares.limit(Cap("off", 50), seen)) == ["not-running"]
    assert codes(shares.limit(Cap("lost", 50), seen)) == ["host-unreachable"]
    with pytest.raises(UnknownNameError):
        shares.limit(Cap("nobody", 50), seen)


def test_it_is_asked_about_once_more_before_it_begins() -> None:
    found = shares.limit(Cap("other", 150), draw_cluster(CLUSTER))
    assert isinstance(found, Plan)
    assert shares.still_good(found, draw_cluster(CLUSTER)) == ()
    for was, is_now in (("4cpu load 1", "2cpu load 1"), ("other 2G 4cpu load 1", "other 2G 4cpu off"),
                        ("other 2G 4cpu load 1", "someone 2G")):  # fmt: skip
        assert len(shares.still_good(found, draw_cluster(CLUSTER.replace(was, is_now)))) == 1


def test_the_grammar() -> None:
    loaded = catalog.load(["migrate", "balance"])
    assert parse(loaded, "/kvm", "vm limit web-1 --cpu 150%").intent == Cap("web-1", 150.0)
    with pytest.raises(UsageError, match="is not a CPU limit"):
        parse(loaded, "/kvm", "vm limit web-1 --cpu 1.5")  # cores, to most who write it
    assert parse(loaded, "/kvm", "vm limit web-1 --cpu 5%").intent == Cap("web-1", 5.0)
    assert parse(loaded, "/kvm", "vm limit web-1 --cpu none").intent == Cap("web-1", 0.0)
    assert parse(loaded, "/kvm", "balance shares host-a --undo").intent == Shares(
        "host-a", undo=True
    )
    for wrong in ("much", "0", "-5", "nan", "inf"):
        with pytest.raises(UsageError, match="--cpu 150%"):
            parse(loaded, "/kvm", f"vm limit web-1 --cpu={wrong}")


def test_intent_and_step_can_be_stored() -> None:
    loaded = catalog.load(["migrate", "balance"])
    wish = Shares("host-a", undo=True, restore=((uuid_of("g1"), Scheduler(cpu_shares=100)),))
    assert loaded.codec().loads(codec.text(wish)) == wish
    found = shares.plan(Shares("host-a"), draw_cluster(CLUSTER))
    assert loaded.codec().loads(codec.text(found)) == found


class Said:
    """A progress that keeps what was said; time passes by the cluster's clock."""

    def __init__(self, clock: TickingClock) -> None:
        self.clock = clock
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)


def limited(load: str, wanted: Scheduler) -> tuple[SetScheduler, FakeHypervisor, Said]:
    clock = TickingClock()
    hypervisor = FakeHypervisor(draw_cluster(f"host-a 8cpu 32G | web 2G 2cpu load {load}"), clock)
    return (
        SetScheduler(uuid_of("web"), "web", "host-a", 2, wanted, Scheduler()),
        hypervisor,
        Said(clock),
    )


def test_the_step_sets_measures_and_is_then_done() -> None:
    step, hypervisor, said = limited("2", Scheduler(vcpu_period=100_000, vcpu_quota=25_000))
    assert handler.settle(step, hypervisor) is Settled.NOT_YET
    facts = handler.run(BalanceSettings(), step, hypervisor, said)  # type: ignore[arg-type]
    assert facts == {"cores_used": Number(0.5, 2), "cores_allowed": Number(0.5, 2)}
    assert handler.settle(step, hypervisor) is Settled.DONE


def test_a_ceiling_that_does_not_hold_is_a_failure() -> None:
    step, hypervisor, said = limited("2", Scheduler(vcpu_period=100_000, vcpu_quota=25_000))
    hypervisor.cpu_seconds = lambda host, uuid: said.clock.now().timestamp() * 2  # type: ignore[method-assign]
    with pytest.raises(
        DroverError, match=r"uses 2\.00 cores, although its host reports its limit of 0\.50"
    ):
        handler.run(BalanceSettings(), step, hypervisor, said)  # type: ignore[arg-type]


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, CLUSTER, ("migrate", "balance"))
    yield made
    made.store.close()


def approved(bot: Bot, line: str, number: int) -> None:
    said = bot.types(line)
    bot.clicks("op.approve", bot.value(number), "UBRUNO")
    bot.works()
    assert bot.operation(number).state is State.DONE, (text(said), bot.operation(number).outcome)


def test_shares_are_set_and_taken_back_in_chat(bot: Bot) -> None:
    before = bot.hypervisor.scheduler("host-a", uuid_of("b1"))
    approved(bot, "balance shares host-a", 1)
    assert bot.hypervisor.scheduler("host-a", uuid_of("g1")).cpu_shares == 400
    assert bot.hypervisor.scheduler("host-a", uuid_of("b1")).vcpu_quota == 50_000
    assert "already has the CPU share of its tags" in text(bot.types("balance shares host-a"))
    approved(bot, "balance shares host-a --undo", 2)
    after = bot.hypervisor.scheduler("host-a", uuid_of("b1"))
    assert after.vcpu_quota == before.vcpu_quota == -1
    assert bot.hypervisor.scheduler("host-a", uuid_of("g1")).cpu_shares == 100


def test_a_ceiling_is_set_and_lifted_in_chat(bot: Bot) -> None:
    approved(bot, "vm limit s1 --cpu 50%", 1)
    assert bot.hypervisor.scheduler("host-a", uuid_of("s1")).vcpu_quota == 25_000
    approved(bot, "vm limit s1 --cpu none", 2)
    assert not bot.hypervisor.scheduler("host-a", uuid_of("s1")).has_cap
