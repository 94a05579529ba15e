"""Snapshots at set times by tag, once, and only as many as are kept; never those that people took."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.catalog import Catalog
from bot.domain.operation import State
from bot.domain.policy import Policy, Rule
from bot.flow.context import snapshot
from bot.flow.monitoring.watch import propose_for_bot
from bot.plugin_api import Alert, Looked, Measured, Memory, Proposal, Watch, WatchView
from bot.ports.guests import GuestSnapshot
from bot.testing.guests import Extra
from plugins.vm_lifecycle.intents import SnapshotWish
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from tests.bot.flow.small_bot import POLICY, Bot, small_bot, text

CLUSTER = """
host-a  16cpu 64G load 1 | web-1 1G 1cpu [snapshots=nightly] | db-1 1G 1cpu [snapshots=weekly] | app-1 1G
host-b  16cpu 64G load 1
"""
TABLES = {
    "vm_lifecycle": {"snapshots": {"nightly": {"at": "10:00", "keep": 2, "zone": "Europe/Paris"}}}
}
AUTOMATIC = Rule(
    "snapshots", commands=("vm snapshot *",), automatic=True, votes=0, approvers=("approver",)
)
NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # 10:00 in Paris, when the small bot's clock begins


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    policy = Policy(POLICY.grants, rules=(AUTOMATIC, *POLICY.rules))
    plugins = ("vm_lifecycle",)
    return small_bot(tmp_path, CLUSTER, plugins=plugins, tables=TABLES, policy=policy)


def _watch(loaded: Catalog) -> Watch:
    return next(each for each in loaded.watches if each.name == "vm-snapshots")


def _noticed(bot: Bot) -> list[Proposal]:
    watch, seen = _watch(bot.services.catalog), snapshot(bot.services)
    assert watch.gather is not None
    found = watch.gather(seen, bot.hypervisor)
    view = WatchView(seen, (), bot.store, Measured(), {}, bot.clock.now(), found)
    return [each for each in watch.look(view).noticed if isinstance(each, Proposal)]


def _looked(bot: Bot, memory: Memory, later: float) -> Looked:
    """What the watch notices and remembers, ``later`` seconds from now."""
    bot.clock.turn(later)
    watch, seen = _watch(bot.services.catalog), snapshot(bot.services)
    assert watch.gather is not None
    found = watch.gather(seen, bot.hypervisor)
    stored = json.loads(json.dumps(memory))
    return watch.look(WatchView(seen, (), bot.store, Measured(), stored, bot.clock.now(), found))


def _looks(bot: Bot) -> None:
    for each in _noticed(bot):
        propose_for_bot(bot.services, each, "vm-snapshots")
    bot.works()


def _names(bot: Bot, vm: str = "web-1") -> list[str]:
    found = bot.hypervisor.snapshot().vm(vm)
    return [each.name for each in bot.hypervisor.snapshots(found.host, found.uuid)]


def test_each_night_one_is_taken_once_and_the_oldest_goes(bot: Bot) -> None:
    for day in range(4):
        bot.clock.turn((NINE + timedelta(days=day) - bot.clock.now()).total_seconds())
        for _ in range(3):  # as often as the clock looks, and as replicas there are
            _looks(bot)
    assert _names(bot) == ["nightly-20260107-1000", "nightly-20260108-1000"]
    assert all(each.state is State.DONE for each in bot.store.operations())
    assert [each.action for each in bot.store.operations()].count("vm snapshot create") == 4
    assert _names(bot, "app-1") == []


def test_nothing_is_taken_outside_its_time_and_a_late_start_still_takes_it(bot: Bot) -> None:
    bot.clock.turn(-60)
    _looks(bot)
    assert _names(bot) == []
    bot.clock.turn(60 + 3599)
    _looks(bot)
    assert _names(bot) == ["nightly-20260105-1000"]


def test_too_late_it_waits_for_the_next_night(bot: Bot) -> None:
    bot.clock.turn(3601)
    _looks(bot)
    assert _names(bot) == []


def test_a_time_in_which_no_snapshot_was_taken_is_told_until_one_is(bot: Bot) -> None:
    memory = _looked(bot, {}, -3600).memory
    late = _looked(bot, memory, 2 * 3600 + 1)  # nobody looked between 10:00 and 11:00
    (alert,) = [each for each in late.noticed if isinstance(each, Alert)]
    assert str(alert.card.text) == "web-1 missed a snapshot of “nightly”"
    assert "between Mon 2026-01-05 09:00 UTC and 2026-01-05 10:00 UTC" in text(alert.card)
    assert "due Tue 2026-01-06 09:00 UTC" in text(alert.card)
    assert [each.command for each in alert.remedies] == [
        "vm snapshot create web-1 nightly-20260105-1000"
    ]
    vm = bot.hypervisor.snapshot().vm("web-1")
    bot.hypervisor.create_snapshot(vm.host, vm.uuid, "nightly-20260105-1000")
    mended = _looked(bot, late.memory, 0)
    assert [each.over for each in mended.noticed if isinstance(each, Alert)] == [True]
    assert _looked(bot, mended.memory, 0).noticed == ()


def test_what_was_before_a_vm_had_its_schedule_is_not_missed(bot: Bot) -> None:
    first = _looked(bot, {}, 2 * 3600)
    assert first.noticed == ()
    assert _looked(bot, first.memory, 60).noticed == ()


def test_a_snapshot_that_people_delete_is_not_missed_and_one_of_the_next_night_is(bot: Bot) -> None:
    memory = _looked(bot, {}, -60).memory
    bot.clock.turn(120)
    _looks(bot)
    memory = _looked(bot, memory, 0).memory
    vm = bot.hypervisor.snapshot().vm("web-1")
    bot.hypervisor.delete_snapshot(vm.host, vm.uuid, "nightly-20260105-1000")
    deleted = _looked(bot, memory, 7200)
    assert deleted.noticed == ()
    night = _looked(bot, deleted.memory, 24 * 3600)
    assert [each.key for each in night.noticed if isinstance(each, Alert)] == [
        f"snapshots:{vm.uuid}"
    ]


def test_what_people_took_is_never_deleted(bot: Bot) -> None:
    vm = bot.hypervisor.snapshot().vm("web-1")
    for name in ("before-upgrade", "nightly-mine", "nightly-20260101-1000", "other-20260101-1000"):
        bot.hypervisor.create_snapshot(vm.host, vm.uuid, name)
    for day in range(4):
        bot.clock.turn((NINE + timedelta(days=day) - bot.clock.now()).total_seconds())
        _looks(bot)
        _looks(bot)
    assert {"before-upgrade", "nightly-mine", "other-20260101-1000"} <= set(_names(bot))
    assert "nightly-20260101-1000" not in _names(bot)


def test_without_a_rule_that_lets_it_people_are_asked(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, CLUSTER, plugins=("vm_lifecycle",), tables=TABLES)
    _looks(bot)
    assert [each.state for each in bot.store.operations()] == [State.PROPOSED]
    assert _names(bot) == []


def test_a_host_that_does_not_answer_is_left_out(bot: Bot) -> None:
    bot.hypervisor.down("host-a")
    assert _noticed(bot) == []


def test_without_schedules_nothing_looks(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, CLUSTER, plugins=("vm_lifecycle",))
    assert "vm-snapshots" not in {each.name for each in bot.services.catalog.watches}


def test_a_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        VmLifecycleSettings.model_validate({"snapshots": {"x": {"at": "02:00", "zone": "Mars"}}})


def test_the_oldest_by_its_name_goes_whatever_a_hosts_clock_said(bot: Bot) -> None:
    vm = bot.hypervisor.snapshot().vm("web-1")
    taken = bot.hypervisor.extras.setdefault(vm.uuid, Extra()).snapshots
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for day in (3, 2, 4):
        taken.append(
            GuestSnapshot(
                f"nightly-2026010{day}-1000", epoch + timedelta(days=day % 4), "", current=False
            )
        )
    bot.clock.turn(3600)
    gone = [each.intent for each in _noticed(bot) if each.action == "vm snapshot delete"]
    assert [each.snapshot for each in gone if isinstance(each, SnapshotWish)] == [
        "nightly-20260102-1000"
    ]


def test_a_tag_that_names_no_schedule_is_refused_for_none_would_be_taken(bot: Bot) -> None:
    told = text(bot.types("vm tag web-1 snapshots=nighly"))
    assert "There is no snapshot schedule “nighly”. Did you mean “nightly”?" in told
    assert "There are: nightly." in text(bot.types("vm tag app-1 snapshots=hourly"))
    assert "op-1 is proposed" in text(bot.types("vm tag app-1 snapshots=nightly"))


def test_without_schedules_the_tag_is_like_any_other(tmp_path: Path) -> None:
    plain = small_bot(tmp_path, CLUSTER, plugins=("vm_lifecycle",))
    assert "op-1 is proposed" in text(plain.types("vm tag app-1 snapshots=hourly"))
    plain.store.close()
