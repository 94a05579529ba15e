"""What people do arrives once, from our own people only, and nothing goes unanswered."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.http import BIGGEST_BODY, HttpServer
from bot.adapters.slack.listeners import Credentials, Listeners
from bot.domain.card import Button, Buttons, Card, ChoiceField, Form, ManyField, Section, TextField
from bot.domain.errors import ChatError, StoreError
from bot.ports import Request
from lab.slack import Person, Workspace
from tests.waiting import until

pytestmark = pytest.mark.process

OPS = "C0OPS"


@dataclass
class Core:
    """Stands for the rest of the bot: stores requests under their keys, as a database would."""

    requests: list[Request] = field(default_factory=list)
    offered: int = 0
    error: Exception | None = None
    choices: Callable[[str, str], Sequence[tuple[str, str]]] = lambda source, typed: [
        (typed, f"{source} {typed}")
    ]

    def accept(self, request: Request) -> bool:
        self.offered += 1
        if self.error:
            raise self.error
        if request.key in {each.key for each in self.requests}:
            return False
        self.requests.append(request)
        return True

    @property
    def last(self) -> Request:
        return self.requests[-1]


@pytest.fixture
def core() -> Core:
    return Core()


Start = Callable[..., Listeners]


@pytest.fixture
def start(workspace: Workspace, chat: SlackChat, core: Core) -> Iterator[Start]:
    started: list[Listeners] = []

    def begin(*, per_minute: float = 600, socket: bool = True) -> Listeners:
        me = chat.identity()
        listeners = Listeners(
            Credentials(
                workspace.bot_token,
                workspace.app_token,
                workspace.signing_secret,
                workspace.web_api,
            ),
            team=me.team,
            bot_user=me.user,
            command="/kvm",
            accept=core.accept,
            # A test may change it
            choices=lambda source, typed: core.choices(source, typed),  # noqa: PLW0108
            chat=chat,
            per_minute=per_minute,
        )
        started.append(listeners)
        if socket:
            listeners.connect()
            workspace.wait_connected()
        return listeners

    yield begin
    for listeners in started:
        listeners.close()


@pytest.fixture
def ana(workspace: Workspace) -> Person:
    return workspace.person("ana")


def test_a_command(start: Start, ana: Person, core: Core) -> None:
    listeners = start()
    assert listeners.is_connected()
    ack = ana.command("/kvm migrate “web-1” host-b —force")
    assert (ack.ok, ack.payload) == (True, None)
    # Who reads the line straightens it, once
    assert core.last.text == "migrate “web-1” host-b —force"
    assert (core.last.kind, core.last.by, core.last.channel) == ("command", "U0ANA", OPS)
    assert core.last.trigger
    assert core.last.at.tzinfo is UTC
    assert len(core.requests) == 1


def test_a_person_named_in_a_command_is_known_by_id(start: Start, ana: Person, core: Core) -> None:
    start()
    ana.command("/kvm audit @bruno")
    assert core.last.text == "audit <@U0BRUNO>"


def test_a_mention_in_a_thread_is_a_command(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    parent = chat.post(OPS, Card("asked"))
    ana.say("@drover show web-1.example.org", thread_ts=parent.ts)
    until(lambda: core.requests)
    assert (core.last.kind, core.last.text, core.last.thread) == (
        "command",
        "show web-1.example.org",
        parent.ts,
    )


def test_a_direct_message_is_a_command(
    workspace: Workspace, start: Start, ana: Person, core: Core
) -> None:
    start()
    ana.say("hosts", "@drover")
    until(lambda: core.requests)
    assert (core.last.kind, core.last.text, core.last.channel) == ("command", "hosts", "D0ANA")


def test_what_people_say_among_themselves_and_what_the_bot_says_is_nothing(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    ana.say("lunch?")
    chat.tell("U0ANA", Card("hello"))
    chat.post(OPS, Card("<@U0DROVER> hosts"))
    ana.command("/kvm help")
    assert [each.text for each in core.requests] == ["help"]


def test_a_click(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    buttons = Buttons((Button("Show", "show", "web-1"), Button("Show", "show", "web-2")))
    ref = chat.post(OPS, Card("2 VMs", elements=(buttons,)))
    ack = ana.click(workspace.messages("#ops")[0], "show#2")
    assert ack.ok
    assert (core.last.kind, core.last.action, core.last.value) == ("click", "show", "web-2")
    assert (core.last.channel, core.last.message, core.last.by) == (OPS, ref.ts, "U0ANA")
    assert abs((core.last.at - datetime.now(UTC)).total_seconds()) < 60


def test_a_form(start: Start, chat: SlackChat, ana: Person, core: Core) -> None:
    start()
    ana.command("/kvm deny")
    fields = (
        TextField("why", "Why?"),
        ChoiceField("vm", "VM", source="vms"),
        TextField("more", "More", required=False),
        ManyField("some", "Some", (("0", "first"), ("1", "second"), ("2", "third")), ("0", "1")),
        ManyField("none", "None", (("0", "first"),)),
    )
    chat.open_form(core.last.trigger, Form("deny", "Deny op-1", "Deny", fields, hidden="op-1:abc"))
    view = ana.wait_view()
    assert ana.options(view, "source:vms", "web") == [("vms web", "web")]
    assert ana.submit(view, {"why": "too hot", "vm": "web-1", "some": ["0", "2"]}).ok
    assert (core.last.kind, core.last.action, core.last.value) == ("form", "deny", "op-1:abc")
    answers = {"why": "too hot", "vm": "web-1", "more": "", "some": "0,2", "none": ""}
    assert dict(core.last.answers) == answers


def test_opening_the_home(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    ana.open_home()
    until(lambda: core.requests)
    assert (core.last.kind, core.last.by) == ("home", "U0ANA")
    chat.publish_home(
        "U0ANA", Card("x", elements=(Section("web-1", Button("Show", "show", "web-1")),))
    )
    home = ana.home
    assert home is not None
    assert ana.click(home, "show").ok
    assert (core.last.kind, core.last.action, core.last.channel) == ("click", "show", "")


@pytest.mark.parametrize("new_event_id", [False, True])
def test_duplicates_are_one_request(
    workspace: Workspace,
    start: Start,
    chat: SlackChat,
    ana: Person,
    core: Core,
    *,
    new_event_id: bool,
) -> None:
    listeners = start()
    workspace.fault.duplicate_next(4, new_event_id=new_event_id, retry_headers=not new_event_id)
    ana.command("/kvm hosts")
    ana.say("@drover hosts")
    ana.say("hosts", "@drover")
    chat.post(OPS, Card("x", elements=(Buttons((Button("Show", "show", "1"),)),)))
    ana.click(workspace.messages("#ops")[-1], "show")
    until(lambda: sum(workspace.deliveries) == 8)
    listeners.close()  # which waits for what has come
    assert sorted(each.kind for each in core.requests) == ["click", "command", "command", "command"]
    assert len(core.requests) == 4


def test_a_copy_is_no_further_request_of_its_person(
    workspace: Workspace, start: Start, ana: Person, core: Core
) -> None:
    start(per_minute=1)
    # The second delivery begins when the first is over
    workspace.fault.cut_ack("middle")
    ack = ana.command("/kvm hosts")
    assert (ack.ok, ack.payload) == (True, None), "not told that she asks too often"
    assert "Too many requests" in ana.command("/kvm vms").payload["text"]
    assert [each.text for each in core.requests] == ["hosts"]


def test_a_form_sent_again_with_other_answers_is_not_taken_for_a_copy(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    ana.command("/kvm deny")
    chat.open_form(core.last.trigger, Form("deny", "Deny", "Deny", (TextField("why", "Why?"),)))
    view = ana.wait_view()
    workspace.fault.cut_ack("middle", again=False)
    assert "trouble" in ana.submit(view, {"why": "too hot"}).text, "Slack's own words"
    workspace.wait_connected()
    ack = ana.submit(view, {"why": "too cold"})
    assert "with your first answers" in ack.errors["why"]
    assert ana.submit(view, {"why": "too hot"}).ok
    assert ana.view is None
    assert [each.answers for each in core.requests if each.kind == "form"] == [
        (("why", "too hot"),)
    ]


def test_a_late_click_says_when_it_was_made(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    chat.post(OPS, Card("x", elements=(Buttons((Button("Show", "show", "1"),)),)))
    workspace.fault.delay_next(0.3)
    before = time.time()
    ana.click(workspace.messages("#ops")[-1], "show")
    assert core.last.at.timestamp() - before < 0.3


def test_people_of_other_workspaces_are_refused(
    workspace: Workspace, start: Start, chat: SlackChat, core: Core
) -> None:
    start()
    chat.post(OPS, Card("x", elements=(Buttons((Button("Approve", "approve", "1"),)),)))
    foreign = workspace.person("foreign")
    ack = foreign.command("/kvm hosts")
    assert "own workspace" in ack.payload["text"]
    assert foreign.click(workspace.messages("#ops")[-1], "approve").ok
    until(foreign.ephemerals)
    foreign.say("@drover hosts")
    workspace.person("ana").command("/kvm help")
    assert [each.by for each in core.requests] == ["U0ANA"]


def test_what_cannot_be_stored_is_told(
    workspace: Workspace, start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    core.error = StoreError("The database is locked.", "Try again in a minute.")
    ack = ana.command("/kvm hosts")
    assert ack.ok
    assert ack.payload["response_type"] == "ephemeral"
    assert "could not store" in ack.payload["text"]
    assert "The database is locked. Try again in a minute." in ack.payload["text"]
    chat.post(OPS, Card("x", elements=(Buttons((Button("Approve", "approve", "1"),)),)))
    assert ana.click(workspace.messages("#ops")[-1], "approve").ok
    until(ana.ephemerals)
    assert "could not store" in ana.ephemerals()[0].text
    ana.say("hosts", "@drover")
    until(lambda: len(workspace.messages("@ana", seen_by="ana")) == 2)
    assert not core.requests


def test_a_form_that_cannot_be_stored_stays_open_and_says_so(
    start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    ana.command("/kvm deny")
    chat.open_form(core.last.trigger, Form("deny", "Deny", "Deny", (TextField("why", "Why?"),)))
    core.error = RuntimeError("disk full")
    view = ana.wait_view()
    ack = ana.submit(view, {"why": "too hot"})
    assert "could not store" in ack.errors["why"]
    core.error = None
    assert ana.submit(view, {"why": "too hot"}).ok
    assert core.last.kind == "form"


def test_no_choices_rather_than_an_error(
    start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    ana.command("/kvm deny")
    chat.open_form(
        core.last.trigger, Form("x", "T", "Go", (ChoiceField("vm", "VM", source="vms"),))
    )

    def broken(source: str, typed: str) -> Sequence[tuple[str, str]]:
        raise ValueError(source + typed)

    core.choices = broken
    assert ana.options(ana.wait_view(), "source:vms", "w") == []


def test_at_most_a_hundred_choices(start: Start, chat: SlackChat, ana: Person, core: Core) -> None:
    start()
    ana.command("/kvm deny")
    chat.open_form(
        core.last.trigger, Form("x", "T", "Go", (ChoiceField("vm", "VM", source="vms"),))
    )
    core.choices = lambda source, typed: [(f"vm-{index}", "x" * 90) for index in range(300)]
    assert len(ana.options(ana.wait_view(), "source:vms", "w")) == 100


def test_one_person_cannot_flood(
    workspace: Workspace, start: Start, ana: Person, core: Core
) -> None:
    start(per_minute=6)
    answers = [ana.command("/kvm hosts").payload for _ in range(5)]
    assert answers[:2] == [None, None]
    assert "Drover allows 6 a minute" in answers[2]["text"]
    assert "Still too many" in answers[4]["text"]
    assert workspace.person("bruno").command("/kvm hosts").payload is None
    assert len(core.requests) == 3


def test_a_flood_of_messages_is_answered_once(
    workspace: Workspace, start: Start, ana: Person
) -> None:
    listeners = start(per_minute=3)
    for _ in range(4):
        ana.say("@drover hosts")
    until(lambda: sum(workspace.deliveries) == 4)
    until(ana.ephemerals)
    listeners._aside.submit(int).result()  # whatever was to be said is said
    assert len(ana.ephemerals()) == 1


def test_what_slack_has_never_sent_before_is_no_crash(start: Start, core: Core) -> None:
    listeners = start(socket=False)
    said: list[object] = []

    def ack(**given: Any) -> Any:
        said.append(given)

    ours: Any = ack
    listeners._on_command(ours, {"team_id": "T0LAB", "user_id": "U0ANA"})
    listeners._on_event(ours, {"team_id": "T0LAB", "event": {"type": "app_mention"}})
    listeners._on_action(ours, {"team": {"id": "T0LAB"}, "user": {"id": "U0ANA"}})
    assert len(said) == 3
    assert "could not read" in str(said[0])
    assert core.requests == []


@pytest.mark.parametrize(
    ("subtype", "heard"),
    [("file_share", 1), ("me_message", 1), ("thread_broadcast", 1), ("message_changed", 0),
     ("message_deleted", 0), ("channel_topic", 0)],
)  # fmt: skip
def test_what_a_person_writes_is_heard_also_with_a_file_and_an_edit_is_not(
    start: Start, core: Core, subtype: str, heard: int
) -> None:
    listeners = start(socket=False)
    acknowledged: list[bool] = []
    event = {"type": "message", "subtype": subtype, "channel_type": "im", "channel": "D0ANA",
             "user": "U0ANA", "text": "hosts", "ts": f"{time.time():.6f}"}  # fmt: skip
    ack: Any = lambda: acknowledged.append(True)  # noqa: E731
    listeners._on_event(ack, {"team_id": "T0LAB", "event": event})
    assert acknowledged == [True]
    assert [each.text for each in core.requests] == ["hosts"] * heard


def test_the_socket_comes_back_by_itself(
    workspace: Workspace, start: Start, ana: Person, core: Core
) -> None:
    start()
    workspace.fault.disconnect()
    until(lambda: ana.command("/kvm hosts").ok)
    assert core.last.text == "hosts"


def test_a_wrong_app_token_says_what_to_check(
    workspace: Workspace, chat: SlackChat, core: Core
) -> None:
    secrets = Credentials(workspace.bot_token, "xapp-wrong", api=workspace.web_api)
    listeners = Listeners(
        secrets, team="T0LAB", bot_user="U0DROVER", command="/kvm", accept=core.accept,
        choices=lambda source, typed: [], chat=chat,
    )  # fmt: skip
    with pytest.raises(ChatError) as caught:
        listeners.connect()
    assert "SLACK_APP_TOKEN" in str(caught.value.advice)
    assert "\n" not in str(caught.value)
    with pytest.raises(ChatError, match="signing secret"):
        listeners.http_server("127.0.0.1", 0)
    listeners.close()


def test_secrets_do_not_show() -> None:
    assert "xoxb" not in repr(Credentials("xoxb-1", "xapp-1", "secret"))
    assert "secret" not in repr(Credentials("xoxb-1", "xapp-1", "secret"))


# -- HTTP mode


@pytest.fixture
def server(start: Start) -> HttpServer:
    found = start(socket=False).http_server("127.0.0.1", 0)
    found.start()
    return found


def test_http_mode_serves_the_same(
    workspace: Workspace, server: HttpServer, chat: SlackChat, ana: Person, core: Core
) -> None:
    workspace.deliver_to(server.url)
    assert ana.command("/kvm hosts").ok
    chat.post(OPS, Card("x", elements=(Buttons((Button("Show", "show", "1"),)),)))
    assert ana.click(workspace.messages("#ops")[-1], "show").ok
    ana.say("@drover hosts")
    until(lambda: len(core.requests) == 3)


def posted(server: HttpServer, secret: str, at: float, body: str, path: str = "") -> int:
    """The status of a command sent with this signature and time (docs.slack.dev/authentication/verifying-requests)."""
    stamp = str(int(at))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    try:
        connection.request("POST", path or address.path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


COMMAND = urlencode(
    {
        "command": "/kvm",
        "text": "hosts",
        "team_id": "T0LAB",
        "user_id": "U0ANA",
        "channel_id": OPS,
        "trigger_id": "1.2",
    }
)


def test_a_signature_must_be_right_and_fresh(
    workspace: Workspace, server: HttpServer, core: Core
) -> None:
    secret, now = workspace.signing_secret, time.time()
    assert posted(server, "wrong", now, COMMAND) == 401
    assert posted(server, secret, now - 301, COMMAND) == 401
    assert posted(server, secret, now + 301, COMMAND) == 401
    assert core.requests == []
    assert posted(server, secret, now, COMMAND) == 200
    assert len(core.requests) == 1


def test_a_replayed_request_is_a_duplicate(
    workspace: Workspace, server: HttpServer, core: Core
) -> None:
    now = time.time()
    assert [posted(server, workspace.signing_secret, now, COMMAND) for _ in range(2)] == [200, 200]
    assert len(core.requests) == 1


def test_nothing_else_is_served(workspace: Workspace, server: HttpServer) -> None:
    assert posted(server, workspace.signing_secret, time.time(), COMMAND, "/other") == 404


def test_an_address_that_is_taken(start: Start, server: HttpServer) -> None:
    taken = urlsplit(server.url).port or 0
    with pytest.raises(ChatError) as caught:
        start(socket=False).http_server("127.0.0.1", taken)
    assert "http_port" in str(caught.value.advice)


def test_a_body_too_big_for_slack_is_not_read(server: HttpServer) -> None:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    connection.putrequest("POST", address.path)
    connection.putheader("Content-Length", str(BIGGEST_BODY + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_socket_that_will_not_close_keeps_nobody_from_stopping(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.slack.socket_mode.HANG_UP", 0.2)
    stuck, ended = threading.Event(), threading.Event()
    listeners = start()
    socket = listeners._socket
    assert socket is not None
    close: Any = socket.close

    def close_late() -> None:
        stuck.wait(60)
        close()
        ended.set()

    monkeypatch.setattr(socket, "close", close_late)
    listeners.close()
    assert not ended.is_set()
    stuck.set()
    assert ended.wait(60)


class WatchedLock:
    """A lock that tells when the thread that hangs up comes to it."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock
        self.reached = threading.Event()

    def __enter__(self) -> None:
        if threading.current_thread().name == "slack-hangs-up":
            self.reached.set()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_a_connection_that_closes_by_itself_while_the_socket_is_closed(start: Start) -> None:
    listeners = start()
    socket = listeners._socket
    assert socket is not None
    client = socket.client
    session = client.current_session
    assert session is not None
    watched = WatchedLock(session.sock_send_lock)
    session.sock_send_lock = watched  # type: ignore[assignment]
    closing = threading.Thread(target=listeners.close)
    with watched.lock:
        closing.start()
        assert watched.reached.wait(60)
        with session.sock_receive_lock:
            assert session.sock is not None
            session.sock.close()
            session.sock = None
    closing.join(60)
    assert not closing.is_alive()
    threads = (client.current_session_runner, client.current_app_monitor, client.message_processor)
    assert [each.is_alive() for each in threads] == [False] * 3


