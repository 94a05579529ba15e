"""Titles of plans and refusals, and the cards about VMs whose time to live ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.domain.card import Card, Section
from bot.domain.cluster import OS_CRASHED, Vm
from bot.domain.errors import Remedy
from bot.domain.message import Message, Names, Value, When, Words, nwords, words
from bot.domain.owner import OWNER, tag_value
from bot.domain.plan import Objection
from bot.domain.state_names import VM_STATES
from bot.domain.timing import Slot
from bot.domain.words import command
from plugins.vm_lifecycle.vm_states import unable_to_resume

_MOST_NAMED = 6  # VMs that a title names

# --- titles

_REFUSED: dict[tuple[str, str], Words] = {
    ("VmVerb", "start"): words("Cannot start {vm}"),
    ("VmVerb", "shutdown"): words("Cannot shut down {vm}"),
    ("VmVerb", "reboot"): words("Cannot reboot {vm}"),
    ("VmVerb", "force-off"): words("Cannot force off {vm}"),
    ("VmVerb", "pause"): words("Cannot pause {vm}"),
    ("VmVerb", "resume"): words("Cannot resume {vm}"),
    ("VmVerb", "undelete"): words("Cannot undelete {vm}"),
    ("VmVerb", "purge"): words("Cannot purge {vm}"),
    ("VmVerb", "discard-memory"): words("Cannot discard the saved memory of {vm}"),
    ("NewSize", ""): words("Cannot resize {vm}"),
    ("NewName", ""): words("Cannot rename {vm}"),
    ("NewClone", ""): words("Cannot clone {vm}"),
    ("NewAutostart", ""): words("Cannot change autostart of {vm}"),
    ("NewTags", ""): words("Cannot change the tags of {vm}"),
    ("NewTtl", ""): words("Cannot change the TTL of {vm}"),
    ("Deletion", ""): words("Cannot delete {vm}"),
    ("SnapshotWish", "create"): words("Cannot take a snapshot of {vm}"),
    ("SnapshotWish", "revert"): words("Cannot revert {vm}"),
    ("SnapshotWish", "delete"): words("Cannot delete a snapshot of {vm}"),
    ("DiskWish", "add"): words("Cannot add a disk to {vm}"),
    ("DiskWish", "grow"): words("Cannot grow a disk of {vm}"),
    ("NicWish", "add"): words("Cannot add a NIC to {vm}"),
    ("NicWish", "remove"): words("Cannot remove a NIC of {vm}"),
    ("Ejection", ""): words("Cannot eject a medium of {vm}"),
}
_REFUSED_MANY: dict[tuple[str, str], Words] = {
    ("VmVerb", "start"): words("Cannot start the VMs tagged {tag}"),
    ("VmVerb", "shutdown"): words("Cannot shut down the VMs tagged {tag}"),
    ("VmVerb", "reboot"): words("Cannot reboot the VMs tagged {tag}"),
    ("VmVerb", "force-off"): words("Cannot force off the VMs tagged {tag}"),
    ("VmVerb", "pause"): words("Cannot pause the VMs tagged {tag}"),
    ("VmVerb", "resume"): words("Cannot resume the VMs tagged {tag}"),
    ("Deletion", ""): words("Cannot delete the VMs tagged {tag}"),
}
_TITLES: dict[tuple[str, str], Words] = {
    ("VmVerb", "start"): nwords("Start {n} VM ({vms})", "Start {n} VMs ({vms})", n=2),
    ("VmVerb", "shutdown"): nwords("Shut down {n} VM ({vms})", "Shut down {n} VMs ({vms})", n=2),
    ("VmVerb", "reboot"): nwords("Reboot {n} VM ({vms})", "Reboot {n} VMs ({vms})", n=2),
    ("VmVerb", "force-off"): nwords("Force off {n} VM ({vms})", "Force off {n} VMs ({vms})", n=2),
    ("VmVerb", "pause"): nwords("Pause {n} VM ({vms})", "Pause {n} VMs ({vms})", n=2),
    ("VmVerb", "resume"): nwords("Resume {n} VM ({vms})", "Resume {n} VMs ({vms})", n=2),
    ("Deletion", ""): nwords("Delete {n} VM ({vms})", "Delete {n} VMs ({vms})", n=2),
}
"""Titles of plans of several steps; all other requests have one step, and its title."""


def refused_title(intent: Any) -> Message:
    """The heading of the objections to a request."""
    if intent.vm:
        return replace(_REFUSED[_kind(intent)], args={"vm": intent.vm})
    return replace(_REFUSED_MANY[_kind(intent)], args={"tag": intent.tag})


def title(intent: object, touched: Sequence[Vm]) -> Message:
    """The title of a plan of several steps."""
    names = Names(tuple(vm.name for vm in touched), most=_MOST_NAMED)
    args: dict[str, Value] = {"n": len(touched), "vms": names}
    if len(touched) > 1:
        return replace(_TITLES[_kind(intent)], args=args)
    return replace(_TITLES_OF_ONE[_kind(intent)], args={"vm": touched[0].name})


_TITLES_OF_ONE: dict[tuple[str, str], Words] = {
    ("VmVerb", "reboot"): words("Reboot {vm}"),
    ("Deletion", ""): words("Delete {vm} now"),
}


def _kind(intent: object) -> tuple[str, str]:
    return type(intent).__name__, getattr(intent, "verb", "")


# --- the end of a VM's time to live


def ttl_ends(vm: Vm, ends: datetime) -> Card:
    """The announcement that a VM will be shut down."""
    args: dict[str, Value] = {"vm": vm.name, "host": vm.host, "ends": When(ends)}
    owner = tag_value(OWNER, vm.tags.get(OWNER, ""))
    line = (
        words("*{vm}* on {host} is shut down at {ends}; owner: {owner}.", **args, owner=owner)
        if owner
        else words("*{vm}* on {host} is shut down at {ends}.", **args)
    )
    return Card(words("The TTL of {vm} ends soon", vm=vm.name), elements=(Section(line),))


def ttl_paused(vm: Vm, ends: datetime) -> Card:
    """The TTL of a VM ended that cannot react to a shutdown request."""
    state = VM_STATES[vm.state]
    line = words(
        "The TTL of *{vm}* on {host} ended at {ends}. "
        "The VM is {state}, so it cannot react to a shutdown request.",
        vm=vm.name,
        host=vm.host,
        ends=ends,
        state=state,
    )
    return Card(
        words("The TTL of {vm} ended; the VM is {state}", vm=vm.name, state=state),
        elements=(Section(line),),
    )


def missed_snapshot_card(vm: Vm, schedule: str, last: Slot, coming: Slot) -> Card:
    """A schedule took no snapshot of a VM in its time."""
    line = words(
        "No snapshot of *{vm}* was taken between {start} and {end}, as the schedule “{schedule}” "
        "asks for. The next one is due {next}.",
        vm=vm.name,
        start=When(last.start, weekday=True),
        end=last.end,
        schedule=schedule,
        next=When(coming.start, weekday=True),
    )
    text = words("{vm} missed a snapshot of “{schedule}”", vm=vm.name, schedule=schedule)
    return Card(text, elements=(Section(line),))


def taken_snapshot_card(vm: Vm, schedule: str) -> Card:
    """A snapshot was taken since, or none is due any more."""
    line = words(
        "The newest snapshot of {vm} that the schedule “{schedule}” asks for is there.",
        vm=vm.name,
        schedule=schedule,
    )
    return Card(line, elements=(Section(line),))


def snapshot_now(vm: Vm, name: str) -> tuple[Remedy, ...]:
    """Take the one that was missed, under its name, so that the schedule counts and deletes it."""
    return (Remedy(words("Take it now"), command("vm snapshot create {} {}", vm.name, name)),)


def out_of_pause(vm: Vm) -> tuple[Remedy, ...]:
    """What people can do about a paused VM whose TTL ended."""
    lost = "" if vm.persistent else " --lose-definition"
    off = Remedy(words("Force it off…"), command(f"vm force-off {{}}{lost}", vm.name))
    if vm.paused_by == OS_CRASHED or unable_to_resume(vm):
        return (off,)
    return (Remedy(words("Resume it"), command("vm resume {}", vm.name)), off)


def ttl_transient(vm: Vm, ends: datetime) -> Card:
    """The TTL of a transient VM ended: a person must agree to lose its definition."""
    line = words(
        "The TTL of *{vm}* on {host} ended at {ends}. The VM is transient: a shutdown loses its "
        "definition, so somebody must ask for it.",
        vm=vm.name,
        host=vm.host,
        ends=ends,
    )
    return Card(
        words("The TTL of {vm} ended; the VM is transient", vm=vm.name), elements=(Section(line),)
    )


def end_transient(vm: Vm) -> tuple[Remedy, ...]:
    """What people can do about a transient VM whose TTL ended."""
    return (
        Remedy(
            words("Shut it down and lose its definition…"),
            command("vm shutdown {} --lose-definition", vm.name),
        ),
        longer(vm),
    )


def ttl_doubtful(vm: Vm, ends: datetime, why: Objection) -> Card:
    """The TTL of a VM ended that may run on another host."""
    line = words(
        "The TTL of *{vm}* on {host} ended at {ends}. It is not shut down now: {why} {remedy}",
        vm=vm.name,
        host=vm.host,
        ends=ends,
        why=why.text,
        remedy=why.remedy,
    )
    return Card(
        words("The TTL of {vm} ended; the VM may run elsewhere", vm=vm.name),
        elements=(Section(line),),
    )


def ttl_changed(name: str) -> Card:
    """The TTL was changed, or the VM went off or was deleted."""
    line = words(
        "The TTL shutdown of *{vm}* is cancelled: its `ttl` changed, or it is off.", vm=name
    )
    return Card(words("The TTL shutdown of {vm} is cancelled", vm=name), elements=(Section(line),))


def longer(vm: Vm) -> Remedy:
    """A new TTL of a week."""
    return Remedy(words("Keep it for 7 more days"), command("vm ttl {} 7d", vm.name))


def ttl_over(vm: Vm, ends: datetime) -> Card:
    """The end of the announcement: a shutdown is proposed."""
    line = words(
        "The TTL of *{vm}* on {host} ended at {ends}.", vm=vm.name, host=vm.host, ends=ends
    )
    return Card(words("The TTL of {vm} ended", vm=vm.name), elements=(Section(line),))
