"""What hosts tell by themselves: which cached definitions are no longer true."""

from __future__ import annotations

import logging
from collections.abc import Callable

import libvirt

from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.parts import NONSENSE, reason

_log = logging.getLogger(__name__)

# Every event after which a guest's definition may read differently. A lifecycle event covers
# definition, start, stop and arrival by migration.
_CHANGES = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE,
    libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
)


class Listening:
    """Event registrations on the connections of one host, renewed with each connection.

    Args:
        changed: called with a guest's UUID in libvirt's event loop; it must be quick and must not
            call libvirt.
        inventory_changed: the same for networks and pools.
    """

    def __init__(
        self, changed: Callable[[str], None], inventory_changed: Callable[[], None]
    ) -> None:
        self._changed = changed
        self._inventory_changed = inventory_changed
        self._ends: dict[int, list[Callable[[], object]]] = {}
        self._deaf: set[int] = set()

    def hears(self, connection: Connection) -> bool:
        """Whether all kinds of events about VMs are told on a connection."""
        return id(connection) in self._ends and id(connection) not in self._deaf

    def begin(self, connection: Connection) -> None:
        """Register for a new connection's events.

        Each kind that is not to be had is left to the cache's age.
        """
        self._ends[id(connection)] = []
        heard = [
            self._register(connection, "domain", event, self._domain_event) for event in _CHANGES
        ]
        if not all(heard):
            self._deaf.add(id(connection))
        self._register(
            connection, "network", libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, self._inventory_event
        )
        self._register(
            connection,
            "storagePool",
            libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
            self._inventory_event,
        )

    def _register(
        self, connection: Connection, kind: str, event: int, told: Callable[..., None]
    ) -> bool:
        """Register for one kind of event; False where it is not to be had.

        A driver without it, or whose daemon is missing, spoils no other.

        Raises:
            libvirt.libvirtError: the connection broke.
        """
        try:
            number = getattr(connection, f"{kind}EventRegisterAny")(None, event, told, None)
        except (libvirt.libvirtError, *NONSENSE) as error:
            if isinstance(error, libvirt.libvirtError) and not is_alive(connection):
                raise
            _log.info("events of kind %s are not to be had: %s", kind, reason(error))
            return False
        self._ends[id(connection)].append(
            _later(getattr(connection, f"{kind}EventDeregisterAny"), number)
        )
        return True

    def end(self, connection: Connection) -> None:
        """Take the registrations back.

        On a dead connection that frees this end's memory of them.
        """
        self._deaf.discard(id(connection))
        for take_back in self._ends.pop(id(connection), []):
            try:
                take_back()
            except libvirt.libvirtError as error:
                _log.debug("an event registration was gone already: %s", error)

    def _domain_event(self, _: Connection, domain: libvirt.virDomain, *__: object) -> None:
        self._changed(domain.UUIDString())  # kept in the handle: no call goes out

    def _inventory_event(self, *_: object) -> None:
        self._inventory_changed()


def _later(call: Callable[[int], object], number: int) -> Callable[[], object]:
    return lambda: call(number)
