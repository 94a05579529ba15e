"""What hosts tell by themselves that people should know.

Crashes, I/O errors, watchdogs, disks that fill.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable

import libvirt

from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.parts import NONSENSE, reason
from bot.domain.message import Message, Size, words
from bot.domain.metrics import Happening
from bot.ports import Clock

_log = logging.getLogger(__name__)

_MOST = 1000  # kept until the next sweep takes them; a storm of more loses its oldest
_CRASHED = {
    (
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED,
    ): words("the guest system crashed"),
    (
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED,
    ): words("its QEMU process ended"),
    (
        libvirt.VIR_DOMAIN_EVENT_CRASHED,
        libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED,
    ): words("its kernel panicked"),
}


class Alarms:
    """Registrations on the connections of one host, renewed with each new one.

    What happens while there is no connection is not told; a sweep's states show crashed and paused
    guests anyhow.
    """

    def __init__(self, host: str, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self._happened: collections.deque[Happening] = collections.deque(maxlen=_MOST)
        self._registered: dict[int, list[int]] = {}

    def begin(self, connection: Connection) -> None:
        """Register on a new connection; a driver without events tells none."""
        wanted: tuple[tuple[int, Callable[..., None]], ...] = (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, self._io_error),
            (libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG, self._watchdog),
            (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, self._threshold),
        )
        numbers = self._registered[id(connection)] = []
        for event, told in wanted:
            try:
                numbers.append(connection.domainEventRegisterAny(None, event, told, None))
            except (libvirt.libvirtError, *NONSENSE) as error:
                if isinstance(error, libvirt.libvirtError) and not is_alive(connection):
                    raise
                _log.info("an event is not to be had of %s: %s", self._host, reason(error))

    def end(self, connection: Connection) -> None:
        """Take the registrations back.

        On a dead connection that frees this end's memory of them.
        """
        for number in self._registered.pop(id(connection), []):
            try:
                connection.domainEventDeregisterAny(number)
            except libvirt.libvirtError as error:
                _log.debug("an event registration was gone already: %s", error)

    def take(self) -> tuple[Happening, ...]:
        """What happened since the last time this was asked, oldest first."""
        found = []
        while self._happened:
            found.append(self._happened.popleft())
        return tuple(found)

    # Called in libvirt's event loop: quick, and without a call to libvirt.

    def _lifecycle(
        self, _: Connection, domain: object, event: int, detail: int, __: object
    ) -> None:
        if text := _CRASHED.get((event, detail)):
            self._tell(domain, "crashed", text)

    def _io_error(
        self,
        _: Connection,
        domain: object,
        path: str,
        device: str,
        action: int,
        why: str,
        *__: object,
    ) -> None:
        del action
        self._tell(domain, "ioerror", f"{device or 'a disk'} ({path}): {why or 'no reason told'}")

    def _watchdog(self, _: Connection, domain: object, action: int, __: object) -> None:
        self._tell(domain, "watchdog", f"action {action}")

    def _threshold(
        self,
        _: Connection,
        domain: object,
        device: str,
        path: str,
        limit: int,
        excess: int,
        *__: object,
    ) -> None:
        self._tell(
            domain,
            "threshold",
            words(
                "{device} ({path}) passed {limit} by {excess}",
                device=device,
                path=path,
                limit=Size(limit),
                excess=Size(excess),
            ),
        )

    def _tell(self, domain: libvirt.virDomain, kind: str, detail: Message) -> None:
        # The handle keeps name and UUID: no call goes out.
        self._happened.append(
            Happening(
                self._clock.now(), self._host, domain.UUIDString(), domain.name(), kind, detail
            )
        )
