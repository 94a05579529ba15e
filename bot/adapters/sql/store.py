"""The port ``Store`` on SQLite or PostgreSQL.

Events are appended by compare-and-swap and chained by hash.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from bot.adapters.sql import chain, models
from bot.adapters.sql.chain import ChainedEvent, Proven
from bot.adapters.sql.definitions import SqlDefinitions
from bot.adapters.sql.engine import READ, SOON, SURELY, open_engine, transaction
from bot.adapters.sql.holds import SqlHolds
from bot.adapters.sql.inbox import Inbox
from bot.adapters.sql.projections import End, Projection, Projections
from bot.adapters.sql.rows import insert_into
from bot.adapters.sql.schema import check, migrate
from bot.domain import codec, legible
from bot.domain.codec import Codec, CodecError, Unknown
from bot.domain.definition import Definition, MaybeUnchanged, Variables
from bot.domain.errors import ConflictError, DroverError, FencedError, UnknownNameError
from bot.domain.message import Message, words
from bot.domain.operation import (
    BOT,
    Attempted,
    Event,
    Operation,
    Proposed,
    State,
    UnknownEvent,
    advance,
    follow,
    replay,
)
from bot.domain.operation import open_operation as opened_operation
from bot.domain.power import Bound, Hold, LastSeen
from bot.ports import Clock, MessageRef, Request

log = structlog.get_logger()

_KEPT = timedelta(days=30)  # how long a handled request is known, to recognise a late duplicate
_REQUESTS = Codec((Request,))
_READ_AT_ONCE = 500  # events: a trail of years is read without holding it in memory


ATTEMPTS = 0
"""Stands in the place of an operation's number at events that are refused attempts."""
ATTEMPTS_STATE = "attempts"


def _newest_events() -> sa.Select[int, int, str]:
    """The newest event of each operation in ``numbers``."""
    table = models.events
    newest = (
        sa.select(table.c.operation, sa.func.max(table.c.seq).label("seq"))
        .where(table.c.operation.in_(sa.bindparam("numbers", expanding=True)))
        .group_by(table.c.operation)
        .subquery()
    )
    same = sa.and_(table.c.operation == newest.c.operation, table.c.seq == newest.c.seq)
    return sa.select(table.c.operation, table.c.seq, table.c.hash).join(newest, same)


_NEWEST_EVENTS = _newest_events()  # made once: every read of an operation asks it


