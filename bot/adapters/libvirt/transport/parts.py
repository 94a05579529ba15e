"""Reading what consists of many objects, such that one that cannot be read costs itself alone.

A host lists interfaces, networks, pools, VMs… and is then asked about each of them. Any of these
answers can be an error or nonsense: an object that vanished in between, a driver whose daemon is
missing, a definition that a newer version wrote. What can be read is read; of the rest the reason
is kept, to be shown to people.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import libvirt

from bot.adapters.libvirt.transport.connections import Connection, is_alive
from bot.adapters.libvirt.transport.errors import report_text
from bot.domain.errors import HypervisorError, UnfitError
from bot.domain.message import Message, words
from bot.domain.units import is_sane
from bot.domain.unread import Unread

T = TypeVar("T")

NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading raises when an answer is not of the form that libvirt documents."""

NO_DRIVER = frozenset({
    libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_NO_CONNECT,
})  # fmt: skip
"""A host without a driver for a kind of object has none of that kind: no fault."""

VANISHED = frozenset({
    libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT,
    libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT, libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_INTERFACE,
    libvirt.VIR_ERR_NO_STORAGE_POOL, libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_SECRET,
    libvirt.VIR_ERR_NO_NODE_DEVICE,
})  # fmt: skip
"""An object that was listed and is gone when it is asked about is not there: no fault."""

HANDLES = threading.Lock()  # no host may be asked while it is held
"""Held while many handles are asked for what they keep themselves (name, UUID, number), or end.

Each of these questions lets go of Python's lock for a moment, and threads that do so side by side
hand it to and fro: of 300 hosts that took more than all the rest of a look at them.
"""

_TRIES = 2  # what is read of an object may vanish meanwhile: a bridge is read with its ports


def reason(error: BaseException) -> Message:
    """Return why something could not be read, without a final stop."""
    if isinstance(error, libvirt.libvirtError):
        return report_text(error)
    if isinstance(error, KeyError):
        return words("its answer lacks {part}", part=str(error))
    if isinstance(error, UnfitError):
        return words("its answer makes no sense ({error})", error=error.text)
    said = f"{type(error).__name__}: {error}".rstrip(".")
    return words("its answer makes no sense ({error})", error=said)


def nonsense(error: BaseException, what: Message) -> HypervisorError:
    """Return our error for an answer that makes no sense.

    ``what`` could not be done because of it.
    """
    return HypervisorError(
        words("{what}: {reason}.", what=what, reason=reason(error)),
        words("Check the libvirt log of the host."),
        why=reason(error),
    )


class Parts:
    """Reads objects of one host over one connection, and keeps what could not be read.

    An error of a connection that broke is raised: nothing can be read over it any more.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unread: dict[tuple[str, str], Unread] = {}

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Everything that could not be read so far, in the order of the tries."""
        return tuple(self._unread.values())

    def why(self, kind: str, name: str) -> Message:
        """Return why an object could not be read; '' when it was."""
        found = self._unread.get((kind, name))
        return found.why if found else ""

    def list_all(self, kind: str, ask: Callable[[], Iterable[Any]]) -> list[Any]:
        """List all objects of a kind; none where that fails, or where no driver knows the kind."""
        return self.read(kind, "", lambda: list(ask()), absent=NO_DRIVER) or []

    def read(
        self, kind: str, name: str, ask: Callable[[], T], *, absent: Collection[int] = VANISHED
    ) -> T | None:
        """Read one object; None when it cannot be read or is gone.

        What fails is tried once more.

        Args:
            kind: what it is, of ``bot.domain.unread``.
            name: its name; '' for all of its kind.
            ask: reads it.
            absent: error codes that mean that there is no such object, which is no fault.
        """
        for attempt in range(_TRIES):
            try:
                return ask()
            except libvirt.libvirtError as error:
                if error.get_error_code() in absent:
                    return None
                if not is_alive(self._connection):
                    raise
                problem: Exception = error
            except NONSENSE as error:
                problem = error
            if attempt == _TRIES - 1:
                self.note(kind, name, reason(problem))
        return None

    def note(self, kind: str, name: str, why: Message) -> None:
        """Keep why an object could not be read."""
        self._unread.setdefault((kind, name), Unread(kind, name, why))


class Named(Protocol):
    """A handle of libvirt's that keeps a name."""

    def name(self) -> object:
        """The name, a ``str`` unless the host makes no sense."""


def name_of(thing: Named) -> str:
    """Return the name that an object's handle keeps; ``?`` when it has none that makes sense."""
    try:
        name = thing.name()
    except (libvirt.libvirtError, *NONSENSE):
        return "?"
    return name if isinstance(name, str) and name else "?"


def count(value: object) -> int:
    """Return a count as it is.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise UnfitError(words("{value} is no count", value=repr(value)))
    return value


def moment(seconds: str) -> datetime:
    """Return the moment of seconds since 1970, as a description writes them.

    Raises:
        ValueError: it is none.
    """
    unfit = UnfitError(words("{value} is no moment", value=f"“{seconds:.40}”"))
    try:
        found = datetime.fromtimestamp(int(seconds), UTC)
    except (OSError, OverflowError, ValueError) as error:  # by the size of the number
        raise unfit from error
    if not is_sane(found):
        raise unfit
    return found


def text(value: object) -> str:
    """Return a text as it is.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        # An answer of a host, not an argument
        raise UnfitError(words("{value} is no text", value=repr(value)))
    return value
