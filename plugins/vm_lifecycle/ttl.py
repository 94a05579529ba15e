"""Pure: VMs whose time to live ended are announced and shut down; deleted VMs are purged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from bot.domain.cluster import Snapshot, Vm, VmState
from bot.domain.message import words
from bot.domain.metrics import AlertSeverity
from bot.domain.operation import BOT
from bot.domain.steps import Step
from bot.domain.units import moment_of
from bot.plugin_api import Alert, History, Looked, Proposal
from plugins.vm_lifecycle import cards, planner
from plugins.vm_lifecycle.intents import VmVerb
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from plugins.vm_lifecycle.steps import CreateVm, CreateVms, DeleteVm, SetTtl, TagVm

Causes = Callable[[Vm], tuple[str, ...]]
"""The people who caused a proposal for a VM, by user id."""


def nobody(_vm: Vm) -> tuple[str, ...]:
    """No person is known to have caused it."""
    return ()


def who_set_ttl(history: History, vm: Vm) -> tuple[str, ...]:
    """Who set the moment at which the VM is shut down, as far as Drover did it."""

    def sets(step: Step) -> bool:
        if isinstance(step, SetTtl):
            return step.expires == vm.tags.get("expires")
        if isinstance(step, TagVm | CreateVm):
            return dict(step.tags).get("expires") == vm.tags.get("expires")
        return isinstance(step, CreateVms) and any(
            sets(each) for each in step.guests if each.uuid == vm.uuid
        )

    return _who(history, vm, sets)


def who_deleted(history: History, vm: Vm) -> tuple[str, ...]:
    """Who asked for the VM's deletion."""
    return _who(history, vm, lambda step: isinstance(step, DeleteVm) and step.uuid == vm.uuid)


def _who(history: History, vm: Vm, did: Callable[[Step], bool]) -> tuple[str, ...]:
    """The requester of the newest operation that did it."""
    for operation in history.touching(vm.uuid):
        done = {each.index for each in operation.ended}
        if operation.origin.by != BOT and any(did(operation.plan.steps[index]) for index in done):
            return (operation.origin.by,)
    return ()


def endings(
    settings: VmLifecycleSettings,
    snapshot: Snapshot,
    memory: Mapping[str, str],
    causes: Causes = nobody,
) -> Looked:
    """Notices of VMs whose ``ttl`` ends soon, and shutdowns of those whose ``ttl`` ended.

    ``memory``: the names of the VMs announced before, by the alert's key. An alert is ended when
    its VM got more time, went off or was deleted.
    """
    noticed: list[Alert | Proposal] = []
    announced: dict[str, str] = {}
    for vm, ends in _ending(settings, snapshot):
        key = f"ttl:{vm.uuid}:{ends.isoformat()}"
        if ends > snapshot.taken_at:
            announced[key] = vm.name
            noticed.append(
                Alert(
                    key,
                    cards.ttl_ends(vm, ends),
                    remedies=(cards.longer(vm),),
                    severity=AlertSeverity.INFO,
                )
            )
        elif vm.state in {VmState.PAUSED, VmState.SUSPENDED}:
            announced[key] = vm.name
            noticed.append(Alert(key, cards.ttl_paused(vm, ends), remedies=cards.out_of_pause(vm)))
        elif not vm.persistent:
            announced[key] = vm.name
            noticed.append(
                Alert(key, cards.ttl_transient(vm, ends), remedies=cards.end_transient(vm))
            )
        elif doubt := next(planner.copy_objections(vm, snapshot), None):
            announced[key] = vm.name
            noticed.append(Alert(key, cards.ttl_doubtful(vm, ends, doubt)))
        else:
            noticed.append(Alert(key, cards.ttl_over(vm, ends), over=True))
            wish = VmVerb("shutdown", vm.uuid)
            noticed.append(
                Proposal(
                    "vm shutdown", wish, why=words("Its TTL ended."), key=key, causes=causes(vm)
                )
            )
    current = {each.key for each in noticed}
    silent = {vm.uuid for vm in snapshot.vms if not snapshot.host(vm.host).up}
    for key, name in memory.items():
        if key.split(":")[1] in silent:
            announced[key] = name
        elif key not in current:
            noticed.append(Alert(key, cards.ttl_changed(name), over=True))
    return Looked(tuple(noticed), announced)


def _ending(settings: VmLifecycleSettings, snapshot: Snapshot) -> Iterator[tuple[Vm, datetime]]:
    """Yield active VMs whose TTL ends within the notice, or has ended, with the moment."""
    for vm in _each_once(snapshot):
        ends = moment_of(vm.tags.get("expires", ""))
        if (
            ends is None
            or planner.DELETED in vm.tags
            or not vm.state.active
            or not snapshot.host(vm.host).up
        ):
            continue
        if ends - timedelta(seconds=settings.ttl_notice) <= snapshot.taken_at:
            yield vm, ends


def purges(snapshot: Snapshot, causes: Causes = nobody) -> Iterator[Alert | Proposal]:
    """Yield purges of VMs whose grace period ended, for approval as the policy has it."""
    for vm in _each_once(snapshot):
        ends = moment_of(vm.tags.get(planner.DELETED, ""))
        if ends is not None and ends <= snapshot.taken_at and snapshot.host(vm.host).up:
            key = f"purge:{vm.uuid}:{ends.isoformat()}"
            yield Proposal(
                "vm purge",
                VmVerb("purge", vm.uuid),
                why=words("It was deleted, and its grace period ended."),
                key=key,
                causes=causes(vm),
            )


def _each_once(snapshot: Snapshot) -> Iterable[Vm]:
    return {vm.uuid: snapshot.vm(vm.uuid) for vm in snapshot.vms}.values()
