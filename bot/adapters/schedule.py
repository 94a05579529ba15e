"""Times at which something is to be done, by APScheduler.

Kept in memory, declared anew at each start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.domain.errors import SettingsError, UnfitError
from bot.domain.message import words

log = structlog.get_logger()

# Seconds: a digest that is this late is still worth reading; later ones are reported as missed
_GRACE = 3600
_THREADS = 4  # a sweep that waits for hosts must not hold up reports and reminders
_LOOK = 1.0  # seconds between two looks at the clock
_JUMP = 2.0  # seconds by which a clock is set that is not merely slewed


class Schedule:
    """Runs functions now and then, on threads of its own.

    A clock that was set back delays nothing that is called every so often.

    A run that is still under way is never joined by a second one; several that were missed become
    one. A function that raises is logged, and called again at its next time.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._apart = wall() - time.monotonic()  # the two clocks
        self._ending = threading.Event()
        self._jumps = threading.Thread(target=self._watch_clock, name="clock", daemon=True)
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(_THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": _GRACE},
            timezone=ZoneInfo("UTC"),
        )
        self._scheduler.add_listener(
            _report, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )

    def every(self, name: str, pause: timedelta, call: Callable[[], None]) -> None:
        """Call now and then; the first time one ``pause`` after the start.

        Raises:
            SettingsError: no pause at all, or the name is taken.
        """
        if pause <= timedelta(0):
            raise SettingsError(
                words("“{name}” cannot run every {time}.", name=name, time=pause),
                words("Set a time above zero."),
            )
        self._add(
            name, IntervalTrigger(seconds=pause.total_seconds(), timezone=ZoneInfo("UTC")), call
        )

    def cron(self, name: str, line: str, zone: str, call: Callable[[datetime], None]) -> None:
        """Call with the slot at the times of a cron line.

        The slot is the time it was due (UTC), the same on every replica however late it runs:
        ``name:slot`` claimed from the store makes one digest of many. Of several missed slots the
        newest is called.

        Args:
            name: unique.
            line: five fields: minute, hour, day, month, weekday (0 or sun is Sunday). Where both
                day and weekday are restricted, both must hold.
            zone: the IANA time zone in which the line is meant.
            call: takes the slot.

        Raises:
            SettingsError: the line or the zone cannot be read, or the name is taken.
        """
        trigger = _cron(name, line, zone)
        self._add(name, trigger, lambda: call(_slot(trigger, datetime.now(tz=ZoneInfo("UTC")))))

    @staticmethod
    def last_due(name: str, line: str, zone: str, reach: timedelta) -> datetime | None:
        """The newest slot (UTC) of a cron line within ``reach`` before now.

        None when there was none.

        Raises:
            SettingsError: the line or the zone cannot be read.
        """
        now = datetime.now(tz=ZoneInfo("UTC"))
        slot = _newest(_cron(name, line, zone), now - reach, now)
        return None if slot is None else slot.astimezone(ZoneInfo("UTC"))

    def start(self) -> None:
        """Begin; jobs may still be added."""
        # What it would log of failed and missed runs is reported below, once, with names.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._scheduler.start()
        self._jumps.start()

    def stop(self) -> None:
        """Call nothing any more, and wait for what is being called."""
        self._ending.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
            self._jumps.join()

    def _watch_clock(self) -> None:
        """Call at once what is called every so often, when the clock has jumped.

        APScheduler keeps the next time on the wall's clock: set back by an hour, it would wait that
        hour, and with it every vote, expiry and operation with a time.
        """
        while not self._ending.wait(_LOOK):
            now = self._wall() - time.monotonic()
            if abs(now - self._apart) > _JUMP:
                log.warning("the clock jumped", seconds=round(now - self._apart, 1))
                for job in self._scheduler.get_jobs():
                    if isinstance(job.trigger, IntervalTrigger):
                        job.modify(next_run_time=datetime.now(tz=ZoneInfo("UTC")))
            self._apart = now

    def _add(self, name: str, trigger: object, call: Callable[[], None]) -> None:
        if self._scheduler.get_job(name) is not None:
            raise SettingsError(
                words("Two schedules are called “{name}”.", name=name), words("Rename one of them.")
            )
        self._scheduler.add_job(call, trigger, id=name, name=name)


