"""Pure: what changed about a VM between the approval of its move and now."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import Scheduler, Vm
from bot.domain.message import Message, Percent, Size, joined, words
from bot.domain.plan import Objection
from bot.domain.steps import Carried, MigrateVm

AUTOSTART, SCHEDULER = words("autostart"), words("CPU scheduling")
DEFAULT_PERIOD = 100_000  # microseconds; libvirt's own when none is set


def list_changes(step: MigrateVm, vm: Vm, now: Carried) -> Iterator[Objection]:
    """Yield each difference between what was approved and what ``vm`` is now."""
    if vm.name != step.name:
        yield Objection(
            "renamed",
            words("{vm} is now called {now}.", vm=step.name, now=vm.name),
            words("Check the new plan."),
        )
    if vm.memory != step.memory:
        yield Objection(
            "memory-changed",
            words(
                "{vm} now has {now} of memory; the plan says {then}.",
                vm=step.name,
                now=Size(vm.memory),
                then=Size(step.memory),
            ),
            words("Check the new plan."),
        )
    if now != step.carried:
        yield Objection(
            "carried-changed",
            words(
                "{vm} was changed: {changes}.",
                vm=step.name,
                changes=joined(_differences(step.carried, now), "; "),
            ),
            words("Check the new plan."),
        )


def _differences(then: Carried, now: Carried) -> Iterator[Message]:
    switches = (
        (AUTOSTART, then.autostart, now.autostart),
        (words("paused"), then.paused, now.paused),
        (words("persistent"), then.persistent, now.persistent),
    )
    for what, before, after in switches:
        if before != after:
            yield _difference(what, _yes_or_no(on=before), _yes_or_no(on=after))
    if then.scheduler != now.scheduler:
        yield _difference(SCHEDULER, scheduler_text(then.scheduler), scheduler_text(now.scheduler))


def _difference(what: Message, before: Message, after: Message) -> Message:
    return words("{what} {before} → {after}", what=what, before=before, after=after)


def _yes_or_no(*, on: bool) -> Message:
    return words("yes") if on else words("no")


def scheduler_text(scheduler: Scheduler) -> Message:
    """CPU shares and limit: ``shares 1024, limit 30% per vCPU``."""
    limit: Message = words("no limit")
    if scheduler.capped and scheduler.vcpu_quota:
        share = scheduler.vcpu_quota / (scheduler.vcpu_period or DEFAULT_PERIOD)
        limit = words("limit {share} per vCPU", share=Percent(share))
    if scheduler.cpu_shares is None:
        return limit
    return words("shares {shares}, {limit}", shares=scheduler.cpu_shares, limit=limit)
