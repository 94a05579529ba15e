"""Pure: what helps a migration that does not converge, by policy, and when it is time for that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.domain.cluster import Job
from bot.domain.steps import MigrateVm, Policy
from plugins.migrate.forecast import Patience
from plugins.migrate.settings import MigrateSettings


class Rung(StrEnum):
    """What to do now with a migration that is copying."""

    WAIT = "wait"
    RAISE_DOWNTIME = "raise downtime"
    PAUSE = "pause"
    POSTCOPY = "post-copy"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a migration has been going. Bytes and seconds.

    A pass's ``peak`` is what remained at its start. The low-water mark ``best`` is the lowest peak
    of the passes
    before, not the lowest ``remaining``: that is near zero at every pass's end, however hopeless
    the migration.
    """

    iteration: int = -1
    peak: float = math.inf
    best: float = math.inf
    lowest: float = math.inf
    gained_at: float = 0.0
    raised: int = 0  # how many downtime steps were taken
    acted_at: float = -math.inf  # when the last rung was taken
    paused: bool = False
    switched: bool = False

    def after(self, job: Job, now: float) -> Pace:
        """The pace with one more look."""
        if job.iteration != self.iteration:
            best = min(self.best, self.peak)
            fresh = replace(
                self, iteration=job.iteration, peak=job.remaining, best=best, lowest=job.remaining
            )
            return replace(fresh, gained_at=now) if job.remaining < best else fresh
        peak = max(self.peak, job.remaining)
        gained = job.remaining < self.lowest and peak < self.best
        return replace(
            self,
            peak=peak,
            lowest=min(self.lowest, job.remaining),
            gained_at=now if gained else self.gained_at,
        )

    def stalled(self, waits: Patience, now: float) -> bool:
        """Whether nothing was gained for too long."""
        return now - self.gained_at > waits.stall


def next_rung(
    settings: MigrateSettings, step: MigrateVm, pace: Pace, waits: Patience, now: float
) -> Rung:
    """The policy's means at this moment; SAFE has none, FAST raises the downtime and then pauses, POSTCOPY switches."""
    if pace.switched or not (now > waits.limit or pace.stalled(waits, now)):
        return Rung.WAIT
    since = now - pace.acted_at
    if step.policy is Policy.SAFE:
        return Rung.GIVE_UP
    if step.policy is Policy.POSTCOPY:
        return Rung.POSTCOPY
    if pace.paused:
        return Rung.GIVE_UP if since > settings.paused_seconds else Rung.WAIT
    if since <= settings.rung_seconds:
        return Rung.WAIT
    return Rung.RAISE_DOWNTIME if pace.raised < len(settings.downtime_steps_ms) else Rung.PAUSE
