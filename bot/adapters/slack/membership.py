"""Whose member a person is: only members of the bot's own workspace, or of its organisation.

May ask for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

Json = Mapping[str, Any]


class Member(Enum):
    """What a payload says of who did it."""

    OURS = "ours"
    FOREIGN = "foreign"
    UNSURE = "unsure"  # of our organisation, or of a connected one: the payload does not tell


def membership(body: Json, team: str, enterprise: str = "") -> Member:
    """Whether a payload was caused by a member of the workspace ``team``.

    Or of the organisation ``enterprise``.

    In Slack Connect an event's outer ``team_id`` may be the channel owner's; the installation
    stands in ``authorizations`` and the person's own workspace in the event. In an organisation
    (Enterprise Grid) a person's home may be another workspace of it, or be told as the
    organisation's id (E…).
    Sources: docs.slack.dev/apis/events-api ("authorizations"), /enterprise and /apis/slack-connect.
    """
    ours = {team, enterprise} - {""}
    installed = [each for each in body.get("authorizations") or () if isinstance(each, Mapping)]
    if installed and not any(
        {each.get("team_id"), each.get("enterprise_id")} & ours for each in installed
    ):
        return Member.FOREIGN
    persons, places = _workspaces(body)
    if not persons | places:
        return Member.FOREIGN
    if persons:
        return Member.OURS if persons <= ours else _elsewhere(enterprise)
    if places <= ours:
        return Member.OURS
    return _elsewhere(enterprise) if _org(body) == enterprise else Member.FOREIGN


def _workspaces(body: Json) -> tuple[set[str], set[str]]:
    """The workspaces of the person, and those of the place, as far as a payload names them."""
    event: Json = body.get("event") or {}
    user = body.get("user") if isinstance(body.get("user"), Mapping) else {}
    person = (
        (user or {}).get("team_id"),
        *(event.get(key) for key in ("user_team", "source_team", "team")),
    )
    place = (body.get("team_id"), (body.get("team") or {}).get("id"))
    return {str(each) for each in person if each}, {str(each) for each in place if each}


def _org(body: Json) -> str:
    found = (body.get("enterprise") or {}).get("id") or body.get("enterprise_id")
    return str(found or (body.get("team") or {}).get("enterprise_id") or "")


def _elsewhere(enterprise: str) -> Member:
    return Member.UNSURE if enterprise else Member.FOREIGN


def is_member(user: Json, team: str, enterprise: str) -> bool:
    """Whether ``users.info`` says that a person is a member of the workspace.

    Or of the organisation.
    """
    if user.get("is_stranger") or user.get("deleted"):
        return False
    org = (user.get("enterprise_user") or {}).get("enterprise_id")
    return user.get("team_id") in {team, enterprise} - {""} or bool(
        enterprise and org == enterprise
    )


Belongs = Callable[[str], bool]
"""Asks Slack whether a person belongs to us; may raise ``ChatError``."""
