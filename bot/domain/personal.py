"""What one person wants of Drover: which direct messages, when none, a digest, a language; pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class About(StrEnum):
    """What a direct message is about; each kind can be switched off."""

    OPERATIONS = "operations"
    ALERTS = "alerts"
    DIGEST = "digest"


_QUIET = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*[-–]\s*([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Personal:
    """One person's settings.

    ``operations``: told how what one asked for ends, and when it waits for one. ``alerts``: told of
    alerts of one's own VMs. ``digest``: a daily digest of one's own VMs. ``quiet``: hours without
    direct messages, ``22:00-07:00`` in ``zone`` (IANA; '': that of the configuration), '' for none.
    ``language``: a locale, '' for the one chosen in the chat.
    """

    operations: bool = True
    alerts: bool = True
    digest: bool = False
    quiet: str = ""
    zone: str = ""
    language: str = ""

    def wants(self, about: About) -> bool:
        """Whether direct messages of this kind are wanted at all."""
        return bool(getattr(self, about.value))

    def quiet_until(self, now: datetime, zone: str = "UTC") -> datetime | None:
        """When the quiet hours end that it is now; None when it is none."""
        found = _QUIET.fullmatch(self.quiet)
        if found is None:
            return None
        there = now.astimezone(ZoneInfo(self.zone or zone))
        start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        today = there.date()
        for day in (today - timedelta(days=1), today):
            begins = datetime.combine(day, start, there.tzinfo)
            over = day if start < end else day + timedelta(days=1)
            ends = datetime.combine(over, end, there.tzinfo)
            if begins <= there < ends:
                return ends.astimezone(now.tzinfo)
        return None

    def quiet_seconds(self, now: datetime, zone: str = "UTC") -> float:
        """How many seconds the quiet hours last that it is now; 0 when it is none."""
        until = self.quiet_until(now, zone)
        return 0.0 if until is None else (until - now).total_seconds()


def quiet_hours(text: str) -> str | None:
    """``22:00-07:00`` of what somebody typed; '' of ``off``; None of what is neither."""
    said = text.strip().lower()
    if said in {"", "off", "none", "no"}:
        return ""
    found = _QUIET.fullmatch(said)
    if found is None or (found[1], found[2]) == (found[3], found[4]):
        return None
    return f"{int(found[1]):02}:{found[2]}-{int(found[3]):02}:{found[4]}"


def is_zone(name: str) -> bool:
    """Whether a time zone of this name is known."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def read(text: str) -> Personal:
    """Settings as they were stored; what is not known, or not there, is as by default."""
    given = json.loads(text) if text else {}
    known = {each.name for each in fields(Personal)}
    return Personal(**{name: value for name, value in given.items() if name in known})


def dump(settings: Personal) -> str:
    """Settings to store; '' when all are as by default."""
    return "" if settings == Personal() else json.dumps(asdict(settings), sort_keys=True)
