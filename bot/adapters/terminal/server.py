"""The bot's socket: takes calls, knows who calls, and answers each on a thread of its own.

A caller that sends nothing, reads nothing or goes away costs its own thread, for seconds.
"""

from __future__ import annotations

import contextlib
import grp
import os
import select
import socket
import stat
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from bot.adapters.language import Languages
from bot.adapters.terminal import protocol
from bot.adapters.terminal.protocol import Json, ProtocolError
from bot.domain import codec
from bot.domain.card import Card, Picture, Section
from bot.domain.errors import DroverError, SettingsError
from bot.domain.message import Message, words
from bot.ports.terminal import Caller, Data, Method

log = structlog.get_logger()

Identify = Callable[[int, str], Caller]
"""Who a user id of this machine is, or a token's script; raises ``NotAllowedError`` for nobody."""

MOST, MOST_EACH = 64, 16  # calls at a time, of all and of one user of this machine
LONGEST_PATH = 107  # bytes of the path of a unix socket
BUSY = words("Too many calls are open.")


class TerminalServer:
    """Serves the socket.

    Args:
        path: of the socket. What a bot that was killed left there is replaced.
        identify: who calls.
        methods: what may be called, by name.
        languages: what answers can be shown in.
        group: whose members may connect beside the bot's own user; '': nobody.
    """

    def __init__(
        self,
        path: Path,
        identify: Identify,
        methods: Mapping[str, Method],
        languages: Languages,
        *,
        group: str = "",
    ) -> None:
        self._path, self._identify, self._methods = path, identify, dict(methods)
        self._languages, self._group = languages, group
        self._listener: socket.socket | None = None
        # Calls end on threads of their own while others are admitted
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()

    def start(self) -> None:
        """Listen, and return.

        Raises:
            SettingsError: there is no such group, another bot listens there, or the path cannot be
                used.
        """
        gid = _group_id(self._group)
        made = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        if max(len(os.fsencode(made)), len(os.fsencode(self._path))) > LONGEST_PATH:
            raise SettingsError(
                words("The path {path} is too long for a socket.", path=str(self._path)),
                words("Set `terminal.socket` to a shorter one."),
            )
        try:
            _refuse_second(self._path)
            self._listener = _listen(made, gid)
            made.rename(self._path)  # never there with other rights
        except OSError as error:
            raise SettingsError(
                words(
                    "Cannot listen at {path}: {reason}.",
                    path=str(self._path),
                    reason=str(error.strerror or error),
                ),
                words("Correct `terminal.socket`, or give the user of the bot the right."),
            ) from error
        threading.Thread(target=self._accept, name="terminal", daemon=True).start()

    def stop(self) -> None:
        """Take no more calls; what is open ends with the process."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - of the thread that start made
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                uid = peer_user(caller)
            except OSError:
                caller.close()
                continue
            threading.Thread(
                target=self._serve, args=(caller, uid), name="terminal-call", daemon=True
            ).start()

    def _serve(self, caller: socket.socket, uid: int) -> None:
        with caller:
            call = _Call(caller, self._languages)
            if not self._admit(uid):
                call.fail(DroverError(BUSY, words("Try again in a moment."), code="busy"))
                return
            try:
                self._answer(call, uid)
            except ConnectionError as error:
                log.info("a caller is gone", user=uid, error=str(error))
            finally:
                with self._lock:
                    self._open[uid] -= 1

    def _admit(self, uid: int) -> bool:
        with self._lock:
            if self._open.total() >= MOST or self._open[uid] >= MOST_EACH:
                return False
            self._open[uid] += 1
            return True

    def _answer(self, call: _Call, uid: int) -> None:
        try:
            asked = protocol.call_of(call.read())
            call.locale = asked["locale"]
            caller = replace(self._identify(uid, asked["token"]), locale=asked["locale"])
            call.end(self._method(asked["method"])(caller, asked["params"], call))
        except DroverError as error:
            log.info("a call was refused", user=uid, code=error.code, error=str(error))
            call.fail(error)
        except ConnectionError:
            raise
        except Exception as error:  # the thread ends here; the caller is told, the log has it whole
            log.exception("a call failed", user=uid)
            call.fail(
                DroverError(
                    words("Something unforeseen went wrong: {error}.", error=str(error)),
                    words("The bot's log has the details."),
                )
            )

    def _method(self, name: str) -> Method:
        if name not in self._methods:
            raise ProtocolError(words("There is no method “{name}”.", name=name[:40]))
        return self._methods[name]


class _Call:
    """``bot.ports.terminal.Connection``: one caller's socket."""

    def __init__(self, caller: socket.socket, languages: Languages) -> None:
        self._caller, self._languages = caller, languages
        # A line of progress must not stand inside the answer
        self._sending = threading.Lock()
        self.locale = ""

    def read(self) -> bytes:
        """The call's line.

        Raises:
            ConnectionError: it did not come in time, or not whole.
            ProtocolError: it is too long.
        """
        deadline, read = time.monotonic() + protocol.READ, b""
        while not read.endswith(b"\n"):
            self._caller.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                part = self._caller.recv(65536)
            except TimeoutError as error:
                why = "no call came in time"  # no message: of the log
                raise ConnectionAbortedError(why) from error
            if not part:
                why = "it hung up before its call was whole"  # no message: of the log
                raise ConnectionResetError(why)
            read += part
            if len(read) > protocol.LINE:
                raise ProtocolError(words("The call is too long."))
        return read

    def show(self, card: Card, data: Data | None = None) -> None:
        """Show a card in the caller's language."""
        told = tuple(
            Section(each.alt) if isinstance(each, Picture) else each for each in card.elements
        )
        shown = self._languages.at_terminal(self.locale).translate(replace(card, elements=told))
        self._send({"card": codec.data(shown), **({"data": dict(data)} if data else {})})

    def check(self) -> None:
        """Raise when the caller has hung up."""
        readable, _, _ = select.select([self._caller], [], [], 0)
        if readable and not self._caller.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            raise ConnectionResetError("it hung up")  # no message: of the log

    def end(self, result: Data) -> None:
        """Send the result, the last line."""
        self._send({"result": dict(result)})

    def fail(self, error: DroverError) -> None:
        """Send an error, the last line; who is gone is not told."""
        said = {
            "code": error.code,
            "text": self._translate(error.text),
            "advice": self._translate(error.advice),
        }
        with contextlib.suppress(ConnectionError):
            self._send({"error": said})

    def _translate(self, message: Message) -> str:
        return str(self._languages.at_terminal(self.locale).translate(message))

    def _send(self, data: Json) -> None:
        with self._sending:
            self._caller.settimeout(protocol.WRITE)
            try:
                self._caller.sendall(protocol.line_of(data))
            except TimeoutError as error:
                why = "it does not read its answer"  # no message: of the log
                raise ConnectionAbortedError(why) from error


def peer_user(caller: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel saw it connect."""
    form = struct.Struct("3i")
    _, uid, _ = form.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size))
    return int(uid)


def _group_id(name: str) -> int:
    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise SettingsError(
            words("There is no group {name} on this machine.", name=name),
            words("Correct `terminal.group`."),
        ) from error


def _refuse_second(path: Path) -> None:
    """Raise when somebody listens there, or when it is no socket."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(0, "something else has this name")  # no message: of the log
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        with contextlib.suppress(ConnectionRefusedError):  # of a bot that was killed
            probe.connect(str(path))
            raise FileExistsError(0, "another process listens there")  # no message: of the log


def _listen(path: Path, gid: int) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        if gid >= 0:
            os.chown(path, -1, gid)
            path.chmod(0o660)
        listener.listen(MOST)
    except OSError:
        listener.close()
        raise
    return listener
