"""Pure: plans for existing VMs, one function a kind of request, and the check before they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from bot.domain import placement
from bot.domain.backing import Fate
from bot.domain.cluster import (
    OS_CRASHED,
    POSTCOPY_FAILED,
    Health,
    Host,
    Snapshot,
    StoredSize,
    Vm,
    VmState,
    tags_of,
)
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.message import Code, Message, Names, Size, join, nwords, words
from bot.domain.owner import has_tag
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.state_names import VM_STATES
from bot.domain.steps import Step
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.domain.words import command, is_older, reads_alike, version_text, virsh_name
from plugins.vm_lifecycle import cards, changes, creation, fates, plan_warnings, texts
from plugins.vm_lifecycle.intents import (
    NewAutostart,
    NewClone,
    NewName,
    NewSize,
    NewTags,
    NewTtl,
    VmVerb,
)
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import (
    AddNic,
    AutostartVm,
    CloneVm,
    DiscardMemory,
    RenameVm,
    ResizeVm,
    SetTtl,
    SnapshotVm,
    TagVm,
)
from plugins.vm_lifecycle.vm_states import must_be_off, unable_to_react, unable_to_resume

DELETED = "drover.deleted"
"""The tag of a deleted VM: when its grace period ends, ISO 8601."""
DISKS = "drover.disks"
"""Beside it: ``keep`` or ``remove``."""
AUTOSTART = "drover.autostart"
"""Beside it, where autostart was enabled before: ``on``."""

Answer = Plan | Refused
Planned = tuple[tuple[Step, ...], tuple[Objection, ...]]


@dataclass(frozen=True, slots=True)
class VmInCluster:
    """One VM that a request is about, in the cluster as it is."""

    settings: VmLifecycleSettings
    vm: Vm
    snapshot: Snapshot
    rules: tuple[Rule, ...]


Work = Callable[[Any, VmInCluster], Planned]
"""Steps for one VM, or objections to them; one with the code ``IDLE`` means nothing to do."""

IDLE = "nothing-to-do"


def focus(intent: object) -> tuple[str, ...]:
    """The VM to read in depth: the one that is named."""
    name = getattr(intent, "vm", "") or getattr(intent, "name", "")
    return (name,) if name else ()


def picks(intent: object, snapshot: Snapshot) -> frozenset[str]:
    """UUIDs of the VMs to read in depth where many are meant: those that have the tag."""
    tag = getattr(intent, "tag", "")
    key, _, value = tag.partition("=")
    return frozenset(vm.uuid for vm in snapshot.vms if tag and has_tag(vm, key, value))


def plan(  # noqa: PLR0917 - what a command is bound to, and what an Action is called with
    work: Work,
    risk: Risk,
    settings: VmLifecycleSettings,
    intent: object,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> Answer:
    """The plan of ``work`` for the VM that ``intent`` names, or for all that have its tag."""
    title = cards.refused_title(intent)
    if bad := tuple(texts.slips(intent)):
        return Refused(title, bad, sentence=True)
    found = choose(intent, snapshot)
    if isinstance(found, Objection):
        return Refused(title, (found,), sentence=True)
    rules = tuple(rules)
    steps: list[Step] = []
    touched: list[Vm] = []
    idle: list[Objection] = []
    against: list[Objection] = []
    for vm in found:
        mine, objections = work(intent, VmInCluster(settings, vm, snapshot, rules))
        idle += [each for each in objections if each.code == IDLE]
        blocking = [each for each in objections if each.code != IDLE]
        against += blocking or (_base_image_objections(intent, vm) if mine else ())
        steps += mine
        touched += [vm] if mine else []
    if against or not steps:
        against = against or [Objection(each.code, each.text) for each in idle]
        return Refused(title, tuple(dict.fromkeys(against)), sentence=True)
    touches = [_touches(vm) for vm in touched] if len(found) > 1 else []
    return Plan(
        title=steps[0].title if len(steps) == 1 else cards.title(intent, touched),
        steps=tuple(steps),
        risk=_risk(risk, touched),
        blast=_blast(touched),
        reasons=(*touches, *(Reason(each.code, each.text) for each in idle)),
        warnings=_warnings(intent, touched, settings.grace),
        tags=tags_of(touched),
        changes=changes.of(steps, touched),
    )


def _warnings(intent: object, touched: Iterable[Vm], grace: int) -> tuple[Reason, ...]:
    return tuple(each for vm in touched for each in plan_warnings.of(intent, vm, grace))


def _touches(vm: Vm) -> Reason:
    args = {"vm": vm.name, "host": vm.host, "state": VM_STATES[vm.state]}
    if tags := texts.own_tags(vm):
        return Reason("touches", words("{vm} on {host}, {state}: {tags}", **args, tags=tags))
    return Reason("touches", words("{vm} on {host}, {state}", **args))


def _base_image_objections(intent: Any, vm: Vm) -> Iterator[Objection]:
    """Yield an objection for each disk that the request would write to under other VMs."""
    writes = getattr(intent, "verb", "") in {"start", "revert"}
    refuse = _inconsistent_copy if isinstance(intent, NewClone) else _second_writer
    for each in getattr(intent, "fates", ()):
        if each.vm == vm.uuid and each.stays == fates.WRITTEN:
            yield refuse(vm, each)
        elif each.vm == vm.uuid and each.holders and writes:
            yield Objection(
                "template",
                words(
                    "{disk} of {vm} is the base image of {users}; a write to it breaks them.",
                    disk=each.place,
                    vm=vm.name,
                    users=Names(each.holders, most=texts.MOST_NAMED),
                ),
                words(
                    "Clone it and use the clone: {command}.",
                    command=texts.chat("vm clone {} NEW-NAME", vm.name),
                ),
            )


def _second_writer(vm: Vm, fate: Fate) -> Objection:
    return Objection(
        "disk-written",
        words(
            "A running VM uses {disk} of {vm}: {users}. Two VMs that write to one disk destroy its "
            "data.",
            disk=fate.place,
            vm=vm.name,
            users=Names(fate.holders, most=texts.MOST_NAMED),
        ),
        words(
            "Shut that VM down first. If both are meant to write to it, both definitions need "
            "`<shareable/>` at that disk."
        ),
    )


def _inconsistent_copy(vm: Vm, fate: Fate) -> Objection:
    return Objection(
        "disk-in-use",
        words(
            "A running VM uses {disk} of {vm}: {users}. A copy of it would be inconsistent.",
            disk=fate.place,
            vm=vm.name,
            users=Names(fate.holders, most=texts.MOST_NAMED),
        ),
        words("Shut that VM down first."),
    )


def choose(intent: Any, snapshot: Snapshot) -> tuple[Vm, ...] | Objection:
    """The VMs a request is about, by name; each UUID once, where it runs if it does."""
    tag = getattr(intent, "tag", "")
    if not tag:
        try:
            return (snapshot.vm(intent.vm),)
        except UnknownNameError as error:
            return Objection("unknown-vm", error.text, error.advice)
        except AmbiguousNameError as error:
            return Objection("ambiguous-vm", error.text, error.advice)
    key, _, value = tag.partition("=")
    found = {vm.uuid: snapshot.vm(vm.uuid) for vm in snapshot.vms if has_tag(vm, key, value)}
    return tuple(sorted(found.values(), key=lambda vm: vm.name)) or Objection(
        "no-such-tag",
        words("No VM has the tag {tag}.", tag=tag),
        words("See the tags of all VMs with `/kvm vms`."),
    )


def still_good(  # noqa: PLR0917 - as for plan
    work: Work,
    risk: Risk,
    settings: VmLifecycleSettings,
    intent: object,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """Check that the same request still leads to the same steps."""
    again = plan(work, risk, settings, intent, snapshot, rules)
    if isinstance(again, Refused):
        return again.objections
    if _timeless(again.steps) != _timeless(planned.steps):
        return (
            Objection(
                "changed",
                words(
                    "The plan changed since approval. Approved: {before}. Now it would be: "
                    "{after}.",
                    before=join((each.title for each in planned.steps), "; "),
                    after=join((each.title for each in again.steps), "; "),
                ),
                words("Check the new plan and approve it."),
            ),
        )
    return tuple(_mac_objections(planned.steps, snapshot))


def _mac_objections(steps: Sequence[Step], snapshot: Snapshot) -> Iterator[Objection]:
    """Yield an objection if another VM has got an approved MAC address since."""
    taken = {nic.mac.lower(): vm for vm in snapshot.vms if vm.detail for nic in vm.detail.nics}
    for step in steps:
        if isinstance(step, AddNic) and step.mac in taken:
            vm = taken[step.mac]
            yield Objection(
                "mac-taken",
                words(
                    "{mac} is now the MAC address of {vm} on {host}.",
                    mac=step.mac,
                    vm=vm.name,
                    host=vm.host,
                ),
                words("Ask again for another one."),
            )


def _timeless(steps: Sequence[Step]) -> list[Step]:
    """Steps without what is made from the moment of planning."""
    bare: list[Step] = []
    for step in steps:
        if isinstance(step, SnapshotVm):
            bare.append(replace(step, token=""))
        elif isinstance(step, AddNic):
            bare.append(replace(step, mac=""))
        elif isinstance(step, CloneVm):
            bare.append(
                replace(
                    step, uuid="", disks=(), seed=("", ""), meta_data="", network_config="", macs=()
                )
            )
        elif isinstance(step, SetTtl):
            bare.append(replace(step, expires=""))
        elif isinstance(step, TagVm):
            bare.append(
                replace(step, tags=tuple(each for each in step.tags if each[0] != "expires"))
            )
        else:
            bare.append(step)
    return bare


def _risk(usual: Risk, touched: Sequence[Vm]) -> Risk:
    """The risk; never low for several VMs: a policy may let low ones pass unseen."""
    return Risk.MEDIUM if usual is Risk.LOW and len(touched) > 1 else usual


def _blast(touched: Sequence[Vm]) -> Blast:
    hosts = tuple(dict.fromkeys(vm.host for vm in touched))
    return Blast(tuple(vm.name for vm in touched), hosts, sum(vm.memory for vm in touched))


# --- objections to any change of a VM


def host_objections(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Yield an objection if the VM's host does not answer."""
    host = snapshot.host(vm.host)
    if not host.up:
        yield Objection(
            "host-unreachable",
            words(
                "{host}, where {vm} was last seen, does not answer: {why}.",
                host=host.name,
                vm=vm.name,
                why=host.problem or words("no connection"),
            ),
            words("Check the host and its libvirtd. An unreachable host may still run VMs."),
        )


