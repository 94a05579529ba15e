"""When an approved operation may begin: a time, or a maintenance window.

Moments are UTC; people write and configure local time of a zone, with its changes of clocks.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from bot.domain.errors import UsageError
from bot.domain.message import Code, Join, Message, Names, When, words
from bot.domain.policy import Window
from bot.domain.units import seconds_of

REACH = timedelta(days=90)  # later than that nobody remembers what was approved
_WEEK = 8  # days: any window of the week begins within them
_DAYS = {
    **{name: index for index, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))},
    **{name: index for index, name in enumerate(("seg", "ter", "qua", "qui", "sex", "sab", "dom"))},
}
_FULL = frozenset(
    [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "tues",
        "thur",
        "thurs",
        "weds",
        "segunda",
        "terca",
        "quarta",
        "quinta",
        "sexta",
        "sabado",
        "domingo",
        "segunda-feira",
        "terca-feira",
        "quarta-feira",
        "quinta-feira",
        "sexta-feira",
    ]
)
_FROM_TODAY = {"today": 0, "hoje": 0, "tomorrow": 1, "amanha": 1}
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:(?:[:h](?P<minute>\d{2}))|h)?\s*(?P<half>am|pm)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Slot:
    """When an operation may begin: at ``start`` or later, and before ``end`` (both UTC).

    ``window``: the name of the maintenance window it is in; '' for a time of its own.
    """

    start: datetime
    end: datetime
    window: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether the operation may begin now."""
        return self.start <= now < self.end

    @property
    def mark(self) -> str:
        """What a vote is for beside the plan: the two moments, and the window."""
        return f"{self.start.isoformat()} {self.end.isoformat()} {self.window}"


@dataclass(frozen=True, slots=True)
class Timing:
    """What a person wrote of the time.

    ``--at``, ``--in`` or ``--window``; at most one is not ''.
    """

    at: str = ""
    after: str = ""
    window: str = ""

    @property
    def is_set(self) -> bool:
        """Whether any of the three was written."""
        return bool(self.at or self.after or self.window)


def timing_of(text: str) -> Timing:
    """``sat 22:00``, ``in 2h`` (``em 2h``) or ``window NAME`` as three options would say it."""
    first, _, rest = text.strip().partition(" ")
    if first.lower() in {"in", "em"}:
        return Timing(after=rest.strip())
    if first.lower() == "window":
        return Timing(window=rest.strip())
    return Timing(at=text.strip())


def moment(text: str, now: datetime, zone: str) -> datetime:
    """The moment (UTC) that a person means.

    For example by ``sat 22:00``, ``22:00``, ``tomorrow 6:30`` or ``now``.

    A date is written ``2026-11-28 22:00``; with an offset behind it, it is that of no zone. A day
    of the week, or no day, is the next one.

    Raises:
        UsageError: it cannot be read, is over, is too far away, or is no time or two in that zone.
    """
    said = _plain(text)
    if said == "now":
        return now
    try:
        found = _absolute(said) or _local(said, text, now, zone)
    except OverflowError as error:  # the first or last day of all, in another zone
        raise _unreadable(text) from error
    if found <= now:
        raise UsageError(
            words("{at} is over.", at=found), words("Write a later time."), code="time-over"
        )
    if found - now > REACH:
        raise UsageError(
            words("{at} is more than {days} days away.", at=found, days=REACH.days),
            words("Ask again nearer to it."),
            code="time-too-far",
        )
    return found


def later_by(text: str, now: datetime) -> datetime:
    """The moment that is a duration such as ``2h`` from now.

    Raises:
        UsageError: it is none, or too long.
    """
    found = now + timedelta(seconds=min(seconds_of(text), 10 * REACH.total_seconds()))
    if found - now > REACH:
        raise UsageError(
            words("{at} is more than {days} days away.", at=found, days=REACH.days),
            words("Ask again nearer to it."),
            code="time-too-far",
        )
    return found


def next_slot(window: Window, name: str, now: datetime) -> Slot:
    """The rest of the window that is open now, or the next one.

    In a night in which clocks change, only the part that the window covers without a gap.

    Raises:
        UsageError: the window never opens.
    """
    today = now.astimezone(ZoneInfo(window.zone)).date()
    for number in range(-1, 2 * _WEEK):
        found = _occurrence(window, name, today + timedelta(days=number))
        if found is not None and now < found.end:
            start = max(found.start, now)
            return Slot(start, found.end, name)
    raise UsageError(
        words(
            "The maintenance window “{window}” does not open in the next two weeks.", window=name
        ),
        words("Look at `[[windows]]` in the configuration."),
        code="window-never",
    )


def open_slot(window: Window, name: str, now: datetime) -> Slot | None:
    """The whole time of the window that is open now; None when it is closed."""
    today = now.astimezone(ZoneInfo(window.zone)).date()
    found = (_occurrence(window, name, today + timedelta(days=number)) for number in (-1, 0))
    return next((each for each in found if each is not None and each.holds(now)), None)


