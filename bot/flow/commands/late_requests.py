"""What comes too late.

Requests from before a crash, and operations that ran when the bot fell silent for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog

from bot.domain.card import Card
from bot.domain.operation import BOT, MOST_OPEN, Event, Held, Operation, State
from bot.flow.commands import buttons, decisions
from bot.flow.context import Services, whisper
from bot.flow.operations import notify, operation_cards
from bot.flow.operations.decision import commit_decision
from bot.ports import Request

log = structlog.get_logger()

LATE = timedelta(minutes=5)  # so old a request is nobody's wish any more


def refuse(services: Services, request: Request, *, by_chat: bool = False) -> bool:
    """Tell a person that what they asked long ago was not done; whether it was so.

    It lay here over a crash, or the chat delivered it only now (``by_chat``).
    """
    age = services.clock.now() - request.at
    action = buttons.ACTIONS.get(request.action)
    stops = action.stops if action is not None else decisions.stops(request.text)
    if age <= LATE or stops:
        return False
    if request.kind != "home":
        whisper(
            services, request, operation_cards.too_late_card(request.text, age, by_chat=by_chat)
        )
    services.messages.afterwards(request.by, lambda: services.store.mark_handled(request.key))
    log.warning(
        "request too old, not carried out", key=request.key, by=request.by, age=age.total_seconds()
    )
    return True


def hold(services: Services) -> None:
    """Hold what was running when the bot fell silent for long.

    Or when the backup was made that was restored.
    """
    now, alive = services.clock.now(), services.store.last_alive()
    for operation in services.store.operations(states=(State.RUNNING,), limit=MOST_OPEN):
        if operation.unreadable:
            continue
        silent = now - (alive or operation.changed_at)
        if silent.total_seconds() > services.silence:
            after = commit_decision(services, operation.id, partial(_hold, services, silent))
            if isinstance(after, Operation) and after.held:
                notify.tell_requester(
                    services,
                    after,
                    operation_cards.held_note(after),
                    f"held-{after.version}",
                    f"held:{after.id}:{after.version}",
                )


def _hold(services: Services, silent: timedelta, operation: Operation) -> Sequence[Event] | Card:
    """What waits for a person already, and for nothing else, needs no second one."""
    alone = operation.waiting is not None and len(operation.under_way) == 1
    if operation.state is not State.RUNNING or operation.held or alone:
        return operation_cards.settled_card(operation)
    return (Held(services.clock.now(), BOT, operation_cards.silent_text(silent)),)
