"""What people see, without a word of any chat's dialect: cards, forms and buttons.

A plain ``str`` is literal text and is escaped whole. ``Words`` has a trusted template in a small
markup (``*bold*``, ``_italic_``, `` `code` ``, newline) whose ``{names}`` are filled with escaped
values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from bot.domain.codec import later
from bot.domain.message import Message, Person, Words, join, nwords, words

__all__ = ["Message", "Person", "Words", "join", "nwords", "words"]  # beside what stands here


Line = Message
"""A message in an element of a card."""


def prose(text: Message) -> Words:
    """Sentences in which `a command` stands between backticks.

    It is shown as code, and all else stays inert.

    For plain text; a message of its own says what is code, and is answered as it is.
    """
    if isinstance(text, Words):
        return text
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick that opens nothing
        return Words("{text}", {"text": text})
    holes = [f"`{{c{index}}}`" if index % 2 else f"{{c{index}}}" for index in range(len(parts))]
    return Words("".join(holes), {f"c{index}": part for index, part in enumerate(parts)})


def said_elsewhere(text: str) -> Words:
    """Text that code had to keep as ``str`` (click's help).

    It is translated as the template that it was.

    One with marks of its own was none: it is shown as ``prose``.
    """
    return Words(text) if _UNMARKED.fullmatch(text) else prose(text)


_UNMARKED = re.compile(r"(?:`[^`{}]*`|(?!\b_|_\b)[^*{}`])*")  # a mark in code is none


def bare(text: Message) -> Message:
    """The same sentences for where no code is shown: a notification."""
    return text if isinstance(text, Words) else text.replace("`", "")


@dataclass(frozen=True, slots=True)
class Section:
    """A paragraph, with an optional button or menu at its side."""

    line: Line
    button: Button | Menu | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Label and value pairs, shown in two columns."""

    pairs: tuple[tuple[Line, Line], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; ``numeric`` columns (by index) align right."""

    columns: tuple[Line, ...]
    rows: tuple[tuple[Line, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Listing:
    """Text as a terminal shows it, line by line; nothing in it formats anything."""

    text: Message


class Mark(StrEnum):
    """The state of a checklist item."""

    TODO = "todo"
    DOING = "doing"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Checklist:
    """Steps with their state."""

    title: Line
    items: tuple[tuple[Mark, Line], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A progress bar: ``fraction`` 0..1 and what to say beside it."""

    fraction: float
    line: Line


@dataclass(frozen=True, slots=True)
class Chart:
    """Named series over shared labels; ``kind`` is bar or line. Values in ``unit``.

    ``summary`` is read aloud.
    """

    title: Line
    kind: str
    labels: tuple[str, ...]
    series: tuple[tuple[Line, tuple[float, ...]], ...]
    unit: Line
    summary: Line


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with the words a blind reader hears."""

    png: bytes
    alt: Line
    title: Line = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Small print."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Divider:
    """A rule."""


class Style(StrEnum):
    """How a button looks."""

    PLAIN = ""
    PRIMARY = "primary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Confirm:
    """Asked before a button works."""

    title: Line
    text: Line
    yes: Line
    no: Line


@dataclass(frozen=True, slots=True)
class Button:
    """``action`` names what it does; ``value`` is data (never proof): ids and digests only."""

    text: Line
    action: str
    value: str
    style: Style = Style.PLAIN
    confirm: Confirm | None = None


@dataclass(frozen=True, slots=True)
class Menu:
    """Buttons of one action, of which one is chosen: what can be done with a row, at most five.

    With a ``hint``, which stands in it until then: a list of at most 100.
    """

    choices: tuple[Button, ...]
    hint: Line = ""


@dataclass(frozen=True, slots=True)
class Buttons:
    """A row of buttons."""

    buttons: tuple[Button, ...]


Element = (
    Section
    | Fields
    | Table
    | Listing
    | Checklist
    | Bar
    | Chart
    | Picture
    | Context
    | Divider
    | Buttons
)


@dataclass(frozen=True, slots=True)
class Card:
    """One message.

    ``text`` is all that a phone's notification shows; ``title`` is its header ('' for none).
    ``refused``: it tells somebody that they may not, which the audit trail keeps.
    ``not_done``: it says why something was not done; a script's exit code tells so.
    ``export``: the whole list as a file has it, where the elements show a page of it; None: its
    first table.
    """

    text: Line
    title: Line = ""
    elements: tuple[Element, ...] = ()
    refused: bool = False
    not_done: bool = later(False)
    export: Table | None = later(None)


@dataclass(frozen=True, slots=True)
class TextField:
    """A text input of a form."""

    name: str
    label: Line
    hint: Line = ""
    initial: str = ""
    required: bool = True
    long: bool = False


@dataclass(frozen=True, slots=True)
class ChoiceField:
    """A choice of (value, text) pairs.

    ``source`` instead names a live list (``vms``, ``hosts``).
    """

    name: str
    label: Line
    options: tuple[tuple[str, Line], ...] = ()
    source: str = ""
    initial: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class ManyField:
    """Any number of (value, text) pairs, at most 100.

    No value holds a comma: the answer joins them by commas. ``source`` instead names a live list
    (``vms``, ``hosts``). Of a live list, and of ``names``, whose values may hold anything, the
    answer is the values as words of a line, quoted where needed.
    """

    name: str
    label: Line
    options: tuple[tuple[str, Line], ...] = ()
    initial: tuple[str, ...] = ()
    source: str = ""
    names: bool = False

    @property
    def as_words(self) -> bool:
        """Whether the answer is words of a line."""
        return self.names or bool(self.source)


FormField = TextField | ChoiceField | ManyField


CANCEL = words("Cancel")


@dataclass(frozen=True, slots=True)
class Form:
    """A dialog. ``action`` names who takes the answer; ``hidden`` comes back with it."""

    action: str
    title: Line
    submit: Line
    fields: tuple[FormField, ...]
    intro: tuple[Element, ...] = ()
    hidden: str = ""
    close: Line = CANCEL


def error_card(text: Message, advice: Message = "") -> Card:
    """What went wrong and what to do next, as every error is shown."""
    said = join(part for part in (bare(text), bare(advice)) if part)
    return Card(
        text=said,
        elements=(Section(join((prose(text), *([prose(advice)] if advice else [])), "\n")),),
        not_done=True,
    )
