"""What an element's answer looks like.

Initial answers, checks before a modal is sent, and the stored state.
"""

import re
from collections.abc import Mapping
from typing import Any

from lab.slack.validate import elements_of, walk_blocks

Json = dict[str, Any]

ANSWER_KEYS: dict[str, tuple[str, str]] = {
    # element type: (key of the answer, key of the initial value)
    "static_select": ("selected_option", "initial_option"),
    "external_select": ("selected_option", "initial_option"),
    "radio_buttons": ("selected_option", "initial_option"),
    "users_select": ("selected_user", "initial_user"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "channels_select": ("selected_channel", "initial_channel"),
    "multi_static_select": ("selected_options", "initial_options"),
    "multi_external_select": ("selected_options", "initial_options"),
    "checkboxes": ("selected_options", "initial_options"),
    "multi_users_select": ("selected_users", "initial_users"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
    "plain_text_input": ("value", "initial_value"),
    "email_text_input": ("value", "initial_value"),
    "url_text_input": ("value", "initial_value"),
    "number_input": ("value", "initial_value"),
    "rich_text_input": ("rich_text_value", "initial_value"),
    "file_input": ("files", ""),
}
"""Elements that keep an answer; buttons and overflow menus do not."""

MANY = frozenset(
    kind for kind, (key, _) in ANSWER_KEYS.items() if key.endswith("s") and key != "files"
)
REQUIRED = "Please complete this required field."


def empty_answer(element: Mapping[str, Any]) -> Json:
    """Answer what Slack says of an untouched element.

    Its initial value, or null (an empty list for many).
    """
    kind = str(element["type"])
    key, initial = ANSWER_KEYS[kind]
    return {"type": kind, key: element.get(initial, [] if kind in MANY else None)}


def initial_values(blocks: list[Json]) -> Json:
    """Answer the state of untouched blocks: {block_id: {action_id: answer}}."""
    values: Json = {}
    for block, _ in walk_blocks(blocks):
        for element, _ in elements_of(block):
            if element["type"] in ANSWER_KEYS:
                values.setdefault(block["block_id"], {})[element["action_id"]] = empty_answer(
                    element
                )
    return values


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> Json:
    """Answer a state with some answers replaced.

    An emptied text field is null, as Slack says it.
    """
    return {
        block: {
            **values.get(block, {}),
            **{name: _nulled(each) for name, each in more.get(block, {}).items()},
        }
        for block in {**values, **more}
    }


def _nulled(answer: Mapping[str, Any]) -> Json:
    return {name: None if value == "" else value for name, value in answer.items()}


def kept_answers(old: Mapping[str, Any], blocks: list[Json]) -> Json:
    """Answer the state after an update.

    What was typed stays where block and action id are the same.
    """
    fresh = initial_values(blocks)
    for block, answers in fresh.items():
        for action in answers:
            before = old.get(block, {}).get(action)
            if before and before.get("type") == answers[action]["type"]:
                answers[action] = before
    return fresh


def _is_empty(answer: Mapping[str, Any]) -> bool:
    return all(value in (None, "", []) for name, value in answer.items() if name != "type")


def _typed_fault(element: Mapping[str, Any], typed: str) -> str:
    kind = element["type"]
    if kind == "plain_text_input":
        least, most = element.get("min_length", 0), element.get("max_length", 3000)
        if len(typed) < least:
            return f"Please enter at least {least} characters."
        return f"Please enter at most {most} characters." if len(typed) > most else ""
    if kind == "email_text_input" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", typed):
        return "Please enter a valid email address."
    if kind == "url_text_input" and not re.fullmatch(r"https?://\S+", typed):
        return "Please enter a valid URL."
    return _number_fault(element, typed) if kind == "number_input" else ""


def _number_fault(element: Mapping[str, Any], typed: str) -> str:
    if not re.fullmatch(r"-?\d+" + (r"(\.\d+)?" if element["is_decimal_allowed"] else ""), typed):
        return "Please enter a number."
    if "min_value" in element and float(typed) < float(element["min_value"]):
        return f"Please enter a number of at least {element['min_value']}."
    if "max_value" in element and float(typed) > float(element["max_value"]):
        return f"Please enter a number of at most {element['max_value']}."
    return ""


def client_errors(blocks: list[Json], values: Mapping[str, Any]) -> dict[str, str]:
    """Answer what Slack's own client refuses to submit: {block_id: error}.

    Empty when all is filled in.
    """
    errors: dict[str, str] = {}
    for block, _ in walk_blocks(blocks):
        if block["type"] != "input":
            continue
        element = block["element"]
        answer = values.get(block["block_id"], {}).get(element["action_id"]) or empty_answer(
            element
        )
        if _is_empty(answer):
            fault = "" if block.get("optional") else REQUIRED
        else:
            fault = _typed_fault(element, str(answer.get("value") or ""))
        if fault:
            errors[block["block_id"]] = fault
    return errors