def state_objections(
    vm: Vm, snapshot: Snapshot, *, hung: bool = False, ends: bool = False
) -> Iterator[Objection]:
    """Yield objections to any step: the VM moves, is deleted or cannot be read.

    ``hung``: the step is for a VM whose QEMU does not answer, too. ``ends``: it ends the VM, which
    is all that can be done with one that lost a part of its memory.
    """
    yield from host_objections(vm, snapshot)
    if vm.problem and vm.detail is None:
        # Its tags may ask for more votes
        yield Objection(
            "not-readable",
            words(
                "The definition of {vm} on {host} cannot be read, nor its tags: {why}",
                vm=vm.name,
                host=vm.host,
                why=vm.problem,
            ),
            words(
                "Look at it on {host}: {command}.",
                host=vm.host,
                command=texts.shell("virsh dumpxml {}", virsh_name(vm)),
            ),
        )
    job = "" if ends and vm.detail and vm.detail.local_job else _job(vm, snapshot, hung=hung)
    if not ends and lost_memory(vm, snapshot):
        yield Objection(
            "post-copy-failed",
            words(
                "{vm} on {host} lost a part of its memory when its post-copy migration failed.",
                vm=vm.name,
                host=vm.host,
            ),
            words(
                "Restart it with {reboot}: it is forced off and starts again.",
                reboot=texts.chat("vm reboot {}", vm.name),
            ),
        )
    if any(move.vm_uuid == vm.uuid for move in snapshot.inbound) or job:
        yield Objection(
            "busy",
            words("{vm} has a job in progress: {job}.", vm=vm.name, job=job or _MIGRATION),
            words("Wait until it ends, then ask again."),
        )
    if DELETED in vm.tags:
        yield Objection(
            "deleted",
            words(
                "{vm} is deleted; its grace period ends {at}.",
                vm=vm.name,
                at=texts.moment(vm.tags[DELETED]),
            ),
            words("Restore it first: {command}.", command=texts.chat("vm undelete {}", vm.name)),
        )


