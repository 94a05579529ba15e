"""Who and what is in the workspace.

Its people, channels, user group and the app, with ids one can read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]

TEAM_ID = "T0LAB"
TEAM_NAME = "Drover Lab"
TEAM_DOMAIN = "drover-lab"
OTHER_TEAM_ID = "T0OTHER"
APP_ID = "A0DROVER"
BOT_ID = "B0DROVER"
BOT_USER_ID = "U0DROVER"
SLACKBOT_ID = "USLACKBOT"


@dataclass(frozen=True, slots=True)
class Member:
    """One person (or bot user).

    Attributes:
        locale: As `users.info(include_locale)` answers it, such as "pt-BR".
        guest: A single-channel guest at Slack: may talk, has no rights.
        team_id: Another id than the workspace's means somebody from a connected workspace.
    """

    id: str
    name: str
    real_name: str
    title: str = ""
    locale: str = "en-US"
    guest: bool = False
    is_bot: bool = False
    team_id: str = TEAM_ID

    def as_user(self, *, include_locale: bool = False) -> Json:
        """Answer Slack's user object."""
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "deleted": False,
            "real_name": self.real_name,
            "tz": "Europe/Lisbon",
            "tz_label": "Western European Time",
            "tz_offset": 0,
            "is_admin": False,
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": self.guest,
            "is_ultra_restricted": False,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "is_stranger": self.team_id != TEAM_ID,
            "updated": 1_700_000_000,
            "profile": {
                "title": self.title,
                "real_name": self.real_name,
                "display_name": self.name,
                "real_name_normalized": self.real_name,
                "display_name_normalized": self.name,
                "team": self.team_id,
                **({"bot_id": BOT_ID, "api_app_id": APP_ID} if self.is_bot else {}),
            },
            **({"locale": self.locale} if include_locale else {}),
        }


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, or (with `with_user`) the direct conversation of one person and the app."""

    id: str
    name: str
    purpose: str
    members: tuple[str, ...]
    with_user: str = ""

    def as_conversation(self) -> Json:
        """Answer Slack's conversation object."""
        if self.with_user:
            return {
                "id": self.id,
                "created": 1_700_000_000,
                "is_im": True,
                "user": self.with_user,
                "is_open": True,
            }
        return {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "created": 1_700_000_000,
            "creator": "U0ANA",
            "is_channel": True,
            "is_group": False,
            "is_im": False,
            "is_mpim": False,
            "is_private": False,
            "is_archived": False,
            "is_general": self.name == "general",
            "is_member": BOT_USER_ID in self.members,
            "is_shared": False,
            "is_ext_shared": False,
            "is_org_shared": False,
            "context_team_id": TEAM_ID,
            "num_members": len(self.members),
            "topic": {"value": "", "creator": "", "last_set": 0},
            "purpose": {"value": self.purpose, "creator": "U0ANA", "last_set": 1_700_000_000},
        }


@dataclass(frozen=True, slots=True)
class Group:
    """A user group, such as @kvm-approvers."""

    id: str
    handle: str
    name: str
    users: tuple[str, ...]

    def as_usergroup(self, *, include_users: bool = False) -> Json:
        """Answer Slack's usergroup object."""
        return {
            "id": self.id,
            "team_id": TEAM_ID,
            "is_usergroup": True,
            "is_subteam": True,
            "name": self.name,
            "description": "",
            "handle": self.handle,
            "is_external": False,
            "date_create": 1_700_000_000,
            "date_update": 1_700_000_000,
            "date_delete": 0,
            "user_count": len(self.users),
            "prefs": {"channels": [], "groups": []},
            **({"users": list(self.users)} if include_users else {}),
        }


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command as registered with Slack.

    Attributes:
        command: With its slash: "/kvm".
        usage_hint: Shown while typing; words separated by ``|`` are offered as completions.
        escaped: Whether @names and #channels reach the app as mentions with ids (the manifest's
            ``should_escape``).
    """

    command: str
    description: str = ""
    usage_hint: str = ""
    escaped: bool = False


_PEOPLE = ("U0ANA", "U0BRUNO", "U0CARLA", "U0GIL")


@dataclass(frozen=True, slots=True)
class Directory:
    """Everybody and every place in the workspace."""

    app_name: str = "drover"
    members: Mapping[str, Member] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    @property
    def people(self) -> list[Member]:
        """The humans of this workspace (no bots, nobody from elsewhere)."""
        return [
            each for each in self.members.values() if not each.is_bot and each.team_id == TEAM_ID
        ]

    def member_named(self, name: str) -> Member | None:
        """Find somebody by id, name, @name or <@ID>."""
        wanted = name.strip("<>").removeprefix("@")
        by_name = (each for each in self.members.values() if each.name.lower() == wanted.lower())
        return self.members.get(wanted) or next(by_name, None)

    def channel_named(self, name: str) -> Channel | None:
        """Find a channel by id, name or #name.

        A person's id or @name means their direct conversation.
        """
        wanted = name.removeprefix("#")
        by_name = (
            each for each in self.channels.values() if each.name == wanted and not each.with_user
        )
        found = self.channels.get(wanted) or next(by_name, None)
        person = self.member_named(name) if found is None else None
        return self.channels.get("D" + person.id[1:]) if person else found


def lab_directory(app_name: str = "drover", locales: Mapping[str, str] | None = None) -> Directory:
    """Answer the fixed workspace.

    Four people, one stranger, the app, three channels, one user group.

    Args:
        app_name: The app's and its bot user's name.
        locales: Of members, by id, such as {"U0ANA": "pt-BR"}; the others read en-US.
    """
    members = [
        Member("U0ANA", "ana", "Ana Souza", "Engineer"),
        Member("U0BRUNO", "bruno", "Bruno Lima", "Approver"),
        Member("U0CARLA", "carla", "Carla Dias", "Approver"),
        Member("U0GIL", "gil", "Gil Ramos", "Guest", guest=True),
        Member(
            "U0FOREIGN", "foreign", "Fay Oreign", "From another workspace", team_id=OTHER_TEAM_ID
        ),
        Member(BOT_USER_ID, app_name, app_name.capitalize(), is_bot=True),
        Member(SLACKBOT_ID, "slackbot", "Slackbot", is_bot=True),
    ]
    everybody = (*_PEOPLE, "U0FOREIGN")
    channels = [
        Channel("C0OPS", "ops", "Where the cluster is run", (*everybody, BOT_USER_ID)),
        Channel(
            "C0APPROVALS", "approvals", "Where changes are approved", (*everybody, BOT_USER_ID)
        ),
        Channel("C0GENERAL", "general", "Everything else", everybody),
        *(
            Channel(
                "D" + user[1:],
                app_name,
                "Direct messages with the app",
                (user, BOT_USER_ID),
                with_user=user,
            )
            for user in everybody
        ),
    ]
    group = Group("S0APPROVERS", "kvm-approvers", "KVM approvers", ("U0BRUNO", "U0CARLA"))
    return Directory(
        app_name,
        {
            each.id: replace(each, locale=(locales or {}).get(each.id, each.locale))
            for each in members
        },
        {each.id: each for each in channels},
        {group.id: group},
    )
