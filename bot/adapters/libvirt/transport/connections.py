"""Connections to hosts that break, hang and come back, behind deadlines."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import libvirt

from bot.adapters.libvirt.transport.errors import report_text
from bot.adapters.libvirt.transport.shared_threads import SharedThreads
from bot.domain.errors import HostUnreachableError
from bot.domain.message import Duration, Message, words
from bot.domain.storage import Declared
from bot.ports import Clock

T = TypeVar("T")

Connection: TypeAlias = libvirt.virConnect
"""A ``libvirt.virConnect``; the vendor publishes no types."""

_log = logging.getLogger(__name__)

# A host that is silent for 12 s is given up, and every call waiting for it ends with an error.
_KEEPALIVE_SECONDS = 3
_KEEPALIVE_COUNT = 4
_PATIENCE = 0.2  # seconds for which a question waits before one more connection is opened
LOOKS_WAIT = 1.0  # seconds for which what is looked at by the clock may wait for its turn
_UNUSED = 60.0  # seconds after which a connection beside the first is closed
_OPENING = 10.0
"""Seconds that opening a connection may take before another is tried beside it.

When all hosts come back at once, a second ssh to each would make all of them later.
"""
_FIRST_BACKOFF = 0.25  # seconds; a libvirtd that restarts is back in less
_LONGEST_BACKOFF = 5.0  # seconds; a host that is back is seen by the next sweep


@dataclass(frozen=True, slots=True)
class HostAddress:
    """How one host is reached, by the bot and by the other hosts.

    ``uri`` is the bot's own way in (read-write); ``read_only_uri`` is used for sweeps when given.
    ``migrate_uri`` is how the *source's daemon* reaches this one (``qemu+tls://host-b/system``),
    ``migrate_data_uri`` where the guest's memory flows (``tcp://10.0.0.2``; empty: as the host's
    own name resolves), encrypted by QEMU with ``migrate_tls``. ``reserve`` in bytes is kept for the
    host itself. ``storage``: what the configuration says of pools and paths that hosts share.
    """

    name: str
    uri: str
    migrate_uri: str
    migrate_data_uri: str = ""
    migrate_tls: bool = False
    read_only_uri: str = ""
    reserve: int = 0
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    storage: tuple[Declared, ...] = ()


# libvirt knows one event loop in a process; the first connection of all starts it
_event_loop_lock = threading.Lock()
_event_loop: list[threading.Thread] = []


def run_event_loop() -> None:
    """Start libvirt's event loop; once per process, before the first connection, and for ever.

    The loop belongs to the C library, one to a process, which is why this is the adapter's one
    module state.
    """
    with _event_loop_lock:
        if _event_loop:
            return
        libvirt.virEventRegisterDefaultImpl()
        libvirt.registerErrorHandler(_ignore, None)
        thread = threading.Thread(target=_turn, name="libvirt-events", daemon=True)
        thread.start()
        _event_loop.append(thread)


def _turn() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _ignore(context: object, error: object) -> None:
    """Every error is raised as well; without this libvirt also prints it."""


def quiet_ssh(uri: str) -> str:
    """The URI with ``no_tty=1`` when it goes over SSH.

    So that a missing key is an error and not a question.
    """
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "+ssh" not in parts.scheme or "no_tty" in query:
        return uri
    return urlunsplit(parts._replace(query=urlencode({**query, "no_tty": "1"}, safe="/")))


def open_connection(uri: str, *, read_only: bool = False) -> Connection:
    """A new connection with keepalive. Blocks; raises ``libvirt.libvirtError``."""
    run_event_loop()
    connection = libvirt.openReadOnly(quiet_ssh(uri)) if read_only else libvirt.open(quiet_ssh(uri))
    try:
        connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        # Drivers inside this process have no need of it
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
    return connection


class Pending(Generic[T]):
    """An answer that is on its way from a host."""

    def __init__(self, line: HostConnection, future: Future[T]) -> None:
        self._line = line
        self._future = future

    def wait(self, until: float) -> T:
        """The answer.

        Args:
            until: moment of ``time.monotonic()`` after which nobody waits.

        Raises:
            HostUnreachableError: no answer by then, or no connection.
            libvirt.libvirtError: the host's refusal.
        """
        try:
            return self._future.result(max(0.0, until - time.monotonic()))
        except TimeoutError as error:
            if self._future.done():
                raise
            self._future.cancel()  # not started yet: nobody wants it any more
            raise self._line.silent() from error

    def has_answer(self, until: float) -> bool:
        """Wait for the answer until then; return whether it came, be it an error.

        It stays asked for.
        """
        done, _ = futures.wait([self._future], max(0.0, until - time.monotonic()))
        return bool(done)


@dataclass(slots=True)
class _Task:
    """A question that waits for its turn; ``number`` is its place in the order of all."""

    number: int
    future: Future[Any]
    question: Callable[[Connection], Any]


class Wires:
    """The connections to one host by one way in, shared by several kinds of questions.

    One serves them all while it answers at once. Another is opened when every open one has been at
    a question for longer than whoever waits has patience (or has been opening for long), and closed
    when it was not used for a while. No two threads ever use a connection at once. In libvirt
    before 10.3 a thread that waits for an answer can be woken by another one's question in a way
    that crashes the process (CVE-2024-4418); a host that falls silent is such a case.

    Args:
        host: the host's name, for errors.
        uri: the way in.
        threads: make the calls, those of other hosts too.
        read_only: as libvirt has it.
    """

    def __init__(
        self, host: str, uri: str, threads: SharedThreads, *, read_only: bool = False
    ) -> None:
        self.threads = threads
        # Questions of all kinds share the host's connections: who goes next is decided at one place
        self._lock = threading.Lock()
        self._parts: list[HostConnection] = []
        self._numbers = itertools.count()
        self._opened: list[Callable[[Connection], None]] = []
        self._closing: list[Callable[[Connection], None]] = []
        backoff = _Backoff()
        # Only the first one tells of events: once is enough
        self._first = _Wire(
            host, uri, backoff, read_only=read_only, opened=self._announce, closing=self._ending
        )
        self._new = partial(
            _Wire, host, uri, backoff, read_only=read_only, opened=None, closing=None
        )
        self._wires: list[_Wire] = [self._first]
        self._looks_again = False
        self._left = 0
        self._idle = threading.Condition(self._lock)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        with self._lock:
            return any(wire.is_connected for wire in self._wires)

    def join(
        self,
        part: HostConnection,
        opened: Callable[[Connection], None] | None,
        closing: Callable[[Connection], None] | None,
    ) -> None:
        """Let a kind of questions use the connections; see ``HostConnection``."""
        with self._lock:
            self._parts.append(part)
            self._opened += [opened] if opened else []
            self._closing += [closing] if closing else []

    def put(
        self, part: HostConnection, future: Future[Any], question: Callable[[Connection], Any]
    ) -> None:
        """Put a question when it is its turn."""
        with self._lock:
            part.waiting.append(_Task(next(self._numbers), future, question))
            self._dispatch()

    def leave(self) -> None:
        """One kind of questions will not be put any more; after the last the connections go."""
        with self._lock:
            self._left += 1
            if self._left == len(self._parts):
                self._refuse_rest()
                self._hang_up(wire for wire in self._wires if not wire.busy)

    def _refuse_rest(self) -> None:
        for part in self._parts:
            for task in part.waiting:
                if task.future.set_running_or_notify_cancel():
                    task.future.set_exception(part.silent())
            part.waiting.clear()

    def wait_idle(self, until: float, patience: float) -> bool:
        """Wait until no connection is at a question, those that hang left aside.

        Whether none is, once all kinds of questions have left; True at once before.
        """
        with self._lock:
            if self._left < len(self._parts):
                return True
            while any(wire.busy and not self._hangs(wire, patience) for wire in self._wires):
                if not self._idle.wait(max(0.0, until - time.monotonic())):
                    break
            return not any(wire.busy for wire in self._wires)

    @staticmethod
    def _hangs(wire: _Wire, patience: float) -> bool:
        if wire.since is None:
            return False
        allowed = max(patience, _OPENING) if wire.is_opening else patience
        return time.monotonic() - wire.since > allowed

    def _dispatch(self) -> None:
        """Give connections to what may be asked now, in the order in which it came."""
        while (part := self._next_part()) is not None:
            wire = self._free_wire(part)
            if wire is None:
                if not self._looks_again:
                    self._looks_again = True
                    self.threads.later(part.patience, self._look_again)
                return
            task = part.waiting.popleft()
            part.running[task.number] = None
            wire.busy = True
            self.threads.put(partial(self._ask, part, task, wire))

    def _next_part(self) -> HostConnection | None:
        for part in self._parts:
            while part.waiting and part.waiting[0].future.cancelled():
                part.waiting.popleft()
        ready = [part for part in self._parts if part.waiting and len(part.running) < part.limit]
        return min(ready, key=lambda part: part.waiting[0].number, default=None)

    def _free_wire(self, part: HostConnection) -> _Wire | None:
        """A connection that nobody uses; a new one when those that there are take too long.

        One beside the first is used only while those before it take too long: at each moment when
        two questions meet, it would never be unused for long enough to be closed.
        """
        for wire in self._wires:
            if not wire.busy:
                return wire
            if not self._hangs(wire, part.patience):
                return None
        if self._left == len(self._parts) or not self._may_open(part.patience):
            return None
        self._wires.append(self._new())
        return self._wires[-1]

    def _may_open(self, patience: float) -> bool:
        """Whether one more connection is worth while: all hang, and it is not the host that does.

        Of two, one of which is still opening, a third would hang as they do.
        """
        if len(self._wires) > 1 and any(wire.is_opening for wire in self._wires):
            return False
        return all(self._hangs(wire, patience) for wire in self._wires)

    def hang_seconds(self, deadline: float, patience: float) -> float | None:
        """Seconds for which the host has been silent, when no connection can be had for a question.

        Each has been at one, or opening, for longer than ``deadline``.
        """
        with self._lock:
            now, since = time.monotonic(), [wire.since for wire in self._wires]
            known = [each for each in since if each is not None]
            if len(known) < len(since) or now - max(known) <= deadline or self._may_open(patience):
                return None
            return now - min(known)

    def _look_again(self) -> None:
        with self._lock:
            self._looks_again = False
            self._dispatch()

    def _ask(self, part: HostConnection, task: _Task, wire: _Wire) -> None:
        if task.future.set_running_or_notify_cancel():
            with self._lock:
                part.running[task.number] = wire.since = time.monotonic()
            try:
                task.future.set_result(wire.put(task.question))
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
                task.future.set_exception(error)
        with self._lock:
            part.running.pop(task.number)
            self._release(wire)
            self._dispatch()

    def _release(self, wire: _Wire) -> None:
        wire.busy, wire.since, wire.used_at = False, None, time.monotonic()
        if self._left == len(self._parts):
            self._hang_up([wire])
        elif wire is not self._first:
            self.threads.later(_UNUSED, self._close_unused)
        self._idle.notify_all()

    def _close_unused(self) -> None:
        """Close the connections beside the first one that were not used lately."""
        with self._lock:
            before = time.monotonic() - _UNUSED
            unused = [wire for wire in self._wires[1:] if not wire.busy and wire.used_at <= before]
            for wire in unused:
                self._wires.remove(wire)
            self._hang_up(unused)

    def _hang_up(self, wires: Iterable[_Wire]) -> None:
        for wire in wires:
            if wire.connection is not None:
                wire.busy, wire.since = True, None
                self.threads.put(partial(self._end, wire))

    def _end(self, wire: _Wire) -> None:
        with self._lock:
            wire.since = time.monotonic()
        try:
            wire.hang_up()
        finally:
            with self._lock:
                wire.busy, wire.since = False, None
                self._idle.notify_all()

    def _announce(self, connection: Connection) -> None:
        for each in self._opened:
            each(connection)

    def _ending(self, connection: Connection) -> None:
        for each in self._closing:
            each(connection)


class HostConnection:
    """One kind of questions to one host, put in order; several kinds may share the connections.

    Connections are opened when needed and again when they broke.

    Args:
        host: the host's name, for errors.
        uri: the way in.
        threads: how many questions of this kind can be under way at once.
        opened: called with each new first connection, in the thread that opened it, before anything
            is asked.
        closing: called with that connection before it is closed; it may be dead.
        wires: the connections that it shares with other kinds; None: some of its own.
        patience: seconds for which a question waits for connections that are at others before one
            more is opened.
    """

    def __init__(
        self,
        host: str,
        uri: str,
        *,
        clock: Clock,
        deadline: float,
        threads: int = 1,
        read_only: bool = False,
        opened: Callable[[Connection], None] | None = None,
        closing: Callable[[Connection], None] | None = None,
        wires: Wires | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._host = host
        self._clock = clock
        self._deadline = deadline
        self.limit = threads
        self.patience = min(patience, deadline / 5)
        # Both belong to the connections, which look at them under their lock
        self.waiting: deque[_Task] = deque()
        self.running: dict[int, float | None] = {}
        self._on_close = False
        self._wires = wires or Wires(
            host, uri, SharedThreads(f"libvirt-{host}"), read_only=read_only
        )
        self._wires.join(self, opened, closing)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        return self._wires.is_connected

    def send(self, question: Callable[[Connection], T]) -> Pending[T]:
        """Put a question to the host without waiting.

        A question that finds its connection dead is put once more on a new one: it must be harmless
        to repeat.
        """
        future: Future[T] = Future()
        stuck = self._hang_seconds()
        if stuck is not None:
            future.set_exception(self._still_waiting(stuck))
        elif self._on_close:
            future.set_exception(self.silent())
        else:
            self._wires.put(self, future, question)
        return Pending(self, future)

    def ask(self, question: Callable[[Connection], T], *, deadline: float | None = None) -> T:
        """The host's answer to a question.

        Raises:
            HostUnreachableError: no answer within the deadline, or no connection.
            libvirt.libvirtError: the host's refusal.
        """
        return self.send(question).wait(
            time.monotonic() + (self._deadline if deadline is None else deadline)
        )

    def silent(self) -> HostUnreachableError:
        """The error for a question that was not answered in time."""
        return HostUnreachableError(
            words(
                "{host} did not answer within {time}.",
                host=self._host,
                time=Duration(self._deadline),
            ),
            words("Check that the host and its libvirtd are running. VMs there may still run."),
            why=words("no answer within {time}", time=Duration(self._deadline)),
        )

    def leave(self) -> None:
        """Put no question any more. Returns at once; ``close`` waits for the connections' end."""
        if not self._on_close:
            self._on_close = True
            self._wires.leave()

    def close(self, until: float | None = None) -> None:
        """Let go of the connections; a stuck call is not waited for.

        Args:
            until: moment of ``time.monotonic()`` after which nobody waits; None: a deadline away.
        """
        self.leave()
        last = time.monotonic() + self._deadline if until is None else until
        if not self._wires.wait_idle(last, self._deadline):
            _log.warning("%s was still busy when its connections were let go", self._host)

    def _hang_seconds(self) -> float | None:
        """Seconds the longest question has lasted, when no further one would be answered.

        All that may be asked at once are and last too long, or no connection can be had for it.
        """
        since = [each for each in list(self.running.values()) if each is not None]
        now = time.monotonic()
        if len(since) == self.limit and now - max(since) > self._deadline:
            return now - min(since)
        return self._wires.hang_seconds(self._deadline, self.patience)

    def _still_waiting(self, seconds: float) -> HostUnreachableError:
        since = self._clock.now() - timedelta(seconds=seconds)
        return HostUnreachableError(
            words("{host} has not answered since {since}.", host=self._host, since=since),
            words(
                "Check the host. Drover asks again when that call ends or its connection breaks."
            ),
            why=words("no answer since {since}", since=since),
        )


