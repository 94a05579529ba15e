"""Pure: snapshots at set times of VMs with a tag, and the deletion of those beyond retention."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import words
from bot.domain.policy import Window
from bot.domain.timing import Slot, open_slot
from bot.plugin_api import Proposal
from plugins.vm_lifecycle.intents import SnapshotWish
from plugins.vm_lifecycle.settings import SnapshotSchedule, VmLifecycleSettings
from plugins.vm_lifecycle.steps import SnapshotVerb

TAG = "snapshots"
"""The tag of a VM whose value names its schedule: `snapshots=nightly`."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Names of the snapshots of each VM, oldest first, by UUID; without VMs that cannot be read."""

    names: Mapping[str, tuple[str, ...]]


def scheduled_vms(settings: VmLifecycleSettings, seen: Snapshot) -> tuple[Vm, ...]:
    """The VMs whose tag names a schedule, on hosts that answer, each once."""
    found = {
        vm.uuid: vm
        for vm in seen.vms
        if vm.tags.get(TAG) in settings.snapshots and seen.host(vm.host).up
    }
    return tuple(found.values())


def proposals(
    settings: VmLifecycleSettings, seen: Snapshot, taken: Taken, now: datetime
) -> Iterator[Proposal]:
    """Yield the snapshots that are due, and one deletion for each VM with more than are kept.

    The key of a proposal holds the time that it is for: it is made once, by whichever replica.
    """
    for vm in scheduled_vms(settings, seen):
        name = vm.tags[TAG]
        schedule, there = settings.snapshots[name], taken.names.get(vm.uuid)
        if there is None:
            continue
        slot = open_slot(_window(schedule), name, now)
        wanted = "" if slot is None else _name(name, schedule, slot)
        if slot is not None and wanted not in there:
            yield Proposal(
                "vm snapshot create",
                SnapshotWish(SnapshotVerb.CREATE.value, vm.uuid, wanted),
                why=words("The schedule “{schedule}” takes one now.", schedule=name),
                key=f"{vm.uuid}:{name}:{slot.start.isoformat()}",
                automatic=True,
            )
        mine = [each for each in there if _is_of(name, each)]
        if len(mine) > schedule.keep:
            yield Proposal(
                "vm snapshot delete",
                SnapshotWish(SnapshotVerb.DELETE.value, vm.uuid, mine[0]),
                why=words(
                    "The schedule “{schedule}” keeps {keep}, and there are {count}.",
                    schedule=name,
                    keep=schedule.keep,
                    count=len(mine),
                ),
                key=f"{vm.uuid}:{mine[0]}:{now.date().isoformat()}",
                automatic=True,
            )


def _window(schedule: SnapshotSchedule) -> Window:
    """The time in which it is taken: from ``at`` on, as long as it may be late."""
    begin = datetime.combine(datetime(2000, 1, 1).date(), schedule.at)  # noqa: DTZ001 - a time of day
    end = (begin + timedelta(seconds=schedule.late)).time()
    return Window(schedule.days, schedule.at, end, schedule.zone)


def _name(schedule: str, of: SnapshotSchedule, slot: Slot) -> str:
    local = slot.start.astimezone(ZoneInfo(of.zone))
    return f"{schedule}-{local:%Y%m%d-%H%M}"


def _is_of(schedule: str, name: str) -> bool:
    """Whether the schedule took it; what people took is never deleted by it."""
    return re.fullmatch(rf"{re.escape(schedule)}-\d{{8}}-\d{{4}}", name) is not None
