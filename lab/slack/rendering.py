"""Blocks as plain lines, for transcripts and for tests that read what a person would read."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]


def plain_blocks(blocks: Iterable[Json]) -> str:
    """Answer blocks as lines of text; buttons in brackets, tables in columns."""
    return "\n".join(line for block in blocks for line in _lines(block) if line)


def _words(value: Any) -> str:
    return str(value.get("text", "")) if isinstance(value, Mapping) else str(value or "")


def _lines(block: Json) -> list[str]:
    render = _RENDER.get(str(block.get("type")))
    return render(block) if render else [f"({block.get('type')})"]


def _section(block: Json) -> list[str]:
    lines = [_words(block.get("text"))] + [
        _words(each).replace("\n", ": ", 1) for each in block.get("fields", [])
    ]
    return [*lines, _element(block["accessory"])] if "accessory" in block else lines


def _element(element: Json) -> str:
    kind = str(element.get("type"))
    if kind in ("plain_text", "mrkdwn"):
        return _words(element)
    if kind == "image":
        return f"(image: {element.get('alt_text', '')})"
    if kind == "overflow":
        return "[⋮ " + " | ".join(_words(each["text"]) for each in element.get("options", [])) + "]"
    if "placeholder" in element:
        return f"[{_words(element['placeholder'])} ▾]"
    return f"[{_words(element.get('text')) or kind}]"


def _elements(block: Json) -> list[str]:
    return [" ".join(_element(each) for each in block["elements"])]


def _inline(element: Json) -> str:
    kind = element["type"]
    shown: dict[str, Callable[[], str]] = {
        "text": lambda: str(element["text"]),
        "link": lambda: str(element.get("text") or element["url"]),
        "user": lambda: f"<@{element['user_id']}>",
        "channel": lambda: f"<#{element['channel_id']}>",
        "usergroup": lambda: f"<!subteam^{element['usergroup_id']}>",
        "emoji": lambda: f":{element['name']}:",
        "broadcast": lambda: f"@{element['range']}",
        "date": lambda: str(element.get("fallback", element["timestamp"])),
    }
    return shown[kind]() if kind in shown else f"({kind})"


def _rich_part(part: Json) -> list[str]:
    kind = part["type"]
    if kind == "rich_text_list":
        marks = (
            (f"{n}." for n in range(1, 1000))
            if part["style"] == "ordered"
            else ("•" for _ in range(1000))
        )
        return [
            f"{mark} {''.join(map(_inline, each['elements']))}"
            for mark, each in zip(marks, part["elements"], strict=False)
        ]
    text = "".join(map(_inline, part["elements"]))
    return (
        [f"> {line}" for line in text.splitlines()]
        if kind == "rich_text_quote"
        else text.splitlines()
    )


def _rich(block: Json) -> list[str]:
    return [line for part in block["elements"] for line in _rich_part(part)]


def _cell(cell: Json) -> str:
    return " ".join(_rich(cell)) if cell["type"] == "rich_text" else str(cell.get("text", ""))


def _table(block: Json) -> list[str]:
    rows = [[_cell(cell) for cell in row] for row in block["rows"]]
    widths = [
        max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(max(map(len, rows)))
    ]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]


_MARKS = {"pending": "☐", "in_progress": "◐", "complete": "☑", "error": "☒"}


def _task(task: Json) -> list[str]:
    more = [
        f"    {line}"
        for name in ("details", "output")
        if name in task
        for line in _rich(task[name])
    ]
    return [f"{_MARKS[task['status']]} {task['title']}", *more]


def _chart(block: Json) -> list[str]:
    chart = block["chart"]
    if chart["type"] == "pie":
        parts = [f"{each['label']} {each['value']:g}" for each in chart["segments"]]
        return [f"(pie) {block['title']}", *parts]
    series = [
        f"{each['name']}: " + ", ".join(f"{p['label']} {p['value']:g}" for p in each["data"])
        for each in chart["series"]
    ]
    return [f"({chart['type']} chart) {block['title']}", *series]


def _input(block: Json) -> list[str]:
    return [f"{_words(block['label'])}: {_element(block['element'])}"]


def _card(block: Json) -> list[str]:
    lines = [
        _words(block[name]) for name in ("title", "subtitle", "body", "subtext") if name in block
    ]
    return [*lines, " ".join(_element(each) for each in block.get("actions", []))]


def _container(block: Json) -> list[str]:
    title = (
        _words(block["title"]) if "title" in block else " ".join(_rich(block["rich_text_title"]))
    )
    return [title, *(f"  {line}" for child in block["child_blocks"] for line in _lines(child))]


_RENDER: dict[str, Callable[[Json], list[str]]] = {
    "section": _section,
    "header": lambda block: [f"== {_words(block['text'])} =="],
    "divider": lambda _: ["────"],
    "context": _elements,
    "actions": _elements,
    "context_actions": _elements,
    "image": lambda block: [f"(image: {block['alt_text']})"],
    "markdown": lambda block: str(block["text"]).splitlines(),
    "alert": lambda block: [_words(block["text"])],
    "rich_text": _rich,
    "table": _table,
    "data_table": _table,
    "data_visualization": _chart,
    "plan": lambda block: [
        block["title"],
        *(line for task in block["tasks"] for line in _task(task)),
    ],
    "task_card": _task,
    "input": _input,
    "card": _card,
    "carousel": lambda block: [line for card in block["elements"] for line in _card(card)],
    "container": _container,
}
