"""Each alert's buttons, from what is wrong to the proposal that a press lays before the approvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot import catalog
from bot.adapters.sql.series import SqlSeries
from bot.domain.card import Button, Buttons, Card
from bot.domain.cluster import GIB, Disk, Pool, VmState
from bot.domain.metrics import Happening, Pressure, SnapshotSeen
from bot.flow.commands.queries import Core
from bot.flow.monitoring import watch
from bot.flow.monitoring.monitor import Monitor
from bot.testing import uuid_of
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot, text

HOLD = 4000.0  # seconds, longer than any alert's
POOL = Pool(
    "local", "dir", "/srv/local", active=True, autostart=True, capacity=100 * GIB, free=90 * GIB
)


@dataclass
class Ward:
    """A whole bot that measures, with every plugin that has a remedy."""

    bot: Bot
    monitor: Monitor
    sampler: FakeSampler

    def looks(self) -> None:
        """Sweep and look, until whatever must hold has held."""
        for _ in range(2):
            self.monitor.due.clear()
            watch.tick(self.bot.services, self.monitor, self.bot.hypervisor.snapshot)
            self.bot.clock.turn(HOLD)

    def alert(self, title: str) -> Card:
        (found,) = [
            card for card in self.bot.chat.messages.values() if str(card.title).startswith(title)
        ]
        return found


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    bot = small_bot(tmp_path, plugins=("migrate", "vm_lifecycle", "monitor"))
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    sampler = FakeSampler(bot.hypervisor, bot.clock)
    monitor = Monitor(sampler, series, series, bot.clock, replica="one")
    bot.services = replace(bot.services, monitor=monitor)
    yield Ward(bot, monitor, sampler)
    series.close()
    bot.store.close()


def crashed(ward: Ward) -> None:
    vm = ward.bot.hypervisor.snapshot().vm("web-1")
    ward.bot.hypervisor.put(replace(vm, state=VmState.SHUT_OFF))
    ward.sampler.vms["web-1"] = {"why": "crashed"}


def paused(ward: Ward) -> None:
    vm = ward.bot.hypervisor.snapshot().vm("web-1")
    ward.bot.hypervisor.put(replace(vm, state=VmState.PAUSED, paused_by="ioerror"))


def watchdog(ward: Ward) -> None:
    now = ward.bot.clock.now()
    ward.sampler.events.append(
        Happening(now, "host-a", uuid_of("web-1"), "web-1", "watchdog", "action 1")
    )


def filling(ward: Ward) -> None:
    vm = ward.bot.hypervisor.snapshot().vm("web-1")
    assert vm.detail is not None
    disk = Disk("vda", "file", "/srv/local/web-1.qcow2", capacity=80 * GIB)
    ward.bot.hypervisor.put(replace(vm, detail=replace(vm.detail, disks=(disk,))))
    for host in ("host-a", "host-b", "host-c"):
        ward.bot.hypervisor.change(
            host, pools=(replace(POOL, free=GIB) if host == "host-a" else POOL,)
        )


def short(ward: Ward) -> None:
    ward.sampler.hosts["host-a"] = {"used": 63 * GIB}


def contended(ward: Ward) -> None:
    ward.sampler.hosts["host-a"] = {"pressure": Pressure(0.9, 0.0, 0.0, 0.0, 0.0)}
    ward.sampler.vms["web-1"] = {"wait": 0.4}


def forgotten(ward: Ward) -> None:
    old = ward.bot.clock.now() - timedelta(days=30)
    ward.bot.hypervisor.create_snapshot("host-a", uuid_of("web-1"), "before")
    ward.sampler.snapshots = (SnapshotSeen("host-a", uuid_of("web-1"), "web-1", "before", old),)


def pressed(ward: Ward, title: str, button: str) -> Card | None:
    """Ana presses a button under an alert; what she alone then sees."""
    ward.looks()
    rows = [row for row in ward.alert(title).elements if isinstance(row, Buttons)]
    (found,) = [
        each
        for row in rows
        for each in row.buttons
        if isinstance(each, Button) and str(each.text) == button
    ]
    return ward.bot.clicks(found.action, found.value, "UANA")


@pytest.mark.parametrize(
    ("wrong", "title", "button", "proposal"),
    [
        (crashed, "web-1 crashed", "Start VM", "Start web-1"),
        (paused, "web-1 is paused: its storage failed", "Resume VM", "Resume web-1"),
        (watchdog, "web-1: its watchdog fired", "Reboot VM", "Reboot web-1"),
        (filling, "Pool local on host-a is filling", "Migrate web-1 away", "Move web-1"),
        (short, "host-a is short of memory", "Migrate db-1 away", "Move db-1"),
        (contended, "VMs on host-a wait for CPU", "Migrate web-1 away", "Move web-1"),
        (
            forgotten,
            "1 snapshot is too old",
            "Delete before of web-1",
            "Delete snapshot before of web-1",
        ),
    ],
)
def test_a_remedy_opens_its_proposal(
    ward: Ward, wrong: Callable[[Ward], None], title: str, button: str, proposal: str
) -> None:
    wrong(ward)
    said = pressed(ward, title, button)
    assert [str(each.plan.title).startswith(proposal) for each in ward.bot.store.operations()] == [
        True
    ], text(said)
    assert ward.bot.operation().origin.by == "UANA"


def test_a_silent_host_is_looked_at_and_a_pool_s_growth_foretold(ward: Ward) -> None:
    ward.bot.hypervisor.down("host-b")
    filling(ward)
    assert "host-b: unreachable" in text(pressed(ward, "host-b does not answer", "Show host"))
    assert "Pool local (host-a)" in text(
        pressed(ward, "Pool local on host-a is filling", "Show growth")
    )


def test_a_remedy_whose_plugin_is_not_enabled_has_no_button(ward: Ward) -> None:
    loaded = catalog.load(["monitor"], extra=(Core(),))
    ward.bot.services = replace(ward.bot.services, catalog=loaded)
    crashed(ward)
    ward.looks()
    rows = [row for row in ward.alert("web-1 crashed").elements if isinstance(row, Buttons)]
    assert {each.action for row in rows for each in row.buttons} == {"alert.ack", "alert.silence"}
