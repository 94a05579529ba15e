"""Sampling: numbers from counters that a test turns, libvirt's own test driver, and what hosts tell by themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import libvirt
import pytest

from bot.adapters.libvirt.events.incidents import Alarms
from bot.adapters.libvirt.read import domain_xml, sampling, stats
from bot.adapters.libvirt.read.sampling import GAP, HostSampler, LibvirtSampler
from bot.adapters.libvirt.transport.connections import HostAddress
from bot.adapters.libvirt.transport.parts import HANDLES, Parts
from bot.domain.metrics import CLUSTER, Metric, Point, Sweep, points, rate
from bot.testing import TickingClock

KIB = 1024


@dataclass
class Domain:
    """A guest's handle."""

    title: str = "web-1"
    backing: str = ""

    def ID(self) -> int:  # noqa: N802
        return 7

    def XMLDesc(self) -> str:  # noqa: N802
        return f"<domain><name>{self.title}</name><memoryBacking>{self.backing}</memoryBacking></domain>"

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return f"uuid-{self.title}"

    def name(self) -> str:
        return self.title


@dataclass
class Host:
    """A connection whose answers a test sets; ``asked`` collects the groups that were asked for."""

    records: dict[str, dict[str, int]] = field(default_factory=dict)
    cpu: dict[str, int] = field(
        default_factory=lambda: {"kernel": 0, "user": 0, "intr": 0, "iowait": 0}
    )
    asked: list[int] = field(default_factory=list)
    memory: dict[str, int] = field(
        default_factory=lambda: {"total": 1000, "free": 300, "buffers": 50, "cached": 50}
    )
    backing: str = ""
    pages: str = ""

    def isAlive(self) -> bool:  # noqa: N802
        return True

    def getCapabilities(self) -> str:  # noqa: N802
        cell = f"<topology><cells num='1'><cell id='0'>{self.pages}</cell></cells></topology>"
        return f"<capabilities><host>{cell}</host></capabilities>"

    def getAllDomainStats(self, groups: int, flags: int) -> list[tuple[Domain, dict[str, int]]]:  # noqa: N802
        assert flags == libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        self.asked.append(groups)
        return [(Domain(name, self.backing), dict(record)) for name, record in self.records.items()]

    def getInfo(self) -> list[Any]:  # noqa: N802
        return ["x86_64", 1000, 8, 2000, 1, 1, 8, 1]

    def getMemoryStats(self, cell: int) -> dict[str, int]:  # noqa: N802
        return dict(self.memory)

    def getCPUStats(self, cpu: int) -> dict[str, int]:  # noqa: N802
        return dict(self.cpu)

    def listAllDomains(self, flags: int) -> list[Any]:  # noqa: N802
        return []


class Seconds:
    """``time.monotonic`` that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    made = Seconds()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def sampled(slow_every: int = 1) -> HostSampler:
    return HostSampler(HostAddress("host-a", "test:///default", ""), clock=TickingClock(), deadline=1.0,
                       slow_every=slow_every)  # fmt: skip


RUNNING = {
    "state.state": 1, "state.reason": 1, "cpu.time": 10**9, "vcpu.current": 2, "vcpu.0.delay": 0, "vcpu.1.delay": 0,
    "balloon.current": 400, "balloon.available": 390, "balloon.usable": 90, "block.count": 2,
    "block.0.rd.bytes": 0, "block.1.rd.bytes": 0, "block.0.wr.bytes": 0, "net.0.rx.bytes": 0, "net.0.tx.bytes": 0,
}  # fmt: skip


def test_huge_pages_that_are_set_aside_later_are_seen_and_those_that_read_as_before_not_read_again(
    seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def document(xml: str) -> object:
        read.append(xml)
        return domain_xml.document(xml)

    monkeypatch.setattr(sampling, "document", document)
    made, host, huge = sampled(), Host(memory={"total": 8192, "free": 8000}), []
    for pages in (
        "",
        "",
        "<pages unit='KiB' size='2048'>2</pages>",
        "<pages unit='KiB' size='2048'>2</pages>",
    ):
        host.pages = pages
        huge.append(made._measure(host).host.huge)
        seconds.now += 61
    assert huge == [0, 0, 4 << 20, 4 << 20]
    assert len(read) == 2


class Watched(Host):
    """A host that notes whether ``HANDLES`` was held when it was asked."""

    held: list[bool]

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("get", "listAll")):
            self.held.append(HANDLES.locked())
        return super().__getattribute__(name)


class Handle(Domain):
    """A guest's handle that notes whether ``HANDLES`` was held when it told what it keeps, and when it ended."""

    told: list[bool]
    asked: list[bool]

    def UUIDString(self) -> str:  # noqa: N802
        self.told.append(HANDLES.locked())
        return super().UUIDString()

    def ID(self) -> int:  # noqa: N802
        self.told.append(HANDLES.locked())
        return super().ID()

    def XMLDesc(self) -> str:  # noqa: N802
        self.asked.append(HANDLES.locked())
        return super().XMLDesc()

    def __del__(self) -> None:
        self.told.append(HANDLES.locked())


