"""What the handler tells while it works and when it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.domain.cluster import Sighting, Vm
from bot.domain.errors import DroverError, Remedy
from bot.domain.message import Message
from bot.domain.words import bytes_text, command, duration_text, plural
from plugins.vm_lifecycle.steps import (
    CloneVm,
    CreateVm,
    OnGuest,
    PowerVm,
    PurgeVm,
    RemoveNic,
    ResizeVm,
)

SECONDS, UNTIL, REMOVED, HOST, MADE = "seconds", "kept until", "removed", "host", "made"
NOW, NEXT = "now", "at the next start"
NOTHING = "nothing"
DEFINITION = "its definition"

SILENT_ADVICE = "Check the host and its libvirtd; what runs there is not known to have stopped."
GONE_ADVICE = "It moved or was removed meanwhile: ask again."
RUNS_ELSEWHERE_ADVICE = (
    "Look at both hosts at once and touch nothing before you know: two running copies destroy data."
)
MAYBE_ELSEWHERE_ADVICE = "Unreachable is not dead. Bring the host back, or prove that it is off and take it out of the configuration."
UNHEARD = "it does not shut down when asked"
DOES_NOT_LISTEN = "Shut it down from inside, or pull its plug? What it has not written would be lost; an approver decides as always."
CARD_STAYS_ADVICE = "The guest did not let go of it; take it down inside the guest, or shut the guest down, and ask again."
NOT_COPYABLE_ADVICE = "Take that out of the definition first, or make a new VM with `vm create`."
NAME_TAKEN_ADVICE = "Use another name."
UNDELETED_ADVICE = "Somebody undeleted it; delete it again if that is still wanted."


def name_taken(other: Vm) -> str:
    """Somebody was quicker."""
    return (
        f"{other.name} was made or renamed meanwhile: {other.uuid} on {other.host} ({other.state})."
    )


def silent(step: OnGuest) -> str:
    """The host does not answer."""
    return f"{step.host}, which has {step.name}, does not answer."


def gone(step: OnGuest) -> str:
    """The guest is not there."""
    return f"{step.name} is not on {step.host} any more."


def runs_elsewhere(step: OnGuest, there: Sighting) -> str:
    """Two hosts have it."""
    return f"{step.name} is {there.state} on {there.host}; nothing was done on {step.host}."


def maybe_elsewhere(step: OnGuest, silent: Sequence[str]) -> str:
    """A silent host may have it."""
    return f"{step.name} may run on {', '.join(silent)}, which does not answer; nothing was done on {step.host}."


def waits_for_shutdown(step: PowerVm, waited: float) -> str:
    """While a guest shuts down."""
    return f"{step.name} was asked to shut down {duration_text(waited)} ago and is still on."


def stopped_waiting(step: PowerVm, waited: float) -> str:
    """A person cancelled."""
    return f"{step.name} was asked to shut down and is still on after {duration_text(waited)}; nobody waits any more."


def does_not_listen(step: PowerVm, waited: float) -> str:
    """ACPI in vain."""
    return f"{step.name} did not shut down within {duration_text(waited)} though it was asked."


def force_off(step: PowerVm) -> tuple[Remedy, ...]:
    """The question that follows, as a button."""
    lost = " --lose-definition" if step.lose_definition else ""
    return (
        Remedy(
            f"Force off {step.name}…",
            command(f"vm force-off {{}}{lost} --reason={{}}", step.name, UNHEARD),
        ),
    )


def only_while_it_runs(step: PowerVm) -> str:
    """It was undefined, or taken over by a transient one, since the plan was made."""
    return f"{step.name} on {step.host} is transient now: when it ends, its definition is lost. It was not ended."


def only_while_it_runs_advice(step: PowerVm) -> str:
    """The command that says so."""
    verb = step.verb.replace(" ", "-").replace("shut-down", "shutdown")
    return f"If that is meant: `{command(f'vm {verb} {{}} --lose-definition', step.name)}`."


def at_next_start(step: ResizeVm) -> str:
    """Part of a new size waits."""
    return f"{step.name} gets all of its new size when it starts next: use `{command('vm reboot {}', step.name)}`."


def size(vcpus: int, memory: int) -> str:
    """How large a VM is."""
    return f"{plural(vcpus, 'vCPU')}, {bytes_text(memory)}"


def does_not_wake(step: PowerVm, waited: float) -> str:
    """It sleeps on."""
    return f"{step.name} was woken, and still sleeps after {duration_text(waited)}."


def does_not_wake_advice(step: PowerVm) -> str:
    """What is left."""
    end = command("vm force-off {}", step.name)
    return f"Look at its screen with `{command('vm screenshot {}', step.name)}`; `{end}` ends it."


def memory_is_saved(step: OnGuest) -> str:
    """Somebody saved it since the plan was made."""
    return f"{step.name} is off with its memory saved on {step.host} now; nothing was changed."


def memory_is_saved_advice(step: OnGuest) -> str:
    """Go on, or lose it."""
    name = step.name
    lose = command("vm discard-memory {}", name)
    return f"Let it go on and ask again: `{command('vm start {}', name)}`. Or lose that memory: `{lose}`."


def still_runs(step: OnGuest) -> str:
    """It was started meanwhile."""
    return f"{step.name} runs on {step.host}; nothing was removed."


def still_runs_advice(step: OnGuest) -> str:
    """Off first."""
    return f"Shut it down with `{command('vm shutdown {}', step.name)}` first."


def restorable(step: OnGuest, until: datetime) -> str:
    """How long, and how."""
    return f"{until:%-d %b %H:%M} UTC; `{command('vm undelete {}', step.name)}` restores it"


def needed(step: PurgeVm, found: Mapping[str, Sequence[str]]) -> str:
    """Others came to need its disks since the plan was made."""
    each = "; ".join(f"{place}: {', '.join(names)}" for place, names in found.items())
    return f"Disks of {step.name} are needed by others now, so none was removed. {each}."


def needed_advice(step: PurgeVm) -> str:
    """What there is to do."""
    name = step.name
    undelete, delete = command("vm undelete {}", name), command("vm delete {} --keep-disks", name)
    return f"Delete those first, or keep its disks: `{undelete}`, then `{delete}`."


def undeleted(step: PurgeVm) -> str:
    """The mark is gone."""
    return f"{step.name} is not marked as deleted any more; nothing was removed."


def card_stays(step: RemoveNic, waited: float) -> str:
    """The guest keeps a card."""
    return f"{step.name} still holds the card {step.mac} after {duration_text(waited)}."


def makes_disk(step: CreateVm) -> str:
    """The first part."""
    return f"{step.name}: making its disk of {bytes_text(step.capacity)} on top of {step.base} on {step.host}."


def copies(step: CreateVm) -> str:
    """The first part, when it takes long."""
    return f"{step.name}: copying {step.base} on {step.host}."


def defines(step: CreateVm) -> str:
    """The second part."""
    return f"{step.name}: defining it on {step.host}."


def starts(step: CreateVm) -> str:
    """The last part."""
    return f"{step.name}: starting it on {step.host}."


def so_many(done: int, total: int) -> str:
    """Progress of many."""
    return f"{done} of {plural(total, 'VM')} dealt with."


def no_base(step: CreateVm) -> str:
    """The image is not on the host."""
    return f"{step.host} does not have the image {step.base}."


def no_base_advice(step: CreateVm, hosts: Sequence[str]) -> str:
    """Who has it."""
    if hosts:
        return f"Copy it there, or use a host that has it: {', '.join(hosts)} (`{command('--host={}', hosts[0])}`)."
    return f"No host that answers has it: put it into pool {step.base.partition('/')[0]} of {step.host}."


def disk_too_small(step: CreateVm, least: int) -> str:
    """The image needs more."""
    return f"A disk of {bytes_text(step.capacity)} is smaller than the image {step.base} ({bytes_text(least)})."


def disk_too_small_advice(least: int) -> str:
    """What would fit."""
    return f"Ask for `--disk {-(-least // (1 << 30))}G` or more."


def undone(why: Message, removed: Sequence[str]) -> str:
    """A failure after which nothing is left."""
    what = (
        f" What had been made was removed again: {', '.join(removed)}."
        if removed
        else " Nothing had been made."
    )
    return f"{why}{what}"


def copies_disk(step: CloneVm, target: str) -> str:
    """While a clone is made."""
    return f"{step.name}: copying {target} of {step.source_name} on {step.host}."


def not_copyable(step: CloneVm, found: Sequence[str]) -> str:
    """The definition was changed meanwhile."""
    return (
        f"{step.source_name} has what two VMs cannot share: {', '.join(found)}. Nothing was copied."
    )


def source_runs(step: CloneVm, there: Sighting) -> str:
    """It was started meanwhile."""
    return (
        f"{step.source_name} is {there.state} on {there.host}; copies of its disks would be torn."
    )


def source_is_saved(step: CloneVm) -> str:
    """Its disks hold only a part of what it knows; the rest is in the saved memory."""
    return (
        f"{step.source_name} is off with its memory saved on {step.host} now; nothing was copied."
    )


def source_is_saved_advice(step: CloneVm) -> str:
    """Go on, or lose it."""
    name = step.source_name
    lose = command("vm discard-memory {}", name)
    return f"Start it and shut it down first: `{command('vm start {}', name)}`. Or lose that memory: `{lose}`."


def source_runs_advice(step: CloneVm) -> str:
    """Off first."""
    return f"Shut it down with `{command('vm shutdown {}', step.source_name)}`, then ask again."


def no_volume(step: OnGuest, volume: str) -> str:
    """It was there when it was planned."""
    return f"{step.host} has no volume {volume} any more."


def not_undone(step: OnGuest, why: Message, then: Message) -> str:
    """A failure that could not be cleaned up."""
    return f"{why} And what had been made of {step.name} could not all be removed: {then}"


def not_undone_advice(step: OnGuest, volumes: Sequence[str]) -> str:
    """Where to look."""
    return f"Look on {step.host} for the VM {step.name} ({step.uuid}) and the volumes {', '.join(volumes)}."


def some_failed(failed: Mapping[str, DroverError], total: int) -> str:
    """Several were to be made."""
    told = " ".join(f"{name}: {error.text}" for name, error in failed.items())
    return f"{len(failed)} of {plural(total, 'VM')} could not be made; the others are there. {told}"
