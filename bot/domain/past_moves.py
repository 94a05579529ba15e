"""What earlier live migrations took, and what that says of the next one; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from bot.domain.message import Duration, Message, nwords, words
from bot.domain.operation import Operation, State, StepEnded
from bot.domain.plan import Prediction
from bot.domain.steps import MigrateVm

LEAST = 3  # moves from which on experience says more than the model
LOOK_BACK = 300  # operations in which earlier moves are looked for
MOVED = (State.DONE, State.FAILED, State.CANCELLED)
KEPT = 40  # moves of one kind that are looked at, the newest
SPREAD = 0.25  # a range is at least so far around its middle, as a share of it


@dataclass(frozen=True, slots=True)
class PastMove:
    """A migration that was done: bytes of memory, seconds in all, seconds of pause."""

    uuid: str
    source: str
    target: str
    memory: int
    seconds: float
    pause: float | None


@dataclass(frozen=True, slots=True)
class Experience:
    """Middle and range of what alike moves took, in seconds; ``count`` of them, alike in ``kind``.

    ``pause`` None: it was not measured.
    """

    seconds: float
    fastest: float
    slowest: float
    pause: float | None
    shortest: float | None
    longest: float | None
    count: int
    kind: Message


def done_moves(operations: Iterable[Operation]) -> Iterator[PastMove]:
    """Every plain live migration in operations, newest operation first."""
    for operation in operations:
        for ended in operation.ended:
            step = operation.plan.steps[ended.index]
            took = _seconds(ended, "took")
            if isinstance(step, MigrateVm) and not step.copy_storage and took:
                pause = _seconds(ended, "pause")
                yield PastMove(step.uuid, step.source, step.target, step.memory, took, pause)


class _Operations(Protocol):
    """Where earlier operations are kept."""

    def operations(
        self, *, states: Sequence[State] = (), by: str = "", limit: int = 50
    ) -> tuple[Operation, ...]: ...


def recent_moves(history: _Operations) -> tuple[PastMove, ...]:
    """What live migrations took lately, the newest first."""
    return tuple(islice(done_moves(history.operations(states=MOVED, limit=LOOK_BACK)), KEPT))


def of_several(
    model: Prediction, moves: Sequence[MigrateVm], past: Sequence[PastMove]
) -> Prediction:
    """A prediction of moves one after another by what alike ones took; the model's where unknown.

    Of a move that copies disks earlier ones say nothing. The ends of the range are the sums of the
    ends: moves on the same hosts are slow together.
    """
    found = [
        experience(past, each.uuid, each.source, each.target, each.memory)
        for each in moves
        if not each.copy_storage
    ]
    known = [each for each in found if each is not None]
    if not moves or len(known) < len(moves):
        return model
    basis = nwords(
        "{n} migration, from earlier moves; range of 4 in 5",
        "{n} migrations one after another, from earlier moves; range of 4 in 5",
        n=len(moves),
    )
    return replace(
        model,
        seconds=round(sum(each.seconds for each in known), 3),
        least=round(sum(each.fastest for each in known), 3),
        most=round(sum(each.slowest for each in known), 3),
        basis=basis,
    )


def _seconds(ended: StepEnded, name: str) -> float | None:
    value = ended.facts.get(name)
    return value.seconds if isinstance(value, Duration) else None


def experience(
    moves: Iterable[PastMove], uuid: str, source: str, target: str, memory: int
) -> Experience | None:
    """What the moves most alike say: of this VM, else of these two hosts, else of all.

    Times are scaled by memory; None when there are too few of them.
    """
    known = tuple(moves)
    pair = {source, target}
    of_vm = [each for each in known if each.uuid == uuid]
    of_pair = [each for each in known if {each.source, each.target} == pair]
    kinds = (
        (of_vm, nwords("{n} earlier move of this VM",
                       "{n} earlier moves of this VM", n=len(of_vm))),
        (of_pair, nwords("{n} earlier move between these hosts",
                         "{n} earlier moves between these hosts", n=len(of_pair))),
        (list(known), nwords("{n} earlier move", "{n} earlier moves", n=len(known))),
    )  # fmt: skip
    for found, kind in kinds:
        if len(found) >= LEAST:
            return _of(found[:KEPT], memory, kind)
    return None


def _of(moves: Sequence[PastMove], memory: int, kind: Message) -> Experience:
    times = sorted(each.seconds * memory / max(1, each.memory) for each in moves)
    pauses = sorted(each.pause for each in moves if each.pause is not None)
    middle, fastest, slowest = _range(times)
    if len(pauses) < LEAST:
        return Experience(middle, fastest, slowest, None, None, None, len(moves), kind)
    pause, shortest, longest = _range(pauses)
    return Experience(middle, fastest, slowest, pause, shortest, longest, len(moves), kind)


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and a range that held 4 of 5, and is not narrower than ``SPREAD`` around it."""
    middle = statistics.median(values)
    cut = len(values) // 10
    low, high = values[cut], values[-1 - cut]
    low, high = min(low, middle * (1 - SPREAD)), max(high, middle * (1 + SPREAD))
    return round(middle, 3), round(low, 3), round(high, 3)


def basis_of(found: Experience) -> Message:
    """From what a prediction was made."""
    return words("from {moves}; range of 4 in 5", moves=found.kind)
