"""How one power controller is reached, as configured; and what each kind of adapter answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from bot.domain.message import Message
from bot.domain.power import Device, Power

REDFISH = "redfish"
"""The agent name that means Redfish through sushy, and no program."""


@dataclass(frozen=True, slots=True)
class FenceAddress:
    """One configured controller. ``options`` are the agent's own.

    The password is kept apart and never shown.

    ``deadline``: seconds that one call may take, whatever the agent's own timeouts are.
    """

    device: Device
    agent: str
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    password: str = field(default="", repr=False)
    deadline: float = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a controller told: its host's power, the UUID of the machine ('' not told).

    Also why it is UNKNOWN.
    """

    power: Power
    identity: str = ""
    problem: Message = ""


class Agent(Protocol):
    """One kind of controller. Calls block and may take long.

    The caller has a deadline of its own.
    """

    def read(self) -> Answer:
        """The power now; never raises for the controller's sake."""
        ...

    def order(self, *, on: bool) -> None:
        """Order the power on, or off at once.

        Raises:
            PowerError: the order was not taken.
        """
        ...
