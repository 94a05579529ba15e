"""Pure: start at boot belongs to Drover.

So no old copy starts by itself when a dead host gets power again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.domain.cluster import Snapshot, Vm, VmState
from bot.domain.message import Names, words
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.plugin_api import Rules
from plugins.failover.candidates import priority_of
from plugins.failover.commands import chat
from plugins.failover.intents import PROTECT, Protect, Resume
from plugins.failover.settings import FailoverSettings, Priority
from plugins.failover.steps import OwnAutostart, StartAgain

TAG, ON = "failover.autostart", "on"
"""The tag of a VM that Drover starts with its host."""
_STARTABLE = frozenset({VmState.SHUT_OFF, VmState.CRASHED})
_WAVES = {Priority.FIRST: 1, Priority.NORMAL: 2, Priority.LAST: 3, Priority.OFF: 3}


def is_own(vm: Vm) -> bool:
    """Whether Drover starts it with its host."""
    return vm.tags.get(TAG) == ON


def unsafe(settings: FailoverSettings, snapshot: Snapshot) -> tuple[Vm, ...]:
    """The VMs that a failover starts elsewhere and that libvirt starts with their old host too."""
    return tuple(
        vm
        for vm in snapshot.vms
        if vm.autostart and vm.persistent and priority_of(vm, settings) is not Priority.OFF
    )


def to_start(snapshot: Snapshot, host: str) -> tuple[Vm, ...]:
    """The VMs of a host that Drover starts with it and that run nowhere."""
    running = {vm.uuid for vm in snapshot.vms if vm.state.active}
    return tuple(
        vm
        for vm in snapshot.on(host)
        if is_own(vm) and vm.state in _STARTABLE and vm.uuid not in running
    )


def protect(
    settings: FailoverSettings,
    intent: Protect,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """One step for each VM that it applies to, or why there is none."""
    title = (
        words("Let Drover start VMs with their hosts")
        if intent.on
        else words("Let libvirt start VMs with their hosts again")
    )
    wanted = tuple(_vms_to_protect(settings, intent, snapshot))
    silent = [vm for vm in wanted if not snapshot.host(vm.host).up]
    if silent:
        return Refused(title, tuple(_silent(vm) for vm in silent))
    if not wanted:
        return Refused(title, (_nothing(intent),))
    return Plan(
        title,
        tuple(OwnAutostart(vm.uuid, vm.name, vm.host, intent.on) for vm in wanted),
        Risk.MEDIUM,
        Blast(tuple(vm.name for vm in wanted), tuple(sorted({vm.host for vm in wanted}))),
        reasons=tuple(_meaning(intent)),
        tags=tuple(sorted({f"{k}={v}" for vm in wanted for k, v in vm.tags.items()})),
    )


def _vms_to_protect(
    settings: FailoverSettings, intent: Protect, snapshot: Snapshot
) -> Iterator[Vm]:
    if intent.vms:
        vms: Iterable[Vm] = [snapshot.vm(name) for name in intent.vms]
    else:
        vms = unsafe(settings, snapshot) if intent.on else snapshot.vms
    for vm in vms:
        if (vm.autostart and vm.persistent) if intent.on else is_own(vm):
            yield vm


def _meaning(intent: Protect) -> Iterator[Reason]:
    if intent.on:
        yield Reason(
            "own-autostart",
            words(
                "libvirt does not start them any more. When their host has started anew, Drover "
                "proposes to start them, or does so by itself where a rule lets it. While Drover "
                "is down nothing starts them: leave out the VMs of Drover and its database."
            ),
        )
    else:
        yield Reason(
            "libvirt-autostart",
            words(
                "If their host dies and gets power again later, libvirt starts its old copies of "
                "them before Drover can hear the host."
            ),
        )


def _nothing(intent: Protect) -> Objection:
    if intent.on:
        return Objection(
            "nothing", words("No VM that failover protects is started at boot by libvirt.")
        )
    return Objection("nothing", words("Drover starts none of these VMs with its host."))


def _silent(vm: Vm) -> Objection:
    return Objection(
        "silent",
        words("{vm} is on {host}, which does not answer.", vm=vm.name, host=vm.host),
        words("Ask again when it answers."),
    )


def resume(
    settings: FailoverSettings,
    intent: Resume,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Start what Drover starts with this host, by priority; or why not."""
    host = snapshot.host(intent.host)
    title = words("Start the VMs of {host}", host=host.name)
    if host.held:
        return Refused(
            title,
            (
                Objection(
                    "held",
                    words("{host} is on hold: its VMs may run elsewhere.", host=host.name),
                    words("Admit it first: {command}.", command=chat("host readmit {}", host.name)),
                ),
            ),
        )
    if not host.up:
        return Refused(
            title, (Objection("silent", words("{host} does not answer.", host=host.name)),)
        )
    vms = to_start(snapshot, host.name)
    if not vms:
        return Refused(title, (_none(host.name),))
    return Plan(
        title,
        tuple(
            StartAgain(
                vm.uuid,
                vm.name,
                host.name,
                vm.memory,
                _WAVES[priority_of(vm, settings)],
                settings.starts_per_host,
            )
            for vm in sorted(vms, key=lambda vm: (_WAVES[priority_of(vm, settings)], vm.name))
        ),
        Risk.MEDIUM,
        Blast(tuple(vm.name for vm in vms), (host.name,), sum(vm.memory for vm in vms)),
        reasons=tuple(_saved_reasons(vms)),
        tags=tuple(sorted({f"{k}={v}" for vm in vms for k, v in vm.tags.items()})),
    )


def _saved_reasons(vms: Iterable[Vm]) -> Iterator[Reason]:
    if saved := tuple(vm.name for vm in vms if vm.saved):
        yield Reason(
            "saved",
            words("They resume from their saved memory: {names}.", names=Names(saved, most=10)),
        )


def _none(host: str) -> Objection:
    return Objection(
        "nothing",
        words("Drover starts no VM with {host} that is off now.", host=host),
        words("To let it: {command}.", command=chat(PROTECT)),
    )
