"""Words in and out: cleaning what clients send, finding the nearest name, sizes and durations."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable

# What Slack's and phones' autocorrection makes of plain ASCII (docs: «smart quotes, NBSP and —force»).
_AUTOCORRECTED = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " "})
_DASHES = re.compile(r"(?:(?<=\s)|^)(?:—|––|–)(?=\w)")
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def straightened(text: str) -> str:
    """``text`` with autocorrected quotes, spaces and dashes turned back: ``—force`` is ``--force``."""
    return _DASHES.sub("--", text.translate(_AUTOCORRECTED)).strip()


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A did-you-mean sentence for the known word nearest to ``word``, or ``otherwise``."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean “{close[0]}”?" if close else otherwise


def size(text: str, unit: str = "") -> int:
    """Bytes of a size such as ``4G``, ``512MiB`` or ``1.5T`` (powers of 1024; ``unit`` when none is written).

    Raises:
        ValueError: not a size.
    """
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"“{text}” is not a size; write for example 512M, 4G or 1.5T")
    return int(float(match[1]) * 1024 ** _POWERS[(match[2] or unit).upper()])


def bytes_text(count: float) -> str:
    """A size for people, powers of 1024: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def seconds_of(text: str) -> int:
    """Seconds of a duration such as ``90s``, ``24h`` or ``1d12h``.

    Raises:
        ValueError: not a duration.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"“{text}” is not a duration; write for example 90s, 15m, 24h or 2d")
    return sum(int(count) * _SECONDS[unit.lower()] for count, unit in parts)


def duration_text(seconds: float) -> str:
    """A duration for people: ``280 ms``, ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    steps = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (big, big_name), (small, small_name) in itertools.pairwise(steps):
        if whole >= big:
            rest = whole % big // small
            return f"{whole // big} {big_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 VM``, ``3 VMs``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
