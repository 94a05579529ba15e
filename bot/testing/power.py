"""The port ``PowerControl`` in memory.

Hosts that a test switches, and controllers that lie when told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from bot.domain.errors import PowerError
from bot.domain.message import Message
from bot.domain.power import Device, Power, Reading
from bot.ports.clock import Clock


class Fault(StrEnum):
    """What a controller can be made to do wrong."""

    DEAD = "dead"  # it does not answer
    IDLE = "idle"  # it takes the order and does nothing
    LIAR = "liar"  # it reads OFF although the host is on
    REFUSES = "refuses"  # it refuses every order


class FakePower:
    """Hosts with power controllers.

    ``on`` holds the hosts that have power, ``orders`` what was ordered, in order.

    ``switched(host, on)`` is called after an order was carried out.
    """

    def __init__(
        self,
        clock: Clock,
        devices: Iterable[Device] = (),
        identities: dict[str, str] | None = None,
        switched: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._switched = switched
        self._clock = clock
        self._devices = tuple(devices)
        self._identities = identities or {}
        self._faults: dict[tuple[str, str], Fault] = {}
        self.on = {each.host for each in self._devices}
        self.orders: list[tuple[str, str, bool]] = []

    def fault(self, device: Device, fault: Fault | None) -> None:
        """Let a controller do this wrong; None: nothing any more."""
        self._faults.pop((device.host, device.name), None)
        if fault is not None:
            self._faults[device.host, device.name] = fault

    def devices(self, host: str) -> tuple[Device, ...]:
        """The host's controllers, by level; see the port."""
        return tuple(
            sorted(
                (each for each in self._devices if each.host == host), key=lambda each: each.level
            )
        )

    def read(self, device: Device) -> Reading:
        """The power now; see the port."""
        fault = self._faults.get((device.host, device.name))
        power = Power.ON if device.host in self.on else Power.OFF
        if fault is Fault.LIAR:
            power = Power.OFF
        if fault is Fault.DEAD:
            return self._reading(device, Power.UNKNOWN, problem="no answer in 20 s")
        return self._reading(device, power, self._identities.get(device.host, ""))

    def switch_off(self, device: Device) -> None:
        """Take the power; see the port."""
        self._order(device, on=False)

    def switch_on(self, device: Device) -> None:
        """Give power; see the port."""
        self._order(device, on=True)

    def _order(self, device: Device, *, on: bool) -> None:
        fault = self._faults.get((device.host, device.name))
        if fault is Fault.DEAD:
            raise PowerError("no answer in 20 s")
        if fault is Fault.REFUSES:
            raise PowerError(f"{device.name} did not take the order: HTTP 409")
        self.orders.append((device.host, device.name, on))
        if fault in {Fault.IDLE, Fault.LIAR}:
            return
        if on:
            self.on.add(device.host)
        else:
            self.on.discard(device.host)
        if self._switched is not None:
            self._switched(device.host, on)

    def _reading(
        self, device: Device, power: Power, identity: str = "", problem: Message = ""
    ) -> Reading:
        return Reading(
            device.host, device.name, device.level, power, self._clock.now(), identity, problem
        )
