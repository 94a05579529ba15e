"""Carries an approved operation out, step by step; safe to repeat from any point after a crash."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from bot.declare import Settled, StepHandler
from bot.domain.cluster import Job
from bot.domain.errors import (
    ConflictError,
    DroverError,
    HostUnreachableError,
    StepCancelledError,
    StoreError,
)
from bot.domain.operation import (
    BOT,
    Ask,
    Asked,
    Began,
    Cancelled,
    Event,
    Failed,
    Finished,
    Noted,
    Operation,
    Progress,
    State,
    StepBegan,
    StepEnded,
    WentStale,
)
from bot.domain.plan import Objection
from bot.domain.policy import may_ask
from bot.domain.steps import SetMaintenance, Step
from bot.flow import decide, propose
from bot.flow.world import World, commit, roles_of, snapshot
from bot.ports import Hypervisor, Store
from bot.ports import Progress as ProgressPort

log = structlog.get_logger()

Facts = Mapping[str, str | int | float | bool]


def perform(world: World, operation_id: str) -> None:
    """See an operation through to a true end, whatever was done before.

    Errors of the database are waited out: giving up would leave the truth untold. Every other error becomes the
    operation's own end, which the requester reads.
    """
    pause = 0.5
    while True:
        try:
            _perform(world, operation_id)
        except StoreError as error:
            log.warning("database failed, trying again", operation=operation_id, error=str(error))
            world.clock.sleep(pause)
            pause = min(30.0, pause * 2)
        else:
            return


def _perform(world: World, operation_id: str) -> None:
    operation = world.store.operation(operation_id)
    if operation.state is State.APPROVED:
        operation = _begun(world, operation)
    if operation.state is State.RUNNING:
        operation = _seen_through(world, operation)
    if operation.state.over:
        world.screen.show(operation.id)
        _tell(world, operation)


def _tell(world: World, operation: Operation) -> None:
    """Chat may fail; the operation's end is stored already, and its message is caught up with later."""
    try:
        decide.tell_end(world, operation)
        if operation.state is State.STALE:
            _offer_anew(world, operation)
    except StoreError:
        raise
    except DroverError as error:
        log.warning("the end could not be told", operation=operation.id, error=str(error))


def _offer_anew(world: World, operation: Operation) -> None:
    """A new plan for the same wish, on the cluster as it is now; or why there is none any more."""
    card = propose.again(world, operation, operation.origin.by, f"{operation.id}/again")
    if card is not None and operation.origin.by != BOT and world.store.claim(f"again:{operation.id}"):
        world.chat.tell(operation.origin.by, card)


def _begun(world: World, operation: Operation) -> Operation:
    """Ask once more, on a fresh snapshot, whether the plan still holds; then begin."""
    try:
        objections = _standing_against(world, operation)
    except HostUnreachableError as error:
        objections = (Objection("unreachable", error.text, error.advice),)
    except DroverError as error:
        return record(world, operation.id, Failed(world.clock.now(), BOT, error.text, error.advice))
    except Exception as error:  # the plan's own code failed: that is an end, told to people, and logged whole
        log.exception("planner failed", operation=operation.id)
        return record(world, operation.id, _unexpected(world, error, None))
    if objections:
        return record(world, operation.id, WentStale(world.clock.now(), BOT, objections))
    return record(world, operation.id, Began(world.clock.now(), BOT))


def _standing_against(world: World, operation: Operation) -> tuple[Objection, ...]:
    action = world.catalog.action(operation.action)
    asked_by = operation.origin.by
    if asked_by != BOT and not roles_of(world, asked_by) & _granted(world, operation.action):
        return (Objection("permission", "The requester may not use this command any more.", ""),)
    seen = snapshot(world, action.focus(operation.intent), but=operation.id)
    busy = propose.busy_with(world, operation.plan, but=operation.id)
    return (*busy, *action.still_good(operation.intent, operation.plan, seen, world.catalog.rules))


def _granted(world: World, command: str) -> frozenset[str]:
    return frozenset(role for role in world.roles if may_ask(world.policy, command, frozenset({role})))


def _seen_through(world: World, operation: Operation) -> Operation:
    """Every step that is left, in order, until the end or the first that fails."""
    for index in operation.todo:
        operation = world.store.operation(operation.id)
        if operation.state is not State.RUNNING:
            return operation
        if Ask.CANCEL in operation.asked and operation.current is None:
            return record(world, operation.id, _stopped(world, operation, "The remaining steps were not begun."))
        operation = _step(world, operation, index)
        if operation.state is not State.RUNNING:
            return operation
    return record(world, operation.id, Finished(world.clock.now(), BOT))


