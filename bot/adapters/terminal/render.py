"""Cards in a terminal: tables, bars and colours for people, data for programs.

Nothing that a VM's name or a person's reason holds formats anything or orders the terminal about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from bot.domain import card as elements
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
    Menu,
    Picture,
    Section,
    Table,
)
from bot.domain.codec import Codec
from bot.domain.message import Code, Message, Names, Value, Words, english_of, tokens
from bot.domain.plain_card import (
    MARKS,
    harmless,
    plain_text,
    plain_title,
    share_of,
    whole_percent,
)

BAR = 30  # columns
POINTS = "▁▂▃▄▅▆▇█"
STYLES = {Mark.DONE: "green", Mark.FAILED: "bold red", Mark.DOING: "yellow", Mark.SKIPPED: "dim"}

_CODEC = Codec(
    each
    for each in vars(elements).values()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
)


def card_of(data: object) -> Card:
    """The card that came over the socket.

    Raises:
        CodecError: the bot is of another version.
    """
    found: Card = _CODEC.read(data)
    return found


def for_programs(card: Card) -> dict[str, object]:
    """A card as plain data: its title, all of it as text, and its tables and fields."""
    tables = [
        {
            "columns": [_plain(each) for each in table.columns],
            "rows": [[_plain(each) for each in row] for row in table.rows],
        }
        for table in card.elements
        if isinstance(table, Table)
    ]
    fields = {
        _plain(label): _plain(line)
        for each in card.elements
        if isinstance(each, Fields)
        for label, line in each.pairs
    }
    return {
        "title": plain_title(card),
        "text": plain_text(card),
        "tables": tables,
        "fields": fields,
        "refused": card.not_done or card.refused,
    }


def for_people(card: Card) -> RenderableType:
    """A card as rich draws it; buttons are commands in a terminal, so they are left out."""
    shown = [drawn for each in card.elements for drawn in _draw(each)]
    body = Group(*shown) if shown else style(card.text)
    refused = card.not_done or card.refused
    if not card.title:
        return body if not refused else Panel(body, border_style="red", box=box.ROUNDED)
    title = style(card.title)
    return Panel(
        body,
        title=title,
        title_align="left",
        border_style="red" if refused else "cyan",
        box=box.ROUNDED,
    )


def style(line: Message) -> Text:
    """A message with its emphasis; what fills it formats nothing."""
    text = Text()
    for said, style in _parts(line, frozenset()):
        text.append(harmless(said), style)
    return text


def _parts(line: Message, on: frozenset[str]) -> Iterator[tuple[str, str]]:
    if isinstance(line, str):
        yield line, _style(on)
        return
    for token in tokens(line.english, line.args):
        if token.mark:
            on ^= {token.text}
        elif token.hole:
            yield from _value(line.args[token.text], on)
        else:
            yield token.text, _style(on)


def _value(value: Value, on: frozenset[str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Names):
        value = value.line
    if isinstance(value, Words):
        yield from _parts(value, on)
    elif isinstance(value, Code):
        yield value.command, _style(on | {"`"})
    else:
        yield english_of(value), _style(on)


def _style(on: frozenset[str]) -> str:
    names = {"*": "bold", "_": "italic", "`": "cyan"}
    return " ".join(names[mark] for mark in sorted(on))


def _plain(line: Message) -> str:
    return harmless(str(line))


def _draw(element: Element) -> list[RenderableType]:
    return _DRAWN[type(element)](element)


def _dim(line: Message) -> Text:
    said = style(line)
    said.stylize_before("dim")
    return said


def _section(section: Section) -> list[RenderableType]:
    """A paragraph; none that only introduces a menu, which a terminal has not."""
    if isinstance(section.button, Menu) and section.button.hint:
        return []
    return [style(section.line)]


def _fields(fields: Fields) -> list[RenderableType]:
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, line in fields.pairs:
        grid.add_row(style(label), style(line))
    return [grid]


def _table(table: Table) -> list[RenderableType]:
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for index, column in enumerate(table.columns):
        grid.add_column(
            style(column),
            justify="right" if index in table.numeric else "left",
            no_wrap=index == 0,
        )
    for row in table.rows:
        cells = [*row, *([""] * len(table.columns))][: len(table.columns)]
        grid.add_row(*(style(cell) for cell in cells))
    return [grid]


def _checklist(steps: Checklist) -> list[RenderableType]:
    lines: list[RenderableType] = [style(steps.title)] if str(steps.title) else []
    for mark, line in steps.items:
        lines.append(Text.assemble((f" {MARKS[mark]} ", STYLES.get(mark, "")), style(line)))
    return lines


def _bar(bar: Bar) -> list[RenderableType]:
    row = Grid.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(total=1.0, completed=share_of(bar), width=BAR),
        Text(f"{whole_percent(bar)} %", "bold"),
        style(bar.line),
    )
    return [row]


def _chart(chart: Chart) -> list[RenderableType]:
    """A line for each series, from the oldest value to the newest."""
    most = max((value for _, values in chart.series for value in values), default=0.0) or 1.0
    grid = Grid.grid(padding=(0, 1))
    for name, values in chart.series:
        points = "".join(POINTS[min(max(int(each / most * 7.99), 0), 7)] for each in values)
        grid.add_row(style(name), Text(points, "cyan"))
    return [
        Text.assemble(style(chart.title), "  ", style(chart.unit)),
        grid,
        style(chart.summary),
    ]


_DRAWN: Mapping[type, Callable[[Any], list[RenderableType]]] = {
    Section: _section,
    Fields: _fields,
    Table: _table,
    Listing: lambda each: [Text(_plain(each.text))],
    Checklist: _checklist,
    Bar: _bar,
    Chart: _chart,
    Picture: lambda each: [style(each.alt)],
    Context: lambda each: [_dim(line) for line in each.lines],
    Divider: lambda _: [Rule(style="dim")],
    Buttons: lambda _: [],
}
