"""Pure: why a VM in the state that it is in cannot do what is asked, and what to type instead."""

from __future__ import annotations

from bot.domain.cluster import OS_CRASHED, POSTCOPY_FAILED, STARTING_UP, WAITING, Vm, VmState
from bot.domain.message import Message, join, words
from bot.domain.plan import Objection
from bot.domain.state_names import VM_STATES, reason_text
from plugins.vm_lifecycle import texts

HALF_MOVED = WAITING | {POSTCOPY_FAILED}
"""Why a VM is paused that a migration left so: it may run on the other host."""


def unable_to_resume(vm: Vm) -> Objection | None:
    """The objection to resuming a paused VM; None when it can be resumed."""
    if vm.paused_by in HALF_MOVED:
        return Objection(
            "half-moved",
            words(
                "A migration that failed left {vm} paused on {host} ({cause}).",
                vm=vm.name,
                host=vm.host,
                cause=reason_text(vm.paused_by),
            ),
            words("Check both hosts first: the VM may run on the other one."),
        )
    if vm.paused_by == STARTING_UP:
        return Objection(
            "starting",
            words("{vm} is starting on {host}.", vm=vm.name, host=vm.host),
            words("Wait until it runs, then ask again."),
        )
    return None


def unable_to_react(vm: Vm) -> Objection | None:
    """The objection to a request that the VM's own system must react to; None when it can."""
    off = texts.chat("vm force-off {}", vm.name)
    if vm.state is VmState.SUSPENDED:
        return _asleep(vm)
    if vm.state is VmState.SHUTTING_DOWN:
        return Objection(
            "in-shutdown",
            words("{vm} is already shutting down on {host}.", vm=vm.name, host=vm.host),
            words("Wait until it is off, or force it off with {off}.", off=off),
        )
    if vm.state is not VmState.PAUSED:
        return None
    if vm.paused_by == OS_CRASHED:
        return Objection(
            "crashed",
            words("The operating system of {vm} crashed on {host}.", vm=vm.name, host=vm.host),
            words(
                "Look at it, then restart it with {reboot}, or force it off with {off}.",
                reboot=texts.chat("vm reboot {}", vm.name),
                off=off,
            ),
        )
    return unable_to_resume(vm) or Objection(
        "paused",
        words(
            "{vm} is paused on {host}, so its own system does not react.",
            vm=vm.name,
            host=vm.host,
        ),
        words(
            "Resume it first with {resume}, or force it off with {off}.",
            resume=texts.chat("vm resume {}", vm.name),
            off=off,
        ),
    )


def _asleep(vm: Vm) -> Objection:
    return Objection(
        "asleep",
        words(
            "{vm} on {host} is asleep (its own system suspended it to memory) and does not react.",
            vm=vm.name,
            host=vm.host,
        ),
        words(
            "Wake it with {resume}, or force it off with {off}.",
            resume=texts.chat("vm resume {}", vm.name),
            off=texts.chat("vm force-off {}", vm.name),
        ),
    )


def must_be_off(vm: Vm, only: Message) -> Objection:
    """The objection to a request that needs a powered-off VM; ``only`` says which."""
    text = join((words("{vm} is {state}.", vm=vm.name, state=VM_STATES[vm.state]), only))
    return Objection("runs", text, way_off(vm))


def way_off(vm: Vm) -> Message:
    """How the VM gets off; a paused or sleeping one must run before it can shut down."""
    shutdown = texts.chat("vm shutdown {}", vm.name)
    if not vm.persistent:
        return words(
            "It is transient: when it is off, it is gone. Store its definition first, with "
            "`virsh define` on {host}.",
            host=vm.host,
        )
    unable = unable_to_react(vm)
    if unable is None:
        return words("Shut it down first: {command}.", command=shutdown)
    if unable.code in {"paused", "asleep"}:
        return words(
            "Resume it first with {resume}, then shut it down with {shutdown}.",
            resume=texts.chat("vm resume {}", vm.name),
            shutdown=shutdown,
        )
    if unable.code == "crashed":
        off = texts.chat("vm force-off {}", vm.name)
        return words("Its operating system crashed: force it off with {off}.", off=off)
    return unable.remedy
