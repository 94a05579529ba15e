"""Carries an approved operation out, step by step; safe to repeat from any point after a crash."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from bot.domain import admission
from bot.domain.errors import (
    CatalogError,
    ChatError,
    ConflictError,
    DroverError,
    HostUnreachableError,
    StepAsksError,
    StepCancelledError,
    StepLostError,
    StepSkippedError,
    StoreError,
)
from bot.domain.message import Message, joined, nwords, words
from bot.domain.operation import (
    BOT,
    Ask,
    Asked,
    Began,
    Cancelled,
    Event,
    Failed,
    Finished,
    Operation,
    RulingChanged,
    State,
    StepBegan,
    StepEnded,
    StepSkipped,
    WentStale,
)
from bot.domain.plan import Objection
from bot.domain.policy import MayNot
from bot.domain.power import Hold
from bot.domain.steps import HoldHost, SetMaintenance, Step, WaitForPerson
from bot.flow.context import World, record, shown, snapshot
from bot.flow.operations import current_rules, decide, manual_step, operation_cards, propose
from bot.flow.operations.recheck import Rechecks, spreads
from bot.flow.operations.step_progress import Board, Telling
from bot.plugin_api import Settled, StepHandler
from bot.ports import Hypervisor, Store
from bot.ports import Progress as ProgressPort

log = structlog.get_logger()

Facts = Mapping[str, str | int | float | bool]

WIDEST = 8  # steps of one operation side by side, whatever the limits per host allow
LOOK = 1.0  # seconds between two looks whether a waiting step may begin
LONG_LOOK = 5.0  # the same while it waits for people, or for the end of a freeze
DAY = 86400.0  # so long a freeze, or a person, is waited for


def perform(world: World, operation_id: str) -> None:
    """See an operation through to a true end, whatever was done before.

    Errors of the database are waited out: giving up would leave the truth untold; so are those of
    the chat while it is asked who has which role. Every other error becomes the operation's own
    end, which the requester reads.
    """
    rest = 0.5
    while True:
        try:
            _perform(world, operation_id)
        except (StoreError, ChatError) as error:
            log.warning("not now, trying again", operation=operation_id, error=str(error))
            world.clock.sleep(rest)
            rest = min(30.0, rest * 2)
        else:
            return


def _perform(world: World, operation_id: str) -> None:
    operation = world.store.operation(operation_id)
    if (why := world.catalog.unable(operation)) and not operation.state.over:
        # Raised, so that the work queue does not take it for done: a replica that has the plugin
        # performs it.
        raise CatalogError(f"{operation_id} is left alone: {why}.", "Load the plugin again.")
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
    if any(each.code == current_rules.OLD for each in operation.objections):
        return  # what was wished long ago is proposed again by people, or not at all
    card = propose.again_unless_refused_alike(world, operation)
    if card is not None and operation.origin.by != BOT:
        world.screen.tell(operation.origin.by, card, f"again:{operation.id}")


def _begun(world: World, operation: Operation) -> Operation:
    """Ask once more, on a fresh snapshot, whether the plan still holds; then begin, unless somebody was first."""
    while operation.state is State.APPROVED:
        found = _verdict(world, operation)
        try:
            after = world.store.append(operation, found)
        # A person cancelled it, or something was noted: what was asked is asked again
        except ConflictError:
            operation = world.store.operation(operation.id)
        else:
            shown(world, after, found)
            return after
    return operation


def _verdict(world: World, operation: Operation) -> Event:
    """That it begins, or why it does not."""
    try:
        return _beginning(world, operation)
    except HostUnreachableError as error:
        return WentStale(
            world.clock.now(), BOT, (Objection("unreachable", error.text, error.advice),)
        )
    except (StoreError, ChatError):
        raise
    except DroverError as error:
        return Failed(world.clock.now(), BOT, error.text, error.advice)
    # The plan's own code failed: that is an end, told to people, and logged whole
    except Exception as error:
        log.exception("planner failed", operation=operation.id)
        return _unexpected(world, error, None)


def _beginning(world: World, operation: Operation) -> Began | WentStale:
    """Everything that stands against it now, or that it begins."""
    action = world.catalog.action(operation.action)
    if against := current_rules.against_beginning(world, operation):
        return WentStale(world.clock.now(), BOT, against)
    seen = snapshot(world, action.focus(operation.intent), but=operation.id)
    if against := current_rules.against_beginning(world, operation, seen):
        return WentStale(world.clock.now(), BOT, against)
    busy = propose.busy_with(world, operation.plan, but=operation.id)
    intent = propose.surveyed(world.hypervisor, action, operation.intent, seen)
    against = (*busy, *action.still_good(intent, operation.plan, seen, world.catalog.rules))
    if against:
        return WentStale(world.clock.now(), BOT, against)
    return Began(world.clock.now(), BOT, *spreads(action, operation, seen))


def _seen_through(world: World, operation: Operation) -> Operation:
    """Every step that is left, side by side where the plan and the limits allow, until the end or a failure."""
    with ThreadPoolExecutor(WIDEST, thread_name_prefix=operation.id) as pool:
        ends = _Run(world, operation.id, pool, Rechecks(world)).ends()
    operation = world.store.operation(operation.id)
    if operation.state is not State.RUNNING:
        return operation
    if ends:
        return record(world, operation.id, ends[0])
    if operation.todo:
        return record(
            world,
            operation.id,
            _stopped(world, operation, operation_cards.not_begun_text(operation)),
        )
    return record(world, operation.id, Finished(world.clock.now(), BOT))


@dataclass(slots=True)
class _Run:
    """The steps of one operation being run, each on a thread of its own."""

    world: World
    operation_id: str
    pool: ThreadPoolExecutor
    rechecks: Rechecks
    under_way: dict[Future[Event | None], int] = field(default_factory=dict)
    bad: list[Event] = field(default_factory=list)
    resumed: bool = False
    frozen_until: datetime | None = None

    def ends(self) -> list[Event]:
        """Run until nothing is left to do, or to begin; what ended badly, a failure before a cancellation.

        Raises:
            StoreError: as soon as no step is under way any more.
        """
        operation = self.world.store.operation(self.operation_id)
        board = Board(self.world, self.operation_id)
        while True:
            operation = self.world.store.operation(self.operation_id)
            going_on = (
                operation.state is State.RUNNING
                and Ask.CANCEL not in operation.asked
                and not self.bad
            )
            waits = going_on and self._waits(operation, board)
            if not self.resumed and not operation.held and going_on:
                self.resumed = True  # a crash left them begun: settled again
                self._submit(operation, board, sorted(operation.under_way))
            if going_on and not waits and set(operation.todo) - operation.under_way:
                turn = _may_begin(self.world, operation, _others(self.world, operation))
                if self._rechecked(operation, turn):
                    continue
                leave = self._leave(operation, board) if turn else None
                if turn and leave is None:
                    continue
                self._submit(
                    operation, board, _begun_steps(self.world, operation, board, turn, leave)
                )
            if not self.under_way and not (going_on and operation.todo):
                return sorted(self.bad, key=lambda event: not isinstance(event, Failed))
            self._wait(board, LONG_LOOK if waits else LOOK)

    def _waits(self, operation: Operation, board: Board) -> bool:
        """Whether it waits for people or for the end of a freeze; when that takes too long, it ends as failed."""
        now = self.world.clock.now()
        if operation.held:
            board.say(operation_cards.held_text(operation))
            self._end_after(operation.held_at, DAY, operation_cards.nobody_came(operation))
            return True
        if operation.votes_missing:
            board.say(operation_cards.votes_text(operation))
            self._end_after(
                operation.ruled_at,
                operation.ruling.expires,
                operation_cards.nobody_voted(operation),
            )
            return True
        if self.frozen_until is not None and now < self.frozen_until:
            return True
        if self.frozen_until is not None:
            self.frozen_until = None
            board.say("")
        return False

    def _end_after(
        self, since: datetime | None, seconds: float, failed: tuple[Message, Message]
    ) -> None:
        now = self.world.clock.now()
        if since is not None and (now - since).total_seconds() > seconds:
            self.bad.append(Failed(now, BOT, *failed))

    def _leave(self, operation: Operation, board: Board) -> current_rules.Leave | None:
        """That the steps whose turn it is may begin, by the rules of this moment; None after noting what they wait for.

        What takes more votes than were given waits for those votes; in a freeze nothing begins.
        """
        found = current_rules.leave(
            self.world, operation, next(iter(self.rechecks.newest), None), DAY
        )
        now = self.world.clock.now()
        if isinstance(found, current_rules.Leave):
            return found
        if isinstance(found, RulingChanged):
            self._ask_for_votes(operation, found)
        elif isinstance(found, MayNot):
            self.bad.append(Failed(now, BOT, *operation_cards.may_not_go_on(operation, found.text)))
        elif found.until is None:
            self.bad.append(Failed(now, BOT, *operation_cards.frozen_end(operation, found.why)))
        else:
            self.frozen_until = found.until
            board.say(operation_cards.frozen_text(found.why, found.until))
        return None

    def _ask_for_votes(self, operation: Operation, ruling: RulingChanged) -> None:
        """Ask once, in the message and in its thread; an act of people at the same moment is looked at first."""
        try:
            after = self.world.store.append(operation, ruling)
        except ConflictError:
            return
        shown(self.world, after, ruling)
        note = operation_cards.more_votes_note(after)
        propose.attach(self.world, after)
        decide.told(
            self.world, after, note, f"votes-{after.version}", f"votes:{after.id}:{after.version}"
        )

    def _rechecked(self, operation: Operation, turn: tuple[int, ...]) -> bool:
        """Record what should not begin any more; whether there was anything, so that one must look again."""
        try:
            found = self.rechecks.found(operation, turn)
        except (StoreError, ChatError):
            raise
        except DroverError as error:
            self.bad.append(Failed(self.world.clock.now(), BOT, error.text, error.advice))
            return True
        # The planner's own fault: an end that people read, and logged whole
        except Exception as error:
            log.exception("the recheck failed", operation=operation.id)
            self.bad.append(_unexpected(self.world, error, None))
            return True
        for event in found:
            record(self.world, self.operation_id, event)
        return bool(found)

    def _submit(self, operation: Operation, board: Board, indexes: Collection[int]) -> None:
        for index in indexes:
            told = Telling(self.world, operation, board, index)
            future = self.pool.submit(_step, self.world, operation, index, told, self.rechecks)
            self.under_way[future] = index

    def _wait(self, board: Board, seconds: float) -> None:
        if not self.under_way:
            self.world.clock.sleep(seconds)
            return
        done, _ = wait(self.under_way, timeout=LOOK, return_when=FIRST_COMPLETED)
        for future in done:
            board.done(self.under_way.pop(future))
            if (event := future.result()) is not None:
                self.bad.append(event)
                board.say(_waiting_text(event, len(self.under_way)))


def _waiting_text(event: Event, others: int) -> Message:
    if not others or not isinstance(event, Failed):
        return ""
    rest = nwords(
        "Nothing more is begun; {n} step under way will end first.",
        "Nothing more is begun; {n} steps under way will end first.",
        n=others,
    )
    return joined((event.why, rest))


def _others(world: World, operation: Operation) -> list[Operation]:
    return [
        each
        for each in world.store.operations(states=(State.RUNNING,), limit=1000)
        if each.id != operation.id
    ]


def _may_begin(world: World, operation: Operation, others: Sequence[Operation]) -> tuple[int, ...]:
    """Steps whose turn it is, within the limits; a guest that another operation works on is waited for."""
    taken = {
        uuid for each in others for index in each.under_way for uuid in each.plan.steps[index].vms
    }
    may = admission.may_begin(operation, admission.under_way(others), world.limits)
    return tuple(index for index in may if not taken.intersection(operation.plan.steps[index].vms))


def _begun_steps(
    world: World,
    operation: Operation,
    board: Board,
    turn: Collection[int],
    leave: current_rules.Leave | None,
) -> tuple[int, ...]:
    """Record the beginning of every step of ``turn`` that may begin; limits hold across operations and replicas.

    Nothing is begun when anything happened while it was decided, or the rules gave no leave any
    more: one looks again.
    """
    with world.turn:
        position, _ = world.store.head()
        others = _others(world, operation)
        begun = tuple(index for index in _may_begin(world, operation, others) if index in turn)
        now = world.clock.now()
        if begun and (leave is None or not leave.holds(now)):
            return ()
        events = [StepBegan(now, BOT, index) for index in begun]
        try:
            after = world.store.append(operation, *events, since=position) if events else operation
        except ConflictError:
            return ()
    if events:
        shown(world, after, *events)
    if not begun and not operation.under_way:
        board.say(_held(operation.plan.steps[operation.todo[0]], others, world.limits))
    elif begun:
        board.say("")
    return begun


def _held(step: Step, others: Sequence[Operation], limits: admission.Limits) -> Message:
    """Why a step waits for another operation; '' when it does not."""
    same = (
        each
        for each in others
        for index in each.under_way
        if set(step.vms) & set(each.plan.steps[index].vms)
    )
    if (busy := next(same, None)) is not None:
        return words("Waiting for {id} to end: it works on the same VM.", id=busy.id)
    held = admission.holding(step, others, limits)
    return (
        words("Waiting for a move of {id} to end: a host takes few at a time.", id=held.id)
        if held
        else ""
    )


def _step(
    world: World, operation: Operation, index: int, told: Telling, rechecks: Rechecks
) -> Event | None:
    """Settle, run, settle: a step counts as done when the hosts show it, never because a call returned.

    Its end is recorded; a bad end is answered, because it is the whole operation's. A step that
    failed because it was not good any more is skipped.
    """
    try:
        ended = _done(world, operation.plan.steps[index], told)
    except StepCancelledError as error:
        return _stopped(world, operation, error.text)
    except StepSkippedError as error:
        why = Objection(error.code, error.text, error.advice)
        record(world, operation.id, StepSkipped(world.clock.now(), BOT, index, why))
        return None
    except StoreError:
        raise
    except DroverError as error:
        return _failed(world, operation, index, error, rechecks)
    except Exception as error:  # a handler's own fault: an end that people read, and logged whole
        log.exception("step handler failed", operation=operation.id, step=index)
        return _unexpected(world, error, index)
    record(world, operation.id, ended)
    return None


def _failed(
    world: World, operation: Operation, index: int, error: DroverError, rechecks: Rechecks
) -> Failed | None:
    remedies = error.remedies if isinstance(error, StepAsksError | StepLostError) else ()
    failed = Failed(world.clock.now(), BOT, error.text, error.advice, index, remedies)
    try:
        excuse = rechecks.excuse(world.store.operation(operation.id), index, error)
    except StoreError:
        raise
    except Exception:  # the failure itself is what people must read; this is logged beside it
        log.exception("the recheck of a failed step failed", operation=operation.id, step=index)
        return failed
    if excuse is None:
        return failed
    record(world, operation.id, excuse)
    return None


def _done(world: World, step: Step, told: Telling) -> StepEnded:
    if isinstance(step, WaitForPerson):
        return manual_step.waited(world, step, told)
    handler, index = _handler(world, step, told.operation.id), told.index
    give_up = world.clock.now() + timedelta(seconds=world.patience)
    while True:
        try:
            if handler.settle(step, world.hypervisor) is Settled.DONE:
                return StepEnded(world.clock.now(), BOT, index, {}, found_done=True)
            facts = dict(handler.run(step, world.hypervisor, told))
            if handler.settle(step, world.hypervisor) is not Settled.DONE:
                raise DroverError(
                    words(
                        "“{step}” was carried out, but the hosts do not show it.", step=step.title
                    ),
                    words("Look at them before going on."),
                    code="not-shown",
                )
            return StepEnded(world.clock.now(), BOT, index, facts)
        except HostUnreachableError as error:
            if world.clock.now() >= give_up:
                raise
            if dead := _proven_off(world, step):
                raise DroverError(
                    words(
                        "{host} is off, and {id} starts its VMs elsewhere.",
                        host=dead.host,
                        id=dead.operation,
                    ),
                    words("Look at {id}.", id=dead.operation),
                    code="host-off",
                ) from error
            told.say(
                words(
                    "Waiting: {why} Unreachable is not dead, so nothing else is done meanwhile.",
                    why=error.text,
                )
            )
            world.clock.sleep(2.0)


def _proven_off(world: World, step: Step) -> Hold | None:
    """The hold on a host of the step that is proven off: nothing is waited for there."""
    held = (
        each for each in world.store.holds() if each.host in step.hosts and each.proof is not None
    )
    return next(held, None)


def _handler(world: World, step: Step, operation: str) -> StepHandler:
    if isinstance(step, SetMaintenance):
        return maintenance_handler(world.store)
    if isinstance(step, HoldHost):
        return hold_handler(world, operation)
    handler = world.catalog.handlers.get(type(step))
    if handler is None:
        kind = type(step).__name__
        raise DroverError(
            words("No loaded plugin handles {kind}.", kind=kind),
            words("Load the plugin again and retry."),
            code="no-handler",
        )
    return handler


def maintenance_handler(store: Store) -> StepHandler:
    """Maintenance is Drover's own knowledge, so the core sets it."""

    # The shape of a handler
    def settle(step: SetMaintenance, hypervisor: Hypervisor) -> Settled:  # noqa: ARG001
        return Settled.DONE if (step.host in store.maintenance()) is step.on else Settled.NOT_YET

    def run(step: SetMaintenance, hypervisor: Hypervisor, progress: ProgressPort) -> Facts:  # noqa: ARG001
        store.set_maintenance(step.host, on=step.on)
        return {}

    return StepHandler(SetMaintenance, settle, run)


