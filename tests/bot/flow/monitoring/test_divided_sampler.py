"""Two replicas measure a cluster together: each host once, and nothing is told to be newer than it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.sql.leases import SqlLeases
from bot.adapters.sql.series import SqlSeries
from bot.domain.errors import StoreError
from bot.domain.metrics import Happening, HostSample, SnapshotSeen, VmSample
from bot.flow.monitoring.divided_sampler import DividedSampler
from bot.flow.monitoring.shared_samples import Part, from_text, to_text
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from bot.testing.sampler import FakeSampler

HOSTS = tuple(f"host-{number:02}" for number in range(20))
EVERY = 3600.0  # real seconds pass while a test runs: none of them is long beside this
OLD = 4 * EVERY


@dataclass
class Replica:
    """One replica's way to measure, and what it asks the hosts with."""

    sampler: FakeSampler
    divided: DividedSampler
    clock: TickingClock

    def measures(self) -> frozenset[str]:
        """Look once; the hosts that were asked."""
        before = len(self.sampler.asked)
        self.sweep = self.divided.sweep()
        assert [each.name for each in self.sweep.hosts] == list(HOSTS)
        assert sorted(vm.name for vm in self.sweep.vms) == sorted(f"vm-{name}" for name in HOSTS)
        return frozenset().union(*self.sampler.asked[before:])


@dataclass
class Site:
    """A cluster and its database."""

    series: SqlSeries
    hypervisor: FakeHypervisor = field(
        default_factory=lambda: FakeHypervisor(
            draw_cluster(
                "\n".join(f"{name} 16cpu 64G load 1 | vm-{name} 4G load 0.5" for name in HOSTS)
            ),
            TickingClock(),
        )
    )

    def replica(self, name: str, ahead: float = 0.0) -> Replica:
        """A replica that counts as alive, whose clock is so many seconds ahead."""
        self.sql("INSERT INTO replicas (name, beats, epoch) VALUES (:name, 1, 'e')", name=name)
        clock = TickingClock()
        clock.turn(ahead)
        sampler = FakeSampler(self.hypervisor, clock)
        leases = self.series.leases(name)
        divided = DividedSampler(sampler, leases, clock, name, HOSTS, EVERY)
        return Replica(sampler, divided, clock)

    def dies(self, name: str) -> None:
        """The others took a replica for dead."""
        self.sql("DELETE FROM replicas WHERE name = :name", name=name)

    def pass_time(self, seconds: float) -> None:
        """For the database: all that is kept is older."""
        self.sql(
            "UPDATE leases SET leased_at = leased_at - :s, measured_at = measured_at - :s",
            s=seconds,
        )

    def sql(self, text: str, **given: object) -> None:
        with self.series._engine.begin() as connection:
            connection.execute(sa.text(text), given)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    yield Site(series)
    series.close()


def test_one_replica_measures_all_and_writes_nothing(site: Site) -> None:
    one = site.replica("one")
    assert one.measures() == set(HOSTS)
    assert site.series.leases("one").leases() == {}


def test_two_replicas_measure_each_host_once_and_both_see_all(site: Site) -> None:
    one, two = site.replica("one"), site.replica("two")
    first, second = one.measures(), two.measures()
    assert first == set(HOSTS), "nothing was there yet of what the other one is to measure"
    for _ in range(3):
        first, second = one.measures(), two.measures()
        assert first | second == set(HOSTS)
        assert not first & second
        assert min(len(first), len(second)) >= len(HOSTS) // 5
    assert [vm.cpu for vm in one.sweep.vms] == [vm.cpu for vm in two.sweep.vms]


def test_a_replica_that_comes_later_gets_its_share_in_two_looks(site: Site) -> None:
    one = site.replica("one")
    one.measures()
    two = site.replica("two")
    two.measures()
    one.measures()
    two.measures()
    first, second = one.measures(), two.measures()
    assert first | second == set(HOSTS)
    assert not first & second
    assert second


def test_what_a_dead_replica_measured_is_measured_by_the_other_at_its_next_look(site: Site) -> None:
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()
    site.dies("two")
    assert one.measures() == set(HOSTS)


def test_of_three_replicas_the_two_that_are_left_divide_a_dead_ones_share(site: Site) -> None:
    all_three = [site.replica(name) for name in ("one", "two", "three")]
    for _ in range(2):
        for each in all_three:
            each.measures()
    site.dies("three")
    one, two, _ = all_three
    first, second = one.measures(), two.measures()
    first, second = one.measures(), two.measures()
    assert first | second == set(HOSTS)
    assert not first & second


