"""The app's manifest: what Slack needs to know to install Drover.

With no right more than it uses.
"""

from __future__ import annotations

from bot.adapters.slack.api import Json
from bot.adapters.slack.text import cut

SCOPES: dict[str, str] = {
    # no message: the manifest of the app
    "app_mentions:read": "@Drover works in threads, where slash commands do not",
    # no message: the manifest of the app
    "channels:history": "find a message by its key after a lost answer, not post it twice",
    # no message: the manifest of the app
    "chat:write": "post, update and whisper",
    # no message: the manifest of the app
    "commands": "the slash command",
    # no message: the manifest of the app
    "files:write": "charts as pictures where the workspace draws none",
    # no message: the manifest of the app
    "groups:history": "the same in private channels",
    # no message: the manifest of the app
    "im:history": "commands in a direct message",
    # no message: the manifest of the app
    "usergroups:read": "user groups as roles",
    # no message: the manifest of the app
    "users:read": "the language of each person",
}
EVENTS = ("app_home_opened", "app_mention", "message.im")
HINT = "help | vms | hosts | migrate <vm> <host> | …"
# no message: the manifest of the app
DESCRIPTION = "Runs the KVM cluster from Slack: plan, approve, perform."


ADDRESS = "https://drover.example.org/slack/events"
"""Where Slack delivers in HTTP mode, to be edited; Socket Mode needs none."""
LONGEST_HINT = 1000  # characters: Slack refuses a manifest with a longer one


def manifest(
    command: str = "/kvm",
    usage_hint: str = HINT,
    *,
    name: str = "Drover",
    socket_mode: bool = True,
    request_url: str = ADDRESS,
) -> Json:
    """Slack's manifest (docs.slack.dev/reference/app-manifest) as JSON values.

    Args:
        command: the slash command, with its slash.
        usage_hint: shown while it is typed.
        name: the app's and the bot user's name.
        socket_mode: whether Slack delivers over a socket that the bot opens.
        request_url: where else it delivers.
    """
    delivery = {} if socket_mode else {"request_url": request_url}
    options = {} if socket_mode else {"message_menu_options_url": request_url}
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": name,
            "description": DESCRIPTION,
            "background_color": "#1f2d3d",
        },
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
                    # no message: the manifest of the app
                    "description": "Run the KVM cluster",
                    "usage_hint": cut(usage_hint, LONGEST_HINT),
                    # “@ana” arrives with her id: no scope to read the member list is needed
                    "should_escape": True,
                    **({} if socket_mode else {"url": request_url}),
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": sorted(SCOPES)}},
        "settings": {
            "event_subscriptions": {"bot_events": list(EVENTS), **delivery},
            "interactivity": {"is_enabled": True, **delivery, **options},
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }
