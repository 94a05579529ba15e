"""The life of VMs: ``vm create``, ``start``, ``shutdown``, ``show``, ``delete`` and the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import click

from bot.domain.card import Card
from bot.domain.plan import Risk
from bot.domain.steps import Step
from bot.domain.vm_steps import PowerVm
from bot.hookspecs import hookimpl
from bot.plugin_api import (
    Action,
    Looked,
    Query,
    Settings,
    SettingsSection,
    StepHandler,
    View,
    Watch,
    WatchView,
)
from plugins.vm_lifecycle import (
    cloning,
    creation,
    deletion,
    devices,
    forms,
    handler,
    intents,
    planner,
    show,
    snapshot_schedule,
    steps,
    summaries,
    ttl,
)
from plugins.vm_lifecycle.settings import VmLifecycleSettings

MINUTES = timedelta(minutes=5)


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.vm_lifecycle]``."""
    return (SettingsSection("vm_lifecycle", VmLifecycleSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """All commands that begin with ``vm``."""
    mine = settings.of(VmLifecycleSettings)
    create = Action(
        "vm create",
        intents.SUMMARIES["vm create"],
        intents.create(),
        intents.NewVms,
        plan=partial(creation.plan, mine),
        still_good=partial(creation.still_good, mine),
        emits=(steps.CreateVm, steps.CreateVms),
        focus=planner.focus,
        form=partial(forms.create, mine),
        survey=partial(handler.add_image_sizes, mine),
        example=creation.example(mine),
        also=intents.ALSO["vm create"],
    )
    return (create, *_verbs(mine), *_wishes(mine), *_queries())


def _verbs(mine: VmLifecycleSettings) -> list[Action]:
    power, verb, one = (PowerVm,), intents.verb, partial(intents.verb, bulk=False)
    low, medium, high, worst = Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.DESTRUCTIVE
    doomed, under = partial(handler.add_fates, mine), partial(handler.add_base_images, mine)
    return [
        _action(mine, verb("start"), intents.VmVerb, planner.start, low, power, under),
        _action(mine, verb("shutdown"), intents.VmVerb, planner.shutdown, medium, power),
        _action(mine, verb("reboot"), intents.VmVerb, planner.reboot, medium, power),
        _action(mine, verb("force-off"), intents.VmVerb, planner.force_off, high, power),
        _action(mine, verb("pause"), intents.VmVerb, planner.pause, medium, power),
        _action(mine, verb("resume"), intents.VmVerb, planner.resume, low, power),
        _action(
            mine,
            one("undelete"),
            intents.VmVerb,
            deletion.undelete,
            low,
            (steps.UndeleteVm,),
        ),
        _action(
            mine,
            one("discard-memory"),
            intents.VmVerb,
            planner.discard_memory,
            high,
            (steps.DiscardMemory,),
        ),
        _action(
            mine,
            one("purge"),
            intents.VmVerb,
            deletion.purge,
            worst,
            (steps.PurgeVm,),
            doomed,
        ),
    ]


def _wishes(mine: VmLifecycleSettings) -> list[Action]:
    low, medium, high, worst = Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.DESTRUCTIVE
    snap, snapped = intents.snapshot, (steps.SnapshotVm,)
    disks, cards_of = (steps.AddDisk, steps.GrowDisk), (steps.AddNic, steps.RemoveNic)
    wish, disk, nic = devices.plan_snapshot, devices.plan_disk, devices.plan_nic
    gone, taken = (steps.DeleteVm, steps.PurgeVm), partial(handler.add_existing_volumes, mine)
    under = partial(handler.add_base_images, mine)
    written = partial(handler.add_written_disks, mine)
    return [
        replace(
            _action(
                mine, intents.resize(), intents.NewSize, planner.resize, medium, (steps.ResizeVm,)
            ),
            summarize=summaries.after_resize,
        ),
        _action(mine, intents.rename(), intents.NewName, planner.rename, medium, (steps.RenameVm,)),
        _action(
            mine,
            intents.clone(),
            intents.NewClone,
            cloning.clone,
            medium,
            (steps.CloneVm,),
            partial(handler.survey_clone, mine),
        ),
        _action(
            mine,
            intents.autostart(),
            intents.NewAutostart,
            planner.autostart,
            low,
            (steps.AutostartVm,),
        ),
        _action(mine, intents.tag(), intents.NewTags, planner.tag, low, (steps.TagVm,)),
        _action(mine, intents.ttl(), intents.NewTtl, planner.ttl, medium, (steps.SetTtl,)),
        _action(
            mine,
            intents.delete(),
            intents.Deletion,
            deletion.delete,
            worst,
            gone,
            partial(handler.add_fates, mine),
        ),
        _action(mine, snap("create"), intents.SnapshotWish, wish, medium, snapped, written),
        _action(
            mine,
            snap("revert"),
            intents.SnapshotWish,
            wish,
            high,
            snapped,
            under,
        ),
        _action(mine, snap("delete"), intents.SnapshotWish, wish, medium, snapped, written),
        _action(mine, intents.disk("add"), intents.DiskWish, disk, medium, disks, taken),
        _action(mine, intents.disk("grow"), intents.DiskWish, disk, medium, disks, written),
        _action(mine, intents.nic("add"), intents.NicWish, nic, medium, cards_of),
        _action(mine, intents.nic("remove"), intents.NicWish, nic, medium, cards_of),
        _action(
            mine, intents.eject(), intents.Ejection, devices.eject, medium, (steps.EjectMedium,)
        ),
    ]


def _action(  # noqa: PLR0917 - one line for each command, above
    mine: VmLifecycleSettings,
    grammar: click.Command,
    intent: type,
    work: planner.Work,
    risk: Risk,
    emits: tuple[type[Step], ...],
    survey: Callable[..., object] | None = None,
) -> Action:
    name = str(grammar.name)
    return Action(
        name,
        intents.SUMMARIES[name],
        grammar,
        intent,
        plan=partial(planner.plan, work, risk, mine),
        still_good=partial(planner.still_good, work, risk, mine),
        emits=emits,
        risk=risk,
        focus=planner.focus,
        chosen=planner.picks,
        survey=survey,
        example=intents.EXAMPLES[name],
        also=intents.ALSO.get(name, ()),
    )


def _queries() -> list[Query]:
    def query(name: str, answer: Callable[..., Card], gather: Callable[..., object]) -> Query:
        return Query(
            f"vm {name}",
            intents.SUMMARIES[f"vm {name}"],
            intents.look(name),
            answer,
            focus=planner.focus,
            gather=gather,
            example=intents.EXAMPLES[f"vm {name}"],
            also=intents.ALSO.get(f"vm {name}", ()),
        )

    return [
        query("show", _show, handler.portrait),
        query("screenshot", _screen, handler.screen),
        query("console", _console, handler.console),
        query("snapshot list", _snapshots, handler.snapshots),
    ]


@hookimpl
def register_step_handlers(settings: Settings) -> Sequence[StepHandler]:
    """One handler for each kind of step."""
    run = partial(handler.run, settings.of(VmLifecycleSettings))
    return [StepHandler(kind, handler.settle, run) for kind in steps.ALL]


@hookimpl
def register_jobs(settings: Settings) -> Sequence[Watch]:
    """VMs whose time to live or whose grace period ended; snapshots that are due."""
    mine = settings.of(VmLifecycleSettings)
    always = (
        Watch("vm-ttl", MINUTES, partial(_endings, mine)),
        Watch("vm-purge", MINUTES, _purges),
    )
    if not mine.snapshots:
        return always
    snapshots = Watch(
        "vm-snapshots",
        MINUTES,
        partial(_look_at_schedules, mine),
        gather=partial(handler.taken_snapshots, mine),
        where_allowed=("vm snapshot create", "vm snapshot delete"),
    )
    return (*always, snapshots)


def _look_at_schedules(mine: VmLifecycleSettings, view: WatchView) -> Looked:
    if not isinstance(view.found, snapshot_schedule.Taken):  # nothing was read yet
        return Looked(memory=view.memory)
    due = snapshot_schedule.proposals(mine, view.snapshot, view.found, view.now)
    looked = snapshot_schedule.missed_alerts(mine, view, view.found)
    return replace(looked, noticed=(*due, *looked.noticed))


def _endings(mine: VmLifecycleSettings, view: WatchView) -> Looked:
    return ttl.endings(mine, view.snapshot, view.memory, partial(ttl.who_set_ttl, view.history))


def _purges(view: WatchView) -> Looked:
    return Looked(tuple(ttl.purges(view.snapshot, partial(ttl.who_deleted, view.history))))


def _show(about: intents.LookAt, view: View) -> Card:
    vm = view.snapshot.vm(about.vm)
    measured = show.with_load(vm, view.measured.sweep)
    return show.card(measured, view.snapshot, view.rules, view.found, _usable_commands(view))


def _screen(about: intents.LookAt, view: View) -> Card:
    return show.screen_card(view.snapshot.vm(about.vm), view.found)


def _console(about: intents.LookAt, view: View) -> Card:
    return show.console_card(view.snapshot.vm(about.vm), view.found)


def _snapshots(about: intents.LookAt, view: View) -> Card:
    vm = view.snapshot.vm(about.vm)
    return show.snapshots_card(vm, view.found, about.page, _usable_commands(view))


def _usable_commands(view: View) -> set[str]:
    """The commands that the person may use."""
    return {each.name for each in view.commands if each.allowed}
