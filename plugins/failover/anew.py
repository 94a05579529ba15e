"""When a plan of this plugin still holds: as long as the planner would still make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bot.domain.cluster import Snapshot
from bot.domain.plan import Objection, Plan, Refused
from bot.plugin_api import Rules

I = TypeVar("I")  # noqa: E741 - an intent


def planned_anew(
    plan: Callable[[I, Snapshot, Rules], Plan | Refused],
) -> Callable[[I, Plan, Snapshot, Rules], tuple[Objection, ...]]:
    """What stands against an approved plan now: why the planner refuses the same intent."""

    def still_good(
        intent: I, _planned: Plan, snapshot: Snapshot, rules: Rules
    ) -> tuple[Objection, ...]:
        again = plan(intent, snapshot, rules)
        return again.objections if isinstance(again, Refused) else ()

    return still_good
