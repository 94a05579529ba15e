"""The whole line over a Slack that fails or limits: votes and work wait for nothing, and in the end all is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.manifest import manifest
from bot.adapters.slack.pacer import Pacer
from bot.domain.operation import Ask, State
from bot.flow.commands.dispatcher import pick_up
from bot.flow.context import Places, Role
from bot.flow.operations import operation_cards
from bot.flow.operations.operation_messages import OperationMessages
from lab.slack import Workspace
from tests.bot.flow.small_bot import Bot, small_bot
from tests.waiting import until

pytestmark = pytest.mark.process

PACE = 200.0
ROLES = {"engineer": Role(frozenset({"U0ANA"})), "approver": Role(frozenset({"U0BRUNO"}))}
POST, UPDATE = "chat.postMessage", "chat.update"


class Line:
    """A bot in memory whose chat is the local workspace, said by threads as in the real app."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self.bot: Bot = small_bot(folder, roles=ROLES)
        self.chats: list[SlackChat] = []
        self.starts()

    def starts(self) -> None:
        """A process with nothing in its memory."""
        client = api.client(self.workspace.bot_token, self.workspace.web_api)
        chat = SlackChat(client, progress_every=0.05, pacer=Pacer(pace=PACE))
        self.chats.append(chat)
        screen = OperationMessages(self.bot.store, chat, partial(operation_cards.operation_card))
        screen.start()
        places = Places("C0APPROVALS", "C0OPS")
        self.bot.services = replace(self.bot.services, chat=chat, messages=screen, places=places)

    def asks(self) -> None:
        self.bot.types("migrate web-1 to host-b", by="U0ANA")

    def approves(self) -> None:
        self.bot.clicks("op.approve", self.bot.value(), "U0BRUNO")
        until(lambda: self.bot.work.ids)

    def shown(self) -> list[str]:
        return [each.text for each in self.workspace.messages("#approvals") if not each.thread_ts]

    def thread(self) -> list[str]:
        return [each.text for each in self.workspace.messages("#approvals") if each.thread_ts]

    def fails(self, *methods: str) -> None:
        for method in methods:
            self.workspace.fault.server_error(method, times=100_000)

    def is_well(self) -> None:
        self.workspace.fault._api.clear()
        self.bot.services.messages.catch_up()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Workspace(manifest=manifest(), pace=PACE) as workspace:
        made = Line(workspace, tmp_path)
        yield made
        made.workspace.fault._api.clear()
        made.bot.services.messages.stop()
        for chat in made.chats:
            chat.close()
        made.bot.store.close()


def all_is_told(line: Line, title: str = "Done") -> None:
    told = re.compile(rf"op-1: \S+ {title}\b")  # a sign stands before the state
    until(lambda: any(told.match(each) for each in line.shown()), lambda: str(line.shown()))
    until(lambda: len(line.thread()) == 2, lambda: str(line.thread()))
    assert len(line.shown()) == 1
    assert "1 of 1 vote" in line.thread()[0]
    end = line.thread()[1]
    assert told.match(end), end
    until(
        lambda: [each.text for each in line.workspace.messages("@ana")].count(end) == 1,
        "she is told",
    )
    until(lambda: line.bot.store.words_left() == (), "nothing is left to say")


@pytest.mark.parametrize("methods", [(UPDATE,), (POST,), (POST, UPDATE)])
def test_nothing_waits_for_a_slack_that_fails_and_all_is_told_when_it_is_back(
    line: Line, methods: tuple[str, ...]
) -> None:
    if POST not in methods:
        line.asks()
        until(line.shown)
        line.fails(*methods)
    else:
        line.fails(*methods)
        line.asks()
    line.approves()
    line.bot.works()
    assert line.bot.operation().state is State.DONE
    assert not any("Done" in each for each in line.shown())
    line.is_well()
    all_is_told(line)


def test_what_a_killed_process_had_not_said_is_said_by_the_next(line: Line) -> None:
    line.asks()
    until(line.shown)
    line.fails(POST, UPDATE)
    line.approves()
    line.bot.works()
    # Killed: nothing of its memory is left, nothing is said any more
    line.bot.services.messages._outbox._stopped = True
    line.workspace.fault._api.clear()
    line.starts()
    pick_up(line.bot.services)
    all_is_told(line)


def test_work_begins_though_the_approver_cannot_be_answered(line: Line) -> None:
    line.asks()
    until(line.shown)
    line.fails(POST, "chat.postEphemeral")
    # He is told that this is not over, which does not go out
    line.bot.clicks("op.again", line.bot.value(), "U0BRUNO")
    line.approves()
    line.bot.works()
    assert line.bot.operation().state is State.DONE


def test_a_limit_on_edits_holds_up_neither_votes_nor_cancellations(line: Line) -> None:
    line.asks()
    until(line.shown)
    line.workspace.fault.rate_limit(UPDATE, times=1, retry_after=3)
    line.approves()
    line.bot.clicks("op.cancel", line.bot.value(), "U0ANA")
    operation = line.bot.operation()
    assert operation.state is State.CANCELLED or Ask.CANCEL in operation.asked
    all_is_told(line, "Cancelled")
    assert sum(call.status == 429 for call in line.workspace.calls if call.method == UPDATE) == 1
