"""What an app's manifest says of itself.

Name, commands, scopes, events and how it wants to be reached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.slack.people import Command

DEFAULT_EVENTS = frozenset(
    {"app_mention", "message.channels", "message.im", "app_home_opened", "reaction_added"}
)
"""What an app without a manifest is sent."""


@dataclass(frozen=True, slots=True)
class AppFacts:
    """The app as installed.

    Attributes:
        scopes: The bot token's scopes; None means no manifest was given and everything is allowed.
        request_url: Where interactions and commands go in HTTP mode; empty in Socket Mode.
        own_messages: Whether the app is sent the messages it wrote itself (Slack does; a bare app
            need not see them).
    """

    name: str
    commands: tuple[Command, ...]
    scopes: frozenset[str] | None
    events: frozenset[str]
    socket_mode: bool = True
    request_url: str = ""
    own_messages: bool = False


def read_manifest(manifest: Mapping[str, Any] | None, commands: Sequence[Command]) -> AppFacts:
    """Read a manifest (Slack's JSON form).

    Without one, an app that may do everything in Socket Mode.
    """
    if manifest is None:
        return AppFacts("drover", tuple(commands), None, DEFAULT_EVENTS)
    features = manifest.get("features", {})
    settings = manifest.get("settings", {})
    declared = tuple(
        Command(
            each["command"],
            each.get("description", ""),
            each.get("usage_hint", ""),
            escaped=bool(each.get("should_escape", False)),
        )
        for each in features.get("slash_commands", [])
    )
    interactivity = settings.get("interactivity", {})
    name = features.get("bot_user", {}).get("display_name") or manifest.get(
        "display_information", {}
    ).get("name")
    return AppFacts(
        name=str(name or "drover").lower(),
        commands=declared or tuple(commands),
        scopes=frozenset(manifest.get("oauth_config", {}).get("scopes", {}).get("bot", [])),
        events=frozenset(settings.get("event_subscriptions", {}).get("bot_events", [])),
        socket_mode=bool(settings.get("socket_mode_enabled", False)),
        request_url=str(interactivity.get("request_url", "")),
        own_messages=True,
    )
