"""What a Web API method is handed and how it refuses."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.slack.people import BOT_USER_ID, Channel, Member
from lab.slack.records import Post
from lab.slack.site import Site
from lab.slack.validate import Verdict

Json = dict[str, Any]


class SlackError(Exception):
    """An answer with ``ok: false``.

    The text is Slack's error name, `more` goes into the answer beside it.
    """

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


def refuse(verdict: Verdict) -> None:
    """Raise the verdict's error, with its complaints where Slack puts them.

    Nothing when it is good.
    """
    if verdict.error:
        more: Json = (
            {"response_metadata": {"messages": list(verdict.messages)}} if verdict.messages else {}
        )
        raise SlackError(verdict.error, **more)


@dataclass(frozen=True, slots=True)
class Method:
    """A Web API method: what does it, the scopes of which one is needed.

    Also the kind of token it takes.
    """

    run: Callable[["Args"], Json]
    scopes: tuple[str, ...] = ()
    token: str = "bot"


@dataclass(frozen=True, slots=True)
class Args:
    """One call's arguments, with the workspace they are about."""

    site: Site
    values: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        """Answer an argument as text."""
        value = self.values.get(name)
        return default if value is None else str(value)

    def needed(self, name: str) -> str:
        """Answer an argument that must be there."""
        value = self.text(name)
        if not value:
            message = f"[ERROR] missing required field: {name}"
            raise SlackError("invalid_arguments", response_metadata={"messages": [message]})
        return value

    def flag(self, name: str) -> bool:
        """Answer a yes or no, which a form sends as text."""
        return str(self.values.get(name, "")).lower() in ("true", "1")

    def whole(self, name: str, default: int) -> int:
        """Answer a whole number."""
        try:
            return int(self.text(name) or default)
        except ValueError as problem:
            raise SlackError("invalid_arguments") from problem

    def structure(self, name: str, format_error: str) -> Any:
        """Answer an object or array, which a form sends as JSON text; None when absent."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError as problem:
            raise SlackError(format_error) from problem

    def names(self, name: str) -> list[str]:
        """Answer a list of names, given as an array or with commas between."""
        value = (
            self.structure(name, "invalid_arguments")
            if self.text(name).startswith("[")
            else self.values.get(name)
        )
        if isinstance(value, str):
            return [each.strip() for each in value.split(",") if each.strip()]
        return [str(each) for each in value or []]

    def channel(self, *, joined: bool = False, name: str = "channel") -> Channel:
        """Answer the channel named, by id, name or person; with `joined` the app must be in it."""
        found = self.site.directory.channel_named(self.text(name)) if self.text(name) else None
        if found is None:
            raise SlackError("channel_not_found")
        if joined and BOT_USER_ID not in found.members:
            raise SlackError("not_in_channel")
        return found

    def member(self, name: str = "user") -> Member:
        """Answer the user named by id."""
        found = self.site.directory.members.get(self.text(name))
        if found is None:
            raise SlackError("user_not_found")
        return found

    def post(self, ts_name: str = "ts") -> Post:
        """Answer the message named; ephemeral ones can't be reached this way."""
        found = self.site.records.find(self.channel().id, self.text(ts_name))
        if found is None or found.ephemeral_to:
            raise SlackError("message_not_found")
        return found

    def page_of(self, items: list[Any], default: int = 100) -> tuple[list[Any], Json]:
        """Answer one page of some items and the metadata with the next page's cursor."""
        start = int(self.text("cursor", "0") or 0) if self.text("cursor", "0").isdigit() else -1
        if start < 0:
            raise SlackError("invalid_cursor")
        end = start + max(1, min(self.whole("limit", default), 1000))
        return items[start:end], {"next_cursor": str(end) if end < len(items) else ""}