def _step(world: World, operation: Operation, index: int) -> Operation:
    """Settle, run, settle: a step counts as done when the hosts show it, never because a call returned."""
    step = operation.plan.steps[index]
    if operation.current != index:
        operation = record(world, operation.id, StepBegan(world.clock.now(), BOT, index))
    try:
        ended = _done(world, operation, step, index)
    except StepCancelledError as error:
        return record(world, operation.id, _stopped(world, operation, error.text))
    except StoreError:
        raise
    except DroverError as error:
        return record(world, operation.id, Failed(world.clock.now(), BOT, error.text, error.advice, index))
    except Exception as error:  # a handler's own fault: an end that people read, and logged whole
        log.exception("step handler failed", operation=operation.id, step=index)
        return record(world, operation.id, _unexpected(world, error, index))
    return record(world, operation.id, ended)


def _done(world: World, operation: Operation, step: Step, index: int) -> StepEnded:
    handler = _handler(world, step)
    told = Telling(world, operation)
    give_up = world.clock.now() + timedelta(seconds=world.patience)
    while True:
        try:
            if handler.settle(step, world.hypervisor) is Settled.DONE:
                return StepEnded(world.clock.now(), BOT, index, {}, found_done=True)
            facts = dict(handler.run(step, world.hypervisor, told))
            if handler.settle(step, world.hypervisor) is not Settled.DONE:
                raise DroverError(
                    f"“{step.title}” was carried out, but the hosts do not show it.", "Look at them before going on."
                )
            return StepEnded(world.clock.now(), BOT, index, facts)
        except HostUnreachableError as error:
            if world.clock.now() >= give_up:
                raise
            told.say(f"Waiting: {error.text} Unreachable is not dead, so nothing else is done meanwhile.")
            world.clock.sleep(2.0)


def _handler(world: World, step: Step) -> StepHandler:
    if isinstance(step, SetMaintenance):
        return maintenance_handler(world.store)
    handler = world.catalog.handlers.get(type(step))
    if handler is None:
        raise DroverError(f"No loaded plugin handles {type(step).__name__}.", "Load the plugin again and retry.")
    return handler


def maintenance_handler(store: Store) -> StepHandler:
    """Maintenance is Drover's own knowledge, so the core sets it."""

    def settle(step: SetMaintenance, hypervisor: Hypervisor) -> Settled:  # noqa: ARG001 - the shape of a handler
        return Settled.DONE if (step.host in store.maintenance()) is step.on else Settled.NOT_YET

    def run(step: SetMaintenance, hypervisor: Hypervisor, progress: ProgressPort) -> Facts:  # noqa: ARG001
        store.set_maintenance(step.host, on=step.on)
        return {}

    return StepHandler(SetMaintenance, settle, run)


def _stopped(world: World, operation: Operation, why: str) -> Cancelled:
    asked = [event.by for event in world.store.events(operation.id) if isinstance(event, Asked)]
    return Cancelled(world.clock.now(), asked[-1] if asked else BOT, why)


def _unexpected(world: World, error: Exception, index: int | None) -> Failed:
    return Failed(
        world.clock.now(),
        BOT,
        f"Something unforeseen went wrong: {type(error).__name__}: {error}.",
        "The bot's log has the details; look at the hosts before trying again.",
        index,
    )


def record(world: World, operation_id: str, event: Event) -> Operation:
    """Store a fact of the work. People's asks may arrive at the same moment; a fact is then stored after them."""
    while True:
        try:
            return commit(world, world.store.operation(operation_id), event)
        except ConflictError:
            continue


@dataclass(frozen=True, slots=True)
class Telling:
    """The ``Progress`` port of one running operation."""

    world: World
    operation: Operation

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        """Show a job's progress."""
        self._show(Progress(job=job, asks=frozenset(asks)))

    def say(self, text: str) -> None:
        """Show a line."""
        self._show(Progress(text=text, asks=frozenset({Ask.CANCEL})))

    def note(self, text: str) -> None:
        """Put a line into the audit trail."""
        record(self.world, self.operation.id, Noted(self.world.clock.now(), BOT, text))

    def asked(self) -> frozenset[Ask]:
        """What people have asked so far."""
        return self.world.store.operation(self.operation.id).asked

    def sleep(self, seconds: float) -> None:
        """Wait, by the core's clock."""
        self.world.clock.sleep(seconds)

    def _show(self, progress: Progress) -> None:
        self.world.screen.progress(self.world.store.operation(self.operation.id), progress)
