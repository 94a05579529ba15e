"""``failover test-vm``.

One VM, tagged for it, is killed as its host's death would, and starts elsewhere from what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bot.domain.cluster import Host, Snapshot, Vm, VmState
from bot.domain.definition import Definition
from bot.domain.errors import HostUnreachableError, HypervisorError, StepLostError
from bot.domain.message import words
from bot.domain.operation import Facts
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.state_names import VM_STATES
from bot.domain.steps import Step
from bot.plugin_api import History, Rules, Settled
from bot.ports import ClusterReader, Hypervisor, PowerAccess, Progress
from plugins.failover import variables
from plugins.failover.candidates import Wanted, choose
from plugins.failover.commands import chat
from plugins.failover.intents import PROTECT, VmTest
from plugins.failover.places import Placed, place
from plugins.failover.settings import FailoverSettings
from plugins.failover.steps import AwaitReady, KillVm, ReadmitVm, StartKept

TAG, ON = "failover.test", "on"
"""The tag without which no VM is killed for a test."""


def recall(intent: VmTest, history: History) -> VmTest:
    """The wish with what is kept of all VMs; their XML stays in the store."""
    return replace(intent, kept=tuple(replace(each, xml="") for each in history.definitions()))


def plan(
    settings: FailoverSettings,
    intent: VmTest,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """Kill it, start it elsewhere from its kept definition, remove the old copy; or why not."""
    vm = snapshot.vm(intent.vm)
    host = snapshot.host(vm.host)
    title = words(
        "Force off {vm} on {host} and start it elsewhere, as a test", vm=vm.name, host=host.name
    )
    against = tuple(_objections(vm, host))
    placed, why = _place(settings, intent, snapshot, vm)
    if against or placed is None:
        return Refused(title, against or why)
    return Plan(
        title,
        tuple(_steps(settings, snapshot.host(vm.host), vm, placed)),
        Risk.HIGH,
        Blast((vm.name,), (host.name, placed.target), vm.memory),
        warnings=(
            Reason(
                "killed",
                words(
                    "{vm} ends at once, as if {host} had lost its power: what it has not "
                    "written is lost.",
                    vm=vm.name,
                    host=host.name,
                ),
            ),
        ),
        tags=tuple(sorted(f"{key}={value}" for key, value in vm.tags.items())),
    )


def _objections(vm: Vm, host: Host) -> Iterator[Objection]:
    if vm.tags.get(TAG) != ON:
        yield Objection(
            "not-tagged",
            words(
                "{vm} has not the tag `{tag}={on}`: no other VM is forced off.",
                vm=vm.name,
                tag=TAG,
                on=ON,
            ),
            words(
                "Where that is meant: {command}.",
                command=chat("vm tag {} {}", vm.name, f"{TAG}={ON}"),
            ),
        )
    if not host.up:
        yield Objection(
            "silent",
            words("{vm} is on {host}, which does not answer.", vm=vm.name, host=host.name),
        )
    if vm.state is not VmState.RUNNING:
        yield Objection(
            "not-running",
            words("{vm} is {state}, not running.", vm=vm.name, state=VM_STATES[vm.state]),
        )
    if vm.autostart:
        yield Objection(
            "autostart",
            words(
                "libvirt starts {vm} with its host, and would no more after the test.", vm=vm.name
            ),
            words("Let Drover do so: {command}.", command=chat(f"{PROTECT} {{}}", vm.name)),
        )


def _place(
    settings: FailoverSettings, intent: VmTest, snapshot: Snapshot, vm: Vm
) -> tuple[Placed | None, tuple[Objection, ...]]:
    """Where a failover would start it now, or why nowhere."""
    kept = tuple(each for each in intent.kept if each.uuid == vm.uuid)
    candidates, off = choose(settings, snapshot, vm.host, kept, Wanted(only=(vm.name,)))
    placed, nowhere = place(settings, snapshot, vm.host, candidates)
    why = tuple(each.why for each in (*off, *nowhere) if each.uuid == vm.uuid)
    return next(iter(placed), None), why


def _steps(settings: FailoverSettings, host: Host, vm: Vm, placed: Placed) -> Iterable[Step]:
    candidate, target = placed.candidate, placed.target
    yield KillVm(vm.uuid, vm.name, vm.host)
    yield StartKept(
        vm.uuid,
        vm.name,
        vm.host,
        target,
        candidate.kept.sha,
        vm.memory,
        reset_nvram=variables.are_lost(host, candidate.kept),
    )
    if candidate.ready != "none":
        yield AwaitReady(vm.uuid, vm.name, target, candidate.ready, settings.ready_patience, 1)
    yield ReadmitVm(vm.uuid, vm.name, vm.host, target)


def is_killed(step: KillVm, hypervisor: ClusterReader) -> Settled:
    """DONE when its host says that it does not run there."""
    seen = next((each for each in hypervisor.sightings(step.uuid) if each.host == step.host), None)
    gone = seen is not None and seen.reachable and (seen.state is None or not seen.state.active)
    return Settled.DONE if gone else Settled.NOT_YET


def kill(step: KillVm, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Force it off, if it still has the tag and runs there alone.

    Raises:
        StepLostError: it has not, or does not.
    """
    found = hypervisor.find(step.host, step.uuid)
    if found is None or found.tags.get(TAG) != ON:
        raise StepLostError(
            words("{vm} on {host} is not what was approved.", vm=step.name, host=step.host),
            words("Ask again."),
        )
    _alone(step.uuid, step.name, step.host, hypervisor)
    hypervisor.force_off(step.host, step.uuid)
    return {}


