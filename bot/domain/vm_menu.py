"""What can be done with a VM in its state, as buttons that type it or open its dialog."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from bot.domain.card import Button
from bot.domain.cluster import (
    OS_CRASHED,
    POSTCOPY_FAILED,
    STARTING_UP,
    WAITING,
    Vm,
    VmState,
)
from bot.domain.message import Words, words
from bot.domain.pages import MORE, ROW

DELETED = "drover.deleted"  # the tag of a VM in its grace period
SHOW = "vm show"


def vm_buttons(vm: Vm, allowed: Collection[str]) -> tuple[Button, ...]:
    """The buttons of one VM, as far as the commands behind them are allowed; the first shows it."""
    name = f"-- {shlex.quote(vm.name)}" if vm.name.startswith("-") else shlex.quote(vm.name)
    return tuple(
        Button(text, ROW, f"{command} {name}{f' {MORE}' if asks else ''}")
        for text, command, asks in _choices(vm)
        if command in allowed
    )


def _choices(vm: Vm) -> Sequence[tuple[Words, str, bool]]:
    """Label, command, and whether a dialog asks for the rest."""
    show = (words("Show"), SHOW, False)
    if DELETED in vm.tags:
        return (show, (words("Restore…"), "vm undelete", True), (words("Purge…"), "vm purge", True))
    off = (words("Power off at once…"), "vm force-off", True)
    if vm.paused_by in {OS_CRASHED, POSTCOPY_FAILED}:
        return (show, (words("Reboot…"), "vm reboot", True), off)
    if vm.state is VmState.SHUTTING_DOWN or vm.paused_by in {*WAITING, STARTING_UP}:
        return (show, off)
    if vm.state is VmState.RUNNING:
        return (
            show,
            (words("Migrate…"), "migrate", True),
            (words("Shut down…"), "vm shutdown", True),
            (words("Take a snapshot…"), "vm snapshot create", True),
            (words("Console"), "vm console", False),
        )
    if vm.state in (VmState.PAUSED, VmState.SUSPENDED):
        return (show, (words("Resume…"), "vm resume", True), off)
    return (
        show,
        (words("Start…"), "vm start", True),
        (words("Take a snapshot…"), "vm snapshot create", True),
        (words("Clone…"), "vm clone", True),
        (words("Delete…"), "vm delete", True),
    )
