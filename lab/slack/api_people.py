"""The Web API's methods about the app itself, conversations, users and user groups."""

from typing import Any

from lab.slack.api_call import Args, Method, SlackError
from lab.slack.people import APP_ID, BOT_ID, BOT_USER_ID, TEAM_ID, TEAM_NAME, Channel

Json = dict[str, Any]


def api_test(args: Args) -> Json:
    """api.test."""
    if args.text("error"):
        raise SlackError(args.text("error"), args=dict(args.values))
    return {"args": {name: value for name, value in args.values.items() if name != "token"}}


def auth_test(args: Args) -> Json:
    """auth.test."""
    return {
        "url": f"{args.site.records.base_url}/",
        "team": TEAM_NAME,
        "user": args.site.app.name,
        "team_id": TEAM_ID,
        "user_id": BOT_USER_ID,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def connections_open(args: Args) -> Json:
    """apps.connections.open: answers the address of a Socket Mode websocket."""
    if not args.site.app.socket_mode:
        raise SlackError("socket_mode_not_enabled")
    address = args.site.records.base_url.replace("http://", "ws://")
    return {"url": f"{address}/link/?ticket={args.site.records.next_id()}&app_id={APP_ID}"}


def bots_info(args: Args) -> Json:
    """bots.info."""
    if args.text("bot") not in ("", BOT_ID):
        raise SlackError("bot_not_found")
    return {"bot": args.site.records.bot_profile()}


def _visible(args: Args) -> list[Channel]:
    kinds = args.names("types") or ["public_channel"]
    return [
        each
        for each in args.site.directory.channels.values()
        if ("im" in kinds and each.with_user) or ("public_channel" in kinds and not each.with_user)
    ]


def _listed(args: Args, channels: list[Channel]) -> Json:
    page, metadata = args.page_of([each.as_conversation() for each in channels])
    return {"channels": page, "response_metadata": metadata}


def conversations_list(args: Args) -> Json:
    """conversations.list."""
    return _listed(args, _visible(args))


def users_conversations(args: Args) -> Json:
    """users.conversations: those the app (or `user`) is in."""
    user = args.text("user") or BOT_USER_ID
    return _listed(args, [each for each in _visible(args) if user in each.members])


def conversations_info(args: Args) -> Json:
    """conversations.info."""
    return {"channel": args.channel().as_conversation()}


def conversations_open(args: Args) -> Json:
    """conversations.open: the direct conversation with one person (or an open one by its id)."""
    if args.text("channel"):
        return {"channel": args.channel().as_conversation()}
    users = args.names("users")
    if not users:
        raise SlackError("users_list_not_supplied")
    channel = args.site.directory.channels.get("D" + users[0][1:])
    if channel is None or len(users) > 1:
        raise SlackError("user_not_found" if len(users) == 1 else "not_enough_users")
    return {"channel": channel.as_conversation(), "no_op": True, "already_open": True}


def conversations_members(args: Args) -> Json:
    """conversations.members."""
    page, metadata = args.page_of(list(args.channel().members))
    return {"members": page, "response_metadata": metadata}


def _moment(args: Args, name: str, default: float) -> float:
    try:
        return float(args.text(name) or default)
    except ValueError as problem:
        raise SlackError(f"invalid_ts_{name}") from problem


def _between(args: Args, messages: list[Json]) -> list[Json]:
    oldest, latest = _moment(args, "oldest", 0.0), _moment(args, "latest", 1e18)
    if args.flag("inclusive"):
        return [each for each in messages if oldest <= float(each["ts"]) <= latest]
    return [each for each in messages if oldest < float(each["ts"]) < latest]


def conversations_history(args: Args) -> Json:
    """conversations.history: newest first.

    Without replies and without anybody's ephemeral messages.

    With `oldest` alone the pages go forward from it, each newest first, as was measured of
    slack.com on 2026-10-23.
    """
    channel = args.channel(joined=True)
    posts = [
        post
        for post in args.site.records.seen_by(None, channel.id)
        if not post.thread_ts or post.thread_ts == post.ts
    ]
    forward = bool(args.text("oldest")) and not args.text("latest")
    messages = _between(
        args,
        [args.site.records.as_message(post) for post in (posts if forward else reversed(posts))],
    )
    page, metadata = args.page_of(messages)
    page = page[::-1] if forward else page
    return {
        "messages": page,
        "has_more": bool(metadata["next_cursor"]),
        "response_metadata": metadata,
        "pin_count": 0,
    }


def conversations_replies(args: Args) -> Json:
    """conversations.replies: the parent, then its replies, oldest first."""
    channel = args.channel(joined=True)
    parent = args.site.records.find(channel.id, args.text("ts"))
    if parent is None or parent.ephemeral_to:
        raise SlackError("thread_not_found")
    posts = [parent, *args.site.records.replies_to(parent)]
    page, metadata = args.page_of(
        _between(args, [args.site.records.as_message(post) for post in posts])
    )
    return {
        "messages": page,
        "has_more": bool(metadata["next_cursor"]),
        "response_metadata": metadata,
    }


def users_info(args: Args) -> Json:
    """users.info."""
    return {"user": args.member().as_user(include_locale=args.flag("include_locale"))}


def users_list(args: Args) -> Json:
    """users.list."""
    users = [
        each.as_user(include_locale=args.flag("include_locale"))
        for each in args.site.directory.members.values()
    ]
    page, metadata = args.page_of(users)
    return {"members": page, "cache_ts": int(args.site.now()), "response_metadata": metadata}


def usergroups_list(args: Args) -> Json:
    """usergroups.list."""
    groups = args.site.directory.groups.values()
    return {
        "usergroups": [
            each.as_usergroup(include_users=args.flag("include_users")) for each in groups
        ]
    }


def usergroup_users(args: Args) -> Json:
    """usergroups.users.list."""
    group = args.site.directory.groups.get(args.text("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}


_READ = ("channels:read", "groups:read", "im:read", "mpim:read")
_HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")

METHODS = {
    "api.test": Method(api_test, token="any"),
    "auth.test": Method(auth_test),
    "apps.connections.open": Method(connections_open, token="app"),
    "bots.info": Method(bots_info, ("users:read",)),
    "conversations.list": Method(conversations_list, _READ),
    "conversations.info": Method(conversations_info, _READ),
    "conversations.open": Method(
        conversations_open, ("im:write", "channels:manage", "groups:write", "mpim:write")
    ),
    "conversations.members": Method(conversations_members, _READ),
    "conversations.history": Method(conversations_history, _HISTORY),
    "conversations.replies": Method(conversations_replies, _HISTORY),
    "users.info": Method(users_info, ("users:read",)),
    "users.list": Method(users_list, ("users:read",)),
    "users.conversations": Method(users_conversations, _READ),
    "usergroups.list": Method(usergroups_list, ("usergroups:read",)),
    "usergroups.users.list": Method(usergroup_users, ("usergroups:read",)),
}
