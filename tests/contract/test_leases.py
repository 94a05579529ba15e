"""One contract for the leases by which replicas divide hosts: SQLite and a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from bot.adapters.sql.leases import SqlLeases
from bot.adapters.sql.series import SqlSeries
from bot.ports.series import Leases

HOUR = 3600.0


@pytest.fixture
def one(series: SqlSeries) -> Leases:
    return series.leases("one")


@pytest.fixture
def two(series: SqlSeries) -> Leases:
    return series.leases("two")


def enters(series: SqlSeries, name: str, epoch: str) -> None:
    row = {"name": name, "epoch": epoch}
    with series._engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO replicas (name, beats, epoch) VALUES (:name, 1, :epoch)"), row
        )


def pass_time(series: SqlSeries, seconds: float) -> None:
    """Make everything that is kept older."""
    with series._engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE leases SET leased_at = leased_at - :s, measured_at = measured_at - :s"),
            {"s": seconds},
        )


def test_a_replica_that_was_taken_for_dead_does_not_count(series: SqlSeries, one: Leases) -> None:
    enters(series, "one", "e1")
    enters(series, "two", "")
    assert one.replicas() == {"one"}


def test_a_lease_is_taken_by_one(one: Leases, two: Leases) -> None:
    assert one.claim({"a": None, "b": None}) == {"a", "b"}
    assert two.claim({"b": None, "c": None}) == {"c"}
    assert {host: each.replica for host, each in two.leases().items()} == {
        "a": "one",
        "b": "one",
        "c": "two",
    }


def test_a_lease_is_taken_as_it_was_read_or_not_at_all(
    series: SqlSeries, one: Leases, two: Leases
) -> None:
    one.claim({"a": None})
    pass_time(series, HOUR)
    before = two.leases()["a"]
    assert before.age >= HOUR
    one.keep({"a": "still here"}, 0.0)
    assert two.claim({"a": before}) == frozenset()
    assert two.claim({"a": two.leases()["a"]}) == {"a"}
    assert two.leases()["a"].age < HOUR


def test_what_is_given_up_is_free_and_what_was_measured_stays(one: Leases, two: Leases) -> None:
    one.claim({"a": None, "b": None})
    one.keep({"a": "sample"}, 0.0)
    two.release(["a"])
    assert two.leases()["a"].replica == "one"
    one.release(["a"])
    lease = two.leases()["a"]
    assert (lease.replica, two.samples(["a"])) == ("", {"a": "sample"})
    assert two.claim({"a": lease}) == {"a"}


def test_a_sample_is_as_old_as_it_was_when_it_was_kept(one: Leases, two: Leases) -> None:
    one.claim({"a": None, "b": None})
    one.keep({"a": "sample"}, 20.0)
    leases = two.leases()
    assert leases["b"].measured is None
    assert leases["a"].measured is not None
    assert 20.0 <= leases["a"].measured < 20.0 + HOUR
    assert two.samples(["a", "b"]) == {"a": "sample"}


def test_who_lost_a_lease_keeps_nothing(series: SqlSeries, one: Leases, two: Leases) -> None:
    """A process that was frozen wakes up and writes what it measured before."""
    one.claim({"a": None})
    pass_time(series, HOUR)
    two.claim(two.leases())
    two.keep({"a": "new"}, 0.0)
    one.keep({"a": "old"}, 0.0)
    assert one.samples(["a"]) == {"a": "new"}


def test_of_replicas_that_claim_at_once_one_gets_each(series: SqlSeries) -> None:
    names = [f"host-{number}" for number in range(40)]
    replicas = [series.leases(f"r{number}") for number in range(4)]

    def claim(leases: SqlLeases) -> frozenset[str]:
        return leases.claim(dict.fromkeys(names))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(claim, replicas))
    assert sorted(host for each in found for host in each) == sorted(names)
