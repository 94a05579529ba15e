"""Pure: VMs in order of what they use, and shares of hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from bot.domain.metrics import HostSample, Sweep, VmSample


class By(StrEnum):
    """The order of `top`."""

    CPU = "cpu"
    MEM = "memory"
    DISK = "disk"
    NET = "net"
    WAIT = "wait"


_VALUE: Mapping[By, Callable[[VmSample], float | None]] = {
    By.CPU: lambda vm: vm.cpu,
    By.MEM: lambda vm: vm.memory if vm.used is None else vm.used,
    By.DISK: lambda vm: vm.disk,
    By.NET: lambda vm: vm.net,
    By.WAIT: lambda vm: vm.wait,
}


def ranking(sweep: Sweep, by: By, host: str = "") -> tuple[VmSample, ...]:
    """Running VMs, those that use most first; those not measured come last."""
    some = [vm for vm in sweep.vms if vm.state == "running" and (not host or vm.host == host)]
    return tuple(sorted(some, key=lambda vm: (-_or_unknown(_VALUE[by](vm)), vm.name)))


def _or_unknown(value: float | None) -> float:
    return -1.0 if value is None else value


def cpu_share(host: HostSample) -> float | None:
    """Busy share of a host's cores; None when it is not known."""
    return None if host.cpu is None or not host.cpus else host.cpu / host.cpus


def memory_share(host: HostSample) -> float | None:
    """Share of a host's memory in use; None when it is not known."""
    return host.used / host.memory if host.memory else None


def waiting(vms: Iterable[VmSample]) -> float:
    """Cores that VMs were ready to use and did not get."""
    return sum(vm.wait or 0.0 for vm in vms)
