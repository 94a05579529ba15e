"""slack-bolt sees the same workspace in Socket Mode and in HTTP mode: the whole round of what an app does."""

from collections.abc import Callable
from typing import Any

import pytest
from slack_bolt import App

from lab.slack import Message, Workspace
from tests.lab_slack.parts import approval_app
from tests.waiting import until

Bring = Callable[[App], object]


@pytest.fixture
def proposal(workspace: Workspace, bring: Bring) -> Message:
    bring(approval_app(workspace))
    ack = workspace.person("ana").command("/kvm migrate web-1")
    assert ack.ok, ack.text
    return workspace.wait_message("#approvals", lambda each: bool(each.buttons()))


def test_a_command_is_answered_to_its_person_alone_and_proposed_to_all(
    workspace: Workspace, proposal: Message
) -> None:
    assert [each.text for each in workspace.person("ana").ephemerals("#ops")] == [
        "planning migrate web-1"
    ]
    assert workspace.person("bruno").ephemerals("#ops") == []
    assert (
        proposal.plain() == "== Migrate web-1 ==\n*web-1* goes to host-b\n[Approve] [Deny] [Host ▾]"
    )
    assert proposal.buttons() == [("Approve", "approve", "op-1"), ("Deny", "deny", "op-1")]


def test_an_approval_edits_the_message_and_starts_a_thread(
    workspace: Workspace, proposal: Message
) -> None:
    assert workspace.person("bruno").click(proposal, "approve").ok
    edited = workspace.wait_message(
        "#approvals", lambda each: each.text == "approved by <@U0BRUNO>"
    )
    reply = workspace.wait_message("#approvals", lambda each: each.text == "it begins")
    assert (edited.ts, edited.edited, edited.blocks) == (proposal.ts, 1, [])
    assert reply.thread_ts == proposal.ts
    assert [each.text for each in workspace.messages("#approvals", thread=proposal.ts)] == [
        edited.text,
        reply.text,
    ]


def test_a_dismissed_confirm_dialog_sends_nothing(workspace: Workspace, proposal: Message) -> None:
    ack = workspace.person("bruno").click(proposal, "approve", confirm=False)
    assert (ack.ok, ack.text) == (False, "the confirm dialog was dismissed")
    assert workspace.messages("#approvals")[0].edited == 0


def test_a_denial_asks_for_a_reason_in_a_modal(workspace: Workspace, proposal: Message) -> None:
    carla = workspace.person("carla")
    carla.click(proposal, "deny")
    view = carla.wait_view(title="Deny")
    missing = carla.submit(view, {})
    assert (missing.ok, dict(missing.errors)) == (
        False,
        {"why": "Please complete this required field."},
    )
    short = carla.submit(view, {"reason": "no"})
    assert (short.ok, dict(short.errors)) == (True, {"why": "Say more."})
    assert carla.view is not None
    assert carla.submit(view, {"reason": "too early"}).ok
    assert workspace.wait_message(
        "#approvals", lambda each: each.text == "denied by <@U0CARLA>: too early"
    )
    assert carla.view is None


def test_an_external_select_offers_what_the_app_knows(
    workspace: Workspace, proposal: Message
) -> None:
    bruno = workspace.person("bruno")
    assert bruno.options(proposal, "host", "host-") == [("HOST-A", "host-a"), ("HOST-B", "host-b")]
    assert bruno.options(proposal, "host", "b") == [("HOST-B", "host-b")]
    assert bruno.select(proposal, "host", "host-b").ok
    note = workspace.wait_message(
        "#approvals", lambda each: each.text == "you chose host-b", seen_by="bruno"
    )
    assert note.ephemeral_to == bruno.user_id


def test_mentions_direct_messages_reactions_and_home(
    workspace: Workspace, proposal: Message
) -> None:
    ana = workspace.person("ana")
    ana.say("@drover help <me> & mine")
    reply = workspace.wait_message("#ops", lambda each: each.text.startswith("you said"))
    assert reply.text == "you said <@U0DROVER> help &lt;me&gt; &amp; mine"
    assert reply.thread_ts
    ana.say("hello", channel="@drover")
    assert workspace.wait_message("@ana", lambda each: each.text == "psst hello")
    ana.react(proposal, "tada")
    assert workspace.wait_message("#approvals", lambda each: each.text == "thanks for :tada:")
    home = ana.open_home()
    assert workspace.wait_for(lambda: ana.home) is not None
    assert ana.home is not None
    assert ana.home.plain() == "All hosts up"
    assert home is None or home.plain() == "All hosts up"


def test_a_person_from_another_workspace_says_so_in_every_payload(
    workspace: Workspace, bare_app: App, bring: Bring
) -> None:
    teams: list[tuple[str, str]] = []

    @bare_app.command("/kvm")
    def kvm(ack: Any, command: Any, client: Any) -> None:
        ack()
        teams.append(("command", command["team_id"]))

    @bare_app.event("message")
    def written(event: Any) -> None:
        teams.append(("message", event["user_team"]))

    bring(bare_app)
    stranger = workspace.person("foreign")
    stranger.command("/kvm help")
    stranger.say("hello")
    until(lambda: len(teams) == 2)
    assert teams == [("command", "T0OTHER"), ("message", "T0OTHER")]


def test_an_app_that_does_not_acknowledge_gets_slacks_timeout(bare_app: App) -> None:
    with Workspace(ack_seconds=0.2) as workspace:
        ack = workspace.person("ana").command("/kvm help")
        assert ack.text == '/kvm failed with the error "dispatch_failed"'
        assert workspace.person("ana").ephemerals("#ops")[0].text == ack.text


def test_an_unregistered_command_is_refused_by_slack_itself(workspace: Workspace) -> None:
    assert workspace.person("ana").command("/kwm help").text == "/kwm is not a valid command."
    assert (
        workspace.person("ana").say("/kvm help", thread_ts="1.2").text
        == "/kvm is not supported in threads. Sorry!"
    )
