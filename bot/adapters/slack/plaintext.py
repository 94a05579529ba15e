"""Cards as plain lines of markup: for places without blocks, and for when blocks are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.adapters.slack import limits
from bot.adapters.slack.text import cut, cut_listed, in_listing, literal, mrkdwn, plain
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
    Line,
    Listing,
    Picture,
    Section,
    Table,
)
from bot.domain.plain_card import MARKS, whole_percent


def notification(card: Card) -> str:
    """The card's one line, escaped, at most 3,900 characters (``chat.update`` takes 4,000)."""
    return cut(literal(plain(card.text or card.title)), limits.TEXT) or "Drover"


def as_text(card: Card) -> str:
    """The whole card as text, for where blocks are refused; the notification's line comes first."""
    lines = [notification(card)]
    if card.title and card.title != card.text:
        lines.append(f"*{literal(plain(card.title))}*")
    lines += [line for element in card.elements for line in lines_of(element) if line]
    return cut("\n".join(lines), limits.TEXT)


def lines_of(element: Element) -> list[str]:
    """An element in lines of markup; buttons have none."""
    return _LINES[type(element)](element)


def _fields(fields: Fields) -> list[str]:
    return [f"*{literal(plain(label))}*\n{mrkdwn(line)}" for label, line in fields.pairs]


def _checklist(list_: Checklist) -> list[str]:
    return [
        literal(plain(list_.title)),
        *(f"{MARKS[mark]} {mrkdwn(line)}" for mark, line in list_.items),
    ]


def _picture(picture: Picture) -> list[str]:
    return [literal(with_title(plain(picture.title), plain(picture.alt)))]


def _bar(bar: Bar) -> list[str]:
    percent = whole_percent(bar)
    full = percent // 10
    return [f"{'▰' * full}{'▱' * (10 - full)} {percent}%  {mrkdwn(bar.line)}"]


def grid(table: Table) -> str:
    """A table in fixed width, for places without table blocks."""
    rows = [
        [plain(cell) for cell in pad(row, len(table.columns))]
        for row in (table.columns, *table.rows)
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table.columns))]
    lines = [
        "  ".join(
            cell.rjust(width) if index in table.numeric else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    kept = _fitting(lines, limits.SECTION - 100)
    missing = len(lines) - len(kept)
    return "```\n" + "\n".join(kept) + "\n```" + (f"\n{more_rows(missing)}" if missing else "")


_LINE = 200  # characters of a line in a listing or a table drawn with letters


def _listing(listing: Listing) -> list[str]:
    """The lines in as many pieces as it takes, each whole in itself."""
    lines = plain(listing.text).splitlines()
    found: list[str] = []
    while lines:
        kept = _fitting(lines, limits.SECTION - 100)
        found.append("```\n" + "\n".join(kept) + "\n```")
        lines = lines[len(kept) :]
    return found


def _fitting(lines: list[str], room: int) -> list[str]:
    kept = []
    for line in lines:
        shown = cut_listed(in_listing(line), _LINE)
        room -= len(shown) + 1
        if room < 0:
            break
        kept.append(shown)
    return kept


def with_title(title: str, text: str) -> str:
    """Text with its title in brackets, where it has one."""
    return f"[{title}] {text}" if title.strip() else text


def more_rows(count: int) -> str:
    """``… +40``: the rows left out, in a form that every language reads."""
    return f"… +{count}"


def pad(cells: Sequence[Line], width: int) -> list[Line]:
    """A row of exactly ``width`` cells."""
    return [*cells[:width], *([""] * (width - len(cells)))]


_LINES: Mapping[type, Callable[[Any], list[str]]] = {
    Section: lambda section: [mrkdwn(section.line)],
    Fields: _fields,
    Table: lambda table: [grid(table)],
    Listing: _listing,
    Checklist: _checklist,
    Bar: _bar,
    Chart: lambda chart: [f"*{literal(plain(chart.title))}*", literal(plain(chart.summary))],
    Picture: _picture,
    Context: lambda context: [mrkdwn(line) for line in context.lines],
    Divider: lambda _: ["———"],
    Buttons: lambda _: [],
}
