"""Power controllers of hosts, and what is known of hosts that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.definition import Definition, Variables
from bot.domain.power import Bound, Device, Hold, LastSeen, Proof, Reading


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
        """The host's power now, by this controller.

        With the UUID of its machine where the controller tells one.
        """
        ...

    def switch_off(self, device: Device) -> None:
        """Order the power off at once, as by pulling the plug.

        Never a graceful shutdown, never a reboot.

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


class Holds(Protocol):
    """Hosts on hold with their proofs, and which controllers were shown to be whose.

    Replicas share them.

    Every method may raise ``StoreError``.
    """

    def holds(self) -> tuple[Hold, ...]:
        """All hosts on hold."""
        ...

    def definitions(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]:
        """Kept definitions; see the port ``Store``."""
        ...

    def variables(self, uuid: str) -> Variables | None:
        """The kept copy of a VM's UEFI variables; None: none is kept."""
        ...

    def put_hold(self, hold: Hold) -> None:
        """Put a host on hold, or change what is known of one that is; it outlives a power cut."""
        ...

    def lift_hold(self, host: str) -> None:
        """The host is admitted again."""
        ...

    def bonds(self) -> tuple[Bound, ...]:
        """Which controllers were shown to belong to which hosts."""
        ...

    def put_bond(self, bound: Bound) -> None:
        """Keep that a controller belongs to its host.

        ``Binding.NONE``: that it does not, any more.
        """
        ...

    def last_seen(self, host: str) -> LastSeen | None:
        """What was last read of a host while it answered; None: nothing ever."""
        ...

    def put_last_seen(self, seen: Sequence[LastSeen]) -> None:
        """Keep what was read of hosts that answer, in place of what was known of them."""
        ...


class Powers(PowerControl, Protocol):
    """Power controllers with what was shown of them and what is proven of their hosts."""

    def bonds(self, host: str) -> tuple[Bound, ...]:
        """The host's controllers that were shown to be its own."""
        ...

    def wrong_bonds(self, host: str) -> tuple[Bound, ...]:
        """The host's controllers that read OFF while it ran on."""
        ...

    def last_seen(self, host: str) -> LastSeen | None:
        """What was last read of the host while it answered; None: nothing ever."""
        ...

    def put_last_seen(self, seen: Sequence[LastSeen]) -> None:
        """Keep what was read of hosts that answer."""
        ...

    def definition(self, uuid: str, sha: str = "") -> Definition | None:
        """The kept version ``sha`` of a VM's definition, else the newest; None: it is not kept."""
        ...

    def variables(self, uuid: str) -> Variables | None:
        """The kept copy of a VM's UEFI variables; None: none is kept."""
        ...

    def bind(self, bound: Bound) -> None:
        """Keep how a controller was shown to belong to its host.

        The UUID that it names shows nothing of one that was refuted: it was the same then.
        """
        ...

    def hold(self, host: str) -> Hold | None:
        """The hold on a host; None when there is none."""
        ...

    def prove(self, proof: Proof) -> None:
        """Keep the proof that a held host is off.

        Raises:
            PowerError: the host is not on hold.
        """
        ...

    def void(self, host: str) -> None:
        """Whatever proved the host off does so no more; the hold stays."""
        ...

    def standing(self, host: str) -> Proof | None:
        """The proof that the host is off, if it stands at this moment.

        Its controllers are read again for it.

        A controller that reads ON voids it for good; one that does not answer keeps it from being
        used now.
        """
        ...


class PowerAccess(Protocol):
    """Gives the power controllers of hosts."""

    @property
    def power(self) -> Powers:
        """The hosts' power controllers, and what is proven of hosts that failed."""
        ...
