"""How the workspace writes things down.

Posting, editing and escaping, for the API and for people alike.
"""

import re
from typing import Any

from lab.slack import payloads
from lab.slack.people import SLACKBOT_ID, TEAM_ID, Channel, Directory, Member
from lab.slack.records import Post
from lab.slack.site import Site

Json = dict[str, Any]

_KEPT = re.compile(r"<(@U\w+|#C\w+(\|[^>]*)?|![^>]+|https?://[^>]+)>")


def as_typed(directory: Directory, text: str) -> str:
    """Answer what Slack stores for a typed line.

    ``& < >`` escaped, @names and #channels turned into mentions.
    """
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match.group(0))
        return f"\0{len(kept) - 1}\0"

    escaped = _KEPT.sub(keep, text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    named = re.sub(r"(?<![\w.])([@#])([\w-]+)", lambda found: _mention(directory, found), escaped)
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found.group(1))], named)


def as_commanded(directory: Directory, text: str, *, escaped: bool) -> str:
    """Answer what a slash command's app is sent.

    @names as typed, or with ids and names when it asked for that.
    """
    plain = re.sub(r"<@(U\w+)(\|[^>]*)?>", lambda found: f"@{_name_of(directory, found[1])}", text)
    plain = re.sub(r"<#C\w+\|([^>]*)>", r"#\1", plain)
    if not escaped:
        return plain
    return re.sub(
        r"<@(U\w+)>",
        lambda found: f"<@{found[1]}|{_name_of(directory, found[1])}>",
        as_typed(directory, plain),
    )


def _name_of(directory: Directory, user: str) -> str:
    member = directory.members.get(user)
    return member.name if member else user


def _mention(directory: Directory, found: re.Match[str]) -> str:
    sign, name = found.groups()
    if sign == "#":
        channel = next(
            (c for c in directory.channels.values() if c.name == name and not c.with_user), None
        )
        return f"<#{channel.id}|{channel.name}>" if channel else found.group(0)
    group = next((each for each in directory.groups.values() if each.handle == name.lower()), None)
    if group:
        return f"<!subteam^{group.id}>"
    member = directory.member_named(name)
    return f"<@{member.id}>" if member else found.group(0)


def put(site: Site, post: Post) -> Post:
    """Keep a new message, tell the pages, and send the app its events."""
    site.records.add(post)
    site.tell_of("message", post)
    _tell_parent(site, post)
    if not post.ephemeral_to:
        site.spawn(send_events(site, post))
    return post


def _tell_parent(site: Site, post: Post) -> None:
    parent = site.records.find(post.channel, post.thread_ts) if post.thread_ts else None
    if parent and parent is not post and not post.ephemeral_to:
        site.tell_of("message_changed", parent)


def rewrite(
    site: Site, post: Post, text: str, blocks: list[Json], attachments: list[Json] | None = None
) -> None:
    """Change a message and tell the pages."""
    site.records.edit(post, text, blocks, attachments or [])
    site.tell_of("message_changed", post)


def take_down(site: Site, post: Post) -> None:
    """Remove a message and tell the pages."""
    site.records.remove(post)
    site.tell_of("message_deleted", post)
    _tell_parent(site, post)


def from_slackbot(site: Site, channel: Channel, to: Member, text: str) -> None:
    """Show one person a note only they see, as Slack does when a command fails."""
    put(site, Post(channel.id, site.records.new_ts(), SLACKBOT_ID, text, ephemeral_to=to.id))


async def send_events(site: Site, post: Post) -> None:
    """Send the app what it subscribed to: the message, and the mention when it is named."""
    channel = site.directory.channels[post.channel]
    if post.by_app and not site.app.own_messages:
        return
    for event in _events_of(site, post, channel):
        await site.delivery.send("events_api", payloads.event_callback(event, site.now()))


def _events_of(site: Site, post: Post, channel: Channel) -> list[Json]:
    bot = next(each.id for each in site.directory.members.values() if each.name == site.app.name)
    if bot not in channel.members or not site.delivery.connected:
        return []
    message = site.records.as_message(post)
    common = {
        **message,
        "channel": post.channel,
        "event_ts": post.ts,
        "client_msg_id": f"lab-{post.ts}",
        "user_team": message["team"],
        "source_team": message["team"],
        "team": message.get("team", TEAM_ID),
    }
    events: list[Json] = []
    mentioned = f"<@{bot}>" in post.text and not post.by_app and not channel.with_user
    if mentioned and "app_mention" in site.app.events:
        events.append({**common, "type": "app_mention"})
    kind = "im" if channel.with_user else "channel"
    if f"message.{kind}{'' if kind == 'im' else 's'}" in site.app.events:
        subtype = {"subtype": "file_share"} if post.files else {}
        events.append({**common, **subtype, "type": "message", "channel_type": kind})
    return events
