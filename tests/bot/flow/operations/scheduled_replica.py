"""One replica as a process of its own: real clock, real store, real work queue, and hosts that only it has.

``python -m tests.bot.flow.operations.scheduled_replica FOLDER URL NAME BEHIND``: ticks until op-1
is over. Each move that it begins is a line in ``FOLDER/moves``. ``BEHIND``: seconds by which its
clock is late.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bot.adapters.durable import DurableWork
from bot.adapters.sql.store import SqlStore
from bot.domain.steps import MigrateVm
from bot.flow.commands.dispatcher import pick_up
from bot.flow.operations import operation_cards, overdue, perform
from bot.flow.operations.operation_messages import OperationMessages
from bot.testing import FakeHypervisor, TickingClock
from tests.bot.flow.small_bot import Bot, small_bot

CLUSTER = """
host-a  16cpu 64G load 1 | web-1 64M 1cpu load 0.1 dirty 1M
host-b  16cpu 64G load 1
"""
LONGEST = 60.0  # seconds; only a failing test takes so long


class Late(TickingClock):
    """The machine's clock, late by some seconds."""

    def __init__(self, behind: float = 0.0) -> None:
        super().__init__()
        self._behind = timedelta(seconds=behind)

    def now(self) -> datetime:
        return datetime.now(UTC) - self._behind

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.1))


class Counted(FakeHypervisor):
    """Hosts that write down each move that is begun."""

    path = Path()

    def migrate(self, move: MigrateVm) -> None:
        with self.path.open("a", encoding="utf-8") as moves:
            moves.write(f"{os.getpid()}\n")
        super().migrate(move)


def made(folder: Path, url: str, name: str, behind: float = 0.0) -> Bot:
    """A bot of these parts; its work queue is not started."""
    own = folder / name
    own.mkdir()
    clock = Late(behind)
    bot = small_bot(own, cluster=CLUSTER)
    bot.store.close()
    store = SqlStore(url, bot.services.catalog.codec(), clock=clock)
    hypervisor = Counted(bot.hypervisor.snapshot(), clock)
    hypervisor.path = folder / "moves"
    bot.store, bot.hypervisor = store, hypervisor
    bot.services = replace(
        bot.services,
        store=store,
        hypervisor=hypervisor,
        clock=clock,
        messages=OperationMessages(store, bot.chat, partial(operation_cards.operation_card)),
    )
    return bot


def main(folder: Path, url: str, name: str, behind: float) -> int:
    bot = made(folder, url, name, behind)
    shared = not url.startswith("sqlite")
    work = DurableWork(
        lambda operation: perform.perform(bot.services, operation),
        database_url=url if shared else f"{url}-work",
        executor_id=name,
        replicas=bot.store if shared else None,
        poll=0.05,
    )
    bot.services = replace(bot.services, work=work)
    work.start()
    pick_up(bot.services, name if shared else "")
    (folder / f"{name}.ready").touch()
    end = time.monotonic() + LONGEST
    while not bot.store.operation("op-1").state.over and time.monotonic() < end:
        overdue.expire(bot.services)
        overdue.remind(bot.services)
        time.sleep(0.05)
    work.stop()
    return 0 if bot.store.operation("op-1").state.over else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])))
