"""A drain and a rolling maintenance of VMs with local disks: copied, or shut down and started again."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.cluster import GIB, Disk, Pool, Snapshot, VmState
from bot.domain.operation import State
from bot.domain.plan import Risk
from bot.domain.steps import MigrateVm
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.flow.operations import perform
from bot.testing import FakeHypervisor
from bot.testing.draw import draw_cluster
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.waiting import until

PLUGINS = ("migrate", "balance", "monitor", "vm_lifecycle")
CLUSTER = """
host-a  16cpu 64G reserve 2G | web-1 4G | db-1 8G
host-b  16cpu 64G reserve 2G | app-1 2G
host-c  16cpu 64G reserve 2G | app-2 2G
"""
FREE = 100 * GIB


def local(seen: Snapshot, *, free: int = FREE, of: tuple[str, ...] = ("db-1",)) -> Snapshot:
    """The cluster in which these VMs have a local disk of 40 GiB, and every host a pool for it."""
    pool = Pool(
        "images", "dir", "/srv/images", active=True, autostart=True, capacity=10 * FREE, free=free
    )
    hosts = tuple(replace(host, pools=(pool,)) for host in seen.hosts)
    vms = []
    for vm in seen.vms:
        disk = Disk("vda", "file", f"/srv/images/{vm.name}.qcow2", capacity=40 * GIB)
        assert vm.detail is not None
        with_disk = replace(vm, detail=replace(vm.detail, disks=(disk,)))
        vms.append(with_disk if vm.name in of else vm)
    return replace(seen, hosts=hosts, vms=tuple(vms))


def bot_with(tmp_path: Path, seen: Snapshot, plugins: tuple[str, ...] = PLUGINS) -> Bot:
    tables = {"balance": {"rolling": {"pause_hours": 1}, "cooldown_minutes": 0}}
    made = small_bot(tmp_path, CLUSTER, plugins, tables)
    made.hypervisor = FakeHypervisor(seen, made.clock)
    made.services = replace(made.services, hypervisor=made.hypervisor)
    return made


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return bot_with(tmp_path, local(draw_cluster(CLUSTER)))


def approve(bot: Bot, number: int = 1) -> None:
    for who in ("UBRUNO", "UCARLA"):
        if bot.operation(number).state is State.PROPOSED:
            bot.clicks("op.approve", bot.value(number), who)


def steps_of(bot: Bot, number: int = 1) -> dict[str, object]:
    """What becomes of each VM, by name."""
    return {
        step.name: step
        for step in bot.operation(number).plan.steps
        if isinstance(step, MigrateVm | PowerVm)
    }


def test_without_an_option_it_stays_and_the_card_says_which_option_helps(bot: Bot) -> None:
    bot.types("host drain host-a")
    assert set(steps_of(bot)) == {"web-1"}
    shown = text(bot.shown())
    assert "db-1 stays on host-a" in shown
    assert "/kvm host drain host-a --shutdown-vm db-1" in shown


def test_its_disks_are_copied_with_the_time_and_the_space_that_takes(bot: Bot) -> None:
    bot.types("host drain host-a --copy-storage")
    moves = steps_of(bot)
    assert isinstance(moves["db-1"], MigrateVm)
    assert moves["db-1"].copy_storage
    assert isinstance(moves["web-1"], MigrateVm)
    assert not moves["web-1"].copy_storage, "nothing to copy"
    plan = bot.operation().plan
    assert plan.blast.storage == 40 * GIB
    assert plan.prediction.seconds == pytest.approx(52 * GIB / (100 * 1024**2), rel=0.01)
    shown = text(bot.shown())
    assert "The disks of db-1 (40 GiB) are copied to" in shown
    assert "The old files stay on host-a" in shown
    assert "40 GiB of storage" in shown


def test_copies_that_do_not_fit_together_are_refused_before_the_vote(tmp_path: Path) -> None:
    cluster = local(draw_cluster(CLUSTER), free=50 * GIB, of=("db-1", "web-1"))
    hosts = tuple(replace(host, maintenance=host.name == "host-c") for host in cluster.hosts)
    bot = bot_with(tmp_path, replace(cluster, hosts=hosts))
    bot.store.set_maintenance("host-c", on=True)
    said = text(bot.types("host drain host-a --copy-storage"))
    assert "Pool images on host-b has 50 GiB free; the copies need 80 GiB." in said
    assert not bot.store.operations()


def test_it_is_shut_down_and_undrain_starts_it_again(bot: Bot) -> None:
    bot.types("host drain host-a --shutdown")
    assert steps_of(bot)["db-1"] == PowerVm(
        bot.hypervisor.snapshot().vm("db-1").uuid, "db-1", "host-a", PowerVerb.SHUTDOWN
    )
    assert isinstance(steps_of(bot)["web-1"], MigrateVm), "what can be moved is moved"
    assert bot.operation().plan.risk is Risk.HIGH
    assert "it stops serving until it is started again" in text(bot.shown())
    approve(bot)
    bot.works()
    assert bot.operation().state is State.DONE, bot.operation().outcome
    assert str(bot.shown().title) == "✅ Drained host-a: no VM runs there"
    assert bot.hypervisor.snapshot().vm("db-1").state is VmState.SHUT_OFF
    bot.types("host undrain host-a")
    approve(bot, 2)
    bot.works()
    assert bot.operation(2).state is State.DONE, bot.operation(2).outcome
    assert bot.where("db-1") == ["host-a"]
    assert bot.where("web-1") == ["host-a"]


def test_what_becomes_of_each_vm_can_be_named(bot: Bot) -> None:
    bot.types("host drain host-a --copy-vm db-1 --shutdown-vm web-1")
    steps = steps_of(bot)
    assert isinstance(steps["db-1"], MigrateVm)
    assert steps["db-1"].copy_storage
    assert isinstance(steps["web-1"], PowerVm), "although it could be moved"


def test_a_name_that_runs_elsewhere_is_told(bot: Bot) -> None:
    assert "app-1 does not run on host-a." in text(
        bot.types("host drain host-a --shutdown-vm app-1")
    )


def test_without_the_plugin_that_shuts_down_nothing_of_it_is_proposed(tmp_path: Path) -> None:
    bot = bot_with(tmp_path, local(draw_cluster(CLUSTER)), ("migrate", "balance"))
    assert "No loaded plugin handles PowerVm." in text(bot.types("host drain host-a --shutdown"))
    bot.types("host drain host-b")
    assert bot.operation().state is State.PROPOSED


def test_rolling_refuses_local_disks_until_it_is_told_what_to_do(bot: Bot) -> None:
    assert "db-1 stays on host-a" in text(bot.types("host rolling host-a"))
    assert not bot.store.operations()
    bot.types("host rolling host-a --copy-storage")
    moves = [each for each in bot.operation().plan.steps if isinstance(each, MigrateVm)]
    assert [(move.name, move.copy_storage) for move in moves if move.name == "db-1"] == [
        ("db-1", True)
    ], "it is not copied back"
    assert "VMs whose disks are copied stay where they are copied to: db-1." in text(bot.shown())


def test_rolling_shuts_down_and_starts_again(bot: Bot) -> None:
    bot.types("host rolling host-a --shutdown")
    approve(bot)
    (operation_id,) = bot.work.ids
    bot.work.ids.clear()
    worker = threading.Thread(target=perform.perform, args=(bot.services, operation_id))
    worker.start()
    assert until(lambda: bot.operation().waiting is not None)
    assert not [vm for vm in bot.hypervisor.snapshot().on("host-a") if vm.state.active]
    bot.clicks("op.continue", f"op-1:{bot.operation().waiting}", "UANA")
    worker.join(60)
    assert bot.operation().state is State.DONE, bot.operation().outcome
    assert bot.where("db-1") == ["host-a"]
    assert bot.where("web-1") == ["host-a"]
    assert str(bot.shown().title) == "✅ Maintained host-a"


def test_a_migration_with_copies_says_before_and_after_what_stays_behind(bot: Bot) -> None:
    bot.types("migrate db-1 to host-b --copy-storage")
    left = "The old files of db-1 stay on host-a: /srv/images/db-1.qcow2."
    assert left in text(bot.shown())
    approve(bot)
    bot.works()
    assert str(bot.shown().title) == "✅ Moved db-1 to host-b, with copies of its disks"
    assert left in text(bot.chat.cards_for("UANA")[-1])
