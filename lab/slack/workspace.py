"""The workspace as a context manager.

Start it, act as its people, read what they see, ask for faults.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from lab.slack.faults import Faults
from lab.slack.manifest import read_manifest
from lab.slack.people import Channel, Command
from lab.slack.person import PATIENCE_SECONDS, Person
from lab.slack.records import Post
from lab.slack.server import Server
from lab.slack.shown import Message, View
from lab.slack.site import ApiCall, Site

Json = dict[str, Any]
Found = TypeVar("Found")


class Workspace:
    """A Slack workspace on this machine, for any Slack app. Use it in a `with` statement.

    Attributes:
        pace: As given; an app that paces itself must know it.
        url: http://127.0.0.1:PORT; `page` is the web page's address, `web_api` what a WebClient's
            base_url wants.
        fault: Faults on demand.
        calls: Every Web API call received, in order.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        commands: Sequence[Command] = (Command("/kvm", "Run the cluster", "help"),),
        manifest: Mapping[str, Any] | None = None,
        ack_seconds: float = 3.0,
        trigger_seconds: float = 3.0,
        locales: Mapping[str, str] | None = None,
        pace: float = 1.0,
    ) -> None:
        """Prepare it; nothing listens before `with`. Port 0 takes any free one.

        Args:
            port: Where to listen on 127.0.0.1.
            commands: The slash commands registered, where the manifest names none.
            manifest: The app's manifest in Slack's JSON form: its commands, scopes, events and mode
                then hold.
            ack_seconds: How long the app has for an ack; Slack gives 3 s.
            trigger_seconds: How long a trigger id lives; Slack gives 3 s.
            locales: Of members, by id, such as {"U0ANA": "pt-BR"}; the others read en-US.
            pace: How many times faster than at Slack a minute of the rate limits passes; 0: no
                limits at all.
        """
        app = read_manifest(manifest, commands)
        self._site = Site(
            app,
            ack_seconds=ack_seconds,
            trigger_seconds=trigger_seconds,
            locales=locales,
            pace=pace,
        )
        self.pace = pace
        self._server = Server(self._site, port)
        self._site.delivery.signing_secret = self._site.signing_secret
        if not app.socket_mode:
            self.deliver_to(app.request_url)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    # -- what an app needs

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def url(self) -> str:
        """The workspace's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def web_api(self) -> str:
        """The Web API's address, ending in a slash."""
        return f"{self.url}/api/"

    @property
    def page(self) -> str:
        """The web page's address."""
        return f"{self.url}/"

    @property
    def bot_token(self) -> str:
        """The app's bot token."""
        return self._site.bot_token

    @property
    def app_token(self) -> str:
        """The app-level token for Socket Mode."""
        return self._site.app_token

    @property
    def signing_secret(self) -> str:
        """What requests in HTTP mode are signed with."""
        return self._site.signing_secret

    @property
    def fault(self) -> Faults:
        """Faults on demand."""
        return self._site.faults

    @property
    def calls(self) -> list[ApiCall]:
        """Every Web API call received so far."""
        return self._site.calls

    @property
    def deliveries(self) -> list[int]:
        """How many payloads each open Socket Mode connection was sent, in order of connection."""
        return [each.delivered for each in self._site.delivery.sockets]

    def deliver_to(self, request_url: str) -> None:
        """Deliver in HTTP mode to this Request URL, signed; an empty one goes back to Socket Mode.

        Raises:
            ValueError: The address is not on this machine; the lab sends nothing elsewhere.
        """
        if request_url and urlsplit(request_url).hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(
                f"the lab delivers to 127.0.0.1 only, not to {request_url!r}; use "
                f"deliver_to(local URL)"
            )
        self._site.delivery.request_url = request_url

    def advance(self, seconds: float) -> None:
        """Move the workspace's clock forward: trigger ids and response_urls age without waiting."""
        self._site.ahead += seconds

    # -- people and what they see

    def person(self, name: str) -> Person:
        """Answer one of ana, bruno, carla, gil, or foreign (from another workspace).

        KeyError for others.
        """
        member = self._site.directory.member_named(name)
        if member is None or member.is_bot:
            raise KeyError(
                f"there is nobody called {name!r}; there are ana, bruno, carla, gil and foreign"
            )
        return Person(self, member.id, member.name)

    def other_app_posts(
        self, channel: str, text: str, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Post as another app of the workspace, which is nothing but this message; its ts."""
        records = self._site.records
        post = Post(
            self._channel(channel).id,
            records.new_ts(),
            "U0OTHERAPP",
            text,
            metadata=dict(metadata) if metadata else None,
            username="other-app",
            other_bot="B0OTHERAPP",
        )
        records.add(post)
        return post.ts

    def messages(
        self, channel: str, *, seen_by: str | None = None, thread: str | None = None
    ) -> list[Message]:
        """Answer a channel's messages in order as they now stand.

        Args:
            channel: "#ops", an id, or "@ana" for her direct conversation with the app.
            seen_by: A person's name or id: their ephemeral messages are included.
            thread: A parent's ts: only that message and its replies.
        """
        place = self._channel(channel)
        member = self._site.directory.member_named(seen_by) if seen_by else None
        with self._site.records.changed:
            posts = self._site.records.seen_by(member.id if member else None, place.id)
            return [
                self._message(post) for post in posts if thread in (None, post.ts, post.thread_ts)
            ]

    def wait_message(
        self,
        channel: str,
        predicate: Callable[[Message], bool],
        timeout: float = PATIENCE_SECONDS,
        *,
        seen_by: str | None = None,
        thread: str | None = None,
    ) -> Message:
        """Wait for a message (new or changed) for which `predicate` holds.

        The oldest such is answered.

        Raises:
            TimeoutError: None came in time; the text shows what was there.
        """

        def wanted() -> Message | None:
            return next(
                (
                    each
                    for each in self.messages(channel, seen_by=seen_by, thread=thread)
                    if predicate(each)
                ),
                None,
            )

        found = self.wait_for(wanted, timeout)
        if found is None:
            there = "\n---\n".join(
                f"{each.ts} {each.user}: {each.plain()}"
                for each in self.messages(channel, seen_by=seen_by)
            )
            raise TimeoutError(
                f"no such message in {channel} within {timeout} s; there "
                f"was:\n{there or '(nothing)'}"
            )
        return found

    def wait_connected(self, timeout: float = PATIENCE_SECONDS, *, sockets: int = 1) -> None:
        """Wait until the app holds this many Socket Mode connections.

        TimeoutError says how many there are.
        """
        if (
            self.wait_for(lambda: len(self._site.delivery.sockets) >= sockets or None, timeout)
            is None
        ):
            raise TimeoutError(
                f"{len(self._site.delivery.sockets)} of {sockets} Socket Mode connections "
                f"within {timeout} s"
            )

    def wait_for(
        self, look: Callable[[], Found | None], timeout: float = PATIENCE_SECONDS
    ) -> Found | None:
        """Look whenever the workspace changes until something is found.

        None when the time is up.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._site.records.changed:
                changes = self._site.records.changes
            found = look()
            left = deadline - time.monotonic()
            if found is not None or left <= 0:
                return found
            self._site.records.wait_beyond(changes, left)

    def home_of(self, user_id: str) -> View | None:
        """Answer a person's home tab as published, or None."""
        with self._site.records.changed:
            home = self._site.records.homes.get(user_id)
            return View.of(self._site.records.as_view(home)) if home else None

    def _channel(self, name: str) -> Channel:
        found = self._site.directory.channel_named(name)
        if found is None:
            raise KeyError(
                f"there is no channel {name!r}; there are #ops, #approvals, #general and @ana …"
            )
        return found

    def _message(self, post: Post) -> Message:
        raw = self._site.records.as_message(post)
        return Message(
            channel=post.channel,
            ts=post.ts,
            thread_ts=post.thread_ts,
            user=post.user,
            text=post.text,
            blocks=raw.get("blocks", []),
            edited=post.edits,
            files=tuple(raw.get("files", ())),
            reactions={name: list(users) for name, users in post.reactions.items()},
            ephemeral_to=post.ephemeral_to,
            broken=self._broken(post),
            raw=raw,
        )

    def _broken(self, post: Post) -> tuple[str, ...]:
        named = (block["slack_file"] for block in post.blocks if "slack_file" in block)
        files = [
            file for each in named if (file := self._site.records.image_named(each)) is not None
        ]
        return tuple(file.id for file in files if not self._site.records.shared_with(file, post))

    def new_secret(self) -> None:
        """Change the signing secret, so that an app with the old one sees bad signatures."""
        self._site.signing_secret = self._site.delivery.signing_secret = secrets.token_hex(16)
