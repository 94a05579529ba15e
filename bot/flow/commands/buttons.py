"""The buttons of operations and alerts in one table: from an action's id to who answers it.

A click proves nothing: each handler reads the operation's state, the rules and the person's roles
again, within the compare-and-swap that stores the decision. The table says which permission it asks
for; ``tests/bot/flow/commands/test_buttons.py`` presses every button without it. The commands that
decide (``decisions.py``) come here as well. The buttons and dialogs of commands are in
``command.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from bot.domain.card import Card
from bot.flow.context import Services
from bot.flow.monitoring import incidents
from bot.flow.operations import decide, manual_step, operation_cards, partial_approval, reschedule
from bot.ports import Request

Handler = Callable[[Services, Request], Card | None]
"""Answers a click or a dialog: what to tell the person alone, None when what they see is enough."""


class Lane(StrEnum):
    """Which threads handle a request: nothing quick waits behind anything slow."""

    DIALOG = "dialog"  # opens a dialog; what allows it lives three seconds
    DECISION = "decision"  # a vote, a cancellation: urgent, and quick, for it looks at no host
    WORK = "work"  # all else


class Permission(Enum):
    """What a button asks of who presses it."""

    APPROVER = auto()  # a role that may approve this operation now, and not to be its requester
    REQUESTER = auto()  # to be the requester, who may still ask for the command
    STEER = auto()  # to be that requester, or to have a role that may approve it
    COMMAND = auto()  # a role that may ask for the command
    ANY_ROLE = auto()  # any role of the configuration
    ANYBODY = auto()  # nothing: it is about whoever presses it


@dataclass(frozen=True, slots=True)
class ButtonAction:
    """What pressing a button, or answering a dialog, does.

    ``click`` and ``form``: the lanes of the two. ``stops``: it only stops something, so it is never
    too late. ``on_operation``: it changes or shows an operation, so a home tab in which it was
    pressed is drawn again. ``replaces``: its answer takes the place of the message it stands in.
    """

    handler: Handler
    permission: Permission
    click: Lane = Lane.DECISION
    form: Lane = Lane.WORK
    stops: bool = False
    on_operation: bool = True
    replaces: bool = False


ACTIONS: Mapping[str, ButtonAction] = {
    "op.approve": ButtonAction(decide.approve, Permission.APPROVER),
    "op.deny": ButtonAction(
        decide.deny, Permission.APPROVER, click=Lane.DIALOG, form=Lane.DECISION, stops=True
    ),
    "op.withdraw": ButtonAction(decide.withdraw, Permission.REQUESTER, stops=True),
    "op.cancel": ButtonAction(decide.cancel, Permission.STEER, stops=True),
    operation_cards.MOVE: ButtonAction(reschedule.move, Permission.STEER, click=Lane.DIALOG),
    "op.postcopy": ButtonAction(decide.postcopy, Permission.STEER),
    operation_cards.GO_ON: ButtonAction(manual_step.let_go_on, Permission.STEER),
    operation_cards.PICK: ButtonAction(
        partial_approval.pick, Permission.COMMAND, click=Lane.DIALOG
    ),
    "op.details": ButtonAction(decide.show_details, Permission.ANY_ROLE, click=Lane.WORK),
    "op.again": ButtonAction(decide.propose_again, Permission.COMMAND, click=Lane.WORK),
    "alert.ack": ButtonAction(incidents.acknowledge, Permission.ANY_ROLE, on_operation=False),
    "alert.silence": ButtonAction(incidents.silence, Permission.ANY_ROLE, on_operation=False),
}


def press(services: Services, request: Request) -> Card | None:
    """Do what a button of this table does, whether it was pressed or its command was typed."""
    return ACTIONS[request.action].handler(services, request)
