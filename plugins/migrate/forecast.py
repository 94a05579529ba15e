"""Pure: how long a migration and the pause of its VM will take, and whether it converges."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.cluster import GIB, MIB
from bot.domain.steps import MigrationPolicy
from plugins.migrate.settings import MigrateSettings

# Seconds; QEMU's default ``downtime-limit``: it stops the VM when the rest fits into it
QEMU_DOWNTIME = 0.3
# Of auto-converge, as FAST asks of QEMU
THROTTLE_FIRST, THROTTLE_STEP, THROTTLE_MOST = 0.40, 0.20, 0.99


@dataclass(frozen=True, slots=True)
class Forecast:
    """The predicted time of a migration, in seconds.

    ``seconds`` in all, ``downtime`` at the end (None: it would not end, or not known),
    ``converges`` by itself.
    """

    seconds: float
    downtime: float | None
    converges: bool | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the policy waits before its next measure, in seconds.

    ``limit`` in all, ``stall`` without progress, ``raising`` for the longer pauses of the policy
    FAST.
    """

    limit: float
    stall: float
    raising: float = 0.0

    def gives_up(self, first_pass: float) -> float:
        """When a migration that gains nothing after its first pass is given up, or helped along."""
        return min(self.limit, first_pass + self.stall)


def patience(settings: MigrateSettings, size: int, bandwidth: int) -> Patience:
    """How long ``size`` bytes may take.

    A limit of ``bandwidth`` MiB/s (0: none) that a person chose extends it.
    """
    limit = settings.seconds_per_gib * max(1.0, size / GIB)
    if bandwidth:
        limit = max(limit, 3 * size / (bandwidth * MIB))
    return Patience(
        limit, settings.stall_seconds, settings.rung_seconds * len(settings.downtime_steps_ms)
    )


def forecast(
    memory: int,
    dirty: float | None,
    rate: float,
    *,
    policy: MigrationPolicy,
    waits: Patience,
    floor: float = 0.0,
    storage: int = 0,
) -> Forecast:
    """Time and pause of a pre-copy migration: each pass sends what the one before left.

    With ``V0 = memory`` and ``Vi+1 = dirty · Vi / rate`` the passes form a geometric series; it
    ends when the rest fits into the allowed pause. After C. Clark et al., “Live Migration of
    Virtual Machines” (NSDI 2005), with QEMU's own stop rule and, for the policy FAST, its
    auto-converge (a throttle of 40 %, then 20 % more, whenever two passes wrote more than half of
    what they sent). For SAFE the throttle is left out, so the forecast is on the safe side.

    Args:
        memory: bytes.
        dirty: bytes/s written by the VM; None: not measured, then one pass is all that can be
            told.
        rate: bytes/s that the network carries, above 0.
        policy: what happens when it does not converge.
        waits: when it happens.
        floor: seconds of pause that any VM sees.
        storage: bytes of disks copied before the memory.
    """
    copying = storage / rate
    first = memory / rate
    if dirty is None:
        return Forecast(copying + first, None, None)
    spent, left, converges = _passes(
        memory, dirty, rate, waits.limit, throttles=policy is MigrationPolicy.FAST
    )
    if converges:
        return Forecast(copying + spent + left / rate, left / rate + floor, converges=True)
    late = copying + waits.gives_up(first)
    if policy is MigrationPolicy.SAFE:
        return Forecast(late, None, converges=False)
    if policy is MigrationPolicy.POSTCOPY:
        return Forecast(late + left / rate, floor, converges=False)
    return Forecast(late + waits.raising + left / rate, left / rate + floor, converges=False)


def _passes(
    memory: int, dirty: float, rate: float, limit: float, *, throttles: bool
) -> tuple[float, float, bool]:
    """Seconds spent, bytes left, and whether these fit into QEMU's pause within ``limit``."""
    spent, left, throttle, high = 0.0, float(memory), 0.0, 0
    while left > rate * QEMU_DOWNTIME:
        took = left / rate
        written = min(float(memory), dirty * (1 - throttle) * took)
        if throttles and written > left / 2:
            high += 1
            if high >= 2:
                throttle, high = (
                    min(THROTTLE_MOST, max(THROTTLE_FIRST, throttle + THROTTLE_STEP)),
                    0,
                )
        spent, gained, left = spent + took, written < left, written
        if spent > limit or (not gained and not throttles):
            return spent, left, False
    return spent, left, True
