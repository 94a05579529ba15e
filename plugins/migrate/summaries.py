"""What is true of a VM and its hosts when a migration ends; pure."""

from __future__ import annotations

from bot.domain.cluster import Snapshot
from bot.domain.message import words
from bot.domain.operation import Operation, Summary
from bot.domain.steps import MigrateVm
from plugins.migrate.plan_warnings import OLD_FILES


def after_copy(operation: Operation, _seen: Snapshot) -> Summary | None:
    """That the old files of copied disks stay on the source; None when nothing was copied."""
    step = operation.plan.steps[0]
    left = [each.text for each in operation.plan.warnings if each.code == OLD_FILES]
    if operation.todo or not left or not isinstance(step, MigrateVm):
        return None
    title = words(
        "Moved {vm} to {target}, with copies of its disks", vm=step.name, target=step.target
    )
    return Summary(title, left[0])
