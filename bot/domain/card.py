"""What people see, without a word of any chat's dialect: cards, forms and buttons.

A plain ``str`` is literal text and is escaped whole. ``Words`` has a trusted template in a small markup
(``*bold*``, ``_italic_``, `` `code` ``, newline) whose ``{names}`` are filled with escaped values.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.domain.message import Message, Person, Words, joined, nwords, words

__all__ = ["Message", "Person", "Words", "joined", "nwords", "words"]  # beside what stands here


Line = Message
"""A message in an element of a card."""


def prose(text: str) -> Words:
    """Sentences in which `a command` stands between backticks: it is shown as code, and all else stays inert."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick that opens nothing
        return Words("{text}", {"text": text})
    holes = [f"`{{c{index}}}`" if index % 2 else f"{{c{index}}}" for index in range(len(parts))]
    return Words("".join(holes), {f"c{index}": part for index, part in enumerate(parts)})


def bare(text: str) -> str:
    """The same sentences for where no code is shown: a notification."""
    return text.replace("`", "")


@dataclass(frozen=True, slots=True)
class Section:
    """A paragraph, with an optional button at its side."""

    line: Line
    button: Button | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Label and value pairs, shown in two columns."""

    pairs: tuple[tuple[str, Line], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; ``numeric`` columns (by index) align right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Listing:
    """Text as a terminal shows it, line by line; nothing in it formats anything."""

    text: str


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

    title: str
    items: tuple[tuple[Mark, Line], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A progress bar: ``fraction`` 0..1 and what to say beside it."""

    fraction: float
    line: Line


@dataclass(frozen=True, slots=True)
class Chart:
    """Named series over shared labels; ``kind`` is bar or line. Values in ``unit``. ``summary`` is read aloud."""

    title: str
    kind: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]
    unit: str
    summary: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with the words a blind reader hears."""

    png: bytes
    alt: str
    title: str = ""


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

    title: str
    text: str
    yes: str
    no: str


@dataclass(frozen=True, slots=True)
class Button:
    """``action`` names what it does; ``value`` is data (never proof): ids and digests only."""

    text: str
    action: str
    value: str
    style: Style = Style.PLAIN
    confirm: Confirm | None = None


@dataclass(frozen=True, slots=True)
class Buttons:
    """A row of buttons."""

    buttons: tuple[Button, ...]


Element = Section | Fields | Table | Listing | Checklist | Bar | Chart | Picture | Context | Divider | Buttons


@dataclass(frozen=True, slots=True)
class Card:
    """One message. ``text`` is all that a phone's notification shows; ``title`` is its header ('' for none)."""

    text: str
    title: str = ""
    elements: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class TextField:
    """A text input of a form."""

    name: str
    label: str
    hint: str = ""
    initial: str = ""
    required: bool = True
    long: bool = False


@dataclass(frozen=True, slots=True)
class ChoiceField:
    """A choice of (value, text) pairs; ``source`` instead names a live list (``vms``, ``hosts``)."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...] = ()
    source: str = ""
    initial: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class ManyField:
    """Any number of (value, text) pairs, at most 100; no value holds a comma: the answer joins them by commas."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    initial: tuple[str, ...] = ()


FormField = TextField | ChoiceField | ManyField


@dataclass(frozen=True, slots=True)
class Form:
    """A dialog. ``action`` names who takes the answer; ``hidden`` comes back with it."""

    action: str
    title: str
    submit: str
    fields: tuple[FormField, ...]
    intro: tuple[Element, ...] = ()
    hidden: str = ""


def error_card(text: str, advice: str = "") -> Card:
    """What went wrong and what to do next, as every error is shown."""
    return Card(text=bare(f"{text} {advice}".strip()), elements=(Section(prose(f"{text}\n{advice}".strip())),))
