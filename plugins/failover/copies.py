"""Second copies of VMs on a host that came back.

Which of them is stopped, and the steps that do it.
"""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import Sighting, Snapshot, Vm, VmState
from bot.domain.errors import StepLostError
from bot.domain.message import Names, words
from bot.domain.operation import Facts
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.steps import Step
from bot.plugin_api import Rules, Settled
from bot.ports import Hypervisor, Progress
from plugins.failover.intents import StopCopies
from plugins.failover.steps import PauseCopy, StopCopy


def twice(snapshot: Snapshot, host: str) -> tuple[tuple[Vm, str], ...]:
    """The VMs of a host that run elsewhere too, with where."""
    elsewhere = {vm.uuid: vm.host for vm in snapshot.vms if vm.host != host and vm.state.active}
    return tuple(
        (vm, elsewhere[vm.uuid])
        for vm in snapshot.on(host)
        if vm.state.active and vm.uuid in elsewhere
    )


def plan(
    intent: StopCopies,
    snapshot: Snapshot,
    rules: Rules,  # noqa: ARG001 - an Action's shape
) -> Plan | Refused:
    """After a new start of the host its copies are forced off.

    Else both are paused, for both have written.
    """
    host = snapshot.host(intent.host)
    found = twice(snapshot, host.name)
    title = words("Stop what runs twice since {host} came back", host=host.name)
    if not host.held:
        return Refused(
            title, (Objection("not-held", words("{host} is not on hold.", host=host.name)),)
        )
    if not found:
        return Refused(
            title,
            (Objection("nothing", words("No VM of {host} runs elsewhere too.", host=host.name)),),
        )
    return Plan(
        title,
        tuple(_steps(intent, host.name, found)),
        Risk.HIGH,
        Blast(
            tuple(vm.name for vm, _ in found),
            tuple(dict.fromkeys((host.name, *(other for _, other in found)))),
        ),
        warnings=(_meaning(intent, tuple(vm.name for vm, _ in found)),),
    )


def _steps(intent: StopCopies, host: str, found: tuple[tuple[Vm, str], ...]) -> Iterator[Step]:
    for vm, other in found:
        if intent.reborn:
            yield StopCopy(vm.uuid, vm.name, host, other)
        else:
            yield PauseCopy(vm.uuid, vm.name, host)
            yield PauseCopy(vm.uuid, vm.name, other)


def _meaning(intent: StopCopies, names: tuple[str, ...]) -> Reason:
    if intent.reborn:
        return Reason(
            "stale",
            words(
                "{host} has started anew: its copies are the old definitions, and are forced off.",
                host=intent.host,
            ),
        )
    return Reason(
        "both-wrote",
        words(
            "Nothing shows that {host} has started anew, so both copies may have written. Both are "
            "paused: {names}. Then people choose which stays.",
            host=intent.host,
            names=Names(names, most=10),
        ),
    )


def is_stopped(step: StopCopy, hypervisor: Hypervisor) -> Settled:
    """DONE when it does not run there."""
    seen = _there(step.uuid, step.host, hypervisor)
    gone = seen is not None and seen.reachable and (seen.state is None or not seen.state.active)
    return Settled.DONE if gone else Settled.NOT_YET


def stop(step: StopCopy, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Force it off, as long as the other copy is there.

    Raises:
        StepLostError: the other copy does not run any more.
    """
    other = _there(step.uuid, step.lives_on, hypervisor)
    if other is None or other.state is None or not other.state.active:
        raise StepLostError(
            words(
                "{vm} does not run on {host} any more: its only copy was left alone.",
                vm=step.name,
                host=step.lives_on,
            ),
            words("Look at both hosts."),
        )
    hypervisor.force_off(step.host, step.uuid)
    return {}


def is_paused(step: PauseCopy, hypervisor: Hypervisor) -> Settled:
    """DONE when it does not run, be it paused or off."""
    seen = _there(step.uuid, step.host, hypervisor)
    still = seen is not None and seen.reachable and seen.state is not VmState.RUNNING
    return Settled.DONE if still else Settled.NOT_YET


def pause(step: PauseCopy, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Pause it."""
    hypervisor.pause(step.host, step.uuid)
    return {}


def _there(uuid: str, host: str, hypervisor: Hypervisor) -> Sighting | None:
    return next((each for each in hypervisor.sightings(uuid) if each.host == host), None)
