"""Cards as plain text, for mail, pagers and programs.

Nothing in it formats or mentions anything.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bot.domain.card import (
    Bar,
    Buttons,
    Card,
    Chart,
    Checklist,
    Context,
    Divider,
    Element,
    Fields,
    Listing,
    Mark,
    Picture,
    Section,
    Table,
)
from bot.domain.message import Message

MARKS = {Mark.TODO: "○", Mark.DOING: "▶", Mark.DONE: "✓", Mark.FAILED: "✗", Mark.SKIPPED: "–"}
_WANTED = "\n"  # of the control characters
# Control and format characters, lone surrogates, ends of lines and paragraphs
_ORDERS = ("Cc", "Cf", "Cs", "Zl", "Zp")


def harmless(text: str) -> str:
    """Text without control characters: a terminal or a mail header takes none as an order."""
    return "".join(
        each if each in _WANTED or unicodedata.category(each) not in _ORDERS else " "
        for each in text
    )


def one_line(text: str, most: int) -> str:
    """Text of a stranger as one line of at most so many characters."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def plain_title(card: Card) -> str:
    """The card's title, or all that it says, in one line."""
    return one_line(str(card.title or card.text), 200)


def plain_text(card: Card) -> str:
    """The whole card, its title first."""
    return "\n".join(line for line in (plain_title(card), plain_body(card)) if line)


def plain_body(card: Card) -> str:
    """What a card says beneath its title; '' when that is all."""
    lines = [line for each in card.elements for line in _lines(each)]
    if not card.elements and card.title and str(card.text) != str(card.title):
        lines.append(_plain(card.text))
    return "\n".join(line for line in lines if line)


def _plain(line: Message) -> str:
    return harmless(str(line))


def _lines(element: Element) -> list[str]:
    return _LINES[type(element)](element)


def _table(table: Table) -> list[str]:
    rows = [
        [one_line(str(cell), 200) for cell in (*row, *([""] * len(table.columns)))]
        for row in (table.columns, *table.rows)
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table.columns))]
    return [
        "  ".join(
            row[index].rjust(width) if index in table.numeric else row[index].ljust(width)
            for index, width in enumerate(widths)
        ).rstrip()
        for row in rows
    ]


def _plain_items(items: Iterable[tuple[Mark, Message]]) -> list[str]:
    return [f"{MARKS[mark]} {_plain(line)}" for mark, line in items]


def share_of(bar: Bar) -> float:
    """How much of a bar is full, 0 to 1."""
    share = bar.fraction if bar.fraction == bar.fraction else 0.0  # not a number: nothing is known
    return min(max(share, 0.0), 1.0)


def whole_percent(bar: Bar) -> int:
    """How much of a bar is full, 0 to 100; never rounded up: 100 % is the end."""
    return int(share_of(bar) * 100)


def _bar(bar: Bar) -> list[str]:
    return [f"{whole_percent(bar)}%  {_plain(bar.line)}"]


_LINES: Mapping[type, Callable[[Any], list[str]]] = {
    Section: lambda each: [_plain(each.line)],
    Fields: lambda each: [f"{_plain(label)}: {_plain(line)}" for label, line in each.pairs],
    Table: _table,
    Listing: lambda each: [_plain(each.text)],
    Checklist: lambda each: [_plain(each.title), *_plain_items(each.items)],
    Bar: _bar,
    Chart: lambda each: [f"{_plain(each.title)}: {_plain(each.summary)}"],
    Picture: lambda each: [_plain(each.title), _plain(each.alt)],
    Context: lambda each: [_plain(line) for line in each.lines],
    Divider: lambda _: [],
    Buttons: lambda _: [],
}
