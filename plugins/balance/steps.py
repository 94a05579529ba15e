"""What this plugin adds to the steps of an operation: a guest's CPU priority and ceiling, and commands on hosts."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.cluster import Scheduler
from bot.domain.steps import Step
from plugins.balance import cards


@dataclass(frozen=True, slots=True)
class SetScheduler(Step):
    """Set what ``wanted`` gives (None: leave), live and in the definition.

    ``before``: the same fields as they were.
    """

    uuid: str
    name: str
    host: str
    vcpus: int
    wanted: Scheduler
    before: Scheduler
    reason: str = ""

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return cards.set_scheduler(self.name, self.wanted, self.vcpus)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host."""
        return (self.host,)

    @property
    def vms(self) -> tuple[str, ...]:
        """The guest."""
        return (self.uuid,)


@dataclass(frozen=True, slots=True)
class ReachShells(Step):
    """See that the shell of every one of these hosts can be reached, before anything is moved for a command there."""

    on: tuple[str, ...]

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return cards.reach_shells(self.on)


@dataclass(frozen=True, slots=True)
class RunOnHost(Step):
    """Run a command in the shell of a host, once. ``key``: unlike any other step's, it names the command's mark there.

    ``reboots``: it takes the host down; it is done when the host is back.
    """

    host: str
    command: str
    key: str
    reboots: bool = False

    @property
    def title(self) -> str:
        """The step as one sentence."""
        return cards.run_on_host(self.host, self.command, reboots=self.reboots)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host."""
        return (self.host,)
