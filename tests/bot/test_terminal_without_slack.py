"""Slack fails, limits or hangs up, and two people approve in the terminal: it ends, and all is told once afterwards, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.manifest import manifest
from bot.adapters.slack.pacer import Pacer
from bot.domain.operation import State
from bot.domain.policy import Policy, Rule
from bot.flow.context import Places, Role
from bot.flow.operations import operation_cards
from bot.flow.operations.operation_messages import OperationMessages
from lab.slack import Workspace
from tests.bot.flow import terminals
from tests.bot.flow.small_bot import POLICY
from tests.bot.flow.terminals import AtTerminal, at_terminal
from tests.waiting import until

pytestmark = pytest.mark.process

PACE = 200.0
TWO = Policy(POLICY.grants, POLICY.everyone, (Rule("all", votes=2, expires=7200),))
ROLES = {
    "engineer": Role(frozenset({"U0ANA"})),
    "approver": Role(frozenset({"U0BRUNO", "U0CARLA"})),
}
METHODS = ("chat.postMessage", "chat.update", "conversations.history", "conversations.replies")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace(manifest=manifest(), pace=PACE) as made:
        yield made


@pytest.fixture
def here(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AtTerminal]:
    monkeypatch.setattr(
        terminals, "PEOPLE", {"ana": "U0ANA", "bruno": "U0BRUNO", "carla": "U0CARLA"}
    )
    chat = SlackChat(api.client(workspace.bot_token, workspace.web_api), pacer=Pacer(pace=PACE))
    with at_terminal(
        tmp_path,
        policy=TWO,
        roles=ROLES,
        over=lambda services: replace(
            services,
            places=Places("C0APPROVALS", "C0OPS"),
            chat=chat,
            messages=OperationMessages(
                services.store, chat, partial(operation_cards.operation_card)
            ),
        ),
    ) as made:
        made.bot.services.messages.start()
        yield made
        workspace.fault._api.clear()
        made.bot.services.messages.stop()
        chat.close()


@pytest.mark.parametrize("kind", ["fails", "limits"])
def test_it_ends_and_all_is_told_once_and_in_order(
    here: AtTerminal, workspace: Workspace, kind: str
) -> None:
    for method in METHODS:
        if kind == "fails":
            workspace.fault.server_error(method, times=100_000)
        else:
            workspace.fault.rate_limit(method, times=100_000, retry_after=1)
    found = here.do("ana", "migrate web-1 to host-b")
    digest = found["operation"]["plan_hash"]
    for who in ("bruno", "carla"):
        assert here.do(who, f"approve op-1 {digest}")["outcome"] == "done"
    until(lambda: here.bot.work.ids)
    here.bot.works()
    assert here.bot.operation().state is State.DONE
    assert workspace.messages("#approvals") == []
    workspace.fault._api.clear()
    here.bot.services.messages.catch_up()

    def top() -> list[str]:
        return [each.text for each in workspace.messages("#approvals") if not each.thread_ts]

    def thread() -> list[str]:
        return [each.text for each in workspace.messages("#approvals") if each.thread_ts]

    until(lambda: len(thread()) == 3, lambda: str(thread()))
    assert len(top()) == 1
    assert "Done" in top()[0]
    assert ["1 of 2" in thread()[0], "2 of 2" in thread()[1], "Done" in thread()[2]] == [True] * 3
    until(
        lambda: sum("Done" in each.text for each in workspace.messages("@ana")) == 1,
        "she is told",
        20,
    )
    until(lambda: here.bot.services.messages.waiting() == 0, "nothing waits")
    assert here.bot.store.words_left() == ()
