"""A sampler over the cluster of a fake hypervisor, whose numbers and events a test sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bot.domain.cluster import Host, Vm
from bot.domain.metrics import Happening, HostSample, SnapshotSeen, Sweep, VmSample
from bot.ports import Clock, Hypervisor


@dataclass(slots=True)
class FakeSampler:
    """The port ``Sampler``: what the hypervisor's snapshot shows, as a sweep.

    Attributes:
        vms: by a guest's name, fields of its ``VmSample`` that shall be different.
        hosts: the same for hosts.
        events: what the next sweep tells; it is told once.
        snapshots: what every sweep tells; so are ``checkpoints``.
        sweeps: how many were made.
        asked: the hosts that each of them asked.
    """

    hypervisor: Hypervisor
    clock: Clock
    vms: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    events: list[Happening] = field(default_factory=list)
    snapshots: tuple[SnapshotSeen, ...] = ()
    checkpoints: tuple[SnapshotSeen, ...] = ()
    sweeps: int = 0
    asked: list[frozenset[str]] = field(default_factory=list)

    def sweep(self, hosts: Collection[str] | None = None) -> Sweep:
        """The cluster as it is now."""
        self.sweeps += 1
        seen, now = self.hypervisor.snapshot(), self.clock.now()
        names = {host.name for host in seen.hosts}
        wanted = frozenset(names if hosts is None else names & set(hosts))
        self.asked.append(wanted)
        up = {host.name for host in seen.hosts if host.up}
        events, self.events = tuple(self.events), []
        return Sweep(
            now,
            tuple(self._host(host, now) for host in seen.hosts if host.name in wanted),
            tuple(self._vm(vm) for vm in seen.vms if vm.host in up & wanted),
            events,
            tuple(each for each in self.snapshots if hosts is None or each.host in hosts),
            tuple(each for each in self.checkpoints if hosts is None or each.host in hosts),
        )

    def _host(self, host: Host, now: datetime) -> HostSample:
        sample = HostSample(
            host.name,
            now if host.up else host.seen_at,
            "" if host.up else host.problem or "no answer",
            host.cpus,
            host.cpu,
            0.0,
            host.memory,
            host.memory - host.memory_free,
        )
        return replace(sample, **self.hosts.get(host.name, {}))

    def _vm(self, vm: Vm) -> VmSample:
        sample = VmSample(
            vm.uuid,
            vm.name,
            vm.host,
            vm.state.value,
            vm.vcpus,
            vm.cpu,
            0.0,
            vm.memory,
            why=vm.paused_by,
        )
        return replace(sample, **self.vms.get(vm.name, {}))

    def close(self) -> None:
        """Nothing to let go of."""
