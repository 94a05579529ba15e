"""Every block, element and composition object of Block Kit as a table of shapes and limits.

Source: docs.slack.dev/reference/block-kit, read against the type definitions of @slack/types. Where
the two differ, the stricter one is taken, because a message that passes here must pass at Slack.
"""

from collections.abc import Iterator
from typing import Any

from lab.slack.schema import (
    Check,
    Context,
    array,
    at_least_one,
    boolean,
    by_type,
    complaint,
    exactly_one,
    fields,
    integer,
    matching,
    number,
    one_of,
    string,
    url,
)

IDENTIFIER = string(255)
DATE = matching(r"\d{4}-\d{2}-\d{2}", "a date in the format YYYY-MM-DD")
TIME = matching(r"([01]\d|2[0-3]):[0-5]\d", "a time in the format HH:mm")
STYLE = one_of("primary", "danger")


def _kind(name: str) -> Check:
    return one_of(name)


# -- text
# --------------------------------------------------------------------------------------------------


def plain(most: int = 3000, least: int = 1) -> Check:
    """Check for a `plain_text` object of at most `most` characters."""
    return fields({"type": _kind("plain_text"), "text": string(most, least)}, {"emoji": boolean})


def mrkdwn(most: int = 3000, least: int = 1) -> Check:
    """Check for a `mrkdwn` object of at most `most` characters."""
    return fields({"type": _kind("mrkdwn"), "text": string(most, least)}, {"verbatim": boolean})


def text(most: int = 3000, least: int = 1) -> Check:
    """Check for a text object of either kind; Slack says first that no schema matched, then why."""
    either = by_type({"plain_text": plain(most, least), "mrkdwn": mrkdwn(most, least)})

    def check(value: Any, at: str, context: Context) -> Iterator[str]:
        faults = list(either(value, at, context))
        if faults:
            yield complaint("failed to match all allowed schemas", at)
            yield from faults

    return check


def _mrkdwn_or_plain_string(most: int) -> Check:
    return text(most)


# -- composition objects
# ---------------------------------------------------------------------------------------

CONFIRM = fields(
    {"text": text(300)},
    {"title": plain(100), "confirm": plain(30), "deny": plain(30), "style": STYLE},
)


def option(label: Check, *, with_url: bool = False) -> Check:
    """Check for an option object; only overflow menus may carry a `url`."""
    more = {"url": url()} if with_url else {}
    return fields({"text": label, "value": string(150)}, {"description": text(75), **more})


