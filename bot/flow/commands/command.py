"""What people type: a query's answer, a form, a refusal or a proposal.

Every outcome reaches the person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bot.domain import pages
from bot.domain import policy as policies
from bot.domain.card import Card, error_card
from bot.domain.errors import DroverError, UsageError
from bot.domain.message import Message, join, words
from bot.domain.operation import Operation, Origin
from bot.domain.plan import Plan, Refused
from bot.domain.timing import Timing
from bot.flow import personal_settings
from bot.flow.commands import (
    decisions,
    form_pages,
    forms,
    list_files,
    live_message,
    policy_preview,
    queries,
    query_cards,
    slips,
)
from bot.flow.commands.buttons import ButtonAction, Lane, Permission, press
from bot.flow.commands.form_pages import FORM
from bot.flow.commands.parse import Parsed, as_typed, command_of, options, parse, usage
from bot.flow.commands.working import Working
from bot.flow.context import Services, asker, whisper
from bot.flow.operations import operation_cards, partial_approval, scheduled
from bot.flow.operations.propose import Tried, lay_out_or_answer, try_plan
from bot.plugin_api import Action, Asker, Command, Counted, Decision, Picked, Query
from bot.ports import Request


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


def from_row(services: Services, request: Request) -> Card | None:
    """Do what was chosen in the menu of a row: a line, or the dialog of one that ends in ``…``."""
    line = request.value.removesuffix(pages.MORE)
    typed = replace(request, kind="command", text=line.strip())
    if line == request.value:
        return outcome(services, typed)
    command, rest = command_of(services.catalog, services.slash, typed.text)
    if isinstance(command, Decision):
        return outcome(services, typed)
    if refusal := _refusal(services, command, asker(services, request)):
        return refusal
    _open(services, request, forms.Wanted(command, forms.prefill(command, rest)))
    return None


def from_form(services: Services, request: Request) -> Card | None:
    """Answer a command's dialog as if its answers had been typed; a click opens the dialog again.

    The dialog remembers where it was opened. What is refused can be changed.
    """
    name = request.action.removeprefix(FORM)
    command = services.catalog.commands.get(name)
    if not isinstance(command, Query | Action):
        raise UsageError(
            words("There is no command “{name}” any more.", name=name),
            words("See all with `/kvm help`."),
        )
    answers = form_pages.all_answers(request)
    if request.kind == "click" or form_pages.wants_second(command, request):
        if refusal := _refusal(services, command, asker(services, request)):
            return refusal
        _open(services, request, forms.Wanted(command, answers))
        return None
    line = f"{name} {as_typed(command.grammar, answers)}"
    channel = request.channel or _channel_of(request.value)
    typed = replace(request, kind="command", text=line, channel=channel)
    card = outcome(services, typed)
    if isinstance(command, Query):
        return card
    if _operation_of(services, request):
        return _withdraw(services, request, answers.get(form_pages.INSTEAD, "")) or card
    return card and forms.with_change(card, request)


def _channel_of(hidden: str) -> str:
    """Where a dialog of version 0.1 was opened, which had nothing else to carry."""
    return "" if hidden.startswith("{") else hidden


def _withdraw(services: Services, request: Request, instead: str) -> Card | None:
    """Withdraw the proposal that a dialog's own takes the place of; why it stays, if it does."""
    if not instead:
        return None
    return press(services, replace(request, kind="click", action="op.withdraw", value=instead))


def _operation_of(services: Services, request: Request) -> Operation | None:
    """What a request has become; None for none."""
    newest = services.store.operations(by=request.by, limit=1)
    return newest[0] if newest and newest[0].origin.key == request.key else None


