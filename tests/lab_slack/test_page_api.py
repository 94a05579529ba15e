"""What the web page asks of the workspace, and what it is told as it happens."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from slack_bolt import App
from slack_sdk import WebClient
from websocket import WebSocket, create_connection

from lab.slack import Workspace
from tests.lab_slack.parts import PROPOSAL, approval_app
from tests.waiting import until

Json = dict[str, Any]


def ask(
    workspace: Workspace, what: str, body: Json | None = None, user: str = "", **query: str
) -> tuple[int, Json]:
    """Ask as the page does, ``as`` a user; answers the status and the JSON."""
    if user:
        query = {"as": user, **query}
    connection = HTTPConnection("127.0.0.1", workspace.port, timeout=60)
    try:
        if body is None:
            connection.request(
                "GET", f"/lab/api/{what}?" + "&".join(f"{k}={v}" for k, v in query.items())
            )
        else:
            connection.request(
                "POST", f"/lab/api/{what}", json.dumps(body), {"Content-Type": "application/json"}
            )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture
def live(workspace: Workspace) -> Iterator[Callable[[str], WebSocket]]:
    """Open a page's live websocket for somebody."""
    opened: list[WebSocket] = []

    def listen(user: str) -> WebSocket:
        socket = create_connection(
            f"ws://127.0.0.1:{workspace.port}/lab/api/live?as={user}", timeout=10
        )
        opened.append(socket)
        assert json.loads(socket.recv())["type"] == "apps"
        return socket

    yield listen
    for socket in opened:
        socket.close()


def test_state_tells_who_where_and_what(workspace: Workspace) -> None:
    status, state = ask(workspace, "state", user="U0ANA")
    assert status == 200
    assert state["me"]["name"] == "ana"
    assert [each["name"] for each in state["people"]] == ["ana", "bruno", "carla", "gil"]
    assert [each["name"] for each in state["channels"]] == ["ops", "approvals", "general", "drover"]
    assert state["commands"] == [
        {"command": "/kvm", "description": "Run the cluster", "usage_hint": "help"}
    ]
    assert (state["app"], state["apps_connected"]) == ({"name": "drover", "user_id": "U0DROVER"}, 0)


def test_history_shows_replies_and_ones_own_ephemerals(
    workspace: Workspace, client: WebClient
) -> None:
    parent = client.chat_postMessage(channel="C0OPS", text="parent")["ts"]
    client.chat_postEphemeral(channel="C0OPS", user="U0ANA", text="psst")
    client.chat_postMessage(channel="C0OPS", text="reply", thread_ts=parent)
    _, seen = ask(workspace, "history", user="U0ANA", channel="C0OPS")
    assert [(each["text"], each.get("ephemeral", False)) for each in seen["messages"]] == [
        ("parent", False),
        ("psst", True),
        ("reply", False),
    ]
    assert (seen["messages"][0]["reply_count"], seen["messages"][2]["thread_ts"]) == (1, parent)
    assert (seen["messages"][0]["username"], seen["messages"][0]["is_bot"]) == ("drover", True)
    _, others = ask(workspace, "history", user="U0GIL", channel="C0OPS")
    assert [each["text"] for each in others["messages"]] == ["parent", "reply"]


def test_a_page_sees_what_happens_as_it_happens(
    workspace: Workspace, connect: Callable[[App], object], live: Callable[[str], WebSocket]
) -> None:
    ana, gil = live("U0ANA"), live("U0GIL")
    app = approval_app(workspace)
    connect(app)
    assert json.loads(ana.recv()) == {"type": "apps", "connected": 1}
    ts = app.client.chat_postMessage(channel="C0OPS", text="one", blocks=PROPOSAL)["ts"]
    posted = json.loads(ana.recv())
    assert (posted["type"], posted["channel"], posted["message"]["text"]) == (
        "message",
        "C0OPS",
        "one",
    )
    app.client.chat_postEphemeral(channel="C0OPS", user="U0GIL", text="psst")
    app.client.chat_update(channel="C0OPS", ts=ts, text="two")
    changed = json.loads(ana.recv())
    assert (changed["type"], changed["message"]["text"]) == ("message_changed", "two")
    app.client.reactions_add(channel="C0OPS", timestamp=ts, name="eyes")
    assert json.loads(ana.recv())["message"]["reactions"][0]["name"] == "eyes"
    app.client.chat_delete(channel="C0OPS", ts=ts)
    assert json.loads(ana.recv())["type"] == "message_deleted"
    app.client.views_publish(user_id="U0ANA", view={"type": "home", "blocks": []})
    assert json.loads(ana.recv())["type"] == "home"
    kinds = [json.loads(gil.recv())["type"] for _ in range(6)]
    assert kinds == ["apps", "message", "message", "message_changed", "reaction", "message_deleted"]


