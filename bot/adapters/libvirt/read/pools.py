"""A host's pools, with deadlines of their own: slow storage makes no host silent."""

from __future__ import annotations

import threading
import time

import libvirt

from bot.adapters.libvirt.read.inventory import Pools, pools_of
from bot.adapters.libvirt.transport.connections import (
    LOOKS_WAIT,
    HostAddress,
    HostConnection,
    Pending,
    Wires,
)
from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.transport.parts import NONSENSE, reason
from bot.domain.errors import HostUnreachableError
from bot.domain.message import Duration, Message, words
from bot.domain.unread import Unread
from bot.ports import Clock

_OLDEST = 30.0  # seconds after which pools are read again, for changes that no event tells
_UNREAD_OLDEST = 5.0  # what could not be read is tried again sooner
_NONE: Message = ""  # no trouble
_SHARE = 0.4  # of the host's deadline that a reading waits for its pools at most


class Storage:
    """The pools of one host as they were read last; reading them again never holds up the host.

    libvirt answers nothing about a pool while it reads it anew, which takes minutes for one with
    very many files or behind a slow network. One question at a time is on its way; while it is
    not answered, the last answer stands, and how long that already takes is told. Safe to share by
    threads.
    """

    def __init__(
        self, address: HostAddress, *, clock: Clock, deadline: float, wires: Wires | None = None
    ) -> None:
        uri = address.read_only_uri or address.uri
        self._line = HostConnection(
            address.name,
            uri,
            clock=clock,
            deadline=deadline,
            read_only=bool(address.read_only_uri),
            wires=wires,
            patience=LOOKS_WAIT,
        )
        self._patience = deadline * _SHARE
        # Held only to look at what is known, never while a host is waited for
        self._lock = threading.Lock()
        self._asked: tuple[float, int, Pending[Pools]] | None = None
        self._changes = 0  # what was asked before the newest of them may be old
        self._read_at = float("-inf")
        self._known = Pools()
        self._trouble: Message = ""

    def begin(self, *, fresh: bool = False) -> None:
        """Ask for the pools, unless that is under way or what is known is new enough."""
        now = time.monotonic()
        with self._lock:
            oldest = _UNREAD_OLDEST if self._trouble or self._known.unread else _OLDEST
            due = fresh or now - self._read_at > oldest
            if self._asked is None and due:
                before = self._known
                pending = self._line.send(lambda connection: pools_of(connection, before))
                self._asked = (now, self._changes, pending)

    def finish(self, until: float = float("inf")) -> Pools:
        """Return the pools: just read where that ends in time, else as last known with the reason.

        Args:
            until: moment of ``time.monotonic()`` after which nobody waits; it is never waited for
                long.
        """
        with self._lock:
            asked = self._asked
        if asked is not None:
            self._take(*asked, min(until, time.monotonic() + self._patience))
        with self._lock:
            if not self._trouble:
                return self._known
            return Pools(
                self._known.pools, (*self._known.unread, Unread("pool", "", self._trouble))
            )

    def forget(self) -> None:
        """Ask again at the next reading: something changed."""
        with self._lock:
            self._changes += 1
            self._read_at = float("-inf")

    def leave(self) -> None:
        """Ask nothing any more."""
        self._line.leave()

    def close(self) -> None:
        """Let go of the connection."""
        self._line.close()

    def _take(self, since: float, changes: int, pending: Pending[Pools], until: float) -> None:
        """Wait a little for an answer and keep it; one that does not come stays asked for."""
        if not pending.has_answer(until):
            with self._lock:
                waited = Duration(round(time.monotonic() - since))
                self._trouble = words("no answer for {time}", time=waited)
            return
        try:
            known, trouble = pending.wait(time.monotonic()), _NONE
        except HostUnreachableError as error:
            known, trouble = self._known, error.why
        except libvirt.libvirtError as error:
            known, trouble = self._known, report_text(error)
        except NONSENSE as error:
            known, trouble = self._known, reason(error)
        with self._lock:
            if self._asked is not None and self._asked[2] is pending:
                self._asked = None
                self._read_at = time.monotonic() if changes == self._changes else float("-inf")
                self._known, self._trouble = known, trouble
