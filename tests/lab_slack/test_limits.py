"""Every limit of Block Kit: what stands exactly on it passes, what is one beyond is refused with Slack's words."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.slack.schema import Context
from lab.slack.validate import (
    MESSAGE_CHARACTERS,
    judge_attachments,
    judge_blocks,
    judge_options,
    judge_text,
    judge_view,
)
from tests.lab_slack.parts import actions, button, modal, option, section, text_input, words

Json = dict[str, Any]
MESSAGE = Context("message", lambda reference: reference.get("id") == "F1")


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def act(element: Json) -> list[Json]:
    return [actions(element)]


def menu(kind: str, **more: Any) -> Json:
    return {"type": kind, "action_id": "a", **more}


def rich(text: str) -> Json:
    part = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [part]}


def raw(text: str = "x") -> Json:
    return {"type": "raw_text", "text": text}


def task(number: int, status: str = "complete") -> Json:
    return {"task_id": str(number), "title": "t", "status": status}


def line_chart(
    series: int = 1, points: int = 1, label: str = "p", title: str = "t", **axis: Any
) -> Json:
    names = [f"{label[:18]}{n}" if points > 1 else label for n in range(points)]
    data = [{"label": name, "value": n} for n, name in enumerate(names)]
    lines = [{"name": f"s{n}", "data": data} for n in range(series)]
    chart = {"type": "line", "series": lines, "axis_config": {"categories": names, **axis}}
    return {"type": "data_visualization", "title": title, "chart": chart}


def pie(segments: int = 1, value: float = 1, label: str = "s") -> Json:
    parts = [{"label": label, "value": value} for _ in range(segments)]
    return {"type": "data_visualization", "title": "t", "chart": {"type": "pie", "segments": parts}}


def image(**more: Any) -> Json:
    return {"type": "image", "alt_text": "a", "image_url": "https://example.com/a.png", **more}


def confirm(**more: Any) -> list[Json]:
    return act(button("b", confirm={"title": words("t"), "text": words("x"), **more}))


def inputs(element: Json, **more: Any) -> list[Json]:
    return [{"type": "input", "label": words("l"), "element": element, **more}]


def video(**more: Any) -> list[Json]:
    url = "https://example.com/v"
    return [
        {
            "type": "video",
            "alt_text": "a",
            "title": words("t"),
            "thumbnail_url": url,
            "video_url": url,
            **more,
        }
    ]


def card(**more: Any) -> Json:
    return {"type": "card", "title": mrkdwn("t"), **more}


def link(length: int) -> str:
    return "https://e.co/".ljust(length, "x")


# Each row: a name, how to build blocks of a size, the largest size allowed, and the complaint one
# beyond it.
SIZED: list[tuple[str, Callable[[int], list[Json]], int, str]] = [
    ("section text", lambda n: [section("x" * n)], 3000, "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    ("section fields", lambda n: [{"type": "section", "fields": [mrkdwn("x")] * n}], 10, "no more than 10 items allowed [json-pointer:/blocks/0/fields]"),
    ("section field text", lambda n: [{"type": "section", "fields": [mrkdwn("x" * n)]}], 2000, "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"),
    ("header", lambda n: [{"type": "header", "text": words("x" * n)}], 150, "must be less than 151 characters [json-pointer:/blocks/0/text/text]"),
    ("context elements", lambda n: [{"type": "context", "elements": [mrkdwn("x")] * n}], 10, "no more than 10 items allowed [json-pointer:/blocks/0/elements]"),
    ("actions elements", lambda n: [actions(*[button(f"a{i}") for i in range(n)])], 25, "no more than 25 items allowed [json-pointer:/blocks/0/elements]"),
    ("blocks", lambda n: [{"type": "divider"}] * n, 50, "no more than 50 items allowed [json-pointer:/blocks]"),
    ("block_id", lambda n: [{"type": "divider", "block_id": "x" * n}], 255, "must be less than 256 characters [json-pointer:/blocks/0/block_id]"),
    ("action_id", lambda n: act(button("x" * n, text=words("x"))), 255, "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"),
    ("button text", lambda n: act(button("a", text=words("x" * n))), 75, "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"),
    ("button value", lambda n: act(button("a", value="x" * n)), 2000, "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"),
    ("button url", lambda n: act(button("a", url=link(n))), 3000, "must be less than 3001 characters [json-pointer:/blocks/0/elements/0/url]"),
    ("button label", lambda n: act(button("a", accessibility_label="x" * n)), 75, "must be less than 76 characters [json-pointer:/blocks/0/elements/0/accessibility_label]"),
    ("confirm title", lambda n: confirm(title=words("x" * n)), 100, "must be less than 101 characters [json-pointer:/blocks/0/elements/0/confirm/title/text]"),
    ("confirm text", lambda n: confirm(text=mrkdwn("x" * n)), 300, "must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]"),
    ("confirm button", lambda n: confirm(confirm=words("x" * n)), 30, "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/confirm/text]"),
    ("confirm deny", lambda n: confirm(deny=words("x" * n)), 30, "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/deny/text]"),
    ("options", lambda n: act(menu("static_select", options=[option(str(i)) for i in range(n)])), 100, "no more than 100 items allowed [json-pointer:/blocks/0/elements/0/options]"),
    ("option text", lambda n: act(menu("static_select", options=[{"text": words("x" * n), "value": "v"}])), 75, "must be less than 76 characters [json-pointer:/blocks/0/elements/0/options/0/text/text]"),
    ("option value", lambda n: act(menu("static_select", options=[{"text": words("x"), "value": "v" * n}])), 150, "must be less than 151 characters [json-pointer:/blocks/0/elements/0/options/0/value]"),
    ("option groups", lambda n: act(menu("static_select", option_groups=[{"label": words("g"), "options": [option("x")]}] * n)), 100, "no more than 100 items allowed [json-pointer:/blocks/0/elements/0/option_groups]"),
    ("group label", lambda n: act(menu("static_select", option_groups=[{"label": words("g" * n), "options": [option("x")]}])), 75, "must be less than 76 characters [json-pointer:/blocks/0/elements/0/option_groups/0/label/text]"),
    ("placeholder", lambda n: act(menu("external_select", placeholder=words("x" * n))), 150, "must be less than 151 characters [json-pointer:/blocks/0/elements/0/placeholder/text]"),
    ("overflow", lambda n: act(menu("overflow", options=[option(str(i)) for i in range(n)])), 5, "no more than 5 items allowed [json-pointer:/blocks/0/elements/0/options]"),
    ("radio buttons", lambda n: act(menu("radio_buttons", options=[option(str(i)) for i in range(n)])), 10, "no more than 10 items allowed [json-pointer:/blocks/0/elements/0/options]"),
    ("checkboxes", lambda n: act(menu("checkboxes", options=[option(str(i)) for i in range(n)])), 10, "no more than 10 items allowed [json-pointer:/blocks/0/elements/0/options]"),
    ("image alt", lambda n: [image(alt_text="x" * n)], 2000, "must be less than 2001 characters [json-pointer:/blocks/0/alt_text]"),
    ("image title", lambda n: [image(title=words("x" * n))], 2000, "must be less than 2001 characters [json-pointer:/blocks/0/title/text]"),
    ("image url", lambda n: [image(image_url=link(n))], 3000, "must be less than 3001 characters [json-pointer:/blocks/0/image_url]"),
    ("input label", lambda n: [text_input("b", "a") | {"label": words("x" * n)}], 2000, "must be less than 2001 characters [json-pointer:/blocks/0/label/text]"),
    ("input hint", lambda n: [text_input("b", "a") | {"hint": words("x" * n)}], 2000, "must be less than 2001 characters [json-pointer:/blocks/0/hint/text]"),
    ("input max_length", lambda n: [text_input("b", "a", max_length=n)], 3000, "must be less than 3001 [json-pointer:/blocks/0/element/max_length]"),
    ("markdown", lambda n: [{"type": "markdown", "text": "x" * n}], 12_000, "must be less than 12001 characters [json-pointer:/blocks/0/text]"),
    ("table rows", lambda n: [{"type": "table", "rows": [[raw()]] * n}], 100, "no more than 100 items allowed [json-pointer:/blocks/0/rows]"),
    ("table columns", lambda n: [{"type": "table", "rows": [[raw()] * n]}], 20, "no more than 20 items allowed [json-pointer:/blocks/0/rows/0]"),
    ("table settings", lambda n: [{"type": "table", "rows": [[raw()]], "column_settings": [{"align": "right"}] * n}], 20, "no more than 20 items allowed [json-pointer:/blocks/0/column_settings]"),
    ("table characters", lambda n: [{"type": "table", "rows": [[raw("x" * n)]]}], 10_000, "must be less than 10001 characters in all cells [json-pointer:/blocks/0/rows]"),
    ("data table rows", lambda n: [{"type": "data_table", "caption": "c", "rows": [[raw()]] * n}], 201, "no more than 201 items allowed [json-pointer:/blocks/0/rows]"),
    ("data table page", lambda n: [{"type": "data_table", "caption": "c", "rows": [[raw()]] * 2, "page_size": n}], 100, "must be less than 101 [json-pointer:/blocks/0/page_size]"),
    ("plan tasks", lambda n: [{"type": "plan", "title": "p", "tasks": [task(i) for i in range(n)]}], 50, "no more than 50 items allowed [json-pointer:/blocks/0/tasks]"),
    ("chart title", lambda n: [line_chart(title="x" * n)], 50, "must be less than 51 characters [json-pointer:/blocks/0/title]"),
    ("chart series", lambda n: [line_chart(series=n)], 6, "no more than 6 items allowed [json-pointer:/blocks/0/chart/series]"),
    ("chart points", lambda n: [line_chart(points=n)], 20, "no more than 20 items allowed [json-pointer:/blocks/0/chart/series/0/data]"),
    ("chart label", lambda n: [line_chart(label="x" * n)], 20, "must be less than 21 characters [json-pointer:/blocks/0/chart/series/0/data/0/label]"),
    ("chart axis", lambda n: [line_chart(x_label="x" * n)], 50, "must be less than 51 characters [json-pointer:/blocks/0/chart/axis_config/x_label]"),
    ("pie segments", lambda n: [pie(n)], 6, "no more than 6 items allowed [json-pointer:/blocks/0/chart/segments]"),
    ("charts", lambda n: [pie()] * n, 2, "no more than 2 data_visualization blocks allowed [json-pointer:/blocks]"),
    ("carousel", lambda n: [{"type": "carousel", "elements": [card()] * n}], 10, "no more than 10 items allowed [json-pointer:/blocks/0/elements]"),
    ("card title", lambda n: [card(title=mrkdwn("x" * n))], 150, "must be less than 151 characters [json-pointer:/blocks/0/title/text]"),
    ("card body", lambda n: [card(body=mrkdwn("x" * n))], 200, "must be less than 201 characters [json-pointer:/blocks/0/body/text]"),
    ("card actions", lambda n: [card(actions=[button(f"a{i}") for i in range(n)])], 3, "no more than 3 items allowed [json-pointer:/blocks/0/actions]"),
    ("container children", lambda n: [{"type": "container", "title": words("t"), "child_blocks": [{"type": "divider"}] * n}], 10, "no more than 10 items allowed [json-pointer:/blocks/0/child_blocks]"),
    ("video title", lambda n: video(title=words("x" * n)), 200, "must be less than 201 characters [json-pointer:/blocks/0/title/text]"),
    ("video author", lambda n: video(author_name="x" * n), 50, "must be less than 51 characters [json-pointer:/blocks/0/author_name]"),
    ("list indent", lambda n: [{"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "bullet", "indent": n, "elements": [rich("x")["elements"][0]]}]}], 8, "must be less than 9 [json-pointer:/blocks/0/elements/0/indent]"),
    ("feedback icons", lambda n: [{"type": "context_actions", "elements": [{"type": "icon_button", "icon": "trash", "text": words("x"), "action_id": f"a{i}"} for i in range(n)]}], 5, "no more than 5 items allowed [json-pointer:/blocks/0/elements]"),
    ("files", lambda n: inputs(menu("file_input", max_files=n)), 10, "must be less than 11 [json-pointer:/blocks/0/element/max_files]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "most", "words_of_slack"), [row[1:] for row in SIZED], ids=[row[0] for row in SIZED]
)
def test_the_limit_itself_passes_and_one_beyond_is_refused(
    build: Callable[[int], list[Json]], most: int, words_of_slack: str
) -> None:
    surface = "modal" if build(1)[0].get("element", {}).get("type") == "file_input" else "message"
    context = Context(surface)
    assert judge_blocks(build(most), context).messages == ()
    beyond = judge_blocks(build(most + 1), context)
    assert beyond.error == "invalid_blocks"
    assert f"[ERROR] {words_of_slack}" in beyond.messages


# Each row: a name, blocks that are wrong, and the whole of Slack's complaint.
WRONG: list[tuple[str, Any, str]] = [
    ("unknown block", [{"type": "hologram"}], "unsupported type: hologram [json-pointer:/blocks/0/type]"),
    ("no type", [{"text": "x"}], "missing required field: type [json-pointer:/blocks/0]"),
    ("alert in a message", [{"type": "alert", "text": words("x")}], "unsupported type: alert [json-pointer:/blocks/0/type]"),
    ("unknown element", act({"type": "lever"}), "unsupported type: lever [json-pointer:/blocks/0/elements/0/type]"),
    ("text field in actions", act({"type": "plain_text_input"}), "unsupported type: plain_text_input [json-pointer:/blocks/0/elements/0/type]"),
    ("button in an input", inputs(button("b")), "unsupported type: button [json-pointer:/blocks/0/element/type]"),
    ("empty section", [{"type": "section"}], "must define either `text` or `fields` [json-pointer:/blocks/0]"),
    ("empty text", [section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    ("text as a string", [{"type": "section", "text": "x"}], "must provide an object [json-pointer:/blocks/0/text]"),
    ("mrkdwn header", [{"type": "header", "text": mrkdwn("x")}], "must be one of plain_text [json-pointer:/blocks/0/text/type]"),
    ("mrkdwn button", act(button("a", text=mrkdwn("x"))), "must be one of plain_text [json-pointer:/blocks/0/elements/0/text/type]"),
    ("button without text", act({"type": "button", "action_id": "a"}), "missing required field: text [json-pointer:/blocks/0/elements/0]"),
    ("unknown property", act(button("a", disabled=True)), "invalid additional property: disabled [json-pointer:/blocks/0/elements/0]"),
    ("style", act(button("a", style="purple")), "must be one of primary, danger [json-pointer:/blocks/0/elements/0/style]"),
    ("no actions", [actions()], "no fewer than 1 items allowed [json-pointer:/blocks/0/elements]"),
    ("no options", act(menu("static_select", options=[])), "no fewer than 1 items allowed [json-pointer:/blocks/0/elements/0/options]"),
    ("neither options nor groups", act(menu("static_select")), "must define either `options` or `option_groups` [json-pointer:/blocks/0/elements/0]"),
    ("strange initial option", act(menu("static_select", options=[option("a")], initial_option=option("b"))), "initial option must match one of the options [json-pointer:/blocks/0/elements/0]"),
    ("url on a select's option", act(menu("static_select", options=[option("a") | {"url": "https://e.co"}])), "invalid additional property: url [json-pointer:/blocks/0/elements/0/options/0]"),
    ("double action_id", [actions(button("a"), button("a"))], "`action_id` 'a' must be unique [json-pointer:/blocks/0/elements/1/action_id]"),
    ("double block_id", [{"type": "divider", "block_id": "b"}] * 2, "`block_id` 'b' must be unique [json-pointer:/blocks/1/block_id]"),
    ("image without source", [{"type": "image", "alt_text": "x"}], "must define either `image_url` or `slack_file` [json-pointer:/blocks/0]"),
    ("image without alt", [{"type": "image", "image_url": "https://e.co/a.png"}], "missing required field: alt_text [json-pointer:/blocks/0]"),
    ("unknown file", [{"type": "image", "alt_text": "x", "slack_file": {"id": "F9"}}], "invalid slack file [json-pointer:/blocks/0/slack_file]"),
    ("bad url", act(button("a", url="host-a")), "must be a valid URL [json-pointer:/blocks/0/elements/0/url]"),
    ("bad date", act(menu("datepicker", initial_date="1/2/2026")), "must be a date in the format YYYY-MM-DD [json-pointer:/blocks/0/elements/0/initial_date]"),
    ("bad time", act(menu("timepicker", initial_time="25:00")), "must be a time in the format HH:mm [json-pointer:/blocks/0/elements/0/initial_time]"),
    ("bad moment", act(menu("datetimepicker", initial_date_time=12)), "must be greater than 999999999 [json-pointer:/blocks/0/elements/0/initial_date_time]"),
    ("min over max", inputs(menu("plain_text_input", min_length=9, max_length=3)), "min_length must not be greater than max_length [json-pointer:/blocks/0/element]"),
    ("number without decimals said", inputs(menu("number_input")), "missing required field: is_decimal_allowed [json-pointer:/blocks/0/element]"),
    ("two tables", [{"type": "table", "rows": [[raw()]]}] * 2, "only_one_table_allowed [json-pointer:/blocks]"),
    ("empty cell", [{"type": "table", "rows": [[raw("")]]}], "must be more than 0 characters [json-pointer:/blocks/0/rows/0/0/text]"),
    ("plain_text cell", [{"type": "table", "rows": [[words("x")]]}], "unsupported type: plain_text [json-pointer:/blocks/0/rows/0/0/type]"),
    ("uneven data table", [{"type": "data_table", "caption": "c", "rows": [[raw()], [raw()] * 2]}], "all rows must have the same number of columns [json-pointer:/blocks/0/rows]"),
    ("pending card alone", [{"type": "task_card", **task(1, "pending")}], "must be one of in_progress, complete, error [json-pointer:/blocks/0/status]"),
    ("double task", [{"type": "plan", "title": "p", "tasks": [task(1), task(1)]}], "task_id must be unique within a plan [json-pointer:/blocks/0/tasks]"),
    ("empty slice", [pie(value=0)], "must be greater than 0 [json-pointer:/blocks/0/chart/segments/0/value]"),
    ("points off the axis", [line_chart() | {"chart": {"type": "bar", "series": [{"name": "s", "data": [{"label": "a", "value": 1}]}], "axis_config": {"categories": ["b"]}}}], "must have exactly one point for every category [json-pointer:/blocks/0/chart/series/0/data]"),
    ("unknown chart", [{"type": "data_visualization", "title": "t", "chart": {"type": "radar"}}], "unsupported type: radar [json-pointer:/blocks/0/chart/type]"),
    ("unknown rich text", [{"type": "rich_text", "elements": [{"type": "paragraph"}]}], "unsupported type: paragraph [json-pointer:/blocks/0/elements/0/type]"),
    ("collapsed for ever", [{"type": "container", "title": words("t"), "default_collapsed": True, "child_blocks": [{"type": "divider"}]}], "default_collapsed needs is_collapsible [json-pointer:/blocks/0]"),
    ("container in a container", [{"type": "container", "title": words("t"), "child_blocks": [{"type": "plan"}]}], "unsupported type: plan [json-pointer:/blocks/0/child_blocks/0/type]"),
    ("empty card", [{"type": "card", "subtitle": mrkdwn("x")}], "must define either `hero_image` or `title` or `actions` or `body` [json-pointer:/blocks/0]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("blocks", "words_of_slack"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_wrong_block_is_refused_in_slacks_words(blocks: Any, words_of_slack: str) -> None:
    verdict = judge_blocks(blocks, MESSAGE)
    assert verdict.error == "invalid_blocks"
    assert f"[ERROR] {words_of_slack}" in verdict.messages


GOOD_ELEMENTS = [
    menu(
        "button",
        text=words("x"),
        value="v",
        url="https://e.co",
        style="danger",
        confirm={"text": mrkdwn("x")},
    ),
    menu("checkboxes", options=[option("a"), option("b")], initial_options=[option("a")]),
    menu(
        "radio_buttons", options=[{"text": mrkdwn("*a*"), "value": "a", "description": mrkdwn("d")}]
    ),
    menu("overflow", options=[option("a") | {"url": "https://e.co"}]),
    menu("static_select", options=[option("a")], initial_option=option("a"), focus_on_load=True),
    menu("multi_static_select", options=[option("a")], max_selected_items=1),
    menu("external_select", min_query_length=0, placeholder=words("x")),
    menu("multi_external_select", initial_options=[option("a")]),
    menu("users_select", initial_user="U0ANA"),
    menu("multi_users_select", initial_users=["U0ANA"]),
    menu(
        "conversations_select", default_to_current_conversation=True, filter={"include": ["public"]}
    ),
    menu("multi_conversations_select", initial_conversations=["C0OPS"]),
    menu("channels_select", initial_channel="C0OPS", response_url_enabled=True),
    menu("multi_channels_select"),
    menu("datepicker", initial_date="2026-11-23"),
    menu("timepicker", initial_time="09:30", timezone="Europe/Lisbon"),
    menu("datetimepicker", initial_date_time=1_700_000_000),
    menu("rich_text_input", initial_value=rich("x")),
    {
        "type": "workflow_button",
        "text": words("x"),
        "workflow": {"trigger": {"url": "https://e.co/t"}},
    },
]


@pytest.mark.parametrize("element", GOOD_ELEMENTS, ids=lambda element: element["type"])
def test_every_element_that_slack_takes_is_taken(element: Json) -> None:
    assert judge_blocks(act(element), MESSAGE).messages == ()


GOOD_INPUTS = [
    menu("plain_text_input", multiline=True, min_length=0, max_length=9, dispatch_action_config={"trigger_actions_on": ["on_enter_pressed"]}),
    menu("email_text_input", initial_value="a@b.c"),
    menu("url_text_input"),
    menu("number_input", is_decimal_allowed=False, min_value="1", max_value="8", initial_value="2"),
    menu("rich_text_input"),
    menu("file_input", filetypes=["png"], max_files=1),
    menu("checkboxes", options=[option("a")]),
    menu("datepicker"),
]  # fmt: skip


@pytest.mark.parametrize("element", GOOD_INPUTS, ids=lambda element: element["type"])
def test_every_input_that_slack_takes_is_taken(element: Json) -> None:
    view = modal(*inputs(element, optional=True, dispatch_action=False, hint=words("h")))
    assert judge_view(view, Context).messages == ()


INLINE = [
    {"type": "text", "text": "x", "style": {"bold": True, "code": True}},
    {"type": "link", "url": "https://e.co", "text": "e"},
    {"type": "emoji", "name": "tada"},
    {"type": "user", "user_id": "U0ANA"},
    {"type": "usergroup", "usergroup_id": "S0APPROVERS"},
    {"type": "channel", "channel_id": "C0OPS"},
    {"type": "broadcast", "range": "here"},
    {"type": "color", "value": "#1D9BD1"},
    {"type": "date", "timestamp": 1_700_000_000, "format": "{date_short}", "fallback": "then"},
]
GOOD_BLOCKS: list[Json] = [
    {"type": "divider"},
    {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": INLINE}, {"type": "rich_text_quote", "elements": INLINE}, {"type": "rich_text_preformatted", "elements": INLINE[:2], "border": 0}]},
    {"type": "table", "rows": [[raw("VM"), raw("host")], [rich("web-1"), raw("host-a")]], "column_settings": [None, {"align": "right", "is_wrapped": True}]},
    {"type": "data_table", "caption": "c", "rows": [[raw("VM"), raw("MiB")], [rich("web-1"), {"type": "raw_number", "value": 512, "text": "512"}]], "page_size": 10},
    line_chart(series=6, points=20, x_label="time", y_label="MiB"),
    pie(6, 0.5),
    {"type": "plan", "title": "Move", "tasks": [task(1, "pending") | {"details": rich("x"), "sources": [{"type": "url", "url": "https://e.co", "text": "e"}]}]},
    {"type": "task_card", **task(1, "error"), "output": rich("x")},
    {"type": "image", "alt_text": "a", "slack_file": {"id": "F1"}},
    {"type": "context", "elements": [mrkdwn("x"), image(), words("y")]},
    {"type": "context_actions", "elements": [{"type": "feedback_buttons", "action_id": "f", "positive_button": {"text": words("+"), "value": "1"}, "negative_button": {"text": words("-"), "value": "0"}}]},
    {"type": "carousel", "elements": [card(actions=[button("a")])]},
    {"type": "container", "title": words("t"), "is_collapsible": True, "default_collapsed": True, "child_blocks": [section("x")]},
    {"type": "file", "external_id": "e", "source": "remote"},
    {"type": "markdown", "text": "# x"},
    *video(provider_name="p", title_url="https://e.co"),
    section("x", accessory=image(), expand=True),
]  # fmt: skip


@pytest.mark.parametrize("block", GOOD_BLOCKS, ids=lambda block: block["type"])
def test_every_block_that_slack_takes_is_taken(block: Json) -> None:
    assert judge_blocks([block], MESSAGE).messages == ()


def test_all_blocks_together_are_refused_beyond_the_total() -> None:
    rows = [section("x" * 3000) for _ in range(4)]
    rest = MESSAGE_CHARACTERS - 12_000
    assert judge_blocks([*rows, section("x" * rest)], MESSAGE).error == ""
    assert judge_blocks([*rows, section("x" * (rest + 1))], MESSAGE).error == "msg_blocks_too_long"


def test_markdown_blocks_share_one_limit() -> None:
    halves = [{"type": "markdown", "text": "x" * 6000}] * 2
    assert judge_blocks(halves, MESSAGE).error == ""
    verdict = judge_blocks([*halves, {"type": "markdown", "text": "x"}], MESSAGE)
    assert "markdown blocks must be less than 12001 characters together" in verdict.messages[0]


@pytest.mark.parametrize("blocks", ["[]", {"type": "divider"}, ["divider"]])
def test_blocks_of_no_array_of_objects_are_a_format_error(blocks: Any) -> None:
    assert judge_blocks(blocks, MESSAGE).error == "invalid_blocks_format"


def test_text_limits_of_posting_and_updating() -> None:
    assert [judge_text("x" * n).error for n in (40_000, 40_001)] == ["", "msg_too_long"]
    assert [judge_text("x" * n, update=True).error for n in (4_000, 4_001)] == ["", "msg_too_long"]


def test_attachments_are_judged_with_their_blocks() -> None:
    assert judge_attachments([{"text": "x"}] * 100, MESSAGE).error == ""
    assert judge_attachments([{"text": "x"}] * 101, MESSAGE).error == "too_many_attachments"
    verdict = judge_attachments([{"blocks": [section("")]}], MESSAGE)
    assert "[json-pointer:/attachments/0/blocks/0/text/text]" in verdict.messages[1]


VIEWS: list[tuple[str, Json, str]] = [
    ("long title", modal(title="x" * 25), "must be less than 25 characters [json-pointer:/view/title/text]"),
    ("long submit", modal(submit=words("x" * 25)), "must be less than 25 characters [json-pointer:/view/submit/text]"),
    ("long metadata", modal(private_metadata="x" * 3001), "must be less than 3001 characters [json-pointer:/view/private_metadata]"),
    ("long callback", modal(callback_id="x" * 256), "must be less than 256 characters [json-pointer:/view/callback_id]"),
    ("many blocks", modal(*[{"type": "divider"}] * 101), "no more than 100 items allowed [json-pointer:/view/blocks]"),
    ("a plan", modal({"type": "plan", "title": "p", "tasks": []}), "unsupported type: plan [json-pointer:/view/blocks/0/type]"),
    ("two focused", modal(text_input("a", "a", focus_on_load=True), text_input("b", "b", focus_on_load=True)), "only one element may have focus_on_load [json-pointer:/view/blocks/1/element/focus_on_load]"),
    ("no title", {"type": "modal", "blocks": []}, "missing required field: title [json-pointer:/view]"),
    ("input without submit", {name: value for name, value in modal().items() if name != "submit"}, "`submit` is required when there is an input block [json-pointer:/view]"),
    ("titled home", {"type": "home", "title": words("x"), "blocks": []}, "invalid additional property: title [json-pointer:/view]"),
    ("unknown view", {"type": "window", "blocks": []}, "must be one of modal, home [json-pointer:/view/type]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("view", "words_of_slack"), [row[1:] for row in VIEWS], ids=[row[0] for row in VIEWS]
)
def test_a_wrong_view_is_refused_in_slacks_words(view: Json, words_of_slack: str) -> None:
    verdict = judge_view(view, Context)
    assert verdict.error == "invalid_arguments"
    assert f"[ERROR] {words_of_slack}" in verdict.messages


def test_a_full_modal_and_a_full_home_pass() -> None:
    assert judge_view(modal(*[{"type": "divider"}] * 100, title="x" * 24), Context).messages == ()
    assert judge_view({"type": "home", "blocks": [line_chart()]}, Context).messages == ()


def test_answers_to_block_suggestions() -> None:
    assert judge_options({"options": [option(str(n)) for n in range(100)]}).error == ""
    assert (
        judge_options({"option_groups": [{"label": words("g"), "options": [option("a")]}]}).error
        == ""
    )
    assert (
        judge_options({"options": [option(str(n)) for n in range(101)]}).error == "invalid_options"
    )
    assert judge_options(None).error == "invalid_options"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "elements"]), inner)
    ),
    max_leaves=5,
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Answer the path of every part of a JSON value."""
    below = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(each for name, sub in below for each in spots(sub, (*path, name)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Answer a JSON value with the part at a path replaced."""
    if not path:
        return new
    copied = copy.copy(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


@given(st.sampled_from(GOOD_BLOCKS + [actions(each) for each in GOOD_ELEMENTS]), st.data())
def test_no_block_however_broken_breaks_the_judge(block: Json, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(spots(block)))
    broken = replaced(block, path, data.draw(ANYTHING))
    verdict = judge_blocks([broken], MESSAGE)
    assert verdict.error in ("", "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long")
    assert bool(verdict.messages) == (verdict.error in ("invalid_blocks", "invalid_blocks_format"))
