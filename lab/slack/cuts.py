"""Break a Socket Mode connection while the app acknowledges: before the frame, or in its middle."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Literal

READ = b"read so far"
"""A ping with this text behind a payload: its pong says that the app has read the payload."""
_TEXT, _PONG = 0x1, 0xA
_SHORT, _LONG = 125, 126
_RESET = struct.pack("ii", 1, 0)


def break_off(transport: asyncio.Transport) -> None:
    """Reset the connection, as a network does that loses it: what is under way is lost."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class Cutter(asyncio.Protocol):
    """Hand on what the app sends, up to the place of the cut; then break the connection."""

    def __init__(self, transport: asyncio.Transport, at: Literal["before", "middle"]) -> None:
        self._transport = transport
        self._inner: asyncio.Protocol = transport.get_protocol()  # type: ignore[assignment] # aiohttp's
        self._at = at

    def data_received(self, data: bytes) -> None:
        """Pass it on, or what comes before the cut."""
        place = place_of_cut(data, self._at)
        self._inner.data_received(data if place is None else data[:place])
        if place is not None:
            break_off(self._transport)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()


def place_of_cut(data: bytes, at: Literal["before", "middle"]) -> int | None:
    """Answer how much to take of what an app sent at once; None: all, and the cut is yet to come.

    "middle": half of the first text frame. "before": none of it; nor of the pong to ``READ``.
    """
    for opcode, begin, end, text in _frames(data):
        if opcode == _TEXT:
            return begin if at == "before" else (begin + end) // 2
        if at == "before" and opcode == _PONG and text == READ:
            return begin
    return None


def _frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Frames as (opcode, begin, end, text); an app's are masked and whole."""
    at = 0
    while at + 2 <= len(data):
        length, head = data[at + 1] & 0x7F, 2
        if length > _SHORT:
            wide = 2 if length == _LONG else 8
            length, head = int.from_bytes(data[at + 2 : at + 2 + wide], "big"), 2 + wide
        mask, text = data[at + head : at + head + 4], at + head + 4
        end = min(text + length, len(data))
        plain = bytes(each ^ mask[n % 4] for n, each in enumerate(data[text:end]))
        yield data[at] & 0x0F, at, end, plain
        at = end
