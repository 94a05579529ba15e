"""Cards, forms and homes as Block Kit, each block within Slack's limits.

slackblocks has every block used here. A line becomes ``mrkdwn`` with ``verbatim`` set, so that
Slack adds no links of its own. What a place cannot show (a plan on the home tab, a second table) is
told in text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import structlog
from slackblocks import (
    ActionsBlock,
    Block,
    ColumnSettings,
    Confirm,
    ContextBlock,
    DividerBlock,
    HeaderBlock,
    HomeTabView,
    ImageBlock,
    Markdown,
    Option,
    OverflowMenu,
    PlainText,
    PlanBlock,
    RawText,
    RichText,
    RichTextElement,
    RichTextLink,
    RichTextSection,
    RichTextUser,
    SectionBlock,
    SlackFile,
    StaticSelectMenu,
    TableBlock,
    TaskCardBlock,
    Text,
)
from slackblocks import Button as ButtonElement

from bot.adapters.slack import charts, limits
from bot.adapters.slack.api import Json
from bot.adapters.slack.moment import Moment
from bot.adapters.slack.plaintext import lines_of, more_rows, notification, pad, with_title
from bot.adapters.slack.text import (
    Part,
    cut,
    is_link,
    is_user,
    mrkdwn,
    needs_plain,
    parts,
    pieces,
    plain,
    value_text,
)
from bot.domain.card import (
    Button,
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
    Mark,
    Menu,
    Person,
    Picture,
    Section,
    Style,
    Table,
)
from bot.domain.message import Ref, When

log = structlog.get_logger()

Surface = Literal["message", "modal", "home"]
Files = Mapping[Picture | Chart, str]
"""Uploaded pictures: the Slack file id of a picture, or of a chart.

That is to be shown as a picture.
"""

SENTENCE = 40
"""Columns with a longer cell are wrapped; Slack cuts off the others."""

_STYLES: Mapping[Style, Literal["primary", "danger"] | None] = {
    Style.PLAIN: None,
    Style.PRIMARY: "primary",
    Style.DANGER: "danger",
}
STATUS: Mapping[Mark, Literal["pending", "in_progress", "complete", "error"]] = {
    Mark.TODO: "pending",
    Mark.DOING: "in_progress",
    Mark.DONE: "complete",
    Mark.FAILED: "error",
    Mark.SKIPPED: "complete",  # nothing is left to do; its line says that it was skipped
}


def render(
    card: Card, files: Files | None = None, surface: Surface = "message"
) -> tuple[str, list[Json]]:
    """A card as ``(text, blocks)``; ``text`` is what a notification shows.

    A chart in ``files`` is shown as that picture; a picture that is not in ``files`` is told by its
    words.
    """
    return notification(card), [as_json(block) for block in Page(surface, files or {}).card(card)]


def home(card: Card, files: Files | None = None) -> Json:
    """A card as a home tab's view."""
    return as_json(
        HomeTabView(
            blocks=Page("home", files or {}).card(card)[: limits.VIEW_BLOCKS] or [DividerBlock()]
        )
    )


def pictures(card: Card) -> tuple[Picture, ...]:
    """What must be uploaded before the card can be shown."""
    return tuple(element for element in card.elements if isinstance(element, Picture))


def charts_of(card: Card) -> tuple[Chart, ...]:
    """The card's charts."""
    return tuple(element for element in card.elements if isinstance(element, Chart))


def as_json(thing: Any) -> Json:
    """A slackblocks object as the dict that is sent."""
    # Slackblocks' only way to a dict for a single block
    resolved: Json = thing._resolve()  # noqa: SLF001
    _without_emoji(resolved)
    return resolved


def _without_emoji(resolved: object) -> None:
    """Say of plain text that ``:fire:`` in it is no picture; Slack draws it unless told so."""
    if isinstance(resolved, dict):
        if resolved.get("type") == "plain_text":
            resolved["emoji"] = False
        for each in resolved.values():
            _without_emoji(each)
    elif isinstance(resolved, list | tuple):
        for each in resolved:
            _without_emoji(each)


