"""Operations as durable workflows, by DBOS.

Each runs to its end once, across crashes and replicas.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Never

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID
from dbos._serialization import DefaultSerializer

from bot.adapters import engine_tables
from bot.adapters.queue_pace import QueuePace
from bot.adapters.replicas import Beats, Pulse
from bot.domain.errors import StoreError, TooEarlyError
from bot.domain.message import words
from bot.domain.operation import Operation
from bot.domain.steps import HoldHost, WaitForPerson
from bot.ports import Perform

log = structlog.get_logger()

# Of the workflow's shape, not of Drover: DBOS resumes only what its own version left
_VERSION = "1"
_QUEUE = "moves"
_NOWHERE = "-"  # the partition of operations that work on no host
UNPREPARED = {"prepare_threshold": None}
"""For psycopg: no prepared statements.

Which a pooler such as PgBouncer would lose between two transactions.
"""
_LOOK_EVERY = 0.01  # seconds between two looks of a stop at what is under way
_BROKEN = frozenset({"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


class DurableWork:
    """The port ``Work``. One at a time in a process, because DBOS is.

    Of operations whose first step works on the same host, ``per_host`` run at a time; others side
    by side. What a killed process was performing is resumed at its next start, or by another
    replica when ``replicas`` is given.

    Args:
        perform: safe to repeat; what it raises is logged, and the operation is performed anew when
            it is enqueued again.
        database_url: ``sqlite:///path`` of a file of its own, or ``postgresql://…`` (schema
            ``dbos``).
        executor_id: this replica's name: the same after a restart, no two alike at one time.
        replicas: where replicas count their heartbeats; None: there is only one.
        poll: seconds between two looks at the queue while somebody is at work. Each costs some
            milliseconds, idle or not.
        rest: the same while nobody is.
        calm: seconds after ``expect`` or ``enqueue`` in which somebody is at work.
        beat_every: seconds between two heartbeats.
        dead_after: seconds of silence after which a replica's operations are taken over.
        on_fenced: told when another replica took this one for dead: the process has to end.
        per_host: how many operations whose first step works on the same host run at a time.
        on_silent: told the name of a silent replica after that, for what else was its to do; safe
            to repeat.
    """

    def __init__(
        self,
        perform: Perform,
        *,
        database_url: str,
        executor_id: str,
        replicas: Beats | None = None,
        poll: float = 0.4,
        rest: float = 1.0,
        calm: float = 20.0,
        beat_every: float = 3.0,
        dead_after: float = 15.0,
        on_silent: Callable[[str], None] = lambda _: None,
        per_host: int = 1,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self._perform = perform
        self._url = database_url
        self._executor = executor_id
        self._poll = poll
        self._per_host = per_host
        self._pace = QueuePace(_set_pause, poll, rest, calm)
        self._pulse: Pulse | None = None
        if replicas is not None:

            def take_over(silent: str) -> None:
                _take_over(silent)
                on_silent(silent)

            self._pulse = Pulse(
                executor_id,
                replicas,
                take_over,
                every=beat_every,
                dead_after=dead_after,
                on_fenced=on_fenced,
            )
        self._dbos: DBOS | None = None
        self._workflow: Callable[[str], None] = self._perform_and_tell

    def start(self) -> None:
        """Begin, with what was left unfinished first.

        Raises:
            StoreError: the database cannot be opened.
        """
        _logged_by_us()
        if self._pulse is not None:
            self._pulse.start()
        try:
            engine_tables.prepare(self._url)
            self._dbos = DBOS(config=self._config())
            # No limit of attempts: a bot that is killed often is no reason to leave an operation
            # undone.
            self._workflow = DBOS.workflow(name="perform", max_recovery_attempts=None)(
                self._workflow_body()
            )
            DBOS.launch()
            DBOS.register_queue(
                _QUEUE,
                partition_concurrency=self._per_host,
                polling_interval_sec=self._poll,
                on_conflict="always_update",
            )
            self._pace.start()
        except Exception as error:
            self._let_go()
            raise _failure(error) from error

    def stop(self, wait: float = 1.0) -> tuple[str, ...]:
        """Wait for what is nearly done, record it as done, and let go.

        What is still being performed goes on until the process ends, and is resumed at the next
        start. Python waits for it at the end of the process; ``os._exit`` does not.

        Args:
            wait: seconds.

        Returns:
            The ids of the operations still being performed.
        """
        until = time.monotonic() + wait
        while (left := self._under_way()) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY)
        self._let_go()
        if left:
            log.warning("left to the next start", operations=left)
        return left

    def expect(self) -> None:
        """Look at the queue often for a while: an operation may be handed over soon.

        Waits for nothing.
        """
        self._pace.hurry()

    def enqueue(self, operation: Operation) -> None:
        """See that the operation is performed; repeating it is harmless.

        An operation that was performed to its end, or is waiting or under way, is left alone. One
        whose ``perform`` raised is performed anew, under an id with the number of the attempt: two
        replicas that see the failure at once choose the same id, and so cause one new attempt.

        Raises:
            StoreError: the queue's database failed.
        """
        partition = _partition(operation)
        self._pace.hurry()
        try:
            attempt = _next_attempt(operation.id)
            if attempt is None:
                return
            with SetWorkflowID(attempt), SetEnqueueOptions(queue_partition_key=partition):
                DBOS.enqueue_workflow(_QUEUE, self._workflow, operation.id)
        except Exception as error:
            raise _failure(error) from error

    def _config(self) -> DBOSConfig:
        pooled: DBOSConfig = (
            {}
            if self._url.startswith("sqlite")
            else {"db_engine_kwargs": {"connect_args": UNPREPARED}}
        )
        return {
            **pooled,
            "name": "drover",
            "system_database_url": self._url,
            "executor_id": self._executor,
            "application_version": _VERSION,
            "log_level": "WARNING",
            # For what is written; see _refuse_pickle for what is read
            "serializer": DBOSPortableJSONSerializer(),
            "sys_db_pool_size": 8,
            "scheduler_polling_interval_sec": 3600.0,  # its scheduler is not used; APScheduler is
        }

    def _workflow_body(self) -> Callable[[str], None]:
        def perform(operation_id: str) -> None:
            # A step: what ended is not begun again when the process dies before the workflow is
            # marked as done.
            DBOS.run_step(None, self._perform_and_tell, operation_id)

        return perform

    def _perform_and_tell(self, operation_id: str) -> None:
        try:
            self._perform(operation_id)
        except TooEarlyError as error:  # raised on, so that it is performed when it is handed over
            log.info("not yet", operation=operation_id, why=str(error))
            raise
        except Exception:
            log.exception(
                "performing failed; it is tried anew when it is enqueued again",
                operation=operation_id,
            )
            raise

    def _under_way(self) -> tuple[str, ...]:
        """The operations that are performed, or whose end DBOS has yet to write down.

        A thread that writes after the stop would try again and again once the database is gone.
        """
        if self._dbos is None:
            return ()
        active = self._dbos._active_workflows_set.activeList()  # noqa: SLF001
        return tuple(sorted({attempt.partition("/")[0] for attempt in active}))

    def _let_go(self) -> None:
        self._pace.stop()
        if self._pulse is not None:
            self._pulse.stop()
        DBOS.destroy(destroy_registry=True)
        # A thread of it that waits for a lost database goes on until the process ends, and would
        # tell of that each time
        logging.getLogger("dbos").handlers = [logging.NullHandler()]


def _refuse_pickle(_serializer: DefaultSerializer, _stored: str) -> Never:
    """DBOS reads each row as the row itself says, and pickle is a choice.

    Whoever writes rows could run code.
    """
    raise StoreError(
        words("A row of the work queue holds pickled data, which Drover does not load."),
        words("Check who can write to the database."),
    )


# Every way to pickle leads through this method.
DefaultSerializer.deserialize = _refuse_pickle  # type: ignore[method-assign,assignment]


def _set_pause(seconds: float) -> None:
    """Set how often the queue is looked at, in its row: by every replica, from its next look on."""
    queue = DBOS.retrieve_queue(_QUEUE)
    if queue is not None:
        queue.set_polling_interval_sec(seconds)


def _partition(operation: Operation) -> str:
    """The host that bears the limit.

    What may wait for people for a day is alone, and keeps nobody waiting. So is the failover of a
    host: what waits for that host to answer must not keep it from being proven off.
    """
    if any(
        isinstance(step, WaitForPerson) or (isinstance(step, HoldHost) and step.on)
        for step in operation.plan.steps
    ):
        return operation.id
    return next((host for step in operation.plan.steps for host in step.hosts[:1]), _NOWHERE)


def _next_attempt(operation_id: str) -> str | None:
    """The id under which to perform now.

    None when a former attempt ended well or has yet to end.
    """
    name, attempt = operation_id, 1
    while (status := DBOS.get_workflow_status(name)) is not None:
        if status.status not in _BROKEN:
            return None
        attempt += 1
        name = f"{operation_id}/{attempt}"
    return name


def _take_over(executor: str) -> None:
    """Put what a dead replica was performing back into the queue, once.

    However many replicas do so.

    DBOS has no public name for this; its row-by-row guard on the dead executor's id makes it safe
    to repeat, which resuming by id is not.
    """
    for handle in DBOS._recover_pending_workflows([executor]):  # noqa: SLF001
        log.warning("taken over", operation=handle.get_workflow_id(), silent=executor)


def _failure(error: Exception) -> StoreError:
    said = (
        str(getattr(error, "orig", None) or error).split("\n", maxsplit=1)[0].strip()
        or type(error).__name__
    )
    return StoreError(
        words("The database of the work queue failed: {reason}.", reason=said),
        words("Check that it can be reached and written to, and has space left."),
    )


def _logged_by_us() -> None:
    """DBOS would log to the terminal by itself; its warnings go where ours go."""
    logger = logging.getLogger("dbos")
    logger.propagate = False
    logger.handlers = [_ToStructlog(logging.WARNING)]


class _ToStructlog(logging.Handler):
    """Passes a vendor's log records on."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Exception encountered in background workflow"):
            return  # performing failed: told already, with the operation's name
        details: dict[str, object] = {"exc_info": record.exc_info} if record.exc_info else {}
        log.log(record.levelno, record.getMessage(), vendor="dbos", **details)
