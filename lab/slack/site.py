"""The running workspace: its memory, its app, its clock, who listens, and what happened."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.slack.delivery import Delivery
from lab.slack.faults import Faults
from lab.slack.limits import RateLimits
from lab.slack.manifest import AppFacts
from lab.slack.people import lab_directory
from lab.slack.records import OpenView, Post, Records
from lab.slack.schema import Context

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One Web API call the workspace received.

    `answer` is what Slack would have answered, even if it got lost.
    """

    method: str
    args: Mapping[str, Any]
    time: float
    answer: Mapping[str, Any]
    status: int = 200


@dataclass(slots=True)
class Listener:
    """One open page: whose eyes it has and what it has yet to be told."""

    user: str
    queue: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)


class Site:
    """Everything the handlers share."""

    def __init__(
        self,
        app: AppFacts,
        *,
        ack_seconds: float,
        trigger_seconds: float,
        locales: Mapping[str, str] | None = None,
        pace: float = 1.0,
    ) -> None:
        self.app = app
        self.ahead = 0.0
        self.trigger_seconds = trigger_seconds
        self.directory = lab_directory(app.name, locales)
        self.records = Records(self.directory, self.now)
        self.calls: list[ApiCall] = []
        self.listeners: list[Listener] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.faults = Faults(self._disconnect)
        self.delivery = Delivery(self.faults, ack_seconds, self._apps_changed)
        self.tasks: set[asyncio.Task[None]] = set()
        self.limits = RateLimits(pace, self.now) if pace else None
        self.bot_token = "xoxb-lab-drover"
        self.app_token = "xapp-1-lab-drover"
        self.signing_secret = "lab-signing-secret"

    def now(self) -> float:
        """The workspace's time in seconds; `ahead` lets a test move it forward."""
        return time.time() + self.ahead

    def context(self, surface: str) -> Context:
        """Answer what the block checks need to know for this surface."""
        return Context(surface, lambda reference: self.records.image_named(reference) is not None)

    # -- telling open pages

    def tell(self, event: Json, only: str | None = None) -> None:
        """Tell every open page (or only this person's) what happened."""
        for listener in self.listeners:
            if only in (None, "", listener.user):
                listener.queue.put_nowait(event)

    def tell_of(self, kind: str, post: Post) -> None:
        """Tell of a message: kind is message, message_changed or message_deleted."""
        self.tell(
            {"type": kind, "channel": post.channel, "message": self.page_message(post)},
            post.ephemeral_to or None,
        )

    def tell_view(self, user: str) -> None:
        """Tell a person's pages which modal is open now."""
        view = self.records.top_view(user)
        self.tell({"type": "view", "view": self.page_view(view) if view else None}, user)

    def _apps_changed(self) -> None:
        with self.records.change():
            self.tell({"type": "apps", "connected": len(self.delivery.sockets)})

    # -- what a page is shown

    def page_message(self, post: Post) -> Json:
        """Answer a message as the page shows it.

        Slack's, with names, and addresses for uploaded images.
        """
        message = self.records.as_message(post)
        member = self.directory.members.get(post.user)
        message["channel"] = post.channel
        message["username"] = post.username or (member.name if member else post.user)
        message["is_bot"] = bool(member and member.is_bot)
        message["blocks"] = self.with_image_urls(message.get("blocks", []), post)
        if post.ephemeral_to:
            message["ephemeral"] = True
        return message

    def page_view(self, view: OpenView) -> Json:
        """Answer a view as the page shows it."""
        shown = self.records.as_view(view)
        return shown | {"blocks": self.with_image_urls(shown["blocks"])}

    def with_image_urls(self, value: Any, post: Post | None = None) -> Any:
        """Answer some blocks with an `image_url` beside each `slack_file`.

        So that any renderer can show them.

        A file that the readers of `post` may not see gets none: the page shows its words, as Slack
            a broken image.
        """
        if isinstance(value, list):
            return [self.with_image_urls(each, post) for each in value]
        if not isinstance(value, dict):
            return value
        shown = {name: self.with_image_urls(each, post) for name, each in value.items()}
        file = self.records.image_named(value["slack_file"]) if "slack_file" in value else None
        if file is not None and post is not None and not self.records.shared_with(file, post):
            return shown
        return shown | {"image_url": self.records.as_file(file)["url_private"]} if file else shown

    # -- threads

    def spawn(self, work: Any) -> None:
        """Run a coroutine beside the others and keep it alive until done.

        A failure is reported by the loop.
        """
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _disconnect(self, reason: str, abrupt: bool) -> None:  # noqa: FBT001 the callback's shape
        if self.loop is not None:
            asyncio.run_coroutine_threadsafe(
                self.delivery.disconnect(reason, abrupt=abrupt), self.loop
            ).result(5)
