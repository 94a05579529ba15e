"""What must survive: requests, operations, events, and where they are shown."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from bot.domain.definition import Definition, MaybeUnchanged, Variables
from bot.domain.message import Message
from bot.domain.operation import Attempted, Event, Operation, Proposed, State
from bot.ports.chat import MessageRef, Request
from bot.ports.power import Holds


class Store(Holds, Protocol):
    """Operations, their events and what else must survive.

    Every method may raise ``StoreError``.
    """

    def accept(self, request: Request) -> bool:
        """Keep a request until it is handled; False when it is a duplicate."""
        ...

    def pending_requests(self) -> tuple[Request, ...]:
        """Requests accepted but not yet handled, oldest first (after a crash)."""
        ...

    def take_over(self, replica: str = "") -> tuple[Request, ...]:
        """Make a replica's unhandled requests ('': everybody's) one's own, at one stroke.

        Oldest first.

        Of several replicas that do so at once, each request goes to one.
        """
        ...

    def mark_handled(self, key: str) -> None:
        """The request has been answered."""
        ...

    def propose(self, event: Proposed) -> Operation:
        """Store a new operation under the next number.

        The same origin key answers the same operation again.
        """
        ...

    def head(self) -> tuple[int, str]:
        """Position and hash of the newest event."""
        ...

    def append(self, operation: Operation, *events: Event, since: int | None = None) -> Operation:
        """Advance by events and store them, all or nothing.

        If ``operation.version`` is still the newest.

        Args:
            operation: as it was read.
            events: at least one changes something.
            since: a position of ``head``; nothing at all may have been stored after it, of any
                operation. What was concluded from several operations is thereby still true.

        Raises:
            ConflictError: somebody else was first.
            IllegalEventError: the state does not take the event.
        """
        ...

    def keep_attempt(self, attempt: Attempted) -> None:
        """Keep a refused attempt in the audit trail."""
        ...

    def attempts(
        self, *, by: str = "", since: datetime | None = None, limit: int = 100
    ) -> tuple[Attempted, ...]:
        """Refused attempts of a person ('': of all), newest first."""
        ...

    def operation(self, operation_id: str) -> Operation:
        """One operation.

        Raises:
            UnknownNameError: no such operation.
        """
        ...

    def operations(
        self, *, states: Collection[State] = (), by: str = "", limit: int = 50
    ) -> tuple[Operation, ...]:
        """Operations, newest first."""
        ...

    def count_operations(self, *, states: Collection[State] = (), by: str = "") -> int:
        """How many operations there are."""
        ...

    def events(self, operation_id: str) -> tuple[Event, ...]:
        """An operation's history, oldest first."""
        ...

    def touching(self, vm_uuid: str, limit: int = 20) -> tuple[Operation, ...]:
        """Operations whose plan touches a guest, newest first."""
        ...

    def keep_copy(self, operation_id: str, ref: MessageRef) -> None:
        """Remember where an operation is shown."""
        ...

    def copies(self, operation_id: str) -> tuple[MessageRef, ...]:
        """Where an operation is shown."""
        ...

    def forget_copy(self, operation_id: str, ref: MessageRef) -> None:
        """The message is gone, or can never be edited again."""
        ...

    def keep_word(self, key: str, data: str) -> int:
        """Keep something that is to be said, once for each key, across replicas.

        Its number, 0 when it was kept before.

        The key is claimed, as by ``claim``, at the same stroke.
        """
        ...

    def words_left(self, replica: str = "") -> tuple[tuple[int, str], ...]:
        """Make what a replica ('': anybody) has still to say one's own, at one stroke.

        Number and data, in order.
        """
        ...

    def mark_said(self, number: int) -> None:
        """It was said, or never can be."""
        ...

    def maintenance(self) -> frozenset[str]:
        """Hosts in maintenance."""
        ...

    def set_maintenance(self, host: str, *, on: bool) -> None:
        """Put a host into maintenance or take it out."""
        ...

    def keep_definitions(
        self, seen: Collection[MaybeUnchanged], answered: Collection[str]
    ) -> frozenset[str]:
        """Keep what the hosts ``answered`` told, all of theirs.

        The newest versions of each VM are kept.

        A VM that its host has no more keeps its versions, with host ''; one whose definition
        could not be read keeps them as they are.

        Returns:
            The UUIDs of VMs told to be unchanged that are kept otherwise: nothing of them was kept,
            and they are to be read whole.
        """
        ...

    def keep_variables(self, copies: Collection[Variables]) -> None:
        """Keep copies of VMs' UEFI variables, each in place of the one before."""
        ...

    def definitions(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]:
        """All versions of one VM (``uuid``), newest first.

        Else the newest of each VM, of one host or of all.
        """
        ...

    def claim(self, key: str) -> bool:
        """Take a key once and for all, across replicas; False when it was taken before."""
        ...

    def mark_alive(self) -> None:
        """Note that a bot is at work on this database now.

        Raises:
            FencedError: a newer Drover upgraded it meanwhile: this process has to end.
        """
        ...

    def last_alive(self) -> datetime | None:
        """When a bot was last at work on this database; None when that was never noted."""
        ...

    def broken_link(self, *, whole: bool = True) -> Message:
        """The first event whose hash chain does not hold, told in words; '' when it holds.

        Args:
            whole: every event; otherwise only what came after the last look of this process that
                found no fault, and that this look's last event is still the same.
        """
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
