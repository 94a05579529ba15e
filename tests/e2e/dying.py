"""A plugin that kills its own bot, as a crash would, right after a chosen kind of event was committed, once.

Asked for by the environment: ``DIE_AFTER`` names the event, ``DIE_MARK`` a file that remembers that
it has happened. ``DIE_AFTER=*``: after each event from its beginning on, once for each.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bot.domain.operation import Event, Operation
from bot.hookspecs import hookimpl

BEFORE = ("Proposed", "VotedFor", "Approved")


@hookimpl
def operation_changed(operation: Operation, event: Event) -> None:
    mark, kind, wanted = Path(os.environ["DIE_MARK"]), type(event).__name__, os.environ["DIE_AFTER"]
    if wanted == "*" and kind not in BEFORE:
        mark, wanted = mark.with_name(f"{mark.name}-{operation.version}"), kind
    if kind == wanted and not mark.exists():
        mark.write_text(operation.id, encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
