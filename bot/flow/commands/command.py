"""What people type: a query's answer, a form, a refusal or a proposal.

Every outcome reaches the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.domain import policy as policies
from bot.domain.card import Card, error_card
from bot.domain.errors import DroverError, UsageError
from bot.domain.message import words
from bot.domain.operation import Origin
from bot.flow.commands import decisions, live_message, queries, query_cards
from bot.flow.commands.buttons import ButtonAction, Lane, Permission
from bot.flow.commands.parse import as_typed, options, parse, usage
from bot.flow.commands.working import Working
from bot.flow.context import Services, asker, roles_of, whisper
from bot.flow.operations import operation_cards, partial_approval
from bot.flow.operations.propose import propose
from bot.plugin_api import Action, Asker, Command, Counted, Decision, Picked, Query
from bot.ports import Request

FORM = "cmd:"  # how the dialogs of commands are named


def answer(services: Services, request: Request) -> None:
    """Answer a command line: a query's card, a refusal, or a proposal.

    Every outcome reaches the person.
    """
    card = outcome(services, request)
    if card is not None:
        whisper(services, request, card)


def outcome(services: Services, request: Request) -> Card | None:
    """What a command line is answered to who typed it; None when it was said already."""
    try:
        return _answer(services, request)
    except DroverError as error:
        return error_card(error.text, error.advice)


def run(services: Services, request: Request) -> Card | None:
    """Type the button's command for whoever pressed it."""
    return outcome(services, replace(request, kind="command", text=request.value))


def from_form(services: Services, request: Request) -> Card | None:
    """Answer a command's dialog as if its answers had been typed.

    The dialog remembers where it was opened.
    """
    name = request.action.removeprefix(FORM)
    command_of = services.catalog.commands.get(name)
    if command_of is None:
        raise UsageError(
            words("There is no command “{name}” any more.", name=name),
            words("See all with `help`."),
        )
    line = f"{name} {as_typed(command_of.grammar, dict(request.answers))}"
    channel = request.channel or request.value  # a dialog of version 0.1 has it there
    return outcome(services, replace(request, kind="command", text=line, channel=channel))


def _answer(services: Services, request: Request) -> Card | None:
    if open_form(services, request):
        return None
    found = parse(services.catalog, services.slash, request.text)
    if isinstance(found.command, Decision) and not found.help:
        return decisions.answer(services, request, found.intent)
    person = asker(services, request)
    if refusal := _refusal(services, found.command, person):
        return refusal
    if found.help:
        return _help(services, found.command)
    with Working(services, request, found.command.name) as working:
        if isinstance(found.command, Query):
            return _look(
                services, request, found.command, found.intent, person, counted=working.count
            )
        action = services.catalog.action(found.command.name)
        return _propose(services, action, found.intent, request)


def _refusal(services: Services, command: Command, person: Asker) -> Card | None:
    """Why this person may not use a command; of what decides, the button knows."""
    may = isinstance(command, Decision) or policies.may_ask(
        services.policy, command.name, person.roles
    )
    if may:
        return None
    roles = tuple(policies.who_may(services.policy, command.name))
    advice = (
        words("It takes one of the roles: {roles}. Ask an administrator.", roles=roles)
        if roles
        else words("No role may use it. Ask an administrator.")
    )
    return operation_cards.note_card(
        words("You may not use `{command}`.", command=command.name), advice
    )


def _help(services: Services, command: Command) -> Card:
    """Everything about one command."""
    slash, name = services.slash, command.name
    return query_cards.usage_card(
        usage(command, slash),
        command.grammar,
        options(command),
        example=f"{slash} {command.example}" if command.example else "",
        related=[
            f"{slash} {each}" for each in services.catalog.commands if each.startswith(f"{name} ")
        ],
    )


def _look(
    services: Services,
    request: Request,
    query: Query,
    intent: Any,
    person: Asker,
    *,
    counted: Counted,
) -> Card | None:
    """A query's answer; None when it is posted for all."""
    if request.channel and (query.live or query.public(intent)):  # a home tab is for one alone
        live_message.posted(services, query, intent, person, request)
        return None
    return queries.answer(services, query, intent, person, counted)


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
    return _with_form(services, request) is not None


def open_form(services: Services, request: Request) -> bool:
    """Open a command's dialog when the command is typed without arguments and has one."""
    bare = _with_form(services, request)
    if bare is None or bare.form is None:
        return False
    if not policies.may_ask(services.policy, bare.name, roles_of(services, request.by)):
        return False  # the refusal is told as for a typed command
    form = replace(bare.form(), action=f"{FORM}{bare.name}")
    services.chat.open_form(request.trigger, form, locale=request.locale, place=request.place)
    return True


def _with_form(services: Services, request: Request) -> Query | Action | None:
    """The command that is typed without arguments and has a dialog, where one can be opened."""
    bare = services.catalog.commands.get(" ".join(request.text.lower().split()))
    if bare is None or isinstance(bare, Decision) or bare.form is None:
        return None
    return bare if request.trigger else None


ACTIONS: Mapping[str, ButtonAction] = {
    "run": ButtonAction(run, Permission.COMMAND, click=Lane.WORK, on_operation=False),
    FORM: ButtonAction(from_form, Permission.COMMAND, on_operation=False),
}
"""The buttons and dialogs of commands."""
