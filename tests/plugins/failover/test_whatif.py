"""What a failover would do, on the cluster as it is: nothing is ordered, and each VM left off has its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.unread import Unread
from bot.testing.power import Fault
from tests.plugins.failover.test_failover import A, Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


@pytest.mark.parametrize("line", ["failover drill host-a", "host failover host-a --dry-run"])
def test_l27_a_drill_shows_the_plan_and_orders_nothing(room: Room, line: str) -> None:
    before = list(room.bot.hypervisor.calls)
    said = room.asks(line)
    assert "If host-a died now, 2 of its 2 running VMs would start elsewhere." in said
    assert "'db-1', 'host-c', '1'" in said
    assert "the same machine" in said
    assert room.power.orders == []
    assert room.bot.hypervisor.calls == before
    assert room.bot.store.operations() == ()
    assert room.bot.store.holds() == ()


def test_l16_a_vm_that_stays_off_has_its_reason(tmp_path: Path) -> None:
    room = room_in(
        tmp_path,
        """
        host-a  16cpu 64G | big-1 60G | web-1 2G [failover=off] | db-1 1G paused
        host-b  16cpu 32G
        host-c  16cpu 32G
        """,
    )
    said = room.asks("failover drill host-a")
    assert "0 of its 3 running VMs" in said
    assert "big-1 needs 60 GiB" in said
    assert "has the tag `failover=off`" in said
    assert "db-1 was paused on host-a, not running" in said
    room.bot.store.close()


def test_a_tag_that_means_nothing_is_told_and_off_is_off_however_it_is_written(
    tmp_path: Path,
) -> None:
    room = room_in(
        tmp_path,
        """
        host-a  16cpu 64G | web-1 2G [failover=Off] | db-1 1G [failover=offf] | app-1 1G
        host-b  16cpu 32G
        """,
    )
    said = room.asks("failover drill host-a")
    assert "web-1 stays off: " in said
    assert "These tags mean nothing, and count as normal: db-1 (failover=offf)." in said
    assert "2 of its 3 running VMs" in said
    room.bot.store.close()


def test_the_status_counts_what_could_start_and_says_what_proves_each_host_off(room: Room) -> None:
    room.power.fault(A, Fault.DEAD)
    said = room.asks("failover status")
    assert "Failover readiness: 3 of 3 running VMs could start elsewhere." in said
    assert "none: no power controller" in said
    assert "no answer in 20 s" in said
    assert "Mode `propose`: Drover proposes a failover of a dead host" in said
    assert room.power.orders == []


def test_a_host_that_cannot_list_its_bridges_is_not_held_to_lack_one(room: Room) -> None:
    """As on Debian 13 without libvirt's driver for interfaces: the start itself tells."""
    for host in ("host-b", "host-c"):
        room.bot.hypervisor.change(host, bridges=frozenset())
    assert "lacks: bridge br0" in room.asks("failover drill host-a")
    for host in ("host-b", "host-c"):
        room.bot.hypervisor.change(host, unread=(Unread("interface", "", "no driver"),))
    assert "2 of its 2 running VMs would start" in room.asks("failover drill host-a")
