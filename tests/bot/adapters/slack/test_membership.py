"""Own people may ask, wherever Slack says they come from; strangers never."""

from __future__ import annotations

from typing import Any

import pytest

from bot.adapters.slack.membership import Member, is_member, membership

US, THEM, ORG, SISTER = "T0US", "T0THEM", "E0ORG", "T0SISTER"
OURS, FOREIGN, UNSURE = Member.OURS, Member.FOREIGN, Member.UNSURE


def event(
    outer: str, installed: list[dict[str, Any]] | None = None, **teams: str
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "team_id": outer,
        "event": {"type": "app_mention", "user": "U1", **teams},
    }
    return found | ({"authorizations": installed} if installed is not None else {})


HERE = [{"enterprise_id": None, "team_id": US, "user_id": "U0BOT"}]
HERE_IN_ORG = [{"enterprise_id": ORG, "team_id": US, "user_id": "U0BOT"}]


@pytest.mark.parametrize(
    ("body", "enterprise", "found"),
    [
        ({"team_id": US, "user_id": "U1"}, "", OURS),  # a slash command
        ({"team_id": THEM, "user_id": "U1"}, "", FOREIGN),
        ({}, "", FOREIGN),
        ({"team": {"id": US}, "user": {"id": "U1", "team_id": US}}, "", OURS),  # a click
        # By a stranger in a shared channel
        ({"team": {"id": US}, "user": {"id": "U1", "team_id": THEM}}, "", FOREIGN),
        # By one of us in theirs
        ({"team": {"id": THEM}, "user": {"id": "U1", "team_id": US}}, "", OURS),
        (event(US, user_team=US, source_team=US, team=US), "", OURS),
        # One of us in a channel that another workspace owns
        (event(THEM, HERE, team=US), "", OURS),
        (event(US, HERE, user_team=THEM, team=THEM), "", FOREIGN),
        (event(US, HERE, user_team=THEM, team=US), "", FOREIGN),
        # Installed elsewhere: not for this bot
        (event(THEM, [{"team_id": THEM}], team=US), "", FOREIGN),
        # The organisation's id in the person's place
        (event(US, HERE_IN_ORG, user_team=ORG, team=US), ORG, OURS),
        # Of an organisation that is not ours
        (event(US, HERE, user_team=ORG, team=US), "", FOREIGN),
        (event(US, HERE_IN_ORG, user_team=SISTER, team=SISTER), ORG, UNSURE),
        (
            {"team": {"id": US, "enterprise_id": ORG}, "user": {"id": "U1", "team_id": SISTER}},
            ORG,
            UNSURE,
        ),
        (
            {"team": {"id": US, "enterprise_id": ORG}, "user": {"id": "U1", "team_id": SISTER}},
            "",
            FOREIGN,
        ),
        ({"team": None, "enterprise": {"id": ORG}, "user": {"id": "U1", "team_id": US}}, ORG, OURS),
        # A command in a sister workspace
        ({"team_id": SISTER, "enterprise_id": ORG, "user_id": "U1"}, ORG, UNSURE),
        ({"team_id": SISTER, "enterprise_id": "E0OTHER", "user_id": "U1"}, ORG, FOREIGN),
    ],
)
def test_whose_member_a_payload_says_somebody_is(
    body: dict[str, Any], enterprise: str, found: Member
) -> None:
    assert membership(body, US, enterprise) is found


@pytest.mark.parametrize(
    ("user", "enterprise", "member"),
    [
        ({"team_id": US}, "", True),
        ({"team_id": THEM}, "", False),
        ({"team_id": SISTER, "enterprise_user": {"enterprise_id": ORG}}, ORG, True),
        ({"team_id": SISTER, "enterprise_user": {"enterprise_id": "E0OTHER"}}, ORG, False),
        (
            {"team_id": SISTER, "enterprise_user": {"enterprise_id": ORG}, "is_stranger": True},
            ORG,
            False,
        ),
        ({"team_id": US, "deleted": True}, ORG, False),
        ({"team_id": THEM}, ORG, False),
    ],
)
def test_whose_member_slack_says_somebody_is(
    user: dict[str, Any], enterprise: str, *, member: bool
) -> None:
    assert is_member(user, US, enterprise) is member
