"""The Web API's chat, reaction and pin methods."""

from typing import Any

from lab.slack import speech
from lab.slack.api_call import Args, Method, SlackError, refuse
from lab.slack.people import BOT_USER_ID
from lab.slack.records import Post
from lab.slack.validate import GOOD, judge_attachments, judge_blocks, judge_text

Json = dict[str, Any]


def _contents(args: Args, *, update: bool = False) -> tuple[str, list[Json], list[Json]]:
    """Answer text, blocks and attachments, all judged."""
    text = args.text("text")
    blocks = args.structure("blocks", "invalid_blocks_format")
    attachments = args.structure("attachments", "invalid_attachments")
    refuse(judge_text(text, update=update))
    refuse(judge_blocks(blocks, args.site.context("message")) if blocks else GOOD)
    refuse(judge_attachments(attachments, args.site.context("message")) if attachments else GOOD)
    if not (text or blocks or attachments):
        raise SlackError("no_text")
    return text, blocks or [], attachments or []


def _thread(args: Args, channel: str) -> str:
    """Answer the parent's ts; a reply to a thread that is gone is posted top-level.

    As was measured of slack.com.
    """
    thread_ts = args.text("thread_ts")
    parent = args.site.records.find(channel, thread_ts) if thread_ts else None
    return (parent.thread_ts or parent.ts) if parent and not parent.ephemeral_to else ""


def post_message(args: Args) -> Json:
    """chat.postMessage."""
    channel = args.channel(joined=True)
    text, blocks, attachments = _contents(args)
    post = Post(
        channel.id,
        args.site.records.new_ts(),
        BOT_USER_ID,
        text,
        blocks,
        attachments,
        thread_ts=_thread(args, channel.id),
        metadata=args.structure("metadata", "invalid_metadata_format"),
        username=args.text("username"),
    )
    args.site.records.share_images(blocks, channel.id)
    speech.put(args.site, post)
    return {"channel": channel.id, "ts": post.ts, "message": args.site.records.as_message(post)}


def post_ephemeral(args: Args) -> Json:
    """chat.postEphemeral."""
    channel = args.channel(joined=True)
    member = args.member()
    if member.id not in channel.members:
        raise SlackError("user_not_in_channel")
    text, blocks, attachments = _contents(args)
    post = Post(
        channel.id, args.site.records.new_ts(), BOT_USER_ID, text, blocks, attachments,
        thread_ts=_thread(args, channel.id), ephemeral_to=member.id,
    )  # fmt: skip
    speech.put(args.site, post)
    return {"message_ts": post.ts}


def update(args: Args) -> Json:
    """chat.update; text without blocks removes the blocks."""
    post = args.post()
    if not post.by_app:
        raise SlackError("cant_update_message")
    text, blocks, attachments = _contents(args, update=True)
    speech.rewrite(args.site, post, text, blocks, attachments)
    return {
        "channel": post.channel,
        "ts": post.ts,
        "text": text,
        "message": args.site.records.as_message(post),
    }


def delete(args: Args) -> Json:
    """chat.delete."""
    post = args.post()
    if not post.by_app:
        raise SlackError("cant_delete_message")
    speech.take_down(args.site, post)
    return {"channel": post.channel, "ts": post.ts}


def permalink(args: Args) -> Json:
    """chat.getPermalink."""
    post = args.post("message_ts")
    address = f"{args.site.records.base_url}/archives/{post.channel}/p{post.ts.replace('.', '')}"
    return {"channel": post.channel, "permalink": address}


def _reacted(args: Args, *, add: bool) -> Json:
    post, name = args.post("timestamp"), args.needed("name").strip(":")
    users = post.reactions.get(name, [])
    if add == (BOT_USER_ID in users):
        raise SlackError("already_reacted" if add else "no_reaction")
    with args.site.records.change():
        changed = [*users, BOT_USER_ID] if add else [each for each in users if each != BOT_USER_ID]
        post.reactions = {**post.reactions, name: changed}
        if not changed:
            del post.reactions[name]
    message = args.site.page_message(post)
    args.site.tell({"type": "reaction", "channel": post.channel, "message": message})
    return {}


def reactions_get(args: Args) -> Json:
    """reactions.get."""
    post = args.post("timestamp")
    return {
        "type": "message",
        "channel": post.channel,
        "message": args.site.records.as_message(post),
    }


def _pinned(args: Args, *, add: bool) -> Json:
    post = args.post("timestamp")
    pins = args.site.records.pins.setdefault(post.channel, [])
    if add == (post.ts in pins):
        raise SlackError("already_pinned" if add else "no_pin")
    with args.site.records.change():
        pins.append(post.ts) if add else pins.remove(post.ts)
    return {}


def pins_list(args: Args) -> Json:
    """pins.list."""
    channel, records = args.channel(), args.site.records
    posts = [records.find(channel.id, ts) for ts in records.pins.get(channel.id, [])]
    return {
        "items": [
            {"type": "message", "channel": channel.id, "message": records.as_message(p)}
            for p in posts
            if p
        ]
    }


METHODS = {
    "chat.postMessage": Method(post_message, ("chat:write",)),
    "chat.postEphemeral": Method(post_ephemeral, ("chat:write",)),
    "chat.update": Method(update, ("chat:write",)),
    "chat.delete": Method(delete, ("chat:write",)),
    "chat.getPermalink": Method(permalink),
    "reactions.add": Method(lambda args: _reacted(args, add=True), ("reactions:write",)),
    "reactions.remove": Method(lambda args: _reacted(args, add=False), ("reactions:write",)),
    "reactions.get": Method(reactions_get, ("reactions:read",)),
    "pins.add": Method(lambda args: _pinned(args, add=True), ("pins:write",)),
    "pins.remove": Method(lambda args: _pinned(args, add=False), ("pins:write",)),
    "pins.list": Method(pins_list, ("pins:read",)),
}
