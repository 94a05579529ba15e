"""User groups while Slack does not tell them: what was known holds for a while, and then nothing is claimed."""

from __future__ import annotations

import json

import pytest

from bot.adapters.slack import api
from bot.adapters.slack.groups import Groups
from bot.domain.errors import ChatError
from lab.slack import Workspace
from tests.bot.adapters.slack.conftest import NappingPacer

CARLA = {"S0APPROVERS", "kvm-approvers"}


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def groups(workspace: Workspace, pacer: NappingPacer, clock: Clock) -> Groups:
    client = api.client(workspace.bot_token, workspace.web_api)
    return Groups(client, pacer, keep=300, grace=900, patience=10, clock=clock)


@pytest.mark.parametrize(
    "trouble", ["server_error", "rate_limit", "missing_scope", "token_revoked"]
)
def test_what_was_known_holds_while_slack_does_not_tell(
    workspace: Workspace, groups: Groups, clock: Clock, trouble: str
) -> None:
    assert groups.of("U0CARLA") == CARLA
    clock.at += 301
    if trouble == "rate_limit":
        workspace.fault.rate_limit("usergroups.list", times=50, retry_after=60)
    elif trouble == "server_error":
        workspace.fault.server_error("usergroups.list", times=50)
    else:
        workspace.fault.error("usergroups.list", trouble, times=50)
    assert groups.of("U0CARLA") == CARLA
    clock.at += 900
    with pytest.raises(ChatError, match="does not tell the user groups now"):
        groups.of("U0CARLA")


def test_nothing_is_claimed_of_groups_that_were_never_told(
    workspace: Workspace, groups: Groups, clock: Clock
) -> None:
    workspace.fault.server_error("usergroups.list", times=4)
    with pytest.raises(ChatError, match="does not tell the user groups now"):
        groups.of("U0CARLA")
    clock.at += 60
    assert groups.of("U0CARLA") == CARLA


def test_a_group_of_others_or_one_that_was_turned_off_gives_no_role(
    workspace: Workspace, groups: Groups
) -> None:
    told = [
        {"id": "S0OURS", "handle": "kvm-operators", "users": ["U0CARLA"]},
        {"id": "S0THEIRS", "handle": "kvm-approvers", "users": ["U0CARLA"], "is_external": True},
        {"id": "S0OFF", "handle": "kvm-admins", "users": ["U0CARLA"], "date_delete": 1700000000},
    ]
    workspace.fault.garble("usergroups.list", json.dumps({"ok": True, "usergroups": told}).encode())
    assert groups.of("U0CARLA") == {"S0OURS", "kvm-operators"}