class SqlStore:
    """Operations, events and what else must survive.

    Safe to share by threads, processes and replicas.

    An accepted request survives the end of the process; an operation's events survive a power cut
    too.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``.
        codec: reads back the events, with the intents and steps of every loaded plugin.
        clock: for when a request was accepted and handled.
        patience: seconds to wait for somebody else's lock.
        replica: whose requests those are that are accepted here.

    Raises:
        StoreError: the database cannot be opened or brought up to date.
    """

    def __init__(
        self,
        url: str,
        codec: Codec,
        *,
        clock: Clock,
        patience: float = 2.0,
        replica: str = "drover-1",
    ) -> None:
        self._replica = replica
        self._codec = codec
        self._clock = clock
        self._proven = Proven()
        self._projections = Projections()
        self._told: set[str] = set()  # operations that were told to be unreadable
        self._entered = ("", "")  # no replica yet, and nobody to be fenced off by
        self._engine = open_engine(url, patience)
        try:
            migrate(self._engine)
            self._forget_handled(clock.now() - _KEPT)
        except BaseException:
            self._engine.dispose()
            raise
        self._inbox = Inbox(self._engine, patience)
        self._definitions = SqlDefinitions(self._engine)
        self._holds = SqlHolds(self._engine)

    def close(self) -> None:
        """Let go of the database."""
        self._inbox.close()
        self._engine.dispose()

    # requests

    def accept(self, request: Request) -> bool:
        """Keep a request until it is handled; False when it is a duplicate."""
        row = {
            "key": request.key,
            "kind": request.kind,
            "data": codec.text(request),
            "accepted_at": self._now(),
        }
        return self._inbox.accept({**row, "replica": self._replica})

    def pending_requests(self) -> tuple[Request, ...]:
        """Requests accepted but not yet handled, oldest first."""
        table = models.requests
        wanted = (
            sa.select(table.c.data).where(table.c.handled_at.is_(None)).order_by(table.c.arrived)
        )
        with transaction(self._engine, READ) as connection:
            stored = connection.execute(wanted).scalars().all()
        return _requests(stored)

    def take_over(self, replica: str = "") -> tuple[Request, ...]:
        """Make a replica's unhandled requests ('': everybody's) one's own, at one stroke.

        Oldest first.
        """
        table = models.requests
        theirs = (
            sa.or_(table.c.replica == replica, table.c.replica.is_(None)) if replica else sa.true()
        )
        taking = (
            sa.update(table)
            .where(table.c.handled_at.is_(None), theirs)
            .values(replica=self._replica)
        )
        with transaction(self._engine, SOON) as connection:
            taken = connection.execute(taking.returning(table.c.arrived, table.c.data)).all()
        return _requests(row.data for row in sorted(taken, key=lambda row: row.arrived))

    def mark_handled(self, key: str) -> None:
        """The request has been answered."""
        table = models.requests
        self._write(sa.update(table).where(table.c.key == key).values(handled_at=self._now()))

    def _forget_handled(self, before: datetime) -> None:
        table = models.requests
        self._write(sa.delete(table).where(table.c.handled_at < before.isoformat()))

    # operations

    def propose(self, event: Proposed) -> Operation:
        """Store a new operation under the next number.

        The same origin key answers the same operation again.
        """
        with transaction(self._engine, SURELY) as connection:
            end = _lock_head(connection)
            self._not_fenced(connection)
            known = _by_origin(connection, event.origin.key)
            if known is not None:
                return self._read(connection, [known])[0]
            number = end.number + 1
            # What was stored is what is answered: the digest people sign is then the stored plan's.
            operation = opened_operation(f"op-{number}", self._codec.loads(codec.text(event)))
            connection.execute(sa.insert(models.operations).values(_row(operation)))
            _touching(connection, operation)
            _append_links(connection, end, number, 0, [event])
            connection.execute(sa.update(models.head).values(number=number))
            return operation

    def append(self, operation: Operation, *events: Event, since: int | None = None) -> Operation:
        """Advance by events and store them, all or nothing.

        If ``operation.version`` is still the newest.

        Args:
            operation: as it was read.
            events: at least one changes something.
            since: a position of ``head``; nothing at all may have been stored after it, of any
                operation.

        Raises:
            ConflictError: somebody else was first.
            IllegalEventError: the state does not take the event.
        """
        after = operation
        for event in events:
            after = advance(after, event)
        if not events:
            return operation
        table = models.operations
        swap = (
            sa.update(table)
            .where(table.c.number == operation.number, table.c.version == operation.version)
            .values(version=after.version, state=after.state.value)
        )
        with transaction(self._engine, SURELY) as connection:
            end = _lock_head(connection)
            self._not_fenced(connection)
            if since not in (None, end.position):
                raise ConflictError(
                    words("Something else changed meanwhile."),
                    words("Look at it again, then decide."),
                )
            if not connection.execute(swap).rowcount:
                self._read(connection, [operation.number])  # an unknown operation is no conflict
                raise ConflictError(
                    words("{id} has changed meanwhile.", id=operation.id),
                    words("Look at it again, then decide."),
                )
            _append_links(connection, end, operation.number, operation.version, events)
            if after.plan.steps != operation.plan.steps:
                _touching(connection, after)
        return after

    def keep_attempt(self, attempt: Attempted) -> None:
        """Put a refused attempt into the chain, under the number that no operation has."""
        table = models.operations
        row = insert_into(self._engine, table).values(
            number=ATTEMPTS, state=ATTEMPTS_STATE, version=0, requester=BOT
        )
        more = sa.update(table).where(table.c.number == ATTEMPTS)
        with transaction(self._engine, SURELY) as connection:
            end = _lock_head(connection)
            self._not_fenced(connection)
            connection.execute(row.on_conflict_do_nothing())
            version = connection.execute(
                more.values(version=table.c.version + 1).returning(table.c.version)
            ).scalar_one()
            _append_links(connection, end, ATTEMPTS, version - 1, [attempt])

    def attempts(
        self, *, by: str = "", since: datetime | None = None, limit: int = 100
    ) -> tuple[Attempted, ...]:
        """Refused attempts, newest first."""
        table = models.events
        wanted = sa.select(table.c.data, table.c.at, table.c.by).where(
            table.c.operation == ATTEMPTS
        )
        if by:
            wanted = wanted.where(table.c.by == by)
        if since is not None:
            wanted = wanted.where(table.c.at >= since.isoformat())
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(wanted.order_by(table.c.position.desc()).limit(limit)).all()
        found = (self._event(row.data, row.at, row.by) for row in rows)
        return tuple(each for each in found if isinstance(each, Attempted))

    def operation(self, operation_id: str) -> Operation:
        """One operation.

        Raises:
            UnknownNameError: no such operation.
        """
        with transaction(self._engine, READ) as connection:
            return self._read(connection, [_number(operation_id)])[0]

    def operations(
        self, *, states: Collection[State] = (), by: str = "", limit: int = 50
    ) -> tuple[Operation, ...]:
        """Operations, newest first."""
        newest = models.operations.c.number.desc()
        return self._operations_of(_numbers(states, by).order_by(newest).limit(limit))

    def count_operations(self, *, states: Collection[State] = (), by: str = "") -> int:
        """How many operations there are."""
        counted = sa.select(sa.func.count()).select_from(_numbers(states, by).subquery())
        with transaction(self._engine, READ) as connection:
            return int(connection.execute(counted).scalar_one())

    def touching(self, vm_uuid: str, limit: int = 20) -> tuple[Operation, ...]:
        """Operations whose plan touches a guest, newest first."""
        table = models.operation_vms
        wanted = sa.select(table.c.operation).where(table.c.uuid == vm_uuid)
        return self._operations_of(wanted.order_by(table.c.operation.desc()).limit(limit))

    def events(self, operation_id: str) -> tuple[Event, ...]:
        """An operation's history, oldest first."""
        number = _number(operation_id)
        with transaction(self._engine, READ) as connection:
            return self._histories(connection, [number])[number]

    def _operations_of(self, numbers: sa.Select[int]) -> tuple[Operation, ...]:
        with transaction(self._engine, READ) as connection:
            return self._read(connection, connection.execute(numbers).scalars().all())

    def _read(self, connection: sa.Connection, numbers: Sequence[int]) -> tuple[Operation, ...]:
        ends = self._ends(connection, numbers)
        found = {
            number: operation
            for number, end in ends.items()
            if (operation := self._advance_projection(connection, number, end)) is not None
        }
        others = [number for number in numbers if number not in found]
        found |= self._whole(connection, others, ends)
        return tuple(found[number] for number in numbers)

    def _ends(self, connection: sa.Connection, numbers: Sequence[int]) -> Mapping[int, End]:
        """The newest event of each operation."""
        rows = connection.execute(_NEWEST_EVENTS, {"numbers": list(numbers)})
        return {number: End(seq, hash_) for number, seq, hash_ in rows}

    def _advance_projection(
        self, connection: sa.Connection, number: int, end: End
    ) -> Operation | None:
        """What is kept of an operation, advanced by what came since; None when nothing is."""
        kept = self._projections.get(number)
        if kept is None or kept.end == end:
            return None if kept is None else kept.operation
        table = models.events
        columns = (table.c.seq, table.c.hash, table.c.data, table.c.at, table.c.by)
        since = sa.select(*columns).where(table.c.operation == number, table.c.seq >= kept.end.seq)
        rows = connection.execute(since.order_by(table.c.seq)).all()
        if not rows or End(rows[0].seq, rows[0].hash) != kept.end:
            self._projections.forget(number)  # another history, as of a restored backup
            return None
        operation = kept.operation
        try:
            for row in rows[1:]:
                operation = follow(operation, self._event(row.data, row.at, row.by))
        except DroverError:
            return None  # read whole, it says why it cannot be read
        # What was read here may be further than ``end``, which another statement saw
        newest = End(rows[-1].seq, rows[-1].hash)
        self._projections.keep(number, Projection(operation, newest))
        return operation

    def _whole(
        self, connection: sa.Connection, numbers: Sequence[int], ends: Mapping[int, End]
    ) -> dict[int, Operation]:
        """Operations read from all their events."""
        if not numbers:
            return {}
        histories = self._histories(connection, numbers)
        table = models.operations
        listed = connection.execute(sa.select(table).where(table.c.number.in_(numbers))).mappings()
        rows: dict[int, Mapping[str, Any]] = {row["number"]: dict(row) for row in listed}
        found = {number: self._legible(number, histories[number], rows) for number in numbers}
        for number, operation in found.items():
            # Events that came between the two reads are read again next time
            if not operation.unreadable and ends[number].seq == len(histories[number]):
                self._projections.keep(number, Projection(operation, ends[number]))
        return found

    def _legible(
        self, number: int, history: tuple[Event, ...], rows: Mapping[int, Mapping[str, object]]
    ) -> Operation:
        unlisted = {"version": len(history), "state": "running", "requester": history[0].by}
        operation = legible.operation_of(f"op-{number}", history, rows.get(number, unlisted))
        if operation.unreadable and operation.id not in self._told:
            self._told.add(operation.id)
            log.warning(
                "operation cannot be read, it is left alone",
                operation=operation.id,
                why=operation.unreadable,
            )
        return operation

    def _histories(
        self, connection: sa.Connection, numbers: Sequence[int]
    ) -> Mapping[int, tuple[Event, ...]]:
        table = models.events
        columns = (table.c.operation, table.c.data, table.c.at, table.c.by)
        wanted = sa.select(*columns).where(table.c.operation.in_(numbers)).order_by(table.c.seq)
        found: dict[int, list[Event]] = {}
        for number, data, at, by in connection.execute(wanted):
            found.setdefault(number, []).append(self._event(data, at, by))
        for number in numbers:
            if number not in found:
                raise UnknownNameError(
                    words("There is no operation {operation}.", operation=f"op-{number}"),
                    words("`/kvm ops` lists the latest operations."),
                )
        return {number: tuple(history) for number, history in found.items()}

    def _event(self, data: str, at: str, by: str) -> Event:
        try:
            value = self._codec.keeps(data)
        # It is not even JSON of ours
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # no message: for the log
            value = Unknown("event", "{}", f"it does not hold an event: {error!r}")
        return legible.event_of(value, datetime.fromisoformat(at), by)

    # where operations are shown, maintenance, keys taken once

    def keep_copy(self, operation_id: str, ref: MessageRef) -> None:
        """Remember where an operation is shown."""
        self._insert_new(
            models.copies, operation=_number(operation_id), channel=ref.channel, ts=ref.ts
        )

    def copies(self, operation_id: str) -> tuple[MessageRef, ...]:
        """Where an operation is shown."""
        table = models.copies
        wanted = sa.select(table.c.channel, table.c.ts).where(
            table.c.operation == _number(operation_id)
        )
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(wanted.order_by(table.c.channel, table.c.ts)).all()
        return tuple(MessageRef(channel, ts) for channel, ts in rows)

    def forget_copy(self, operation_id: str, ref: MessageRef) -> None:
        """The message is gone, or can never be edited again."""
        table = models.copies
        this = sa.and_(
            table.c.operation == _number(operation_id),
            table.c.channel == ref.channel,
            table.c.ts == ref.ts,
        )
        self._write(sa.delete(table).where(this))

    def keep_word(self, key: str, data: str) -> int:
        """Keep something that is to be said, once for each key.

        Its number, 0 when it was kept before.
        """
        claiming = (
            insert_into(self._engine, models.claims)
            .values(key=key, at=self._now())
            .on_conflict_do_nothing()
        )
        keeping = insert_into(self._engine, models.outbox).values(
            key=key, data=data, replica=self._replica
        )
        with transaction(self._engine, SURELY) as connection:
            if connection.execute(claiming.returning(sa.literal(1))).first() is None:
                return 0
            return int(connection.execute(keeping.returning(models.outbox.c.number)).scalar_one())

    def words_left(self, replica: str = "") -> tuple[tuple[int, str], ...]:
        """Make what a replica ('': anybody) has still to say one's own.

        Number and data, in order.
        """
        table = models.outbox
        theirs = table.c.replica == replica if replica else sa.true()
        taking = sa.update(table).where(theirs).values(replica=self._replica)
        with transaction(self._engine, SOON) as connection:
            taken = connection.execute(taking.returning(table.c.number, table.c.data)).all()
        return tuple(sorted((row.number, row.data) for row in taken))

    def mark_said(self, number: int) -> None:
        """It was said, or never can be."""
        self._write(sa.delete(models.outbox).where(models.outbox.c.number == number))

    def maintenance(self) -> frozenset[str]:
        """Hosts in maintenance."""
        with transaction(self._engine, READ) as connection:
            return frozenset(connection.execute(sa.select(models.maintenance.c.host)).scalars())

    def set_maintenance(self, host: str, *, on: bool) -> None:
        """Put a host into maintenance or take it out."""
        table = models.maintenance
        if on:
            self._insert_new(table, lasting=SURELY, host=host, since=self._now())
        else:
            self._write(sa.delete(table).where(table.c.host == host), SURELY)

    def holds(self) -> tuple[Hold, ...]:
        """All hosts on hold; see the port ``Holds``."""
        return self._holds.holds()

    def put_hold(self, hold: Hold) -> None:
        """Put a host on hold; see the port."""
        self._holds.put_hold(hold)

    def lift_hold(self, host: str) -> None:
        """The host is admitted again."""
        self._holds.lift_hold(host)

    def bonds(self) -> tuple[Bound, ...]:
        """Which power controllers are whose."""
        return self._holds.bonds()

    def put_bond(self, bound: Bound) -> None:
        """Keep whose a power controller is."""
        self._holds.put_bond(bound)

    def last_seen(self, host: str) -> LastSeen | None:
        """What was last read of a host while it answered."""
        return self._holds.last_seen(host)

    def put_last_seen(self, seen: Sequence[LastSeen]) -> None:
        """Keep what was read of hosts that answer."""
        self._holds.put_last_seen(seen)

    def keep_definitions(
        self, seen: Collection[MaybeUnchanged], answered: Collection[str]
    ) -> frozenset[str]:
        """Keep what hosts told of their VMs' definitions; see the port."""
        return self._definitions.keep(seen, answered)

    def keep_variables(self, copies: Collection[Variables]) -> None:
        """Keep copies of VMs' UEFI variables; see the port."""
        self._definitions.keep_variables(copies)

    def variables(self, uuid: str) -> Variables | None:
        """The kept copy of a VM's UEFI variables; see the port."""
        return self._definitions.variables(uuid)

    def definitions(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]:
        """Kept definitions; see the port."""
        return self._definitions.read(host=host, uuid=uuid)

    def claim(self, key: str) -> bool:
        """Take a key once and for all, across replicas; False when it was taken before."""
        return self._insert_new(models.claims, lasting=SURELY, key=key, at=self._now())

    # silence

    def mark_alive(self) -> None:
        """Note that a bot is at work on this database now.

        Raises:
            FencedError: a newer Drover upgraded it meanwhile.
        """
        with transaction(self._engine, READ) as connection:
            check(connection)
        row = insert_into(self._engine, models.notes).values(
            key=models.ALIVE, version=1, text=self._now()
        )
        self._write(
            row.on_conflict_do_update(
                index_elements=[models.notes.c.key], set_={"text": self._now()}
            )
        )

    def last_alive(self) -> datetime | None:
        """When a bot was last at work on this database; None when that was never noted."""
        wanted = sa.select(models.notes.c.text).where(models.notes.c.key == models.ALIVE)
        with transaction(self._engine, READ) as connection:
            text = connection.execute(wanted).scalar()
        return datetime.fromisoformat(text) if text else None

    # replicas

    def enter(self, name: str) -> None:
        """Be this replica from now on; who was it before, and may only be frozen, is fenced off."""
        table = models.replicas
        epoch = secrets.token_hex(8)
        entered = insert_into(self._engine, table).values(name=name, beats=1, epoch=epoch)
        entered = entered.on_conflict_do_update(
            index_elements=[table.c.name], set_={"beats": table.c.beats + 1, "epoch": epoch}
        )
        with transaction(self._engine, SURELY) as connection:
            _lock_head(connection)
            connection.execute(entered)
        self._entered = name, epoch

    def beat(self) -> None:
        """Count one more heartbeat of the replica that this one entered as.

        Raises:
            FencedError: it is no longer that replica.
        """
        table = models.replicas
        name, epoch = self._entered
        mine = sa.update(table).where(table.c.name == name, table.c.epoch == epoch)
        with transaction(self._engine, SOON) as connection:
            if not connection.execute(mine.values(beats=table.c.beats + 1)).rowcount:
                raise _fenced_error(name)

    def beats(self) -> Mapping[str, int]:
        """How many heartbeats each replica has had.

        Whose count stands still is silent, whatever the clocks say.
        """
        table = models.replicas
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(sa.select(table.c.name, table.c.beats)).all()
        return {row.name: row.beats for row in rows}

    def fence(self, name: str, beats: int) -> bool:
        """From now on nothing that this replica may still want to store is stored.

        Args:
            name: of a silent one.
            beats: how many heartbeats it was last seen to have; False when it has had more, for
                then it lives.
        """
        table = models.replicas
        silent = (
            sa.update(table).where(table.c.name == name, table.c.beats == beats).values(epoch="")
        )
        with transaction(self._engine, SURELY) as connection:
            # What it is storing at this moment is stored before, and seen by who takes over
            _lock_head(connection)
            return bool(connection.execute(silent).rowcount)

    def _not_fenced(self, connection: sa.Connection) -> None:
        """Asked while the head is held.

        Raises:
            FencedError: another replica took this one for dead.
        """
        name, epoch = self._entered
        table = models.replicas
        if (
            epoch
            and connection.execute(sa.select(table.c.epoch).where(table.c.name == name)).scalar()
            != epoch
        ):
            raise _fenced_error(name)

    def forget(self, name: str) -> None:
        """A fenced replica is gone; one that has entered anew meanwhile is not."""
        table = models.replicas
        self._write(sa.delete(table).where(table.c.name == name, table.c.epoch == ""))

    # the audit trail

    def trail(self, after: int = 0) -> Iterator[ChainedEvent]:
        """Every event as stored, oldest first, from behind position ``after``.

        Read piece by piece.
        """
        table = models.events
        while True:
            wanted = (
                sa.select(table)
                .where(table.c.position > after)
                .order_by(table.c.position)
                .limit(_READ_AT_ONCE)
            )
            with transaction(self._engine, READ) as connection:
                links = [ChainedEvent(**row) for row in connection.execute(wanted).mappings()]
            if not links:
                return
            yield from links
            after = links[-1].position

    def head(self) -> tuple[int, str]:
        """Position and hash of the newest event.

        Kept elsewhere, it also proves that nobody rewrote the whole chain.
        """
        position, end, _ = self._end()
        return position, end

    def broken_link(self, *, whole: bool = True) -> Message:
        """The first event whose hash chain does not hold, told in words; '' when it holds.

        Args:
            whole: every event; otherwise only what came after the last look of this process that
                found no fault, and that this look's last event is still the same.
        """
        proven = Proven() if whole else self._proven
        position, end, stored = self._end()
        if position < 0:
            return words("The head of the chain is missing: its end cannot be known.")
        if stored > position:
            return words(
                "Event {event} was inserted after the end of the chain.", event=str(position + 1)
            )
        # What is appended meanwhile is left to the next look.
        links = itertools.takewhile(
            lambda link: link.position <= position, self.trail(proven.position)
        )
        fault = (
            self._replacement_text(proven)
            or chain.first_fault(links, position, end, proven)
            or self._strange_operation(proven.position)
        )
        if not fault:
            self._proven = Proven(position, end)
        return fault

    def _replacement_text(self, proven: Proven) -> Message:
        """That the event up to which the chain held is gone or another one.

        '' when it is as it was.
        """
        if not proven.position:
            return ""
        known = next(self.trail(proven.position - 1), None)
        if known is not None and (known.position, known.hash) == (proven.position, proven.hash):
            return ""
        return words(
            "Event {event} was verified before, and has been replaced or cut off since.",
            event=str(proven.position),
        )

    def _end(self) -> tuple[int, str, int]:
        """Where the head says the chain ends, with which hash, and the last position stored.

        All at one moment.
        """
        last = sa.select(
            sa.func.coalesce(sa.func.max(models.events.c.position), 0)
        ).scalar_subquery()
        with transaction(self._engine, READ) as connection:
            row = connection.execute(
                sa.select(models.head.c.position, models.head.c.hash, last)
            ).first()
        return (row[0], row[1], row[2]) if row else (-1, "", 0)

    def _strange_operation(self, after: int) -> Message:
        """The first operation whose row is not what its events lead to.

        Of those with events behind ``after``.
        """
        table = models.operations
        owner = models.events.c.operation
        recent = models.events.c.position > after
        wanted = sa.select(table).where(table.c.number != ATTEMPTS).order_by(table.c.number)
        if after:
            wanted = wanted.where(table.c.number.in_(sa.select(owner).where(recent)))
        with transaction(self._engine, READ) as connection:
            rows = connection.execute(wanted).all()
            orphans = (
                sa.select(owner)
                .where(recent, owner.not_in(sa.select(table.c.number)))
                .order_by(owner)
                .limit(1)
            )
            orphan = connection.execute(orphans).scalar()
            if orphan is not None:
                return words(
                    "{operation} has events but is not in the table of operations.",
                    operation=f"op-{orphan}",
                )
            return next(
                (fault for fault in (self._fault(connection, row) for row in rows) if fault), ""
            )

    def _fault(self, connection: sa.Connection, row: sa.Row[Any]) -> Message:
        try:
            history = self._histories(connection, [row.number])[row.number]
            if any(isinstance(event, UnknownEvent) for event in history):
                # Its hashes hold; what it means only the plugin or the newer Drover knows that
                # wrote it
                return ""
            operation = replay(f"op-{row.number}", history)
        except DroverError as error:
            return words(
                "The events of {operation} are not a possible history: {reason}",
                operation=f"op-{row.number}",
                reason=error.text,
            )
        if (operation.version, operation.state.value, operation.origin.by) != (
            row.version,
            row.state,
            row.requester,
        ):
            return words(
                "{operation} is listed as {state} by {requester} after {version} events, but its "
                "events say {true_state} by {true_requester} after {true_version}.",
                operation=operation.id,
                state=row.state,
                requester=row.requester,
                version=row.version,
                true_state=operation.state,
                true_requester=operation.origin.by,
                true_version=operation.version,
            )
        return ""

    # writing

    def _now(self) -> str:
        return self._clock.now().isoformat()

    def _write(self, statement: sa.Executable, lasting: str = SOON) -> None:
        with transaction(self._engine, lasting) as connection:
            connection.execute(statement)

    def _insert_new(self, table: sa.Table, *, lasting: str = SOON, **values: str | int) -> bool:
        """Insert a row unless its key is there already; whether it was inserted."""
        row = (
            insert_into(self._engine, table)
            .values(**values)
            .on_conflict_do_nothing()
            .returning(sa.literal(1))
        )
        with transaction(self._engine, lasting) as connection:
            return connection.execute(row).first() is not None


