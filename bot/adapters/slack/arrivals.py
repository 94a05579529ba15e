"""What Slack delivers, read: who did what where, under a key that duplicates share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.adapters.slack.forms import FORM
from bot.adapters.slack.text import heard, seemly
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
        text=heard(body.get("text") or ""),
        trigger=body["trigger_id"],
    )


def from_mention(event: Json, bot_user: str, now: datetime) -> Request:
    """A mention of the bot or a direct message: a command in words, answered in its thread."""
    where = event.get("client_msg_id") or f"{event['channel']}:{event['ts']}"
    return Request(
        key=f"message:{where}",
        kind="command",
        by=event["user"],
        at=_moment(event["ts"], now),
        channel=event["channel"],
        text=heard(event.get("text") or "", bot_user),
        message=event["ts"],
        thread=event.get("thread_ts", ""),
    )


def from_click(body: Json, now: datetime) -> Request:
    """A button (or a choice) in a message or on the home tab. ``at`` is the click, however late it arrives."""
    action = body["actions"][0]
    message: Json = body.get("message") or {}
    channel = (body.get("channel") or {}).get("id") or (body.get("container") or {}).get("channel_id", "")
    ts = message.get("ts") or (body.get("container") or {}).get("message_ts", "")
    place = f"{channel}:{ts}" if ts else (body.get("view") or {}).get("id", "")
    return Request(
        key=f"click:{place}:{body['user']['id']}:{action.get('action_ts', '')}:{action['action_id']}",
        kind="click",
        by=body["user"]["id"],
        at=_moment(action.get("action_ts", ""), now),
        channel=channel,
        action=_TWIN.sub("", action["action_id"]),
        value=str(action.get("value") or (action.get("selected_option") or {}).get("value", "")),
        message=ts,
        thread=message.get("thread_ts", ""),
        trigger=body.get("trigger_id", ""),
    )


def from_form(body: Json, now: datetime) -> Request:
    """A submitted form. A view's id and hash are in every copy of the delivery."""
    view = body["view"]
    return Request(
        key=f"form:{view['id']}:{view.get('hash', '')}",
        kind="form",
        by=body["user"]["id"],
        at=now,
        action=view.get("callback_id", "").removeprefix(FORM),
        value=view.get("private_metadata", ""),
        answers=answers(view),
        trigger=body.get("trigger_id", ""),
    )


def from_home(event: Json, now: datetime) -> Request:
    """Somebody opened the home tab."""
    ts = event.get("event_ts", "")
    return Request(key=f"home:{event['user']}:{ts}", kind="home", by=event["user"], at=_moment(ts, now))


def answers(view: Json) -> tuple[tuple[str, str], ...]:
    """A form's fields as (name, value), '' for what was left empty; several values are joined by commas."""
    state: Json = (view.get("state") or {}).get("values", {})
    return tuple((name, _value(given)) for name, inputs in state.items() for given in inputs.values())


def _value(given: Json) -> str:
    if "selected_option" in given:
        return str((given["selected_option"] or {}).get("value", ""))
    if "selected_options" in given:
        return ",".join(str(each.get("value", "")) for each in given["selected_options"] or ())
    return seemly(str(given.get("value") or ""))


def _moment(ts: str, now: datetime) -> datetime:
    """Slack's timestamp (seconds and a counter) as a moment; ``now`` where there is none."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (ValueError, OverflowError, OSError):
        return now


def is_foreign(body: Json, team: str) -> bool:
    """Whether it comes from another workspace, or from a person of another one (Slack Connect)."""
    event: Json = body.get("event") or {}
    user = body.get("user") if isinstance(body.get("user"), dict) else {}
    teams = (
        body.get("team_id"),
        (body.get("team") or {}).get("id"),
        (user or {}).get("team_id"),
        event.get("user_team"),
        event.get("source_team"),
        event.get("team"),
    )
    named = [each for each in teams if each]
    return not named or any(each != team for each in named)


def is_for_us(event: Json, bot_user: str) -> bool:
    """Whether a message event is a person's new words to the bot, not a bot's, an edit or a deletion."""
    if event.get("bot_id") or event.get("subtype") or event.get("user") in (None, "", bot_user, "USLACKBOT"):
        return False
    return event["type"] == "app_mention" or event.get("channel_type") == "im"