_MIGRATION = words("live migration")


def _job(vm: Vm, snapshot: Snapshot, *, hung: bool) -> Message:
    """The job that keeps a step from a VM; '' when none does.

    libvirt keeps the job of a failed post-copy for ever: it must not keep people from forcing off
    what is left. Nor must one that is not known because QEMU hangs, unless the VM can be recovered.
    """
    if vm.detail is None or lost_memory(vm, snapshot):
        return ""
    if hung and vm.detail.silent and vm.paused_by != POSTCOPY_FAILED:
        return ""
    return vm.detail.job


def change_objections(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Yield objections to a change: the VM may run elsewhere, or its memory is saved.

    A VM that goes on from saved memory would not show the change.
    """
    yield from state_objections(vm, snapshot)
    if not vm.state.active:
        yield from copy_objections(vm, snapshot)
    elif vm.state is VmState.PAUSED and (unable := unable_to_resume(vm)):
        yield unable
    if vm.saved:
        yield Objection(
            "memory-saved",
            words(
                "{vm} is powered off with its memory saved on {host} (managed save): "
                "its next start restores that memory.",
                vm=vm.name,
                host=vm.host,
            ),
            words(
                "Start it with {start}, then ask again; or discard that memory with {discard}.",
                start=texts.chat("vm start {}", vm.name),
                discard=texts.chat("vm discard-memory {}", vm.name),
            ),
        )


def lost_memory(vm: Vm, snapshot: Snapshot) -> bool:
    """Tell whether its post-copy migration failed and the other half is gone."""
    return (
        vm.state.active
        and vm.paused_by == POSTCOPY_FAILED
        and not any(copy_objections(vm, snapshot))
    )


def copy_objections(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Yield objections to a start that could make a second copy of a VM."""
    for other in snapshot.vms:
        if other.uuid == vm.uuid and other.host != vm.host:
            host = snapshot.host(other.host)
            if not host.up:
                yield Objection(
                    "maybe-elsewhere",
                    words(
                        "{host} had {vm} when it was last seen and does not answer now; "
                        "the VM may run there.",
                        host=host.name,
                        vm=vm.name,
                    ),
                    words("Bring that host back, or make sure that it is off."),
                )
            elif other.state.active:
                yield Objection(
                    "runs-elsewhere",
                    words(
                        "{vm} is {state} on {host}.",
                        vm=vm.name,
                        state=VM_STATES[other.state],
                        host=other.host,
                    ),
                    words("Check both hosts first."),
                )
    for host in snapshot.hosts:
        if host.health is not Health.UP and host.seen_at is None:
            yield Objection(
                "maybe-elsewhere",
                words(
                    "{host} has not answered since the bot started; it is not known whether it "
                    "runs {vm}.",
                    host=host.name,
                    vm=vm.name,
                ),
                words(
                    "Bring it back, or make sure that it is off and remove it from the "
                    "configuration."
                ),
            )


def transient(vm: Vm) -> Objection:
    """The objection to a change of a definition that is not stored."""
    return Objection(
        "transient",
        words("{vm} is transient: it has no stored definition.", vm=vm.name),
        words("Store its definition first, with `virsh define` on {host}.", host=vm.host),
    )


def idle(text: Message) -> Planned:
    """Nothing to do for a VM, and why."""
    return (), (Objection(IDLE, text),)


def _already(vm: Vm) -> Objection:
    text = words(
        "{vm} is already {state} on {host}.",
        vm=vm.name,
        state=VM_STATES[vm.state],
        host=vm.host,
    )
    return Objection(IDLE, text)


def _no_start(vm: Vm) -> Objection:
    """The objection to a start of a paused VM."""
    if vm.paused_by == OS_CRASHED and (unable := unable_to_react(vm)):
        return unable
    return unable_to_resume(vm) or Objection(
        "paused",
        words("{vm} is paused on {host}.", vm=vm.name, host=vm.host),
        words("Use {command}.", command=texts.chat("vm resume {}", vm.name)),
    )


# --- the requests


def start(_intent: VmVerb, case: VmInCluster) -> Planned:
    """Start a VM where it is defined, if it can run nowhere else."""
    vm, snapshot = case.vm, case.snapshot
    if vm.state is VmState.SUSPENDED:
        return _wake(vm, snapshot)
    if vm.state is VmState.PAUSED:
        return (), (_no_start(vm),)
    if vm.state.active:
        return (), (_already(vm),)
    against = [*state_objections(vm, snapshot), *copy_objections(vm, snapshot)]
    if not against:
        against += placement.objections(
            snapshot, vm, vm.host, dict.fromkeys((*placement.CORE_RULES, *case.rules))
        )
    return (PowerVm(vm.uuid, vm.name, vm.host, PowerVerb.START),), tuple(against)


def shutdown(intent: VmVerb, case: VmInCluster) -> Planned:
    """Request a shutdown; a paused VM cannot react to it."""
    steps, against = _power_off(intent, case, PowerVerb.SHUTDOWN)
    unable = unable_to_react(case.vm)
    return steps, (unable, *against) if unable else against


def force_off(intent: VmVerb, case: VmInCluster) -> Planned:
    """Power a VM off at once."""
    return _power_off(intent, case, PowerVerb.FORCE_OFF)


def _power_off(intent: VmVerb, case: VmInCluster, verb: PowerVerb) -> Planned:
    """Power an active VM off; that a transient one loses its definition must be agreed to."""
    vm, snapshot = case.vm, case.snapshot
    lost = vm.state.active and not vm.persistent
    steps, against = _power(vm, snapshot, verb, wanted=vm.state.active, lose_definition=lost)
    if lost and not intent.lose_definition:
        against = (*against, _definition_lost(vm, intent.verb))
    return steps, against


def _definition_lost(vm: Vm, verb: str) -> Objection:
    dump = f"virsh dumpxml --inactive --security-info {quote(f'--domain={virsh_name(vm)}')}"
    return Objection(
        "definition-lost",
        words(
            "{vm} is transient: it exists only while it runs. "
            "When it is off, its definition is lost.",
            vm=vm.name,
        ),
        words(
            "To power it off anyway: {command}. To keep its definition, on {host}: {dump}, "
            "then `virsh define` that file.",
            command=texts.chat(f"vm {verb} {{}} --lose-definition", vm.name),
            host=vm.host,
            dump=Code(f"{dump} > {quote(vm.name + '.xml')}"),
        ),
    )


def pause(_intent: VmVerb, case: VmInCluster) -> Planned:
    """Pause a running VM."""
    vm, snapshot = case.vm, case.snapshot
    if vm.state in {VmState.SUSPENDED, VmState.SHUTTING_DOWN} and (unable := unable_to_react(vm)):
        return (), (unable,)
    if vm.state is not VmState.RUNNING and vm.state is not VmState.PAUSED:
        return (), (*state_objections(vm, snapshot), _not_running(vm))
    return _power(vm, snapshot, PowerVerb.PAUSE, wanted=vm.state is VmState.RUNNING)


def _not_running(vm: Vm) -> Objection:
    return Objection(
        "not-running",
        words("{vm} is {state} on {host}.", vm=vm.name, state=VM_STATES[vm.state], host=vm.host),
        words("Start it first: {command}.", command=texts.chat("vm start {}", vm.name)),
    )


def resume(_intent: VmVerb, case: VmInCluster) -> Planned:
    """Resume a paused VM, but none that a migration left paused: it may run elsewhere."""
    vm, snapshot = case.vm, case.snapshot
    if not vm.state.active:
        return (), (*state_objections(vm, snapshot), _not_running(vm))
    if vm.state is VmState.SUSPENDED:
        return _wake(vm, snapshot)
    if vm.state is VmState.PAUSED and (unable := unable_to_resume(vm)):
        return (), (unable,)
    steps, against = _power(vm, snapshot, PowerVerb.RESUME, wanted=vm.state is VmState.PAUSED)
    return steps, (*against, *(copy_objections(vm, snapshot) if steps else ()))


def reboot(_intent: VmVerb, case: VmInCluster) -> Planned:
    """Shut a VM down and start it, so that changes that wait for a restart take effect."""
    vm, snapshot = case.vm, case.snapshot
    if not vm.state.active:
        return (), (*state_objections(vm, snapshot), _not_running(vm))
    dead = lost_memory(vm, snapshot) or vm.paused_by == OS_CRASHED  # it would not react
    unable = None if dead else unable_to_react(vm)
    against = (
        *state_objections(vm, snapshot, ends=dead),
        *copy_objections(vm, snapshot),
        *((unable,) if unable else ()),
    )
    if not vm.persistent:
        lost = Objection(
            "transient",
            words(
                "{vm} is transient: after a shutdown its definition is lost, and there is nothing "
                "to start.",
                vm=vm.name,
            ),
            words(
                "Reboot it from {host}, without a shutdown: {command}.",
                host=vm.host,
                command=texts.shell("virsh reboot {}", virsh_name(vm)),
            ),
        )
        against = (*against, lost)
    verbs = (PowerVerb.FORCE_OFF if dead else PowerVerb.SHUTDOWN, PowerVerb.START)
    off, on = (PowerVm(vm.uuid, vm.name, vm.host, verb) for verb in verbs)
    return (off, on), against


def _wake(vm: Vm, snapshot: Snapshot) -> Planned:
    """Wake a VM that its own system put to sleep."""
    return (PowerVm(vm.uuid, vm.name, vm.host, PowerVerb.WAKE),), (
        *state_objections(vm, snapshot),
        *copy_objections(vm, snapshot),
    )


def _power(
    vm: Vm, snapshot: Snapshot, verb: PowerVerb, *, wanted: bool, lose_definition: bool = False
) -> Planned:
    if not wanted:
        return (), tuple(host_objections(vm, snapshot)) or (_already(vm),)
    step = PowerVm(vm.uuid, vm.name, vm.host, verb, lose_definition)
    hung = verb is PowerVerb.FORCE_OFF
    return (step,), tuple(state_objections(vm, snapshot, hung=hung, ends=hung))


def resize(intent: NewSize, case: VmInCluster) -> Planned:
    """Change vCPUs and memory; what is not named stays as it is stored for the next start."""
    vm, snapshot = case.vm, case.snapshot
    stored = vm.stored or StoredSize(
        vm.vcpus, vm.memory, vm.detail.vcpus_max if vm.detail else 0, vm.memory_max
    )
    vcpus, memory = intent.cpus or stored.vcpus, intent.memory or stored.memory
    if (vcpus, memory) == (stored.vcpus, stored.memory) == (vm.vcpus, vm.memory):
        return idle(
            nwords(
                "{vm} already has {n} vCPU and {memory}.",
                "{vm} already has {n} vCPUs and {memory}.",
                n=vcpus,
                vm=vm.name,
                memory=Size(memory),
            )
        )
    host = snapshot.host(vm.host)
    against = [*change_objections(vm, snapshot), *(() if vm.persistent else (transient(vm),))]
    against += _fixed_size(vm, stored, vcpus, memory)
    if not against and vcpus > host.cpus:
        against.append(creation.too_many_cpus(replace(vm, vcpus=vcpus), host))
    room, more = _room_beside(vm, host, snapshot), memory - vm.memory
    if not against and more > max(0, room):
        against.append(_no_memory(vm, max(0, room), more))
    return (ResizeVm(vm.uuid, vm.name, vm.host, vcpus, memory),), tuple(against)


def _no_memory(vm: Vm, free: int, more: int) -> Objection:
    return Objection(
        "memory",
        words(
            "{host} has {free} free, {vm} would need {more} more.",
            host=vm.host,
            free=Size(free),
            vm=vm.name,
            more=Size(more),
        ),
        words(
            "At most {most} would fit; or move the VM to another host first.",
            most=Size(vm.memory + free),
        ),
    )


def _fixed_size(vm: Vm, stored: StoredSize, vcpus: int, memory: int) -> Iterator[Objection]:
    """Yield what the hypervisor would refuse because the definition fixes it."""
    detail = vm.detail
    if detail is None:
        return
    edit = words(
        "Change it in the definition, on {host} and while the VM is off: {command}.",
        host=vm.host,
        command=texts.shell("virsh edit {}", virsh_name(vm)),
    )

    def at_most(option: str) -> Message:
        return join((words("Use {option} at most.", option=Code(option)), edit))

    if detail.topology and vcpus > max(stored.vcpus_max, stored.vcpus):
        yield Objection(
            "cpu-topology",
            nwords(
                "{vm} has a fixed CPU topology of {n} vCPU: {vcpus} do not fit it.",
                "{vm} has a fixed CPU topology of {n} vCPUs: {vcpus} do not fit it.",
                n=detail.topology,
                vm=vm.name,
                vcpus=vcpus,
            ),
            at_most(f"--cpus {detail.topology}"),
        )
    most = max(stored.memory_max, stored.memory)
    if detail.numa_cells and (memory > most or (memory < most and not detail.balloon)):
        yield Objection(
            "numa",
            nwords(
                "{vm} has {n} NUMA cell, whose size fixes its memory: {memory}.",
                "{vm} has {n} NUMA cells, whose sizes fix its memory: {memory}.",
                n=detail.numa_cells,
                vm=vm.name,
                memory=Size(most),
            ),
            at_most(f"--memory {most >> 20}M") if detail.balloon else edit,
        )
    elif detail.memory_limit and memory > detail.memory_limit:
        yield Objection(
            "memory-limit",
            words(
                "{vm} can have {most} of memory at most (maxMemory), not {memory}.",
                vm=vm.name,
                most=Size(detail.memory_limit),
                memory=Size(memory),
            ),
            at_most(f"--memory {detail.memory_limit >> 20}M"),
        )
    if detail.hard_limit and memory > max(detail.hard_limit, stored.memory):
        yield Objection(
            "hard-limit",
            words(
                "The definition of {vm} limits it to {limit} in all (`<hard_limit>`): with "
                "{memory} the kernel would kill it.",
                vm=vm.name,
                limit=Size(detail.hard_limit),
                memory=Size(memory),
            ),
            words(
                "Raise the limit first, on {host}; QEMU itself needs memory too: {command}.",
                host=vm.host,
                command=Code(f"{command('virsh memtune {}', virsh_name(vm))} --hard-limit KIB"),
            ),
        )


def _room_beside(vm: Vm, host: Host, snapshot: Snapshot) -> int:
    """Bytes that a VM could get more on its host: of huge pages for one that is made of them."""
    if not vm.huge or host.huge_pages is None:
        return snapshot.room(vm.host)
    pages = host.pages_of(vm)
    free = pages.free * pages.size if pages else 0
    return free if vm.state.active else free - vm.memory


RENAMES_WITH_SNAPSHOTS = 6_010_000
"""The libvirt that renames a VM that has snapshots (release notes of 6.10)."""


def rename(intent: NewName, case: VmInCluster) -> Planned:
    """Rename a powered-off VM."""
    vm, snapshot = case.vm, case.snapshot
    if vm.name == intent.to:
        return idle(words("{vm} already has this name.", vm=vm.name))
    host = snapshot.host(vm.host)
    against = [
        *change_objections(vm, snapshot),
        *creation.name_slips(intent.to),
        *creation.name_objections((intent.to,), snapshot),
    ]
    if vm.state.active:
        against.append(must_be_off(vm, words("Only a powered-off VM can be renamed.")))
    if (
        vm.detail
        and vm.detail.snapshots
        and host.up
        and is_older(host.libvirt_version, RENAMES_WITH_SNAPSHOTS)
    ):
        against.append(
            Objection(
                "snapshots",
                words(
                    "{vm} has snapshots: libvirt {version} on {host} cannot rename it, "
                    "6.10 and later can.",
                    vm=vm.name,
                    version=version_text(host.libvirt_version),
                    host=host.name,
                ),
                words(
                    "Update libvirt on {host}, or move the VM to a host that has it.",
                    host=host.name,
                ),
            )
        )
    return (RenameVm(vm.uuid, vm.name, vm.host, intent.to),), tuple(against)


def discard_memory(_intent: VmVerb, case: VmInCluster) -> Planned:
    """Discard saved memory: the next start boots from the disks."""
    vm, snapshot = case.vm, case.snapshot
    if not vm.saved:
        text = words(
            "{vm} is {state} and has no saved memory on {host}.",
            vm=vm.name,
            state=VM_STATES[vm.state],
            host=vm.host,
        )
        return (), (Objection("no-saved-memory", text),)
    against = (*state_objections(vm, snapshot), *copy_objections(vm, snapshot))
    return (DiscardMemory(vm.uuid, vm.name, vm.host),), against


def autostart(intent: NewAutostart, case: VmInCluster) -> Planned:
    """Enable or disable autostart."""
    vm, snapshot = case.vm, case.snapshot
    if vm.autostart is intent.on:
        if intent.on:
            return idle(words("Autostart of {vm} is already enabled.", vm=vm.name))
        return idle(words("Autostart of {vm} is already disabled.", vm=vm.name))
    against = (
        *state_objections(vm, snapshot),
        *(() if vm.persistent else (transient(vm),)),
        *(copy_objections(vm, snapshot) if intent.on and not vm.state.active else ()),
    )
    return (AutostartVm(vm.uuid, vm.name, vm.host, intent.on),), against


def tag(intent: NewTags, case: VmInCluster) -> Planned:
    """Change tags; Drover's own cannot be changed by hand."""
    vm, snapshot = case.vm, case.snapshot
    gone = (*dict(intent.give), *intent.take)
    slips = (
        *texts.reserved_tags(gone, vm.name),
        *texts.pin_slips(dict(intent.give), snapshot),
        *texts.schedule_slips(dict(intent.give), case.settings.snapshots),
    )
    if slips:
        return (), slips
    kept = {
        key: value
        for key, value in vm.tags.items()
        if not any(reads_alike(key, each) for each in gone)
    }
    wanted = tuple(sorted({**kept, **dict(intent.give)}.items()))
    if wanted == tuple(sorted(vm.tags.items())):
        return idle(words("The tags of {vm} are already as requested.", vm=vm.name))
    return (TagVm(vm.uuid, vm.name, vm.host, wanted),), tuple(state_objections(vm, snapshot))


def ttl(intent: NewTtl, case: VmInCluster) -> Planned:
    """Set when a VM is shut down; the same request later means a later moment."""
    vm, snapshot = case.vm, case.snapshot
    if not intent.ttl and not {texts.TTL, texts.EXPIRES} & set(vm.tags):
        return idle(words("{vm} has no TTL.", vm=vm.name))
    ends = (
        dict(creation.with_end((("ttl", intent.ttl),), snapshot))["expires"] if intent.ttl else ""
    )
    return (SetTtl(vm.uuid, vm.name, vm.host, intent.ttl, ends),), tuple(
        state_objections(vm, snapshot)
    )
