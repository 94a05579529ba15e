"""Who may connect, who a caller is, and what a caller that misbehaves costs."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.language import Languages
from bot.adapters.terminal import client, protocol, server
from bot.adapters.terminal.callers import Callers
from bot.adapters.terminal.client import NoBotError, RemoteError
from bot.adapters.terminal.server import TerminalServer
from bot.domain.errors import NotAllowedError, SettingsError
from bot.ports.terminal import Caller, Connection
from tests.waiting import until

ME = os.getuid()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="drover-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def ana(uid: int, token: str) -> Caller:
    return Caller("UANA", "ana")


def who(caller: Caller, given: Any, connection: Connection) -> dict[str, Any]:
    return {"id": caller.id, "given": dict(given)}


def served(path: Path, identify: Any = ana, group: str = "", **methods: Any) -> TerminalServer:
    made = TerminalServer(path, identify, {"who": who, **methods}, Languages(), group=group)
    made.start()
    return made


def raw(path: Path, line: bytes) -> dict[str, Any]:
    """What a caller of its own making is answered."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(path))
        link.sendall(line)
        found: dict[str, Any] = json.loads(link.makefile("rb").readline())
        return found


def test_a_call_is_answered(folder: Path) -> None:
    made = served(folder / "s")
    assert client.result(folder / "s", "who", {"x": 1}) == {"id": "UANA", "given": {"x": 1}}
    made.stop()
    assert not (folder / "s").exists()
    with pytest.raises(NoBotError):
        client.result(folder / "s", "who", {})


def test_the_socket_is_for_the_bots_user_and_for_the_group_that_is_named(folder: Path) -> None:
    made = served(folder / "s")
    assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
    made.stop()
    made = served(folder / "s", group="root")
    assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o660
    assert (folder / "s").stat().st_gid == 0
    made.stop()
    with pytest.raises(SettingsError):
        served(folder / "s", group="no-such-group")


CONNECT = """
import socket, sys
link = socket.socket(socket.AF_UNIX); link.settimeout(10); link.connect(sys.argv[1])
link.sendall(b'{"v": 1, "method": "who"}' + bytes([10])); print(link.makefile().readline())
"""


# The tests' own Python may lie where nobody else can read
PYTHON = Path("/usr/bin/python3")


@pytest.mark.process
@pytest.mark.skipif(
    ME != 0 or not PYTHON.exists(), reason="only root can be somebody else, by the system's Python"
)
def test_a_foreign_user_is_kept_out_by_the_kernel_or_is_nobody(folder: Path) -> None:
    made = served(folder / "s", Callers({"root": ("UANA", "ana")}).identify)

    def as_nobody() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PYTHON), "-I", "-c", CONNECT, str(folder / "s")],
            user="nobody",
            group="nogroup",
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert "PermissionError" in as_nobody().stderr
    (folder / "s").chmod(0o666)  # as a careless administrator might
    said = json.loads(as_nobody().stdout)
    assert said["error"]["code"] == "nobody"
    assert "nobody" in said["error"]["text"]
    assert client.result(folder / "s", "who", {})["id"] == "UANA"
    made.stop()


@pytest.mark.parametrize(
    "forged",
    [{"by": "UBRUNO"}, {"uid": 0}, {"person": "UBRUNO"}, {"params": {}, "via": "terminal"}],
)
def test_a_call_that_says_who_it_is_from_is_refused(folder: Path, forged: dict[str, Any]) -> None:
    made = served(folder / "s")
    said = raw(folder / "s", json.dumps({"v": 1, "method": "who", **forged}).encode() + b"\n")
    assert said["error"]["code"] == "protocol"
    made.stop()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b'{"v": 2, "method": "who"}\n',
        b'{"v": 1, "method": 3}\n',
        b'{"v": 1, "method": "who", "params": []}\n',
        b'{"v": 1, "method": "what"}\n',
        b'{"v": 1, "x": ' + b"[" * 30000 + b"\n",
        b"x" * (protocol.LINE + 1) + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_call_is_told_so(folder: Path, line: bytes) -> None:
    made = served(folder / "s")
    assert raw(folder / "s", line)["error"]["code"] == "protocol"
    assert client.result(folder / "s", "who", {})["id"] == "UANA"
    made.stop()


