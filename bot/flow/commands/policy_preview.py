"""What the policy asks of one command with its arguments, planned now; nothing is proposed."""

from __future__ import annotations

from bot.domain import policy as policies
from bot.domain.card import Card, Context, Section
from bot.domain.errors import UsageError
from bot.domain.message import Code, Join, Message, Names, Words, nwords, words
from bot.domain.operation import Origin, Proposed
from bot.domain.plan import Refused
from bot.flow.commands.parse import Parsed, command_of, parse
from bot.flow.context import Services
from bot.flow.operations import operation_cards, scheduled
from bot.flow.operations.propose import consider
from bot.plugin_api import Action, Picked, Query
from bot.ports import Request


def answer(services: Services, request: Request, line: str) -> Card | None:
    """Who would have to approve this very line; None where it is no command with arguments.

    Raises:
        UsageError: the command does not take these arguments.
    """
    try:
        command, rest = command_of(services.catalog, services.slash, line)
    except UsageError:
        return None
    if not rest:
        return None
    if isinstance(command, Query):
        return _card(line, words("{command} only reads: it needs no vote.", command=Code(line)))
    found = parse(services.catalog, services.slash, line)
    if not isinstance(command, Action) or found.intent is None or isinstance(found.intent, Picked):
        return None
    return _plan_card(services, request, line, found)


def _plan_card(services: Services, request: Request, line: str, found: Parsed) -> Card:
    """The line planned as if it were asked for."""
    reason = str(getattr(found.intent, "reason", "") or "")
    typed = f"{services.slash} {line}"
    origin = Origin(request.by, request.channel, typed, request.key, reason, via=request.via)
    slot = scheduled.slot_of(services, found.timing)
    planned = consider(
        services, services.catalog.action(found.command.name), found.intent, origin, slot=slot
    )
    if isinstance(planned, Refused):
        return operation_cards.refused_card(planned)
    if isinstance(planned, policies.MayNot):
        return operation_cards.may_not_card(planned)
    return _card(line, _demand(planned))


def _demand(planned: Proposed) -> Words:
    ruling, title = planned.ruling, planned.plan.title
    if not ruling.votes:
        return words("{title}: no vote is needed, by rule “{rule}”.", title=title, rule=ruling.rule)
    return nwords(
        "{title}: it takes {n} vote from {roles}, by rule “{rule}”.",
        "{title}: it takes {n} votes from {roles}, by rule “{rule}”.",
        n=ruling.votes,
        title=title,
        roles=Names(ruling.approvers, Join.OR),
        rule=ruling.rule,
    )


def _card(line: str, said: Message) -> Card:
    nothing = words("Nothing was proposed. The rules are looked up again at each vote.")
    title = words("Policy for {command}", command=line)
    return Card(said, title, (Section(said), Context((nothing,))))