def is_started(step: StartKept, hypervisor: ClusterReader) -> Settled:
    """DONE when it runs on its target."""
    seen = next(
        (each for each in hypervisor.sightings(step.uuid) if each.host == step.target), None
    )
    runs = seen is not None and seen.state is VmState.RUNNING
    return Settled.DONE if runs else Settled.NOT_YET


def start(step: StartKept, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Define it on its target as it is kept, and start it.

    Where that fails, start it again where it was.

    Raises:
        StepLostError: it did not start there, or it may run on another host.
    """
    _alone(step.uuid, step.name, "", hypervisor)
    try:
        kept = _kept_definition(step, hypervisor)
        hypervisor.define_kept(step.target, kept, reset_nvram=step.reset_nvram)
        if kept.detail.nvram and not step.reset_nvram:
            variables.restore(step.target, kept, hypervisor)
        hypervisor.start(step.target, step.uuid)
    except HostUnreachableError:
        raise
    except HypervisorError as error:
        raise _bring_back(step, hypervisor, error) from error
    return {"definition": step.sha}


def _kept_definition(step: StartKept, hypervisor: PowerAccess) -> Definition:
    kept = hypervisor.power.definition(step.uuid, step.sha)
    if kept is None:
        raise HypervisorError(words("The definition that was approved is not kept any more."))
    return kept


def _bring_back(step: StartKept, hypervisor: Hypervisor, error: HypervisorError) -> StepLostError:
    """Start it on its own host again; what to tell."""
    if hypervisor.find(step.target, step.uuid) is not None:
        hypervisor.undefine(step.target, step.uuid, keep_state=True)  # may be on a share
    hypervisor.start(step.host, step.uuid)
    return StepLostError(
        words(
            "{vm} did not start on {target}: {why} It runs on {host} again. A failover could "
            "not start it either.",
            vm=step.name,
            target=step.target,
            host=step.host,
            why=error.text,
        ),
        error.advice,
    )


def _alone(uuid: str, name: str, host: str, hypervisor: ClusterReader) -> None:
    """Refuse while it runs on another host than ``host``, or may.

    Raises:
        StepLostError: it does.
    """
    for seen in hypervisor.sightings(uuid):
        runs = seen.state is not None and seen.state.active
        if seen.host != host and runs:
            raise StepLostError(
                words("{vm} was not touched: it is on {host}.", vm=name, host=seen.host),
                words("Look at it there."),
            )
        if not seen.reachable:
            raise StepLostError(
                words(
                    "{vm} was not touched: {host} does not answer, and may have it.",
                    vm=name,
                    host=seen.host,
                ),
                words(
                    "Look at {host}. If {vm} is off then: {command}.",
                    host=seen.host,
                    vm=name,
                    command=chat("vm start {}", name),
                ),
            )
