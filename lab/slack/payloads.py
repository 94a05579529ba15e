"""The payloads Slack sends an app: commands, clicks, suggestions, views and events."""

import copy
import secrets
from collections.abc import Mapping
from typing import Any

from lab.slack.people import (
    APP_ID,
    BOT_USER_ID,
    OTHER_TEAM_ID,
    TEAM_DOMAIN,
    TEAM_ID,
    Channel,
    Member,
)
from lab.slack.records import OpenView, Post, Records

Json = dict[str, Any]

VERIFICATION_TOKEN = "lab-verification-token"


def team_of(member: Member) -> Json:
    """Answer the team object of a person's own workspace."""
    return {
        "id": member.team_id,
        "domain": "other-place" if member.team_id == OTHER_TEAM_ID else TEAM_DOMAIN,
    }


def user_of(member: Member) -> Json:
    """Answer the short user object of interaction payloads."""
    return {
        "id": member.id,
        "username": member.name,
        "name": member.name,
        "team_id": member.team_id,
    }


def channel_of(channel: Channel) -> Json:
    """Answer the short channel object of interaction payloads."""
    return {"id": channel.id, "name": "directmessage" if channel.with_user else channel.name}


def slash_command(
    member: Member, channel: Channel, command: str, text: str, *, response_url: str, trigger_id: str
) -> Json:
    """Answer a slash command's payload."""
    team = team_of(member)
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": team["id"],
        "team_domain": team["domain"],
        "channel_id": channel.id,
        "channel_name": channel_of(channel)["name"],
        "user_id": member.id,
        "user_name": member.name,
        "command": command,
        "text": text,
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    }


def _interaction(kind: str, member: Member) -> Json:
    return {
        "type": kind,
        "token": VERIFICATION_TOKEN,
        "team": team_of(member),
        "user": user_of(member),
        "api_app_id": APP_ID,
        "is_enterprise_install": False,
        "enterprise": None,
    }


def _from_message(records: Records, member: Member, channel: Channel, post: Post) -> Json:
    container: Json = {
        "type": "message",
        "message_ts": post.ts,
        "channel_id": channel.id,
        "is_ephemeral": bool(post.ephemeral_to),
    }
    if post.thread_ts:
        container["thread_ts"] = post.thread_ts
    facts: Json = {"container": container, "channel": channel_of(channel)}
    if not post.ephemeral_to:  # Slack keeps no ephemeral message to send along
        facts["message"] = records.as_message(post)
        facts["state"] = {"values": copy.deepcopy(post.values.get(member.id, {}))}
    return facts


def _from_view(records: Records, view: OpenView) -> Json:
    return {"container": {"type": "view", "view_id": view.id}, "view": records.as_view(view)}


def source(
    records: Records, member: Member, channel: Channel | None, held: Post | OpenView
) -> Json:
    """Answer what an interaction says of where it came from."""
    if isinstance(held, OpenView):
        return _from_view(records, held)
    if channel is None:
        raise ValueError("an interaction with a message needs its channel")
    return _from_message(records, member, channel, held)


def block_actions(
    member: Member, origin: Json, action: Json, trigger_id: str, response_url: str
) -> Json:
    """Answer a click's payload; a click in a view has no response_url."""
    payload = (
        _interaction("block_actions", member)
        | origin
        | {"trigger_id": trigger_id, "actions": [action]}
    )
    return payload | ({"response_url": response_url} if response_url else {})


def block_suggestion(
    member: Member, origin: Json, block_id: str, action_id: str, typed: str
) -> Json:
    """Answer the payload that asks for an external select's options."""
    asked = {"block_id": block_id, "action_id": action_id, "value": typed}
    return _interaction("block_suggestion", member) | origin | asked


def view_submission(member: Member, view: Json, trigger_id: str, response_urls: list[Json]) -> Json:
    """Answer a modal's submission payload."""
    return _interaction("view_submission", member) | {
        "trigger_id": trigger_id,
        "view": view,
        "response_urls": response_urls,
    }


def view_closed(member: Member, view: Json, *, is_cleared: bool) -> Json:
    """Answer the payload of a modal closed by its person; sent only when the view asked for it."""
    return _interaction("view_closed", member) | {"view": view, "is_cleared": is_cleared}


def event_callback(event: Mapping[str, Any], at: float) -> Json:
    """Answer an event's envelope as the Events API sends it."""
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": TEAM_ID,
        "context_team_id": TEAM_ID,
        "context_enterprise_id": None,
        "api_app_id": APP_ID,
        "event": dict(event),
        "type": "event_callback",
        "event_id": "Ev" + secrets.token_hex(5).upper(),
        "event_time": int(at),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM_ID,
                "user_id": BOT_USER_ID,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": secrets.token_hex(8),
    }