class Page:
    """One message or view on its way; counts what Slack allows only so often."""

    def __init__(self, surface: Surface, files: Files) -> None:
        self._surface = surface
        self._files = files
        self._charts = 0

    def card(self, card: Card) -> list[Block]:
        """Header and elements."""
        header: list[Block] = (
            [HeaderBlock(as_plain(card.title, limits.HEADER))] if plain(card.title).strip() else []
        )
        return [*header, *self.elements(card.elements)]

    def elements(self, elements: Sequence[Element]) -> list[Block]:
        """Elements in order.

        The first table comes last in the reckoning: it takes the room the others leave.
        """
        tables = [(index, each) for index, each in enumerate(elements) if isinstance(each, Table)]
        first, table = tables[0] if tables and self._surface != "modal" else (None, None)
        shown = [
            [] if index == first else self._element(each) for index, each in enumerate(elements)
        ]
        if first is not None and table is not None:
            others = limits.characters([as_json(block) for blocks in shown for block in blocks])
            shown[first] = _table(table, limits.CHARACTERS - others - 300)
        return [block for blocks in shown for block in blocks]

    def _element(self, element: Element) -> list[Block]:
        kinds: Mapping[type, Callable[[Any], list[Block]]] = {
            Section: _section,
            Fields: _fields,
            Listing: lambda listing: [
                block for text in lines_of(listing) for block in sections(text)
            ],
            Checklist: self._checklist,
            Chart: self._chart,
            Picture: lambda picture: self._picture(
                picture, plain(picture.alt), plain(picture.title)
            ),
            Context: lambda context: _context(context.lines),
            Divider: lambda _: [DividerBlock()],
            Buttons: lambda buttons: _buttons(buttons.buttons),
        }
        return kinds.get(type(element), _in_text)(element)

    def _checklist(self, list_: Checklist) -> list[Block]:
        """Slack's plan block, in messages only; ``pending`` tasks may stand nowhere else."""
        if self._surface != "message" or not list_.items:
            return _in_text(list_)
        first, items = _window(list_.items)
        whole = plain(list_.title)
        title = (
            whole
            if len(items) == len(list_.items)
            else _part_of(whole, first + 1, first + len(items), len(list_.items))
        )
        tasks = [
            TaskCardBlock(
                f"step-{first + index}", cut(plain(line), limits.TASK) or "–", status=STATUS[mark]
            )
            for index, (mark, line) in enumerate(items)
        ]
        return [PlanBlock(cut(title, limits.TASK) or "–", tasks)]

    def _chart(self, chart: Chart) -> list[Block]:
        if chart in self._files:
            return self._picture(chart, plain(chart.summary or chart.title), plain(chart.title))
        block = (
            charts.native(chart)
            if self._surface != "modal" and self._charts < limits.CHARTS
            else None
        )
        if block is None:
            return _in_text(chart)
        self._charts += 1
        return [block, *_context((chart.summary,))]

    def _picture(self, key: Picture | Chart, alt: str, title: str) -> list[Block]:
        file = self._files.get(key)
        if not file:
            return _context((with_title(title, alt),))
        heading = as_plain(title, limits.ALT) if title.strip() else None
        return [
            ImageBlock(
                alt_text=cut(alt, limits.ALT) or "–",
                title=heading,
                slack_file=SlackFile(None, file),
            )
        ]


def _part_of(title: str, first: int, last: int, whole: int) -> str:
    """The title of a list of which a part is shown, in numbers alone.

    ``Drain host-a · 6–55 / 80``.
    """
    return f"{title} · {first}–{last} / {whole}"


def _window(items: tuple[tuple[Mark, Line], ...]) -> tuple[int, tuple[tuple[Mark, Line], ...]]:
    """Of more than 50 steps those around the first that is not done."""
    doing = next(
        (index for index, (mark, _) in enumerate(items) if mark not in (Mark.DONE, Mark.SKIPPED)), 0
    )
    first = max(0, min(doing - 5, len(items) - limits.TASKS))
    return first, items[first : first + limits.TASKS]


