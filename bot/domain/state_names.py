"""What states are called in messages, for the bot and all plugins."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.cluster import VmState
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
