"""Draining and undraining: first as plans over drawn clusters, then as the whole line from chat to the hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.cluster import GIB, Disk, Pool, Snapshot, StoredSize, Vm, VmDetail
from bot.domain.errors import UnknownNameError
from bot.domain.operation import State
from bot.domain.plan import Objection, Plan, Refused
from bot.domain.steps import MigrateVm, SetMaintenance
from bot.testing import draw_cluster, uuid_of
from plugins.balance import drain, leaving, legality
from plugins.balance.intents import Drain, Undrain, Ways
from plugins.balance.settings import BalanceSettings
from plugins.balance.solver.explain import hard_reasons
from plugins.balance.solver.model import WhyNot
from plugins.balance.solver.placement import Placement
from tests.bot.flow.small_bot import Bot, small_bot, text

SETTINGS = BalanceSettings()
CLUSTER = """
host-a 8cpu 32G reserve 2G | a1 8G load 1 | a2 4G load 1 | a3 2G load 1 [apart=x] | old 2G off
host-b 8cpu 32G reserve 2G | b1 8G load 1
host-c 8cpu 32G reserve 2G | c1 8G load 1 [apart=x]
"""


def drained(
    cluster: str = CLUSTER, host: str = "host-a", rules: tuple[object, ...] = ()
) -> Plan | Refused:
    return drain.drain(SETTINGS, Drain(host), draw_cluster(cluster), rules)  # type: ignore[arg-type]


def moves(found: Plan | Refused) -> dict[str, str]:
    assert isinstance(found, Plan), found
    return {step.name: step.target for step in found.steps if isinstance(step, MigrateVm)}


def codes(found: Plan | Refused) -> list[str]:
    return [each.code for each in (found.warnings if isinstance(found, Plan) else found.objections)]


def test_maintenance_comes_first_then_every_vm_leaves_and_nobody_else_moves() -> None:
    found = drained()
    assert set(moves(found)) == {"a1", "a2", "a3"}
    assert isinstance(found, Plan)
    assert found.steps[0] == SetMaintenance("host-a", on=True)
    assert moves(found)["a3"] == "host-b"
    assert codes(found) == ["off"]


def test_what_keeps_vms_is_asked_once_a_vm_and_not_once_a_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 300 hosts, a look at the whole cluster for each VM on each host took minutes."""
    asked: list[int] = []

    def counted(where: Placement, vm: int) -> tuple[WhyNot | None, ...]:
        asked.append(vm)
        return hard_reasons(where, vm)

    monkeypatch.setattr(legality, "hard_reasons", counted)
    full = "\n".join(
        f"host-{host} 8cpu 16G | a{host} 8G load 1 | b{host} 8G load 1" for host in range(9)
    )
    found = drained(full, "host-0")
    assert codes(found)[:2] == ["stuck:a0", "stuck:b0"]
    assert len(asked) == 2


def test_stuck_vms_are_told_before_with_what_each_needs_and_the_others_go() -> None:
    tight = CLUSTER.replace("a1 8G load 1", "a1 26G load 1").replace(
        "a2 4G load 1", "a2 4G load 1 [pin=here]"
    )
    found = drained(tight.replace("32G", "64G", 1))
    assert set(moves(found)) == {"a3"}
    assert codes(found)[:2] == ["stuck:a1", "stuck:a2"]
    assert isinstance(found, Plan)
    assert "not enough memory" in str(found.warnings[0].text)
    assert "Remove the tag: `/kvm vm tag " in str(found.warnings[1].text)


def test_a_vm_that_another_plugin_keeps_is_told_in_that_plugins_words() -> None:
    def rule(seen: object, vm: object, host: str) -> Objection | None:
        held = getattr(vm, "name", "") == "a1" and host != "host-a"
        return Objection("usb", "a1 has a USB key.", "Detach it.") if held else None

    found = drained(rules=(rule,))
    assert set(moves(found)) == {"a2", "a3"}
    assert isinstance(found, Plan)
    assert "a1 has a USB key" in str(found.warnings[0].text)
    assert "Detach it." in str(found.warnings[0].text)


