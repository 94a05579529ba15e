"""What states are called in messages, for the bot and all plugins."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.card import said_elsewhere
from bot.domain.cluster import (
    OS_CRASHED,
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    STARTING_UP,
    VmState,
)
from bot.domain.message import Message, Words, words
from bot.domain.operation import State

VM_STATES: Mapping[VmState, Message] = {
    VmState.RUNNING: words("running"),
    VmState.PAUSED: words("paused"),
    VmState.SUSPENDED: words("suspended"),
    VmState.SHUT_OFF: words("powered off"),
    VmState.CRASHED: words("crashed"),
    VmState.SHUTTING_DOWN: words("shutting down"),
    VmState.UNKNOWN: words("in an unknown state"),
}
"""What stands behind “the VM is”."""


def state_word(state: str) -> Message:
    """A VM's state as samples have it: the value of a ``VmState``, or what a past bot wrote."""
    known = state in {each.value for each in VmState}
    return VM_STATES[VmState(state)] if known else said_elsewhere(state)


STATE_REASONS: Mapping[str, Message] = {
    "user": words("on request"),
    "migration": words("by a migration"),
    "save": words("its memory is being saved"),
    "dump": words("its memory is being dumped"),
    "ioerror": words("disk error"),
    "watchdog": words("by its watchdog"),
    "from snapshot": words("restored from a snapshot"),
    "shutting down": words("shutting down"),
    "snapshot": words("a snapshot is being taken"),
    OS_CRASHED: words("its operating system crashed"),
    STARTING_UP: words("starting"),
    POSTCOPY_SOURCE: words("post-copy: it runs on another host"),
    POSTCOPY_INCOMING: words("post-copy: its memory is still arriving"),
    POSTCOPY_FAILED: words("post-copy failed"),
}
"""Why libvirt says that a VM is paused, or runs with part of its memory (``Vm.paused_by``)."""


def reason_text(reason: str) -> Message:
    """Why a VM is paused; ``reason`` as in ``Vm.paused_by``."""
    return STATE_REASONS.get(reason) or words("no reason given")


def state_text(state: VmState, reason: str) -> Message:
    """A VM's state, with its reason where there is one: “paused (disk error)”."""
    if not reason:
        return VM_STATES[state]
    return words("{state} ({reason})", state=VM_STATES[state], reason=reason_text(reason))


OPERATION_STATES: Mapping[State, Words] = {
    State.PROPOSED: words("proposed"),
    State.APPROVED: words("approved"),
    State.RUNNING: words("running"),
    State.DONE: words("done"),
    State.FAILED: words("failed"),
    State.CANCELLED: words("cancelled"),
    State.DENIED: words("denied"),
    State.WITHDRAWN: words("withdrawn"),
    State.EXPIRED: words("expired"),
    State.STALE: words("stale"),
}
"""What stands behind “the operation is”."""
