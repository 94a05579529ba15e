"""Chosen guests read in depth, each host asked side by side."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

import libvirt

from bot.adapters.libvirt.read import same_file, target_equipment, vm_detail
from bot.adapters.libvirt.read.domain_xml import Definition
from bot.adapters.libvirt.read.host_reader import HostReader, Reading
from bot.adapters.libvirt.read.vm_detail import Depth
from bot.adapters.libvirt.transport.connections import Connection, Pending
from bot.adapters.libvirt.transport.parts import NONSENSE, reason
from bot.domain.cluster import CpuFit, Disk, DiskThere, Snapshot, TargetLook, Vm, VmDetail, VmState
from bot.domain.errors import HostUnreachableError
from bot.domain.message import join, words
from bot.domain.storage import asked_disks
from bot.ports import Clock

T = TypeVar("T")

_SILENT = words("unknown: it does not answer")
_DIRTY_PATIENCE = 2.5  # seconds: QEMU measures for one, and a proposal waits for no more
_AT_ONCE = 8  # VMs that a host is asked for within one deadline, several calls each
_DIRTY_POLL = 0.05  # seconds between two looks at measurements that take about one


class CloseUp:
    """Looks deeper at guests of one snapshot.

    Args:
        readers: by host name.
        readings: what the snapshot was made of, by host name.
        deadline: seconds for each round of questions; a host that misses it leaves its answers out.
        measure: whether to measure how fast running guests write memory, which takes a good second.
        disks: what was seen of disks on other hosts, between two of these.
    """

    def __init__(
        self,
        readers: Mapping[str, HostReader],
        readings: Mapping[str, Reading],
        *,
        clock: Clock,
        deadline: float,
        measure: bool,
        disks: same_file.Memory,
    ) -> None:
        self._readers = readers
        self._readings = readings
        self._clock = clock
        self._deadline = deadline
        self._measure = measure
        self._disks = disks

    def of(self, snapshot: Snapshot, focus: Collection[str]) -> Snapshot:
        """The snapshot with its guests in ``focus`` (UUIDs) read in depth, if their host is up."""
        chosen = [vm for vm in snapshot.vms if vm.uuid in focus and self._up(vm.host)]
        depths = self._depths(chosen)
        seen = [_deepen(vm, depths[_key(vm)]) for vm in chosen]
        measuring = self._start_measuring([vm for vm in seen if _may_measure(vm)])
        fits, looks = self._fits(seen, depths), self._target_looks(seen, depths)
        rates = self._rates(measuring)
        done = {_key(vm): replace(vm, dirty_rate=rates.get(_key(vm))) for vm in seen}
        return replace(
            snapshot,
            vms=tuple(done.get(_key(vm), vm) for vm in snapshot.vms),
            cpu_fits=fits,
            target_looks=looks,
        )

    def at_home(self, snapshot: Snapshot, chosen: Collection[str]) -> Snapshot:
        """The snapshot with many VMs (UUIDs) read in depth, each by its own host alone.

        In rounds, all hosts side by side, so that a host with many of them is not taken for silent.
        One that answers nothing in a round is asked no more.
        """
        left: dict[str, list[Vm]] = {}
        for vm in snapshot.vms:
            if vm.uuid in chosen and self._up(vm.host):
                left.setdefault(vm.host, []).append(vm)
        depths: dict[tuple[str, str], Depth] = {}
        while left:
            turn = {host: vms[:_AT_ONCE] for host, vms in left.items()}
            found = self._depths([vm for vms in turn.values() for vm in vms])
            silent = {
                host
                for host, vms in turn.items()
                if all(found[_key(vm)].detail.silent for vm in vms)
            }
            depths |= found
            for host in silent:
                depths |= {_key(vm): _silence(vm) for vm in left[host]}
            left = {
                host: rest
                for host, vms in left.items()
                if host not in silent and (rest := vms[_AT_ONCE:])
            }
        vms = (_deepen(vm, depths[_key(vm)]) if _key(vm) in depths else vm for vm in snapshot.vms)
        return replace(snapshot, vms=tuple(vms))

    def _up(self, host: str) -> bool:
        return self._readings[host].host.up

    def _depths(self, vms: Collection[Vm]) -> dict[tuple[str, str], Depth]:
        asked = [(vm, self._ask_depth(vm)) for vm in vms]
        until = time.monotonic() + self._deadline
        return {_key(vm): _answered_depth(vm, pending, until) for vm, pending in asked}

    def _ask_depth(self, vm: Vm) -> Pending[Depth]:
        return self._readers[vm.host].act.send(lambda connection: vm_detail.depth(connection, vm))

    def _fits(
        self, vms: Collection[Vm], depths: Mapping[tuple[str, str], Depth]
    ) -> tuple[CpuFit, ...]:
        others = [
            (vm, host)
            for vm in vms
            for host in self._readings
            if host != vm.host and self._up(host)
        ]
        asked = [(vm, host, self._ask_fit(vm, host, depths[_key(vm)])) for vm, host in others]
        until = time.monotonic() + self._deadline
        answers = (_answer(pending, until) for _, _, pending in asked if pending is not None)
        return tuple(answer for answer in answers if answer is not None)

    def _ask_fit(self, vm: Vm, host: str, deep: Depth) -> Pending[CpuFit | None] | None:
        here, there, live = self._readings[vm.host].facts, self._readings[host], deep.live
        there_facts = there.facts
        if live is None or here is None or there_facts is None:
            return None

        def question(connection: Connection) -> CpuFit | None:
            return vm_detail.fit(connection, vm, live, here, there.host, there_facts)

        return self._readers[host].act.send(question)

    def _target_looks(
        self, vms: Collection[Vm], depths: Mapping[tuple[str, str], Depth]
    ) -> tuple[TargetLook, ...]:
        """What each other host has of what a VM would need there.

        One that does not answer in time is left out.
        """
        asked = [
            self._ask_look(vm, host, live)
            for vm in vms if (live := depths[_key(vm)].live) is not None
            for host in self._readings if host != vm.host and self._up(host)
        ]  # fmt: skip
        until = time.monotonic() + self._deadline
        answers = [_answer(pending, until) for pending in asked]
        disks = self._disks_there(vms)
        return tuple(
            replace(answer, disks=disks.get((answer.vm_uuid, answer.host), ()))
            for answer in answers
            if answer is not None
        )

    def _disks_there(self, vms: Collection[Vm]) -> dict[tuple[str, str], tuple[DiskThere, ...]]:
        """What each other host has at the places of a VM's own disks.

        By the VM's UUID and the host.
        """
        wanted = {
            _key(vm): asked_disks(self._readings[vm.host].host, vm.detail or VmDetail())
            for vm in vms
        }
        local = [vm for vm in vms if wanted[_key(vm)] and vm.state.active]
        others = [
            (vm, host)
            for vm in local
            for host in self._readings
            if host != vm.host and self._up(host)
        ]
        known = {
            (vm.uuid, host): self._disks.recall(vm.uuid, host, wanted[_key(vm)])
            for vm, host in others
        }
        found = {key: each for key, each in known.items() if each is not None}
        asked = [(vm, host) for vm, host in others if (vm.uuid, host) not in found]
        sources = [(vm, vm.host) for vm in {_key(vm): vm for vm, _ in asked}.values()]
        before = self._images(sources, wanted)
        there = self._images(asked, wanted)
        after = self._images(sources, wanted)
        for vm, host in asked:
            first = before[_key(vm)]
            if first is not None:
                seen = same_file.compare(first, there[vm.uuid, host], after[_key(vm)])
                found[vm.uuid, host] = seen
                self._disks.keep(vm.uuid, host, wanted[_key(vm)], seen)
        return found

    def _images(
        self, asked: Collection[tuple[Vm, str]], wanted: Mapping[tuple[str, str], tuple[Disk, ...]]
    ) -> dict[tuple[str, str], same_file.Images | None]:
        """What hosts have at the places of VMs' disks; None of those that do not answer in time."""
        pending = [(vm, host, self._ask_images(host, wanted[_key(vm)])) for vm, host in asked]
        until = time.monotonic() + self._deadline
        return {(vm.uuid, host): _answer(each, until) for vm, host, each in pending}

    def _ask_images(self, host: str, disks: tuple[Disk, ...]) -> Pending[same_file.Images]:
        return self._readers[host].act.send(lambda connection: same_file.images(connection, disks))

    def _ask_look(self, vm: Vm, host: str, live: Definition) -> Pending[TargetLook]:
        return self._readers[host].act.send(
            lambda connection: target_equipment.look(connection, vm, live, host)
        )

    def _start_measuring(self, vms: Collection[Vm]) -> list[Vm]:
        if not self._measure:
            return []
        asked = [(vm, self._ask_start(vm)) for vm in vms]
        until = time.monotonic() + self._deadline
        return [vm for vm, pending in asked if _answer(pending, until)]

    def _ask_start(self, vm: Vm) -> Pending[bool]:
        return self._readers[vm.host].act.send(
            lambda connection: vm_detail.start_dirty_rate(connection, vm)
        )

    def _rates(self, vms: Collection[Vm]) -> dict[tuple[str, str], float]:
        """Bytes a second by guest, of those whose measurement ends in time."""
        rates: dict[tuple[str, str], float] = {}
        until = time.monotonic() + _DIRTY_PATIENCE
        left = list(vms)
        while left and time.monotonic() < until:
            self._clock.sleep(_DIRTY_POLL)
            asked = [(vm, self._ask_rate(vm)) for vm in left]
            found = {_key(vm): _answer(pending, until) for vm, pending in asked}
            rates |= {key: rate for key, rate in found.items() if rate is not None}
            left = [vm for vm in left if _key(vm) not in rates]
        return rates

    def _ask_rate(self, vm: Vm) -> Pending[float | None]:
        return self._readers[vm.host].act.send(
            lambda connection: vm_detail.dirty_rate(connection, vm)
        )


