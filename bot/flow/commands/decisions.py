"""Commands that do what the buttons of an operation do.

Approve, deny, withdraw, cancel, retry, continue.

They press the button: whether somebody may, and what becomes of it, its handler decides, as for a
click. A vote is for the plan whose hash is typed; without one, the plan and its hash are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import click

from bot import catalog
from bot.domain.card import Card, Section
from bot.domain.errors import UsageError
from bot.domain.message import Code, Message, Words, nwords, words
from bot.domain.operation import Operation, State
from bot.domain.timing import slot_text
from bot.flow.commands import buttons
from bot.flow.context import Services
from bot.flow.operations import decide, operation_cards
from bot.plugin_api import Decision, Press
from bot.ports import Request

HASH = 8  # characters of a plan hash that must be typed; all of it has 16
ID = "ID"


def answer(services: Services, request: Request, wanted: Press) -> Card | None:
    """Press the button that a typed command stands for.

    Raises:
        UsageError: nothing that the person asked for, or no reason where one is needed.
        UnknownNameError: no such operation.
    """
    operation = _operation(services, request, wanted)
    if wanted.button == "op.approve" and not wanted.digest and operation.open_to_votes:
        return _plan_first(services, request, operation)
    dialog = wanted.button in _NEEDED and not wanted.answers
    if dialog and not request.trigger:
        text, code, example = _NEEDED[wanted.button]
        command = Code(f"{services.slash} {example.format(id=operation.id)}")
        advice = words("Type it behind the id, for example {command}.", command=command)
        raise UsageError(text, advice, code=code)
    pressed = replace(
        request,
        kind="form" if wanted.answers else "click",
        action=wanted.button,
        value=f"{operation.id}:{_button_value(operation, wanted)}",
        answers=wanted.answers,
    )
    card = buttons.press(services, pressed)
    if card is not None or dialog:
        return card
    return done_card(services.store.operation(operation.id), wanted.button)


def lane(text: str) -> buttons.Lane | None:
    """The lane of a typed decision, which is that of its button.

    None when the text is no decision.
    """
    name = text.split(maxsplit=1)[0].lower() if text.strip() else ""
    button = next((each.button for each in DECISIONS if each.name == name), "")
    return buttons.ACTIONS[button].click if button else None


def stops(text: str) -> bool:
    """Whether a typed line is a decision that only stops something.

    Such a decision is never too late.
    """
    name = text.split(maxsplit=1)[0].lower() if text.strip() else ""
    return any(each.name == name and buttons.ACTIONS[each.button].stops for each in DECISIONS)


def _operation(services: Services, request: Request, wanted: Press) -> Operation:
    if wanted.operation:
        return services.store.operation(wanted.operation)
    newest = services.store.operations(by=request.by, limit=1)
    if not newest:
        raise UsageError(
            words("You have not asked for an operation yet."),
            words("`/kvm ops` lists the latest operations."),
            code="nothing-asked-yet",
        )
    return newest[0]


def _button_value(operation: Operation, wanted: Press) -> str:
    """What the button would carry: the hash of the plan that was seen, or where it waits."""
    if wanted.button == operation_cards.GO_ON:
        return operation_cards.HELD if operation.held else str(operation.waiting)
    whole, typed = operation.digest, wanted.digest.lower()
    if wanted.button != "op.approve" or (len(typed) >= HASH and whole.startswith(typed)):
        return whole
    return typed


def _plan_first(services: Services, request: Request, operation: Operation) -> Card:
    """The plan, and what to type to approve exactly this one."""
    value = operation_cards.value_of(operation)
    shown = decide.show_details(services, replace(request, value=value))
    refusal = decide.may_not_vote(services, operation, request.by)
    if refusal is not None:
        return refusal
    command = Code(f"{services.slash} approve {operation.id} {operation.digest[:HASH]}")
    how = words("{command} approves exactly this plan.", command=command)
    return replace(shown, elements=(*shown.elements, Section(how)))


def done_card(operation: Operation, button: str) -> Card:
    """What a decision did, told to who made it where its message is not in sight."""
    said = SAID[button](operation)
    line = words("*{id}* {title}\n{said}", id=operation.id, title=operation.plan.title, said=said)
    return Card(text=operation_cards.id_line(operation, said), elements=(Section(line),))


def _approval_text(operation: Operation) -> Message:
    if operation.votes_missing:
        return nwords(
            "You approved it. It waits for {n} more vote.",
            "You approved it. It waits for {n} more votes.",
            n=operation.votes_missing,
        )
    return words("You approved it. It has all its votes.")


def _cancel_text(operation: Operation) -> Message:
    if operation.state is State.CANCELLED:
        return words("You cancelled it.")
    return words("You cancelled it. It stops as soon as it is safe.")


def _move_text(operation: Operation) -> Message:
    time = "" if operation.slot is None else slot_text(operation.slot)
    if operation.votes_missing:
        return words("It runs {time}. Votes begin anew.", time=time)
    return words("It runs {time}.", time=time)


_NEEDED: Mapping[str, tuple[Message, str, str]] = {
    # no message: a command as it is typed
    "op.deny": (words("A reason is needed."), "reason-missing", "deny {id} not before the backup"),
    operation_cards.MOVE: (words("A time is needed."), "no-time", "reschedule {id} sat 22:00"),
}
"""What must be typed with a decision: what is said without it, its code, and an example."""

SAID: Mapping[str, Callable[[Operation], Message]] = {
    "op.approve": _approval_text,
    "op.deny": lambda _: words("You denied it."),
    "op.withdraw": lambda _: words("You withdrew it."),
    "op.cancel": _cancel_text,
    operation_cards.MOVE: _move_text,
    "op.postcopy": lambda _: words("You asked it to switch to post-copy."),
    operation_cards.GO_ON: lambda _: words("It continues."),
}
"""What is answered to who typed it, when the button says nothing itself."""


_APPROVE = words(
    "Approve exactly the plan with this hash. Without HASH: show the plan and its hash."
)
_DENY = words("Deny a proposed operation. The requester and the audit trail read the reason.")
_AGAIN = words("Propose once more what you asked for last, on the cluster as it is now.")
_WITHDRAW = words("Withdraw an operation that you proposed and that nobody decided on yet.")
_CANCEL = words("Cancel an approved or running operation, as soon as it is safe.")
_CONTINUE = words("Let an operation continue that waits for a person.")
_RESCHEDULE = words(
    "Give an operation that has not begun another time, for example “sat 22:00”, “in 2h” or "
    "“window NAME”. Votes begin anew."
)
_RETRY = words("Propose an operation that ended once more, on the cluster as it is now.")
_DETAILS = words("Show the whole plan of an operation, with its hash.")
_POSTCOPY = words("Switch a running migration to post-copy.")


def _id(_context: click.Context, _parameter: click.Parameter, typed: str) -> str:
    """``op-17`` of ``17``, ``OP-17`` or ``op-17``."""
    number = typed.lower().removeprefix("op-")
    if not number.isdecimal():
        raise UsageError(
            words("“{typed}” is not the id of an operation.", typed=typed),
            words("An id looks like `op-17`; `/kvm ops` lists the latest operations."),
            code="not-an-operation",
        )
    return f"op-{int(number)}"


@click.command("approve", help=str(_APPROVE))
@click.argument("operation", metavar=ID, callback=_id)
@click.argument("digest", metavar="[HASH]", default="")
def _approve(operation: str, digest: str) -> Press:
    """Grammar of `approve`."""
    return Press("op.approve", operation, digest)


@click.command("deny", help=str(_DENY))
@click.argument("operation", metavar=ID, callback=_id)
@click.argument("reason", metavar="[REASON]…", nargs=-1)
def _deny(operation: str, reason: tuple[str, ...]) -> Press:
    """Grammar of `deny`."""
    return Press("op.deny", operation, answers=(("why", " ".join(reason)),) if reason else ())


@click.command("reschedule", help=str(_RESCHEDULE))
@click.argument("operation", metavar=ID, callback=_id)
@click.argument("time", metavar="[TIME]…", nargs=-1)
@click.option("--at", metavar="TIME", default="", help=str(catalog.AT))
@click.option("--in", "after", metavar="DURATION", default="", help=str(catalog.IN))
@click.option("--window", metavar="NAME", default="", help=str(catalog.WINDOW))
def _reschedule(operation: str, time: tuple[str, ...], at: str, after: str, window: str) -> Press:
    """Grammar of `reschedule`."""
    given = (
        " ".join(time),
        at,
        f"in {after}" if after else "",
        f"window {window}" if window else "",
    )
    written = [each for each in given if each]
    if len(written) > 1:
        raise UsageError(words("Two times were given."), words("Write one."), code="two-times")
    return Press(
        operation_cards.MOVE, operation, answers=(("when", written[0]),) if written else ()
    )


def _of_one(name: str, button: str, told: Words) -> click.Command:
    """The grammar of a decision that takes an id and nothing else."""

    @click.command(name, help=str(told))
    @click.argument("operation", metavar=ID, callback=_id)
    def decision(operation: str) -> Press:
        return Press(button, operation)

    return decision


@click.command("again", help=str(_AGAIN))
def _again() -> Press:
    """Grammar of `again`."""
    return Press("op.again")


DECISIONS = (
    Decision(
        "approve",
        words("Approve an operation"),
        _approve,
        "op.approve",
        example="approve op-17 8f03ab12",
        also=("vote", "accept", "ok", "yes", "confirm", "aprovar", "votar"),
    ),
    Decision(
        "deny",
        words("Deny an operation"),
        _deny,
        "op.deny",
        example="deny op-17 not before the backup",
        also=("reject", "refuse", "veto", "no", "recusar", "negar"),
    ),
    Decision(
        "withdraw",
        words("Withdraw what you proposed"),
        _of_one("withdraw", "op.withdraw", _WITHDRAW),
        "op.withdraw",
        example="withdraw op-17",
        also=("retract", "take back", "retirar"),
    ),
    Decision(
        "cancel",
        words("Cancel an approved or running operation"),
        _of_one("cancel", "op.cancel", _CANCEL),
        "op.cancel",
        example="cancel op-17",
        also=("abort", "stop", "kill", "cancelar"),
    ),
    Decision(
        "continue",
        words("Let an operation continue that waits for a person"),
        _of_one("continue", operation_cards.GO_ON, _CONTINUE),
        operation_cards.GO_ON,
        example="continue op-17",
        also=("proceed", "go on", "release", "continuar"),
    ),
    Decision(
        "reschedule",
        words("Give an operation another time"),
        _reschedule,
        operation_cards.MOVE,
        "reschedule op-17 sat 22:00",
        ("postpone", "delay", "move op", "later"),
    ),
    Decision(
        "retry",
        words("Propose an operation that ended once more"),
        _of_one("retry", "op.again", _RETRY),
        "op.again",
        example="retry op-17",
        also=("redo", "rerun", "propose", "repetir"),
    ),
    Decision(
        "again",
        words("Propose once more what you asked for last"),
        _again,
        "op.again",
        example="again",
        also=("repeat", "last"),
    ),
    Decision(
        "details",
        words("The whole plan of an operation"),
        _of_one("details", "op.details", _DETAILS),
        "op.details",
        example="details op-17",
        also=("plan", "op", "show", "info", "describe", "detalhes"),
    ),
    Decision(
        "postcopy",
        words("Switch a running migration to post-copy"),
        _of_one("postcopy", "op.postcopy", _POSTCOPY),
        "op.postcopy",
        example="postcopy op-17",
        also=("post-copy",),
    ),
)
