"""What is worth an alert, by looks at a cluster in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from bot.alert_rules import evaluate
from bot.domain.cluster import GIB, Pool, Snapshot, VmState
from bot.domain.metrics import Happening, Incident, Pressure, SnapshotSeen
from bot.plugin_api import Alert, Measured, WatchView
from bot.testing import FakeHypervisor, TickingClock, draw_cluster, uuid_of
from bot.testing.sampler import FakeSampler
from plugins.monitor import conditions
from plugins.monitor.settings import MonitorSettings
from tests.bot.flow.small_bot import text

CLUSTER = """
host-a 4cpu 16G load 1 | web-1 4G 2cpu load 0.5 | db-1 8G 2cpu load 1
host-b 4cpu 16G load 1 | app-1 2G load 0.2
host-c 4cpu 16G load 1
host-d 4cpu 16G load 1
"""
SETTINGS = MonitorSettings()
POOL = Pool(
    "images", "dir", "/images", active=True, autostart=True, capacity=100 * GIB, free=50 * GIB
)


class Cluster:
    """A cluster that is looked at again and again, with the watch's memory in between."""

    def __init__(self) -> None:
        self.clock = TickingClock()
        self.hypervisor = FakeHypervisor(draw_cluster(CLUSTER), self.clock)
        self.sampler = FakeSampler(self.hypervisor, self.clock)
        self.memory: dict[str, Any] = {}
        self.incidents: tuple[Incident, ...] = ()

    def look(self, seconds: float = 15, **different: Any) -> dict[str, Alert]:
        """The alerts of one look, by key; ``different``: fields of the snapshot."""
        seen: Snapshot = replace(self.hypervisor.snapshot(), **different)
        measured = Measured(self.sampler.sweep(), incidents=self.incidents)
        history: Any = None
        view = WatchView(seen, (), history, measured, self.memory, self.now)
        looked = conditions.watch(SETTINGS, view)
        self.memory = dict(looked.memory)
        self.clock.turn(seconds)
        return {each.key: each for each in looked.noticed if isinstance(each, Alert)}

    def tag(self, name: str, **tags: str) -> None:
        self.hypervisor.put(replace(self.hypervisor.snapshot().vm(name), tags=tags))

    @property
    def now(self) -> datetime:
        return self.clock.now()


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    assert made.look() == {}
    return made


def test_a_silent_host_is_told_at_once_and_when_it_is_back(cluster: Cluster) -> None:
    cluster.hypervisor.down("host-b")
    (alert,) = cluster.look().values()
    assert (alert.key, alert.over) == ("host:host-b", False)
    assert "1 VM was last seen there" in text(alert.card)
    cluster.hypervisor.up("host-b")
    (alert,) = cluster.look().values()
    assert (alert.key, alert.over) == ("host:host-b", True)
    assert cluster.look() == {}


def test_a_silent_host_without_vms_is_not_said_to_run_any(cluster: Cluster) -> None:
    for vm in cluster.hypervisor.snapshot().on("host-b"):
        cluster.hypervisor.put(replace(vm, state=VmState.SHUT_OFF))
    cluster.hypervisor.down("host-b")
    said = text(cluster.look()["host:host-b"].card)
    assert "No VM was running there when it last answered." in said
    assert "may still be running" not in said


def test_a_host_that_is_put_into_maintenance_still_exists(cluster: Cluster) -> None:
    cluster.hypervisor.down("host-b")
    cluster.look()
    cluster.hypervisor.up("host-b")
    hosts = cluster.hypervisor.snapshot().hosts
    resting = tuple(replace(each, maintenance=each.name == "host-b") for each in hosts)
    said = text(cluster.look(hosts=resting)["host:host-b"].card)
    assert "No longer watched: its object is gone, or in maintenance." in said


def test_half_the_hosts_at_once_is_more_likely_us(cluster: Cluster) -> None:
    cluster.hypervisor.down("host-b")
    cluster.look()
    cluster.hypervisor.down("host-c")
    cluster.hypervisor.down("host-d")
    found = cluster.look()
    assert {key for key, alert in found.items() if not alert.over} == {"network"}
    assert "bot's own network" in str(found["network"].card.title)
    for name in ("host-b", "host-c", "host-d"):
        cluster.hypervisor.up(name)
    assert {key for key, alert in cluster.look().items() if alert.over} == {
        "network",
        "host:host-b",
    }


