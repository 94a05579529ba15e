"""What a person sees, as frozen values: messages, views, and the ack of what they did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.slack.rendering import plain_blocks
from lab.slack.validate import elements_of, walk_blocks

Json = dict[str, Any]
Button = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Ack:
    """What came of an act.

    Attributes:
        payload: What the app sent along with its ack (for `say`: the message's ts); None when
            nothing.
        milliseconds: From the workspace's sending to the app's ack, or to giving up.
        ok: The app acknowledged in time and Slack accepted what it said.
        text: What Slack shows the person when not ok, such as: /kvm failed with the error
            "operation_timeout".
        errors: By block id, what a modal says beside its fields.
    """

    payload: Any
    milliseconds: float
    ok: bool
    text: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


def _buttons(blocks: list[Json]) -> list[Button]:
    return [
        (each["text"]["text"], each["action_id"], str(each.get("value", "")))
        for block, _ in walk_blocks(blocks)
        for each, _ in elements_of(block)
        if each["type"] in ("button", "icon_button", "workflow_button")
    ]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as one person sees it at one moment.

    Attributes:
        ts: Its id within the channel; `thread_ts` is the parent's, empty outside threads.
        user: The writer's user id.
        edited: How many times it was changed.
        files: Slack's file objects.
        ephemeral_to: Whose eyes only; empty for everybody's.
        broken: Uploaded images that it names and its readers may not see.
        raw: Slack's whole message object.
    """

    channel: str
    ts: str
    thread_ts: str
    user: str
    text: str
    blocks: list[Json]
    edited: int = 0
    files: tuple[Json, ...] = ()
    reactions: Mapping[str, list[str]] = field(default_factory=dict)
    ephemeral_to: str = ""
    broken: tuple[str, ...] = ()
    raw: Json = field(default_factory=dict)

    @property
    def container(self) -> Json:
        """Where a click on it says it happened."""
        return {"type": "message", "channel": self.channel, "ts": self.ts}

    def buttons(self) -> list[Button]:
        """Answer its buttons as (text, action_id, value)."""
        return _buttons(self.blocks)

    def plain(self) -> str:
        """Answer it as lines of text: the blocks if there are any, as on screen, else the text."""
        return plain_blocks(self.blocks) or self.text


@dataclass(frozen=True, slots=True)
class View:
    """A modal or home tab as one person sees it at one moment.

    `raw` is Slack's whole view object.
    """

    id: str
    kind: str
    title: str
    callback_id: str
    private_metadata: str
    blocks: list[Json]
    values: Json
    raw: Json

    @classmethod
    def of(cls, raw: Json) -> "View":
        """Read Slack's view object."""
        title = (raw.get("title") or {}).get("text", "")
        values = raw.get("state", {}).get("values", {})
        return cls(
            raw["id"],
            raw["type"],
            title,
            raw["callback_id"],
            raw["private_metadata"],
            raw["blocks"],
            values,
            raw,
        )

    @property
    def container(self) -> Json:
        """Where a click in it says it happened."""
        return {"type": "view", "view_id": self.id}

    def buttons(self) -> list[Button]:
        """Answer its buttons as (text, action_id, value)."""
        return _buttons(self.blocks)

    def plain(self) -> str:
        """Answer it as lines of text."""
        return "\n".join(filter(None, [self.title, plain_blocks(self.blocks)]))