@pytest.mark.parametrize(
    ("said", "meant"),
    [("@drover /kvm hosts", "hosts"), ("@drover /kvm", ""), ("@drover hosts", "hosts")],
)
def test_the_slash_command_written_in_a_mention_means_what_stands_behind_it(
    start: Start, ana: Person, core: Core, said: str, meant: str
) -> None:
    start()
    ana.say(said)
    until(lambda: core.requests)
    assert core.last.text == meant


def test_a_command_brings_an_address_for_its_answer(start: Start, ana: Person, core: Core) -> None:
    start()
    ana.command("/kvm hosts")
    assert core.last.answer_to.startswith("http://127.0.0.1:")


def test_a_field_with_nothing_but_white_space_is_not_taken(
    start: Start, chat: SlackChat, ana: Person, core: Core
) -> None:
    start()
    ana.command("/kvm vm create")
    chat.open_form(
        core.last.trigger,
        Form("deny", "Deny op-1", "Deny", (TextField("why", "Why?"),), hidden="op-1:d"),
    )
    before = len(core.requests)
    answer = ana.submit(ana.wait_view(), {"why": " \t "})
    assert answer.payload["response_action"] == "errors"
    assert list(answer.payload["errors"]) == ["why"]
    assert len(core.requests) == before


@pytest.mark.parametrize("stamp", ["soon", "", "1e9", "-5", "²", "9" * 40])
def test_a_timestamp_that_is_none_is_refused(server: HttpServer, stamp: str) -> None:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    headers = {"X-Slack-Request-Timestamp": stamp.encode(), "X-Slack-Signature": b"v0=00"}
    connection.request("POST", address.path, COMMAND, headers)
    assert connection.getresponse().status == 401
    connection.close()


def test_a_client_that_trickles_is_hung_up_on(
    workspace: Workspace, server: HttpServer, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.web_server.WHOLE_WITHIN", 0.2)
    address = urlsplit(server.url)
    slow = [
        socket.create_connection((str(address.hostname), address.port or 0), timeout=60)
        for _ in range(100)
    ]
    ended: set[object] = set()
    for each in slow:
        each.sendall(b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        each.settimeout(0)

    def all_are_gone() -> bool:
        for each in set(slow) - ended:
            try:
                each.send(b"x")  # never silent, and never whole
                if each.recv(1) == b"":
                    ended.add(each)
            except BlockingIOError:
                continue
            except OSError:
                ended.add(each)
        return len(ended) == len(slow)

    until(all_are_gone)
    assert posted(server, workspace.signing_secret, time.time(), COMMAND) == 200
    for each in slow:
        each.close()
