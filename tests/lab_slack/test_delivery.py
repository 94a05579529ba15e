"""Each payload reaches exactly one connection; faults on demand; signatures in HTTP mode."""

import time
from collections.abc import Callable
from typing import Any, Literal

import pytest
from slack_bolt import Ack, App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.signature import SignatureVerifier

from bot.adapters.slack.socket_mode import hang_up
from lab.slack import Workspace
from lab.slack.cuts import READ, place_of_cut
from lab.slack.delivery import signature
from lab.slack.people import lab_directory
from lab.slack.speech import as_commanded
from tests.lab_slack.parts import actions, button
from tests.waiting import until

Json = dict[str, Any]
Connect = Callable[[App], SocketModeHandler]


@pytest.fixture
def heard(bare_app: App) -> list[Json]:
    """What the app heard: commands, clicks, and events' whole bodies."""
    things: list[Json] = []

    @bare_app.command("/kvm")
    def kvm(ack: Ack, command: Json) -> None:
        ack()
        things.append(command)

    @bare_app.action("go")
    def go(ack: Ack, body: Json) -> None:
        ack()
        things.append(body)

    @bare_app.event("message")
    def written(body: Json) -> None:
        things.append(body)

    return things


def test_a_command_names_people_as_typed_unless_the_manifest_wants_ids(
    workspace: Workspace, bare_app: App, connect: Connect, heard: list[Json]
) -> None:
    connect(bare_app)
    workspace.person("ana").command("/kvm tell @bruno and <@U0CARLA> in <#C0OPS|ops> <b>")
    assert [each["text"] for each in heard] == ["tell @bruno and @carla in #ops <b>"]
    line = as_commanded(lab_directory(), "tell @bruno and <@U0CARLA> in #ops <b>", escaped=True)
    assert line == "tell <@U0BRUNO|bruno> and <@U0CARLA|carla> in <#C0OPS|ops> &lt;b&gt;"


def test_two_connections_share_the_payloads(
    workspace: Workspace, bare_app: App, connect: Connect, heard: list[Json]
) -> None:
    connect(bare_app)
    connect(bare_app)
    for number in range(10):
        assert workspace.person("ana").command(f"/kvm {number}").ok
    assert sorted(each["text"] for each in heard) == sorted(str(number) for number in range(10))
    assert workspace.deliveries == [5, 5]


def test_an_eleventh_connection_is_turned_away(workspace: Workspace) -> None:
    from websocket import create_connection

    own = WebClient(token=workspace.app_token, base_url=workspace.web_api)
    sockets = [
        create_connection(own.apps_connections_open(app_token=workspace.app_token)["url"])
        for _ in range(10)
    ]
    assert ['"num_connections": 10' in socket.recv() for socket in sockets][-1]
    extra = create_connection(own.apps_connections_open(app_token=workspace.app_token)["url"])
    assert "too_many_websockets" in extra.recv()
    for socket in [*sockets, extra]:
        socket.close()


def test_the_app_comes_back_after_a_disconnect(
    workspace: Workspace, bare_app: App, connect: Connect, heard: list[Json]
) -> None:
    connect(bare_app)
    workspace.fault.disconnect()
    workspace.wait_connected()
    assert workspace.person("ana").command("/kvm again").ok
    assert [each["text"] for each in heard] == ["again"]


def test_a_click_can_come_twice_at_once(
    workspace: Workspace, bare_app: App, connect: Connect, heard: list[Json]
) -> None:
    connect(bare_app)
    bare_app.client.chat_postMessage(channel="C0OPS", text="x", blocks=[actions(button("go"))])
    workspace.fault.duplicate_next(1)
    [message] = workspace.messages("#ops")
    assert workspace.person("ana").click(message, "go").ok
    until(lambda: len(heard) == 2)
    assert heard[0] == heard[1]
    workspace.person("ana").click(message, "go")
    until(lambda: len(heard) == 3)


@pytest.mark.parametrize("new_id", [False, True])
def test_an_event_can_come_twice_with_the_same_or_a_new_id(
    workspace: Workspace,
    bare_app: App,
    connect: Connect,
    heard: list[Json],
    new_id: bool,  # noqa: FBT001
) -> None:
    connect(bare_app)
    workspace.fault.duplicate_next(1, new_event_id=new_id)
    workspace.person("ana").say("hello")
    until(lambda: len(heard) == 2)
    assert (heard[0]["event_id"] != heard[1]["event_id"]) == new_id
    assert heard[0]["event"] == heard[1]["event"]


def test_an_unacknowledged_event_comes_again_when_asked_for(workspace: Workspace) -> None:
    from websocket import create_connection

    with Workspace(ack_seconds=0.05) as impatient:
        own = WebClient(token=impatient.app_token, base_url=impatient.web_api)
        socket = create_connection(
            own.apps_connections_open(app_token=impatient.app_token)["url"], timeout=5
        )
        impatient.fault.redeliver_unacked = True
        impatient.wait_connected()
        impatient.person("ana").say("hello")
        frames = [socket.recv() for _ in range(5)]
        socket.close()
    assert [f'"retry_attempt": {n}' in frame for n, frame in enumerate(frames[1:])] == [True] * 4


