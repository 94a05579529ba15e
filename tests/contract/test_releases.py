"""Hosts of two releases, for the fake and for libvirt on real hosts: what moves between them, and what cannot.

Host-a has the machine's own libvirt and QEMU, host-b those of a newer Debian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.domain.cluster import GIB, Host, Vm, VmState
from bot.domain.errors import HypervisorError
from bot.domain.steps import MigrateVm
from bot.ports import Hypervisor
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from tests.waiting import RealClock

if TYPE_CHECKING:
    from lab import Lab

OLD, NEW = "host-a", "host-b"


class Stage(Protocol):
    @property
    def hypervisor(self) -> Hypervisor: ...

    def guest(self, name: str, host: str) -> Vm:
        """A new running VM with the newest machine type of its host."""
        ...


class FakeStage:
    def __init__(self) -> None:
        seen = draw_cluster("host-a 4cpu 4G\nhost-b 4cpu 4G")
        self.hypervisor = FakeHypervisor(seen, TickingClock())
        self.hypervisor.change(
            NEW,
            hypervisor_version=10_000_000,
            libvirt_version=11_003_000,
            machines=frozenset({"pc-q35-10.0", "pc-q35-7.2"}),
        )

    def guest(self, name: str, host: str) -> Vm:
        vm = draw_cluster(f"{host} 4cpu 4G | {name} 128M").vm(name)
        assert vm.detail
        machine = "pc-q35-10.0" if host == NEW else "pc-q35-7.2"
        self.hypervisor.put(replace(vm, detail=replace(vm.detail, machine=machine)))
        return vm


class LabStage:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        addresses = [
            HostAddress(each.name, each.uri, each.peer_uri, reserve=GIB // 2)
            for each in lab.hosts.values()
        ]
        self.hypervisor = LibvirtHypervisor(addresses, clock=RealClock(), deadline=10)

    def guest(self, name: str, host: str) -> Vm:
        made = self._lab.guest(name, host=host)
        return next(vm for vm in self.hypervisor.snapshot().vms if vm.uuid == made.uuid)


@pytest.fixture(scope="module")
def mixed() -> Iterator[LabStage]:
    from lab import Lab
    from lab.releases import next_release

    with Lab(2, release={NEW: next_release()}) as lab:
        stage = LabStage(lab)
        yield stage
        stage.hypervisor.close()


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=[pytest.mark.lab, pytest.mark.slow])])
def stage(request: pytest.FixtureRequest) -> Stage:
    if request.param == "fake":
        return FakeStage()
    found: LabStage = request.getfixturevalue("mixed")
    return found


def hosts(stage: Stage) -> tuple[Host, Host]:
    seen = stage.hypervisor.snapshot()
    return seen.host(OLD), seen.host(NEW)


def move(stage: Stage, vm: Vm, target: str) -> None:
    now = next(each for each in stage.hypervisor.snapshot().vms if each.uuid == vm.uuid)
    stage.hypervisor.migrate(MigrateVm(vm.uuid, vm.name, now.host, target, vm.memory))


def place(stage: Stage, vm: Vm) -> tuple[str, VmState]:
    (found,) = [each for each in stage.hypervisor.snapshot().vms if each.uuid == vm.uuid]
    return found.host, found.state


def test_each_host_tells_its_own_versions_and_machine_types(stage: Stage) -> None:
    old, new = hosts(stage)
    assert old.hypervisor_version < new.hypervisor_version
    assert old.libvirt_version < new.libvirt_version
    assert new.machines - old.machines
    assert new.machines & old.machines
    assert old.cpu_signature == new.cpu_signature, "one machine, whatever libvirt calls its CPU"


def test_a_vm_of_the_older_host_moves_to_the_newer_and_back(stage: Stage) -> None:
    vm = stage.guest("there-and-back", OLD)
    move(stage, vm, NEW)
    assert place(stage, vm) == (NEW, VmState.RUNNING)
    move(stage, vm, OLD)
    assert place(stage, vm) == (OLD, VmState.RUNNING)


def test_a_vm_of_a_machine_type_that_only_the_newer_host_has_stays_and_runs_on(
    stage: Stage,
) -> None:
    vm = stage.guest("of-the-new", NEW)
    old, new = hosts(stage)
    seen = next(
        each for each in stage.hypervisor.snapshot(focus=(vm.uuid,)).vms if each.uuid == vm.uuid
    )
    assert seen.detail
    assert seen.detail.machine in new.machines - old.machines
    with pytest.raises(HypervisorError, match="of-the-new did not move"):
        move(stage, vm, OLD)
    assert place(stage, vm) == (NEW, VmState.RUNNING)
