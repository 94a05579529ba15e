"""Pure: which guests' backups are older than they may be.

Drover makes no backups. It believes two things: a libvirt checkpoint, which incremental backups
set, and the tag ``backed-up`` with a moment, for backup programs that set none. A snapshot lies on
the guest's own disks and counts as no backup. How old one may get is the guest's tag ``backup``,
such as ``1d`` or ``none``, or else the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.domain.cluster import Snapshot, Vm
from bot.domain.metrics import Sweep
from bot.domain.words import seconds_of

WISH, MADE = "backup", "backed-up"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A guest whose newest known backup (None: none is known) is too old; ``problem``: a tag that nobody can read."""

    vm: str
    last: datetime | None = None
    problem: str = ""


def overdue(days: float, seen: Snapshot, sweep: Sweep, now: datetime) -> tuple[Overdue, ...] | None:
    """The worst first; None: none is known to be overdue, but some host that does not answer may have one.

    ``days``: how old a backup of a guest without the tag may be; 0: it needs none.
    """
    silent = {host.name for host in sweep.hosts if host.silent}
    wished = [vm for vm in seen.vms if vm.tags.get(WISH) or days]
    made = {(one.uuid, one.made_at) for one in sweep.checkpoints}
    found = [
        late
        for vm in wished if vm.host not in silent
        for late in _judged(vm, [at for uuid, at in made if uuid == vm.uuid], days, now)
    ]  # fmt: skip
    if not found and any(vm.host in silent for vm in wished):
        return None
    return tuple(sorted(found, key=lambda one: (one.last or _NEVER, one.vm)))


def _judged(vm: Vm, checkpoints: list[datetime], days: float, now: datetime) -> Iterator[Overdue]:
    try:
        most, told = _wish(vm, days), _told(vm)
    except ValueError as error:
        yield Overdue(vm.name, problem=str(error))
        return
    last = max([*checkpoints, *told], default=None)
    if most is not None and (last is None or now - last > most):
        yield Overdue(vm.name, last)


def _wish(vm: Vm, days: float) -> timedelta | None:
    """How old its backup may get; None: it needs none.

    Raises:
        ValueError: its tag is no duration.
    """
    tag = vm.tags.get(WISH, "")
    if tag.lower() == "none" or not (tag or days):
        return None
    return timedelta(seconds=seconds_of(tag)) if tag else timedelta(days=days)


def _told(vm: Vm) -> list[datetime]:
    """What the tag says, in UTC unless it says another zone.

    Raises:
        ValueError: it is no moment.
    """
    tag = vm.tags.get(MADE)
    if not tag:
        return []
    moment = datetime.fromisoformat(tag)
    return [moment if moment.tzinfo else moment.replace(tzinfo=UTC)]
