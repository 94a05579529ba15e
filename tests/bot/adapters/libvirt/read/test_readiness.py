"""Comparing CPUs and making baselines, put to a real libvirt with CPUs that differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import libvirt
import pytest

from bot.adapters.libvirt.read import readiness
from bot.adapters.libvirt.transport.connections import Connection
from bot.domain.readiness import CpuOrder, GuestCpu

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab


def cpu(model: str, *features: str) -> str:
    required = "".join(f"<feature policy='require' name='{name}'/>" for name in features)
    return (
        f"<cpu mode='custom' match='exact'><model fallback='forbid'>{model}</model>{required}</cpu>"
    )


OLD, NEW = cpu("Penryn"), cpu("Nehalem", "avx512f")


@pytest.fixture
def host(lab: Lab) -> Iterator[Connection]:
    connection = libvirt.open(lab.hosts["host-a"].uri)
    yield connection
    connection.close()


def test_a_baseline_has_nothing_that_one_of_the_cpus_lacks(host: Connection) -> None:
    expand = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
    both = readiness._required_features(readiness._baseline(host, "qemu", [OLD, NEW], expand))
    new = readiness._required_features(readiness._baseline(host, "qemu", [NEW], expand))
    assert "avx512f" in new
    assert "avx512f" not in both
    assert "sse4.1" in both


def test_a_guest_beyond_the_baseline_is_named_with_what_it_has_more(host: Connection) -> None:
    expand = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
    base = readiness._required_features(readiness._baseline(host, "qemu", [OLD], expand))
    guest = GuestCpu("web-1", "host-a", "custom", "Nehalem", virt_type="qemu")
    assert "avx512f" in readiness._against(host, guest, NEW, base).beyond
    assert readiness._against(host, guest, OLD, base).beyond == ()


def test_a_cpu_model_that_nobody_knows_is_a_problem_of_that_guest_only(host: Connection) -> None:
    guest = GuestCpu("web-1", "host-a", "custom", "Abacus", virt_type="qemu")
    assert "Abacus" in str(readiness._against(host, guest, cpu("Abacus"), frozenset()).problem)


def test_cpus_are_compared_by_the_target_and_what_lacks_is_named(host: Connection) -> None:
    own = readiness._offers(host)["qemu"]
    assert readiness._compare(host, "qemu", own) == (CpuOrder.IDENTICAL, "")
    order, why = readiness._compare(host, "qemu", cpu("Nehalem", "avx512f"))
    assert order is CpuOrder.INCOMPATIBLE
    assert "avx512f" in str(why)
    assert readiness._compare(host, "qemu", "")[0] is CpuOrder.UNKNOWN
    assert readiness._compare(host, "qemu", cpu("Abacus"))[0] is CpuOrder.UNKNOWN
