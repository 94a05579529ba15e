"""From a request to an answer, or to an operation laid before the approvers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from bot.declare import Action, Query
from bot.domain import policy as policies
from bot.domain.card import Card, error_card
from bot.domain.errors import DroverError, UsageError
from bot.domain.operation import BOT, Approved, Operation, Origin, Proposed, State
from bot.domain.plan import Objection, Plan, Refused
from bot.flow import cards, live, look
from bot.flow.parse import parsed, typed
from bot.flow.world import BUSY, World, asker, commit, roles_of, snapshot
from bot.ports import Request

log = structlog.get_logger()

FORM = "cmd:"  # how the dialogs of commands are named


def command(world: World, request: Request) -> None:
    """Answer a command line: a query's card, a refusal, or a proposal. Every outcome reaches the person."""
    try:
        card = _answered(world, request)
    except DroverError as error:
        card = error_card(error.text, error.advice)
    if card is not None:
        world.chat.whisper(request.channel, request.by, card)


def from_form(world: World, request: Request) -> None:
    """Answer a command's dialog as if its answers had been typed. The dialog remembers the channel."""
    name = request.action.removeprefix(FORM)
    command_of = world.catalog.commands.get(name)
    if command_of is None:
        raise UsageError(f"There is no command “{name}” any more.", "See all with `help`.")
    line = f"{name} {typed(command_of.grammar, dict(request.answers))}"
    command(world, replace(request, kind="command", text=line, channel=request.value))


def _answered(world: World, request: Request) -> Card | None:
    if opened_form(world, request):
        return None
    found = parsed(world.catalog, world.slash, request.text)
    person = asker(world, request)
    if not policies.may_ask(world.policy, found.command.name, person.roles):
        roles = ", ".join(policies.who_may(world.policy, found.command.name)) or "none is configured"
        return cards.note_card(
            f"You may not use `{found.command.name}`.", f"It takes one of the roles: {roles}. Ask an administrator."
        )
    if found.help:
        return cards.note_card(found.help)
    if isinstance(found.command, Query):
        if found.command.live or found.command.public(found.intent):
            return live.posted(world, found.command, found.intent, person, request)
        return look.answer(world, found.command, found.intent, person)
    line = f"{world.slash} {request.text}".strip()
    reason = str(getattr(found.intent, "reason", "") or "")
    origin = Origin(request.by, request.channel, line, request.key, reason)
    return proposed(world, found.command, found.intent, origin)


def opened_form(world: World, request: Request) -> bool:
    """Open a command's dialog when the command is typed without arguments and has one."""
    bare = world.catalog.commands.get(" ".join(request.text.lower().split()))
    if bare is None or bare.form is None or not request.trigger:
        return False
    if not policies.may_ask(world.policy, bare.name, roles_of(world, request.by)):
        return False  # the refusal is told as for a typed command
    world.chat.open_form(request.trigger, replace(bare.form(), action=f"{FORM}{bare.name}", hidden=request.channel))
    return True


def proposed(
    world: World, action: Action, intent: Any, origin: Origin, *, replaces: str = "", plan: Plan | None = None
) -> Card | None:
    """Plan, ask the policy, store and show. The card is for the requester; None when nothing is left to say.

    ``plan``: made already, by a watch; it is still asked about at the last moment, as any other.
    """
    if action.recall:
        intent = action.recall(intent, world.store)
    planned = plan or action.plan(intent, snapshot(world, action.focus(intent)), world.catalog.rules)
    if isinstance(planned, Refused):
        return cards.refused_card(planned)
    if busy := busy_with(world, planned):
        return cards.refused_card(Refused("Not now.", busy))
    roles = roles_of(world, origin.by) if origin.by != BOT else frozenset(world.roles)
    ruling = policies.ruling(world.policy, action.name, planned, roles, world.clock.now())
    if isinstance(ruling, policies.MayNot):
        return cards.may_not_card(ruling)
    operation = _stored(world, Proposed(
        at=world.clock.now(),
        by=origin.by,
        action=action.name,
        intent=intent,
        plan=planned,
        ruling=ruling,
        origin=origin,
        expires_at=world.clock.now() + timedelta(seconds=ruling.expires),
        replaces=replaces,
    ))  # fmt: skip
    lay_out(world, operation)
    return cards.proposed_note(operation, "", world.slash)


def _stored(world: World, event: Proposed) -> Operation:
    operation = world.store.propose(event)
    world.screen.tell_plugins(world.catalog.hooks, operation, event)
    return operation


def lay_out(world: World, operation: Operation) -> Operation:
    """Show a proposed operation where approvers look, and approve at once what needs no vote. Safe to repeat."""
    world.screen.post(operation.id, world.places.approvals)
    if operation.state is State.PROPOSED and not operation.ruling.votes:
        operation = commit(world, operation, Approved(world.clock.now(), BOT))
    if operation.state in BUSY:
        world.work.enqueue(operation)
    return operation


def busy_with(world: World, plan: Plan, *, but: str = "") -> tuple[Objection, ...]:
    """Objections for guests that another approved or running operation is working on."""
    mine = {uuid for step in plan.steps for uuid in step.vms}
    return tuple(
        Objection(
            "busy",
            f"{other.id} ({other.plan.title}) is {other.state} and touches the same VM.",
            "Wait until it ends, or cancel it.",
        )
        for other in world.store.operations(states=BUSY, limit=1000)
        if other.id != but and mine & {uuid for step in other.plan.steps for uuid in step.vms}
    )


def again(world: World, operation: Operation, by: str, key: str) -> Card | None:
    """Propose the same intent anew, on the cluster as it is now."""
    origin = replace(operation.origin, by=by, key=key)
    return proposed(world, world.catalog.action(operation.action), operation.intent, origin, replaces=operation.id)