def _answer(services: Services, request: Request) -> Card | None:
    person = asker(services, request)
    with _with_advice(services, request.text, person):
        command, _ = command_of(services.catalog, services.slash, request.text)
    if not isinstance(command, Decision) and (refusal := _refusal(services, command, person)):
        return refusal
    if asked := _dialog(services, request):
        _open(services, request, asked)
        return None
    text, form = request.text, ""
    if isinstance(command, Query):
        text, form = list_files.file_kind(text)
    with _with_advice(services, text, person):
        found = parse(services.catalog, services.slash, text)
    if found.help:
        return _help(services, found.command)
    if isinstance(found.command, Decision):
        return decisions.answer(services, request, found.intent)
    return _carry_out(services, request, found, person, form)


@contextmanager
def _with_advice(services: Services, text: str, person: Asker) -> Iterator[None]:
    """Let the advice about a line that is refused begin with what may be meant."""
    try:
        yield
    except UsageError as error:
        sweep = services.monitor.newest if services.monitor is not None else None
        line = slips.Line(
            text,
            services.catalog,
            services.slash,
            {vm.name for vm in sweep.vms} if sweep is not None else (),
            {host.name for host in sweep.hosts} if sweep is not None else (),
            lambda command: _refusal(services, command, person) is None,
        )
        error.advice = join((line.guess(error), error.advice))
        raise


def _carry_out(
    services: Services, request: Request, found: Parsed, person: Asker, form: str
) -> Card | None:
    """Answer, set or propose. ``form``: of a query the file that is wanted, '' for none."""
    if isinstance(found.intent, personal_settings.Me):
        return personal_settings.answer(services, request, found.intent)
    if refusal := _refusal(services, found.command, person):
        return refusal  # an option may have made it another command
    if isinstance(found.intent, queries.PolicyOf) and (
        card := policy_preview.answer(services, request, found.intent.command)
    ):
        return card
    with Working(services, request, found.command.name) as working:
        if isinstance(found.command, Query):
            look = _as_file if form else _look
            query, intent = found.command, found.intent
            asked = Looking(query, intent, person, working.count, form)
            return look(services, request, asked)
        action = services.catalog.action(found.command.name)
        return _propose(services, action, found.intent, request, found.timing)


def _with_choices(
    services: Services, action: Action, request: Request, found: Tried, card: Card
) -> Card:
    """An answer with the button to what there is to choose.

    Where the plan leaves something open.
    """
    pages, operation = action.pages, found if isinstance(found, Operation) else None
    plan = operation.plan if operation is not None else found
    asked = request.action.startswith(FORM)
    if (
        pages is None
        or asked
        or not isinstance(plan, Plan | Refused)
        or not pages.leaves_open(plan)
    ):
        return card
    _, rest = command_of(services.catalog, services.slash, request.text)
    known = dict(forms.prefill(action, rest))
    if operation is not None:
        known[form_pages.INSTEAD] = operation_cards.value_of(operation)
    return form_pages.with_button(card, pages.button, f"{FORM}{action.name}", known)


@dataclass(frozen=True, slots=True)
class Looking:
    """A query that is asked: by whom, who is told how far it is, and as what file."""

    query: Query
    intent: object
    person: Asker
    counted: Counted
    form: str = ""

    def card(self, services: Services) -> Card:
        """The answer."""
        whole = bool(self.form)
        return queries.answer(
            services, self.query, self.intent, self.person, self.counted, whole=whole
        )


