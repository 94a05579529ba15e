"""Which steps of a plan may begin now.

A sliding window over the plan, a few moves per host at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.domain.operation import Operation
from bot.domain.steps import MigrateVm, Step

Ends = Counter[tuple[str, str]]
"""How many moves and starts are under way.

Keys: ``(out of, host)``, ``(into, host)`` and ``(starts on, host)``.
"""

OUT, INTO, START = "out of", "into", "starts on"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many moves one host may send, and how many it may receive, at a time.

    Of all operations together.
    """

    out: int = 1
    into: int = 1


def ends(steps: Iterable[Step]) -> Ends:
    """The ends of those steps that are moves or starts."""
    found: Ends = Counter()
    for step in steps:
        if isinstance(step, MigrateVm):
            found.update(((OUT, step.source), (INTO, step.target)))
        elif step.lane is not None and step.lane.host:
            found[START, step.lane.host] += 1
    return found


def under_way(operations: Iterable[Operation]) -> Ends:
    """The ends of every move under way in these operations."""
    return ends(
        operation.plan.steps[index] for operation in operations for index in operation.under_way
    )


def may_begin(operation: Operation, elsewhere: Ends, limits: Limits) -> tuple[int, ...]:
    """Indexes of the steps that may begin now, in the plan's order.

    Only moves, and steps of one wave, run side by side. A move waits for every earlier step that is
    not done and touches the same guest, is no move, or leaves the host that the move goes to (it
    may need the room): so hosts never hold more than the plan, taken step by step, would have had
    them hold. Beyond that, ``limits`` count.

    Args:
        operation: running.
        elsewhere: the ends of other operations' moves under way.
        limits: per host.
    """
    steps, begun = operation.plan.steps, set(operation.under_way)
    earlier: list[Step] = []
    taken = elsewhere + ends(steps[index] for index in begun)
    found = []
    for index in operation.todo:
        step = steps[index]
        if (
            index not in begun
            and not any(_waits(step, each) for each in earlier)
            and _fits(step, taken, limits)
        ):
            found.append(index)
            taken += ends((step,))
        earlier.append(step)
    return tuple(found)


def _waits(step: Step, earlier: Step) -> bool:
    if step.lane is not None and earlier.lane is not None and step.lane.wave == earlier.lane.wave:
        return not set(step.vms).isdisjoint(earlier.vms)
    if not isinstance(step, MigrateVm) or not isinstance(earlier, MigrateVm):
        return True
    return step.uuid == earlier.uuid or step.target == earlier.source


def _fits(step: Step, taken: Ends, limits: Limits) -> bool:
    if step.lane is not None and step.lane.host:
        return taken[START, step.lane.host] < step.lane.most
    if not isinstance(step, MigrateVm):
        return True
    return taken[OUT, step.source] < limits.out and taken[INTO, step.target] < limits.into


def holding(step: Step, operations: Sequence[Operation], limits: Limits) -> Operation | None:
    """The operation for whose moves a step has to wait; None when it need not."""
    if _fits(step, under_way(operations), limits) or not isinstance(step, MigrateVm):
        return None
    mine = {(OUT, step.source), (INTO, step.target)}
    return next((each for each in operations if mine & set(under_way((each,)))), None)