def hold_handler(world: World, operation: str) -> StepHandler:
    """Holds are Drover's own knowledge, so the core sets them; one that stands keeps its proof."""

    def settle(step: HoldHost, hypervisor: Hypervisor) -> Settled:  # noqa: ARG001 - as above
        held = any(each.host == step.host for each in world.store.holds())
        return Settled.DONE if held is step.on else Settled.NOT_YET

    def run(step: HoldHost, hypervisor: Hypervisor, progress: ProgressPort) -> Facts:  # noqa: ARG001
        if step.on:
            world.store.put_hold(Hold(step.host, world.clock.now(), step.why, operation))
        else:
            world.store.lift_hold(step.host)
        return {}

    return StepHandler(HoldHost, settle, run)


def _stopped(world: World, operation: Operation, why: Message) -> Cancelled:
    asked = [event.by for event in world.store.events(operation.id) if isinstance(event, Asked)]
    return Cancelled(world.clock.now(), asked[-1] if asked else BOT, why)


def _unexpected(world: World, error: Exception, index: int | None) -> Failed:
    return Failed(
        world.clock.now(),
        BOT,
        words(
            "Something unforeseen went wrong: {error}.", error=f"{type(error).__name__}: {error}"
        ),
        words("The bot's log has the details; look at the hosts before trying again."),
        index,
    )
