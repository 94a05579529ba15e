"""Pure: what helps a migration that does not converge, by policy, and when it is time for that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.domain.cluster import Job
from bot.domain.steps import MigrateVm, MigrationPolicy
from plugins.migrate.forecast import Patience
from plugins.migrate.settings import MigrateSettings


class Measure(StrEnum):
    """What to do now with a migration that is copying."""

    WAIT = "wait"
    RAISE_DOWNTIME = "raise downtime"
    PAUSE = "pause"
    POSTCOPY = "post-copy"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Convergence:
    """How a migration has been going. Bytes and seconds.

    A pass's ``peak`` is what remained at its start. ``best`` is the lowest peak of the passes
    before, not the lowest ``remaining``: that is near zero at every pass's end, however hopeless
    the migration.
    """

    iteration: int = -1
    peak: float = math.inf
    best: float = math.inf
    lowest: float = math.inf
    gained_at: float = 0.0
    raised: int = 0  # how many downtime steps were taken
    acted_at: float = -math.inf  # when the last measure was taken
    paused: bool = False
    switched: bool = False

    def after(self, job: Job, now: float) -> Convergence:
        """What holds after one more look."""
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

    def is_stalled(self, waits: Patience, now: float) -> bool:
        """Check that nothing was gained for too long."""
        return now - self.gained_at > waits.stall


def next_measure(
    settings: MigrateSettings,
    step: MigrateVm,
    convergence: Convergence,
    waits: Patience,
    now: float,
) -> Measure:
    """The policy's measure at this moment.

    SAFE has none, FAST raises the downtime and then pauses, POSTCOPY switches.
    """
    if convergence.switched or not (now > waits.limit or convergence.is_stalled(waits, now)):
        return Measure.WAIT
    since = now - convergence.acted_at
    if step.policy is MigrationPolicy.SAFE:
        return Measure.GIVE_UP
    if step.policy is MigrationPolicy.POSTCOPY:
        return Measure.POSTCOPY
    if convergence.paused:
        return Measure.GIVE_UP if since > settings.paused_seconds else Measure.WAIT
    if since <= settings.rung_seconds:
        return Measure.WAIT
    return (
        Measure.RAISE_DOWNTIME
        if convergence.raised < len(settings.downtime_steps_ms)
        else Measure.PAUSE
    )
