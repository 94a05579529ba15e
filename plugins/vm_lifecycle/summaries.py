"""What is true of a VM when a change of it ends; pure."""

from __future__ import annotations

from bot.domain.cluster import Snapshot
from bot.domain.errors import Remedy
from bot.domain.message import words
from bot.domain.operation import Operation, Summary
from bot.domain.words import command
from plugins.vm_lifecycle import show
from plugins.vm_lifecycle.steps import ResizeVm


def after_resize(operation: Operation, seen: Snapshot) -> Summary | None:
    """That the new size waits for a restart, with a button for it; None when it has it already."""
    step = operation.plan.steps[0]
    if operation.todo or not isinstance(step, ResizeVm):
        return None
    vm = next((each for each in seen.vms if (each.uuid, each.host) == (step.uuid, step.host)), None)
    if vm is None or not vm.state.active or vm.stored is None:
        return None
    if (vm.stored.vcpus, vm.stored.memory) == (vm.vcpus, vm.memory):
        return None
    return Summary(
        words("Resized {vm}: takes effect at its next start", vm=vm.name),
        words("{size}.", size=show.size_of(vm)),
        complete=False,
        remedies=(Remedy(words("Reboot {vm}", vm=vm.name), command("vm reboot {}", vm.name)),),
    )
