"""Pure: what a look at all hosts means for a move, and whether what it carries has arrived."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from bot.domain.cluster import POSTCOPY_INCOMING, Scheduler, Sighting, VmState
from bot.domain.steps import MigrateVm, MigrationPolicy


class Place(StrEnum):
    """Where a VM of a ``MigrateVm`` is, as the hosts say."""

    SOURCE = "source"
    CROSSING = "crossing"  # both have it, at most one runs: a migration under way
    TARGET = "target"
    SOURCE_OFF = "source, off"
    TARGET_OFF = "target, off"
    POSTCOPY_FAILED = "post-copy failed"
    DEAD = "post-copy failed, memory lost"
    TWICE = "twice"
    ELSEWHERE = "elsewhere"
    NOWHERE = "nowhere"
    UNKNOWN = "unknown"  # a host that matters does not answer


def normalize_reason(reason: str) -> str:
    """Libvirt's reasons are spelled in many ways: ``post-copy failed``, ``postcopy_failed``."""
    return "".join(letter for letter in reason.lower() if letter.isalpha())


def paused_by_migration(reason: str) -> bool:
    """Whether a VM is paused because a migration of it begins, goes on or broke off."""
    return normalize_reason(reason) in {
        "migration",
        "migrating",
        "startingup",
        "postcopy",
        "postcopyfailed",
    }


def _broke_off(sighting: Sighting) -> bool:
    return normalize_reason(sighting.paused_by) == "postcopyfailed"


def waits_for_memory(sighting: Sighting) -> bool:
    """Whether a VM reads as running in post-copy: part of its memory is still on its source."""
    return sighting.paused_by == POSTCOPY_INCOMING


def _active(sighting: Sighting) -> bool:
    return sighting.state is not None and sighting.state.active


# One line per answer
def place(step: MigrateVm, sightings: Iterable[Sighting]) -> Place:  # noqa: PLR0911
    """What the hosts' answers mean.

    Sightings are not taken at one instant: the odd ones are worth a second look.
    """
    seen = {each.host: each for each in sightings}
    source, target = seen.get(step.source), seen.get(step.target)
    if source is None or target is None or not (source.reachable and target.reachable):
        return Place.UNKNOWN
    elsewhere = any(
        _active(each) for each in seen.values() if each.reachable and each not in (source, target)
    )
    if _broke_off(source) or _broke_off(target):
        return _postcopy_failure(source, target, elsewhere=elsewhere)
    if _active(source) and _active(target):
        return _both(source, target, elsewhere=elsewhere)
    if _active(source) or _active(target):
        if elsewhere:
            return Place.TWICE
        return Place.SOURCE if _active(source) else _on_target_only(step, source, target)
    if elsewhere:
        return Place.ELSEWHERE
    return _inactive(source, target)


def _postcopy_failure(source: Sighting, target: Sighting, *, elsewhere: bool) -> Place:
    """A post-copy can be recovered only while both halves exist; one alone never runs again."""
    if elsewhere:
        return Place.TWICE
    return Place.POSTCOPY_FAILED if _active(source) and _active(target) else Place.DEAD


def _both(source: Sighting, target: Sighting, *, elsewhere: bool) -> Place:
    one_paused = VmState.PAUSED in (source.state, target.state)
    return Place.CROSSING if one_paused and not elsewhere else Place.TWICE


def _on_target_only(step: MigrateVm, source: Sighting, target: Sighting) -> Place:
    """Only the target has it active.

    All is well, unless it waits for memory that a dead source will not send. In post-copy it reads
    running meanwhile, also when QEMU waits for that memory itself and so tells libvirt nothing.
    """
    if target.state is VmState.RUNNING and waits_for_memory(target):
        return Place.DEAD
    waits = target.state is VmState.PAUSED and paused_by_migration(target.paused_by)
    if (
        waits
        and not step.carried.paused
        and (source.state is not None or not step.carried.persistent)
    ):
        return Place.CROSSING
    return Place.TARGET


def _inactive(source: Sighting, target: Sighting) -> Place:
    if target.state is not None and source.state is None:
        return Place.TARGET_OFF
    return Place.NOWHERE if source.state is None else Place.SOURCE_OFF


def runs_as_wanted(step: MigrateVm, sighting: Sighting) -> bool:
    """Check that a VM which arrived is paused or running as before; a later pause is respected."""
    if step.carried.paused:
        return sighting.state is VmState.PAUSED
    return sighting.state is not VmState.PAUSED or _paused_on_purpose(step, sighting)


def _paused_on_purpose(step: MigrateVm, sighting: Sighting) -> bool:
    """Check that a person or its storage paused it.

    The policy FAST pauses too, so under it only the latter counts.
    """
    by = normalize_reason(sighting.paused_by)
    return by == "ioerror" or (by == "user" and step.policy is not MigrationPolicy.FAST)


def left_paused(step: MigrateVm, sighting: Sighting) -> bool:
    """Whether a VM that should run was left paused by a migration that failed."""
    if step.carried.paused or sighting.state is not VmState.PAUSED:
        return False
    return not _paused_on_purpose(step, sighting)


DEFAULT_SHARES = frozenset({100, 1024})  # cgroup v2 and v1: the same priority in two scales


def to_apply(carried_over: Scheduler, present: Scheduler) -> Scheduler:
    """What to set on the target: all that was in force.

    But no default of one cgroup version on a host of the other.
    """
    both_default = {carried_over.cpu_shares, present.cpu_shares} <= DEFAULT_SHARES
    return replace(carried_over, cpu_shares=None) if both_default else carried_over


def in_force(wanted: Scheduler, present: Scheduler) -> bool:
    """Whether every given parameter reads as wanted; all ways to say “no ceiling” are equal."""
    wanted = to_apply(wanted, present)
    return (
        wanted.cpu_shares in (None, present.cpu_shares)
        and _ceiling(wanted.vcpu_quota, wanted.vcpu_period)
        in (None, _ceiling(present.vcpu_quota, present.vcpu_period))
        and _ceiling(wanted.emulator_quota, wanted.emulator_period)
        in (None, _ceiling(present.emulator_quota, present.emulator_period))
    )


def _ceiling(quota: int | None, period: int | None) -> float | None:
    """Share of a CPU; infinite without a ceiling, None when nobody said."""
    if quota is None:
        return None
    return math.inf if quota <= 0 else quota / (period or 100_000)


def cap_cores(scheduler: Scheduler, vcpus: int) -> float:
    """The VM's ceiling in cores; infinite without one."""
    return vcpus * (_ceiling(scheduler.vcpu_quota, scheduler.vcpu_period) or math.inf)
