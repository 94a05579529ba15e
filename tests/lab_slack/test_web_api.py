"""slack_sdk's WebClient against the Web API: what it answers, and Slack's names for what it refuses."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from lab.slack import Workspace
from tests.lab_slack.parts import PROPOSAL, section

Json = dict[str, Any]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def refusal(client: WebClient, method: str, **args: Any) -> Json:
    """Call and answer what was refused."""
    with pytest.raises(SlackApiError) as caught:
        client.api_call(method, json=args)
    data = caught.value.response.data
    assert isinstance(data, dict)
    return data


def post(workspace: Workspace, path: str, body: str, **headers: str) -> tuple[int, Json]:
    connection = HTTPConnection("127.0.0.1", workspace.port, timeout=60)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_auth_test_tells_who_the_app_is(client: WebClient) -> None:
    answer = client.auth_test()
    assert (answer["team_id"], answer["user_id"], answer["bot_id"], answer["user"]) == (
        "T0LAB",
        "U0DROVER",
        "B0DROVER",
        "drover",
    )


def test_tokens(workspace: Workspace, client: WebClient) -> None:
    def with_token(token: str | None) -> WebClient:
        return WebClient(token=token, base_url=workspace.web_api)

    assert refusal(with_token(None), "auth.test")["error"] == "not_authed"
    assert refusal(with_token("xoxb-other"), "auth.test")["error"] == "invalid_auth"
    assert refusal(client, "apps.connections.open")["error"] == "not_allowed_token_type"
    assert (
        with_token(workspace.app_token)
        .apps_connections_open(app_token=workspace.app_token)["url"]
        .startswith("ws://")
    )
    assert refusal(client, "chat.dance") == {
        "ok": False,
        "error": "unknown_method",
        "req_method": "chat.dance",
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_arguments_come_as_json_or_as_a_form_with_json_inside(
    workspace: Workspace,
    as_json: bool,  # noqa: FBT001
) -> None:
    args = {"channel": "C0OPS", "text": "hi", "token": workspace.bot_token}
    if as_json:
        body, kind = json.dumps({**args, "blocks": PROPOSAL}), "application/json; charset=utf-8"
    else:
        from urllib.parse import urlencode

        body, kind = (
            urlencode({**args, "blocks": json.dumps(PROPOSAL)}),
            "application/x-www-form-urlencoded",
        )
    status, answer = post(workspace, "/api/chat.postMessage", body, **{"Content-Type": kind})
    assert (status, answer["ok"]) == (200, True)
    assert len(workspace.messages("#ops")[0].blocks) == 3


def test_posting_updating_and_deleting(workspace: Workspace, client: WebClient) -> None:
    posted = client.chat_postMessage(channel="#ops", text="one", blocks=PROPOSAL)
    ts = posted["ts"]
    assert posted["channel"] == "C0OPS"
    client.chat_update(channel="C0OPS", ts=ts, text="two")
    [message] = workspace.messages("#ops")
    assert (message.text, message.blocks, message.edited) == ("two", [], 1)
    assert client.chat_getPermalink(channel="C0OPS", message_ts=ts)["permalink"].endswith(
        ts.replace(".", "")
    )
    client.chat_delete(channel="C0OPS", ts=ts)
    assert workspace.messages("#ops") == []


def test_posting_is_refused_as_slack_refuses_it(workspace: Workspace, client: WebClient) -> None:
    said = workspace.person("ana").say("mine")
    ts = said.payload["ts"]
    hidden = client.chat_postEphemeral(channel="C0OPS", user="U0ANA", text="psst")["message_ts"]
    cases = [
        ("chat.postMessage", {"channel": "C0OPS"}, "no_text"),
        ("chat.postMessage", {"channel": "#nowhere", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "#general", "text": "x"}, "not_in_channel"),
        ("chat.postMessage", {"channel": "C0OPS", "text": "x" * 40_001}, "msg_too_long"),
        (
            "chat.postMessage",
            {"channel": "C0OPS", "text": "x", "blocks": "{"},
            "invalid_blocks_format",
        ),
        ("chat.postEphemeral", {"channel": "C0OPS", "user": "U9", "text": "x"}, "user_not_found"),
        ("chat.update", {"channel": "C0OPS", "ts": "1.0", "text": "x"}, "message_not_found"),
        ("chat.update", {"channel": "C0OPS", "ts": ts, "text": "x"}, "cant_update_message"),
        ("chat.update", {"channel": "C0OPS", "ts": hidden, "text": "x"}, "message_not_found"),
        ("chat.delete", {"channel": "C0OPS", "ts": ts}, "cant_delete_message"),
    ]
    assert [refusal(client, method, **args)["error"] for method, args, _ in cases] == [
        error for *_, error in cases
    ]


def test_blocks_are_judged_before_anything_is_posted(
    workspace: Workspace, client: WebClient
) -> None:
    data = refusal(
        client, "chat.postMessage", channel="C0OPS", text="x", blocks=[section("x" * 3001)]
    )
    assert data["error"] == "invalid_blocks"
    expected = "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    assert f"[ERROR] {expected}" in data["response_metadata"]["messages"]
    assert expected in data["errors"]
    assert refusal(client, "blocks.validate", blocks=[{"type": "x"}])["error"] == "invalid_blocks"
    assert client.api_call("blocks.validate", json={"blocks": PROPOSAL})["ok"]
    assert workspace.messages("#ops") == []


def test_threads_and_history(workspace: Workspace, client: WebClient) -> None:
    parent = client.chat_postMessage(channel="C0OPS", text="parent")["ts"]
    reply = client.chat_postMessage(channel="C0OPS", text="reply", thread_ts=parent)["ts"]
    client.chat_postMessage(channel="C0OPS", text="deeper", thread_ts=reply)
    client.chat_postEphemeral(channel="C0OPS", user="U0ANA", text="psst")
    client.chat_postMessage(channel="C0OPS", text="later")
    history = client.conversations_history(channel="C0OPS")["messages"]
    assert [each["text"] for each in history] == ["later", "parent"]
    assert history[1]["reply_count"] == 2
    replies = client.conversations_replies(channel="C0OPS", ts=parent)["messages"]
    assert [each["text"] for each in replies] == ["parent", "reply", "deeper"]
    pages = [page["messages"] for page in client.conversations_history(channel="C0OPS", limit=1)]
    assert [[each["text"] for each in page] for page in pages] == [["later"], ["parent"]]


def test_a_person_has_the_locale_that_the_workspace_was_given() -> None:
    with Workspace(locales={"U0ANA": "pt-BR"}) as workspace:
        client = WebClient(token=workspace.bot_token, base_url=workspace.web_api)
        assert client.users_info(user="U0ANA", include_locale=True)["user"]["locale"] == "pt-BR"
        assert client.users_info(user="U0GIL", include_locale=True)["user"]["locale"] == "en-US"
        assert "locale" not in client.users_info(user="U0ANA")["user"]


def test_people_channels_and_groups(client: WebClient) -> None:
    assert client.users_info(user="U0ANA", include_locale=True)["user"]["locale"] == "en-US"
    assert client.users_info(user="U0FOREIGN")["user"]["team_id"] == "T0OTHER"
    assert client.users_info(user="U0GIL")["user"]["is_restricted"] is True
    assert {each["name"] for each in client.users_list()["members"]} >= {
        "ana",
        "bruno",
        "carla",
        "gil",
        "drover",
    }
    channels = {each["name"]: each["is_member"] for each in client.conversations_list()["channels"]}
    assert channels == {"ops": True, "approvals": True, "general": False}
    assert [each["name"] for each in client.users_conversations()["channels"]] == [
        "ops",
        "approvals",
    ]
    assert client.conversations_open(users=["U0ANA"])["channel"]["id"] == "D0ANA"
    assert "U0GIL" in client.conversations_members(channel="C0OPS")["members"]
    [group] = client.usergroups_list()["usergroups"]
    assert group["handle"] == "kvm-approvers"
    assert client.usergroups_users_list(usergroup=group["id"])["users"] == ["U0BRUNO", "U0CARLA"]


def test_reactions_and_pins(client: WebClient) -> None:
    ts = client.chat_postMessage(channel="C0OPS", text="x")["ts"]
    client.reactions_add(channel="C0OPS", timestamp=ts, name="eyes")
    again = refusal(client, "reactions.add", channel="C0OPS", timestamp=ts, name="eyes")
    assert again["error"] == "already_reacted"
    message = client.reactions_get(channel="C0OPS", timestamp=ts)["message"]
    assert message["reactions"] == [{"name": "eyes", "users": ["U0DROVER"], "count": 1}]
    client.reactions_remove(channel="C0OPS", timestamp=ts, name="eyes")
    gone = refusal(client, "reactions.remove", channel="C0OPS", timestamp=ts, name="eyes")
    assert gone["error"] == "no_reaction"
    client.pins_add(channel="C0OPS", timestamp=ts)
    assert [each["message"]["ts"] for each in client.pins_list(channel="C0OPS")["items"]] == [ts]


def test_an_uploaded_image_can_be_shared_shown_in_blocks_and_fetched(
    workspace: Workspace, client: WebClient, tmp_path: Path
) -> None:
    picture = tmp_path / "load.png"
    picture.write_bytes(PNG)
    shared = client.files_upload_v2(
        channel="C0OPS", file=str(picture), title="Load", initial_comment="now"
    )
    file = shared["files"][0]
    [message] = workspace.messages("#ops")
    assert (message.text, message.files[0]["title"], message.files[0]["mimetype"]) == (
        "now",
        "Load",
        "image/png",
    )
    image = {"type": "image", "alt_text": "load", "slack_file": {"id": file["id"]}}
    client.chat_postMessage(channel="C0OPS", text="chart", blocks=[image])
    by_address = {"type": "image", "alt_text": "load", "slack_file": {"url": file["permalink"]}}
    client.chat_postMessage(channel="C0OPS", text="chart", blocks=[by_address])
    connection = HTTPConnection("127.0.0.1", workspace.port, timeout=60)
    connection.request("GET", file["url_private"].removeprefix(workspace.url))
    assert connection.getresponse().read() == PNG
    connection.close()


def test_a_file_that_is_no_image_or_not_complete_is_no_slack_file(client: WebClient) -> None:
    text = client.files_upload_v2(content="a,b", filename="a.csv", title="table")["files"][0]
    pending = client.files_getUploadURLExternal(filename="a.png", length=4)["file_id"]
    for name in (text["id"], pending, "F9"):
        blocks = [{"type": "image", "alt_text": "x", "slack_file": {"id": name}}]
        data = refusal(client, "chat.postMessage", channel="C0OPS", text="x", blocks=blocks)
        assert (
            "[ERROR] invalid slack file [json-pointer:/blocks/0/slack_file]"
            in data["response_metadata"]["messages"]
        )


def test_the_manifest_rules_scopes_commands_and_events() -> None:
    manifest = {
        "display_information": {"name": "Mule"},
        "features": {
            "bot_user": {"display_name": "mule"},
            "slash_commands": [
                {"command": "/mule", "description": "Carry", "usage_hint": "load | unload [all]"}
            ],
        },
        "oauth_config": {"scopes": {"bot": ["commands", "users:read"]}},
        "settings": {
            "socket_mode_enabled": True,
            "event_subscriptions": {"bot_events": ["app_mention"]},
        },
    }
    with Workspace(manifest=manifest) as workspace:
        client = WebClient(token=workspace.bot_token, base_url=workspace.web_api)
        data = refusal(client, "chat.postMessage", channel="C0OPS", text="x")
        assert (data["error"], data["needed"], data["provided"]) == (
            "missing_scope",
            "chat:write",
            "commands,users:read",
        )
        answer = client.users_info(user="U0ANA")
        assert answer.headers["X-OAuth-Scopes"] == "commands,users:read"
        assert client.auth_test()["user"] == "mule"
        ana = workspace.person("ana")
        assert ana.command("/kvm help").text == "/kvm is not a valid command."
        assert ana.complete("/mu") == ["/mule"]
        assert ana.complete("/mule ") == ["/mule load", "/mule unload"]
        assert ana.complete("/mule un") == ["/mule unload"]


def test_every_call_is_recorded_with_its_answer(workspace: Workspace, client: WebClient) -> None:
    client.chat_postMessage(channel="C0OPS", text="hi")
    refusal(client, "chat.postMessage", channel="C0NONE", text="hi")
    assert [(each.method, each.args["channel"], each.answer["ok"]) for each in workspace.calls] == [
        ("chat.postMessage", "C0OPS", True),
        ("chat.postMessage", "C0NONE", False),
    ]


def test_other_sites_and_other_names_are_refused(workspace: Workspace) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        connection = HTTPConnection("127.0.0.1", workspace.port, timeout=60)
        connection.request("GET", "/lab/api/state?as=U0ANA", headers=headers)
        assert connection.getresponse().status == 403
        connection.close()