def _refusal(services: Services, command: Command, person: Asker) -> Card | None:
    """Why this person may not use a command; of what decides, the button knows."""
    may = (
        isinstance(command, Decision)
        or command.name == personal_settings.NAME
        or policies.may_ask(services.policy, command.name, person.roles)
    )
    if may:
        return None
    roles = tuple(policies.who_may(services.policy, command.name))
    advice = (
        words("It takes one of the roles: {roles}. Ask an administrator.", roles=roles)
        if roles
        else words("No role may use it. Ask an administrator.")
    )
    return operation_cards.forbidden_card(
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


def _look(services: Services, request: Request, asked: Looking) -> Card | None:
    """A query's answer; None when it is posted for all."""
    query = asked.query
    shared = request.channel and not request.via  # a home tab is for one alone
    if shared and (query.live or query.public(asked.intent)):
        live_message.post(services, query, asked.intent, asked.person, request)
        return None
    return list_files.with_button(asked.card(services), request.text)


def _as_file(services: Services, request: Request, asked: Looking) -> Card | None:
    """Send the list that a query shows as a file; None when it is in sight."""
    name, form = asked.query.name, asked.form
    card, command = asked.card(services), f"{services.slash} {name}"
    file = list_files.name_of(name, form, asked.person.now)
    if form == list_files.TEXT:
        text = list_files.text_of(card, command)
        data, caption = text.encode(), list_files.text_caption(text, file)
        sent = list_files.text_sent_card(file)
    else:
        table = list_files.table_of(card, command)
        data, caption = list_files.content(table, form), list_files.caption(table, file)
        sent = list_files.sent_card(table, file)
    services.messages.answer(
        request.by, lambda: services.chat.send_file(request.by, file, data, caption)
    )
    return None if request.channel.startswith("D") else sent


def _propose(
    services: Services, action: Action, intent: object, request: Request, timing: Timing
) -> Card | None:
    slot = scheduled.slot_of(services, timing)
    line = f"{services.slash} {request.text}".strip()
    if isinstance(intent, Picked):
        if slot is not None:
            raise UsageError(
                words("What is picked keeps the time of its proposal."),
                words("Leave out `--at`, `--in` and `--window`."),
                code="picked-time",
            )
        return partial_approval.pick_by_numbers(services, action, intent, request, line)
    reason = str(getattr(intent, "reason", "") or "")
    origin = Origin(request.by, request.channel, line, request.key, reason, via=request.via)
    found = try_plan(services, action, intent, origin, slot=slot)
    card = lay_out_or_answer(services, found, origin.by)
    return _with_choices(services, action, request, found, card)


def opens_form(services: Services, request: Request) -> bool:
    """Whether a typed line lacks something that a dialog asks for."""
    return _dialog(services, request) is not None


def asks_more(services: Services, request: Request) -> bool:
    """Whether a click, or the answers of a dialog, open a dialog that asks for more."""
    if request.kind == "click":
        return request.action == pages.ROW and request.value.endswith(pages.MORE)
    name = request.action.removeprefix(FORM)
    command = services.catalog.commands.get(name)
    if command is None or not request.action.startswith(FORM):
        return False
    if form_pages.wants_second(command, request):
        return True
    line = f"{name} {as_typed(command.grammar, form_pages.all_answers(request))}"
    return opens_form(services, replace(request, text=line))


def _dialog(services: Services, request: Request) -> forms.Wanted | None:
    """What a dialog is to ask for, where one can be opened."""
    if not request.trigger:
        return None
    return forms.missing_arguments(services.catalog, services.slash, request.text)


def problems(services: Services, request: Request) -> Mapping[str, Message]:
    """What is wrong with a dialog's answers, by field, before it is closed."""
    if request.action == personal_settings.EDIT:
        return personal_settings.problems(services, dict(request.answers))
    return forms.problems(services.catalog, services.slash, request)


def _open(services: Services, request: Request, asked: forms.Wanted) -> None:
    services.chat.open_form(
        request.trigger,
        forms.form_of(services, asked),
        locale=request.locale,
        place=request.place,
    )


ACTIONS: Mapping[str, ButtonAction] = {
    "run": ButtonAction(run, Permission.COMMAND, click=Lane.WORK, on_operation=False),
    pages.PAGE: ButtonAction(
        run, Permission.COMMAND, click=Lane.WORK, on_operation=False, replaces=True
    ),
    pages.ROW: ButtonAction(from_row, Permission.COMMAND, click=Lane.WORK, on_operation=False),
    FORM: ButtonAction(from_form, Permission.COMMAND, click=Lane.DIALOG, on_operation=False),
    personal_settings.EDIT: ButtonAction(
        personal_settings.edit,
        Permission.ANYBODY,
        click=Lane.DIALOG,
        form=Lane.WORK,
        on_operation=False,
    ),
}
"""The buttons and dialogs of commands."""