def _requests(stored: Iterable[str]) -> tuple[Request, ...]:
    """Those that can be read; one of a newer Drover is left to it."""
    found = []
    for each in stored:
        try:
            found.append(_REQUESTS.loads(each))
        except (CodecError, ValueError) as error:
            log.warning("request cannot be read, it is left alone", why=str(error))
    return tuple(found)


def _numbers(states: Collection[State], by: str) -> sa.Select[int]:
    """Numbers of operations in one of the states (none: any), of one requester ('': any)."""
    table = models.operations
    wanted = sa.select(table.c.number).where(table.c.number != ATTEMPTS)
    if states:
        wanted = wanted.where(table.c.state.in_([state.value for state in states]))
    if by:
        wanted = wanted.where(table.c.requester == by)
    return wanted


def _number(operation_id: str) -> int:
    """17 of ``op-17``.

    Raises:
        UnknownNameError: it cannot be an operation's id.
    """
    digits = operation_id.removeprefix("op-")
    if digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) != ATTEMPTS:
        return int(digits)
    raise UnknownNameError(
        words("“{operation}” is not an operation.", operation=operation_id),
        words("Ids look like op-17. `/kvm ops` lists the latest operations."),
    )


def _fenced_error(name: str) -> FencedError:
    return FencedError(
        words(
            "This process is no longer the replica “{name}”: it did not report for too "
            "long, or the name was used twice.",
            name=name,
        ),
        words("Nothing was stored. Try again in a moment. Each replica needs its own name."),
    )