def test_what_a_shut_down_vm_has_only_while_it_runs_is_told_and_its_job_hinders_no_move() -> None:
    def rule(seen: object, vm: Vm, host: str) -> Objection | None:
        if host == "host-a":
            return None
        job = vm.detail and vm.detail.job
        return Objection("held", f"held {job}") if vm.name == "a1" or job else None

    seen = draw_cluster(CLUSTER)
    stored = StoredSize(1, GIB, without=("vdb",))
    detail = VmDetail(disks=(Disk("vda", "file", "/a", busy="copy"),), job="backup")
    vms = tuple(
        replace(vm, stored=stored, detail=detail) if vm.name in {"a1", "a2"} else vm
        for vm in seen.vms
    )
    found = drain.drain(
        SETTINGS, Drain("host-a", ways=Ways(off=True)), replace(seen, vms=vms), (rule,)
    )
    assert isinstance(found, Plan)
    assert {"a2", "a3"} == set(moves(found))
    told = {each.code: str(each.text) for each in found.warnings}
    assert "a1 has vdb only while it runs" in told["only-live"]
    assert "Block jobs of a1 are aborted: vda" in told["block-job"]
    assert "shut-down" in told


@pytest.mark.parametrize(("size", "told"), [(40 * GIB, "(40 GiB)"), (None, "(size unknown)")])
def test_a_copy_is_told_with_the_size_of_its_disks_or_that_it_is_unknown(
    size: int | None, told: str
) -> None:
    def rule(seen: Snapshot, vm: Vm, host: str) -> Objection | None:
        free = vm.name != "a1" or host == "host-a" or vm.uuid in seen.copying
        return None if free else Objection("local", "its disk is there")

    seen = draw_cluster(CLUSTER)
    detail = VmDetail(disks=(Disk("vda", "file", "/srv/a1.qcow2", capacity=size),))
    pool = Pool(
        "images", "dir", "/srv", active=True, autostart=True, capacity=900 * GIB, free=500 * GIB
    )
    seen = replace(
        seen,
        hosts=tuple(replace(host, pools=(pool,)) for host in seen.hosts),
        vms=tuple(replace(vm, detail=detail) if vm.name == "a1" else vm for vm in seen.vms),
    )
    found = drain.drain(SETTINGS, Drain("host-a", ways=Ways(copy=True)), seen, (rule,))
    assert isinstance(found, Plan)
    assert "a1" in moves(found)
    (copied,) = [str(each.text) for each in found.warnings if each.code == "copied"]
    assert told in copied
    assert found.blast.storage == (size or 0)


def test_a_copy_of_a_vm_that_arrives_there_before_is_told_without_its_size() -> None:
    seen = draw_cluster(CLUSTER)
    first, then = [
        MigrateVm(uuid_of("a1"), "a1", source, target, GIB, copy_storage=True)
        for source, target in (("host-a", "host-b"), ("host-b", "host-c"))
    ]
    told = [str(each.text) for each in leaving.notes((first, then), (), seen)]
    assert "The disks of a1 (0 B) are copied to host-b." in told[0]
    assert "The disks of a1 (size unknown) are copied to host-c." in told[1]
    assert leaving.copied_bytes((first, then), seen) == 0


def test_a_drain_reads_in_depth_those_that_may_leave_in_another_way() -> None:
    seen = draw_cluster(CLUSTER)
    names = {vm.uuid: vm.name for vm in seen.vms}

    def read(ways: Ways) -> set[str]:
        return {names[uuid] for uuid in drain.picks(Drain("host-a", ways=ways), seen)}

    assert read(Ways()) == set()
    assert read(Ways(off_vms=("a1",), copy_vms=("a2",))) == {"a1", "a2"}
    assert read(Ways(copy=True)) == read(Ways(off=True)) == {"a1", "a2", "a3"}


