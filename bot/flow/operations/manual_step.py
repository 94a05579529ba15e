"""A step that waits for a person.

Told to people, let go on with a button, ended when nobody comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.domain.card import Card
from bot.domain.errors import DroverError, StepCancelledError
from bot.domain.message import Duration, words
from bot.domain.operation import (
    BOT,
    Ask,
    Continued,
    Event,
    Operation,
    Released,
    State,
    StepBegan,
    StepEnded,
)
from bot.domain.steps import WaitForPerson
from bot.flow.context import Services
from bot.flow.operations import decide, notify, operation_cards
from bot.flow.operations.decision import commit_decision
from bot.flow.operations.step_progress import StepProgress
from bot.ports import Request

LOOK = 2.0  # seconds between two looks whether somebody came


def wait(services: Services, step: WaitForPerson, progress: StepProgress) -> StepEnded:
    """Tell people, and wait, from when the step began: a restart of the bot begins nothing anew.

    Raises:
        DroverError: nobody came in time.
        StepCancelledError: a person stopped the operation instead.
    """
    operation_id, index = progress.operation.id, progress.index
    until = _began(services, operation_id, index) + timedelta(seconds=step.patience)
    progress.say(operation_cards.waiting_text(step, until))
    # An edited message wakes nobody.
    note, claim = (
        operation_cards.pause_note(progress.operation, step),
        f"pause:{operation_id}:{index}",
    )
    notify.tell_requester(services, progress.operation, note, f"pause-{index}", claim)
    while True:
        operation = services.store.operation(operation_id)
        if index in operation.continued:
            return StepEnded(services.clock.now(), BOT, index)
        if Ask.CANCEL in operation.asked:
            raise StepCancelledError(words("It was waiting for a person."))
        if services.clock.now() >= until:
            raise DroverError(
                words("Nobody let it go on within {time}.", time=Duration(step.patience)),
                step.advice,
            )
        services.clock.sleep(LOOK)


def _began(services: Services, operation_id: str, index: int) -> datetime:
    events = services.store.events(operation_id)
    return max(each.at for each in events if isinstance(each, StepBegan) and each.index == index)


def let_go_on(services: Services, request: Request) -> Card | None:
    """Let an operation go on.

    The button names the very step, so that an old one lets nothing else go on.
    """
    operation_id, number = decide.ids_of(request)
    if number == operation_cards.HELD:
        return _release(services, request, operation_id)

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := decide.may_not_steer(services, operation, request.by):
            return refusal
        if operation.state is not State.RUNNING:
            return operation_cards.settled_card(operation)
        if number != str(operation.waiting):
            gone = words("{id} does not wait there any more.", id=operation.id)
            return operation_cards.note_card(gone, words("Look at its message."))
        return (Continued(services.clock.now(), request.by, int(number)),)

    after = commit_decision(services, operation_id, decision)
    return after if isinstance(after, Card) else None


def _release(services: Services, request: Request, operation_id: str) -> Card | None:
    """Let an operation that was held go on."""

    def decision(operation: Operation) -> Sequence[Event] | Card:
        if refusal := decide.may_not_steer(services, operation, request.by):
            return refusal
        if operation.state is not State.RUNNING:
            return operation_cards.settled_card(operation)
        if not operation.held:
            return operation_cards.note_card(
                words("{id} goes on already.", id=operation.id), words("Look at its message.")
            )
        return (Released(services.clock.now(), request.by),)

    after = commit_decision(services, operation_id, decision)
    return after if isinstance(after, Card) else None
