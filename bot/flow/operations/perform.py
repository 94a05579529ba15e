"""Carries an approved operation out, step by step; safe to repeat from any point after a crash."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

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
from bot.domain.message import Message, join, nwords, words
from bot.domain.operation import (
    BOT,
    MOST_OPEN,
    Ask,
    Asked,
    Began,
    Cancelled,
    Event,
    Failed,
    Finished,
    Held,
    Noted,
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
from bot.domain.steps import AttestOff, HoldHost, SetMaintenance, Step, WaitForPerson
from bot.flow.context import Services, publish, record, snapshot
from bot.flow.operations import (
    current_rules,
    hold_steps,
    manual_step,
    notify,
    operation_cards,
    propose,
    scheduled,
)
from bot.flow.operations.recheck import Rechecks, spreads
from bot.flow.operations.step_progress import OperationProgress, StepProgress
from bot.plugin_api import Settled, StepHandler
from bot.ports import Hypervisor, Store
from bot.ports import Progress as ProgressPort

log = structlog.get_logger()

Facts = Mapping[str, str | int | float | bool]

WIDEST = 8  # steps of one operation side by side, whatever the limits per host allow
LOOK = 1.0  # seconds between two looks whether a waiting step may begin
LONG_LOOK = 5.0  # the same while it waits for people, or for the end of a freeze
WINDOW_OVER = "window-over"  # marks that an operation was held at the end of its window
DAY = 86400.0  # so long a freeze, or a person, is waited for


def perform(services: Services, operation_id: str) -> None:
    """See an operation through to a true end, whatever was done before.

    Errors of the database are waited out: giving up would leave the truth untold; so are those of
    the chat while it is asked who has which role. Every other error becomes the operation's own
    end, which the requester reads.
    """
    rest = 0.5
    while True:
        try:
            _perform(services, operation_id)
        except (StoreError, ChatError) as error:
            log.warning("not now, trying again", operation=operation_id, error=str(error))
            services.clock.sleep(rest)
            rest = min(30.0, rest * 2)
        else:
            return


def _perform(services: Services, operation_id: str) -> None:
    operation = services.store.operation(operation_id)
    if (why := services.catalog.unable(operation)) and not operation.state.over:
        # Raised, so that the work queue does not take it for done: a replica that has the plugin
        # performs it.
        raise CatalogError(
            words("{id} is left alone: {why}.", id=operation_id, why=why),
            words("Load the plugin again."),
        )
    operation = _begin(services, operation)
    if operation.state is State.RUNNING:
        operation = _run_to_end(services, operation)
    if operation.state.over:
        services.messages.show(operation.id)
        _tell(services, operation)


def _tell(services: Services, operation: Operation) -> None:
    """Tell the end.

    Chat may fail: the operation's end is stored already, and its message is caught up with later.
    """
    try:
        notify.tell_end(services, operation)
        if operation.state is State.STALE:
            _offer_anew(services, operation)
    except StoreError:
        raise
    except DroverError as error:
        log.warning("the end could not be told", operation=operation.id, error=str(error))


def _offer_anew(services: Services, operation: Operation) -> None:
    """A new plan for the same wish, on the cluster as it is now; or why there is none any more."""
    over = {current_rules.OLD, current_rules.MISSED, current_rules.CLOSED}
    if any(each.code in over for each in operation.objections):
        return  # what was wished long ago is proposed again by people, or not at all
    card = propose.again_unless_same_refusal(services, operation)
    if card is not None and operation.origin.by != BOT:
        services.messages.tell(operation.origin.by, card, f"again:{operation.id}")


def _begin(services: Services, operation: Operation) -> Operation:
    """Ask once more, on a fresh snapshot, whether the plan still holds.

    Then begin, unless somebody was first.
    """
    while True:
        operation = scheduled.at_its_time(services, operation)
        if operation.state is not State.APPROVED:
            return operation
        found = _verdict(services, operation)
        try:
            after = services.store.append(operation, found)
        # A person cancelled it, or something was noted: what was asked is asked again
        except ConflictError:
            operation = services.store.operation(operation.id)
        else:
            publish(services, after, found)
            return after


def _verdict(services: Services, operation: Operation) -> Event:
    """That it begins, or why it does not."""
    try:
        return _beginning(services, operation)
    except HostUnreachableError as error:
        return WentStale(
            services.clock.now(), BOT, (Objection("unreachable", error.text, error.advice),)
        )
    except (StoreError, ChatError):
        raise
    except DroverError as error:
        return Failed(services.clock.now(), BOT, error.text, error.advice)
    # The plan's own code failed: that is an end, told to people, and logged whole
    except Exception as error:
        log.exception("planner failed", operation=operation.id)
        return _unforeseen(services, error, None)


def _beginning(services: Services, operation: Operation) -> Began | WentStale:
    """Everything that stands against it now, or that it begins."""
    action = services.catalog.action(operation.action)
    if against := current_rules.against_beginning(services, operation):
        return WentStale(services.clock.now(), BOT, against)
    chosen = partial(action.chosen, operation.intent)
    seen = snapshot(services, action.focus(operation.intent), chosen=chosen, but=operation.id)
    if against := current_rules.against_beginning(services, operation, seen):
        return WentStale(services.clock.now(), BOT, against)
    busy = propose.busy_with(services, operation.plan, but=operation.id)
    intent = propose.survey(services.hypervisor, action, operation.intent, seen)
    against = (*busy, *action.still_good(intent, operation.plan, seen, services.catalog.rules))
    if against:
        return WentStale(services.clock.now(), BOT, against)
    loads = spreads(action, operation, seen)
    # Looking at the hosts takes time: the window may have ended meanwhile
    if late := current_rules.out_of_time(services, operation):
        return WentStale(services.clock.now(), BOT, (late,))
    return Began(services.clock.now(), BOT, *loads)


def _run_to_end(services: Services, operation: Operation) -> Operation:
    """Run every step that is left, until the end or a failure.

    Side by side where the plan and the limits allow.
    """
    with ThreadPoolExecutor(WIDEST, thread_name_prefix=operation.id) as pool:
        ends = _Run(services, operation.id, pool, Rechecks(services)).ends()
    operation = services.store.operation(operation.id)
    if operation.state is not State.RUNNING:
        return operation
    end: Event = Finished(services.clock.now(), BOT)
    if ends:
        end = ends[0]
    elif operation.todo:
        why = operation_cards.not_begun_text(operation)
        end = _cancellation(services, operation, why)
    return record(services, operation.id, _with_summary(services, operation, end))


def _with_summary(services: Services, operation: Operation, end: Event) -> Event:
    """An end with what is true of the hosts now.

    That may fail, and the end is told all the same.
    """
    action = services.catalog.action(operation.action)
    summarize = action.summarize
    if summarize is None or not isinstance(end, Finished | Failed | Cancelled):
        return end
    try:
        summary = summarize(
            operation, snapshot(services, action.focus(operation.intent), but=operation.id)
        )
    except StoreError:
        raise
    # What it would have said is missing; the end itself must be stored
    except Exception:
        log.exception("the end could not be summarized", operation=operation.id)
        return end
    return replace(end, summary=summary)


@dataclass(slots=True)
class _Run:
    """The steps of one operation being run, each on a thread of its own."""

    services: Services
    operation_id: str
    pool: ThreadPoolExecutor
    rechecks: Rechecks
    under_way: dict[Future[Event | None], int] = field(default_factory=dict)
    bad: list[Event] = field(default_factory=list)
    resumed: bool = False
    frozen_until: datetime | None = None

    def ends(self) -> list[Event]:
        """Run until nothing is left to do, or to begin.

        What ended badly, a failure before a cancellation.

        Raises:
            StoreError: as soon as no step is under way any more.
        """
        overall = OperationProgress(self.services, self.operation_id)
        while True:
            operation = self.services.store.operation(self.operation_id)
            going_on = (
                operation.state is State.RUNNING
                and Ask.CANCEL not in operation.asked
                and not self.bad
            )
            waits = going_on and self._waits(operation, overall)
            if not self.resumed and not operation.held and going_on:
                self.resumed = True  # a crash left them begun: settled again
                self._submit(operation, overall, sorted(operation.under_way))
            if going_on and not waits and set(operation.todo) - operation.under_way:
                turn = _may_begin(self.services, operation, _others(self.services, operation))
                if self._recheck(operation, turn):
                    continue
                leave = self._leave(operation, overall) if turn else None
                if turn and leave is None:
                    continue
                self._submit(
                    operation, overall, _begin_steps(self.services, operation, overall, turn, leave)
                )
            if not self.under_way and not (going_on and operation.todo):
                return sorted(self.bad, key=lambda event: not isinstance(event, Failed))
            self._wait(overall, LONG_LOOK if waits else LOOK)

    def _waits(self, operation: Operation, overall: OperationProgress) -> bool:
        """Whether it waits for people or for the end of a freeze.

        When that takes too long, it ends as failed.
        """
        now = self.services.clock.now()
        if _window_over(operation, now) and set(operation.todo) - operation.under_way:
            self._hold(operation)
            return True
        if operation.held:
            overall.say(operation_cards.held_text(operation))
            self._end_after(operation.held_at, DAY, operation_cards.nobody_came(operation))
            return True
        if operation.votes_missing:
            overall.say(operation_cards.votes_text(operation))
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
            overall.say("")
        return False

    def _hold(self, operation: Operation) -> None:
        """Begin nothing more after the maintenance window until a person says so; told once."""
        now, slot = self.services.clock.now(), operation.slot
        why = operation_cards.window_over_text(slot) if slot is not None else ""
        events = (Held(now, BOT, why), Noted(now, BOT, why, WINDOW_OVER))
        try:
            after = self.services.store.append(operation, *events)
        except ConflictError:
            return
        publish(self.services, after, *events)
        note, claim = operation_cards.held_note(after), f"held:{after.id}:{after.version}"
        notify.tell_requester(self.services, after, note, f"held-{after.version}", claim)

    def _end_after(
        self, since: datetime | None, seconds: float, failed: tuple[Message, Message]
    ) -> None:
        now = self.services.clock.now()
        if since is not None and (now - since).total_seconds() > seconds:
            self.bad.append(Failed(now, BOT, *failed))

    def _leave(
        self, operation: Operation, overall: OperationProgress
    ) -> current_rules.Leave | None:
        """That the steps whose turn it is may begin, by the rules of this moment.

        None after noting what they wait for.

        What takes more votes than were given waits for those votes; in a freeze nothing begins.
        """
        found = current_rules.leave(
            self.services, operation, next(iter(self.rechecks.newest), None), DAY
        )
        now = self.services.clock.now()
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
            overall.say(operation_cards.frozen_text(found.why, found.until))
        return None

    def _ask_for_votes(self, operation: Operation, ruling: RulingChanged) -> None:
        """Ask once, in the message and in its thread.

        An act of people at the same moment is looked at first.
        """
        try:
            after = self.services.store.append(operation, ruling)
        except ConflictError:
            return
        publish(self.services, after, ruling)
        note = operation_cards.more_votes_note(after)
        propose.attach(self.services, after)
        notify.tell_requester(
            self.services,
            after,
            note,
            f"votes-{after.version}",
            f"votes:{after.id}:{after.version}",
        )

    def _recheck(self, operation: Operation, turn: tuple[int, ...]) -> bool:
        """Record what should not begin any more.

        Whether there was anything, so that one must look again.
        """
        try:
            found = self.rechecks.findings(operation, turn)
        except (StoreError, ChatError):
            raise
        except DroverError as error:
            self.bad.append(Failed(self.services.clock.now(), BOT, error.text, error.advice))
            return True
        # The planner's own fault: an end that people read, and logged whole
        except Exception as error:
            log.exception("the recheck failed", operation=operation.id)
            self.bad.append(_unforeseen(self.services, error, None))
            return True
        for event in found:
            record(self.services, self.operation_id, event)
        return bool(found)

    def _submit(
        self, operation: Operation, overall: OperationProgress, indexes: Collection[int]
    ) -> None:
        for index in indexes:
            progress = StepProgress(self.services, operation, overall, index)
            future = self.pool.submit(
                _step, self.services, operation, index, progress, self.rechecks
            )
            self.under_way[future] = index

    def _wait(self, overall: OperationProgress, seconds: float) -> None:
        if not self.under_way:
            self.services.clock.sleep(seconds)
            return
        done, _ = wait(self.under_way, timeout=LOOK, return_when=FIRST_COMPLETED)
        for future in done:
            overall.finish(self.under_way.pop(future))
            if (event := future.result()) is not None:
                self.bad.append(event)
                overall.say(_waiting_text(event, len(self.under_way)))


def _waiting_text(event: Event, others: int) -> Message:
    if not others or not isinstance(event, Failed):
        return ""
    rest = nwords(
        "Nothing more is begun; {n} step under way will end first.",
        "Nothing more is begun; {n} steps under way will end first.",
        n=others,
    )
    return join((event.why, rest))


def _window_over(operation: Operation, now: datetime) -> bool:
    """Whether the maintenance window has ended, and nobody let the operation go on after it."""
    slot = operation.slot
    return (
        slot is not None
        and bool(slot.window)
        and now >= slot.end
        and WINDOW_OVER not in operation.marks
    )


def _others(services: Services, operation: Operation) -> list[Operation]:
    return [
        each
        for each in services.store.operations(states=(State.RUNNING,), limit=MOST_OPEN)
        if each.id != operation.id
    ]


def _may_begin(
    services: Services, operation: Operation, others: Sequence[Operation]
) -> tuple[int, ...]:
    """Steps whose turn it is, within the limits.

    A guest that another operation works on is waited for.
    """
    taken = {
        uuid for each in others for index in each.under_way for uuid in each.plan.steps[index].vms
    }
    may = admission.may_begin(operation, admission.under_way(others), services.limits)
    return tuple(index for index in may if not taken.intersection(operation.plan.steps[index].vms))


def _begin_steps(
    services: Services,
    operation: Operation,
    overall: OperationProgress,
    turn: Collection[int],
    leave: current_rules.Leave | None,
) -> tuple[int, ...]:
    """Record the beginning of every step of ``turn`` that may begin.

    Limits hold across operations and replicas.

    Nothing is begun when anything happened while it was decided, or the rules gave no leave any
    more: one looks again.
    """
    with services.turn:
        position, _ = services.store.head()
        others = _others(services, operation)
        begun = tuple(index for index in _may_begin(services, operation, others) if index in turn)
        now = services.clock.now()
        if begun and (leave is None or not leave.holds(now) or _window_over(operation, now)):
            return ()
        events = [StepBegan(now, BOT, index) for index in begun]
        try:
            after = (
                services.store.append(operation, *events, since=position) if events else operation
            )
        except ConflictError:
            return ()
    if events:
        publish(services, after, *events)
    if not begun and not operation.under_way:
        overall.say(_hold_text(operation.plan.steps[operation.todo[0]], others, services.limits))
    elif begun:
        overall.say("")
    return begun


def _hold_text(step: Step, others: Sequence[Operation], limits: admission.Limits) -> Message:
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
    services: Services, operation: Operation, index: int, progress: StepProgress, rechecks: Rechecks
) -> Event | None:
    """Settle, run, settle.

    A step counts as done when the hosts show it, never because a call returned.

    Its end is recorded; a bad end is answered, because it is the whole operation's. A step that
    failed because it was not good any more is skipped.
    """
    try:
        ended = _do_step(services, operation.plan.steps[index], progress)
    except StepCancelledError as error:
        return _cancellation(services, operation, error.text)
    except StepSkippedError as error:
        why = Objection(error.code, error.text, error.advice)
        record(services, operation.id, StepSkipped(services.clock.now(), BOT, index, why))
        return None
    except StoreError:
        raise
    except DroverError as error:
        return _failure_of(services, operation, index, error, rechecks)
    except Exception as error:  # a handler's own fault: an end that people read, and logged whole
        log.exception("step handler failed", operation=operation.id, step=index)
        return _unforeseen(services, error, index)
    record(services, operation.id, ended)
    return None


def _failure_of(
    services: Services, operation: Operation, index: int, error: DroverError, rechecks: Rechecks
) -> Failed | None:
    remedies = error.remedies if isinstance(error, StepAsksError | StepLostError) else ()
    failed = Failed(services.clock.now(), BOT, error.text, error.advice, index, remedies)
    try:
        excuse = rechecks.excuse(services.store.operation(operation.id), index, error)
    except StoreError:
        raise
    except Exception:  # the failure itself is what people must read; this is logged beside it
        log.exception("the recheck of a failed step failed", operation=operation.id, step=index)
        return failed
    if excuse is None:
        return failed
    record(services, operation.id, excuse)
    return None


def _do_step(services: Services, step: Step, progress: StepProgress) -> StepEnded:
    if isinstance(step, WaitForPerson):
        return manual_step.wait(services, step, progress)
    handler, index = _handler(services, step, progress.operation.id), progress.index
    give_up = services.clock.now() + timedelta(seconds=services.patience)
    while True:
        try:
            if handler.settle(step, services.hypervisor) is Settled.DONE:
                return StepEnded(services.clock.now(), BOT, index, {}, found_done=True)
            facts = dict(handler.run(step, services.hypervisor, progress))
            if handler.settle(step, services.hypervisor) is not Settled.DONE:
                raise DroverError(
                    words(
                        "“{step}” was carried out, but the hosts do not show it.", step=step.title
                    ),
                    words("Look at them before going on."),
                    code="not-shown",
                )
            return StepEnded(services.clock.now(), BOT, index, facts)
        except HostUnreachableError as error:
            if services.clock.now() >= give_up:
                raise
            if dead := _proven_off(services, step):
                raise DroverError(
                    words(
                        "{host} is off, and {id} starts its VMs elsewhere.",
                        host=dead.host,
                        id=dead.operation,
                    ),
                    words("Look at {id}.", id=dead.operation),
                    code="host-off",
                ) from error
            progress.say(
                words(
                    "Waiting: {why} Unreachable is not dead, so nothing else is done meanwhile.",
                    why=error.text,
                )
            )
            services.clock.sleep(2.0)


def _proven_off(services: Services, step: Step) -> Hold | None:
    """The hold on a host of the step that is proven off: nothing is waited for there."""
    held = (
        each
        for each in services.store.holds()
        if each.host in step.hosts and each.proof is not None
    )
    return next(held, None)


def _handler(services: Services, step: Step, operation: str) -> StepHandler:
    if isinstance(step, SetMaintenance):
        return maintenance_handler(services.store)
    if isinstance(step, HoldHost):
        return hold_steps.hold_handler(services, operation)
    if isinstance(step, AttestOff):
        return hold_steps.attest_handler(services, operation)
    handler = services.catalog.handlers.get(type(step))
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

    def run(
        step: SetMaintenance,
        hypervisor: Hypervisor,  # noqa: ARG001
        progress: ProgressPort,  # noqa: ARG001
    ) -> Facts:
        store.set_maintenance(step.host, on=step.on)
        return {}

    return StepHandler(SetMaintenance, settle, run)


def _cancellation(services: Services, operation: Operation, why: Message) -> Cancelled:
    asked = [event.by for event in services.store.events(operation.id) if isinstance(event, Asked)]
    return Cancelled(services.clock.now(), asked[-1] if asked else BOT, why)


def _unforeseen(services: Services, error: Exception, index: int | None) -> Failed:
    return Failed(
        services.clock.now(),
        BOT,
        words(
            "Something unforeseen went wrong: {error}.", error=f"{type(error).__name__}: {error}"
        ),
        words("The bot's log has the details; look at the hosts before trying again."),
        index,
    )
