"""A connection that breaks, against a small SSH server of paramiko's own on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from bot.adapters.ssh.address import SshAddress
from bot.adapters.ssh.hosts import SshHosts
from bot.domain.errors import HypervisorError

pytestmark = pytest.mark.process
Act = Callable[[paramiko.Channel], bool]


class Server(paramiko.ServerInterface):
    """Lets everybody in, and does with a wish to run a program what a test wants."""

    def __init__(self, act: Act) -> None:
        self._act = act

    def check_channel_request(self, _kind: str, _number: int) -> int:
        return OPEN_SUCCEEDED

    def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_channel_exec_request(self, channel: paramiko.Channel, _command: bytes) -> bool:
        return self._act(channel)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Act], SshHosts]]:
    """The shells of a host whose server does this."""
    key = paramiko.ECDSAKey.generate()
    file = tmp_path / "key"
    key.write_private_key_file(str(file))
    with ExitStack() as ending:
        listening = ending.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.getsockname()[1]
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")

        def start(act: Act) -> SshHosts:
            def accept() -> None:
                connection, _ = listening.accept()
                transport = paramiko.Transport(connection)
                ending.callback(transport.close)
                transport.add_server_key(key)
                transport.start_server(event=threading.Event(), server=Server(act))

            threading.Thread(target=accept, name="ssh-server", daemon=True).start()
            address = SshAddress("127.0.0.1", "root", port, str(file), str(known))
            shells = SshHosts({"host-a": address})
            ending.callback(shells.close)
            return shells

        yield start


def hang_up(channel: paramiko.Channel) -> None:
    channel.get_transport().close()


def break_before_the_answer(channel: paramiko.Channel) -> bool:
    hang_up(channel)
    return True


def break_after_the_answer(channel: paramiko.Channel) -> bool:
    threading.Timer(0.05, hang_up, [channel]).start()
    return True


@pytest.mark.parametrize("act", [break_before_the_answer, break_after_the_answer])
def test_a_connection_that_breaks_is_told_as_that_whenever_it_is_noticed(
    serve: Callable[[Act], SshHosts], act: Act
) -> None:
    shells = serve(act)
    with pytest.raises(HypervisorError, match=r"No SSH connection .*: the connection broke\."):
        shells.run("host-a", ["true"], 30)


def test_a_server_that_runs_no_programs_is_not_told_as_broken(
    serve: Callable[[Act], SshHosts],
) -> None:
    shells = serve(lambda _: False)
    with pytest.raises(HypervisorError, match="Channel closed"):
        shells.run("host-a", ["true"], 30)
