"""The only impure file: sets a guest's CPU priority and ceiling, and measures that a ceiling holds."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bot.declare import Settled
from bot.domain.cluster import Scheduler
from bot.domain.errors import DroverError
from bot.ports import Hypervisor, Progress
from plugins.balance import cards
from plugins.balance.settings import BalanceSettings
from plugins.balance.shares import PERIOD, same_ceiling
from plugins.balance.steps import SetScheduler


def settle(step: SetScheduler, hypervisor: Hypervisor) -> Settled:
    """Whether the host reports what is wanted."""
    present = hypervisor.scheduler(step.host, step.uuid)
    shares = step.wanted.cpu_shares in (None, present.cpu_shares)
    return Settled.DONE if shares and same_ceiling(step.wanted, present) else Settled.NOT_YET


def run(
    settings: BalanceSettings, step: SetScheduler, hypervisor: Hypervisor, progress: Progress
) -> Mapping[str, str | int | float | bool]:
    """Set it, live and in the definition; a ceiling is then measured, for a report of it is no proof.

    Raises:
        DroverError: the guest uses clearly more than its ceiling although the host reports it.
    """
    hypervisor.set_scheduler(step.host, step.uuid, step.wanted)
    if not step.wanted.capped:
        return {}
    progress.say(cards.measuring(step.name))
    used, cap = measured(settings, step, hypervisor, progress), cap_cores(step.wanted, step.vcpus)
    if used > cap * (1 + settings.cpu_broken):
        raise DroverError(*cards.does_not_hold(step.name, used, cap))
    return {"cores_used": round(used, 3), "ceiling_cores": round(cap, 3)}


def measured(settings: BalanceSettings, step: SetScheduler, hypervisor: Hypervisor, progress: Progress) -> float:
    """Cores that the guest uses over ``cpu_check_seconds``."""
    before, began = hypervisor.cpu_seconds(step.host, step.uuid), time.monotonic()
    progress.sleep(settings.cpu_check_seconds)
    used = hypervisor.cpu_seconds(step.host, step.uuid) - before
    return used / max(settings.cpu_check_seconds, time.monotonic() - began)


def cap_cores(scheduler: Scheduler, vcpus: int) -> float:
    """A ceiling in cores."""
    return vcpus * (scheduler.vcpu_quota or 0) / (scheduler.vcpu_period or PERIOD)
