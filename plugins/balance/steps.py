"""What this plugin adds to the steps of an operation: a guest's CPU priority and ceiling."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.cluster import Scheduler
from bot.domain.steps import Step
from plugins.balance import cards


@dataclass(frozen=True, slots=True)
class SetScheduler(Step):
    """Set what ``wanted`` gives (None: leave), live and in the definition. ``before``: the same fields as they were."""

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
