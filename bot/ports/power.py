"""Power controllers of hosts, as failover needs them: read, switch off, switch on."""

from __future__ import annotations

from typing import Protocol

from bot.domain.power import Device, Reading


class PowerControl(Protocol):
    """Reads and switches hosts' power. Devices are named as in the configuration.

    A reading never raises for a controller's sake: what it did not tell is ``Power.UNKNOWN`` with
    its problem. An
    order raises when it was not taken, and says nothing of what became of it: only readings do.
    """

    def devices(self, host: str) -> tuple[Device, ...]:
        """The host's controllers in the order of their levels; () when none is configured."""
        ...

    def read(self, device: Device) -> Reading:
        """The host's power now, by this controller, with the UUID of its machine where the controller tells one."""
        ...

    def switch_off(self, device: Device) -> None:
        """Order the power off at once, as by pulling the plug; never a graceful shutdown, never a reboot.

        Raises:
            PowerError: the order was not taken. A host that is off already is no error.
        """
        ...

    def switch_on(self, device: Device) -> None:
        """Order the power on.

        Raises:
            PowerError: the order was not taken.
        """
        ...
