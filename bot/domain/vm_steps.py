"""Steps about the power of one VM, which several plugins plan and one carries out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from bot.domain.codec import later
from bot.domain.message import Message, words
from bot.domain.steps import Demand, OnVm


class PowerVerb(StrEnum):
    """What can be done to a VM without changing it."""

    START = "start"
    SHUTDOWN = "shut down"
    FORCE_OFF = "force off"
    PAUSE = "pause"
    RESUME = "resume"
    WAKE = "wake"


_POWER = {
    PowerVerb.START: words("Start {vm} on {host}"),
    PowerVerb.SHUTDOWN: words("Shut down {vm} on {host}"),
    PowerVerb.FORCE_OFF: words("Force off {vm} on {host}"),
    PowerVerb.PAUSE: words("Pause {vm} on {host}"),
    PowerVerb.RESUME: words("Resume {vm} on {host}"),
    PowerVerb.WAKE: words("Wake {vm} on {host}"),
}
_POWER_LOST = {
    **_POWER,
    PowerVerb.SHUTDOWN: words("Shut down {vm} on {host} and lose its definition (transient)"),
    PowerVerb.FORCE_OFF: words("Force off {vm} on {host} and lose its definition (transient)"),
}


@dataclass(frozen=True, slots=True)
class PowerVm(OnVm):
    """Start, shut down, force off, pause, resume or wake a VM."""

    verb: PowerVerb
    lose_definition: bool = later(False)
    """People agreed that the definition of a transient VM is lost when it ends."""

    @property
    def destroys(self) -> bool:
        """A VM that is forced off, or lost with its end."""
        return self.verb is PowerVerb.FORCE_OFF or self.lose_definition

    @property
    def title(self) -> Message:
        """The step as one sentence."""
        title = _POWER_LOST[self.verb] if self.lose_definition else _POWER[self.verb]
        return replace(title, args={"vm": self.name, "host": self.host})

    @property
    def demands(self) -> tuple[Demand, ...]:
        """A VM that starts takes as much as it is defined with."""
        return (Demand(self.uuid, self.host),) if self.verb is PowerVerb.START else ()
