"""Pure: what becomes of the starts that are left.

When their target dies in the middle of a failover.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bot.domain.cluster import Inbound, Snapshot
from bot.domain.message import Names, words
from bot.domain.steps import Step
from bot.plugin_api import Rechecked, Rules, Underway
from plugins.failover.candidates import StaysOff, Wanted, choose
from plugins.failover.corpses import without_corpses
from plugins.failover.intents import Failover
from plugins.failover.places import place
from plugins.failover.settings import FailoverSettings
from plugins.failover.steps import AwaitReady, RestartVm


def next_good(
    settings: FailoverSettings,
    intent: Failover,
    underway: Underway,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Rechecked:
    """New targets for the starts that have not begun and whose target does not answer any more.

    A start that has begun there is not repeated elsewhere: nothing proves that host off.
    """
    steps = tuple(underway.plan.steps[index] for index in underway.left)
    starts = [each for each in steps if isinstance(each, RestartVm)]
    lost = [each for each in starts if not snapshot.host(each.target).up]
    if not lost:
        return Rechecked()
    seen = replace(
        snapshot,
        inbound=(*snapshot.inbound, *_arrivals(each for each in starts if each not in lost)),
    )
    targets, off = _anew(settings, intent, lost, seen)
    rest = tuple(_move(steps, {each.uuid for each in lost}, targets))
    gone = Names(tuple(sorted({each.target for each in lost})))
    why = words("{host} does not answer any more.", host=gone)
    if off:
        why = words(
            "{host} does not answer any more; these stay off: {vms}.",
            host=gone,
            vms=Names(tuple(each.name for each in off)),
        )
    return Rechecked(rest=rest, why=why)


def _arrivals(starts: Iterator[RestartVm]) -> Iterator[Inbound]:
    return (Inbound(each.uuid, each.lost, each.target, each.memory, "") for each in starts)


def _anew(
    settings: FailoverSettings, intent: Failover, lost: Sequence[RestartVm], seen: Snapshot
) -> tuple[dict[str, str], tuple[StaysOff, ...]]:
    """The new target of each of these VMs, and those that find none."""
    wanted = Wanted(only=tuple(each.name for each in lost))
    mine = {each.uuid for each in lost}
    seen = without_corpses(seen, intent.host, intent.kept)
    candidates, off = choose(settings, seen, intent.host, intent.kept, wanted)
    placed, nowhere = place(
        settings, seen, intent.host, [each for each in candidates if each.vm.uuid in mine]
    )
    targets = {each.candidate.vm.uuid: each.target for each in placed}
    return targets, tuple(each for each in (*off, *nowhere) if each.uuid in mine)


def _move(steps: Sequence[Step], lost: set[str], targets: dict[str, str]) -> Iterator[Step]:
    """The steps with the new targets, without those of VMs that find none."""
    for step in steps:
        if not isinstance(step, RestartVm | AwaitReady) or step.uuid not in lost:
            yield step
        elif step.uuid in targets:
            yield replace(step, target=targets[step.uuid])
