"""Pure: ``host readmit``, how a host that failed is admitted again without the old copies of its VMs."""

from __future__ import annotations

from collections.abc import Iterable

from bot.domain.cluster import Snapshot, Vm, VmState
from bot.domain.message import Message, Names, words
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.steps import HoldHost, Step
from bot.plugin_api import Rules
from plugins.failover.commands import chat, shell
from plugins.failover.intents import Readmit
from plugins.failover.steps import ReadmitVm


def plan(intent: Readmit, snapshot: Snapshot, rules: Rules) -> Plan | Refused:  # noqa: ARG001 - an Action's shape
    """Remove what lives elsewhere, then lift the hold."""
    host = snapshot.host(intent.host)
    title = words("Admit {host} again", host=host.name)
    against = tuple(_objections(intent, snapshot))
    if against:
        return Refused(title, against)
    old = tuple(_old(snapshot, host.name))
    steps: list[Step] = [ReadmitVm(vm.uuid, vm.name, host.name, lives_on) for vm, lives_on in old]
    warnings = []
    if saved := [vm.name for vm, _ in old if vm.saved]:
        warnings.append(
            Reason(
                "saved",
                words(
                    "Memory saved on {host} is removed: {names}.",
                    host=host.name,
                    names=Names(tuple(saved), most=10),
                ),
            )
        )
    return Plan(
        title,
        (*steps, HoldHost(host.name, on=False)),
        Risk.HIGH,
        Blast(tuple(vm.name for vm, _ in old), (host.name,)),
        reasons=(
            Reason(
                "old-copies", words("Old copies of VMs that run elsewhere are removed; disks stay.")
            ),
        )
        if old
        else (),
        warnings=tuple(warnings),
    )


def still_good(
    intent: Readmit, planned: Plan, snapshot: Snapshot, rules: Rules
) -> tuple[Objection, ...]:
    """What stands against it now: also old copies that were not there when it was planned."""
    again = plan(intent, snapshot, rules)
    if isinstance(again, Refused):
        return again.objections
    if again.steps != planned.steps:
        return (
            Objection(
                "changed", words("{host} has other VMs now than approved.", host=intent.host)
            ),
        )
    return ()


def _objections(intent: Readmit, snapshot: Snapshot) -> Iterable[Objection]:
    host = snapshot.host(intent.host)
    if not host.held:
        yield Objection("not-held", words("{host} is not on hold.", host=host.name))
    if not host.up:
        yield Objection(
            "silent",
            words("{host} does not answer.", host=host.name),
            words("Start it, then ask again."),
        )
    for vm, lives_on in _copies(snapshot, host.name):
        if vm.state.active:
            yield Objection(
                "two-copies",
                words(
                    "{vm} runs on {host} and on {other}.",
                    vm=vm.name,
                    host=host.name,
                    other=lives_on,
                ),
                _stop_one(vm),
            )


def _stop_one(vm: Vm) -> Message:
    if vm.state is VmState.RUNNING:
        return words(
            "Stop what runs twice first: {command}.",
            command=chat("failover stop-copies {}", vm.host),
        )
    return words(
        "Decide which copy stays, and force the other off on its host: {command}.",
        command=shell("virsh destroy {}", vm.name),
    )


def _old(snapshot: Snapshot, host: str) -> Iterable[tuple[Vm, str]]:
    """The VMs that are off on the host and run elsewhere, with where."""
    return ((vm, lives_on) for vm, lives_on in _copies(snapshot, host) if not vm.state.active)


def _copies(snapshot: Snapshot, host: str) -> Iterable[tuple[Vm, str]]:
    """The VMs of a host that run elsewhere too."""
    running = {vm.uuid: vm.host for vm in snapshot.vms if vm.host != host and vm.state.active}
    return ((vm, running[vm.uuid]) for vm in snapshot.on(host) if vm.uuid in running)
