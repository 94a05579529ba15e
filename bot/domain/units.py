"""Sizes and durations as people type them."""

from __future__ import annotations

import re

from bot.domain.errors import UnitError
from bot.domain.message import words

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def size(text: str, unit: str = "") -> int:
    """Bytes of a size such as ``4G``, ``512MiB`` or ``1.5T`` (powers of 1024.

    ``unit`` when none is written).

    Raises:
        UnitError: not a size.
    """
    match = _SIZE.match(text)
    if not match:
        raise UnitError(
            words("“{text}” is not a size; write for example 512M, 4G or 1.5T", text=text)
        )
    return int(float(match[1]) * 1024 ** _POWERS[(match[2] or unit).upper()])


def seconds_of(text: str) -> int:
    """Seconds of a duration such as ``90s``, ``24h`` or ``1d12h``.

    Raises:
        UnitError: not a duration.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise UnitError(
            words("“{text}” is not a duration; write for example 90s, 15m, 24h or 2d", text=text)
        )
    return sum(int(count) * _SECONDS[unit.lower()] for count, unit in parts)
