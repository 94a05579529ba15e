"""Forms as modal views."""

from __future__ import annotations

import json

from slackblocks import (
    Block,
    CheckboxGroup,
    DividerBlock,
    ExternalMultiSelectMenu,
    ExternalSelectMenu,
    InputBlock,
    ModalView,
    Option,
    PlainTextInput,
    StaticMultiSelectMenu,
    StaticSelectMenu,
)

from bot.adapters.slack import limits
from bot.adapters.slack.api import Json
from bot.adapters.slack.blocks import Page, as_json, as_plain, sections
from bot.adapters.slack.text import literal, plain
from bot.domain.card import ChoiceField, Form, FormField, Line, ManyField, TextField
from bot.domain.errors import ChatError
from bot.domain.message import words
from bot.ports.chat import NOWHERE, AnswerPlace

FORM = "form:"
SOURCE = "source:"
NAMES = "names:"  # begins the action of a field whose values are names, which may hold a comma
PLACED = "placed:"  # begins the hidden data of a form that knows where it was asked for


def modal(form: Form, place: AnswerPlace = NOWHERE) -> Json:
    """A form as a modal view, which carries where it was asked for.

    Raises:
        ChatError: its hidden data or an option's value does not fit; cutting it would change what
            is asked.
    """
    hidden = _hidden_data(form, place)
    if len(hidden) > limits.HIDDEN:
        raise ChatError(
            words(
                "The form “{title}” has more than {n} hidden characters.",
                title=form.title,
                n=limits.HIDDEN,
            ),
            words("Report this as a bug."),
        )
    fields = [_input(field) for field in form.fields[: limits.VIEW_BLOCKS]]
    intro = Page("modal", {}).elements(form.intro)[: limits.VIEW_BLOCKS - len(fields)]
    return as_json(
        ModalView(
            title=as_plain(form.title, limits.VIEW_TITLE),
            blocks=[*intro, *fields] or [DividerBlock()],
            submit=as_plain(form.submit, limits.VIEW_TITLE),
            close=as_plain(form.close, limits.VIEW_TITLE),
            private_metadata=hidden or None,
            callback_id=f"{FORM}{form.action}",
        )
    )


def _hidden_data(form: Form, place: AnswerPlace) -> str:
    if place == NOWHERE:
        return form.hidden
    return PLACED + json.dumps([form.hidden, place.channel, place.thread, place.answer_to])


def read_hidden(metadata: str) -> tuple[str, AnswerPlace]:
    """A form's hidden data, and where it was asked for."""
    if not metadata.startswith(PLACED):
        return metadata, NOWHERE
    value, channel, thread, answer_to = json.loads(metadata.removeprefix(PLACED))
    return value, AnswerPlace(channel, thread, answer_to)


def _input(field: FormField) -> Block:
    label = as_plain(field.label, limits.LABEL)
    match field:
        case TextField():
            element = PlainTextInput(
                action_id=field.name,
                initial_value=field.initial[: limits.INPUT] or None,
                multiline=field.long,
                max_length=limits.INPUT,
            )
            hint = as_plain(field.hint, limits.HINT) if field.hint else None
            return InputBlock(
                as_plain(field.label, limits.LABEL),
                element,
                block_id=field.name,
                hint=hint,
                optional=not field.required,
            )
        case ChoiceField():
            if not field.source and not field.options:
                return sections(literal(f"{plain(field.label)}: –"))[0]
            return InputBlock(
                label, _choice(field), block_id=field.name, optional=not field.required
            )
        case ManyField():
            return InputBlock(label, _many(field), block_id=field.name, optional=True)


def _choice(field: ChoiceField) -> StaticSelectMenu | ExternalSelectMenu:
    if field.source:
        initial = option(field.initial, field.initial) if field.initial else None
        return ExternalSelectMenu(
            action_id=f"{SOURCE}{field.source}", initial_option=initial, min_query_length=0
        )
    options = {value: option(value, text) for value, text in field.options[: limits.OPTIONS]}
    return StaticSelectMenu(
        action_id=field.name,
        options=list(options.values()),
        initial_option=options.get(field.initial),
    )


def _many(field: ManyField) -> CheckboxGroup | StaticMultiSelectMenu | ExternalMultiSelectMenu:
    """Boxes to tick while they are few enough for Slack, else a list; of a source always a list."""
    if field.source:
        return ExternalMultiSelectMenu(
            action_id=f"{SOURCE}{field.source}",
            initial_options=[option(value, value) for value in field.initial] or None,
            min_query_length=0,
        )
    options = {value: option(value, text) for value, text in field.options[: limits.OPTIONS]}
    chosen = [options[value] for value in field.initial if value in options] or None
    kind = CheckboxGroup if len(options) <= limits.BOXES else StaticMultiSelectMenu
    action = f"{NAMES}{field.name}" if field.names else field.name
    return kind(action_id=action, options=list(options.values()), initial_options=chosen)


def option(value: str, text: Line) -> Option:
    """One choice.

    Raises:
        ChatError: the value is longer than Slack carries.
    """
    if not 0 < len(value) <= limits.OPTION_VALUE:
        raise ChatError(
            words("“{value}…” is too long for a choice.", value=value[:60]),
            words("Use the command instead of the form."),
        )
    return Option(as_plain(text, limits.OPTION_TEXT), value)