def as_plain(text: Line, limit: int) -> PlainText:
    """A ``plain_text`` object, never empty."""
    return _plain_text(plain(text), limit)


def _plain_text(text: str, limit: int) -> PlainText:
    """Characters as they are, never none."""
    shown = text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"
    return PlainText(shown if shown.strip() else "–")


def _markdown(text: str) -> Markdown:
    return Markdown(text, verbatim=True)


def sections(text: str) -> list[Block]:
    """Markup in as many sections as it needs."""
    return [
        SectionBlock(_markdown(piece)) for piece in pieces(text, limits.SECTION) if piece.strip()
    ]


def _in_text(element: Element) -> list[Block]:
    return sections("\n".join(lines_of(element)))


def _texts(line: Line, limit: int) -> list[Text]:
    """A line in as many text objects as it takes; a value with a backtick is told in plain text."""
    if needs_plain(line):
        return [PlainText(piece) for piece in pieces(plain(line), limit) if piece.strip()]
    return [_markdown(piece) for piece in pieces(mrkdwn(line), limit) if piece.strip()]


def _section(section: Section) -> list[Block]:
    texts = _texts(section.line, limits.SECTION)
    if section.button is None:
        return [SectionBlock(each) for each in texts]
    button = _accessory(section.button, plain(section.line))
    if button is None:
        return [SectionBlock(each) for each in texts]
    first, *rest = texts or [_markdown("–")]
    return [SectionBlock(first, accessory=button), *(SectionBlock(each) for each in rest)]


def _field(label: Line, line: Line) -> Text:
    if needs_plain(line):
        return _plain_text(f"{plain(label)}\n{plain(line)}", limits.FIELD)
    return _markdown(cut(lines_of(Fields(((label, line),)))[0], limits.FIELD))


def _fields(fields: Fields) -> list[Block]:
    texts = [_field(label, line) for label, line in fields.pairs]
    return [
        SectionBlock(fields=list(texts[at : at + limits.FIELDS]))
        for at in range(0, len(texts), limits.FIELDS)
    ]


def _context(lines: Sequence[Line]) -> list[Block]:
    texts = [
        _plain_text(plain(line), limits.CONTEXT_TEXT)
        if needs_plain(line)
        else _markdown(cut(mrkdwn(line), limits.CONTEXT_TEXT))
        for line in lines
        if mrkdwn(line).strip()
    ]
    return [
        ContextBlock(list(texts[at : at + limits.CONTEXT]))
        for at in range(0, len(texts), limits.CONTEXT)
    ]


def _buttons(buttons: Sequence[Button]) -> list[Block]:
    rows: list[Block] = []
    for at in range(0, len(buttons), limits.BUTTONS):
        taken: set[str] = set()
        wanted = _one_primary(buttons[at : at + limits.BUTTONS])
        row = [shown for each in wanted if (shown := _button(each, taken)) is not None]
        if row:
            rows.append(ActionsBlock(list(row)))
    return rows


def _one_primary(buttons: Sequence[Button]) -> Iterable[Button]:
    """Slack's guide (docs.slack.dev/reference/block-kit/block-elements/button-element).

    Primary for one of a set.
    """
    seen = False
    for button in buttons:
        yield (
            replace(button, style=Style.PLAIN) if seen and button.style is Style.PRIMARY else button
        )
        seen = seen or button.style is Style.PRIMARY


def _accessory(
    beside: Button | Menu, text: str
) -> ButtonElement | OverflowMenu | StaticSelectMenu | None:
    if isinstance(beside, Button):
        return _button(beside, set(), text)
    most = limits.OPTIONS if beside.hint else limits.OVERFLOW
    options = [
        Option(as_plain(each.text, limits.OPTION_TEXT), each.value)
        for each in beside.choices[:most]
        if 0 < len(each.value) <= limits.OPTION_VALUE
    ]
    action = beside.choices[0].action
    if not options or len(action) > limits.ID:
        return None
    if not beside.hint:
        return OverflowMenu(action_id=action, options=options)
    hint = as_plain(beside.hint, limits.PLACEHOLDER)
    return StaticSelectMenu(action_id=action, options=options, placeholder=hint)