def _lock_head(connection: sa.Connection) -> sa.Row[Any]:
    """Where the chain ends; whoever holds it is the only one who writes events.

    Until its transaction is over.
    """
    return connection.execute(sa.select(models.head).with_for_update()).one()


def _by_origin(connection: sa.Connection, key: str) -> int | None:
    table = models.operations
    return (
        connection.execute(sa.select(table.c.number).where(table.c.origin_key == key)).scalar()
        if key
        else None
    )


def _touching(connection: sa.Connection, operation: Operation) -> None:
    """Remember which guests the plan touches; those of an earlier plan of it stay."""
    table = models.operation_vms
    known = set(
        connection.execute(
            sa.select(table.c.uuid).where(table.c.operation == operation.number)
        ).scalars()
    )
    new = sorted({uuid for step in operation.plan.steps for uuid in step.vms} - known)
    if new:
        connection.execute(
            sa.insert(table), [{"operation": operation.number, "uuid": uuid} for uuid in new]
        )


def _row(operation: Operation) -> dict[str, str | int | None]:
    return {
        "number": operation.number,
        "origin_key": operation.origin.key or None,
        "state": operation.state.value,
        "version": operation.version,
        "requester": operation.origin.by,
    }


def _append_links(
    connection: sa.Connection, end: sa.Row[Any], number: int, version: int, events: Iterable[Event]
) -> None:
    """Store events behind the end of the chain; ``version`` is the operation's before them."""
    rows: list[dict[str, str | int]] = []
    position, previous = end.position, end.hash
    for seq, event in enumerate(events, version + 1):
        position += 1
        data = codec.text(event)
        found = chain.digest(previous, position, number, seq, data)
        rows.append(
            {
                "position": position,
                "operation": number,
                "seq": seq,
                "at": event.at.isoformat(),
                "by": event.by,
                "kind": type(event).__name__,
                "data": data,
                "previous": previous,
                "hash": found,
            }
        )
        previous = found
    connection.execute(sa.insert(models.events), rows)
    connection.execute(sa.update(models.head).values(position=position, hash=previous))
