"""The chat on a workspace that limits, fails, loses answers and refuses blocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from bot.adapters.slack import api, charts
from bot.adapters.slack.chat import EVENT, SlackChat
from bot.adapters.slack.pacer import Pacer
from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Chart,
    Form,
    Picture,
    Section,
    Style,
    Table,
    TextField,
)
from bot.domain.errors import ChatError
from bot.ports import MessageRef
from lab.slack import Workspace
from lab.slack.records import ResponseAddress
from tests.bot.adapters.slack.conftest import NappingPacer

pytestmark = pytest.mark.process

OPS = "C0OPS"
CARD = Card("moved", "Moved", (Section("web-1"), Buttons((Button("Details", "details", "op-1"),))))
CHART = Chart(
    "Memory", "bar", ("host-a", "host-b"), (("before", (80.0, 20.0)),), "%", "host-a 80 %"
)


def methods(workspace: Workspace) -> list[str]:
    return [call.method for call in workspace.calls]


def test_a_rate_limit_is_waited_out_as_long_as_slack_says(
    workspace: Workspace, chat: SlackChat, naps: list[float]
) -> None:
    workspace.fault.rate_limit("chat.postMessage", times=2, retry_after=7)
    chat.post(OPS, CARD)
    assert naps == [7.0, 7.0]
    assert len(workspace.messages("#ops")) == 1


def test_a_direct_message_whose_answer_is_lost_is_sent_once_where_the_conversation_is_known(
    workspace: Workspace, chat: SlackChat
) -> None:
    chat.tell("U0ANA", Card("first"))
    workspace.fault.drop_response("chat.postMessage")
    chat.tell("U0ANA", Card("second"))
    assert [each.text for each in workspace.messages("@ana")] == ["first", "second"]


def test_the_first_direct_message_is_rather_sent_twice_than_not_at_all(
    workspace: Workspace, chat: SlackChat
) -> None:
    workspace.fault.drop_response("chat.postMessage")
    chat.tell("U0ANA", CARD)
    assert {each.text for each in workspace.messages("@ana")} == {"moved"}


def test_a_channel_that_does_not_exist_is_told_with_what_to_do(chat: SlackChat) -> None:
    chat.readable(OPS)
    with pytest.raises(ChatError) as refused:
        chat.readable("C0NOWHERE")
    assert "channel_not_found" in str(refused.value.text)
    assert "invite the bot" in str(refused.value.advice)


def test_swapped_tokens_are_told(workspace: Workspace) -> None:
    chat = SlackChat(api.client(workspace.app_token, workspace.web_api))
    with pytest.raises(ChatError) as refused:
        chat.identity()
    chat.close()
    assert "swapped" in str(refused.value.advice)


def test_an_endless_rate_limit_ends(
    workspace: Workspace, chat: SlackChat, naps: list[float]
) -> None:
    workspace.fault.rate_limit("chat.postMessage", times=50, retry_after=60)
    with pytest.raises(ChatError, match="Slack limits"):
        chat.post(OPS, CARD)
    assert sum(naps) <= api.MOST_LIMITED


@pytest.mark.parametrize(
    ("told", "waited"),
    [
        ("0", 0.1),
        ("", 1.0),
        ("-5", 1.0),
        ("soon", 1.0),
        ("²", 1.0),
        ("Fri, 27 Nov 2020 10:00:00 GMT", 0.1),  # over by now
    ],
)
def test_a_retry_after_that_is_no_number_is_waited_out_for_a_moment(
    workspace: Workspace, chat: SlackChat, naps: list[float], told: str, waited: float
) -> None:
    workspace.fault.rate_limit("conversations.history", retry_after=told)
    chat.readable(OPS)
    assert naps == [waited]


@pytest.mark.parametrize("told", ["999999999", "9" * 400, "Fri, 27 Nov 2199 10:00:00 GMT"])
def test_a_retry_after_of_days_closes_a_method_for_minutes_and_holds_nobody(
    workspace: Workspace, chat: SlackChat, pacer: NappingPacer, told: str
) -> None:
    workspace.fault.rate_limit("chat.postMessage", retry_after=told)
    for _ in range(2):  # who comes next waits no longer than who was limited
        with pytest.raises(ChatError, match="Slack limits"):
            chat.post(OPS, CARD)
    assert pacer.naps == []
    assert methods(workspace) == ["chat.postMessage"]
    pacer.at += api.LONGEST_PAUSE
    chat.post(OPS, CARD)
    assert len(workspace.messages("#ops")) == 1


UNREADABLE = [
    b"",
    b"<html>The proxy is busy</html>",
    "<html>Serviço indisponível</html>".encode("latin-1"),
    b"\x1f\x8b\x08\x00",
    b"null",
    b"[]",
    b'"ok"',
    b'{"ok": true, "ts": "17',
    b'{"ok": true}',
    b'{"ok": false}',
    b"[" * 100_000,
]


@pytest.fixture
def quick(workspace: Workspace) -> Iterator[SlackChat]:
    """A chat whose rests after a failure are short."""
    client = api.client(workspace.bot_token, workspace.web_api)
    found = SlackChat(client, pacer=Pacer(pace=1000))
    yield found
    found.close()


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: repr(body[:20]))
def test_an_answer_that_cannot_be_read_says_nothing_so_it_is_looked_for(
    workspace: Workspace, quick: SlackChat, body: bytes, status: int
) -> None:
    workspace.fault.garble("chat.postMessage", body, status=status)
    ref = quick.post(OPS, CARD)
    (message,) = workspace.messages("#ops")
    assert ref == MessageRef(OPS, message.ts)


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: repr(body[:20]))
def test_an_edit_that_is_answered_unreadably_is_made_again(
    workspace: Workspace, quick: SlackChat, body: bytes
) -> None:
    ref = quick.post(OPS, CARD)
    workspace.fault.garble("chat.update", body, status=502)
    quick.update(ref, Card("done"))
    assert workspace.messages("#ops")[0].text == "done"


@pytest.mark.parametrize("metadata", ["[1]", '{"messages": null}', '"said"'])
def test_a_refusal_with_odd_explanations_is_a_refusal(
    workspace: Workspace, chat: SlackChat, metadata: str
) -> None:
    said = f'{{"ok": false, "error": "is_archived", "response_metadata": {metadata}}}'
    workspace.fault.garble("chat.postMessage", said.encode())
    with pytest.raises(api.SlackRefusedError, match="is_archived"):
        chat.post(OPS, CARD)


def test_server_errors_of_an_update_are_tried_again(workspace: Workspace, chat: SlackChat) -> None:
    ref = chat.post(OPS, CARD)
    workspace.fault.server_error("chat.update", times=3)
    chat.update(ref, Card("done"))
    assert workspace.messages("#ops")[0].text == "done"


def test_a_lost_answer_of_a_post_is_looked_for(workspace: Workspace, chat: SlackChat) -> None:
    workspace.fault.drop_response("chat.postMessage")
    ref = chat.post(OPS, CARD)
    (message,) = workspace.messages("#ops")
    assert ref == MessageRef(OPS, message.ts)
    assert methods(workspace) == ["chat.postMessage", "auth.test", "conversations.history"]


def test_a_lost_answer_in_a_thread_is_looked_for_there(
    workspace: Workspace, chat: SlackChat
) -> None:
    parent = chat.post(OPS, CARD)
    workspace.fault.drop_response("chat.postMessage")
    chat.post(OPS, Card("done"), thread=parent)
    assert [each.text for each in workspace.messages("#ops", thread=parent.ts)] == ["moved", "done"]


def test_a_post_that_failed_at_the_server_is_posted_again(
    workspace: Workspace, chat: SlackChat
) -> None:
    workspace.fault.server_error("chat.postMessage", times=2)
    chat.post(OPS, CARD)
    assert len(workspace.messages("#ops")) == 1


def test_when_it_cannot_be_known_the_post_is_not_repeated(
    workspace: Workspace, chat: SlackChat
) -> None:
    workspace.fault.drop_response("chat.postMessage")
    workspace.fault.error("conversations.history", "missing_scope")
    with pytest.raises(ChatError):
        chat.post(OPS, CARD)
    assert len(workspace.messages("#ops")) == 1


def test_a_deleted_message_is_posted_anew_under_its_key(
    workspace: Workspace, chat: SlackChat
) -> None:
    first = chat.post(OPS, CARD, key="op-1")
    chat._client.chat_delete(channel=OPS, ts=first.ts)
    second = chat.post(OPS, CARD, key="op-1")
    assert second != first
    assert [each.ts for each in workspace.messages("#ops")] == [second.ts]


def test_a_key_is_found_behind_many_messages(workspace: Workspace, chat: SlackChat) -> None:
    first = chat.post(OPS, CARD, key="op-1")
    for number in range(120):
        workspace.person("ana").say(f"chatter {number}")
    again = SlackChat(api.client(workspace.bot_token, workspace.web_api)).post(
        OPS, CARD, key="op-1"
    )
    assert again == first


def test_another_apps_message_of_the_same_key_is_not_taken_for_ones_own(
    workspace: Workspace, chat: SlackChat
) -> None:
    """Two clusters' bots post the report of the same hour in one channel."""
    theirs = {"event_type": EVENT, "event_payload": {"key": "report:day:8"}}
    workspace.other_app_posts("#ops", "another cluster's", theirs)
    ref = chat.post(OPS, CARD, key="report:day:8")
    assert [each.ts for each in workspace.messages("#ops")][1:] == [ref.ts]
    assert "chat.update" not in methods(workspace)
    again = SlackChat(api.client(workspace.bot_token, workspace.web_api))
    assert again.post(OPS, CARD, key="report:day:8") == ref


