"""Pure: which VMs' backups are older than they may be.

Drover makes no backups. It believes two things: a libvirt checkpoint, which incremental backups
set, and the tag ``backed-up`` with a moment, for backup programs that set none. A snapshot lies on
the VM's own disks and is no backup. How old a backup may get is the VM's tag ``backup``, such as
``1d`` or ``none``, or else the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import Code, Duration, Message, Words, words
from bot.domain.metrics import Sweep
from bot.domain.units import moment_of, seconds_of

WISH, MADE = "backup", "backed-up"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A VM whose newest known backup is too old; ``last`` None: none is known.

    ``problem``: one of its tags cannot be read.
    """

    vm: str
    last: datetime | None = None
    problem: Message = ""


def backup_line(late: Overdue, now: datetime) -> Words:
    """``web-1: 3 d ago``."""
    if late.problem:
        return words("{vm}: {problem}", vm=late.vm, problem=late.problem)
    if late.last is None:
        return words("{vm}: no known backup", vm=late.vm)
    age = Duration((now - late.last).total_seconds())
    return words("{vm}: {age} ago", vm=late.vm, age=age)


def overdue(days: float, seen: Snapshot, sweep: Sweep, now: datetime) -> tuple[Overdue, ...] | None:
    """Backups that are too old, the oldest first.

    None: none is known to be, but an unreachable host may have one. ``days``: how old a backup of a
    VM without the tag may be; 0: it needs none.
    """
    silent = {host.name for host in sweep.hosts if host.silent}
    wanted = [vm for vm in seen.vms if vm.tags.get(WISH) or days]
    made = {(one.uuid, one.made_at) for one in sweep.checkpoints}
    found = [
        late
        for vm in wanted
        if vm.host not in silent
        for late in _overdue_of(vm, [at for uuid, at in made if uuid == vm.uuid], days, now)
    ]
    if not found and any(vm.host in silent for vm in wanted):
        return None
    return tuple(sorted(found, key=lambda one: (one.last or _NEVER, one.vm)))


def _overdue_of(
    vm: Vm, checkpoints: list[datetime], days: float, now: datetime
) -> Iterator[Overdue]:
    try:
        most = _most_age(vm, days)
    except ValueError:
        yield Overdue(vm.name, problem=_unreadable(WISH, vm.tags.get(WISH, ""), "1d"))
        return
    try:
        told = _told_by_tag(vm)
    except ValueError:
        yield Overdue(vm.name, problem=_unreadable(MADE, vm.tags.get(MADE, ""), "2026-01-05"))
        return
    last = max([*checkpoints, *told], default=None)
    if most is not None and (last is None or now - last > most):
        yield Overdue(vm.name, last)


def _unreadable(tag: str, value: str, example: str) -> Words:
    return words(
        "its tag {tag} cannot be read: “{value}”; write it for example {example}",
        tag=tag,
        value=value,
        example=Code(f"{tag}={example}"),
    )


def _most_age(vm: Vm, days: float) -> timedelta | None:
    """How old its backup may get; None: it needs none.

    Raises:
        ValueError: its tag is no duration.
    """
    tag = vm.tags.get(WISH, "")
    if tag.lower() == "none" or not (tag or days):
        return None
    return timedelta(seconds=seconds_of(tag)) if tag else timedelta(days=days)


def _told_by_tag(vm: Vm) -> list[datetime]:
    """The moment that the tag holds, in UTC unless it names another zone.

    Raises:
        ValueError: it is no moment.
    """
    tag = vm.tags.get(MADE)
    if not tag:
        return []
    told = datetime.fromisoformat(tag)
    found = moment_of((told if told.tzinfo else told.replace(tzinfo=UTC)).isoformat())
    if found is None:
        raise ValueError(tag)
    return [found]
