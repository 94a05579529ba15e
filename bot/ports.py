"""What the core needs of the world, as protocols; every implementation passes the same contract suite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.card import Card, Form
from bot.domain.cluster import Job, Scheduler, Sighting, Snapshot
from bot.domain.operation import Ask, Event, Operation, Proposed, State
from bot.domain.steps import MigrateVm


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> datetime:
        """The moment, in UTC with zone."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Hypervisor(Protocol):
    """All hosts of the cluster behind one door. Hosts are named as in the config, guests by UUID.

    Every method may raise ``HypervisorError``; ``HostUnreachableError`` when the host does not answer in time.
    """

    def snapshot(self, focus: Collection[str] = ()) -> Snapshot:
        """One read of the cluster, all hosts side by side, each under a deadline.

        A host that does not answer is in the snapshot with its health and last known guests; it never delays the
        others. ``focus``: names or UUIDs of guests to read in depth (``detail`` fresh, ``cpu_fits`` for each host
        that is up, the dirty rate when it can be measured without disturbing anything).
        """
        ...

    def sightings(self, uuid: str) -> tuple[Sighting, ...]:
        """The guest's state on every configured host, asked afresh."""
        ...

    def migrate(self, move: MigrateVm) -> None:
        """Peer-to-peer live migration; blocks until libvirt answers. Not the truth: look at both hosts."""
        ...

    def job(self, host: str, uuid: str) -> Job | None:
        """Progress of the guest's migration out of ``host``; None when no job is active."""
        ...

    def cancel_job(self, host: str, uuid: str) -> None:
        """Ask for the migration's end; it may come too late."""
        ...

    def start_postcopy(self, host: str, uuid: str) -> None:
        """Switch a running migration that allows it to post-copy."""
        ...

    def raise_downtime(self, host: str, uuid: str, milliseconds: int) -> None:
        """Allow a running migration a longer pause at its end."""
        ...

    def pause(self, host: str, uuid: str) -> None:
        """Pause a running guest."""
        ...

    def resume(self, host: str, uuid: str) -> None:
        """Let a paused guest go on."""
        ...

    def set_autostart(self, host: str, uuid: str, *, on: bool) -> None:
        """Set or clear start at boot."""
        ...

    def autostart(self, host: str, uuid: str) -> bool:
        """Whether the guest starts at boot."""
        ...

    def set_scheduler(self, host: str, uuid: str, scheduler: Scheduler) -> None:
        """Apply the given (non-None) parameters, live and in the stored definition."""
        ...

    def scheduler(self, host: str, uuid: str) -> Scheduler:
        """The parameters in force, as the host reports them."""
        ...

    def cpu_seconds(self, host: str, uuid: str) -> float:
        """CPU time the guest has used so far on this host."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class Progress(Protocol):
    """What a step's handler tells while it works, and what people have asked of it meanwhile."""

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        """Show a job's progress; ``asks`` is what may be asked right now. Cheap: call it as often as you like."""
        ...

    def say(self, text: str) -> None:
        """Show a line of progress that is not a job's."""
        ...

    def note(self, text: str) -> None:
        """Put a line into the audit trail."""
        ...

    def asked(self) -> frozenset[Ask]:
        """What people have asked of this operation so far."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, by the core's clock."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """Something a person did in chat. ``key`` is equal for duplicates of one delivery.

    ``kind``: ``command`` (``text`` is what follows the slash command), ``click`` (``action``, ``value``), ``form``
    (``action``, ``value`` = the form's hidden data, ``answers``), ``home``. ``message`` is the clicked message's ts.
    """

    key: str
    kind: str
    by: str
    at: datetime
    channel: str = ""
    text: str = ""
    action: str = ""
    value: str = ""
    answers: tuple[tuple[str, str], ...] = ()
    message: str = ""
    thread: str = ""
    trigger: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A posted message."""

    channel: str
    ts: str


class Chat(Protocol):
    """Messages to people. Every method may raise ``ChatError``; rate limits are waited out within."""

    def post(self, channel: str, card: Card, *, thread: MessageRef | None = None, key: str = "") -> MessageRef:
        """Post a message. With ``key``, a message already posted under it is found and updated instead."""
        ...

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message."""
        ...

    def later(self, ref: MessageRef, card: Card) -> None:
        """Replace a message soon: of several only the last is shown, and a plain ``update`` overtakes them.

        For progress. It never raises; a failure is logged and the next one tries again.
        """
        ...

    def whisper(self, channel: str, user: str, card: Card) -> None:
        """A message that only one person sees, where they are."""
        ...

    def tell(self, user: str, card: Card) -> None:
        """A direct message."""
        ...

    def open_form(self, trigger: str, form: Form) -> None:
        """Open a dialog; a trigger lives three seconds."""
        ...

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home."""
        ...

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in; cached; empty when the plan has none."""
        ...


class Store(Protocol):
    """Operations, their events and what else must survive. Every method may raise ``StoreError``."""

    def accept(self, request: Request) -> bool:
        """Keep a request until it is handled; False when it is a duplicate."""
        ...

    def unhandled(self) -> tuple[Request, ...]:
        """Requests accepted but not yet handled, oldest first (after a crash)."""
        ...

    def handled(self, key: str) -> None:
        """The request has been answered."""
        ...

    def propose(self, event: Proposed) -> Operation:
        """Store a new operation under the next number; the same origin key answers the same operation again."""
        ...

    def append(self, operation: Operation, *events: Event) -> Operation:
        """Advance by events and store them, all or nothing, if ``operation.version`` is still the newest.

        Raises:
            ConflictError: somebody else was first.
            IllegalEventError: the state does not take the event.
        """
        ...

    def operation(self, operation_id: str) -> Operation:
        """One operation.

        Raises:
            UnknownNameError: no such operation.
        """
        ...

    def operations(self, *, states: Collection[State] = (), by: str = "", limit: int = 50) -> tuple[Operation, ...]:
        """Operations, newest first."""
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

    def maintenance(self) -> frozenset[str]:
        """Hosts in maintenance."""
        ...

    def set_maintenance(self, host: str, *, on: bool) -> None:
        """Put a host into maintenance or take it out."""
        ...

    def claim(self, key: str) -> bool:
        """Take a key once and for all, across replicas; False when it was taken before."""
        ...

    def broken_link(self) -> str:
        """The first event whose hash chain does not hold, told in words; '' when the whole chain holds."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Work(Protocol):
    """Runs operations to their end, once each, across crashes."""

    def enqueue(self, operation: Operation) -> None:
        """See that the operation is performed; repeating it is harmless."""
        ...


Perform = Callable[[str], None]
"""Performs the operation of this id; safe to repeat after a crash."""

Answers = Sequence[tuple[str, str]]
