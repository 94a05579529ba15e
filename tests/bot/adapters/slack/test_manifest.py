"""The manifest fits Slack's schema (docs.slack.dev/reference/app-manifest) and asks for no more than is used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.slack import manifest as module
from bot.adapters.slack.manifest import SCOPES, manifest

Json = dict[str, Any]
HTTPS = r"https://\S+"

# The part of Slack's schema that the manifest uses: a type, a pattern, or a table of fields ("?":
# may be missing).
SCHEMA: Json = {
    "_metadata": {"major_version": int, "minor_version": int},
    "display_information": {
        "name": r".{1,35}",
        "description?": r".{1,140}",
        "background_color?": r"#[0-9a-fA-F]{6}|#[0-9a-fA-F]{3}",
    },
    "features": {
        "app_home": {
            "home_tab_enabled": bool,
            "messages_tab_enabled": bool,
            "messages_tab_read_only_enabled": bool,
        },
        "bot_user": {"display_name": r"[\w .-]{1,80}", "always_online?": bool},
        "slash_commands": [
            {
                "command": r"/[a-z0-9_-]{1,31}",
                "description": r".{1,2000}",
                "usage_hint?": r".{1,1000}",
                "should_escape?": bool,
                "url?": HTTPS,
            }
        ],
    },
    "oauth_config": {"scopes": {"bot": [r"[a-z_:.]{1,60}"]}},
    "settings": {
        "event_subscriptions": {"bot_events": [r"[a-z_.]{1,60}"], "request_url?": HTTPS},
        "interactivity": {
            "is_enabled": bool,
            "request_url?": HTTPS,
            "message_menu_options_url?": HTTPS,
        },
        "org_deploy_enabled": bool,
        "socket_mode_enabled": bool,
        "token_rotation_enabled": bool,
    },
}
# Which scope Slack wants for an event (docs.slack.dev/reference/events) or a method
# (docs.slack.dev/reference/methods).
NEEDED_BY_EVENT = {
    "app_home_opened": None,
    "app_mention": "app_mentions:read",
    "message.im": "im:history",
}
NEEDED_BY_METHOD = {
    "auth_test": (),
    "chat_getPermalink": (),
    "chat_postMessage": ("chat:write",),
    "chat_postEphemeral": ("chat:write",),
    "chat_update": ("chat:write",),
    "conversations_history": ("channels:history", "groups:history", "im:history"),
    "conversations_replies": ("channels:history", "groups:history", "im:history"),
    "files_upload_v2": ("files:write",),
    "usergroups_list": ("usergroups:read",),
    "usergroups_users_list": ("usergroups:read",),
    "users_info": ("users:read",),
    "views_open": (),
    "views_publish": (),
}


def faults(value: Any, shape: Any, at: str = "") -> Iterator[str]:
    """Everything in which a value differs from a shape."""
    if isinstance(shape, Mapping):
        yield from table_faults(value, shape, at)
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            yield f"{at}: not a list"
        for index, each in enumerate(value):
            yield from faults(each, shape[0], f"{at}[{index}]")
    elif isinstance(shape, str):
        if not isinstance(value, str) or not re.fullmatch(shape, value):
            yield f"{at}: {value!r}"
    elif type(value) is not shape:
        yield f"{at}: {value!r}"


def table_faults(value: Any, shape: Mapping[str, Any], at: str) -> Iterator[str]:
    known = {name.rstrip("?"): each for name, each in shape.items()}
    if not isinstance(value, dict):
        yield f"{at}: not a table"
        return
    yield from (f"{at}.{name}: unknown" for name in value if name not in known)
    yield from (
        f"{at}.{name}: missing" for name in shape if not name.endswith("?") and name not in value
    )
    for name, each in value.items():
        if name in known:
            yield from faults(each, known[name], f"{at}.{name}")


@pytest.mark.parametrize("socket_mode", [True, False])
def test_the_manifest_fits_the_schema(*, socket_mode: bool) -> None:
    assert list(faults(manifest("/kvm", "a | " * 500, socket_mode=socket_mode), SCHEMA)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("features", "slash_commands", 0, "command"), "kvm"),
        (("display_information", "name"), "x" * 36),
        (("settings", "socket_mode_enabled"), "yes"),
        (("settings", "is_hosted_by"), "us"),
        (("oauth_config", "scopes", "bot"), []),
    ],
)
def test_the_check_sees_what_is_wrong(path: tuple[str | int, ...], value: object) -> None:
    wrong: Any = manifest()
    place = wrong
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert len(list(faults(wrong, SCHEMA))) == 1


def test_command_and_hint_are_as_asked() -> None:
    (command,) = manifest("/cluster", "help | vms")["features"]["slash_commands"]
    assert (command["command"], command["usage_hint"]) == ("/cluster", "help | vms")


def test_socket_mode_unless_there_is_an_address() -> None:
    assert manifest()["settings"]["socket_mode_enabled"] is True
    http = manifest(socket_mode=False, request_url="https://bot.example.org/slack")
    assert http["settings"]["socket_mode_enabled"] is False
    assert http["features"]["slash_commands"][0]["url"] == "https://bot.example.org/slack"


def test_every_scope_is_needed_and_every_needed_scope_is_there() -> None:
    """Read off the adapter's own calls, so that a new call without its scope fails here and not at Slack."""
    sources = [
        path.read_text(encoding="utf-8") for path in Path(module.__file__).parent.glob("*.py")
    ]
    used = {
        name for text in sources for name in re.findall(r"client\.([a-z]+_[a-zA-Z0-9_]+)\b", text)
    }
    used -= {"is_connected", "message_queue"}  # of the socket, no method of the Web API
    wanted = {"commands"} | {scope for event in manifest()["settings"]["event_subscriptions"]["bot_events"]
                             if (scope := NEEDED_BY_EVENT[event])}  # fmt: skip
    wanted |= {scope for method in used for scope in NEEDED_BY_METHOD[method]}
    assert wanted == set(SCOPES)
