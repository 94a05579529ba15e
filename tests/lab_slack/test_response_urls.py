"""A response_url speaks five times in thirty minutes, to its person or its channel, in new messages or in the old."""

import json
from collections.abc import Callable
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from slack_bolt import Ack, App
from slack_sdk.webhook import WebhookClient

from bot.adapters.slack.socket_mode import hang_up
from lab.slack import Message, Workspace
from tests.lab_slack.parts import actions, button, section
from tests.waiting import until

Json = dict[str, Any]


@pytest.fixture
def urls(workspace: Workspace, bare_app: App, connect: Callable[[App], object]) -> list[str]:
    """The response_urls the app was given, newest last."""
    given: list[str] = []

    @bare_app.command("/kvm")
    def kvm(ack: Ack, command: Json) -> None:
        ack()
        given.append(command["response_url"])

    @bare_app.action("go")
    def go(ack: Ack, body: Json) -> None:
        ack()
        given.append(body["response_url"])

    connect(bare_app)
    return given


def speak(url: str, **said: Any) -> tuple[int, str]:
    answer = WebhookClient(url).send_dict(said)
    return answer.status_code, answer.body


def clicked(workspace: Workspace, urls: list[str], message: Message) -> str:
    before = len(urls)
    workspace.person("ana").click(message, "go")
    until(lambda: len(urls) > before)
    return urls[-1]


def commanded(workspace: Workspace, urls: list[str]) -> str:
    before = len(urls)
    workspace.person("ana").command("/kvm help")
    until(lambda: len(urls) > before)
    return urls[-1]


def test_it_speaks_five_times(workspace: Workspace, urls: list[str]) -> None:
    url = commanded(workspace, urls)
    assert [speak(url, text=str(n)) for n in range(5)] == [(200, "ok")] * 5
    status, body = speak(url, text="6")
    assert (status, json.loads(body)) == (404, {"ok": False, "error": "used_url"})
    assert [each.text for each in workspace.person("ana").ephemerals()] == ["0", "1", "2", "3", "4"]
    assert workspace.person("bruno").ephemerals() == []


def test_it_falls_silent_after_thirty_minutes(workspace: Workspace, urls: list[str]) -> None:
    url = commanded(workspace, urls)
    workspace.advance(30 * 60 - 5)
    assert speak(url, text="in time") == (200, "ok")
    workspace.advance(10)
    assert json.loads(speak(url, text="late")[1])["error"] == "expired_url"


def test_it_speaks_to_the_channel_when_told(workspace: Workspace, urls: list[str]) -> None:
    speak(commanded(workspace, urls), text="all hear", response_type="in_channel")
    [message] = workspace.messages("#ops")
    assert (message.text, message.ephemeral_to) == ("all hear", "")


def test_it_replaces_and_deletes_the_message_clicked(
    workspace: Workspace, urls: list[str], bare_app: App
) -> None:
    bare_app.client.chat_postMessage(channel="C0OPS", text="one", blocks=[actions(button("go"))])
    [message] = workspace.messages("#ops")
    url = clicked(workspace, urls, message)
    assert speak(url, text="two", replace_original=True) == (200, "ok")
    [replaced] = workspace.messages("#ops")
    assert (replaced.ts, replaced.text, replaced.blocks) == (message.ts, "two", [])
    assert speak(url, delete_original=True) == (200, "ok")
    assert workspace.messages("#ops") == []
    assert speak(url, delete_original=True) == (400, "message_not_found")


def test_it_replaces_an_ephemeral_message_too(
    workspace: Workspace, urls: list[str], bare_app: App
) -> None:
    blocks = [actions(button("go"))]
    bare_app.client.chat_postEphemeral(channel="C0OPS", user="U0ANA", text="one", blocks=blocks)
    [message] = workspace.person("ana").ephemerals()
    speak(clicked(workspace, urls, message), text="two", replace_original=True)
    assert [each.text for each in workspace.person("ana").ephemerals()] == ["two"]


def test_what_slack_would_refuse_is_refused_here(workspace: Workspace, urls: list[str]) -> None:
    url = commanded(workspace, urls)
    assert speak(url, blocks=[section("x" * 3001)]) == (400, "invalid_blocks")
    assert speak(url, text="") == (400, "no_text")
    assert workspace.person("ana").ephemerals() == []


def test_an_unknown_address_and_a_body_of_no_json(workspace: Workspace, urls: list[str]) -> None:
    assert speak(f"{workspace.url}/actions/T0LAB/nothing", text="x")[0] == 404
    opener = build_opener(ProxyHandler({}))
    request = Request(commanded(workspace, urls), data=b"text", method="POST")  # noqa: S310 a loopback address
    with pytest.raises(OSError, match="400"):
        opener.open(request)


def test_a_commands_ack_may_speak_but_not_wrongly(workspace: Workspace) -> None:
    from slack_bolt.adapter.socket_mode import SocketModeHandler
    from slack_sdk import WebClient

    app = App(
        client=WebClient(token=workspace.bot_token, base_url=workspace.web_api),
        process_before_response=True,
    )
    app.command("/kvm")(lambda ack, command: ack(**json.loads(command["text"])))
    own = WebClient(token=workspace.app_token, base_url=workspace.web_api)
    handler = SocketModeHandler(app, workspace.app_token, web_client=own)
    handler.connect()
    workspace.wait_connected()
    ana = workspace.person("ana")
    try:
        assert ana.command('/kvm {"text": "all", "response_type": "in_channel"}').ok
        assert [each.text for each in workspace.messages("#ops")] == ["all"]
        refused = ana.command('/kvm {"blocks": [{"type": "hologram"}]}')
        assert refused.text == '/kvm failed with the error "invalid_command_response"'
    finally:
        hang_up(handler)