def test_a_replica_that_is_alive_but_measures_nothing_loses_its_hosts(site: Site) -> None:
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()
    site.pass_time(OLD + 1)
    one.divided._taken.clear()
    assert one.measures() == set(HOSTS)


def test_a_replica_that_was_frozen_overwrites_nothing_when_it_wakes_up(site: Site) -> None:
    all_three = [site.replica(name) for name in ("one", "two", "three")]
    for _ in range(2):
        for each in all_three:
            each.measures()
    one, two, three = all_three
    theirs = three.measures()
    site.dies("three")
    for _ in range(2):
        one.measures(), two.measures()
    frozen = site.series.leases("three")
    frozen.keep(dict.fromkeys(theirs, "from before"), 0.0)
    assert theirs
    assert "from before" not in frozen.samples(HOSTS).values()


def test_a_replica_that_stops_gives_its_hosts_up(site: Site) -> None:
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()
    two.divided.close()
    assert {each.replica for each in site.series.leases("one").leases().values()} == {"one", ""}


@pytest.mark.parametrize("ahead", [-86_400.0, 0.0, 86_400.0])
def test_a_sweep_is_as_old_as_its_oldest_part_whatever_the_others_clock_says(
    site: Site, ahead: float
) -> None:
    one, two = site.replica("one"), site.replica("two", ahead)
    for _ in range(2):
        one.measures(), two.measures()
    theirs = two.measures()
    site.pass_time(600.0)
    one.divided._taken.clear()
    mine = one.measures()
    assert not mine & theirs
    now = one.clock.now()
    assert timedelta(seconds=600) <= now - one.sweep.at < timedelta(seconds=600 + EVERY / 2)
    for host in one.sweep.hosts:
        assert host.seen_at is not None
        age = now - host.seen_at
        assert (age >= timedelta(seconds=600)) == (host.name in theirs)
        assert age < timedelta(seconds=600 + EVERY / 2)


def test_without_the_database_each_replica_measures_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()

    def fail(*_: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(SqlLeases, "leases", fail)
    assert one.measures() == set(HOSTS)
    monkeypatch.undo()
    monkeypatch.setattr(SqlLeases, "keep", fail)
    one.divided._taken.clear()
    assert one.measures() == set(HOSTS)


def test_a_host_that_does_not_answer_the_other_replica_is_asked_here_too(site: Site) -> None:
    """No alert says that a host is silent because one replica cannot reach it."""
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()
    lost = min(two.measures())
    two.sampler.hosts[lost] = {"problem": "no answer within 5 s"}
    two.measures()
    assert lost in one.measures()
    sample = one.sweep.host(lost)
    assert sample is not None
    assert not sample.silent


def test_what_hosts_tell_by_themselves_is_told_by_each_replica(site: Site) -> None:
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()
    theirs = min(two.measures())
    event = Happening(one.clock.now(), theirs, "u-1", "vm", "crashed")
    one.sampler.events.append(event)
    one.measures()
    assert one.sweep.events == (event,)


def test_a_sample_that_cannot_be_read_is_measured_here(site: Site) -> None:
    one, two = site.replica("one"), site.replica("two")
    for _ in range(2):
        one.measures(), two.measures()
    theirs = two.measures()
    site.sql('UPDATE leases SET data = \'{"host": {"is": "Newer"}}\' WHERE replica = \'two\'')
    one.divided._taken.clear()
    assert theirs <= one.measures()


def test_a_sample_is_the_same_after_the_way_through_the_database() -> None:
    now = TickingClock().now()
    part = Part(
        HostSample("a", now - timedelta(seconds=3), "", 16, 1.5, 0.1, 64 << 30, 5 << 30, 0.02),
        (VmSample("u-1", "web", "a", "running", 2, 0.5, None, 1 << 30, why="booted"),),
        (SnapshotSeen("a", "u-1", "web", "before", now),),
        (SnapshotSeen("a", "u-1", "web", "backup", now),),
    )
    text = to_text(part, now)
    assert from_text(text, now) == part
    later = now + timedelta(hours=1)
    assert from_text(text, later).host == replace(part.host, seen_at=later - timedelta(seconds=3))


def test_a_newer_replicas_fields_are_left_out_and_an_older_ones_are_as_usual() -> None:
    now = TickingClock().now()
    part = Part(HostSample("a", now), (VmSample("u-1", "web", "a", "running", cpu=0.5),), (), ())
    text = to_text(part, now)
    newer = text.replace('"why"]', '"why", "mood"]').replace('""]', '"", "good"]')
    assert newer != text
    assert from_text(newer, now) == part
    older = text.replace(', "why"]', "]").replace(', ""]', "]")
    assert older != text
    assert from_text(older, now) == part
