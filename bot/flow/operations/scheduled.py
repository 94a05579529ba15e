"""Operations with a time: handed to the workers when it comes, moved to another, and never early.

The time is part of the stored operation. Every replica looks at the clock, by its own APScheduler;
the work queue performs an operation once, whoever hands it over, and the performer looks again.
"""

from __future__ import annotations

from datetime import timedelta

from bot.domain import timing
from bot.domain.errors import TooEarlyError, UsageError
from bot.domain.message import Code, words
from bot.domain.operation import Operation, State
from bot.domain.suggest import nearest
from bot.domain.timing import Slot, Timing
from bot.flow.context import Services

WAIT = 30.0  # seconds that a performer waits for a time that another replica's clock shows already


def slot_of(services: Services, wanted: Timing) -> Slot | None:
    """When an operation may begin that was asked for with this time; None: when it is approved.

    Raises:
        UsageError: the time cannot be read, or there is no such window.
    """
    now, grace = services.clock.now(), timedelta(seconds=services.grace)
    given = [each for each in (wanted.at, wanted.after, wanted.window) if each]
    if not given:
        return None
    if len(given) > 1:
        raise UsageError(
            words("`--at`, `--in` and `--window` exclude each other."),
            words("Use one of them."),
            code="two-times",
        )
    if wanted.at:  # a dialog has one field for all three
        wanted = timing.timing_of(wanted.at)
    if wanted.window:
        return _of_window(services, wanted.window)
    start = (
        timing.moment(wanted.at, now, services.zone)
        if wanted.at
        else timing.later_by(wanted.after, now)
    )
    return Slot(start, start + grace)


def _of_window(services: Services, name: str) -> Slot:
    window = services.windows.get(name)
    if window is None:
        slash = services.slash
        advice = (
            nearest(name, services.windows)
            or words("{command} lists them.", command=Code(f"{slash} windows"))
            if services.windows
            else words("Add `[[windows]]` to the configuration.")
        )
        raise UsageError(
            words("There is no maintenance window “{window}”.", window=name),
            advice,
            code="no-window",
        )
    return timing.next_slot(window, name, services.clock.now())


def slot_again(services: Services, operation: Operation) -> Slot | None:
    """The time of the same wish, asked for once more.

    The window that is open now, or its next opening; a time of its own while that lasts. When it is
    over, there is none: it runs when it is approved.
    """
    slot, now = operation.slot, services.clock.now()
    if slot is None:
        return None
    window = services.windows.get(slot.window)
    if window is not None:
        return timing.next_slot(window, slot.window, now)
    return slot if now < slot.end and not slot.window else None


def hand_over(services: Services, operation: Operation) -> None:
    """Hand an approved or running operation to the workers, unless it waits for its time."""
    if not operation.early(services.clock.now()):
        services.work.enqueue(operation)


def at_its_time(services: Services, operation: Operation) -> Operation:
    """The operation as it is when its time has come; at once when it has none.

    Raises:
        TooEarlyError: it has another time now, or this clock is far behind the one of whoever
            handed it over. It must be handed over again.
    """
    waited = 0.0
    while operation.slot is not None and operation.state in (State.PROPOSED, State.APPROVED):
        left = (operation.slot.start - services.clock.now()).total_seconds()
        if operation.state is State.APPROVED and left <= 0:
            break
        if operation.state is State.PROPOSED or waited + left > WAIT:
            raise TooEarlyError(
                words("{id} waits for its time.", id=operation.id),
                words("It begins at {at}.", at=operation.slot.start),
            )
        services.clock.sleep(min(1.0, left))
        waited += min(1.0, left)
        operation = services.store.operation(operation.id)
    return operation
