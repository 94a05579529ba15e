"""Measures what a finished operation brought, once its hosts are calm.

It is told beside what was foretold.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from bot.domain import placement
from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.metrics import Sweep
from bot.domain.operation import BOT, GainMeasured, Operation, State
from bot.domain.steps import MigrateVm
from bot.flow.context import BUSY, Services
from bot.flow.operations import operation_cards
from bot.flow.operations.decision import commit_decision

# What could not be measured by then is not measured: too much else has changed
REACH = timedelta(hours=1)
RECENT = 20  # operations that ended lately


def measure(services: Services, seen: Snapshot, sweep: Sweep) -> None:
    """Record the gain of every operation that promised one.

    When its last move is long enough ago. Safe to repeat.

    While guests move, or have just moved, nobody is measured: the numbers would be of the moves
    themselves.
    """
    newest = services.store.operations(limit=RECENT)
    due = [each for each in newest if _waits(services, each, sweep.at)]
    if (
        not due
        or any(_disturbs(each, sweep.at, services.settle) for each in newest)
        or _old(seen, due)
    ):
        return
    loads = {vm.uuid: vm.cpu for vm in sweep.vms if vm.cpu is not None}
    now = placement.with_loads(seen, loads)
    for operation in due:
        evenness = services.catalog.action(operation.action).evenness
        if evenness is not None:
            event = GainMeasured(services.clock.now(), BOT, evenness(now), sweep.at)
            after = commit_decision(services, operation.id, partial(_once, event))
            if isinstance(after, Operation):
                services.messages.note(after, operation_cards.gain_note(after), "gain")


def _once(event: GainMeasured, operation: Operation) -> tuple[GainMeasured, ...] | Card:
    return operation_cards.settled_card(operation) if operation.measured is not None else (event,)


def _waits(services: Services, operation: Operation, at: datetime) -> bool:
    promised = (
        operation.state is State.DONE
        and operation.foretold is not None
        and operation.measured is None
    )
    return (
        promised
        and operation.action in services.catalog.commands
        and at - operation.changed_at < REACH
    )


def _old(seen: Snapshot, due: list[Operation]) -> bool:
    """Whether guests may still be shown where they were before."""
    return any(seen.taken_at < each.changed_at for each in due)


def _disturbs(operation: Operation, at: datetime, settle: float) -> bool:
    """Whether moves of this operation would show in a sweep at that moment."""
    moves = {
        index for index, step in enumerate(operation.plan.steps) if isinstance(step, MigrateVm)
    }
    if operation.early(at):
        return False
    if operation.state in BUSY:
        return bool(moves & set(operation.todo))
    return any(
        each.index in moves and (at - each.at).total_seconds() < settle for each in operation.ended
    )
