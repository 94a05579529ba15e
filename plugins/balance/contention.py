"""How a contended CPU is shared out, from what VMs use and wait for; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.domain.cluster import Vm

WAITING = 0.05  # cores: less is the scheduler's everyday business


@dataclass(frozen=True, slots=True)
class CpuDemand:
    """What a VM asks of its host, in cores: its use, its wait, and the most it may have."""

    used: float
    waits: float
    most: float

    @property
    def demand(self) -> float:
        """What it would use if nobody were in its way."""
        return min(self.most, self.used + self.waits)


def demands(vms: Sequence[Vm], most: Mapping[str, float]) -> dict[str, CpuDemand]:
    """Demands of the measured VMs, by UUID.

    ``most``: CPU limits in cores; without one a VM's vCPUs are the limit.
    """
    return {
        vm.uuid: CpuDemand(
            vm.cpu, vm.wait or 0.0, min(float(vm.vcpus), most.get(vm.uuid, float(vm.vcpus)))
        )
        for vm in vms
        if vm.cpu is not None
    }


def predict_cores(found: Mapping[str, CpuDemand], weights: Mapping[str, int]) -> dict[str, float]:
    """Cores that each VM is likely to get, by UUID.

    What the VMs use together now is what there is to share while some of them wait: it is
    measured, so that pinned vCPUs and the host's own work are in it. It is shared as the kernel
    shares: by weight, nobody gets more than it wants, and what is left over goes to the others
    (progressive filling).
    """
    if not any(want.waits > WAITING for want in found.values()):
        return {uuid: want.demand for uuid, want in found.items()}
    left = sum(want.used for want in found.values())
    given: dict[str, float] = {}
    hungry = dict(found)
    while hungry:
        unit = left / sum(weights[uuid] for uuid in hungry)
        content = {
            uuid: want.demand
            for uuid, want in hungry.items()
            if want.demand <= unit * weights[uuid]
        }
        if not content:
            return {**given, **{uuid: unit * weights[uuid] for uuid in hungry}}
        given |= content
        left = max(0.0, left - sum(content.values()))
        hungry = {uuid: want for uuid, want in hungry.items() if uuid not in content}
    return given