def test_a_user_that_is_not_configured_is_nobody_also_root() -> None:
    callers = Callers({"ana": ("UANA", "ana")})
    for uid in (0, 4_000_000):
        with pytest.raises(NotAllowedError) as refused:
            callers.identify(uid, "")
        assert refused.value.code == "nobody"


def test_a_script_is_who_its_token_says_whatever_the_user() -> None:
    callers = Callers({}, {"nightly": sha256(b"secret").hexdigest()})
    assert callers.identify(4_000_000, "secret").id == "script:nightly"
    with pytest.raises(NotAllowedError) as refused:
        callers.identify(0, "secret2")
    assert refused.value.code == "bad-token"


def test_callers_that_send_nothing_are_let_go_and_hold_up_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READ", 0.2)
    made = served(folder / "s")
    hanging = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for each in hanging:
        each.connect(str(folder / "s"))
    assert client.result(folder / "s", "who", {})["id"] == "UANA"
    for each in hanging:
        each.settimeout(10)
        assert each.recv(1) == b""  # it hung up
        each.close()
    until(lambda: made._open.total() == 0)
    made.stop()


def test_one_user_cannot_take_every_place(folder: Path) -> None:
    release = threading.Event()

    def wait(caller: Caller, given: Any, connection: Connection) -> dict[str, Any]:
        release.wait(20)
        return {}

    made = served(folder / "s", wait=wait)
    threads = [
        threading.Thread(target=client.result, args=(folder / "s", "wait", {}))
        for _ in range(server.MOST_EACH)
    ]
    for each in threads:
        each.start()
    until(lambda: made._open.total() == server.MOST_EACH)
    with pytest.raises(RemoteError) as refused:
        client.result(folder / "s", "who", {})
    assert refused.value.code == "busy"
    release.set()
    for each in threads:
        each.join(60)
    until(lambda: made._open.total() == 0)
    assert client.result(folder / "s", "who", {})["id"] == "UANA"
    made.stop()


def test_a_caller_that_does_not_read_its_answer_is_let_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "WRITE", 0.2)
    ended = threading.Event()

    def much(caller: Caller, given: Any, connection: Connection) -> dict[str, Any]:
        try:
            return {"x": "y" * 8_000_000}
        finally:
            ended.set()

    made = served(folder / "s", much=much)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(folder / "s"))
        link.sendall(b'{"v": 1, "method": "much"}\n')
        assert ended.wait(60)
        until(lambda: made._open.total() == 0)
    made.stop()


def test_a_second_bot_does_not_take_the_socket_and_a_killed_ones_is_replaced(folder: Path) -> None:
    made = served(folder / "s")
    with pytest.raises(SettingsError):
        served(folder / "s")
    assert made._listener is not None
    made._listener.shutdown(socket.SHUT_RDWR)
    made._listener.close()  # as after kill -9: the file stays
    assert (folder / "s").exists()
    again = served(folder / "s")
    assert client.result(folder / "s", "who", {})["id"] == "UANA"
    again.stop()


def test_a_file_of_another_kind_is_left_alone(folder: Path) -> None:
    (folder / "s").write_text("mine")
    with pytest.raises(SettingsError):
        served(folder / "s")
    assert (folder / "s").read_text() == "mine"
    with pytest.raises(SettingsError):
        served(folder / ("s" * 120))


def test_what_no_database_keeps_and_nobody_sees_does_not_come_in(folder: Path) -> None:
    path = folder / "socket"
    bot = served(path)
    texts = "\\ud800 \\u0000 \\u001b[2J \\u202e \\u200b a\\nb \\ud83d\\ude42"
    call = f'{{"v": 1, "method": "who", "params": {{"line": "{texts}", "deep": [{{"x": "\\udfff"}}]}}}}\n'
    given = raw(path, call.encode())["result"]["given"]
    assert given == {"line": "� � �[2J � � a\nb 🙂", "deep": [{"x": "�"}]}
    bot.stop()


def test_bytes_of_a_command_line_that_are_no_utf_8_are_sent_as_question_marks(folder: Path) -> None:
    path = folder / "socket"
    bot = served(path)
    assert client.result(path, "who", {"line": "vms \udcff"})["given"] == {"line": "vms ?"}
    bot.stop()