def test_advice_is_to_free_capacity_only_where_capacity_lacks() -> None:
    def rule(seen: object, vm: object, host: str) -> Objection | None:
        held = getattr(vm, "name", "") == "a1" and host != "host-a"
        return Objection("usb", "a1 has a USB key.") if held else None

    kept = drained(rules=(rule,))
    assert isinstance(kept, Plan)
    assert "Shut it down: `/kvm vm shutdown a1`." in str(kept.warnings[0].text)
    large = drained(CLUSTER.replace("a1 8G load 1", "a1 26G load 1").replace("32G", "64G", 1))
    assert isinstance(large, Plan)
    assert "Free capacity on another host" in str(large.warnings[0].text)


def test_a_vm_of_a_host_that_does_not_tell_its_size_is_stuck_and_not_forgotten() -> None:
    seen = draw_cluster(CLUSTER)
    sizeless = replace(
        seen, hosts=tuple(replace(h, cpus=0) if h.name == "host-a" else h for h in seen.hosts)
    )
    found = drain.drain(SETTINGS, Drain("host-a"), sizeless, ())
    assert [code for code in codes(found) if code.startswith("stuck")] == [
        "stuck:a1",
        "stuck:a2",
        "stuck:a3",
    ]


def test_failure_domains_hold_back_a_drain_only_when_they_are_a_hard_rule() -> None:
    text = (
        "host-a 8cpu 32G [zone=x] | p 4G [apart=db]\nhost-b 8cpu 32G [zone=y] | q 4G [apart=db]\n"
    )
    seen = draw_cluster(f"{text}host-c 8cpu 32G [zone=y]\nhost-d 8cpu 2G [zone=z]")
    soft, hard = (
        drain.drain(BalanceSettings.model_validate({"domains": each}), Drain("host-a"), seen, ())
        for each in ("soft", "hard")
    )
    assert moves(soft) == {"p": "host-c"}
    assert codes(hard) == ["stuck:p", "unmeasured"]
    assert isinstance(hard, Plan)
    assert "failure domain" in str(hard.warnings[0].text)


def test_each_move_has_room_in_its_turn() -> None:
    guests = " | ".join(f"a{number} 6G" for number in range(1, 6))
    small = f"host-a 8cpu 64G | {guests}\nhost-b 8cpu 16G reserve 2G\nhost-c 8cpu 16G reserve 2G"
    found = drained(small)
    assert sorted(moves(found).values()) == ["host-b", "host-b", "host-c", "host-c"]
    assert len([code for code in codes(found) if code.startswith("stuck:")]) == 1


def test_an_empty_host_in_maintenance_needs_no_drain_and_an_empty_one_only_maintenance() -> None:
    assert codes(drained("host-a 8cpu 32G maintenance\nhost-b 8cpu 32G")) == ["empty"]
    found = drained("host-a 8cpu 32G\nhost-b 8cpu 32G")
    assert isinstance(found, Plan)
    assert found.steps == (SetMaintenance("host-a", on=True),)


def test_a_silent_host_is_not_drained_and_an_unknown_one_has_a_nearest() -> None:
    assert codes(drained(CLUSTER.replace("host-a 8cpu 32G", "host-a 8cpu 32G down"))) == [
        "host-unreachable"
    ]
    with pytest.raises(UnknownNameError):
        drained(host="host-x")


@pytest.mark.parametrize(
    ("was", "is_now", "code"),
    [
        ("", "", None),
        ("| old 2G off", "| old 2G", "arrived"),
        ("a1 8G load 1", "a1 9G load 1", "changed"),
        ("host-b 8cpu 32G reserve 2G |", "host-b 8cpu 32G reserve 2G | new 20G |", "memory"),
    ],
)
def test_a_drain_is_asked_about_once_more_before_it_begins(
    was: str, is_now: str, code: str | None
) -> None:
    found = drained()
    assert isinstance(found, Plan)
    now = draw_cluster(CLUSTER.replace(was, is_now) if was else CLUSTER)
    against = drain.still_drains(SETTINGS, Drain("host-a"), found, now, ())
    assert {each.code for each in against} == ({code} if code else set())