@pytest.mark.parametrize("code", ["edit_window_closed", "cant_update_message"])
def test_a_message_that_may_not_be_edited_any_more_is_posted_anew(
    workspace: Workspace, chat: SlackChat, code: str
) -> None:
    chat.post(OPS, CARD, key="op-1")
    workspace.fault.error("chat.update", code)
    chat.post(OPS, Card("moved on"), key="op-1")
    assert [each.text for each in workspace.messages("#ops")][1:] == ["moved on"]


def test_refused_blocks_lose_no_message_and_no_button(
    workspace: Workspace, chat: SlackChat
) -> None:
    workspace.fault.error("chat.postMessage", "invalid_blocks")
    with capture_logs() as logs:
        chat.post(OPS, Card("moved", elements=(Table(("VM",), (("web-1",),)), *CARD.elements)))
    (message,) = workspace.messages("#ops")
    assert "web-1" in message.plain()
    assert [action for _, action, _ in message.buttons()] == ["details"]
    assert [each["event"] for each in logs] == ["Slack refused a message's blocks"]


def test_blocks_refused_in_every_form_become_text(workspace: Workspace, chat: SlackChat) -> None:
    ref = chat.post(OPS, CARD)
    workspace.fault.error("chat.update", "invalid_blocks", times=2)
    chat.update(ref, Card("moved", "Moved", (Section("to host-b"),)))
    (message,) = workspace.messages("#ops")
    assert message.blocks == []
    assert message.text == "moved\n*Moved*\nto host-b"


