"""How often the durable engine looks at its tables: at once when something happened, seldom else.

The engine learns by looking, and each look costs its process milliseconds: five a second were a
third of what an idle bot used. It cannot be told that there is something to do, but its worker
reads its queue's row before each look, and can be let wait there.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from dbos import _workflow_commands
from dbos._dbos import _get_dbos_instance

SELDOM = 1.0  # seconds; what another replica ends, or leaves undone, is seen by looking alone
LIVELY = 2.0  # seconds after something happened in which the engine may still be writing it down
_UNUSED = 60.0  # of the engine's own queue, in which Drover puts nothing

# Seconds between its looks for workflows that are delayed or too late, of which Drover has none. It
# holds a lock meanwhile, which PostgreSQL takes away after five.
_workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = 3.0  # noqa: SLF001


class Pace:
    """Lets the engine's worker look at a queue when something happened, and now and then else.

    Args:
        queue: its name.
        seldom: seconds between two looks when nothing happens.
    """

    def __init__(self, queue: str, seldom: float = SELDOM) -> None:
        self._queue = queue
        self._seldom = seldom
        self._changed = threading.Condition()
        self._lively_until = 0.0
        self._ending = False

    def begin(self) -> None:
        """Slow the launched engine down; its worker looks anew for a while first."""
        self.stir()
        engine = _get_dbos_instance()
        engine._registry.get_internal_queue()._polling_interval_sec = _UNUSED  # noqa: SLF001
        database = engine._sys_db  # noqa: SLF001
        read = database.get_queue

        def get_queue(name: str, **more: Any) -> Any:
            if threading.current_thread().name == f"queue-worker-{self._queue}":
                self._wait()
            return read(name, **more)

        database.get_queue = get_queue  # type: ignore[method-assign]

    def stir(self) -> None:
        """Something was handed over, began or ended: look now."""
        with self._changed:
            self._lively_until = time.monotonic() + LIVELY
            self._changed.notify_all()

    def end(self) -> None:
        """Keep the worker no more."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(self._is_lively, self._seldom)

    def _is_lively(self) -> bool:
        return self._ending or time.monotonic() < self._lively_until