def test_a_late_click_finds_its_trigger_id_too_old(
    workspace: Workspace, bare_app: App, connect: Connect
) -> None:
    errors: list[str] = []

    @bare_app.command("/kvm")
    def kvm(ack: Ack, command: Json, client: WebClient) -> None:
        ack()
        with pytest.raises(SlackApiError) as caught:
            client.views_open(trigger_id=command["trigger_id"], view={})
        errors.append(caught.value.response["error"])

    with Workspace(trigger_seconds=0.05) as strict:
        own = WebClient(token=strict.app_token, base_url=strict.web_api)
        app_client = WebClient(token=strict.bot_token, base_url=strict.web_api)
        app = App(client=app_client, process_before_response=True)
        app.command("/kvm")(kvm)
        handler = SocketModeHandler(app, strict.app_token, web_client=own)
        handler.connect()
        strict.wait_connected()
        strict.fault.delay_next(0.1)
        assert strict.person("ana").command("/kvm form").ok
        until(lambda: bool(errors))
        hang_up(handler)
    assert errors == ["expired_trigger_id"]


def test_an_app_that_never_acks_gets_an_operation_timeout() -> None:
    from websocket import create_connection

    with Workspace(ack_seconds=0.05) as workspace:
        own = WebClient(token=workspace.app_token, base_url=workspace.web_api)
        socket = create_connection(
            own.apps_connections_open(app_token=workspace.app_token)["url"], timeout=5
        )
        workspace.wait_connected()
        ack = workspace.person("ana").command("/kvm help")
        socket.close()
    assert ack.text == '/kvm failed with the error "operation_timeout"'
    assert not ack.ok


def test_rate_limits_name_the_seconds_and_pass(workspace: Workspace, client: WebClient) -> None:
    workspace.fault.rate_limit("chat.postMessage", times=1, retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel="C0OPS", text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response["error"] == "ratelimited"
    assert caught.value.response.headers["Retry-After"] == "7"
    assert client.chat_postMessage(channel="C0OPS", text="x")["ok"]
    assert len(workspace.messages("#ops")) == 1


def test_slack_sdks_own_retry_handler_rides_over_a_rate_limit(
    workspace: Workspace, client: WebClient
) -> None:
    client.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=2))
    workspace.fault.rate_limit("chat.postMessage", times=2, retry_after=0)
    assert client.chat_postMessage(channel="C0OPS", text="x")["ok"]
    assert [each.status for each in workspace.calls] == [429, 429, 200]


def test_server_errors_and_named_errors_do_nothing(workspace: Workspace, client: WebClient) -> None:
    workspace.fault.server_error("chat.postMessage")
    workspace.fault.error("*", "fatal_error")
    for expected in ((500, "internal_error"), (200, "fatal_error")):
        with pytest.raises(SlackApiError) as caught:
            client.chat_postMessage(channel="C0OPS", text="x")
        assert (caught.value.response.status_code, caught.value.response["error"]) == expected
    assert workspace.messages("#ops") == []


def test_a_dropped_response_did_its_work(workspace: Workspace, client: WebClient) -> None:
    client.retry_handlers.clear()
    workspace.fault.drop_response("chat.postMessage")
    with pytest.raises(OSError, match=r"reset|closed|aborted"):
        client.chat_postMessage(channel="C0OPS", text="done though")
    assert [each.text for each in workspace.messages("#ops")] == ["done though"]
    assert [each.method for each in workspace.calls] == ["chat.postMessage"]


def test_signatures_are_slacks_and_a_wrong_secret_is_refused(
    workspace: Workspace, bare_app: App, serve_http: Callable[[App], str], heard: list[Json]
) -> None:
    serve_http(bare_app)
    assert workspace.person("ana").command("/kvm help").ok
    workspace.new_secret()
    assert (
        workspace.person("ana").command("/kvm help").text
        == '/kvm failed with the error "dispatch_failed"'
    )
    assert len(heard) == 1


def test_a_stale_signature_is_refused_by_slacks_own_verifier() -> None:
    fresh = signature("secret", b"body")
    stale = signature("secret", b"body", time.time() - 301)
    verifier = SignatureVerifier("secret")
    assert verifier.is_valid_request("body", {k.lower(): v for k, v in fresh.items()})
    assert not verifier.is_valid_request("body", {k.lower(): v for k, v in stale.items()})


def test_http_mode_never_leaves_this_machine(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
        workspace.deliver_to("https://hooks.example.com/slack")


def test_the_server_ends_and_the_port_is_free_again() -> None:
    with Workspace() as first:
        port = first.port
        with pytest.raises(OSError, match="in use"), Workspace(port):
            pass
    with Workspace(port) as second:
        assert second.port == port


@pytest.mark.parametrize("at", ["before", "middle"])
def test_a_connection_can_break_under_an_ack_and_the_payload_comes_again(
    workspace: Workspace,
    bare_app: App,
    connect: Connect,
    heard: list[Json],
    at: Literal["before", "middle"],
) -> None:
    connect(bare_app)
    workspace.fault.cut_ack(at)
    assert workspace.person("ana").command("/kvm hosts").ok
    assert heard[0] == heard[1], "with the same trigger id"
    workspace.fault.cut_ack(at, again=False)
    assert not workspace.person("ana").command("/kvm vms").ok
    until(lambda: len(heard) == 3)


def test_the_place_of_a_cut_is_found_among_other_frames() -> None:
    def frame(opcode: int, text: bytes) -> bytes:
        size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2)
        mask = b"mask"
        masked = bytes(each ^ mask[n % 4] for n, each in enumerate(text))
        return bytes([0x80 | opcode]) + size + mask + masked

    pong = frame(0xA, b"Ping from drover lab")
    for text in (frame(0x1, b"x" * 10), frame(0x1, b"x" * 300)):
        assert place_of_cut(pong + text, "before") == len(pong)
        middle = place_of_cut(pong + text, "middle")
        assert middle is not None
        assert len(pong) < middle < len(pong + text)
    assert place_of_cut(pong + frame(0xA, READ), "before") == len(pong)
    assert place_of_cut(pong + frame(0xA, READ), "middle") is None
    assert place_of_cut(pong, "before") is None
