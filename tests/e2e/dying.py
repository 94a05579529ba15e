"""A plugin that kills its own bot, as a crash would, right after a chosen kind of event was committed, once.

Asked for by the environment: ``DIE_AFTER`` names the event, ``DIE_MARK`` a file that remembers that
it has happened.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bot.domain.operation import Event, Operation
from bot.hookspecs import hookimpl


@hookimpl
def operation_changed(operation: Operation, event: Event) -> None:
    mark = Path(os.environ["DIE_MARK"])
    if type(event).__name__ == os.environ["DIE_AFTER"] and not mark.exists():
        mark.write_text(operation.id, encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