def test_charts_refused_are_drawn_and_from_then_on_at_once(
    workspace: Workspace, chat: SlackChat
) -> None:
    workspace.fault.error("chat.postMessage", "invalid_blocks")
    chat.post(OPS, Card("load", elements=(CHART,)))
    chat.post(OPS, Card("load", elements=(CHART,)))
    for message in workspace.messages("#ops"):
        (image,) = message.blocks
        assert image["type"] == "image"
        assert image["alt_text"] == "host-a 80 %"
    assert methods(workspace).count("chat.postMessage") == 3
    assert methods(workspace).count("files.completeUploadExternal") == 1


def test_a_picture_is_uploaded_once(workspace: Workspace, chat: SlackChat) -> None:
    picture = Picture(charts.draw(CHART).png, "two hosts")
    ref = chat.post(OPS, Card("load", elements=(picture,)))
    chat.update(ref, Card("load, later", elements=(picture,)))
    assert workspace.messages("#ops")[0].blocks[0]["slack_file"]["id"]
    assert methods(workspace).count("files.completeUploadExternal") == 1


def test_a_picture_that_cannot_be_uploaded_is_told(workspace: Workspace, chat: SlackChat) -> None:
    workspace.fault.error("files.getUploadURLExternal", "missing_scope")
    chat.post(OPS, Card("load", elements=(Picture(b"\x89PNG", "two hosts"), *CARD.elements)))
    (message,) = workspace.messages("#ops")
    assert "two hosts" in message.plain()
    assert message.buttons()