class _Backoff:
    """When a host that could not be reached is tried again; shared by all threads that want to."""

    def __init__(self) -> None:
        # All connections of a host share it: a host that is gone is not tried by each of them
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at = 0.0
        self._why: Message = ""

    @property
    def why(self) -> Message:
        """Why the last try failed, while it is too early for another; '' otherwise."""
        with self._lock:
            return self._why if time.monotonic() < self._retry_at else ""

    def note_failure(self, why: Message) -> None:
        """Note a failed try."""
        with self._lock:
            wait: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2**self._failures)
            self._failures += 1
            self._why, self._retry_at = why, time.monotonic() + wait

    def note_success(self) -> None:
        """Note that the host can be reached."""
        with self._lock:
            self._failures, self._retry_at = 0, 0.0


class _Wire:
    """One connection, used by one thread at a time; any may ask whether it is ``is_connected``."""

    def __init__(
        self,
        host: str,
        uri: str,
        backoff: _Backoff,
        *,
        read_only: bool,
        opened: Callable[[Connection], None] | None,
        closing: Callable[[Connection], None] | None,
    ) -> None:
        self._host = host
        self._uri = uri
        self._backoff = backoff
        self._read_only = read_only
        self._opened = opened
        self._closing = closing
        self._connection: Connection = None
        self._broken: Message = ""
        # Whoever hands it out looks at these, under a lock
        self.busy = False
        # By ``time.monotonic()``, while it is at a question, or opening for one
        self.since: float | None = None
        self.is_opening = False
        self.used_at = float("-inf")

    @property
    def connection(self) -> Connection:
        """The connection as it is, perhaps broken; None before the first question."""
        return self._connection

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        return self._connection is not None and not self._broken

    def put(self, question: Callable[[Connection], T], *, again: bool = True) -> T:
        """Put a question, once more on a new connection if this one turns out to be dead."""
        connection, fresh = self._open()
        try:
            return question(connection)
        except libvirt.libvirtError as error:
            if is_alive(connection):
                raise
            self._broken = self._broken or report_text(error)
            if fresh or not again:
                raise self._unreachable(report_text(error)) from error
        return self.put(question, again=False)

    def hang_up(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        ending = partial(self._closing, connection) if self._closing else None
        # Each by itself: of a broken connection the first may fail, and its ssh goes by the last
        for step in (ending, connection.unregisterCloseCallback, connection.close):
            try:
                if step is not None:
                    step()
            except libvirt.libvirtError as error:
                _log.debug("closing the connection to %s: %s", self._host, error)

    def _open(self) -> tuple[Connection, bool]:
        if self.is_connected:
            return self._connection, False
        self.hang_up()
        if why := self._backoff.why:
            raise self._unreachable(why)
        connection = None
        self.is_opening = True
        try:
            connection = open_connection(self._uri, read_only=self._read_only)
            connection.registerCloseCallback(self._on_close, connection)
            if self._opened:
                self._opened(connection)
        except libvirt.libvirtError as error:
            self._connection = connection
            self.hang_up()
            self._backoff.note_failure(report_text(error))
            raise self._unreachable(report_text(error)) from error
        finally:
            self.is_opening = False
            self.since = time.monotonic()  # the question itself begins now
        self._backoff.note_success()
        self._connection, self._broken = connection, ""
        return connection, True

    def _on_close(self, _: Connection, reason: int, opaque: object) -> None:
        """The library says the connection broke.

        Called in the event loop: no libvirt call is allowed here.
        """
        if opaque is self._connection:
            self._broken = _CLOSED.get(reason, words("the connection broke"))
            _log.info("lost the connection to %s: %s", self._host, self._broken)

    def _unreachable(self, why: Message) -> HostUnreachableError:
        return HostUnreachableError(
            words("{host} cannot be reached: {reason}.", host=self._host, reason=why),
            words("Check the host, its libvirtd and the network to it. VMs there may still run."),
            why=why,
        )


_CLOSED = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: words("the connection broke with an error"),
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: words("libvirtd closed the connection"),
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: words("it does not answer"),
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: words("the connection was closed"),
}


def is_alive(connection: Connection) -> bool:
    """Whether the connection can still carry calls; a look at this end only, so it cannot block."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False