AFTER = """
host-a 8cpu 32G reserve 2G maintenance
host-b 8cpu 32G reserve 2G | b1 8G load 1 | a1 8G load 1 | a3 2G load 1
host-c 8cpu 32G reserve 2G | c1 8G load 1 | a2 4G load 1
"""
HOME = tuple(uuid_of(name) for name in ("a1", "a2", "a3"))


def test_undrain_brings_home_whom_the_drain_moved() -> None:
    found = drain.undrain(SETTINGS, Undrain("host-a", HOME), draw_cluster(AFTER), ())
    assert moves(found) == dict.fromkeys(("a1", "a2", "a3"), "host-a")
    assert isinstance(found, Plan)
    assert found.steps[0] == SetMaintenance("host-a", on=False)
    assert (
        drain.still_returns(SETTINGS, Undrain("host-a", HOME), found, draw_cluster(AFTER), ()) == ()
    )


def test_who_does_not_fit_or_is_gone_is_told_and_is_no_failure() -> None:
    full = AFTER.replace("maintenance", "maintenance | new 20G").replace(" | a3 2G load 1", "")
    found = drain.undrain(SETTINGS, Undrain("host-a", HOME), draw_cluster(full), ())
    assert moves(found) == {"a1": "host-a"}
    assert codes(found) == ["not-home", "not-home"]


def test_undrain_without_a_drain_only_ends_maintenance_and_a_host_in_service_has_nothing_to_undo() -> (
    None
):
    found = drain.undrain(SETTINGS, Undrain("host-a"), draw_cluster(AFTER), ())
    assert isinstance(found, Plan)
    assert found.steps == (SetMaintenance("host-a", on=False),)
    assert codes(drain.undrain(SETTINGS, Undrain("host-b"), draw_cluster(AFTER), ())) == [
        "all-home"
    ]


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, CLUSTER.replace("load 1", "load 1 dirty 1M"), ("migrate", "balance"))
    yield made
    made.store.close()


def approved(bot: Bot, line: str, number: int) -> State:
    said = bot.types(line)
    bot.clicks("op.approve", bot.value(number), "UBRUNO")
    bot.works()
    assert bot.operation(number).state is State.DONE, (text(said), bot.operation(number).outcome)
    return bot.operation(number).state


def where(bot: Bot) -> dict[str, str]:
    return {name: bot.where(name)[0] for name in ("a1", "a2", "a3", "b1", "c1")}


def test_a_drain_empties_a_host_and_undrain_brings_everyone_home(bot: Bot) -> None:
    before = where(bot)
    approved(bot, "host drain host-a", 1)
    assert "host-a" not in where(bot).values()
    assert bot.store.maintenance() == {"host-a"}
    approved(bot, "host undrain host-a", 2)
    assert where(bot) == before
    assert bot.store.maintenance() == frozenset()
    assert "in service" in text(bot.types("host undrain host-a"))


def test_a_drain_in_two_parts_is_undone_as_a_whole(bot: Bot) -> None:
    before = where(bot)
    guests = bot.hypervisor.snapshot()
    bot.hypervisor.put(replace(guests.vm("old"), state=guests.vm("a1").state))
    approved(bot, "host drain host-a", 1)
    late = replace(
        guests.vm("b1"), name="late", uuid=uuid_of("late"), host="host-a", memory=1 << 30
    )
    bot.hypervisor.put(late)
    approved(bot, "host drain host-a", 2)
    assert bot.where("late") != ["host-a"]
    approved(bot, "host undrain host-a", 3)
    assert where(bot) == before
    assert bot.where("late") == bot.where("old") == ["host-a"]


def test_what_moved_lately_is_left_alone_by_a_balance(bot: Bot) -> None:
    approved(bot, "migrate a1 to host-b", 1)
    bot.types("balance --min-gain 0.0001")
    wish = bot.operation(2).intent
    assert [uuid for uuid, _ in wish.recent] == [uuid_of("a1")]
    assert "a1" not in bot.operation(2).plan.blast.vms
