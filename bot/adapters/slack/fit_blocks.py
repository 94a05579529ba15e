"""The outgoing choke point: every message passes here, is shortened to what Slack takes.

Or becomes text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bot.adapters.slack import limits
from bot.adapters.slack.api import Json
from bot.adapters.slack.text import cut

LEFT_OUT = "[…]"
"""Where Slack takes no more of a message: the sign of an omission in every language."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A message that Slack will take.

    ``faults``: why blocks became text, for the log; empty when they did not.
    """

    text: str
    blocks: list[Json]
    faults: tuple[str, ...] = ()


def fit(text: str, blocks: list[Json], told: str, surface: str = "message") -> Fitted:
    """The message within Slack's limits.

    Args:
        text: the notification's line.
        blocks: Block Kit blocks.
        told: the whole message as text, used when the blocks cannot be mended.
        surface: message or home.
    """
    few = _fewer(blocks, _most(surface))
    short = _shorter(few) if surface == "message" else few
    faults = tuple(complaints(short, surface))
    if faults:
        return Fitted(cut(told, limits.TEXT), [], faults)
    return Fitted(cut(text, limits.TEXT) or "Drover", short)


def _most(surface: str) -> int:
    return limits.MESSAGE_BLOCKS if surface == "message" else limits.VIEW_BLOCKS


def _note() -> Json:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": LEFT_OUT}]}


def _shorter(blocks: list[Json]) -> list[Json]:
    """Without the last long parts when there are too many characters; header and buttons stay."""
    kept = list(blocks)
    dropped = False
    most = limits.CHARACTERS
    while limits.characters(kept) > most:
        droppable = [index for index, block in enumerate(kept) if _may_go(block)]
        if not droppable:
            break
        long = [index for index in droppable if limits.characters(kept[index]) > 500]
        del kept[(long or droppable)[-1]]
        dropped = True
        # The note that follows has to fit as well
        most = limits.CHARACTERS - limits.characters(_note())
    return _with_note(kept) if dropped else kept


def _fewer(blocks: list[Json], most: int) -> list[Json]:
    """Without the last parts when there are too many.

    Header and buttons stay as long as they can.
    """
    if len(blocks) <= most:
        return blocks
    kept = list(blocks)
    while len(kept) >= most:
        droppable = [index for index, block in enumerate(kept) if _may_go(block)]
        del kept[droppable[-1] if droppable else len(kept) - 1]
    return _with_note(kept)


def _may_go(block: Json) -> bool:
    return block["type"] not in ("header", "actions") and "accessory" not in block


def _with_note(blocks: list[Json]) -> list[Json]:
    """With the note that something is missing, before the last buttons."""
    if any(block == _note() for block in blocks):
        return blocks
    at = len(blocks) - 1 if blocks and blocks[-1]["type"] == "actions" else len(blocks)
    return [*blocks[:at], _note(), *blocks[at:]]


def complaints(blocks: list[Json], surface: str = "message") -> Iterator[str]:
    """Everything Slack would refuse, told with its place.

    The blocks' builders check most; this trusts nobody.
    """
    if len(blocks) > _most(surface):
        yield f"{len(blocks)} blocks"
    if surface == "message" and limits.characters(blocks) > limits.CHARACTERS:
        # no message: for the log
        yield f"{limits.characters(blocks)} characters in all blocks"
    kinds = Counter(block.get("type") for block in blocks)
    if kinds["table"] > 1:
        yield f"{kinds['table']} tables"
    if kinds["data_visualization"] > limits.CHARTS:
        yield f"{kinds['data_visualization']} charts"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(set(ids)) != len(ids):
        yield "a block_id twice"
    for index, block in enumerate(blocks):
        for fault in _block(block):
            yield f"blocks[{index}] {block.get('type')}: {fault}"


def _block(block: Json) -> Iterator[str]:
    yield from _long(block.get("block_id", ""), limits.ID, "block_id")
    check = _CHECKS.get(str(block.get("type")))
    if check is None:
        # no message: for the log
        yield f"a block of type {block.get('type')!r}, which Drover does not send"
    else:
        yield from check(block)


def _header(block: Json) -> Iterator[str]:
    yield from _text(block["text"], limits.HEADER, "text")


def _context(block: Json) -> Iterator[str]:
    yield from _many(block["elements"], limits.CONTEXT, "elements")
    for element in block["elements"]:
        yield from _text(element, limits.CONTEXT_TEXT, "text")


def _image(block: Json) -> Iterator[str]:
    yield from _long(block["alt_text"], limits.ALT, "alt_text", least=1)


def _section(block: Json) -> Iterator[str]:
    if "text" not in block and not block.get("fields"):
        yield "neither text nor fields"
    if "text" in block:
        yield from _text(block["text"], limits.SECTION, "text")
    yield from _many(block.get("fields", [None]), limits.FIELDS, "fields")
    for field in block.get("fields", []):
        yield from _text(field, limits.FIELD, "field")
    if "accessory" in block:
        beside = block["accessory"]
        yield from _button(beside) if beside["type"] == "button" else _menu(beside)


def _actions(block: Json) -> Iterator[str]:
    elements = block["elements"]
    yield from _many(elements, limits.BUTTONS, "elements")
    ids = [element["action_id"] for element in elements]
    if len(set(ids)) != len(ids):
        yield "an action_id twice"
    for element in elements:
        yield from _button(element)


def _menu(menu: Json) -> Iterator[str]:
    most = limits.OVERFLOW if menu["type"] == "overflow" else limits.OPTIONS
    yield from _many(menu["options"], most, "options")
    if "placeholder" in menu:
        yield from _text(menu["placeholder"], limits.PLACEHOLDER, "placeholder")
    yield from _long(menu["action_id"], limits.ID, "action_id", least=1)
    for each in menu["options"]:
        yield from _text(each["text"], limits.OPTION_TEXT, "option")
        yield from _long(each["value"], limits.OPTION_VALUE, "value", least=1)


def _button(button: Json) -> Iterator[str]:
    yield from _text(button["text"], limits.BUTTON, "button text")
    yield from _long(button["action_id"], limits.ID, "action_id", least=1)
    yield from _long(button.get("value", ""), limits.VALUE, "value")
    confirm: Mapping[str, Json] = button.get("confirm", {})
    sizes = {"title": limits.CONFIRM_TITLE, "text": limits.CONFIRM_TEXT}
    for key in ("title", "text", "confirm", "deny"):
        if key in confirm:
            yield from _text(confirm[key], sizes.get(key, limits.CONFIRM_BUTTON), f"confirm {key}")


def _table(block: Json) -> Iterator[str]:
    yield from _many(block["rows"], limits.ROWS, "rows")
    for row in block["rows"]:
        yield from _many(row, limits.COLUMNS, "columns")
        for cell in row:
            if cell["type"] == "raw_text":
                yield from _long(cell["text"], limits.TABLE_CHARACTERS, "cell", least=1)


def _plan(block: Json) -> Iterator[str]:
    yield from _many(block["tasks"], limits.TASKS, "tasks")
    ids = [task["task_id"] for task in block["tasks"]]
    if len(set(ids)) != len(ids):
        yield "a task_id twice"


def _chart(block: Json) -> Iterator[str]:
    yield from _long(block["title"], limits.CHART_TITLE, "title", least=1)
    yield from _many(block["chart"]["series"], limits.SERIES, "series")
    yield from _many(block["chart"]["axis_config"]["categories"], limits.POINTS, "categories")


def _text(text: Json, most: int, what: str) -> Iterator[str]:
    yield from _long(text.get("text", ""), most, what, least=1)


def _long(text: str, most: int, what: str, least: int = 0) -> Iterator[str]:
    if not least <= len(text) <= most:
        yield f"{what} of {len(text)} characters"


def _many(items: list[object], most: int, what: str) -> Iterator[str]:
    if not 1 <= len(items) <= most:
        yield f"{len(items)} {what}"


_CHECKS: Mapping[str, Callable[[Json], Iterator[str]]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "table": _table,
    "plan": _plan,
    "image": _image,
    "data_visualization": _chart,
    "divider": lambda _: iter(()),
    "input": lambda _: iter(()),
}
