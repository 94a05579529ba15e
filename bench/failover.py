"""What a failover costs before its first order: planning 300 VMs, and asking all witnesses of 20 hosts.

The witnesses are asked through the bot in memory, whose shells answer after a network's time.

With ``--lab`` a real host loses its power and its cables; the bot, with default settings, switches
it off and starts its VM by itself. It ends with how long each part took.

    ./drover bench failover [--lab]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.goals import Goal, conclude
from bot.domain.cluster import GIB, Host, Snapshot, Vm, VmState
from bot.domain.definition import Definition, sha_of
from bot.domain.plan import Plan
from bot.domain.readiness import CommandResult
from bot.factories import app_manifest, existing_store, load_catalog
from bot.settings import DroverSettings, load
from bot.stage import BotProcess, config_for, hosts_for, with_power
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from lab import Lab
from lab.bmc import Bmcs
from lab.slack import Workspace
from lab.slack.shown import Message
from lab.sshd import serve
from plugins.failover import planner, witnesses
from plugins.failover.intents import Failover
from plugins.failover.recovery import Recovery, measure, newest
from plugins.failover.settings import FailoverSettings
from plugins.failover.sight import Sight

VMS, HOSTS, ROUNDS = 300, 20, 5
LONGEST = 75.0  # seconds from the last sign of life to QEMU
AUTOMATIC = {
    "rules": [
        {
            "name": "a dead host that its own controller proves off",
            "commands": ["host failover"],
            "automatic": True,
            "votes": 0,
            "approvers": ["approver"],
            "max_vms": 40,
            "expires": "1h",
        },
        {"name": "default", "votes": 1, "approvers": ["approver"], "expires": "1h"},
    ]
}
NETWORK = 0.3  # seconds that a shell takes to answer
_WARM = 90.0  # seconds


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
    hypervisor = Shells(draw_cluster("\n".join(lines)), clock)
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


def on_lab() -> Recovery:
    """The way back of one VM of a host that loses its power, with nobody asked."""
    with (
        Lab(hosts=3) as lab,
        Bmcs(lab) as served,
        Workspace(manifest=app_manifest(DroverSettings())) as workspace,
        TemporaryDirectory(prefix="drover-bench-") as name,
    ):
        directory = Path(name)
        lab.guest("web-1", host="host-a")
        doors = {host: serve(lab, host) for host in lab.hosts}
        table = config_for(
            lab,
            workspace,
            directory,
            hosts=with_power(hosts_for(lab, doors), served, directory),
            plugins={"failover": {"mode": "auto", "start_cooldown": 0}},
            policy=AUTOMATIC,
        )
        with BotProcess(workspace, directory, table) as bot:
            workspace.wait_connected()
            time.sleep(
                _WARM
            )  # until definitions are kept, controllers bound, hosts heard by others
            lab.power_off("host-a")
            workspace.wait_message("#approvals", _over, 300)
            settings = load(bot.config)
            store = existing_store(settings, load_catalog(settings))
            assert store is not None
            try:
                found = newest(store.operations())
            finally:
                store.close()
    assert found is not None
    assert found.ruling.automatic, "people were asked"
    (recovery,) = measure(found)
    return recovery


def _over(message: Message) -> bool:
    return "Done:" in message.plain() and "Switch host-a off" in message.plain()


def told(found: Recovery) -> str:
    """Each part in a line."""
    parts = {
        "noticed": found.noticed,
        "decided": found.decided,
        "fenced": found.fenced,
        "started": found.started,
    }
    lines = [f"  {name:8} {value or 0.0:5.1f} s" for name, value in parts.items()]
    return "\n".join(["A real host loses its power; its VM is up elsewhere after:", *lines])


def main() -> None:
    """Measure, print, and say whether the goals are met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lab", action="store_true", help="a real host dies, too")
    with_lab = parser.parse_args().lab
    hypervisor, seen = cluster()
    plan, ask = planning(seen), evidence(hypervisor, seen)
    print(f"{VMS} VMs of a dead host are planned in {plan * 1000:.0f} ms.")
    print(
        f"All witnesses of {HOSTS} hosts are asked in {ask:.1f} s, shells answering in {NETWORK} s."
    )
    goals = [
        Goal(f"seconds to plan {VMS} VMs", plan, most=0.3),
        Goal(f"seconds to ask the witnesses of {HOSTS} hosts", ask, most=5.0),
    ]
    if with_lab:
        found = on_lab()
        print(told(found))
        goals.append(
            Goal("seconds from the last sign of life to QEMU", found.whole or 0.0, most=LONGEST)
        )
    conclude(goals)


if __name__ == "__main__":
    main()
