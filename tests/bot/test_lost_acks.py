"""A connection to Slack that breaks under an ack: the real app over a real websocket, and its store.

Slack delivers again what was not acknowledged, in a new envelope with the same payload; or it tells
the person of an error, who tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from bot.adapters.slack.manifest import manifest
from bot.domain.operation import State
from bot.ports import Request
from lab.slack import Message, Workspace
from tests.bot.listening_bot import PACE, ListeningBot
from tests.waiting import until

pytestmark = pytest.mark.process

Where = Literal["before", "middle"]
EACH = pytest.mark.parametrize("where", ["before", "middle"])


class Line(ListeningBot):
    """One whose connection breaks on demand."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.old: Any = None
        self.waits = False
        super().__init__(workspace, folder)
        self.ana, self.bruno = workspace.person("ana"), workspace.person("bruno")

    def cuts(self, where: Where) -> None:
        """The next ack is lost; "before": no request is stored until the app knows it."""
        assert self.listeners._socket is not None
        self.old = self.listeners._socket.client.current_session
        self.waits = where == "before"
        self.workspace.fault.cut_ack(where)

    def accept(self, request: Request) -> bool:
        if self.waits:
            until(lambda: not self.old.is_active(), "the connection is known to be broken")
            self.waits = False
        return super().accept(request)

    def proposals(self) -> list[Message]:
        return [each for each in self.workspace.messages("#approvals") if not each.thread_ts]

    def proposed(self) -> Message:
        self.ana.command("/kvm migrate web-1 to host-b --reason heat")
        until(self.proposals, "it is proposed")
        until(lambda: "op.approve" in str(self.proposals()[0].blocks), "with its buttons")
        return self.proposals()[0]

    def is_through(self) -> None:
        """All that came is handled, and what it has to say is said."""
        until(lambda: not self.bot.store.pending_requests(), "nothing waits")
        until(lambda: self.bot.store.words_left() == (), "nothing is left to say")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Workspace(manifest=manifest(), pace=PACE) as workspace:
        made = Line(workspace, tmp_path)
        yield made
        made.close()


@EACH
def test_a_command_whose_ack_is_lost_is_proposed_and_answered_once(
    line: Line, where: Where, caplog: pytest.LogCaptureFixture
) -> None:
    line.cuts(where)
    assert line.ana.command("/kvm migrate web-1 to host-b --reason heat").ok
    until(line.proposals, "it is proposed")
    line.is_through()
    assert len(line.proposals()) == 1
    assert len(line.bot.store.operations()) == 1
    until(line.ana.ephemerals, "she is answered")
    assert len(line.ana.ephemerals()) == 1
    no_traceback(caplog)


@EACH
def test_a_vote_whose_ack_is_lost_counts_once_and_starts_the_work_once(
    line: Line, where: Where, caplog: pytest.LogCaptureFixture
) -> None:
    proposal = line.proposed()
    line.cuts(where)
    assert line.bruno.click(proposal, "op.approve").ok
    until(lambda: line.bot.work.ids, "the work begins")
    line.is_through()
    assert line.bot.work.ids == ["op-1"]
    operation = line.bot.operation()
    assert (operation.state, len(operation.votes)) == (State.APPROVED, 1)
    assert not line.bruno.ephemerals("#approvals"), "nobody is told that he voted before"
    no_traceback(caplog)


@EACH
def test_a_dialog_whose_ack_is_lost_is_carried_out_once_and_closes(
    line: Line, where: Where, caplog: pytest.LogCaptureFixture
) -> None:
    line.bruno.click(line.proposed(), "op.deny")
    view = line.bruno.wait_view()
    line.cuts(where)
    assert line.bruno.submit(view, {"why": "too hot"}).ok
    assert line.bruno.view is None
    line.is_through()
    assert line.bot.operation().state is State.DENIED
    assert not line.bruno.ephemerals("#approvals"), "nobody is told that it is denied already"
    no_traceback(caplog)


def no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert not [each.getMessage() for each in caplog.records if each.exc_info]
