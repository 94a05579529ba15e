"""Pure: how long each VM is away in a failover.

Foretold from its plan and measured from its stored moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain.card import Card, Context, Element, Line, Section, Table
from bot.domain.message import Duration, Message, join, nwords, words
from bot.domain.operation import Operation
from bot.domain.steps import Step
from bot.plugin_api import View
from plugins.failover.intents import ATTEST, FAILOVER, Failover, Report
from plugins.failover.steps import AwaitReady, ConfirmOff, RestartVm

_FENCE, _START, _BOOT = 12.0, 3.0, 30.0  # seconds, typical
_RECENT = 200  # operations among which the newest failover is looked for


@dataclass(frozen=True, slots=True)
class Recovery:
    """One VM's way back. Seconds, each part after the one before; None: not known, or not yet.

    ``noticed``: from the last sign of life of its host to the proposal; ``decided``: to the last
    vote; ``fenced``: to the proof that the host is off; ``started``: until its process runs;
    ``booted``: until it is ready, where that is waited for. ``foretold``: from the last vote on.
    """

    name: str
    target: str
    noticed: float | None = None
    decided: float | None = None
    fenced: float | None = None
    started: float | None = None
    booted: float | None = None
    foretold: float | None = None
    skipped: Message = ""

    @property
    def whole(self) -> float | None:
        """From its host's last sign of life until it runs, or is ready; None: it does not run."""
        if self.noticed is None or self.started is None:
            return None
        parts = (self.noticed, self.decided, self.fenced, self.started, self.booted)
        return sum(each for each in parts if each is not None)


def forecast(steps: Sequence[Step]) -> dict[str, float]:
    """Seconds from the last vote until each VM runs, by UUID: fence, proof, then wave by wave."""
    total = _FENCE + sum(each.reads * each.every for each in steps if isinstance(each, ConfirmOff))
    starts = [each for each in steps if isinstance(each, RestartVm)]
    awaited = {each.wave for each in steps if isinstance(each, AwaitReady)}
    found: dict[str, float] = {}
    for wave in sorted({each.wave for each in starts}):
        mine = [each for each in starts if each.wave == wave]
        total += _START * max(
            -(-sum(each.target == one.target for each in mine) // one.most) for one in mine
        )
        total += _BOOT if wave in awaited else 0.0
        found |= dict.fromkeys((each.uuid for each in mine), total)
    return found


def measure(operation: Operation) -> tuple[Recovery, ...]:
    """Each VM of a failover, from the moments that were stored as it went.

    All moments are of this bot's clock or of its replicas'; no host's clock is compared.
    """
    steps = operation.plan.steps
    ended = {each.index: each.at for each in operation.ended}
    skipped = {each.index: each.why.text for each in operation.skipped}
    before = [index for index, step in enumerate(steps) if not _is_start(step)]
    all_done = all(index in ended for index in before)
    proven = max((ended[index] for index in before), default=None) if all_done else None
    ready = {
        step.uuid: ended[index]
        for index, step in enumerate(steps)
        if isinstance(step, AwaitReady) and index in ended
    }
    foretold = forecast(steps)
    intent = operation.intent
    heard = intent.evidence.last_heard if isinstance(intent, Failover) and intent.evidence else None
    return tuple(
        Recovery(
            step.name,
            step.target,
            _between(heard, operation.proposed_at),
            _between(operation.proposed_at, operation.began_at),
            _between(operation.began_at, proven),
            _between(proven, ended.get(index)),
            _between(ended.get(index), ready.get(step.uuid)),
            foretold.get(step.uuid),
            skipped.get(index, ""),
        )
        for index, step in enumerate(steps)
        if isinstance(step, RestartVm)
    )


def _is_start(step: Step) -> bool:
    return isinstance(step, RestartVm | AwaitReady)


def _between(before: datetime | None, after: datetime | None) -> float | None:
    if before is None or after is None:
        return None
    return max(0.0, (after - before).total_seconds())


def newest(operations: Iterable[Operation]) -> Operation | None:
    """The newest failover that began."""
    return next(
        (
            each
            for each in operations
            if each.action in {FAILOVER, ATTEST} and each.began_at is not None
        ),
        None,
    )


def report(about: Report, view: View) -> Card:
    """``failover report``: how long each VM was away, part by part."""
    title = words("Failover")
    found = (
        view.history.operation(about.operation)
        if about.operation
        else newest(view.history.operations(limit=_RECENT))
    )
    if found is None or found.action not in {FAILOVER, ATTEST}:
        said = words("No failover was carried out.")
        if found is not None:
            said = words("{id} is no failover.", id=found.id)
        return Card(said, title, (Section(said),))
    return card(found)


def card(operation: Operation) -> Card:
    """A failover's VMs with their times."""
    found = measure(operation)
    back = [each for each in found if each.whole is not None]
    host = operation.intent.host if isinstance(operation.intent, Failover) else ""
    said = nwords(
        "{back} of {n} VM of {host} runs elsewhere ({id}).",
        "{back} of {n} VMs of {host} run elsewhere ({id}).",
        n=len(found),
        back=len(back),
        host=host,
        id=operation.id,
    )
    columns = (
        words("VM"),
        words("Host"),
        words("Noticed"),
        words("Decided"),
        words("Fenced"),
        words("Started"),
        words("Booted"),
        words("In all"),
        words("Predicted"),
    )
    elements: list[Element] = [Section(said)]
    if found:
        elements.append(Table(columns, tuple(_row(each) for each in found), frozenset(range(2, 9))))
    if skipped := [words("{vm}: {why}", vm=e.name, why=e.skipped) for e in found if e.skipped]:
        elements.append(Section(join(skipped, "\n")))
    small = words(
        "Noticed: from the last sign of life to the proposal. Predicted: from the last vote on."
    )
    return Card(said, words("Failover"), (*elements, Context((small,))))


def _row(each: Recovery) -> tuple[Line, ...]:
    parts = (
        each.noticed,
        each.decided,
        each.fenced,
        each.started,
        each.booted,
        each.whole,
        each.foretold,
    )
    return (each.name, each.target, *(_seconds(part) for part in parts))


def _seconds(value: float | None) -> Line:
    return "–" if value is None else words("{time}", time=Duration(value))
