"""Sizes and durations as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bot.domain.errors import UnitError
from bot.domain.message import words

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_MOST_DAYS = 36_500
"""More is a slip of the finger, and from now on or back it ends in no year that there is."""
_LAST_YEAR = 9998  # a later moment has no local time in every zone
_PART = r"(\d+)\s*([a-z]+)"
_DURATION = re.compile(_PART, re.IGNORECASE)
_DURATIONS = re.compile(
    rf"\s*{_PART}(?:(?:\s*,\s*|\s+and\s+|\s+e\s+|\s*){_PART})*\s*", re.IGNORECASE
)
_MOST_DIGITS = 12  # more is a slip of the finger; Python refuses to read thousands
_SECONDS = {
    name: seconds
    for seconds, names in (
        (1, "s sec secs second seconds segundo segundos"),
        (60, "m min mins minute minutes minuto minutos"),
        (3600, "h hr hrs hour hours hora horas"),
        (86_400, "d day days dia dias"),
        (604_800, "w week weeks semana semanas"),
    )
    for name in names.split()
}


def size(text: str, unit: str = "") -> int:
    """Bytes of a size such as ``4G``, ``512MiB`` or ``1.5T`` (powers of 1024.

    ``unit`` when none is written).

    Raises:
        UnitError: not a size.
    """
    match = _SIZE.match(text)
    try:
        if match:
            return int(float(match[1]) * 1024 ** _POWERS[(match[2] or unit).upper()])
    except OverflowError:
        pass  # a number of hundreds of digits
    raise UnitError(words("“{text}” is not a size; write for example 512M, 4G or 1.5T", text=text))


def seconds_of(text: str) -> int:
    """Seconds of a duration such as ``90s``, ``24h``, ``1d12h`` or ``2 hours``.

    The units may be written out, in English or Portuguese.

    Raises:
        UnitError: not a duration.
    """
    parts = [(count, unit.lower()) for count, unit in _DURATION.findall(text)]
    if not _DURATIONS.fullmatch(text) or any(unit not in _SECONDS for _, unit in parts):
        raise UnitError(
            words("“{text}” is not a duration; write for example 90s, 15m, 24h or 2d", text=text)
        )
    if any(len(count) > _MOST_DIGITS for count, _ in parts):
        raise _too_long(text)
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in parts)
    if seconds > _MOST_DAYS * _SECONDS["d"]:
        raise _too_long(text)
    return seconds


def _too_long(text: str) -> UnitError:
    return UnitError(
        words("“{text}” is too long: {days} days at most", text=f"{text:.40}", days=_MOST_DAYS)
    )


def moment_of(text: str) -> datetime | None:
    """The moment of an ISO 8601 text with an offset, such as tags hold it.

    None for anything else: people and programs may have written anything there.
    """
    try:
        found = datetime.fromisoformat(text)
        utc = found.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return found if found.tzinfo is not None and is_sane(utc) else None


def is_sane(moment: datetime) -> bool:
    """Whether a moment (UTC) is one that a clock may show, with a local time in every zone."""
    return 1970 <= moment.year <= _LAST_YEAR
