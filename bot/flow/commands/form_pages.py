"""Dialogs of two pages: what is asked first, and what the hosts tell for the second."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from bot.domain.card import Button, Buttons, Card, FormField, ManyField
from bot.domain.errors import DroverError
from bot.domain.message import Message
from bot.flow.commands.parse import as_typed, parse
from bot.flow.context import Services, snapshot
from bot.plugin_api import Action, Command, SecondPage, TwoPages
from bot.ports import Request

FORM = "cmd:"  # how the dialogs of commands are named
PATIENCE = 1.5  # seconds that a dialog waits for the hosts; its trigger lives three
MOST_KEPT = 1900  # characters of answers that a dialog or a button carries
LONGEST = 150  # characters of a choice's value that a chat carries
INSTEAD = "instead of"  # no parameter: the value of a proposal that the dialog's is to replace
NOTHING = SecondPage()

Found = TypeVar("Found")


def pages_of(command: Command) -> TwoPages | None:
    """The two pages of a command's dialog; None where it has one."""
    return command.pages if isinstance(command, Action) else None


def wants_second(command: Command, request: Request) -> bool:
    """Whether a dialog's answers are those of a first page."""
    pages = pages_of(command)
    return pages is not None and bool(request.trigger) and answers_first(pages, request.answers)


def answers_first(pages: TwoPages, answers: Collection[tuple[str, str]]) -> bool:
    """Whether these are the fields of the first page and no others."""
    return {name for name, _ in answers} == set(pages.first)


def read_answers(value: str) -> Mapping[str, str]:
    """The answers that a button or a dialog brings back."""
    found = json.loads(value) if value.startswith("{") else {}
    return {str(name): str(answer) for name, answer in found.items()}


def all_answers(request: Request) -> Mapping[str, str]:
    """What a dialog answers, with what was known before it was opened."""
    return {**read_answers(request.value), **dict(request.answers)}


def pack(answers: Mapping[str, str]) -> str:
    """Answers as a dialog or a button carries them; '' when they are too long."""
    given = {name: answer for name, answer in answers.items() if answer}
    value = json.dumps(given, ensure_ascii=False) if given else ""
    return value if len(value) <= MOST_KEPT else ""


def second_page(services: Services, command: Command, known: Mapping[str, str]) -> SecondPage:
    """What the hosts tell for the second page of a dialog; nothing where that takes too long."""
    pages = pages_of(command)
    if pages is None:
        return NOTHING
    given = {name: answer for name, answer in known.items() if name != INSTEAD}
    line = f"{command.name} {as_typed(command.grammar, given)}"

    def looks() -> Iterator[SecondPage]:
        intent = parse(services.catalog, services.slash, line).intent
        rules = services.catalog.rules
        page = pages.second(intent, snapshot(services), rules)
        if page is None:
            return
        yield page
        if near := page.near:
            seen = snapshot(services, chosen=lambda _: near)
            yield pages.second(intent, seen, rules) or page

    return _newest_in_time(looks) or NOTHING


def in_time(look: Callable[[], Found]) -> Found | None:
    """What is found in time for a dialog; None where it takes too long, or is refused."""

    def looks() -> Iterator[Found]:
        yield look()

    return _newest_in_time(looks)


def _newest_in_time(looks: Callable[[], Iterator[Found]]) -> Found | None:
    """The last that is found in time for a dialog; None where nothing is."""
    found: list[Found] = []
    over = threading.Event()

    def read() -> None:
        try:
            for each in looks():
                found.append(each)  # noqa: PERF402 - each counts as soon as it is there
        except DroverError:
            pass  # the command itself tells what is wrong
        finally:
            over.set()

    threading.Thread(target=read, name="dialog-reads", daemon=True).start()
    over.wait(PATIENCE)
    return found[-1] if found else None


def with_own(
    fields: Collection[FormField],
    page: SecondPage,
    known: Mapping[str, str],
    first: Collection[str] = (),
) -> tuple[list[FormField], str]:
    """The fields of the grammar or of the page, and the answers that none of them shows.

    ``first``: fields of the first page; where all their answers cannot be kept, they are shown.
    """
    own = {each.name: _fitting(each) for each in page.fields}
    asked = [own.get(each.name, each) for each in fields if each.name not in page.instead_of]
    shown = [each for each in asked if each.name not in first]
    names = {*(each.name for each in shown), *page.instead_of}
    rest = {name: answer for name, answer in known.items() if answer and name not in names}
    hidden = pack(rest)
    return (shown, hidden) if hidden or not rest else (asked, "")


def _fitting(field: FormField) -> FormField:
    """Without the choices whose value no chat carries."""
    if not isinstance(field, ManyField):
        return field
    options = tuple(each for each in field.options if len(each[0]) <= LONGEST)
    return replace(field, options=options)


def with_button(card: Card, text: Message, action: str, answers: Mapping[str, str]) -> Card:
    """A card with a button that opens a dialog, filled in; as it was where that is too much."""
    if not (value := pack(answers)):
        return card
    button = replace(Button(text, FORM, value), action=action)
    return replace(card, elements=(*card.elements, Buttons((button,))))