def _occurrence(window: Window, name: str, day: date) -> Slot | None:
    """The window that begins on a day (local); None when none does."""
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    if window.days and names[day.weekday()] not in window.days:
        return None
    last = day + timedelta(days=window.start >= window.end)
    if window.start == window.end:  # the whole day
        begin, end = datetime.combine(day, time(0)), datetime.combine(last, time(0))
    else:
        begin, end = datetime.combine(day, window.start), datetime.combine(last, window.end)
    first, until = _utc(begin, window.zone)[-1], _utc(end, window.zone)[0]
    return Slot(first, until, name) if first < until else None


def _utc(local: datetime, zone: str) -> tuple[datetime, ...]:
    """The moments of a local time: one; two when clocks go back.

    When they go forward over it, the moment in which they do.
    """
    place = ZoneInfo(zone)
    both = tuple(local.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
    if both[0] == both[1]:
        return both[:1]
    if both[0] < both[1]:
        return both
    late = both[1]  # before the gap; the clocks change within it
    while late.astimezone(place).replace(tzinfo=None) < local:
        late += timedelta(minutes=1)
    return (late,)


def exists(local: datetime, zone: str) -> bool:
    """Whether clocks of the zone ever show this local time."""
    found = _utc(local, zone)[0].astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return found == local


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.strip().lower())
    return " ".join("".join(each for each in letters if not unicodedata.combining(each)).split())


def _absolute(said: str) -> datetime | None:
    """A date and time with an offset, such as ``2026-11-28t22:00z``."""
    try:
        found = datetime.fromisoformat(said.upper())
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


def _local(said: str, text: str, now: datetime, zone: str) -> datetime:
    here = now.astimezone(ZoneInfo(zone))
    head, _, tail = (
        said.replace("t", " ", 1).rpartition(" ") if _is_date(said) else (said.rpartition(" "))
    )
    if tail in {"am", "pm"}:  # 10:00 pm
        head, _, clock = head.rpartition(" ")
        tail = clock + tail
    hour = _clock(tail)
    if hour is None:
        raise _unreadable(text)
    if not head:
        days = [here.date() + timedelta(days=number) for number in range(3)]
    else:
        days = _days(head, here.date())
        if not days:
            raise _unreadable(text)
    candidates = [datetime.combine(day, hour) for day in days]
    local = next((each for each in candidates if each > here.replace(tzinfo=None)), candidates[-1])
    return _only(local, zone)


def _is_date(said: str) -> bool:
    return re.match(r"\d{4}-\d{2}-\d{2}t", said) is not None


def _only(local: datetime, zone: str) -> datetime:
    """The one moment of a local time.

    Raises:
        UsageError: clocks change over it, or show it twice.
    """
    found = _utc(local, zone)
    shown = f"{local:%Y-%m-%d %H:%M}"
    if not exists(local, zone):
        raise UsageError(
            words("{at} does not exist in {zone}: clocks go forward then.", at=shown, zone=zone),
            words("Write another time."),
            code="time-skipped",
        )
    if len(found) > 1:
        both = tuple(
            Code(each.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")) for each in found
        )
        raise UsageError(
            words("{at} comes twice in {zone}: clocks go back then.", at=shown, zone=zone),
            words("Write {times}.", times=Names(both, Join.OR)),
            code="time-twice",
        )
    return found[0]


def _days(head: str, today: date) -> list[date]:
    """The days that a word can mean, the nearest first; empty when it is none."""
    if head in _FROM_TODAY:
        return [today + timedelta(days=_FROM_TODAY[head])]
    if head[:3] in _DAYS and (len(head) == 3 or head in _FULL):
        ahead = (_DAYS[head[:3]] - today.weekday()) % 7
        return [today + timedelta(days=ahead), today + timedelta(days=ahead + 7)]
    try:
        return [date.fromisoformat(head)]
    except ValueError:
        return []


def _clock(text: str) -> time | None:
    """``22:00``, ``22h``, ``22h30``, ``10pm``; a number alone is no time."""
    found = _CLOCK.fullmatch(text)
    if found is None or text.isdigit():
        return None
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if half := found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half == "pm")
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _unreadable(text: str) -> UsageError:
    return UsageError(
        words("“{text}” is not a time.", text=text),
        words(
            'Write for example `--at 22:00`, `--at "sat 22:00"`, `--at "tomorrow 6:30"`, '
            '`--at "2026-11-28 22:00"` or `--in 2h`.'
        ),
        code="not-a-time",
    )


def slot_text(slot: Slot) -> Message:
    """When an operation may begin, as cards say it."""
    if slot.window:
        return words(
            "from {start} until {end}, window “{window}”",
            start=When(slot.start, weekday=True),
            end=When(slot.end, weekday=True),
            window=slot.window,
        )
    return words("{start}", start=When(slot.start, weekday=True))
