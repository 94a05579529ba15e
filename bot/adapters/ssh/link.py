"""Programs run on a host over SSH; the only place that imports paramiko."""

from __future__ import annotations

import getpass
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko

from bot.adapters.ssh.address import SshAddress
from bot.domain.errors import HypervisorError
from bot.domain.message import Code, Duration, Message, words
from bot.domain.readiness import CommandResult

_CONNECT_SECONDS = 10.0  # a host that resolves names slowly needs some of them
_END_SECONDS = 1.0  # a transport that breaks wakes its channels first, and ends a moment later
_MOST_OUTPUT = 4 << 20  # bytes; what is beyond is not read
_CHUNK = 1 << 16  # bytes read at once


class SshLink:
    """The connection to one host, kept, and made anew when it broke. Safe for threads."""

    def __init__(self, name: str, address: SshAddress) -> None:
        self._name = name
        self._address = address
        # All that run something on the host share one connection: one of them opens it
        self._lock = threading.Lock()
        self._client: paramiko.SSHClient | None = None
        self._proxy: subprocess.Popen[bytes] | None = None

    def run(self, argv: Sequence[str], deadline: float) -> CommandResult:
        """What the program answered.

        Raises:
            HypervisorError: no connection, refused keys, or no end within ``deadline`` seconds.
        """
        until = time.monotonic() + deadline
        began = time.monotonic()
        try:
            transport = self._transport()
            with transport.open_session(timeout=deadline) as channel, _told_as_broken(transport):
                channel.exec_command(shlex.join(argv))
                channel.shutdown_write()
                out, err = _drain(channel, until)
                return CommandResult(channel.recv_exit_status(), out, err, time.monotonic() - began)
        except TimeoutError as error:
            raise HypervisorError(
                words(
                    "{host}: {command} did not end within {time}.",
                    host=self._name,
                    command=Code(argv[0]),
                    time=Duration(deadline),
                ),
                words("Check the host; it may hang."),
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise self._no_way(error) from error

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            client, self._client = self._client, None
            proxy, self._proxy = self._proxy, None
        if client is not None:
            client.close()
        if proxy is not None:
            proxy.kill()
            proxy.wait()

    def _transport(self) -> paramiko.Transport:
        with self._lock:
            transport = self._client.get_transport() if self._client else None
            if transport is not None and transport.is_active():
                return transport
        self.close()
        with self._lock:
            self._client = self._connect()
            transport = self._client.get_transport()
        if transport is None:
            raise paramiko.SSHException("the connection ended at once")
        return transport

    def _connect(self) -> paramiko.SSHClient:
        at = self._address
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        if at.known_hosts:
            client.load_host_keys(str(Path(at.known_hosts).expanduser()))
        else:
            client.load_system_host_keys()
        try:
            client.connect(
                at.host,
                at.port,
                username=at.user or getpass.getuser(),
                key_filename=str(Path(at.key_file).expanduser()) if at.key_file else None,
                allow_agent=not at.key_file,
                look_for_keys=not at.key_file,
                timeout=_CONNECT_SECONDS,
                banner_timeout=_CONNECT_SECONDS,
                auth_timeout=_CONNECT_SECONDS,
                sock=self._through_proxy(),
            )
        except BaseException:
            client.close()
            raise
        return client

    def _through_proxy(self) -> socket.socket | None:
        """One end of a socket pair whose other end is the proxy command's standard input.

        Also output.
        """
        at = self._address
        if not at.proxy_command:
            return None
        words = [
            word.replace("%h", at.host).replace("%p", str(at.port)).replace("%r", at.user)
            for word in shlex.split(at.proxy_command)
        ]
        ours, theirs = socket.socketpair()
        with theirs:
            self._proxy = subprocess.Popen(
                words, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
            )
        return ours

    def _no_way(self, error: Exception) -> HypervisorError:
        text = str(error) or type(error).__name__
        return HypervisorError(
            words(
                "No SSH connection to {host} ({address}): {reason}.",
                host=self._name,
                address=str(self._address),
                reason=text.rstrip("."),
            ),
            _advice(error),
        )


@contextmanager
def _told_as_broken(transport: paramiko.Transport) -> Iterator[None]:
    """Tell a connection that breaks as that, in whatever step it is noticed.

    Raises:
        paramiko.SSHException: it broke.
    """
    try:
        yield
    except TimeoutError:
        raise
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.join(_END_SECONDS)
        if transport.is_active():
            raise  # the server refused
        raise paramiko.SSHException("the connection broke") from error


def _advice(error: Exception) -> Message:
    if isinstance(error, paramiko.BadHostKeyException):
        return words(
            "The host key differs from the known one. Find out why before you trust the new key."
        )
    if isinstance(error, paramiko.AuthenticationException):
        return words(
            "Add the public key of the bot to `authorized_keys` of that user, or "
            "correct `ssh` of the host."
        )
    if "known_hosts" in str(error):
        return words(
            "Add its key after checking it: `ssh-keyscan -t ed25519 HOST >> ~/.ssh/known_hosts`."
        )
    return words("Check that sshd runs there, and `ssh` of the host in the configuration.")


def _drain(channel: paramiko.Channel, until: float) -> tuple[str, str]:
    """Everything the program says until it ends.

    Raises:
        TimeoutError: it has not ended by ``until``, in seconds of ``time.monotonic()``.
        paramiko.SSHException: the connection broke before.
    """
    out, err = bytearray(), bytearray()
    while not (channel.exit_status_ready() and (channel.eof_received or channel.closed)):
        if time.monotonic() > until:
            raise TimeoutError
        if not _take(channel, out, err):
            channel.status_event.wait(0.005)
    while _take(channel, out, err):
        pass
    if not channel.eof_received:
        raise paramiko.SSHException("the connection broke")
    return out.decode(errors="replace"), err.decode(errors="replace")


def _take(channel: paramiko.Channel, out: bytearray, err: bytearray) -> bool:
    """Move what has arrived; whether there was anything."""
    taken = False
    if channel.recv_ready():
        chunk = channel.recv(_CHUNK)
        out += chunk[: max(0, _MOST_OUTPUT - len(out))]
        taken = bool(chunk)
    if channel.recv_stderr_ready():
        chunk = channel.recv_stderr(_CHUNK)
        err += chunk[: max(0, _MOST_OUTPUT - len(err))]
        taken = taken or bool(chunk)
    return taken