def test_when_the_network_is_back_a_host_that_stays_silent_is_told(cluster: Cluster) -> None:
    for name in ("host-b", "host-c", "host-d"):
        cluster.hypervisor.down(name)
    assert set(cluster.look()) == {"network"}
    cluster.hypervisor.up("host-c")
    cluster.hypervisor.up("host-d")
    found = cluster.look()
    assert found["network"].over
    assert not found["host:host-b"].over


def test_a_host_in_maintenance_may_be_silent(cluster: Cluster) -> None:
    cluster.hypervisor.down("host-b")
    seen = cluster.hypervisor.snapshot()
    hosts = tuple(replace(host, maintenance=host.name == "host-b") for host in seen.hosts)
    assert cluster.look(hosts=hosts) == {}


def test_a_guest_that_ended_by_itself_is_told_until_it_runs(cluster: Cluster) -> None:
    cluster.sampler.vms["web-1"] = {"state": "shut off", "why": "crashed"}
    (alert,) = cluster.look().values()
    assert str(alert.card.title) == "web-1 crashed"
    assert alert.remedies[0].command == "vm start web-1"
    cluster.sampler.vms.clear()
    assert [each.over for each in cluster.look().values()] == [True]


def test_a_guest_whose_system_crashed_and_that_is_kept_is_told_with_a_reboot(
    cluster: Cluster,
) -> None:
    cluster.sampler.vms["web-1"] = {"state": "paused", "why": "crashed"}
    (alert,) = cluster.look().values()
    assert str(alert.card.title) == "web-1 crashed"
    assert [each.command for each in alert.remedies] == ["vm reboot web-1"]
    cluster.sampler.vms.clear()
    assert [each.over for each in cluster.look().values()] == [True]


def test_a_guest_that_a_person_stopped_is_not(cluster: Cluster) -> None:
    cluster.sampler.vms["web-1"] = {"state": "shut off", "why": ""}
    assert cluster.look() == {}


def test_a_guest_paused_by_its_storage_is_told_one_paused_by_a_person_is_not(
    cluster: Cluster,
) -> None:
    cluster.sampler.vms["web-1"] = {"state": "paused", "why": "ioerror"}
    cluster.sampler.vms["db-1"] = {"state": "paused", "why": "user"}
    assert set(cluster.look()) == {f"io:{uuid_of('web-1')}"}


def test_a_vm_whose_postcopy_broke_is_told_though_it_is_called_running(cluster: Cluster) -> None:
    cluster.sampler.vms["web-1"] = {"state": "running", "why": "postcopy failed"}
    (alert,) = cluster.look().values()
    assert alert.key == f"postcopy:{uuid_of('web-1')}"
    assert [each.command for each in alert.remedies] == ["where web-1", "vm reboot web-1"]


def test_a_watchdog_is_told_and_over_after_a_quiet_hour(cluster: Cluster) -> None:
    web = uuid_of("web-1")
    cluster.sampler.events.append(
        Happening(cluster.now, "host-a", web, "web-1", "watchdog", "action 1")
    )
    assert set(cluster.look()) == {f"watchdog:{web}"}
    assert not cluster.look(seconds=1800)[f"watchdog:{web}"].over
    assert not cluster.look(seconds=1900)[f"watchdog:{web}"].over
    assert cluster.look()[f"watchdog:{web}"].over


def test_a_pool_is_told_above_its_limit_and_over_below_the_lower_one(cluster: Cluster) -> None:
    def filled(gib: int) -> dict[str, Alert]:
        cluster.hypervisor.change("host-a", pools=(replace(POOL, free=(100 - gib) * GIB),))
        return cluster.look()

    assert filled(84) == {}
    assert not filled(86)["pool:host-a/images"].over
    assert not filled(82)["pool:host-a/images"].over
    assert filled(80)["pool:host-a/images"].over


def test_a_shared_pool_is_told_once(cluster: Cluster) -> None:
    full = replace(POOL, free=GIB, shared=True)
    for host in ("host-a", "host-b"):
        cluster.hypervisor.change(host, pools=(full,))
    assert set(cluster.look()) == {"pool:shared/images"}


