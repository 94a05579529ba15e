"""What Slack delivers, read: who did what where, under a key that duplicates share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.adapters.slack.forms import FORM, NAMES, read_hidden
from bot.adapters.slack.text import command_text
from bot.domain.words import seemly
from bot.ports import Request

Json = Mapping[str, Any]
_TWIN = re.compile(r"#\d+$")


def from_command(body: Json, now: datetime) -> Request:
    """A slash command. Its trigger id is in every copy of the delivery."""
    return Request(
        key=f"command:{body['trigger_id']}",
        kind="command",
        by=body["user_id"],
        at=now,
        channel=body.get("channel_id", ""),
        text=command_text(body.get("text") or ""),
        trigger=body["trigger_id"],
        answer_to=body.get("response_url") or "",
    )


def from_mention(event: Json, bot_user: str, command: str, now: datetime) -> Request:
    """A mention of the bot or a direct message.

    A command in words, answered in the thread where it was written.

    Who writes the slash command itself (``@Drover /kvm hosts``) means what stands behind it.
    """
    text = command_text(event.get("text") or "", bot_user)
    if text == command or text.startswith(f"{command} "):
        text = text.removeprefix(command).strip()
    where = event.get("client_msg_id") or f"{event['channel']}:{event['ts']}"
    return Request(
        key=f"message:{where}",
        kind="command",
        by=event["user"],
        at=_moment(event["ts"], now),
        channel=event["channel"],
        text=text,
        message=event["ts"],
        thread=event.get("thread_ts", ""),
    )


def from_click(body: Json, now: datetime) -> Request:
    """A button (or a choice) in a message or on the home tab.

    ``at`` is the click, however late it arrives.
    """
    action = body["actions"][0]
    message: Json = body.get("message") or {}
    channel = (body.get("channel") or {}).get("id") or (body.get("container") or {}).get(
        "channel_id", ""
    )
    ts = message.get("ts") or (body.get("container") or {}).get("message_ts", "")
    place = f"{channel}:{ts}" if ts else (body.get("view") or {}).get("id", "")
    return Request(
        key=(
            f"click:{place}:{body['user']['id']}"
            f":{action.get('action_ts', '')}:{action['action_id']}"
        ),
        kind="click",
        by=body["user"]["id"],
        at=_moment(action.get("action_ts", ""), now),
        channel=channel,
        action=_TWIN.sub("", action["action_id"]),
        value=str(action.get("value") or (action.get("selected_option") or {}).get("value", "")),
        message=ts,
        thread=_thread(message),
        trigger=body.get("trigger_id", ""),
        answer_to=body.get("response_url") or "",
    )


def _thread(message: Json) -> str:
    """The thread that a message is a reply in; a message that has replies stands in none."""
    thread = str(message.get("thread_ts") or "")
    return "" if thread == message.get("ts") else thread


def from_form(body: Json, now: datetime) -> Request:
    """A submitted form. A view's id and hash are in every copy of the delivery."""
    view = body["view"]
    value, place = read_hidden(view.get("private_metadata", ""))
    return Request(
        key=f"form:{view['id']}:{view.get('hash', '')}",
        kind="form",
        by=body["user"]["id"],
        at=now,
        action=view.get("callback_id", "").removeprefix(FORM),
        value=value,
        channel=place.channel,
        thread=place.thread,
        answer_to=place.answer_to,
        answers=answers(view),
        trigger=body.get("trigger_id", ""),
    )


def from_home(event: Json, now: datetime) -> Request:
    """Somebody opened the home tab."""
    ts = event.get("event_ts", "")
    return Request(
        key=f"home:{event['user']}:{ts}", kind="home", by=event["user"], at=_moment(ts, now)
    )


def answers(view: Json) -> tuple[tuple[str, str], ...]:
    """A form's fields as (name, value), '' for what was left empty.

    Several values are joined by commas; names, which may hold one, as words of a line.
    """
    state: Json = (view.get("state") or {}).get("values", {})
    return tuple(
        (name, _value(given, names=action.startswith(NAMES)))
        for name, inputs in state.items()
        for action, given in inputs.items()
    )


def blank(view: Json) -> tuple[str, ...]:
    """Fields that must be filled in and hold nothing but white space.

    Which Slack's clients let through.
    """
    state: Json = (view.get("state") or {}).get("values", {})
    needed = [
        each
        for each in view.get("blocks", ())
        if each.get("type") == "input" and not each.get("optional")
    ]
    texts = [
        each["block_id"]
        for each in needed
        if each.get("element", {}).get("type") == "plain_text_input"
    ]
    return tuple(
        name
        for name in texts
        if not any(_value(given).strip() for given in state.get(name, {}).values())
    )


def _value(given: Json, *, names: bool = False) -> str:
    if "selected_option" in given:
        return str((given["selected_option"] or {}).get("value", ""))
    if "selected_options" in given:
        values = [str(each.get("value", "")) for each in given["selected_options"] or ()]
        as_words = names or given.get("type") == "multi_external_select"
        return shlex.join(values) if as_words else ",".join(values)
    return seemly(str(given.get("value") or ""))


def _moment(ts: str, now: datetime) -> datetime:
    """Slack's timestamp (seconds and a counter) as a moment; ``now`` where there is none."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (ValueError, OverflowError, OSError):
        return now


_SPOKEN = (None, "", "file_share", "me_message", "thread_broadcast")
"""Subtypes of what a person writes, be it with a file; others are edits, deletions and notices."""


def is_for_us(event: Json, bot_user: str) -> bool:
    """Whether a message event is a person's new words to the bot."""
    if (
        event.get("bot_id")
        or event.get("subtype") not in _SPOKEN
        or event.get("user") in (None, "", bot_user, "USLACKBOT")
    ):
        return False
    return event["type"] == "app_mention" or event.get("channel_type") == "im"
