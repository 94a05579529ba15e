"""The other end of the bot's socket; ``protocol.py`` says what goes over it.

for said in call(path, "follow", {"operation": "op-17"}):
    ...            # {"card": …, "data": …}, then {"result": …}

result(path, "do", {"line": "hosts"})   # only the result
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from bot.adapters.terminal import protocol
from bot.adapters.terminal.protocol import Json, ProtocolError
from bot.domain.errors import DroverError
from bot.domain.message import words

CONNECT = 5.0  # seconds


class NoBotError(DroverError):
    """No bot answers at the socket, or it ended in the middle of the call."""

    code = "no-bot"


class RemoteError(DroverError):
    """What the bot says instead of a result.

    ``code``, text and advice are its own, in the caller's language.
    """

    code = "remote"


def call(
    path: Path,
    method: str,
    params: Mapping[str, object],
    *,
    token: str = "",
    locale: str = "",
    silence: float | None = None,
) -> Iterator[Json]:
    """Call a method; what it shows and, last, ``{"result": …}``.

    Args:
        path: of the socket.
        method: its name.
        params: as it takes them.
        token: of a script; '': the caller is the user of this process.
        locale: of who reads.
        silence: seconds without a line after which it is given up; None: never.

    Raises:
        NoBotError: nobody answers.
        ProtocolError: what answers is no bot of this version.
        RemoteError: the bot refused or failed.
    """
    asked = {
        "v": protocol.VERSION,
        "method": method,
        "params": dict(params),
        "locale": locale,
        "token": token,
    }
    with contextlib.closing(_connect(path)) as link:
        try:
            # A bot that is busy says so and hangs up before it reads the call
            with contextlib.suppress(ConnectionError):
                link.sendall(protocol.line_of(asked))
            link.settimeout(silence)
            with link.makefile("rb") as answer:
                while line := answer.readline(protocol.ANSWER):
                    said = protocol.json_of(line)
                    if fault := said.get("error"):
                        raise RemoteError(fault["text"], fault["advice"], code=fault["code"])
                    yield said
                    if "result" in said:
                        return
        except OSError as error:
            raise _end_error(str(error)) from error
    raise _end_error("it hung up")  # no message: of the log


def result(
    path: Path, method: str, params: Mapping[str, object], *, token: str = "", locale: str = ""
) -> Json:
    """Call a method for its result alone; raises as ``call`` does."""
    for said in call(path, method, params, token=token, locale=locale):
        if "result" in said:
            found: Json = said["result"]
            return found
    raise ProtocolError(words("The bot ended its answer without a result."))


def _connect(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(CONNECT)
    try:
        link.connect(str(path))
    except OSError as error:
        link.close()
        denied = isinstance(error, PermissionError)
        advice = (
            words("Ask the bot's administrator to put you into the group of the socket.")
            if denied
            else words("Start it with `drover run`, or see its log.")
        )
        raise NoBotError(
            words(
                "No bot answers at {path}: {reason}.",
                path=str(path),
                reason=str(error.strerror or error),
            ),
            advice,
        ) from error
    return link


def _end_error(why: str) -> NoBotError:
    return NoBotError(
        words("The bot ended before it answered: {reason}.", reason=why),
        words("See `drover ops` when it runs again: what was stored goes on."),
    )