def test_memory_pressure_must_last_a_minute_and_names_who_could_move(cluster: Cluster) -> None:
    cluster.sampler.hosts["host-a"] = {"used": 15 * GIB}
    assert cluster.look(seconds=30) == {}
    assert cluster.look(seconds=30) == {}
    (alert,) = cluster.look().values()
    assert alert.key == "memory:host-a"
    assert alert.remedies[0].command == "migrate db-1"


def test_contention_is_what_guests_wait_for_together(cluster: Cluster) -> None:
    cluster.sampler.vms["web-1"] = {"wait": 0.5}
    cluster.sampler.vms["db-1"] = {"wait": 0.6}
    assert cluster.look(seconds=120) == {}
    (alert,) = cluster.look().values()
    assert alert.key == "contention:host-a"
    assert alert.remedies[0].command == "migrate db-1"
    cluster.sampler.vms.clear()
    assert cluster.look()["contention:host-a"].over


def test_pressure_is_memory_pressure_and_contention_where_the_kernel_tells_it(
    cluster: Cluster,
) -> None:
    calm, stalled = Pressure(0.1, 0.0, 0.0, 0.9, 0.9), Pressure(0.6, 0.2, 0.1, 0.0, 0.0)
    cluster.sampler.hosts["host-a"] = {"pressure": calm}
    assert cluster.look(seconds=300) == {}
    cluster.sampler.hosts["host-a"] = {"pressure": stalled}
    assert cluster.look(seconds=300) == {}
    found = cluster.look()
    assert set(found) == {"memory:host-a", "contention:host-a"}
    assert "Memory pressure (PSI) 20%" in str(found["memory:host-a"].card.text)
    assert "CPU pressure (PSI) 60%" in str(found["contention:host-a"].card.text)
    assert str(found["contention:host-a"].card.title) == "CPU pressure on host-a", "no VM waits"
    assert found["contention:host-a"].remedies == ()
    cluster.sampler.hosts["host-a"] = {"pressure": replace(stalled, cpu=0.4, memory=0.07)}
    assert not any(each.over for each in cluster.look().values())
    cluster.sampler.hosts["host-a"] = {"pressure": calm}
    assert all(each.over for each in cluster.look().values())


def test_an_alert_says_that_vms_wait_only_where_they_do(cluster: Cluster) -> None:
    cluster.sampler.hosts["host-a"] = {"pressure": Pressure(0.9, 0.0, 0.0, 0.0, 0.0)}
    cluster.look(seconds=300)
    card = cluster.look()["contention:host-a"].card
    assert str(card.title) == "CPU pressure on host-a"
    assert "No VM there waits" in str(card.text)
    cluster.sampler.vms["db-1"] = {"wait": 0.4}
    alert = cluster.look()["contention:host-a"]
    assert (str(alert.card.title), alert.remedies[0].command) == (
        "VMs on host-a wait for CPU",
        "migrate db-1",
    )
    assert "nobody" not in text(alert.card)


def test_no_move_is_offered_where_no_other_host_is_better(cluster: Cluster) -> None:
    """To a host with the same trouble, in maintenance or not measured no move helps."""
    stalled = {"pressure": Pressure(0.9, 0.3, 0.0, 0.0, 0.0)}
    cluster.sampler.vms["db-1"] = {"wait": 0.4}
    for name in ("host-a", "host-b", "host-c", "host-d"):
        cluster.sampler.hosts[name] = stalled
    cluster.look(seconds=300)
    found = cluster.look()
    assert found["contention:host-a"].remedies == found["memory:host-a"].remedies == ()
    assert "No other host has CPU to spare" in text(found["contention:host-a"].card)
    assert "No other host has memory to spare" in text(found["memory:host-a"].card)
    cluster.sampler.hosts["host-c"] = {"pressure": Pressure(0.1, 0.0, 0.0, 0.0, 0.0)}
    found = cluster.look()
    assert found["contention:host-a"].remedies[0].command == "migrate db-1"
    assert found["memory:host-a"].remedies[0].command == "migrate db-1"
    assert "to spare" not in text(found["contention:host-a"].card)


def test_idle_huge_pages_are_no_memory_in_use(cluster: Cluster) -> None:
    """Nine tenths of the host are set aside: of what is left, little is used."""
    cluster.sampler.hosts["host-a"] = {"memory": 2 * GIB, "used": GIB, "huge": 14 * GIB}
    cluster.look(seconds=300)
    assert "memory:host-a" not in cluster.look()