def test_a_whisper_where_the_bot_is_not_becomes_a_direct_message(
    workspace: Workspace, chat: SlackChat
) -> None:
    chat.whisper("C0GENERAL", "U0ANA", Card("no such VM"))
    assert [each.text for each in workspace.messages("@ana")] == ["no such VM"]


def test_a_channel_without_the_bot_says_what_to_do(chat: SlackChat) -> None:
    with pytest.raises(ChatError) as caught:
        chat.post("C0GENERAL", CARD)
    assert "nvite" in str(caught.value.advice)


def test_a_form_with_a_dead_trigger_is_asked_for_once(
    workspace: Workspace, chat: SlackChat
) -> None:
    with pytest.raises(ChatError) as caught:
        chat.open_form("nonsense", Form("a", "T", "Go", (TextField("w", "W"),)))
    assert "again" in str(caught.value.advice)
    assert methods(workspace) == ["views.open"]


def test_a_wrong_token_says_what_to_check(workspace: Workspace) -> None:
    with pytest.raises(ChatError) as caught:
        SlackChat(api.client("xoxb-wrong", workspace.web_api)).identity()
    assert "token" in str(caught.value.advice)


def test_a_server_that_is_not_there(pacer: NappingPacer) -> None:
    with pytest.raises(ChatError, match="does not answer"):
        SlackChat(api.client("xoxb-x", "http://127.0.0.1:9/api/"), pacer=pacer).identity()
    assert pacer.naps == [0.5, 1.0, 2.0]


def test_groups_are_asked_once_in_a_while(workspace: Workspace, chat: SlackChat) -> None:
    for _ in range(5):
        assert chat.groups_of("U0CARLA") == {"S0APPROVERS", "kvm-approvers"}
    assert methods(workspace) == ["usergroups.list"]


def test_a_workspace_without_user_groups_has_nobody_in_one(
    workspace: Workspace, chat: SlackChat
) -> None:
    workspace.fault.error("usergroups.list", "missing_scope", times=2)
    assert [chat.groups_of("U0CARLA") for _ in range(2)] == [frozenset(), frozenset()]
    assert methods(workspace) == ["usergroups.list"]


def test_text_of_a_home_that_slack_refuses(workspace: Workspace, chat: SlackChat) -> None:
    workspace.fault.error("views.publish", "invalid_arguments")
    chat.publish_home("U0ANA", Card("3 hosts", "Cluster", (Section("all well"),)))
    home = workspace.home_of("U0ANA")
    assert home is not None
    assert "all well" in home.plain()


def test_each_update_has_new_block_ids(workspace: Workspace, chat: SlackChat) -> None:
    ref = chat.post(OPS, CARD)
    before = {block["block_id"] for block in workspace.messages("#ops")[0].blocks}
    chat.update(ref, CARD)
    after = {block["block_id"] for block in workspace.messages("#ops")[0].blocks}
    assert not before & after


def test_a_key_is_found_in_a_channel_busier_than_some_pages(
    workspace: Workspace, chat: SlackChat
) -> None:
    for number in range(150):
        workspace.person("ana").say(f"before {number}")
    first = chat.post(OPS, CARD, key="op-1")
    for number in range(450):
        workspace.person("ana").say(f"after {number}")
    again = SlackChat(api.client(workspace.bot_token, workspace.web_api)).post(
        OPS, CARD, key="op-1"
    )
    assert again == first
    (call,) = [each for each in workspace.calls if each.method == "conversations.history"][-1:]
    assert "oldest" not in call.args


