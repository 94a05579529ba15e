"""Everything the workspace remembers.

Messages, files, views, home tabs, trigger ids and response addresses.
"""

import copy
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lab.slack.people import APP_ID, BOT_ID, BOT_USER_ID, TEAM_ID, Directory
from lab.slack.validate import find_element, give_ids, id_counter

Json = dict[str, Any]


@dataclass(slots=True)
class Post:
    """One message as it stands now; `versions` holds the blocks it showed before.

    `other_bot` is the bot id of another app that wrote it.
    """

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    thread_ts: str = ""
    ephemeral_to: str = ""
    metadata: Json | None = None
    username: str = ""
    other_bot: str = ""
    edits: int = 0
    edited_ts: str = ""
    reactions: dict[str, list[str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    versions: list[list[Json]] = field(default_factory=list)
    values: dict[str, Json] = field(default_factory=dict)
    """By person: what they chose in the message's selects and inputs, {block_id: {action_id.

    Answer}}.
    """

    @property
    def by_app(self) -> bool:
        """Whether the app wrote it."""
        return self.user == BOT_USER_ID

    def element(self, action_id: str, block_id: str | None) -> tuple[Json, Json] | None:
        """Find an element in what the message shows, or showed before an edit.

        People click on what they see.
        """
        for blocks in (self.blocks, *reversed(self.versions)):
            found = find_element(blocks, action_id, block_id)
            if found:
                return found
        return None


@dataclass(slots=True)
class StoredFile:
    """An uploaded file; `ready` once the upload was completed."""

    id: str
    name: str
    length: int
    title: str = ""
    mimetype: str = "application/octet-stream"
    content: bytes = b""
    uploaded: bool = False
    ready: bool = False
    channels: list[str] = field(default_factory=list)


@dataclass(slots=True)
class OpenView:
    """A modal in somebody's stack, or their home tab."""

    id: str
    user: str
    body: Json
    version: int = 1
    root: str = ""
    previous: str = ""
    values: Json = field(default_factory=dict)
    origin_channel: str = ""

    @property
    def hash(self) -> str:
        """Changes with every update, as Slack's does."""
        return f"{self.version}.{self.id}"


@dataclass(slots=True)
class Trigger:
    """Where a trigger id came from; good for one view within a few seconds."""

    user: str
    born: float
    view_id: str = ""
    channel: str = ""
    used: bool = False


@dataclass(slots=True)
class ResponseAddress:
    """A response_url's right to speak: 5 times in 30 minutes, to one person in one channel."""

    channel: str
    user: str
    born: float
    source_ts: str = ""
    thread_ts: str = ""
    uses: int = 0


class Records:
    """The workspace's memory; changed on the server's thread only.

    Read from any under `changed`.
    """

    def __init__(self, directory: Directory, now: Callable[[], float]) -> None:
        self.directory = directory
        self.now = now
        self.changed = threading.Condition(threading.RLock())
        self.posts: dict[str, dict[str, Post]] = {each: {} for each in directory.channels}
        self.files: dict[str, StoredFile] = {}
        self.views: dict[str, OpenView] = {}
        self.stacks: dict[str, list[str]] = {}
        self.homes: dict[str, OpenView] = {}
        self.triggers: dict[str, Trigger] = {}
        self.addresses: dict[str, ResponseAddress] = {}
        self.pins: dict[str, list[str]] = {}
        self.changes = 0
        self.next_id = id_counter()
        self._last_ts = 0.0

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the memory for a change and wake whoever waits for one."""
        with self.changed:
            yield
            self.changes += 1
            self.changed.notify_all()

    def wait_beyond(self, changes: int, seconds: float) -> None:
        """Wait until there were more changes than this, at most so many seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.changes != changes, seconds)

    def new_ts(self) -> str:
        """Answer a message time stamp later than every one before: "1700000000.000100"."""
        self._last_ts = max(self.now(), self._last_ts + 1e-5)
        return f"{self._last_ts:.6f}"

    # -- messages

    def add(self, post: Post) -> Post:
        """Keep a new message."""
        with self.change():
            give_ids(post.blocks, self.next_id)
            self.posts[post.channel][post.ts] = post
        return post

    def edit(self, post: Post, text: str, blocks: list[Json], attachments: list[Json]) -> None:
        """Put a message's new text and blocks in place; what is not given is gone, as at Slack."""
        with self.change():
            post.versions.append(post.blocks)
            post.text, post.attachments = text, attachments
            post.blocks = give_ids(blocks, self.next_id)
            post.edits += 1
            post.edited_ts = self.new_ts()

    def remove(self, post: Post) -> None:
        """Forget a message."""
        with self.change():
            del self.posts[post.channel][post.ts]

    def find(self, channel: str, ts: str) -> Post | None:
        """Find a message."""
        return self.posts.get(channel, {}).get(ts)

    def seen_by(self, user: str | None, channel: str) -> list[Post]:
        """Answer a channel's messages, oldest first.

        With the ephemeral ones of `user` and of nobody else.
        """
        return [
            post
            for _, post in sorted(self.posts[channel].items(), key=lambda item: float(item[0]))
            if not post.ephemeral_to or post.ephemeral_to == user
        ]

    def replies_to(self, post: Post) -> list[Post]:
        """Answer the replies in a message's thread, oldest first."""
        return [
            each
            for each in self.seen_by(None, post.channel)
            if each.thread_ts == post.ts and each.ts != post.ts
        ]

    def as_message(self, post: Post) -> Json:
        """Answer Slack's message object."""
        message: Json = {"type": "message", "user": post.user, "text": post.text, "ts": post.ts}
        member = self.directory.members.get(post.user)
        message["team"] = member.team_id if member else TEAM_ID
        if post.by_app:
            message |= {"bot_id": BOT_ID, "app_id": APP_ID, "bot_profile": self.bot_profile()}
        elif post.other_bot:
            message |= {"bot_id": post.other_bot}
        if post.blocks:
            message["blocks"] = copy.deepcopy(post.blocks)
        if post.attachments:
            message["attachments"] = copy.deepcopy(post.attachments)
        if post.edits:
            message["edited"] = {"user": post.user, "ts": post.edited_ts}
        if post.files:
            message["files"] = [
                self.as_file(self.files[each]) for each in post.files if each in self.files
            ]
        if post.reactions:
            message["reactions"] = [
                {"name": name, "users": list(users), "count": len(users)}
                for name, users in post.reactions.items()
            ]
        if post.metadata:
            message["metadata"] = post.metadata
        return message | self._thread_facts(post)

    def _thread_facts(self, post: Post) -> Json:
        if post.thread_ts and post.thread_ts != post.ts:
            return {"thread_ts": post.thread_ts}
        replies = self.replies_to(post) if not post.ephemeral_to else []
        if not replies:
            return {}
        users = list(dict.fromkeys(each.user for each in replies))
        return {
            "thread_ts": post.ts,
            "reply_count": len(replies),
            "reply_users": users,
            "reply_users_count": len(users),
            "latest_reply": replies[-1].ts,
        }

    def bot_profile(self) -> Json:
        """Answer Slack's bot profile of the app."""
        return {
            "id": BOT_ID,
            "app_id": APP_ID,
            "user_id": BOT_USER_ID,
            "name": self.directory.app_name,
            "icons": {},
            "deleted": False,
            "updated": 1_700_000_000,
            "team_id": TEAM_ID,
        }

    # -- files

    base_url = ""

    def as_file(self, file: StoredFile) -> Json:
        """Answer Slack's file object."""
        kind = file.name.rsplit(".", 1)[-1].lower() if "." in file.name else "text"
        address = f"{self.base_url}/files/{file.id}/{file.name}"
        return {
            "id": file.id,
            "created": int(self.now()),
            "name": file.name,
            "title": file.title or file.name,
            "mimetype": file.mimetype,
            "filetype": kind,
            "size": len(file.content),
            "user": BOT_USER_ID,
            "mode": "hosted",
            "is_external": False,
            "is_public": bool(file.channels),
            "url_private": address,
            "url_private_download": f"{address}?download=1",
            "permalink": address,
            "channels": list(file.channels),
            "groups": [],
            "ims": [],
        }

    def image_named(self, reference: Mapping[str, Any]) -> StoredFile | None:
        """Find the completed image a `slack_file` object names by id or by address."""
        for file in self.files.values():
            named = (
                reference.get("id") == file.id
                or reference.get("url") == self.as_file(file)["url_private"]
            )
            if named and file.ready and file.mimetype in ("image/png", "image/jpeg", "image/gif"):
                return file
        return None

    def share_images(self, blocks: list[Json], channel: str) -> None:
        """Share the uploaded images that a new message shows with its channel."""
        for block in blocks:
            file = self.image_named(block["slack_file"]) if "slack_file" in block else None
            if file is not None and channel not in file.channels:
                file.channels.append(channel)

    def shared_with(self, file: StoredFile, post: Post) -> bool:
        """Whether a message's readers see a file.

        It was shared in that channel, and never by an ephemeral message.
        """
        return post.channel in file.channels and not post.ephemeral_to

    # -- views

    def as_view(self, view: OpenView) -> Json:
        """Answer Slack's view object."""
        body = copy.deepcopy(view.body)
        defaults: Json = {
            "private_metadata": "",
            "callback_id": "",
            "external_id": "",
            "title": None,
            "submit": None,
            "close": None,
            "clear_on_close": False,
            "notify_on_close": False,
        }
        return {
            **defaults,
            **body,
            "id": view.id,
            "team_id": TEAM_ID,
            "app_id": APP_ID,
            "app_installed_team_id": TEAM_ID,
            "bot_id": BOT_ID,
            "state": {"values": copy.deepcopy(view.values)},
            "hash": view.hash,
            "root_view_id": view.root or view.id,
            "previous_view_id": view.previous or None,
        }

    def top_view(self, user: str) -> OpenView | None:
        """Answer the modal a person has before them, or None."""
        stack = self.stacks.get(user, [])
        return self.views[stack[-1]] if stack else None

    def new_trigger(self, trigger: Trigger) -> str:
        """Answer a fresh trigger id."""
        name = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        with self.change():
            self.triggers[name] = trigger
        return name

    def new_address(self, address: ResponseAddress) -> str:
        """Answer a fresh response_url."""
        name = secrets.token_urlsafe(18)
        with self.change():
            self.addresses[name] = address
        return f"{self.base_url}/actions/{TEAM_ID}/{name}"
