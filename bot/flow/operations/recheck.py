"""Asks, just before a step begins, whether it is still good.

What is not is skipped, the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.domain import placement
from bot.domain.cluster import Snapshot
from bot.domain.errors import DroverError, StepLostError
from bot.domain.message import Code, words
from bot.domain.operation import BOT, Event, Operation, Replanned, StepSkipped
from bot.domain.plan import Objection, Spread
from bot.domain.steps import MigrateVm, Step
from bot.flow.context import Services, snapshot
from bot.plugin_api import Action, NextGood, Rechecked, Underway


@dataclass(frozen=True, slots=True)
class Rechecks:
    """Looks at the cluster for one operation as it goes on.

    ``loads``: cores in use by guest, as last measured before this operation moved it. What is
    measured of a guest that moves, or has just arrived, says little of it. Lost in a crash: such a
    guest then counts as it is seen.
    """

    services: Services
    loads: dict[str, float] = field(default_factory=dict)
    # The last snapshot that was looked at, if any
    newest: list[Snapshot] = field(default_factory=list)

    def findings(self, operation: Operation, turn: tuple[int, ...]) -> tuple[Event, ...]:
        """What is to be recorded before the steps whose turn it is begin.

        Skipped steps, or a new plan of the rest.

        Steps on a host that does not answer are not judged, unless the action asks for it:
        unreachable is not dead, and they wait for it.
        """
        action = self.services.catalog.action(operation.action)
        steps = operation.plan.steps
        if action.judged:
            turn = tuple(index for index in turn if isinstance(steps[index], action.judged))
        if action.next_good is None or not turn:
            return ()
        seen = self._cluster_now(action, operation)
        left = tuple(index for index in operation.todo if index not in operation.under_way)
        if not action.judged:
            turn = tuple(index for index in turn if _answers(seen, steps[index]))
        if not turn:
            return ()
        verdict = self._judge(action.next_good, operation, left, turn, seen)
        return tuple(self._events(action, operation, left, turn, verdict))

    def excuse(self, operation: Operation, index: int, error: DroverError) -> StepSkipped | None:
        """Of a step that failed: that it was not good any more; None when the failure is one.

        A guest that has crashed, or that people must look for, is no excuse.
        """
        action = self.services.catalog.action(operation.action)
        step = operation.plan.steps[index]
        if action.next_good is None or isinstance(error, StepLostError):
            return None
        seen = self._cluster_now(action, operation, but=index)
        crashed = any(vm.uuid in step.vms and vm.has_crashed for vm in seen.vms)
        if crashed or not _answers(seen, step):
            return None
        left = tuple(
            each for each in operation.todo if each == index or each not in operation.under_way
        )
        why = self._judge(action.next_good, operation, left, (index,), seen).skip.get(index)
        return (
            None
            if why is None
            else StepSkipped(self.services.clock.now(), BOT, index, _with(why, error))
        )

    def _judge(
        self,
        next_good: NextGood,
        operation: Operation,
        left: tuple[int, ...],
        turn: tuple[int, ...],
        seen: Snapshot,
    ) -> Rechecked:
        done = frozenset(each.index for each in operation.ended)
        underway = Underway(operation.plan, done, left, turn)
        return next_good(operation.intent, underway, seen, self.services.catalog.rules)

    def _events(
        self,
        action: Action,
        operation: Operation,
        left: tuple[int, ...],
        turn: tuple[int, ...],
        verdict: Rechecked,
    ) -> Iterable[Event]:
        now, steps = self.services.clock.now(), operation.plan.steps
        if verdict.rest is not None and verdict.rest != tuple(steps[index] for index in left):
            _only_what_it_may(action, verdict.rest)
            return (Replanned(now, BOT, verdict.rest, verdict.why),)
        if verdict.enough is not None:
            return (StepSkipped(now, BOT, index, verdict.enough) for index in left)
        return (
            StepSkipped(now, BOT, index, why)
            for index, why in verdict.skip.items()
            if index in turn
        )

    def _cluster_now(self, action: Action, operation: Operation, but: int = -1) -> Snapshot:
        """The cluster now.

        Moves under way have arrived, and guests moved by this operation have their old load.
        """
        fresh = snapshot(self.services, action.focus(operation.intent), but=operation.id)
        self.newest[:] = [fresh]
        steps = operation.plan.steps
        under_way = _moves(steps[index] for index in operation.under_way if index != but)
        ours = {
            move.uuid
            for move in (*under_way, *_moves(steps[each.index] for each in operation.ended))
        }
        for vm in fresh.vms:
            if vm.uuid not in ours and vm.cpu is not None:
                self.loads[vm.uuid] = vm.cpu
        known = {uuid: self.loads[uuid] for uuid in ours if uuid in self.loads}
        return placement.with_moves(
            placement.with_loads(fresh, known), {move.uuid: move.target for move in under_way}
        )


def spreads(
    action: Action, operation: Operation, seen: Snapshot
) -> tuple[Spread | None, Spread | None]:
    """How even the load is, and how even the plan would leave it.

    None for what promises nothing of it.
    """
    if action.evenness is None:
        return None, None
    ends = {move.uuid: move.target for move in _moves(operation.plan.steps)}
    return action.evenness(seen), action.evenness(placement.with_moves(seen, ends))


def _moves(steps: Iterable[Step]) -> tuple[MigrateVm, ...]:
    return tuple(step for step in steps if isinstance(step, MigrateVm))


def _answers(seen: Snapshot, step: Step) -> bool:
    return all(host.up for host in seen.hosts if host.name in step.hosts)


def _with(why: Objection, error: DroverError) -> Objection:
    return Objection(
        why.code, words("{why} (It had begun: {error})", why=why.text, error=error.text), why.remedy
    )


def _only_what_it_may(action: Action, steps: Iterable[Step]) -> None:
    strange = {
        type(step).__name__
        for step in steps
        if not isinstance(step, (*action.emits, *action.may_emit))
    }
    if strange:
        raise DroverError(
            words(
                "{command} planned anew with {steps}, which it may not.",
                command=Code(action.name),
                steps=strange,
            ),
            code="steps-not-declared",
        )