def test_old_snapshots_are_one_alert(cluster: Cluster) -> None:
    old = cluster.now - timedelta(days=20)
    cluster.sampler.snapshots = tuple(
        SnapshotSeen("host-a", uuid_of(name), name, "before", old) for name in ("web-1", "db-1")
    )
    assert cluster.look(seconds=3600) == {}
    (alert,) = cluster.look().values()
    assert str(alert.card.title) == "2 snapshots are too old"
    assert alert.remedies[0].command == "vm snapshot delete web-1 before"


def test_backups_that_are_too_old_are_one_alert_until_they_are_made(cluster: Cluster) -> None:
    cluster.tag("web-1", backup="1d")
    cluster.tag(
        "db-1", **{"backup": "2d", "backed-up": (cluster.now - timedelta(days=1)).isoformat()}
    )
    assert cluster.look(seconds=3600) == {}
    (alert,) = cluster.look(seconds=86400).values()
    assert str(alert.card.title) == "Backup of 1 VM is too old"
    assert "web-1: no known backup" in str(alert.card.text)
    (alert,) = cluster.look().values()
    assert "db-1: 2 d 1 h ago" in str(alert.card.text)
    cluster.sampler.checkpoints = tuple(
        SnapshotSeen("host-a", uuid_of(name), name, "nightly", cluster.now)
        for name in ("web-1", "db-1")
    )
    assert [each.over for each in cluster.look().values()] == [True]


def test_a_backup_of_a_guest_on_a_silent_host_is_not_known(cluster: Cluster) -> None:
    cluster.tag("web-1", backup="1d")
    cluster.look(seconds=3600)
    assert set(cluster.look()) == {"backups"}
    cluster.hypervisor.down("host-a")
    assert "backups" not in cluster.look()
    cluster.hypervisor.up("host-a")
    assert not cluster.look()["backups"].over


def test_what_was_removed_is_over(cluster: Cluster) -> None:
    cluster.sampler.vms["web-1"] = {"state": "paused", "why": "ioerror"}
    cluster.look()
    seen = cluster.hypervisor.snapshot()
    cluster.hypervisor = FakeHypervisor(
        replace(seen, vms=tuple(v for v in seen.vms if v.name != "web-1")), cluster.clock
    )
    cluster.sampler.hypervisor = cluster.hypervisor
    assert [each.over for each in cluster.look().values()] == [True]
    assert cluster.memory == {}


def test_what_a_silent_host_has_is_not_over(cluster: Cluster) -> None:
    cluster.sampler.vms["web-1"] = {"state": "paused", "why": "ioerror"}
    cluster.look()
    cluster.hypervisor.down("host-a")
    assert [alert.key for alert in cluster.look().values() if alert.over] == []
    assert f"io:{uuid_of('web-1')}" in cluster.memory


@pytest.mark.parametrize("down", [(), ("host-b",), ("host-b", "host-c", "host-d")])
def test_what_is_left_out_would_have_told_nothing(cluster: Cluster, down: tuple[str, ...]) -> None:
    full = replace(POOL, name="full", free=5 * GIB)
    for name in down:
        cluster.hypervisor.down(name)
    for free in (POOL, full, POOL):
        seen = cluster.hypervisor.snapshot()
        hosts = tuple(replace(host, pools=(free,)) for host in seen.hosts)
        seen, sweep = replace(seen, hosts=hosts), cluster.sampler.sweep()
        history: Any = None
        view = WatchView(seen, (), history, Measured(sweep), cluster.memory, cluster.now)
        every = list(conditions.conditions(SETTINGS, seen, sweep, cluster.now))
        some = list(conditions.conditions(SETTINGS, seen, sweep, cluster.now, cluster.memory))
        blind = any(host.silent for host in sweep.hosts)
        assert len(some) < len(every)
        assert evaluate(some, view, blind=blind) == evaluate(every, view, blind=blind)
        cluster.look(hosts=hosts)


def test_an_end_that_was_not_told_is_told_again(cluster: Cluster) -> None:
    cluster.incidents = (Incident("host:host-b", "host-b does not answer", cluster.now),)
    assert [each.over for each in cluster.look().values()] == [True]


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="would end at once"):
        MonitorSettings(pool_full=0.7)
