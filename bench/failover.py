"""What a failover costs before its first order: planning 300 VMs, and asking all witnesses of 20 hosts.

The witnesses are asked through the bot in memory, whose shells answer after a network's time; what
real hosts take from the vote to running VMs is measured by tests/e2e/test_failover.py.

    ./drover bench failover
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from bench.goals import Goal, conclude
from bot.domain.cluster import GIB, Host, Snapshot, Vm, VmState
from bot.domain.definition import Definition, sha_of
from bot.domain.plan import Plan
from bot.domain.readiness import CommandResult
from bot.testing import FakeHypervisor, TickingClock, drawn
from plugins.failover import planner, witnesses
from plugins.failover.intents import Failover
from plugins.failover.settings import FailoverSettings
from plugins.failover.sight import Sight

VMS, HOSTS, ROUNDS = 300, 20, 5
NETWORK = 0.3  # seconds that a shell takes to answer


class Shells(FakeHypervisor):
    """Hosts whose shells answer after a network's time, and hear nothing of the dead one."""

    def run(
        self,
        host: str,
        argv: Sequence[str],  # noqa: ARG002 - the port's shape
        *,
        deadline: float = 20.0,  # noqa: ARG002
    ) -> CommandResult | None:
        """Wait as a network does."""
        time.sleep(NETWORK)
        return CommandResult(0, "asked yes\n") if self.snapshot().host(host).up else None


def cluster() -> tuple[FakeHypervisor, Snapshot]:
    """20 hosts; one has 300 VMs, in three waves."""
    lines = [f"host-{number} 64cpu 1000G" for number in range(HOSTS)]
    clock = TickingClock()
    hypervisor = Shells(drawn("\n".join(lines)), clock)
    waves = ("first", "normal", "last")
    for number in range(VMS):
        tags = {"failover": waves[number % 3]}
        name = f"vm-{number}"
        hypervisor.put(Vm(name, name, "host-0", VmState.RUNNING, 2, 4 * GIB, tags=tags))
    hypervisor.down("host-0")
    clock.turn(60)
    return hypervisor, hypervisor.snapshot()


def kept(seen: Snapshot) -> tuple[Definition, ...]:
    """What Drover keeps of these VMs."""
    return tuple(
        Definition(
            vm.uuid, vm.name, vm.host, "", sha_of(vm.uuid), seen.taken_at, seen.taken_at, vm.state,
            vm.vcpus, vm.memory, tags=vm.tags,
        )
        for vm in seen.vms
    )  # fmt: skip


def planning(seen: Snapshot) -> float:
    """Seconds to plan them all; the median of some rounds."""
    intent = Failover("host-0", kept=kept(seen))
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        plan = planner.what_if(FailoverSettings(), intent, seen)
        took.append(time.perf_counter() - began)
        assert isinstance(plan, Plan)
        assert len(plan.blast.vms) == VMS
    return median(took)


def evidence(hypervisor: FakeHypervisor, seen: Snapshot) -> float:
    """Seconds to ask all witnesses of every host, as if each were silent."""
    sight = Sight()
    began = time.perf_counter()
    witnesses.gather_all(sight, [silent(host) for host in seen.hosts], seen, hypervisor)
    return time.perf_counter() - began


def silent(host: Host) -> Host:
    """The host with an address that peers can be asked for."""
    return replace(host, hostname=host.name)


def main() -> None:
    """Measure, print, and say whether the goals are met."""
    hypervisor, seen = cluster()
    plan, ask = planning(seen), evidence(hypervisor, seen)
    print(f"{VMS} VMs of a dead host are planned in {plan * 1000:.0f} ms.")
    print(
        f"All witnesses of {HOSTS} hosts are asked in {ask:.1f} s, shells answering in {NETWORK} s."
    )
    conclude(
        [
            Goal(f"seconds to plan {VMS} VMs", plan, most=0.3),
            Goal(f"seconds to ask the witnesses of {HOSTS} hosts", ask, most=5.0),
        ]
    )


if __name__ == "__main__":
    main()