# APScheduler counts weekdays from Monday = 0; a cron line, and everybody who writes one, from
# Sunday = 0 (and 7).
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _cron(name: str, line: str, zone: str) -> CronTrigger:
    fields = line.split()
    advice = words("Write five fields, for example `0 9 * * mon-fri` (9:00 on working days).")
    if len(fields) != 5:
        raise SettingsError(
            words("“{line}” of “{name}” is not a cron line.", line=line, name=name), advice
        )
    minute, hour, day, month, weekday = fields
    try:
        return CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=_weekdays(weekday),
            timezone=ZoneInfo(zone),
        )
    except ZoneInfoNotFoundError as error:
        raise SettingsError(
            words("There is no time zone “{zone}”.", zone=zone),
            words("Write for example Europe/Lisbon or UTC."),
        ) from error
    except ValueError as error:
        raise SettingsError(
            words(
                "“{line}” of “{name}” is not a cron line: {reason}.",
                line=line,
                name=name,
                reason=error.text if isinstance(error, UnfitError) else str(error),
            ),
            advice,
        ) from error


def _weekdays(field: str) -> str:
    """A cron line's weekday field as names: ``1-5`` and ``mon-fri`` are ``mon,tue,wed,thu,fri``.

    Raises:
        ValueError: no such day.
    """
    return (
        "*" if field == "*" else ",".join(day for part in field.split(",") for day in _part(part))
    )


def _part(part: str) -> tuple[str, ...]:
    days, _, step = part.lower().partition("/")
    if days == "*":
        return _WEEKDAYS[0 : 7 : int(step or 1)]
    first, _, last = days.partition("-")
    start = _weekday(first)
    end = _weekday(last or first)
    if end < start:
        end += 7 * (end == 0)  # sat-sun
    if end < start:
        raise UnfitError(words("“{part}” runs backwards; weekdays run from sun to sat", part=part))
    return _WEEKDAYS[start : end + 1 : int(step or 1)]


def _weekday(day: str) -> int:
    if day in _WEEKDAYS:
        return _WEEKDAYS.index(day)
    if day.isdigit() and int(day) < len(_WEEKDAYS):
        return int(day)
    raise UnfitError(words("“{day}” is not a weekday; write sun to sat, or 0 to 7", day=day))


def _slot(trigger: CronTrigger, now: datetime) -> datetime:
    """The newest time the trigger was due, within the grace; ``now`` when there is none."""
    # Slots are a minute apart; a clock set back by a moment since the wake-up must not name the one
    # before.
    slot = _newest(trigger, now - timedelta(seconds=_GRACE + 60), now + timedelta(seconds=2))
    return (slot or now).astimezone(ZoneInfo("UTC"))


def _newest(trigger: CronTrigger, since: datetime, until: datetime) -> datetime | None:
    slot, due = None, trigger.get_next_fire_time(None, since)
    while due is not None and due <= until:
        slot, due = due, trigger.get_next_fire_time(due, due + timedelta(microseconds=1))
    return slot


def _report(event: JobEvent) -> None:
    if event.code == EVENT_JOB_ERROR:
        log.error(
            "scheduled run failed",
            name=event.job_id,
            error=repr(event.exception),
            traceback=event.traceback,
        )
    elif event.code == EVENT_JOB_MISSED:
        log.warning(
            "scheduled run missed", name=event.job_id, due=event.scheduled_run_time.isoformat()
        )
    else:
        log.warning("scheduled run left out, the last one is still under way", name=event.job_id)