@pytest.mark.parametrize("look", ["sampler", "inventory"])
def test_handles_are_asked_by_one_thread_at_a_time_and_no_host_meanwhile(
    look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    asked: list[bool] = []
    monkeypatch.setattr(Handle, "told", told, raising=False)
    monkeypatch.setattr(Handle, "asked", asked, raising=False)
    monkeypatch.setattr(Watched, "held", asked, raising=False)
    monkeypatch.setitem(globals(), "Domain", Handle)
    host = Watched({name: dict(RUNNING) for name in ("web-1", "web-2")})
    if look == "sampler":
        assert [vm.name for vm in sampled()._measure(host).vms] == ["web-1", "web-2"]
    else:
        assert [vm.name for vm in stats.sweep(host, Parts(host))] == ["web-1", "web-2"]
    assert set(told) == {True}
    assert set(asked) == {False}


def test_rates_are_what_grew_between_two_sweeps(seconds: Seconds) -> None:
    host, sampler = Host({"web-1": dict(RUNNING)}), sampled()
    (first,) = sampler._measure(host).vms
    assert (first.cpu, first.wait, first.read) == (None, None, None)
    assert (first.memory, first.used, first.vcpus) == (400 * KIB, 300 * KIB, 2)
    seconds.now += 10
    host.records["web-1"] |= {
        "cpu.time": 6 * 10**9, "vcpu.0.delay": 10**9, "vcpu.1.delay": 2 * 10**9, "block.0.rd.bytes": 1000,
        "block.1.rd.bytes": 3000, "net.0.tx.bytes": 50,
    }  # fmt: skip
    host.cpu |= {"user": 20 * 10**9, "iowait": 5 * 10**9}
    answer = sampler._measure(host)
    (vm,) = answer.vms
    assert (vm.cpu, vm.read, vm.written, vm.sent) == (0.5, 400.0, 0.0, 5.0)
    assert vm.wait == pytest.approx(0.3)
    assert (vm.disk, vm.net) == (400.0, 5.0)
    assert (answer.host.cpu, answer.host.wait) == (2.0, 0.5)
    assert (answer.host.memory, answer.host.used, answer.host.cpus) == (1000 * KIB, 600 * KIB, 8)


def test_counters_that_begin_anew_are_no_negative_rate(seconds: Seconds) -> None:
    host, sampler = Host({"web-1": {**RUNNING, "cpu.time": 9 * 10**9}}), sampled()
    sampler._measure(host)
    seconds.now += 10
    host.records["web-1"]["cpu.time"] = 10**9
    assert sampler._measure(host).vms[0].cpu is None
    seconds.now += 10
    host.records["web-1"]["cpu.time"] = 2 * 10**9
    assert sampler._measure(host).vms[0].cpu == 0.1


def test_after_a_long_time_without_a_look_rates_begin_anew(seconds: Seconds) -> None:
    """Another replica measured the host meanwhile, or it was silent: a mean over that time is not its load."""
    host, sampler = Host({"web-1": dict(RUNNING)}), sampled(slow_every=3)
    sampler._measure(host)
    seconds.now += GAP + 1
    host.records["web-1"] |= {"cpu.time": 9 * 10**9, "block.0.rd.bytes": 1000}
    host.cpu |= {"user": 20 * 10**9}
    answer = sampler._measure(host)
    (vm,) = answer.vms
    assert (vm.cpu, vm.wait, vm.read, answer.host.cpu) == (None, None, None, None)
    assert vm.memory == 400 * KIB, "what is no rate is known at once"
    seconds.now += 10
    host.records["web-1"] |= {"cpu.time": 14 * 10**9}
    (vm,) = sampler._measure(host).vms
    assert vm.cpu == 0.5


def test_costly_groups_are_asked_for_less_often_and_stand_meanwhile(seconds: Seconds) -> None:
    host, sampler = Host({"web-1": dict(RUNNING)}), sampled(slow_every=3)
    for number in range(7):
        host.records["web-1"]["block.0.rd.bytes"] = 1000 * number
        (vm,) = sampler._measure(host).vms
        seconds.now += 1
    costly = [bool(groups & libvirt.VIR_DOMAIN_STATS_BLOCK) for groups in host.asked]
    assert costly == [True, False, False, True, False, False, True]
    assert (vm.memory, vm.read) == (400 * KIB, 1000.0)
    (vm,) = sampler._measure(host).vms
    assert (vm.memory, vm.read) == (400 * KIB, 1000.0)


@pytest.mark.parametrize(
    ("backing", "used"),
    [
        ("", 600),  # anonymous memory is not free, and not cached either
        ("<source type='memfd'/>", 900),
        ("<access mode='shared'/>", 900),
        ("<source type='memfd'/><access mode='shared'/>", 900),
        ("<access mode='private'/>", 600),
        ("<source type='file'/>", 600),
        ("<hugepages/><access mode='shared'/>", 600),  # huge pages are not among what is cached
    ],
)
def test_shared_memory_of_guests_is_in_use_though_the_kernel_calls_it_cached(
    seconds: Seconds, backing: str, used: int
) -> None:
    host = Host({"web-1": {**RUNNING, "balloon.rss": 300}}, backing=backing)
    host.memory |= {"free": 50, "cached": 300}
    sampler = sampled(slow_every=2)
    assert sampler._measure(host).host.used == used * KIB
    host.records["web-1"].pop("balloon.rss")
    assert sampler._measure(host).host.used == used * KIB, (
        "what was told last stands between two slow sweeps"
    )


def test_what_qemu_itself_takes_is_not_counted_twice(seconds: Seconds) -> None:
    """Resident are 450: 400 of the guest's memory, which are cached, and 50 of QEMU's own, which are not."""
    host = Host({"web-1": {**RUNNING, "balloon.rss": 450}}, backing="<source type='memfd'/>")
    host.memory |= {"free": 100, "cached": 420}
    assert sampled()._measure(host).host.used == (1000 - 100 - 50 - 20) * KIB


def test_more_is_never_in_use_than_there_is(seconds: Seconds) -> None:
    host = Host({"web-1": {**RUNNING, "balloon.rss": 5000}}, backing="<source type='memfd'/>")
    assert sampled()._measure(host).host.used == (1000 - 300 - 50) * KIB


def test_a_guest_that_is_off_uses_nothing(seconds: Seconds) -> None:
    record = {**RUNNING, "state.state": 5, "balloon.rss": 300}
    host = Host({"web-1": record}, backing="<source type='memfd'/>")
    host.memory |= {"cached": 400}
    assert sampled()._measure(host).host.used == (1000 - 300 - 50 - 400) * KIB


def test_huge_pages_are_told_apart_be_they_in_use_or_not(seconds: Seconds) -> None:
    host = Host(
        pages="<pages unit='KiB' size='4'>150</pages><pages unit='KiB' size='2048'>3</pages>"
    )
    host.memory = {"total": 10 * 1024, "free": 1024, "buffers": 0, "cached": 0}
    sample = sampled()._measure(host).host
    assert (sample.huge, sample.memory, sample.used) == (6 << 20, 4 << 20, 3 << 20)


def test_a_guest_that_left_is_forgotten(seconds: Seconds) -> None:
    host, sampler = Host({"web-1": dict(RUNNING), "db-1": dict(RUNNING)}), sampled()
    sampler._measure(host)
    del host.records["db-1"]
    sampler._measure(host)
    assert set(sampler._costly) == {"uuid-web-1"}


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, ("shut off", "crashed")),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, ("shut off", "")),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, ("paused", "ioerror")),
        (libvirt.VIR_DOMAIN_RUNNING, 1, ("running", "")),
        (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED, ("paused", "crashed")),
        (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_UNKNOWN, ("paused", "crashed")),
    ],
)
def test_why_a_guest_is_in_its_state_is_told(
    seconds: Seconds, state: int, reason: int, told: tuple[str, str]
) -> None:
    host = Host({"web-1": {**RUNNING, "state.state": state, "state.reason": reason}})
    (vm,) = sampled()._measure(host).vms
    assert (vm.state, vm.why) == told


