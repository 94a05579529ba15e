"""What people type: a query's answer, a form, a refusal or a proposal.

Every outcome reaches the person.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.domain import policy as policies
from bot.domain.card import Card, error_card
from bot.domain.errors import DroverError, UsageError
from bot.domain.message import words
from bot.domain.operation import Origin
from bot.flow.commands import live_message, queries, query_cards
from bot.flow.commands.parse import as_typed, options, parse, usage
from bot.flow.context import Services, asker, roles_of, whisper
from bot.flow.operations import operation_cards, partial_approval
from bot.flow.operations.propose import propose
from bot.plugin_api import Action, Picked, Query
from bot.ports import Request

FORM = "cmd:"  # how the dialogs of commands are named


def answer(services: Services, request: Request) -> None:
    """Answer a command line: a query's card, a refusal, or a proposal.

    Every outcome reaches the person.
    """
    try:
        card = _answer(services, request)
    except DroverError as error:
        card = error_card(error.text, error.advice)
    if card is not None:
        whisper(services, request, card)


def from_form(services: Services, request: Request) -> Card | None:
    """Answer a command's dialog as if its answers had been typed.

    The dialog remembers the channel.
    """
    name = request.action.removeprefix(FORM)
    command_of = services.catalog.commands.get(name)
    if command_of is None:
        raise UsageError(
            words("There is no command “{name}” any more.", name=name),
            words("See all with `help`."),
        )
    line = f"{name} {as_typed(command_of.grammar, dict(request.answers))}"
    answer(services, replace(request, kind="command", text=line, channel=request.value))
    return None


def _answer(services: Services, request: Request) -> Card | None:
    if open_form(services, request):
        return None
    found = parse(services.catalog, services.slash, request.text)
    person = asker(services, request)
    if not policies.may_ask(services.policy, found.command.name, person.roles):
        roles = tuple(policies.who_may(services.policy, found.command.name))
        advice = (
            words("It takes one of the roles: {roles}. Ask an administrator.", roles=roles)
            if roles
            else words("No role may use it. Ask an administrator.")
        )
        return operation_cards.note_card(
            words("You may not use `{command}`.", command=found.command.name), advice
        )
    if found.help:
        return query_cards.usage_card(
            usage(found.command, services.slash), found.command.grammar, options(found.command)
        )
    if isinstance(found.command, Query):
        if found.command.live or found.command.public(found.intent):
            live_message.posted(services, found.command, found.intent, person, request)
            return None
        return queries.answer(services, found.command, found.intent, person)
    return _propose(services, found.command, found.intent, request)


def _propose(services: Services, action: Action, intent: Any, request: Request) -> Card | None:
    line = f"{services.slash} {request.text}".strip()
    if isinstance(intent, Picked):
        return partial_approval.pick_by_numbers(services, action, intent, request, line)
    reason = str(getattr(intent, "reason", "") or "")
    return propose(
        services, action, intent, Origin(request.by, request.channel, line, request.key, reason)
    )


def opens_form(services: Services, request: Request) -> bool:
    """Whether a command is typed without arguments and has a dialog."""
    bare = services.catalog.commands.get(_bare(request))
    return bare is not None and bare.form is not None and bool(request.trigger)


def open_form(services: Services, request: Request) -> bool:
    """Open a command's dialog when the command is typed without arguments and has one."""
    bare = services.catalog.commands.get(_bare(request))
    if bare is None or bare.form is None or not request.trigger:
        return False
    if not policies.may_ask(services.policy, bare.name, roles_of(services, request.by)):
        return False  # the refusal is told as for a typed command
    form = replace(bare.form(), action=f"{FORM}{bare.name}", hidden=request.channel)
    services.chat.open_form(request.trigger, form, locale=request.locale)
    return True


def _bare(request: Request) -> str:
    return " ".join(request.text.lower().split())
