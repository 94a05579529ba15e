"""Which copies of a VM that is being migrated are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.cluster import POSTCOPY_INCOMING, POSTCOPY_SOURCE, VmState, without_waiting
from bot.testing import draw_cluster


@pytest.mark.parametrize(
    ("source", "target", "shown"),
    [
        ("running", "migration", ["host-a"]),
        ("user", "migration", ["host-a"]),
        ("postcopy", "running", ["host-b"]),
        ("migration", "migration", ["host-a", "host-b"]),
        ("postcopy failed", "postcopy failed", ["host-a", "host-b"]),
        ("running", "running", ["host-a", "host-b"]),
        ("off", "migration", ["host-a", "host-b"]),
    ],
)
def test_a_guest_on_its_way_is_shown_where_it_runs(
    source: str, target: str, shown: list[str]
) -> None:
    vm = draw_cluster("host-a 1cpu 8G | web-1 1G").vm("web-1")
    states = {"running": (VmState.RUNNING, ""), "off": (VmState.SHUT_OFF, "")}
    copies = []
    for host, how in (("host-a", source), ("host-b", target)):
        state, paused_by = states.get(how, (VmState.PAUSED, how))
        copies.append(replace(vm, host=host, state=state, paused_by=paused_by))
    assert [each.host for each in without_waiting(copies)] == shown


def test_the_source_of_a_postcopy_is_shown_when_one_of_both_hosts_falls_silent() -> None:
    vm = draw_cluster("host-a 1cpu 8G | web-1 1G").vm("web-1")
    left = replace(vm, state=VmState.PAUSED, paused_by=POSTCOPY_SOURCE)
    copies = [left, replace(vm, host="host-b", paused_by=POSTCOPY_INCOMING)]
    assert [each.host for each in without_waiting(copies)] == ["host-b"]
    assert [each.host for each in without_waiting(copies, {"host-b"})] == ["host-a", "host-b"]
    assert [each.host for each in without_waiting(copies, {"host-a"})] == ["host-a", "host-b"]