def test_a_modal_opens_and_closes_on_the_page(
    workspace: Workspace, connect: Callable[[App], object], live: Callable[[str], WebSocket]
) -> None:
    app = approval_app(workspace)
    connect(app)
    ts = app.client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=PROPOSAL)["ts"]
    carla = live("U0CARLA")
    container = {"type": "message", "channel": "C0APPROVALS", "ts": ts}
    clicked = {"as": "U0CARLA", "container": container, "block_id": "acts", "action_id": "deny"}
    status, answer = ask(
        workspace, "action", {**clicked, "element": {"type": "button", "value": "op-1"}}
    )
    assert (status, answer["ok"]) == (200, True)
    opened = json.loads(carla.recv())
    assert (opened["type"], opened["view"]["title"]["text"]) == ("view", "Deny")
    said = {"why": {"reason": {"type": "plain_text_input", "value": "no"}}}
    submit = {"as": "U0CARLA", "view_id": opened["view"]["id"], "state": {"values": said}}
    _, refused = ask(workspace, "view_submit", submit)
    assert (refused["response_action"], refused["errors"]) == ("errors", {"why": "Say more."})
    said["why"]["reason"]["value"] = "too early"
    _, taken = ask(workspace, "view_submit", submit)
    assert taken["view"] is None
    kinds = [json.loads(carla.recv()) for _ in range(2)]
    assert {"type": "view", "view": None} in kinds


def test_options_and_completion(workspace: Workspace, connect: Callable[[App], object]) -> None:
    app = approval_app(workspace)
    connect(app)
    ts = app.client.chat_postMessage(channel="C0OPS", text="x", blocks=PROPOSAL)["ts"]
    container = {"type": "message", "channel": "C0OPS", "ts": ts}
    asked = {
        "as": "U0ANA",
        "container": container,
        "block_id": "acts",
        "action_id": "host",
        "value": "b",
    }
    _, answer = ask(workspace, "options", asked)
    assert [each["value"] for each in answer["options"]] == ["host-b"]
    assert ask(workspace, "complete", {"as": "U0ANA", "text": "/k"})[1] == {"suggestions": ["/kvm"]}
    assert ask(workspace, "complete", {"as": "U0ANA", "text": "/kvm h"})[1] == {
        "suggestions": ["/kvm help"]
    }
    assert ask(workspace, "complete", {"as": "U0ANA", "text": "hello"})[1] == {"suggestions": []}


def test_home_fires_its_event_and_answers_the_view(
    workspace: Workspace, connect: Callable[[App], object]
) -> None:
    connect(approval_app(workspace))
    ask(workspace, "home", {"as": "U0ANA"})
    until(lambda: workspace.person("ana").home is not None)
    _, answer = ask(workspace, "home", {"as": "U0ANA"})
    assert answer["view"]["blocks"][0]["text"]["text"] == "All hosts up"


def test_uploaded_images_get_an_address_the_page_can_show(
    workspace: Workspace, client: WebClient
) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
    file = client.files_upload_v2(content=png, filename="a.png", title="a")["files"][0]
    block = {"type": "image", "alt_text": "a", "slack_file": {"id": file["id"]}}
    client.chat_postMessage(channel="C0OPS", text="x", blocks=[block])
    _, seen = ask(workspace, "history", user="U0ANA", channel="C0OPS")
    assert seen["messages"][0]["blocks"][0]["image_url"] == file["url_private"]
    assert "image_url" not in workspace.messages("#ops")[0].blocks[0]


@pytest.mark.parametrize(
    ("what", "body", "error"),
    [
        ("say", {"as": "U9", "channel": "C0OPS", "text": "x"}, "nobody called 'U9'"),
        ("say", {"as": "U0ANA", "channel": "C9", "text": "x"}, "no channel 'C9'"),
        ("say", {"as": "U0ANA", "channel": "D0GIL", "text": "x"}, "no channel 'D0GIL'"),
        ("say", {"as": "U0ANA", "channel": "C0OPS"}, "text is missing"),
        ("view_submit", {"as": "U0ANA", "view_id": "V9"}, "no longer open"),
        (
            "action",
            {
                "as": "U0ANA",
                "action_id": "a",
                "container": {"type": "message", "channel": "C0OPS", "ts": "1"},
            },
            "gone",
        ),
    ],
)
def test_what_can_not_be_done_is_said(
    workspace: Workspace, what: str, body: Json, error: str
) -> None:
    status, answer = ask(workspace, what, body)
    assert (status, answer["ok"]) == (400, False)
    assert error in answer["error"]


def test_an_unknown_address_and_a_form_are_refused(workspace: Workspace) -> None:
    assert ask(workspace, "dance", {"as": "U0ANA"})[0] == 404
    connection = HTTPConnection("127.0.0.1", workspace.port, timeout=60)
    connection.request("POST", "/lab/api/say", "as=U0ANA", {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 415
    connection.close()


def test_the_page_or_how_to_build_it_is_served(workspace: Workspace) -> None:
    connection = HTTPConnection("127.0.0.1", workspace.port, timeout=60)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 200
    assert b"<!doctype html>" in response.read().lower()
    connection.request("GET", "/..%2f..%2fserver.py")
    assert b"asyncio" not in connection.getresponse().read()
    connection.close()


def test_a_click_on_what_was_shown_before_an_edit_still_arrives(
    workspace: Workspace, connect: Callable[[App], object]
) -> None:
    app = approval_app(workspace)
    connect(app)
    ts = app.client.chat_postMessage(channel="C0APPROVALS", text="x", blocks=PROPOSAL)["ts"]
    [shown] = workspace.messages("#approvals")
    app.client.chat_update(channel="C0APPROVALS", ts=ts, text="changed", blocks=[])
    assert workspace.person("bruno").click(shown, "approve").ok
    assert workspace.wait_message("#approvals", lambda each: each.text == "approved by <@U0BRUNO>")