def test_libvirts_own_test_driver_is_sampled_and_a_host_that_is_not_there_delays_nobody() -> None:
    hosts = [
        HostAddress("here", "test:///default", ""),
        HostAddress("gone", "qemu:///system?socket=/nonexistent/libvirt-sock", ""),
    ]
    sampler = LibvirtSampler(hosts, clock=TickingClock(), deadline=10.0)
    try:
        sweep = sampler.sweep()
    finally:
        sampler.close()
    here, gone = sweep.hosts
    assert (here.silent, gone.silent, gone.seen_at) == (False, True, None)
    assert "nonexistent" in str(gone.problem) or "Failed to connect" in str(gone.problem)
    assert [(vm.name, vm.host, vm.state) for vm in sweep.vms] == [("test", "here", "running")]
    assert {point.entity.partition(":")[0] for point in points(sweep)} >= {"cluster", "host"}


def test_what_people_should_know_is_told_once() -> None:
    alarms = Alarms("host-a", TickingClock())
    stopped, crashed = libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED
    alarms._lifecycle(None, Domain(), stopped, crashed, None)
    alarms._lifecycle(None, Domain(), stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, None)
    alarms._io_error(None, Domain(), "/disk.qcow2", "vda", 1, "enospc", None)
    alarms._watchdog(None, Domain(), 1, None)
    alarms._threshold(None, Domain(), "vda", "/disk.qcow2", 1000, 5, None)
    found = alarms.take()
    assert [each.kind for each in found] == ["crashed", "ioerror", "watchdog", "threshold"]
    assert "enospc" in str(found[1].detail)
    assert alarms.take() == ()


def test_a_rate_needs_two_counts_and_time() -> None:
    assert rate(1, 11, 5) == 2.0
    assert rate(None, 11, 5) is None
    assert rate(1, None, 5) is None
    assert rate(11, 1, 5) is None
    assert rate(1, 11, 0) is None


def test_a_cluster_is_the_sum_of_what_all_hosts_could_tell(seconds: Seconds) -> None:
    host, sampler = Host({"web-1": dict(RUNNING)}), sampled()
    first = sampler._measure(host)
    seconds.now += 10
    host.cpu["user"] = 10**10
    second = sampler._measure(host)
    at = TickingClock().now()

    def cluster(*answers: Any) -> Point:
        return next(
            p
            for p in points(Sweep(at, tuple(each.host for each in answers)))
            if p.entity == CLUSTER
        )

    assert cluster(second, second).values[Metric.CPU] == 2.0
    assert Metric.CPU not in cluster(first, second).values
    assert cluster(first, second).values[Metric.MEMORY] == 1200 * KIB
