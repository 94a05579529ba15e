"""What a query shows as a file: its table, whole, as CSV or JSON; its text to copy as it stands."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime

from bot.domain.card import Button, Buttons, Card, Line, Listing, Section, Table
from bot.domain.errors import UsageError
from bot.domain.message import Code, Words, nwords, words
from bot.domain.words import inert_cell, split_words

TEXT = "txt"
FORMATS = ("csv", "json", TEXT)
_LONGEST = 1500  # of a line that a button types; Slack's buttons hold 2,000 characters


def file_kind(text: str) -> tuple[str, str]:
    """A line without ``--csv``, ``--json`` or ``--txt``, and which of them it had; '' for none."""
    try:
        given = split_words(text)
    except ValueError:
        return text, ""
    form = next((each for each in FORMATS if f"--{each}" in given), "")
    if not form or "--" in given[: given.index(f"--{form}")]:
        return text, ""
    return " ".join(part for part in text.split(" ") if part != f"--{form}"), form


def table_of(card: Card, command: str) -> Table:
    """The list that a card shows.

    Raises:
        UsageError: it shows none.
    """
    found = card.export or next((each for each in card.elements if isinstance(each, Table)), None)
    if found is None:
        raise UsageError(
            words("{command} shows no list, so there is no file of it.", command=Code(command)),
            code="no-list",
        )
    return found


def text_of(card: Card, command: str) -> str:
    """The text to copy that a card shows: a definition, a script, the lines of a console.

    Raises:
        UsageError: it shows none.
    """
    found = [str(each.text) for each in card.elements if isinstance(each, Listing)]
    if not found:
        raise UsageError(
            words(
                "{command} shows no text to copy, so there is no file of it.", command=Code(command)
            ),
            code="no-text",
        )
    return "\n".join(found)


def with_button(card: Card, line: str) -> Card:
    """A card, and where it shows text to copy a button that sends it as a file."""
    if not any(isinstance(each, Listing) for each in card.elements) or len(line) > _LONGEST:
        return card
    button = Button(words("As a file"), "run", f"{line} --{TEXT}")
    return replace(card, elements=(*card.elements, Buttons((button,))))


def content(table: Table, form: str) -> bytes:
    """The file: a line, or an object, for each row; English, UTF-8."""
    columns = [_text(each) for each in table.columns]
    rows = [[_text(cell) for cell in row] for row in table.rows]
    if form == "json":
        objects = [dict(zip(columns, row, strict=False)) for row in rows]
        return json.dumps(objects, ensure_ascii=False, indent=1).encode()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows(map(inert_cell, row) for row in (columns, *rows))
    return file.getvalue().encode()


def _text(line: Line) -> str:
    return str(line).replace("`", "") if isinstance(line, Words) else line


def name_of(command: str, form: str, now: datetime) -> str:
    """``drover-vms-20261126-2150.csv``."""
    return f"drover-{command.replace(' ', '-')}-{now:%Y%m%d-%H%M}.{form}"


def caption(table: Table, name: str) -> Card:
    """What is said above the file."""
    said = nwords("{n} row: {file}", "{n} rows: {file}", n=len(table.rows), file=name)
    return Card(said, elements=(Section(said),))


def text_caption(text: str, name: str) -> Card:
    """What is said above a file of text."""
    said = nwords("{n} line: {file}", "{n} lines: {file}", n=len(text.splitlines()), file=name)
    return Card(said, elements=(Section(said),))


def text_sent_card(name: str) -> Card:
    """Told where it was asked for."""
    said = words("{file} is in your direct messages with Drover.", file=Code(name))
    return Card(said, elements=(Section(said),))


def sent_card(table: Table, name: str) -> Card:
    """Told where it was asked for."""
    said = nwords(
        "{file} with {n} row is in your direct messages with Drover.",
        "{file} with {n} rows is in your direct messages with Drover.",
        n=len(table.rows),
        file=Code(name),
    )
    return Card(said, elements=(Section(said),))