def _button(button: Button, taken: set[str], beside: str = "") -> ButtonElement | None:
    """A button, or None (logged) when its data does not fit: cut data would ask for something else.

    Slack wants every ``action_id`` of a block only once; of twins the second becomes ``name#2``.
    """
    if len(button.value) > limits.VALUE or len(button.action) > limits.ID - 4:
        log.error(
            "button left out: its data is too long for Slack",
            action=button.action[:80],
            size=len(button.value),
        )
        return None
    action, number = button.action, 2
    while action in taken:
        action, number = f"{button.action}#{number}", number + 1
    taken.add(action)
    return ButtonElement(
        text=as_plain(button.text, limits.BUTTON),
        action_id=action,
        value=button.value or None,
        style=_STYLES[button.style],
        confirm=_confirm(button),
        accessibility_label=cut(f"{plain(button.text)}: {beside}", limits.BUTTON)
        if beside
        else None,
    )


def _confirm(button: Button) -> Confirm | None:
    asked = button.confirm
    if asked is None:
        return None
    return Confirm(
        title=as_plain(asked.title, limits.CONFIRM_TITLE),
        text=as_plain(asked.text, limits.CONFIRM_TEXT),
        confirm=as_plain(asked.yes, limits.CONFIRM_BUTTON),
        deny=as_plain(asked.no, limits.CONFIRM_BUTTON),
        style=_STYLES[button.style],
    )


def _table(table: Table, room: int) -> list[Block]:
    """A table of as many rows as fit in ``room`` characters and in Slack's 100.

    Also how many are missing.
    """
    width = min(max([len(table.columns), *(len(row) for row in table.rows)]), limits.COLUMNS)
    if not width:
        return []
    rows: list[list[Any]] = [[RawText(_cell_text(name)) for name in pad(table.columns, width)]]
    left = min(room, limits.TABLE_CHARACTERS) - sum(len(cell.text) for cell in rows[0])
    for row in table.rows[: limits.ROWS - 1]:
        cells = pad(row, width)
        left -= sum(len(plain(cell)) + 1 for cell in cells)
        if left < 0:
            break
        rows.append([_cell(cell) for cell in cells])
    settings = [_column(table, index) for index in range(width)]
    missing = len(table.rows) - (len(rows) - 1)
    return [TableBlock(rows, settings), *(_context((more_rows(missing),)) if missing else ())]


def _column(table: Table, index: int) -> ColumnSettings:
    longest = max((len(plain(row[index])) for row in table.rows if index < len(row)), default=0)
    return ColumnSettings(
        align="right" if index in table.numeric else "left", is_wrapped=longest > SENTENCE
    )


def _cell_text(line: Line) -> str:
    return cut(plain(line), limits.CELL) if plain(line).strip() else "–"


def _cell(line: Line) -> Any:
    """A cell: raw text unless it has marks, people or times.

    Which rich text shows without any markup to escape.
    """
    found = [part for part in parts(line) if not part.mark]
    if not any(map(_is_rich, found)):
        return RawText(_cell_text(line))
    elements: list[RichTextElement] = []
    for part in found:
        if isinstance(part.value, When):
            elements.append(Moment(part.value))
        elif _leads(part.value):
            # _leads has looked
            elements.append(RichTextLink(part.value.url, part.value.id))  # type: ignore[union-attr]
        elif _mentions(part.value):
            # _mentions has looked
            elements.append(RichTextUser(part.value.id))  # type: ignore[union-attr]
        elif text := cut(value_text(part.value), limits.CELL):
            elements.append(
                RichText(
                    text, bold=part.bold or None, italic=part.italic or None, code=part.code or None
                )
            )
    return RichTextSection(elements) if elements else RawText("–")


def _is_rich(part: Part) -> bool:
    marked = part.bold or part.italic or part.code
    value = part.value
    return marked or isinstance(value, When) or _mentions(value) or _leads(value)


def _leads(value: object) -> bool:
    return isinstance(value, Ref) and is_link(value.url)


def _mentions(value: object) -> bool:
    return isinstance(value, Person) and is_user(value.id)
