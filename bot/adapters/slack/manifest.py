"""The app's manifest: what Slack needs to know to install Drover, with no right more than it uses."""

from __future__ import annotations

from typing import Any

SCOPES: dict[str, str] = {
    "app_mentions:read": "@Drover works in threads, where slash commands do not",
    "channels:history": "find a message by its key after a lost answer, instead of posting it twice",
    "chat:write": "post, update and whisper",
    "commands": "the slash command",
    "files:write": "charts as pictures where the workspace draws none",
    "groups:history": "the same in private channels",
    "im:history": "commands in a direct message",
    "usergroups:read": "user groups as roles",
}
EVENTS = ("app_home_opened", "app_mention", "message.im")
HINT = "help | vms | hosts | migrate <vm> <host> | …"
DESCRIPTION = "Runs the KVM cluster from Slack: plan, approve, perform."


def manifest(
    command: str = "/kvm", usage_hint: str = HINT, *, name: str = "Drover", request_url: str = ""
) -> dict[str, Any]:
    """Slack's manifest (docs.slack.dev/reference/app-manifest) as JSON values.

    Args:
        command: the slash command, with its slash.
        usage_hint: shown while it is typed.
        name: the app's and the bot user's name.
        request_url: for HTTP mode, where Slack delivers; '' for Socket Mode.
    """
    delivery = {"request_url": request_url} if request_url else {}
    options = {"message_menu_options_url": request_url} if request_url else {}
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {"name": name, "description": DESCRIPTION, "background_color": "#1f2d3d"},
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": name, "always_online": True},
            "slash_commands": [
                {
                    "command": command,
                    "description": "Run the KVM cluster",
                    "usage_hint": usage_hint,
                    "should_escape": False,
                    **({"url": request_url} if request_url else {}),
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": sorted(SCOPES)}},
        "settings": {
            "event_subscriptions": {"bot_events": list(EVENTS), **delivery},
            "interactivity": {"is_enabled": True, **delivery, **options},
            "org_deploy_enabled": False,
            "socket_mode_enabled": not request_url,
            "token_rotation_enabled": False,
        },
    }