@pytest.mark.parametrize(
    "code",
    [
        "restricted_action",
        "restricted_action_read_only_channel",
        "ekm_access_denied",
        "a_code_of_tomorrow",
    ],
)
def test_a_whisper_that_is_refused_goes_to_the_response_address_or_a_direct_message(
    workspace: Workspace, chat: SlackChat, code: str
) -> None:
    site = workspace._site
    address = site.records.new_address(ResponseAddress(OPS, "U0ANA", site.now()))
    workspace.fault.error("chat.postEphemeral", code, times=2)
    chat.whisper(OPS, "U0ANA", Card("no such VM"), answer_to=address)
    assert [
        each.text for each in workspace.messages("#ops", seen_by="ana") if each.ephemeral_to
    ] == ["no such VM"]
    assert workspace.messages("@ana") == []
    chat.whisper(OPS, "U0ANA", Card("again"), answer_to=f"{workspace.url}/actions/T0LAB/gone")
    assert [each.text for each in workspace.messages("@ana")] == ["again"]


def test_a_whisper_stands_in_its_thread(workspace: Workspace, chat: SlackChat) -> None:
    parent = chat.post(OPS, CARD)
    chat.whisper(OPS, "U0ANA", Card("only you"), thread=parent.ts)
    (hidden,) = [each for each in workspace.messages("#ops", seen_by="ana") if each.ephemeral_to]
    assert hidden.thread_ts == parent.ts


def test_an_answer_in_a_direct_conversation_stays(workspace: Workspace, chat: SlackChat) -> None:
    chat.whisper("D0ANA", "U0ANA", Card("3 VMs"))
    (message,) = workspace.messages("@ana")
    assert (message.text, message.ephemeral_to) == ("3 VMs", "")


def test_a_picture_for_one_person_is_one_that_they_can_see(
    workspace: Workspace, chat: SlackChat
) -> None:
    picture = Picture(charts.draw(CHART).png, "the screen of web-1")
    chat.whisper(OPS, "U0ANA", Card("web-1", elements=(picture,)))
    (direct,) = workspace.messages("@ana")
    assert [block["type"] for block in direct.blocks] == ["image"]
    assert direct.broken == ()
    (hidden,) = workspace.messages("#ops", seen_by="ana")
    assert "the screen of web-1" in hidden.plain()
    assert "direct messages" in hidden.plain()
    assert hidden.broken == ()


def test_an_edit_tells_a_new_picture_in_words(workspace: Workspace, chat: SlackChat) -> None:
    ref = chat.post(OPS, CARD)
    chat.update(ref, Card("load", elements=(Picture(charts.draw(CHART).png, "two hosts"),)))
    (message,) = workspace.messages("#ops")
    assert "two hosts" in message.plain()
    assert message.broken == ()


def test_a_channel_where_the_bot_may_not_write_is_told(
    workspace: Workspace, chat: SlackChat
) -> None:
    me = chat.identity()
    chat.writable(OPS, me)
    assert workspace.messages("#ops") == []
    workspace.fault.error("chat.postEphemeral", "is_archived")
    with pytest.raises(ChatError, match="is_archived") as refused:
        chat.writable(OPS, me)
    assert "not archived" in str(refused.value.advice)


def test_only_what_an_operator_can_put_right_is_not_for_good() -> None:
    for_good = {
        "message_not_found",
        "is_archived",
        "cant_update_message",
        "edit_window_closed",
        "channel_not_found",
    }
    passing = {"token_revoked", "missing_scope", "invalid_auth"}
    assert {
        each for each in for_good | passing if api.SlackRefusedError("chat.update", each).for_good
    } == for_good


def test_of_two_first_choices_one_is_shown_as_such(workspace: Workspace, chat: SlackChat) -> None:
    row = Buttons(
        tuple(
            Button(text, "run", text, Style.PRIMARY) for text in ("Resume it", "What its host says")
        )
    )
    chat.post(OPS, Card("paused", elements=(row,)))
    (block,) = workspace.messages("#ops")[0].blocks
    assert [each.get("style") for each in block["elements"]] == ["primary", None]


def test_a_dialog_waits_for_no_limit_that_outlives_its_trigger(
    workspace: Workspace, chat: SlackChat, naps: list[float]
) -> None:
    workspace.fault.rate_limit("views.open", retry_after=30)
    form = Form("a", "T", "Go", (TextField("w", "W"),))
    for _ in range(2):  # who comes next waits no longer than who was limited
        with pytest.raises(ChatError, match="Slack limits"):
            chat.open_form("nonsense", form)
    assert naps == []
    assert methods(workspace) == ["views.open"]