PLAIN_OPTION = option(plain(75))
RICH_OPTION = option(text(75))
OPTION_GROUP = fields({"label": plain(75), "options": array(PLAIN_OPTION, 100)})
DISPATCH = fields(
    {}, {"trigger_actions_on": array(one_of("on_enter_pressed", "on_character_entered"), 2)}
)
CONVERSATION_FILTER = fields(
    {},
    {
        "include": array(one_of("im", "mpim", "private", "public")),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
    at_least_one("include", "exclude_external_shared_channels", "exclude_bot_users"),
)


def _slack_file(value: Any, at: str, context: Context) -> Iterator[str]:
    faults = list(
        fields({}, {"id": string(), "url": string()}, exactly_one("id", "url"))(value, at, context)
    )
    if not faults and not context.is_image_file(value):
        faults.append(complaint("invalid slack file", at))
    yield from faults


def _initial_among_options(value: Any, at: str, _: Context) -> Iterator[str]:
    groups = value.get("option_groups", [])
    choices = value.get("options", []) + [each for group in groups for each in group["options"]]
    values = {each["value"] for each in choices}
    chosen = value.get("initial_options", [])
    single = [value["initial_option"]] if "initial_option" in value else []
    for each in [*chosen, *single]:
        if each["value"] not in values:
            yield complaint("initial option must match one of the options", at)


def _distinct_values(value: Any, at: str, _: Context) -> Iterator[str]:
    values = [each["value"] for each in value.get("options", [])]
    if len(set(values)) != len(values):
        yield complaint("option values must be unique", f"{at}/options")


# -- elements
# --------------------------------------------------------------------------------------------------


def _element(
    name: str, required: dict[str, Check], optional: dict[str, Check], *rules: Check
) -> Check:
    return fields({"type": _kind(name), **required}, {"action_id": IDENTIFIER, **optional}, *rules)


_CONFIRM: dict[str, Check] = {"confirm": CONFIRM}
_FOCUS: dict[str, Check] = {"focus_on_load": boolean}
_HINT: dict[str, Check] = {"placeholder": plain(150)}
_MENU = {**_CONFIRM, **_FOCUS, **_HINT}
_MULTI: dict[str, Check] = {**_MENU, "max_selected_items": integer(1)}
_TYPED: dict[str, Check] = {
    **_FOCUS,
    **_HINT,
    "dispatch_action_config": DISPATCH,
    "initial_value": string(least=0),
}
_CHOICES: dict[str, Check] = {
    "options": array(PLAIN_OPTION, 100),
    "option_groups": array(OPTION_GROUP, 100),
}

IMAGE_ELEMENT = fields(
    {"type": _kind("image"), "alt_text": string(2000)},
    {"image_url": url(), "slack_file": _slack_file},
    exactly_one("image_url", "slack_file"),
)
BUTTON = _element(
    "button",
    {"text": plain(75)},
    {
        **_CONFIRM,
        "value": string(2000),
        "url": url(),
        "style": STYLE,
        "accessibility_label": string(75),
    },
)


def _bounds(low: str, high: str) -> Check:
    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if low in value and high in value and float(value[low]) > float(value[high]):
            yield complaint(f"{low} must not be greater than {high}", at)

    return check


_NUMERAL = matching(r"-?\d+(\.\d+)?", "a number")
_FEEDBACK = fields({"text": plain(75), "value": string(2000)}, {"accessibility_label": string(75)})
_INPUT_PARAMETER = fields({"name": string(), "value": string(least=0)})
_TRIGGER = fields(
    {"url": url()}, {"customizable_input_parameters": array(_INPUT_PARAMETER, least=0)}
)

ELEMENTS: dict[str, Check] = {
    "image": IMAGE_ELEMENT,
    "button": BUTTON,
    "checkboxes": _element(
        "checkboxes",
        {"options": array(RICH_OPTION, 10)},
        {**_CONFIRM, **_FOCUS, "initial_options": array(RICH_OPTION, 10)},
        _distinct_values,
        _initial_among_options,
    ),
    "radio_buttons": _element(
        "radio_buttons",
        {"options": array(RICH_OPTION, 10)},
        {**_CONFIRM, **_FOCUS, "initial_option": RICH_OPTION},
        _distinct_values,
        _initial_among_options,
    ),
    "overflow": _element(
        "overflow", {"options": array(option(plain(75), with_url=True), 5)}, _CONFIRM
    ),
    "datepicker": _element("datepicker", {}, {**_MENU, "initial_date": DATE}),
    "timepicker": _element("timepicker", {}, {**_MENU, "initial_time": TIME, "timezone": string()}),
    "datetimepicker": _element(
        "datetimepicker",
        {},
        {**_CONFIRM, **_FOCUS, "initial_date_time": integer(1_000_000_000, 9_999_999_999)},
    ),
    "static_select": _element(
        "static_select",
        {},
        {**_MENU, **_CHOICES, "initial_option": PLAIN_OPTION},
        exactly_one("options", "option_groups"),
        _initial_among_options,
    ),
    "multi_static_select": _element(
        "multi_static_select",
        {},
        {**_MULTI, **_CHOICES, "initial_options": array(PLAIN_OPTION, 100)},
        exactly_one("options", "option_groups"),
        _initial_among_options,
    ),
    "external_select": _element(
        "external_select",
        {},
        {**_MENU, "initial_option": PLAIN_OPTION, "min_query_length": integer(0)},
    ),
    "multi_external_select": _element(
        "multi_external_select",
        {},
        {**_MULTI, "initial_options": array(PLAIN_OPTION, 100), "min_query_length": integer(0)},
    ),
    "users_select": _element("users_select", {}, {**_MENU, "initial_user": string()}),
    "multi_users_select": _element(
        "multi_users_select", {}, {**_MULTI, "initial_users": array(string())}
    ),
    "conversations_select": _element(
        "conversations_select",
        {},
        {
            **_MENU,
            "initial_conversation": string(),
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": CONVERSATION_FILTER,
        },
    ),
    "multi_conversations_select": _element(
        "multi_conversations_select",
        {},
        {
            **_MULTI,
            "initial_conversations": array(string()),
            "default_to_current_conversation": boolean,
            "filter": CONVERSATION_FILTER,
        },
    ),
    "channels_select": _element(
        "channels_select",
        {},
        {**_MENU, "initial_channel": string(), "response_url_enabled": boolean},
    ),
    "multi_channels_select": _element(
        "multi_channels_select", {}, {**_MULTI, "initial_channels": array(string())}
    ),
    "plain_text_input": _element(
        "plain_text_input",
        {},
        {
            **_TYPED,
            "initial_value": string(3000, 0),
            "multiline": boolean,
            "min_length": integer(0, 3000),
            "max_length": integer(1, 3000),
        },
        _bounds("min_length", "max_length"),
    ),
    "email_text_input": _element("email_text_input", {}, _TYPED),
    "url_text_input": _element("url_text_input", {}, _TYPED),
    "number_input": _element(
        "number_input",
        {"is_decimal_allowed": boolean},
        {**_TYPED, "initial_value": _NUMERAL, "min_value": _NUMERAL, "max_value": _NUMERAL},
        _bounds("min_value", "max_value"),
    ),
    "file_input": _element(
        "file_input", {}, {"filetypes": array(string()), "max_files": integer(1, 10)}
    ),
    "workflow_button": _element(
        "workflow_button",
        {"text": plain(75), "workflow": fields({"trigger": _TRIGGER})},
        {**_CONFIRM, "style": STYLE, "accessibility_label": string(75)},
    ),
    "feedback_buttons": _element(
        "feedback_buttons", {"positive_button": _FEEDBACK, "negative_button": _FEEDBACK}, {}
    ),
    "icon_button": _element(
        "icon_button",
        {"icon": one_of("trash"), "text": plain(75)},
        {
            **_CONFIRM,
            "value": string(2000),
            "accessibility_label": string(75),
            "visible_to_user_ids": array(string(), 10),
        },
    ),
}

MULTI_SELECTS = tuple(name for name in ELEMENTS if name.startswith("multi_"))
SELECTS = (
    "static_select",
    "external_select",
    "users_select",
    "conversations_select",
    "channels_select",
)
TYPED_INPUTS = (
    "plain_text_input",
    "email_text_input",
    "url_text_input",
    "number_input",
    "rich_text_input",
)


# -- rich text
# -------------------------------------------------------------------------------------------------

_TEXT_STYLE = fields(
    {},
    dict.fromkeys(
        (
            "bold",
            "italic",
            "strike",
            "code",
            "underline",
            "highlight",
            "client_highlight",
            "unlink",
        ),
        boolean,
    ),
)


def _inline(
    name: str, required: dict[str, Check], optional: dict[str, Check] | None = None
) -> Check:
    return fields({"type": _kind(name), **required}, {"style": _TEXT_STYLE, **(optional or {})})


INLINE: dict[str, Check] = {
    "text": _inline("text", {"text": string()}),
    "link": _inline("link", {"url": string()}, {"text": string(), "unsafe": boolean}),
    "emoji": _inline(
        "emoji", {"name": string()}, {"unicode": string(), "url": url(), "skin_tone": integer(1, 6)}
    ),
    "user": _inline("user", {"user_id": string()}),
    "usergroup": _inline("usergroup", {"usergroup_id": string()}),
    "channel": _inline("channel", {"channel_id": string()}),
    "team": _inline("team", {"team_id": string()}),
    "broadcast": _inline("broadcast", {"range": one_of("here", "channel", "everyone")}),
    "color": _inline(
        "color", {"value": matching(r"#[0-9A-Fa-f]{6}", "a hex color such as #1D9BD1")}
    ),
    "date": _inline(
        "date",
        {"timestamp": integer(), "format": string()},
        {"url": string(), "fallback": string()},
    ),
}
_INLINE = by_type(INLINE)
_SECTION = fields({"type": _kind("rich_text_section"), "elements": array(_INLINE, least=0)})
_BORDER: dict[str, Check] = {"border": one_of(0, 1)}
RICH_TEXT_PARTS: dict[str, Check] = {
    "rich_text_section": _SECTION,
    "rich_text_list": fields(
        {
            "type": _kind("rich_text_list"),
            "style": one_of("bullet", "ordered"),
            "elements": array(by_type({"rich_text_section": _SECTION})),
        },
        {"indent": integer(0, 8), "offset": integer(0), **_BORDER},
    ),
    "rich_text_quote": fields(
        {"type": _kind("rich_text_quote"), "elements": array(_INLINE)}, _BORDER
    ),
    "rich_text_preformatted": fields(
        {
            "type": _kind("rich_text_preformatted"),
            "elements": array(
                by_type({name: INLINE[name] for name in ("text", "link", "user", "emoji", "color")})
            ),
        },
        {**_BORDER, "language": string()},
    ),
}


def _block(
    name: str, required: dict[str, Check], optional: dict[str, Check] | None = None, *rules: Check
) -> Check:
    return fields(
        {"type": _kind(name), **required}, {"block_id": IDENTIFIER, **(optional or {})}, *rules
    )


RICH_TEXT = _block("rich_text", {"elements": array(by_type(RICH_TEXT_PARTS))})
ELEMENTS["rich_text_input"] = _element(
    "rich_text_input",
    {},
    {**_FOCUS, **_HINT, "dispatch_action_config": DISPATCH, "initial_value": RICH_TEXT},
)


# -- blocks
# --------------------------------------------------------------------------------------------------


def _elements(*names: str) -> Check:
    return by_type({name: ELEMENTS[name] for name in names})


_PICKERS = ("datepicker", "timepicker", "datetimepicker")
_IN_ACTIONS = _elements(
    "button",
    "checkboxes",
    "radio_buttons",
    "overflow",
    "workflow_button",
    "rich_text_input",
    *_PICKERS,
    *SELECTS,
    *MULTI_SELECTS,
)
_IN_SECTION = _elements(
    "button",
    "checkboxes",
    "radio_buttons",
    "overflow",
    "workflow_button",
    "image",
    *_PICKERS,
    *SELECTS,
    *MULTI_SELECTS,
)
_IN_INPUT = _elements(
    "checkboxes", "radio_buttons", "file_input", *_PICKERS, *SELECTS, *MULTI_SELECTS, *TYPED_INPUTS
)
_IN_CONTEXT = by_type({"image": IMAGE_ELEMENT, "plain_text": plain(), "mrkdwn": mrkdwn()})

_RAW_TEXT = fields({"type": _kind("raw_text"), "text": string()})
_RAW_NUMBER = fields({"type": _kind("raw_number"), "value": number(), "text": string()})
_COLUMN = fields({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})


def _column_setting(value: Any, at: str, context: Context) -> Iterator[str]:
    if value is not None:  # Slack lets a column be skipped with null
        yield from _COLUMN(value, at, context)


def _table_text(value: Any, at: str, _: Context) -> Iterator[str]:
    if readable_characters(value["rows"]) > TABLE_CHARACTERS:
        yield complaint(
            f"must be less than {TABLE_CHARACTERS + 1} characters in all cells", f"{at}/rows"
        )


TABLE_CHARACTERS = 10_000
DATA_TABLE_CHARACTERS = 20_000
TABLE = _block(
    "table",
    {"rows": array(array(by_type({"raw_text": _RAW_TEXT, "rich_text": RICH_TEXT}), 20), 100)},
    {"column_settings": array(_column_setting, 20, 0)},
    _table_text,
)


def _data_table_rows(value: Any, at: str, _: Context) -> Iterator[str]:
    rows = value["rows"]
    if any(len(row) != len(rows[0]) for row in rows):
        yield complaint("all rows must have the same number of columns", f"{at}/rows")
    if any(cell["type"] == "rich_text" for cell in rows[0]):
        yield complaint("header cells must not be rich_text", f"{at}/rows/0")
    if value.get("row_header_column_index", 0) >= len(rows[0]):
        yield complaint("must be a column of the table", f"{at}/row_header_column_index")
    if readable_characters(rows) > DATA_TABLE_CHARACTERS:
        yield complaint(
            f"must be less than {DATA_TABLE_CHARACTERS + 1} characters in all cells", f"{at}/rows"
        )


_CELL = by_type({"raw_text": _RAW_TEXT, "raw_number": _RAW_NUMBER, "rich_text": RICH_TEXT})
DATA_TABLE = _block(
    "data_table",
    {"rows": array(array(_CELL, 20), 201, 2), "caption": string()},
    {"page_size": integer(1, 100), "row_header_column_index": integer(0)},
    _data_table_rows,
)

_POINT = fields({"label": string(20), "value": number()})
_SERIES = fields({"name": string(20), "data": array(_POINT, 20)})
_AXIS = fields(
    {"categories": array(string(20), 20)}, {"x_label": string(50), "y_label": string(50)}
)


def _series_match_axis(value: Any, at: str, _: Context) -> Iterator[str]:
    categories = value["axis_config"]["categories"]
    if len(set(categories)) != len(categories):
        yield complaint("categories must be unique", f"{at}/axis_config/categories")
    names = [each["name"] for each in value["series"]]
    if len(set(names)) != len(names):
        yield complaint("series names must be unique", f"{at}/series")
    for index, each in enumerate(value["series"]):
        if sorted(point["label"] for point in each["data"]) != sorted(categories):
            yield complaint(
                "must have exactly one point for every category", f"{at}/series/{index}/data"
            )


def _axis_chart(name: str) -> Check:
    return fields(
        {"type": _kind(name), "series": array(_SERIES, 6), "axis_config": _AXIS},
        {},
        _series_match_axis,
    )


_SEGMENT = fields({"label": string(20), "value": number(above=0)})
CHART = by_type(
    {
        "pie": fields({"type": _kind("pie"), "segments": array(_SEGMENT, 6)}),
        **{name: _axis_chart(name) for name in ("bar", "area", "line")},
    }
)

_SOURCE = fields({"type": _kind("url"), "url": url(), "text": string()})
_TASK: dict[str, Check] = {"task_id": string(), "title": string()}
_TASK_MORE: dict[str, Check] = {
    "details": RICH_TEXT,
    "output": RICH_TEXT,
    "sources": array(_SOURCE, least=0),
}
_STATUS = one_of("pending", "in_progress", "complete", "error")
_PLAN_TASK = fields(
    {**_TASK, "status": _STATUS},
    {**_TASK_MORE, "type": _kind("task_card"), "block_id": IDENTIFIER},
)


def _distinct_tasks(value: Any, at: str, _: Context) -> Iterator[str]:
    names = [task["task_id"] for task in value.get("tasks", [])]
    if len(set(names)) != len(names):
        yield complaint("task_id must be unique within a plan", f"{at}/tasks")


CARD = _block(
    "card",
    {},
    {
        "hero_image": IMAGE_ELEMENT,
        "icon": IMAGE_ELEMENT,
        "slack_icon": fields({"type": _kind("icon"), "name": string()}),
        "title": _mrkdwn_or_plain_string(150),
        "subtitle": _mrkdwn_or_plain_string(150),
        "body": _mrkdwn_or_plain_string(200),
        "subtext": _mrkdwn_or_plain_string(200),
        "actions": array(BUTTON, 3),
    },
    at_least_one("hero_image", "title", "actions", "body"),
)


def _dispatch_only_where_it_can(value: Any, at: str, context: Context) -> Iterator[str]:
    if context.surface == "message" and value.get("element", {}).get("type") == "file_input":
        yield complaint("unsupported type: file_input", f"{at}/element/type")


def _source_is_remote(value: Any, at: str, _: Context) -> Iterator[str]:
    if value["source"] != "remote":
        yield complaint("must be one of remote", f"{at}/source")


BLOCKS: dict[str, Check] = {
    "actions": _block("actions", {"elements": array(_IN_ACTIONS, 25)}),
    "alert": _block(
        "alert",
        {"text": text(200)},
        {"level": one_of("default", "info", "warning", "error", "success")},
    ),
    "card": CARD,
    "carousel": _block("carousel", {"elements": array(by_type({"card": CARD}), 10)}),
    "context": _block("context", {"elements": array(_IN_CONTEXT, 10)}),
    "context_actions": _block(
        "context_actions", {"elements": array(_elements("feedback_buttons", "icon_button"), 5)}
    ),
    "data_table": DATA_TABLE,
    "data_visualization": _block("data_visualization", {"title": string(50), "chart": CHART}),
    "divider": _block("divider", {}),
    "file": _block("file", {"external_id": string(), "source": string()}, {}, _source_is_remote),
    "header": _block("header", {"text": plain(150)}, {"level": integer(1, 4)}),
    "image": _block(
        "image",
        {"alt_text": string(2000)},
        {"image_url": url(), "slack_file": _slack_file, "title": plain(2000)},
        exactly_one("image_url", "slack_file"),
    ),
    "input": _block(
        "input",
        {"label": plain(2000), "element": _IN_INPUT},
        {"hint": plain(2000), "optional": boolean, "dispatch_action": boolean},
        _dispatch_only_where_it_can,
    ),
    "markdown": _block("markdown", {"text": string(12_000)}),
    "plan": _block(
        "plan", {"title": string(), "tasks": array(_PLAN_TASK, 50, 0)}, {}, _distinct_tasks
    ),
    "rich_text": RICH_TEXT,
    "section": _block(
        "section",
        {},
        {
            "text": text(3000),
            "fields": array(text(2000), 10),
            "accessory": _IN_SECTION,
            "expand": boolean,
        },
        at_least_one("text", "fields"),
    ),
    "table": TABLE,
    # A card that stands alone can't be pending; only a plan's tasks can.
    "task_card": _block(
        "task_card", {**_TASK, "status": one_of("in_progress", "complete", "error")}, _TASK_MORE
    ),
    "video": _block(
        "video",
        {"alt_text": string(2000), "title": plain(200), "thumbnail_url": url(), "video_url": url()},
        {
            "author_name": string(50),
            "description": plain(200),
            "provider_icon_url": url(2000),
            "provider_name": string(50),
            "title_url": url(2000),
        },
    ),
}

_CONTAINED = (
    "actions",
    "context",
    "divider",
    "file",
    "header",
    "image",
    "input",
    "rich_text",
    "section",
    "table",
    "video",
)


def _collapsing(value: Any, at: str, _: Context) -> Iterator[str]:
    if value.get("default_collapsed") and not value.get("is_collapsible"):
        yield complaint("default_collapsed needs is_collapsible", at)
    if value.get("has_header_divider") and value.get("is_collapsible"):
        yield complaint("has_header_divider is not allowed when is_collapsible", at)


BLOCKS["container"] = _block(
    "container",
    {"child_blocks": array(by_type({name: BLOCKS[name] for name in _CONTAINED}), 10)},
    {
        "title": plain(150),
        "rich_text_title": RICH_TEXT,
        "subtitle": text(150),
        "width": one_of("narrow", "standard", "wide", "full"),
        "icon": IMAGE_ELEMENT,
        "is_collapsible": boolean,
        "default_collapsed": boolean,
        "has_header_divider": boolean,
    },
    at_least_one("title", "rich_text_title"),
    _collapsing,
)

SURFACES: dict[str, frozenset[str]] = {
    "message": frozenset(BLOCKS) - {"alert"},
    "modal": frozenset(
        {
            "actions",
            "alert",
            "card",
            "context",
            "divider",
            "header",
            "image",
            "input",
            "rich_text",
            "section",
            "video",
        }
    ),
    "home": frozenset(BLOCKS)
    - {"alert", "context_actions", "file", "markdown", "plan", "task_card"},
}

BLOCK = by_type(BLOCKS, lambda context: SURFACES[context.surface])

_READABLE = frozenset(
    {"text", "title", "label", "name", "caption", "alt_text", "x_label", "y_label", "categories"}
)


def readable_characters(value: Any, key: str = "text") -> int:
    """Count the characters people read in some blocks (labels, texts, titles.

    Not ids, values or addresses).
    """
    if isinstance(value, str):
        return len(value) if key in _READABLE else 0
    if isinstance(value, dict):
        return sum(readable_characters(each, name) for name, each in value.items())
    if isinstance(value, list):
        return sum(readable_characters(each, key) for each in value)
    return 0
