"""The protocol of the bot's socket: one call a connection, JSON a line.

The caller sends one line and reads lines until the last one:

    → {"v": 1, "method": "do", "params": {"line": "hosts"}, "locale": "pt_BR", "token": "…"}
    ← {"card": {…}, "data": {…}}          any number of these; ``card`` is ``codec.data`` of a Card
    ← {"result": {…}}                     the last line, or
    ← {"error": {"code": "…", "text": "…", "advice": "…"}}

``locale`` and ``token`` may be left out. Who calls is what the kernel says of the peer
(``SO_PEERCRED``), mapped to a person by ``[people]``; with a ``token`` it is the script of
``[scripts]`` whose token it is. Nothing in the call says who somebody is, and an unknown key is
refused. The first line comes within ``READ`` seconds and has at most ``LINE`` bytes.

Methods (``bot.flow.commands.terminal``), with their params:

``do``
    ``line``: a command as in chat, without the slash. ``key``: a name that makes a repetition the
    same request. Shows the answer. Result: ``{"outcome": "done" | "refused", "operation": {…} |
    null}``; the operation is the one that it proposed or decided on.
``follow``
    ``operation``: an id. ``timeout``: seconds, at most a day. Shows its card whenever it changes,
    with the operation as data. Result: ``{"outcome": …, "operation": {…}}`` with the outcome
    ``done``, ``denied`` (also withdrawn), ``failed`` (also stale, cancelled) or ``timed-out`` (also
    expired).
``break-glass``
    ``operation``, ``reason``, ``confirm``: the sentence that the result of a first call names.
    Result: ``{"outcome": "done" | "refused", "operation": {…}, "sentence": "…"}``. People only.
``status``
    Result: ``{"chat": {"state": "well" | "away", "since": …, "why": …, "waiting": N}, …}``.

An operation is ``{"id", "version", "state", "over", "title", "command", "requested_by", "votes",
"votes_needed", "plan_hash", "outcome"}``. More methods are added by handing them to
``TerminalServer``; ``bot.adapters.terminal.client`` calls any of them by its name.
"""

from __future__ import annotations

import json
from typing import Any

from bot.domain.errors import DroverError
from bot.domain.message import words
from bot.domain.words import seemly

VERSION = 1
LINE = 64 * 1024  # bytes of a call
ANSWER = 4 * 1024 * 1024  # bytes of a line of an answer
READ = 5.0  # seconds for the whole call to arrive
WRITE = 10.0  # seconds for a line of an answer to be taken
KEYS = frozenset({"v", "method", "params", "locale", "token"})

Json = dict[str, Any]


class ProtocolError(DroverError):
    """What came over the socket is no call, or no answer."""

    code = "protocol"


def line_of(data: Json) -> bytes:
    """One line of the protocol; bytes of the command line that are no UTF-8 become ``?``."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def call_of(line: bytes) -> Json:
    """A call, with every key that it may have; its texts as they would come from the chat.

    Raises:
        ProtocolError: it is none, of another version, or has a key that there is not.
    """
    data = json_of(line)
    unknown = sorted(data.keys() - KEYS)
    if unknown:
        raise ProtocolError(words("A call has no “{key}”.", key=unknown[0][:40]))
    if data.get("v") != VERSION:
        raise ProtocolError(
            words("This bot speaks version {version} of the protocol.", version=VERSION),
            words("Use the `drover` of the same version as the bot."),
        )
    call = {"params": {}, "locale": "", "token": "", "method": "", **data}
    texts = all(isinstance(call[name], str) for name in ("method", "locale", "token"))
    if not (texts and isinstance(call["params"], dict)):
        raise ProtocolError(words("A part of the call is of the wrong type."))
    return {**call, "params": _seemly(call["params"])}


def _seemly(value: object) -> object:
    """JSON whose texts hold nothing that no database keeps, and nothing that cannot be seen."""
    if isinstance(value, str):
        return seemly(value)
    if isinstance(value, dict):
        return {key: _seemly(each) for key, each in value.items()}
    return [_seemly(each) for each in value] if isinstance(value, list) else value


def json_of(line: bytes) -> Json:
    """A line as an object.

    Raises:
        ProtocolError: it is none.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(words("This is not a line of JSON.")) from error
    if not isinstance(data, dict):
        raise ProtocolError(words("A call is a JSON object."))
    return data
