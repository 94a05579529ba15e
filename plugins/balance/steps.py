"""This plugin's steps: a VM's CPU weight and limit, and commands on hosts."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.cluster import Scheduler
from bot.domain.message import Code, Message, Names, Words, nwords, words
from bot.domain.steps import OnHost, OnVm, Step

PERIOD = 100_000  # µs, libvirt's default
MOST_COMMAND = 80  # characters of a command in a line
MOST_NAMED = 8  # hosts in a line


def cap_cores(scheduler: Scheduler, vcpus: int) -> float:
    """A CPU limit in cores; 0: none."""
    if not scheduler.has_cap:
        return 0.0
    return vcpus * (scheduler.vcpu_quota or 0) / (scheduler.vcpu_period or PERIOD)


def limit_title(vm: str, cores: float) -> Words:
    """The setting of a CPU limit as one sentence; 0: its removal."""
    if not cores:
        return words("Remove the CPU limit of {vm}", vm=vm)
    return nwords("Limit {vm} to {n} core", "Limit {vm} to {n} cores", n=cores, vm=vm)


@dataclass(frozen=True, slots=True)
class SetScheduler(OnVm):
    """Set what ``wanted`` gives (None: leave), live and in the definition.

    ``before``: the same fields as they were.
    """

    vcpus: int
    wanted: Scheduler
    before: Scheduler
    reason: Message = ""

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        weight, quota = self.wanted.cpu_shares, self.wanted.vcpu_quota
        if weight is None:
            return limit_title(self.name, cap_cores(self.wanted, self.vcpus))
        if quota is None:
            return words("Set the CPU weight of {vm} to {weight}", vm=self.name, weight=weight)
        if not self.wanted.has_cap:
            return words(
                "Set the CPU weight of {vm} to {weight} and remove its CPU limit",
                vm=self.name,
                weight=weight,
            )
        return nwords(
            "Set the CPU weight of {vm} to {weight} and limit it to {n} core",
            "Set the CPU weight of {vm} to {weight} and limit it to {n} cores",
            n=cap_cores(self.wanted, self.vcpus),
            vm=self.name,
            weight=weight,
        )


@dataclass(frozen=True, slots=True)
class ReachShells(Step):
    """Check that the shells of these hosts can be reached, before any VM is moved for them."""

    on: tuple[str, ...]

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        hosts = Names(tuple(sorted(self.on)), most=MOST_NAMED)
        return words("Check that the shells of {hosts} can be reached", hosts=hosts)


@dataclass(frozen=True, slots=True)
class RunOnHost(OnHost):
    """Run a command in the shell of a host, once; ``key`` names its mark there.

    ``reboots``: it takes the host down; it is done when the host is back.
    """

    command: str
    key: str
    reboots: bool = False

    @property
    def destroys(self) -> bool:
        """Nobody knows what a command does."""
        return True

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        long = len(self.command) > MOST_COMMAND
        shown = Code(f"{self.command[:MOST_COMMAND]}…" if long else self.command)
        if self.reboots:
            return words(
                "Run {command} on {host} and wait until the host is back",
                command=shown,
                host=self.host,
            )
        return words("Run {command} on {host}", command=shown, host=self.host)
