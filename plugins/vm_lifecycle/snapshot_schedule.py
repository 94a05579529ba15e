"""Pure: snapshots at set times of VMs with a tag, retention, and an alert for those missed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.alert_rules import Condition, evaluate
from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import words
from bot.domain.policy import Window
from bot.domain.timing import Slot, next_slot, open_slot
from bot.plugin_api import Looked, Proposal, WatchView
from plugins.vm_lifecycle import cards
from plugins.vm_lifecycle.intents import SnapshotWish
from plugins.vm_lifecycle.settings import SnapshotSchedule, VmLifecycleSettings
from plugins.vm_lifecycle.steps import SnapshotVerb
from plugins.vm_lifecycle.texts import SNAPSHOTS

_LONGEST = timedelta(days=9)  # longer than a week and the longest time that one may be late


@dataclass(frozen=True, slots=True)
class Taken:
    """Names of the snapshots of each VM, oldest first, by UUID; without VMs that cannot be read."""

    names: Mapping[str, tuple[str, ...]]


def scheduled_vms(settings: VmLifecycleSettings, seen: Snapshot) -> tuple[Vm, ...]:
    """The VMs whose tag names a schedule, on hosts that answer, each once."""
    found = {
        vm.uuid: vm
        for vm in seen.vms
        if vm.tags.get(SNAPSHOTS) in settings.snapshots and seen.host(vm.host).up
    }
    return tuple(found.values())


def proposals(
    settings: VmLifecycleSettings, seen: Snapshot, taken: Taken, now: datetime
) -> Iterator[Proposal]:
    """Yield the snapshots that are due, and one deletion for each VM with more than are kept.

    The key of a proposal holds the time that it is for: it is made once, by whichever replica.
    """
    for vm in scheduled_vms(settings, seen):
        name = vm.tags[SNAPSHOTS]
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
        # By the time in their names: a host's clock may be wrong, and one may be unreadable
        mine = sorted(each for each in there if _is_of(name, each))
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


def missed_alerts(settings: VmLifecycleSettings, view: WatchView, taken: Taken) -> Looked:
    """An alert for each VM of which none was taken in the last time of its schedule.

    It stays until one is. The memory holds since when a VM has its schedule, for what was before is
    not missed, and the newest snapshot seen, for one that people deleted since is not either.
    """
    known: dict[str, tuple[str, str, str]] = dict(view.memory.get("vms", {}))
    conditions: list[Condition] = []
    for vm in scheduled_vms(settings, view.snapshot):
        name = vm.tags[SNAPSHOTS]
        schedule, there = settings.snapshots[name], taken.names.get(vm.uuid)
        of = f"{name} {schedule.at} {' '.join(schedule.days)} {schedule.zone}"
        before, since, last_seen = known.get(vm.uuid, ("", "", ""))
        if before != of:
            since, last_seen = view.now.isoformat(), ""
        window, last = _window(schedule), _last_slot(schedule, name, view.now)
        coming = open_slot(window, name, view.now) or next_slot(window, name, view.now)
        wanted = _name(name, schedule, last)
        # Names of one schedule sort by their time
        last_seen = max(last_seen, *(each for each in there or () if _is_of(name, each)), "")
        known[vm.uuid] = (of, since, last_seen)
        owed = datetime.fromisoformat(since) <= last.start and last_seen < wanted
        conditions.append(
            Condition(
                f"snapshots:{vm.uuid}",
                None if there is None else float(owed),
                cards.missed_snapshot_card(vm, name, last, coming),
                cards.taken_snapshot_card(vm, name),
                remedies=cards.snapshot_now(vm, wanted),
            )
        )
    blind = not all(host.up for host in view.snapshot.hosts)
    alerts = replace(view, memory=view.memory.get("alerts", {}))
    looked = evaluate(conditions, alerts, blind=blind)
    if not blind:
        there_are = {vm.uuid for vm in view.snapshot.vms}
        known = {uuid: each for uuid, each in known.items() if uuid in there_are}
    return replace(looked, memory={"vms": known, "alerts": looked.memory})


def _last_slot(schedule: SnapshotSchedule, name: str, now: datetime) -> Slot:
    """The newest time of the schedule that is over."""
    window = _window(schedule)
    found = next_slot(window, name, now - _LONGEST)
    while (later := next_slot(window, name, found.end)).end <= now:
        found = later
    # Its whole time, also of one that was open already where the search began
    return open_slot(window, name, found.end - timedelta(seconds=1)) or found


def _window(schedule: SnapshotSchedule) -> Window:
    """The time in which it is taken: from ``at`` on, as long as it may be late."""
    begin = datetime.combine(date(2000, 1, 1), schedule.at)  # only its time of day counts
    end = (begin + timedelta(seconds=schedule.late)).time()
    return Window(schedule.days, schedule.at, end, schedule.zone)


def _name(schedule: str, of: SnapshotSchedule, slot: Slot) -> str:
    local = slot.start.astimezone(ZoneInfo(of.zone))
    return f"{schedule}-{local:%Y%m%d-%H%M}"


def _is_of(schedule: str, name: str) -> bool:
    """Whether the schedule took it; what people took is never deleted by it."""
    return re.fullmatch(rf"{re.escape(schedule)}-\d{{8}}-\d{{4}}", name) is not None
