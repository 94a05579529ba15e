"""What slack.com does and a simpler workspace would not: limits, pages, private files, threads that are gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from lab.slack import Workspace
from lab.slack.limits import BURST, PER_MINUTE, RateLimits

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


@pytest.fixture
def limited() -> Iterator[tuple[Workspace, WebClient]]:
    """A workspace as it is when nobody says otherwise."""
    with Workspace() as workspace:
        yield (
            workspace,
            WebClient(token=workspace.bot_token, base_url=workspace.web_api, retry_handlers=[]),
        )


def test_limits_hold_unless_they_are_asked_away(limited: tuple[Workspace, WebClient]) -> None:
    workspace, client = limited
    for number in range(BURST):
        client.chat_postMessage(channel="C0OPS", text=f"{number}")
    with pytest.raises(SlackApiError) as refused:
        client.chat_postMessage(channel="C0OPS", text="one too many")
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"
    client.chat_postMessage(channel="C0APPROVALS", text="another channel has its own")
    workspace.advance(1)
    client.chat_postMessage(channel="C0OPS", text="a second later")
    assert [each.text for each in workspace.messages("#ops")] == ["0", "1", "a second later"]


def test_a_method_has_its_tier() -> None:
    now = [100.0]
    limits = RateLimits(1.0, lambda: now[0])
    most = PER_MINUTE["chat.update"]
    assert [limits.refused("chat.update", "") for _ in range(most)] == [""] * most
    now[0] += 20
    assert limits.refused("chat.update", "") == "40"
    assert limits.refused("views.open", "") == ""
    now[0] += 40
    assert limits.refused("chat.update", "") == ""


def test_a_faster_pace_is_the_same_in_less_time() -> None:
    now = [100.0]
    limits = RateLimits(20.0, lambda: now[0])
    for _ in range(PER_MINUTE["chat.update"]):
        assert limits.refused("chat.update", "") == ""
    assert limits.refused("chat.update", "") == "3.000"


def test_history_from_a_horizon_pages_forward(workspace: Workspace, client: WebClient) -> None:
    sent = [
        str(client.chat_postMessage(channel="C0OPS", text=str(number))["ts"]) for number in range(5)
    ]
    page = client.conversations_history(channel="C0OPS", oldest=sent[0], limit=2)
    assert [each["text"] for each in page["messages"]] == ["2", "1"]
    cursor = page["response_metadata"]["next_cursor"]
    page = client.conversations_history(channel="C0OPS", oldest=sent[0], limit=2, cursor=cursor)
    assert [each["text"] for each in page["messages"]] == ["4", "3"]
    newest = client.conversations_history(channel="C0OPS", limit=2)
    assert [each["text"] for each in newest["messages"]] == ["4", "3"]


def test_an_uploaded_file_is_seen_where_a_message_shared_it(
    workspace: Workspace, client: WebClient
) -> None:
    file = client.files_upload_v2(content=PNG, filename="a.png")["files"][0]["id"]
    image = [{"type": "image", "slack_file": {"id": file}, "alt_text": "two hosts"}]
    client.chat_postEphemeral(channel="C0OPS", user="U0ANA", text="see", blocks=image)
    (hidden,) = workspace.messages("#ops", seen_by="ana")
    assert hidden.broken == (file,)
    shared = client.chat_postMessage(channel="C0OPS", text="see", blocks=image)
    assert [each.broken for each in workspace.messages("#ops")] == [()]
    other = client.files_upload_v2(content=PNG, filename="b.png")["files"][0]["id"]
    later = [{"type": "image", "slack_file": {"id": other}, "alt_text": "two hosts"}]
    client.chat_update(channel="C0OPS", ts=shared["ts"], text="see", blocks=later)
    assert [each.broken for each in workspace.messages("#ops")] == [(other,)]


def test_a_reply_to_a_thread_that_is_gone_stands_in_the_channel(
    workspace: Workspace, client: WebClient
) -> None:
    client.chat_postMessage(channel="C0OPS", text="late", thread_ts="1600000000.000001")
    (message,) = workspace.messages("#ops")
    assert message.thread_ts == ""