def _key(vm: Vm) -> tuple[str, str]:
    return vm.uuid, vm.host


def _may_measure(vm: Vm) -> bool:
    return vm.state is VmState.RUNNING and vm.detail is not None and not vm.detail.job


def _answered_depth(vm: Vm, pending: Pending[Depth], until: float) -> Depth:
    """What was found; a guest that does not answer counts as held by a job.

    So that nobody moves it.
    """
    try:
        return pending.wait(until)
    except HostUnreachableError:
        return _silence(vm)
    except (libvirt.libvirtError, *NONSENSE) as error:
        return Depth(
            replace(vm.detail or VmDetail(), job=words("unknown: {reason}", reason=reason(error))),
            None,
            problem=reason(error),
        )


def _silence(vm: Vm) -> Depth:
    return Depth(replace(vm.detail or VmDetail(), job=_SILENT, silent=True), None)


def _deepen(vm: Vm, depth: Depth) -> Vm:
    """The VM as the deeper look shows it; a definition that nobody could read stays unknown."""
    problem = join((vm.problem, depth.problem), "; ")
    detail = None if vm.detail is None else depth.detail
    return replace(vm, detail=detail, stored=depth.stored, problem=problem)


def _answer(pending: Pending[T], until: float) -> T | None:
    """The answer; None where there is none, which then counts as not asked."""
    try:
        return pending.wait(until)
    except (HostUnreachableError, libvirt.libvirtError, *NONSENSE):
        return None
